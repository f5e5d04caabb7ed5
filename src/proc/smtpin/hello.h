/*
 * hello: who we say we are and what we offer: greeting, HELO, EHLO, STARTTLS; and the dialect that follows from
 * it, by which commands are read.
 */
#pragma once

#include "proc/smtpin/session.h"

int hello_greet(struct task *tk, struct session *s);
/* The reply to HELO or EHLO. */
int hello_write(struct task *tk, struct session *s);
/* How its commands are read: what this client may use of what is not offered to everybody. */
struct smtp_dialect hello_dialect(const struct session *s);
/* "220 Go ahead", handshake, and nothing of what was said before counts. */
int hello_start_tls(struct task *tk, struct session *s);

/* TLS from the first byte. */
int hello_accept_tls(struct task *tk, struct session *s);

enum answer do_hello(struct session *s, const struct smtp_command *c);
enum answer do_starttls(struct session *s, const struct smtp_command *c);
