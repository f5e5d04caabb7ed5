/* The key that signs what we say of clients (smtp/evidence.h): made once, kept in the state directory, read
 * by nobody else; smtpout gets it over its channel. */
#include "proc/locumd/locumd.h"

#include "base/cleanup.h"
#include "base/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define KEY_NAME "/evidence.key"
#define PATH_SIZE 256
#define FILE_MAX 256

static int fail(struct buf *ret_error, int r, const char *what, const char *path)
{
	buf_addf(ret_error, "cannot %s %s: %s", what, path, strerror(-r));
	return r;
}

/* On stable storage under its name, or not at all: a key that is lost makes old signatures worthless. */
static int make(const char *path, uint8_t key[static EVIDENCE_KEY_BYTES])
{
	_cleanup_(closep) int fd = -1;
	char fresh[PATH_SIZE + 8], text[2 * EVIDENCE_KEY_BYTES + 2];
	int r;

	sys_random(key, EVIDENCE_KEY_BYTES);
	for (size_t i = 0; i < EVIDENCE_KEY_BYTES; i++)
		snprintf(text + 2 * i, 3, "%02x", key[i]);
	memcpy(text + 2 * EVIDENCE_KEY_BYTES, "\n", 2);
	snprintf(fresh, sizeof(fresh), "%s.new", path);
	unlink(fresh);
	fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	r = sys_write_at(fd, str_of(text), 0);
	explicit_bzero(text, sizeof(text));
	if (r < 0)
		return r;
	return fsync(fd) < 0 || rename(fresh, path) < 0 ? -errno : 0;
}

int evidence_key_load(struct supervisor *sup, struct buf *ret_error)
{
	_cleanup_(closep) int fd = -1;
	char path[PATH_SIZE], text[FILE_MAX];
	ssize_t n;
	int r;

	snprintf(path, sizeof(path), "%.*s" KEY_NAME, STR_ARG(sup->conf->state_dir));
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno == ENOENT) {
		r = make(path, sup->evidence_key);
		sup->has_evidence_key = r == 0;
		return r < 0 ? fail(ret_error, r, "make", path) : 0;
	}
	if (fd < 0)
		return fail(ret_error, -errno, "open", path);
	n = sys_read_at(fd, text, sizeof(text), 0);
	if (n < 0)
		return fail(ret_error, (int)n, "read", path);
	r = evidence_key_read(str_mem(text, (size_t)n), sup->evidence_key);
	explicit_bzero(text, sizeof(text));
	sup->has_evidence_key = r == 0;
	if (r < 0)
		buf_addf(ret_error,
			 "%s holds no key of %d hexadecimal digits; put the right one there, or "
			 "remove it and a new one is made",
			 path, 2 * EVIDENCE_KEY_BYTES);
	return r;
}

int evidence_key_send(struct task *tk, struct child *c)
{
	Locum__EvidenceKey key = LOCUM__EVIDENCE_KEY__INIT;
	IPC_PACKET(packet, EVIDENCE_KEY, evidence_key, &key);

	key.key = (ProtobufCBinaryData){ EVIDENCE_KEY_BYTES, c->sup->evidence_key };
	return ipc_send(tk, c->control, &packet, -1, task_in(tk, SEND_TIME));
}
