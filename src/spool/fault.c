#include "spool/fault.h"

struct kind {
	const char *word, *text;
};

static const struct kind kinds[] = {
	[FAULT_LOCK] = { "lock", "does not name the spool" },
	[FAULT_VERSION] = { "version", "of a format version that this program does not know" },
	[FAULT_DIRECTORY] = { "directory", "directory is missing" },
	[FAULT_FOREIGN_FILE] = { "foreign-file", "foreign file, ignored" },
	[FAULT_FOREIGN_SPOOL] = { "foreign-spool", "segment of another spool, ignored" },
	[FAULT_WRONG_NAME] = { "wrong-name", "segment under a wrong name, ignored" },
	[FAULT_DUPLICATE] = { "duplicate", "second segment of that number, ignored" },
	[FAULT_HEADER_BLOCK] = { "header-block",
				 "one of two header blocks is damaged, nothing lost" },
	[FAULT_HEADER_BOTH] = { "header-both", "both header blocks are damaged; its records are "
					       "read all the same" },
	[FAULT_HEADER_LOST] = { "header-lost",
				"both header blocks are damaged; its records are not read" },
	[FAULT_EMPTY_SEGMENT] = { "empty-segment", "empty segment, normal after a crash" },
	[FAULT_CUT_SHORT] = { "cut-short", "cut short" },
	[FAULT_RECORD_HEADER] = { "record-header", "damaged record" },
	[FAULT_RECORD_SHORT] = { "record-short", "record cut short" },
	[FAULT_PAYLOAD] = { "payload", "damaged envelope or state" },
	[FAULT_BODY] = { "body", "damaged body" },
	[FAULT_PADDING] = { "padding", "damaged padding, nothing lost" },
	[FAULT_STATE_ALONE] = { "state-alone", "a state without its message" },
	[FAULT_BIG_MISSING] = { "big-missing", "the body of a live message is missing" },
	[FAULT_BIG_SIZE] = { "big-size", "the body of a live message is cut short or too long" },
	[FAULT_BIG_BODY] = { "big-body", "the body of a live message is damaged" },
	[FAULT_BIG_ORPHAN] = { "big-orphan", "body without a record" },
};

const char *fault_word(enum fault_kind kind)
{
	return kinds[kind].word;
}

const char *fault_nature_word(enum fault_nature nature)
{
	static const char *const words[] = {
		[FAULT_NOTE] = "note",
		[FAULT_CRASH] = "crash",
		[FAULT_HARMLESS] = "harmless",
		[FAULT_DAMAGE] = "damage",
	};

	return words[nature];
}

const char *fault_loss_word(enum fault_loss loss)
{
	static const char *const words[] = {
		[LOSS_NOTHING] = "nothing", [LOSS_STATE] = "state",     [LOSS_DONE] = "done",
		[LOSS_BODY] = "body",       [LOSS_MESSAGE] = "message", [LOSS_UNKNOWN] = "unknown",
	};

	return words[loss];
}

static bool in_segment(enum fault_kind kind)
{
	return kind >= FAULT_CUT_SHORT && kind <= FAULT_PADDING;
}

const char *fault_text(const struct fault *f, char text[static FAULT_TEXT_SIZE])
{
	char id[ID_TEXT_LENGTH + 1] = "", bytes[40] = "";
	const char *nature = "";

	if (f->named)
		id_text(f->id, id);
	if (in_segment(f->kind))
		snprintf(bytes, sizeof(bytes), ", %llu bytes", (unsigned long long)f->bytes);
	if (in_segment(f->kind) && f->nature == FAULT_DAMAGE)
		nature = "; the segment is kept";
	if (in_segment(f->kind) && f->nature == FAULT_CRASH)
		nature = "; torn end of the log, normal after a crash";
	snprintf(text, FAULT_TEXT_SIZE, "%s%s%s%s%s%s%s", kinds[f->kind].text, *id ? ": " : "", id,
		 *f->other ? "; it says that it is " : "", f->other, bytes, nature);
	return text;
}
