#include "proc/smtpout/smtpout.h"

#include "base/cleanup.h"

/* netd bounds itself to less. */
#define DIAL_WAIT (2 * NSEC_MINUTE)
#define NETD_LIVES 2 /* how many of them may die under one question */

static int ask(struct task *tk, struct smtpout *so, Locum__Packet *packet, struct ipc_message *ret,
	       nsec deadline)
{
	int r = -EPIPE;

	for (int life = 0; life < NETD_LIVES && r == -EPIPE; life++) {
		nsec patience = MIN(task_in(tk, so->netd_wait), deadline);

		while (!so->netd) {
			r = signal_wait(tk, &so->netd_came, patience);
			if (r < 0)
				return r == -ETIMEDOUT ? -EPIPE : r;
		}
		r = ipc_call(tk, so->netd, packet, -1, ret, deadline);
	}
	return r;
}

/* False: out of memory. A host must not be trusted for records that got lost. */
static bool take_tlsa(const Locum__Dialed *answer, struct arena *arena, struct dialled *ret)
{
	for (size_t i = 0; i < answer->n_tlsa && ret->tlsa_count < TLS_TLSA_MAX; i++) {
		const Locum__Tlsa *from = answer->tlsa[i];
		struct tls_tlsa *to = &ret->tlsa[ret->tlsa_count];

		if (from->usage > UINT8_MAX || from->selector > UINT8_MAX ||
		    from->matching > UINT8_MAX)
			continue;
		*to = (struct tls_tlsa){
			.usage = (uint8_t)from->usage,
			.selector = (uint8_t)from->selector,
			.matching = (uint8_t)from->matching,
			.data = arena_str(arena, str_mem(from->data.data, from->data.len)),
		};
		if (!to->data.p)
			return false;
		ret->tlsa_count++;
	}
	return true;
}

void dial_by_netd(struct task *tk, struct dialer *d, const struct dial_request *request,
		  struct arena *arena, struct dialled *ret)
{
	struct smtpout *so = CONTAINER(d, struct smtpout, dialer);
	_cleanup_(ipc_message_done) struct ipc_message m = { 0 };
	Locum__Dial dial = LOCUM__DIAL__INIT;
	IPC_PACKET(packet, DIAL, dial, &dial);
	const Locum__Dialed *answer;
	int r;

	*ret = (struct dialled){ .attempt = LOCUM__ATTEMPT__ATTEMPT_DNS_TROUBLE, .fd = -1 };
	ret->text = STR("out of memory");
	dial.domain = (char *)arena_str(arena, request->domain).p;
	if (!dial.domain)
		return;
	dial.start = request->start;
	dial.route = request->route;
	dial.sts = request->sts;
	if (request->sts_id.p)
		dial.sts_id = (char *)arena_str(arena, request->sts_id).p ?: dial.sts_id;
	dial.address_ms = (uint32_t)(request->address_wait / NSEC_MS);
	r = ask(tk, so, &packet, &m, MIN(task_in(tk, DIAL_WAIT), request->deadline));
	if (r < 0) {
		ret->text = r == -EPIPE       ? STR("netd is not running")
			    : r == -ECANCELED ? STR("stopped by our own shutdown")
					      : STR("netd did not answer");
		return;
	}
	if (m.packet->body_case != LOCUM__PACKET__BODY_DIALED) {
		ret->text = STR("netd answered something else");
		return;
	}
	answer = m.packet->dialed;
	*ret = (struct dialled){
		.attempt = answer->attempt,
		.fd = ipc_take_fd(&m, 0),
		.text = arena_str(arena, str_of(answer->text)),
		.destination = arena_str(arena, str_of(answer->destination)),
		.host = arena_str(arena, str_of(answer->host)),
		.address = arena_str(arena, str_of(answer->address)),
		.index = answer->index,
		.count = answer->count,
		.route = answer->route,
		.sts_id = arena_str(arena, str_of(answer->sts_id)),
		.mx = answer->mx,
		.secure = answer->secure,
		.dane = answer->dane != LOCUM__DANE__DANE_NONE,
		.tlsa_base = arena_str(arena, str_of(answer->tlsa_base)),
	};
	if (take_tlsa(answer, arena, ret))
		return;
	closep(&ret->fd);
	*ret = (struct dialled){ .attempt = LOCUM__ATTEMPT__ATTEMPT_DNS_TROUBLE,
				 .fd = -1,
				 .text = STR("out of memory") };
}
