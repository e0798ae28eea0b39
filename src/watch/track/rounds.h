/*
 * Rounds: which agents have been silent for a while?
 *
 * For tables of many agents that beat regularly. A beat sets one bit. Agents
 * with the same threshold are a class, and a class is gone round twice or so
 * in a threshold, 64 agents at a time: those whose bit is set have beaten
 * since the last round, and nothing is owed by them before the next; the few
 * others are handed to the caller, who looks at them exactly. An agent that
 * beats as it should costs its bit and nothing else: neither is its record
 * touched nor is it filed in the wheel again and again (measured, with
 * beats in random order: that saves a quarter of the cost of a beat).
 *
 * Promised: an agent is handed out before it has been silent for its threshold
 * when rounds_take() is called as rounds_next_ns() asks. Times never go back.
 */
#ifndef WATCH_TRACK_ROUNDS_H
#define WATCH_TRACK_ROUNDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ROUNDS_CLASSES = 4, ROUNDS_WORD = 64 /* agents in a word */ };

struct rounds_class {
	uint64_t *members; /* a bit for each agent */
	uint64_t threshold_ns;
	uint64_t start_ns;     /* of the last round that is complete */
	uint64_t before_ns;    /* of the one before; no member is silent for
				  longer */
	uint64_t under_way_ns; /* start of the one that is not; NS_NEVER none */
	uint32_t n_members;
	uint32_t word; /* where it is */
};

struct rounds {
	uint64_t *seen;    /* a bit for each agent: since its last round */
	uint64_t quiet_ns; /* rounds_take() has nothing to do before */
	uint32_t n_words;
	struct rounds_class classes[ROUNDS_CLASSES];
};

/* Bytes of zeroed memory, aligned to 8, that rounds_init() needs. */
size_t rounds_size(uint32_t agents);

/* mem outlives r. */
void rounds_init(struct rounds *r, void *mem, uint32_t agents);

/* The agent has beaten; whether it is a member does not matter. */
static inline void
rounds_seen(struct rounds *r, uint32_t agent)
{
	r->seen[agent / ROUNDS_WORD] |= UINT64_C(1) << agent % ROUNDS_WORD;
}

/*
 * Make the agent, which has been silent since last_seen_ns, a member of the
 * class of its threshold. It must not be a member.
 *
 * False when there is no such class and no room for another, or when the agent
 * has been silent for too long to wait for the next round.
 */
bool rounds_add(struct rounds *r, uint32_t agent, uint64_t threshold_ns,
    uint64_t last_seen_ns, uint64_t now_ns);

/* The agent, which must be a member, leaves. */
void rounds_remove(struct rounds *r, uint32_t agent);

/*
 * Members found silent, at most max; they are members no more. When the caller
 * was so late that even one that has beaten may be due, all members are.
 * Returns how many; 0 means that all rounds that were due are complete.
 */
size_t rounds_take(
    struct rounds *r, uint64_t now_ns, uint32_t *out, size_t max);

/* When rounds_take() must be called at the latest; NS_NEVER without members.
 * In the past when the last call has left something. */
uint64_t rounds_next_ns(const struct rounds *r);

#endif
