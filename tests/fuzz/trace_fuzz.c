/*
 * trace: a header section gives the same hops and the same finds however it is cut; and whatever a HELO
 * and a reverse name say, our own header is read back with the id and the domain that went in.
 */
#include "smtp/trace.h"

#include "smtp/received.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct finds {
	unsigned count;
	uint64_t hash;
	msg_id id;
	bool domain_is_x;
};

static const uint64_t seed[2] = { 1, 2 };

static bool is_our_name(void *arg, str name)
{
	(void)arg;
	return str_case_eq(name, STR("mx.x"));
}

static void found(void *arg, const struct trace_own *own)
{
	struct finds *f = arg;

	f->count++;
	f->id = own->id;
	f->domain_is_x = str_eq(own->domain, STR("x")) && !own->recipient.n;
	f->hash = f->hash * 31 + str_hash(own->recipient, seed, false) +
		  str_hash(own->domain, seed, false) + id_hash(own->id);
}

static void scan(str message, size_t step, struct trace *t, struct finds *f)
{
	struct trace_hooks hooks = { is_our_name, found, f };

	*f = (struct finds){ 0 };
	trace_init(t, &hooks);
	for (size_t at = 0; at < message.n; at += step)
		trace_feed(t, str_first(str_from(message, at), step));
	trace_end(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct trace t;
	struct received r = { .hostname = STR("mx.x"),
			      .domain = STR("x"),
			      .address = STR("192.0.2.1") };
	struct finds whole, cut, own;
	uint32_t hops;
	struct buf b;

	scan(str_mem(data, size), size + 1, &t, &whole);
	hops = t.hops;
	scan(str_mem(data, size), size ? 1 + data[0] % 16 : 1, &t, &cut);
	must(t.hops == hops && cut.count == whole.count && cut.hash == whole.hash);

	r.helo = str_first(str_mem(data, size), 255);
	r.name = r.tls_version = r.tls_cipher = str_from(str_mem(data, size), size / 2);
	memset(r.id.byte, 0x42, sizeof(r.id.byte));
	r.id.byte[0] = 0;
	buf_init(&b, RECEIVED_MAX);
	must(received_format(&r, &b) == 0);
	scan(buf_str(&b), 4096, &t, &own);
	must(t.hops == 1 && own.count == 1 && own.domain_is_x && id_eq(own.id, r.id));
	buf_done(&b);
	return 0;
}
