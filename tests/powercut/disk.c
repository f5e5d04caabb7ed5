/* An ext4 in memory, and its end. */
#include "powercut/powercut.h"

#include "base/cleanup.h"
#include "task/sys.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define IMAGE_BYTES ((off_t)64 << 20)
#define MOUNT "/mnt"
#define TRIES 200 /* of 10 ms: whoever else uses loop devices */

/* Not in the headers: linux/ext4.h is the kernel's own. */
#define EXT4_SHUTDOWN _IOR('X', 125, uint32_t)
#define EXT4_SHUTDOWN_WITHOUT_FLUSH 2

struct cut cut;

static int image = -1, pristine = -1;

/* --- the image --- */

static bool run_mkfs(int fd, const char *features)
{
	char path[64];
	int status;
	pid_t child;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)getpid(), fd);
	child = fork();
	must(child >= 0);
	if (child == 0) {
		execlp("mkfs.ext4", "mkfs.ext4", "-q", "-F", "-b", "4096", "-N", "1024", "-m", "0",
		       "-O", features[0] ? features : "has_journal", "-E",
		       "lazy_itable_init=0,lazy_journal_init=1,nodiscard", path, (char *)NULL);
		_exit(127);
	}
	return waitpid(child, &status, 0) == child && status == 0;
}

/* Data only: holes stay holes. */
static void copy_image(int from, int to)
{
	off_t at = 0, end;

	must(ftruncate(to, 0) == 0 && ftruncate(to, IMAGE_BYTES) == 0);
	while ((at = lseek(from, at, SEEK_DATA)) >= 0) {
		end = lseek(from, at, SEEK_HOLE);
		must(end > at && lseek(to, at, SEEK_SET) == at);
		while (at < end)
			must(sendfile(to, from, &at, (size_t)(end - at)) > 0);
	}
}

const char *disk_new(const char *features)
{
	if (geteuid() != 0)
		return "only root can mount a file system of its own";
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return "no mount namespace of our own";
	if (access("/dev/loop-control", R_OK | W_OK) < 0)
		return "there is no /dev/loop-control: no loop devices";
	pristine = sys_memfd("pristine");
	image = sys_memfd("image");
	if (pristine < 0 || image < 0 || ftruncate(pristine, IMAGE_BYTES) < 0)
		return "no memory for the image";
	if (!run_mkfs(pristine, features))
		return "mkfs.ext4 failed (package e2fsprogs)";
	disk_fresh();
	disk_mount("");
	must(mkdir(SPOOL_DIR, 0700) == 0);
	disk_unmount();
	copy_image(image, pristine);
	return NULL;
}

void disk_fresh(void)
{
	copy_image(pristine, image);
}

/* --- the mount --- */

/* A free loop device with the image behind it, gone with its last user. */
static int loop_open(char path[static 32])
{
	struct loop_config config = { .fd = (uint32_t)image, .info.lo_flags = LO_FLAGS_AUTOCLEAR };
	_cleanup_(closep) int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);

	for (int i = 0; i < TRIES; i++) {
		int number = ioctl(control, LOOP_CTL_GET_FREE);
		int fd;

		snprintf(path, 32, "/dev/loop%d", number);
		fd = number < 0 ? -1 : open(path, O_RDWR | O_CLOEXEC);
		if (fd >= 0 && ioctl(fd, LOOP_CONFIGURE, &config) == 0)
			return fd;
		if (fd >= 0)
			close(fd);
		usleep(10000); /* somebody else was faster */
	}
	return -1;
}

void disk_mount(const char *options)
{
	char path[32];
	_cleanup_(closep) int loop = loop_open(path);

	if (loop < 0 || mount(path, MOUNT, "ext4", MS_NOATIME, options) < 0) {
		printf("FAIL powercut: cannot mount an ext4 on a loop device (%s, \"%s\"): %s\n",
		       path, options, strerror(errno));
		exit(1);
	}
}

void disk_unmount(void)
{
	for (int i = 0; umount(MOUNT) < 0; i++) {
		must(errno == EBUSY && i < TRIES);
		usleep(10000);
	}
}

void disk_power_off(void)
{
	uint32_t how = EXT4_SHUTDOWN_WITHOUT_FLUSH;
	_cleanup_(closep) int fd = open(MOUNT, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	must(fd >= 0 && ioctl(fd, EXT4_SHUTDOWN, &how) == 0);
}

/* --- the syncs: tests/meson.build wraps them when linking --- */

static int sync_or_cut(int fd, int (*real)(int fd), bool lie)
{
	int r;

	ledger->syncs++;
	if (ledger->syncs != cut.at)
		return lie ? 0 : real(fd);
	if (cut.place == CUT_AFTER) {
		r = lie ? 0 : real(fd);
		ledger->off = true;
		disk_power_off();
		return r;
	}
	if (cut.place == CUT_WRITTEN)
		must(sync_file_range(fd, 0, 0,
				     SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER) == 0);
	ledger->off = true;
	disk_power_off();
	raise(SIGKILL);
	return -EIO;
}

int __real_sys_sync_data(int fd);
int __wrap_sys_sync_data(int fd);
int __wrap_sys_sync_data(int fd)
{
	return sync_or_cut(fd, __real_sys_sync_data, cut.lie_data);
}

int __real_sys_sync(int fd);
int __wrap_sys_sync(int fd);
int __wrap_sys_sync(int fd)
{
	return sync_or_cut(fd, __real_sys_sync, cut.lie_directory);
}
