/*
 * Sealed frames from the UDP socket: opened with the keys of a ring, judged by
 * the rules against replay, and, where sessions are kept on disk, written down
 * before they count.
 *
 * Length, authenticity, inner pid, the frame itself, replay: in this order, so
 * that nothing a stranger sends costs memory, and a frame that does not decode
 * leaves no trace of a session.
 */
#ifndef WATCH_INTAKE_SEALED_IN_H
#define WATCH_INTAKE_SEALED_IN_H

#include <stdbool.h>
#include <stdint.h>

#include "watch/intake/intake.h"
#include "watch/intake/keyring.h"
#include "watch/intake/replay.h"
#include "watch/intake/replay_store.h"

struct sealed_in;

/* All that is pointed to is borrowed. */
struct sealed_in_options {
	/* Datagrams as they come, of any length. */
	int (*take)(void *ctx, struct datagram *ret, size_t max);
	void *take_ctx;
	struct keyring *keys;
	struct replay *replay;
	struct replay_store *store; /* NULL: nothing is kept on disk */
	struct stats *stats;
	uint64_t (*now_ns)(void *ctx);
	void *clock_ctx;
	uint64_t *senders; /* gauges, kept current; NULL: nobody looks */
	uint64_t *sessions;
};

/* NULL: no memory. */
struct sealed_in *sealed_in_new(const struct sealed_in_options *options);
void sealed_in_free(struct sealed_in *s); /* takes NULL */

/* From the next datagram on these keys hold. Sessions of keys that stay go on;
 * those of others are remembered, see prefixset_use(). */
void sealed_in_set_keys(struct sealed_in *s, struct keyring *keys);

/* The source for intake_init(). vouched: the operator vouches for the
 * transport. */
struct intake_source sealed_in_source(struct sealed_in *s, bool vouched);

#endif
