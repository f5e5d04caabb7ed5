#include "ipc/ipc.h"

#include "base/cleanup.h"

#include <poll.h>
#include <stdlib.h>

/* --- who may say what to whom: the only list --- */

static const struct rule {
	Locum__Process from, to;
	Locum__Packet__BodyCase body;
} rules[] = {
#define RULE(from, to, body)                                                                       \
	{                                                                                          \
		LOCUM__PROCESS__##from, LOCUM__PROCESS__##to, LOCUM__PACKET__BODY_##body           \
	}
	/* PROCESS_NONE: any child of locumd */
	RULE(LOCUMD, PROCESS_NONE, START),
	RULE(LOCUMD, PROCESS_NONE, PEER),
	RULE(LOCUMD, PROCESS_NONE, SHUTDOWN),
	RULE(PROCESS_NONE, LOCUMD, READY),
	RULE(LOCUMD, SMTPIN, LISTENER),
	RULE(LOCUMD, SMTPIN, CLIENT_TABLE),
	RULE(LOCUMD, SMTPIN, CLIENT_MEMORY),
	RULE(LOCUMD, SMTPIN, TICKET_KEYS),
	RULE(LOCUMD, SMTPOUT, EVIDENCE_KEY),
	RULE(LOCUMD, SPOOLD, COMMAND_CLIENT),
	RULE(SPOOLD, LOCUMD, RELOAD),
	RULE(LOCUMD, SPOOLD, RELOADED),
	RULE(SPOOLD, LOCUMD, UPGRADE),
	RULE(LOCUMD, SPOOLD, UPGRADED),

	RULE(SMTPIN, SPOOLD, APPEND),
	RULE(SPOOLD, SMTPIN, APPENDED),
	RULE(SPOOLD, SMTPIN, SPOOL_STATE),
	RULE(SMTPIN, SPOOLD, SMTPIN_COUNTERS),
	RULE(SPOOLD, SMTPIN, PRIMARY_OFFERS),
	RULE(SMTPIN, SPOOLD, ETRN),
	RULE(SPOOLD, SMTPIN, ETRN_ANSWERED),

	RULE(SPOOLD, SMTPOUT, DELIVER),
	RULE(SMTPOUT, SPOOLD, DELIVERED),
	RULE(SPOOLD, SMTPOUT, PROBE),
	RULE(SMTPOUT, SPOOLD, PROBED),
	RULE(SPOOLD, SMTPOUT, FORGET_DNS),
	RULE(SMTPOUT, NETD, FORGET_DNS),

	RULE(SMTPIN, SMTPOUT, LIVE_ASK),
	RULE(SMTPIN, SMTPOUT, LIVE_SEND),
	RULE(SMTPIN, SMTPOUT, LIVE_END),
	RULE(SMTPOUT, SMTPIN, LIVE_ANSWER),
	RULE(SMTPOUT, SPOOLD, TAKE_PLACE),
	RULE(SPOOLD, SMTPOUT, PLACE),
	RULE(SMTPOUT, SPOOLD, LEAVE_PLACE),
	RULE(SMTPOUT, SPOOLD, TLS_SESSION),

	RULE(SMTPOUT, STATE, LEARN),
	RULE(STATE, SMTPOUT, ASK_ABSENT),
	RULE(SMTPIN, STATE, ASK_RECIPIENT),
	RULE(STATE, SMTPIN, RECIPIENT_FACTS),
	RULE(SPOOLD, STATE, ASK_DIRECTORY),
	RULE(STATE, SPOOLD, DIRECTORY_PART),

	RULE(SMTPOUT, NETD, DIAL),
	RULE(NETD, SMTPOUT, DIALED),
	RULE(SMTPIN, NETD, ASK_CLIENT),
	RULE(NETD, SMTPIN, CLIENT_FACTS),

	RULE(LOCUM, SPOOLD, COMMAND),
	RULE(SPOOLD, LOCUM, ANSWER),
	RULE(LOCUMD, LOCUM, ANSWER), /* only to say that spoold is away */
#undef RULE
};

static bool is_child(Locum__Process p)
{
	return p == LOCUM__PROCESS__SMTPIN || p == LOCUM__PROCESS__NETD ||
	       p == LOCUM__PROCESS__SPOOLD || p == LOCUM__PROCESS__SMTPOUT ||
	       p == LOCUM__PROCESS__STATE;
}

static bool matches(Locum__Process rule, Locum__Process p)
{
	return rule == LOCUM__PROCESS__PROCESS_NONE ? is_child(p) : rule == p;
}

bool ipc_allowed(Locum__Process from, Locum__Process to, Locum__Packet__BodyCase body)
{
	for (size_t i = 0; i < ELEMENTS(rules); i++)
		if (rules[i].body == body && matches(rules[i].from, from) &&
		    matches(rules[i].to, to))
			return true;
	return false;
}

/* --- datagrams --- */

/* One thread: a datagram is built or taken apart here without parking in between. */
static uint8_t datagram[IPC_PACKET_MAX];

void ipc_message_done(struct ipc_message *m)
{
	for (size_t i = 0; i < m->fd_count; i++)
		if (m->fd[i] >= 0)
			sys_close(m->fd[i]);
	m->fd_count = 0;
	if (m->packet)
		locum__packet__free_unpacked(m->packet, NULL);
	m->packet = NULL;
}

int ipc_take_fd(struct ipc_message *m, size_t n)
{
	return n < m->fd_count ? TAKE_FD(m->fd[n]) : -1;
}

/* 1: a message; 0: the peer closed; or a negative errno. */
static int receive(int fd, Locum__Process from, Locum__Process self, struct ipc_message *ret)
{
	struct ipc_message m = { 0 };
	ssize_t got;

	got = sys_recv_fds(fd, datagram, sizeof(datagram), m.fd, &m.fd_count);
	/* The peer closed with something of ours unread. The kernel says so once, before it gives what the peer had
	 * sent: that counts. */
	if (got == -ECONNRESET)
		got = sys_recv_fds(fd, datagram, sizeof(datagram), m.fd, &m.fd_count);
	if (got <= 0)
		return (int)got;
	m.packet = locum__packet__unpack(NULL, (size_t)got, datagram);
	if (!m.packet || !ipc_allowed(from, self, m.packet->body_case)) {
		ipc_message_done(&m);
		return -EPROTO;
	}
	*ret = m;
	return 1;
}

static int pack(const Locum__Packet *packet, str *ret_bytes)
{
	size_t n = locum__packet__get_packed_size(packet);

	if (n > sizeof(datagram))
		return -EMSGSIZE;
	locum__packet__pack(packet, datagram);
	*ret_bytes = str_mem(datagram, n);
	return 0;
}

/* --- channels --- */

/* A call in progress, on its caller's stack. */
struct pending {
	struct map_link link;
	struct task *caller;
	struct ipc_message *ret_reply;
	int result; /* 1 while it is open */
};

struct channel {
	struct io io;
	struct loop *loop;
	Locum__Process self, peer;
	uint32_t index;
	ipc_handler *handler;
	ipc_closed *closed;
	void *arg;
	uint64_t next_call;
	struct map calls; /* of struct pending, by number */
	struct signal writable;
	bool writer_waits; /* one task waits for the socket, the others for its signal */
	bool freed;
	unsigned users; /* tasks inside a function of this channel: it is freed by the last */
};

Locum__Process channel_peer(const struct channel *ch)
{
	return ch->peer;
}

uint32_t channel_index(const struct channel *ch)
{
	return ch->index;
}

int channel_fd(const struct channel *ch)
{
	return ch->io.fd;
}

static void end_calls(struct channel *ch, int result)
{
	struct map_link *link;

	while ((link = map_walk(&ch->calls, NULL))) {
		struct pending *p = CONTAINER(link, struct pending, link);

		map_remove(&ch->calls, link);
		p->result = result;
		task_wake(p->caller, 0);
	}
}

static void leave(struct channel *ch)
{
	if (--ch->users > 0 || !ch->freed)
		return;
	map_done(&ch->calls);
	free(ch);
}

void channel_free(struct channel *ch)
{
	if (!ch || ch->freed)
		return;
	ch->freed = true;
	io_done(&ch->io);
	end_calls(ch, -EPIPE);
	signal_raise(&ch->writable);
	ch->users++;
	leave(ch);
}

/* Hands a reply to its caller. One that nobody waits for any more came too late: dropped. */
static void dispatch_reply(struct channel *ch, struct ipc_message *m)
{
	MAP_FIND (&ch->calls, m->packet->call, struct pending, link, p) {
		map_remove(&ch->calls, &p->link);
		*p->ret_reply = *m;
		*m = (struct ipc_message){ 0 };
		p->result = 0;
		task_wake(p->caller, 0);
		return;
	}
}

static int read_all(struct task *tk, struct channel *ch)
{
	int r = 0;

	while (!ch->freed) {
		_cleanup_(ipc_message_done) struct ipc_message m = { 0 };

		r = receive(ch->io.fd, ch->peer, ch->self, &m);
		if (r == -EAGAIN) {
			r = io_wait(tk, &ch->io, IO_READ, NEVER);
			if (r < 0)
				break;
			continue;
		}
		if (r <= 0)
			break;
		if (m.packet->reply)
			dispatch_reply(ch, &m);
		else
			ch->handler(tk, ch, &m, ch->arg);
	}
	return r;
}

static void reader(struct task *tk, void *arg)
{
	struct channel *ch = arg;
	int r = read_all(tk, ch);

	if (!ch->freed) {
		end_calls(ch, -EPIPE);
		if (ch->closed)
			ch->closed(ch, r, ch->arg);
	}
	leave(ch);
}

int channel_new(struct loop *loop, int fd, Locum__Process self, Locum__Process peer, uint32_t index,
		ipc_handler *handler, ipc_closed *closed, void *arg, struct channel **ret_channel)
{
	struct channel *ch = calloc(1, sizeof(*ch));
	int r;

	if (!ch)
		return -ENOMEM;
	*ch = (struct channel){ .loop = loop,
				.self = self,
				.peer = peer,
				.index = index,
				.handler = handler,
				.closed = closed,
				.arg = arg,
				.next_call = 1,
				.users = 1 };
	map_init(&ch->calls);
	signal_init(&ch->writable);
	r = io_init(&ch->io, loop, fd);
	if (r < 0) {
		free(ch);
		return r;
	}
	r = task_start(loop, NULL, "ipc reader", reader, ch);
	if (r < 0) {
		io_release(&ch->io);
		free(ch);
		return r;
	}
	*ret_channel = ch;
	return 0;
}

/* Waits until the socket may take another datagram. One task waits for the kernel, the rest for it. */
static int wait_writable(struct task *tk, struct channel *ch, nsec deadline)
{
	int r;

	if (ch->writer_waits)
		return signal_wait(tk, &ch->writable, deadline);
	ch->writer_waits = true;
	r = io_wait(tk, &ch->io, IO_WRITE, deadline);
	ch->writer_waits = false;
	signal_raise(&ch->writable);
	return r;
}

int ipc_send(struct task *tk, struct channel *ch, const Locum__Packet *packet, int fd,
	     nsec deadline)
{
	int r = 0;

	if (!ch || ch->freed)
		return -EPIPE;
	ch->users++;
	for (;;) {
		str bytes;

		/* Packed again after every wait: the buffer is shared by all. */
		r = pack(packet, &bytes);
		if (r < 0)
			break;
		r = (int)sys_send_fds(ch->io.fd, bytes, &fd, fd >= 0 ? 1 : 0);
		if (r != -EAGAIN)
			break;
		r = wait_writable(tk, ch, deadline);
		if (ch->freed)
			r = -EPIPE;
		if (r < 0)
			break;
	}
	leave(ch);
	if (r == -ECONNRESET) /* gone is gone, whatever it left unread */
		r = -EPIPE;
	return r < 0 ? r : 0;
}

int ipc_call(struct task *tk, struct channel *ch, Locum__Packet *packet, int fd,
	     struct ipc_message *ret_reply, nsec deadline)
{
	struct pending p = { .caller = tk, .ret_reply = ret_reply, .result = 1 };
	int r;

	*ret_reply = (struct ipc_message){ 0 };
	if (!ch || ch->freed)
		return -EPIPE;
	packet->call = ch->next_call++;
	r = map_insert(&ch->calls, &p.link, packet->call);
	if (r < 0)
		return r;
	ch->users++;
	r = ipc_send(tk, ch, packet, fd, deadline);
	while (r == 0 && p.result == 1)
		r = task_park(tk, deadline);
	if (p.result == 1)
		map_remove(&ch->calls, &p.link);
	else
		r = p.result;
	leave(ch);
	return r;
}

int ipc_reply(struct task *tk, struct channel *ch, uint64_t call, Locum__Packet *packet, int fd,
	      nsec deadline)
{
	packet->call = call;
	packet->reply = true;
	return ipc_send(tk, ch, packet, fd, deadline);
}

/* --- without a loop --- */

static int wait_blocking(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, -1) < 0 && errno != EINTR ? -errno : 0;
}

int ipc_send_blocking(int fd, const Locum__Packet *packet)
{
	str bytes;
	int r;

	r = pack(packet, &bytes);
	while (r == 0) {
		r = (int)sys_send_fds(fd, bytes, NULL, 0);
		if (r != -EAGAIN)
			break;
		r = wait_blocking(fd, POLLOUT);
	}
	return r < 0 ? r : 0;
}

int ipc_recv_blocking(int fd, Locum__Process from, struct ipc_message *ret)
{
	int r;

	do {
		r = receive(fd, from, LOCUM__PROCESS__LOCUM, ret);
		if (r != -EAGAIN)
			break;
		r = wait_blocking(fd, POLLIN);
	} while (r == 0);
	if (r == 0)
		return -EPIPE;
	return r < 0 ? r : 0;
}
