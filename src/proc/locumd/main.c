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
	fprintf(to, "usage: locumd --config FILE\n"
		    "  Runs in the foreground, logs to standard error, prints one line when it "
		    "serves.\n"
		    "  SIGHUP reads the configuration again, SIGUSR2 goes on with the executables "
		    "as they "
		    "are now\n"
		    "  on disk, SIGTERM ends after what is in progress.\n"
		    "  LOCUM_LOG=debug|info|warning|error says how much is logged.\n"
		    "  --check: only says whether it could run so, and which version it is\n"
		    "  --version, --help\n");
}

struct arguments {
	const char *config;
	bool check;
	int adopt; /* a memory file of the locumd before (handover.c); -1: there was none */
};

static int number(const char *text)
{
	char *end;
	long n = strtol(text, &end, 10);

	return *text && !*end && n > STDERR_FILENO && n < INT32_MAX ? (int)n : -1;
}

/* True: go on. False: exit with *ret_status. */
static bool parse_arguments(int argc, char **argv, struct arguments *ret, int *ret_status)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' }, { "check", no_argument, NULL, 'k' },
		{ "adopt", required_argument, NULL, 'a' },  { "version", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },         { 0 },
	};
	int o;

	*ret_status = EXIT_SUCCESS;
	while ((o = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		switch (o) {
		case 'c':
			ret->config = optarg;
			break;
		case 'k':
			ret->check = true;
			break;
		case 'a':
			ret->adopt = number(optarg);
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
	if (ret->config && optind == argc)
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

/* The socket becomes the loop's on success only. */
static int open_loop(struct supervisor *sup, int control)
{
	int r = loop_new(&sup->loop);

	return r < 0 ? r : io_init(&sup->control, sup->loop, control);
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
	r = evidence_key_load(sup, ret_error);
	if (r < 0)
		return r;
	r = listeners_open(sup->conf, &sup->salvaged, ADDRESS_PATIENCE, &sup->listeners, ret_error);
	listeners_done(&sup->salvaged);
	if (r < 0)
		return r;
	r = control_open(sup, &control, ret_error);
	if (r < 0)
		return r;
	r = exe_find(sup);
	if (r < 0)
		return r;
	raise_descriptor_limit(sup->conf);
	r = snapshots_make(sup->conf, &sup->snapshot, &sup->snapshot_with_keys);
	if (r < 0)
		return r;
	r = open_loop(sup, control);
	if (r == 0)
		(void)TAKE_FD(control);
	return r;
}

/* In the place of another: nearly everything is there already. A configuration that became wrong since we were
 * asked about it is no reason to end: the one before stays. */
static int succeed(struct supervisor *sup, struct buf *error)
{
	int r;

	if (!configuration_renew(sup, error))
		log_warn("upgrade.old_configuration");
	buf_reset(error);
	r = user_find(sup, error);
	if (r < 0)
		return r;
	control_path_find(sup);
	r = exe_find(sup);
	if (r < 0)
		return r;
	must(sup->conf); /* handed over, or read just now */
	/* What the version before did not need. Whoever needs it says so where it is missing: no reason to end. */
	if (directories_make(sup, error) < 0)
		log_error("upgrade.directories", K("reason", buf_str(error)));
	buf_reset(error);
	/* Mail goes on without its evidence rather than not at all. */
	if (evidence_key_load(sup, error) < 0)
		log_error("evidence.no_key", K("reason", buf_str(error)));
	buf_reset(error);
	raise_descriptor_limit(sup->conf);
	sup->serving = sup->succeeding = true;
	return open_loop(sup, sup->handed_command_socket);
}

/* True: we have what another left, or at least its listeners. */
static bool take_place(struct supervisor *sup, int fd)
{
	_cleanup_(handover_freep) Locum__Handover *h = NULL;
	int r = handover_read(fd, &h);

	if (r == 0)
		r = handover_take(sup, h);
	if (r == 0) {
		sys_close(fd);
		return true;
	}
	log_error("upgrade.state_lost", K_ERR(r),
		  K_Z("then", "a new start with the same listeners"));
	handover_salvage(&sup->salvaged);
	return false;
}

/* For who wants to know whether we could take its place. */
static int check(struct supervisor *sup, int adopt, struct buf *error)
{
	_cleanup_(handover_freep) Locum__Handover *h = NULL;
	int r = exe_find(sup);

	if (r == 0)
		r = executables_check(sup, error);
	if (r < 0)
		return r;
	r = adopt >= 0 ? handover_read(adopt, &h) : 0;
	if (r < 0)
		buf_addf(error,
			 "locumd " LOCUM_VERSION
			 " does not understand what the running one would leave to it; restart "
			 "it instead");
	else
		printf(CHECK_SAYS LOCUM_VERSION "\n");
	return r;
}

static int fail(const struct buf *error, int r, int status)
{
	if (error->n > 0)
		fprintf(stderr, "locumd: %.*s\n", STR_ARG(buf_str(error)));
	else
		fprintf(stderr, "locumd: %s\n", strerror(-r));
	return status;
}

static int fail_config(const struct buf *error, int r)
{
	/* The text is FILE:LINE: first, as tools expect it. */
	if (error->n == 0)
		return fail(error, r, EXIT_CONFIG);
	fprintf(stderr, "%.*s\n", STR_ARG(buf_str(error)));
	return EXIT_CONFIG;
}

static int run(struct supervisor *sup, const struct arguments *arguments, struct buf *error)
{
	bool handed =
		!arguments->check && arguments->adopt >= 0 && take_place(sup, arguments->adopt);
	int r;

	r = handed ? succeed(sup, error) : read_config(sup, error);
	if (r < 0)
		return handed ? fail(error, r, EXIT_FAILURE) : fail_config(error, r);
	r = handed ? 0 : user_find(sup, error);
	if (r < 0)
		return fail(error, r, EXIT_CONFIG);
	if (arguments->check) {
		r = check(sup, arguments->adopt, error);
		return r < 0 ? fail(error, r, EXIT_FAILURE) : EXIT_SUCCESS;
	}
	r = handed ? 0 : set_up(sup, error);
	if (r == 0)
		r = supervisor_run(sup);
	return r < 0 ? fail(error, r, EXIT_FAILURE) : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	static struct supervisor sup = { .snapshot = -1,
					 .snapshot_with_keys = -1,
					 .lock = -1,
					 .clients_file = -1,
					 .client_memory_file = -1,
					 .handed_command_socket = -1 };
	struct arguments arguments = { .adopt = -1 };
	_cleanup_(buf_done) struct buf error = { 0 };
	int status;

	buf_init(&error, 8192);
	if (!parse_arguments(argc, argv, &arguments, &status))
		return status;
	sup.config_path = arguments.config;
	/* Only the answer, for whoever asks. */
	if (arguments.check)
		setenv("LOCUM_LOG", "error", 1);
	umask(077);
	log_open("locumd", worker_log_level(), LOG_TEXT);
	return run(&sup, &arguments, &error);
}
