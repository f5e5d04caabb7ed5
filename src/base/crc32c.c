#include "base/crc32c.h"

#define POLYNOMIAL 0x82f63b78 /* 0x1EDC6F41, bits reversed */

static uint32_t table[256];

static uint32_t crc_table(uint32_t crc, str data)
{
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
	return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc_instruction(uint32_t crc, str data)
{
	uint64_t wide = crc;
	uint64_t word;

	for (; data.n >= sizeof(word); data = str_from(data, sizeof(word))) {
		memcpy(&word, data.p, sizeof(word));
		wide = __builtin_ia32_crc32di(wide, word);
	}
	crc = (uint32_t)wide;
	for (size_t i = 0; i < data.n; i++)
		crc = __builtin_ia32_crc32qi(crc, (uint8_t)data.p[i]);
	return crc;
}
#endif

uint32_t crc32c(uint32_t crc, str data)
{
	crc = ~crc;
#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2"))
		return ~crc_instruction(crc, data);
#endif
	return ~crc_table(crc, data);
}
