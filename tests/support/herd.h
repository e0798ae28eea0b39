/*
 * A slow, plain tracker: an array of agents that is searched from the front,
 * with every rule written out. What the real one must agree with.
 */
#ifndef SUPPORT_HERD_H
#define SUPPORT_HERD_H

#include <stdbool.h>
#include <stdint.h>

#include "watch/track/tracker.h"

enum { HERD_MAX = 2048 };

struct herd_agent {
	bool used;
	uint64_t id;
	uint32_t slot;
	uint64_t last_seen_ns;
	uint64_t joined_ns;
	uint64_t threshold_ns;
	uint64_t hold_ns;
	uint64_t start_ticks;
	bool has_pidfd;
	uint64_t full_rate_ns; /* when the next beat would come */
	uint64_t beats;
	uint64_t stalls;
	bool has_nonce;
	uint64_t nonce;
	uint64_t timestamp;
	bool has_terminal;
	uint64_t terminal_timestamp;
	bool after_terminal;
	uint8_t status;
	uint8_t origin;
	bool stalled;
	bool gone;
};

struct herd {
	struct herd_agent agents[HERD_MAX];
	uint32_t n;
	uint32_t max_rate_per_s;
	struct stats stats;
};

struct herd_agent *herd_find(struct herd *h, uint64_t id);
struct herd_agent *herd_at(struct herd *h, uint32_t slot);
struct herd_agent *herd_join(struct herd *h, const struct beat *beat,
    const struct identity *identity, const struct agent_terms *terms,
    uint32_t slot, uint64_t now_ns);
void herd_remove(struct herd *h, struct herd_agent *a);
enum tracker_outcome herd_beat(struct herd *h, struct herd_agent *a,
    const struct beat *beat, uint64_t now_ns);
bool herd_is_terminal_edge(const struct herd_agent *a, const struct beat *beat);
uint64_t herd_deadline_ns(const struct herd_agent *a);

/* The earliest deadline of an agent that is not stalled; NS_NEVER. */
uint64_t herd_earliest_ns(const struct herd *h);

/* Stalled, of a process that is there. */
uint32_t herd_hanging(const struct herd *h);
uint32_t herd_gone(const struct herd *h);

/* May it be evicted: 0 no, 1 when evicting is balanced, 2 always. */
int herd_evictable(const struct herd_agent *a, uint64_t now_ns);

#endif
