/*
 * tls_bench: a client that does one thing over and over: tls_bench WHAT WIRE PORT SECONDS WORKERS
 * and the least server it can have:                      tls_bench serve WIRE PORT CERTIFICATE KEY
 *
 * WHAT  full      connect, a whole TLS handshake, close
 *       resumed   the same with the ticket of an earlier session
 *       mail      connect, one message of 20 KiB, QUIT; with TLS resumed
 *       mails     the same with ten messages, each of which counts
 *       idle      WORKERS clients in one process that say EHLO and then nothing, until standard input ends
 * WIRE  plain, starttls, implicit (SMTP from the first byte), rev (TLS, then openssl s_server -rev)
 *
 * Prints how often it was done and in how many seconds. WORKERS processes do it side by side, each one at
 * a time. idle prints "ready". The server does what OpenSSL has to do and nothing else: one connection at a
 * time, blocking, every line is answered and nothing is kept.
 */
#include "base/str.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define IDLE_MAX 20000

enum wire { PLAIN, STARTTLS, IMPLICIT, REV };

struct client {
	int fd;
	SSL *ssl; /* NULL: in the clear */
};

static SSL_CTX *context;
static SSL_SESSION *session; /* the last that was given */
static enum wire wire;
static uint16_t port;

static _Noreturn void fail(const char *what)
{
	perror(what);
	ERR_print_errors_fp(stderr);
	exit(1);
}

static nsec now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * NSEC_S + t.tv_nsec;
}

static bool put_some(struct client *c, const char *text)
{
	ssize_t n = (ssize_t)strlen(text);

	return (c->ssl ? SSL_write(c->ssl, text, (int)n) : write(c->fd, text, (size_t)n)) == n;
}

static void put(struct client *c, const char *text)
{
	if (!put_some(c, text))
		fail("write");
}

/* A whole reply, which ends with what was written: these servers do not send two at once here. */
static void expect(struct client *c, char digit)
{
	char reply[1500];
	size_t n = 0;

	for (;;) {
		ssize_t got = c->ssl ? SSL_read(c->ssl, reply + n, (int)(sizeof(reply) - n))
				     : read(c->fd, reply + n, sizeof(reply) - n);
		const char *last;

		if (got <= 0 || n + (size_t)got == sizeof(reply))
			fail("read");
		n += (size_t)got;
		if (n < 6 || reply[n - 1] != '\n')
			continue;
		last = memrchr(reply, '\n', n - 1);
		last = last ? last + 1 : reply;
		if (last[3] == '-')
			continue;
		if (last[0] != digit) {
			fprintf(stderr, "%.*s", (int)n, reply);
			exit(1);
		}
		return;
	}
}

static void say(struct client *c, const char *text, char digit)
{
	put(c, text);
	expect(c, digit);
}

static int on_session(SSL *ssl, SSL_SESSION *given)
{
	(void)ssl;
	SSL_SESSION_free(session);
	session = given;
	return 1;
}

static void encrypt(struct client *c, bool resume)
{
	c->ssl = SSL_new(context);
	if (!c->ssl || SSL_set_fd(c->ssl, c->fd) != 1)
		fail("SSL_new");
	if (resume && session)
		SSL_set_session(c->ssl, session);
	if (SSL_connect(c->ssl) != 1)
		fail("SSL_connect");
	if (resume && session && !SSL_session_reused(c->ssl))
		fail("the session was not resumed");
}

static struct client dial(bool resume)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct client c = { .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };

	if (c.fd < 0 || connect(c.fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		fail("connect");
	setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	if (wire == STARTTLS) {
		expect(&c, '2');
		say(&c, "EHLO bench.test\r\n", '2');
		say(&c, "STARTTLS\r\n", '2');
	}
	if (wire != PLAIN)
		encrypt(&c, resume);
	return c;
}

static void hang_up(struct client *c)
{
	/* As if both had said goodbye: else the ticket is not to be used again. */
	if (c->ssl)
		SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(c->ssl);
	close(c->fd);
}

static void begin_mail(struct client *c)
{
	if (wire != STARTTLS)
		expect(c, '2');
	say(c, "EHLO bench.test\r\n", '2');
}

/* A ticket comes with the first bytes after the handshake. */
static void get_ticket(void)
{
	struct client c = dial(false);
	char answer[100];

	if (wire == REV) {
		put(&c, "olleh\n");
		if (SSL_read(c.ssl, answer, sizeof(answer)) <= 0)
			fail("read");
	} else {
		begin_mail(&c);
		say(&c, "QUIT\r\n", '2');
	}
	hang_up(&c);
	if (!session)
		fail("no ticket");
	/* With its cache on OpenSSL uses a ticket once; this client is many. */
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
}

#define MESSAGE_BYTES (20 << 10)

/* One session with so many messages. */
static void send_messages(uint64_t messages)
{
	static char message[MESSAGE_BYTES + 200];
	struct client c = dial(true);

	if (!message[0]) {
		size_t n = (size_t)snprintf(message, sizeof(message), "Subject: bench\r\n\r\n");

		while (n < MESSAGE_BYTES)
			n += (size_t)snprintf(message + n, sizeof(message) - n,
					      "A line of a message of twenty KiB.\r\n");
		snprintf(message + n, sizeof(message) - n, ".\r\n");
	}
	begin_mail(&c);
	while (messages--) {
		say(&c, "MAIL FROM:<s@src.test>\r\n", '2');
		say(&c, "RCPT TO:<r@bench.test>\r\n", '2');
		say(&c, "DATA\r\n", '3');
		say(&c, message, '2');
	}
	say(&c, "QUIT\r\n", '2');
	hang_up(&c);
}

static void shake_hands(bool resume)
{
	struct client c = dial(resume);

	hang_up(&c);
}

static void work(const char *what, nsec end, uint64_t *count)
{
	uint64_t messages = strcmp(what, "mail") == 0 ? 1 : strcmp(what, "mails") == 0 ? 10 : 0;

	while (now() < end) {
		if (messages)
			send_messages(messages);
		else
			shake_hands(strcmp(what, "full") != 0);
		*count += messages ? messages : 1;
	}
}

static int measure(const char *what, int seconds, int workers)
{
	uint64_t *count = mmap(NULL, sizeof(*count) * (size_t)workers, PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t total = 0;
	int status = 0;
	nsec start;

	if (count == MAP_FAILED)
		fail("mmap");
	if (strcmp(what, "full") != 0 && wire != PLAIN)
		get_ticket();
	start = now();
	for (int i = 0; i < workers; i++) {
		if (fork() == 0) {
			work(what, start + seconds * NSEC_S, &count[i]);
			exit(0);
		}
	}
	for (int i = 0; i < workers; i++) {
		int one;

		wait(&one);
		status |= one;
	}
	for (int i = 0; i < workers; i++)
		total += count[i];
	printf("%ju %.3f\n", (uintmax_t)total, (double)(now() - start) / (double)NSEC_S);
	return status != 0;
}

/* --- the least server --- */

static SSL_TICKET_RETURN take_ticket(SSL *ssl, SSL_SESSION *given, const unsigned char *name,
				     size_t n, SSL_TICKET_STATUS status, void *arg)
{
	(void)ssl;
	(void)given;
	(void)name;
	(void)n;
	(void)arg;
	/* It is as good as new. */
	return status == SSL_TICKET_SUCCESS || status == SSL_TICKET_SUCCESS_RENEW
		       ? SSL_TICKET_RETURN_USE
		       : SSL_TICKET_RETURN_IGNORE_RENEW;
}

static int give_ticket(SSL *ssl, void *arg)
{
	(void)ssl;
	(void)arg;
	return 1;
}

static SSL_CTX *server_context(const char *certificate, const char *key)
{
	SSL_CTX *c = SSL_CTX_new(TLS_server_method());

	if (!c || SSL_CTX_use_certificate_file(c, certificate, SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_use_PrivateKey_file(c, key, SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_set_ciphersuites(c, "TLS_AES_128_GCM_SHA256") != 1 ||
	    SSL_CTX_set1_groups_list(c, "X25519") != 1)
		fail("SSL_CTX");
	SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(c, 1);
	SSL_CTX_set_session_ticket_cb(c, give_ticket, take_ticket, NULL);
	SSL_CTX_set_read_ahead(c, 1);
	SSL_CTX_set_options(c, SSL_OP_IGNORE_UNEXPECTED_EOF);
	return c;
}

static const char *reply_to(const char *line)
{
	if (strncmp(line, "EHLO", 4) == 0)
		return "250-bench.test\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n"
		       "250-CHUNKING\r\n250-ENHANCEDSTATUSCODES\r\n250 LIMITS RCPTMAX=1000\r\n";
	if (strncmp(line, "DATA", 4) == 0)
		return "354 End data with <CR><LF>.<CR><LF>\r\n";
	if (strncmp(line, "QUIT", 4) == 0)
		return "221 2.0.0 Bye\r\n";
	return "250 2.0.0 Ok\r\n";
}

/* Whatever comes at once is one line, until DATA; then it goes on to the dot. */
static void serve_one(struct client *c)
{
	static char bytes[65536];
	bool data = false;

	if (!put_some(c, "220 bench.test ESMTP\r\n"))
		return; /* a client that went away is not the end of a server */
	for (;;) {
		ssize_t n = c->ssl ? SSL_read(c->ssl, bytes, sizeof(bytes) - 1)
				   : read(c->fd, bytes, sizeof(bytes) - 1);

		if (n < 3)
			return;
		bytes[n] = '\0';
		if (data && memcmp(bytes + n - 3, ".\r\n", 3) != 0)
			continue;
		if (!put_some(c, data ? "250 2.0.0 Ok\r\n" : reply_to(bytes)))
			return;
		data = !data && strncmp(bytes, "DATA", 4) == 0;
	}
}

static int serve(const char *certificate, const char *key)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	SSL_CTX *server = server_context(certificate, key);

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
	if (listener < 0 || bind(listener, (struct sockaddr *)&at, sizeof(at)) < 0 ||
	    listen(listener, 4096) < 0)
		fail("listen");
	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		struct client c = { .fd = accept(listener, NULL, NULL) };

		setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
		if (wire != PLAIN) {
			c.ssl = SSL_new(server);
			SSL_set_fd(c.ssl, c.fd);
		}
		if (!c.ssl || SSL_accept(c.ssl) == 1)
			serve_one(&c);
		SSL_free(c.ssl);
		close(c.fd);
		ERR_clear_error();
	}
}

static int idle(int clients)
{
	static struct client c[IDLE_MAX];
	char byte;

	for (int i = 0; i < clients; i++) {
		c[i] = dial(false);
		begin_mail(&c[i]);
	}
	printf("ready\n");
	fflush(stdout);
	return read(0, &byte, 1) < 0;
}

int main(int argc, char **argv)
{
	static const char *const wires[] = { "plain", "starttls", "implicit", "rev" };
	int seconds, workers;

	if (argc != 6)
		return fprintf(stderr, "usage: tls_bench WHAT WIRE PORT SECONDS WORKERS\n"), 2;
	while ((size_t)wire < ELEMENTS(wires) && strcmp(argv[2], wires[wire]) != 0)
		wire++;
	port = (uint16_t)strtoul(argv[3], NULL, 10);
	if (strcmp(argv[1], "serve") == 0)
		return serve(argv[4], argv[5]);
	seconds = (int)strtol(argv[4], NULL, 10);
	workers = (int)strtol(argv[5], NULL, 10);
	if ((size_t)wire == ELEMENTS(wires) || workers < 1 || workers > IDLE_MAX)
		return 2;
	context = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(context, on_session);
	/* a server that closes without saying so */
	SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
	return strcmp(argv[1], "idle") == 0 ? idle(workers) : measure(argv[1], seconds, workers);
}
