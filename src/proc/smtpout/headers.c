#include "proc/smtpout/headers.h"

#include "base/cleanup.h"
#include "proc/smtpout/handover.h"
#include "task/sys.h"

#include <stdlib.h>

#define PIECE_BYTES ((size_t)64 * 1024)
/* A millisecond at most, even without help from the processor; then others are served. */
#define PIECES_AT_ONCE 8

static str bytes(ProtobufCBinaryData data)
{
	return str_mem(data.data, data.len);
}

/* The address that a header may name: that of a single recipient, of those who may yet get it. In a
 * header stands nothing that a host without SMTPUTF8 could not take. */
static str single_recipient(const struct handover *h)
{
	str single = STR_NONE;

	for (size_t i = 0; i < h->recipient_count; i++) {
		if (h->recipients[i].outcome != LOCUM__OUTCOME__OUTCOME_NONE)
			continue;
		if (single.p)
			return STR_NONE;
		single = h->recipients[i].address;
	}
	return str_is_ascii(single) ? single : STR_NONE;
}

static int add_received(const Locum__Envelope *e, const Locum__Client *client, str domain,
			const struct handover *h, struct buf *to)
{
	struct received received = {
		.helo = bytes(client->helo),
		.name = str_of(client->name),
		.address = str_of(client->address),
		.esmtp = client->esmtp,
		.smtputf8 = e->smtputf8,
		.tls_version = str_of(client->tls_version),
		.tls_cipher = str_of(client->tls_cipher),
		.hostname = str_of(e->hostname),
		.recipient = single_recipient(h),
		.domain = domain,
		.arrived_wall = e->arrived_wall,
	};
	int r = handover_id(e, &received.id);

	return r < 0 ? r : received_format(&received, to);
}

/* --- the evidence --- */

static int read_content(struct task *tk, const struct handover *h, char *piece,
			struct evidence_digest *d)
{
	uint64_t at = 0;

	for (unsigned pieces = 1; at < h->body_bytes; pieces++) {
		size_t want = (size_t)MIN(h->body_bytes - at, (uint64_t)PIECE_BYTES);
		ssize_t got = sys_read_at(h->body_fd, piece, want, h->body_offset + at);

		if (got <= 0)
			return got < 0 ? (int)got : -EIO;
		evidence_digest_feed(d, str_mem(piece, (size_t)got));
		at += (uint64_t)got;
		if (pieces % PIECES_AT_ONCE == 0 && task_yield(tk) < 0)
			return -ECANCELED;
	}
	return 0;
}

static int make_content(struct task *tk, const struct handover *h, struct evidence_content *ret)
{
	_cleanup_(evidence_digest_done) struct evidence_digest d = { 0 };
	_cleanup_(freep) char *piece = malloc(PIECE_BYTES);
	int r = piece ? evidence_digest_init(&d, UINT64_MAX) : -ENOMEM;

	if (r == 0)
		r = read_content(tk, h, piece, &d);
	return r < 0 ? r : evidence_digest_end(&d, ret);
}

static const char *primary_word(const Locum__Envelope *e, str domain)
{
	static const char *const words[] = {
		[LOCUM__PRIMARY_STATE__PRIMARY_UNKNOWN] = "unknown",
		[LOCUM__PRIMARY_STATE__PRIMARY_UP] = "up",
		[LOCUM__PRIMARY_STATE__PRIMARY_REFUSING] = "refusing",
		[LOCUM__PRIMARY_STATE__PRIMARY_UNREACHABLE] = "unreachable",
		[LOCUM__PRIMARY_STATE__PRIMARY_NO_ROUTE] = "no-route",
	};

	for (size_t i = 0; i < e->n_recipients; i++) {
		const Locum__Recipient *r = e->recipients[i];

		if (str_case_eq(str_of(r->domain), domain) && r->primary < ELEMENTS(words))
			return words[r->primary];
	}
	return words[LOCUM__PRIMARY_STATE__PRIMARY_UNKNOWN];
}

static int add_evidence(struct task *tk, const uint8_t *key, const Locum__Envelope *e,
			const Locum__Client *client, str domain, const struct handover *h,
			struct buf *to)
{
	struct evidence_symbol *symbols =
		ARENA_ARRAY(h->arena, struct evidence_symbol, e->n_symbols + 1);
	struct evidence evidence = {
		.arrived_wall = e->arrived_wall,
		.client = str_of(client->address),
		.port = client->port,
		.name = str_of(client->name),
		.helo = bytes(client->helo),
		.esmtp = client->esmtp,
		.tls_version = str_of(client->tls_version),
		.tls_cipher = str_of(client->tls_cipher),
		.from = bytes(e->reverse_path),
		.to = single_recipient(h),
		.domain = domain,
		.recipients = e->n_recipients,
		.primary = str_of(primary_word(e, domain)),
		.symbols = symbols,
		.symbol_count = e->n_symbols,
	};
	int r = make_content(tk, h, &evidence.content);

	if (r < 0)
		return r == -ENOMEM ? r : 0;
	r = symbols ? handover_id(e, &evidence.id) : -ENOMEM;
	for (size_t i = 0; r == 0 && i < e->n_symbols; i++)
		symbols[i] = (struct evidence_symbol){ str_of(e->symbols[i]->name),
						       e->symbols[i]->score };
	return r < 0 ? r : evidence_write(&evidence, key, to);
}

int headers_make(struct task *tk, const uint8_t *key, const Locum__Envelope *e, str domain,
		 struct handover *h, struct buf *to)
{
	static const Locum__Client nobody = LOCUM__CLIENT__INIT;
	const Locum__Client *client = e->client ? e->client : &nobody;
	int r;

	buf_init(to, HEADERS_MAX);
	r = buf_reserve(to, HEADERS_MAX / 2);
	if (r >= 0)
		r = add_received(e, client, domain, h, to);
	if (r >= 0 && key)
		r = add_evidence(tk, key, e, client, domain, h, to);
	if (r < 0)
		return r;
	h->received = buf_str(to);
	return 0;
}
