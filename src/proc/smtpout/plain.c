#include "proc/smtpout/plain.h"

void plain_remember_until(struct plain_hosts *p, str address, nsec until)
{
	size_t at = p->next;

	for (size_t i = 0; i < PLAIN_HOSTS_MAX; i++) {
		if (str_eq(str_of(p->host[i].address), address))
			at = i;
	}
	if (!str_copy(address, p->host[at].address, sizeof(p->host[at].address)))
		return;
	p->host[at].until = until;
	if (at == p->next)
		p->next = (p->next + 1) % PLAIN_HOSTS_MAX;
}

void plain_remember(struct plain_hosts *p, str address, nsec now)
{
	plain_remember_until(p, address, now + PLAIN_HOST_TIME);
}

bool plain_known(const struct plain_hosts *p, str address, nsec now)
{
	for (size_t i = 0; i < PLAIN_HOSTS_MAX; i++) {
		if (p->host[i].until > now && str_eq(str_of(p->host[i].address), address))
			return true;
	}
	return false;
}
