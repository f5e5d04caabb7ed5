#include "spool/inside.h"

#include "base/crc32c.h"
#include "task/sys.h"

/* Exactly n bytes, or -EBADMSG when the file ends before. */
static int read_exactly(int fd, void *to, size_t n, uint64_t at)
{
	ssize_t got = sys_read_at(fd, to, n, at);

	if (got < 0)
		return (int)got;
	return (size_t)got == n ? 0 : -EBADMSG;
}

/* -EAGAIN: still in the batch. */
static int place_fd(struct spool *s, struct place at, struct segment **ret_segment)
{
	struct segment *seg = segment_find(s, at.serial);

	if (place_at(at) + place_bytes(at) > seg->written)
		return -EAGAIN;
	*ret_segment = seg;
	return segment_fd(s, seg);
}

static bool header_is_of(const struct record_header *h, const struct segment *seg, struct place at,
			 msg_id id)
{
	return record_header_ok(h, seg->salt) && id_eq(h->id, id) &&
	       record_bytes(h) == place_bytes(at);
}

int read_header(struct spool *s, struct place at, msg_id id, struct record_header *ret_header)
{
	struct segment *seg;
	int fd = place_fd(s, at, &seg);
	int r;

	if (fd < 0)
		return fd;
	r = read_exactly(fd, ret_header, sizeof(*ret_header), place_at(at));
	if (r < 0)
		return r;
	return header_is_of(ret_header, seg, at, id) ? 0 : -EBADMSG;
}

int read_payload(struct spool *s, struct place at, msg_id id, struct buf *to,
		 struct record_header *ret_header)
{
	size_t before = to->n;
	int r;

	r = read_header(s, at, id, ret_header);
	if (r < 0)
		return r;
	if (ret_header->payload_bytes == 0)
		return 0;
	r = buf_reserve(to, ret_header->payload_bytes);
	if (r < 0)
		return r;
	r = read_exactly(segment_find(s, at.serial)->fd, to->p + before, ret_header->payload_bytes,
			 place_at(at) + sizeof(*ret_header));
	if (r < 0)
		return r;
	if (crc32c(0, str_mem(to->p + before, ret_header->payload_bytes)) !=
	    ret_header->payload_crc32c)
		return -EBADMSG;
	to->n += ret_header->payload_bytes;
	return 0;
}

static struct entry *find_live(const struct spool *s, msg_id id)
{
	struct entry *e = index_find(s, id);

	return e && !e->dead ? e : NULL;
}

int spool_read(struct spool *s, msg_id id, struct buf *to, struct spool_body *ret_body)
{
	struct entry *e = find_live(s, id);
	size_t before = to->n;
	struct record_header h;
	int r;

	if (!e)
		return -ENOENT;
	r = read_payload(s, e->message, id, to, &h);
	if (r < 0)
		return r;
	if (h.type != RECORD_MESSAGE)
		return -EBADMSG;
	*ret_body = (struct spool_body){ .bytes = h.body_bytes, .crc32c = h.body_crc32c };
	if (!(h.flags & RECORD_BIG)) {
		ret_body->fd = segment_find(s, e->message.serial)->fd;
		ret_body->offset = place_at(e->message) + sizeof(h) + h.payload_bytes;
		return 0;
	}
	r = ARRAY_RESERVE(s->read_fd, s->read_fd_cap, s->read_fd_n + 1);
	if (r == 0)
		r = big_open(s, id, h.body_bytes, &ret_body->fd);
	if (r < 0) {
		to->n = before;
		return r;
	}
	s->read_fd[s->read_fd_n++] = ret_body->fd;
	return 0;
}

int spool_read_state(struct spool *s, msg_id id, struct buf *to)
{
	struct entry *e = find_live(s, id);
	struct record_header h;

	if (!e)
		return -ENOENT;
	if (!e->mark.serial)
		return 0;
	return read_payload(s, e->mark, id, to, &h);
}

bool spool_has(const struct spool *s, msg_id id)
{
	return find_live(s, id) != NULL;
}

bool spool_is_held(const struct spool *s, msg_id id)
{
	struct entry *e = find_live(s, id);

	return e && segment_find((struct spool *)s, e->message.serial)->log == SPOOL_HELD;
}

/* Reads the whole record at `from` to a place of its size, and checks all of it. */
static int copy_verified(struct spool *s, struct place from, msg_id id, char *to,
			 struct record_header *ret_header)
{
	struct record_header *h = ret_header;
	struct segment *seg;
	int fd = place_fd(s, from, &seg);
	int r;

	if (fd < 0)
		return fd;
	r = read_exactly(fd, to, place_bytes(from), place_at(from));
	if (r < 0)
		return r;
	memcpy(h, to, sizeof(*h));
	if (!header_is_of(h, seg, from, id))
		return -EBADMSG;
	/* Damage must not get a fresh checksum. */
	if (crc32c(0, str_mem(to + sizeof(*h), h->payload_bytes)) != h->payload_crc32c)
		return -EBADMSG;
	if (!(h->flags & RECORD_BIG) &&
	    crc32c(0, str_mem(to + sizeof(*h) + h->payload_bytes, h->body_bytes)) != h->body_crc32c)
		return -EBADMSG;
	return 0;
}

int copy_record(struct spool *s, struct place from, msg_id id, struct spool *to,
		struct spool_logfile *log, struct place *ret_place)
{
	struct record_header h;
	char *at;
	int r;

	r = log_room(to, log, place_bytes(from), SPACE_MARK, &at);
	if (r == 0)
		r = copy_verified(s, from, id, at, &h);
	if (r < 0)
		return r;
	log_commit(to, log, at, &h, ret_place);
	return 0;
}
