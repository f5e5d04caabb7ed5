/*
 * The primary as it treats this node: connect, greeting, EHLO, STARTTLS, and what it says to recipients. Asked with
 * the null reverse-path and ended by RSET: nothing is ever sent (RFC 5321 §4.1.1.5). The route, the dialogue and the
 * TLS are those of deliveries.
 */
#include "cli/doctor_primary.h"

#include "base/cleanup.h"
#include "cli/format.h"
#include "net/connect.h"
#include "net/tls.h"
#include "proc/netd/lookup.h"
#include "task/sys.h"

#include <openssl/ssl.h>

#define CONNECT_WAIT (4 * NSEC_S) /* of one address */
#define CONNECTS_MAX 4
#define STEP_WAIT (8 * NSEC_S)

static const struct conn_limits limits = {
	.greeting = 2 * STEP_WAIT, /* some let who does not know them wait */
	.command = STEP_WAIT,
	.tls = STEP_WAIT,
	.data = STEP_WAIT,
	.block = STEP_WAIT,
	.final = STEP_WAIT,
};

/* --- getting there --- */

static const char *say_route(struct doctor *d, const struct route *route)
{
	char why[512];

	route_explain(route, d->domain->name, why, sizeof(why));
	return DOCTOR_TEXT(d, "%s", why);
}

/* 0 with a socket; what failed is told. */
static int connect_route(struct task *tk, struct primary *p, const struct route *route, int *ret_fd)
{
	struct route_try try[ROUTE_ADDRESSES_MAX];
	size_t count = MIN(route_order(route, 0, try), CONNECTS_MAX);
	struct doctor *d = p->d;
	int r = -ENOENT;

	for (size_t i = 0; i < count; i++) {
		const struct addr *a = &route->address[try[i].address];
		nsec started = task_now(tk);
		char took[FORMAT_SIZE];

		str_copy(str_of(route->hop[try[i].hop].host), p->host, sizeof(p->host));
		addr_text(a, p->address);
		r = net_connect(tk, a, MIN(task_in(tk, CONNECT_WAIT), d->ends), ret_fd);
		if (r == 0) {
			snprintf(took, sizeof(took), "%lld ms",
				 (long long)((task_now(tk) - started) / NSEC_MS));
			doctor_say(d, SECTION_PRIMARY, VERDICT_OK, "connect", NULL, "%s (%s) in %s",
				   p->host, p->address, took);
			return 0;
		}
		if (r == -ECANCELED)
			break;
		doctor_say(
			d, SECTION_PRIMARY, i + 1 < count ? VERDICT_WARN : VERDICT_WRONG, "connect",
			"does the host run, does its mail server listen, and do firewalls on both "
			"sides let this node through?",
			"%s (%s): %s", p->host, p->address,
			r == -ETIMEDOUT ? "no answer in time" : strerror(-r));
	}
	return r;
}

/* 0 with p->conn, not yet spoken on. */
static int reach(struct task *tk, struct primary *p)
{
	_cleanup_(route_freep) struct route *route = NULL;
	struct conn_peer peer = { .destination = STR("doctor") };
	_cleanup_(closep) int fd = -1;
	struct doctor *d = p->d;
	int r;

	d->step = "DNS: where is the primary?";
	r = lookup_route(tk, d->resolver, d->conf, d->domain, &route);
	if (r < 0)
		return r;
	if (route->reason != ROUTE_OK) {
		doctor_say(d, SECTION_PRIMARY, VERDICT_WRONG, "route",
			   "nothing can be delivered until this is right", "%s",
			   say_route(d, route));
		return -ENOENT;
	}
	d->step = "connecting";
	r = connect_route(tk, p, route, &fd);
	if (r < 0)
		return r;
	peer.host = str_of(p->host);
	peer.address = str_of(p->address);
	r = conn_new(task_loop(tk), fd, &peer, &p->conn);
	if (r < 0)
		return r;
	TAKE_FD(fd);
	p->conn->ends = d->ends;
	return 0;
}

/* --- greeting, EHLO, STARTTLS --- */

struct trust {
	struct ssl_ctx_st *context;
	int result;
};

/* Encrypts without asking who it is, as deliveries do, but notes whether the world's authorities vouch for it. */
static void make_context(void *arg)
{
	struct trust *t = arg;

	t->result = tls_client_new(STR_NONE, &t->context);
	if (t->result == 0)
		SSL_CTX_set_default_verify_paths(t->context);
}

/* CONN_READY, or what stands in the way was told. */
static bool open_session(struct task *tk, struct primary *p, struct ssl_ctx_st *tls)
{
	struct doctor *d = p->d;
	const struct conn_tls wanted = { .context = tls };
	char name[CONN_HOST_MAX];

	str_copy(d->conf->hostname, name, sizeof(name));
	d->step = "greeting, EHLO, STARTTLS";
	switch (conn_open(tk, p->conn, name, &limits, tls ? &wanted : NULL)) {
	case CONN_READY:
		return true;
	case CONN_REFUSED:
		doctor_say(
			d, SECTION_PRIMARY, VERDICT_WRONG, "smtp",
			"let this node's addresses in: `locum doctor DOMAIN --snippet` prints how",
			"%s", p->conn->why);
		return false;
	case CONN_SILENT:
		doctor_say(d, SECTION_PRIMARY, VERDICT_WRONG, "smtp",
			   "is that a mail server, and does it know this node's addresses?", "%s",
			   p->conn->why);
		return false;
	case CONN_TLS_FAILED:
		p->tls_failed = true;
		doctor_say(
			d, SECTION_PRIMARY, VERDICT_WARN, "tls",
			"mail goes there in plain text until its TLS works: test it with `openssl "
			"s_client -starttls smtp`",
			"%s", p->conn->why);
		return false;
	case CONN_TLS_LACKING: /* only where TLS is demanded */
		break;
	}
	return false;
}

/* As a delivery: without TLS when its TLS is broken. */
static bool begin(struct task *tk, struct primary *p)
{
	struct trust trust = { 0 };
	bool open;

	task_on_main_stack(tk, make_context, &trust);
	open = open_session(tk, p, trust.result == 0 ? trust.context : NULL);
	tls_context_freep(&trust.context);
	if (open || !p->tls_failed)
		return open;
	conn_free(p->conn);
	p->conn = NULL;
	return reach(tk, p) == 0 && open_session(tk, p, NULL);
}

void doctor_primary(struct task *tk, struct doctor *d)
{
	struct primary p = { .d = d };
	int r;

	r = reach(tk, &p);
	if (r == 0 && begin(tk, &p)) {
		d->primary_answers = true;
		primary_judge_offers(&p);
		if (!p.tls_failed)
			primary_judge_tls(tk, &p);
		primary_ask_recipients(tk, &p);
		if (!task_cancelled(tk) && !p.conn->broken) {
			conn_quit(tk, TAKE(p.conn));
		}
	}
	conn_free(p.conn);
	if (task_cancelled(tk) || r == -ECANCELED || task_now(tk) >= d->ends)
		doctor_say(d, SECTION_PRIMARY, VERDICT_WRONG, "time",
			   "this took longer than any primary should",
			   "%lld s were over at this step: %s", (long long)(DOCTOR_WAIT / NSEC_S),
			   d->step);
	else if (r < 0 && r != -ENOENT && d->section[SECTION_PRIMARY].count == 0)
		doctor_say(d, SECTION_PRIMARY, VERDICT_WRONG, "route", NULL, "%s", strerror(-r));
}
