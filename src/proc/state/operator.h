/*
 * operator: what the command line does with the directory (AskDirectory): parts of a list, of an import, forgetting, coverage.
 * Each question is one piece of bounded work; whoever wants all of it asks again.
 */
#pragma once

#include "base/arena.h"
#include "ipc/ipc.h"
#include "proc/state/directory.h"

#define OPERATOR_ENTRIES_MAX 400 /* in one part: with replies below a packet */
#define OPERATOR_IMPORT_MAX 1000

/* Fills `ret`, whose parts are in the arena. 0, or an error of the directory (*ret says it in words, too). */
int operator_answer(struct directory *d, const Locum__AskDirectory *ask, nsec now_wall,
		    struct arena *arena, Locum__DirectoryPart *ret);
