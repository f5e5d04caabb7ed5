#include "net/tls_bio.h"

#include "task/sys.h"

#include <openssl/bio.h>
#include <openssl/ssl.h>

static int fd_of(BIO *bio)
{
	return (int)(intptr_t)BIO_get_data(bio);
}

static int bio_read(BIO *bio, char *ret_bytes, int n)
{
	ssize_t got = sys_recv(fd_of(bio), ret_bytes, (size_t)n);

	BIO_clear_retry_flags(bio);
	if (got == -EAGAIN)
		BIO_set_retry_read(bio);
	if (got == 0)
		BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
	return got < 0 ? -1 : (int)got;
}

static int bio_write(BIO *bio, const char *bytes, int n)
{
	ssize_t put = sys_send(fd_of(bio), str_mem(bytes, (size_t)n));

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
	return m;
}

int tls_bio_attach(struct ssl_st *ssl, int fd)
{
	BIO_METHOD *m = method();
	BIO *bio = m ? BIO_new(m) : NULL;

	if (!bio)
		return -ENOMEM;
	BIO_set_data(bio, (void *)(intptr_t)fd);
	BIO_set_init(bio, 1);
	SSL_set_bio(ssl, bio, bio);
	return 0;
}
