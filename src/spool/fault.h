/*
 * fault: what can be wrong with a spool on disk, as replay and inspection find it. Files are named relative to
 * the spool; the words are those of docs/spool-format.md. Pure.
 */
#pragma once

#include "spool/format.h"

enum fault_kind {
	FAULT_LOCK,          /* `lock` does not name the spool */
	FAULT_VERSION,       /* of a format version that this program does not know */
	FAULT_DIRECTORY,     /* queue, held or big is missing */
	FAULT_FOREIGN_FILE,  /* not the spool's */
	FAULT_FOREIGN_SPOOL, /* a segment of another spool */
	FAULT_WRONG_NAME,    /* a segment whose header says another name: `other` */
	FAULT_DUPLICATE,     /* a second segment of the same serial */
	FAULT_HEADER_BLOCK,  /* one of the two header blocks */
	FAULT_HEADER_BOTH,   /* both, but the first record tells the salt: its records are read */
	FAULT_HEADER_LOST,   /* both, and the first record too: its records are not read */
	FAULT_EMPTY_SEGMENT, /* a crash cut its creation short */
	FAULT_CUT_SHORT,     /* the file ends before the end that the next segment tells */
	FAULT_RECORD_HEADER, /* no record begins where one should */
	FAULT_RECORD_SHORT,  /* a record that ends behind the segment */
	FAULT_PAYLOAD,       /* an envelope or a state */
	FAULT_BODY,          /* a body in a segment; its envelope is whole */
	FAULT_PADDING,       /* bytes that should be zero */
	FAULT_STATE_ALONE,   /* told beside damage only: a state whose message is not there */
	FAULT_BIG_MISSING,   /* the file of a large body */
	FAULT_BIG_SIZE,      /* it has another size than the record says */
	FAULT_BIG_BODY,      /* its checksum is wrong */
	FAULT_BIG_ORPHAN,    /* no living message has it */
};

enum fault_nature {
	FAULT_NOTE,     /* nothing is wrong with the spool */
	FAULT_CRASH,    /* what a crash leaves; it was never acknowledged */
	FAULT_HARMLESS, /* bytes are damaged, no record is lost */
	FAULT_DAMAGE,
};

/* What it costs, as far as the rest of the spool can tell. */
enum fault_loss {
	LOSS_NOTHING,
	LOSS_STATE,   /* the message is there with an earlier state */
	LOSS_DONE,    /* a message that was done is alive again */
	LOSS_BODY,    /* the envelope is there, the body is not whole */
	LOSS_MESSAGE, /* the message */
	LOSS_UNKNOWN, /* whatever was there */
};

#define FAULT_FILE_SIZE 320

struct fault {
	enum fault_kind kind;
	enum fault_nature nature;
	enum fault_loss loss;       /* after inspection only */
	char file[FAULT_FILE_SIZE]; /* "queue/0000000001.seg" */
	char other[SEGMENT_NAME_SIZE + 8];
	uint64_t offset, bytes; /* bytes 0: the file as a whole */
	bool named;             /* what follows is known */
	msg_id id;
	uint8_t type; /* enum record_type; 0: no record */
	uint64_t sequence;
};

/* "body", "record-header", …: the words of the documentation and of --json. */
const char *fault_word(enum fault_kind kind);
const char *fault_nature_word(enum fault_nature nature);
const char *fault_loss_word(enum fault_loss loss);

#define FAULT_TEXT_SIZE 256
/* One line for people, without the file and the offset. */
const char *fault_text(const struct fault *f, char text[static FAULT_TEXT_SIZE]);
