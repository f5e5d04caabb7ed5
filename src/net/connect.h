/*
 * connect: a TCP connection to an address, for whoever may make one (netd, the command line).
 */
#pragma once

#include "base/addr.h"
#include "task/task.h"

/* 0 with a connected, non-blocking socket that is the caller's; -ETIMEDOUT past the deadline, -ECANCELED, or
 * the error of the connection. */
int net_connect(struct task *tk, const struct addr *a, nsec deadline, int *ret_fd);
