/*
 * testing: what the tests of this folder share: a scratch directory, numbered messages whose envelope and
 * body follow from the number, and a listener that writes down what replay told. Tests only.
 */
#pragma once

#include "base/cleanup.h"
#include "base/crc32c.h"
#include "spool/inside.h"
#include "task/sys.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <cmocka.h>

#define IDS 512 /* numbers of messages: 0 … IDS - 1 */
#define STATE_SIZE 64

/* What replay told about each message. */
struct tale {
	struct {
		bool alive;
		unsigned told; /* SPOOL_MESSAGE events */
		unsigned size; /* of the envelope */
		char state[STATE_SIZE];
	} of[IDS];
	unsigned damages, kept; /* reports, and those that pin a segment */
	char last_damage[512];
};

static inline msg_id number_id(unsigned n)
{
	msg_id id = { { 0x01, 0x8f } };

	id.byte[8] = (uint8_t)(n * 37);
	id.byte[14] = (uint8_t)(n >> 8);
	id.byte[15] = (uint8_t)n;
	return id;
}

static inline unsigned id_number(msg_id id)
{
	return (unsigned)id.byte[14] << 8 | id.byte[15];
}

static inline char body_byte(unsigned n, size_t at)
{
	return (char)(n * 131 + at * 7 + (at >> 8));
}

static inline str envelope_of(unsigned n, char text[static 64])
{
	int length =
		snprintf(text, 64, "envelope of %u%.*s", n, (int)(n % 17), "-----------------");

	return str_mem(text, (size_t)length);
}

static inline int body_make(unsigned n, size_t bytes)
{
	_cleanup_(freep) char *p = malloc(bytes + 1);
	int fd = sys_memfd("body");

	assert_true(fd >= 0);
	for (size_t i = 0; i < bytes; i++)
		p[i] = body_byte(n, i);
	assert_int_equal(sys_write(fd, str_mem(p, bytes)), 0);
	return fd;
}

/* --- directories --- */

static inline char *scratch_make(void)
{
	char path[] = "/dev/shm/spool-test-XXXXXX";
	char elsewhere[] = "/tmp/spool-test-XXXXXX";
	char *made = mkdtemp(path);

	if (!made)
		made = mkdtemp(elsewhere);
	assert_non_null(made);
	return strdup(made);
}

static inline void tree_empty(int fd)
{
	DIR *d = fdopendir(fd);
	struct dirent *entry;

	assert_non_null(d);
	while ((entry = readdir(d))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (unlinkat(dirfd(d), entry->d_name, 0) == 0)
			continue;
		tree_empty(openat(dirfd(d), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
		unlinkat(dirfd(d), entry->d_name, AT_REMOVEDIR);
	}
	closedir(d);
}

static inline void tree_remove(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		tree_empty(fd);
	rmdir(path);
}

static inline void file_copy(const char *from, const char *to)
{
	static char chunk[1 << 16];
	int in = open(from, O_RDONLY | O_CLOEXEC);
	int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ssize_t n;

	assert_true(in >= 0 && out >= 0);
	while ((n = read(in, chunk, sizeof(chunk))) > 0)
		assert_int_equal(write(out, chunk, (size_t)n), n);
	close(in);
	close(out);
}

/* What a spool consists of: its directories are flat. */
static inline void spool_copy(const char *from, const char *to)
{
	static const char *const parts[] = { "queue", "held", "big", "" };

	tree_remove(to);
	mkdir(to, 0700);
	for (size_t i = 0; i < ELEMENTS(parts); i++) {
		char source[300], target[300];
		struct dirent *entry;
		DIR *d;

		snprintf(source, sizeof(source), "%s/%s", from, parts[i]);
		snprintf(target, sizeof(target), "%s/%s", to, parts[i]);
		mkdir(target, 0700);
		d = opendir(source);
		assert_non_null(d);
		while ((entry = readdir(d))) {
			char a[600], b[600];

			if (entry->d_type != DT_REG)
				continue;
			snprintf(a, sizeof(a), "%s/%s", source, entry->d_name);
			snprintf(b, sizeof(b), "%s/%s", target, entry->d_name);
			file_copy(a, b);
		}
		closedir(d);
	}
}

static inline unsigned file_count(const char *dir, const char *part)
{
	char path[300];
	unsigned n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "%s/%s", dir, part);
	d = opendir(path);
	assert_non_null(d);
	for (struct dirent *entry; (entry = readdir(d));)
		n += entry->d_type == DT_REG;
	closedir(d);
	return n;
}

static inline uint64_t file_bytes(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return (uint64_t)st.st_size;
}

/* Turns one bit around; twice is as before. */
static inline void file_flip(const char *path, uint64_t at)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	char c;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &c, 1, (off_t)at), 1);
	c ^= 0x10;
	assert_int_equal(pwrite(fd, &c, 1, (off_t)at), 1);
	close(fd);
}

/* --- the spool --- */

static inline int tale_each(void *arg, enum spool_event event, msg_id id, nsec written_wall,
			    str payload)
{
	struct tale *t = arg;
	unsigned n = id_number(id);
	char text[64];

	assert_true(n < IDS && id_eq(id, number_id(n)));
	assert_true(written_wall > 0);
	switch (event) {
	case SPOOL_MESSAGE:
		assert_false(t->of[n].alive);
		assert_true(str_eq(payload, envelope_of(n, text)));
		t->of[n].alive = true;
		t->of[n].told++;
		t->of[n].size = (unsigned)payload.n;
		t->of[n].state[0] = '\0';
		return 0;
	case SPOOL_STATE:
		assert_true(t->of[n].alive);
		str_copy(payload, t->of[n].state, STATE_SIZE);
		return 0;
	case SPOOL_DONE:
		assert_true(t->of[n].alive);
		t->of[n].alive = false;
		return 0;
	}
	return -EINVAL;
}

static inline void tale_damage(void *arg, const char *file, uint64_t offset, const char *what)
{
	struct tale *t = arg;

	t->damages++;
	if (strstr(what, "is kept"))
		t->kept++;
	snprintf(t->last_damage, sizeof(t->last_damage), "%s at %llu: %s", file,
		 (unsigned long long)offset, what);
}

/* Opens and replays; the tale starts anew. */
static inline struct spool *spool_start(const char *dir, const struct spool_options *o,
					struct tale *t)
{
	struct spool *s = NULL;

	memset(t, 0, sizeof(*t));
	assert_int_equal(spool_open(dir, o, &s), 0);
	assert_int_equal(spool_replay(s, tale_each, tale_damage, t), 0);
	return s;
}

static inline int put(struct spool *s, unsigned n, size_t body_bytes)
{
	int fd = body_make(n, body_bytes);
	char text[64];
	int r = spool_append(NULL, s, number_id(n), envelope_of(n, text), fd, body_bytes);

	close(fd);
	return r;
}

static inline void put_synced(struct spool *s, unsigned n, size_t body_bytes)
{
	assert_int_equal(put(s, n, body_bytes), 0);
	assert_int_equal(spool_sync(s), 0);
}

/* Envelope and body are there, byte for byte. */
static inline void check_message(struct spool *s, unsigned n, size_t body_bytes)
{
	_cleanup_(freep) char *p = malloc(body_bytes + 1);
	struct spool_body body;
	struct buf b;
	char text[64];

	buf_init(&b, 1 << 20);
	assert_int_equal(spool_read(s, number_id(n), &b, &body), 0);
	assert_true(str_eq(buf_str(&b), envelope_of(n, text)));
	assert_int_equal(body.bytes, body_bytes);
	assert_int_equal(sys_read_at(body.fd, p, body_bytes, body.offset), body_bytes);
	for (size_t i = 0; i < body_bytes; i++)
		assert_true(p[i] == body_byte(n, i));
	assert_int_equal(crc32c(0, str_mem(p, body_bytes)), body.crc32c);
	buf_done(&b);
}

static inline void check_state(struct spool *s, unsigned n, const char *state)
{
	struct buf b;

	buf_init(&b, 1 << 20);
	assert_int_equal(spool_read_state(s, number_id(n), &b), 0);
	assert_true(str_eq(buf_str(&b), str_of(state)));
	buf_done(&b);
}

static inline void compact_all(struct spool *s)
{
	int r;

	for (int steps = 0; (r = spool_compact(NULL, s)) == 1; steps++)
		assert_true(steps < 10000);
	assert_int_equal(r, 0);
}
