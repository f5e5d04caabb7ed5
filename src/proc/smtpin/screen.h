/*
 * screen: what a client's behaviour, HELO name and DNS facts speak for or against, as symbols of the configuration,
 * and what follows from them: refusal at RCPT, or a score in the envelope. Pure.
 *
 * A set of symbols is a uint64_t: bit i is conf->symbols[i]. The built-in ones have the bits of enum conf_check in every
 * configuration, so a session can collect them over a reload; those of lists come from facts_symbols alone.
 *
 * A client on an allow list (effect not off) is not refused for what DNS says of it: lists, reverse name, HELO name. For
 * what it does itself (SCREEN_BEHAVIOUR) it is.
 */
#pragma once

#include "conf/conf.h"
#include "ipc/locum.pb-c.h"
#include "proc/smtpin/facts.h"
#include "smtp/command.h"

#define SCREEN_BIT(check) ((uint64_t)1 << (check))

/* So many lines that are no command of SMTP make CHECK_UNKNOWN_COMMANDS. */
#define SCREEN_UNKNOWN_COMMANDS 3
/* A reply line without CRLF, and its NUL (RFC 5321 §4.5.3.1.5). */
#define SCREEN_REPLY_SIZE 511

/* --- what was noticed --- */

/* The argument of HELO or EHLO. A client at one of our own addresses, or of this machine, may use our names. */
uint64_t screen_helo(const struct conf *conf, const struct addr *client, str helo);

/* The protocol that speaks so instead of SMTP ("HTTP", "TLS", "SSH" …), or NULL. For what came before the greeting and for
 * everything pending when a line turns out to be no command: some protocols wait for nobody, others come
 * right behind our greeting. A few bytes are enough; longer input is looked at as far as needed. */
const char *screen_protocol(str input);

/* Input that was there before our greeting. */
uint64_t screen_before_greeting(str input);

/* A line that is no command: `pending` is the input from its beginning, count how many such lines there were in this
 * session, this one included. */
uint64_t screen_no_command(str pending, unsigned count);

/* A command that more input stood behind before its reply was written. RFC 2920 §3.1: nobody may do so before the reply
 * to EHLO, or without EHLO; nor behind HELO, EHLO, DATA and STARTTLS, which must be the last of a group. */
uint64_t screen_pipelined(bool esmtp, enum smtp_verb verb);

/* --- what follows --- */

/* The first symbol of the set that refuses mail for the domain, or -1. */
int screen_refusal(const struct conf *conf, const struct conf_domain *domain, uint64_t symbols);
/* The first symbol of the set that refuses mail for every domain, so that there is no point in going on; or -1. */
int screen_refusal_of_all(const struct conf *conf, uint64_t symbols);
/* May a symbol that DNS decides refuse mail for the domain? Then RCPT waits for the facts (facts_wait). */
bool screen_needs_facts(const struct conf *conf, const struct conf_domain *domain);

/* The reply to RCPT that tells the sender's administrator what to mend, without CRLF: "550 5.7.1 …: SYMBOL". Fits
 * always: what does not is cut. */
str screen_reply(const struct conf *conf, int symbol, const struct addr *client,
		 char text[static SCREEN_REPLY_SIZE]);

/* Writes the symbols to the envelope with what exactly was noticed ("zen: 127.0.0.4"), those left out that every domain
 * of its recipients turns off. In the arena; facts may be NULL. 0 or -ENOMEM (nothing is written then). */
int screen_fill(const struct conf *conf, uint64_t symbols, str helo, const struct facts *facts,
		struct arena *arena, Locum__Envelope *envelope);
