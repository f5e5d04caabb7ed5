#include "sandbox/sandbox.h"
#include "base/cleanup.h"
#include "sandbox/steps.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

void missing_add(struct missing *m, const char *format, ...)
{
	size_t n = strnlen(m->text, m->size);
	va_list args;

	if (n + 3 >= m->size)
		return;
	if (n > 0) {
		memcpy(m->text + n, ", ", 3);
		n += 2;
	}
	va_start(args, format);
	vsnprintf(m->text + n, m->size - n, format, args);
	va_end(args);
}

static int failed(struct missing *m, const char *step, int r)
{
	m->text[0] = '\0';
	missing_add(m, "%s: %s", step, strerror(-r));
	return r;
}

static int close_all(const struct sandbox_row *row, const struct sandbox_request *request,
		     struct missing *m)
{
	_cleanup_(closep) int ruleset = -1;
	int r;

	r = limits_apply(row, request, m);
	if (r < 0)
		return failed(m, "resource limits", r);
	r = landlock_prepare(row, request, m, &ruleset);
	if (r < 0)
		return failed(m, "Landlock rules", r);
	r = root_enter(row, request, m);
	if (r < 0)
		return failed(m, "root directory", r);
	r = ids_drop(request, m);
	if (r < 0)
		return failed(m, "user", r);
	r = privileges_renounce();
	if (r < 0)
		return failed(m, "privileges", r);
	/* Changing the user has cleared it: when locumd is gone, so are we. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return failed(m, "parent death signal", -errno);
	r = landlock_enter(ruleset);
	if (r < 0)
		return failed(m, "Landlock", r);
	r = calls_allow(row->calls | (request->readable ? (unsigned)CALLS_READ : 0));
	if (r < 0)
		return failed(m, "seccomp", r);
	return 0;
}

int sandbox_close(const struct sandbox_request *request, char *ret_missing, size_t size)
{
	const struct sandbox_row *row = sandbox_row(request->profile);
	struct missing m = { .text = ret_missing, .size = size };

	must(size > 0);
	ret_missing[0] = '\0';
	/* Even gmtime_r() reads the time zone file at its first call: now or never. */
	tzset();
	if (SANITIZED) {
		int r = ids_drop(request, &m);

		if (r < 0)
			return failed(&m, "user", r);
		/* The leak checker traces its own process. */
		prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		missing_add(&m, "everything else (sanitizers do not work in it)");
		return 0;
	}
	return close_all(row, request, &m);
}
