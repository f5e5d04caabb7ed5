/*
 * The certificate of a primary. Deliveries encrypt whatever it is (RFC 7435); senders that follow MTA-STS (RFC 8461)
 * or want to know whom they talk to need a valid one.
 */
#include "cli/doctor_primary.h"
#include "cli/format.h"

#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#define SOON (14 * NSEC_DAY)

/* Of a finished handshake, read on the main stack. */
struct shown {
	const struct conn *conn;
	const char *host;
	bool has_certificate, named;
	nsec until_wall;
	const char *distrust; /* NULL: trusted */
};

static nsec wall_of(const ASN1_TIME *at)
{
	struct tm tm;

	return ASN1_TIME_to_tm(at, &tm) == 1 ? (nsec)timegm(&tm) * NSEC_S : 0;
}

static void look(void *arg)
{
	struct shown *s = arg;
	SSL *ssl = s->conn->stream.ssl;
	X509 *x = SSL_get0_peer_certificate(ssl);
	long result = SSL_get_verify_result(ssl);

	if (!x)
		return;
	s->has_certificate = true;
	s->until_wall = wall_of(X509_get0_notAfter(x));
	s->named = X509_check_host(x, s->host, 0, 0, NULL) == 1;
	if (result != X509_V_OK)
		s->distrust = X509_verify_cert_error_string(result);
}

static void judge_certificate(struct primary *p, const struct shown *s, const char *session)
{
	nsec now = p->d->cli->now_wall;
	char until[FORMAT_SIZE];
	bool expired = s->until_wall <= now, soon = s->until_wall - now < SOON;

	format_time(s->until_wall, until);
	if (!s->has_certificate)
		doctor_say(p->d, SECTION_PRIMARY, VERDICT_WARN, "tls", NULL, "%s, no certificate",
			   session);
	else if (expired || soon)
		doctor_say(p->d, SECTION_PRIMARY, VERDICT_WARN, "tls", "renew it",
			   "%s, the certificate of %s %s %s", session, p->host,
			   expired ? "expired" : "expires soon:", until);
	else if (s->distrust || !s->named)
		doctor_say(p->d, SECTION_PRIMARY, VERDICT_WARN, "tls",
			   "mail goes there all the same, encrypted; senders that follow MTA-STS "
			   "need one "
			   "that a public authority signed for that name",
			   "%s, the certificate until %s is not valid for %s: %s", session, until,
			   p->host, s->distrust ? s->distrust : "it has other names");
	else
		doctor_say(p->d, SECTION_PRIMARY, VERDICT_OK, "tls", NULL,
			   "%s, the certificate of %s is valid until %s", session, p->host, until);
}

void primary_judge_tls(struct task *tk, struct primary *p)
{
	struct shown s = { .conn = p->conn, .host = p->host };
	const struct stream *stream = &p->conn->stream;

	if (!stream->ssl) {
		doctor_say(p->d, SECTION_PRIMARY, VERDICT_WARN, "tls",
			   "give the primary a certificate: mail to it is readable on its way",
			   ehlo_offers(&p->conn->ehlo, EHLO_STARTTLS)
				   ? "STARTTLS is offered and then refused"
				   : "STARTTLS is not offered");
		return;
	}
	task_on_main_stack(tk, look, &s);
	judge_certificate(p, &s,
			  DOCTOR_TEXT(p->d, "%s %s", stream_tls_version(stream),
				      stream_tls_cipher(stream)));
}
