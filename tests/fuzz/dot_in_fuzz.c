/*
 * dot_in: the streaming decoder against a simple one that sees everything at once, with the input cut
 * at places that the input itself chooses.
 */
#include "smtp/dot_in.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct oracle {
	char *p;
	size_t n, used;
	bool ended, bare_cr, bare_lf, any_8bit;
};

/* RFC 5321 §4.5.2 in its own words, a byte at a time. */
static void decode_simply(str in, struct oracle *o)
{
	bool line_start = true;

	for (size_t i = 0; i < in.n; i++) {
		char c = in.p[i], before = i ? in.p[i - 1] : 0;

		if (line_start && c == '.') {
			line_start = false;
			if (i + 2 < in.n && in.p[i + 1] == '\r' && in.p[i + 2] == '\n') {
				o->ended = true;
				o->used = i + 3;
				return;
			}
			continue;
		}
		o->p[o->n++] = c;
		o->bare_lf |= c == '\n' && before != '\r';
		o->bare_cr |= c == '\r' && i + 1 < in.n && in.p[i + 1] != '\n';
		o->any_8bit |= (unsigned char)c > 127;
		line_start = c == '\n' && before == '\r';
	}
	o->used = in.n;
}

/* Output without an end may lack what still could be the end: the CR behind a dot that starts a line. */
static void compare(const struct oracle *o, const struct dot_in *d, str got)
{
	must(dot_in_ended(d) == o->ended);
	must(got.n == d->bytes);
	if (d->state == DOT_IN_DOT_CR) {
		must(o->n == got.n + 1 && o->p[o->n - 1] == '\r');
	} else {
		must(got.n == o->n);
	}
	must(!got.n || memcmp(got.p, o->p, got.n) == 0);
	must(d->bare_lf == o->bare_lf && d->any_8bit == o->any_8bit);
	must(d->bare_cr == o->bare_cr);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t step = size ? 1 + data[0] % 32 : 1, at = 0, n = 0;
	str all = str_from(str_mem(data, size), 1);
	struct oracle o = { .p = malloc(size + 1) };
	char *got = malloc(size + 1);
	struct dot_in d;

	must(o.p && got);
	decode_simply(all, &o);
	dot_in_init(&d);
	while (at < all.n && !dot_in_ended(&d)) {
		str in = str_first(str_from(all, at), step), run;
		size_t given = in.n;

		while (dot_in_next(&d, &in, &run)) {
			must(run.n > 0 && n + run.n <= size);
			memcpy(got + n, run.p, run.n);
			n += run.n;
		}
		at += given - in.n;
		step = 1 + (step * 7 + data[at % size]) % 48;
	}
	must(at == o.used);
	compare(&o, &d, str_mem(got, n));
	free(got);
	free(o.p);
	return 0;
}
