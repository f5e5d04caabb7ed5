/* What was sent, what was answered, what arrived, what is left: and whether that adds up. */
#include "sim/world.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "ipc/locum.pb-c.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define MESSAGE_BYTES_MAX ((size_t)1 << 20)
#define TEXT_BYTES_MAX ((size_t)16 << 10)
#define PARKED_SLACK (2 * NSEC_MINUTE)
/* What has become too old is parked before its next try: the one under way when it did so may take its 30 minutes (attempt.c),
 * after the message's own back-off of a quarter of an hour at most (sched/timing.c). Where nothing keeps a message or an
 * attempt waiting, only this long. */
#define LATE_SLACK (2 * NSEC_MINUTE)
#define LATE_SLACK_MAX (50 * NSEC_MINUTE)
/* An attempt that a fault has cut off may last for another half hour. */
#define REPEAT_SLACK (35 * NSEC_MINUTE)

enum verdict {
	VERDICT_OPEN,    /* the client waits for it */
	VERDICT_STORED,  /* 250 */
	VERDICT_PASSED,  /* a primary's 250: it has it */
	VERDICT_REFUSED, /* it was not kept, and will not be */
	VERDICT_DOUBT,   /* 451, 421: nobody knows what became of it between smtpin and the disk */
	VERDICT_BROKEN,  /* the connection ended before the reply */
	VERDICT_ABORTED, /* there was no final dot */
};

static const char *const verdict_names[] = {
	[VERDICT_OPEN] = "no answer yet",
	[VERDICT_STORED] = "acknowledged",
	[VERDICT_PASSED] = "passed live",
	[VERDICT_REFUSED] = "refused",
	[VERDICT_DOUBT] = "deferred",
	[VERDICT_BROKEN] = "never answered",
	[VERDICT_ABORTED] = "ended without its final dot",
};

/* Where a recipient was found on the disks in the end, a set. */
enum left { LEFT_QUEUED = 1 << 0, LEFT_HELD = 1 << 1, LEFT_PARKED = 1 << 2, LEFT_DONE = 1 << 3 };

struct entry {
	char address[64];
	uint32_t domain;
	uint32_t replied; /* deliveries whose 250 was sent */
	uint32_t dropped; /* deliveries whose reply was not */
	bool refused;     /* for good, by its primary */
	nsec first_at, last_at;
	uint32_t came_over; /* a bit for each node that had a part in a delivery */
	uint32_t came_to;   /* a bit for each primary that took it */
	unsigned left;
	uint32_t left_nodes; /* a bit for each node that has it queued */
	char left_text[160]; /* why it is held or parked */
};

struct message {
	uint32_t number, node, body_bytes;
	char sender[SENDER_SIZE];
	enum verdict verdict;
	nsec began, answered;
	uint64_t octets; /* on the wire; 0: it was not sent yet */
	char reply[128];
	struct entry entry[RECIPIENTS_MAX];
	uint32_t entries;
};

/* The words of a refusal, and whom they are about. */
struct said {
	char text[96], recipient[64];
	uint32_t number; /* of the message; 0: not known, at RCPT */
};

static struct said *refusals;
static size_t refusal_count;
static struct message *messages;
static size_t message_count;
static uint64_t unsettled; /* acknowledged recipients neither delivered nor refused */

/* --- the table --- */

static struct message *find(uint32_t number)
{
	for (size_t i = 0; i < message_count; i++)
		if (messages[i].number == number)
			return &messages[i];
	return NULL;
}

static struct entry *find_entry(struct message *m, str address)
{
	for (uint32_t i = 0; i < m->entries; i++)
		if (str_eq(str_of(m->entry[i].address), address))
			return &m->entry[i];
	return NULL;
}

/* Made from the message, not from its place, so that leaving out one client leaves the others'
 * messages as they are. */
static uint32_t new_number(uint32_t node, uint32_t body_bytes, const char *const *recipients,
			   uint32_t count)
{
	static const uint64_t seed[2] = { 0x4c, 0x65 };
	uint64_t number = (uint64_t)node << 32 | body_bytes;

	for (uint32_t i = 0; i < count; i++)
		number = sim_next(&number) ^ str_hash(str_of(recipients[i]), seed, false);
	number = sim_next(&number);
	while (find((uint32_t)number))
		number++;
	return (uint32_t)number;
}

static uint32_t domain_of(str address)
{
	str domain = str_from(address, (size_t)(str_index(address, '@') + 1));
	uint64_t d = UINT64_MAX;

	must(domain.n > 6 && domain.p[0] == 'd');
	must(str_u64(str_mem(domain.p + 1, domain.n - 6), DOMAINS_MAX - 1, &d) == 0);
	return (uint32_t)d;
}

uint32_t ledger_begin(uint32_t node, uint32_t body_bytes, const char *sender,
		      const char *const *recipients, uint32_t count)
{
	struct message *m;

	must(count > 0 && count <= RECIPIENTS_MAX);
	messages = reallocarray(messages, message_count + 1, sizeof(*messages));
	must(messages);
	m = &messages[message_count];
	memset(m, 0, sizeof(*m));
	m->node = node;
	m->body_bytes = body_bytes;
	must(str_copy(str_of(sender), m->sender, sizeof(m->sender)));
	m->began = sim_now();
	m->entries = count;
	m->number = new_number(node, body_bytes, recipients, count);
	for (uint32_t i = 0; i < count; i++) {
		must(str_copy(str_of(recipients[i]), m->entry[i].address,
			      sizeof(m->entry[i].address)));
		m->entry[i].domain = domain_of(str_of(recipients[i]));
	}
	message_count++;
	return m->number;
}

static uint32_t deliveries(const struct entry *e)
{
	return e->replied + e->dropped;
}

static bool is_settled(const struct entry *e)
{
	return deliveries(e) > 0 || e->refused;
}

/* Taken by a node before it knew what the next one takes, which says 552: it stays where it is. */
static bool is_too_large_to_relay(const struct message *m)
{
	const struct plan *p = world_plan();

	return p->nodes > 1 && m->octets > plan_message_sure(p);
}

static bool must_be_refused(const struct message *m, const struct entry *e)
{
	return is_too_large_to_relay(m) || e->refused || body_to_be_refused(m->number) ||
	       str_starts(str_of(e->address), STR("unknown"));
}

/* --- telling --- */

static const char *seconds(nsec at, char text[static 32])
{
	snprintf(text, 32, "%.3f s", (double)(at - NSEC_DAY) / (double)NSEC_S);
	return text;
}

static void tell_entry(const struct entry *e, struct buf *to)
{
	char first[32], last[32];

	buf_addf(to, "  <%s>: %u delivered, %u more without a reply", e->address, e->replied,
		 e->dropped);
	if (deliveries(e) > 0)
		buf_addf(to, " (first at %s, last at %s)", seconds(e->first_at, first),
			 seconds(e->last_at, last));
	buf_addf(to, "%s%s%s%s%s%s%s\n", e->refused ? ", refused for good" : "",
		 e->left & LEFT_QUEUED ? ", in a spool queued" : "",
		 e->left & LEFT_HELD ? ", in a spool held" : "",
		 e->left & LEFT_PARKED ? ", in a spool parked" : "",
		 e->left & LEFT_DONE ? ", in a spool done" : "", *e->left_text ? ": " : "",
		 e->left_text);
}

/* Everything known about a message, for the one who must find out why. */
static _Noreturn void fail(const char *rule, const struct message *m, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static _Noreturn void fail(const char *rule, const struct message *m, const char *format, ...)
{
	struct buf text = { 0 };
	char why[512], began[32], answered[32];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(why, sizeof(why), format, arguments);
	va_end(arguments);
	buf_init(&text, TEXT_BYTES_MAX);
	buf_addf(&text, "%s\nmessage %u from <%s> to node %u, %u bytes, begun at %s, %s", why,
		 m->number, m->sender, m->node, m->body_bytes, seconds(m->began, began),
		 verdict_names[m->verdict]);
	if (m->verdict != VERDICT_OPEN)
		buf_addf(&text, " at %s", seconds(m->answered, answered));
	buf_addf(&text, "%s%s\n", *m->reply ? ": " : "", m->reply);
	for (uint32_t i = 0; i < m->entries; i++)
		tell_entry(&m->entry[i], &text);
	sim_fail(rule, "%.*s", STR_ARG(buf_str(&text)));
}

/* --- what the client saw --- */

/* A 451 may come of a spoold that died after it had stored the message, a 421 of an end in the same
 * moment: then it is there, and the client's next try makes a second one. 452 and 5xx are decided
 * before. */
static enum verdict verdict_of(const char *reply)
{
	if (!reply)
		return VERDICT_BROKEN;
	if (str_starts(str_of(reply), STR("250 2.0.0 taken")) && world_plan()->any_live)
		return VERDICT_PASSED;
	if (str_starts(str_of(reply), STR("250")))
		return VERDICT_STORED;
	if (str_starts(str_of(reply), STR("451")) || str_starts(str_of(reply), STR("421")))
		return VERDICT_DOUBT;
	return VERDICT_REFUSED;
}

static bool is_too_large(const struct message *m)
{
	return m->octets > plan_message_most(world_plan());
}

static bool must_not_arrive(const struct message *m)
{
	return m->verdict == VERDICT_REFUSED || m->verdict == VERDICT_ABORTED || is_too_large(m);
}

/* 452: there was no room for it before it came to its limit. */
static void check_size(const struct message *m)
{
	bool says_so = str_starts(str_of(m->reply), STR("552"));
	bool no_room = str_starts(str_of(m->reply), STR("452"));

	if (is_too_large(m) && (m->verdict == VERDICT_STORED || m->verdict == VERDICT_PASSED ||
				(m->verdict == VERDICT_REFUSED && !says_so && !no_room)))
		fail("no message over the limit", m, "its %llu octets are too many",
		     (unsigned long long)m->octets);
	if (m->octets <= plan_message_sure(world_plan()) && says_so)
		fail("no message over the limit", m, "its %llu octets are not too many",
		     (unsigned long long)m->octets);
}

void ledger_sized(uint32_t number, uint64_t octets)
{
	struct message *m = find(number);

	must(m);
	m->octets = octets;
}

/* The next node may have taken it live, and said where it is. */
static bool is_durable(const struct message *m, msg_id id)
{
	const struct plan *p = world_plan();

	if (node_message_durable(world_node(m->node), id))
		return true;
	for (uint32_t n = 0; p->any_live && n < p->nodes; n++)
		if (node_message_durable(world_node(n), id))
			return true;
	return false;
}

/* Whoever hears a primary's 250 has its word for each recipient: this time it came through. */
static void check_passed(const struct message *m)
{
	for (uint32_t i = 0; i < m->entries; i++) {
		const struct entry *e = &m->entry[i];

		if (!world_plan()->live[e->domain])
			fail("a primary's words only live", m, "<%s> is for the spool", e->address);
		if (e->replied == 0)
			fail("a primary's 250 only from it", m, "<%s> never came there",
			     e->address);
	}
}

static void check_durable(const struct message *m)
{
	str text = str_of(m->reply);
	ssize_t at = str_find(text, STR("queued as "));
	msg_id id;

	if (at < 0 || id_parse(str_first(str_from(text, (size_t)at + 10), ID_TEXT_LENGTH), &id) < 0)
		fail("250 only after stable storage", m, "a 250 without an id");
	if (!is_durable(m, id))
		fail("250 only after stable storage", m, "the message is not on the disk of %s",
		     node_name(world_node(m->node)));
}

static void conclude(struct message *m, enum verdict verdict)
{
	must(m && m->verdict == VERDICT_OPEN && verdict != VERDICT_OPEN);
	m->verdict = verdict;
	m->answered = sim_now();
	sim_trace("ledger: message %u: %s %s", m->number, verdict_names[verdict], m->reply);
	for (uint32_t i = 0; i < m->entries; i++) {
		if (must_not_arrive(m) && deliveries(&m->entry[i]) > 0)
			fail("refused is not delivered", m, "it was delivered before its refusal");
		if (verdict == VERDICT_STORED && !is_settled(&m->entry[i]))
			unsettled++;
	}
	check_size(m);
	if (verdict == VERDICT_STORED)
		check_durable(m);
	if (verdict == VERDICT_PASSED)
		check_passed(m);
}

void ledger_answer(uint32_t number, const char *reply)
{
	struct message *m = find(number);

	must(m);
	str_copy(str_trim(str_of(reply ? reply : "")), m->reply, sizeof(m->reply));
	conclude(m, verdict_of(reply));
}

void ledger_aborted(uint32_t number)
{
	conclude(find(number), VERDICT_ABORTED);
}

/* --- reading what comes back --- */

/* The Received header on top of a message, as received.c writes it. */
struct hop {
	uint32_t node;
	msg_id id;
};

/* Length of the header field at the start with its folded lines; 0: it does not end. */
static size_t field_length(str bytes)
{
	size_t at = 0;

	for (;;) {
		ssize_t end = str_find(str_from(bytes, at), STR("\r\n"));

		if (end < 0)
			return 0;
		at += (size_t)end + 2;
		if (at == bytes.n || (bytes.p[at] != ' ' && bytes.p[at] != '\t'))
			return at;
	}
}

static bool parse_hop(str field, struct hop *ret_hop)
{
	static const char by[] = "\tby mx", behind[] = ".backup.test (Locum) ";
	ssize_t at = str_find(field, STR("\tby mx"));
	str rest;

	if (at < 0)
		return false;
	rest = str_from(field, (size_t)at + sizeof(by) - 1);
	if (!rest.n || rest.p[0] < '0' || rest.p[0] >= '0' + NODES_MAX ||
	    !str_starts(str_from(rest, 1), str_of(behind)))
		return false;
	ret_hop->node = (uint32_t)(rest.p[0] - '0');
	at = str_find(rest, STR(" id "));
	return at >= 0 && id_parse(str_first(str_from(rest, (size_t)at + 4), ID_TEXT_LENGTH),
				   &ret_hop->id) == 0;
}

/* Takes Locum's headers off. Returns how many, or -1: there is a Received of somebody else. */
static int strip_hops(str *bytes, struct hop ret_hops[static NODES_MAX])
{
	int n = 0;

	while (str_starts(*bytes, STR("Received:"))) {
		size_t length = field_length(*bytes);

		if (n == NODES_MAX || length == 0 ||
		    !parse_hop(str_first(*bytes, length), &ret_hops[n]))
			return -1;
		*bytes = str_from(*bytes, length);
		n++;
	}
	return n;
}

static struct message *message_of(str bytes)
{
	ssize_t end = str_find(bytes, STR("\r\n"));
	uint64_t number;

	if (end < 7 || !str_starts(bytes, STR("X-Sim: ")) ||
	    str_u64(str_mem(bytes.p + 7, (size_t)end - 7), UINT32_MAX, &number) < 0)
		return NULL;
	return find((uint32_t)number);
}

/* SIZE_MAX: equal to what was sent; else where the first difference is. */
static size_t difference(const struct message *m, str bytes)
{
	struct buf sent = { 0 };
	size_t at = 0;

	buf_init(&sent, MESSAGE_BYTES_MAX);
	body_make(m->number, m->body_bytes, &sent);
	while (at < sent.n && at < bytes.n && sent.p[at] == bytes.p[at])
		at++;
	if (at == sent.n && at == bytes.n)
		at = SIZE_MAX;
	buf_done(&sent);
	return at;
}

static struct message *check_bytes(const char *rule, const char *where, str bytes,
				   struct hop ret_hops[static NODES_MAX], int *ret_hop_count)
{
	struct message *m;
	size_t at;

	*ret_hop_count = strip_hops(&bytes, ret_hops);
	m = message_of(bytes);
	if (*ret_hop_count < 0 || !m)
		sim_fail(rule, "%s: a message nobody sent, %zu bytes: %.*s", where, bytes.n,
			 (int)MIN(bytes.n, (size_t)400), bytes.p);
	at = difference(m, bytes);
	if (at != SIZE_MAX)
		fail(rule, m, "%s: %zu bytes differ from what was sent, first in byte %zu", where,
		     bytes.n, at);
	return m;
}

static void check_sender(const struct message *m, const char *where, str from)
{
	if (!str_eq(from, str_of(m->sender)))
		fail("right sender", m, "%s: it comes from <%.*s>", where, STR_ARG(from));
}

/* --- what the primary saw --- */

/* How much the node's clock was put forward or back in all. */
static nsec clock_steps(const struct plan *p, uint32_t node)
{
	nsec steps = 0;

	for (uint32_t i = 0; i < p->faults; i++)
		if (p->fault[i].enabled && p->fault[i].kind == FAULT_WALL_JUMP &&
		    p->fault[i].node == node)
			steps += NSEC_HOUR;
	return steps;
}

/* Does the fault, or what it leaves behind, touch one of these nodes or primaries, so that a reply or a done
 * record is lost? */
static bool loses_news(const struct fault *f, uint32_t over_nodes, uint32_t primaries)
{
	bool of_node = over_nodes & 1u << f->node;
	bool of_primary = primaries & 1u << f->node;

	switch (f->kind) {
	case FAULT_KILL:
	case FAULT_KILL_ALL:
	case FAULT_KILL_AT_CALL:
	case FAULT_POWER_CUT:
	case FAULT_CUT_AT_SYNC:
	case FAULT_RESTART:
		return of_node;
	case FAULT_DISK:
		return of_node && f->detail != DISK_SLOW;
	case FAULT_LINK:
		return f->count ? of_node : of_primary;
	case FAULT_PRIMARY:
		return of_primary && (f->detail == MOOD_DOWN || f->detail == MOOD_FROZEN ||
				      f->detail == MOOD_DROPPING);
	case FAULT_DISK_FULL:
	case FAULT_WALL_JUMP:
	case FAULT_DNS:
	case FAULT_MOVED:
	case FAULT_RELOAD:
		break;
	}
	return false;
}

/* From when to when it may do so: some faults wait for their moment. */
static bool is_about(const struct plan *p, const struct fault *f, nsec first, nsec second)
{
	bool waits = f->kind == FAULT_KILL_AT_CALL || f->kind == FAULT_CUT_AT_SYNC ||
		     f->kind == FAULT_DISK;
	nsec from = world_start() + f->at;
	nsec to = world_start() + (waits ? p->healed_at : f->at + f->lasts);

	return from <= second && first <= to + REPEAT_SLACK;
}

/* Twice is allowed where something kept Locum from knowing about the first time, and nowhere else. */
static void check_repeat(const struct message *m, const struct entry *e, const struct receipt *r)
{
	const struct plan *p = world_plan();
	char first[32];

	if (deliveries(e) == 0 || e->first_at > world_last_off() - NSEC_MINUTE)
		return;
	for (uint32_t i = 0; i < p->faults; i++)
		if (p->fault[i].enabled &&
		    loses_news(&p->fault[i], e->came_over, e->came_to | 1u << r->primary) &&
		    is_about(p, &p->fault[i], e->first_at, sim_now()))
			return;
	fail("twice only for a reason", m, "<%s> gets it again; it has it since %s", e->address,
	     seconds(e->first_at, first));
}

/* Does it make an attempt last, or a message wait for its own back-off? A power cut does neither, nor does a primary
 * that is simply not there. */
static bool makes_late(const struct fault *f, uint32_t node, uint32_t primaries)
{
	bool of_primary = primaries & 1u << f->node;

	switch (f->kind) {
	case FAULT_KILL:
	case FAULT_KILL_ALL:
	case FAULT_KILL_AT_CALL:
	case FAULT_RESTART:
	case FAULT_DISK:
	case FAULT_DISK_FULL:
		return f->node == node;
	case FAULT_LINK:
		return f->count > 0 || of_primary;
	case FAULT_PRIMARY:
		return of_primary && f->detail != MOOD_DOWN && f->detail != MOOD_BUSY;
	case FAULT_DNS:
		return f->detail == DNS_SILENT || f->detail == DNS_WRONG_ADDRESS;
	case FAULT_POWER_CUT:
	case FAULT_CUT_AT_SYNC:
	case FAULT_WALL_JUMP:
	case FAULT_MOVED:
	case FAULT_RELOAD:
		break;
	}
	return false;
}

static nsec late_slack(uint32_t node, uint32_t primaries, nsec since)
{
	const struct plan *p = world_plan();
	nsec slack = LATE_SLACK + clock_steps(p, node);

	for (uint32_t i = 0; i < p->faults; i++)
		if (p->fault[i].enabled && makes_late(&p->fault[i], node, primaries) &&
		    is_about(p, &p->fault[i], since, sim_now()))
			return slack + LATE_SLACK_MAX;
	return slack;
}

/* The move of that domain's mail, if there is one. */
static const struct fault *move_of(uint32_t domain)
{
	const struct plan *p = world_plan();

	for (uint32_t i = 0; i < p->faults; i++) {
		const struct fault *f = &p->fault[i];
		bool of_domain =
			f->detail == MOVE_MX ? f->node == domain : f->node == p->primary_of[domain];

		if (f->enabled && f->kind == FAULT_MOVED && of_domain)
			return f;
	}
	return NULL;
}

/* A bit for each primary that takes the domain's mail at some time. */
static uint32_t primaries_of(uint32_t domain)
{
	const struct fault *move = move_of(domain);

	return 1u << world_plan()->primary_of[domain] | (move ? 1u << move->count : 0);
}

/* The one that the names lead to or, until their TTL has run out, led to. An attempt may last from before that, a connection
 * that rests is used again for some seconds. */
static void check_primary(const struct message *m, const struct entry *e, uint32_t node,
			  uint32_t primary, nsec began)
{
	const struct fault *move = move_of(e->domain);
	nsec moved = move ? world_start() + move->at : NEVER, slack;

	if (move && primary == move->count && began >= moved)
		return;
	if (primary == world_plan()->primary_of[e->domain]) {
		if (!move)
			return;
		slack = late_slack(node, primaries_of(e->domain), moved);
		if (began <= moved + ZONE_TTL_MAX * NSEC_S + slack)
			return;
	}
	fail("right primary", m, "<%s>: its domain does not lead to primary %u", e->address,
	     primary);
}

/* The id was made when the last node on its way took it, by that node's clock. */
static void check_age(const struct message *m, const struct entry *e, const struct hop *last,
		      const struct receipt *r)
{
	nsec since_began = sim_now() - r->began;
	nsec age = node_wall(world_node(last->node)) - since_began - id_made_wall(last->id);
	nsec late = age - plan_hold_most(world_plan(), e->domain);

	if (late > late_slack(last->node, primaries_of(e->domain), r->began - age))
		fail("delivered only within its hold", m,
		     "<%s>: node %u had it %lld s longer than its domain allows", e->address,
		     last->node, (long long)(late / NSEC_S));
}

static void count_delivery(struct message *m, struct entry *e, const struct receipt *r)
{
	nsec now = sim_now();

	check_repeat(m, e, r);
	if (m->verdict == VERDICT_STORED && !is_settled(e))
		unsettled--;
	e->came_to |= 1u << r->primary;
	if (deliveries(e) == 0)
		e->first_at = now;
	e->last_at = now;
	if (r->replied)
		e->replied++;
	else
		e->dropped++;
}

static void check_done(const struct message *m, const struct hop *hop, const struct receipt *r)
{
	char id[ID_TEXT_LENGTH + 1], at[32], began[32];
	nsec since;

	if (!world_node(hop->node) || !node_done_durable(world_node(hop->node), hop->id, &since) ||
	    since >= r->began)
		return;
	id_text(hop->id, id);
	fail("nothing is delivered after its done", m,
	     "node %u, id %s: done since %s, MAIL came at %s", hop->node, id, seconds(since, at),
	     seconds(r->began, began));
}

void ledger_receipt(const struct receipt *r)
{
	struct hop hops[NODES_MAX];
	struct message *m;
	char where[64];
	int n;

	snprintf(where, sizeof(where), "primary %u from %.40s", r->primary, r->client);
	m = check_bytes("byte-exact", where, r->bytes, hops, &n);
	if (n == 0)
		fail("byte-exact", m, "%s: there is no Received header of ours", where);
	check_sender(m, where, str_of(r->from));
	sim_trace("ledger: message %u delivered%s", m->number, r->replied ? "" : ", reply dropped");
	for (uint32_t i = 0; i < r->recipient_count; i++) {
		struct entry *e = find_entry(m, str_of(r->recipients[i]));

		if (!e)
			fail("right recipient", m, "%s: delivered to <%s>", where,
			     r->recipients[i]);
		for (int h = 0; h < n; h++)
			e->came_over |= 1u << hops[h].node;
		check_age(m, e, &hops[0], r);
		check_primary(m, e, hops[0].node, r->primary, r->began);
		count_delivery(m, e, r);
	}
	if (must_not_arrive(m))
		fail("refused is not delivered", m, "%s took it", where);
	check_done(m, &hops[0], r);
}

static void refuse(struct message *m, struct entry *e)
{
	if (m->verdict == VERDICT_STORED && !is_settled(e))
		unsettled--;
	e->refused = true;
}

/* At RCPT nobody says which message it is about: probably the oldest acknowledged one for that
 * recipient, else one whose answer is not known. */
static void refuse_some(str recipient)
{
	static const enum verdict order[] = { VERDICT_STORED, VERDICT_OPEN, VERDICT_DOUBT,
					      VERDICT_BROKEN };

	for (size_t o = 0; o < ELEMENTS(order); o++) {
		for (size_t i = 0; i < message_count; i++) {
			struct message *m = &messages[i];
			struct entry *e = m->verdict == order[o] ? find_entry(m, recipient) : NULL;

			if (e && !is_settled(e)) {
				refuse(m, e);
				return;
			}
		}
	}
}

static void remember_refusal(const struct refusal *r, uint32_t number)
{
	struct said *s;

	refusals = reallocarray(refusals, refusal_count + 1, sizeof(*refusals));
	must(refusals);
	s = &refusals[refusal_count++];
	s->number = number;
	must(str_copy(str_of(r->text), s->text, sizeof(s->text)));
	must(str_copy(str_of(r->recipient), s->recipient, sizeof(s->recipient)));
}

void ledger_refused(const struct refusal *r)
{
	struct hop hops[NODES_MAX];
	struct message *m;
	struct entry *e;
	char where[64];
	int n;

	if (r->bytes.n == 0) {
		remember_refusal(r, 0);
		refuse_some(str_of(r->recipient));
		return;
	}
	snprintf(where, sizeof(where), "primary %u, which refuses it", r->primary);
	m = check_bytes("byte-exact", where, r->bytes, hops, &n);
	check_sender(m, where, str_of(r->from));
	e = find_entry(m, str_of(r->recipient));
	if (!e)
		fail("right recipient", m, "%s: offered for <%s>", where, r->recipient);
	check_primary(m, e, n > 0 ? hops[0].node : 0, r->primary, sim_now());
	remember_refusal(r, m->number);
	refuse(m, e);
}

bool ledger_quiet(void)
{
	return unsettled == 0;
}

/* --- what is left on the disks --- */

struct settling {
	const struct plan *plan;
	const struct sim_node *node;
	uint32_t node_number;
	struct world_counts *counts;
};

/* A read that failed leaves a message held: in its state when the body was concerned, in the memory
 * of spoold alone (until it starts again) when its envelope was. */
static bool reads_failed(const struct plan *p, uint32_t nodes)
{
	for (uint32_t i = 0; i < p->faults; i++) {
		const struct fault *f = &p->fault[i];

		if (f->enabled && f->kind == FAULT_DISK && f->detail == DISK_READ_FAILS &&
		    (nodes & 1u << f->node))
			return true;
	}
	return false;
}

static bool was_said(const struct message *m, const struct entry *e, const char *reply)
{
	for (size_t i = 0; i < refusal_count; i++) {
		const struct said *s = &refusals[i];

		if (strcmp(s->text, reply) == 0 && strcmp(s->recipient, e->address) == 0 &&
		    (s->number == 0 || s->number == m->number))
			return true;
	}
	return false;
}

/* The primary's own words; the next node's, where it is too large for that; smtpout's, where the disk gave an error. */
static bool explains_held(const struct settling *s, const struct message *m, const struct entry *e,
			  const char *reply)
{
	if (was_said(m, e, reply))
		return true;
	if (is_too_large_to_relay(m) && strcmp(reply, "552 5.3.4 Message too large") == 0)
		return true;
	return reads_failed(s->plan, 1u << s->node_number) &&
	       (strcmp(reply, "the spool cannot read the message") == 0 ||
		strcmp(reply, "the message in the spool is shorter than it was") == 0);
}

static bool says_too_old(const char *reply, nsec hold)
{
	char text[96];

	snprintf(text, sizeof(text), "older than the hold time of its domain (%.1f days)",
		 (double)hold / (double)NSEC_DAY);
	return strcmp(reply, text) == 0;
}

static bool explains_parked(const struct settling *s, const struct entry *e, const char *reply)
{
	return says_too_old(reply, s->plan->set.hold[e->domain]) ||
	       says_too_old(reply, s->plan->then.hold[e->domain]);
}

static void found_held(const struct settling *s, const struct message *m, struct entry *e,
		       const char *reply)
{
	e->left |= LEFT_HELD;
	e->left_nodes |= 1u << s->node_number;
	s->counts->held++;
	str_copy(str_of(reply), e->left_text, sizeof(e->left_text));
	if (!explains_held(s, m, e, reply))
		fail("every held message explained", m,
		     "<%s> is held on node %u, and nobody said \"%s\" of it", e->address,
		     s->node_number, reply);
}

/* age: on the node's clock, when it was parked */
static void found_parked(const struct settling *s, const struct message *m, struct entry *e,
			 nsec age, const char *reply)
{
	nsec left = plan_hold_least(s->plan, e->domain) - age;

	e->left |= LEFT_PARKED;
	s->counts->parked++;
	str_copy(str_of(reply), e->left_text, sizeof(e->left_text));
	if (!explains_parked(s, e, reply))
		fail("every held message explained", m,
		     "<%s> is parked on node %u, and \"%s\" is not why", e->address, s->node_number,
		     reply);
	if (left > PARKED_SLACK + clock_steps(s->plan, s->node_number))
		fail("parked only when too old", m, "<%s> is parked on node %u, %lld s too early",
		     e->address, s->node_number, (long long)(left / NSEC_S));
}

static void found_queued(const struct settling *s, const struct message *m, const struct entry *e,
			 nsec age)
{
	nsec late = age - plan_hold_most(s->plan, e->domain);

	if (late > LATE_SLACK_MAX + clock_steps(s->plan, s->node_number) &&
	    !reads_failed(s->plan, 1u << s->node_number))
		fail("parked when too old", m, "<%s> is queued on node %u, %lld s too long",
		     e->address, s->node_number, (long long)(late / NSEC_S));
}

static void found_entry(const struct settling *s, const struct message *m, struct entry *e,
			nsec age, const Locum__StoredRecipient *state)
{
	switch (state ? state->state : LOCUM__MESSAGE_STATE__MESSAGE_QUEUED) {
	case LOCUM__MESSAGE_STATE__MESSAGE_HELD:
		found_held(s, m, e, state->reply);
		return;
	case LOCUM__MESSAGE_STATE__MESSAGE_PARKED:
		found_parked(s, m, e, age, state->reply);
		return;
	case LOCUM__MESSAGE_STATE__MESSAGE_DELIVERED:
		e->left |= LEFT_DONE;
		return;
	case LOCUM__MESSAGE_STATE__MESSAGE_QUEUED:
		e->left |= LEFT_QUEUED;
		e->left_nodes |= 1u << s->node_number;
		found_queued(s, m, e, age);
		if (state && !*e->left_text)
			str_copy(str_of(state->reply), e->left_text, sizeof(e->left_text));
		return;
	case LOCUM__MESSAGE_STATE__MESSAGE_NONE:
	case LOCUM__MESSAGE_STATE__MESSAGE_DELIVERING:
	case LOCUM__MESSAGE_STATE__MESSAGE_DROPPED:
	case _LOCUM__MESSAGE_STATE_IS_INT_SIZE:
		break;
	}
	fail("whole or absent", m, "<%s> is in state %d on node %u", e->address, (int)state->state,
	     s->node_number);
}

/* When the newest of its parts was parked, else now. */
static nsec parked_wall(const struct settling *s, const Locum__StoredState *state)
{
	for (size_t i = state ? state->n_events : 0; i-- > 0;)
		if (strcmp(state->events[i]->what, "parked") == 0)
			return state->events[i]->at_wall;
	return node_wall(s->node);
}

static void found_recipients(const struct settling *s, struct message *m,
			     const Locum__Envelope *envelope, const Locum__StoredState *state)
{
	nsec age = parked_wall(s, state) - envelope->arrived_wall;

	for (size_t i = 0; i < envelope->n_recipients; i++) {
		const ProtobufCBinaryData *a = &envelope->recipients[i]->address;
		struct entry *e = find_entry(m, str_mem(a->data, a->len));

		if (!e)
			fail("right recipient", m, "kept on node %u for <%.*s>", s->node_number,
			     (int)a->len, (const char *)a->data);
		found_entry(s, m, e, age, state ? state->recipients[i] : NULL);
	}
}

static void found(void *arg, const struct node_remains *r)
{
	const struct settling *s = arg;
	struct hop hops[NODES_MAX];
	struct message *m;
	Locum__Envelope *envelope;
	Locum__StoredState *state = NULL;
	char where[64];
	int n;

	snprintf(where, sizeof(where), "the spool of node %u", s->node_number);
	m = check_bytes("whole or absent", where, r->body, hops, &n);
	envelope = locum__envelope__unpack(NULL, r->envelope.n, (const uint8_t *)r->envelope.p);
	if (r->state.n > 0)
		state = locum__stored_state__unpack(NULL, r->state.n, (const uint8_t *)r->state.p);
	if (!envelope || (r->state.n > 0 && !state))
		fail("whole or absent", m, "%s: its %s cannot be read", where,
		     envelope ? "state" : "envelope");
	if (envelope->body_bytes != r->body.n ||
	    (state && state->n_recipients != envelope->n_recipients))
		fail("whole or absent", m, "%s: envelope, state and body do not belong together",
		     where);
	if (n == 0 && must_not_arrive(m))
		fail("refused is not delivered", m, "%s keeps it", where);
	check_sender(m, where, str_mem(envelope->reverse_path.data, envelope->reverse_path.len));
	found_recipients(s, m, envelope, state);
	locum__envelope__free_unpacked(envelope, NULL);
	if (state)
		locum__stored_state__free_unpacked(state, NULL);
}

/* --- the account --- */

static void judge_acknowledged(const struct plan *p, const struct message *m, const struct entry *e)
{
	bool excused = reads_failed(p, e->left_nodes);

	if (deliveries(e) > 0 || e->left & LEFT_PARKED)
		return;
	if (e->left & LEFT_HELD) {
		if (!must_be_refused(m, e) && !excused)
			fail("nothing is lost", m, "<%s> is held, and nobody refused it",
			     e->address);
		return;
	}
	if (e->left & LEFT_QUEUED) {
		/* A run that ended early cannot know which of two was refused. */
		if (!excused && !(ledger_quiet() && must_be_refused(m, e)))
			fail("nothing waits for ever", m, "<%s> is still queued", e->address);
		return;
	}
	fail(e->refused ? "held, not lost" : "nothing is lost", m, "<%s> was %s and is in no spool",
	     e->address, e->refused ? "refused by its primary" : "never delivered");
}

static void judge_entry(const struct plan *p, const struct message *m, const struct entry *e)
{
	char first[32], last[32];

	if (m->verdict == VERDICT_STORED)
		judge_acknowledged(p, m, e);
	/* With everything settled the run ended early, and second copies may still be on their way. */
	if (e->left & LEFT_QUEUED && !ledger_quiet() && !reads_failed(p, e->left_nodes))
		fail("nothing waits for ever", m, "<%s> is still queued", e->address);
	if (p->calm && deliveries(e) > 1)
		fail("once in calm", m, "<%s> got it %u times, first at %s, last at %s", e->address,
		     deliveries(e), seconds(e->first_at, first), seconds(e->last_at, last));
}

static void count_message(const struct message *m, struct world_counts *counts)
{
	counts->messages++;
	counts->acknowledged += m->verdict == VERDICT_STORED || m->verdict == VERDICT_PASSED;
	counts->passed += m->verdict == VERDICT_PASSED;
	counts->too_large += is_too_large(m);
	counts->at_limit +=
		m->verdict == VERDICT_STORED && m->octets == plan_message_sure(world_plan());
	counts->refused += m->verdict == VERDICT_REFUSED || m->verdict == VERDICT_DOUBT;
	counts->unanswered += m->verdict == VERDICT_BROKEN || m->verdict == VERDICT_ABORTED;
	for (uint32_t i = 0; i < m->entries; i++) {
		uint32_t n = deliveries(&m->entry[i]);

		counts->deliveries += n;
		counts->duplicates += n > 1 ? n - 1 : 0;
	}
}

void ledger_settle(const struct plan *p, struct sim_node *const *nodes,
		   struct world_counts *ret_counts)
{
	for (uint32_t n = 0; n < p->nodes; n++) {
		struct settling s = { p, nodes[n], n, ret_counts };

		node_inspect(nodes[n], found, &s);
	}
	for (size_t i = 0; i < message_count; i++) {
		const struct message *m = &messages[i];

		count_message(m, ret_counts);
		for (uint32_t k = 0; k < m->entries; k++)
			judge_entry(p, m, &m->entry[k]);
	}
}
