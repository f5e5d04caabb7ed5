#include "cli/client.h"

#include "base/cleanup.h"
#include "cli/format.h"
#include "conf/conf.h"
#include "ipc/ipc.h"

#include <poll.h>
#include <sys/un.h>

void answers_done(struct answers *a)
{
	for (size_t i = 0; i < a->packet_count; i++)
		locum__packet__free_unpacked(a->packet[i], NULL);
	free(a->packet);
	free(a->row);
	if (a->fd >= 0)
		sys_close(a->fd);
	*a = (struct answers)ANSWERS_NONE;
}

static int fail_connect(struct cli *cli, const char *path, int r)
{
	if (r == -EACCES || r == -EPERM)
		return cli_fail(
			cli, CLI_REFUSED,
			"%s: permission denied; run as root or as the user that locumd runs as",
			path);
	if (r == -EAGAIN)
		return cli_fail(cli, CLI_AWAY, "%s: locumd is too busy to answer; try again", path);
	return cli_fail(cli, CLI_AWAY,
			"%s: %s; is locumd running, and with this configuration (--config)?", path,
			strerror(-r));
}

static int connect_control(struct cli *cli, int *ret_fd)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_cleanup_(buf_done) struct buf dir, error;
	_cleanup_(closep) int fd = -1;
	int r;

	buf_init(&dir, sizeof(address.sun_path));
	buf_init(&error, 1024);
	if (conf_read_state_dir(cli->config, &dir, &error) < 0)
		return cli_fail(cli, CLI_CONFIG, "%.*s", STR_ARG(buf_str(&error)));
	snprintf(address.sun_path, sizeof(address.sun_path), "%.*s/control.sock",
		 STR_ARG(buf_str(&dir)));
	fd = sys_socket(AF_UNIX, SOCK_SEQPACKET, 0);
	r = fd < 0 ? fd : sys_connect(fd, (struct sockaddr *)&address, sizeof(address));
	if (r < 0)
		return fail_connect(cli, address.sun_path, r);
	*ret_fd = TAKE_FD(fd);
	return CLI_OK;
}

static void *grow(void *array, size_t count, size_t element_bytes)
{
	if (count & (count - 1))
		return array;
	return reallocarray(array, count ? 2 * count : 1, element_bytes);
}

int client_merge(Locum__MessageRow *to, Locum__MessageRow *from)
{
	size_t count = to->n_recipients + from->n_recipients;
	Locum__RecipientRow **all;

	if (from->n_recipients == 0)
		return 0;
	all = reallocarray(to->recipients, count, sizeof(*all));
	if (!all)
		return -ENOMEM;
	memcpy(all + to->n_recipients, from->recipients, from->n_recipients * sizeof(*all));
	to->recipients = all;
	to->n_recipients = count;
	from->n_recipients = 0;
	return 0;
}

/* A message of many recipients comes in several rows: its first row gets the recipients of all. */
static bool is_continued(const struct answers *a, const Locum__Answer *answer)
{
	const Locum__MessageRow *first = a->row_count ? a->row[a->row_count - 1]->message : NULL;

	return first && answer->message &&
	       str_eq(str_bytes(first->id), str_bytes(answer->message->id));
}

/* Takes the packet over. */
static int keep(struct answers *a, struct ipc_message *m)
{
	Locum__Packet **packets = grow(a->packet, a->packet_count, sizeof(*packets));
	Locum__Answer **rows, *answer = m->packet->answer;

	if (!packets)
		return -ENOMEM;
	a->packet = packets;
	a->packet[a->packet_count++] = TAKE(m->packet);
	if (a->fd < 0)
		a->fd = ipc_take_fd(m, 0);
	if (answer->last) {
		a->last = answer;
		return 0;
	}
	if (is_continued(a, answer))
		return client_merge(a->row[a->row_count - 1]->message, answer->message);
	rows = grow(a->row, a->row_count, sizeof(*rows));
	if (!rows)
		return -ENOMEM;
	a->row = rows;
	a->row[a->row_count++] = answer;
	return 0;
}

static int receive_one(struct cli *cli, int fd, struct answers *a)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	_cleanup_(ipc_message_done) struct ipc_message m = { 0 };
	int r = poll(&p, 1, (int)(cli->answer_timeout / NSEC_MS));

	if (r == 0)
		return -ETIMEDOUT;
	r = ipc_recv_blocking(fd, LOCUM__PROCESS__SPOOLD, &m);
	return r < 0 ? r : keep(a, &m);
}

static int fail_talk(struct cli *cli, bool nothing_came, int r)
{
	bool gone = r == -EPIPE || r == -ECONNRESET;
	char span[FORMAT_SIZE];

	if (gone && nothing_came)
		return cli_fail(cli, CLI_AWAY,
				"locumd closed the connection without an answer; look at its log");
	if (gone)
		return cli_fail(
			cli, CLI_AWAY,
			"the connection broke in mid-answer; look at locumd's log, then try again");
	if (r == -ETIMEDOUT)
		return cli_fail(cli, CLI_AWAY, "no answer within %s; look at locumd's log",
				format_span(cli->answer_timeout, span));
	return cli_fail(cli, CLI_AWAY, "cannot talk to locumd: %s; is it of the same version?",
			strerror(-r));
}

int client_ask(struct cli *cli, const Locum__Command *command, struct answers *a)
{
	_cleanup_(closep) int fd = -1;
	size_t packets_before = a->packet_count;
	int r = connect_control(cli, &fd);

	if (r != CLI_OK)
		return r;
	IPC_PACKET(packet, COMMAND, command, (Locum__Command *)command);
	packet.call = 1;
	a->last = NULL;
	r = ipc_send_blocking(fd, &packet);
	/* A refusal may have been said before our question arrived: read it all the same. */
	if (r == -EPIPE || r == -ECONNRESET)
		r = 0;
	while (r == 0 && !a->last)
		r = receive_one(cli, fd, a);
	if (r < 0)
		return fail_talk(cli, a->packet_count == packets_before, r);
	must(a->last);
	if (*a->last->error)
		return cli_fail(cli, a->last->exit ? a->last->exit : cli->refusal, "%s",
				a->last->error);
	return CLI_OK;
}

/* --- arguments --- */

int client_set_id(struct cli *cli, Locum__Command *command, size_t n)
{
	str text = str_of(cli->args[n]);
	msg_id *id = ARENA_NEW(&cli->arena, msg_id);

	if (!id || id_parse(text, id) < 0)
		return cli_fail(cli, CLI_USAGE,
				"\"%s\" is not a message id; it has 26 letters and digits, and "
				"`locum queue` "
				"lists them",
				cli->args[n]);
	command->id = (ProtobufCBinaryData){ .len = sizeof(id->byte), .data = id->byte };
	return CLI_OK;
}

static bool is_domain(str text)
{
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] <= ' ' || text.p[i] > '~' || strchr("@/<>\"", text.p[i]))
			return false;
	return text.n > 0 && text.n <= 253;
}

int client_set_target(struct cli *cli, Locum__Command *command, size_t n)
{
	str text = str_of(cli->args[n]);
	msg_id id;

	if (id_parse(text, &id) == 0)
		return client_set_id(cli, command, n);
	if (!is_domain(text))
		return cli_fail(
			cli, CLI_USAGE,
			"\"%s\" is neither a message id (26 letters and digits) nor a domain",
			cli->args[n]);
	command->domain = cli->args[n];
	return CLI_OK;
}

const char *client_id_text(ProtobufCBinaryData bytes, char text[static ID_TEXT_LENGTH + 1])
{
	msg_id id;

	if (bytes.len != sizeof(id.byte))
		return memcpy(text, "?", 2);
	memcpy(id.byte, bytes.data, sizeof(id.byte));
	id_text(id, text);
	return text;
}
