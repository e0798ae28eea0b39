/*
 * Lives: from an agent's first contact to its end.
 *
 * Joins what the tracker knows of beats with what the kernel says of
 * processes: who a new sender is, that one has ended and how, that a pid now
 * belongs to another. Decisions 5 to 7 and 11 of this project. Reaches the
 * outside only through struct lives_host, so that it runs in simulation.
 *
 * All that happens is handed to one function as events. Nothing is allocated
 * after lives_new().
 */
#ifndef WATCH_LIVES_H
#define WATCH_LIVES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "watch/event.h"
#include "watch/host/process.h"
#include "watch/judge/pause.h"
#include "watch/rules.h"
#include "watch/stats.h"
#include "watch/track/tracker.h"

enum {
	LIVES_EXIT_WAIT_MS = 50, /* for a parent to reap its child */
	LIVES_NAME_BYTES = RULES_NAME_BYTES
};

/* The kernel's word on processes; process.h has the contracts. */
struct lives_host {
	int (*identify)(void *ctx, uint32_t pid, struct identity *ret);
	uint64_t (*start_ticks)(void *ctx, uint32_t pid);
	/* "" where it may not be known; size is at least 1. */
	void (*name)(void *ctx, uint32_t pid, char *ret, size_t size);
	void (*exe)(void *ctx, uint32_t pid, char *ret, size_t size);
	void (*cgroup)(void *ctx, uint32_t pid, char *ret, size_t size);
	struct exit_info (*exit_info)(void *ctx, int pidfd);
	int (*watch)(void *ctx, int pidfd, uint64_t token);
	void (*unwatch)(void *ctx, int pidfd);
	void (*close_pidfd)(void *ctx, int pidfd);
	void *ctx;
	bool tells_exits; /* exit_info() knows more after a reap */
};

struct lives_options {
	struct tracker_options tracker;
	struct agent_terms terms;   /* of agents that match no rule */
	const struct rules *rules;  /* borrowed */
	uint32_t own_pid_namespace; /* 0 unknown */
	bool allow_cross_namespace;
	bool stall_on_exit; /* a bad end is a stall at once */
	bool tell_beats;    /* make EVENT_BEAT at all */
	void (*event)(void *ctx, const struct event *ev);
	void *event_ctx;
	/* Before an agent is forgotten, with its name; NULL: nobody asks. */
	void (*forgotten)(void *ctx, const struct agent_view *agent);
	void *forgotten_ctx;
};

struct lives;

/* stats is borrowed. 0, -EINVAL or -ENOMEM. */
int lives_new(const struct lives_options *options,
    const struct lives_host *host, struct stats *stats, uint64_t now_ns,
    struct lives **ret);

/* Closes every pidfd. Takes NULL. */
void lives_free(struct lives *l);

/* Ask for the memory that lives_beat() will need: once for all beats of a
 * batch, then, when that may have come, for their records. */
void lives_prefetch(const struct lives *l, const struct beat *beat);
void lives_prefetch_record(const struct lives *l, const struct beat *beat);

/*
 * A beat that was admitted. TRACKER_RATE_LIMITED: its agent beats too often
 * and nothing was changed. SLOT_NONE cases (no room, foreign namespace) are
 * TRACKER_OUT_OF_ORDER to the caller, counted by their own names.
 */
enum tracker_outcome lives_beat(
    struct lives *l, const struct beat *beat, uint64_t now_ns);

/*
 * Who has something to watch besides the beats of an agent holds it: it is then
 * not evicted, and after its end it stays known until it is released, unless it
 * ended with exit code 0. One that has never beaten is forgotten when nobody
 * holds it any more.
 */
struct lives_hold {
	uint64_t id;
	uint64_t joined_ns;
	uint32_t slot;
};

enum lives_state {
	LIVES_THERE = 0,
	LIVES_DYING, /* ended; how may still be told */
	LIVES_ENDED, /* not with exit code 0 */
	LIVES_GONE   /* it left, or another has its place */
};

enum { LIVES_HOLDS_MAX = 255 /* of one agent */ };

/*
 * Hold the agent of a process that the kernel has named, of whom contact tells
 * (a beat with is_contact set). A new one joins, and is not judged before it
 * has beaten.
 *
 * False when there is no room, when it is in a foreign pid namespace, and when
 * it is held too often.
 */
bool lives_hold(struct lives *l, const struct beat *contact, uint64_t now_ns,
    struct lives_hold *ret);
void lives_release(struct lives *l, const struct lives_hold *hold);

/* What is known of the agent; false when it is gone from the table. */
bool lives_held_view(const struct lives *l, const struct lives_hold *hold,
    struct agent_view *ret);

/* The rule that a lane of this name of the agent matches now, or NULL. Of a
 * process that has ended there is none to be found. */
const struct rule *lives_lane_rule(
    const struct lives *l, const struct lives_hold *hold, const char *lane);
enum lives_state lives_state_of(
    struct lives *l, const struct lives_hold *hold, uint64_t now_ns);

/* As tracker_is_terminal_edge(). */
bool lives_is_terminal_edge(const struct lives *l, const struct beat *beat);

/* News of a process that was given to host.watch(). */
void lives_told(
    struct lives *l, const struct process_told *told, uint64_t now_ns);

/*
 * Everything that is due at now_ns: ends that nobody explained in time, agents
 * that owe a beat. Only to be called when all that was queued has been read.
 * At most max stalls; false when there are more.
 */
bool lives_judge(
    struct lives *l, const struct pause *pause, size_t max, uint64_t now_ns);

/* When lives_judge() is due next; see tracker_next_ns(). */
uint64_t lives_next_ns(struct lives *l, uint64_t now_ns, uint64_t ahead_ns);

/*
 * From now on these rules and terms hold, for every agent that is known, too.
 * Nobody is judged by new terms before a whole threshold has passed.
 */
void lives_set_rules(struct lives *l, const struct rules *rules,
    const struct agent_terms *terms, uint64_t now_ns);

/* The rule that the agent in a slot matched, or NULL. */
const struct rule *lives_rule(const struct lives *l, uint32_t slot);

/* What is known of the agent in a slot; see tracker_view(). */
bool lives_view(const struct lives *l, uint32_t slot, struct agent_view *ret);
bool lives_row(const struct lives *l, uint32_t slot, struct agent_row *ret);
uint32_t lives_slots(const struct lives *l);
uint32_t lives_count(const struct lives *l);
uint32_t lives_hanging(const struct lives *l);
uint32_t lives_gone(const struct lives *l);

#endif
