/*
 * locum spool verify, ls, export and rebuild on whatever files: the input is cut into pieces, each a file of a
 * spool: [file, length (2 bytes), bytes]. The high bits of `file` ask for headers that are put right. Looking must
 * change nothing and come to an end; what is rebuilt must be whole, and be all that could be read.
 */
#include "base/cleanup.h"
#include "base/crc32c.h"
#include "spool/inside.h"
#include "spool/inspect.h"
#include "task/sys.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#define SALT 0x3154545353535353
#define PUT_RIGHT 0x80    /* header blocks and, as far as they follow each other, records */
#define ONLY_RECORDS 0x40 /* the header blocks stay as they come */

static char root[64] = "/dev/shm/spool-verify-XXXXXX", made[80];
static char bytes[FORMAT_RECORDS_AT + UINT16_MAX + 1];

static const char *const files[] = {
	"lock",
	"queue/0000000001.seg",
	"queue/0000000002.seg",
	"queue/0000000003.seg",
	"held/20260101-0000000004.seg",
	"held/20260101-0000000005.seg",
	"big/00000000000000000000000001",
	"queue/core",
};

static void empty(const char *dir)
{
	static const char *const parts[] = { "queue", "held", "big", "" };
	char path[400];

	for (size_t i = 0; i < ELEMENTS(parts); i++) {
		DIR *d;

		snprintf(path, sizeof(path), "%s/%s", dir, parts[i]);
		d = opendir(path);
		for (struct dirent *entry; d && (entry = readdir(d));)
			if (entry->d_name[0] != '.')
				unlinkat(dirfd(d), entry->d_name, 0);
		if (d)
			closedir(d);
	}
}

static void remove_made(void)
{
	static const char *const parts[] = { "/queue", "/held", "/big", "" };
	char path[400];

	empty(made);
	for (size_t i = 0; i < ELEMENTS(parts); i++) {
		snprintf(path, sizeof(path), "%s%s", made, parts[i]);
		rmdir(path);
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const char *const parts[] = { "queue", "held", "big" };
	char path[400];

	(void)argc;
	(void)argv;
	must(mkdtemp(root));
	snprintf(made, sizeof(made), "%s-made", root);
	for (size_t i = 0; i < ELEMENTS(parts); i++) {
		snprintf(path, sizeof(path), "%s/%s", root, parts[i]);
		must(mkdir(path, 0700) == 0);
	}
	return 0;
}

static void put_records_right(char *p, size_t n, uint32_t serial)
{
	uint64_t sequence = (uint64_t)serial << 32;

	for (size_t at = 0; at + sizeof(struct record_header) <= n;) {
		struct record_header h;

		memcpy(&h, p + at, sizeof(h));
		h.salt = SALT;
		h.payload_bytes %= 64;
		h.body_bytes %= 512;
		h.type = h.type % 3 + 1;
		h.flags = h.type == RECORD_MESSAGE ? h.flags & RECORD_BIG : 0;
		h.body_bytes = h.type == RECORD_MESSAGE ? h.body_bytes : 0;
		h.zero = 0;
		h.sequence = sequence += 1 + h.sequence % 4;
		memset(h.id.byte, 0, sizeof(h.id.byte) - 1);
		h.id.byte[15] %= 8;
		if (sizeof(h) + h.payload_bytes + record_inline_bytes(&h) <= n - at) {
			h.payload_crc32c = crc32c(0, str_mem(p + at + sizeof(h), h.payload_bytes));
			if (!(h.flags & RECORD_BIG))
				h.body_crc32c =
					crc32c(0, str_mem(p + at + sizeof(h) + h.payload_bytes,
							  h.body_bytes));
		}
		record_header_close(&h);
		memcpy(p + at, &h, sizeof(h));
		at += record_bytes(&h);
	}
}

static void write_file(const char *name, str content)
{
	char path[400];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", root, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	must(fd >= 0 && sys_write(fd, content) == 0);
	close(fd);
}

static void write_piece(uint8_t which, str piece)
{
	size_t file = which % ELEMENTS(files);
	bool segment = file >= 1 && file <= 5;
	struct segment_header *h = (struct segment_header *)bytes;

	if (!segment || !(which & PUT_RIGHT)) {
		write_file(files[file], piece);
		return;
	}
	memset(bytes, 0, FORMAT_RECORDS_AT);
	memcpy(bytes + FORMAT_RECORDS_AT, piece.p, piece.n);
	put_records_right(bytes + FORMAT_RECORDS_AT, piece.n, (uint32_t)file);
	if (!(which & ONLY_RECORDS)) {
		h->log = file >= 4 ? SPOOL_HELD + 1 : SPOOL_QUEUE + 1;
		h->serial = file;
		h->created_wall = 1767268800 * NSEC_S;
		h->salt = SALT;
		h->start = file;
		h->previous_serial = which & 0x20 ? file - 1 : 0;
		h->previous_end = FORMAT_RECORDS_AT + piece.n / 16 * 8;
		h->previous_torn = h->previous_end - (which & 0x10 ? piece.n / 32 * 8 : 0);
		segment_header_close(h);
		memcpy(h + 1, h, sizeof(*h));
	}
	write_file(files[file], str_mem(bytes, FORMAT_RECORDS_AT + piece.n));
}

static void count_skipped(void *arg, msg_id id, int error)
{
	(void)id;
	must(error < 0);
	++*(uint64_t *)arg;
}

/* What an operator's commands do. */
static void look(struct spool *s)
{
	_cleanup_(freep) msg_id *ids = NULL;
	struct inspect_message m;
	struct spool_body body;
	const struct fault *f;
	size_t count;
	struct buf b;

	buf_init(&b, FORMAT_PAYLOAD_MAX);
	must(inspect_ids(s, &ids, &count) == 0);
	for (size_t i = 0; i < count; i++) {
		must(inspect_message(s, ids[i], &m, &b) == 0);
		must(spool_read_state(s, ids[i], &b) == 0);
		(void)spool_read(s, ids[i], &b, &body);
		buf_reset(&b);
	}
	f = inspect_faults(s, &count);
	for (size_t i = 0; i < count; i++) {
		char text[FAULT_TEXT_SIZE];

		must(*f[i].file && *fault_text(&f[i], text) && *fault_word(f[i].kind));
		if (f[i].kind == FAULT_BODY)
			must(inspect_remains(s, &f[i], &b, &body) == 0);
		else
			(void)inspect_remains(s, &f[i], &b, &body);
		buf_reset(&b);
	}
	buf_done(&b);
}

static void rebuild(struct spool *s)
{
	struct spool *again = NULL;
	struct inspect_totals t, before;
	uint64_t taken, skipped = 0;
	size_t faults;

	inspect_count(s, &before);
	must(inspect_rebuild(s, made, count_skipped, &skipped, &taken) == 0);
	must(taken + skipped == before.messages);
	must(inspect_open(made, true, &again) == 0);
	inspect_faults(again, &faults);
	inspect_count(again, &t);
	must(faults == 0 && t.messages == taken);
	spool_close(again);
	remove_made();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct spool *s = NULL;
	int r;

	empty(root);
	while (size >= 3) {
		size_t n = MIN((size_t)(data[1] | data[2] << 8), size - 3);

		write_piece(data[0], str_mem(data + 3, n));
		data += 3 + n;
		size -= 3 + n;
	}
	r = inspect_open(root, false, &s);
	must(r == 0);
	look(s);
	rebuild(s);
	spool_close(s);
	return 0;
}
