#include "proc/smtpin/session.h"

#include "base/log.h"
#include "proc/smtpin/arrival.h"
#include "proc/smtpin/command_line.h"
#include "proc/smtpin/etrn.h"
#include "proc/smtpin/hello.h"
#include "proc/smtpin/intake.h"
#include "proc/smtpin/live.h"
#include "proc/smtpin/mail.h"
#include "proc/smtpin/rates.h"
#include "proc/smtpin/screen.h"
#include "proc/smtpin/told.h"

#define REPLY_TIME (5 * NSEC_MINUTE)
#define LAST_WORDS_TIME (5 * NSEC_S)
#define LINGER_TIME (2 * NSEC_S)
#define LINGER_BYTES_MAX (4 * 1024 * 1024)
#define MISTAKES_MAX 100
/* Recipients deferred since the client had its share (rates): enough to see that it does not listen. */
#define RATE_ANSWERS_MAX 20
/* Whoever keeps a session must bring mail: so many commands in a row that bring none, and so long without
 * any. Every command still has its five minutes. */
#define IDLE_COMMANDS_MAX 100
#define MAIL_TIME (30 * NSEC_MINUTE)
/* Reads before others get a turn: a fast sender must not keep the process to itself. */
#define FILLS_A_TURN 16

/* A whole scratch buffer of the stream behind a part of a line that is pending. */
#define IN_BYTES_MAX (68 * 1024)
#define OUT_BYTES_MAX 4096

/* --- input and output --- */

ssize_t session_fill(struct task *tk, struct session *s, nsec deadline)
{
	int r;

	r = stream_flush(tk, &s->stream, task_in(tk, REPLY_TIME));
	if (r < 0)
		return r;
	if (++s->fills % FILLS_A_TURN == 0) {
		r = task_yield(tk);
		if (r < 0)
			return r;
	}
	return stream_fill(tk, &s->stream, deadline);
}

int session_write(struct task *tk, struct session *s, str reply)
{
	return stream_write(tk, &s->stream, reply, task_in(tk, REPLY_TIME));
}

int session_answer(struct task *tk, struct session *s, enum answer a)
{
	return session_write(tk, s, answer_text(a));
}

int session_pass_words(struct task *tk, struct session *s, const Locum__LiveAnswer *said)
{
	char text[WORDS_LINE_BYTES];
	int r = 0;

	for (size_t i = 0; i < words_lines(said) && r == 0; i++)
		r = session_write(tk, s, words_line(said, i, text));
	return r;
}

const char *session_listener(const struct session *s)
{
	/* Strings of a conf are NUL-terminated in its arena. */
	return s->settings->conf->listen[s->listen_index].name.p;
}

const char *session_helo(const struct session *s)
{
	return told_value(s, ATTRIBUTE_HELO, s->helo ? s->helo : "");
}

/* --- who the client is --- */

enum answer session_become(struct session *s, const struct addr *client)
{
	client_place place;
	enum answer a =
		server_admit(s->srv, client, s->settings->conf->limits.sessions_per_client, &place);

	if (a != ANSWER_NONE)
		return a;
	client_table_leave(s->srv->clients, s->place);
	s->place = place;
	s->client = *client;
	return ANSWER_NONE;
}

uint64_t session_symbols(const struct session *s)
{
	if (s->trusted)
		return 0;
	return s->symbols | facts_symbols(s->facts, s->settings->conf);
}

/* --- what a session forgets --- */

void session_end_transaction(struct session *s)
{
	if (s->transaction) {
		live_leave(s);
		told_forget_forward(s);
	}
	intake_end(s);
	transaction_free(s->transaction);
	s->transaction = NULL;
}

void session_forget_hello(struct session *s)
{
	session_end_transaction(s);
	s->mail_refused = false;
	free(s->helo);
	s->helo = NULL;
	s->hello = HELLO_NONE;
	s->offered = (struct smtp_dialect){ 0 };
}

/* --- commands without consequence --- */

static enum answer do_rset(struct session *s, const struct smtp_command *c)
{
	(void)c;
	session_end_transaction(s);
	s->mail_refused = false;
	return ANSWER_OK;
}

static enum answer do_noop(struct session *s, const struct smtp_command *c)
{
	(void)s;
	(void)c;
	return ANSWER_OK;
}

static enum answer do_vrfy(struct session *s, const struct smtp_command *c)
{
	(void)s;
	(void)c;
	return ANSWER_VERIFY;
}

static enum answer do_help(struct session *s, const struct smtp_command *c)
{
	(void)s;
	(void)c;
	return ANSWER_HELP;
}

static enum answer do_quit(struct session *s, const struct smtp_command *c)
{
	(void)s;
	(void)c;
	return ANSWER_BYE;
}

static enum answer do_not_offered(struct session *s, const struct smtp_command *c)
{
	(void)s;
	(void)c;
	return ANSWER_NOT_OFFERED;
}

static enum answer (*const do_table[])(struct session *s, const struct smtp_command *c) = {
	[SMTP_HELO] = do_hello,        [SMTP_EHLO] = do_hello,
	[SMTP_MAIL] = do_mail,         [SMTP_RCPT] = do_rcpt,
	[SMTP_DATA] = do_data,         [SMTP_RSET] = do_rset,
	[SMTP_NOOP] = do_noop,         [SMTP_VRFY] = do_vrfy,
	[SMTP_HELP] = do_help,         [SMTP_QUIT] = do_quit,
	[SMTP_STARTTLS] = do_starttls, [SMTP_NOT_OFFERED] = do_not_offered,
	[SMTP_BDAT] = do_bdat,         [SMTP_ETRN] = do_etrn,
	[SMTP_XCLIENT] = do_xclient,   [SMTP_XFORWARD] = do_xforward,
};

/* Commands that bring mail no nearer. */
static const bool idle_table[ELEMENTS(do_table)] = {
	[SMTP_HELO] = true, [SMTP_EHLO] = true,    [SMTP_RSET] = true,
	[SMTP_NOOP] = true, [SMTP_VRFY] = true,    [SMTP_HELP] = true,
	[SMTP_ETRN] = true, [SMTP_XCLIENT] = true, [SMTP_XFORWARD] = true,
};

/* --- one turn --- */

/* What a line leads to, as far as it outlives the line. */
struct decision {
	enum answer answer;
	enum smtp_verb verb;
	uint64_t chunk_bytes; /* BDAT: so many octets follow, whatever the answer */
	bool chunk_last;
	int symbol; /* ANSWER_SCREENED: for this one */
	char node[ETRN_NODE_SIZE];
};

/* What a line says of a client by its form. */
static void screen_line(struct session *s, enum smtp_complaint complaint, enum smtp_verb verb,
			size_t bytes)
{
	str pending = stream_pending(&s->stream);

	if (complaint == SMTP_NO_SUCH_VERB ||
	    (complaint == SMTP_BAD_OCTETS && verb == SMTP_UNKNOWN))
		s->symbols |= screen_no_command(pending, ++s->unknown_commands);
	/* Octets behind BDAT are its own. */
	else if (pending.n > bytes && verb != SMTP_BDAT)
		s->symbols |= screen_pipelined(s->hello == HELLO_EHLO, verb);
}

/* One line → one decision, without waiting for anything. */
static void decide(struct session *s, str line, struct decision *ret)
{
	const struct smtp_dialect dialect = hello_dialect(s);
	enum smtp_complaint complaint;
	struct smtp_command c;
	enum answer a;

	complaint = smtp_command_parse(line, &dialect, &c);
	if (!s->trusted)
		screen_line(s, complaint, c.verb, line.n + 2);
	if (complaint == SMTP_FINE) {
		a = do_table[c.verb](s, &c);
		s->idle_commands += idle_table[c.verb];
	} else {
		a = answer_to_complaint(complaint, c.verb);
	}
	/* No server of mail is what it looks for. */
	if (s->symbols & SCREEN_BIT(CHECK_FOREIGN_PROTOCOL) && complaint != SMTP_FINE &&
	    screen_refusal_of_all(s->settings->conf, s->symbols) >= 0)
		a = ANSWER_FOREIGN_PROTOCOL;
	if (c.verb == SMTP_MAIL)
		s->mail_refused = !s->transaction;
	ret->answer = a;
	ret->verb = c.verb;
	ret->chunk_bytes = c.chunk_bytes;
	ret->chunk_last = c.chunk_last;
	if (a == ANSWER_SCREENED)
		ret->symbol = mail_refusal(s, &c.path);
	if (a == ANSWER_START_ETRN)
		str_copy(c.argument, ret->node, sizeof(ret->node));
}

/* A reload takes effect between transactions. When the listener is gone the session keeps what it has. */
static void take_new_settings(struct session *s)
{
	struct settings *newest = s->srv->settings;
	int index;

	if (s->settings == newest || s->transaction)
		return;
	index = settings_listen_index(newest, str_of(session_listener(s)));
	if (index < 0)
		return;
	settings_unref(s->settings);
	s->settings = settings_ref(newest);
	s->listen_index = (size_t)index;
}

static enum answer words_for(const struct session *s, int r)
{
	switch (r) {
	case -ETIMEDOUT:
		return ANSWER_TIMED_OUT;
	case -E2BIG:
		return ANSWER_LINE_ENDLESS;
	case -ECANCELED:
		return s->srv->closing ? ANSWER_SHUTTING_DOWN : ANSWER_STRANGERS_WAIT;
	default:
		return ANSWER_NONE; /* the connection is gone */
	}
}

/* A message came, or was refused. */
static void message_over(struct task *tk, struct session *s)
{
	session_end_transaction(s);
	s->idle_commands = 0;
	s->mail_at = task_now(tk);
}

static int take_data(struct task *tk, struct session *s, enum answer *ret_last_words)
{
	int r;

	r = session_answer(tk, s, ANSWER_START_DATA);
	if (r < 0)
		return r;
	r = session_receive(tk, s, ret_last_words);
	message_over(tk, s);
	return r;
}

static int take_chunk(struct task *tk, struct session *s, const struct decision *d,
		      enum answer *ret_last_words)
{
	bool over;
	int r;

	/* Nothing brings mail no nearer either. */
	s->idle_commands += !d->chunk_bytes && !d->chunk_last;
	r = session_take_chunk(tk, s, d->chunk_bytes, d->chunk_last, &over, ret_last_words);
	if (over)
		message_over(tk, s);
	return r;
}

static bool is_unknown_recipient(enum answer a)
{
	return a == ANSWER_NOT_OUR_DOMAIN || a == ANSWER_ROUTED || a == ANSWER_NO_SUCH_USER;
}

/* What the client did wrong, for its rates and the tarpit. */
static void count_wrong(struct session *s, enum answer a)
{
	if (is_unknown_recipient(a)) {
		s->unknown_recipients++;
		server_count(s->srv, &s->client, CLIENT_UNKNOWN_RECIPIENTS, 1);
	} else if (answer_is_mistake(a)) {
		s->mistakes++;
		server_count(s->srv, &s->client, CLIENT_ERRORS, 1);
	}
}

/* Guessing takes time; but not where a session that sleeps holds up those that wait for its place, or for our end. */
static nsec tarpit_time(const struct session *s, enum answer a)
{
	const struct server *srv = s->srv;

	if (!answer_is_mistake(a) && !is_unknown_recipient(a))
		return 0;
	if (srv->draining || srv->closing || srv->stress.state != STRESS_NONE)
		return 0;
	return tarpit_delay(s->mistakes, s->unknown_recipients,
			    s->trusted || server_favours(srv, &s->client));
}

/* What was answered before goes out first. The session may be ended meanwhile, as when it waits for a command. */
static int wait_in_tarpit(struct task *tk, struct session *s, enum answer a)
{
	nsec delay = tarpit_time(s, a);
	int r;

	if (!delay)
		return 0;
	r = stream_flush(tk, &s->stream, task_in(tk, REPLY_TIME));
	if (r < 0)
		return r;
	s->waiting = !s->transaction;
	r = task_sleep(tk, delay);
	s->waiting = false;
	return r;
}

/* Has the client said too much of it in this session? What it has recipients for it may still send. */
static enum answer enough_of(struct session *s, enum answer a)
{
	if (answer_is_mistake(a) && s->mistakes >= MISTAKES_MAX)
		return ANSWER_TOO_MANY_ERRORS;
	if (a == ANSWER_RATE && ++s->rate_answers >= RATE_ANSWERS_MAX &&
	    !transaction_recipient_count(s->transaction))
		return ANSWER_RATE_GOODBYE;
	return ANSWER_NONE;
}

/* The answer is all there is to do. */
static int just_say(struct task *tk, struct session *s, enum answer a, enum answer *ret_last_words)
{
	int r;

	if (answer_is_last(a)) {
		*ret_last_words = a;
		return -ESHUTDOWN;
	}
	r = wait_in_tarpit(tk, s, a);
	if (r < 0) {
		*ret_last_words = words_for(s, r);
		return r;
	}
	r = session_answer(tk, s, a);
	if (r < 0)
		return r;
	count_wrong(s, a);
	s->srv->counters.deferred_total += answer_is_deferral(a);
	*ret_last_words = enough_of(s, a);
	return *ret_last_words ? -EPROTO : 0;
}

/* The primary's words, which count against the client as ours would. */
static int pass_words(struct task *tk, struct session *s, const Locum__LiveAnswer *said,
		      enum answer *ret_last_words)
{
	enum answer like = words_mean_unknown(said) ? ANSWER_NO_SUCH_USER : ANSWER_RECIPIENT_OK;
	int r = wait_in_tarpit(tk, s, like);

	if (r < 0) {
		*ret_last_words = words_for(s, r);
		return r;
	}
	r = session_pass_words(tk, s, said);
	if (r == 0)
		count_wrong(s, like);
	return r;
}

/* What the primary said of this recipient earlier. */
static int pass_earlier_words(struct task *tk, struct session *s, char *words,
			      enum answer *ret_last_words)
{
	Locum__LiveAnswer said = LOCUM__LIVE_ANSWER__INIT;
	char *line = words + strlen("550 ");

	said.code = 550;
	said.lines = &line;
	said.n_lines = 1;
	return pass_words(tk, s, &said, ret_last_words);
}

static int spool_recipient(struct task *tk, struct session *s, enum answer *ret_last_words)
{
	char words[DIRECTORY_WORDS_SIZE];
	enum answer a = mail_spool_recipient(tk, s, words);

	if (a == ANSWER_NO_SUCH_USER && str_starts(str_of(words), STR("550 ")))
		return pass_earlier_words(tk, s, words, ret_last_words);
	return just_say(tk, s, a, ret_last_words);
}

static int ask_primary(struct task *tk, struct session *s, enum answer *ret_last_words)
{
	_cleanup_(ipc_message_done) struct ipc_message reply = { 0 };
	const Locum__LiveAnswer *said;

	if (live_ask(tk, s, &reply, &said) != LOCUM__LIVE_WAY__LIVE_REPLY)
		return spool_recipient(tk, s, ret_last_words);
	if (words_are_yes(said))
		mail_take_recipient(s);
	else
		mail_log_refused(s, said);
	return pass_words(tk, s, said, ret_last_words);
}

/* The octets behind a BDAT that is refused come before the refusal. */
static int refuse_chunk(struct task *tk, struct session *s, const struct decision *d,
			enum answer *ret_last_words)
{
	int r;

	s->idle_commands++;
	r = session_skip_chunk(tk, s, d->chunk_bytes);
	if (r == 0)
		return just_say(tk, s, d->answer, ret_last_words);
	*ret_last_words = r == -EFBIG ? d->answer : words_for(s, r);
	return r;
}

/* Acts on a decision. 0: go on; else the session ends, with *ret_last_words. */
static int act(struct task *tk, struct session *s, const struct decision *d,
	       enum answer *ret_last_words)
{
	if (d->answer == ANSWER_START_TLS)
		return hello_start_tls(tk, s);
	if (d->answer == ANSWER_HELLO)
		return hello_write(tk, s);
	if (d->answer == ANSWER_START_DATA)
		return take_data(tk, s, ret_last_words);
	if (d->answer == ANSWER_TAKE_CHUNK)
		return take_chunk(tk, s, d, ret_last_words);
	if (d->answer == ANSWER_START_ETRN)
		return etrn_start(tk, s, str_of(d->node));
	if (d->answer == ANSWER_GREETING)
		return hello_greet(tk, s);
	if (d->answer == ANSWER_SCREENED)
		return mail_write_refusal(tk, s, d->symbol);
	if (d->answer == ANSWER_ASK_PRIMARY)
		return ask_primary(tk, s, ret_last_words);
	if (d->answer == ANSWER_TO_SPOOL)
		return spool_recipient(tk, s, ret_last_words);
	if (d->verb == SMTP_BDAT && d->chunk_bytes)
		return refuse_chunk(tk, s, d, ret_last_words);
	return just_say(tk, s, d->answer, ret_last_words);
}

static int check_patience(struct task *tk, const struct session *s, enum answer *ret_last_words)
{
	if (s->idle_commands >= IDLE_COMMANDS_MAX)
		*ret_last_words = ANSWER_IDLE_TALK;
	else if (task_now(tk) - s->mail_at >= MAIL_TIME)
		*ret_last_words = ANSWER_NO_MAIL;
	else
		return 0;
	return -EPROTO;
}

/* For the whole next line, so that a byte a minute does not keep a session. A message that began has its
 * own bound: nobody rests between two chunks. */
static nsec line_deadline(struct task *tk, const struct session *s)
{
	nsec deadline = task_in(tk, server_command_time(s->srv, &s->client));

	return s->intake ? MIN(deadline, pace_ends_at(&s->intake->pace)) : deadline;
}

static int take_turn(struct task *tk, struct session *s, enum answer *ret_last_words)
{
	struct decision d = { .answer = ANSWER_LINE_TOO_LONG };
	size_t bytes;
	str line;
	int r;

	s->waiting = !s->transaction;
	s->waiting_since = task_now(tk);
	if (s->waiting && s->srv->closing)
		r = -ECANCELED;
	else
		r = command_line_read(tk, s, line_deadline(tk, s), &line, &bytes);
	s->waiting = false;
	if (r < 0 && r != -EMSGSIZE) {
		*ret_last_words = words_for(s, r);
		return r;
	}
	take_new_settings(s);
	if (r == 0) {
		decide(s, line, &d);
		if (d.answer == ANSWER_FACTS_FIRST) {
			facts_wait(tk, s->facts, task_in(tk, FACTS_WAIT));
			s->facts_waited = true;
			decide(s, line, &d);
		}
		stream_consume(&s->stream, bytes);
	}
	r = act(tk, s, &d, ret_last_words);
	return r < 0 ? r : check_patience(tk, s, ret_last_words);
}

/* --- the whole session --- */

static int converse(struct task *tk, struct session *s, enum answer *ret_last_words)
{
	int r;

	r = session_arrive(tk, s, ret_last_words);
	if (r < 0)
		return r;
	r = hello_greet(tk, s);
	while (r == 0)
		r = take_turn(tk, s, ret_last_words);
	return r;
}

/* Closing a socket with unread input resets the connection, which may overtake our last words: what still
 * comes is read and thrown away, within bounds, until the client closes. */
static void linger(struct task *tk, struct session *s)
{
	nsec deadline = task_in(tk, LINGER_TIME);
	size_t bytes = 0;

	while (bytes < LINGER_BYTES_MAX) {
		ssize_t got;

		stream_consume(&s->stream, stream_pending(&s->stream).n);
		got = session_fill(tk, s, deadline);
		if (got <= 0)
			return;
		bytes += (size_t)got;
	}
}

static void say_last_words(struct task *tk, struct session *s, enum answer last_words)
{
	/* A cancelled task can still say what goes into the socket's buffer at once. */
	if (session_answer(tk, s, last_words) < 0 ||
	    stream_flush(tk, &s->stream, task_in(tk, LAST_WORDS_TIME)) < 0)
		return;
	if (last_words != ANSWER_BYE && last_words != ANSWER_SHUTTING_DOWN)
		linger(tk, s);
}

static void log_closed(const struct session *s, int r, enum answer last_words)
{
	const char *tls = stream_tls_version(&s->stream);
	char client[ADDR_TEXT_SIZE];

	log_debug("session.closed", K_Z("client", addr_ip_text(&s->client, client)),
		  K_Z("helo", session_helo(s)), K_INT("messages", s->messages),
		  K_Z("tls", tls ? tls : "none"),
		  K_Z("server_name", stream_tls_server_name(&s->stream)),
		  K_INT("resumed", stream_tls_resumed(&s->stream)),
		  K("said", last_words ? answer_line(last_words) : STR("nothing")), K_ERR(r));
}

static void session_end(struct session *s)
{
	struct server *srv = s->srv;

	list_remove(&s->link);
	srv->session_count--;
	client_table_leave(srv->clients, s->place);
	stream_done(&s->stream);
	session_end_transaction(s);
	facts_unref(s->facts);
	told_free(s);
	settings_unref(s->settings);
	free(s->helo);
	free(s);
}

static void session_main(struct task *tk, void *arg)
{
	enum answer last_words = ANSWER_NONE;
	struct session *s = arg;
	int r;

	s->task = tk;
	r = converse(tk, s, &last_words);
	if (last_words)
		say_last_words(tk, s, last_words);
	log_closed(s, r, last_words);
	session_end(s);
}

void session_start(struct server *srv, size_t listen_index, int fd, const struct addr *client,
		   client_place place)
{
	struct session *s = calloc(1, sizeof(*s));
	int r = -ENOMEM;

	_Static_assert(sizeof(*s) <= 1024, "an idle session is small");
	if (s) {
		r = stream_init(&s->stream, srv->loop, fd, IN_BYTES_MAX, OUT_BYTES_MAX);
		if (r < 0)
			free(s);
	}
	if (r < 0) {
		sys_close(fd);
		client_table_leave(srv->clients, place);
		return;
	}
	s->srv = srv;
	s->client = *client;
	s->place = place;
	s->mail_at = loop_now(srv->loop);
	s->listen_index = listen_index;
	s->settings = settings_ref(srv->settings);
	list_append(&srv->session_list, &s->link);
	srv->session_count++;
	srv->counters.sessions_total++;
	r = task_start(srv->loop, &srv->sessions, "session", session_main, s);
	if (r < 0)
		session_end(s);
}
