#include "proc/spoold/tls_reports.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "proc/spoold/spoold.h"
#include "task/sys.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define KEEP_PAUSE (5 * NSEC_S)
#define FILES_AT_ONCE 20        /* every KEEP_PAUSE, but at the end */
#define REST (10 * NSEC_MINUTE) /* after a failure */
#define LIVES_MAX 100           /* files of one domain and day */
#define NAME_SIZE 320
#define DATE_SIZE 16
#define TEMPORARY "new.tmp"

static const uint64_t seed[2] = { 0x746c73727074, 1 };

struct domain_report {
	struct map_link link;
	struct tlsrpt counts;
	int64_t day; /* since 1970 */
	nsec start_wall;
	nsec changed_at; /* of the first change that was not written yet; 0: none */
	unsigned number; /* of its file; 0: none was written yet */
	char domain[];
};

void tls_reports_init(struct tls_reports *r)
{
	*r = (struct tls_reports){ .dir = -1, .swept_on = -1 };
	map_init(&r->by_domain);
}

static void forget(struct tls_reports *r, struct domain_report *d)
{
	map_remove(&r->by_domain, &d->link);
	tlsrpt_done(&d->counts);
	free(d);
}

void tls_reports_done(struct tls_reports *r)
{
	struct map_link *link;

	while ((link = map_walk(&r->by_domain, NULL)))
		forget(r, CONTAINER(link, struct domain_report, link));
	map_done(&r->by_domain);
	if (r->dir >= 0)
		sys_close(r->dir);
	r->dir = -1;
}

/* --- files --- */

static void date_text(int64_t day, char ret[static DATE_SIZE])
{
	time_t seconds = (time_t)(day * 86400);
	struct tm tm;

	ret[0] = '\0';
	if (gmtime_r(&seconds, &tm))
		strftime(ret, DATE_SIZE, "%Y-%m-%d", &tm);
}

/* "example.org-2026-01-31.json", of a later life "example.org-2026-01-31.2.json" */
static void file_name(const struct domain_report *d, unsigned number, char ret[static NAME_SIZE])
{
	char date[DATE_SIZE], more[16] = "";

	date_text(d->day, date);
	if (number > 1)
		snprintf(more, sizeof(more), ".%u", number);
	snprintf(ret, NAME_SIZE, "%s-%s%s.json", d->domain, date, more);
}

static bool exists(int dir, const char *name)
{
	int fd = sys_open_at(dir, name, O_RDONLY, 0);

	if (fd >= 0)
		sys_close(fd);
	return fd != -ENOENT;
}

/* By the descriptor of the directory above: the sandbox leaves no path to it. */
static int open_directory(struct spoold *sp, bool make)
{
	int above = sp->known.dir, r;

	if (sp->tls_reports.dir >= 0)
		return 0;
	if (above < 0)
		return -EBADF;
	r = make ? sys_mkdir_at(above, TLS_REPORTS_DIR, 0700) : 0;
	if (r < 0 && r != -EEXIST)
		return r;
	r = sys_open_at(above, TLS_REPORTS_DIR, O_RDONLY | O_DIRECTORY, 0);
	if (r < 0)
		return r;
	sp->tls_reports.dir = r;
	return 0;
}

static int choose_number(const struct tls_reports *r, struct domain_report *d)
{
	char name[NAME_SIZE];

	for (unsigned n = 1; d->number == 0 && n <= LIVES_MAX; n++) {
		file_name(d, n, name);
		if (!exists(r->dir, name))
			d->number = n;
	}
	return d->number ? 0 : -EEXIST;
}

/* Under another name first: who reads it sees the old file or the new one. */
static int replace(int dir, const char *name, str bytes)
{
	int fd, r;

	sys_unlink_at(dir, TEMPORARY);
	fd = sys_open_at(dir, TEMPORARY, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd < 0)
		return fd;
	r = sys_write_at(fd, bytes, 0);
	sys_close(fd);
	return r < 0 ? r : sys_rename_at(dir, TEMPORARY, name);
}

static int render(const struct spoold *sp, const struct domain_report *d, struct buf *to)
{
	char contact[NAME_SIZE], id[2 * NAME_SIZE], name[NAME_SIZE];
	str host = sp->conf->hostname;
	struct tlsrpt_head head = { .organization = host, .start_wall = d->start_wall };

	file_name(d, d->number, name);
	snprintf(contact, sizeof(contact), "postmaster@%.*s", STR_ARG(host));
	snprintf(id, sizeof(id), "%.*s@%.*s", (int)(strlen(name) - strlen(".json")), name,
		 STR_ARG(host));
	head.contact = str_of(contact);
	head.report_id = str_of(id);
	head.end_wall = MIN(sys_now_wall(), (d->day + 1) * NSEC_DAY - NSEC_S);
	return tlsrpt_render(&d->counts, &head, to);
}

static int save(struct spoold *sp, struct domain_report *d)
{
	_cleanup_(buf_done) struct buf file = { 0 };
	char name[NAME_SIZE];
	int r;

	if (!sp->accepting)
		return -ENOSPC; /* the reserve is for mail */
	r = open_directory(sp, true);
	if (r == 0)
		r = choose_number(&sp->tls_reports, d);
	if (r < 0)
		return r;
	buf_init(&file, TLSRPT_JSON_MAX);
	r = render(sp, d, &file);
	file_name(d, d->number, name);
	return r < 0 ? r : replace(sp->tls_reports.dir, name, buf_str(&file));
}

/* False: it may be better later, for all of them. */
static bool save_one(struct spoold *sp, struct domain_report *d)
{
	int r = save(sp, d);

	if (r < 0)
		log_warn("tls_report.not_saved", K_Z("domain", d->domain), K_ERR(r));
	if (r < 0 && r != -EEXIST)
		return false;
	d->changed_at = 0;
	return true;
}

void tls_reports_save(struct spoold *sp, nsec before)
{
	struct tls_reports *reports = &sp->tls_reports;
	struct map *map = &reports->by_domain;
	unsigned saved = 0;

	if (before < reports->rest_until)
		return;
	for (struct map_link *link = map_walk(map, NULL); link; link = map_walk(map, link)) {
		struct domain_report *d = CONTAINER(link, struct domain_report, link);

		if (!d->changed_at || d->changed_at > before)
			continue;
		if (!save_one(sp, d)) {
			reports->rest_until = sys_now() + REST;
			return;
		}
		if (before != NEVER && ++saved >= FILES_AT_ONCE)
			return;
	}
}

/* --- counting --- */

static struct domain_report *find(const struct spoold *sp, str domain)
{
	MAP_FIND (&sp->tls_reports.by_domain, str_hash(domain, seed, true), struct domain_report,
		  link, d)
		if (str_case_eq(str_of(d->domain), domain))
			return d;
	return NULL;
}

static struct domain_report *new_report(struct spoold *sp, str domain)
{
	struct domain_report *d = calloc(1, sizeof(*d) + domain.n + 1);

	if (!d)
		return NULL;
	memcpy(d->domain, domain.p, domain.n);
	tlsrpt_init(&d->counts);
	if (map_insert(&sp->tls_reports.by_domain, &d->link, str_hash(domain, seed, true)) < 0) {
		free(d);
		return NULL;
	}
	return d;
}

/* The one of this day; that of another is written once more. */
static struct domain_report *report_of(struct spoold *sp, str domain, nsec now_wall)
{
	struct domain_report *d = find(sp, domain);
	int64_t day = now_wall / NSEC_DAY;

	if (d && d->day != day) {
		if (d->changed_at)
			save_one(sp, d);
		forget(&sp->tls_reports, d);
		d = NULL;
	}
	if (d)
		return d;
	d = new_report(sp, domain);
	if (d) {
		d->day = day;
		d->start_wall = MAX(day * NSEC_DAY, MIN(sp->started_wall, now_wall));
	}
	return d;
}

static size_t take_strings(str *to, const ProtobufCBinaryData *from, size_t count)
{
	count = MIN(count, (size_t)TLSRPT_STRINGS_MAX);
	for (size_t i = 0; i < count; i++)
		to[i] = str_mem(from[i].data, from[i].len);
	return count;
}

void tls_reports_count(struct spoold *sp, const Locum__TlsSession *m, nsec now_wall)
{
	const struct conf_domain *configured = conf_domain(sp->conf, str_of(m->domain));
	struct tlsrpt_session s = {
		.type = (enum tlsrpt_type)m->policy_type,
		.policy_domain = str_of(m->policy_domain),
		.result = (enum tlsrpt_result)m->result,
		.host = str_mem(m->host.data, m->host.len),
		.address = str_of(m->address),
		.reason = str_mem(m->reason.data, m->reason.len),
	};
	struct domain_report *d;

	if (!configured)
		return;
	d = report_of(sp, configured->name, now_wall);
	if (!d)
		return;
	s.text_count = take_strings(s.text, m->policy_text, m->n_policy_text);
	s.mx_count = take_strings(s.mx, m->mx, m->n_mx);
	if (tlsrpt_add(&d->counts, &s) != -EINVAL && !d->changed_at)
		d->changed_at = sys_now();
}

/* --- old ones --- */

bool tls_reports_is_old(str name, int64_t today)
{
	char limit[DATE_SIZE];
	str date;

	if (!str_case_ends(name, STR(".json")))
		return false;
	name.n -= strlen(".json");
	/* A date ends in a digit, a number of a further life is set apart by a dot. */
	for (size_t cut = name.n; cut > 0 && name.n - cut <= 4; cut--) {
		if (name.p[cut - 1] == '.') {
			name.n = cut - 1;
			break;
		}
	}
	if (name.n < 12 || name.p[name.n - 11] != '-')
		return false;
	date = str_from(name, name.n - 10);
	for (size_t i = 0; i < date.n; i++)
		if (i == 4 || i == 7 ? date.p[i] != '-' : date.p[i] < '0' || date.p[i] > '9')
			return false;
	date_text(today - TLS_REPORTS_DAYS, limit);
	return str_cmp(date, str_of(limit)) <= 0;
}

struct sweep {
	int dir;
	int64_t today;
};

static int remove_if_old(void *arg, const char *name)
{
	const struct sweep *s = arg;

	if (tls_reports_is_old(str_of(name), s->today))
		sys_unlink_at(s->dir, name);
	return 0;
}

/* Once a day, and once a life. */
static void sweep(struct spoold *sp)
{
	struct tls_reports *r = &sp->tls_reports;
	struct sweep s = { .today = sys_now_wall() / NSEC_DAY };

	if (r->swept_on == s.today || open_directory(sp, false) < 0)
		return;
	r->swept_on = s.today;
	s.dir = r->dir;
	sys_list_dir(r->dir, remove_if_old, &s);
}

static void forget_other_days(struct spoold *sp)
{
	struct map *map = &sp->tls_reports.by_domain;
	int64_t today = sys_now_wall() / NSEC_DAY;
	struct map_link *next;

	for (struct map_link *link = map_walk(map, NULL); link; link = next) {
		struct domain_report *d = CONTAINER(link, struct domain_report, link);

		next = map_walk(map, link);
		if (d->day != today && !d->changed_at)
			forget(&sp->tls_reports, d);
	}
}

void tls_reports_keeper(struct task *tk, void *arg)
{
	struct spoold *sp = arg;

	while (task_sleep(tk, KEEP_PAUSE) == 0) {
		tls_reports_save(sp, task_now(tk) - TLS_REPORTS_SAVE_AFTER);
		forget_other_days(sp);
		sweep(sp);
	}
}
