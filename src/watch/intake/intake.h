/*
 * Intake: bytes to valid beats, or a reason.
 *
 * Takes datagrams from one or more sources in batches, checks length, control
 * data, credentials and the frame itself, in the order of the reference
 * (observer page 1.3 and 1.6), and hands on what is left. It knows no agents
 * and keeps no time.
 */
#ifndef WATCH_INTAKE_INTAKE_H
#define WATCH_INTAKE_INTAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "watch/event.h"
#include "watch/stats.h"

enum {
	INTAKE_BATCH = 64, /* datagrams taken by one system call */
	INTAKE_FRAME_BYTES = 32,
	INTAKE_POLICY_IDS = 64, /* --allow-uid and --allow-gid, each */
	/* The highest pid of any host: Linux has none above. */
	INTAKE_NETWORK_PID_MAX = 4194304
};

/* What a source delivers: bytes and what the kernel says of their sender. */
enum datagram_flags {
	DATAGRAM_HAS_CREDENTIALS = 1u << 0,
	DATAGRAM_CTRUNC = 1u << 1,  /* control data was cut off */
	DATAGRAM_DROPPED = 1u << 2, /* by the source, which has counted it */
};

struct datagram {
	const uint8_t *bytes; /* valid until the next take */
	uint32_t len;         /* true length, also where bytes hold less */
	uint32_t pid;
	uint32_t uid;
	uint32_t gid;
	uint32_t flags;
	uint32_t mark; /* the source's own, for judge() */
};

/*
 * A source of datagrams: a socket, or a test. take() fills at most max entries
 * and never blocks.
 *
 * Returns how many (fewer than max: nothing more is queued), or -errno when
 * the call itself failed.
 *
 * judge(), where there is one, has the last word on a frame that passed all
 * checks, and may fill in more of its beat; false: dropped, counted by the
 * source. settle(), where there is one, ends a batch before it is handed on.
 */
struct intake_source {
	int (*take)(void *ctx, struct datagram *ret, size_t max);
	bool (*judge)(void *ctx, const struct datagram *d, struct beat *beat);
	void (*settle)(void *ctx);
	void *ctx;
	bool attested;   /* the kernel names senders on this source */
	bool is_network; /* they may be on any host */
	bool is_vouched; /* the operator vouches for the network */
	uint32_t id;     /* upper half of identities; 0 is this host */
};

/* Who may beat, besides the observer's own uid. */
struct intake_policy {
	uint32_t own_uid;
	uint32_t allowed_uids[INTAKE_POLICY_IDS];
	size_t n_allowed_uids;
	uint32_t allowed_gids[INTAKE_POLICY_IDS];
	size_t n_allowed_gids;
	uint32_t pid_max;     /* highest pid of this system */
	bool refuse_pid_zero; /* a kernel pid of 0 is not to be believed */
	bool accept_v01;      /* version 1, from senders the kernel names */
};

/* Whether a process of this user and group may beat. */
bool intake_may_beat(
    const struct intake_policy *policy, uint32_t uid, uint32_t gid);

/* A datagram, or a receive call, that came to nothing and is worth an event.
 * Wrong lengths are counted only. */
struct intake_fault {
	enum event_kind kind; /* DECODE, IO, CTRUNC or MISMATCH */
	int error;            /* as struct event */
	uint32_t claimed_pid;
	uint32_t uid;
	bool consumed; /* a datagram was taken; false: the call failed */
};

struct intake_batch {
	struct beat beats[INTAKE_BATCH];
	size_t n_beats;
	struct intake_fault faults[INTAKE_BATCH];
	size_t n_faults;
	size_t n_taken; /* datagrams, good and bad */
};

struct intake {
	struct intake_source source;
	struct intake_policy policy;
	struct stats *stats;
	struct datagram datagrams[INTAKE_BATCH];
};

/* All arguments are copied, but for stats, which is borrowed. */
void intake_init(struct intake *in, const struct intake_source *source,
    const struct intake_policy *policy, struct stats *stats);

/*
 * One batch from the source into ret, and the counters. A result with n_taken
 * of INTAKE_BATCH means that more may be queued.
 */
void intake_take(struct intake *in, struct intake_batch *ret);

#endif
