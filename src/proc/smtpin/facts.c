#include "proc/smtpin/facts.h"

#include "base/cleanup.h"
#include "proc/smtpin/server.h"

/* netd's own time and the way there and back. */
#define ASK_TIME (6 * NSEC_S)
#define ASKED_MAX 1000 /* each has a task's stack */
#define NAME_MAX_BYTES 255

/* One list that has the client. */
struct listing {
	uint32_t code;
	char list[64];
};

struct facts {
	struct server *srv;
	unsigned refs;
	struct addr client;
	unsigned asking;                         /* tasks that ask */
	uint8_t reverse, confirmed, helo_exists; /* Locum__Found */
	bool helo_asking, helo_changed;          /* the second: while it was asked about */
	char *name;
	char *helo; /* asked about last */
	struct listing *listings;
	size_t listing_count;
	struct signal answered;
};

void facts_unref(struct facts *f)
{
	if (!f || --f->refs > 0)
		return;
	free(f->name);
	free(f->helo);
	free(f->listings);
	free(f);
}

/* --- what netd says --- */

static uint8_t found(Locum__Found value)
{
	return value == LOCUM__FOUND__FOUND_YES || value == LOCUM__FOUND__FOUND_NO
		       ? (uint8_t)value
		       : LOCUM__FOUND__FOUND_UNKNOWN;
}

static void take_listings(struct facts *f, const Locum__ClientFacts *c)
{
	size_t count = MIN(c->n_lists, (size_t)CONF_SYMBOLS_MAX);

	if (!count || f->listings)
		return;
	f->listings = calloc(count, sizeof(*f->listings));
	if (!f->listings)
		return;
	for (size_t i = 0; i < count; i++) {
		struct listing *l = &f->listings[f->listing_count];

		l->code = c->lists[i]->code;
		f->listing_count += str_copy(str_of(c->lists[i]->list), l->list, sizeof(l->list));
	}
}

static void take_address(struct facts *f, const Locum__ClientFacts *c)
{
	f->reverse = found(c->reverse);
	f->confirmed = found(c->confirmed);
	if (*c->name && strlen(c->name) <= NAME_MAX_BYTES && !f->name)
		f->name = strdup(c->name);
	take_listings(f, c);
}

/* --- asking: one task for the address, one for HELO names --- */

/* 0 with the reply. */
static int ask(struct task *tk, struct facts *f, bool about_helo, struct ipc_message *ret)
{
	/* A copy: it may change while this waits. */
	_cleanup_(freep) char *helo = about_helo ? strdup(f->helo) : NULL;
	Locum__AskClient question = LOCUM__ASK_CLIENT__INIT;
	char address[ADDR_TEXT_SIZE];
	IPC_PACKET(packet, ASK_CLIENT, ask_client, &question);
	int r;

	if (about_helo && !helo)
		return -ENOMEM;
	if (about_helo)
		question.helo = helo;
	else
		question.address = (char *)addr_ip_text(&f->client, address);
	r = ipc_call(tk, f->srv->netd, &packet, -1, ret, task_in(tk, ASK_TIME));
	if (r < 0)
		return r;
	return ret->packet->body_case == LOCUM__PACKET__BODY_CLIENT_FACTS ? 0 : -EPROTO;
}

static void ask_end(struct facts *f)
{
	f->srv->lookups--;
	f->asking--;
	signal_raise(&f->answered);
	facts_unref(f);
}

static void ask_address(struct task *tk, void *arg)
{
	_cleanup_(ipc_message_done) struct ipc_message reply = { 0 };
	struct facts *f = arg;

	if (ask(tk, f, false, &reply) == 0)
		take_address(f, reply.packet->client_facts);
	ask_end(f);
}

static void ask_helo(struct task *tk, void *arg)
{
	struct facts *f = arg;
	int r;

	do {
		_cleanup_(ipc_message_done) struct ipc_message reply = { 0 };

		f->helo_changed = false;
		r = ask(tk, f, true, &reply);
		if (r == 0 && !f->helo_changed)
			f->helo_exists = found(reply.packet->client_facts->helo);
	} while (r == 0 && f->helo_changed);
	f->helo_asking = false;
	ask_end(f);
}

/* 0, or a negative errno: it stays unknown. */
static int start_asking(struct facts *f, task_fn *fn)
{
	struct server *srv = f->srv;
	int r;

	if (!srv->netd || srv->lookups >= ASKED_MAX)
		return -EAGAIN;
	r = task_start(srv->loop, &srv->background, "facts", fn, f);
	if (r < 0)
		return r;
	srv->lookups++;
	f->asking++;
	f->refs++;
	return 0;
}

struct facts *facts_start(struct server *srv, const struct addr *client)
{
	struct facts *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	*f = (struct facts){ .srv = srv, .refs = 1, .client = *client };
	signal_init(&f->answered);
	/* When it cannot be asked now, the HELO name may still be, later. */
	start_asking(f, ask_address);
	return f;
}

void facts_helo(struct facts *f, str helo)
{
	char *copy;

	if (!f || (f->helo && str_eq(str_of(f->helo), helo)))
		return;
	copy = strndup(helo.p, helo.n);
	if (!copy)
		return;
	free(f->helo);
	f->helo = copy;
	f->helo_exists = LOCUM__FOUND__FOUND_UNKNOWN;
	f->helo_changed = true;
	if (!f->helo_asking)
		f->helo_asking = start_asking(f, ask_helo) == 0;
}

int facts_wait(struct task *tk, struct facts *f, nsec deadline)
{
	int r = 0;

	while (f && r == 0 && f->asking)
		r = signal_wait(tk, &f->answered, deadline);
	return r;
}

int facts_wait_name(struct task *tk, struct facts *f, nsec deadline)
{
	int r = 0;

	while (f && r == 0 && f->asking > (unsigned)f->helo_asking)
		r = signal_wait(tk, &f->answered, deadline);
	return r;
}

/* --- what is known --- */

const char *facts_name(const struct facts *f)
{
	return f && f->name ? f->name : "";
}

uint32_t facts_code(const struct facts *f, str list)
{
	for (size_t i = 0; f && i < f->listing_count; i++)
		if (str_case_eq(str_of(f->listings[i].list), list))
			return f->listings[i].code;
	return 0;
}

uint64_t facts_symbols(const struct facts *f, const struct conf *conf)
{
	uint64_t symbols = 0;

	if (!f)
		return 0;
	if (f->reverse == LOCUM__FOUND__FOUND_NO)
		symbols |= (uint64_t)1 << CHECK_NO_REVERSE_NAME;
	else if (f->reverse == LOCUM__FOUND__FOUND_YES && f->confirmed == LOCUM__FOUND__FOUND_NO)
		symbols |= (uint64_t)1 << CHECK_REVERSE_UNCONFIRMED;
	if (f->helo_exists == LOCUM__FOUND__FOUND_NO)
		symbols |= (uint64_t)1 << CHECK_HELO_UNKNOWN;
	for (size_t i = 0; i < conf->list_count; i++)
		if (facts_code(f, conf->lists[i].name))
			symbols |= (uint64_t)1 << (CHECK_COUNT + i);
	return symbols;
}
