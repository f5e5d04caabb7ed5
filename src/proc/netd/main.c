#include "proc/netd/netd.h"

int main(void)
{
	static struct netd netd;

	return worker_run(&netd_hooks, &netd);
}
