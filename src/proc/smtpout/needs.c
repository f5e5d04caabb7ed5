#include "proc/smtpout/needs.h"

#include "smtp/idna.h"
#include "task/sys.h"

#define READ_BYTES 1024

/* --- to hold --- */

static void hold(struct handover_recipient *to, str why)
{
	to->lacking = true;
	to->outcome = LOCUM__OUTCOME__OUTCOME_REFUSED;
	to->reply = why;
}

/* "the primary does not offer SMTPUTF8: the sender's address is not ASCII; held, not changed". */
static str explain(struct handover *h, const char *lacks, const char *because)
{
	char text[200];

	snprintf(text, MIN(sizeof(text), h->reply_bytes_max),
		 "the primary %s: %s; held, not changed", lacks, because);
	return arena_str(h->arena, str_of(text));
}

static void hold_all(struct handover *h, const char *lacks, const char *because)
{
	str why = explain(h, lacks, because);

	for (size_t i = 0; i < h->recipient_count; i++)
		hold(&h->recipients[i], why);
}

/* --- SMTPUTF8 to a host that does not know it --- */

/* Bytes of the header block, its empty line included, that are not ASCII? */
static int headers_are_ascii(const struct handover *h, bool *ret_ascii)
{
	char bytes[READ_BYTES];
	size_t line_bytes = 0;

	*ret_ascii = true;
	for (uint64_t at = 0; at < h->body_bytes;) {
		size_t want = (size_t)MIN(h->body_bytes - at, (uint64_t)sizeof(bytes));
		ssize_t got = sys_read_at(h->body_fd, bytes, want, h->body_offset + at);

		if (got <= 0)
			return got < 0 ? (int)got : -EBADMSG;
		for (ssize_t i = 0; i < got; i++) {
			if ((unsigned char)bytes[i] > 0x7f) {
				*ret_ascii = false;
				return 0;
			}
			if (bytes[i] == '\n' && line_bytes == 0)
				return 0;
			line_bytes = bytes[i] == '\n' ? 0 : line_bytes + (bytes[i] != '\r');
		}
		at += (uint64_t)got;
	}
	return 0;
}

/* The address with its domain as A-labels; false where that is not all it takes. */
static bool ascii_form(struct handover *h, str address, str *ret_form)
{
	ssize_t at = str_last_index(address, '@');
	str local = str_first(address, at < 0 ? address.n : (size_t)at), domain;
	char text[IDNA_SIZE];

	*ret_form = address;
	if (str_is_ascii(address))
		return true;
	if (at < 0 || !str_is_ascii(local) ||
	    idna_to_ascii(str_from(address, (size_t)at + 1), text, &domain) < 0)
		return false;
	*ret_form = str_of(arena_sprintf(h->arena, "%.*s@%.*s", STR_ARG(local), STR_ARG(domain)));
	return ret_form->p;
}

static const char no_smtputf8[] = "does not offer SMTPUTF8";

/* 0, or -EOPNOTSUPP: all are held. */
static int look_at_headers(struct handover *h)
{
	bool ascii;
	int r = headers_are_ascii(h, &ascii);

	if (r < 0 || ascii)
		return r;
	hold_all(h, no_smtputf8, "the message's headers are not ASCII");
	return -EOPNOTSUPP;
}

static void recipient_without_smtputf8(struct handover *h, struct handover_recipient *to)
{
	if (!ascii_form(h, to->address, &to->form))
		hold(to, explain(h, no_smtputf8, "the address is not ASCII"));
}

static int without_smtputf8(struct handover *h)
{
	int r = look_at_headers(h);

	if (r < 0)
		return r == -EOPNOTSUPP ? 0 : r;
	if (!ascii_form(h, h->reverse_path, &h->reverse_form)) {
		hold_all(h, no_smtputf8, "the sender's address is not ASCII");
		return 0;
	}
	for (size_t i = 0; i < h->recipient_count; i++)
		recipient_without_smtputf8(h, &h->recipients[i]);
	h->notes |= NOTE_WITHOUT_SMTPUTF8;
	return 0;
}

/* --- all of it --- */

static bool has_dsn(const struct handover *h)
{
	if (h->dsn_ret.n || h->dsn_envid.n)
		return true;
	for (size_t i = 0; i < h->recipient_count; i++) {
		if (h->recipients[i].notify.n || h->recipients[i].orcpt.n)
			return true;
	}
	return false;
}

/* What an earlier host lacked says nothing about this one. */
static void begin(struct handover *h)
{
	h->notes = 0;
	h->reverse_form = h->reverse_path;
	for (size_t i = 0; i < h->recipient_count; i++) {
		struct handover_recipient *to = &h->recipients[i];

		to->form = to->address;
		if (!to->lacking)
			continue;
		to->lacking = false;
		to->outcome = LOCUM__OUTCOME__OUTCOME_NONE;
		to->reply = STR_NONE;
	}
}

void needs_recipient(const struct conn *c, struct handover *h, struct handover_recipient *to)
{
	to->form = to->address;
	if (h->smtputf8 && !ehlo_offers(&c->ehlo, EHLO_SMTPUTF8))
		recipient_without_smtputf8(h, to);
}

int needs_message(const struct conn *c, struct handover *h)
{
	return h->smtputf8 && !ehlo_offers(&c->ehlo, EHLO_SMTPUTF8) ? look_at_headers(h) : 0;
}

static bool all_lack(const struct handover *h)
{
	for (size_t i = 0; i < h->recipient_count; i++) {
		if (!h->recipients[i].lacking)
			return false;
	}
	return true;
}

static int compare(const struct conn *c, struct handover *h)
{
	const struct ehlo *e = &c->ehlo;

	if (h->requiretls && !stream_tls_version(&c->stream))
		hold_all(h, "was reached without TLS", "the sender requires it (REQUIRETLS)");
	else if (h->requiretls && !ehlo_offers(e, EHLO_REQUIRETLS))
		hold_all(h, "does not offer REQUIRETLS", "the sender requires it");
	else if (h->requiretls && c->verdict.verified == TLS_VERIFIED_NOT)
		hold_all(h, "has a certificate that could not be verified",
			 "the sender requires it (REQUIRETLS)");
	else if (h->requiretls && !c->secure_name)
		hold_all(h, "was found by DNS without DNSSEC or MTA-STS",
			 "the sender requires the right one (REQUIRETLS)");
	else if (h->body_binarymime &&
		 !(ehlo_offers(e, EHLO_BINARYMIME) && ehlo_offers(e, EHLO_CHUNKING)))
		hold_all(h, "does not offer BINARYMIME and CHUNKING", "the message is binary");
	else if (h->smtputf8 && !ehlo_offers(e, EHLO_SMTPUTF8))
		return without_smtputf8(h);
	return 0;
}

int needs_compare(const struct conn *c, struct handover *h)
{
	int r;

	begin(h);
	if (h->body_8bitmime && !ehlo_offers(&c->ehlo, EHLO_8BITMIME))
		h->notes |= NOTE_8BIT_AS_IS;
	if (!ehlo_offers(&c->ehlo, EHLO_DSN) && has_dsn(h))
		h->notes |= NOTE_DSN_DROPPED;
	r = compare(c, h);
	h->lacking = all_lack(h);
	return r;
}
