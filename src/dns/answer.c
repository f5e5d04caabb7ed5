#include "dns/answer.h"

#define HEADER_BYTES 12
#define RECORDS_MAX 512 /* looked at in one message */
#define CNAMES_MAX 12
#define TYPE_CNAME 5
#define CLASS_IN 1
#define RCODE_NXDOMAIN 3

struct record {
	char owner[DNS_NAME_SIZE];
	uint16_t type, class;
	uint32_t ttl;
	size_t data; /* offset in the message */
	size_t data_length;
	size_t end; /* offset of the next record */
};

/* A message whose header and question were read. */
struct reader {
	str message;
	size_t answers; /* offset */
	size_t count;
	unsigned rcode;
	uint32_t ttl;              /* the least so far */
	char owner[DNS_NAME_SIZE]; /* whose records answer: the question's name behind its CNAMEs */
};

/* Takes one record's data into the answer. */
typedef void take_fn(const struct reader *rd, const struct record *rec, void *answer);

static uint16_t get16(str m, size_t at)
{
	const uint8_t *p = (const uint8_t *)m.p + at;

	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(str m, size_t at)
{
	return (uint32_t)get16(m, at) << 16 | get16(m, at + 2);
}

static int record_read(str m, size_t at, struct record *ret)
{
	int r;

	r = dns_name_read(m, at, ret->owner, &at);
	if (r == -EBADMSG)
		return r;
	if (at + 10 > m.n)
		return -EBADMSG;
	ret->type = get16(m, at);
	ret->class = get16(m, at + 2);
	ret->ttl = get32(m, at + 4);
	ret->data_length = get16(m, at + 8);
	ret->data = at + 10;
	ret->end = ret->data + ret->data_length;
	return ret->end <= m.n ? 0 : -EBADMSG;
}

static int reader_init(struct reader *rd, str message)
{
	size_t at = HEADER_BYTES;
	int r;

	*rd = (struct reader){ .message = message, .ttl = UINT32_MAX };
	if (message.n < HEADER_BYTES || get16(message, 4) != 1)
		return -EBADMSG;
	rd->rcode = get16(message, 2) & 15;
	rd->count = MIN(get16(message, 6), RECORDS_MAX);
	r = dns_name_read(message, at, rd->owner, &at);
	if (r < 0)
		return r;
	rd->answers = at + 4;
	return rd->answers <= message.n ? 0 : -EBADMSG;
}

/* Calls take (if given) for every record of that type that the current owner has: their number. */
static ssize_t each_record(struct reader *rd, uint16_t type, take_fn *take, void *arg)
{
	size_t at = rd->answers;
	struct record rec;
	ssize_t found = 0;
	int r;

	for (size_t i = 0; i < rd->count; i++, at = rec.end) {
		r = record_read(rd->message, at, &rec);
		if (r < 0)
			return r;
		if (rec.type != type || rec.class != CLASS_IN || strcmp(rec.owner, rd->owner) != 0)
			continue;
		found++;
		rd->ttl = MIN(rd->ttl, rec.ttl);
		take(rd, &rec, arg);
	}
	return found;
}

static void take_cname(const struct reader *rd, const struct record *rec, void *arg)
{
	char *target = arg;
	size_t ignored;

	if (target[0] == '\0' && dns_name_read(rd->message, rec->data, target, &ignored) < 0)
		target[0] = '\0';
}

/* The whole of it: finds the owner behind the CNAMEs and hands its records to take. */
static enum dns_status read_owner(str message, enum dns_type type, take_fn *take, void *answer,
				  uint32_t *ret_ttl, char ret_owner[static DNS_NAME_SIZE])
{
	char target[DNS_NAME_SIZE];
	struct reader rd;
	ssize_t n;

	*ret_ttl = UINT32_MAX;
	if (reader_init(&rd, message) < 0 || (rd.rcode != 0 && rd.rcode != RCODE_NXDOMAIN))
		return DNS_TROUBLE;
	for (unsigned i = 0;; i++) {
		if (i > CNAMES_MAX)
			return DNS_TROUBLE;
		target[0] = '\0';
		n = each_record(&rd, TYPE_CNAME, take_cname, target);
		if (n < 0)
			return DNS_TROUBLE;
		if (n == 0)
			break;
		if (target[0] == '\0')
			return DNS_TROUBLE;
		str_copy(str_of(target), rd.owner, sizeof(rd.owner));
	}
	n = each_record(&rd, (uint16_t)type, take, answer);
	if (n < 0)
		return DNS_TROUBLE;
	*ret_ttl = rd.ttl;
	str_copy(str_of(rd.owner), ret_owner, DNS_NAME_SIZE);
	if (n > 0)
		return DNS_DATA;
	*ret_ttl = UINT32_MAX;
	return rd.rcode == RCODE_NXDOMAIN ? DNS_NO_DOMAIN : DNS_NO_DATA;
}

static enum dns_status read_answer(str message, enum dns_type type, take_fn *take, void *answer,
				   uint32_t *ret_ttl)
{
	char owner[DNS_NAME_SIZE];

	return read_owner(message, type, take, answer, ret_ttl, owner);
}

static void take_mx(const struct reader *rd, const struct record *rec, void *arg)
{
	struct dns_mx_answer *a = arg;
	struct dns_mx mx;
	size_t at, end;

	if (rec->data_length < 3)
		return;
	mx.preference = get16(rd->message, rec->data);
	if (dns_name_read(rd->message, rec->data + 2, mx.host, &end) < 0 || end != rec->end)
		return;
	if (strcmp(mx.host, ".") != 0 && !dns_name_is_host(str_of(mx.host)))
		return;
	/* Behind its equals; the worst one falls off the end when the table is full. */
	for (at = a->count; at > 0 && a->mx[at - 1].preference > mx.preference; at--)
		;
	if (a->count == DNS_MX_MAX) {
		a->cut = true;
		if (at == DNS_MX_MAX)
			return;
		a->count--;
	}
	memmove(&a->mx[at + 1], &a->mx[at], (a->count - at) * sizeof(a->mx[0]));
	a->mx[at] = mx;
	a->count++;
}

void dns_read_mx(str message, struct dns_mx_answer *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->status = read_answer(message, DNS_MX, take_mx, ret, &ret->ttl);
	if (ret->status != DNS_DATA)
		ret->count = 0;
}

static void take_address(const struct reader *rd, const struct record *rec, void *arg)
{
	struct dns_addresses *a = arg;
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
	const char *data = rd->message.p + rec->data;
	int r;

	if (rec->data_length != (rec->type == DNS_A ? 4 : 16))
		return;
	if (a->count == DNS_ADDRESSES_MAX) {
		a->cut = true;
		return;
	}
	if (rec->type == DNS_A) {
		memcpy(&in.sin_addr, data, 4);
		r = addr_from_sockaddr((struct sockaddr *)&in, &a->address[a->count]);
	} else {
		memcpy(&in6.sin6_addr, data, 16);
		r = addr_from_sockaddr((struct sockaddr *)&in6, &a->address[a->count]);
	}
	if (r == 0)
		a->count++;
}

void dns_read_addresses(str message, enum dns_type type, struct dns_addresses *ret)
{
	must(type == DNS_A || type == DNS_AAAA);
	memset(ret, 0, sizeof(*ret));
	ret->status = read_owner(message, type, take_address, ret, &ret->ttl, ret->owner);
	if (ret->status != DNS_DATA) {
		ret->count = 0;
		ret->owner[0] = '\0';
	}
}

static void take_name(const struct reader *rd, const struct record *rec, void *arg)
{
	struct dns_names *a = arg;
	char name[DNS_NAME_SIZE];
	size_t end;

	if (dns_name_read(rd->message, rec->data, name, &end) < 0 || end != rec->end ||
	    !dns_name_is_host(str_of(name)))
		return;
	if (a->count == DNS_NAMES_MAX) {
		a->cut = true;
		return;
	}
	str_copy(str_of(name), a->name[a->count++], DNS_NAME_SIZE);
}

void dns_read_names(str message, struct dns_names *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->status = read_answer(message, DNS_PTR, take_name, ret, &ret->ttl);
	if (ret->status != DNS_DATA)
		ret->count = 0;
}

static void take_tlsa(const struct reader *rd, const struct record *rec, void *arg)
{
	struct dns_tlsa_answer *a = arg;
	const uint8_t *data = (const uint8_t *)rd->message.p + rec->data;
	size_t length = rec->data_length;

	if (length < 3)
		return;
	length -= 3;
	if (a->count == DNS_TLSA_MAX || length > DNS_TLSA_BYTES_MAX - a->byte_count) {
		a->cut = true;
		return;
	}
	a->record[a->count++] = (struct dns_tlsa){
		.usage = data[0],
		.selector = data[1],
		.matching = data[2],
		.from = (uint16_t)a->byte_count,
		.length = (uint16_t)length,
	};
	memcpy(a->bytes + a->byte_count, data + 3, length);
	a->byte_count += length;
}

void dns_read_tlsa(str message, struct dns_tlsa_answer *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->status = read_answer(message, DNS_TLSA, take_tlsa, ret, &ret->ttl);
	if (ret->status != DNS_DATA) {
		ret->count = 0;
		ret->byte_count = 0;
	}
}

static void take_text(const struct reader *rd, const struct record *rec, void *arg)
{
	struct dns_texts *a = arg;
	const uint8_t *data = (const uint8_t *)rd->message.p + rec->data;
	size_t n = 0, at = 0;

	if (a->count == DNS_TEXTS_MAX) {
		a->cut = true;
		return;
	}
	while (at < rec->data_length) {
		size_t length = data[at++];

		if (length > rec->data_length - at || length > DNS_TEXT_SIZE - n) {
			a->cut = true;
			return;
		}
		memcpy(a->text[a->count] + n, data + at, length);
		n += length;
		at += length;
	}
	a->length[a->count++] = n;
}

void dns_read_texts(str message, struct dns_texts *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->status = read_answer(message, DNS_TXT, take_text, ret, &ret->ttl);
	if (ret->status != DNS_DATA)
		ret->count = 0;
}

static void take_nothing(const struct reader *rd, const struct record *rec, void *arg)
{
	(void)rd;
	(void)rec;
	(void)arg;
}

enum dns_status dns_read_status(str message, enum dns_type type)
{
	uint32_t ttl;

	return read_answer(message, type, take_nothing, NULL, &ttl);
}

bool dns_read_alias(str message)
{
	struct reader rd;

	return reader_init(&rd, message) == 0 &&
	       each_record(&rd, TYPE_CNAME, take_nothing, NULL) > 0;
}

const char *dns_status_text(enum dns_status status)
{
	switch (status) {
	case DNS_DATA:
		return "data";
	case DNS_NO_DATA:
		return "no data";
	case DNS_NO_DOMAIN:
		return "no such domain";
	case DNS_TROUBLE:
		return "trouble";
	}
	return "?";
}
