/*
 * evidence: the digest is the same however the message is cut; whatever is read as a header is read again the
 * same; what a client says of itself is one signed word.
 */
#include "smtp/evidence.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct evidence_content digest(str message, size_t step)
{
	struct evidence_content c;
	struct evidence_digest d;

	must(evidence_digest_init(&d, UINT64_MAX) == 0);
	for (size_t at = 0; at < message.n; at += step)
		evidence_digest_feed(&d, str_first(str_from(message, at), step));
	must(evidence_digest_end(&d, &c) == 0);
	evidence_digest_done(&d);
	return c;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t key[EVIDENCE_KEY_BYTES] = { 7 };
	static struct evidence_words w;
	str in = str_mem(data, size);
	struct evidence_content whole = digest(in, size + 1);
	struct evidence_content cut = digest(in, size ? 1 + data[0] % 16 : 1);
	struct evidence e = { .helo = in, .name = str_from(in, size / 2), .content = whole };
	struct buf b;

	must(memcmp(whole.head, cut.head, sizeof(cut.head)) == 0 &&
	     memcmp(whole.body, cut.body, sizeof(cut.body)) == 0 &&
	     whole.head_bytes == cut.head_bytes);
	if (evidence_parse(in, &w) == 0)
		must(!evidence_signed(&w, key) && evidence_value(&w, "v").n == 1);
	buf_init(&b, EVIDENCE_MAX);
	must(evidence_write(&e, key, &b) == 0);
	must(evidence_parse(str_from(buf_str(&b), strlen(EVIDENCE_NAME ":")), &w) == 0);
	must(evidence_signed(&w, key));
	buf_done(&b);
	return 0;
}
