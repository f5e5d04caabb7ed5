/*
 * idna: a domain name as people write it (U-labels, UTF-8) and as DNS holds it (A-labels, "xn--…"): IDNA2008,
 * RFC 5891, with the mapping of UTS #46, non-transitional, by libidn2. RFC 6531 §3.3 lets the former
 * stand in mailboxes; the latter is what configuration, DNS and comparison use.
 *
 * Pure: libidn2 reads no locale here. Bounded: at most SMTP_DOMAIN_MAX octets go in and come out. A name whose
 * structure the mapping would change (a dot that is not ".") is refused.
 */
#pragma once

#include "smtp/path.h"

#define IDNA_SIZE (SMTP_DOMAIN_MAX + 1)

/* Lower case ASCII, in `text`, NUL-terminated. -EINVAL: not UTF-8, or no name that IDNA allows; -EMSGSIZE: too long;
 * -ENOMEM. A name that is ASCII already is only checked by the grammar of domains (smtp_domain_valid). */
int idna_to_ascii(str domain, char text[static IDNA_SIZE], str *ret_ascii);
/* Every A-label decoded, other labels as they are but in lower case. Errors as above; -EMSGSIZE also where the
 * decoded name has more than SMTP_DOMAIN_MAX octets. */
int idna_to_utf8(str domain, char text[static IDNA_SIZE], str *ret_utf8);
