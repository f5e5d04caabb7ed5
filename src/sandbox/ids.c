#include "sandbox/steps.h"

#include <grp.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* --- capabilities, by the system calls themselves: two sets of 32 --- */

struct capabilities {
	struct __user_cap_data_struct word[_LINUX_CAPABILITY_U32S_3];
};

static struct __user_cap_header_struct header(void)
{
	return (struct __user_cap_header_struct){ .version = _LINUX_CAPABILITY_VERSION_3 };
}

static int capabilities_read(struct capabilities *ret)
{
	struct __user_cap_header_struct h = header();

	return syscall(SYS_capget, &h, ret->word) < 0 ? -errno : 0;
}

static int capabilities_set(const struct capabilities *c)
{
	struct __user_cap_header_struct h = header();

	return syscall(SYS_capset, &h, c->word) < 0 ? -errno : 0;
}

int sandbox_act_as(uint32_t uid, uint32_t gid)
{
	const uint32_t reach = 1U << CAP_DAC_READ_SEARCH; /* in the first word */
	struct capabilities c;
	int r;

	if (geteuid() != 0 || uid == 0)
		return 0;
	if (setgroups(0, NULL) < 0)
		return -errno;
	setfsgid(gid);
	setfsuid(uid);
	/* They do not tell whether they did it; asking with an impossible id does. */
	if (setfsgid((gid_t)-1) != (int)gid || setfsuid((uid_t)-1) != (int)uid)
		return -EPERM;
	r = capabilities_read(&c);
	if (r < 0)
		return r;
	c.word[0].effective |= c.word[0].permitted & reach;
	return capabilities_set(&c);
}

/* --- the root directory --- */

static bool only_roots(const char *dir)
{
	struct stat st;

	return lstat(dir, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == 0 &&
	       (st.st_mode & 0222) == 0;
}

int root_enter(const struct sandbox_row *row, const struct sandbox_request *request,
	       struct missing *m)
{
	const char *dir = row->writes_dir ? request->writable_dir : request->empty_dir;

	if (geteuid() != 0) {
		missing_add(m, "own root directory (not started as root)");
		return 0;
	}
	if (request->readable && *request->readable) {
		missing_add(m, "empty root directory (files outside stay readable)");
		return 0;
	}
	if (!dir) {
		missing_add(m, "empty root directory (none given)");
		return 0;
	}
	if (!row->writes_dir && !only_roots(dir))
		return -EPERM;
	if (chdir(dir) < 0 || chroot(".") < 0)
		return -errno;
	return 0;
}

/* --- whom it runs as --- */

/* While the right to do it is still there. Should it be missing, the set stays and means nothing:
 * no_new_privs keeps anybody from gaining what it holds. */
static void bounding_set_empty(void)
{
	for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return;
}

int ids_drop(const struct sandbox_request *request, struct missing *m)
{
	if (geteuid() != 0) {
		missing_add(m, "own user (not started as root)");
		return 0;
	}
	if (request->uid == 0)
		missing_add(m, "own user (it is to be root)");
	bounding_set_empty();
	if (setgroups(0, NULL) < 0 || setresgid(request->gid, request->gid, request->gid) < 0 ||
	    setresuid(request->uid, request->uid, request->uid) < 0)
		return -errno;
	must(getuid() == request->uid && geteuid() == request->uid);
	return 0;
}

int privileges_renounce(void)
{
	const struct capabilities none = { 0 };
	int r;

	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	r = capabilities_set(&none);
	if (r < 0)
		return r;
	if (!SANITIZED && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}
