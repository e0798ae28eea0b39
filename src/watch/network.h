/*
 * Network: the UDP socket of the daemon with all that stands behind it, as the
 * options say: keys, sessions, and the folder in which these are remembered.
 * Tells the operator what was accepted with it.
 */
#ifndef WATCH_NETWORK_H
#define WATCH_NETWORK_H

#include <stdint.h>

#include "watch/intake/intake.h"
#include "watch/intake/keyring.h"
#include "watch/intake/replay.h"
#include "watch/intake/replay_store.h"
#include "watch/intake/sealed_in.h"
#include "watch/intake/udp_in.h"
#include "watch/options.h"
#include "watch/tell/metrics.h"

/* Zeroed: no network. */
struct network {
	struct udp_in *udp;
	struct sealed_in *sealed; /* NULL: plain beats */
	struct replay *replay;
	struct replay_store *store; /* NULL: nothing is remembered */
	bool is_vouched;
};

struct network_clock {
	uint64_t (*now_ns)(void *ctx);
	void *ctx;
};

/*
 * Bind and make ready where the options ask for it. keys, stats and gauges are
 * borrowed; gauges of sealed frames are kept current. 0, or -errno after an
 * error was logged; what was opened is then network_close()'s.
 */
int network_open(struct network *n, const struct options *options,
    struct keyring *keys, struct stats *stats, struct metrics_gauges *gauges,
    const struct network_clock *clock);

/* Waits for the disk of the sessions for wait_ns at most. */
void network_close(struct network *n, uint64_t wait_ns);

/* From now on these keys hold, which are borrowed. The last ones are freed:
 * there may be no room to lock both into memory. */
void network_set_keys(
    struct network *n, struct keyring *keys, struct keyring *last_given);

/* take is NULL where there is no network. */
struct intake_source network_source(const struct network *n);
int network_fd(const struct network *n);              /* -1: none */
const char *network_address(const struct network *n); /* "": none */
uint32_t network_queue_len(const struct network *n);

#endif
