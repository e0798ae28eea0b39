/*
 * Lanes: workers and threads that beat by a store into memory.
 *
 * Joins what the table of lanes knows of deadlines with the memory in which the
 * beats are, and with the agents whose lanes they are. Never waits for an
 * agent, and believes nothing that it reads: a beat from the future is one of
 * now, a threshold is at least LANES_THRESHOLD_MS_MIN, a name is escaped by
 * whoever shows it.
 *
 * A lane that was opened joins; it owes nothing before its first beat, and
 * nothing while it is idle. It leaves when it was closed, when its process has
 * let go of it, and when that ended with exit code 0. When the process ended in
 * any other way, a lane that owed a beat stalls at its deadline.
 *
 * All that happens is handed to one function as events. Nothing is allocated
 * after lanes_new().
 */
#ifndef WATCH_LANES_H
#define WATCH_LANES_H

#include <stdbool.h>
#include <stdint.h>

#include "watch/event.h"
#include "watch/intake/intake.h"
#include "watch/intake/lane_source.h"
#include "watch/judge/pause.h"
#include "watch/lives.h"
#include "watch/rules.h"
#include "watch/stats.h"

enum {
	LANES_THRESHOLD_MS_MIN = 10,
	/* A stall lasts for so long at least, whatever the lane does: what it
	 * does is told, and nobody may make that go on at any speed. */
	LANES_STALL_MS_MIN = 1000,
	/* A stalled lane of a process that has ended stays for this long, for
	 * whoever acts on it. */
	LANES_KEPT_MS = 10000
};

struct lanes_options {
	uint32_t capacity; /* lanes, from 1 */
	struct lane_source source;
	struct lives *lives;         /* borrowed */
	const struct rules *rules;   /* borrowed */
	struct intake_policy policy; /* who may attach */
	bool stall_on_exit;          /* a bad end is a stall at once */
	/* The time of a look: reading all that is due takes a while, and an age
	 * that was read then is not one at the begin of it. */
	uint64_t (*now_ns)(void *ctx);
	void *clock_ctx;
	void (*event)(void *ctx, const struct event *ev);
	void *event_ctx;
};

struct lanes;

/* stats is borrowed. 0, -EINVAL or -ENOMEM. */
int lanes_new(const struct lanes_options *options, struct stats *stats,
    struct lanes **ret);

/* Gives up all memories. The lives must still be there. Takes NULL. */
void lanes_free(struct lanes *l);

/* Take what is new at the source. */
void lanes_take(struct lanes *l, uint64_t now_ns);

/* Look at every lane that is due at now_ns, at most max; false when there are
 * more. */
bool lanes_judge(
    struct lanes *l, const struct pause *pause, size_t max, uint64_t now_ns);

/* When lanes_judge() is due next. Lanes that are due within ahead_ns are looked
 * at first, so that no wake-up is spent on those that have beaten. */
uint64_t lanes_next_ns(struct lanes *l, uint64_t now_ns, uint64_t ahead_ns);

/* From now on these may attach, and lanes of others are let go of; from now on
 * these rules hold. Nobody is judged by a new threshold before that has passed
 * once. */
void lanes_set_policy(
    struct lanes *l, const struct intake_policy *policy, uint64_t now_ns);
void lanes_set_rules(
    struct lanes *l, const struct rules *rules, uint64_t now_ns);

/* Whether this lane is still there, and stalled. */
bool lanes_is_stalled(const struct lanes *l, uint32_t slot, uint64_t token);

/* The rule that this lane matched; NULL for none, and when it has left. */
const struct rule *lanes_rule(
    const struct lanes *l, uint32_t slot, uint64_t token);

/* For metrics: what its memory says now. Slots run from 0 to lanes_slots() - 1;
 * false when one is free. */
bool lanes_row(
    struct lanes *l, uint32_t slot, uint64_t now_ns, struct lane_row *ret);
uint32_t lanes_slots(const struct lanes *l);
uint32_t lanes_count(const struct lanes *l);

#endif
