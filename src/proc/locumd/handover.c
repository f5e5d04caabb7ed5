/* What one locumd leaves to the next, which runs in its place: a sealed memory file that names what is open and who
 * runs. It is read as if a stranger had written it: another version did. */
#include "proc/locumd/locumd.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "proc/memory_file.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define HANDOVER_BYTES_MAX ((size_t)256 << 10)
#define DESCRIPTOR_MAX (1 << 20)
#define DESCRIPTORS_HANDED (8 + LISTENERS_MAX + CHILDREN_MAX)
#define DESCRIPTORS_SALVAGED_FROM 65536 /* numbers looked at when nothing is known */

/* --- writing --- */

/* Too much for a task's stack; one upgrade at a time. */
static struct {
	Locum__Handover handover;
	Locum__HandedListener listener[LISTENERS_MAX], *listeners[LISTENERS_MAX];
	Locum__HandedChild child[CHILDREN_MAX], *children[CHILDREN_MAX];
	ProtobufCBinaryData key[TICKET_KEYS_KEPT];
} writing;

static void write_listeners(const struct supervisor *sup, Locum__Handover *h)
{
	h->listeners = writing.listeners;
	h->n_listeners = sup->listeners.count;
	for (size_t i = 0; i < sup->listeners.count; i++) {
		Locum__HandedListener *l = writing.listeners[i] = &writing.listener[i];

		locum__handed_listener__init(l);
		l->name = (char *)sup->listeners.entry[i].name;
		l->fd = sup->listeners.entry[i].fd;
	}
}

static void write_children(const struct supervisor *sup, Locum__Handover *h)
{
	h->children = writing.children;
	h->n_children = 0;
	for (size_t i = 0; i < sup->child_count; i++) {
		const struct child *c = &sup->child[i];
		Locum__HandedChild *to = &writing.child[h->n_children];

		if (!child_can_be_left(c))
			continue;
		locum__handed_child__init(to);
		to->process = c->process;
		to->index = c->index;
		to->pid = c->pid;
		to->control = channel_fd(c->control);
		to->finish_by = c->finish_by;
		writing.children[h->n_children++] = to;
	}
}

static void write_keys(const struct supervisor *sup, Locum__Handover *h)
{
	h->ticket_keys = writing.key;
	h->n_ticket_keys = sup->ticket_key_count;
	for (size_t i = 0; i < sup->ticket_key_count; i++)
		writing.key[i] =
			(ProtobufCBinaryData){ TICKET_KEY_BYTES, (uint8_t *)sup->ticket_key[i] };
}

static void write_all(const struct supervisor *sup, Locum__Handover *h)
{
	locum__handover__init(h);
	h->version = (char *)LOCUM_VERSION;
	h->snapshot = sup->snapshot;
	h->snapshot_with_keys = sup->snapshot_with_keys;
	h->lock = sup->lock;
	h->command_socket = sup->control.fd;
	h->clients = sup->clients_file;
	h->client_memory = sup->client_memory_file;
	h->smtpin_places = sup->smtpin_places;
	h->sessions_max = sup->sessions_max;
	h->call = sup->asker.call;
	h->asker = sup->asker.index;
	write_listeners(sup, h);
	write_children(sup, h);
	write_keys(sup, h);
}

int handover_make(const struct supervisor *sup, int *ret_fd)
{
	_cleanup_(buf_done) struct buf packed = { 0 };
	size_t n;
	int r;

	write_all(sup, &writing.handover);
	n = locum__handover__get_packed_size(&writing.handover);
	buf_init(&packed, HANDOVER_BYTES_MAX);
	r = buf_reserve(&packed, n);
	if (r < 0)
		return r;
	packed.n = locum__handover__pack(&writing.handover, (uint8_t *)packed.p);
	r = memory_file_make("locum-handover", buf_str(&packed), ret_fd);
	explicit_bzero(packed.p, packed.n);
	return r;
}

/* --- descriptors across the exec --- */

static size_t descriptors_of(const Locum__Handover *h, int ret_fd[static DESCRIPTORS_HANDED])
{
	size_t n = 0;

	ret_fd[n++] = h->snapshot;
	ret_fd[n++] = h->snapshot_with_keys;
	ret_fd[n++] = h->lock;
	ret_fd[n++] = h->command_socket;
	ret_fd[n++] = h->clients;
	if (h->client_memory != -1)
		ret_fd[n++] = h->client_memory;
	for (size_t i = 0; i < h->n_listeners; i++)
		ret_fd[n++] = h->listeners[i]->fd;
	for (size_t i = 0; i < h->n_children; i++)
		ret_fd[n++] = h->children[i]->control;
	return n;
}

void handover_keep_open(const Locum__Handover *h, bool open)
{
	int fd[DESCRIPTORS_HANDED];
	size_t n = descriptors_of(h, fd);

	for (size_t i = 0; i < n; i++)
		fcntl(fd[i], F_SETFD, open ? 0 : FD_CLOEXEC);
}

/* --- reading --- */

static bool is_child(Locum__Process p)
{
	return p == LOCUM__PROCESS__SMTPIN || p == LOCUM__PROCESS__NETD ||
	       p == LOCUM__PROCESS__SPOOLD || p == LOCUM__PROCESS__SMTPOUT ||
	       p == LOCUM__PROCESS__STATE;
}

static bool children_plausible(const Locum__Handover *h)
{
	for (size_t i = 0; i < h->n_children; i++) {
		const Locum__HandedChild *c = h->children[i];
		uint32_t places =
			c->process == LOCUM__PROCESS__SMTPIN ? h->smtpin_places : CHILDREN_MAX;

		if (!is_child(c->process) || c->index >= places || c->pid <= 1 || c->finish_by < 0)
			return false;
		for (size_t k = 0; k < i; k++)
			if (h->children[k]->pid == c->pid ||
			    (h->children[k]->process == c->process &&
			     h->children[k]->index == c->index))
				return false;
	}
	return true;
}

/* Each is there once: whoever closes his own must not close another's. */
static bool descriptors_plausible(const Locum__Handover *h)
{
	int fd[DESCRIPTORS_HANDED];
	size_t n = descriptors_of(h, fd);

	for (size_t i = 0; i < n; i++) {
		if (fd[i] <= STDERR_FILENO || fd[i] >= DESCRIPTOR_MAX)
			return false;
		for (size_t k = 0; k < i; k++)
			if (fd[k] == fd[i])
				return false;
	}
	return true;
}

static bool listeners_plausible(const Locum__Handover *h)
{
	for (size_t i = 0; i < h->n_listeners; i++)
		if (strlen(h->listeners[i]->name) >= sizeof(((struct listener *)0)->name))
			return false;
	return true;
}

static bool keys_plausible(const Locum__Handover *h)
{
	for (size_t i = 0; i < h->n_ticket_keys; i++)
		if (h->ticket_keys[i].len != TICKET_KEY_BYTES)
			return false;
	return h->n_ticket_keys >= 1 && h->n_ticket_keys <= TICKET_KEYS_KEPT;
}

static bool plausible(const Locum__Handover *h)
{
	return h->n_listeners <= LISTENERS_MAX && h->n_children <= CHILDREN_MAX &&
	       h->smtpin_places >= 1 && h->smtpin_places <= SMTPIN_PLACES_MAX &&
	       h->sessions_max >= 1 && *h->version && listeners_plausible(h) &&
	       children_plausible(h) && descriptors_plausible(h) && keys_plausible(h);
}

int handover_read(int fd, Locum__Handover **ret_handover)
{
	_cleanup_(buf_done) struct buf packed = { 0 };
	Locum__Handover *h;
	int r = memory_file_read(fd, HANDOVER_BYTES_MAX, &packed);

	if (r < 0)
		return r;
	h = locum__handover__unpack(NULL, packed.n, (uint8_t *)packed.p);
	explicit_bzero(packed.p, packed.n);
	if (!h || !plausible(h)) {
		handover_free(h);
		return -EPROTO;
	}
	*ret_handover = h;
	return 0;
}

void handover_free(Locum__Handover *h)
{
	if (!h)
		return;
	for (size_t i = 0; i < h->n_ticket_keys; i++)
		explicit_bzero(h->ticket_keys[i].data, h->ticket_keys[i].len);
	locum__handover__free_unpacked(h, NULL);
}

void handover_freep(Locum__Handover **h)
{
	handover_free(*h);
}

/* --- are things what they are said to be? --- */

static int socket_option(int fd, int level, int option)
{
	int value = -1;
	socklen_t length = sizeof(value);

	return getsockopt(fd, level, option, &value, &length) < 0 ? -1 : value;
}

static bool is_socket(int fd, int domain, int type, bool listens)
{
	return socket_option(fd, SOL_SOCKET, SO_DOMAIN) == domain &&
	       socket_option(fd, SOL_SOCKET, SO_TYPE) == type &&
	       socket_option(fd, SOL_SOCKET, SO_ACCEPTCONN) == listens;
}

/* A socket that listens for clients, as what it is bound to says. */
static bool listener_of(int fd, struct listener *ret)
{
	struct sockaddr_storage sa;
	socklen_t length = sizeof(sa);
	bool ipv6 = is_socket(fd, AF_INET6, SOCK_STREAM, true);

	if (!ipv6 && !is_socket(fd, AF_INET, SOCK_STREAM, true))
		return false;
	*ret = (struct listener){
		.fd = fd,
		.only_ipv6 = ipv6 && socket_option(fd, IPPROTO_IPV6, IPV6_V6ONLY) == 1,
	};
	return getsockname(fd, (struct sockaddr *)&sa, &length) == 0 &&
	       addr_from_sockaddr((struct sockaddr *)&sa, &ret->address) == 0;
}

static bool is_file(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

/* Alive or dead, but not yet waited for. */
static bool is_our_child(pid_t pid)
{
	siginfo_t info;

	return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

static bool all_there(const Locum__Handover *h)
{
	if (sys_memfd_sealed(h->snapshot) < 0 || sys_memfd_sealed(h->snapshot_with_keys) < 0 ||
	    !is_file(h->lock) || (h->client_memory != -1 && !is_file(h->client_memory)) ||
	    !is_socket(h->command_socket, AF_UNIX, SOCK_SEQPACKET, true))
		return false;
	for (size_t i = 0; i < h->n_children; i++)
		if (!is_socket(h->children[i]->control, AF_UNIX, SOCK_SEQPACKET, false) ||
		    !is_our_child(h->children[i]->pid))
			return false;
	return true;
}

/* --- taking over --- */

static int take_listeners(struct supervisor *sup, const Locum__Handover *h)
{
	for (size_t i = 0; i < h->n_listeners; i++) {
		struct listener *l = &sup->listeners.entry[i];

		if (!listener_of(h->listeners[i]->fd, l))
			return -EPROTO;
		str_copy(str_of(h->listeners[i]->name), l->name, sizeof(l->name));
	}
	sup->listeners.count = h->n_listeners;
	return 0;
}

static void take_children(struct supervisor *sup, const Locum__Handover *h)
{
	for (size_t i = 0; i < h->n_children; i++) {
		const Locum__HandedChild *from = h->children[i];
		struct child *c = &sup->child[sup->child_count++];

		child_init(c, sup, from->process, from->index);
		c->old = true;
		c->pid = from->pid;
		c->handed_control = from->control;
		c->finish_by = from->finish_by;
	}
}

static void take_keys(struct supervisor *sup, const Locum__Handover *h)
{
	sup->ticket_key_count = h->n_ticket_keys;
	for (size_t i = 0; i < h->n_ticket_keys; i++)
		memcpy(sup->ticket_key[i], h->ticket_keys[i].data, TICKET_KEY_BYTES);
}

/* Everything that can fail, before anything is kept. */
static int take(struct supervisor *sup, const Locum__Handover *h)
{
	int r;

	if (!all_there(h))
		return -EPROTO;
	r = take_listeners(sup, h);
	if (r < 0)
		return r;
	r = client_table_open(h->clients, h->smtpin_places - 1, &sup->clients);
	if (r < 0)
		return r;
	r = snapshot_read(h->snapshot_with_keys, &sup->conf);
	if (r < 0)
		return r;
	take_children(sup, h);
	take_keys(sup, h);
	return 0;
}

static void untake(struct supervisor *sup)
{
	sup->listeners.count = 0;
	client_table_close(sup->clients);
	sup->clients = NULL;
}

int handover_take(struct supervisor *sup, const Locum__Handover *h)
{
	int r = take(sup, h);

	if (r < 0) {
		untake(sup);
		return r;
	}
	sup->snapshot = h->snapshot;
	sup->snapshot_with_keys = h->snapshot_with_keys;
	sup->lock = h->lock;
	sup->handed_command_socket = h->command_socket;
	sup->clients_file = h->clients;
	sup->client_memory_file = h->client_memory;
	sup->smtpin_places = h->smtpin_places;
	sup->sessions_max = h->sessions_max;
	sup->asker.call = h->call;
	sup->asker.index = h->asker;
	str_copy(str_first(str_of(h->version), sizeof(sup->version_before) - 1),
		 sup->version_before, sizeof(sup->version_before));
	handover_keep_open(h, false);
	return 0;
}

/* --- when nothing is known --- */

void handover_salvage(struct listeners *ret)
{
	struct rlimit limit;
	int max = DESCRIPTORS_SALVAGED_FROM;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < (rlim_t)max)
		max = (int)limit.rlim_cur;
	ret->count = 0;
	for (int fd = STDERR_FILENO + 1; fd < max; fd++) {
		if (ret->count < LISTENERS_MAX && listener_of(fd, &ret->entry[ret->count])) {
			fcntl(fd, F_SETFD, FD_CLOEXEC);
			ret->count++;
		} else {
			close(fd);
		}
	}
}
