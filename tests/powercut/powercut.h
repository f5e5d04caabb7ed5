/*
 * powercut: the spool on a real ext4 whose power goes. Nothing here knows the spool's format; it knows what was
 * promised (ledger), when the power goes (disk) and what the spool did meanwhile (script).
 *
 * Three processes take turns: the parent mounts, waits and counts; a child works on the spool until the power
 * goes; another child reads what is left. The ledger is memory that they share, so it survives every cut.
 */
#pragma once

#include "base/wrong.h"
#include "spool/spool.h"

#define NUMBERS (1 << 16) /* messages in one life of a disk */
#define SPOOL_DIR "/mnt/spool"

/* --- ledger.c --- */

/* What was put in and what was acknowledged of one message. What is wanted is written down before the call
 * that asks for it, what is acknowledged after the sync: a cut in between leaves the question open. */
struct promise {
	uint32_t bytes;
	bool put, pending_put, taken;
	bool ending, pending_end, ended;
	bool held, held_wanted;
	bool pending_state;
	uint16_t state, wanted; /* the newest acknowledged; the newest put in */
};

/* The worst first. */
enum verdict {
	LOST,    /* acknowledged, not done, not there */
	CHANGED, /* there, and not as it was put in */
	REVIVED, /* done, or never there, and there */
	DAMAGED, /* the spool takes what a cut leaves for damage */
	BROKEN,  /* a process failed that should not have */
	VERDICTS
};

struct ledger {
	bool working, finished; /* the child has begun; has come to its end */
	bool off;               /* the child itself has cut the power */
	unsigned syncs;         /* that the child has asked for */
	unsigned next;          /* number of the next message */
	unsigned verdict[VERDICTS];
	enum verdict worst;
	char worst_text[300]; /* "": no verdict */
	struct promise of[NUMBERS];
};

extern struct ledger *ledger; /* shared by parent and children */

void ledger_new(void);
void ledger_clear(void);
void ledger_say(enum verdict v, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool ledger_is_good(void);
/* Everything in the batch is durable. */
void ledger_acknowledge(void);
/* The process that put things in is no more: what waited for a sync, waits for nobody. */
void ledger_forget_pending(void);
/* Reads the spool that a cut left, compares, goes on a little, and compares again. What was open is closed: the
 * disk has decided. */
void ledger_check(void);

msg_id number_id(unsigned n);
/* The message as it must be, from its number. */
str number_envelope(unsigned n, char text[static 128]);
void number_body(unsigned n, char *to, size_t bytes);

/* --- disk.c --- */

enum cut_place {
	CUT_BEFORE,  /* the sync */
	CUT_WRITTEN, /* before it, but its data are on the device: the journal is not */
	CUT_AFTER,   /* it has returned 0; the process goes on until it notices */
	CUT_PLACES
};

struct cut {
	unsigned at; /* the number of the sync; 0: never */
	enum cut_place place;
	bool lie_data, lie_directory; /* mistakes: those syncs are left out */
};

extern struct cut cut; /* of this process */

/* Makes an image in memory and a mount namespace of our own, in which it will be at /mnt. Whatever ends us, the
 * kernel unmounts it and frees the loop device. `features`: of ext4, for mkfs, "" for its defaults. NULL, or why
 * that is not possible here. */
const char *disk_new(const char *features);
/* As mkfs left it. */
void disk_fresh(void);
/* Options of the file system, "" for its defaults. Replays the journal. */
void disk_mount(const char *options);
void disk_unmount(void);
/* Nothing that is not on the device will ever be. */
void disk_power_off(void);

/* --- script.c --- */

/* Two days of a spool with everything that happens in them; the same syncs every time. */
void script_run(void);
/* Work without end, drawn by lot. */
void script_random(uint64_t seed);
extern const struct spool_options script_options;

/* Opens and replays. */
struct spool *script_open(void);
/* Appends, to be acknowledged by the next sync; the message's number. */
unsigned script_append(struct spool *s, uint32_t bytes);
void script_sync(struct spool *s);
void script_compact(struct spool *s, unsigned steps_max);
