#include "smtp/received.h"

#include "smtp/path.h"

#define COLUMNS_MAX 78
#define WORD_MAX 320

/* Words put one behind the other, folded before the one that would pass the last column. */
struct folded {
	struct buf *to;
	size_t column;
	int error; /* the first that occurred */
};

static void put(struct folded *f, str word)
{
	int r = buf_add(f->to, word);

	if (r < 0 && !f->error)
		f->error = r;
	f->column += word.n;
}

static void put_line_end(struct folded *f, bool continues)
{
	put(f, continues ? STR("\r\n\t") : STR("\r\n"));
	f->column = 8;
}

static void put_word(struct folded *f, str word)
{
	if (f->column > 8 && f->column + 1 + word.n > COLUMNS_MAX)
		put_line_end(f, true);
	else if (f->column > 8)
		put(f, STR(" "));
	put(f, word);
}

static bool is_word_byte(char c, const char *also)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c && strchr(also, c));
}

/* Text of the peer's choice between our own marks: anything but the bytes of names and literals becomes `?`,
 * so it holds no space, no parenthesis and no line end. */
static str clean_word(str dirty, const char *before, const char *behind, char word[static WORD_MAX])
{
	size_t n = strlen(before), tail = strlen(behind);

	memcpy(word, before, n);
	dirty = str_first(dirty, WORD_MAX - n - tail);
	for (size_t i = 0; i < dirty.n; i++)
		word[n++] = is_word_byte(dirty.p[i], "-._:[]") ? dirty.p[i] : '?';
	memcpy(word + n, behind, tail);
	return str_mem(word, n + tail);
}

static void put_clean(struct folded *f, str dirty, const char *before, const char *behind)
{
	char word[WORD_MAX];

	put_word(f, clean_word(dirty, before, behind, word));
}

static void put_from(struct folded *f, const struct received *r)
{
	struct addr a;
	char literal[ADDR_TEXT_SIZE];
	str address = STR("[unknown]");

	if (addr_parse_ip(r->address, 0, &a) == 0)
		address = str_of(addr_literal(&a, literal));
	put_word(f, STR("from"));
	put_clean(f, r->helo.n ? r->helo : STR("unknown"), "", "");
	if (r->name.n) {
		put_clean(f, r->name, "(", "");
		put_clean(f, address, "", ")");
	} else {
		put_clean(f, address, "(", ")");
	}
}

/* The registry of RFC 3848, and RFC 6531 §4.3. */
static str protocol_of(const struct received *r)
{
	if (r->smtputf8)
		return r->tls_version.n ? STR("UTF8SMTPS") : STR("UTF8SMTP");
	if (r->tls_version.n)
		return STR("ESMTPS");
	return r->esmtp ? STR("ESMTP") : STR("SMTP");
}

static void put_by(struct folded *f, const struct received *r)
{
	char id[ID_TEXT_LENGTH + 1];

	id_text(r->id, id);
	put_word(f, STR("by"));
	put_clean(f, r->hostname, "", "");
	put_word(f, STR("(Locum)"));
	put_word(f, STR("with"));
	put_word(f, protocol_of(r));
	put_word(f, STR("id"));
	put_word(f, str_of(id));
}

/* For a recipient that is no mailbox (which smtpin never takes), or not one that may stand in this header, there
 * is no for-clause. */
static void put_for(struct folded *f, const struct received *r)
{
	struct smtp_path path;
	char word[SMTP_PATH_MAX + 4];

	if (r->recipient.n && smtp_mailbox_parse(r->recipient, &path) == 0 &&
	    (r->smtputf8 || !path.utf8)) {
		size_t n = r->recipient.n;

		word[0] = '<';
		memcpy(word + 1, r->recipient.p, n);
		memcpy(word + 1 + n, ">;", 2);
		put_line_end(f, true);
		put_word(f, STR("for"));
		put_word(f, str_mem(word, n + 3));
	} else if (r->domain.n) {
		put_line_end(f, true);
		put_word(f, STR("(for"));
		put_clean(f, r->domain, "", ");");
	} else {
		put(f, STR(";"));
	}
}

int received_format(const struct received *r, struct buf *to)
{
	struct folded f = { .to = to };
	char date[SMTP_DATE_SIZE];
	size_t before = to->n;

	put(&f, STR("Received:"));
	put_from(&f, r);
	put_line_end(&f, true);
	put_by(&f, r);
	if (r->tls_version.n) {
		put_line_end(&f, true);
		put_clean(&f, r->tls_version, "(", "");
		put_clean(&f, r->tls_cipher.n ? r->tls_cipher : STR("unknown"), "", ")");
	}
	put_for(&f, r);
	put_word(&f, smtp_date(r->arrived_wall, date));
	put_line_end(&f, false);
	if (f.error)
		to->n = before;
	return f.error;
}

/* Days since 1970-01-01 → year, month (1..12), day, in the proleptic Gregorian calendar. Eras of 400
 * years that start in March put the leap day last. */
static void civil_from_days(int64_t days, int64_t *ret_year, unsigned *ret_month, unsigned *ret_day)
{
	int64_t z = days + 719468; /* days from 0000-03-01 to 1970-01-01 */
	int64_t era = (z >= 0 ? z : z - 146096) / 146097;
	unsigned day_of_era = (unsigned)(z - era * 146097);
	unsigned year_of_era =
		(day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	unsigned day_of_year =
		day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	unsigned march_month = (5 * day_of_year + 2) / 153;

	*ret_day = day_of_year - (153 * march_month + 2) / 5 + 1;
	*ret_month = march_month < 10 ? march_month + 3 : march_month - 9;
	*ret_year = (int64_t)year_of_era + era * 400 + (*ret_month <= 2);
}

str smtp_date(nsec at_wall, char text[static SMTP_DATE_SIZE])
{
	static const char day_names[7][4] = { "Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed" };
	static const char month_names[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
						 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	int64_t seconds = MAX(at_wall, 0) / NSEC_S;
	int64_t days = seconds / 86400, year;
	unsigned second = (unsigned)(seconds % 86400), month, day;
	int n;

	civil_from_days(days, &year, &month, &day);
	n = snprintf(text, SMTP_DATE_SIZE, "%s, %02u %s %04d %02u:%02u:%02u +0000",
		     day_names[days % 7], day, month_names[month - 1], (int)year, second / 3600,
		     second / 60 % 60, second % 60);
	return str_mem(text, (size_t)n);
}
