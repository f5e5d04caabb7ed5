#include "proc/locumd/locumd.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "proc/worker.h"

#include <getopt.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum { EXIT_USAGE = 2, EXIT_CONFIG = 3 };

/* What a killed predecessor's processes need at most to be gone. */
#define ADDRESS_PATIENCE (3 * NSEC_S)

static void usage(FILE *to)
{
	fprintf(to,
		"usage: locumd --config FILE\n"
		"  Runs in the foreground, logs to standard error, prints one line when it "
		"serves.\n"
		"  SIGHUP reads the configuration again, SIGTERM ends after what is in progress.\n"
		"  LOCUM_LOG=debug|info|warning|error says how much is logged.\n"
		"  --version, --help\n");
}

/* True: go on. False: exit with *ret_status. */
static bool parse_arguments(int argc, char **argv, const char **ret_config, int *ret_status)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "version", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int o;

	*ret_status = EXIT_SUCCESS;
	while ((o = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		switch (o) {
		case 'c':
			*ret_config = optarg;
			break;
		case 'v':
			printf("locumd " LOCUM_VERSION "\n");
			return false;
		case 'h':
			usage(stdout);
			return false;
		default:
			usage(stderr);
			*ret_status = EXIT_USAGE;
			return false;
		}
	}
	if (*ret_config && optind == argc)
		return true;
	usage(stderr);
	*ret_status = EXIT_USAGE;
	return false;
}

static void say_few_descriptors(const struct conf *conf, uint64_t limit, uint64_t wanted)
{
	uint64_t sessions = limit > SMTPIN_DESCRIPTORS_OTHER ? (limit - SMTPIN_DESCRIPTORS_OTHER) /
								       SMTPIN_DESCRIPTORS_A_SESSION
							     : 0;

	if (limit < wanted)
		log_warn("descriptors.few", K_INT("limit", limit), K_INT("wanted", wanted),
			 K_INT("sessions_a_process", sessions),
			 K_INT("sessions_configured", conf->limits.sessions),
			 K_Z("hint", "raise LimitNOFILE= (ulimit -Hn), or lower limits.sessions"));
}

/* Children inherit it, and lower it to what they need. */
static void raise_descriptor_limit(const struct conf *conf)
{
	rlim_t wanted = (rlim_t)SMTPIN_DESCRIPTORS_A_SESSION * conf->limits.sessions +
			SMTPIN_DESCRIPTORS_OTHER;
	struct rlimit l, more;

	if (getrlimit(RLIMIT_NOFILE, &l) < 0)
		return;
	more.rlim_cur = more.rlim_max = MAX(l.rlim_max, wanted);
	if (setrlimit(RLIMIT_NOFILE, &more) == 0)
		return;
	l.rlim_cur = l.rlim_max;
	setrlimit(RLIMIT_NOFILE, &l);
	say_few_descriptors(conf, l.rlim_max, wanted);
}

static int read_config(struct supervisor *sup, struct buf *ret_error)
{
	struct conf *conf;
	int r;

	r = conf_read(sup->config_path, &conf, ret_error);
	if (r < 0)
		return r;
	sup->conf = conf;
	log_open("locumd", worker_log_level(), conf->log_json ? LOG_JSON : LOG_TEXT);
	for (size_t i = 0; i < conf->note_count; i++)
		log_warn("config.note", K("note", conf->notes[i]));
	return conf_add_interface_addresses(conf);
}

/* Everything that can go wrong before the first child is started, in the order of who is to blame. */
static int set_up(struct supervisor *sup, struct buf *ret_error)
{
	_cleanup_(closep) int control = -1;
	int r;

	must(sup->conf);
	r = directories_make(sup, ret_error);
	if (r < 0)
		return r;
	r = lock_take(sup, ret_error);
	if (r < 0)
		return r;
	r = listeners_open(sup->conf, NULL, ADDRESS_PATIENCE, &sup->listeners, ret_error);
	if (r < 0)
		return r;
	r = control_open(sup, &control, ret_error);
	if (r < 0)
		return r;
	r = exe_dir_find(sup);
	if (r < 0)
		return r;
	raise_descriptor_limit(sup->conf);
	r = snapshots_make(sup->conf, &sup->snapshot, &sup->snapshot_with_keys);
	if (r < 0)
		return r;
	r = loop_new(&sup->loop);
	if (r < 0)
		return r;
	r = io_init(&sup->control, sup->loop, control);
	if (r < 0)
		return r;
	(void)TAKE_FD(control);
	return 0;
}

static int fail(const struct buf *error, int r, int status)
{
	if (error->n > 0)
		fprintf(stderr, "locumd: %.*s\n", STR_ARG(buf_str(error)));
	else
		fprintf(stderr, "locumd: %s\n", strerror(-r));
	return status;
}

int main(int argc, char **argv)
{
	static struct supervisor sup = { .snapshot = -1,
					 .snapshot_with_keys = -1,
					 .clients_file = -1,
					 .client_memory_file = -1 };
	_cleanup_(buf_done) struct buf error = { 0 };
	int r, status;

	buf_init(&error, 8192);
	if (!parse_arguments(argc, argv, &sup.config_path, &status))
		return status;
	umask(077);
	log_open("locumd", worker_log_level(), LOG_TEXT);
	r = read_config(&sup, &error);
	if (r < 0) {
		/* The text is FILE:LINE: first, as tools expect it. */
		if (error.n == 0)
			return fail(&error, r, EXIT_CONFIG);
		fprintf(stderr, "%.*s\n", STR_ARG(buf_str(&error)));
		return EXIT_CONFIG;
	}
	r = user_find(&sup, &error);
	if (r < 0)
		return fail(&error, r, EXIT_CONFIG);
	r = set_up(&sup, &error);
	if (r < 0)
		return fail(&error, r, EXIT_FAILURE);
	r = supervisor_run(&sup);
	if (r < 0)
		return fail(&error, r, EXIT_FAILURE);
	return EXIT_SUCCESS;
}
