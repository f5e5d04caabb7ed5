#include "spool/scan.h"

#include "base/crc32c.h"
#include "task/sys.h"

#define PAGE ((size_t)4096)

void scan_init(struct scan *c, int fd, uint64_t salt, uint64_t limit, bool verify_all)
{
	*c = (struct scan){
		.fd = fd,
		.salt = salt,
		.at = FORMAT_RECORDS_AT,
		.limit = MAX(limit, FORMAT_RECORDS_AT),
		.verify_all = verify_all,
		.end = FORMAT_RECORDS_AT,
		.batch_at = FORMAT_RECORDS_AT,
		.nonzero_end = FORMAT_RECORDS_AT,
	};
}

void scan_done(struct scan *c)
{
	free(c->window);
	c->window = NULL;
}

/* Reads what can be read: an unreadable page becomes zeros, which no checksum accepts, so that it costs
 * the records in it and no others. */
static size_t read_forgiving(int fd, char *to, size_t n, uint64_t at)
{
	ssize_t got = sys_read_at(fd, to, n, at);

	if (got >= 0)
		return (size_t)got;
	for (size_t done = 0; done < n;) {
		size_t step = MIN(PAGE - (at + done) % PAGE, n - done);

		got = sys_read_at(fd, to + done, step, at + done);
		if (got < 0)
			memset(to + done, 0, step);
		else if ((size_t)got < step)
			return done + (size_t)got;
		done += step;
	}
	return n;
}

static int window_move(struct scan *c, uint64_t at, size_t n)
{
	size_t cap = MAX(MIN(SCAN_CHUNK, c->limit - at), n), keep = 0;

	if (cap > c->window_cap) {
		char *grown = realloc(c->window, cap);

		if (!grown)
			return -ENOMEM;
		c->window = grown;
		c->window_cap = cap;
	}
	if (at >= c->window_at && at < c->window_at + c->window_n) {
		keep = c->window_at + c->window_n - at;
		memmove(c->window, c->window + (at - c->window_at), keep);
	}
	c->window_at = at;
	cap = MIN(c->window_cap, c->limit - at);
	c->window_n = keep + read_forgiving(c->fd, c->window + keep, cap - keep, at + keep);
	return 0;
}

/* *ret_p: n bytes from `at` on. 1, or 0 when the file or the limit ends before, or -ENOMEM. */
static int window_get(struct scan *c, uint64_t at, size_t n, const char **ret_p)
{
	int r;

	if (at > c->limit || n > c->limit - at)
		return 0;
	if (at < c->window_at || at + n > c->window_at + c->window_n) {
		r = window_move(c, at, n);
		if (r < 0)
			return r;
		if (c->window_n < n) {
			/* The file is shorter than it was. */
			c->limit = at + c->window_n;
			return 0;
		}
	}
	*ret_p = c->window + (at - c->window_at);
	return 1;
}

static int hole(struct scan *c, const struct scan_hole *h)
{
	if (h->named)
		c->nonzero_end = h->to;
	return c->hole ? c->hole(c->arg, h) : 0;
}

/* Looks for the next header from c->at + 8 on and tells the hole before it. */
static int resync(struct scan *c)
{
	struct scan_hole h = { .from = c->at, .zero = true, .kind = FAULT_RECORD_HEADER };
	struct record_header header;
	const char *p;
	uint64_t word;
	int r = 1;

	for (bool first = true;; first = false, c->at += FORMAT_ALIGN) {
		r = window_get(c, c->at, sizeof(word), &p);
		if (r <= 0)
			break;
		memcpy(&word, p, sizeof(word));
		if (word == 0)
			continue;
		if (word == c->salt && !first) {
			r = window_get(c, c->at, sizeof(header), &p);
			if (r < 0)
				return r;
			if (r > 0)
				memcpy(&header, p, sizeof(header));
			if (r > 0 && record_header_ok(&header, c->salt))
				break;
		}
		h.zero = false;
		c->nonzero_end = c->at + FORMAT_ALIGN;
	}
	if (r < 0)
		return r;
	if (r == 0) {
		/* A few bytes may be left, fewer than a word. */
		while (c->at < c->limit && window_get(c, c->at, 1, &p) > 0) {
			if (*p) {
				h.zero = false;
				c->nonzero_end = c->at + 1;
			}
			c->at++;
		}
		c->at = c->limit;
	} else {
		h.zero = false;
	}
	h.to = c->at;
	return h.from < h.to ? hole(c, &h) : 0;
}

static bool all_zero(str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i])
			return false;
	return true;
}

/* Is the record whole? If not, *ret_kind is what is wrong with it. 1, 0 or -ENOMEM. */
static int record_check(struct scan *c, struct scan_record *record, enum fault_kind *ret_kind)
{
	const struct record_header *h = &record->header;
	size_t payload_end = sizeof(*h) + h->payload_bytes;
	bool skip = record_inline_bytes(h) > SCAN_SKIP && !c->verify_all;
	const char *p;
	int r;

	if (record->bytes <= c->limit - record->at)
		r = window_get(c, record->at, skip ? payload_end : record->bytes, &p);
	else
		r = 0;
	if (r <= 0) {
		*ret_kind = FAULT_RECORD_SHORT;
		return r;
	}
	record->payload = str_mem(p + sizeof(*h), h->payload_bytes);
	*ret_kind = FAULT_PAYLOAD;
	if (crc32c(0, record->payload) != h->payload_crc32c)
		return 0;
	*ret_kind = FAULT_BODY;
	return skip || h->flags & RECORD_BIG ||
	       crc32c(0, str_mem(p + payload_end, h->body_bytes)) == h->body_crc32c;
}

/* Bytes that should be zero and are not lose no record, but somebody should know. */
static int padding_check(struct scan *c, const struct scan_record *record)
{
	const struct record_header *h = &record->header;
	uint64_t used = sizeof(*h) + h->payload_bytes + record_inline_bytes(h);
	uint64_t at = record->at + used;

	if (at < c->window_at || record->at + record->bytes > c->window_at + c->window_n)
		return 0;
	if (all_zero(str_mem(c->window + (at - c->window_at), record->bytes - used)))
		return 0;
	return hole(c, &(struct scan_hole){ .from = at,
					    .to = record->at + record->bytes,
					    .kind = FAULT_PADDING });
}

int scan_next(struct scan *c, struct scan_record *ret_record)
{
	struct scan_record *record = ret_record;
	enum fault_kind wrong;
	const char *p;
	int r;

	while (c->at < c->limit) {
		*record = (struct scan_record){ .at = c->at };
		r = window_get(c, c->at, sizeof(record->header), &p);
		if (r < 0)
			return r;
		if (r > 0)
			memcpy(&record->header, p, sizeof(record->header));
		if (r == 0 || !record_header_ok(&record->header, c->salt)) {
			r = resync(c);
			if (r < 0)
				return r;
			continue;
		}
		record->bytes = record_bytes(&record->header);
		r = record_check(c, record, &wrong);
		if (r < 0)
			return r;
		if (r > 0) {
			c->at += record->bytes;
			c->end = c->nonzero_end = c->at;
			c->batch_at = (uint64_t)record->header.batch_at8 * FORMAT_ALIGN;
			r = padding_check(c, record);
			return r < 0 ? r : 1;
		}
		c->at = MIN(c->at + record->bytes, c->limit);
		r = hole(c, &(struct scan_hole){ .from = record->at,
						 .to = c->at,
						 .named = true,
						 .id = record->header.id,
						 .type = record->header.type,
						 .sequence = record->header.sequence,
						 .kind = wrong });
		if (r < 0)
			return r;
	}
	return 0;
}
