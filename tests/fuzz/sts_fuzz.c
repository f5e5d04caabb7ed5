/*
 * sts: hostile bytes as the record and as the policy of MTA-STS. What is taken is bounded and well formed, and a policy
 * allows no host by accident.
 */
#include "smtp/sts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct sts_policy p;
	char id[STS_ID_SIZE];
	str text = str_mem(data, size), body;

	if (sts_read_record(text, id))
		must(id[0] && strlen(id) < STS_ID_SIZE && str_find(text, str_of(id)) >= 0);
	if (sts_read_response(text, &body) == 0)
		must(body.n == 0 || (body.p >= text.p && body.p + body.n <= text.p + text.n));
	if (sts_read_policy(text, &p) < 0)
		return 0;
	must(p.mx_count <= STS_MX_MAX && p.max_age_seconds <= STS_AGE_MAX_SECONDS);
	must(p.mode == STS_NONE || p.mx_count > 0);
	must(!sts_allows(&p, STR("")));
	for (size_t i = 0; i < p.mx_count; i++) {
		must(str_find(text, str_of(p.mx[i])) >= 0);
		must(strchr(p.mx[i], '*') ? p.mx[i][0] == '*' : sts_allows(&p, str_of(p.mx[i])));
	}
	return 0;
}
