#include "sandbox/steps.h"

#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* The same for everybody: no process, no core, no locked memory, no queues, no priority. */
static const struct {
	int which;
	const char *name;
} none[] = {
	{ RLIMIT_NPROC, "NPROC" },       { RLIMIT_CORE, "CORE" }, { RLIMIT_MEMLOCK, "MEMLOCK" },
	{ RLIMIT_MSGQUEUE, "MSGQUEUE" }, { RLIMIT_NICE, "NICE" }, { RLIMIT_RTPRIO, "RTPRIO" },
};

/* A process may always lower itself; what was denied from above stays denied. */
static int limit(int which, uint64_t value)
{
	struct rlimit l;

	if (getrlimit(which, &l) < 0)
		return -errno;
	if (l.rlim_max != RLIM_INFINITY && value > l.rlim_max) {
		struct rlimit more = { value, value };

		if (setrlimit(which, &more) == 0)
			return 0;
		value = l.rlim_max;
	}
	l.rlim_cur = l.rlim_max = value;
	return setrlimit(which, &l) < 0 ? -errno : 0;
}

static int limit_file_bytes(uint64_t bytes)
{
	struct stat log;

	/* The limit counts for the log too: where that is a plain file it would silence us, and files
	 * cannot be made anyway. */
	if (fstat(STDERR_FILENO, &log) == 0 && S_ISREG(log.st_mode))
		return 0;
	return limit(RLIMIT_FSIZE, bytes);
}

int limits_apply(const struct sandbox_row *row, const struct sandbox_request *request,
		 struct missing *m)
{
	int r;

	/* A bound from above. That less may be allowed is no hole: locumd says it, once for all. */
	r = limit(RLIMIT_NOFILE,
		  request->descriptors_max ? request->descriptors_max : row->descriptors);
	if (r < 0)
		return r;
	if (row->file_bytes != FILE_BYTES_FREE) {
		r = limit_file_bytes(
			row->file_bytes == 0 ? 0 : MAX(row->file_bytes, request->file_bytes_max));
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < ELEMENTS(none); i++) {
		r = limit(none[i].which, 0);
		if (r < 0) {
			missing_add(m, "limit %s (%s)", none[i].name, strerror(-r));
			return r;
		}
	}
	return 0;
}
