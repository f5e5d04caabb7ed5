#include "proc/state/state.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "proc/state/operator.h"
#include "task/sys.h"

#include <stdio.h>
#include <stdlib.h>

/* What is learned becomes durable so much later. */
#define COMMIT_PAUSE NSEC_S
#define SEND_TIME NSEC_S
#define OPERATOR_ARENA_MAX ((size_t)1 << 20)
#define ABSENT_SEND_TIME (100 * NSEC_MS)

/* A file that is damaged is of no further use: the next life begins anew. */
static void check(struct state *st, const char *doing, int r)
{
	if (r >= 0 || r == -ENOENT)
		return;
	log_error("directory.failed", K_Z("doing", doing), K_ERR(r));
	if (r != -EBADMSG)
		return;
	directory_condemn(st->directory);
	_exit(EXIT_FAILURE);
}

/* --- what is said to it --- */

static void tell_absent(struct task *tk, struct state *st, const char *domain)
{
	Locum__AskAbsent question = LOCUM__ASK_ABSENT__INIT;
	IPC_PACKET(packet, ASK_ABSENT, ask_absent, &question);

	question.domain = (char *)domain;
	ipc_send(tk, st->smtpout, &packet, -1, task_in(tk, ABSENT_SEND_TIME));
}

static void on_learn(struct task *tk, struct state *st, const struct conf *conf,
		     const Locum__Learn *learn)
{
	nsec now = sys_now_wall();
	str domain = str_of(learn->domain);
	int r = 0;

	/* A domain that is gone meanwhile: a reload reached us first. */
	if (!conf_domain(conf, domain))
		return;
	for (size_t i = 0; i < learn->n_replies && r == 0; i++) {
		const Locum__LearnedReply *l = learn->replies[i];
		str address = str_mem(l->address.data, l->address.len);

		r = learn->absent
			    ? directory_learn_absent(st->directory, domain, str_of(l->reply), now)
			    : directory_learn(st->directory, domain, address, str_of(l->reply),
					      now);
	}
	check(st, "learn", r);
	if (directory_dirty(st->directory))
		signal_raise(&st->changed);
	if (!learn->absent && directory_wants_absent(st->directory, domain, now))
		tell_absent(tk, st, learn->domain);
}

static void on_ask(struct task *tk, struct state *st, struct channel *ch, uint64_t call,
		   const Locum__AskRecipient *ask)
{
	static const Locum__RecipientWord words[] = {
		[WORD_NONE] = LOCUM__RECIPIENT_WORD__RECIPIENT_NO_WORD,
		[WORD_KNOWN] = LOCUM__RECIPIENT_WORD__RECIPIENT_KNOWN,
		[WORD_REFUSED] = LOCUM__RECIPIENT_WORD__RECIPIENT_REFUSED,
	};
	Locum__RecipientFacts said = LOCUM__RECIPIENT_FACTS__INIT;
	IPC_PACKET(packet, RECIPIENT_FACTS, recipient_facts, &said);
	struct directory_facts facts;

	check(st, "ask",
	      directory_ask(st->directory, str_of(ask->domain),
			    str_mem(ask->address.data, ask->address.len), sys_now_wall(), &facts));
	said.word = words[facts.word];
	said.reply = facts.reply;
	said.covered = facts.covered;
	said.takes_all = facts.takes_all;
	ipc_reply(tk, ch, call, &packet, -1, task_in(tk, SEND_TIME));
}

static void on_operator(struct task *tk, struct state *st, struct channel *ch, uint64_t call,
			const Locum__AskDirectory *ask)
{
	_cleanup_(arena_done) struct arena arena;
	Locum__DirectoryPart said = LOCUM__DIRECTORY_PART__INIT;
	IPC_PACKET(packet, DIRECTORY_PART, directory_part, &said);

	arena_init(&arena, OPERATOR_ARENA_MAX);
	check(st, "operator", operator_answer(st->directory, ask, sys_now_wall(), &arena, &said));
	if (directory_dirty(st->directory))
		signal_raise(&st->changed);
	ipc_reply(tk, ch, call, &packet, -1, task_in(tk, SEND_TIME));
}

static void message(struct task *tk, struct channel *ch, struct ipc_message *m, void *arg)
{
	struct worker *w = arg;

	if (m->packet->body_case == LOCUM__PACKET__BODY_LEARN)
		on_learn(tk, w->arg, w->conf, m->packet->learn);
	else if (m->packet->body_case == LOCUM__PACKET__BODY_ASK_RECIPIENT)
		on_ask(tk, w->arg, ch, m->packet->call, m->packet->ask_recipient);
	else if (m->packet->body_case == LOCUM__PACKET__BODY_ASK_DIRECTORY)
		on_operator(tk, w->arg, ch, m->packet->call, m->packet->ask_directory);
}

/* --- life --- */

static int acquire(struct task *tk, struct worker *w, struct sandbox_request *request)
{
	struct state *st = w->arg;
	const char *begun;
	char dir[1024];
	int r;

	(void)tk;
	(void)request;
	snprintf(dir, sizeof(dir), "%.*s/state", STR_ARG(w->conf->state_dir));
	r = directory_open(dir, &directory_limits, &st->directory, &begun);
	if (r == 0 && begun)
		log_error("directory.begun_anew", K_Z("directory", dir), K_Z("reason", begun));
	if (r < 0)
		log_error("directory.open", K_Z("directory", dir), K_ERR(r));
	return r;
}

static void commit_main(struct task *tk, void *arg)
{
	struct state *st = arg;

	for (;;) {
		while (!directory_dirty(st->directory))
			if (signal_wait(tk, &st->changed, NEVER) < 0)
				return;
		if (task_sleep(tk, COMMIT_PAUSE) < 0)
			return;
		check(st, "commit", directory_commit(st->directory));
	}
}

static int serve(struct task *tk, struct worker *w)
{
	struct state *st = w->arg;

	(void)tk;
	group_init(&st->tasks, w->loop);
	signal_init(&st->changed);
	return task_start(w->loop, &st->tasks, "commit", commit_main, st);
}

static void peer(struct task *tk, struct worker *w, struct channel *ch)
{
	struct state *st = w->arg;

	(void)tk;
	if (channel_peer(ch) == LOCUM__PROCESS__SMTPOUT)
		st->smtpout = ch;
}

static void peer_gone(struct worker *w, struct channel *ch)
{
	struct state *st = w->arg;

	if (st->smtpout == ch)
		st->smtpout = NULL;
}

static void finish(struct task *tk, struct worker *w)
{
	struct state *st = w->arg;

	group_cancel(&st->tasks);
	group_wait(tk, &st->tasks, NEVER);
	check(st, "commit", directory_commit(st->directory));
	directory_close(TAKE(st->directory));
}

const struct worker_hooks state_hooks = {
	.self = LOCUM__PROCESS__STATE,
	.acquire = acquire,
	.serve = serve,
	.peer = peer,
	.peer_gone = peer_gone,
	.message = message,
	.shutdown = finish,
};
