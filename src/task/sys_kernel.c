#include "task/sys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

/* The call again while a signal interrupts it; a negative errno instead of -1. */
#define RESULT(call)                                                                               \
	({                                                                                         \
		__typeof__(call) result_;                                                          \
		do                                                                                 \
			result_ = (call);                                                          \
		while (result_ < 0 && errno == EINTR);                                             \
		result_ < 0 ? -errno : result_;                                                    \
	})

/* --- clock, randomness --- */

static nsec clock_read(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (nsec)ts.tv_sec * NSEC_S + ts.tv_nsec;
}

nsec sys_now(void)
{
	return clock_read(CLOCK_MONOTONIC);
}

nsec sys_now_wall(void)
{
	return clock_read(CLOCK_REALTIME);
}

void sys_random(void *ret_bytes, size_t n)
{
	char *at = ret_bytes;

	while (n > 0) {
		ssize_t got = RESULT(getrandom(at, n, 0));

		must(got > 0);
		at += got;
		n -= (size_t)got;
	}
}

/* --- readiness --- */

int sys_poller_new(void)
{
	return RESULT(epoll_create1(EPOLL_CLOEXEC));
}

static struct epoll_event epoll_of(void *key, unsigned watch)
{
	struct epoll_event e = { .data.ptr = key };

	if (watch & SYS_WATCH_READ)
		e.events |= EPOLLIN;
	if (watch & SYS_WATCH_WRITE)
		e.events |= EPOLLOUT;
	if (watch & SYS_WATCH_EDGE)
		e.events |= EPOLLET | EPOLLRDHUP;
	if (watch & SYS_WATCH_LISTENER)
		e.events |= EPOLLEXCLUSIVE;
	return e;
}

int sys_poller_add(int poller, int fd, void *key, unsigned watch)
{
	struct epoll_event e = epoll_of(key, watch);

	return RESULT(epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e));
}

int sys_poller_modify(int poller, int fd, void *key, unsigned watch)
{
	struct epoll_event e = epoll_of(key, watch);

	return RESULT(epoll_ctl(poller, EPOLL_CTL_MOD, fd, &e));
}

int sys_poller_remove(int poller, int fd)
{
	return RESULT(epoll_ctl(poller, EPOLL_CTL_DEL, fd, NULL));
}

int sys_poller_wait(int poller, struct sys_event *ret_events, int max, nsec timeout)
{
	struct epoll_event e[64];
	struct timespec ts, *wait = NULL;
	int n;

	if (timeout != NEVER) {
		ts.tv_sec = timeout / NSEC_S;
		ts.tv_nsec = timeout % NSEC_S;
		wait = &ts;
	}
	n = epoll_pwait2(poller, e, MIN(max, (int)ELEMENTS(e)), wait, NULL);
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	for (int i = 0; i < n; i++) {
		bool broken = e[i].events & (EPOLLERR | EPOLLHUP);

		ret_events[i] = (struct sys_event){
			.key = e[i].data.ptr,
			.readable = broken || (e[i].events & (EPOLLIN | EPOLLRDHUP)),
			.writable = broken || (e[i].events & EPOLLOUT),
		};
	}
	return n;
}

/* --- descriptors and network --- */

int sys_close(int fd)
{
	return close(fd) < 0 && errno != EINTR ? -errno : 0;
}

int sys_dup(int fd)
{
	return RESULT(fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

int sys_set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	if (flags & O_NONBLOCK)
		return 0;
	return fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

int sys_accept(int fd, struct sockaddr *ret_address, socklen_t *length)
{
	return RESULT(accept4(fd, ret_address, length, SOCK_NONBLOCK | SOCK_CLOEXEC));
}

int sys_socket(int family, int type, int protocol)
{
	return RESULT(socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
}

int sys_connect(int fd, const struct sockaddr *address, socklen_t length)
{
	return connect(fd, address, length) < 0 ? -errno : 0;
}

int sys_connect_result(int fd)
{
	int error = 0;
	socklen_t length = sizeof(error);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
		return -errno;
	return -error;
}

ssize_t sys_recv(int fd, void *ret_bytes, size_t n)
{
	return RESULT(recv(fd, ret_bytes, n, 0));
}

ssize_t sys_send(int fd, str bytes)
{
	return RESULT(send(fd, bytes.p, bytes.n, MSG_NOSIGNAL));
}

ssize_t sys_sendv(int fd, const struct iovec *iov, int count)
{
	struct msghdr m = { .msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)count };

	return RESULT(sendmsg(fd, &m, MSG_NOSIGNAL));
}

ssize_t sys_send_fds(int fd, str bytes, const int *fds, size_t fd_count)
{
	struct iovec iov = { .iov_base = (char *)bytes.p, .iov_len = bytes.n };
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * SYS_FDS_MAX)];
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	must(fd_count <= SYS_FDS_MAX);
	if (fd_count > 0) {
		struct cmsghdr *c;

		memset(control, 0, sizeof(control));
		m.msg_control = control;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * fd_count);
	}
	return RESULT(sendmsg(fd, &m, MSG_NOSIGNAL));
}

ssize_t sys_recv_fds(int fd, void *ret_bytes, size_t n, int ret_fds[static SYS_FDS_MAX],
		     size_t *ret_fd_count)
{
	struct iovec iov = { .iov_base = ret_bytes, .iov_len = n };
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * SYS_FDS_MAX)];
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control,
			    .msg_controllen = sizeof(control) };
	size_t count = 0;
	ssize_t got;

	*ret_fd_count = 0;
	got = RESULT(recvmsg(fd, &m, MSG_CMSG_CLOEXEC));
	if (got < 0)
		return got;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		must(count <= SYS_FDS_MAX);
		memcpy(ret_fds, CMSG_DATA(c), count * sizeof(int));
	}
	if (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		for (size_t i = 0; i < count; i++)
			close(ret_fds[i]);
		return -EMSGSIZE;
	}
	*ret_fd_count = count;
	return got;
}

/* --- memory files --- */

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

int sys_memfd(const char *name)
{
	return RESULT(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
}

int sys_memfd_seal(int fd)
{
	return RESULT(fcntl(fd, F_ADD_SEALS, SEALS));
}

int sys_memfd_seal_size(int fd)
{
	return RESULT(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW));
}

int sys_memfd_sealed(int fd)
{
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0)
		return -errno;
	return (seals & SEALS) == SEALS ? 0 : -EPERM;
}

int sys_map_shared(int fd, uint64_t bytes, void **ret_memory)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (memory == MAP_FAILED)
		return -errno;
	*ret_memory = memory;
	return 0;
}

void sys_unmap(void *memory, uint64_t bytes)
{
	munmap(memory, bytes);
}

/* --- disk --- */

int sys_open_dir(const char *path)
{
	return RESULT(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

int sys_mkdir_at(int dir, const char *name, mode_t mode)
{
	return RESULT(mkdirat(dir, name, mode));
}

int sys_open_at(int dir, const char *name, int flags, mode_t mode)
{
	return RESULT(openat(dir, name, flags | O_CLOEXEC, mode));
}

ssize_t sys_read_at(int fd, void *ret_bytes, size_t n, uint64_t offset)
{
	size_t done = 0;

	while (done < n) {
		ssize_t got = RESULT(
			pread(fd, (char *)ret_bytes + done, n - done, (off_t)(offset + done)));

		if (got < 0)
			return got;
		if (got == 0)
			break;
		done += (size_t)got;
	}
	return (ssize_t)done;
}

int sys_write_at(int fd, str bytes, uint64_t offset)
{
	while (bytes.n > 0) {
		ssize_t put = RESULT(pwrite(fd, bytes.p, bytes.n, (off_t)offset));

		if (put < 0)
			return (int)put;
		bytes = str_from(bytes, (size_t)put);
		offset += (uint64_t)put;
	}
	return 0;
}

int sys_writev_at(int fd, struct iovec *iov, int count, uint64_t offset)
{
	while (count > 0) {
		ssize_t put = RESULT(pwritev(fd, iov, count, (off_t)offset));

		if (put < 0)
			return (int)put;
		offset += (uint64_t)put;
		for (; count > 0 && (size_t)put >= iov->iov_len; iov++, count--)
			put -= (ssize_t)iov->iov_len;
		if (count > 0) {
			iov->iov_base = (char *)iov->iov_base + put;
			iov->iov_len -= (size_t)put;
		}
	}
	return 0;
}

int sys_write(int fd, str bytes)
{
	while (bytes.n > 0) {
		ssize_t put = RESULT(write(fd, bytes.p, bytes.n));

		if (put < 0)
			return (int)put;
		bytes = str_from(bytes, (size_t)put);
	}
	return 0;
}

int sys_sync_data(int fd)
{
	/* Not RESULT: whatever an interrupted or failed sync left undone, a second one would not
	 * tell us. */
	return fdatasync(fd) < 0 ? -errno : 0;
}

int sys_write_out(int fd, uint64_t offset, uint64_t bytes)
{
	/* Not RESULT, as above. */
	return sync_file_range(fd, (off_t)offset, (off_t)bytes, SYNC_FILE_RANGE_WRITE) < 0 ? -errno
											   : 0;
}

int sys_sync(int fd)
{
	return fsync(fd) < 0 ? -errno : 0;
}

void sys_forget_cache(int fd)
{
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

int sys_allocate(int fd, uint64_t offset, uint64_t bytes)
{
	return RESULT(fallocate(fd, 0, (off_t)offset, (off_t)bytes));
}

int sys_truncate(int fd, uint64_t bytes)
{
	return RESULT(ftruncate(fd, (off_t)bytes));
}

int sys_rename_at(int dir, const char *from, const char *to)
{
	return RESULT(renameat(dir, from, dir, to));
}

int sys_unlink_at(int dir, const char *name)
{
	return RESULT(unlinkat(dir, name, 0));
}

int sys_size(int fd, uint64_t *ret_bytes)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	*ret_bytes = (uint64_t)st.st_size;
	return 0;
}

int sys_free_bytes(int fd, uint64_t *ret_bytes)
{
	struct statvfs v;

	if (fstatvfs(fd, &v) < 0)
		return -errno;
	*ret_bytes = (uint64_t)v.f_bavail * v.f_frsize;
	return 0;
}

int sys_lock(int fd)
{
	return RESULT(flock(fd, LOCK_EX | LOCK_NB));
}

int sys_list_dir(int dir, int (*f)(void *arg, const char *name), void *arg)
{
	struct dirent *entry;
	DIR *d;
	int fd, r = 0;

	fd = sys_open_at(dir, ".", O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return fd;
	d = fdopendir(fd);
	if (!d) {
		close(fd);
		return -ENOMEM;
	}
	while (r == 0) {
		errno = 0;
		entry = readdir(d);
		if (!entry) {
			r = -errno;
			break;
		}
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			r = f(arg, entry->d_name);
	}
	closedir(d);
	return r;
}
