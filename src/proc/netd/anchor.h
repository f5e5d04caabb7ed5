/*
 * anchor: the DNSSEC trust anchors, read once before the sandbox closes and kept as text, since a
 * resolver may have to be made again when no file can be opened any more. Accepts master-file
 * syntax (RFC 1035 §5.1) as in Debian's root.key: DS and DNSKEY records, comments, parentheses.
 * Pure but for anchor_read.
 */
#pragma once

#include "base/buf.h"

#define ANCHOR_BYTES_MAX (64 * 1024)
#define ANCHOR_SYSTEM_PATH "/usr/share/dns/root.key" /* Debian's dns-root-data */

/* Reads the file and appends its anchors, one a line, each line ended by a NUL. Their number,
 * -ENOENT, -EINVAL when it holds none, or another negative errno. */
int anchor_read(const char *path, struct buf *to);
/* The same from text. */
int anchor_split(str text, struct buf *to);
