#include "proc/smtpout/handover.h"

#include "smtp/received.h"

static str bytes(ProtobufCBinaryData data)
{
	return str_mem(data.data, data.len);
}

void handover_fill(const Locum__Envelope *e, struct handover *h)
{
	h->reverse_path = bytes(e->reverse_path);
	h->body_8bitmime = e->body_8bitmime;
	h->body_binarymime = e->body_binarymime;
	h->smtputf8 = e->smtputf8;
	h->requiretls = e->requiretls;
	h->dsn_ret = str_of(e->dsn_ret);
	h->dsn_envid = str_of(e->dsn_envid);
}

void handover_fill_recipient(const Locum__Recipient *r, struct handover_recipient *to)
{
	to->address = bytes(r->address);
	to->notify = str_of(r->notify);
	to->orcpt = str_of(r->orcpt);
}

int handover_id(const Locum__Envelope *e, msg_id *ret_id)
{
	if (e->id.len != sizeof(ret_id->byte))
		return -EBADMSG;
	memcpy(ret_id->byte, e->id.data, sizeof(ret_id->byte));
	return 0;
}

/* The address that the header may name: that of a single recipient, of those who may yet get it. In
 * the header stands nothing that a host without SMTPUTF8 could not take. */
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

int handover_format_received(const Locum__Envelope *e, str domain, struct handover *h,
			     struct buf *to)
{
	static const Locum__Client nobody = LOCUM__CLIENT__INIT;
	const Locum__Client *client = e->client ? e->client : &nobody;
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

	if (r < 0)
		return r;
	buf_init(to, 2 * RECEIVED_MAX);
	r = buf_reserve(to, RECEIVED_MAX / 2);
	if (r >= 0)
		r = received_format(&received, to);
	if (r < 0)
		return r;
	h->received = buf_str(to);
	return 0;
}
