/*
 * command_line: the next command of a client, read within one absolute deadline however the bytes come.
 */
#pragma once

#include "proc/smtpin/session.h"

/* *ret_line is the line without its CRLF; it is consumed with the *ret_bytes that the caller passes to
 * stream_consume when it is done with it. -EMSGSIZE: the line was too long and is gone; -E2BIG: it went
 * on past every bound; -ENODATA: end of file; -ETIMEDOUT and others from the stream. */
int command_line_read(struct task *tk, struct session *s, nsec deadline, str *ret_line,
		      size_t *ret_bytes);
