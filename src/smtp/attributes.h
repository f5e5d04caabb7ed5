/*
 * attributes: what XCLIENT and XFORWARD say of a client, `NAME=value` one behind the other, values in xtext
 * (Postfix XCLIENT_README and XFORWARD_README). Read from a command's argument, and written as commands
 * of at most 512 octets (SMTP_LINE_MAX).
 *
 * A value is what its attribute allows, at most 255 octets, well-formed UTF-8 without controls; or it is not known:
 * [UNAVAILABLE], [TEMPUNAVAIL]. Whoever writes one into a header cleans it (received does).
 *
 * Pure. Bounded by the line: a struct holds what one command said; the session adds up.
 */
#pragma once

#include "base/addr.h"
#include "smtp/command.h"

enum smtp_attribute {
	ATTRIBUTE_NAME,  /* reverse name */
	ATTRIBUTE_ADDR,  /* "192.0.2.1", "IPV6:2001:db8::1"; XFORWARD: anything */
	ATTRIBUTE_PORT,  /* 1..65535 */
	ATTRIBUTE_PROTO, /* "SMTP", "ESMTP"; XFORWARD: any name of up to 64 octets */
	ATTRIBUTE_HELO,
	ATTRIBUTE_LOGIN,    /* XCLIENT only, as the next two */
	ATTRIBUTE_DESTADDR, /* as ADDR */
	ATTRIBUTE_DESTPORT,
	ATTRIBUTE_SOURCE, /* XFORWARD only, as the next: "LOCAL" or "REMOTE" */
	ATTRIBUTE_IDENT,  /* the message's name in a log */
	ATTRIBUTE_COUNT,
};

/* In a set of attributes, as in struct ehlo. */
#define ATTRIBUTE_BIT(attribute) (1u << (attribute))
#define ATTRIBUTE_VALUE_MAX 255

enum smtp_attribute_state {
	ATTRIBUTE_ABSENT,      /* not said: stays what it was */
	ATTRIBUTE_UNAVAILABLE, /* not known */
	ATTRIBUTE_TEMPUNAVAIL, /* not known now: a lookup found trouble */
	ATTRIBUTE_GIVEN,
};

struct smtp_attributes {
	struct {
		enum smtp_attribute_state state;
		str value; /* decoded */
	} of[ATTRIBUTE_COUNT];
};

/* `NAME`, upper case. */
str attribute_name(enum smtp_attribute attribute);
/* The attribute of that name in any case that the verb (SMTP_XCLIENT or SMTP_XFORWARD) takes; -1: none. */
int attribute_find(str name, enum smtp_verb verb);
/* What stands behind the verb in EHLO: "NAME ADDR PORT …". */
const char *attributes_offered(enum smtp_verb verb);

/* Reads a command's argument. The values are views into `text`, where they are decoded. -EINVAL: no attribute list, a name
 * that the verb does not take or that stands twice, a value that the attribute does not allow. */
int attributes_parse(str argument, enum smtp_verb verb, char text[static SMTP_LINE_MAX],
		     struct smtp_attributes *ret);
/* The address of ADDR or DESTADDR, with the port given beside it or 0. False: none is given (or, with XFORWARD, it is
 * no IP address). */
bool attributes_address(const struct smtp_attributes *a, enum smtp_attribute attribute,
			struct addr *ret);

#define ATTRIBUTE_ADDR_SIZE (ADDR_TEXT_SIZE + 8)
/* An address as ADDR wants it. */
str attribute_addr_text(const struct addr *a, char text[static ATTRIBUTE_ADDR_SIZE]);
/* Appends as many commands with their CRLF as are needed to say those of `a` that are not absent and in the set
 * `taken` (struct ehlo); a value that no command has room for is said to be [UNAVAILABLE]. The number of
 * commands, or the buffer's error, and nothing is appended then. */
int attributes_write(const struct smtp_attributes *a, enum smtp_verb verb, unsigned taken,
		     struct buf *to);
