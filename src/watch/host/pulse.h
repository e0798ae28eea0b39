/*
 * Pulse: what the loop lets others see of where it is.
 *
 * One atomic word, so that nothing is ever seen half: passes completed, the
 * stage at hand, and, while waiting, for how long. It holds no time: whoever
 * looks measures on a clock of its own how long a word has stood. The loop
 * writes it, any thread may look. Publishing is a load and a store without a
 * fence, since nothing else is handed over with it.
 */
#ifndef WATCH_HOST_PULSE_H
#define WATCH_HOST_PULSE_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/util.h"
#include "watch/stats.h"

enum {
	PULSE_WAIT_BITS = 28,
	PULSE_STAGE_BITS = 4,
	PULSE_PASS_SHIFT = PULSE_WAIT_BITS + PULSE_STAGE_BITS,
	PULSE_WAIT_NEVER_MS = (1 << PULSE_WAIT_BITS) - 1, /* and above: days */
	PULSE_WAITING = STATS_STAGE_COUNT /* a stage of its own */
};

_Static_assert((int)PULSE_WAITING < 1 << PULSE_STAGE_BITS, "room for a stage");

struct pulse {
	_Atomic uint64_t word;
};

/* A word taken apart. */
struct pulse_view {
	uint32_t pass;    /* passes completed, modulo 2^32 */
	unsigned stage;   /* enum stats_stage, or PULSE_WAITING */
	uint64_t wait_ns; /* NS_NEVER: for no time in particular */
};

/* Waiting for nothing, no pass completed. */
static inline void
pulse_init(struct pulse *p)
{
	atomic_init(&p->word,
	    (uint64_t)PULSE_WAITING << PULSE_WAIT_BITS | PULSE_WAIT_NEVER_MS);
}

/* The loop begins a stage of its pass. */
static inline void
pulse_enter(struct pulse *p, enum stats_stage stage)
{
	uint64_t word = atomic_load_explicit(&p->word, memory_order_relaxed);

	word = word >> PULSE_PASS_SHIFT << PULSE_PASS_SHIFT |
	       (uint64_t)stage << PULSE_WAIT_BITS;
	atomic_store_explicit(&p->word, word, memory_order_relaxed);
}

/* The loop has completed a pass and waits, at most for wait_ns; NS_NEVER: for
 * readiness alone. */
static inline void
pulse_wait(struct pulse *p, uint64_t wait_ns)
{
	uint64_t word = atomic_load_explicit(&p->word, memory_order_relaxed);
	uint64_t wait_ms = wait_ns / NS_PER_MS + (wait_ns % NS_PER_MS != 0);

	word = ((word >> PULSE_PASS_SHIFT) + 1) << PULSE_PASS_SHIFT |
	       (uint64_t)PULSE_WAITING << PULSE_WAIT_BITS |
	       u64_min(wait_ms, PULSE_WAIT_NEVER_MS);
	atomic_store_explicit(&p->word, word, memory_order_relaxed);
}

static inline uint64_t
pulse_word(const struct pulse *p)
{
	return atomic_load_explicit(&p->word, memory_order_relaxed);
}

static inline struct pulse_view
pulse_view(uint64_t word)
{
	uint64_t wait_ms = word & PULSE_WAIT_NEVER_MS;

	return (struct pulse_view){
		.pass = (uint32_t)(word >> PULSE_PASS_SHIFT),
		.stage = (unsigned)(word >> PULSE_WAIT_BITS &
				    ((1 << PULSE_STAGE_BITS) - 1)),
		.wait_ns = wait_ms == PULSE_WAIT_NEVER_MS ? NS_NEVER
							  : wait_ms * NS_PER_MS,
	};
}

#endif
