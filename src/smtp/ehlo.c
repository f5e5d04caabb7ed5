#include "smtp/ehlo.h"

static void parse_size(struct ehlo *e, str parameters)
{
	uint64_t bytes;

	if (str_u64(parameters, INT64_MAX, &bytes) >= 0)
		e->size_bytes = bytes;
}

struct word {
	str name;
	unsigned bit;
};

static unsigned find_word(const struct word *words, size_t count, str name)
{
	for (size_t i = 0; i < count; i++) {
		if (str_case_eq(words[i].name, name))
			return words[i].bit;
	}
	return 0;
}

static void parse_xclient(struct ehlo *e, str parameters)
{
	static const struct word attributes[] = {
		{ { "NAME", 4 }, XCLIENT_NAME },         { { "ADDR", 4 }, XCLIENT_ADDR },
		{ { "PORT", 4 }, XCLIENT_PORT },         { { "PROTO", 5 }, XCLIENT_PROTO },
		{ { "HELO", 4 }, XCLIENT_HELO },         { { "LOGIN", 5 }, XCLIENT_LOGIN },
		{ { "DESTADDR", 8 }, XCLIENT_DESTADDR }, { { "DESTPORT", 8 }, XCLIENT_DESTPORT },
	};
	str word;

	while (parameters.n > 0) {
		str_cut(parameters, ' ', &word, &parameters);
		e->xclient |= find_word(attributes, ELEMENTS(attributes), word);
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
	{ { "XFORWARD", 8 }, EHLO_XFORWARD, NULL },
	{ { "REQUIRETLS", 10 }, EHLO_REQUIRETLS, NULL },
	{ { "ETRN", 4 }, EHLO_ETRN, NULL },
	{ { "AUTH", 4 }, EHLO_AUTH, NULL },
};

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
