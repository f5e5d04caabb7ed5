/*
 * locum verify [FILE]: is the evidence on top of a message ours, and does it belong to this message? Asks
 * nobody; needs the key. The message may come from a mailbox, with bare LF as line ends and with headers
 * that the primary added above or behind the original ones.
 */
#include "base/cleanup.h"
#include "cli/client.h"
#include "cli/format.h"
#include "cli/json.h"
#include "conf/conf.h"
#include "smtp/evidence.h"
#include "smtp/xtext.h"

#include <stdlib.h>

#define MESSAGE_MAX ((size_t)512 << 20)
#define KEY_FILE_MAX 256

struct verified {
	bool found, readable, ours, same_head, same_body;
	str field;      /* behind the colon */
	uint64_t added; /* octets of headers behind the original ones */
	struct evidence_words words;
};

static bool sound(const struct verified *v)
{
	return v->ours && v->same_head && v->same_body;
}

/* --- reading --- */

int cli_evidence_key(struct cli *cli, const char **ret_path, uint8_t *key)
{
	_cleanup_(buf_done) struct buf dir;
	_cleanup_(buf_done) struct buf error;
	char text[KEY_FILE_MAX];
	FILE *f;
	size_t n;
	int r;

	buf_init(&dir, 4096);
	buf_init(&error, 1024);
	*ret_path = cli->key;
	if (!cli->key && conf_read_state_dir(cli->config, &dir, &error) == 0)
		*ret_path = arena_sprintf(&cli->arena, "%.*s/evidence.key", STR_ARG(buf_str(&dir)));
	if (!*ret_path) {
		*ret_path = "of this configuration";
		return -ENOENT;
	}
	f = fopen(*ret_path, "re");
	if (!f)
		return -errno;
	n = fread(text, 1, sizeof(text), f);
	fclose(f);
	r = evidence_key_read(str_mem(text, n), key);
	explicit_bzero(text, sizeof(text));
	return r;
}

static int read_message(struct cli *cli, struct buf *to)
{
	const char *path = cli->arg_count ? cli->args[0] : "-";
	bool standard = strcmp(path, "-") == 0;
	FILE *f = standard ? stdin : fopen(path, "re");
	_cleanup_(freep) char *piece = malloc(65536);
	size_t n;
	int r = 0;

	if (!f || !piece)
		return cli_fail(cli, CLI_NOTHING, "cannot read %s: %s", path, strerror(errno));
	while (r >= 0 && (n = fread(piece, 1, 65536, f)) > 0)
		r = buf_add(to, str_mem(piece, n));
	if (r >= 0 && ferror(f))
		r = -EIO;
	if (!standard)
		fclose(f);
	return r < 0 ? cli_fail(cli, CLI_NOTHING, "cannot read %s: %s", path, strerror(-r))
		     : CLI_OK;
}

/* --- judging --- */

static int compare(struct verified *v, str below)
{
	_cleanup_(evidence_digest_done) struct evidence_digest d = { 0 };
	struct evidence_content said, is;
	int r;

	if (!evidence_content(&v->words, &said))
		return 0;
	r = evidence_digest_init(&d, said.head_bytes);
	if (r < 0)
		return r;
	evidence_digest_feed(&d, below);
	r = evidence_digest_end(&d, &is);
	if (r < 0)
		return r;
	v->same_head = is.head_bytes >= said.head_bytes &&
		       memcmp(is.head, said.head, sizeof(is.head)) == 0;
	v->same_body = memcmp(is.body, said.body, sizeof(is.body)) == 0;
	v->added = is.head_bytes - MIN(said.head_bytes, is.head_bytes);
	return 0;
}

/* The next header field, folded lines included; false: the header section ends. */
static bool next_field(str *rest, str *ret_field)
{
	str from = *rest, line;

	if (from.n == 0 || from.p[0] == '\n' || str_starts(from, STR("\r\n")))
		return false;
	do {
		str_cut(*rest, '\n', &line, rest);
	} while (rest->n > 0 && (rest->p[0] == ' ' || rest->p[0] == '\t'));
	*ret_field = str_first(from, from.n - rest->n);
	return true;
}

/* The words are slices of their own text: the copy reads it anew. */
static void keep(struct verified *to, const struct verified *from)
{
	*to = *from;
	if (from->readable)
		(void)evidence_parse(from->field, &to->words);
}

/* A Locum before a Locum leaves two: that of this key counts, else the first. */
static int judge(str message, const uint8_t key[static EVIDENCE_KEY_BYTES], struct verified *ret)
{
	static struct verified v;
	str rest = message, field;
	int r;

	while (next_field(&rest, &field)) {
		if (!str_case_starts(field, STR(EVIDENCE_NAME ":")))
			continue;
		v = (struct verified){ .found = true,
				       .field = str_from(field, strlen(EVIDENCE_NAME ":")) };
		v.readable = evidence_parse(v.field, &v.words) == 0;
		v.ours = v.readable && evidence_signed(&v.words, key);
		r = v.readable ? compare(&v, rest) : 0;
		if (r < 0)
			return r;
		if (!ret->found || (sound(&v) && !sound(ret)) || (v.ours && !ret->ours))
			keep(ret, &v);
	}
	return 0;
}

static const char *verdict(const struct verified *v)
{
	if (!v->found)
		return "there is no " EVIDENCE_NAME " header";
	if (!v->readable)
		return "the header is not of this form";
	if (!v->ours)
		return "it was not written with this key, or was changed";
	if (!v->same_body)
		return "it belongs to another message: the body is not the one it came with";
	if (!v->same_head)
		return "the header section below it is not the one it came with";
	return v->added ? "sound; header fields were added behind the original ones" : "sound";
}

/* --- showing --- */

static str decoded(struct cli *cli, str value)
{
	char *to = arena_alloc(&cli->arena, value.n + 1);
	str text = STR_NONE;

	return to && xtext_decode(value, to, value.n, &text) == 0 ? text : STR_NONE;
}

static int print_json(struct cli *cli, const struct verified *v)
{
	json_t *o = json_object(), *said = json_object();

	json_object_set_new(o, "sound", json_boolean(sound(v)));
	json_object_set_new(o, "text", json_string(verdict(v)));
	json_object_set_new(o, "signature", json_boolean(v->ours));
	json_object_set_new(o, "head", json_boolean(v->same_head));
	json_object_set_new(o, "body", json_boolean(v->same_body));
	json_object_set_new(o, "added_bytes", js_number(v->added));
	for (size_t i = 0; v->readable && i < v->words.count; i++) {
		char name[64];

		if (!str_copy(v->words.word[i].name, name, sizeof(name)))
			continue;
		json_object_set_new(said, name, js_text(decoded(cli, v->words.word[i].value)));
	}
	json_object_set_new(o, "said", said);
	return js_print(cli, o);
}

static int print_text(struct cli *cli, const struct verified *v)
{
	static const struct table_column columns[] = { { "WHAT", false }, { "SAID", false } };
	_cleanup_(table_done) struct table t;
	char when[FORMAT_SIZE];
	int r;

	table_init(&t, columns, ELEMENTS(columns));
	for (size_t i = 0; v->readable && i < v->words.count; i++) {
		str name = v->words.word[i].name, value = decoded(cli, v->words.word[i].value);
		uint64_t seconds;

		table_add(&t, name);
		if (str_eq(name, STR("arrived")) && str_u64(value, UINT32_MAX, &seconds) >= 0)
			table_add(&t, str_of(format_time((nsec)seconds * NSEC_S, when)));
		else
			table_add(&t, value);
	}
	r = table_print(&t, cli->out, 0, cli->width, cli->coloured);
	fprintf(cli->out, "%s%s\n", v->readable ? "\n" : "", verdict(v));
	return r;
}

int cmd_verify(struct cli *cli)
{
	static struct verified v;
	_cleanup_(buf_done) struct buf message;
	uint8_t key[EVIDENCE_KEY_BYTES];
	const char *path;
	int r;

	buf_init(&message, MESSAGE_MAX);
	v = (struct verified){ 0 };
	r = cli_evidence_key(cli, &path, key);
	if (r < 0)
		return cli_fail(cli, r == -EACCES ? CLI_REFUSED : CLI_CONFIG,
				"cannot read the key %s: %s; --key FILE names another", path,
				r == -EINVAL ? "64 hexadecimal digits are expected" : strerror(-r));
	r = read_message(cli, &message);
	if (r != CLI_OK)
		return r;
	r = judge(buf_str(&message), key, &v);
	explicit_bzero(key, sizeof(key));
	if (r >= 0)
		r = cli->json ? print_json(cli, &v) : print_text(cli, &v);
	if (r < 0)
		return cli_fail(cli, CLI_NOTHING, "out of memory");
	return sound(&v) ? CLI_OK : CLI_NOTHING;
}
