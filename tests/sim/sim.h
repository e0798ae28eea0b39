/*
 * A world for the observer: a made-up clock, processes, a kernel queue of a
 * given length, agents that beat by plan. The observer, its lives, tracker,
 * judge, intake and recovery are the real ones; only what lies outside is not.
 * Hours pass in milliseconds, and the same seed gives the same story.
 */
#ifndef TESTS_SIM_H
#define TESTS_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"
#include "watch/event.h"
#include "watch/options.h"
#include "watch/rules.h"
#include "watch/stats.h"

#define MS(n) ((uint64_t)(n)*NS_PER_MS)
#define SECONDS(n) ((uint64_t)(n)*NS_PER_S)
#define HOURS(n) SECONDS((uint64_t)(n)*3600)

struct sim;

struct sim_setup {
	struct options options;
	uint32_t agents_max;
	uint32_t queue_len;
	const char *command; /* recovery program, or NULL */
	bool exits_unknown;  /* a kernel that does not tell exit codes */
	bool no_pidfds;      /* out of descriptors */
	uint32_t lanes_max;  /* 0: no lanes; see sim_lanes.h */
};

/* Threshold of one second, rate limits off, capacity 1,024, queue of 512. */
struct sim_setup sim_setup_default(void);

struct sim *sim_new(const struct sim_setup *setup);
void sim_free(struct sim *s);

/* Agents are numbered in the order of their births. A pid of 0 picks one. */
uint32_t sim_spawn(struct sim *s, uint32_t pid);
uint32_t sim_pid(const struct sim *s, uint32_t agent);

/* Beat every period_ns from first_ns on; 0 stops. */
void sim_beat_every(
    struct sim *s, uint32_t agent, uint64_t first_ns, uint64_t period_ns);

/* One frame now, as given; sender is the kernel's word on it. */
struct sim_frame {
	uint64_t nonce;
	uint64_t timestamp;
	uint32_t pid;
	uint32_t payload;
	uint8_t status;
};
void sim_send(
    struct sim *s, uint32_t sender_pid, uint32_t uid, struct sim_frame f);
void sim_send_bytes(struct sim *s, uint32_t sender_pid, uint32_t uid,
    const void *bytes, size_t n);

/* The next ordinary beat of an agent, now. */
void sim_beat(struct sim *s, uint32_t agent, uint8_t status);

/* exec(2): the same process starts over with nonce 1 and its clock at 0. */
void sim_exec(struct sim *s, uint32_t agent);

/* The process ends. Unreaped it is a zombie until sim_reap(). */
void sim_end(struct sim *s, uint32_t agent, struct exit_info how, bool reaped);
void sim_reap(struct sim *s, uint32_t agent);
void sim_set_namespace(struct sim *s, uint32_t agent, uint32_t ns);

/* Let time pass with the observer at work. */
void sim_run(struct sim *s, uint64_t ns);

/* Let time pass with the observer stopped; then it is continued. */
void sim_stop_observer(struct sim *s, uint64_t ns);

/* The same, but no signal tells it: starved, or frozen. */
void sim_starve_observer(struct sim *s, uint64_t ns);

/* Other rules and another threshold, as after SIGHUP. Agents have no names
 * here; rules match their uid. */
void sim_set_rules(
    struct sim *s, const struct rules *rules, uint64_t threshold_ms);

/* From now on this user may beat, too. */
void sim_allow_uid(struct sim *s, uint32_t uid);

uint64_t sim_now(const struct sim *s);
const struct stats *sim_stats(const struct sim *s);
uint64_t sim_wakeups(const struct sim *s);
uint64_t sim_refused_beats(const struct sim *s);
bool sim_has_failed(const struct sim *s);
uint64_t sim_allocations_in_passes(const struct sim *s);

/* What was told. Counts of a kind for a pid (0: all), and the last of them. */
size_t sim_count(const struct sim *s, enum event_kind kind, uint32_t pid);
const struct event *sim_last(
    const struct sim *s, enum event_kind kind, uint32_t pid);
/* Position of the last event of a kind, to compare orders; -1 none. */
long sim_position(const struct sim *s, enum event_kind kind, uint32_t pid);
const struct event *sim_events(const struct sim *s, size_t *ret_n);
size_t sim_recoveries(const struct sim *s, enum recovery_outcome outcome);
size_t sim_commands_started(const struct sim *s);
/* Of the last command: its program, and what it was told in VARTA_LANE. */
const char *sim_last_program(const struct sim *s);
const char *sim_last_lane(const struct sim *s);

struct sim_lanes;
struct sim_lanes *sim_lanes(const struct sim *s);
uint32_t sim_agents(const struct sim *s); /* known to the observer */
uint32_t sim_lanes_watched(const struct sim *s);

#endif
