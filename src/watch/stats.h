/*
 * Counters of the observer, one block, written by the loop alone. Each room
 * adds to its own part; tell/ turns all of it into metrics. A counter only
 * grows. Names follow the metric they feed (reference names in comments where
 * they differ).
 */
#ifndef WATCH_STATS_H
#define WATCH_STATS_H

#include <stdint.h>

#include "watch/event.h"

enum stats_decode {
	STATS_BAD_MAGIC = 0,
	STATS_BAD_VERSION,
	STATS_BAD_STATUS,
	STATS_BAD_PID,
	STATS_BAD_TIMESTAMP,
	STATS_BAD_NONCE,
	STATS_STALL_ON_WIRE,
	STATS_BAD_CRC,
	STATS_DECODE_COUNT
};

/* Why a beat of a known agent was not taken. */
enum stats_out_of_order {
	STATS_NONCE_REPEATED = 0, /* equal to the last nonce */
	STATS_NONCE_REGRESSED,    /* lower, and no sign of a new session */
	STATS_TERMINAL_REPLAYED,  /* terminal frame that is not newer */
	STATS_OUT_OF_ORDER_COUNT
};

/* Why an authentic frame of a new session was not taken. */
enum stats_session {
	STATS_SESSION_MEMORY_FULL = 0, /* no room to remember it */
	STATS_SESSION_TOO_OFTEN,       /* its sender begins too many */
	STATS_SESSION_COUNT
};

/* Why lanes were not taken in. */
enum stats_lane {
	STATS_LANE_USER = 0, /* of a user who may not beat */
	STATS_LANE_MEMORY,   /* not what lanes are handed over as */
	STATS_LANE_AGENT,    /* their process cannot be an agent */
	STATS_LANE_RECORD,   /* without a good name, or with one twice */
	STATS_LANE_ROOM,     /* too many, of lanes or of connections */
	STATS_LANE_COUNT
};

enum stats_limited {
	STATS_LIMITED_PER_PID = 0,
	STATS_LIMITED_GLOBAL,
	STATS_LIMITED_COUNT
};

enum stats_prom_dropped {
	STATS_PROM_DRAIN = 0,
	STATS_PROM_RATE_LIMIT,
	STATS_PROM_IP_TABLE_FULL,
	STATS_PROM_DROPPED_COUNT
};

/* The queue of the audit trail is fuller than it should be. */
enum stats_audit_ring {
	STATS_AUDIT_RING_WARN = 0,
	STATS_AUDIT_RING_CRITICAL,
	STATS_AUDIT_RING_COUNT
};

enum stats_stage {
	STATS_STAGE_DRAIN_PENDING = 0, /* stalls and recovery decisions */
	STATS_STAGE_POLL,              /* datagrams */
	STATS_STAGE_MAINTENANCE,
	STATS_STAGE_RECOVERY_REAP,
	STATS_STAGE_SERVE_PENDING,
	STATS_STAGE_HOUSEKEEPING,
	STATS_STAGE_COUNT
};

enum {
	STATS_BUCKETS = 9 /* 1 5 10 50 100 250 500 ms, 1 s, +Inf */
};

struct stats_histogram {
	uint64_t buckets[STATS_BUCKETS]; /* not cumulative */
	uint64_t sum_ns;
	uint64_t count;
};

enum {
	/* 50 100 250 500 us, 1 2.5 5 10 25 50 100 250 500 ms, 1 2.5 5 10 s,
	 * +Inf */
	STATS_FINE_BUCKETS = 18
};

/* Finer, longer, and cheap enough for every beat. */
struct stats_fine {
	uint64_t buckets[STATS_FINE_BUCKETS]; /* not cumulative */
	/* Each duration to the nearest 1,024 ns: so the sum of 100,000 agents
	 * lasts for six years, and no second addition is needed. */
	uint64_t sum_1024ns;
};

struct stats {
	/* intake */
	uint64_t datagrams;           /* taken from all sockets */
	uint64_t truncated_datagrams; /* wrong length */
	uint64_t ctrl_truncated;
	uint64_t io_errors; /* all causes below included */
	uint64_t credentials_missing;
	uint64_t uid_refused;
	uint64_t pid_zero_refused;     /* sender outside our pid namespace */
	uint64_t injected_descriptors; /* closed at once */
	uint64_t frame_auth_failures;
	uint64_t pid_above_max;
	uint64_t decode_errors[STATS_DECODE_COUNT];
	uint64_t batches;      /* receive calls that brought something */
	uint64_t naps_entered; /* changes from blocking to napping */

	/* admission */
	uint64_t rate_limited[STATS_LIMITED_COUNT];

	/* tracker */
	uint64_t beats;
	uint64_t stalls[STALL_REASON_COUNT];
	uint64_t joins;
	uint64_t resumes;
	uint64_t exits;
	uint64_t leaves;
	uint64_t out_of_order[STATS_OUT_OF_ORDER_COUNT];
	uint64_t new_sessions; /* same process, started over */
	uint64_t nonce_wraps;
	uint64_t origin_conflicts;
	uint64_t namespace_mismatches; /* sender and observer differ */
	uint64_t capacity_exceeded;
	uint64_t evicted;
	uint64_t eviction_scan_truncated;
	uint64_t pid_recycled;
	uint64_t identity_unknown;   /* first contact came too late */
	uint64_t pidfd_refused;      /* out of descriptors: start time only */
	uint64_t exit_wait_overflow; /* exits told without waiting for a code */

	/* the observer itself */
	uint64_t passes;
	uint64_t late_gaps;   /* times the observer was late itself */
	uint64_t late_gap_ns; /* in all */
	uint64_t clock_regressions;
	uint64_t clock_jumps_forward;
	uint64_t iteration_budget_exceeded;
	uint64_t scrape_budget_exceeded;
	uint64_t socket_dir_fsync_failed;
	uint64_t heartbeat_errors; /* failed writes of the heartbeat file */
	struct stats_histogram iteration;
	struct stats_histogram stage[STATS_STAGE_COUNT];

	uint64_t reloads;
	uint64_t reloads_failed;

	/* recovery */
	uint64_t recovery[RECOVERY_OUTCOME_COUNT];
	uint64_t recovery_duration_ns;
	uint64_t recovery_duration_count;
	uint64_t recovery_ledger_evictions;
	uint64_t recovery_debounce_recycle_resets;
	uint64_t recovery_outstanding_recycle_resets;
	uint64_t recovery_spawn_budget_exceeded;
	uint64_t recovery_reap_truncated;

	/* tell */
	uint64_t export_errors;
	uint64_t prom_requests;
	uint64_t prom_auth_failures;
	uint64_t prom_dropped[STATS_PROM_DROPPED_COUNT];
	uint64_t export_rows_lost;        /* left out: the file took no more */
	uint64_t scrape_budget_exhausted; /* HTTP work left for a later pass */
	uint64_t control_refused; /* peers of the control socket: not ours */

	/* audit trail; of its thread, as of the last pass, but for the first
	 * two */
	uint64_t recovery_audit_dropped;
	uint64_t audit_ring[STATS_AUDIT_RING_COUNT];
	uint64_t recovery_audit_flush_budget_exceeded;
	uint64_t audit_fsync_budget_exceeded;
	uint64_t audit_rotation_budget_exceeded;
	uint64_t audit_rows;
	uint64_t audit_errors;
	struct stats_histogram audit_fsync;

	/* times of agents */
	struct stats_fine beat_interval;    /* of the beats accepted */
	struct stats_fine stall_lateness;   /* told so long after it was due */
	struct stats_fine recovery_latency; /* stall to spawn */

	/* sealed frames */
	uint64_t frame_decrypt_failures;
	uint64_t secure_replay_refused;
	uint64_t sender_state_full;
	uint64_t secure_aead_attempts;
	uint64_t session_refused[STATS_SESSION_COUNT];
	uint64_t state_errors; /* sessions that could not be written down */

	uint64_t v01_frames; /* of version 1, refused ones included */

	/* lanes */
	uint64_t lane_attaches; /* memories taken in */
	uint64_t lane_joins;
	uint64_t lane_leaves;
	uint64_t lane_resumes;
	uint64_t lane_stalls[STALL_REASON_COUNT];
	uint64_t lane_looks; /* at records that were due */
	uint64_t lane_refused[STATS_LANE_COUNT];
};

/* Add one duration. */
void stats_histogram_add(struct stats_histogram *h, uint64_t ns);

/* Upper bounds of the buckets in ns; the last is UINT64_MAX. */
extern const uint64_t stats_bucket_bounds_ns[STATS_BUCKETS];
extern const uint64_t stats_fine_bounds_ns[STATS_FINE_BUCKETS];

/*
 * Durations with the same highest bit fall into at most two buckets: this one,
 * or the next one when they are above its bound.
 */
struct stats_fine_step {
	uint64_t bound_ns;
	uint64_t bucket;
};
extern const struct stats_fine_step stats_fine_steps[64];

/* The same for a fine histogram, without a loop or a branch. */
static inline void
stats_fine_add(struct stats_fine *h, uint64_t ns)
{
	const struct stats_fine_step *step =
	    &stats_fine_steps[63 - __builtin_clzll(ns | 1)];

	h->buckets[step->bucket + (ns > step->bound_ns)]++;
	h->sum_1024ns += (ns + 512) >> 10;
}

#endif
