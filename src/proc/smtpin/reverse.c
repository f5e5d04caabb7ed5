#include "proc/smtpin/reverse.h"

#include "proc/smtpin/server.h"

#define LOOKUP_TIME (5 * NSEC_S)
#define LOOKUPS_MAX 1000 /* each has a task's stack */
#define NAME_MAX_BYTES 255

struct reverse {
	struct server *srv;
	unsigned refs;
	struct addr client;
	char *name;
};

void reverse_unref(struct reverse *r)
{
	if (!r || --r->refs > 0)
		return;
	free(r->name);
	free(r);
}

const char *reverse_name(const struct reverse *r)
{
	return r && r->name ? r->name : "";
}

static void take_name(struct reverse *r, const struct ipc_message *reply)
{
	const Locum__Packet *p = reply->packet;

	if (p->body_case != LOCUM__PACKET__BODY_REVERSE_NAMED || !p->reverse_named->name)
		return;
	if (!*p->reverse_named->name || strlen(p->reverse_named->name) > NAME_MAX_BYTES)
		return;
	r->name = strdup(p->reverse_named->name);
}

static void lookup(struct task *tk, void *arg)
{
	_cleanup_(ipc_message_done) struct ipc_message reply = { 0 };
	struct reverse *r = arg;
	Locum__ReverseName question = LOCUM__REVERSE_NAME__INIT;
	char address[ADDR_TEXT_SIZE];
	IPC_PACKET(packet, REVERSE_NAME, reverse_name, &question);

	question.address = address;
	addr_ip_text(&r->client, address);
	if (ipc_call(tk, r->srv->netd, &packet, -1, &reply, task_in(tk, LOOKUP_TIME)) == 0)
		take_name(r, &reply);
	r->srv->lookups--;
	reverse_unref(r);
}

struct reverse *reverse_start(struct server *srv, const struct addr *client)
{
	struct reverse *r;

	if (!srv->netd || srv->lookups >= LOOKUPS_MAX)
		return NULL;
	r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	*r = (struct reverse){ .srv = srv, .refs = 2, .client = *client };
	if (task_start(srv->loop, &srv->background, "reverse name", lookup, r) < 0) {
		free(r);
		return NULL;
	}
	srv->lookups++;
	return r;
}
