#include "proc/netd/event_base.h"

#include "task/sys.h"

#include <stdlib.h>

#define IO_BITS (UB_EV_READ | UB_EV_WRITE)

typedef void event_fn(int fd, short bits, void *arg);

struct event {
	struct ub_event ub; /* first, as above */
	struct event_base *base;
	int fd;
	short bits;
	event_fn *fn;
	void *arg;
	bool watched;
	struct io io;
	nsec timeout; /* a duration; 0: none */
	struct timer timer;
};

static struct event *event_of(struct ub_event *ub)
{
	must(ub->magic == UB_EVENT_MAGIC);
	return (struct event *)ub;
}

static void deactivate(struct event *ev)
{
	if (ev->watched)
		io_release(&ev->io);
	ev->watched = false;
	timer_clear(&ev->timer);
}

static int arm(struct event *ev)
{
	/* Never at once: a timer that sets itself again must not starve the loop. */
	return timer_set(&ev->timer, MAX(sys_now(), loop_now(ev->base->loop)) + ev->timeout);
}

/* The last thing done with the event: the callback may free it. */
static void fire(struct event *ev, short bits)
{
	if (!(ev->bits & UB_EV_PERSIST))
		deactivate(ev);
	else if (ev->timeout && arm(ev) < 0)
		bits |= UB_EV_TIMEOUT;
	ev->fn(ev->fd, bits, ev->arg);
}

static void on_ready(struct io *io, bool readable, bool writable)
{
	struct event *ev = CONTAINER(io, struct event, io);
	short bits = 0;

	if (readable)
		bits |= UB_EV_READ;
	if (writable)
		bits |= UB_EV_WRITE;
	bits &= ev->bits;
	if (bits)
		fire(ev, bits);
}

static void on_timer(struct timer *timer)
{
	fire(CONTAINER(timer, struct event, timer), UB_EV_TIMEOUT);
}

static int watch(struct event *ev)
{
	int r;

	r = io_init_callback(&ev->io, ev->base->loop, ev->fd, on_ready);
	if (r < 0)
		return r;
	ev->watched = true;
	return io_interest(&ev->io, ev->bits & UB_EV_READ, ev->bits & UB_EV_WRITE);
}

/* --- struct ub_event_vmt --- */

static void event_add_bits(struct ub_event *ub, short bits)
{
	event_of(ub)->bits |= bits;
}

static void event_del_bits(struct ub_event *ub, short bits)
{
	event_of(ub)->bits &= (short)~bits;
}

static void event_set_fd(struct ub_event *ub, int fd)
{
	event_of(ub)->fd = fd;
}

static int event_del(struct ub_event *ub)
{
	deactivate(event_of(ub));
	return 0;
}

static void event_free(struct ub_event *ub)
{
	struct event *ev = event_of(ub);

	deactivate(ev);
	free(ev);
}

static int event_add(struct ub_event *ub, struct timeval *timeout)
{
	struct event *ev = event_of(ub);

	deactivate(ev);
	ev->timeout = 0;
	if (timeout)
		ev->timeout = MAX(timeout->tv_sec * NSEC_S + timeout->tv_usec * NSEC_US, (nsec)1);
	if (timeout && arm(ev) < 0)
		return -1;
	if (ev->fd >= 0 && (ev->bits & IO_BITS) && watch(ev) < 0) {
		deactivate(ev);
		return -1;
	}
	return 0;
}

static int event_add_timer(struct ub_event *ub, struct ub_event_base *base, event_fn *fn, void *arg,
			   struct timeval *timeout)
{
	struct event *ev = event_of(ub);

	(void)base;
	ev->fn = fn;
	ev->arg = arg;
	ev->bits = UB_EV_TIMEOUT;
	return event_add(ub, timeout);
}

/* Signals and Windows: libunbound never asks for them here. */

static int event_no_signal_add(struct ub_event *ub, struct timeval *timeout)
{
	(void)ub;
	(void)timeout;
	return -1;
}

static int event_no_signal_del(struct ub_event *ub)
{
	(void)ub;
	return -1;
}

static void event_no_unregister(struct ub_event *ub)
{
	(void)ub;
}

static void event_no_wouldblock(struct ub_event *ub, int bit)
{
	(void)ub;
	(void)bit;
}

static struct ub_event_vmt event_vmt = {
	.add_bits = event_add_bits,
	.del_bits = event_del_bits,
	.set_fd = event_set_fd,
	.free = event_free,
	.add = event_add,
	.del = event_del,
	.add_timer = event_add_timer,
	.del_timer = event_del,
	.add_signal = event_no_signal_add,
	.del_signal = event_no_signal_del,
	.winsock_unregister_wsaevent = event_no_unregister,
	.winsock_tcp_wouldblock = event_no_wouldblock,
};

/* --- struct ub_event_base_vmt --- */

static void base_free(struct ub_event_base *base)
{
	(void)base; /* the resolver's */
}

static int base_dispatch(struct ub_event_base *base)
{
	(void)base;
	return -1;
}

static int base_loopexit(struct ub_event_base *base, struct timeval *timeout)
{
	(void)base;
	(void)timeout;
	return 0;
}

static struct ub_event *base_new_event(struct ub_event_base *base, int fd, short bits, event_fn *fn,
				       void *arg)
{
	struct event *ev = calloc(1, sizeof(*ev));

	if (!ev)
		return NULL;
	ev->ub = (struct ub_event){ .magic = UB_EVENT_MAGIC, .vmt = &event_vmt };
	ev->base = (struct event_base *)base;
	ev->fd = fd;
	ev->bits = bits;
	ev->fn = fn;
	ev->arg = arg;
	timer_init(&ev->timer, ev->base->loop, on_timer);
	return &ev->ub;
}

static struct ub_event *base_no_signal(struct ub_event_base *base, int fd, event_fn *fn, void *arg)
{
	(void)base;
	(void)fd;
	(void)fn;
	(void)arg;
	return NULL;
}

static struct ub_event *base_no_wsaevent(struct ub_event_base *base, void *wsaevent, event_fn *fn,
					 void *arg)
{
	return base_no_signal(base, wsaevent != NULL, fn, arg);
}

static struct ub_event_base_vmt base_vmt = {
	.free = base_free,
	.dispatch = base_dispatch,
	.loopexit = base_loopexit,
	.new_event = base_new_event,
	.new_signal = base_no_signal,
	.winsock_register_wsaevent = base_no_wsaevent,
};

void event_base_init(struct event_base *base, struct loop *loop)
{
	base->ub = (struct ub_event_base){ .magic = UB_EVENT_MAGIC, .vmt = &base_vmt };
	base->loop = loop;
}
