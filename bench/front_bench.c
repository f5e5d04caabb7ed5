/*
 * front_bench: many clients of one kind in one process: front_bench KIND PORT COUNT ADDRESS SECONDS
 *
 * KIND  idle      say EHLO, then nothing
 *       idle-tls  STARTTLS and EHLO, then nothing
 *       slow      EHLO, and every other one also MAIL, RCPT and DATA; then one octet a minute
 *       busy      send messages of 20 KiB one after the other
 *
 * The clients come from the addresses that follow ADDRESS, PER_ADDRESS from each. All but busy: "ready HELD FAILED"
 * when each is where it stays, when nothing has moved for SECONDS, or after three times that; then a line for each line of standard input, how
 * many are held and how many were ended by the server; they end with standard input. busy: for SECONDS, after
 * a second that does not count; "MESSAGES SECONDS MEDIAN P99 FAILURES" (of one message, from MAIL to its 250, µs).
 * Behind it all, the first refusal that was met.
 */
#include "base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS_MAX 50000
#define PER_ADDRESS 5
#define OPENING_MAX 1024 /* that have not come where they stay */
#define EVENTS_MAX 256
#define LATENCIES_MAX (1 << 20)
#define SLOW_TIME (60 * NSEC_S)
#define AGAIN_TIME NSEC_S /* before a busy client that was turned away comes again */
#define WARM_TIME NSEC_S
#define MESSAGE_BYTES 20480

struct step {
	const char *text;
	char expected;
	bool encrypt; /* after the reply */
};

enum state { CLOSED, OPENING, HELD, ENDED, FAILED };

struct client {
	int fd;
	SSL *ssl;
	const struct step *script, *step;
	size_t sent;           /* of the step's text */
	unsigned column;       /* of the reply's line that is coming */
	char digit, continued; /* its first and fourth character */
	uint8_t state;         /* enum state */
	nsec begun, again;     /* a message; when to open anew */
};

static char message[MESSAGE_BYTES + 200];
/* clang-format off */
static const struct step idle_script[] = { { NULL, '2', false }, { "EHLO idle.src.test\r\n", '2', false }, { 0 } };
static const struct step tls_script[] = {
	{ NULL, '2', false }, { "EHLO idle.src.test\r\n", '2', false }, { "STARTTLS\r\n", '2', true },
	{ "EHLO idle.src.test\r\n", '2', false }, { 0 },
};
static const struct step data_script[] = {
	{ NULL, '2', false }, { "EHLO slow.src.test\r\n", '2', false }, { "MAIL FROM:<s@src.test>\r\n", '2', false },
	{ "RCPT TO:<r@bench.test>\r\n", '2', false }, { "DATA\r\n", '3', false }, { 0 },
};
static const struct step busy_script[] = {
	{ NULL, '2', false }, { "EHLO busy.src.test\r\n", '2', false }, { "MAIL FROM:<s@src.test>\r\n", '2', false },
	{ "RCPT TO:<r@bench.test>\r\n", '2', false }, { "DATA\r\n", '3', false }, { message, '2', false }, { 0 },
};
/* clang-format on */
#define BUSY_MAIL (&busy_script[2])
#define BUSY_MESSAGE (&busy_script[5])

static struct client client[CLIENTS_MAX];
static size_t client_count, opened, in_state[FAILED + 1], failures;
static SSL_CTX *context;
static int poller;
static uint16_t port;
static struct in_addr base;
static nsec last_move, count_from;
static uint32_t latency[LATENCIES_MAX];
static size_t messages;
static char refusal[200];

static _Noreturn void fail(const char *what)
{
	perror(what);
	exit(1);
}

static nsec now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * NSEC_S + t.tv_nsec;
}

static bool is_busy(const struct client *c)
{
	return c->script == busy_script;
}

static void enter(struct client *c, enum state s)
{
	in_state[c->state]--;
	c->state = (uint8_t)s;
	in_state[s]++;
	last_move = now();
}

static void watch(struct client *c, int operation, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.ptr = c };

	if (epoll_ctl(poller, operation, c->fd, &e) < 0)
		fail("epoll_ctl");
}

static void hang_up(struct client *c, enum state s)
{
	SSL_free(c->ssl);
	c->ssl = NULL;
	close(c->fd);
	c->fd = -1;
	failures += s == FAILED;
	c->again = now() + AGAIN_TIME;
	enter(c, s);
}

static void lose(struct client *c)
{
	hang_up(c, c->state == HELD ? ENDED : FAILED);
}

static void dial(struct client *c, size_t index)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in from = { .sin_family = AF_INET };

	from.sin_addr.s_addr = htonl(ntohl(base.s_addr) + (uint32_t)(index / PER_ADDRESS));
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0)
		fail("socket");
	setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &(int){ 1 }, sizeof(int));
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	if (bind(c->fd, (struct sockaddr *)&from, sizeof(from)) < 0)
		fail("bind");
	if (connect(c->fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS)
		fail("connect");
	c->step = c->script;
	c->sent = c->column = 0;
	watch(c, EPOLL_CTL_ADD, EPOLLIN);
	enter(c, OPENING);
}

static void put(struct client *c)
{
	size_t bytes = strlen(c->step->text);
	ssize_t n = c->ssl ? SSL_write(c->ssl, c->step->text, (int)bytes)
			   : send(c->fd, c->step->text + c->sent, bytes - c->sent, MSG_NOSIGNAL);

	if (n < 0 && (c->ssl || errno != EAGAIN)) {
		lose(c);
		return;
	}
	c->sent += n > 0 ? (size_t)n : 0;
	watch(c, EPOLL_CTL_MOD, c->sent < bytes ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void take_step(struct client *c)
{
	c->sent = 0;
	if (c->step->expected) {
		put(c);
		return;
	}
	/* Where it stays; what its TLS would hold is of no more use. */
	SSL_free(c->ssl);
	c->ssl = NULL;
	enter(c, HELD);
}

static void begin_message(struct client *c, nsec at)
{
	if (c->step == BUSY_MESSAGE && at >= count_from && messages < LATENCIES_MAX)
		latency[messages++] = (uint32_t)((at - c->begun) / 1000);
	if (c->step == BUSY_MESSAGE)
		c->step = BUSY_MAIL - 1;
	c->begun = at;
}

static void encrypt(struct client *c)
{
	int done;

	if (!c->ssl) {
		c->ssl = SSL_new(context);
		if (!c->ssl || SSL_set_fd(c->ssl, c->fd) != 1)
			fail("SSL_new");
	}
	done = SSL_connect(c->ssl);
	if (done == 1) {
		c->step++;
		take_step(c);
	} else if (SSL_get_error(c->ssl, done) != SSL_ERROR_WANT_READ) {
		lose(c);
	}
}

static void take_reply(struct client *c, const char *text)
{
	if (c->digit != c->step->expected) {
		if (!refusal[0])
			snprintf(refusal, sizeof(refusal), "%.*s", (int)strcspn(text, "\r\n"),
				 text);
		hang_up(c, FAILED);
		return;
	}
	if (c->step->encrypt) {
		encrypt(c);
		return;
	}
	if (is_busy(c) && (c->step == BUSY_MESSAGE || c->step + 1 == BUSY_MAIL))
		begin_message(c, now());
	c->step++;
	take_step(c);
}

/* A reply is whole with the first line that has no hyphen behind its code; servers do not send two at once here. */
static bool reply_ends(struct client *c, const char *text, size_t n)
{
	bool end = false;

	for (size_t i = 0; i < n; i++) {
		if (c->column == 0)
			c->digit = text[i];
		if (c->column == 3)
			c->continued = text[i];
		c->column++;
		if (text[i] != '\n')
			continue;
		end = c->column > 3 && c->continued != '-';
		c->column = 0;
	}
	return end;
}

static void get(struct client *c)
{
	char text[1500];
	ssize_t n;

	if (c->ssl && !SSL_is_init_finished(c->ssl)) {
		encrypt(c);
		return;
	}
	n = c->ssl ? SSL_read(c->ssl, text, sizeof(text) - 1)
		   : recv(c->fd, text, sizeof(text) - 1, 0);
	if (n < 0 &&
	    (c->ssl ? SSL_get_error(c->ssl, (int)n) == SSL_ERROR_WANT_READ : errno == EAGAIN))
		return;
	if (n <= 0) {
		lose(c);
		return;
	}
	text[n] = '\0';
	/* The last words to a held one are followed by the end. */
	if (c->state == OPENING && reply_ends(c, text, (size_t)n))
		take_reply(c, text);
}

static void serve(struct client *c, uint32_t events)
{
	if (c->fd >= 0 && events & EPOLLOUT && c->step->text && !c->ssl)
		put(c);
	if (c->fd >= 0 && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		get(c);
}

static void turn(int ms)
{
	static struct epoll_event events[EVENTS_MAX];
	int n = epoll_wait(poller, events, EVENTS_MAX, ms);

	for (int i = 0; i < n; i++)
		serve(events[i].data.ptr, events[i].events);
}

static void open_more(void)
{
	while (opened < client_count && in_state[OPENING] < OPENING_MAX) {
		dial(&client[opened], opened);
		opened++;
	}
}

/* One after the other in a circle, so that each gets its turn once in SLOW_TIME. */
static void drip(nsec since)
{
	static size_t given;
	size_t due = (size_t)((double)(now() - since) / (double)SLOW_TIME * (double)client_count);

	for (; given < due; given++) {
		struct client *c = &client[given % client_count];

		if (c->state == HELD && send(c->fd, "N", 1, MSG_NOSIGNAL) != 1 && errno != EAGAIN)
			lose(c);
	}
}

static bool answer_input(void)
{
	struct pollfd p = { .fd = 0, .events = POLLIN };
	char line[100];

	if (poll(&p, 1, 0) <= 0)
		return true;
	if (read(0, line, sizeof(line)) <= 0)
		return false;
	printf("%zu %zu\n", in_state[HELD], in_state[ENDED]);
	return true;
}

static int hold(nsec stall, bool slow)
{
	nsec begun = now(), since = 0;
	bool ready = false;

	do {
		open_more();
		turn(10);
		if (!ready && ((opened == client_count && !in_state[OPENING]) ||
			       now() - last_move > stall || now() - begun > 3 * stall)) {
			ready = true;
			client_count = opened;
			since = now();
			printf("ready %zu %zu %.1f %s\n", in_state[HELD], failures,
			       (double)(now() - begun) / (double)NSEC_S, refusal);
		}
		if (ready && slow)
			drip(since);
	} while (answer_input());
	return 0;
}

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void write_message(void)
{
	size_t n = (size_t)snprintf(message, sizeof(message), "Subject: bench\r\n\r\n");

	while (n < MESSAGE_BYTES)
		n += (size_t)snprintf(
			message + n, sizeof(message) - n,
			"A line of a message of twenty KiB, of which there are many.\r\n");
	snprintf(message + n, sizeof(message) - n, ".\r\n");
}

static void come_again(nsec at)
{
	for (size_t i = 0; i < client_count; i++) {
		struct client *c = &client[i];

		if (c->fd < 0 && c->again <= at)
			dial(c, i);
	}
}

static int work(nsec seconds)
{
	nsec end, at;

	write_message();
	open_more();
	count_from = now() + WARM_TIME;
	end = count_from + seconds;
	while ((at = now()) < end) {
		turn(10);
		come_again(at);
	}
	qsort(latency, messages, sizeof(*latency), by_size);
	printf("%zu %.3f %u %u %zu %s\n", messages, (double)(at - count_from) / (double)NSEC_S,
	       messages ? latency[messages / 2] : 0, messages ? latency[messages * 99 / 100] : 0,
	       failures, refusal);
	return 0;
}

static const struct step *script_of(const char *kind, size_t index)
{
	if (strcmp(kind, "busy") == 0)
		return busy_script;
	if (strcmp(kind, "idle-tls") == 0)
		return tls_script;
	return strcmp(kind, "slow") == 0 && index % 2 ? data_script : idle_script;
}

int main(int argc, char **argv)
{
	nsec seconds;

	if (argc != 6 || inet_pton(AF_INET, argv[4], &base) != 1)
		return fprintf(stderr, "usage: front_bench KIND PORT COUNT ADDRESS SECONDS\n"), 2;
	port = (uint16_t)strtoul(argv[2], NULL, 10);
	client_count = strtoul(argv[3], NULL, 10);
	seconds = strtol(argv[5], NULL, 10) * NSEC_S;
	if (client_count < 1 || client_count > CLIENTS_MAX)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	setlinebuf(stdout);
	context = SSL_CTX_new(TLS_client_method());
	poller = epoll_create1(EPOLL_CLOEXEC);
	in_state[CLOSED] = client_count;
	for (size_t i = 0; i < client_count; i++)
		client[i] = (struct client){ .fd = -1, .script = script_of(argv[1], i) };
	last_move = now();
	return strcmp(argv[1], "busy") == 0 ? work(seconds)
					    : hold(seconds, strcmp(argv[1], "slow") == 0);
}
