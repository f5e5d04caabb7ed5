/*
 * Whatever a process that was broken into may send to another: the first two bytes choose who it says it is
 * and whom it talks to, the rest is datagrams, each behind its length. Everything that gets past the table is packed
 * again, and read as the snapshot, envelope or state that it may claim to be. A call is under way all the while.
 */
#include "base/buf.h"
#include "base/cleanup.h"
#include "conf/conf.h"
#include "ipc/ipc.h"

#include <stdlib.h>
#include <sys/socket.h>

#define DATAGRAMS_MAX 32

struct talk {
	struct loop *loop;
	struct channel *ch;
	bool closed;
	unsigned taken;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Every field of it can be read: packing visits them all. */
static void say_again(const Locum__Packet *packet)
{
	size_t bytes = locum__packet__get_packed_size(packet);
	uint8_t *packed = malloc(bytes + 1);

	must(packed && locum__packet__pack(packet, packed) == bytes);
	free(packed);
}

static void handle(struct task *tk, struct channel *ch, struct ipc_message *m, void *arg)
{
	struct talk *t = arg;
	Locum__Ready ready = LOCUM__READY__INIT;
	IPC_PACKET(reply, READY, ready, &ready);

	must(m->packet->body_case != LOCUM__PACKET__BODY__NOT_SET);
	t->taken++;
	say_again(m->packet);
	if (m->packet->call)
		ipc_reply(tk, ch, m->packet->call, &reply, -1, task_in(tk, NSEC_MS));
}

static void closed(struct channel *ch, int r, void *arg)
{
	struct talk *t = arg;

	must(r == 0 || r == -EPROTO || r == -EMSGSIZE || r == -ECONNRESET);
	t->closed = true;
	t->ch = NULL;
	channel_free(ch);
}

static void call(struct task *tk, void *arg)
{
	struct talk *t = arg;
	Locum__Probe probe = LOCUM__PROBE__INIT;
	IPC_PACKET(packet, PROBE, probe, &probe);
	struct ipc_message reply = { 0 };
	int r = ipc_call(tk, t->ch, &packet, -1, &reply, task_in(tk, NSEC_S));

	if (r == 0)
		say_again(reply.packet);
	ipc_message_done(&reply);
}

static void send_datagrams(int fd, const uint8_t *data, size_t n)
{
	for (unsigned i = 0; n > 2 && i < DATAGRAMS_MAX; i++) {
		size_t length = MIN((size_t)(data[0] | data[1] << 8), n - 2);

		if (length > 0 && send(fd, data + 2, length, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			return;
		data += 2 + length;
		n -= 2 + length;
	}
}

static void talk(Locum__Process self, Locum__Process peer, const uint8_t *data, size_t n)
{
	static struct loop *loop;
	struct talk t = { 0 };
	int pair[2];

	must(loop || loop_new(&loop) == 0);
	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
	t.loop = loop;
	must(channel_new(loop, pair[0], self, peer, 0, handle, closed, &t, &t.ch) == 0);
	must(task_start(loop, NULL, "call", call, &t) == 0);
	send_datagrams(pair[1], data, n);
	shutdown(pair[1], SHUT_WR);
	must(loop_run(loop) == 0);
	must(t.closed);
	close(pair[1]);
}

static void read_as_stored(const uint8_t *data, size_t n)
{
	Locum__Envelope *envelope = locum__envelope__unpack(NULL, n, data);
	Locum__StoredState *state = locum__stored_state__unpack(NULL, n, data);
	struct conf *conf = NULL;

	if (envelope)
		locum__envelope__free_unpacked(envelope, NULL);
	if (state)
		locum__stored_state__free_unpacked(state, NULL);
	if (conf_unpack(str_mem(data, n), &conf) == 0)
		conf_unref(conf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	if (n < 2)
		return 0;
	talk((Locum__Process)(1 + data[0] % LOCUM__PROCESS__LOCUM),
	     (Locum__Process)(1 + data[1] % LOCUM__PROCESS__LOCUM), data + 2, n - 2);
	read_as_stored(data + 2, n - 2);
	return 0;
}
