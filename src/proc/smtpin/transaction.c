#include "proc/smtpin/transaction.h"

#include "base/cleanup.h"

/* Client, names, ids: what an envelope holds beyond its paths, at most. */
#define ENVELOPE_FIXED_BYTES (4 * 1024)
/* Tags, lengths and the state of a packed recipient. */
#define RECIPIENT_EXTRA_BYTES 24
#define RECIPIENTS_FIRST 4
#define ARENA_MAX (1024 * 1024)

struct transaction {
	struct arena arena;
	str reverse_path;
	bool body_8bitmime;
	Locum__Recipient **recipient;
	size_t recipient_count, recipient_room;
	size_t envelope_bytes; /* packed, an upper bound */
};

int transaction_new(str reverse_path, bool body_8bitmime, struct transaction **ret_transaction)
{
	_cleanup_(transaction_freep) struct transaction *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	arena_init(&t->arena, ARENA_MAX);
	t->reverse_path = arena_str(&t->arena, reverse_path);
	if (!t->reverse_path.p)
		return -ENOMEM;
	t->body_8bitmime = body_8bitmime;
	t->envelope_bytes = ENVELOPE_FIXED_BYTES + reverse_path.n;
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

int transaction_add_recipient(struct transaction *t, str address, str domain, size_t recipients_max)
{
	size_t bytes = address.n + domain.n + RECIPIENT_EXTRA_BYTES;
	Locum__Recipient *recipient;
	int r;

	if (has_recipient(t, address))
		return 0;
	if (t->recipient_count >= recipients_max)
		return -EUSERS;
	if (t->envelope_bytes + bytes > IPC_ENVELOPE_MAX)
		return -ENOBUFS;
	r = make_room(t);
	if (r < 0)
		return r;
	recipient = ARENA_NEW(&t->arena, Locum__Recipient);
	address = arena_str(&t->arena, address);
	domain = arena_str(&t->arena, domain);
	if (!recipient || !address.p || !domain.p)
		return -ENOMEM;
	locum__recipient__init(recipient);
	recipient->address = (ProtobufCBinaryData){ address.n, (uint8_t *)address.p };
	recipient->domain = (char *)domain.p; /* NUL-terminated by the arena */
	t->recipient[t->recipient_count++] = recipient;
	t->envelope_bytes += bytes;
	return 0;
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

bool transaction_body_8bitmime(const struct transaction *t)
{
	return t->body_8bitmime;
}

struct arena *transaction_arena(struct transaction *t)
{
	return &t->arena;
}

void transaction_fill_envelope(const struct transaction *t, Locum__Envelope *envelope)
{
	envelope->reverse_path =
		(ProtobufCBinaryData){ t->reverse_path.n, (uint8_t *)t->reverse_path.p };
	envelope->recipients = t->recipient;
	envelope->n_recipients = t->recipient_count;
	envelope->body_8bitmime = t->body_8bitmime;
}
