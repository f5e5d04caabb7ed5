#include "proc/locumd/locumd.h"

#include "base/log.h"
#include "task/sys.h"

/* A ticket resumes a session for a day (net/tls.h): the key that wrote it is kept as long. */
#define NEW_KEY_EVERY (12 * NSEC_HOUR)

void tickets_make(struct supervisor *sup)
{
	sup->ticket_key_count = 1;
	sys_random(sup->ticket_key[0], TICKET_KEY_BYTES);
}

void tickets_turn(struct supervisor *sup)
{
	size_t kept = MIN(sup->ticket_key_count, (size_t)TICKET_KEYS_KEPT - 1);

	memmove(sup->ticket_key[1], sup->ticket_key[0], kept * TICKET_KEY_BYTES);
	sys_random(sup->ticket_key[0], TICKET_KEY_BYTES);
	sup->ticket_key_count = kept + 1;
}

int tickets_send(struct task *tk, struct child *c)
{
	struct supervisor *sup = c->sup;
	Locum__TicketKeys keys = LOCUM__TICKET_KEYS__INIT;
	IPC_PACKET(packet, TICKET_KEYS, ticket_keys, &keys);
	ProtobufCBinaryData key[TICKET_KEYS_KEPT];

	for (size_t i = 0; i < sup->ticket_key_count; i++)
		key[i] = (ProtobufCBinaryData){ TICKET_KEY_BYTES, sup->ticket_key[i] };
	keys.key = key;
	keys.n_key = sup->ticket_key_count;
	return ipc_send(tk, c->control, &packet, -1, task_in(tk, SEND_TIME));
}

void tickets_main(struct task *tk, void *arg)
{
	struct supervisor *sup = arg;

	while (task_sleep(tk, NEW_KEY_EVERY) == 0) {
		tickets_turn(sup);
		for (size_t i = 0; i < sup->child_count; i++) {
			struct child *c = &sup->child[i];

			/* One that is not ready gets them when it is. */
			if (c->process == LOCUM__PROCESS__SMTPIN && c->ready && c->control &&
			    tickets_send(tk, c) < 0)
				log_warn("tickets.untold", K_Z("process", c->title));
		}
	}
}
