/*
 * An agent with lanes in the made-up world, for the simulations of lanes. To be
 * included after cmocka.h.
 */
#ifndef TESTS_LANES_WORLD_H
#define TESTS_LANES_WORLD_H

#include <string.h>

#include "sim.h"
#include "sim_lanes.h"

#define SLOT MS(1) /* so much later may be told what is due */

struct world {
	struct sim *s;
	uint32_t agent, memory;
};

static const struct exit_info by_signal = { EXIT_HOW_SIGNAL, 9 };
static const struct exit_info in_order = { EXIT_HOW_CODE, 0 };

static inline struct sim_setup
lanes_setup(void)
{
	struct sim_setup setup = sim_setup_default();

	setup.lanes_max = 64;
	return setup;
}

/* An agent that has attached and opened nothing yet. */
static inline struct world
world_of(const struct sim_setup *setup)
{
	struct world w = { .s = sim_new(setup) };

	sim_run(w.s, SECONDS(1));
	w.agent = sim_spawn(w.s, 0);
	w.memory = sim_attach(w.s, w.agent);
	sim_run(w.s, MS(1));
	return w;
}

static inline struct world
world(void)
{
	const struct sim_setup setup = lanes_setup();

	return world_of(&setup);
}

static inline uint32_t
open_lane(const struct world *w, const char *name, uint32_t threshold_ms)
{
	uint32_t lane = sim_lane_open(w->s, w->memory, name, threshold_ms);

	sim_run(w->s, MS(1));
	return lane;
}

/* One that beats every 10 ms from now on. */
static inline uint32_t
busy_lane(const struct world *w, const char *name, uint32_t threshold_ms)
{
	uint32_t lane = open_lane(w, name, threshold_ms);

	sim_lane_beat_every(w->s, w->memory, lane, MS(10));
	sim_run(w->s, MS(1));
	return lane;
}

/* It beats now, and never again. */
static inline uint64_t
last_beat(const struct world *w, uint32_t lane)
{
	sim_lane_beat(w->s, w->memory, lane);
	return sim_now(w->s);
}

/* The last stall of the lane came when it was due: never before, and at most a
 * slot, and what the clock of the lane leaves open, later. */
static inline void
assert_stalled_at(
    const struct world *w, const char *lane, uint64_t due_ns, uint64_t slack_ns)
{
	const struct event *ev = sim_lane_last(w->s, EVENT_STALL, lane);

	assert_non_null(ev);
	assert_in_range(ev->at_ns, due_ns, due_ns + SLOT + slack_ns);
}

/* What holds at any time; then the end. */
static inline void
end_world(const struct world *w)
{
	const struct stats *stats = sim_stats(w->s);

	assert_int_equal(sim_allocations_in_passes(w->s), 0);
	assert_int_equal(
	    stats->lane_joins, sim_lane_count(w->s, EVENT_JOIN, NULL));
	assert_int_equal(
	    stats->lane_leaves, sim_lane_count(w->s, EVENT_LEAVE, NULL));
	assert_int_equal(
	    stats->lane_resumes, sim_lane_count(w->s, EVENT_RESUME, NULL));
	assert_int_equal(
	    stats->lane_stalls[STALL_SILENT] + stats->lane_stalls[STALL_GONE],
	    sim_lane_count(w->s, EVENT_STALL, NULL));
	assert_true(
	    stats->lane_joins >= stats->lane_leaves + sim_lanes_watched(w->s));
	sim_free(w->s);
}

/* Nothing is left of anybody. */
static inline void
assert_all_is_forgotten(const struct world *w)
{
	assert_int_equal(sim_agents(w->s), 0);
	assert_int_equal(sim_lanes_watched(w->s), 0);
	assert_int_equal(sim_memories(w->s), 0);
}

#endif
