#include "proc/smtpin/answer.h"

static const str text_table[ANSWER_COUNT] = {
#define ROW(name, text) [ANSWER_##name] = { text "\r\n", sizeof(text "\r\n") - 1 }
	ROW(START_TLS, "220 2.0.0 Go ahead"),
	ROW(START_DATA, "354 End data with <CR><LF>.<CR><LF>"),

	ROW(OK, "250 2.0.0 Ok"),
	ROW(SENDER_OK, "250 2.1.0 Sender ok"),
	ROW(RECIPIENT_OK, "250 2.1.5 Recipient ok"),
	ROW(VERIFY, "252 2.0.0 Send some mail, I will try to deliver it"),
	ROW(HELP, "214 2.0.0 EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP ETRN STARTTLS QUIT: "
		  "see RFC 5321"),
	ROW(ETRN_NOTHING, "251 2.0.0 No messages wait for this node"),
	ROW(CHUNK_TAKEN, "250 2.0.0 Chunk taken"),
	ROW(BYE, "221 2.0.0 Bye"),

	ROW(BAD_OCTETS, "500 5.5.2 A command is printable ASCII and ends in CR LF"),
	ROW(LINE_TOO_LONG, "500 5.5.2 Line too long"),
	ROW(UNKNOWN_COMMAND, "500 5.5.1 Command unknown"),
	ROW(NOT_OFFERED, "502 5.5.1 Command not offered"),
	ROW(ARGUMENT_MISSING, "501 5.5.4 An argument is missing"),
	ROW(ARGUMENT_UNEXPECTED, "501 5.5.4 This command takes no argument"),
	ROW(ARGUMENT_INVALID, "501 5.5.4 Argument not understood"),
	ROW(SENDER_INVALID, "501 5.1.7 This is no reverse-path (RFC 5321 section 4.1.2)"),
	ROW(SENDER_TOO_LONG, "501 5.1.7 Address too long (RFC 5321 section 4.5.3.1)"),
	ROW(RECIPIENT_INVALID, "501 5.1.3 This is no forward-path (RFC 5321 section 4.1.2)"),
	ROW(RECIPIENT_TOO_LONG, "501 5.1.3 Address too long (RFC 5321 section 4.5.3.1)"),
	ROW(ADDRESS_8BIT, "553 5.6.7 Addresses are ASCII where SMTPUTF8 is not in use"),
	ROW(PARAMETER_UNKNOWN, "555 5.5.4 Parameter not offered"),
	ROW(PARAMETER_INVALID, "501 5.5.4 Parameter not understood"),
	ROW(HELLO_FIRST, "503 5.5.1 Say EHLO first"),
	ROW(MAIL_FIRST, "503 5.5.1 Say MAIL first"),
	ROW(MAIL_ALREADY, "503 5.5.1 A transaction is open; RSET ends it"),
	ROW(NO_RECIPIENTS, "554 5.5.1 No valid recipients"),
	ROW(BDAT_BEGUN, "503 5.5.1 BDAT has begun the message: BDAT ends it, or RSET"),
	ROW(DATA_BINARY, "503 5.5.1 BODY=BINARYMIME needs BDAT"),
	ROW(ETRN_IN_TRANSACTION, "503 5.5.1 A transaction is open; RSET ends it"),
	ROW(TOLD_IN_TRANSACTION, "503 5.5.1 A transaction is open; RSET ends it"),
	ROW(REQUIRETLS_NEEDS_TLS, "530 5.7.10 REQUIRETLS needs TLS: say STARTTLS first"),
	ROW(TLS_ALREADY, "503 5.5.1 TLS is on already"),
	ROW(TLS_NOT_OFFERED, "502 5.5.1 STARTTLS is not offered"),

	ROW(MAIL_REFUSED, "503 5.5.1 MAIL was refused"),

	ROW(NOT_OUR_DOMAIN, "550 5.7.1 Relaying denied: no mail is taken here for this domain"),
	ROW(ROUTED, "550 5.7.1 No mail is taken here for a local part that says a way (%, !, @)"),
	ROW(NO_SUCH_USER, "550 5.1.1 No such user"),
	ROW(NO_SMTPUTF8,
	    "553 5.6.7 The recipient's server takes no internationalised mail (SMTPUTF8)"),
	ROW(NO_REQUIRETLS, "550 5.7.30 The recipient's server does not offer REQUIRETLS"),
	ROW(NO_BINARYMIME, "550 5.6.1 The recipient's server does not offer BINARYMIME"),
	ROW(TOO_LARGE, "552 5.3.4 Message too large"),
	ROW(BARE_NEWLINE, "550 5.6.0 Bare CR or LF in the message: lines end in CR LF"),
	ROW(HIDDEN_DOT, "550 5.6.0 A line of control characters and a dot: some servers would end "
			"the message there"),
	ROW(TOO_MANY_HOPS, "554 5.4.6 Too many hops"),
	ROW(LOOP, "554 5.4.6 Loop: this message has been here for this recipient before"),

	ROW(ETRN_NOT_OURS, "459 4.7.1 No mail is kept here for this node"),
	ROW(ETRN_TOO_SOON, "458 4.7.0 It was started a moment ago, try again later"),
	ROW(ETRN_FAILED, "458 4.3.0 It could not be started, try again later"),
	ROW(NO_SPACE, "452 4.3.1 No space for mail now, try again later"),
	ROW(BUSY, "452 4.3.1 Too much mail in progress, try again later"),
	ROW(NOT_STORED, "451 4.3.0 The message could not be stored, try again later"),
	ROW(TOO_MANY_RECIPIENTS,
	    "452 4.5.3 Too many recipients, send the rest in another transaction"),

	ROW(OTHER_SERVER,
	    "452 4.5.3 Recipients of another server: send them in another transaction"),
	ROW(USE_PRIMARY, "451 4.7.1 The server of better preference is up: please use it"),

	ROW(NOT_KNOWN,
	    "450 4.1.1 Not known here to exist, and its server is away: try again later"),
	ROW(RATE, "450 4.7.1 Too much from your address in this hour, try again later"),

	ROW(CHUNK_INVALID, "501 5.5.4 The size of this chunk is not understood, goodbye"),
	ROW(EARLY_TALKER, "554 5.5.1 You spoke before the greeting"),
	ROW(FOREIGN_PROTOCOL, "554 5.5.1 This is a server for mail (SMTP), and that is none"),
	ROW(TOO_MANY_ERRORS, "421 4.7.0 Too many errors, goodbye"),
	ROW(RATE_GOODBYE, "421 4.7.0 Too much from your address in this hour, goodbye"),
	ROW(LINE_ENDLESS, "421 4.7.0 This line does not end, goodbye"),
	ROW(IDLE_TALK, "421 4.7.0 Too many commands without mail, goodbye"),
	ROW(NO_MAIL, "421 4.4.2 No mail for too long, goodbye"),
	ROW(TIMED_OUT, "421 4.4.2 Too slow, goodbye"),
	ROW(DATA_TIMED_OUT, "421 4.4.2 The data came too slowly, goodbye"),
	ROW(SHUTTING_DOWN, "421 4.3.2 Shutting down, come back soon"),
	ROW(SESSIONS_FULL, "421 4.7.0 Too many sessions, come back later"),
	ROW(CLIENT_FULL, "421 4.7.0 Too many sessions from your address"),
	ROW(NETWORK_FULL, "421 4.7.0 Too many sessions from your network"),
	ROW(STRANGERS_WAIT, "421 4.3.2 Too busy for clients not known here, come back later"),
#undef ROW
};

str answer_text(enum answer a)
{
	must(text_table[a].n > 0);
	return text_table[a];
}

str answer_line(enum answer a)
{
	return str_first(answer_text(a), text_table[a].n - 2);
}

bool answer_is_mistake(enum answer a)
{
	return a >= ANSWER_BAD_OCTETS && a <= ANSWER_TLS_NOT_OFFERED;
}

bool answer_is_deferral(enum answer a)
{
	return answer_text(a).p[0] == '4';
}

bool answer_is_refusal(enum answer a)
{
	return a >= ANSWER_NOT_OUR_DOMAIN && a <= ANSWER_TOO_LARGE;
}

bool answer_is_last(enum answer a)
{
	return a == ANSWER_BYE || a >= ANSWER_CHUNK_INVALID;
}

enum answer answer_to_complaint(enum smtp_complaint complaint, enum smtp_verb verb)
{
	/* Octets follow, and nobody knows how many: they must not be taken for commands. */
	if (verb == SMTP_BDAT)
		return ANSWER_CHUNK_INVALID;
	switch (complaint) {
	case SMTP_FINE:
		break;
	case SMTP_BAD_OCTETS:
		return ANSWER_BAD_OCTETS;
	case SMTP_LINE_TOO_LONG:
		return ANSWER_LINE_TOO_LONG;
	case SMTP_NO_SUCH_VERB:
		return ANSWER_UNKNOWN_COMMAND;
	case SMTP_ARGUMENT_MISSING:
		return ANSWER_ARGUMENT_MISSING;
	case SMTP_ARGUMENT_UNEXPECTED:
		return ANSWER_ARGUMENT_UNEXPECTED;
	case SMTP_ARGUMENT_INVALID:
		return ANSWER_ARGUMENT_INVALID;
	case SMTP_PATH_INVALID:
		return verb == SMTP_MAIL ? ANSWER_SENDER_INVALID : ANSWER_RECIPIENT_INVALID;
	case SMTP_PATH_TOO_LONG:
		return verb == SMTP_MAIL ? ANSWER_SENDER_TOO_LONG : ANSWER_RECIPIENT_TOO_LONG;
	case SMTP_PATH_8BIT:
		return ANSWER_ADDRESS_8BIT;
	case SMTP_PARAMETER_UNKNOWN:
		return ANSWER_PARAMETER_UNKNOWN;
	case SMTP_PARAMETER_INVALID:
		return ANSWER_PARAMETER_INVALID;
	}
	must(complaint != SMTP_FINE);
	return ANSWER_NONE;
}
