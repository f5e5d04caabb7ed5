/*
 * mail: the decisions between MAIL and the first octet of the message (RFC 5321 §3.3, RFC 3030). None of them
 * waits.
 */
#pragma once

#include "proc/smtpin/directory.h"
#include "proc/smtpin/session.h"

enum answer do_mail(struct session *s, const struct smtp_command *c);
enum answer do_rcpt(struct session *s, const struct smtp_command *c);
enum answer do_data(struct session *s, const struct smtp_command *c);
enum answer do_bdat(struct session *s, const struct smtp_command *c);

/* The recipient that was named is one of the message now: the primary said so, or it goes to the spool. */
void mail_take_recipient(struct session *s);
/* It goes to the spool: the one place where one does. The answer to the client; it may wait for somebody who knows
 * more of the recipient. */
enum answer mail_spool_recipient(struct task *tk, struct session *s,
				 char ret_words[static DIRECTORY_WORDS_SIZE]);
/* The primary does not want it: its line in the log. */
void mail_log_refused(struct session *s, const Locum__LiveAnswer *said);

/* The symbol that refuses mail for this forward-path, or -1. */
int mail_refusal(const struct session *s, const struct smtp_path *path);
/* Behind ANSWER_SCREENED: the reply that names the symbol, and its line in the log. */
int mail_write_refusal(struct task *tk, struct session *s, int symbol);
