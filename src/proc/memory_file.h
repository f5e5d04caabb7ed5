/*
 * memory_file: bytes that one process hands to another whole, as a sealed memory file: nobody can change them below the
 * reader's feet. They may be keys: whoever has them in a buffer wipes it. Nothing here parks or logs.
 */
#pragma once

#include "base/buf.h"

/* One with these bytes; the file is the caller's. 0 or a negative errno. */
int memory_file_make(const char *name, str bytes, int *ret_fd);
/* What is in fd, which stays the caller's. *ret is initialised here, and the caller's to free in any case. -EPROTO: not
 * sealed, nothing in it, or more than bytes_max. */
int memory_file_read(int fd, size_t bytes_max, struct buf *ret);
