/*
 * The table of metric families: what metrics.c renders, in this order. A new
 * family is one line in metrics_table.c.
 */
#ifndef WATCH_TELL_METRICS_TABLE_H
#define WATCH_TELL_METRICS_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "watch/event.h"
#include "watch/stats.h"
#include "watch/tell/metrics.h"

enum family_type {
	FAMILY_COUNTER = 0,
	FAMILY_GAUGE,
	FAMILY_HISTOGRAM, /* struct stats_histogram */
	FAMILY_FINE,      /* a histogram, too: struct stats_fine */
	FAMILY_INFO       /* always 1: what counts is in its labels */
};

/* How a value is written. */
enum family_unit {
	FAMILY_PLAIN = 0,
	FAMILY_MS, /* milliseconds, as seconds with 3 decimals */
	FAMILY_NS  /* nanoseconds, as seconds with 9 decimals */
};

/* All values of one rendering but those of agents, as of its start. */
struct family_values {
	uint64_t now_ns;
	struct stats stats;
	struct metrics_gauges gauges;
};

/*
 * Values come from of_agent for each agent, from of_lane for each lane, from
 * of_values, or, where all are NULL, from the uint64_t or histogram at offset
 * in struct family_values.
 *
 * of_agent may be given the sum of all agents of a name: their counts, their
 * worst status, the newest of their beats. FAMILY_INFO of agents is of single
 * ones.
 *
 * Without a label there is one value. With one, words[i] names value i:
 * of_values(v, i), or element i of the array at offset.
 */
struct family {
	const char *name;
	const char *help;
	enum family_type type;
	enum family_unit unit;
	const char *label;
	const char *const *words;
	size_t n_words;
	size_t offset;
	uint64_t (*of_values)(const struct family_values *v, size_t i);
	uint64_t (*of_agent)(
	    const struct family_values *v, const struct agent_row *agent);
	uint64_t (*of_lane)(
	    const struct family_values *v, const struct lane_row *lane);
};

extern const struct family family_table[];
extern const size_t family_count;

#endif
