#include "proc/locumd/locumd.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "proc/worker.h"

/* libconfuse and OpenSSL want a deep stack. */
struct reading {
	const char *path;
	struct conf *conf;
	struct buf *error;
	int result;
};

static void read_on_main_stack(void *arg)
{
	struct reading *reading = arg;

	reading->result = conf_read(reading->path, &reading->conf, reading->error);
	if (reading->result == 0)
		reading->result = conf_add_interface_addresses(reading->conf);
}

/* What only a restart can change keeps its old value, and is named. */
static int keep_fixed(const struct supervisor *sup, struct conf *fresh, struct buf *ret_text)
{
	const struct conf *old = sup->conf;
	const char *fixed[4];
	size_t count = 0;

	if (!str_eq(old->state_dir, fresh->state_dir)) {
		fresh->state_dir = arena_str(&fresh->arena, old->state_dir);
		fixed[count++] = "state_dir";
	}
	if (!str_eq(old->user, fresh->user)) {
		fresh->user = arena_str(&fresh->arena, old->user);
		fixed[count++] = "user";
	}
	if (old->smtpin_processes != fresh->smtpin_processes) {
		fresh->smtpin_processes = old->smtpin_processes;
		fixed[count++] = "processes";
	}
	/* The table of clients and the limits of descriptors were made for so many. */
	if (fresh->limits.sessions > sup->sessions_max) {
		fresh->limits.sessions = sup->sessions_max;
		fresh->limits.sessions_per_client =
			MIN(fresh->limits.sessions_per_client, sup->sessions_max);
		fresh->limits.sessions_per_network =
			MIN(fresh->limits.sessions_per_network, sup->sessions_max);
		fixed[count++] = "limits.sessions (more than at the start)";
	}
	if ((old->state_dir.n && !fresh->state_dir.p) || (old->user.n && !fresh->user.p))
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		buf_addf(ret_text, "%s%s", i ? ", " : "", fixed[i]);
	if (count > 0)
		buf_addf(ret_text, ": changed, but needs a restart; the rest is in force");
	return 0;
}

static void tell_children(struct task *tk, struct supervisor *sup)
{
	for (size_t i = 0; i < sup->child_count; i++) {
		struct child *c = &sup->child[i];

		if (!c->control)
			continue;
		if (start_send(tk, c, true) < 0)
			log_warn("reload.untold", K_Z("process", c->title));
		else if (sup->serving && c->ready && !c->finish_by &&
			 c->process == LOCUM__PROCESS__SMTPIN)
			listeners_send(tk, c);
	}
}

/* Everything that can fail, before anything is changed. */
static int apply(struct supervisor *sup, struct conf *fresh, struct buf *ret_text)
{
	_cleanup_(closep) int plain = -1;
	_cleanup_(closep) int with_keys = -1;
	static struct listeners listeners; /* too large for a task's stack */
	int r;

	r = keep_fixed(sup, fresh, ret_text);
	if (r < 0)
		return r;
	r = snapshots_make(fresh, &plain, &with_keys);
	if (r < 0)
		return r;
	r = listeners_open(fresh, &sup->listeners, 0, &listeners, ret_text);
	if (r < 0)
		return r;
	listeners_done(&sup->listeners);
	sup->listeners = listeners;
	sys_close(sup->snapshot);
	sys_close(sup->snapshot_with_keys);
	sup->snapshot = TAKE_FD(plain);
	sup->snapshot_with_keys = TAKE_FD(with_keys);
	return 0;
}

static bool use(struct supervisor *sup, const struct reading *reading, struct buf *ret_text)
{
	int r = reading->result;

	if (r == 0)
		r = apply(sup, reading->conf, ret_text);
	if (r < 0) {
		conf_unref(reading->conf);
		if (ret_text->n == 0)
			buf_addf(ret_text, "%s", strerror(-r));
		log_error("reload.failed", K("reason", buf_str(ret_text)));
		return false;
	}
	conf_unref(sup->conf);
	sup->conf = reading->conf;
	log_open("locumd", worker_log_level(), sup->conf->log_json ? LOG_JSON : LOG_TEXT);
	for (size_t i = 0; i < sup->conf->note_count; i++)
		log_warn("config.note", K("note", sup->conf->notes[i]));
	log_info("reload.done", K("restart_needed", buf_str(ret_text)));
	return true;
}

bool configuration_renew(struct supervisor *sup, struct buf *ret_text)
{
	struct reading reading = { .path = sup->config_path, .error = ret_text };

	read_on_main_stack(&reading);
	return use(sup, &reading, ret_text);
}

bool reload(struct task *tk, struct supervisor *sup, struct buf *ret_text)
{
	struct reading reading = { .path = sup->config_path, .error = ret_text };

	if (sup->reloading || sup->checking || sup->stopping) {
		buf_addf(ret_text,
			 "busy with another reload or an upgrade, or shutting down; try again");
		return false;
	}
	task_on_main_stack(tk, read_on_main_stack, &reading);
	if (!use(sup, &reading, ret_text))
		return false;
	sup->reloading = true;
	tell_children(tk, sup);
	sup->reloading = false;
	return true;
}
