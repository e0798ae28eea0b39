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
	if (!table_is_terminal(beat) || (h->state & TABLE_AFTER_TERMINAL) != 0)
		return false;
	return (h->notes & TABLE_HAS_TERMINAL) == 0 ||
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
	       beat->status == table_status(h) &&
	       beat->origin <= table_origin(h) &&
	       !is_terminal_edge(h, &t->cold[slot], beat);
}

/* The sender has begun again: its nonce says nothing about the last one. */
static bool
is_new_session(const struct tracker *t, uint32_t slot, const struct beat *beat,
    uint64_t now_ns)
{
	const struct table_hot *h = &t->hot[slot];

	if (beat->is_anew)
		return true;
	/*
	 * The kernel names the process, or nobody does and anyone who may
	 * write to the socket may forge any beat: nothing is lost by
	 * believing this one, and a program that was started again under its
	 * old number is not locked out.
	 */
	if (beat->origin == ORIGIN_KERNEL_ATTESTED ||
	    beat->origin == ORIGIN_SOCKET_MODE_ONLY)
		return beat->nonce < h->next_nonce - 1 &&
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

/* The first beat of an agent that was a mere contact before: its grace begins
 * here. */
static void
begin_grace(struct table_hot *h, const struct table_cold *c, uint64_t now_ns)
{
	h->hold_ns = u64_add_sat(now_ns, u64_sub_sat(h->hold_ns, c->joined_ns));
}

/* All rules are satisfied. Everything but the order of nonces is noted. */
static enum tracker_outcome
accept(
    struct tracker *t, uint32_t slot, const struct beat *beat, uint64_t now_ns)
{
	struct table_hot *h = &t->hot[slot];
	enum tracker_outcome ret = TRACKER_ACCEPTED;

	h->debt_ns = debt_after(t, debt_of(h, now_ns));
	if (h->beats == 0)
		begin_grace(h, &t->cold[slot], now_ns);
	else if (t->note_intervals)
		stats_fine_add(&t->stats->beat_interval,
		    u64_sub_sat(now_ns, h->last_seen_ns));
	h->last_seen_ns = now_ns;
	h->beats++;
	t->stats->beats++;
	if ((h->state & TABLE_STALLED) != 0) {
		table_uncount_stalled(t, slot);
		t->stats->resumes++;
		ret = TRACKER_RESUMED;
	}
	h->state = (h->state & TABLE_AFTER_TERMINAL) | table_state_of(beat);
	rounds_seen(&t->rounds, slot);
	table_watch(t, slot, now_ns);
	return ret;
}

static enum tracker_outcome
terminal_beat(
    struct tracker *t, uint32_t slot, const struct beat *beat, uint64_t now_ns)
{
	struct table_hot *h = &t->hot[slot];
	struct table_cold *c = &t->cold[slot];

	if ((h->notes & TABLE_HAS_TERMINAL) != 0 &&
	    beat->timestamp <= c->terminal_timestamp)
		return refuse(t, STATS_TERMINAL_REPLAYED);
	h->notes |= TABLE_HAS_TERMINAL;
	h->state |= TABLE_AFTER_TERMINAL;
	c->terminal_timestamp = beat->timestamp;
	return accept(t, slot, beat, now_ns);
}

static enum tracker_outcome
regular_beat(
    struct tracker *t, uint32_t slot, const struct beat *beat, uint64_t now_ns)
{
	struct table_hot *h = &t->hot[slot];

	if (beat->nonce >= h->next_nonce) {
		/* In order. */
	} else if (h->next_nonce > UINT64_MAX - wrap_window &&
		   beat->nonce <= wrap_window) {
		t->stats->nonce_wraps++;
	} else if (is_new_session(t, slot, beat, now_ns)) {
		t->stats->new_sessions++;
		h->notes &= (uint8_t)~TABLE_HAS_TERMINAL;
	} else if (beat->nonce == h->next_nonce - 1) {
		return refuse(t, STATS_NONCE_REPEATED);
	} else {
		return refuse(t, STATS_NONCE_REGRESSED);
	}
	h->state &= (uint8_t)~TABLE_AFTER_TERMINAL;
	h->next_nonce = beat->nonce + 1;
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
	if (beat->origin < table_origin(h)) {
		t->stats->origin_conflicts++;
		return TRACKER_ORIGIN_CONFLICT;
	}
	if (beat->origin > table_origin(h)) {
		/* What a weaker origin said of order binds nobody. */
		h->state &= (uint8_t)~TABLE_AFTER_TERMINAL;
		h->notes &= (uint8_t)~TABLE_HAS_TERMINAL;
		h->next_nonce = 0;
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
	uint64_t next = beat->nonce + 1; /* 0 for a terminal frame */

	if (unlikely(next <= h->next_nonce ||
		     h->state != table_state_of(beat) ||
		     h->last_seen_ns + h->debt_ns > now_ns))
		return unusual_beat(t, slot, beat, now_ns);

	if (t->note_intervals)
		stats_fine_add(
		    &t->stats->beat_interval, now_ns - h->last_seen_ns);
	h->last_seen_ns = now_ns;
	h->next_nonce = next;
	h->last_timestamp = beat->timestamp;
	h->debt_ns = t->interval_ns;
	h->beats++;
	t->stats->beats++;
	rounds_seen(&t->rounds, slot);
	return TRACKER_ACCEPTED;
}
