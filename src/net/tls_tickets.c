#include "net/tls.h"

#include "net/tls_inside.h"
#include "task/sys.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>

/* Where the parts of a key are. */
#define NAME_BYTES 16
#define HMAC_AT NAME_BYTES
#define HMAC_BYTES 32
#define AES_AT (HMAC_AT + HMAC_BYTES)
#define IV_BYTES 16

void tls_tickets_init(struct tls_tickets *t)
{
	*t = (struct tls_tickets){ .count = 1 };
	sys_random(t->key[0], TLS_TICKET_KEY_BYTES);
}

int tls_tickets_set(struct tls_tickets *t, const str *keys, size_t count)
{
	if (count == 0 || count > TLS_TICKET_KEYS_MAX)
		return -EINVAL;
	for (size_t i = 0; i < count; i++)
		if (keys[i].n != TLS_TICKET_KEY_BYTES)
			return -EINVAL;
	explicit_bzero(t, sizeof(*t));
	t->count = count;
	for (size_t i = 0; i < count; i++)
		memcpy(t->key[i], keys[i].p, TLS_TICKET_KEY_BYTES);
	return 0;
}

static int context_index(void)
{
	static int index = -1;

	if (index < 0)
		index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
	return index;
}

static EVP_CIPHER *cipher(void)
{
	static EVP_CIPHER *c; /* looking it up each time costs more than using it */

	if (!c)
		c = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
	return c;
}

static bool key_start(const uint8_t *key, const unsigned char *iv, EVP_CIPHER_CTX *cipher_context,
		      EVP_MAC_CTX *mac, bool encrypt)
{
	OSSL_PARAM of_mac[] = {
		OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)(key + HMAC_AT),
						  HMAC_BYTES),
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0),
		OSSL_PARAM_construct_end(),
	};

	return EVP_MAC_CTX_set_params(mac, of_mac) == 1 &&
	       EVP_CipherInit_ex2(cipher_context, cipher(), key + AES_AT, iv, encrypt, NULL) == 1;
}

/* As SSL_CTX_set_tlsext_ticket_key_evp_cb wants it: negative: end the handshake; 0: a full handshake; 1: go on;
 * 2: go on, and a newer ticket is due. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv,
		     EVP_CIPHER_CTX *cipher_context, EVP_MAC_CTX *mac, int encrypt)
{
	const struct tls_tickets *t = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), context_index());

	must(t && t->count > 0);
	if (encrypt) {
		memcpy(name, t->key[0], NAME_BYTES);
		sys_random(iv, IV_BYTES);
		return key_start(t->key[0], iv, cipher_context, mac, true) ? 1 : -1;
	}
	for (size_t i = 0; i < t->count; i++)
		if (memcmp(name, t->key[i], NAME_BYTES) == 0)
			return !key_start(t->key[i], iv, cipher_context, mac, false) ? -1
			       : i == 0                                              ? 1
										     : 2;
	return 0;
}

int tls_tickets_use(SSL_CTX *context, struct tls_tickets *t)
{
	if (!cipher() || SSL_CTX_set_ex_data(context, context_index(), t) != 1 ||
	    SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket) != 1)
		return -ENOMEM;
	return 0;
}
