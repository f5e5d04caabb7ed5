/* Opening and closing: the lock, the identity, and what segments there are. Reads headers only. */
#include "spool/inside.h"

#include "base/cleanup.h"
#include "base/wrong.h"
#include "task/sys.h"
#include <fcntl.h>

#define IDENTITY_BYTES 64 /* of the lock file, at most */

static const struct spool_options defaults = {
	.segment_bytes = (uint64_t)64 << 20,
	.big_body_bytes = (uint64_t)1 << 20,
	.reserve_bytes = (uint64_t)64 << 20,
};

const char *spool_error_text(int error)
{
	switch (-error) {
	case EWOULDBLOCK:
		return "another process owns this spool; `locum spool verify` names it";
	case EPROTONOSUPPORT:
		return "the spool was written in a format version that this program does not know";
	case EACCES:
	case EPERM:
		return "the spool directory may not be read and written by this user";
	case EROFS:
		return "the spool directory is on a read-only file system";
	case ENOTDIR:
		return "the spool path, or something in it, is not a directory";
	case ENOSPC:
		return "the disk is full";
	case EIO:
		return "the disk failed to read or write";
	case EBADMSG:
		return "the record is damaged on disk";
	}
	return strerror(-error);
}

/* --- the lock file, which also names the spool --- */

static bool hex_decode(str hex, uint8_t *ret, size_t n)
{
	static const char digits[] = "0123456789abcdef";

	if (hex.n != 2 * n)
		return false;
	for (size_t i = 0; i < hex.n; i++) {
		const char *at = memchr(digits, hex.p[i], 16);

		if (!at)
			return false;
		ret[i / 2] = (uint8_t)(ret[i / 2] << 4 | (at - digits));
	}
	return true;
}

/* "locum spool 1\nHEX\n" */
int identity_read(struct spool *s)
{
	char text[IDENTITY_BYTES];
	ssize_t n = sys_read_at(s->lock, text, sizeof(text), 0);
	str first, rest, hex;
	uint64_t version;

	if (n < 0)
		return (int)n;
	if (!str_cut(str_mem(text, (size_t)n), '\n', &first, &rest) ||
	    !str_starts(first, STR("locum spool ")) ||
	    str_u64(str_from(first, STR("locum spool ").n), UINT32_MAX, &version) < 0)
		return 0;
	if (version != FORMAT_VERSION)
		return -EPROTONOSUPPORT;
	if (!str_cut(rest, '\n', &hex, &rest))
		return 0;
	return hex_decode(hex, s->id, sizeof(s->id));
}

static int identity_write(struct spool *s)
{
	char text[IDENTITY_BYTES];
	int n = snprintf(text, sizeof(text), "locum spool %u\n", FORMAT_VERSION);
	int r;

	for (size_t i = 0; i < sizeof(s->id); i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "%02x", s->id[i]);
	n += snprintf(text + n, sizeof(text) - (size_t)n, "\n");
	r = sys_write_at(s->lock, str_mem(text, (size_t)n), 0);
	if (r == 0)
		r = sys_truncate(s->lock, (uint64_t)n);
	return r < 0 ? r : sys_sync(s->lock);
}

static int open_subdirectory(int dir, const char *name)
{
	int fd = sys_open_at(dir, name, O_RDONLY | O_DIRECTORY, 0);
	int r;

	if (fd != -ENOENT)
		return fd;
	r = sys_mkdir_at(dir, name, 0700);
	if (r < 0)
		return r;
	return sys_open_at(dir, name, O_RDONLY | O_DIRECTORY, 0);
}

/* The directory and its lock; nothing else, as it may be of another version. */
static int open_lock(struct spool *s, const char *path)
{
	s->dir = sys_open_dir(path);
	if (s->dir == -ENOENT) {
		int r = sys_mkdir_at(AT_FDCWD, path, 0700);

		if (r < 0)
			return r;
		s->dir = sys_open_dir(path);
	}
	if (s->dir < 0)
		return s->dir;
	s->lock = sys_open_at(s->dir, "lock", O_RDWR | O_CREAT, 0600);
	if (s->lock < 0)
		return s->lock;
	return sys_lock(s->lock);
}

static int open_directories(struct spool *s)
{
	s->big_dir = open_subdirectory(s->dir, "big");
	if (s->big_dir < 0)
		return s->big_dir;
	for (size_t i = 0; i < SPOOL_LOGS; i++) {
		struct spool_logfile *l = &s->log[i];

		l->dir = open_subdirectory(s->dir, log_name(l->kind));
		if (l->dir < 0)
			return l->dir;
	}
	return sys_sync(s->dir);
}

/* --- segments --- */

struct listing {
	struct spool *s;
	enum spool_log log;
	bool named; /* the lock file said whose segments these should be */
};

int oddity_add(struct spool *s, enum spool_log log, const char *name, enum fault_kind kind,
	       const char *other)
{
	struct oddity *o;
	int r = ARRAY_RESERVE(s->oddity, s->oddity_cap, s->oddity_count + 1);

	if (r < 0)
		return r;
	o = &s->oddity[s->oddity_count++];
	*o = (struct oddity){ .log = log, .kind = kind };
	str_copy(str_of(name), o->name, sizeof(o->name));
	str_copy(str_of(other), o->other, sizeof(o->other));
	return 0;
}

/* The header block that is whole, if one is. */
static int header_load(struct spool *s, int fd, const struct segment_header **ret_header,
		       bool *ret_one_bad)
{
	ssize_t n = sys_read_at(fd, s->block, FORMAT_RECORDS_AT, 0);
	enum block_state state[2];

	if (n < 0 && n != -EIO)
		return (int)n;
	if (n < FORMAT_RECORDS_AT) {
		memset(s->block, 0, FORMAT_RECORDS_AT);
		/* A bad sector under one block must not hide the other. */
		for (size_t i = 0; i < 2; i++)
			if (sys_read_at(fd, s->block + i, FORMAT_BLOCK, i * FORMAT_BLOCK) < 0)
				memset(s->block + i, 0, FORMAT_BLOCK);
	}
	for (size_t i = 0; i < 2; i++) {
		state[i] = segment_header_check(s->block + i);
		if (state[i] == BLOCK_FOREIGN)
			return -EPROTONOSUPPORT;
	}
	*ret_one_bad = state[0] != state[1];
	*ret_header = state[0] == BLOCK_OK ? s->block : state[1] == BLOCK_OK ? s->block + 1 : NULL;
	return 0;
}

/* Is it the header of the segment that the name says? Else *ret_kind, and *ret_other the name that it says. */
static bool header_fits(struct listing *c, const struct segment_header *h,
			const struct segment *seg, enum fault_kind *ret_kind,
			char ret_other[static SEGMENT_NAME_SIZE + 8])
{
	struct spool *s = c->s;
	enum spool_log log = h->log == SPOOL_HELD + 1 ? SPOOL_HELD : SPOOL_QUEUE;
	uint32_t day = log == SPOOL_HELD ? day_of(h->created_wall) : 0;
	char name[SEGMENT_NAME_SIZE];

	if (!c->named) {
		memcpy(s->id, h->spool_id, sizeof(s->id));
		c->named = true;
	}
	*ret_kind = FAULT_FOREIGN_SPOOL;
	if (memcmp(h->spool_id, s->id, sizeof(s->id)) != 0)
		return false;
	if (h->serial == seg->serial && h->log == (uint32_t)c->log + 1 && day == seg->day)
		return true;
	*ret_kind = FAULT_WRONG_NAME;
	segment_name(log, day, (uint32_t)h->serial, name);
	snprintf(ret_other, SEGMENT_NAME_SIZE + 8, "%s/%s", log_name(log), name);
	return false;
}

/* Both header blocks are lost. The first record stands where no mail reaches, and begins with the salt. */
static bool header_from_record(struct spool *s, struct segment *seg)
{
	struct record_header h;
	int fd = segment_fd(s, seg);

	if (fd < 0 || sys_read_at(fd, &h, sizeof(h), FORMAT_RECORDS_AT) != sizeof(h) ||
	    !record_header_ok(&h, h.salt))
		return false;
	seg->salt = h.salt;
	seg->headless = seg->pinned = true;
	return true;
}

static void header_take(struct spool *s, struct segment *seg, const struct segment_header *h)
{
	seg->salt = h->salt;
	seg->seals = h->previous_serial <= UINT32_MAX ? (uint32_t)h->previous_serial : 0;
	seg->seal_end = h->previous_end;
	seg->seal_torn = h->previous_torn;
	s->start = MAX(s->start, h->start);
}

/* Reads the header, or what can stand for it. 1: a segment of ours, 0: told as an oddity. */
static int segment_identify(struct listing *c, struct segment *seg, const char *name)
{
	const struct segment_header *h = NULL;
	char other[SEGMENT_NAME_SIZE + 8] = "";
	enum fault_kind kind;
	bool one_bad;
	int r = header_load(c->s, seg->fd, &h, &one_bad);

	if (r == -EPROTONOSUPPORT && c->s->read_only)
		return oddity_add(c->s, c->log, name, FAULT_VERSION, "");
	if (r == 0)
		r = sys_size(seg->fd, &seg->allocated);
	if (r < 0)
		return r;
	if (h && !header_fits(c, h, seg, &kind, other))
		return oddity_add(c->s, c->log, name, kind, other);
	if (h)
		header_take(c->s, seg, h);
	else if (!header_from_record(c->s, seg))
		return oddity_add(c->s, c->log, name, FAULT_HEADER_LOST, "");
	if (!h || one_bad)
		r = oddity_add(c->s, c->log, name, h ? FAULT_HEADER_BLOCK : FAULT_HEADER_BOTH, "");
	return r < 0 ? r : 1;
}

static int list_one(void *arg, const char *name)
{
	struct listing *c = arg;
	struct spool *s = c->s;
	_cleanup_(segment_freep) struct segment *seg = NULL;
	uint32_t day, serial;
	int r;

	if (segment_name_parse(c->log, name, &day, &serial) < 0)
		return oddity_add(s, c->log, name, FAULT_FOREIGN_FILE, "");
	s->next_serial = MAX(s->next_serial, WRONG(SEGMENT_REUSED) ? serial : serial + 1);
	seg = segment_alloc(c->log, day, serial);
	if (!seg)
		return -ENOMEM;
	r = segment_fd(s, seg);
	if (r == -ENOENT && s->read_only) {
		s->vanished = true;
		return 0;
	}
	if (r < 0)
		return r;
	r = segment_identify(c, seg, name);
	segment_close_fd(s, seg);
	if (r <= 0)
		return r;
	r = segment_insert(s, seg);
	if (r == -EEXIST)
		return oddity_add(s, c->log, name, FAULT_DUPLICATE, "");
	if (r == 0)
		TAKE(seg);
	return r;
}

/* Each header tells the end of an earlier segment: hands that on to the segment it is about. */
static void hand_on_seals(struct spool *s)
{
	for (size_t i = 0; i < s->segment_count; i++) {
		struct segment *told, *teller = s->segment[i];
		uint64_t end = teller->seal_end, torn = teller->seal_torn;

		/* Ascending: what `teller` itself was told comes from a later one. */
		teller->seal_end = teller->seal_torn = 0;
		told = segment_lookup(s, teller->seals);
		if (!told || told->log != teller->log || told->serial >= teller->serial)
			continue;
		told->sealed = true;
		told->seal_end = end;
		told->seal_torn = torn;
	}
}

int list_segments(struct spool *s, bool named)
{
	for (size_t i = 0; i < SPOOL_LOGS; i++) {
		struct listing c = { s, (enum spool_log)i, named };
		int r = s->log[i].dir < 0 ? 0 : sys_list_dir(s->log[i].dir, list_one, &c);

		if (r < 0)
			return r;
		named = c.named;
	}
	hand_on_seals(s);
	if (!named && !s->read_only)
		sys_random(s->id, sizeof(s->id));
	return 0;
}

/* --- the whole --- */

void spool_set_options(struct spool *s, const struct spool_options *o)
{
	s->options = o ? *o : defaults;
	if (s->options.segment_bytes == 0)
		s->options.segment_bytes = defaults.segment_bytes;
	if (s->options.big_body_bytes == 0)
		s->options.big_body_bytes = defaults.big_body_bytes;
	s->options.segment_bytes = MAX(s->options.segment_bytes, SEGMENT_BYTES_MIN);
	s->options.segment_bytes = MIN(s->options.segment_bytes, FORMAT_SEGMENT_MAX / 2);
	s->options.big_body_bytes = MIN(s->options.big_body_bytes, FORMAT_INLINE_MAX);
}

struct spool *spool_new(const struct spool_options *options)
{
	_cleanup_(spool_closep) struct spool *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->dir = s->lock = s->big_dir = s->log[SPOOL_QUEUE].dir = s->log[SPOOL_HELD].dir = -1;
	for (size_t i = 0; i < SPOOL_LOGS; i++)
		s->log[i].kind = (enum spool_log)i;
	s->next_serial = 1;
	map_init(&s->index);
	spool_set_options(s, options);
	s->block = malloc(FORMAT_RECORDS_AT);
	return s->block ? TAKE(s) : NULL;
}

int spool_open(const char *dir, const struct spool_options *options, struct spool **ret_spool)
{
	_cleanup_(spool_closep) struct spool *s = spool_new(options);
	int named, r;

	if (!s)
		return -ENOMEM;
	r = open_lock(s, dir);
	if (r < 0)
		return r;
	named = identity_read(s);
	if (named < 0)
		return named;
	r = open_directories(s);
	if (r == 0)
		r = list_segments(s, named > 0);
	if (r < 0)
		return r;
	if (!named) {
		r = identity_write(s);
		if (r < 0)
			return r;
	}
	*ret_spool = TAKE(s);
	return 0;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		sys_close(fd);
}

void spool_close(struct spool *s)
{
	if (!s)
		return;
	segment_trim_fds(s);
	for (size_t i = 0; i < SPOOL_LOGS; i++) {
		struct segment *open = s->log[i].open;

		if (open && !s->failed)
			segment_shrink(s, open, open->written);
		free(s->log[i].batch);
	}
	for (size_t i = 0; i < s->segment_count; i++)
		segment_freep(&s->segment[i]);
	free(s->segment);
	index_done(s);
	free(s->big_unlink);
	free(s->read_fd);
	free(s->oddity);
	free(s->fault);
	free(s->lone_done);
	free(s->block);
	close_fd(s->log[SPOOL_QUEUE].dir);
	close_fd(s->log[SPOOL_HELD].dir);
	close_fd(s->big_dir);
	close_fd(s->lock);
	close_fd(s->dir);
	free(s);
}

void spool_closep(struct spool **s)
{
	spool_close(*s);
}
