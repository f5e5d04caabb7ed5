#include "proc/memory_file.h"

#include "base/cleanup.h"
#include "task/sys.h"

int memory_file_make(const char *name, str bytes, int *ret_fd)
{
	_cleanup_(closep) int fd = sys_memfd(name);
	int r;

	if (fd < 0)
		return fd;
	r = sys_write_at(fd, bytes, 0);
	if (r < 0)
		return r;
	r = sys_memfd_seal(fd);
	if (r < 0)
		return r;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int memory_file_read(int fd, size_t bytes_max, struct buf *ret)
{
	uint64_t bytes;
	ssize_t got;
	int r;

	buf_init(ret, bytes_max);
	if (sys_memfd_sealed(fd) < 0 || sys_size(fd, &bytes) < 0 || bytes == 0 || bytes > bytes_max)
		return -EPROTO;
	r = buf_reserve(ret, bytes);
	if (r < 0)
		return r;
	got = sys_read_at(fd, ret->p, bytes, 0);
	if (got < 0)
		return (int)got;
	ret->n = (size_t)got;
	return 0;
}
