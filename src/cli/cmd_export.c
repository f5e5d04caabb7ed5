/*
 * locum export ID: the message as the primary would get it: our headers, then the body verbatim. The evidence is
 * there only for who may read the key that signs it.
 */
#include "base/cleanup.h"
#include "cli/client.h"
#include "cli/json.h"
#include "smtp/evidence.h"
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

/* --- the evidence, as smtpout makes it (proc/smtpout/headers.c) --- */

static int read_content(int fd, uint64_t offset, uint64_t bytes, struct evidence_digest *d)
{
	_cleanup_(freep) char *piece = malloc(65536);

	while (piece && bytes > 0) {
		ssize_t got = sys_read_at(fd, piece, MIN(bytes, (uint64_t)65536), offset);

		if (got <= 0)
			return got < 0 ? (int)got : -EBADMSG;
		evidence_digest_feed(d, str_mem(piece, (size_t)got));
		offset += (uint64_t)got;
		bytes -= (uint64_t)got;
	}
	return piece ? 0 : -ENOMEM;
}

static int make_content(const struct answers *a, const Locum__Answer *body,
			struct evidence_content *ret)
{
	_cleanup_(evidence_digest_done) struct evidence_digest d = { 0 };
	int r = evidence_digest_init(&d, UINT64_MAX);

	if (r == 0)
		r = read_content(a->fd, body->body_offset, body->body_bytes, &d);
	return r < 0 ? r : evidence_digest_end(&d, ret);
}

static const char *primary_word(const Locum__Recipient *r)
{
	static const char *const words[] = { "unknown", "up", "refusing", "unreachable",
					     "no-route" };

	return r->primary < ELEMENTS(words) ? words[r->primary] : words[0];
}

static int format_evidence(struct cli *cli, const Locum__Envelope *e, const uint8_t *key,
			   const struct evidence_content *content, struct buf *to)
{
	struct evidence_symbol *symbols =
		ARENA_ARRAY(&cli->arena, struct evidence_symbol, e->n_symbols + 1);
	str single = e->n_recipients == 1 ? str_bytes(e->recipients[0]->address) : STR_NONE;
	struct evidence evidence = {
		.arrived_wall = e->arrived_wall,
		.client = str_of(e->client->address),
		.port = e->client->port,
		.name = str_of(e->client->name),
		.helo = str_bytes(e->client->helo),
		.esmtp = e->client->esmtp,
		.tls_version = str_of(e->client->tls_version),
		.tls_cipher = str_of(e->client->tls_cipher),
		.from = str_bytes(e->reverse_path),
		.to = str_is_ascii(single) ? single : STR_NONE,
		.domain = str_of(e->recipients[0]->domain),
		.recipients = e->n_recipients,
		.primary = str_of(primary_word(e->recipients[0])),
		.symbols = symbols,
		.symbol_count = e->n_symbols,
		.content = *content,
	};

	if (!symbols)
		return -ENOMEM;
	for (size_t i = 0; i < e->n_symbols; i++)
		symbols[i] = (struct evidence_symbol){ str_of(e->symbols[i]->name),
						       e->symbols[i]->score };
	memcpy(evidence.id.byte, e->id.data, sizeof(evidence.id.byte));
	return evidence_write(&evidence, key, to);
}

/* After write_received, which looked at the envelope. */
static int write_evidence(struct cli *cli, const struct answers *a, const Locum__Answer *body,
			  const Locum__Envelope *e)
{
	_cleanup_(buf_done) struct buf header;
	struct evidence_content content;
	uint8_t key[EVIDENCE_KEY_BYTES];
	const char *path;
	int r;

	buf_init(&header, EVIDENCE_MAX);
	r = cli_evidence_key(cli, &path, key);
	if (r < 0) {
		fprintf(cli->err, "locum: without " EVIDENCE_NAME ": the key %s: %s\n", path,
			strerror(-r));
		return 0;
	}
	r = make_content(a, body, &content);
	if (r == 0)
		r = format_evidence(cli, e, key, &content, &header);
	explicit_bzero(key, sizeof(key));
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
	if (r == 0 && !cli->raw)
		r = write_evidence(cli, &a, body, e);
	if (r == 0)
		r = write_body(cli, a.fd, body->body_offset, body->body_bytes);
	if (r < 0)
		return cli_fail(
			cli, CLI_NOTHING,
			"the message could not be read whole: %s; what was printed is not complete",
			strerror(-r));
	return CLI_OK;
}
