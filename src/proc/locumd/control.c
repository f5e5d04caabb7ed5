#include "proc/locumd/locumd.h"

#include "base/cleanup.h"
#include "base/log.h"

#define TURNED_AWAY_MAX 16
#define TURN_AWAY_TIME (2 * NSEC_S)
#define SUCCESSOR_TIME (10 * NSEC_S)

/* A client of the control socket that nobody serves: it is told why. */
struct turned_away {
	struct supervisor *sup;
	struct io io;
	const char *why;
	uint32_t exit; /* status of the command, see locum(1) */
};

#define EXIT_NOT_RUNNING 4
#define EXIT_REFUSED 5

static void turned_away_free(struct turned_away **t)
{
	if (!*t)
		return;
	io_done(&(*t)->io);
	(*t)->sup->turned_away--;
	free(*t);
}

static void turn_away_main(struct task *tk, void *arg)
{
	_cleanup_(turned_away_free) struct turned_away *t = arg;
	static char command[IPC_PACKET_MAX];
	Locum__Answer answer = LOCUM__ANSWER__INIT;
	IPC_PACKET(packet, ANSWER, answer, &answer);
	nsec deadline = task_in(tk, TURN_AWAY_TIME);

	/* Its command first, unread: closing a socket with something left in it would reset the
	 * connection, and our answer would be lost. */
	while (sys_recv(t->io.fd, command, sizeof(command)) == -EAGAIN)
		if (io_wait(tk, &t->io, IO_READ, deadline) < 0)
			return;
	answer.last = true;
	answer.error = (char *)t->why;
	answer.exit = t->exit;
	ipc_send_blocking(t->io.fd, &packet);
}

static void turn_away(struct supervisor *sup, int fd, uint32_t exit, const char *why)
{
	struct turned_away *t = sup->turned_away < TURNED_AWAY_MAX ? calloc(1, sizeof(*t)) : NULL;

	if (!t || io_init(&t->io, sup->loop, fd) < 0) {
		free(t);
		sys_close(fd);
		return;
	}
	t->sup = sup;
	t->why = why;
	t->exit = exit;
	sup->turned_away++;
	if (task_start(sup->loop, NULL, "turn away", turn_away_main, t) < 0)
		turned_away_free(&t);
}

static bool may_command(const struct supervisor *sup, int fd, uid_t *ret_uid)
{
	struct ucred peer;
	socklen_t length = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0)
		return false;
	*ret_uid = peer.uid;
	return peer.uid == 0 || peer.uid == geteuid() || peer.uid == sup->uid;
}

/* In the middle of an upgrade there is one in a moment. */
static struct child *spoold_now(struct task *tk, struct supervisor *sup)
{
	nsec until = task_in(tk, SUCCESSOR_TIME);

	for (;;) {
		struct child *c = child_find(sup, LOCUM__PROCESS__SPOOLD);

		if (!sup->succeeding || (c->ready && !c->finish_by) || task_now(tk) >= until)
			return c;
		signal_wait(tk, &sup->changed, until);
	}
}

static void on_client(struct task *tk, struct supervisor *sup, int fd)
{
	Locum__CommandClient client = LOCUM__COMMAND_CLIENT__INIT;
	IPC_PACKET(packet, COMMAND_CLIENT, command_client, &client);
	struct child *spoold;
	uid_t uid = 0;

	if (!may_command(sup, fd, &uid)) {
		log_warn("command.refused", K_INT("uid", uid));
		turn_away(sup, fd, EXIT_REFUSED,
			  "only root and the user that Locum runs as may do this");
		return;
	}
	client.uid = uid;
	spoold = spoold_now(tk, sup);
	if (spoold->ready &&
	    ipc_send(tk, spoold->control, &packet, fd, task_in(tk, SEND_TIME)) == 0) {
		sys_close(fd);
		return;
	}
	turn_away(sup, fd, EXIT_NOT_RUNNING,
		  "spoold is not running; it is being restarted (see the log)");
}

void control_main(struct task *tk, void *supervisor)
{
	struct supervisor *sup = supervisor;

	while (!sup->stopping) {
		int fd = sys_accept(sup->control.fd, NULL, NULL);

		if (fd >= 0)
			on_client(tk, sup, fd);
		else if (fd == -EAGAIN && io_wait(tk, &sup->control, IO_READ, NEVER) < 0)
			return;
		else if (fd != -EAGAIN)
			task_sleep(tk, 100 * NSEC_MS); /* out of descriptors, most likely */
	}
}
