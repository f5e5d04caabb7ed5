/*
 * arrival: from the accepted connection to our greeting: what a proxy says about the client (PROXY protocol), TLS
 * from the first byte, and the wait in which a client that speaks first shows that it is none of SMTP.
 */
#pragma once

#include "proc/smtpin/session.h"

/* 0: greet; else the session ends, with *ret_last_words. */
int session_arrive(struct task *tk, struct session *s, enum answer *ret_last_words);
/* The client is a trusted one, or no more: after its address or its certificate changed. */
void session_judge_trust(struct session *s);
