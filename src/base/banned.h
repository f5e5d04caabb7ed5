/*
 * Functions nobody here may call: each has a bounded or checked sister. Forced into every source file by
 * the build (-include), after which using one is a compile error.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* glibc makes macros of these, over builtins or checked variants; a poisoned macro is a warning. */
#undef alloca
#undef sprintf
#undef vsprintf

#pragma GCC poison strcpy strcat strncpy strncat sprintf vsprintf gets strtok atoi atol atoll
#pragma GCC poison alloca gmtime localtime ctime asctime
