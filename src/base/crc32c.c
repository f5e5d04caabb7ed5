#include "base/crc32c.h"

#define POLYNOMIAL 0x82f63b78 /* 0x1EDC6F41, bits reversed */

static uint32_t table[256];

uint32_t crc32c_portable(uint32_t crc, str data)
{
	crc = ~crc;
	if (!table[1]) {
		for (uint32_t i = 0; i < 256; i++) {
			uint32_t c = i;

			for (int bit = 0; bit < 8; bit++)
				c = c & 1 ? c >> 1 ^ POLYNOMIAL : c >> 1;
			table[i] = c;
		}
	}
	for (size_t i = 0; i < data.n; i++)
		crc = table[(crc ^ (uint8_t)data.p[i]) & 0xff] ^ crc >> 8;
	return ~crc;
}

#if defined(__x86_64__)
#include <immintrin.h>

#define LANE ((size_t)512)

/* What LANE and twice LANE bytes behind it make of a checksum is its product with these: x to the power of
 * eight times their number, modulo the polynomial; less 33, because reducing 64 bits with the
 * instruction multiplies by x^32, and the carry-less product of reversed numbers by x. */
#define AFTER_LANE 0xdd7e3b0c
#define AFTER_TWO_LANES 0x170076fa

__attribute__((target("sse4.2"))) static inline uint64_t crc_word(uint64_t crc, const char *at)
{
	uint64_t word;

	memcpy(&word, at, sizeof(word));
	return _mm_crc32_u64(crc, word);
}

__attribute__((target("sse4.2,pclmul"))) static inline uint64_t product(uint64_t crc, uint32_t by)
{
	__m128i a = _mm_cvtsi64_si128((long long)crc), b = _mm_cvtsi64_si128(by);

	return (uint64_t)_mm_cvtsi128_si64(_mm_clmulepi64_si128(a, b, 0));
}

/* Three lanes side by side: the instruction takes three cycles, but one can begin in each. */
__attribute__((target("sse4.2,pclmul"))) static uint64_t crc_lanes(uint64_t crc, const char *at)
{
	uint64_t b = 0, c = 0;

	for (size_t i = 0; i < LANE; i += sizeof(uint64_t)) {
		crc = crc_word(crc, at + i);
		b = crc_word(b, at + i + LANE);
		c = crc_word(c, at + i + 2 * LANE);
	}
	return _mm_crc32_u64(0, product(crc, AFTER_TWO_LANES) ^ product(b, AFTER_LANE)) ^ c;
}

__attribute__((target("sse4.2,pclmul"))) static uint32_t crc_instruction(uint32_t crc, str data)
{
	uint64_t wide = ~crc;

	for (; data.n >= 3 * LANE; data = str_from(data, 3 * LANE))
		wide = crc_lanes(wide, data.p);
	for (; data.n >= sizeof(uint64_t); data = str_from(data, sizeof(uint64_t)))
		wide = crc_word(wide, data.p);
	crc = (uint32_t)wide;
	for (size_t i = 0; i < data.n; i++)
		crc = _mm_crc32_u8(crc, (uint8_t)data.p[i]);
	return ~crc;
}
#endif

uint32_t crc32c(uint32_t crc, str data)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul"))
		return crc_instruction(crc, data);
#endif
	return crc32c_portable(crc, data);
}
