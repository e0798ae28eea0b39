/*
 * Observer: the order of a pass, and nothing else.
 *
 * A pass: were we late ourselves? - take in what is queued - processes that
 * ended - agents that are due - recovery - files. It reaches the outside only
 * through its ports, so that all of it runs in simulation. The event loop
 * around it is loop.h; HTTP is served there, after the pass.
 */
#ifndef WATCH_OBSERVER_H
#define WATCH_OBSERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "watch/act/act.h"
#include "watch/host/process.h"
#include "watch/host/pulse.h"
#include "watch/intake/intake.h"
#include "watch/intake/lane_source.h"
#include "watch/lives.h"
#include "watch/options.h"
#include "watch/stats.h"
#include "watch/tell/metrics.h"
#include "watch/tell/tell.h"

enum {
	OBSERVER_SLOT_NS = 1000000,        /* finest slot of the wheel */
	OBSERVER_LOOK_AHEAD_NS = 10000000, /* see tracker_next_ns() */
	OBSERVER_JUDGED_A_PASS = 1024,     /* deadlines looked at */
	OBSERVER_TOLD_A_PASS = 256         /* news of processes */
};

/* Marks the tokens of recovery commands among those of agents. */
#define OBSERVER_CHILD (UINT64_C(1) << 63)

/* All that is outside; copied, what it points to is borrowed. */
struct observer_ports {
	uint64_t (*now_ns)(void *ctx);
	void *clock_ctx;
	struct lives_host host;
	/* News of watched processes, as process_set_take(); called with the
	 * context of host. */
	size_t (*told)(void *ctx, struct process_told *ret, size_t max);
	uint32_t own_pid_namespace; /* 0 unknown */
	struct intake_source source;
	struct intake_policy policy;
	uint32_t queue_len;       /* datagrams the kernel holds; 0 unknown */
	struct lane_source lanes; /* take is NULL: none */
	struct intake_source network; /* take is NULL: none */
	uint32_t network_queue_len;
	struct tell *tell;
	/* Before an agent is forgotten; NULL: nobody asks. */
	void (*forgotten)(void *ctx, const struct agent_view *agent);
	void *forgotten_ctx;
	const struct rules *rules;
	/* The recovery command of agents or lanes that matched a rule (NULL:
	 * none). */
	const struct act_command *(*command)(
	    void *ctx, const struct rule *rule);
	void *command_ctx;
	const struct act_options *recovery; /* NULL: no command */
	const struct spawn_ops *spawn;      /* NULL: real processes */
	void *spawn_ctx;
	/* Where a pass shows its stages; NULL: nobody looks. */
	struct pulse *pulse;
	uint64_t seed[2]; /* secret key of the tables */
};

struct observer;

/* stats is borrowed. 0, -EINVAL or -ENOMEM. */
int observer_new(const struct options *options,
    const struct observer_ports *ports, struct stats *stats,
    struct observer **ret);

/* End recovery commands within their grace, close what is held. Takes NULL. */
void observer_free(struct observer *o);

/* One pass at now_ns. continued: a signal has continued the process since the
 * last, after a stop or without one. Allocates nothing. */
void observer_pass(struct observer *o, uint64_t now_ns, bool continued);

/* What to wait for until the next pass. */
struct observer_wait {
	uint64_t until_ns;  /* NS_NEVER: for readiness alone */
	bool for_datagrams; /* false: nap, whatever the socket says */
	bool for_network;   /* the same for the other socket */
};

/* Ends a pass: decides how to wait from now_ns on. others_ns is when somebody
 * else wants the loop, NS_NEVER nobody. */
struct observer_wait observer_rest(
    struct observer *o, uint64_t now_ns, uint64_t others_ns);

/* From the next beat on these may send; from now on these rules hold, and this
 * threshold for agents that match none. See lives_set_rules(). */
void observer_set_policy(
    struct observer *o, const struct intake_policy *policy);
void observer_set_rules(
    struct observer *o, const struct rules *rules, uint64_t threshold_ns);

/* True once there is a reason to end with an error: an agent of a foreign pid
 * namespace under the strict check. */
bool observer_has_failed(const struct observer *o);

/* For /metrics. */
struct metrics_source observer_metrics(
    struct observer *o, const struct metrics_gauges *gauges);
uint32_t observer_agents(const struct observer *o);
uint32_t observer_lanes(const struct observer *o);
uint32_t observer_hanging(const struct observer *o);
uint32_t observer_gone(const struct observer *o);

#endif
