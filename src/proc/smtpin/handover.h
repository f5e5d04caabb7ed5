/*
 * handover: a message and what is known about it, on its way out of this process: to the primary (live.h) or to
 * spoold, or to one after the other, and then under one id. It lives in the transaction's arena: too much for a task's
 * stack page.
 */
#pragma once

#include "proc/smtpin/session.h"

struct handover {
	Locum__Envelope envelope;
	Locum__Client client;
	Locum__Append append;
	Locum__Packet packet;
	char address[ADDR_TEXT_SIZE];
	msg_id id;
};

/* What is known by now: a new id, the client, the recipients that were taken, the symbols. NULL: no memory. */
struct handover *handover_new(struct session *s);
/* So much for the message itself. */
void handover_has_body(struct handover *h, uint64_t bytes, bool any_8bit);

/* Envelope and sealed body to spoold. ANSWER_QUEUED only once spoold said that the message is on stable
 * storage. `ambiguous`: the primary may have it. */
enum answer handover_to_spool(struct task *tk, struct session *s, struct handover *h, int body,
			      bool ambiguous);
