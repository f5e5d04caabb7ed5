/*
 * doctor_primary: a primary that is being examined, for the files that do it. One session; the connection has the
 * limits of doctor_primary.c and ends with d->ends.
 */
#pragma once

#include "cli/doctor.h"
#include "proc/smtpout/conn.h"

struct primary {
	struct doctor *d;
	struct conn *conn; /* NULL: none */
	char host[DNS_NAME_SIZE], address[ADDR_TEXT_SIZE];
	bool tls_failed;
};

/* What EHLO said: size, evidence, extensions. */
void primary_judge_offers(struct primary *p);
/* The certificate that STARTTLS showed, or that there was none. */
void primary_judge_tls(struct task *tk, struct primary *p);
/* Postmaster, and a mailbox that cannot exist. */
void primary_ask_recipients(struct task *tk, struct primary *p);
