#include "proc/smtpin/settings.h"

#include "base/cleanup.h"
#include "net/tls.h"

static int context_new(const struct conf_listen *l, struct tls_tickets *tickets,
		       struct ssl_ctx_st **ret_context, char *ret_error, size_t error_size)
{
	_cleanup_(freep) struct tls_pair *pairs = calloc(l->certificate_count, sizeof(*pairs));
	struct tls_server of = {
		.pairs = pairs,
		.pair_count = l->certificate_count,
		.client_ca_pem = l->client_ca_pem,
		.tickets = tickets,
	};

	if (!pairs)
		return -ENOMEM;
	for (size_t i = 0; i < l->certificate_count; i++)
		pairs[i] = (struct tls_pair){ l->certificates[i].certificate_pem,
					      l->certificates[i].key_pem };
	return tls_server_new_named(&of, ret_context, ret_error, error_size);
}

int settings_new(struct conf *conf, struct tls_tickets *tickets, struct settings **ret_settings,
		 char *ret_error, size_t error_size)
{
	_cleanup_(settings_unrefp) struct settings *s = calloc(1, sizeof(*s));
	int r;

	snprintf(ret_error, error_size, "out of memory");
	if (!s)
		return -ENOMEM;
	s->refs = 1;
	s->conf = conf_ref(conf);
	s->tls = calloc(conf->listen_count, sizeof(struct ssl_ctx_st *));
	if (!s->tls)
		return -ENOMEM;
	for (size_t i = 0; i < conf->listen_count; i++) {
		const struct conf_listen *l = &conf->listen[i];

		if (l->tls == CONF_TLS_OFF)
			continue;
		r = context_new(l, tickets, &s->tls[i], ret_error, error_size);
		if (r < 0)
			return r;
	}
	*ret_settings = TAKE(s);
	return 0;
}

struct settings *settings_ref(struct settings *s)
{
	must(s->refs > 0);
	s->refs++;
	return s;
}

void settings_unref(struct settings *s)
{
	if (!s)
		return;
	must(s->refs > 0);
	if (--s->refs > 0)
		return;
	for (size_t i = 0; s->tls && i < s->conf->listen_count; i++)
		tls_context_freep(&s->tls[i]);
	free(s->tls);
	conf_unref(s->conf);
	free(s);
}

void settings_unrefp(struct settings **s)
{
	settings_unref(*s);
}

int settings_listen_index(const struct settings *s, str name)
{
	for (size_t i = 0; i < s->conf->listen_count; i++)
		if (str_eq(s->conf->listen[i].name, name))
			return (int)i;
	return -ENOENT;
}
