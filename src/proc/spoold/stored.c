#include "proc/spoold/stored.h"

#include "base/cleanup.h"

#include <stdio.h>

#define REPLIES_MAX 65536 /* bytes of all replies of a message with many recipients */
#define REPLY_LEAST 48

/* --- text --- */

/* Length of the valid UTF-8 sequence at p, 0 when there is none. Overlong forms and surrogates are
 * not valid. */
static size_t utf8_length(const unsigned char *p, size_t n)
{
	static const struct {
		unsigned char lead_low, lead_high, second_low, second_high;
		size_t length;
	} forms[] = {
		{ 0x20, 0x7e, 0x00, 0x00, 1 }, { 0xc2, 0xdf, 0x80, 0xbf, 2 },
		{ 0xe0, 0xe0, 0xa0, 0xbf, 3 }, { 0xe1, 0xec, 0x80, 0xbf, 3 },
		{ 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 },
		{ 0xf0, 0xf0, 0x90, 0xbf, 4 }, { 0xf1, 0xf3, 0x80, 0xbf, 4 },
		{ 0xf4, 0xf4, 0x80, 0x8f, 4 },
	};

	for (size_t i = 0; i < ELEMENTS(forms); i++) {
		size_t length = forms[i].length;

		if (p[0] < forms[i].lead_low || p[0] > forms[i].lead_high || n < length)
			continue;
		if (length > 1 && (p[1] < forms[i].second_low || p[1] > forms[i].second_high))
			return 0;
		for (size_t j = 2; j < length; j++)
			if (p[j] < 0x80 || p[j] > 0xbf)
				return 0;
		return length;
	}
	return 0;
}

char *text_clean(str text, size_t bytes_max)
{
	const unsigned char *p = (const unsigned char *)text.p;
	char *clean = malloc(MIN(text.n, bytes_max) + 1);
	size_t n = 0;

	if (!clean)
		return NULL;
	for (size_t at = 0; at < text.n;) {
		size_t length = utf8_length(p + at, text.n - at);

		if (n + MAX(length, 1u) > bytes_max)
			break;
		if (length > 0)
			memcpy(clean + n, p + at, length);
		else
			clean[n] = p[at] < 0x20 ? ' ' : '?';
		n += MAX(length, 1u);
		at += MAX(length, 1u);
	}
	clean[n] = '\0';
	return clean;
}

/* On a want of memory the field is left empty: a text is not worth a message. */
static void set_text(char **field, str text, size_t bytes_max)
{
	char *clean = text.n ? text_clean(text, bytes_max) : NULL;

	if (*field != protobuf_c_empty_string)
		free(*field);
	*field = clean ? clean : (char *)protobuf_c_empty_string;
}

static void set_bytes(ProtobufCBinaryData *field, str bytes)
{
	free(field->data);
	*field = (ProtobufCBinaryData){ 0 };
	if (bytes.n == 0)
		return;
	field->data = malloc(bytes.n);
	if (!field->data)
		return;
	memcpy(field->data, bytes.p, bytes.n);
	field->len = bytes.n;
}

static size_t reply_max(const Locum__StoredState *state)
{
	size_t each = REPLIES_MAX / MAX(state->n_recipients, 1u);

	return MIN(MAX(each, (size_t)REPLY_LEAST), (size_t)STORED_TEXT_MAX);
}

void client_text(const Locum__Client *client, char *ret_text, size_t size)
{
	if (!client)
		*ret_text = '\0';
	else if (*client->name)
		snprintf(ret_text, size, "%s [%s]", client->name, client->address);
	else
		snprintf(ret_text, size, "[%s]", client->address);
}

void symbols_text(const Locum__Envelope *envelope, char *ret_text, size_t size)
{
	size_t n = 0;

	*ret_text = '\0';
	for (size_t i = 0; i < envelope->n_symbols && n < size; i++) {
		const Locum__Symbol *s = envelope->symbols[i];

		n += (size_t)snprintf(ret_text + n, size - n, "%s%s %g%s%s%s", i ? ", " : "",
				      s->name, s->score, *s->text ? " (" : "", s->text,
				      *s->text ? ")" : "");
	}
}

/* --- the snapshot --- */

size_t envelope_parts(const Locum__Envelope *envelope, uint16_t *ret_part)
{
	uint16_t parts = 0;

	must(envelope->n_recipients <= STORED_RECIPIENTS_MAX);
	for (size_t i = 0; i < envelope->n_recipients; i++) {
		const char *domain = envelope->recipients[i]->domain;
		size_t same = i;

		/* From the nearest back: recipients of one domain mostly follow each other. */
		while (same > 0 && strcmp(envelope->recipients[same - 1]->domain, domain) != 0)
			same--;
		ret_part[i] = same > 0 ? ret_part[same - 1] : parts++;
	}
	return parts;
}

void stored_freep(Locum__StoredState **state)
{
	if (*state)
		locum__stored_state__free_unpacked(*state, NULL);
}

Locum__StoredState *stored_new(const Locum__Envelope *envelope)
{
	_cleanup_(stored_freep) Locum__StoredState *state = malloc(sizeof(*state));
	_cleanup_(freep) uint16_t *part = calloc(envelope->n_recipients + 1, sizeof(*part));

	if (!state)
		return NULL;
	locum__stored_state__init(state);
	state->recipients = calloc(envelope->n_recipients + 1, sizeof(*state->recipients));
	if (!state->recipients || !part)
		return NULL;
	envelope_parts(envelope, part);
	for (size_t i = 0; i < envelope->n_recipients; i++) {
		Locum__StoredRecipient *r = malloc(sizeof(*r));

		if (!r)
			return NULL;
		locum__stored_recipient__init(r);
		r->state = LOCUM__MESSAGE_STATE__MESSAGE_QUEUED;
		r->part = part[i];
		state->recipients[state->n_recipients++] = r;
	}
	return TAKE(state);
}

int stored_unpack(str packed, const Locum__Envelope *envelope, Locum__StoredState **ret_state)
{
	_cleanup_(stored_freep) Locum__StoredState *state = NULL;

	if (packed.n == 0) {
		*ret_state = stored_new(envelope);
		return *ret_state ? 0 : -ENOMEM;
	}
	state = locum__stored_state__unpack(NULL, packed.n, (const uint8_t *)packed.p);
	if (!state || state->n_recipients != envelope->n_recipients)
		return -EBADMSG;
	*ret_state = TAKE(state);
	return 0;
}

int stored_pack(const Locum__StoredState *state, struct buf *to)
{
	size_t n = locum__stored_state__get_packed_size(state);
	int r = buf_reserve(to, n);

	if (r < 0)
		return r;
	to->n += locum__stored_state__pack(state, (uint8_t *)to->p + to->n);
	return 0;
}

Locum__MessageState stored_part(const Locum__StoredState *state, uint32_t part)
{
	bool held = false, parked = false;

	for (size_t i = 0; i < state->n_recipients; i++) {
		const Locum__StoredRecipient *r = state->recipients[i];

		if (part != PART_ALL && r->part != part)
			continue;
		if (r->state == LOCUM__MESSAGE_STATE__MESSAGE_QUEUED)
			return LOCUM__MESSAGE_STATE__MESSAGE_QUEUED;
		held = held || r->state == LOCUM__MESSAGE_STATE__MESSAGE_HELD;
		parked = parked || r->state == LOCUM__MESSAGE_STATE__MESSAGE_PARKED;
	}
	if (held)
		return LOCUM__MESSAGE_STATE__MESSAGE_HELD;
	return parked ? LOCUM__MESSAGE_STATE__MESSAGE_PARKED
		      : LOCUM__MESSAGE_STATE__MESSAGE_DELIVERED;
}

/* --- what happens to recipients --- */

void stored_outcome(Locum__StoredState *state, const Locum__RecipientOutcome *outcome, str host,
		    nsec now_wall)
{
	Locum__StoredRecipient *r;
	bool queued;

	if (outcome->recipient >= state->n_recipients ||
	    outcome->outcome == LOCUM__OUTCOME__OUTCOME_NONE)
		return;
	r = state->recipients[outcome->recipient];
	queued = r->state == LOCUM__MESSAGE_STATE__MESSAGE_QUEUED;
	r->attempts++;
	r->tried_wall = now_wall;
	if (outcome->outcome == LOCUM__OUTCOME__OUTCOME_DELIVERED)
		r->state = LOCUM__MESSAGE_STATE__MESSAGE_DELIVERED;
	else if (!queued)
		return; /* the operator decided meanwhile: his words stand */
	if (outcome->outcome == LOCUM__OUTCOME__OUTCOME_REFUSED ||
	    outcome->outcome == LOCUM__OUTCOME__OUTCOME_CORRUPT)
		r->state = LOCUM__MESSAGE_STATE__MESSAGE_HELD;
	if (outcome->outcome == LOCUM__OUTCOME__OUTCOME_AMBIGUOUS)
		r->ambiguous = true;
	set_text(&r->reply, str_of(outcome->reply), reply_max(state));
	set_text(&r->host, host, REPLY_LEAST);
}

void stored_ambiguous(Locum__StoredState *state, nsec now_wall)
{
	static const char why[] =
		"passed on live, and the primary's last reply was lost: it may have the message";

	for (size_t i = 0; i < state->n_recipients; i++) {
		state->recipients[i]->ambiguous = true;
		set_text(&state->recipients[i]->reply, str_of(why), reply_max(state));
	}
	stored_event(state, now_wall, "ambiguous", STR_NONE, str_of(why));
}

static bool is_of(const Locum__StoredRecipient *r, uint32_t part)
{
	return part == PART_ALL || r->part == part;
}

static size_t stop(Locum__StoredState *state, uint32_t part, Locum__MessageState to,
		   bool by_operator, str why)
{
	size_t changed = 0;

	for (size_t i = 0; i < state->n_recipients; i++) {
		Locum__StoredRecipient *r = state->recipients[i];

		if (!is_of(r, part) || r->state != LOCUM__MESSAGE_STATE__MESSAGE_QUEUED)
			continue;
		r->state = to;
		r->by_operator = by_operator;
		set_text(&r->reply, why, reply_max(state));
		changed++;
	}
	return changed;
}

size_t stored_hold(Locum__StoredState *state, uint32_t part, bool by_operator, str why)
{
	return stop(state, part, LOCUM__MESSAGE_STATE__MESSAGE_HELD, by_operator, why);
}

size_t stored_park(Locum__StoredState *state, uint32_t part, str why)
{
	return stop(state, part, LOCUM__MESSAGE_STATE__MESSAGE_PARKED, false, why);
}

size_t stored_release(Locum__StoredState *state, uint32_t part, nsec now_wall)
{
	size_t changed = 0;

	for (size_t i = 0; i < state->n_recipients; i++) {
		Locum__StoredRecipient *r = state->recipients[i];

		if (!is_of(r, part) || (r->state != LOCUM__MESSAGE_STATE__MESSAGE_HELD &&
					r->state != LOCUM__MESSAGE_STATE__MESSAGE_PARKED))
			continue;
		r->state = LOCUM__MESSAGE_STATE__MESSAGE_QUEUED;
		r->by_operator = false;
		changed++;
	}
	if (changed > 0)
		state->hold_from_wall = now_wall;
	return changed;
}

size_t stored_drop(Locum__StoredState *state, uint32_t part)
{
	size_t changed = 0;

	for (size_t i = 0; i < state->n_recipients; i++) {
		Locum__StoredRecipient *r = state->recipients[i];

		if (!is_of(r, part) || r->state == LOCUM__MESSAGE_STATE__MESSAGE_DELIVERED ||
		    r->state == LOCUM__MESSAGE_STATE__MESSAGE_DROPPED)
			continue;
		r->state = LOCUM__MESSAGE_STATE__MESSAGE_DROPPED;
		r->by_operator = true;
		changed++;
	}
	return changed;
}

/* --- the story --- */

void stored_event(Locum__StoredState *state, nsec now_wall, const char *what, str recipient,
		  str text)
{
	Locum__StoredEvent *e = malloc(sizeof(*e));
	Locum__StoredEvent **events =
		reallocarray(state->events, MAX(state->n_events, (size_t)STORED_EVENTS_MAX),
			     sizeof(*state->events));

	if (events)
		state->events = events;
	if (!events || !e) {
		free(e);
		return; /* a story with a hole is better than a message that cannot be handled */
	}
	while (state->n_events >= STORED_EVENTS_MAX) {
		locum__stored_event__free_unpacked(state->events[0], NULL);
		state->n_events--;
		memmove(state->events, state->events + 1, state->n_events * sizeof(*state->events));
	}
	locum__stored_event__init(e);
	e->at_wall = now_wall;
	set_text(&e->what, str_of(what), STORED_TEXT_MAX);
	set_bytes(&e->recipient, str_first(recipient, STORED_TEXT_MAX));
	set_text(&e->text, text, STORED_TEXT_MAX);
	state->events[state->n_events++] = e;
}

void stored_finish(Locum__StoredState *state, const Locum__Envelope *envelope)
{
	char client[STORED_TEXT_MAX] = "", symbols[STORED_TEXT_MAX] = "";

	client_text(envelope->client, client, sizeof(client));
	set_text(&state->client, str_of(client), sizeof(client));
	symbols_text(envelope, symbols, sizeof(symbols));
	set_text(&state->symbols, str_of(symbols), sizeof(symbols));
	set_bytes(&state->reverse_path,
		  str_mem(envelope->reverse_path.data, envelope->reverse_path.len));
	state->arrived_wall = envelope->arrived_wall;
	state->body_bytes = envelope->body_bytes;
	for (size_t i = 0; i < state->n_recipients; i++) {
		const ProtobufCBinaryData *address = &envelope->recipients[i]->address;

		set_bytes(&state->recipients[i]->address, str_mem(address->data, address->len));
	}
}
