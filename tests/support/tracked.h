/*
 * A tracker with one agent after another in it, for tests of its rules. Times
 * are milliseconds.
 */
#ifndef SUPPORT_TRACKED_H
#define SUPPORT_TRACKED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "watch/track/tracker.h"

struct tracked {
	struct tracker *tracker;
	struct tracker_options options;
	struct agent_terms terms;
	struct identity identity; /* of whoever joins */
	struct stats stats;
	struct agent_view evicted;
	bool did_evict;
	struct tracker_due due[8];
};

static inline uint64_t
tracked_ms(uint64_t ms)
{
	return ms * NS_PER_MS;
}

/* With these options; what is 0 is made usual. */
static inline void
tracked_init(struct tracked *t, const struct tracker_options *options)
{
	memset(t, 0, sizeof(*t));
	t->options = *options;
	if (t->options.capacity == 0)
		t->options.capacity = 64;
	if (t->options.scan_window == 0)
		t->options.scan_window = 64;
	t->options.slot_ns = NS_PER_MS;
	t->terms.threshold_ns = tracked_ms(1000);
	t->identity.pidfd = -1;
	t->identity.start_ticks = 77;
	assert_int_equal(
	    tracker_new(&t->options, &t->stats, 0, &t->tracker), 0);
}

static inline void
tracked_fini(struct tracked *t)
{
	tracker_free(t->tracker);
	t->tracker = NULL;
}

/* A regular frame from a process that the kernel names. */
static inline struct beat
tracked_beat(uint64_t id, uint64_t nonce, uint64_t timestamp)
{
	return (struct beat){
		.id = id,
		.pid = (uint32_t)id,
		.nonce = nonce,
		.timestamp = timestamp,
		.uid = 1000,
		.origin = ORIGIN_KERNEL_ATTESTED,
	};
}

static inline struct beat
tracked_terminal(uint64_t id, uint64_t timestamp)
{
	struct beat b = tracked_beat(id, UINT64_MAX, timestamp);

	b.status = AGENT_CRITICAL;
	return b;
}

static inline uint32_t
tracked_join(struct tracked *t, const struct beat *b, uint64_t at_ms)
{
	return tracker_join(t->tracker, b, &t->identity, &t->terms,
	    tracked_ms(at_ms), &t->evicted, &t->did_evict);
}

/* An agent that joins with nonce 1 at timestamp 1000. */
static inline uint32_t
tracked_add(struct tracked *t, uint64_t id, uint64_t at_ms)
{
	struct beat b = tracked_beat(id, 1, 1000);

	return tracked_join(t, &b, at_ms);
}

static inline enum tracker_outcome
tracked_put(
    struct tracked *t, uint32_t slot, const struct beat *b, uint64_t at_ms)
{
	return tracker_beat(t->tracker, slot, b, tracked_ms(at_ms));
}

static inline size_t
tracked_due(struct tracked *t, uint64_t at_ms)
{
	return tracker_due(
	    t->tracker, tracked_ms(at_ms), t->due, ARRAY_SIZE(t->due));
}

/* Whoever is due by then has stalled. Returns how many. */
static inline size_t
tracked_stall_all(struct tracked *t, uint64_t at_ms)
{
	size_t n = 0, i, taken;

	while ((taken = tracked_due(t, at_ms)) > 0) {
		for (i = 0; i < taken; i++)
			tracker_stall(t->tracker, t->due[i].slot, STALL_SILENT);
		n += taken;
	}
	return n;
}

static inline struct agent_view
tracked_view(const struct tracked *t, uint32_t slot)
{
	struct agent_view v;

	assert_true(tracker_view(t->tracker, slot, &v));
	return v;
}

#endif
