#include "net/connect.h"

#include "base/cleanup.h"
#include "task/sys.h"

int net_connect(struct task *tk, const struct addr *a, nsec deadline, int *ret_fd)
{
	struct sockaddr_storage sa;
	socklen_t length = addr_to_sockaddr(a, &sa);
	_cleanup_(closep) int fd = -1;
	struct io io;
	int r;

	fd = sys_socket(sa.ss_family, SOCK_STREAM, 0);
	if (fd < 0)
		return fd;
	r = sys_connect(fd, (struct sockaddr *)&sa, length);
	if (r == -EINPROGRESS) {
		r = io_init(&io, task_loop(tk), fd);
		if (r < 0)
			return r;
		r = io_wait(tk, &io, IO_WRITE, deadline);
		io_release(&io);
		if (r == 0)
			r = sys_connect_result(fd);
	}
	if (r < 0)
		return r;
	*ret_fd = TAKE_FD(fd);
	return 0;
}
