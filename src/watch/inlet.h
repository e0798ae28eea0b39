/*
 * Inlet: one socket of beats, with the limits that it has for itself.
 *
 * Each has its own limit for the beats of all agents, so that a network cannot
 * use up what belongs to this host, its own limit for one pass, and its own
 * pace of waiting or napping. Pure, but for what its source does.
 */
#ifndef WATCH_INLET_H
#define WATCH_INLET_H

#include <stdbool.h>
#include <stdint.h>

#include "watch/intake/admit.h"
#include "watch/intake/intake.h"
#include "watch/intake/pace.h"

enum {
	/* Datagrams in one pass; more where the queue is longer. */
	INLET_DRAIN_MIN = 4096,
	/* Of a network, where each may cost eight attempts to open it: as many
	 * as the kernel holds, which takes a millisecond, between these two. */
	INLET_DRAIN_NETWORK = 320,
	INLET_DRAIN_NETWORK_MAX = 1024,
	/* Once so many have come within so long, a network waits for the rest
	 * of that time: we are not woken for each, and what is too much the
	 * kernel drops, at its price and not at ours. */
	INLET_FLOOD = 48,
	INLET_FLOOD_NS = 2000000
};

struct inlet {
	struct intake intake;
	struct admit admit;
	struct pace pace;
	uint32_t drain_max;
	uint32_t flood;       /* UINT32_MAX: nothing is one */
	uint32_t counted;     /* datagrams since */
	uint64_t count_ns;    /* this time */
	uint64_t rest_end_ns; /* 0: no rest */
};

struct inlet_options {
	struct intake_source source;
	struct intake_policy policy;
	uint32_t queue_len; /* datagrams the kernel holds; 0 unknown */
	uint32_t rate_per_s;
	uint32_t burst;
};

/* stats is borrowed. */
void inlet_init(struct inlet *in, const struct inlet_options *options,
    struct stats *stats, uint64_t now_ns);

/* A pass that ended at now_ns took so many datagrams; there may be more.
 * Returns true when the next pass must follow at once. */
bool inlet_drained(
    struct inlet *in, uint32_t taken, bool may_be_more, uint64_t now_ns);

/* Whether to wait for the socket; if not, *until_ns becomes no later than the
 * end of the nap. */
bool inlet_waits(const struct inlet *in, uint64_t now_ns, uint64_t *until_ns);

#endif
