#include "proc/state/state.h"

int main(void)
{
	static struct state st;

	return worker_run(&state_hooks, &st);
}
