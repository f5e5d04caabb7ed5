#include "spool/format.h"

#include "base/crc32c.h"

uint64_t record_inline_bytes(const struct record_header *h)
{
	return h->flags & RECORD_BIG ? 0 : h->body_bytes;
}

uint64_t record_bytes(const struct record_header *h)
{
	uint64_t n = sizeof(*h) + h->payload_bytes + record_inline_bytes(h);

	return (n + FORMAT_ALIGN - 1) / FORMAT_ALIGN * FORMAT_ALIGN;
}

static uint32_t record_header_crc(const struct record_header *h)
{
	return crc32c(0, str_mem(h, offsetof(struct record_header, crc32c)));
}

static bool record_header_sane(const struct record_header *h)
{
	bool big = h->flags & RECORD_BIG;

	if (h->payload_bytes > FORMAT_PAYLOAD_MAX || h->flags & ~RECORD_BIG || h->zero)
		return false;
	switch (h->type) {
	case RECORD_MESSAGE:
		return big || h->body_bytes <= FORMAT_INLINE_MAX;
	case RECORD_STATE:
	case RECORD_DONE:
		return !big && h->body_bytes == 0;
	}
	return false;
}

void record_header_close(struct record_header *h)
{
	must(record_header_sane(h));
	h->crc32c = record_header_crc(h);
}

bool record_header_ok(const struct record_header *h, uint64_t salt)
{
	return h->salt == salt && h->crc32c == record_header_crc(h) && record_header_sane(h);
}

static uint32_t segment_header_crc(const struct segment_header *h)
{
	return crc32c(0, str_mem(h, offsetof(struct segment_header, crc32c)));
}

void segment_header_close(struct segment_header *h)
{
	memcpy(h->magic, FORMAT_MAGIC, sizeof(h->magic));
	h->version = FORMAT_VERSION;
	h->crc32c = segment_header_crc(h);
}

enum block_state segment_header_check(const struct segment_header *h)
{
	if (memcmp(h->magic, FORMAT_MAGIC, sizeof(h->magic)) != 0 ||
	    h->crc32c != segment_header_crc(h))
		return BLOCK_BAD;
	return h->version == FORMAT_VERSION ? BLOCK_OK : BLOCK_FOREIGN;
}

void segment_name(enum spool_log log, uint32_t day, uint32_t serial,
		  char ret_name[static SEGMENT_NAME_SIZE])
{
	switch (log) {
	case SPOOL_QUEUE:
		snprintf(ret_name, SEGMENT_NAME_SIZE, "%010u.seg", serial);
		return;
	case SPOOL_HELD:
		snprintf(ret_name, SEGMENT_NAME_SIZE, "%08u-%010u.seg", day, serial);
		return;
	}
}

int segment_name_parse(enum spool_log log, const char *name, uint32_t *ret_day,
		       uint32_t *ret_serial)
{
	uint64_t day = 0, serial;
	str rest = str_of(name);
	char again[SEGMENT_NAME_SIZE];

	if (log == SPOOL_HELD) {
		if (rest.n < 9 || rest.p[8] != '-' ||
		    str_u64(str_first(rest, 8), 99999999, &day) < 0)
			return -EINVAL;
		rest = str_from(rest, 9);
	}
	if (str_u64(str_first(rest, 10), UINT32_MAX - 1, &serial) < 0 || serial == 0)
		return -EINVAL;
	/* Only the exact form that we write counts. */
	segment_name(log, (uint32_t)day, (uint32_t)serial, again);
	if (strcmp(again, name) != 0)
		return -EINVAL;
	*ret_day = (uint32_t)day;
	*ret_serial = (uint32_t)serial;
	return 0;
}

uint32_t day_of(nsec at_wall)
{
	time_t seconds = (time_t)(at_wall / NSEC_S);
	struct tm t = { 0 };

	gmtime_r(&seconds, &t);
	return (uint32_t)((t.tm_year + 1900) * 10000 + (t.tm_mon + 1) * 100 + t.tm_mday);
}
