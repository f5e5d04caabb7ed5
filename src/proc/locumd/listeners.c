#include "proc/locumd/locumd.h"

#include "base/cleanup.h"

#include <fcntl.h>

#define BACKLOG 4096
#define STILL_IN_USE_RETRY (50 * NSEC_MS)

void listeners_done(struct listeners *l)
{
	for (size_t i = 0; i < l->count; i++)
		closep(&l->entry[i].fd);
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

static bool only_ipv6(const struct conf *conf, const struct addr *address)
{
	return address->family == AF_INET6 &&
	       (!addr_is_any(address) || has_ipv4_wildcard(conf, address->port));
}

static int socket_options(const struct conf *conf, const struct addr *address, int fd)
{
	const int on = 1;

	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		return -errno;
	if (address->family == AF_INET6) {
		const int only = only_ipv6(conf, address);

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

	ret->only_ipv6 = only_ipv6(conf, &wanted->address);
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

/* --- from one set to the next --- */

/* The sockets of before, while the next set is opened. */
struct old {
	const struct listeners *have; /* NULL: none */
	bool kept[LISTENERS_MAX];     /* in the next set too */
	bool shut[LISTENERS_MAX];     /* made to let go of its port */
};

static bool is_same(const struct conf *conf, const struct listener *have, const struct addr *wanted)
{
	return same_address(&have->address, wanted) && have->only_ipv6 == only_ipv6(conf, wanted);
}

/* 1: it is there, 0: it is not, or a negative errno. */
static int take_over(const struct conf *conf, struct old *old, const struct addr *address,
		     struct listener *ret)
{
	for (size_t i = 0; old->have && i < old->have->count; i++) {
		const struct listener *have = &old->have->entry[i];

		if (!is_same(conf, have, address))
			continue;
		old->kept[i] = true;
		ret->address = *address;
		ret->only_ipv6 = have->only_ipv6;
		ret->fd = sys_dup(have->fd);
		return ret->fd < 0 ? ret->fd : 1;
	}
	return 0;
}

/* A wildcard and an address of its own exclude each other on a port. What is not in the next set lets go of it: a
 * socket that was shut down listens no more, in whatever process, but stays bound and can be made to listen
 * again. True when that may have helped. */
static bool make_way(struct old *old, uint16_t port)
{
	bool any = false;

	for (size_t i = 0; old->have && i < old->have->count; i++) {
		const struct listener *have = &old->have->entry[i];

		if (old->kept[i] || old->shut[i] || have->address.port != port)
			continue;
		old->shut[i] = any = shutdown(have->fd, SHUT_RD) == 0;
	}
	return any;
}

static void take_back(const struct old *old, struct buf *ret_error)
{
	for (size_t i = 0; old->have && i < old->have->count; i++)
		if (old->shut[i] && listen(old->have->entry[i].fd, BACKLOG) < 0)
			buf_addf(ret_error, "; and listen \"%s\" was lost meanwhile: %s",
				 old->have->entry[i].name, strerror(errno));
}

static int open_wanted(const struct conf *conf, struct old *old, const struct conf_listen *wanted,
		       nsec patience, struct listener *l)
{
	int r;

	if (l->fd >= 0)
		return 0;
	r = open_new(conf, wanted, patience, l);
	if (r == -EADDRINUSE && make_way(old, wanted->address.port))
		r = open_new(conf, wanted, patience, l);
	return r;
}

/* What both sets have comes first: it is in nobody's way. */
static int take_over_all(const struct conf *conf, struct old *old, struct listeners *ret)
{
	int r = 0;

	ret->count = MIN(conf->listen_count, (size_t)LISTENERS_MAX);
	for (size_t i = 0; i < ret->count; i++)
		ret->entry[i].fd = -1;
	for (size_t i = 0; r >= 0 && i < ret->count; i++) {
		str_copy(conf->listen[i].name, ret->entry[i].name, sizeof(ret->entry[i].name));
		r = take_over(conf, old, &conf->listen[i].address, &ret->entry[i]);
	}
	return r;
}

int listeners_open(const struct conf *conf, const struct listeners *have, nsec patience,
		   struct listeners *ret, struct buf *ret_error)
{
	struct old old = { .have = have };
	char text[ADDR_TEXT_SIZE];
	int r;

	r = conf->listen_count > LISTENERS_MAX ? -E2BIG : take_over_all(conf, &old, ret);
	for (size_t i = 0; r >= 0 && i < ret->count; i++) {
		const struct conf_listen *wanted = &conf->listen[i];

		r = open_wanted(conf, &old, wanted, patience, &ret->entry[i]);
		if (r < 0)
			buf_addf(ret_error, "cannot listen on %s (listen \"%.*s\"): %s",
				 addr_text(&wanted->address, text), STR_ARG(wanted->name),
				 strerror(-r));
	}
	if (r >= 0)
		return 0;
	listeners_done(ret);
	take_back(&old, ret_error);
	return r;
}
