#include "base/cleanup.h"
#include "sandbox/steps.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than the headers of Debian 12; numbers from the kernel's user space interface. */
#define FS_TRUNCATE (1ULL << 14)
#define FS_IOCTL_DEV (1ULL << 15)
#define NET_BIND_TCP (1ULL << 0)
#define NET_CONNECT_TCP (1ULL << 1)
#define SCOPE_ABSTRACT_UNIX_SOCKET (1ULL << 0)
#define SCOPE_SIGNAL (1ULL << 1)

/* struct landlock_ruleset_attr as of version 6. Older kernels take it as long as what they do not know
 * is zero. */
struct ruleset_attr {
	uint64_t handled_access_fs;
	uint64_t handled_access_net;
	uint64_t scoped;
};

#define FS_FIRST ((1ULL << 13) - 1) /* version 1: EXECUTE to MAKE_SYM */

/* What each version of the interface added; everything handled and not allowed by a rule is refused. */
static const struct {
	int version;
	struct ruleset_attr adds;
} versions[] = {
	{ 1, { .handled_access_fs = FS_FIRST } },
	{ 2, { .handled_access_fs = LANDLOCK_ACCESS_FS_REFER } },
	{ 3, { .handled_access_fs = FS_TRUNCATE } },
	{ 4, { .handled_access_net = NET_BIND_TCP | NET_CONNECT_TCP } },
	{ 5, { .handled_access_fs = FS_IOCTL_DEV } },
	{ 6, { .scoped = SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL } },
};

/* A spool needs files and directories; never devices, sockets, pipes, symbolic links or programs. */
#define FS_SPOOL                                                                                   \
	(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR |                              \
	 LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_FILE |                          \
	 LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |                             \
	 LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_REFER | FS_TRUNCATE)

static int allow_below(int ruleset, const char *path, uint64_t access)
{
	struct landlock_path_beneath_attr rule = { .allowed_access = access };
	_cleanup_(closep) int fd = -1;
	struct stat st;

	fd = open(path, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode))
		rule.allowed_access &= ~LANDLOCK_ACCESS_FS_READ_DIR;
	rule.parent_fd = fd;
	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
		return -errno;
	return 0;
}

static int add_rules(int ruleset, const struct sandbox_row *row,
		     const struct sandbox_request *request, uint64_t handled)
{
	int r;

	if (row->writes_dir && request->writable_dir) {
		r = allow_below(ruleset, request->writable_dir, FS_SPOOL & handled);
		if (r < 0)
			return r;
	}
	for (const char **path = request->readable; path && *path; path++) {
		r = allow_below(ruleset, *path,
				LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR);
		/* What is not there needs no rule. */
		if (r < 0 && r != -ENOENT)
			return r;
	}
	return 0;
}

int landlock_prepare(const struct sandbox_row *row, const struct sandbox_request *request,
		     struct missing *m, int *ret_ruleset)
{
	_cleanup_(closep) int ruleset = -1;
	struct ruleset_attr attr = { 0 };
	long version;
	int r;

	*ret_ruleset = -1;
	version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	if (version < 0) {
		missing_add(m, "Landlock (%s)", strerror(errno));
		return 0;
	}
	for (size_t i = 0; i < ELEMENTS(versions); i++) {
		if (versions[i].version > version) {
			missing_add(m, "Landlock version %d (the kernel has %ld)",
				    versions[i].version, version);
			break;
		}
		attr.handled_access_fs |= versions[i].adds.handled_access_fs;
		attr.handled_access_net |= versions[i].adds.handled_access_net;
		attr.scoped |= versions[i].adds.scoped;
	}
	if (row->connects)
		attr.handled_access_net &= ~NET_CONNECT_TCP;
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (ruleset < 0)
		return -errno;
	r = add_rules(ruleset, row, request, attr.handled_access_fs);
	if (r < 0)
		return r;
	*ret_ruleset = TAKE_FD(ruleset);
	return 0;
}

int landlock_enter(int ruleset)
{
	if (ruleset < 0)
		return 0;
	return syscall(SYS_landlock_restrict_self, ruleset, 0) < 0 ? -errno : 0;
}
