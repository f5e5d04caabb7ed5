#include "smtp/evidence.h"

#include "base/cleanup.h"
#include "smtp/octets.h"
#include "smtp/xtext.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#define COLUMNS_MAX 78
#define SYMBOLS_BYTES 240

/* --- the digest of a message --- */

int evidence_digest_init(struct evidence_digest *d, uint64_t head_max)
{
	*d = (struct evidence_digest){ .head_max = head_max };
	d->head = EVP_MD_CTX_new();
	d->body = EVP_MD_CTX_new();
	if (!d->head || !d->body || EVP_DigestInit_ex(d->head, EVP_sha256(), NULL) != 1 ||
	    EVP_DigestInit_ex(d->body, EVP_sha256(), NULL) != 1)
		return -ENOMEM;
	return 0;
}

void evidence_digest_done(struct evidence_digest *d)
{
	EVP_MD_CTX_free(d->head);
	EVP_MD_CTX_free(d->body);
	*d = (struct evidence_digest){ 0 };
}

static void emit(struct evidence_digest *d, str bytes)
{
	uint64_t counted = bytes.n;

	if (!d->in_body) {
		uint64_t left = d->head_max - MIN(d->head_max, d->head_bytes);

		counted = MIN(left, counted);
		d->head_bytes += bytes.n;
	}
	if (counted &&
	    EVP_DigestUpdate(d->in_body ? d->body : d->head, bytes.p, (size_t)counted) != 1)
		d->failed = true;
}

static void add_content(struct evidence_digest *d, str bytes)
{
	if (bytes.n == 0)
		return;
	emit(d, bytes);
	d->line_bytes += bytes.n;
}

static void end_line(struct evidence_digest *d)
{
	/* The empty line itself belongs to neither. */
	if (!d->in_body && d->line_bytes == 0) {
		d->in_body = true;
		return;
	}
	emit(d, STR("\r\n"));
	d->line_bytes = 0;
}

void evidence_digest_feed(struct evidence_digest *d, str piece)
{
	while (piece.n > 0) {
		const char *lf = memchr(piece.p, '\n', piece.n);
		size_t n = lf ? (size_t)(lf - piece.p) : piece.n;
		str run = str_first(piece, n);

		/* A CR counts once it is known that no LF follows. */
		if (d->cr && n > 0)
			add_content(d, STR("\r"));
		d->cr = n > 0 ? run.p[n - 1] == '\r' : d->cr;
		add_content(d, str_first(run, n - (n > 0 && d->cr)));
		piece = str_from(piece, n);
		if (!lf)
			return;
		piece = str_from(piece, 1);
		d->cr = false;
		end_line(d);
	}
}

int evidence_digest_end(struct evidence_digest *d, struct evidence_content *ret)
{
	if (d->cr)
		add_content(d, STR("\r"));
	if (d->line_bytes > 0)
		end_line(d);
	ret->head_bytes = d->head_bytes;
	if (EVP_DigestFinal_ex(d->head, ret->head, NULL) != 1 ||
	    EVP_DigestFinal_ex(d->body, ret->body, NULL) != 1)
		d->failed = true;
	return d->failed ? -ENOMEM : 0;
}

/* --- writing --- */

static int add_hex(struct buf *to, const uint8_t *bytes, size_t n)
{
	int r = 0;

	for (size_t i = 0; i < n && r >= 0; i++)
		r = buf_addf(to, "%02x", bytes[i]);
	return r;
}

/* ` NAME=value`, or ` NAME-cut=` with as many octets as have room. */
static int add_text(struct buf *to, const char *name, str value)
{
	_cleanup_(buf_done) struct buf coded;
	size_t kept = 0;
	int r = 0;

	buf_init(&coded, EVIDENCE_VALUE_MAX);
	if (value.n == 0)
		return 0;
	while (kept < value.n && r >= 0) {
		r = xtext_encode(str_mem(value.p + kept, 1), &coded);
		kept += r >= 0;
	}
	if (r < 0 && r != -ENOBUFS)
		return r;
	return buf_addf(to, " %s%s=%.*s", name, kept < value.n ? "-cut" : "",
			STR_ARG(buf_str(&coded)));
}

static int add_symbols(struct buf *to, const struct evidence *e)
{
	_cleanup_(buf_done) struct buf list;
	double score = 0;
	size_t listed = 0;
	int r = 0;

	buf_init(&list, SYMBOLS_BYTES);
	for (size_t i = 0; i < e->symbol_count; i++) {
		const struct evidence_symbol *s = &e->symbols[i];
		size_t before = list.n;

		score += s->score;
		if (listed < i)
			continue; /* no room for the one before */
		r = list.n ? buf_add_byte(&list, ',') : 0;
		if (r >= 0)
			r = xtext_encode(s->name, &list);
		if (r >= 0)
			r = buf_addf(&list, ":%g", s->score);
		if (r >= 0)
			listed++;
		else
			list.n = before;
	}
	if (e->symbol_count == 0)
		return 0;
	r = buf_addf(to, " score=%g", score);
	if (r >= 0 && listed > 0)
		r = buf_addf(to, " symbols%s=%.*s", listed < e->symbol_count ? "-cut" : "",
			     STR_ARG(buf_str(&list)));
	return r;
}

static int add_client(struct buf *to, const struct evidence *e)
{
	int r = add_text(to, "client", e->client);

	if (r >= 0 && e->port)
		r = buf_addf(to, " port=%u", e->port);
	if (r >= 0)
		r = add_text(to, "name", e->name);
	if (r >= 0)
		r = add_text(to, "helo", e->helo);
	if (r >= 0)
		r = buf_addf(to, " proto=%s", e->esmtp ? "ESMTP" : "SMTP");
	if (r >= 0)
		r = add_text(to, "tls", e->tls_version);
	return r < 0 ? r : add_text(to, "cipher", e->tls_cipher);
}

static int add_message(struct buf *to, const struct evidence *e)
{
	/* The null reverse-path is said, too. */
	int r = e->from.n ? add_text(to, "from", e->from) : buf_addf(to, " from=");

	if (r >= 0)
		r = add_text(to, "to", e->to);
	if (r >= 0)
		r = add_text(to, "domain", e->domain);
	if (r >= 0)
		r = buf_addf(to, " recipients=%zu", e->recipients);
	if (r >= 0)
		r = add_text(to, "primary", e->primary);
	return r < 0 ? r : add_symbols(to, e);
}

static int add_content_words(struct buf *to, const struct evidence_content *c)
{
	int r = buf_addf(to, " head-bytes=%ju head=", (uintmax_t)c->head_bytes);

	if (r >= 0)
		r = add_hex(to, c->head, sizeof(c->head));
	if (r >= 0)
		r = buf_addf(to, " body=");
	return r < 0 ? r : add_hex(to, c->body, sizeof(c->body));
}

static int add_words(struct buf *to, const struct evidence *e)
{
	char id[ID_TEXT_LENGTH + 1];
	int r;

	id_text(e->id, id);
	r = buf_addf(to, "v=1 id=%s arrived=%jd", id, (intmax_t)(MAX(e->arrived_wall, 0) / NSEC_S));
	if (r >= 0)
		r = add_client(to, e);
	if (r >= 0)
		r = add_message(to, e);
	return r < 0 ? r : add_content_words(to, &e->content);
}

static bool make_hmac(str text, const uint8_t key[static EVIDENCE_KEY_BYTES],
		      uint8_t ret_hmac[static EVIDENCE_HASH_BYTES])
{
	unsigned n = 0;

	return HMAC(EVP_sha256(), key, EVIDENCE_KEY_BYTES, (const unsigned char *)text.p, text.n,
		    ret_hmac, &n) &&
	       n == EVIDENCE_HASH_BYTES;
}

static int add_folded(struct buf *to, str words)
{
	size_t column = strlen(EVIDENCE_NAME ":");
	int r = buf_add(to, STR(EVIDENCE_NAME ":"));
	str word;

	while (r >= 0 && words.n > 0) {
		bool fold;

		str_cut(words, ' ', &word, &words);
		fold = column + 1 + word.n > COLUMNS_MAX;
		r = buf_add(to, fold ? STR("\r\n\t") : STR(" "));
		column = (fold ? 8 : column + 1) + word.n;
		if (r >= 0)
			r = buf_add(to, word);
	}
	return r < 0 ? r : buf_add(to, STR("\r\n"));
}

int evidence_write(const struct evidence *e, const uint8_t key[static EVIDENCE_KEY_BYTES],
		   struct buf *to)
{
	_cleanup_(buf_done) struct buf words;
	uint8_t hmac[EVIDENCE_HASH_BYTES];
	size_t before = to->n;
	int r;

	buf_init(&words, EVIDENCE_MAX);
	r = add_words(&words, e);
	if (r >= 0 && !make_hmac(buf_str(&words), key, hmac))
		r = -ENOMEM;
	if (r >= 0)
		r = buf_addf(&words, " hmac=");
	if (r >= 0)
		r = add_hex(&words, hmac, sizeof(hmac));
	if (r >= 0)
		r = add_folded(to, buf_str(&words));
	if (r < 0)
		to->n = before;
	return MIN(r, 0);
}

/* --- reading --- */

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static int unfold(str value, struct evidence_words *w, str *ret_text)
{
	size_t n = 0;

	for (size_t i = 0; i < value.n; i++) {
		if (is_space(value.p[i]) && (n == 0 || w->text[n - 1] == ' '))
			continue;
		if (n == sizeof(w->text))
			return -EINVAL;
		w->text[n++] = is_space(value.p[i]) ? ' ' : value.p[i];
	}
	if (n > 0 && w->text[n - 1] == ' ')
		n--;
	*ret_text = str_mem(w->text, n);
	return 0;
}

static bool name_fits(str name)
{
	for (size_t i = 0; i < name.n; i++) {
		if (!(name.p[i] >= 'a' && name.p[i] <= 'z') && name.p[i] != '-')
			return false;
	}
	return name.n > 0;
}

static int add_word(struct evidence_words *w, str word)
{
	str name, value;

	if (w->count == EVIDENCE_WORDS_MAX || !str_cut(word, '=', &name, &value) ||
	    !name_fits(name) || !xtext_valid(value))
		return -EINVAL;
	for (size_t i = 0; i < w->count; i++) {
		if (str_eq(w->word[i].name, name))
			return -EINVAL;
	}
	w->word[w->count].name = name;
	w->word[w->count++].value = value;
	return 0;
}

static bool read_hex(str text, uint8_t *to, size_t n)
{
	if (text.n != 2 * n)
		return false;
	for (size_t i = 0; i < n; i++) {
		int high = octet_hex_value(text.p[2 * i]);
		int low = octet_hex_value(text.p[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		to[i] = (uint8_t)(high * 16 + low);
	}
	return true;
}

int evidence_parse(str value, struct evidence_words *ret)
{
	str text, rest, word;
	int r;

	ret->count = 0;
	r = unfold(value, ret, &text);
	for (rest = text; r >= 0 && rest.n > 0;) {
		str_cut(rest, ' ', &word, &rest);
		r = add_word(ret, word);
	}
	if (r < 0 || ret->count < 3 || !str_eq(ret->word[0].name, STR("v")) ||
	    !str_eq(ret->word[0].value, STR("1")) ||
	    !str_eq(ret->word[ret->count - 1].name, STR("hmac")))
		return -EINVAL;
	ret->signed_bytes = text.n - ret->word[ret->count - 1].value.n - strlen(" hmac=");
	return 0;
}

str evidence_value(const struct evidence_words *w, const char *name)
{
	for (size_t i = 0; i < w->count; i++) {
		if (str_eq(w->word[i].name, str_of(name)))
			return w->word[i].value;
	}
	return STR_NONE;
}

bool evidence_signed(const struct evidence_words *w, const uint8_t key[static EVIDENCE_KEY_BYTES])
{
	uint8_t said[EVIDENCE_HASH_BYTES], right[EVIDENCE_HASH_BYTES];

	return read_hex(evidence_value(w, "hmac"), said, sizeof(said)) &&
	       make_hmac(str_mem(w->text, w->signed_bytes), key, right) &&
	       CRYPTO_memcmp(said, right, sizeof(right)) == 0;
}

bool evidence_content(const struct evidence_words *w, struct evidence_content *ret)
{
	return str_u64(evidence_value(w, "head-bytes"), INT64_MAX, &ret->head_bytes) >= 0 &&
	       read_hex(evidence_value(w, "head"), ret->head, sizeof(ret->head)) &&
	       read_hex(evidence_value(w, "body"), ret->body, sizeof(ret->body));
}

int evidence_key_read(str text, uint8_t ret_key[static EVIDENCE_KEY_BYTES])
{
	return read_hex(str_trim(text), ret_key, EVIDENCE_KEY_BYTES) ? 0 : -EINVAL;
}
