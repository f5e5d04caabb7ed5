#include "proc/smtpin/body.h"

#include "task/sys.h"

#define COLLECT_BYTES_MAX (32 * 1024)
#define WRITE_THROUGH_BYTES (8 * 1024) /* from here on a copy costs more than it saves */

int body_init(struct body *b, struct body_budget *budget, uint64_t bytes_max)
{
	*b = (struct body){ .budget = budget, .bytes_max = bytes_max, .fd = -1 };
	buf_init(&b->collected, COLLECT_BYTES_MAX);
	b->fd = sys_memfd("body");
	return b->fd < 0 ? b->fd : 0;
}

static void release(struct body *b)
{
	buf_done(&b->collected);
	if (b->fd >= 0)
		sys_close(b->fd);
	b->fd = -1;
	b->budget->used -= b->booked;
	b->booked = 0;
}

void body_done(struct body *b)
{
	release(b);
}

static void fail(struct body *b, int error)
{
	b->error = error;
	release(b);
}

static void write_out(struct body *b, str bytes)
{
	int r;

	if (!bytes.n || b->error)
		return;
	r = sys_write(b->fd, bytes);
	if (r < 0)
		fail(b, r);
}

static void write_collected(struct body *b)
{
	write_out(b, buf_str(&b->collected));
	buf_reset(&b->collected);
}

void body_add(struct body *b, str run)
{
	b->bytes += run.n;
	if (b->error)
		return;
	if (b->bytes > b->bytes_max) {
		fail(b, -EMSGSIZE);
		return;
	}
	if (b->budget->used + run.n > b->budget->max) {
		fail(b, -EDQUOT);
		return;
	}
	b->budget->used += run.n;
	b->booked += run.n;
	if (b->collected.n + run.n > COLLECT_BYTES_MAX)
		write_collected(b);
	if (run.n >= WRITE_THROUGH_BYTES && !b->collected.n) {
		write_out(b, run);
		return;
	}
	if (!b->error && buf_add(&b->collected, run) < 0)
		fail(b, -ENOMEM);
}

int body_finish(struct body *b)
{
	int r;

	write_collected(b);
	if (b->error)
		return b->error;
	r = sys_memfd_seal(b->fd);
	if (r < 0)
		fail(b, r);
	return b->error;
}
