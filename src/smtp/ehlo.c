#include "smtp/ehlo.h"

static void parse_size(struct ehlo *e, str parameters)
{
	uint64_t bytes;

	if (str_u64(parameters, INT64_MAX, &bytes) >= 0)
		e->size_bytes = bytes;
}

static unsigned find_attributes(str words, enum smtp_verb verb)
{
	unsigned found = 0;
	str word;

	while (words.n > 0) {
		int attribute;

		str_cut(words, ' ', &word, &words);
		attribute = attribute_find(word, verb);
		if (attribute >= 0)
			found |= ATTRIBUTE_BIT(attribute);
	}
	return found;
}

static void parse_xclient(struct ehlo *e, str parameters)
{
	e->xclient |= find_attributes(parameters, SMTP_XCLIENT);
}

static void parse_xforward(struct ehlo *e, str parameters)
{
	e->xforward |= find_attributes(parameters, SMTP_XFORWARD);
}

static void parse_limit(struct ehlo *e, str name, str value)
{
	uint64_t limit;

	if (str_u64(value, EHLO_LIMIT_MAX, &limit) < 0)
		return;
	if (str_case_eq(name, STR("RCPTMAX")))
		e->recipients_max = (uint32_t)limit;
	else if (str_case_eq(name, STR("MAILMAX")))
		e->transactions_max = (uint32_t)limit;
	else if (str_case_eq(name, STR("RCPTDOMAINMAX")))
		e->recipient_domains_max = (uint32_t)limit;
}

static void parse_limits(struct ehlo *e, str parameters)
{
	str word, name, value;

	while (parameters.n > 0) {
		str_cut(parameters, ' ', &word, &parameters);
		if (str_cut(word, '=', &name, &value))
			parse_limit(e, name, value);
	}
}

static const struct extension {
	str keyword;
	enum ehlo_extension bit;
	void (*parameters)(struct ehlo *e, str parameters);
} extensions[] = {
	{ { "SIZE", 4 }, EHLO_SIZE, parse_size },
	{ { "PIPELINING", 10 }, EHLO_PIPELINING, NULL },
	{ { "8BITMIME", 8 }, EHLO_8BITMIME, NULL },
	{ { "STARTTLS", 8 }, EHLO_STARTTLS, NULL },
	{ { "ENHANCEDSTATUSCODES", 19 }, EHLO_ENHANCEDSTATUSCODES, NULL },
	{ { "SMTPUTF8", 8 }, EHLO_SMTPUTF8, NULL },
	{ { "CHUNKING", 8 }, EHLO_CHUNKING, NULL },
	{ { "BINARYMIME", 10 }, EHLO_BINARYMIME, NULL },
	{ { "DSN", 3 }, EHLO_DSN, NULL },
	{ { "XCLIENT", 7 }, EHLO_XCLIENT, parse_xclient },
	{ { "XFORWARD", 8 }, EHLO_XFORWARD, parse_xforward },
	{ { "REQUIRETLS", 10 }, EHLO_REQUIRETLS, NULL },
	{ { "ETRN", 4 }, EHLO_ETRN, NULL },
	{ { "AUTH", 4 }, EHLO_AUTH, NULL },
	{ { "LIMITS", 6 }, EHLO_LIMITS, parse_limits },
};

const char *ehlo_keyword(enum ehlo_extension extension)
{
	size_t i = 0;

	while (extensions[i].bit != extension)
		must(++i < ELEMENTS(extensions));
	return extensions[i].keyword.p;
}

void ehlo_parse(const struct reply *r, struct ehlo *ret_ehlo)
{
	str rest = buf_str(&r->text), line, keyword, parameters;

	*ret_ehlo = (struct ehlo){ 0 };
	str_cut(rest, '\n', &line, &rest); /* the server's name */
	while (str_cut(rest, '\n', &line, &rest)) {
		line = str_trim(line);
		if (!str_cut(line, ' ', &keyword, &parameters)) {
			keyword = line;
			parameters = STR_NONE;
		}
		for (size_t i = 0; i < ELEMENTS(extensions); i++) {
			if (!str_case_eq(extensions[i].keyword, keyword))
				continue;
			ret_ehlo->offers |= (unsigned)extensions[i].bit;
			if (extensions[i].parameters)
				extensions[i].parameters(ret_ehlo, str_trim(parameters));
		}
	}
}
