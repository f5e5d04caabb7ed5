/*
 * format: the bytes on disk, as docs/spool-format.md describes them. All numbers are little endian; every
 * structure is laid out without padding, so a struct in memory is the record on disk.
 *
 * A segment file starts with two equal header blocks (a lost sector takes only one), then records follow
 * back to back: header, payload, body, zeros up to a multiple of 8. A record header begins with the
 * segment's `salt`, 64 secret random bits: whoever looks for the next record behind damaged bytes cannot
 * be led astray by a mail whose text imitates one. Pure.
 */
#pragma once

#include "base/id.h"

#define FORMAT_VERSION 1
#define FORMAT_MAGIC "LOCUMSEG"
#define FORMAT_BLOCK 4096
#define FORMAT_RECORDS_AT (2 * FORMAT_BLOCK) /* offset of the first record */
#define FORMAT_ALIGN 8
#define FORMAT_PAYLOAD_MAX ((uint32_t)4 << 20)  /* an envelope or a state snapshot */
#define FORMAT_INLINE_MAX ((uint64_t)16 << 20)  /* a body inside a segment */
#define FORMAT_SEGMENT_MAX ((uint64_t)16 << 30) /* offsets are kept as 32 bits of 8 bytes */

enum spool_log { SPOOL_QUEUE, SPOOL_HELD };
#define SPOOL_LOGS 2

struct segment_header {
	char magic[8];
	uint32_t version;
	uint32_t log; /* enum spool_log + 1 */
	uint64_t serial;
	int64_t created_wall;
	uint8_t spool_id[16];
	uint64_t salt;
	uint64_t
		start; /* how often this spool was started: the upper half of its sequence numbers */
	/* What the start that made this segment found at the end of the log's last one; see README. */
	uint64_t previous_serial; /* 0: there was none */
	uint64_t previous_end;    /* behind its last whole record */
	uint64_t previous_torn; /* from here on damage is the trace of a crash; = end: no damage */
	uint8_t zero[FORMAT_BLOCK - 92];
	uint32_t crc32c; /* of everything before */
};

enum record_type { RECORD_MESSAGE = 1, RECORD_STATE = 2, RECORD_DONE = 3 };

#define RECORD_BIG 1 /* flag: the body is the file big/ID */

struct record_header {
	uint64_t salt;
	uint64_t sequence; /* start << 32 | count within it; larger is newer, over both logs */
	msg_id id;
	int64_t written_wall;
	uint64_t body_bytes;
	uint32_t payload_bytes;
	uint32_t payload_crc32c;
	uint32_t body_crc32c;
	uint8_t type;
	uint8_t flags;
	uint16_t zero;
	uint32_t
		batch_at8; /* where this record's batch begins in the segment, in units of 8 bytes */
	uint32_t crc32c;   /* of everything before */
};

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the format is the memory layout");
_Static_assert(sizeof(struct segment_header) == FORMAT_BLOCK, "one block");
_Static_assert(offsetof(struct segment_header, zero) == 88, "no holes");
_Static_assert(sizeof(struct record_header) == 72, "no holes");
_Static_assert(offsetof(struct record_header, body_bytes) == 40, "no holes");
_Static_assert(offsetof(struct record_header, crc32c) == 68, "last");

/* A record's whole length on disk. Overflow is impossible for headers that record_header_ok() took. */
uint64_t record_bytes(const struct record_header *h);
/* Bytes of the body within the record. */
uint64_t record_inline_bytes(const struct record_header *h);
/* Fills in the checksum; the rest must be there. */
void record_header_close(struct record_header *h);
/* Is this a header of the segment with that salt? */
bool record_header_ok(const struct record_header *h, uint64_t salt);

enum block_state {
	BLOCK_OK,
	BLOCK_BAD,     /* no magic or a wrong checksum */
	BLOCK_FOREIGN, /* whole, but of a version that this program does not know */
};

void segment_header_close(struct segment_header *h);
enum block_state segment_header_check(const struct segment_header *h);

#define SEGMENT_NAME_SIZE 32
/* "0000000042.seg" or, for the held log, "20260131-0000000042.seg". */
void segment_name(enum spool_log log, uint32_t day, uint32_t serial,
		  char ret_name[static SEGMENT_NAME_SIZE]);
/* 0 or -EINVAL: not the name of a segment of that log. */
int segment_name_parse(enum spool_log log, const char *name, uint32_t *ret_day,
		       uint32_t *ret_serial);
/* The day of a point in time, UTC, as the number YYYYMMDD. */
uint32_t day_of(nsec at_wall);
