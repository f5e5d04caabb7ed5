/*
 * tls_reports: the reports of TLS (RFC 8460 §4.4): smtpout says what each new connection came to, here it is counted by
 * configured domain and UTC day, and written to tls-reports/DOMAIN-YYYY-MM-DD.json beside the spool. Nothing sends them.
 *
 * A life of spoold begins files of its own (DOMAIN-YYYY-MM-DD.2.json): date-range says which part of the day each covers.
 * A file is replaced as a whole, some minutes after a change and at the end; what was counted since is lost with a crash.
 * They are worth no sync, and no byte of the spool's
 * reserve: below it none is written. Those of days more than TLS_REPORTS_DAYS ago are removed.
 *
 * Bounded: one report a configured domain (smtp/tlsrpt.h bounds each), a few files written a second.
 */
#pragma once

#include "base/map.h"
#include "ipc/locum.pb-c.h"
#include "smtp/tlsrpt.h"
#include "task/task.h"

#define TLS_REPORTS_DAYS 30
#define TLS_REPORTS_SAVE_AFTER (2 * NSEC_MINUTE)
#define TLS_REPORTS_DIR "tls-reports"

struct spoold;

struct tls_reports {
	struct map by_domain;
	int dir;          /* -1: not opened, since there was nothing to write yet */
	nsec rest_until;  /* there was no room to write */
	int64_t swept_on; /* the day on which old files were last looked for */
};

void tls_reports_init(struct tls_reports *r);
void tls_reports_done(struct tls_reports *r);
void tls_reports_count(struct spoold *sp, const Locum__TlsSession *m, nsec now_wall);
/* Writes those that changed and were last begun to change before that moment (monotonic); NEVER: all. */
void tls_reports_save(struct spoold *sp, nsec before);
/* Is the file of a day that is TLS_REPORTS_DAYS before `today` (days since 1970), or older? False for other names. */
bool tls_reports_is_old(str name, int64_t today);
/* Writes and removes. */
task_fn tls_reports_keeper;
