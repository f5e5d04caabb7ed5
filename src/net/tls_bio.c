#include "net/tls_bio.h"

#include "task/sys.h"

#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <stdlib.h>

struct wire {
	int fd;
	size_t at; /* in early */
	size_t early_bytes;
	char early[];
};

static size_t early_take(struct wire *w, char *ret_bytes, size_t n)
{
	n = MIN(n, w->early_bytes - w->at);
	memcpy(ret_bytes, w->early + w->at, n);
	w->at += n;
	return n;
}

static int bio_read(BIO *bio, char *ret_bytes, int n)
{
	struct wire *w = BIO_get_data(bio);
	ssize_t got = (ssize_t)early_take(w, ret_bytes, (size_t)n);

	if (got == 0)
		got = sys_recv(w->fd, ret_bytes, (size_t)n);
	BIO_clear_retry_flags(bio);
	if (got == -EAGAIN)
		BIO_set_retry_read(bio);
	if (got == 0)
		BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
	return got < 0 ? -1 : (int)got;
}

static int bio_write(BIO *bio, const char *bytes, int n)
{
	ssize_t put = sys_send(((struct wire *)BIO_get_data(bio))->fd, str_mem(bytes, (size_t)n));

	BIO_clear_retry_flags(bio);
	if (put == -EAGAIN)
		BIO_set_retry_write(bio);
	return put < 0 ? -1 : (int)put;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
	(void)number;
	(void)pointer;
	if (command == BIO_CTRL_FLUSH)
		return 1;
	if (command == BIO_CTRL_EOF)
		return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
	return 0;
}

static int bio_destroy(BIO *bio)
{
	free(BIO_get_data(bio));
	BIO_set_data(bio, NULL);
	return 1;
}

static BIO_METHOD *method(void)
{
	static BIO_METHOD *m;

	if (m)
		return m;
	m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sys");
	if (!m)
		return NULL;
	BIO_meth_set_read(m, bio_read);
	BIO_meth_set_write(m, bio_write);
	BIO_meth_set_ctrl(m, bio_control);
	BIO_meth_set_destroy(m, bio_destroy);
	return m;
}

int tls_bio_attach(struct ssl_st *ssl, int fd, str early)
{
	struct wire *w = malloc(sizeof(*w) + early.n);
	BIO_METHOD *m = method();
	BIO *bio = m && w ? BIO_new(m) : NULL;

	if (!bio) {
		free(w);
		return -ENOMEM;
	}
	w->fd = fd;
	w->at = 0;
	w->early_bytes = early.n;
	if (early.n)
		memcpy(w->early, early.p, early.n);
	BIO_set_data(bio, w);
	BIO_set_init(bio, 1);
	SSL_set_bio(ssl, bio, bio);
	return 0;
}
