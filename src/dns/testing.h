/*
 * testing: a DNS message, written piece by piece (RFC 1035 section 4), for tests and the simulator: a response to one
 * question, then its records. Names may have a final dot; nothing is compressed. What is wrong here aborts.
 */
#pragma once

#include "base/buf.h"
#include "dns/answer.h"

#define DNS_TYPE_CNAME 5

struct dns_writer {
	struct buf b;
	unsigned answers;
};

static inline void dns_put8(struct dns_writer *w, unsigned value)
{
	must(buf_add_byte(&w->b, (char)value) == 0);
}

static inline void dns_put16(struct dns_writer *w, unsigned value)
{
	dns_put8(w, value >> 8);
	dns_put8(w, value & 0xff);
}

static inline void dns_put_name(struct dns_writer *w, const char *name)
{
	str rest = str_of(name), label;

	while (rest.n && !str_eq(rest, STR("."))) {
		str_cut(rest, '.', &label, &rest);
		dns_put8(w, (unsigned)label.n);
		must(buf_add(&w->b, label) == 0);
	}
	dns_put8(w, 0);
}

/* Its length when written. */
static inline size_t dns_name_bytes(const char *name)
{
	return strcmp(name, ".") == 0 ? 1 : strlen(name) + 2;
}

static inline void dns_start(struct dns_writer *w, unsigned rcode, const char *name,
			     enum dns_type type)
{
	buf_init(&w->b, 65535);
	w->answers = 0;
	dns_put16(w, 7);
	dns_put16(w, 0x8180 | rcode); /* a response, recursion desired and available */
	dns_put16(w, 1);
	dns_put16(w, 0);
	dns_put16(w, 0);
	dns_put16(w, 0);
	dns_put_name(w, name);
	dns_put16(w, type);
	dns_put16(w, 1);
}

static inline void dns_set_rcode(struct dns_writer *w, unsigned rcode)
{
	w->b.p[3] = (char)(0x80 | rcode);
}

/* A record up to the length of its data, which must follow. */
static inline void dns_put_head(struct dns_writer *w, const char *owner, unsigned type,
				unsigned ttl, size_t length)
{
	dns_put_name(w, owner);
	dns_put16(w, type);
	dns_put16(w, 1);
	dns_put16(w, 0);
	dns_put16(w, ttl);
	dns_put16(w, (unsigned)length);
	w->answers++;
	w->b.p[6] = (char)(w->answers >> 8);
	w->b.p[7] = (char)(w->answers & 0xff);
}

/* CNAME, PTR */
static inline void dns_put_target(struct dns_writer *w, const char *owner, unsigned type,
				  unsigned ttl, const char *name)
{
	dns_put_head(w, owner, type, ttl, dns_name_bytes(name));
	dns_put_name(w, name);
}

static inline void dns_put_mx(struct dns_writer *w, const char *owner, unsigned ttl,
			      unsigned preference, const char *host)
{
	dns_put_head(w, owner, DNS_MX, ttl, dns_name_bytes(host) + 2);
	dns_put16(w, preference);
	dns_put_name(w, host);
}

static inline void dns_put_a(struct dns_writer *w, const char *owner, unsigned ttl,
			     const uint8_t ip[static 4])
{
	dns_put_head(w, owner, DNS_A, ttl, 4);
	must(buf_add(&w->b, str_mem(ip, 4)) == 0);
}

static inline void dns_writer_done(struct dns_writer *w)
{
	buf_done(&w->b);
}
