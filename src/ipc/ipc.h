/*
 * ipc: how processes talk. One SOCK_SEQPACKET datagram is one protobuf Packet, descriptors ride along.
 * A channel knows who is at its other end and which bodies may come from there (the table in ipc.c);
 * anything else, or a malformed datagram, closes it: -EPROTO.
 *
 * Calls carry a number; the channel's reader task hands replies to the caller and everything else to
 * the handler. The peer's death ends every pending call with -EPIPE. Senders never queue without
 * bound: past the socket's buffer they park.
 */
#pragma once

#include "base/map.h"
#include "ipc/locum.pb-c.h"
#include "task/sys.h"
#include "task/task.h"

/* A packet at most. Below the default socket buffer (212,992 bytes), so that sending one never depends
 * on a sysctl; smtpin bounds envelopes at IPC_ENVELOPE_MAX and answers 452 past it. */
#define IPC_PACKET_MAX (192 * 1024)
#define IPC_ENVELOPE_MAX (128 * 1024)

struct channel;

/* A received packet with what rode along. Owned by whoever declared it. */
struct ipc_message {
	Locum__Packet *packet;
	int fd[SYS_FDS_MAX]; /* take with TAKE_FD; the rest is closed by ipc_message_done */
	size_t fd_count;
};

void ipc_message_done(struct ipc_message *m);
/* The n-th descriptor, now the caller's, or -1. */
int ipc_take_fd(struct ipc_message *m, size_t n);

/* Called in the channel's reader task: must not park for long; starts a task for anything long. The
 * message is freed after the return; whatever the handler needs longer it takes. */
typedef void ipc_handler(struct task *tk, struct channel *ch, struct ipc_message *m, void *arg);
/* The channel broke (r < 0) or the peer closed it (r = 0): called once, last, from the reader task.
 * The handler may call channel_free. */
typedef void ipc_closed(struct channel *ch, int r, void *arg);

/* Takes fd over and starts the reader task. 0 or a negative errno. */
int channel_new(struct loop *loop, int fd, Locum__Process self, Locum__Process peer, uint32_t index,
		ipc_handler *handler, ipc_closed *closed, void *arg, struct channel **ret_channel);
/* Closes; pending calls end with -EPIPE. */
void channel_free(struct channel *ch);
Locum__Process channel_peer(const struct channel *ch);
uint32_t channel_index(const struct channel *ch);
/* Its descriptor, which stays the channel's. */
int channel_fd(const struct channel *ch);

/* The descriptor in `fd` stays the caller's; -1: none. */
int ipc_send(struct task *tk, struct channel *ch, const Locum__Packet *packet, int fd,
	     nsec deadline);
/* Sends with a fresh call number (set in *packet) and parks for the reply. A NULL channel: -EPIPE. */
int ipc_call(struct task *tk, struct channel *ch, Locum__Packet *packet, int fd,
	     struct ipc_message *ret_reply, nsec deadline);
/* Answers `question` on the channel it came from: copies its call number into *packet. */
int ipc_reply(struct task *tk, struct channel *ch, uint64_t call, Locum__Packet *packet, int fd,
	      nsec deadline);

/* Without a loop or a task, for the command line: blocking, on a plain descriptor. */
int ipc_send_blocking(int fd, const Locum__Packet *packet);
int ipc_recv_blocking(int fd, Locum__Process from, struct ipc_message *ret);

/* The table: may `from` send this body to `to`? */
bool ipc_allowed(Locum__Process from, Locum__Process to, Locum__Packet__BodyCase body);

/* A Packet with its body set, for the stack:  IPC_PACKET(p, PROBE, probe, &probe);  */
#define IPC_PACKET(name, CASE, member, value)                                                      \
	Locum__Packet name = LOCUM__PACKET__INIT;                                                  \
	name.body_case = LOCUM__PACKET__BODY_##CASE;                                               \
	name.member = (value)
