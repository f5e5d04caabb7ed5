#include "proc/state/operator.h"

#include <stdio.h>

static int fail(struct arena *arena, Locum__DirectoryPart *ret, int error, const char *what)
{
	char *text =
		error < 0 ? arena_sprintf(arena, "%s: %s", what, strerror(-error)) : (char *)what;

	ret->error = text ? text : (char *)"out of memory";
	return error;
}

static Locum__DirectoryEntry *make_entry(struct arena *arena, const struct directory_entry *from)
{
	Locum__DirectoryEntry *e = ARENA_NEW(arena, Locum__DirectoryEntry);
	str local = arena_str(arena, from->local), reply = arena_str(arena, from->reply);

	if (!e || !local.p || !reply.p)
		return NULL;
	locum__directory_entry__init(e);
	e->local = (ProtobufCBinaryData){ local.n, (uint8_t *)local.p };
	e->word = from->word == WORD_KNOWN ? LOCUM__RECIPIENT_WORD__RECIPIENT_KNOWN
					   : LOCUM__RECIPIENT_WORD__RECIPIENT_REFUSED;
	e->imported = from->imported;
	e->old = from->old;
	e->age = from->age;
	if (from->word == WORD_REFUSED)
		e->reply = (char *)reply.p;
	return e;
}

static int list(struct directory *d, const Locum__AskDirectory *ask, nsec now_wall,
		struct arena *arena, Locum__DirectoryPart *ret)
{
	str after = str_mem(ask->after.data, ask->after.len);
	struct directory_entry entry;
	int r = 1;

	ret->entries = ARENA_ARRAY(arena, Locum__DirectoryEntry *, OPERATOR_ENTRIES_MAX);
	while (ret->entries && ret->n_entries < OPERATOR_ENTRIES_MAX) {
		Locum__DirectoryEntry *e;

		r = directory_next(d, str_of(ask->domain), after, now_wall, &entry);
		if (r <= 0)
			break;
		e = make_entry(arena, &entry);
		if (!e)
			return fail(arena, ret, -ENOMEM, "list");
		ret->entries[ret->n_entries++] = e;
		after = str_mem(e->local.data, e->local.len);
	}
	ret->more = r == 1;
	return r < 0 ? fail(arena, ret, r, "list") : 0;
}

static int import(struct directory *d, const Locum__AskDirectory *ask, struct arena *arena,
		  Locum__DirectoryPart *ret)
{
	str domain = str_of(ask->domain);
	int64_t forgotten = 0;
	int r = 0;

	if (ask->replace && ask->first)
		r = directory_import_begin(d, domain);
	for (size_t i = 0; i < ask->n_addresses && i < OPERATOR_IMPORT_MAX && r >= 0; i++) {
		r = directory_import(d, domain,
				     str_mem(ask->addresses[i].data, ask->addresses[i].len));
		ret->count += r == 1;
	}
	if (r == -EINVAL)
		return fail(arena, ret, 0, "import: an address is not one of this domain");
	if (r == -EDQUOT)
		return fail(arena, ret, 0, "import: too many addresses for one domain");
	if (r >= 0 && ask->replace && ask->last)
		forgotten = directory_import_end(d, domain);
	if (r < 0 || forgotten < 0)
		return fail(arena, ret, r < 0 ? r : (int)forgotten, "import");
	ret->forgotten = (uint64_t)forgotten;
	return 0;
}

static int forget(struct directory *d, const Locum__AskDirectory *ask, struct arena *arena,
		  Locum__DirectoryPart *ret)
{
	str address = ask->n_addresses ? str_mem(ask->addresses[0].data, ask->addresses[0].len)
				       : STR_NONE;
	int64_t count = directory_forget(d, str_of(ask->domain), address);

	if (count < 0)
		return fail(arena, ret, (int)count, "forget");
	ret->count = (uint64_t)count;
	return 0;
}

static int coverage(struct directory *d, const Locum__AskDirectory *ask, struct arena *arena,
		    Locum__DirectoryPart *ret)
{
	Locum__DirectoryCoverage *c = ARENA_NEW(arena, Locum__DirectoryCoverage);
	struct directory_summary s = { 0 };

	if (!c)
		return fail(arena, ret, -ENOMEM, "coverage");
	directory_summary(d, str_of(ask->domain), &s); /* nothing known is an answer, too */
	locum__directory_coverage__init(c);
	c->known = s.known;
	c->refused = s.refused;
	c->imported = s.imported;
	c->percent = belief_coverage(&s.belief, &c->accepted);
	c->covered = belief_covers(&s.belief);
	c->whole = s.belief.whole;
	c->takes_all = belief_takes_all(&s.belief);
	c->absent = s.belief.absent;
	c->answered_wall = s.belief.answered_wall;
	ret->coverage = c;
	return 0;
}

int operator_answer(struct directory *d, const Locum__AskDirectory *ask, nsec now_wall,
		    struct arena *arena, Locum__DirectoryPart *ret)
{
	ret->domain = ask->domain;
	switch (ask->verb) {
	case LOCUM__DIRECTORY_VERB__DIRECTORY_LIST:
		return list(d, ask, now_wall, arena, ret);
	case LOCUM__DIRECTORY_VERB__DIRECTORY_IMPORT:
		return import(d, ask, arena, ret);
	case LOCUM__DIRECTORY_VERB__DIRECTORY_FORGET:
		return forget(d, ask, arena, ret);
	case LOCUM__DIRECTORY_VERB__DIRECTORY_COVERAGE:
		return coverage(d, ask, arena, ret);
	default:
		ret->error = (char *)"this version of state does not know the command";
		return 0;
	}
}
