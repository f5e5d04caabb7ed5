#include "proc/smtpin/offers.h"

#include "smtp/evidence.h"
#include "smtp/received.h"

#include <stdlib.h>

/* What smtpout puts on top. */
_Static_assert(RECEIVED_MAX + EVIDENCE_MAX <= OFFER_HEADERS_BYTES,
	       "our headers fit what is left for them");

/* Names come from the configuration, not from strangers. */
static const uint64_t seed[2] = { 0x6f66666572730000, 1 };

struct known {
	struct map_link link;
	struct offer offer;
	bool seen;
	char domain[];
};

void offers_init(struct offers *o)
{
	*o = (struct offers){ 0 };
	map_init(&o->by_domain);
}

static void forget(struct offers *o)
{
	struct map_link *link;

	while ((link = map_walk(&o->by_domain, NULL))) {
		map_remove(&o->by_domain, link);
		free(CONTAINER(link, struct known, link));
	}
}

static void changed(struct offers *o)
{
	conf_unref(o->counted_for);
	o->counted_for = NULL;
	o->counted = false;
}

void offers_done(struct offers *o)
{
	changed(o);
	forget(o);
	map_done(&o->by_domain);
}

static struct known *find(const struct offers *o, str domain)
{
	MAP_FIND (&o->by_domain, str_hash(domain, seed, true), struct known, link, k)
		if (str_case_eq(str_of(k->domain), domain))
			return k;
	return NULL;
}

static int add(struct offers *o, str domain, struct known **ret_known)
{
	struct known *k;
	int r;

	if (o->by_domain.count >= OFFERS_DOMAINS_MAX)
		return -ENOMEM;
	k = calloc(1, sizeof(*k) + domain.n + 1);
	if (!k)
		return -ENOMEM;
	if (domain.n)
		memcpy(k->domain, domain.p, domain.n);
	r = map_insert(&o->by_domain, &k->link, str_hash(domain, seed, true));
	if (r < 0) {
		free(k);
		return r;
	}
	*ret_known = k;
	return 0;
}

/* A limit so small that our headers are half of it is nobody's. */
static uint64_t body_bytes(uint64_t size_bytes)
{
	return size_bytes - MIN(size_bytes / 2, OFFER_HEADERS_BYTES);
}

/* Primaries come and go more often than they change what they offer, and only that has to be counted again. */
static void keep(struct offers *o, struct known *k, const Locum__DomainOffers *d)
{
	const unsigned offers = k->offer.offers;
	const uint64_t size_bytes = k->offer.size_bytes;
	const bool seen = k->seen;

	k->offer.state = d->state;
	k->offer.destination = d->destination;
	if (d->seen_wall) {
		k->seen = true;
		k->offer.offers = d->offers;
		k->offer.size_bytes = body_bytes(d->size_bytes);
	}
	if (seen != k->seen || offers != k->offer.offers || size_bytes != k->offer.size_bytes)
		changed(o);
}

int offers_update(struct offers *o, const Locum__PrimaryOffers *said)
{
	int result = 0;

	if (said->first) {
		changed(o);
		forget(o);
	}
	for (size_t i = 0; i < said->n_domains; i++) {
		const Locum__DomainOffers *d = said->domains[i];
		struct known *k = find(o, str_of(d->domain));
		int r = k ? 0 : add(o, str_of(d->domain), &k);

		if (r < 0)
			result = r;
		else
			keep(o, k, d);
	}
	return result;
}

bool offers_of(const struct offers *o, str domain, struct offer *ret_offer)
{
	const struct known *k = find(o, domain);

	*ret_offer = k ? k->offer : (struct offer){ 0 };
	return k && k->seen;
}

static void count(const struct offers *o, const struct conf *conf, struct announced *a)
{
	uint64_t largest = 0;
	unsigned any = 0, all = ~0u;
	bool bounded = conf->domain_count > 0;

	for (size_t i = 0; i < conf->domain_count; i++) {
		struct offer offer;

		/* One that was never seen offers nothing, but may take any size. */
		bounded =
			offers_of(o, conf->domains[i].name, &offer) && offer.size_bytes && bounded;
		largest = MAX(largest, offer.size_bytes);
		any |= offer.offers;
		all &= offer.offers;
	}
	if (conf->domain_count == 0)
		all = 0;
	*a = (struct announced){
		.dialect = {
			.smtputf8 = any & EHLO_SMTPUTF8,
			.requiretls = any & EHLO_REQUIRETLS,
			.dsn = all & EHLO_DSN,
			.binarymime = (all & EHLO_BINARYMIME) && (all & EHLO_CHUNKING),
		},
		.size_bytes = bounded ? MIN(largest, conf->limits.message_bytes)
				      : conf->limits.message_bytes,
	};
}

void offers_announced(struct offers *o, struct conf *conf, struct announced *ret_announced)
{
	if (!o->counted || o->counted_for != conf) {
		changed(o);
		count(o, conf, &o->announced);
		o->counted_for = conf_ref(conf);
		o->counted = true;
	}
	*ret_announced = o->announced;
}
