/*
 * spool replay: two segments of whatever bytes. The first byte of the input says where the second segment begins
 * and whether checksums are put right, so that what lies behind them is reached as well. Replay must come to
 * an end, what it found must be readable or an error, compaction must come to an end, and a second replay
 * must find the same messages alive.
 */
#include "base/cleanup.h"
#include "base/crc32c.h"
#include "spool/inside.h"
#include "task/sys.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#define SALT 0x3154545353535353
#define INPUT_MAX 65536

static char root[64] = "/dev/shm/spool-fuzz-XXXXXX";
static int root_dir;
static struct segment_header blocks[2];
static uint8_t bytes[INPUT_MAX];

struct seen {
	uint64_t events;
	uint64_t alive; /* sum over the hashes of living ids */
};

static void clean_one(const char *part)
{
	int fd = openat(root_dir, part, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	for (struct dirent *entry; d && (entry = readdir(d));)
		if (entry->d_name[0] != '.')
			unlinkat(fd, entry->d_name, 0);
	if (d)
		closedir(d);
}

static void clean(void)
{
	clean_one("queue");
	clean_one("held");
	clean_one("big");
	unlinkat(root_dir, "lock", 0);
}

static void clean_up(void)
{
	clean();
	unlinkat(root_dir, "queue", AT_REMOVEDIR);
	unlinkat(root_dir, "held", AT_REMOVEDIR);
	unlinkat(root_dir, "big", AT_REMOVEDIR);
	rmdir(root);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	if (!mkdtemp(root)) {
		str_copy(STR("/tmp/spool-fuzz-XXXXXX"), root, sizeof(root));
		must(mkdtemp(root));
	}
	root_dir = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(root_dir >= 0);
	must(mkdirat(root_dir, "queue", 0700) == 0);
	must(mkdirat(root_dir, "held", 0700) == 0);
	atexit(clean_up);
	return 0;
}

/* Where a header could be, makes it one: salt and checksums fit what follows. */
static void put_right(uint8_t *p, size_t n, uint64_t sequence)
{
	for (size_t at = 0; at + sizeof(struct record_header) <= n;) {
		struct record_header h;
		size_t behind = n - at - sizeof(h);

		memcpy(&h, p + at, sizeof(h));
		h.salt = SALT;
		h.payload_bytes = (uint32_t)(h.payload_bytes % 64);
		h.body_bytes %= 512;
		h.type = h.type % 3 + 1;
		h.flags = h.type == RECORD_MESSAGE ? h.flags & RECORD_BIG : 0;
		h.zero = 0;
		sequence += 1 + h.sequence % 4; /* within a log they ascend */
		h.sequence = sequence;
		if (h.type != RECORD_MESSAGE)
			h.body_bytes = 0;
		/* Few ids, so that records meet. */
		memset(h.id.byte, 0, sizeof(h.id.byte) - 1);
		h.id.byte[15] %= 8;
		h.payload_crc32c = h.body_crc32c = 0;
		if (h.payload_bytes + record_inline_bytes(&h) <= behind) {
			h.payload_crc32c = crc32c(0, str_mem(p + at + sizeof(h), h.payload_bytes));
			h.body_crc32c = crc32c(0, str_mem(p + at + sizeof(h) + h.payload_bytes,
							  record_inline_bytes(&h)));
		}
		record_header_close(&h);
		memcpy(p + at, &h, sizeof(h));
		at += record_bytes(&h);
	}
}

static void write_segment(enum spool_log log, uint32_t serial, uint32_t previous, uint64_t end,
			  str records)
{
	struct segment_header *h = &blocks[0];
	char path[SEGMENT_NAME_SIZE + 8], name[SEGMENT_NAME_SIZE];
	int fd;

	segment_name(log, 20260101, serial, name);
	snprintf(path, sizeof(path), "%s/%s", log == SPOOL_QUEUE ? "queue" : "held", name);
	memset(h, 0, sizeof(*h));
	h->log = log + 1;
	h->serial = serial;
	h->salt = SALT;
	h->created_wall = 1767268800 * NSEC_S; /* the day of a held one's name */
	h->start = serial;
	h->previous_serial = previous;
	h->previous_end = h->previous_torn = end;
	segment_header_close(h);
	blocks[1] = blocks[0];
	fd = openat(root_dir, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	must(fd >= 0);
	must(sys_write(fd, str_mem(blocks, sizeof(blocks))) == 0);
	must(sys_write(fd, records) == 0);
	close(fd);
}

static int each(void *arg, enum spool_event event, msg_id id, nsec written_wall, str payload)
{
	struct seen *seen = arg;

	(void)written_wall;
	seen->events += payload.n + 1;
	if (event == SPOOL_MESSAGE)
		seen->alive += id_hash(id) | 1;
	if (event == SPOOL_DONE)
		seen->alive -= id_hash(id) | 1;
	return 0;
}

static void damage(void *arg, const char *file, uint64_t offset, const char *what)
{
	(void)arg;
	must(file[0] && what[0] && offset < UINT64_MAX);
}

static struct spool *start(struct seen *seen)
{
	static const struct spool_options o = { .segment_bytes = 16 << 10,
						.big_body_bytes = 16 << 10 };
	struct spool *s = NULL;

	*seen = (struct seen){ 0 };
	must(spool_open(root, &o, &s) == 0);
	must(spool_replay(s, each, damage, seen) == 0);
	return s;
}

static void read_everything(struct spool *s)
{
	struct spool_body body;
	struct buf b;

	buf_init(&b, FORMAT_PAYLOAD_MAX);
	for (struct map_link *at = map_walk(&s->index, NULL); at; at = map_walk(&s->index, at)) {
		const struct entry *e = CONTAINER(at, struct entry, link);
		int r = spool_read(s, e->id, &b, &body);

		must(e->dead ? r == -ENOENT : r == 0 || r == -EBADMSG);
		r = spool_read_state(s, e->id, &b);
		must(e->dead ? r == -ENOENT : r == 0);
		buf_reset(&b);
	}
	buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seen first, second;
	struct spool *s;
	size_t cut;
	int r;

	if (size < 2 || size > INPUT_MAX)
		return 0;
	cut = (size - 2) * data[0] / 256 / 8 * 8;
	memcpy(bytes, data + 2, size - 2);
	if (data[1] & 1) {
		put_right(bytes, cut, 0);
		put_right(bytes + cut, size - 2 - cut, data[1] & 2 ? data[1] >> 4 : INPUT_MAX);
	}
	clean();
	write_segment(SPOOL_QUEUE, 1, 0, 0, str_mem(bytes, cut));
	write_segment(data[1] & 2 ? SPOOL_HELD : SPOOL_QUEUE, 2, data[1] & 4 ? 1 : 0,
		      FORMAT_RECORDS_AT + (data[1] & 8 ? cut / 2 : cut),
		      str_mem(bytes + cut, size - 2 - cut));
	s = start(&first);
	read_everything(s);
	for (int steps = 0; (r = spool_compact(NULL, s)) != 0; steps++) {
		must(r == 1 || r == -EBADMSG);
		must(steps < 1000);
	}
	must(spool_sync(s) == 0);
	spool_close(s);
	s = start(&second);
	read_everything(s);
	/* A seal that is a lie goes with the segment that told it. */
	must(first.alive == second.alive || data[1] & 8);
	spool_close(s);
	return 0;
}
