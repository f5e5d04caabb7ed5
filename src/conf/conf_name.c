#include "conf/reader.h"

static bool is_letter_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool all_digits(str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
	return true;
}

static const char *label_fault(str label)
{
	if (label.n == 0)
		return "has an empty label; look for two dots in a row or one in front";
	if (label.n > 63)
		return "has a label of more than 63 characters (RFC 1035); shorten it";
	if (label.p[0] == '-' || label.p[label.n - 1] == '-')
		return "has a label that begins or ends with a hyphen (RFC 1123); correct it";
	for (size_t i = 0; i < label.n; i++) {
		/* The underscore is no letter of a host name, but some MX hosts have one. */
		if (!is_letter_digit(label.p[i]) && label.p[i] != '-' && label.p[i] != '_')
			return "has a character that no host name may have; use letters, digits, "
			       "hyphens "
			       "and dots";
	}
	return NULL;
}

const char *conf_name_fault(str name)
{
	const char *fault = NULL;
	str label = name, rest = name;
	bool more = true;

	if (name.n == 0)
		return "is empty; write a name such as \"example.org\"";
	if (name.n > 253)
		return "is longer than 253 characters (RFC 1035); shorten it";
	for (size_t i = 0; i < name.n; i++)
		if ((uint8_t)name.p[i] >= 0x80)
			return "is not ASCII; write its A-label form (xn--...), as `idn2 NAME` "
			       "prints it";
	while (more && !fault) {
		more = str_cut(rest, '.', &label, &rest);
		fault = label_fault(label);
	}
	if (!fault && all_digits(label))
		return "ends in a number, as an IP address does; write a name";
	return fault;
}
