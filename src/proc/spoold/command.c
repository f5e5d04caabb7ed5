/* The command line's connections. */
#include "proc/spoold/command.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "task/sys.h"

#include <stdarg.h>
#include <stdio.h>

#define CLIENTS_MAX 32
#define SEND_DEADLINE (60 * NSEC_S)
#define ERROR_MAX 1024

static const struct verb {
	Locum__Verb verb;
	command_fn *run;
} verbs[] = {
	{ LOCUM__VERB__STATUS, command_status },   { LOCUM__VERB__QUEUE, command_queue },
	{ LOCUM__VERB__SHOW, command_show },       { LOCUM__VERB__EXPORT, command_export },
	{ LOCUM__VERB__FLUSH, command_flush },     { LOCUM__VERB__HOLD, command_hold },
	{ LOCUM__VERB__RELEASE, command_release }, { LOCUM__VERB__DROP, command_drop },
	{ LOCUM__VERB__TRACE, command_trace },     { LOCUM__VERB__RELOAD, command_reload },
	{ LOCUM__VERB__UPGRADE, command_upgrade }, { LOCUM__VERB__RECIPIENTS, command_recipients },
};

/* --- answers --- */

int command_send(struct task *tk, struct command *c, Locum__Answer *answer, int fd)
{
	IPC_PACKET(packet, ANSWER, answer, answer);

	if (!c->client->channel)
		return -EPIPE;
	c->rows++;
	return ipc_reply(tk, c->client->channel, c->packet->call, &packet, fd,
			 task_in(tk, SEND_DEADLINE));
}

int command_fail(struct command *c, const char *format, ...)
{
	char text[ERROR_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	buf_reset(&c->error);
	buf_addf(&c->error, "%s", text);
	return 0;
}

bool command_rows_left(const struct command *c)
{
	return c->ask->rows_max == 0 || c->rows < c->ask->rows_max;
}

struct message *command_message(struct command *c)
{
	struct message *m;
	msg_id id;

	if (c->ask->id.len != sizeof(id)) {
		command_fail(c, "a message id is needed");
		return NULL;
	}
	memcpy(id.byte, c->ask->id.data, sizeof(id));
	m = message_find(c->client->sp, id);
	if (!m)
		command_fail(c,
			     finished_find(&c->client->sp->finished, id)
				     ? "this message is no longer in the spool; trace tells what "
				       "became of it"
				     : "no message with this id is in the spool");
	return m;
}

/* --- lists of ids --- */

void id_list_done(struct id_list *l)
{
	free(l->id);
}

static int by_age(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(msg_id)); /* ids begin with the time of arrival */
}

int id_list_of(struct spoold *sp, const struct sched_domain *domain, struct id_list *ret_list)
{
	size_t max = domain ? domain->queued + domain->held : sp->messages.count;
	struct id_list l = { .id = calloc(max + 1, sizeof(*l.id)) };

	if (!l.id)
		return -ENOMEM;
	if (domain) {
		LIST_EACH (&domain->entries, struct part, entry.in_domain, p)
			if (p->message->durable && l.count < max)
				l.id[l.count++] = p->message->id;
	} else {
		for (struct map_link *at = map_walk(&sp->messages, NULL); at;
		     at = map_walk(&sp->messages, at)) {
			const struct message *m = CONTAINER(at, struct message, link);

			if (m->durable)
				l.id[l.count++] = m->id;
		}
	}
	qsort(l.id, l.count, sizeof(*l.id), by_age);
	*ret_list = l;
	return 0;
}

/* --- clients --- */

static void client_free(struct client *client)
{
	list_remove(&client->link);
	client->sp->client_count--;
	free(client);
}

static void finish(struct task *tk, struct command *c)
{
	Locum__Answer answer = LOCUM__ANSWER__INIT;

	answer.last = true;
	answer.count = c->count;
	if (c->error.n > 0)
		answer.error = c->error.p;
	command_send(tk, c, &answer, -1);
}

static void command_free(struct command *c)
{
	struct client *client = c->client;

	client->busy = false;
	if (!client->channel)
		client_free(client);
	locum__packet__free_unpacked(c->packet, NULL);
	buf_done(&c->error);
	free(c);
}

static void run(struct task *tk, void *arg)
{
	struct command *c = arg;
	int r = command_fail(c, "this command is not known here");

	for (size_t i = 0; i < ELEMENTS(verbs); i++)
		if (verbs[i].verb == c->ask->verb) {
			buf_reset(&c->error);
			r = verbs[i].run(tk, c);
		}
	if (r == -ENOMEM)
		r = command_fail(c, "out of memory");
	if (r == 0)
		finish(tk, c);
	command_free(c);
}

static void handle(struct task *tk, struct channel *ch, struct ipc_message *m, void *arg)
{
	struct client *client = arg;
	struct command *c;

	(void)tk;
	(void)ch;
	/* One at a time: `locum` reads the whole answer before it asks again. */
	if (m->packet->body_case != LOCUM__PACKET__BODY_COMMAND || client->busy)
		return;
	c = calloc(1, sizeof(*c));
	if (!c)
		return;
	c->client = client;
	c->packet = TAKE(m->packet);
	c->ask = c->packet->command;
	buf_init(&c->error, ERROR_MAX);
	client->busy = true;
	if (task_start(client->sp->loop, &client->sp->commands, "command", run, c) < 0)
		command_free(c);
}

static void hang_up(struct client *client)
{
	channel_free(client->channel);
	client->channel = NULL;
	if (!client->busy)
		client_free(client);
}

static void closed(struct channel *ch, int r, void *arg)
{
	(void)ch;
	(void)r;
	hang_up(arg);
}

void command_client(struct spoold *sp, uint32_t uid, int fd)
{
	struct client *client;

	if (fd < 0)
		return;
	client = sp->client_count < CLIENTS_MAX ? calloc(1, sizeof(*client)) : NULL;
	if (!client || channel_new(sp->loop, fd, LOCUM__PROCESS__SPOOLD, LOCUM__PROCESS__LOCUM, uid,
				   handle, closed, client, &client->channel) < 0) {
		log_warn("command.not_served", K_INT("uid", uid),
			 K_INT("clients", sp->client_count));
		free(client);
		sys_close(fd);
		return;
	}
	client->sp = sp;
	client->uid = uid;
	list_append(&sp->clients, &client->link);
	sp->client_count++;
}

void command_done(struct spoold *sp)
{
	LIST_EACH (&sp->clients, struct client, link, client)
		hang_up(client);
}
