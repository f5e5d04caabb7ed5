/*
 * dot_out: a message body as DATA wants it (RFC 5321 §4.5.2): a dot more before a line that begins
 * with one, and ".CRLF" at the end. Pure, streaming, without copying: it cuts the input into pieces
 * to be sent one after the other as they are. Nothing but the dots is added, so signatures over the
 * body survive.
 *
 * The only line end is CRLF. A bare CR or LF is what a laxer server might read as one, and behind
 * it a hidden end of DATA (CVE-2023-51764). dot_in never lets one into the spool, so meeting one
 * here means that the bytes are not those that were stored: -EBADMSG, no more of it is sent, and
 * the caller drops the connection.
 */
#pragma once

#include "base/str.h"

struct dot_out {
	bool line_start; /* the next byte begins a line */
	bool after_cr;   /* a CR came last: LF must follow */
};

/* The body's first byte begins a line: a header of ours, or nothing, came before it. */
void dot_out_init(struct dot_out *d);
/* The next piece of *in to send, *in advanced. 1: *ret_piece is not empty; 0: *in is used up;
 * -EBADMSG. */
int dot_out_next(struct dot_out *d, str *in, str *ret_piece);
/* What ends DATA, CRLF first when the body's last line lacks it. 0, or -EBADMSG: it ends in a bare
 * CR. */
int dot_out_end(const struct dot_out *d, str *ret_piece);
