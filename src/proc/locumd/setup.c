#include "proc/locumd/locumd.h"

#include "base/cleanup.h"
#include "base/log.h"

#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>

#define USER_DEFAULT "locum"
#define NOBODY 65534

#define CONTROL_NAME "/control.sock"
/* The shortest name that there is room for is that of the control socket. */
#define STATE_DIR_MAX (sizeof(((struct sockaddr_un *)0)->sun_path) - sizeof(CONTROL_NAME))
#define PATH_SIZE 256

/* --- the user --- */

int user_find(struct supervisor *sup, struct buf *ret_error)
{
	char name[64];
	const struct passwd *pw;

	sup->root = geteuid() == 0;
	sup->uid = geteuid();
	sup->gid = getegid();
	if (!sup->root)
		return 0;
	if (!str_copy(sup->conf->user, name, sizeof(name))) {
		buf_addf(ret_error, "the name of the user is too long");
		return -EINVAL;
	}
	pw = getpwnam(name);
	if (!pw && strcmp(name, USER_DEFAULT) == 0) {
		/* Not configured and not installed: still not as root. */
		log_warn("user.missing", K_Z("user", name), K_Z("instead", "nobody"));
		pw = getpwnam("nobody");
		sup->uid = pw ? pw->pw_uid : NOBODY;
		sup->gid = pw ? pw->pw_gid : NOBODY;
		return 0;
	}
	if (!pw) {
		buf_addf(ret_error, "there is no user \"%s\"; create it, or set `user` to another",
			 name);
		return -EINVAL;
	}
	sup->uid = pw->pw_uid;
	sup->gid = pw->pw_gid;
	return 0;
}

/* --- directories --- */

enum owner { OF_LOCUMD, OF_LOCUMD_GROUP_OF_USER, OF_USER };

static const struct directory {
	const char *name; /* below the state directory; "" for itself */
	mode_t mode;
	enum owner owner;
} directories[] = {
	{ "", 0750, OF_LOCUMD_GROUP_OF_USER },
	{ "spool", 0700, OF_USER },
	{ "state", 0700, OF_USER },
	{ "empty", 0555, OF_LOCUMD }, /* the root directory of those who need no file */
};

static uid_t owner_uid(const struct supervisor *sup, const struct directory *d)
{
	return d->owner == OF_USER ? sup->uid : geteuid();
}

static gid_t owner_gid(const struct supervisor *sup, const struct directory *d)
{
	return d->owner == OF_LOCUMD ? getegid() : sup->gid;
}

static int check_owner(const struct supervisor *sup, const struct directory *d, const char *path,
		       struct buf *ret_error)
{
	uid_t owner = owner_uid(sup, d);
	struct stat st;

	if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)) {
		buf_addf(ret_error, "%s is in the way: not a directory", path);
		return -ENOTDIR;
	}
	/* The state directory may have been made by an administrator, as he likes. */
	if (!*d->name || st.st_uid == owner)
		return 0;
	buf_addf(ret_error, "%s belongs to user %u, but must belong to user %u: chown -R %u:%u %s",
		 path, st.st_uid, owner, owner, owner_gid(sup, d), path);
	return -EPERM;
}

static int directory_make(const struct supervisor *sup, const struct directory *d,
			  struct buf *ret_error)
{
	char path[PATH_SIZE];
	int r;

	snprintf(path, sizeof(path), "%.*s%s%s", STR_ARG(sup->conf->state_dir), *d->name ? "/" : "",
		 d->name);
	if (mkdir(path, d->mode) < 0) {
		if (errno == EEXIST)
			return check_owner(sup, d, path, ret_error);
	} else if (chmod(path, d->mode) == 0 && /* the umask took some of it off */
		   (!sup->root || chown(path, owner_uid(sup, d), owner_gid(sup, d)) == 0)) {
		return 0;
	}
	r = -errno;
	buf_addf(ret_error, "cannot make the directory %s: %s", path, strerror(-r));
	return r;
}

int directories_make(const struct supervisor *sup, struct buf *ret_error)
{
	if (sup->conf->state_dir.n > STATE_DIR_MAX) {
		buf_addf(ret_error,
			 "state_dir is too long: a socket in it may have %zu bytes at most",
			 STATE_DIR_MAX);
		return -ENAMETOOLONG;
	}
	for (size_t i = 0; i < ELEMENTS(directories); i++) {
		int r = directory_make(sup, &directories[i], ret_error);

		if (r < 0)
			return r;
	}
	return 0;
}

/* --- the lock --- */

int lock_take(struct supervisor *sup, struct buf *ret_error)
{
	_cleanup_(closep) int fd = -1;
	char path[PATH_SIZE], pid[32] = "";
	int r;

	snprintf(path, sizeof(path), "%.*s/locumd.lock", STR_ARG(sup->conf->state_dir));
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		r = -errno;
		buf_addf(ret_error, "cannot open %s: %s", path, strerror(-r));
		return r;
	}
	r = sys_lock(fd);
	if (r < 0) {
		if (sys_read_at(fd, pid, sizeof(pid) - 1, 0) < 0)
			pid[0] = '\0';
		buf_addf(ret_error, "another locumd runs in %.*s (process %s)",
			 STR_ARG(sup->conf->state_dir), pid);
		return r;
	}
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	/* For people: the lock holds without it. */
	if (sys_truncate(fd, 0) == 0)
		(void)sys_write_at(fd, str_of(pid), 0);
	sup->lock = TAKE_FD(fd); /* open, and locked, to the end */
	return 0;
}

/* --- the socket of the command line --- */

void control_path_find(struct supervisor *sup)
{
	snprintf(sup->control_path, sizeof(sup->control_path), "%.*s" CONTROL_NAME,
		 STR_ARG(sup->conf->state_dir));
}

int control_open(struct supervisor *sup, int *ret_fd, struct buf *ret_error)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	_cleanup_(closep) int fd = -1;
	int r;

	control_path_find(sup);
	str_copy(str_of(sup->control_path), a.sun_path, sizeof(a.sun_path));
	fd = sys_socket(AF_UNIX, SOCK_SEQPACKET, 0);
	if (fd < 0)
		return fd;
	/* We hold the lock: a socket that is there was left by the dead. */
	unlink(a.sun_path);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || chmod(a.sun_path, 0660) < 0 ||
	    (sup->root && chown(a.sun_path, geteuid(), sup->gid) < 0) || listen(fd, 16) < 0) {
		r = -errno;
		buf_addf(ret_error, "cannot open %s: %s", a.sun_path, strerror(-r));
		return r;
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* --- executables --- */

/* Once, at the start: when a newer file takes its place the link names one that is gone, and says so. */
int exe_find(struct supervisor *sup)
{
	static const char gone[] = " (deleted)";
	ssize_t n = readlink("/proc/self/exe", sup->exe, sizeof(sup->exe) - 1);
	char *slash;

	if (n < 0)
		return -errno;
	sup->exe[n] = '\0';
	if ((size_t)n > strlen(gone) && strcmp(sup->exe + n - strlen(gone), gone) == 0)
		sup->exe[(size_t)n - strlen(gone)] = '\0';
	memcpy(sup->exe_dir, sup->exe, sizeof(sup->exe_dir));
	slash = strrchr(sup->exe_dir, '/');
	if (slash)
		*slash = '\0';
	return 0;
}

void executable_paths(const struct supervisor *sup, const char *name, char ret_path[2][1100])
{
	snprintf(ret_path[0], sizeof(ret_path[0]), "%s/%s", sup->exe_dir, name);
	snprintf(ret_path[1], sizeof(ret_path[1]), "%s/%s", LOCUM_LIBEXEC_DIR, name);
}

int executables_check(const struct supervisor *sup, struct buf *ret_error)
{
	static const char *const names[] = { "netd", "spoold", "smtpout", "state", "smtpin" };
	static char path[2][1100];

	for (size_t i = 0; i < ELEMENTS(names); i++) {
		executable_paths(sup, names[i], path);
		if (access(path[0], X_OK) == 0 || access(path[1], X_OK) == 0)
			continue;
		buf_addf(ret_error, "there is neither %s nor %s", path[0], path[1]);
		return -ENOENT;
	}
	return 0;
}
