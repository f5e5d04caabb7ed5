#include "proc/smtpin/server.h"

int main(void)
{
	static struct server server;

	return worker_run(&smtpin_hooks, &server);
}
