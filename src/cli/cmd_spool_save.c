/*
 * locum spool export: messages as files, also out of a damaged spool. locum spool rebuild: a new spool of what
 * can be read in another.
 */
#include "base/cleanup.h"
#include "base/crc32c.h"
#include "cli/json.h"
#include "cli/offline.h"
#include "task/sys.h"

#include <fcntl.h>
#include <sys/stat.h>

#define PAYLOAD_BYTES_MAX ((size_t)4 << 20)
#define PIECE ((size_t)65536)

struct export
{
	struct cli *cli;
	struct spool *spool;
	int to; /* directory */
	uint64_t whole, damaged;
};

static int copy_body(int to, const struct spool_body *body, bool *ret_whole)
{
	_cleanup_(freep) char *piece = malloc(PIECE);
	uint32_t crc = 0;
	uint64_t at = 0;

	if (!piece)
		return -ENOMEM;
	while (at < body->bytes) {
		ssize_t got = sys_read_at(body->fd, piece, MIN(PIECE, body->bytes - at),
					  body->offset + at);
		int r;

		if (got <= 0)
			break; /* what is left of it was written */
		r = sys_write_at(to, str_mem(piece, (size_t)got), at);
		if (r < 0)
			return r;
		crc = crc32c(crc, str_mem(piece, (size_t)got));
		at += (uint64_t)got;
	}
	*ret_whole &= at == body->bytes && crc == body->crc32c;
	return 0;
}

static int write_envelope(struct export *x, const char *id, const struct buf *envelope, bool whole)
{
	ProtobufCBinaryData packed = { .len = envelope->n, .data = (uint8_t *)envelope->p };
	char name[64];
	json_t *o = js_envelope(packed);
	char *text;
	int fd, r;

	if (json_is_object(o))
		json_object_set_new(o, "body", json_string(whole ? "whole" : "damaged"));
	text = o ? json_dumps(o, JSON_INDENT(2) | JSON_ENCODE_ANY) : NULL;
	json_decref(o);
	if (!text)
		return -ENOMEM;
	snprintf(name, sizeof(name), "%s.json", id);
	fd = sys_open_at(x->to, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
	r = fd < 0 ? fd : sys_write_at(fd, str_of(text), 0);
	if (r == 0)
		r = sys_sync(fd);
	if (fd >= 0)
		sys_close(fd);
	free(text);
	return r;
}

/* A damaged one goes to ID.damaged.eml: nobody takes it for what was sent. */
static int write_message(struct export *x, msg_id id, const struct buf *envelope,
			 const struct spool_body *body)
{
	static const char part[] = "part";
	char text[ID_TEXT_LENGTH + 1], name[64];
	_cleanup_(closep) int fd = sys_open_at(x->to, part, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	bool whole = body->fd >= 0;
	int r;

	if (fd < 0)
		return fd;
	id_text(id, text);
	r = body->fd >= 0 ? copy_body(fd, body, &whole) : 0;
	if (r == 0)
		r = sys_sync(fd);
	snprintf(name, sizeof(name), "%s%s.eml", text, whole ? "" : ".damaged");
	if (r == 0)
		r = sys_rename_at(x->to, part, name);
	if (r == 0)
		r = write_envelope(x, text, envelope, whole);
	if (r < 0) {
		sys_unlink_at(x->to, part);
		return r;
	}
	if (whole)
		x->whole++;
	else
		x->damaged++;
	return 0;
}

static int export_living(struct export *x, msg_id id)
{
	_cleanup_(buf_done) struct buf envelope;
	struct spool_body body;
	int r;

	buf_init(&envelope, PAYLOAD_BYTES_MAX);
	r = spool_read(x->spool, id, &envelope, &body);
	if (r < 0) {
		/* Its large body is missing or has another size. */
		struct fault f = { .kind = FAULT_BIG_SIZE, .id = id, .named = true };

		buf_reset(&envelope);
		if (inspect_remains(x->spool, &f, &envelope, &body) < 0)
			body = (struct spool_body){ .fd = -1 };
		else
			body.crc32c++; /* of another size: never whole */
	}
	return write_message(x, id, &envelope, &body);
}

static int export_remains(struct export *x, const struct fault *f)
{
	_cleanup_(buf_done) struct buf envelope;
	struct spool_body body;

	buf_init(&envelope, PAYLOAD_BYTES_MAX);
	if (inspect_remains(x->spool, f, &envelope, &body) < 0)
		return 0;
	return write_message(x, f->id, &envelope, &body);
}

static int export_each(struct export *x, const msg_id *only)
{
	_cleanup_(freep) msg_id *ids = NULL;
	const struct fault *f;
	size_t count;
	int r = inspect_ids(x->spool, &ids, &count);

	for (size_t i = 0; r == 0 && i < count; i++)
		if (!only || id_eq(ids[i], *only))
			r = export_living(x, ids[i]);
	if (r < 0)
		return r;
	f = inspect_faults(x->spool, &count);
	for (size_t i = 0; r == 0 && i < count; i++)
		if (f[i].kind == FAULT_BODY && f[i].loss == LOSS_BODY &&
		    (!only || id_eq(f[i].id, *only)))
			r = export_remains(x, &f[i]);
	return r < 0 ? r : sys_sync(x->to);
}

static int export_print(struct export *x)
{
	struct cli *cli = x->cli;
	json_t *o;

	if (x->whole + x->damaged == 0 && !cli->all)
		return cli_fail(cli, CLI_NOTHING, "there is no message %s", cli->args[0]);
	if (!cli->json) {
		fprintf(cli->out, "%llu messages written, %llu of them damaged\n",
			(unsigned long long)(x->whole + x->damaged),
			(unsigned long long)x->damaged);
		return x->damaged ? CLI_NOTHING : CLI_OK;
	}
	o = json_object();
	json_object_set_new(o, "written", js_number(x->whole + x->damaged));
	json_object_set_new(o, "damaged", js_number(x->damaged));
	return js_print(cli, o) == CLI_OK && x->damaged == 0 ? CLI_OK : CLI_NOTHING;
}

static int open_target(struct cli *cli, const char *path, int *ret_fd)
{
	int r = mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;

	if (r == 0)
		r = sys_open_dir(path);
	if (r < 0)
		return cli_fail(cli, CLI_USAGE, "--to %s: %s", path, strerror(-r));
	*ret_fd = r;
	return CLI_OK;
}

int cmd_spool_export(struct cli *cli)
{
	_cleanup_(spool_closep) struct spool *s = NULL;
	_cleanup_(closep) int to = -1;
	struct export x = { .cli = cli };
	const char *dir;
	msg_id id;
	int r;

	if (!cli->all && (cli->arg_count == 0 || id_parse(str_of(cli->args[0]), &id) < 0))
		return cli_fail(
			cli, CLI_USAGE,
			"which message? usage: locum spool export ID|--all [--to DIR] [SPOOL]");
	if (cli->all && cli->arg_count > 1)
		return cli_fail(cli, CLI_USAGE, "--all and an id do not go together");
	dir = offline_dir(cli, cli->all ? 0 : 1);
	if (!dir)
		return CLI_CONFIG;
	r = offline_open(cli, dir, false, &s);
	if (r == CLI_OK)
		r = open_target(cli, cli->to ? cli->to : ".", &to);
	if (r != CLI_OK)
		return r;
	x.spool = s;
	x.to = to;
	r = export_each(&x, cli->all ? NULL : &id);
	if (r == -EEXIST)
		return cli_fail(cli, CLI_NOTHING,
				"files of that name are there already; choose an empty directory "
				"with --to");
	if (r < 0)
		return cli_fail(cli, CLI_NOTHING, "cannot write the messages: %s", strerror(-r));
	return export_print(&x);
}

/* --- rebuild --- */

struct skipped {
	struct cli *cli;
	json_t *ids;
	uint64_t count;
};

static void skipped(void *arg, msg_id id, int error)
{
	struct skipped *k = arg;
	char text[ID_TEXT_LENGTH + 1];

	id_text(id, text);
	k->count++;
	if (k->ids)
		json_array_append_new(k->ids, json_string(text));
	else
		fprintf(k->cli->out, "%s: not taken: %s\n", text, spool_error_text(error));
}

/* Lost with the old spool's damage: what replay could not even count as a message. */
static void skip_lost(struct skipped *k, const struct spool *s)
{
	size_t count;
	const struct fault *f = inspect_faults(s, &count);

	for (size_t i = 0; i < count; i++)
		if (f[i].type && (f[i].loss == LOSS_MESSAGE || f[i].loss == LOSS_BODY))
			skipped(k, f[i].id, -EBADMSG);
}

static int give(int dir, const char *name, const struct stat *owner)
{
	return fchownat(dir, name, owner->st_uid, owner->st_gid, AT_SYMLINK_NOFOLLOW) < 0 ? -errno
											  : 0;
}

struct giving {
	int dir;
	const struct stat *owner;
};

static int give_one(void *arg, const char *name)
{
	const struct giving *g = arg;

	return give(g->dir, name, g->owner);
}

/* root rebuilds, locumd's user reads: the new spool belongs to whom the old one belonged. */
static int give_away(const char *dir, const struct stat *owner)
{
	static const char *const parts[] = { ".", "queue", "held", "big" };
	_cleanup_(closep) int root = sys_open_dir(dir);
	int r = root < 0 ? root : 0;

	if (owner->st_uid == geteuid())
		return 0;
	for (size_t i = 0; i < ELEMENTS(parts) && r == 0; i++) {
		_cleanup_(closep) int part = sys_open_at(root, parts[i], O_RDONLY | O_DIRECTORY, 0);
		struct giving g = { part, owner };

		r = part < 0 ? part : sys_list_dir(part, give_one, &g);
		if (r == 0)
			r = give(part, ".", owner);
	}
	return r;
}

static int rebuild_print(struct cli *cli, struct skipped *k, uint64_t taken)
{
	json_t *o;

	if (!cli->json) {
		fprintf(cli->out,
			"%llu messages are in %s, which is whole; %llu could not be taken\n",
			(unsigned long long)taken, cli->to, (unsigned long long)k->count);
		return k->count ? CLI_NOTHING : CLI_OK;
	}
	o = json_object();
	json_object_set_new(o, "taken", js_number(taken));
	json_object_set_new(o, "skipped", k->ids);
	return js_print(cli, o) == CLI_OK && k->count == 0 ? CLI_OK : CLI_NOTHING;
}

/* What was written is read again before it is praised. */
static bool is_whole(const char *dir, uint64_t messages)
{
	_cleanup_(spool_closep) struct spool *s = NULL;
	struct inspect_totals t;
	size_t faults;

	if (inspect_open(dir, true, &s) < 0)
		return false;
	inspect_count(s, &t);
	inspect_faults(s, &faults);
	return faults == 0 && t.messages == messages;
}

int cmd_spool_rebuild(struct cli *cli)
{
	_cleanup_(spool_closep) struct spool *s = NULL;
	const char *dir = offline_dir(cli, 0);
	struct skipped k = { .cli = cli };
	struct stat owner;
	uint64_t taken = 0;
	int r;

	if (!dir)
		return CLI_CONFIG;
	if (!cli->to)
		return cli_fail(cli, CLI_USAGE,
				"where to? usage: locum spool rebuild [DIR] --to NEWDIR");
	r = offline_open(cli, dir, true, &s);
	if (r != CLI_OK)
		return r;
	k.ids = cli->json ? json_array() : NULL;
	skip_lost(&k, s);
	r = stat(dir, &owner) < 0 ? -errno : inspect_rebuild(s, cli->to, skipped, &k, &taken);
	if (r == 0)
		r = give_away(cli->to, &owner);
	if (r == 0 && !is_whole(cli->to, taken))
		r = -EBADMSG;
	if (r == 0)
		return rebuild_print(cli, &k, taken);
	json_decref(k.ids);
	if (r == -EEXIST)
		return cli_fail(cli, CLI_USAGE, "--to %s: it is there and not empty", cli->to);
	return cli_fail(cli, CLI_NOTHING, "%s: %s; remove it and try again", cli->to,
			spool_error_text(r));
}
