#include "proc/smtpout/smtpout.h"

int main(void)
{
	static struct smtpout so;

	return worker_run(&smtpout_hooks, &so);
}
