/*
 * A configuration file: it is refused with a message or understood, and what is understood survives the
 * snapshot. Whatever it was, the next file is read correctly (libconfuse's lexer has a memory).
 * Input that begins with a NUL byte is a snapshot instead.
 */
#include "base/cleanup.h"
#include "conf/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_snapshot(const struct conf *c)
{
	_cleanup_(buf_done) struct buf first, second;
	_cleanup_(conf_unrefp) struct conf *again = NULL;

	buf_init(&first, 64 << 20);
	buf_init(&second, 64 << 20);
	must(conf_pack(c, true, &first) == 0);
	must(conf_unpack(buf_str(&first), &again) == 0);
	must(conf_pack(again, true, &second) == 0);
	must(str_eq(buf_str(&first), buf_str(&second)));
	for (size_t i = 0; i < again->domain_count; i++)
		must(conf_domain(again, again->domains[i].name) == &again->domains[i]);
}

static void check_next_file(void)
{
	static const char good[] = "hostname = \"a.b\" listen \"c\" { address = \"127.0.0.1:25\" }"
				   "domain \"d.e\" { primary = {\"f.g\"} }";
	_cleanup_(conf_unrefp) struct conf *c = NULL;
	_cleanup_(buf_done) struct buf error;

	buf_init(&error, 1024);
	must(conf_read_text("good", STR("\n"), &c, &error) == -EINVAL);
	buf_reset(&error);
	must(conf_read_text("good", str_of(good), &c, &error) == 0);
	must(error.n == 0 && c->domain_count == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(conf_unrefp) struct conf *c = NULL;
	_cleanup_(buf_done) struct buf error;
	str input = str_mem(data, size);
	int r;

	buf_init(&error, 1024);
	if (size && data[0] == '\0') {
		r = conf_unpack(str_from(input, 1), &c);
		must(r == 0 || r == -EPROTO || r == -ENOMEM);
		if (r == 0)
			check_snapshot(c);
		return 0;
	}
	r = conf_read_text("file", input, &c, &error);
	must((r == 0) == (c != NULL) && (r == 0) == (error.n == 0));
	if (r == 0)
		check_snapshot(c);
	else
		must(str_starts(buf_str(&error), STR("file")) || error.n > 0);
	check_next_file();
	return 0;
}
