/*
 * The virtual network. A connection is two ends; what one sends arrives at the other after a while, in order.
 * Over a silent link it waits, as TCP does, for a quarter of an hour. Channels between the processes of
 * a node are there at once and bounded.
 */
#include "base/buf.h"
#include "sim/engine.h"

#include <stdlib.h>

#define WINDOW_MIN 2048
#define WINDOW_MAX (64 * 1024)
#define BACKLOG 64
#define RETRANSMIT NSEC_S
#define GIVE_UP (15 * NSEC_MINUTE)
#define CONNECT_GIVE_UP (127 * NSEC_S)
#define CHANNEL_BYTES_MAX (212 * 1024)
#define PORT_FIRST 32768
#define HOSTS_MAX 64

enum parcel_kind { PARCEL_BYTES, PARCEL_END, PARCEL_RESET };

/* On the way to an end. */
struct parcel {
	struct list link;
	enum parcel_kind kind;
	nsec at, sent;
	size_t n;
	char bytes[];
};

struct stream {
	struct object object;
	struct list all;
	struct addr local, remote;
	struct stream *peer; /* NULL: not connected, or vanished */
	struct buf received;
	struct list coming; /* of struct parcel */
	size_t coming_bytes;
	size_t window; /* what may be under way from here */
	size_t lost;   /* sent to a peer that has vanished */
	nsec last_at;  /* arrival of the newest parcel: order is kept */
	bool alarm_set;
	bool connecting, closed, ended, ended_sent;
	nsec connect_since;
	int error; /* told once */
	bool broken;
};

struct listener {
	struct object object;
	struct list all;
	struct addr at;
	struct list waiting; /* of struct pending */
	unsigned waiting_count;
};

struct pending {
	struct list link;
	struct stream *end;
};

static struct list streams = { &streams, &streams };
static struct list listeners = { &listeners, &listeners };
static nsec latency_low = 200 * NSEC_US, latency_high = 30 * NSEC_MS;
static struct {
	struct addr host;
	enum sim_link link;
} hosts[HOSTS_MAX];
static size_t host_count;
static uint16_t next_port = PORT_FIRST;

void sim_latency(nsec low, nsec high)
{
	latency_low = low;
	latency_high = high;
}

static nsec latency(void)
{
	/* Mostly quick, seldom slow. */
	nsec high = sim_percent(DICE_NET, 80) ? latency_low + (latency_high - latency_low) / 8
					      : latency_high;

	return sim_between(DICE_NET, latency_low, high);
}

/* --- links --- */

static enum sim_link link_of(const struct addr *host)
{
	for (size_t i = 0; i < host_count; i++)
		if (addr_same_ip(&hosts[i].host, host))
			return hosts[i].link;
	return LINK_UP;
}

static void stream_break(struct stream *s, int error);

void sim_link(const struct addr *host, enum sim_link link)
{
	char text[ADDR_TEXT_SIZE];
	size_t i = 0;

	while (i < host_count && !addr_same_ip(&hosts[i].host, host))
		i++;
	must(i < HOSTS_MAX);
	if (i == host_count)
		hosts[host_count++].host = *host;
	hosts[i].link = link;
	sim_trace("link of %s is %s", addr_ip_text(host, text),
		  link == LINK_UP       ? "up"
		  : link == LINK_SILENT ? "silent"
					: "reset");
	if (link != LINK_RESET)
		return;
	LIST_EACH (&streams, struct stream, all, s)
		if (addr_same_ip(&s->local, host) || addr_same_ip(&s->remote, host))
			stream_break(s, -ECONNRESET);
}

static enum sim_link link_between(const struct addr *a, const struct addr *b)
{
	enum sim_link of_a = link_of(a), of_b = link_of(b);

	if (of_a == LINK_SILENT || of_b == LINK_SILENT)
		return LINK_SILENT;
	return of_a == LINK_RESET || of_b == LINK_RESET ? LINK_RESET : LINK_UP;
}

/* --- streams --- */

static struct stream *stream_of(int fd)
{
	struct object *o = fd_object_of(fd, OBJECT_STREAM);

	return o ? CONTAINER(o, struct stream, object) : NULL;
}

static struct stream *stream_new(void)
{
	struct stream *s = calloc(1, sizeof(*s));

	must(s);
	object_init(&s->object, OBJECT_STREAM);
	list_init(&s->coming);
	s->window = WINDOW_MIN + sim_below(DICE_NET, WINDOW_MAX - WINDOW_MIN);
	buf_init(&s->received, WINDOW_MAX + WINDOW_MAX);
	list_append(&streams, &s->all);
	return s;
}

static void drop_coming(struct stream *s)
{
	for (struct list *l; (l = list_take(&s->coming));)
		free(CONTAINER(l, struct parcel, link));
	s->coming_bytes = 0;
}

/* The end learns that the connection is no more. */
static void stream_break(struct stream *s, int error)
{
	if (s->broken)
		return;
	s->broken = true;
	s->error = error;
	s->connecting = false;
	buf_reset(&s->received);
	drop_coming(s);
	if (s->peer)
		s->peer->peer = NULL;
	s->peer = NULL;
	object_changed(&s->object);
}

static void set_alarm(struct stream *s);

static void send_parcel(struct stream *to, enum parcel_kind kind, str bytes)
{
	struct parcel *p = malloc(sizeof(*p) + bytes.n);

	must(p);
	*p = (struct parcel){ .kind = kind, .sent = sim_now(), .n = bytes.n };
	if (bytes.n > 0)
		memcpy(p->bytes, bytes.p, bytes.n);
	p->at = MAX(to->last_at, sim_now() + latency());
	to->last_at = p->at;
	to->coming_bytes += bytes.n;
	list_append(&to->coming, &p->link);
	set_alarm(to);
}

/* The peer lost its memory in a power cut: a reset comes back as soon as its host answers again. */
static void send_into_the_void(struct stream *s, size_t n)
{
	if (s->lost == 0)
		send_parcel(s, PARCEL_RESET, STR_NONE);
	s->lost += n;
}

static void receive(struct stream *s, struct parcel *p)
{
	struct stream *peer = s->peer;

	switch (p->kind) {
	case PARCEL_BYTES:
		if (s->closed) {
			/* Nobody is there to read it: a reset goes back. */
			if (peer)
				send_parcel(peer, PARCEL_RESET, STR_NONE);
			break;
		}
		must(buf_add(&s->received, str_mem(p->bytes, p->n)) == 0);
		break;
	case PARCEL_END:
		s->ended = true;
		break;
	case PARCEL_RESET:
		stream_break(s, -ECONNRESET);
		return;
	}
	object_changed(&s->object);
}

/* Both ends closed and nothing under way: nobody needs it. */
static bool stream_free_if_over(struct stream *s)
{
	if (!s->closed || !list_empty(&s->coming) || s->alarm_set || (s->peer && !s->ended))
		return false;
	if (s->peer)
		s->peer->peer = NULL;
	list_remove(&s->all);
	buf_done(&s->received);
	free(s);
	return true;
}

static void deliver(void *arg)
{
	struct stream *s = arg;
	struct parcel *p;
	enum sim_link link = link_between(&s->local, &s->remote);

	s->alarm_set = false;
	while ((p = LIST_FIRST(&s->coming, struct parcel, link)) && p->at <= sim_now()) {
		if (link == LINK_SILENT) {
			if (sim_now() - p->sent > GIVE_UP) {
				struct stream *peer = s->peer;

				stream_break(s, -ETIMEDOUT);
				if (peer)
					stream_break(peer, -ETIMEDOUT);
				break;
			}
			p->at = sim_now() + RETRANSMIT;
			break;
		}
		list_remove(&p->link);
		s->coming_bytes -= p->n;
		receive(s, p);
		free(p);
	}
	if (!stream_free_if_over(s))
		set_alarm(s);
}

static void set_alarm(struct stream *s)
{
	struct parcel *p = LIST_FIRST(&s->coming, struct parcel, link);

	if (!p || s->alarm_set)
		return;
	s->alarm_set = true;
	sim_at(p->at, deliver, s);
}

bool stream_ready(const struct object *o, bool *ret_readable, bool *ret_writable)
{
	const struct stream *s = CONTAINER((struct object *)o, struct stream, object);

	if (s->broken)
		return false;
	if (s->connecting)
		return true;
	*ret_readable = s->received.n > 0 || s->ended;
	*ret_writable = s->peer ? s->peer->received.n + s->peer->coming_bytes < s->window
				: s->lost < s->window;
	return true;
}

/* An orderly end, or a reset when something was left unread, as the kernel does it. */
void stream_close(struct object *o)
{
	struct stream *s = CONTAINER(o, struct stream, object);
	bool unread = s->received.n > 0;

	s->closed = true;
	buf_reset(&s->received);
	if (s->peer)
		send_parcel(s->peer, unread ? PARCEL_RESET : PARCEL_END, STR_NONE);
	if (unread && s->peer) {
		s->peer->peer = NULL;
		s->peer = NULL;
		drop_coming(s);
	}
	stream_free_if_over(s);
}

void sim_reset(int fd)
{
	struct stream *s = stream_of(fd), *peer;

	must(s);
	peer = s->peer;
	if (peer) {
		drop_coming(peer);
		send_parcel(peer, PARCEL_RESET, STR_NONE);
		peer->peer = NULL;
		s->peer = NULL;
	}
	sys_close(fd);
}

void network_power_cut(const struct addr *host, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		LIST_EACH (&streams, struct stream, all, s) {
			if (!addr_same_ip(&s->local, &host[i]) || !s->peer)
				continue;
			drop_coming(s->peer);
			if (sim_percent(DICE_NET, 50))
				send_parcel(s->peer, PARCEL_RESET, STR_NONE);
			s->peer->peer = NULL;
			s->peer = NULL;
		}
	}
}

/* --- listening and connecting --- */

static struct object *listener_open(const struct addr *at)
{
	struct listener *l = calloc(1, sizeof(*l));

	must(l);
	object_init(&l->object, OBJECT_LISTENER);
	l->at = *at;
	list_init(&l->waiting);
	list_append(&listeners, &l->all);
	return &l->object;
}

int sim_listen(const struct addr *at)
{
	return fd_new(running, listener_open(at));
}

static struct listener *listener_at(const struct addr *at)
{
	LIST_EACH (&listeners, struct listener, all, l)
		if (l->at.port == at->port && addr_same_ip(&l->at, at))
			return l;
	return NULL;
}

bool listener_readable(const struct object *o)
{
	return CONTAINER((struct object *)o, struct listener, object)->waiting_count > 0;
}

void listener_close(struct object *o)
{
	struct listener *l = CONTAINER(o, struct listener, object);

	for (struct list *link; (link = list_take(&l->waiting));) {
		struct pending *p = CONTAINER(link, struct pending, link);
		struct stream *peer = p->end->peer;

		if (peer) {
			send_parcel(peer, PARCEL_RESET, STR_NONE);
			peer->peer = NULL;
			p->end->peer = NULL;
		}
		object_unref(&p->end->object);
		free(p);
	}
	list_remove(&l->all);
	free(l);
}

static void establish(struct stream *client, struct listener *l)
{
	struct stream *server = stream_new();
	struct pending *p = calloc(1, sizeof(*p));

	must(p);
	server->local = client->remote;
	server->remote = client->local;
	server->peer = client;
	client->peer = server;
	client->connecting = false;
	p->end = server;
	list_append(&l->waiting, &p->link);
	l->waiting_count++;
	object_changed(&l->object);
	object_changed(&client->object);
}

/* The SYN arrives, or does not. */
static void knock(void *arg)
{
	struct stream *s = arg;
	enum sim_link link = link_between(&s->local, &s->remote);
	struct listener *l = listener_at(&s->remote);

	s->alarm_set = false;
	if (stream_free_if_over(s) || !s->connecting)
		return;
	if (link == LINK_UP && l && l->waiting_count < BACKLOG) {
		establish(s, l);
		return;
	}
	if (link == LINK_RESET || (link == LINK_UP && !l)) {
		stream_break(s, -ECONNREFUSED);
		return;
	}
	if (sim_now() - s->connect_since > CONNECT_GIVE_UP) {
		stream_break(s, -ETIMEDOUT);
		return;
	}
	s->alarm_set = true;
	sim_at(sim_now() + RETRANSMIT, knock, s);
}

static int start_connecting(struct stream *s, const struct addr *local, const struct addr *remote)
{
	s->local = *local;
	s->local.port = next_port++;
	if (next_port == 0)
		next_port = PORT_FIRST;
	s->remote = *remote;
	s->connecting = true;
	s->connect_since = sim_now();
	s->alarm_set = true;
	sim_at(sim_now() + latency(), knock, s);
	return -EINPROGRESS;
}

int sim_connect_from(const struct addr *local, const struct addr *remote, int *ret_fd)
{
	struct stream *s = stream_new();

	start_connecting(s, local, remote);
	*ret_fd = fd_new(running, &s->object);
	return 0;
}

int sys_socket(int family, int type, int protocol)
{
	(void)family;
	(void)protocol;
	sys_enter();
	must(type == SOCK_STREAM);
	return fd_new(running, &stream_new()->object);
}

int sys_connect(int fd, const struct sockaddr *address, socklen_t length)
{
	struct stream *s = stream_of(fd);
	struct addr remote;

	(void)length;
	sys_enter();
	if (!s || addr_from_sockaddr(address, &remote) < 0)
		return -EINVAL;
	must(running->node);
	return start_connecting(s, node_address(running->node), &remote);
}

int sys_connect_result(int fd)
{
	struct stream *s = stream_of(fd);
	int error;

	sys_enter();
	if (!s)
		return -EBADF;
	error = s->error;
	s->error = 0;
	return error;
}

int sys_accept(int fd, struct sockaddr *ret_address, socklen_t *length)
{
	struct object *o = fd_object_of(fd, OBJECT_LISTENER);
	struct sockaddr_storage sa;
	struct listener *l;
	struct pending *p;
	struct stream *s;

	sys_enter();
	if (!o)
		return -EBADF;
	l = CONTAINER(o, struct listener, object);
	p = LIST_FIRST(&l->waiting, struct pending, link);
	if (!p)
		return -EAGAIN;
	list_remove(&p->link);
	l->waiting_count--;
	s = p->end;
	free(p);
	*length = MIN(*length, addr_to_sockaddr(&s->remote, &sa));
	memcpy(ret_address, &sa, *length);
	return fd_new(running, &s->object);
}

/* --- bytes --- */

ssize_t sys_recv(int fd, void *ret_bytes, size_t n)
{
	struct stream *s = stream_of(fd);
	int error;

	sys_enter();
	if (!s)
		return -ENOTSOCK;
	if (s->error) {
		error = s->error;
		s->error = 0;
		return error;
	}
	if (s->received.n == 0)
		return s->ended || s->broken ? 0 : -EAGAIN;
	n = MIN(n, s->received.n);
	if (n > 1 && sim_percent(DICE_NET, 5))
		n = 1 + sim_below(DICE_NET, n - 1);
	memcpy(ret_bytes, s->received.p, n);
	buf_consume(&s->received, n);
	if (s->peer)
		object_changed(&s->peer->object);
	return (ssize_t)n;
}

ssize_t sys_send(int fd, str bytes)
{
	struct iovec iov = { .iov_base = (char *)bytes.p, .iov_len = bytes.n };

	return sys_sendv(fd, &iov, 1);
}

ssize_t sys_sendv(int fd, const struct iovec *iov, int count)
{
	struct stream *s = stream_of(fd);
	size_t room, done = 0;

	sys_enter();
	if (!s)
		return -ENOTSOCK;
	if (s->broken) {
		s->error = 0;
		return -EPIPE;
	}
	if (s->connecting)
		return -EAGAIN;
	room = s->peer ? s->peer->received.n + s->peer->coming_bytes : s->lost;
	room = room < s->window ? s->window - room : 0;
	if (room > 1 && sim_percent(DICE_NET, 5))
		room = 1 + sim_below(DICE_NET, room);
	if (room == 0)
		return -EAGAIN;
	for (int i = 0; i < count && done < room; i++) {
		size_t n = MIN(iov[i].iov_len, room - done);

		if (n > 0 && s->peer)
			send_parcel(s->peer, PARCEL_BYTES, str_mem(iov[i].iov_base, n));
		else if (n > 0)
			send_into_the_void(s, n);
		done += n;
	}
	return (ssize_t)done;
}

/* --- channels --- */

struct packet {
	struct list link;
	struct object *with[SYS_FDS_MAX];
	size_t with_count;
	size_t n;
	char bytes[];
};

struct channel_end {
	struct object object;
	struct channel_end *peer; /* NULL: closed */
	struct list packets;
	size_t bytes;
};

static struct channel_end *channel_of(const struct object *o)
{
	return CONTAINER((struct object *)o, struct channel_end, object);
}

static void packet_free(struct packet *p)
{
	for (size_t i = 0; i < p->with_count; i++)
		object_unref(p->with[i]);
	free(p);
}

static struct channel_end *channel_end_new(void)
{
	struct channel_end *c = calloc(1, sizeof(*c));

	must(c);
	object_init(&c->object, OBJECT_CHANNEL);
	list_init(&c->packets);
	return c;
}

void channel_pair(struct sim_process *a, struct sim_process *b, int *ret_a, int *ret_b)
{
	struct channel_end *end_a = channel_end_new(), *end_b = channel_end_new();

	end_a->peer = end_b;
	end_b->peer = end_a;
	*ret_a = fd_new(a, &end_a->object);
	*ret_b = fd_new(b, &end_b->object);
}

void channel_close(struct object *o)
{
	struct channel_end *c = channel_of(o);

	for (struct list *l; (l = list_take(&c->packets));)
		packet_free(CONTAINER(l, struct packet, link));
	if (c->peer) {
		c->peer->peer = NULL;
		object_changed(&c->peer->object);
	}
	free(c);
}

void channel_ready(const struct object *o, bool *ret_readable, bool *ret_writable)
{
	const struct channel_end *c = channel_of(o);

	*ret_readable = !list_empty(&c->packets) || !c->peer;
	*ret_writable = !c->peer || c->peer->bytes < CHANNEL_BYTES_MAX;
}

ssize_t sys_send_fds(int fd, str bytes, const int *fds, size_t fd_count)
{
	struct object *o = fd_object_of(fd, OBJECT_CHANNEL);
	struct channel_end *to;
	struct packet *p;

	sys_enter();
	if (!o)
		return -ENOTSOCK;
	to = channel_of(o)->peer;
	if (!to)
		return -EPIPE;
	if (to->bytes > 0 && to->bytes + bytes.n > CHANNEL_BYTES_MAX)
		return -EAGAIN;
	p = calloc(1, sizeof(*p) + bytes.n);
	must(p && fd_count <= SYS_FDS_MAX);
	p->n = bytes.n;
	memcpy(p->bytes, bytes.p, bytes.n);
	for (size_t i = 0; i < fd_count; i++) {
		struct object *with = fd_object(fds[i]);

		must(with);
		p->with[p->with_count++] = object_ref(with);
	}
	list_append(&to->packets, &p->link);
	to->bytes += bytes.n;
	object_changed(&to->object);
	return (ssize_t)bytes.n;
}

ssize_t sys_recv_fds(int fd, void *ret_bytes, size_t n, int ret_fds[static SYS_FDS_MAX],
		     size_t *ret_fd_count)
{
	struct object *o = fd_object_of(fd, OBJECT_CHANNEL);
	struct channel_end *c;
	struct packet *p;
	ssize_t got;

	sys_enter();
	*ret_fd_count = 0;
	if (!o)
		return -ENOTSOCK;
	c = channel_of(o);
	p = LIST_FIRST(&c->packets, struct packet, link);
	if (!p)
		return c->peer ? -EAGAIN : 0;
	list_remove(&p->link);
	c->bytes -= p->n;
	got = p->n > n ? -EMSGSIZE : (ssize_t)p->n;
	if (got >= 0) {
		memcpy(ret_bytes, p->bytes, p->n);
		for (size_t i = 0; i < p->with_count; i++)
			ret_fds[i] = fd_new(running, object_ref(p->with[i]));
		*ret_fd_count = p->with_count;
	}
	packet_free(p);
	if (c->peer)
		object_changed(&c->peer->object);
	return got;
}
