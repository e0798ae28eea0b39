/*
 * Metrics from counters and agents, as Prometheus text (exposition format
 * 0.0.4) or as OpenMetrics 1.0.
 *
 * One table of families drives everything: order, names, types, help, labels.
 * Rendering goes in pieces over a snapshot, so that a large table never holds
 * up the loop: metrics_render() writes as much as fits and goes on where it
 * stopped. Families and labels of the reference keep their names.
 *
 * Counters and gauges are those of the start of a rendering, values of agents
 * those of the moment of their row. Rows go by pid with up to 4,096 agents,
 * else in the order of the table. OpenMetrics differs in what it must: types
 * are those of names without _total and _info, units are told, bounds are
 * floats, and # EOF ends it. A counter of the reference whose name has no
 * _total is of unknown type there.
 */
#ifndef WATCH_TELL_METRICS_H
#define WATCH_TELL_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "watch/event.h"
#include "watch/stats.h"
#include "watch/tell/byname.h"

enum { METRICS_PIECE_MIN = 1024 }; /* no line is longer */

enum metrics_format { METRICS_CLASSIC = 0, METRICS_OPEN };

/* What the series of agents are told apart by. */
enum metrics_series {
	METRICS_BY_PID = 0,
	METRICS_BY_NAME, /* agents of one name are summed; none of lanes */
	METRICS_TOTALS   /* no series of agents and lanes */
};

/* Values that are not counters. Kept current by the observer. */
struct metrics_gauges {
	uint64_t started_ns; /* on the observer's clock */
	uint64_t last_pass_wall_ms;
	uint64_t last_pass_ns; /* the same moment on the observer's clock */
	uint64_t queue_len;    /* net.unix.max_dgram_qlen; 0 unknown */
	uint64_t uds_rcvbuf_bytes;
	uint64_t pid_max;
	uint64_t tracker_capacity;
	uint64_t scan_window;
	uint64_t agents; /* tracked now */
	uint64_t lanes;  /* watched now */
	uint64_t lanes_max;
	uint64_t hanging;
	uint64_t gone;
	uint64_t sealed_senders;
	uint64_t sealed_sessions; /* remembered */
	uint64_t sealed_sessions_max;
	/* For /readyz. */
	bool started;           /* READY=1 has been said */
	uint64_t late_until_ns; /* not ready so long after a gap of our own */
};

/* Where the values come from; all borrowed. */
struct metrics_source {
	const struct stats *stats;
	const struct metrics_gauges *gauges;
	/* Agents by slot, 0 to slots() - 1; false for a free slot. */
	bool (*agent)(void *ctx, uint32_t slot, struct agent_view *ret);
	bool (*row)(void *ctx, uint32_t slot, struct agent_row *ret);
	uint32_t (*slots)(void *ctx);
	/* Lanes likewise; NULL where there are none. */
	bool (*lane)(void *ctx, uint32_t slot, struct lane_row *ret);
	uint32_t (*lane_slots)(void *ctx);
	void *ctx;
	enum metrics_series series;
	struct byname *names; /* for METRICS_BY_NAME, else NULL */
};

struct metrics_render;

/*
 * Begin a rendering at now_ns. Agents that join later do not appear in it, so
 * that no series appears twice. NULL when memory is short.
 */
struct metrics_render *metrics_render_new(const struct metrics_source *source,
    enum metrics_format format, uint64_t now_ns);
void metrics_render_free(struct metrics_render *r); /* takes NULL */

/*
 * Write the next piece into out, whole lines only, at most size bytes (at
 * least METRICS_PIECE_MIN) and after at most max_agents looks at agents (at
 * least 1). Returns the bytes written; 0 with *ret_done true at the end. May
 * return 0 with *ret_done false after a portion of slots that gave no row.
 */
size_t metrics_render(struct metrics_render *r, char *out, size_t size,
    uint32_t max_agents, bool *ret_done);

/* The family table, for tests and documents: name of family i, or NULL past
 * the end. */
const char *metrics_family_name(size_t i);

#endif
