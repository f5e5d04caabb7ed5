#include "proc/smtpout/handover.h"

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
