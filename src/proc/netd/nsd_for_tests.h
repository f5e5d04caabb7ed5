/*
 * A real name server (NSD) for the tests of this folder: on a loopback port, with zones in a
 * temporary directory. nsd_start returns false, with the reason printed, where NSD is not
 * installed: the test then skips.
 */
#pragma once

#include "base/str.h"

#include <arpa/inet.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NSD_PATH "/usr/sbin/nsd"

extern char **environ;

struct nsd {
	pid_t pid;
	uint16_t port;
	char dir[64];
};

/* A UDP and TCP port of 127.0.0.1 that is free now. */
static inline uint16_t nsd_free_port(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	must(fd >= 0 && bind(fd, (struct sockaddr *)&in, length) == 0);
	must(getsockname(fd, (struct sockaddr *)&in, &length) == 0);
	close(fd);
	return ntohs(in.sin_port);
}

static inline void nsd_write(const struct nsd *n, const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", n->dir, name);
	f = fopen(path, "w");
	must(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

/* zones: pairs of name and records, ended by NULL; $ORIGIN and SOA are added. */
static inline bool nsd_prepare(struct nsd *n, uint16_t port, const char *const *zones)
{
	static char text[16384];
	char file[16];
	size_t at;

	*n = (struct nsd){ .port = port };
	if (access(NSD_PATH, X_OK) < 0) {
		printf("skipped: %s is not installed\n", NSD_PATH);
		return false;
	}
	snprintf(n->dir, sizeof(n->dir), "/tmp/locum-nsd-XXXXXX");
	must(mkdtemp(n->dir));
	at = (size_t)snprintf(text, sizeof(text),
			      "server:\n ip-address: 127.0.0.1@%u\n username: \"\"\n chroot: \"\"\n"
			      " zonesdir: %s\n pidfile: %s/pid\n database: \"\"\n logfile: %s/log\n"
			      " xfrdfile: %s/xfrd\n zonelistfile: %s/list\n xfrdir: %s\n"
			      " server-count: 1\n rrl-ratelimit: 0\n"
			      "remote-control:\n control-enable: no\n",
			      port, n->dir, n->dir, n->dir, n->dir, n->dir, n->dir);
	for (int i = 0; zones[2 * i]; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at,
				       "zone:\n name: \"%s\"\n zonefile: zone%d\n", zones[2 * i],
				       i);
	nsd_write(n, "conf", text);
	for (int i = 0; zones[2 * i]; i++) {
		snprintf(text, sizeof(text),
			 "$ORIGIN %s\n$TTL 60\n@ SOA ns.invalid. host.invalid. 1 60 60 60 60\n"
			 "@ NS ns.invalid.\n%s",
			 zones[2 * i], zones[2 * i + 1]);
		snprintf(file, sizeof(file), "zone%d", i);
		nsd_write(n, file, text);
	}
	return true;
}

/* Other records for the n-th zone, at once. */
static inline void nsd_change(const struct nsd *n, const char *const *zones, int zone,
			      const char *records)
{
	static char text[16384];
	static unsigned serial = 1;
	char file[16];

	snprintf(text, sizeof(text),
		 "$ORIGIN %s\n$TTL 60\n@ SOA ns.invalid. host.invalid. %u 60 60 60 60\n"
		 "@ NS ns.invalid.\n%s",
		 zones[2 * zone], ++serial, records);
	snprintf(file, sizeof(file), "zone%d", zone);
	nsd_write(n, file, text);
}

static inline bool nsd_listens(uint16_t port)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				  .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	bool listens = connect(fd, (struct sockaddr *)&in, sizeof(in)) == 0;

	close(fd);
	return listens;
}

static inline void nsd_run(struct nsd *n)
{
	char conf[128];
	char *argv[] = { (char[]){ "nsd" }, (char[]){ "-d" }, (char[]){ "-c" }, conf, NULL };

	snprintf(conf, sizeof(conf), "%s/conf", n->dir);
	must(posix_spawn(&n->pid, NSD_PATH, NULL, NULL, argv, environ) == 0);
	for (int i = 0; i < 500 && !nsd_listens(n->port); i++)
		usleep(20000);
	must(nsd_listens(n->port));
}

static inline void nsd_kill(struct nsd *n)
{
	if (n->pid > 0) {
		kill(n->pid, SIGTERM);
		waitpid(n->pid, NULL, 0);
	}
	n->pid = 0;
}

static inline void nsd_done(struct nsd *n)
{
	static const char *const files[] = { "conf",  "pid",   "log",   "xfrd", "list",
					     "zone0", "zone1", "zone2", "zone3" };
	char path[128];

	nsd_kill(n);
	for (size_t i = 0; i < ELEMENTS(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", n->dir, files[i]);
		unlink(path);
	}
	rmdir(n->dir);
}
