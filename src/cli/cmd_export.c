/*
 * locum export ID: the message as the primary would get it: our Received header, then the body verbatim.
 */
#include "base/cleanup.h"
#include "cli/client.h"
#include "cli/json.h"
#include "smtp/received.h"
#include "task/sys.h"

static const Locum__Answer *find_body(const struct answers *a)
{
	for (size_t i = 0; i < a->row_count; i++)
		if (a->row[i]->envelope.len)
			return a->row[i];
	return a->last->envelope.len ? a->last : NULL;
}

static void envelope_freep(Locum__Envelope **e)
{
	if (*e)
		locum__envelope__free_unpacked(*e, NULL);
}

static int write_received(struct cli *cli, const Locum__Envelope *e)
{
	_cleanup_(buf_done) struct buf header;
	const Locum__Client *c = e->client;
	struct received received;
	int r;

	if (!c || e->id.len != sizeof(received.id.byte) || e->n_recipients == 0)
		return -EBADMSG;
	received = (struct received){
		.helo = str_bytes(c->helo),
		.name = str_of(c->name),
		.address = str_of(c->address),
		.esmtp = c->esmtp,
		.smtputf8 = e->smtputf8,
		.tls_version = str_of(c->tls_version),
		.tls_cipher = str_of(c->tls_cipher),
		.hostname = str_of(e->hostname),
		.recipient = e->n_recipients == 1 ? str_bytes(e->recipients[0]->address) : STR(""),
		.domain = str_of(e->recipients[0]->domain),
		.arrived_wall = e->arrived_wall,
	};
	memcpy(received.id.byte, e->id.data, sizeof(received.id.byte));
	buf_init(&header, RECEIVED_MAX);
	r = received_format(&received, &header);
	if (r == 0)
		fwrite(header.p, 1, header.n, cli->out);
	return r;
}

static int write_body(struct cli *cli, int fd, uint64_t offset, uint64_t bytes)
{
	_cleanup_(freep) char *piece = malloc(65536);

	if (!piece)
		return -ENOMEM;
	while (bytes > 0) {
		ssize_t got = sys_read_at(fd, piece, MIN(bytes, (uint64_t)65536), offset);

		if (got < 0)
			return (int)got;
		if (got == 0)
			return -EBADMSG; /* shorter than promised */
		if (fwrite(piece, 1, (size_t)got, cli->out) != (size_t)got)
			return 0; /* cli_main() reports it */
		offset += (uint64_t)got;
		bytes -= (uint64_t)got;
	}
	return 0;
}

int cmd_export(struct cli *cli)
{
	_cleanup_(answers_done) struct answers a = ANSWERS_NONE;
	_cleanup_(envelope_freep) Locum__Envelope *e = NULL;
	Locum__Command command = LOCUM__COMMAND__INIT;
	const Locum__Answer *body;
	int r;

	if (cli->json && !cli->envelope)
		return cli_fail(cli, CLI_USAGE,
				"a message is not JSON; --envelope prints its envelope so");
	command.verb = LOCUM__VERB__EXPORT;
	r = client_set_id(cli, &command, 0);
	if (r == CLI_OK)
		r = client_ask(cli, &command, &a);
	if (r != CLI_OK)
		return r;
	body = find_body(&a);
	if (body)
		e = locum__envelope__unpack(NULL, body->envelope.len, body->envelope.data);
	if (!e)
		return cli_fail(cli, CLI_NOTHING, "there is no message %s", cli->args[0]);
	if (cli->envelope)
		return js_print(cli, js_envelope(body->envelope));
	if (a.fd < 0)
		return cli_fail(cli, CLI_NOTHING, "locumd sent no body; look at its log");
	r = cli->raw ? 0 : write_received(cli, e);
	if (r == 0)
		r = write_body(cli, a.fd, body->body_offset, body->body_bytes);
	if (r < 0)
		return cli_fail(
			cli, CLI_NOTHING,
			"the message could not be read whole: %s; what was printed is not complete",
			strerror(-r));
	return CLI_OK;
}
