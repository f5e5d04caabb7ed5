/* What is durable: reads the records of the log as they become so, without the spool's code but for the layout. */
#include "base/crc32c.h"
#include "sim/engine.h"
#include "spool/format.h"

#include <stdlib.h>

struct known {
	struct map_link link;
	msg_id id;
	bool message;
	nsec done_since; /* 0: not done */
};

struct records {
	struct map known;
	struct disk *disk; /* while scanning */
	size_t messages, done;
};

struct records *records_new(void)
{
	struct records *r = calloc(1, sizeof(*r));

	must(r);
	map_init(&r->known);
	return r;
}

static struct known *find(const struct records *r, msg_id id)
{
	MAP_FIND (&r->known, id_hash(id), struct known, link, k)
		if (id_eq(k->id, id))
			return k;
	return NULL;
}

static struct known *get(struct records *r, msg_id id)
{
	struct known *k = find(r, id);

	if (k)
		return k;
	k = calloc(1, sizeof(*k));
	must(k);
	k->id = id;
	must(map_insert(&r->known, &k->link, id_hash(id)) == 0);
	return k;
}

static bool big_body_there(const struct records *r, const struct record_header *h)
{
	char name[ID_TEXT_LENGTH + 1];
	uint64_t bytes;

	id_text(h->id, name);
	return disk_durable_size(r->disk, "big", name, &bytes) && bytes == h->body_bytes;
}

/* After a power cut the header may be there and the rest may not. */
static bool is_whole(const struct record_header *h, const char *record)
{
	const char *payload = record + sizeof(*h), *body = payload + h->payload_bytes;

	return crc32c(0, str_mem(payload, h->payload_bytes)) == h->payload_crc32c &&
	       ((h->flags & RECORD_BIG) ||
		crc32c(0, str_mem(body, h->body_bytes)) == h->body_crc32c);
}

static void note(struct records *r, const struct record_header *h)
{
	struct known *k;

	switch (h->type) {
	case RECORD_MESSAGE:
		if ((h->flags & RECORD_BIG) && !big_body_there(r, h))
			break;
		k = get(r, h->id);
		r->messages += !k->message;
		k->message = true;
		break;
	case RECORD_DONE:
		k = get(r, h->id);
		if (k->done_since > 0)
			break;
		k->done_since = sim_now();
		r->done++;
		break;
	}
}

static void scan_file(void *arg, struct durable_file *f)
{
	struct records *r = arg;
	const struct segment_header *s = (const void *)f->bytes.p;

	if (!f->dir || strcmp(f->dir, "big") == 0 || f->bytes.n < FORMAT_RECORDS_AT ||
	    segment_header_check(s) != BLOCK_OK)
		return;
	if (*f->parsed_to == 0)
		*f->parsed_to = FORMAT_RECORDS_AT;
	while (*f->parsed_to + sizeof(struct record_header) <= f->bytes.n) {
		struct record_header h;
		uint64_t bytes;

		memcpy(&h, f->bytes.p + *f->parsed_to, sizeof(h));
		if (!record_header_ok(&h, s->salt))
			return;
		bytes = record_bytes(&h);
		if (*f->parsed_to + bytes > f->bytes.n)
			return;
		if (is_whole(&h, f->bytes.p + *f->parsed_to))
			note(r, &h);
		*f->parsed_to += bytes;
	}
}

void records_scan(struct records *r, struct disk *d)
{
	r->disk = d;
	disk_durable_files(d, scan_file, r);
}

void records_count(const struct records *r, size_t *ret_messages, size_t *ret_done)
{
	*ret_messages = r->messages > r->done ? r->messages - r->done : 0;
	*ret_done = r->done;
}

bool records_message(const struct records *r, msg_id id)
{
	const struct known *k = find(r, id);

	return k && k->message;
}

bool records_done(const struct records *r, msg_id id, nsec *ret_since)
{
	const struct known *k = find(r, id);

	if (!k || k->done_since == 0)
		return false;
	*ret_since = k->done_since;
	return true;
}
