/*
 * Children: which recovery commands run, for whom, and since when.
 *
 * At most one child for each identity is outstanding. One that belongs to an
 * earlier process with the same identity is made an orphan: it keeps its place
 * until it is reaped, and its identity is free again. There are as many places
 * for orphans as for outstanding children. All places are laid out at start.
 *
 * A table and three lists; no process is touched and no clock read here.
 */
#ifndef WATCH_ACT_CHILDREN_H
#define WATCH_ACT_CHILDREN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "watch/act/capture.h"

/* In which list a child is. */
enum child_list {
	CHILD_IN_NO_LIST = 0, /* killed: its end is waited for */
	CHILD_DUE,            /* runs; in the order of the time-outs */
	CHILD_ENDED,          /* said to have ended; to be reaped */
	CHILD_LIST_COUNT
};

struct child {
	/* The user's. */
	uint64_t start_ticks; /* of the agent; 0 unknown */
	uint64_t started_ns;
	uint64_t deadline_ns; /* NS_NEVER: none */
	struct capture output;
	pid_t pid;
	int pidfd;
	uint32_t agent_pid;
	bool watched; /* its end will be told */
	bool killed;
	bool kill_failed;

	/* The table's; read only. */
	uint64_t id;
	enum child_list list;
	bool orphan;
	uint32_t generation; /* of the place; a token with another is stale */
	uint32_t chain;
	uint32_t prev;
	uint32_t next;
	uint32_t position; /* in the array of those in use */
};

struct children;

/* Bytes that children_init() needs; 0 when max is 0 or above 2^24. */
size_t children_size(uint32_t max);

/* mem: children_size() bytes, aligned for uint64_t, outlives the table. */
struct children *children_init(void *mem, uint32_t max, const uint64_t seed[2]);

/* Whether max children are outstanding. */
bool children_is_full(const struct children *t);

/*
 * A place for a child of id, which must have none; the table must not be full.
 * It is last in CHILD_DUE; the user's fields are 0, and its deadline must not
 * be before that of any child added earlier.
 */
struct child *children_add(struct children *t, uint64_t id);

/* The outstanding child of id, or NULL. */
struct child *children_find(const struct children *t, uint64_t id);

/* Make an outstanding child an orphan; its id is free again. False, and
 * nothing done, when there are max orphans. */
bool children_make_orphan(struct children *t, struct child *c);

/* Put a child into another list, or anew at the end of its own. */
void children_move(struct children *t, struct child *c, enum child_list to);

/* The first of a list, not CHILD_IN_NO_LIST; NULL when it is empty. */
struct child *children_first(const struct children *t, enum child_list list);

/* Give up the place; the child must not be used any more. */
void children_remove(struct children *t, struct child *c);

/* A number for a child, below 2^63, that is not given again for as long as any
 * news of it could be under way; and the child that has it, or NULL. */
uint64_t children_token(const struct children *t, const struct child *c);
struct child *children_by_token(const struct children *t, uint64_t token);

/* All children, orphans included, by a number below children_count(). Removing
 * one puts the last in its place. */
uint32_t children_count(const struct children *t);
struct child *children_at(const struct children *t, uint32_t i);

#endif
