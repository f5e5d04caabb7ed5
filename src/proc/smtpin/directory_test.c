#include "proc/smtpin/directory.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define UP LOCUM__PRIMARY_STATE__PRIMARY_UP
#define DOWN LOCUM__PRIMARY_STATE__PRIMARY_UNREACHABLE
#define NO_WORD LOCUM__RECIPIENT_WORD__RECIPIENT_NO_WORD
#define KNOWN LOCUM__RECIPIENT_WORD__RECIPIENT_KNOWN
#define REFUSED LOCUM__RECIPIENT_WORD__RECIPIENT_REFUSED

static const struct {
	const char *requirement;
	enum conf_unknown unknown;
	enum conf_acceptance acceptance;
	Locum__PrimaryState primary;
	Locum__RecipientWord word;
	bool covered, takes_all;
	enum directory_verdict verdict;
} cases[] = {
	{ "known is taken", UNKNOWN_REFUSE, ACCEPT_LIVE, DOWN, KNOWN, true, false, DIRECTORY_TAKE },
	{ "refused is refused", UNKNOWN_ACCEPT, ACCEPT_LIVE, DOWN, REFUSED, false, false,
	  DIRECTORY_NO_USER },
	{ "refused is refused while the primary is up", UNKNOWN_ACCEPT, ACCEPT_QUEUE, UP, REFUSED,
	  false, false, DIRECTORY_NO_USER },
	{ "refused is refused where all others are taken", UNKNOWN_AUTO, ACCEPT_LIVE, DOWN, REFUSED,
	  true, true, DIRECTORY_NO_USER },
	{ "an empty directory takes everybody", UNKNOWN_AUTO, ACCEPT_LIVE, DOWN, NO_WORD, false,
	  false, DIRECTORY_TAKE },
	{ "unknown waits where the domain is covered", UNKNOWN_AUTO, ACCEPT_LIVE, DOWN, NO_WORD,
	  true, false, DIRECTORY_LATER },
	{ "who takes everybody would take this one too", UNKNOWN_AUTO, ACCEPT_LIVE, DOWN, NO_WORD,
	  true, true, DIRECTORY_TAKE },
	{ "unknown = accept", UNKNOWN_ACCEPT, ACCEPT_LIVE, DOWN, NO_WORD, true, false,
	  DIRECTORY_TAKE },
	{ "unknown = defer", UNKNOWN_DEFER, ACCEPT_LIVE, DOWN, NO_WORD, false, true,
	  DIRECTORY_LATER },
	{ "unknown = refuse", UNKNOWN_REFUSE, ACCEPT_LIVE, DOWN, NO_WORD, false, false,
	  DIRECTORY_REFUSE },
	{ "queued for a primary that is up: it says itself", UNKNOWN_REFUSE, ACCEPT_QUEUE, UP,
	  NO_WORD, true, false, DIRECTORY_TAKE },
	{ "live, and it would not answer: as if it were away", UNKNOWN_AUTO, ACCEPT_LIVE, UP,
	  NO_WORD, true, false, DIRECTORY_LATER },
};

static void the_directory_decides(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		struct conf_domain d = { .unknown = cases[i].unknown,
					 .acceptance = cases[i].acceptance };
		Locum__RecipientFacts facts = LOCUM__RECIPIENT_FACTS__INIT;
		enum directory_verdict v;

		facts.word = cases[i].word;
		facts.covered = cases[i].covered;
		facts.takes_all = cases[i].takes_all;
		v = directory_decide(&d, cases[i].primary, &facts);
		if (v != cases[i].verdict)
			fail_msg("%s: %d", cases[i].requirement, v);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_directory_decides),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
