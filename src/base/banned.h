/*
 * Functions nobody here may call: each has a bounded or checked sister. Forced into every source file by
 * the build (-include), after which using one is a compile error.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#undef alloca /* a macro over the builtin: poisoned by name below */

#pragma GCC poison strcpy strcat strncpy strncat sprintf vsprintf gets strtok atoi atol atoll
#pragma GCC poison alloca gmtime localtime ctime asctime
