/*
 * sys: the one seam to the world: clock, randomness, readiness, network, disk. sys_kernel.c is the
 * kernel; a simulator supplies the same functions with virtual time, network and disk, chosen when
 * linking. Every call returns a result or a negative errno and handles EINTR; none of them parks.
 * Descriptors are close-on-exec; sockets are non-blocking.
 */
#pragma once

#include "base/str.h"
#include <sys/socket.h>
#include <sys/uio.h>

/* --- clock, randomness --- */
nsec sys_now(void);      /* monotonic */
nsec sys_now_wall(void); /* since 1970 */
void sys_random(void *ret_bytes, size_t n);

/* --- readiness --- */
struct sys_event {
	void *key;
	bool readable, writable;
};

/* What of a descriptor is watched, a set: level-triggered unless EDGE; LISTENER wakes one of several
 * processes that watch the same socket. */
enum sys_watch {
	SYS_WATCH_READ = 1 << 0,
	SYS_WATCH_WRITE = 1 << 1,
	SYS_WATCH_EDGE = 1 << 2,
	SYS_WATCH_LISTENER = 1 << 3,
};

int sys_poller_new(void);
int sys_poller_add(int poller, int fd, void *key, unsigned watch);
int sys_poller_modify(int poller, int fd, void *key, unsigned watch);
int sys_poller_remove(int poller, int fd);
/* Number of events, 0 at `timeout` (a duration; NEVER waits for ever). */
int sys_poller_wait(int poller, struct sys_event *ret_events, int max, nsec timeout);

/* --- descriptors and network --- */
int sys_close(int fd);
/* A second descriptor for the same thing. */
int sys_dup(int fd);
int sys_set_nonblocking(int fd);
/* A connection from a listening socket; *length is in and out. */
int sys_accept(int fd, struct sockaddr *ret_address, socklen_t *length);
int sys_socket(int family, int type, int protocol);
/* 0, -EINPROGRESS (wait for writability, then sys_connect_result), or the error. */
int sys_connect(int fd, const struct sockaddr *address, socklen_t length);
int sys_connect_result(int fd);
ssize_t sys_recv(int fd, void *ret_bytes, size_t n);
ssize_t sys_send(int fd, str bytes);
ssize_t sys_sendv(int fd, const struct iovec *iov, int count);
/* One datagram with up to SYS_FDS_MAX descriptors riding along (AF_UNIX). */
#define SYS_FDS_MAX 4
ssize_t sys_send_fds(int fd, str bytes, const int *fds, size_t fd_count);
/* 0 = the peer closed. -EMSGSIZE when the datagram or its descriptors did not fit (they are closed). */
ssize_t sys_recv_fds(int fd, void *ret_bytes, size_t n, int ret_fds[static SYS_FDS_MAX],
		     size_t *ret_fd_count);

/* --- memory files: a body in flight --- */
int sys_memfd(const char *name);
/* No more writing, growing or shrinking, by anybody. */
int sys_memfd_seal(int fd);
/* No growing or shrinking, by anybody; writing stays allowed: memory that processes share. */
int sys_memfd_seal_size(int fd);
/* 0 when the file is sealed against all of it (sys_memfd_seal): what a receiver checks before it trusts the size. */
int sys_memfd_sealed(int fd);

/* The whole file as memory, readable and writable, seen by everybody who maps it. */
int sys_map_shared(int fd, uint64_t bytes, void **ret_memory);
void sys_unmap(void *memory, uint64_t bytes);

/* --- disk; directories are held as descriptors --- */
int sys_open_dir(const char *path);
int sys_mkdir_at(int dir, const char *name, mode_t mode);
int sys_open_at(int dir, const char *name, int flags, mode_t mode);
ssize_t sys_read_at(int fd, void *ret_bytes, size_t n, uint64_t offset); /* short only at the end */
/* All of it or an error; a short write is retried until the kernel names the error. */
int sys_write_at(int fd, str bytes, uint64_t offset);
int sys_writev_at(int fd, struct iovec *iov, int count, uint64_t offset); /* iov is consumed */
int sys_write(int fd, str bytes);                                         /* at the file position */
int sys_sync_data(int fd);
/* Begins to write that range to the device and waits for nothing. It is not durable before
 * sys_sync_data(), which is then shorter. An error is as final as one of sys_sync_data(). */
int sys_write_out(int fd, uint64_t offset, uint64_t bytes);
int sys_sync(int fd); /* for directories too */
/* Whatever is read from now on comes from the device: what the kernel keeps of a file whose sync once
 * failed may differ from it. Only for what is synced; an advice, best effort. */
void sys_forget_cache(int fd);
int sys_allocate(int fd, uint64_t offset, uint64_t bytes);
int sys_truncate(int fd, uint64_t bytes);
int sys_rename_at(int dir, const char *from, const char *to);
int sys_unlink_at(int dir, const char *name);
int sys_size(int fd, uint64_t *ret_bytes);
/* Bytes free for us on the file system of fd. */
int sys_free_bytes(int fd, uint64_t *ret_bytes);
/* An exclusive lock for as long as fd stays open. -EWOULDBLOCK when somebody else holds it. */
int sys_lock(int fd);
/* Calls f for every name but . and .., stops at the first non-zero return and returns it. */
int sys_list_dir(int dir, int (*f)(void *arg, const char *name), void *arg);
