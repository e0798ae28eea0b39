/*
 * The rules by which a frame of a known agent is taken. The usual frame passes
 * all of them in one test; what follows explains itself to the others.
 */
#include <assert.h>

#include "watch/track/table.h"
#include "watch/track/tracker.h"

/* Nonces this near to the end may be followed by ones this near to 0. */
static const uint64_t wrap_window = UINT64_C(1) << 20;

static uint64_t
debt_of(const struct table_hot *h, uint64_t now_ns)
{
	return u64_sub_sat(h->last_seen_ns + h->debt_ns, now_ns);
}

/* Debt after a beat at now_ns. No more than what the rate allows, whatever
 * passed without regard to it: an agent is not made to pay later. */
static uint32_t
debt_after(const struct tracker *t, uint64_t debt_ns)
{
	/* At most 50 ms and an interval of 1 s: fits in 32 bits. */
	return (uint32_t)(u64_min(debt_ns, t->tolerance_ns) + t->interval_ns);
}

static bool
is_terminal_edge(const struct table_hot *h, const struct table_cold *c,
    const struct beat *beat)
{
	if (!table_is_terminal(beat) || (h->flags & TABLE_AFTER_TERMINAL) != 0)
		return false;
	return (h->flags & TABLE_HAS_TERMINAL) == 0 ||
	       beat->timestamp > c->terminal_timestamp;
}

bool
tracker_is_terminal_edge(
    const struct tracker *t, uint32_t slot, const struct beat *beat)
{
	if (slot == SLOT_NONE)
		return table_is_terminal(beat);
	assert(table_is_used(t, slot));
	return is_terminal_edge(&t->hot[slot], &t->cold[slot], beat);
}

static bool
is_rate_limited(const struct tracker *t, uint32_t slot, const struct beat *beat,
    uint64_t now_ns)
{
	const struct table_hot *h = &t->hot[slot];

	return debt_of(h, now_ns) > t->tolerance_ns &&
	       beat->status == h->status && beat->origin <= h->origin &&
	       !is_terminal_edge(h, &t->cold[slot], beat);
}

/* The sender has begun again: its nonce says nothing about the last one. */
static bool
is_new_session(const struct tracker *t, uint32_t slot, const struct beat *beat,
    uint64_t now_ns)
{
	const struct table_hot *h = &t->hot[slot];

	/*
	 * The kernel names the process, or nobody does and anyone who may
	 * write to the socket may forge any beat: nothing is lost by
	 * believing this one, and a program that was started again under its
	 * old number is not locked out.
	 */
	if (beat->origin == ORIGIN_KERNEL_ATTESTED ||
	    beat->origin == ORIGIN_SOCKET_MODE_ONLY)
		return beat->nonce < h->last_nonce &&
		       beat->timestamp < h->last_timestamp;
	/* Over a network, only a long silence can tell (reference rule 2). */
	return t->cold[slot].start_ticks == 0 &&
	       u64_sub_sat(now_ns, h->last_seen_ns) >= h->threshold_ns;
}

static enum tracker_outcome
refuse(struct tracker *t, enum stats_out_of_order cause)
{
	t->stats->out_of_order[cause]++;
	return TRACKER_OUT_OF_ORDER;
}

/* All rules are satisfied. Everything but the order of nonces is noted. */
static enum tracker_outcome
accept(
    struct tracker *t, uint32_t slot, const struct beat *beat, uint64_t now_ns)
{
	struct table_hot *h = &t->hot[slot];
	enum tracker_outcome ret = TRACKER_ACCEPTED;

	h->debt_ns = debt_after(t, debt_of(h, now_ns));
	h->last_seen_ns = now_ns;
	h->status = beat->status;
	h->beats++;
	t->stats->beats++;
	if ((h->flags & TABLE_STALLED) != 0) {
		h->flags &= (uint8_t)~TABLE_STALLED;
		t->n_stalled--;
		t->stats->resumes++;
		ret = TRACKER_RESUMED;
	}
	if ((h->flags & TABLE_FILED) == 0) {
		wheel_advance(t->wheel, now_ns);
		table_file(t, slot);
	}
	return ret;
}

static enum tracker_outcome
terminal_beat(
    struct tracker *t, uint32_t slot, const struct beat *beat, uint64_t now_ns)
{
	struct table_hot *h = &t->hot[slot];
	struct table_cold *c = &t->cold[slot];

	if ((h->flags & TABLE_HAS_TERMINAL) != 0 &&
	    beat->timestamp <= c->terminal_timestamp)
		return refuse(t, STATS_TERMINAL_REPLAYED);
	h->flags |= TABLE_HAS_TERMINAL | TABLE_AFTER_TERMINAL;
	c->terminal_timestamp = beat->timestamp;
	return accept(t, slot, beat, now_ns);
}

static enum tracker_outcome
regular_beat(
    struct tracker *t, uint32_t slot, const struct beat *beat, uint64_t now_ns)
{
	struct table_hot *h = &t->hot[slot];

	if ((h->flags & TABLE_NO_NONCE) != 0 || beat->nonce > h->last_nonce) {
		/* In order. */
	} else if (h->last_nonce >= UINT64_MAX - wrap_window &&
		   beat->nonce <= wrap_window) {
		t->stats->nonce_wraps++;
	} else if (is_new_session(t, slot, beat, now_ns)) {
		t->stats->new_sessions++;
		h->flags &= (uint8_t)~TABLE_HAS_TERMINAL;
	} else if (beat->nonce == h->last_nonce) {
		return refuse(t, STATS_NONCE_REPEATED);
	} else {
		return refuse(t, STATS_NONCE_REGRESSED);
	}
	h->flags &= (uint8_t) ~(TABLE_NO_NONCE | TABLE_AFTER_TERMINAL);
	h->last_nonce = beat->nonce;
	h->last_timestamp = beat->timestamp;
	return accept(t, slot, beat, now_ns);
}

static __attribute__((noinline)) enum tracker_outcome
unusual_beat(
    struct tracker *t, uint32_t slot, const struct beat *beat, uint64_t now_ns)
{
	struct table_hot *h = &t->hot[slot];

	assert(table_is_used(t, slot));
	if (is_rate_limited(t, slot, beat, now_ns)) {
		t->stats->rate_limited[STATS_LIMITED_PER_PID]++;
		return TRACKER_RATE_LIMITED;
	}
	if (beat->origin < h->origin) {
		t->stats->origin_conflicts++;
		return TRACKER_ORIGIN_CONFLICT;
	}
	if (beat->origin > h->origin) {
		/* What a weaker origin said of order binds nobody. */
		h->origin = beat->origin;
		h->flags &=
		    (uint8_t) ~(TABLE_HAS_TERMINAL | TABLE_AFTER_TERMINAL);
		h->flags |= TABLE_NO_NONCE;
		t->cold[slot].uid = beat->uid;
	}
	if (table_is_terminal(beat))
		return terminal_beat(t, slot, beat, now_ns);
	return regular_beat(t, slot, beat, now_ns);
}

enum tracker_outcome
tracker_beat(
    struct tracker *t, uint32_t slot, const struct beat *beat, uint64_t now_ns)
{
	struct table_hot *h = &t->hot[slot];
	uint64_t debt = debt_of(h, now_ns);

	/* One branch: each part alone is right nearly always. */
	if (unlikely((beat->nonce <= h->last_nonce) |
		     (beat->nonce == TABLE_NONCE_TERMINAL) |
		     (beat->origin != h->origin) |
		     ((h->flags & TABLE_UNUSUAL) != TABLE_FILED) |
		     (debt > t->tolerance_ns)))
		return unusual_beat(t, slot, beat, now_ns);

	h->last_seen_ns = now_ns;
	h->last_nonce = beat->nonce;
	h->last_timestamp = beat->timestamp;
	h->debt_ns = (uint32_t)(debt + t->interval_ns);
	h->status = beat->status;
	h->beats++;
	t->stats->beats++;
	return TRACKER_ACCEPTED;
}
