/*
 * locum doctor DOMAIN: the parts that ask the network, as tasks beside each other within DOCTOR_WAIT, then what the
 * running locumd says, then the report. Nothing here needs locumd.
 */
#include "base/cleanup.h"
#include "cli/doctor.h"
#include "proc/netd/anchor.h"

static int read_anchors(const struct conf *c, struct buf *anchors)
{
	_cleanup_(freep) char *path = NULL;

	/* As netd: to named servers, perhaps of a private tree, the root's key may not fit. */
	if (!c->dns.trust_anchor.n && c->dns.server_count)
		return 0;
	path = c->dns.trust_anchor.n ? strndup(c->dns.trust_anchor.p, c->dns.trust_anchor.n)
				     : strdup(ANCHOR_SYSTEM_PATH);
	if (!path)
		return -ENOMEM;
	return anchor_read(path, anchors);
}

static int start_resolver(struct task *tk, struct doctor *d)
{
	_cleanup_(buf_done) struct buf anchors;
	struct resolver_options options = {
		.servers = d->conf->dns.servers,
		.server_count = d->conf->dns.server_count,
	};
	int r;

	buf_init(&anchors, ANCHOR_BYTES_MAX);
	r = read_anchors(d->conf, &anchors);
	if (r < 0)
		doctor_say(d, SECTION_DNS, VERDICT_WARN, "trust anchor",
			   "install dns-root-data, or name a file with dns { trust_anchor }",
			   "cannot be read: nothing that DNS says is verified here");
	options.anchors = buf_str(&anchors);
	return resolver_new(tk, &options, &d->resolver);
}

static void dns_task(struct task *tk, void *arg)
{
	doctor_dns(tk, arg);
}

static void primary_task(struct task *tk, void *arg)
{
	doctor_primary(tk, arg);
}

static void ourselves_task(struct task *tk, void *arg)
{
	doctor_ourselves(tk, arg);
}

static void examine(struct task *tk, void *arg)
{
	struct doctor *d = arg;
	struct group parts;
	int r;

	d->ends = task_in(tk, DOCTOR_WAIT);
	r = start_resolver(tk, d);
	if (r < 0) {
		doctor_say(d, SECTION_DNS, VERDICT_WRONG, "resolver", "see dns { }: `locum check`",
			   "cannot be started: %s", strerror(-r));
		return;
	}
	group_init(&parts, task_loop(tk));
	r = task_start(task_loop(tk), &parts, "dns", dns_task, d);
	if (r == 0)
		r = task_start(task_loop(tk), &parts, "primary", primary_task, d);
	if (r == 0)
		r = task_start(task_loop(tk), &parts, "ourselves", ourselves_task, d);
	if (r < 0)
		doctor_say(d, SECTION_DNS, VERDICT_WRONG, "doctor", NULL, "%s", strerror(-r));
	if (group_wait(tk, &parts, d->ends) < 0) {
		group_cancel(&parts);
		group_wait(tk, &parts, NEVER);
	}
	resolver_unref(d->resolver);
	task_yield(tk); /* it ends on the main stack */
}

int doctor_domain(struct cli *cli, struct conf *c, const struct conf_domain *domain)
{
	_cleanup_(freep) struct doctor *d = calloc(1, sizeof(*d));
	_cleanup_(loop_freep) struct loop *loop = NULL;
	int r = d ? loop_new(&loop) : -ENOMEM;

	if (r == 0) {
		d->cli = cli;
		d->conf = c;
		d->domain = domain;
		r = task_start(loop, NULL, "doctor", examine, d);
	}
	if (r == 0)
		r = loop_run(loop);
	if (r < 0)
		return cli_fail(cli, CLI_NOTHING, "%s", strerror(-r));
	doctor_daemon(d);
	return doctor_print(d);
}
