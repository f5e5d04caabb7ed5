/* Descriptors and readiness. */
#include "sim/engine.h"

#include <stdlib.h>

#define FDS_MAX 20000
#define FDS_EACH_MAX 4000

struct watch {
	struct list in_poller, in_ready, in_object;
	struct poller *poller;
	struct object *object;
	int fd;
	void *key;
	unsigned what;
	bool edge_pending; /* something changed since it was last reported */
};

static struct {
	struct object *object;
	struct sim_process *owner;
} table[FDS_MAX];
static int table_used; /* all below were open once */
static int freed[FDS_MAX];
static int freed_count;

/* --- objects --- */

void object_init(struct object *o, enum object_kind kind)
{
	o->kind = kind;
	o->refs = 1;
	list_init(&o->watches);
}

struct object *object_ref(struct object *o)
{
	o->refs++;
	return o;
}

void object_unref(struct object *o)
{
	if (--o->refs > 0)
		return;
	switch (o->kind) {
	case OBJECT_POLLER:
		poller_close(CONTAINER(o, struct poller, object));
		break;
	case OBJECT_LISTENER:
		listener_close(o);
		break;
	case OBJECT_STREAM:
		stream_close(o);
		break;
	case OBJECT_CHANNEL:
		channel_close(o);
		break;
	case OBJECT_MEMORY:
		memory_close(o);
		break;
	case OBJECT_FILE:
		file_close(o);
		break;
	case OBJECT_DIR:
		dir_close(o);
		break;
	}
}

/* --- descriptors --- */

int fd_new(struct sim_process *p, struct object *o)
{
	int place;

	if (p->fds >= FDS_EACH_MAX)
		sim_fail("descriptors are bounded", "%s has %u open", p->name, p->fds);
	if (freed_count > 0)
		place = freed[--freed_count];
	else
		place = table_used++;
	must(place < FDS_MAX);
	table[place].object = o;
	table[place].owner = p;
	p->fds++;
	p->open[o->kind]++;
	p->most[o->kind] = MAX(p->most[o->kind], p->open[o->kind]);
	return FD_FIRST + place;
}

struct object *fd_object(int fd)
{
	if (fd < FD_FIRST || fd >= FD_FIRST + table_used)
		return NULL;
	return table[fd - FD_FIRST].object;
}

struct object *fd_object_of(int fd, enum object_kind kind)
{
	struct object *o = fd_object(fd);

	return o && o->kind == kind ? o : NULL;
}

static void watch_free(struct watch *w)
{
	list_remove(&w->in_poller);
	list_remove(&w->in_ready);
	list_remove(&w->in_object);
	free(w);
}

void fd_close(int fd)
{
	struct object *o = fd_object(fd);
	int place = fd - FD_FIRST;

	must(o);
	LIST_EACH (&o->watches, struct watch, in_object, w)
		if (w->fd == fd)
			watch_free(w);
	table[place].object = NULL;
	table[place].owner->fds--;
	table[place].owner->open[o->kind]--;
	freed[freed_count++] = place;
	object_unref(o);
}

void fd_close_all(struct sim_process *p)
{
	for (int i = 0; i < table_used; i++)
		if (table[i].object && table[i].owner == p)
			fd_close(FD_FIRST + i);
}

unsigned fd_count(const struct sim_process *p)
{
	return p->fds;
}

int sys_close(int fd)
{
	sys_enter();
	if (!fd_object(fd) || table[fd - FD_FIRST].owner != running)
		sim_fail("descriptors are closed once", "%s closes %d, which is not open",
			 running ? running->name : "the kernel", fd);
	fd_close(fd);
	return 0;
}

int sys_dup(int fd)
{
	struct object *o = fd_object(fd);

	sys_enter();
	return o ? fd_new(running, object_ref(o)) : -EBADF;
}

int sys_set_nonblocking(int fd)
{
	sys_enter();
	return fd_object(fd) ? 0 : -EBADF;
}

/* --- pollers --- */

static struct watch *watch_find(struct poller *p, int fd)
{
	struct object *o = fd_object(fd);

	if (!o)
		return NULL;
	LIST_EACH (&o->watches, struct watch, in_object, w)
		if (w->fd == fd && w->poller == p)
			return w;
	return NULL;
}

static void watch_suspect(struct watch *w)
{
	w->edge_pending = true;
	list_remove(&w->in_ready);
	list_append(&w->poller->ready, &w->in_ready);
}

static struct poller *poller_of_fd(int fd)
{
	struct object *o = fd_object_of(fd, OBJECT_POLLER);

	return o ? CONTAINER(o, struct poller, object) : NULL;
}

int sys_poller_new(void)
{
	struct poller *p = calloc(1, sizeof(*p));

	sys_enter();
	must(p);
	object_init(&p->object, OBJECT_POLLER);
	list_init(&p->watches);
	list_init(&p->ready);
	return fd_new(running, &p->object);
}

void poller_close(struct poller *p)
{
	LIST_EACH (&p->watches, struct watch, in_poller, w)
		watch_free(w);
	free(p);
}

int sys_poller_add(int poller, int fd, void *key, unsigned watch)
{
	struct poller *p = poller_of_fd(poller);
	struct object *o = fd_object(fd);
	struct watch *w;

	sys_enter();
	if (!p || !o)
		return -EBADF;
	if (watch_find(p, fd))
		return -EEXIST;
	w = calloc(1, sizeof(*w));
	must(w);
	*w = (struct watch){ .poller = p, .object = o, .fd = fd, .key = key, .what = watch };
	list_append(&p->watches, &w->in_poller);
	list_init(&w->in_ready);
	list_append(&o->watches, &w->in_object);
	watch_suspect(w);
	return 0;
}

int sys_poller_modify(int poller, int fd, void *key, unsigned watch)
{
	struct poller *p = poller_of_fd(poller);
	struct watch *w = p ? watch_find(p, fd) : NULL;

	sys_enter();
	if (!w)
		return -ENOENT;
	w->key = key;
	w->what = watch;
	watch_suspect(w);
	return 0;
}

int sys_poller_remove(int poller, int fd)
{
	struct poller *p = poller_of_fd(poller);
	struct watch *w = p ? watch_find(p, fd) : NULL;

	sys_enter();
	if (!w)
		return -ENOENT;
	watch_free(w);
	return 0;
}

void object_changed(struct object *o)
{
	LIST_EACH (&o->watches, struct watch, in_object, w)
		watch_suspect(w);
}

/* What epoll would report of it now. */
static struct sys_event look(const struct watch *w)
{
	struct sys_event e = { .key = w->key };
	bool readable = false, writable = false, broken = false;

	switch (w->object->kind) {
	case OBJECT_LISTENER:
		readable = listener_readable(w->object);
		break;
	case OBJECT_STREAM:
		broken = !stream_ready(w->object, &readable, &writable);
		break;
	case OBJECT_CHANNEL:
		channel_ready(w->object, &readable, &writable);
		break;
	case OBJECT_POLLER:
	case OBJECT_MEMORY:
	case OBJECT_FILE:
	case OBJECT_DIR:
		break;
	}
	e.readable = broken || (readable && (w->what & SYS_WATCH_READ));
	e.writable = broken || (writable && (w->what & SYS_WATCH_WRITE));
	return e;
}

static bool is_event(const struct watch *w, struct sys_event *ret_event)
{
	*ret_event = look(w);
	return (ret_event->readable || ret_event->writable) &&
	       (!(w->what & SYS_WATCH_EDGE) || w->edge_pending);
}

bool poller_has_event(struct poller *p)
{
	struct sys_event e;

	LIST_EACH (&p->ready, struct watch, in_ready, w) {
		if (is_event(w, &e))
			return true;
		list_remove(&w->in_ready);
	}
	return false;
}

static int collect(struct poller *p, struct sys_event *ret_events, int max)
{
	struct list again;
	int n = 0;

	list_init(&again);
	LIST_EACH (&p->ready, struct watch, in_ready, w) {
		if (n == max)
			break;
		list_remove(&w->in_ready);
		if (!is_event(w, &ret_events[n]))
			continue;
		n++;
		w->edge_pending = false;
		if (!(w->what & SYS_WATCH_EDGE))
			list_append(&again, &w->in_ready);
	}
	for (struct list *l; (l = list_take(&again));)
		list_append(&p->ready, l);
	return n;
}

int sys_poller_wait(int poller, struct sys_event *ret_events, int max, nsec timeout)
{
	struct poller *p = poller_of_fd(poller);
	struct sim_process *me = running;

	sys_enter();
	must(p);
	me->polling = p;
	me->wake_at = timeout > NEVER - sim_now() ? NEVER : sim_now() + timeout;
	me->state = PROCESS_POLLING;
	process_poll();
	return collect(p, ret_events, max);
}
