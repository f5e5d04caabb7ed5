#include "proc/netd/anchor.h"

#include "base/cleanup.h"
#include "task/sys.h"

#include <fcntl.h>

/* " DS " or " DNSKEY " as a word of its own. */
static bool is_anchor(str record)
{
	str field, rest = record;
	bool more = true;

	while (more) {
		more = str_cut(rest, ' ', &field, &rest);
		if (str_case_eq(field, STR("DS")) || str_case_eq(field, STR("DNSKEY")))
			return true;
	}
	return false;
}

/* One record is complete in `record`: keeps it if it is an anchor. */
static int end_record(struct buf *record, struct buf *to)
{
	str text = str_trim(buf_str(record));
	int r;

	if (!is_anchor(text)) {
		buf_reset(record);
		return 0;
	}
	r = buf_add(to, text);
	if (r == 0)
		r = buf_add_byte(to, '\0');
	buf_reset(record);
	return r < 0 ? r : 1;
}

static void buf_donep(struct buf *b)
{
	buf_done(b);
}

int anchor_split(str text, struct buf *to)
{
	_cleanup_(buf_donep) struct buf record;
	bool comment = false, nested = false;
	int count = 0, r;

	buf_init(&record, ANCHOR_BYTES_MAX);
	for (size_t i = 0; i <= text.n; i++) {
		char c = i < text.n ? text.p[i] : '\n';

		comment = comment ? c != '\n' : c == ';';
		if (comment)
			continue;
		if (c == '(' || c == ')')
			nested = c == '(';
		if (c == '\n' && !nested) {
			r = end_record(&record, to);
			if (r < 0)
				return r;
			count += r;
			continue;
		}
		if (strchr("()\t\r\n", c))
			c = ' ';
		r = buf_add_byte(&record, c);
		if (r < 0)
			return r;
	}
	return count > 0 ? count : -EINVAL;
}

int anchor_read(const char *path, struct buf *to)
{
	_cleanup_(freep) char *bytes = malloc(ANCHOR_BYTES_MAX);
	_cleanup_(closep) int fd = -1;
	ssize_t n;

	if (!bytes)
		return -ENOMEM;
	fd = sys_open_at(AT_FDCWD, path, O_RDONLY, 0);
	if (fd < 0)
		return fd;
	n = sys_read_at(fd, bytes, ANCHOR_BYTES_MAX, 0);
	if (n < 0)
		return (int)n;
	if (n == ANCHOR_BYTES_MAX)
		return -EFBIG;
	return anchor_split(str_mem(bytes, (size_t)n), to);
}
