#include "proc/spoold/spoold.h"
#include "proc/worker.h"

int main(void)
{
	return worker_run(&spoold_hooks, NULL);
}
