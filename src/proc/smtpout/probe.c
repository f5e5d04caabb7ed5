#include "proc/smtpout/smtpout.h"

#include "base/cleanup.h"
#include "base/log.h"

#include <stdlib.h>

#define PROBE_ARENA_MAX (64 * 1024)

struct probe_job {
	struct smtpout *so;
	uint64_t life, call;
	struct arena arena;
	str domain;
};

static void job_freep(struct probe_job **job)
{
	if (!*job)
		return;
	arena_done(&(*job)->arena);
	free(*job);
}

static void probe_task(struct task *tk, void *arg)
{
	_cleanup_(job_freep) struct probe_job *job = arg;
	nsec started = task_now(tk);
	struct contact contact;
	Locum__Host host = LOCUM__HOST__INIT;
	Locum__Probed probed = LOCUM__PROBED__INIT;
	IPC_PACKET(packet, PROBED, probed, &probed);

	outbound_probe(tk, &job->so->outbound, job->domain, &job->arena, &contact);
	smtpout_fill_host(&host, &contact);
	probed.attempt = contact.attempt;
	probed.text = contact.text.p ? (char *)contact.text.p : probed.text;
	probed.host = &host;
	probed.latency_us = (uint64_t)((task_now(tk) - started) / NSEC_US);
	log_debug("probe.done", K("domain", job->domain),
		  K_Z("attempt", protobuf_c_enum_descriptor_get_value(&locum__attempt__descriptor,
								      (int)contact.attempt)
					 ->name),
		  K("host", contact.host), K("address", contact.address), K("text", contact.text),
		  K_NSEC("latency", task_now(tk) - started));
	smtpout_reply(tk, job->so, job->life, job->call, &packet);
}

int probe_start(struct smtpout *so, struct ipc_message *m)
{
	_cleanup_(job_freep) struct probe_job *job = calloc(1, sizeof(*job));
	int r;

	if (!job)
		return -ENOMEM;
	job->so = so;
	job->life = so->spoold_life;
	job->call = m->packet->call;
	arena_init(&job->arena, PROBE_ARENA_MAX);
	job->domain = arena_str(&job->arena, str_of(m->packet->probe->domain));
	if (!job->domain.p)
		return -ENOMEM;
	r = task_start(so->loop, &so->jobs, "probe", probe_task, job);
	if (r >= 0)
		TAKE(job);
	return r;
}
