#include "cli/offline.h"

#include "base/cleanup.h"
#include "conf/conf.h"
#include "task/sys.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define PAYLOAD_BYTES_MAX ((size_t)4 << 20)

const char *offline_dir(struct cli *cli, size_t n)
{
	_cleanup_(buf_done) struct buf dir, error;
	const char *path;

	buf_init(&dir, 4096);
	buf_init(&error, 1024);
	if (n < cli->arg_count)
		return cli->args[n];
	if (conf_read_state_dir(cli->config, &dir, &error) < 0) {
		cli_fail(cli, CLI_CONFIG, "%.*s; or name the spool's directory",
			 STR_ARG(buf_str(&error)));
		return NULL;
	}
	path = arena_sprintf(&cli->arena, "%.*s/spool", STR_ARG(buf_str(&dir)));
	if (!path)
		cli_fail(cli, CLI_NOTHING, "out of memory");
	return path;
}

/* A line of /proc/locks: "1: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF". */
static bool lock_line(const char *line, const struct stat *st, unsigned *ret_pid)
{
	unsigned major_of, minor_of;
	uint64_t inode;

	return sscanf(line, "%*u: FLOCK ADVISORY WRITE %u %x:%x:%" SCNu64, ret_pid, &major_of,
		      &minor_of, &inode) == 4 &&
	       makedev(major_of, minor_of) == st->st_dev && inode == st->st_ino;
}

unsigned offline_owner(const char *dir)
{
	char path[1024], line[256];
	unsigned pid, owner = 0;
	struct stat st;
	FILE *f;

	snprintf(path, sizeof(path), "%s/lock", dir);
	f = stat(path, &st) < 0 ? NULL : fopen("/proc/locks", "re");
	while (f && !owner && fgets(line, sizeof(line), f))
		if (lock_line(line, &st, &pid))
			owner = pid;
	if (f)
		fclose(f);
	return owner;
}

int offline_open(struct cli *cli, const char *dir, bool lock, struct spool **ret_spool)
{
	int r = inspect_open(dir, lock, ret_spool);

	if (r >= 0)
		return CLI_OK;
	if (r == -EWOULDBLOCK)
		return cli_fail(cli, CLI_REFUSED,
				"%s: the spool is in use by process %u; stop locumd first", dir,
				offline_owner(dir));
	if (r == -EACCES || r == -EPERM)
		return cli_fail(cli, CLI_REFUSED,
				"%s: permission denied; run as root or as the user that locumd "
				"runs as",
				dir);
	if (r == -ENOENT)
		return cli_fail(cli, CLI_USAGE,
				"%s: there is no spool; name its directory, or the configuration "
				"with --config",
				dir);
	return cli_fail(cli, CLI_NOTHING, "%s: %s", dir, spool_error_text(r));
}

/* --- one message --- */

void message_row_freep(Locum__MessageRow **row)
{
	if (*row)
		locum__message_row__free_unpacked(*row, NULL);
	*row = NULL;
}

static bool set_text(char **to, const char *text)
{
	if (*to != protobuf_c_empty_string)
		free(*to);
	*to = strdup(text);
	return *to != NULL;
}

static bool set_bytes(ProtobufCBinaryData *to, const void *p, size_t n)
{
	to->data = malloc(n + 1);
	to->len = to->data ? n : 0;
	if (to->data && n)
		memcpy(to->data, p, n);
	return to->data != NULL;
}

static int add_recipient(Locum__MessageRow *row, const Locum__Recipient *recipient,
			 const Locum__StoredRecipient *stored)
{
	Locum__RecipientRow *r = malloc(sizeof(*r));

	if (!r)
		return -ENOMEM;
	locum__recipient_row__init(r);
	row->recipients[row->n_recipients++] = r;
	r->state = stored ? stored->state : LOCUM__MESSAGE_STATE__MESSAGE_QUEUED;
	r->attempts = stored ? stored->attempts : 0;
	r->ambiguous = stored && stored->ambiguous;
	return set_bytes(&r->address, recipient->address.data, recipient->address.len) &&
			       set_text(&r->domain, recipient->domain) &&
			       set_text(&r->reply, stored ? stored->reply : "")
		       ? 0
		       : -ENOMEM;
}

/* As spoold sees a message: it waits while a recipient does. */
static Locum__MessageState whole_state(const Locum__MessageRow *row)
{
	static const Locum__MessageState order[] = {
		LOCUM__MESSAGE_STATE__MESSAGE_QUEUED,
		LOCUM__MESSAGE_STATE__MESSAGE_HELD,
		LOCUM__MESSAGE_STATE__MESSAGE_PARKED,
	};

	for (size_t k = 0; k < ELEMENTS(order); k++) {
		for (size_t i = 0; i < row->n_recipients; i++) {
			must(row->recipients[i]);
			if (row->recipients[i]->state == order[k])
				return order[k];
		}
	}
	return row->n_recipients ? LOCUM__MESSAGE_STATE__MESSAGE_DELIVERED
				 : LOCUM__MESSAGE_STATE__MESSAGE_NONE;
}

static int row_fill(Locum__MessageRow *row, const Locum__Envelope *e,
		    const Locum__StoredState *state)
{
	/* Another message's state would name other recipients. */
	bool fits = state && state->n_recipients == e->n_recipients;
	int r = 0;

	row->recipients = calloc(e->n_recipients + 1, sizeof(*row->recipients));
	if (!row->recipients)
		return -ENOMEM;
	for (size_t i = 0; i < e->n_recipients && r == 0; i++)
		r = add_recipient(row, e->recipients[i], fits ? state->recipients[i] : NULL);
	row->arrived_wall = e->arrived_wall;
	row->state = whole_state(row);
	if (r == 0 && !set_bytes(&row->reverse_path, e->reverse_path.data, e->reverse_path.len))
		r = -ENOMEM;
	if (r == 0 && e->client && !set_text(&row->client, e->client->address))
		r = -ENOMEM;
	return r;
}

static void envelope_freep(Locum__Envelope **e)
{
	if (*e)
		locum__envelope__free_unpacked(*e, NULL);
}

static void state_freep(Locum__StoredState **s)
{
	if (*s)
		locum__stored_state__free_unpacked(*s, NULL);
}

int offline_row(struct spool *s, msg_id id, struct inspect_message *ret_message,
		Locum__MessageRow **ret_row)
{
	_cleanup_(message_row_freep) Locum__MessageRow *row = malloc(sizeof(*row));
	_cleanup_(buf_done) struct buf envelope, state;
	_cleanup_(envelope_freep) Locum__Envelope *e = NULL;
	_cleanup_(state_freep) Locum__StoredState *stored = NULL;
	int r;

	buf_init(&envelope, PAYLOAD_BYTES_MAX);
	buf_init(&state, PAYLOAD_BYTES_MAX);
	if (!row)
		return -ENOMEM;
	locum__message_row__init(row);
	if (!set_bytes(&row->id, id.byte, sizeof(id.byte)))
		return -ENOMEM;
	*ret_message = (struct inspect_message){ 0 };
	r = inspect_message(s, id, ret_message, &envelope);
	row->bytes = ret_message->body_bytes;
	row->arrived_wall = ret_message->written_wall;
	if (r == 0)
		e = locum__envelope__unpack(NULL, envelope.n, (const uint8_t *)envelope.p);
	if (spool_read_state(s, id, &state) == 0 && state.n > 0)
		stored = locum__stored_state__unpack(NULL, state.n, (const uint8_t *)state.p);
	if (!e)
		r = set_text(&row->text, "its envelope cannot be read") ? 0 : -ENOMEM;
	else
		r = row_fill(row, e, stored);
	if (r == 0)
		*ret_row = TAKE(row);
	return r;
}
