/* A message by DATA: from 354 to the reply behind the final dot. */
#include "proc/smtpin/intake.h"
#include "smtp/dot_in.h"

static void take_pending(struct intake *in, struct dot_in *dots)
{
	str pending = stream_pending(&in->s->stream);
	str rest = pending, run;

	while (dot_in_next(dots, &rest, &run))
		intake_add(in, run);
	in->pace.bytes += pending.n - rest.n;
	stream_consume(&in->s->stream, pending.n - rest.n);
}

/* Reads to the final dot. -EFBIG: more than is worth reading to its end. */
static int take_all(struct task *tk, struct intake *in)
{
	struct dot_in dots;

	dot_in_init(&dots);
	for (;;) {
		ssize_t got;

		take_pending(in, &dots);
		if (dot_in_ended(&dots))
			break;
		if (intake_is_endless(in, 0))
			return -EFBIG;
		got = session_fill(tk, in->s, pace_deadline(tk, &in->pace));
		if (got <= 0)
			return got == 0 ? -ENODATA : (int)got;
	}
	in->bare = dots.bare_cr || dots.bare_lf;
	in->any_8bit = dots.any_8bit;
	return 0;
}

int session_receive(struct task *tk, struct session *s, enum answer *ret_last_words)
{
	int r;

	r = intake_begin(tk, s);
	if (r < 0) {
		/* 354 is out: the data that follow cannot be told from commands any more. */
		*ret_last_words = ANSWER_BUSY;
		return r;
	}
	r = take_all(tk, s->intake);
	if (r == 0)
		return intake_conclude(tk, s->intake);
	*ret_last_words = intake_give_up(s->intake, r);
	return r;
}
