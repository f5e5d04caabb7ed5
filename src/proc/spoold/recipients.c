/* RECIPIENTS: the directory is state's; what the command line asks is handed on, part by part. */
#include "proc/spoold/command.h"

#include "base/cleanup.h"
#include "base/log.h"

#define STATE_TIME (20 * NSEC_S)

/* Asks, and sends the part on. 1: and it says that there is more behind *ret_after. */
static int hand_on(struct task *tk, struct command *c, Locum__AskDirectory *ask,
		   struct ipc_message *ret_reply)
{
	IPC_PACKET(packet, ASK_DIRECTORY, ask_directory, ask);
	Locum__Answer answer = LOCUM__ANSWER__INIT;
	const Locum__DirectoryPart *part;
	int r;

	r = ipc_call(tk, c->client->sp->state, &packet, -1, ret_reply, task_in(tk, STATE_TIME));
	if (r < 0 || ret_reply->packet->body_case != LOCUM__PACKET__BODY_DIRECTORY_PART)
		return command_fail(c, "the process that keeps the directory (state) does not "
				       "answer; look at the log, then try again");
	part = ret_reply->packet->directory_part;
	if (*part->error)
		return command_fail(c, "%s", part->error);
	c->count += part->count;
	answer.directory = ret_reply->packet->directory_part;
	r = command_send(tk, c, &answer, -1);
	return r < 0 ? r : part->more;
}

static int list(struct task *tk, struct command *c, const Locum__AskDirectory *asked)
{
	_cleanup_(ipc_message_done) struct ipc_message reply = { 0 };
	Locum__AskDirectory ask = *asked; /* whose bytes stay the packet's */
	int r;

	for (;;) {
		struct ipc_message next = { 0 };
		const Locum__DirectoryPart *part;

		r = hand_on(tk, c, &ask, &next);
		ipc_message_done(&reply);
		reply = next; /* `after` points into it */
		if (r != 1)
			return r;
		part = reply.packet->directory_part;
		c->count += part->n_entries;
		if (part->n_entries == 0 || (c->ask->rows_max && c->count >= c->ask->rows_max))
			return 0;
		ask.after = part->entries[part->n_entries - 1]->local;
	}
}

static int coverage_of_all(struct task *tk, struct command *c)
{
	_cleanup_(conf_unrefp) struct conf *conf = conf_ref(c->client->sp->conf);
	int r = 0;

	for (size_t i = 0; i < conf->domain_count && r == 0 && c->error.n == 0; i++) {
		_cleanup_(ipc_message_done) struct ipc_message reply = { 0 };
		Locum__AskDirectory ask = LOCUM__ASK_DIRECTORY__INIT;

		ask.verb = LOCUM__DIRECTORY_VERB__DIRECTORY_COVERAGE;
		ask.domain = (char *)conf->domains[i].name.p;
		if (conf->domains[i].recipients == RECIPIENTS_LEARN)
			r = hand_on(tk, c, &ask, &reply);
	}
	return r;
}

int command_recipients(struct task *tk, struct command *c)
{
	_cleanup_(ipc_message_done) struct ipc_message reply = { 0 };
	Locum__AskDirectory *ask = c->ask->directory;
	const struct conf_domain *d;
	int r;

	if (!ask)
		return command_fail(c, "the question is not complete");
	if (!*ask->domain && ask->verb == LOCUM__DIRECTORY_VERB__DIRECTORY_COVERAGE)
		return coverage_of_all(tk, c);
	d = conf_domain(c->client->sp->conf, str_of(ask->domain));
	if (!d)
		return command_fail(c, "%s is not a domain of ours", ask->domain);
	for (char *p = ask->domain; *p; p++)
		*p = (char)(*p >= 'A' && *p <= 'Z' ? *p + ('a' - 'A') : *p);
	if (ask->verb == LOCUM__DIRECTORY_VERB__DIRECTORY_LIST)
		return list(tk, c, ask);
	r = hand_on(tk, c, ask, &reply);
	if (r == 0 && c->error.n == 0 && ask->verb != LOCUM__DIRECTORY_VERB__DIRECTORY_COVERAGE)
		log_info(ask->verb == LOCUM__DIRECTORY_VERB__DIRECTORY_IMPORT ? "operator.import"
									      : "operator.forget",
			 K_INT("uid", c->client->uid), K_Z("domain", ask->domain),
			 K_INT("count", reply.packet->directory_part->count));
	return r < 0 ? r : 0;
}
