#include "proc/locumd/locumd.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "proc/memory_file.h"

#include <fcntl.h>

/* --- the configuration, packed --- */

static int snapshot_make(const struct conf *conf, bool with_keys, int *ret_fd)
{
	_cleanup_(buf_done) struct buf packed = { 0 };
	int r;

	buf_init(&packed, CONF_PACKED_MAX);
	r = conf_pack(conf, with_keys, &packed);
	if (r < 0)
		return r;
	r = memory_file_make("locum-conf", buf_str(&packed), ret_fd);
	if (with_keys)
		explicit_bzero(packed.p, packed.n);
	return r;
}

int snapshots_make(const struct conf *conf, int *ret_plain, int *ret_with_keys)
{
	_cleanup_(closep) int plain = -1;
	int r;

	r = snapshot_make(conf, false, &plain);
	if (r < 0)
		return r;
	r = snapshot_make(conf, true, ret_with_keys);
	if (r < 0)
		return r;
	*ret_plain = TAKE_FD(plain);
	return 0;
}

int snapshot_read(int fd, struct conf **ret_conf)
{
	_cleanup_(buf_done) struct buf packed = { 0 };
	int r = memory_file_read(fd, CONF_PACKED_MAX, &packed);

	if (r < 0)
		return r;
	r = conf_unpack(buf_str(&packed), ret_conf);
	explicit_bzero(packed.p, packed.n);
	return r;
}

int start_send(struct task *tk, struct child *c, bool again)
{
	const struct supervisor *sup = c->sup;
	Locum__Start start = LOCUM__START__INIT;
	IPC_PACKET(packet, START, start, &start);

	start.index = c->index;
	start.again = again;
	start.uid = sup->uid;
	start.gid = sup->gid;
	/* Keys go to those who speak TLS as a server, and to nobody else. */
	return ipc_send(tk, c->control, &packet,
			c->process == LOCUM__PROCESS__SMTPIN ? sup->snapshot_with_keys
							     : sup->snapshot,
			task_in(tk, SEND_TIME));
}

/* --- what smtpin needs beyond it --- */

int clients_send(struct task *tk, struct child *c)
{
	Locum__ClientTable table = LOCUM__CLIENT_TABLE__INIT;
	IPC_PACKET(packet, CLIENT_TABLE, client_table, &table);
	Locum__ClientMemory memory = LOCUM__CLIENT_MEMORY__INIT;
	IPC_PACKET(memory_packet, CLIENT_MEMORY, client_memory, &memory);
	int r;

	r = ipc_send(tk, c->control, &packet, c->sup->clients_file, task_in(tk, SEND_TIME));
	if (r < 0)
		return r;
	return ipc_send(tk, c->control, &memory_packet, c->sup->client_memory_file,
			task_in(tk, SEND_TIME));
}

int listeners_send(struct task *tk, struct child *c)
{
	struct supervisor *sup = c->sup;
	int r = 0;

	for (size_t i = 0; r == 0 && i < sup->listeners.count; i++) {
		Locum__Listener listener = LOCUM__LISTENER__INIT;
		IPC_PACKET(packet, LISTENER, listener, &listener);

		listener.name = sup->listeners.entry[i].name;
		listener.last = i + 1 == sup->listeners.count;
		r = ipc_send(tk, c->control, &packet, sup->listeners.entry[i].fd,
			     task_in(tk, SEND_TIME));
	}
	return r;
}

/* --- who talks to whom --- */

static const struct {
	Locum__Process a, b;
} pairs[] = {
	{ LOCUM__PROCESS__SMTPIN, LOCUM__PROCESS__SPOOLD },
	{ LOCUM__PROCESS__SMTPIN, LOCUM__PROCESS__NETD },
	{ LOCUM__PROCESS__SMTPIN, LOCUM__PROCESS__SMTPOUT },
	{ LOCUM__PROCESS__SPOOLD, LOCUM__PROCESS__SMTPOUT },
	{ LOCUM__PROCESS__SMTPOUT, LOCUM__PROCESS__NETD },
	{ LOCUM__PROCESS__SMTPOUT, LOCUM__PROCESS__STATE },
	{ LOCUM__PROCESS__SMTPIN, LOCUM__PROCESS__STATE },
	{ LOCUM__PROCESS__SPOOLD, LOCUM__PROCESS__STATE },
};

bool peers_are_pair(Locum__Process x, Locum__Process y)
{
	for (size_t i = 0; i < ELEMENTS(pairs); i++)
		if ((pairs[i].a == x && pairs[i].b == y) || (pairs[i].a == y && pairs[i].b == x))
			return true;
	return false;
}

static int peer_send(struct task *tk, struct child *to, const struct child *other, int fd)
{
	Locum__Peer peer = LOCUM__PEER__INIT;
	IPC_PACKET(packet, PEER, peer, &peer);

	peer.process = other->process;
	peer.index = other->index;
	return ipc_send(tk, to->control, &packet, fd, task_in(tk, SEND_TIME));
}

static int connect_pair(struct task *tk, struct child *x, struct child *y)
{
	_cleanup_(closep) int x_end = -1;
	_cleanup_(closep) int y_end = -1;
	int pair[2];
	int r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return -errno;
	x_end = pair[0];
	y_end = pair[1];
	r = peer_send(tk, x, y, x_end);
	if (r < 0)
		return r;
	return peer_send(tk, y, x, y_end);
}

void peers_connect(struct task *tk, struct child *c)
{
	struct supervisor *sup = c->sup;

	for (size_t i = 0; i < sup->child_count; i++) {
		struct child *other = &sup->child[i];
		int r;

		if (!other->ready || !peers_are_pair(c->process, other->process) ||
		    child_is_retired(other))
			continue;
		r = connect_pair(tk, c, other);
		/* Whoever died meanwhile is connected when it is ready again. */
		if (r < 0)
			log_warn("peer.failed", K_Z("process", c->title), K_Z("peer", other->title),
				 K_ERR(r));
	}
}
