/*
 * Lanes in the made-up world: memories of agents that the observer reads, and
 * the connections over which they came. Beats are by plan, as those of agents
 * are; they cost the observer nothing, so no time passes for them.
 */
#ifndef TESTS_SIM_LANES_H
#define TESTS_SIM_LANES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sim.h"
#include "watch/intake/lane_source.h"

enum { SIM_LANES_OF_ONE = 1008, SIM_COARSE_NS = 4000000 };

/* ---- for tests ---- */

/* An agent attaches. The number of its memory; numbers are never used again. */
uint32_t sim_attach(struct sim *s, uint32_t agent);
uint32_t sim_attach_as(struct sim *s, uint32_t agent, uint32_t uid);

/* One that the kernel does not name: of a pid namespace that we do not see. */
uint32_t sim_attach_nameless(struct sim *s);

/* The process is gone by the time that the observer looks. */
uint32_t sim_attach_and_go(struct sim *s, uint32_t agent);

/* A lane in memory m, in its next record. Rings the bell. */
uint32_t sim_lane_open(
    struct sim *s, uint32_t m, const char *name, uint32_t threshold_ms);

/* What may be done to it, now: */
void sim_lane_beat_every(
    struct sim *s, uint32_t m, uint32_t lane, uint64_t period_ns);
void sim_lane_beat(struct sim *s, uint32_t m, uint32_t lane);
void sim_lane_hang(struct sim *s, uint32_t m, uint32_t lane);
void sim_lane_idle(struct sim *s, uint32_t m, uint32_t lane);
void sim_lane_status(struct sim *s, uint32_t m, uint32_t lane, uint8_t status);
void sim_lane_close(struct sim *s, uint32_t m, uint32_t lane);
/* Closed, and opened with another name. */
void sim_lane_reopen(
    struct sim *s, uint32_t m, uint32_t lane, const char *name);
/* It is beaten by the clock of 4 ms steps. */
void sim_lane_coarse(struct sim *s, uint32_t m, uint32_t lane);
/* So many reads from now on find it being written. */
void sim_lane_torn(struct sim *s, uint32_t m, uint32_t lane, unsigned reads);
/* A record with any bytes in it. */
void sim_lane_write(struct sim *s, uint32_t m, uint32_t lane,
    const struct lane_reading *reading);

/* Bells that are rung from now on are lost, or not. */
void sim_bells_are_lost(struct sim *s, bool lost);
/* The connection ends, its process lives on. */
void sim_detach(struct sim *s, uint32_t m);
/* A child holds the connection: it does not end with its process. */
void sim_held_by_child(struct sim *s, uint32_t m);
/* Reading a record takes the observer so long. */
void sim_reads_take(struct sim *s, uint64_t ns);
/* What was read of records, in all; how many memories are mapped. */
uint64_t sim_lane_reads(const struct sim *s);
uint32_t sim_memories(const struct sim *s);

/* What was told of lanes of this name; NULL: of all. */
size_t sim_lane_count(
    const struct sim *s, enum event_kind kind, const char *lane);
const struct event *sim_lane_last(
    const struct sim *s, enum event_kind kind, const char *lane);
/* And of agents themselves. */
size_t sim_agent_count(const struct sim *s, enum event_kind kind, uint32_t pid);

/* ---- for sim.c ---- */

struct sim_lanes;

struct sim_lanes *sim_lanes_new(uint32_t places, uint64_t *now_ns);
void sim_lanes_free(struct sim_lanes *l); /* takes NULL */
struct lane_source sim_lanes_source(struct sim_lanes *l);
bool sim_lanes_are_ready(const struct sim_lanes *l); /* takes NULL */
void sim_lanes_process_ended(struct sim_lanes *l, uint32_t agent);

#endif
