/*
 * received: our Received header, RFC 5321 §4.4, made at hand-over from what the envelope recorded, so that
 * the stored body stays as it came:
 *
 *	Received: from HELO (NAME [192.0.2.1])
 *		by HOSTNAME (Locum) with ESMTPS id ULID
 *		(TLSv1.3 TLS_AES_256_GCM_SHA384)
 *		for <recipient>; Tue, 24 Nov 2026 06:24:00 +0000
 *
 * When several recipients of one domain go in one transaction the comment `(for DOMAIN)` stands in place of
 * the for-clause: none of them may read the others' addresses. trace.h reads both forms back.
 *
 * Pure. Lines of at most 78 columns, as far as a single word fits. Everything the peer chose (HELO, names)
 * is cleaned: it can end neither the line nor a comment.
 */
#pragma once

#include "base/addr.h"
#include "base/buf.h"
#include "base/id.h"

/* An upper bound for what received_format adds. */
#define RECEIVED_MAX 2048

struct received {
	str helo;    /* empty: none was said */
	str name;    /* forward-confirmed reverse name; empty: none */
	str address; /* textual IP */
	bool esmtp;
	bool smtputf8; /* the message came with SMTPUTF8: "with UTF8SMTP" (RFC 6531 §4.3), and the recipient may be UTF-8 */
	str tls_version; /* empty: plaintext */
	str tls_cipher;
	str hostname; /* our name */
	msg_id id;
	str recipient; /* the single recipient without <>, or empty: then `domain` */
	str domain;
	nsec arrived_wall;
};

/* Appends the header with its final CRLF. 0 or the buffer's error. */
int received_format(const struct received *r, struct buf *to);

#define SMTP_DATE_SIZE 40
/* "Tue, 24 Nov 2026 06:24:00 +0000", RFC 5322 §3.3. */
str smtp_date(nsec at_wall, char text[static SMTP_DATE_SIZE]);
