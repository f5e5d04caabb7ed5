/*
 * live: a transaction that the primary answers itself, through smtpout (docs/decisions/0009). Each recipient is asked
 * of it, then the whole message is passed on; its words are the client's. Whatever it does not decide, because it or
 * smtpout is away, breaks off, is too slow or has no place for us, goes to the spool: LIVE_AWAY, logged here.
 *
 * The transaction's struct way (way.h) says whether smtpout knows of it. Replies are owned by whoever declared the
 * message they came in.
 */
#pragma once

#include "proc/smtpin/handover.h"
#include "proc/smtpin/words.h"

/* smtpout keeps within five seconds less. */
#define LIVE_ASK_MAX (30 * NSEC_S)
/* smtpout keeps within five minutes. A client waits ten for the reply to its final dot (RFC 5321 §4.5.3.2.6). */
#define LIVE_SEND_MAX (6 * NSEC_MINUTE)

/* What does the primary say about the recipient that was named? LIVE_REPLY, with its words in *ret_said (which
 * point into *ret_reply), or LIVE_AWAY: the way leads to the spool from here on. What was answered to the client
 * before goes out first. */
Locum__LiveWay live_ask(struct task *tk, struct session *s, struct ipc_message *ret_reply,
			const Locum__LiveAnswer **ret_said);
/* And about the message? LIVE_REPLY: it took or refused it. LIVE_AMBIGUOUS: it may have it, nobody knows. The way leads to
 * the spool unless LIVE_REPLY. */
Locum__LiveWay live_send(struct task *tk, struct session *s, struct handover *h, int body,
			 uint32_t body_crc32c, struct ipc_message *ret_reply,
			 const Locum__LiveAnswer **ret_said);
/* There will be no message, or not on this way: smtpout may forget it. Does not wait. */
void live_leave(struct session *s);
