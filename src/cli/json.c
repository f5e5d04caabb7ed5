#include "cli/json.h"

#include "base/cleanup.h"
#include "cli/format.h"
#include "cli/words.h"

#define TEXT_BYTES_MAX ((size_t)1 << 20)

json_t *js_text(str text)
{
	_cleanup_(buf_done) struct buf clean;
	uint32_t code;
	size_t bytes;
	int r = 0;

	buf_init(&clean, 4 * TEXT_BYTES_MAX);
	text = str_first(text, TEXT_BYTES_MAX);
	for (; text.n && r == 0; text = str_from(text, bytes)) {
		if (format_utf8(text, &code, &bytes)) {
			r = buf_add(&clean, str_first(text, bytes));
		} else {
			bytes = 1;
			r = buf_addf(&clean, "\\x%02x", (uint8_t)text.p[0]);
		}
	}
	return r < 0 ? NULL : json_stringn(clean.n ? clean.p : "", clean.n);
}

json_t *js_bytes(ProtobufCBinaryData bytes)
{
	return js_text(str_bytes(bytes));
}

json_t *js_time(nsec at_wall)
{
	char text[FORMAT_SIZE];

	return at_wall > 0 ? json_string(format_time_exact(at_wall, text)) : json_null();
}

json_t *js_id(ProtobufCBinaryData id)
{
	char text[ID_TEXT_LENGTH + 1];

	return json_string(client_id_text(id, text));
}

json_t *js_number(uint64_t number)
{
	return json_integer((json_int_t)MIN(number, (uint64_t)INT64_MAX));
}

static json_t *js_recipient(const Locum__RecipientRow *r)
{
	json_t *o = json_object();

	json_object_set_new(o, "address", js_bytes(r->address));
	json_object_set_new(o, "domain", js_text(str_of(r->domain)));
	json_object_set_new(o, "state", json_string(word_message(r->state)));
	json_object_set_new(o, "reply", js_text(str_of(r->reply)));
	json_object_set_new(o, "ambiguous", json_boolean(r->ambiguous));
	json_object_set_new(o, "attempts", js_number(r->attempts));
	json_object_set_new(o, "next_try", js_time(r->next_try_wall));
	return o;
}

json_t *js_message(const Locum__MessageRow *m)
{
	json_t *o = json_object(), *recipients = json_array();

	json_object_set_new(o, "id", js_id(m->id));
	json_object_set_new(o, "state", json_string(word_message(m->state)));
	json_object_set_new(o, "text", js_text(str_of(m->text)));
	json_object_set_new(o, "arrived", js_time(m->arrived_wall));
	json_object_set_new(o, "bytes", js_number(m->bytes));
	json_object_set_new(o, "reverse_path", js_bytes(m->reverse_path));
	json_object_set_new(o, "client", js_text(str_of(m->client)));
	for (size_t i = 0; i < m->n_recipients; i++)
		json_array_append_new(recipients, js_recipient(m->recipients[i]));
	json_object_set_new(o, "recipients", recipients);
	return o;
}

json_t *js_event(const Locum__EventRow *e)
{
	json_t *o = json_object();

	json_object_set_new(o, "at", js_time(e->at_wall));
	json_object_set_new(o, "event", js_text(str_of(e->event)));
	json_object_set_new(o, "recipient",
			    e->recipient.len ? js_bytes(e->recipient) : json_null());
	json_object_set_new(o, "text", js_text(str_of(e->text)));
	return o;
}

static json_t *js_client(const Locum__Client *c)
{
	json_t *o = json_object();

	json_object_set_new(o, "address", js_text(str_of(c->address)));
	json_object_set_new(o, "port", js_number(c->port));
	json_object_set_new(o, "name", *c->name ? js_text(str_of(c->name)) : json_null());
	json_object_set_new(o, "helo", js_bytes(c->helo));
	json_object_set_new(o, "esmtp", json_boolean(c->esmtp));
	json_object_set_new(o, "tls_version",
			    *c->tls_version ? js_text(str_of(c->tls_version)) : json_null());
	json_object_set_new(o, "tls_cipher",
			    *c->tls_cipher ? js_text(str_of(c->tls_cipher)) : json_null());
	json_object_set_new(o, "listener", js_text(str_of(c->listener)));
	json_object_set_new(o, "told_by", *c->told_by ? js_text(str_of(c->told_by)) : json_null());
	json_object_set_new(o, "login", *c->login ? js_text(str_of(c->login)) : json_null());
	json_object_set_new(o, "trusted", json_boolean(c->trusted));
	return o;
}

static json_t *js_envelope_recipients(const Locum__Envelope *e)
{
	json_t *all = json_array();

	for (size_t i = 0; i < e->n_recipients; i++) {
		json_t *o = json_object();

		json_object_set_new(o, "address", js_bytes(e->recipients[i]->address));
		json_object_set_new(o, "domain", js_text(str_of(e->recipients[i]->domain)));
		json_object_set_new(o, "primary",
				    json_string(word_primary(e->recipients[i]->primary)));
		json_object_set_new(o, "notify", js_text(str_of(e->recipients[i]->notify)));
		json_object_set_new(o, "orcpt", js_text(str_of(e->recipients[i]->orcpt)));
		json_array_append_new(all, o);
	}
	return all;
}

static json_t *js_symbols(const Locum__Envelope *e)
{
	json_t *all = json_array();

	for (size_t i = 0; i < e->n_symbols; i++) {
		json_t *o = json_object();

		json_object_set_new(o, "name", js_text(str_of(e->symbols[i]->name)));
		json_object_set_new(o, "score", json_real(e->symbols[i]->score));
		json_object_set_new(o, "text", js_text(str_of(e->symbols[i]->text)));
		json_array_append_new(all, o);
	}
	return all;
}

static json_t *js_forwarded(const Locum__Envelope *e)
{
	json_t *all = json_array();

	for (size_t i = 0; i < e->n_forwarded; i++)
		json_array_append_new(all, js_text(str_of(e->forwarded[i])));
	return all;
}

json_t *js_envelope(ProtobufCBinaryData packed)
{
	Locum__Envelope *e = locum__envelope__unpack(NULL, packed.len, packed.data);
	json_t *o;

	if (!e)
		return json_null();
	o = json_object();
	json_object_set_new(o, "id", js_id(e->id));
	json_object_set_new(o, "reverse_path", js_bytes(e->reverse_path));
	json_object_set_new(o, "recipients", js_envelope_recipients(e));
	json_object_set_new(o, "client", e->client ? js_client(e->client) : json_null());
	json_object_set_new(o, "arrived", js_time(e->arrived_wall));
	json_object_set_new(o, "hostname", js_text(str_of(e->hostname)));
	json_object_set_new(o, "body_8bitmime", json_boolean(e->body_8bitmime));
	json_object_set_new(o, "body_binarymime", json_boolean(e->body_binarymime));
	json_object_set_new(o, "smtputf8", json_boolean(e->smtputf8));
	json_object_set_new(o, "requiretls", json_boolean(e->requiretls));
	json_object_set_new(o, "dsn_ret", js_text(str_of(e->dsn_ret)));
	json_object_set_new(o, "dsn_envid", js_text(str_of(e->dsn_envid)));
	json_object_set_new(o, "body_bytes", js_number(e->body_bytes));
	json_object_set_new(o, "symbols", js_symbols(e));
	json_object_set_new(o, "forwarded", js_forwarded(e));
	locum__envelope__free_unpacked(e, NULL);
	return o;
}

int js_print(struct cli *cli, json_t *document)
{
	int r = document ? json_dumpf(document, cli->out, JSON_INDENT(2)) : -1;

	json_decref(document);
	if (r < 0) {
		fprintf(cli->err, "locum: cannot write the JSON document: out of memory or disk\n");
		return CLI_NOTHING;
	}
	fputc('\n', cli->out);
	return CLI_OK;
}

void js_print_error(struct cli *cli, str text, int status)
{
	json_t *o = json_object();

	json_object_set_new(o, "error", js_text(text));
	json_object_set_new(o, "exit", json_integer(status));
	js_print(cli, o);
}

int js_print_version(struct cli *cli, const char *version)
{
	json_t *o = json_object();

	json_object_set_new(o, "version", json_string(version));
	return js_print(cli, o);
}

int js_print_count(struct cli *cli, uint64_t count)
{
	json_t *o = json_object();

	json_object_set_new(o, "command", json_string(cli->command));
	json_object_set_new(o, "count", js_number(count));
	return js_print(cli, o);
}
