/*
 * What the running locumd thinks of the same primary. That it does not run is a finding like another.
 */
#include "base/cleanup.h"
#include "cli/client.h"
#include "cli/doctor.h"
#include "cli/format.h"
#include "cli/words.h"

#define DAEMON_WAIT (3 * NSEC_S)

static bool has_domain(const Locum__DestinationRow *row, str domain)
{
	for (size_t i = 0; i < row->n_domains; i++)
		if (str_case_eq(str_of(row->domains[i]), domain))
			return true;
	return false;
}

static void judge(struct doctor *d, const Locum__DestinationRow *row)
{
	bool up = row->state == LOCUM__PRIMARY_STATE__PRIMARY_UP ||
		  row->state == LOCUM__PRIMARY_STATE__PRIMARY_UNKNOWN;
	bool agrees = up == d->primary_answers;
	char since[FORMAT_SIZE];

	const char *when = "";

	if (row->state != LOCUM__PRIMARY_STATE__PRIMARY_UNKNOWN)
		when = DOCTOR_TEXT(d, " since %s",
				   format_when(row->since_wall, d->cli->now_wall, since));
	doctor_say(
		d, SECTION_DAEMON, agrees ? VERDICT_OK : VERDICT_WARN, "locumd",
		agrees ? NULL
		       : DOCTOR_TEXT(d,
				     "locumd and this command disagree: `locum flush %.*s` makes "
				     "it look again at once",
				     STR_ARG(d->domain->name)),
		"%s is %s%s%s%s; waiting for it: %llu", row->destination, word_primary(row->state),
		when, *row->text ? ": " : "", row->text, (unsigned long long)row->queued);
}

/* One question, its errors into a text of our own instead of the command's output. */
static int ask(struct doctor *d, struct answers *a, char **ret_error)
{
	Locum__Command command = LOCUM__COMMAND__INIT;
	struct cli quiet = *d->cli;
	size_t n;
	int r;

	quiet.json = false;
	quiet.answer_timeout = MIN(quiet.answer_timeout, DAEMON_WAIT);
	quiet.out = quiet.err = open_memstream(ret_error, &n);
	if (!quiet.err)
		return CLI_NOTHING;
	command.verb = LOCUM__VERB__STATUS;
	r = client_ask(&quiet, &command, a);
	fclose(quiet.err);
	d->cli->arena = quiet.arena; /* it may have grown */
	return r;
}

void doctor_daemon(struct doctor *d)
{
	_cleanup_(answers_done) struct answers a = ANSWERS_NONE;
	_cleanup_(freep) char *error = NULL;

	if (ask(d, &a, &error) != CLI_OK) {
		doctor_say(d, SECTION_DAEMON, VERDICT_WARN, "locumd", NULL, "%.*s",
			   STR_ARG(str_trim(str_of(error ? error : "no memory"))));
		return;
	}
	for (size_t i = 0; i < a.row_count; i++)
		if (a.row[i]->destination && has_domain(a.row[i]->destination, d->domain->name))
			return judge(d, a.row[i]->destination);
	doctor_say(d, SECTION_DAEMON, VERDICT_OK, "locumd", NULL,
		   "has had no mail for it, and does not know its primary");
}
