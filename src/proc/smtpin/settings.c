#include "proc/smtpin/settings.h"

#include "base/cleanup.h"
#include "net/tls.h"

int settings_new(struct conf *conf, struct settings **ret_settings, char *ret_error,
		 size_t error_size)
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
		r = tls_server_new(l->certificates[0].certificate_pem, l->certificates[0].key_pem,
				   &s->tls[i], ret_error, error_size);
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
