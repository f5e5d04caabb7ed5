/*
 * CRC-32C (Castagnoli, as in RFC 3720 §12.1 and appendix B.4), by the SSE4.2 instruction where the
 * processor has it. Start with 0 and feed pieces in order: crc32c(crc32c(0, a), b) == crc32c(0, ab).
 */
#pragma once

#include "base/str.h"

uint32_t crc32c(uint32_t crc, str data);
/* The same from a table, some thirty times slower: where there is no instruction, and to test against. */
uint32_t crc32c_portable(uint32_t crc, str data);
