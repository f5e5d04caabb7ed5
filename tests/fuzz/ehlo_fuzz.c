/* ehlo: any reply at all can be read as an answer to EHLO, and says nothing that its text does not.
 * */
#include "smtp/ehlo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reply r;
	struct ehlo e;
	size_t used;

	reply_init(&r);
	if (size > 0 && reply_feed(&r, str_mem(data, size), &used) == 1) {
		ehlo_parse(&r, &e);
		must(e.size_bytes == 0 || ehlo_offers(&e, EHLO_SIZE));
		must(e.size_bytes <= INT64_MAX);
		must(e.xclient == 0 || ehlo_offers(&e, EHLO_XCLIENT));
		must(e.xforward == 0 || ehlo_offers(&e, EHLO_XFORWARD));
		must((e.recipients_max | e.transactions_max | e.recipient_domains_max) == 0 ||
		     ehlo_offers(&e, EHLO_LIMITS));
		must(e.recipients_max <= EHLO_LIMIT_MAX && e.transactions_max <= EHLO_LIMIT_MAX &&
		     e.recipient_domains_max <= EHLO_LIMIT_MAX);
		must(e.offers == 0 || r.lines > 1);
	}
	reply_done(&r);
	return 0;
}
