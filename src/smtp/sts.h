/*
 * sts: the two texts of MTA-STS (RFC 8461): the TXT record that says that a domain has a policy (§3.1), and the policy
 * itself (§3.2); and which hosts a policy allows (§4.1). Pure; the input is hostile and bounded: 64 KiB, 32 patterns. A
 * policy with more patterns is none, since a part of it would allow too little.
 */
#pragma once

#include "base/str.h"

#define STS_ID_SIZE 33 /* 32 letters and digits, and a NUL */
#define STS_POLICY_BYTES_MAX ((size_t)64 * 1024)
#define STS_MX_MAX 32
#define STS_NAME_SIZE 254
#define STS_AGE_MAX_SECONDS 31557600 /* a year */

enum sts_mode { STS_NONE, STS_TESTING, STS_ENFORCE };

struct sts_policy {
	enum sts_mode mode;
	uint32_t max_age_seconds;
	size_t mx_count;
	char mx[STS_MX_MAX][STS_NAME_SIZE]; /* "mail.example.com" or "*.example.com" */
};

/* One TXT record, its strings joined: false where it is not of MTA-STS, or has no id. */
bool sts_read_record(str text, char ret_id[static STS_ID_SIZE]);
/* The whole answer to an HTTP/1.0 request: 0 with the body; -ENOENT for anything but 200, -EBADMSG for what is cut, not
 * text/plain or no HTTP. */
int sts_read_response(str bytes, str *ret_body);
/* 0 or -EINVAL. */
int sts_read_policy(str text, struct sts_policy *ret);
/* Does one of the patterns stand for this host? */
bool sts_allows(const struct sts_policy *policy, str host);
