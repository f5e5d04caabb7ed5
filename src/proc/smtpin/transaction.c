#include "proc/smtpin/transaction.h"

#include "base/cleanup.h"

/* Client, names, ids, symbols, forwarded attributes: what an envelope holds beyond its paths, at most. */
#define ENVELOPE_FIXED_BYTES (16 * 1024)
/* Tags, lengths and the state of a packed recipient. */
#define RECIPIENT_EXTRA_BYTES 32
#define RECIPIENTS_FIRST 4
#define ARENA_MAX (1024 * 1024)
/* Recipients that were named and not taken stay in the arena: past this no more, the message needs some too. */
#define NAMED_ARENA_MAX (ARENA_MAX / 2)

struct transaction {
	struct arena arena;
	str reverse_path;
	enum smtp_body body;
	bool smtputf8, requiretls;
	uint64_t size, size_limit;
	enum smtp_ret ret;
	str envid; /* xtext, as all that comes from DSN parameters */
	Locum__Recipient **recipient;
	size_t recipient_count, recipient_room;
	size_t envelope_bytes;   /* packed, an upper bound */
	Locum__Recipient *named; /* not taken yet */
	size_t named_bytes;
	struct way way;
};

int transaction_new(const struct smtp_command *mail, struct transaction **ret_transaction)
{
	_cleanup_(transaction_freep) struct transaction *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	arena_init(&t->arena, ARENA_MAX);
	t->reverse_path = arena_str(&t->arena, mail->path.mailbox);
	t->envid = arena_str(&t->arena, mail->envid);
	if (!t->reverse_path.p || !t->envid.p)
		return -ENOMEM;
	t->body = mail->body;
	t->smtputf8 = mail->smtputf8;
	t->requiretls = mail->requiretls;
	t->ret = mail->ret;
	t->size = mail->size_given ? mail->size : 0;
	t->size_limit = UINT64_MAX;
	t->envelope_bytes = ENVELOPE_FIXED_BYTES + t->reverse_path.n + t->envid.n;
	*ret_transaction = TAKE(t);
	return 0;
}

void transaction_free(struct transaction *t)
{
	if (!t)
		return;
	arena_done(&t->arena);
	free(t);
}

void transaction_freep(struct transaction **t)
{
	transaction_free(*t);
}

static bool has_recipient(const struct transaction *t, str address)
{
	for (size_t i = 0; i < t->recipient_count; i++) {
		const ProtobufCBinaryData *a = &t->recipient[i]->address;

		if (str_eq(str_mem(a->data, a->len), address))
			return true;
	}
	return false;
}

static int make_room(struct transaction *t)
{
	size_t room = t->recipient_room ? 2 * t->recipient_room : RECIPIENTS_FIRST;
	Locum__Recipient **more;

	if (t->recipient_count < t->recipient_room)
		return 0;
	more = ARENA_ARRAY(&t->arena, Locum__Recipient *, room);
	if (!more)
		return -ENOMEM;
	if (t->recipient_count)
		memcpy(more, t->recipient, t->recipient_count * sizeof(*more));
	t->recipient = more;
	t->recipient_room = room;
	return 0;
}

/* A protobuf string, which is empty at first. */
static int set_text(struct transaction *t, str text, char **ret_field)
{
	if (text.n)
		*ret_field = (char *)arena_str(&t->arena, text).p;
	return *ret_field ? 0 : -ENOMEM;
}

static Locum__Recipient *make_recipient(struct transaction *t, const struct smtp_command *rcpt,
					str notify, str address, str domain)
{
	Locum__Recipient *recipient = ARENA_NEW(&t->arena, Locum__Recipient);

	address = arena_str(&t->arena, address);
	domain = arena_str(&t->arena, domain);
	if (!recipient || !address.p || !domain.p)
		return NULL;
	locum__recipient__init(recipient);
	recipient->address = (ProtobufCBinaryData){ address.n, (uint8_t *)address.p };
	recipient->domain = (char *)domain.p; /* NUL-terminated by the arena */
	if (set_text(t, notify, &recipient->notify) < 0 ||
	    set_text(t, rcpt->orcpt, &recipient->orcpt) < 0)
		return NULL;
	return recipient;
}

int transaction_name_recipient(struct transaction *t, const struct smtp_command *rcpt, str address,
			       str domain, size_t recipients_max)
{
	char text[SMTP_NOTIFY_SIZE];
	str notify = smtp_notify_text(rcpt->notify, text);
	size_t bytes = address.n + domain.n + notify.n + rcpt->orcpt.n + RECIPIENT_EXTRA_BYTES;
	int r;

	t->named = NULL;
	if (has_recipient(t, address))
		return -EALREADY;
	if (t->recipient_count >= recipients_max)
		return -EUSERS;
	if (t->envelope_bytes + bytes > IPC_ENVELOPE_MAX || t->arena.used > NAMED_ARENA_MAX)
		return -ENOBUFS;
	r = make_room(t);
	if (r < 0)
		return r;
	t->named = make_recipient(t, rcpt, notify, address, domain);
	t->named_bytes = bytes;
	return t->named ? 0 : -ENOMEM;
}

Locum__Recipient *transaction_named(const struct transaction *t)
{
	return t->named;
}

void transaction_take_named(struct transaction *t)
{
	must(t->named && t->recipient_count < t->recipient_room);
	t->recipient[t->recipient_count++] = t->named;
	t->envelope_bytes += t->named_bytes;
	t->named = NULL;
}

size_t transaction_recipient_count(const struct transaction *t)
{
	return t->recipient_count;
}

const Locum__Recipient *transaction_recipient(const struct transaction *t, size_t i)
{
	must(i < t->recipient_count);
	return t->recipient[i];
}

str transaction_reverse_path(const struct transaction *t)
{
	return t->reverse_path;
}

enum smtp_body transaction_body(const struct transaction *t)
{
	return t->body;
}

bool transaction_smtputf8(const struct transaction *t)
{
	return t->smtputf8;
}

bool transaction_requiretls(const struct transaction *t)
{
	return t->requiretls;
}

uint64_t transaction_size(const struct transaction *t)
{
	return t->size;
}

void transaction_limit_size(struct transaction *t, uint64_t bytes_max)
{
	if (bytes_max)
		t->size_limit = MIN(t->size_limit, bytes_max);
}

uint64_t transaction_size_limit(const struct transaction *t)
{
	return t->size_limit;
}

struct way *transaction_way(struct transaction *t)
{
	return &t->way;
}

struct arena *transaction_arena(struct transaction *t)
{
	return &t->arena;
}

static const char *const ret_name[] = {
	[SMTP_RET_NONE] = "",
	[SMTP_RET_FULL] = "FULL",
	[SMTP_RET_HDRS] = "HDRS",
};

void transaction_fill_envelope(const struct transaction *t, Locum__Envelope *envelope)
{
	envelope->reverse_path =
		(ProtobufCBinaryData){ t->reverse_path.n, (uint8_t *)t->reverse_path.p };
	envelope->recipients = t->recipient;
	envelope->n_recipients = t->recipient_count;
	envelope->body_8bitmime = t->body == SMTP_BODY_8BITMIME;
	envelope->body_binarymime = t->body == SMTP_BODY_BINARYMIME;
	envelope->smtputf8 = t->smtputf8;
	envelope->requiretls = t->requiretls;
	envelope->dsn_ret = (char *)ret_name[t->ret];
	envelope->dsn_envid = (char *)t->envid.p;
}
