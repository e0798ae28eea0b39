/*
 * Ladder: may recovery run for this stall now?
 *
 * The order of checks of the reference (exports page 1.3): pid namespace,
 * origin, debounce by lineage (identity and start time), room in the ledger.
 * Pure: the ledger of last fires is its only state. Freshness, and children
 * that still run, are the caller's (act.c).
 *
 * The ledger is a table by identity and a list by time, so that every call
 * takes the same few steps however full it is. Times are expected not to go
 * back; where one does, the fire counts as made at the latest time seen.
 */
#ifndef WATCH_ACT_LADDER_H
#define WATCH_ACT_LADDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "watch/event.h"

struct ladder;

enum ladder_step {
	LADDER_FIRE = 0,
	LADDER_REFUSE_CROSS_NAMESPACE,
	LADDER_REFUSE_UNAUTHENTICATED,
	LADDER_REFUSE_SOCKET_MODE_ONLY,
	LADDER_DEBOUNCED,
	LADDER_REFUSE_LEDGER_FULL,
	LADDER_STEP_COUNT
};

struct ladder_options {
	uint64_t debounce_ns;
	uint32_t entries;
	bool allow_cross_namespace;
	uint32_t own_pid_namespace; /* 0 unknown */
	uint64_t seed[2];
};

struct ladder_ask {
	uint64_t id;
	uint64_t start_ticks; /* 0 unknown */
	uint32_t pid_namespace;
	enum origin origin;
};

/* Counters that the caller adds to its own. */
struct ladder_counts {
	uint64_t evictions;      /* entries whose window was over */
	uint64_t recycle_resets; /* windows ignored: another process */
};

/* Bytes that ladder_init() needs; 0 when entries is 0 or above 2^24. */
size_t ladder_size(uint32_t entries);

/* mem: ladder_size() bytes, aligned for uint64_t, outlives the ladder. */
struct ladder *ladder_init(void *mem, const struct ladder_options *options);

/*
 * Whether ask may fire at now_ns. Changes nothing. LADDER_REFUSE_LEDGER_FULL
 * comes only when nothing else speaks against it.
 */
enum ladder_step ladder_judge(
    const struct ladder *l, const struct ladder_ask *ask, uint64_t now_ns);

/*
 * It has fired: its debounce window begins. Only after LADDER_FIRE for the
 * same ask and time. The oldest entry makes room where the ledger is full:
 * counted as evicted, unless its window was over ten times.
 */
void ladder_fired(
    struct ladder *l, const struct ladder_ask *ask, uint64_t now_ns);

const struct ladder_counts *ladder_counts(const struct ladder *l);

/* Whether two start times may be of one process: not both known, or equal. */
bool ladder_is_same_lineage(uint64_t start_ticks, uint64_t other_ticks);

#endif
