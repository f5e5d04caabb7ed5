#include "proc/smtpin/etrn.h"

#include "base/log.h"

#include <stdio.h>

#define ETRN_TIME (5 * NSEC_S)
/* Domains that one @name starts: each is a question to spoold. */
#define DOMAINS_MAX 20

/* Is `domain` the node, or, for @name, below it? */
static bool matches(str node, str domain)
{
	str name = str_from(node, 1);

	if (!str_starts(node, STR("@")))
		return str_case_eq(node, domain);
	if (str_case_eq(name, domain))
		return true;
	return domain.n > name.n && str_case_ends(domain, name) &&
	       domain.p[domain.n - name.n - 1] == '.';
}

static bool any_match(const struct conf *c, str node)
{
	if (!str_starts(node, STR("@")))
		return conf_domain(c, node) != NULL;
	for (size_t i = 0; i < c->domain_count; i++)
		if (matches(node, c->domains[i].name))
			return true;
	return false;
}

enum answer do_etrn(struct session *s, const struct smtp_command *c)
{
	str name = str_from(c->argument, str_starts(c->argument, STR("@")));

	if (s->hello == HELLO_NONE)
		return ANSWER_HELLO_FIRST;
	if (s->transaction)
		return ANSWER_ETRN_IN_TRANSACTION;
	if (!smtp_domain_valid(name)) /* #queue too: we have no names for queues */
		return ANSWER_ARGUMENT_INVALID;
	return any_match(s->settings->conf, c->argument) ? ANSWER_START_ETRN : ANSWER_ETRN_NOT_OURS;
}

/* How many messages wait for the domain; -EBUSY: it was started a moment ago. */
static int64_t start_domain(struct task *tk, struct session *s, const struct conf_domain *d)
{
	_cleanup_(ipc_message_done) struct ipc_message reply = { 0 };
	Locum__Etrn etrn = LOCUM__ETRN__INIT;
	IPC_PACKET(packet, ETRN, etrn, &etrn);
	int r;

	etrn.domain = (char *)d->name.p;
	r = ipc_call(tk, s->srv->spoold, &packet, -1, &reply, task_in(tk, ETRN_TIME));
	if (r < 0)
		return r;
	if (reply.packet->body_case != LOCUM__PACKET__BODY_ETRN_ANSWERED)
		return -EPROTO;
	if (!reply.packet->etrn_answered->started)
		return -EBUSY;
	return (int64_t)MIN(reply.packet->etrn_answered->messages, (uint64_t)INT32_MAX);
}

static int write_started(struct task *tk, struct session *s, int64_t messages)
{
	char text[80];
	int n;

	if (!messages)
		return session_answer(tk, s, ANSWER_ETRN_NOTHING);
	n = snprintf(text, sizeof(text), "253 2.0.0 %lld messages are on their way\r\n",
		     (long long)messages);
	must(n > 0 && (size_t)n < sizeof(text));
	return session_write(tk, s, str_mem(text, (size_t)n));
}

int etrn_start(struct task *tk, struct session *s, str node)
{
	const struct conf *c = s->settings->conf;
	char client[ADDR_TEXT_SIZE];
	int64_t messages = 0, r = -ENOENT;
	unsigned started = 0;

	for (size_t i = 0; i < c->domain_count && started < DOMAINS_MAX; i++) {
		if (!matches(node, c->domains[i].name))
			continue;
		r = start_domain(tk, s, &c->domains[i]);
		if (r < 0)
			break;
		messages += r;
		started++;
	}
	log_info("etrn", K("domain", node), K_Z("client", addr_ip_text(&s->client, client)),
		 K_INT("started", started), K_INT("messages", messages), K_ERR(r < 0 ? (int)r : 0));
	if (started)
		return write_started(tk, s, messages);
	return session_answer(tk, s, r == -EBUSY ? ANSWER_ETRN_TOO_SOON : ANSWER_ETRN_FAILED);
}
