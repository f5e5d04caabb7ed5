/*
 * What the tests of the configuration share: a folder of their own with certificates and lists in it, beginnings
 * of configurations, and how an expectation is written: parts in order, with "..." for what lies between.
 */
#pragma once

#include "conf/conf.h"

#include "base/cleanup.h"
#include "conf/reader.h"
#include "conf/units.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

#define BASE                                                                                       \
	"hostname = \"mx2.example.net\"\n"                                                         \
	"listen \"mx\" { address = \"[::]:25\" }\n"
#define WITH BASE "domain \"example.cz\" { }\n"
#define DOMAIN(text) BASE "domain \"example.cz\" {\n" text "\n}\n"
#define LISTEN(text)                                                                               \
	"hostname = \"mx2.example.net\"\ndomain \"example.cz\" { }\nlisten \"mx\" {\n" text "\n}"  \
	"\n"
#define L63 "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk"

/* Tests run in a folder of their own with these files; paths are relative to it on purpose. */
static void write_file(const char *name, const char *text)
{
	FILE *f = fopen(name, "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static void make_pair(const char *certificate, const char *key, const char *other_key, long from,
		      long until)
{
	EVP_PKEY *k = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	FILE *f = fopen(certificate, "w");

	assert_true(k && x && f);
	X509_set_pubkey(x, k);
	X509_gmtime_adj(X509_getm_notBefore(x), from);
	X509_gmtime_adj(X509_getm_notAfter(x), until);
	assert_true(X509_sign(x, k, EVP_sha256()) > 0);
	PEM_write_X509(f, x);
	fclose(f);
	f = fopen(key, "w");
	PEM_write_PrivateKey(f, k, NULL, NULL, 0, NULL, NULL);
	fclose(f);
	if (other_key) {
		f = fopen(other_key, "w");
		PEM_write_PrivateKey(f, k, EVP_aes_128_cbc(), (const unsigned char *)"secret", 6,
				     NULL, NULL);
		fclose(f);
	}
	X509_free(x);
	EVP_PKEY_free(k);
}

static char folder[] = "/tmp/locum-conf-test-XXXXXX";

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(folder) || chdir(folder) < 0)
		return -1;
	make_pair("good.crt", "good.key", "locked.key", -60, 3600);
	make_pair("other.crt", "other.key", NULL, -60, 3600);
	make_pair("old.crt", "old.key", NULL, -7200, -3600);
	make_pair("early.crt", "early.key", NULL, 3600, 7200);
	write_file("empty", "");
	write_file("list",
		   "# staff\nJan@Example.cz\n\n  petra@example.cz  # the boss\nc#@example.cz\n"
		   "jan@example.cz\r\nx@example.org\n");
	write_file("list.alien", "a@example.cz\nb@example.com\n");
	write_file("list.bad", "a@example.cz\n\nno mailbox here@example.cz\n");
	write_file("list.name", "a@exa_mple..cz\n");
	write_file("list.bare", "# one\njan\n");
	mkdir("dir", 0700);
	return 0;
}

static int teardown(void **state)
{
	static const char *const files[] = { "good.crt",   "good.key",  "locked.key", "other.crt",
					     "other.key",  "old.crt",   "old.key",    "early.crt",
					     "early.key",  "empty",     "list",       "list.bad",
					     "list.alien", "list.name", "list.bare",  "file.conf",
					     "big" };

	(void)state;
	for (size_t i = 0; i < ELEMENTS(files); i++)
		unlink(files[i]);
	rmdir("dir");
	if (chdir("/") < 0)
		return -1;
	return rmdir(folder);
}

static inline bool error_fits(const char *error, const char *expected)
{
	str want = str_of(expected), have = str_of(error), part;
	bool first = true;

	while (want.n) {
		ssize_t gap = str_find(want, STR("..."));
		ssize_t at;

		part = gap < 0 ? want : str_first(want, (size_t)gap);
		want = gap < 0 ? STR_NONE : str_from(want, (size_t)gap + 3);
		at = part.n ? str_find(have, part) : 0;
		if (at < 0 || (first && at != 0))
			return false;
		have = str_from(have, (size_t)at + part.n);
		first = false;
	}
	return true;
}

static inline struct conf *read_ok(const char *text)
{
	_cleanup_(buf_done) struct buf error;
	struct conf *c = NULL;

	buf_init(&error, 1024);
	if (conf_read_text("t", str_of(text), &c, &error) < 0)
		fail_msg("%.*s", STR_ARG(buf_str(&error)));
	return c;
}
