#include "proc/locumd/locumd.h"

#include "base/cleanup.h"

#include <fcntl.h>

#define BACKLOG 4096
#define STILL_IN_USE_RETRY (50 * NSEC_MS)

void listeners_done(struct listeners *l)
{
	for (size_t i = 0; i < l->count; i++)
		sys_close(l->entry[i].fd);
	l->count = 0;
}

int listeners_text(const struct listeners *l, struct buf *to)
{
	char text[ADDR_TEXT_SIZE];
	int r = 0;

	for (size_t i = 0; r == 0 && i < l->count; i++)
		r = buf_addf(to, "%s%s", i ? ", " : "", addr_text(&l->entry[i].address, text));
	return r;
}

static bool same_address(const struct addr *a, const struct addr *b)
{
	return addr_same_ip(a, b) && a->port == b->port;
}

/* "[::]:25" takes IPv4 too, unless a listener of its own does. */
static bool has_ipv4_wildcard(const struct conf *conf, uint16_t port)
{
	for (size_t i = 0; i < conf->listen_count; i++) {
		const struct addr *a = &conf->listen[i].address;

		if (a->family == AF_INET && addr_is_any(a) && a->port == port)
			return true;
	}
	return false;
}

static int socket_options(const struct conf *conf, const struct addr *address, int fd)
{
	const int on = 1;

	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		return -errno;
	if (address->family == AF_INET6) {
		const int only = !addr_is_any(address) || has_ipv4_wildcard(conf, address->port);

		if (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only)) < 0)
			return -errno;
	}
	return 0;
}

static int open_one(const struct conf *conf, const struct addr *address, int *ret_fd)
{
	_cleanup_(closep) int fd = -1;
	struct sockaddr_storage sa;
	socklen_t length;
	int r;

	fd = sys_socket(address->family, SOCK_STREAM, 0);
	if (fd < 0)
		return fd;
	r = socket_options(conf, address, fd);
	if (r < 0)
		return r;
	length = addr_to_sockaddr(address, &sa);
	if (bind(fd, (struct sockaddr *)&sa, length) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* The processes of a locumd that was killed hold their sockets for a moment longer. */
static int open_patiently(const struct conf *conf, const struct addr *address, nsec patience,
			  int *ret_fd)
{
	const struct timespec pause = { .tv_nsec = STILL_IN_USE_RETRY };
	nsec until = sys_now() + patience;
	int r;

	for (;;) {
		r = open_one(conf, address, ret_fd);
		if (r != -EADDRINUSE || sys_now() >= until)
			return r;
		nanosleep(&pause, NULL);
	}
}

static int open_new(const struct conf *conf, const struct conf_listen *wanted, nsec patience,
		    struct listener *ret)
{
	const struct addr ipv4 = { .family = AF_INET, .port = wanted->address.port };
	struct sockaddr_storage sa;
	socklen_t length = sizeof(sa);
	int r;

	r = open_patiently(conf, &wanted->address, patience, &ret->fd);
	/* A kernel without IPv6 has IPv4 still. */
	if (r == -EAFNOSUPPORT && wanted->address.family == AF_INET6 &&
	    addr_is_any(&wanted->address) && !has_ipv4_wildcard(conf, ipv4.port))
		r = open_patiently(conf, &ipv4, patience, &ret->fd);
	if (r < 0)
		return r;
	/* Port 0 has become a real one. */
	if (getsockname(ret->fd, (struct sockaddr *)&sa, &length) < 0)
		return -errno;
	return addr_from_sockaddr((struct sockaddr *)&sa, &ret->address);
}

static int take_over(const struct listeners *have, const struct addr *address, struct listener *ret)
{
	for (size_t i = 0; have && i < have->count; i++) {
		if (!same_address(&have->entry[i].address, address))
			continue;
		ret->address = *address;
		ret->fd = fcntl(have->entry[i].fd, F_DUPFD_CLOEXEC, 0);
		return ret->fd < 0 ? -errno : 1;
	}
	return 0;
}

int listeners_open(const struct conf *conf, const struct listeners *have, nsec patience,
		   struct listeners *ret, struct buf *ret_error)
{
	char text[ADDR_TEXT_SIZE];
	int r = 0;

	ret->count = 0;
	for (size_t i = 0; i < conf->listen_count; i++) {
		const struct conf_listen *wanted = &conf->listen[i];
		struct listener *l = &ret->entry[ret->count];

		l->fd = -1;
		if (ret->count == LISTENERS_MAX)
			r = -E2BIG;
		else
			r = take_over(have, &wanted->address, l);
		if (r == 0)
			r = open_new(conf, wanted, patience, l);
		if (r < 0) {
			buf_addf(ret_error, "cannot listen on %s (listen \"%.*s\"): %s",
				 addr_text(&wanted->address, text), STR_ARG(wanted->name),
				 strerror(-r));
			listeners_done(ret);
			return r;
		}
		str_copy(wanted->name, l->name, sizeof(l->name));
		ret->count++;
	}
	return 0;
}
