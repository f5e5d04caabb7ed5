/* proxy: any bytes at all are a header, the beginning of one, or none; a header is bounded, stays one
 * whatever follows it, and is not taken before its end. */
#include "net/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	str input = str_mem(data, size);
	struct proxy_header h, again;
	int r = proxy_parse(input, &h);

	must(r == -EPROTO || (r >= 0 && (size_t)r <= size));
	must(r != 0 || size < PROXY_V2_BYTES_MAX);
	if (r <= 0)
		return 0;
	must(r <= PROXY_V2_BYTES_MAX && (data[0] != 'P' || r <= PROXY_V1_BYTES_MAX));
	must(h.local == (h.client.family == AF_UNSPEC));
	must(h.client.family == AF_UNSPEC || h.client.family == AF_INET ||
	     h.client.family == AF_INET6);
	must(proxy_parse(str_first(input, (size_t)r), &again) == r);
	must(proxy_parse(str_first(input, (size_t)r - 1), &again) == 0);
	return 0;
}
