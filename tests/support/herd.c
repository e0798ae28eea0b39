#include "support/herd.h"

#include <stddef.h>

#include "base/util.h"

struct herd_agent *
herd_find(struct herd *h, uint64_t id)
{
	size_t i;

	for (i = 0; i < HERD_MAX; i++)
		if (h->agents[i].used && h->agents[i].id == id)
			return &h->agents[i];
	return NULL;
}

struct herd_agent *
herd_at(struct herd *h, uint32_t slot)
{
	size_t i;

	for (i = 0; i < HERD_MAX; i++)
		if (h->agents[i].used && h->agents[i].slot == slot)
			return &h->agents[i];
	return NULL;
}

static uint64_t
interval_ns(const struct herd *h)
{
	return h->max_rate_per_s == 0 ? 0 : NS_PER_S / h->max_rate_per_s;
}

static uint64_t
tolerance_ns(const struct herd *h)
{
	return u64_sub_sat(50 * NS_PER_MS, interval_ns(h) / 20);
}

struct herd_agent *
herd_join(struct herd *h, const struct beat *beat,
    const struct identity *identity, const struct agent_terms *terms,
    uint32_t slot, uint64_t now_ns)
{
	struct herd_agent *a = h->agents;

	while (a->used)
		a++;
	*a = (struct herd_agent){
		.used = true,
		.id = beat->id,
		.slot = slot,
		.last_seen_ns = now_ns,
		.joined_ns = now_ns,
		.threshold_ns = terms->threshold_ns,
		.hold_ns = u64_add_sat(now_ns, terms->grace_ns),
		.start_ticks = identity->start_ticks,
		.has_pidfd = identity->pidfd >= 0,
		.gone = identity->gone,
		.full_rate_ns = now_ns + interval_ns(h),
		.beats = 1,
		.status = beat->status,
		.origin = beat->origin,
	};
	if (beat->nonce == UINT64_MAX) {
		a->after_terminal = a->has_terminal = true;
		a->terminal_timestamp = beat->timestamp;
	} else {
		a->has_nonce = true;
		a->nonce = beat->nonce;
		a->timestamp = beat->timestamp;
	}
	h->n++;
	h->stats.joins++;
	h->stats.beats++;
	return a;
}

void
herd_remove(struct herd *h, struct herd_agent *a)
{
	a->used = false;
	h->n--;
}

bool
herd_is_terminal_edge(const struct herd_agent *a, const struct beat *beat)
{
	if (beat->nonce != UINT64_MAX)
		return false;
	if (a == NULL)
		return true;
	return !a->after_terminal &&
	       (!a->has_terminal || beat->timestamp > a->terminal_timestamp);
}

static bool
is_limited(const struct herd *h, const struct herd_agent *a,
    const struct beat *beat, uint64_t now_ns)
{
	if (h->max_rate_per_s == 0)
		return false;
	if (beat->status != a->status || beat->origin > a->origin ||
	    herd_is_terminal_edge(a, beat))
		return false;
	return now_ns + tolerance_ns(h) < a->full_rate_ns;
}

static bool
is_new_session(
    const struct herd_agent *a, const struct beat *beat, uint64_t now_ns)
{
	switch ((enum origin)beat->origin) {
	case ORIGIN_KERNEL_ATTESTED:
	case ORIGIN_SOCKET_MODE_ONLY:
		return beat->nonce < a->nonce && beat->timestamp < a->timestamp;
	case ORIGIN_NETWORK_UNVERIFIED:
	case ORIGIN_OPERATOR_ATTESTED:
		return a->start_ticks == 0 &&
		       now_ns - a->last_seen_ns >= a->threshold_ns;
	case ORIGIN_COUNT:
		break;
	}
	return false;
}

/* The rule of order; TRACKER_ACCEPTED, and the agent has it noted. */
static enum tracker_outcome
put_in_order(struct herd *h, struct herd_agent *a, const struct beat *beat,
    uint64_t now_ns)
{
	const uint64_t near = UINT64_C(1) << 20;
	uint64_t *out_of_order = h->stats.out_of_order;

	if (beat->nonce == UINT64_MAX) {
		if (a->has_terminal &&
		    beat->timestamp <= a->terminal_timestamp) {
			out_of_order[STATS_TERMINAL_REPLAYED]++;
			return TRACKER_OUT_OF_ORDER;
		}
		a->has_terminal = a->after_terminal = true;
		a->terminal_timestamp = beat->timestamp;
		return TRACKER_ACCEPTED;
	}
	if (a->has_nonce && beat->nonce <= a->nonce) {
		if (a->nonce >= UINT64_MAX - near && beat->nonce <= near) {
			h->stats.nonce_wraps++;
		} else if (is_new_session(a, beat, now_ns)) {
			h->stats.new_sessions++;
			a->has_terminal = false;
		} else if (beat->nonce == a->nonce) {
			out_of_order[STATS_NONCE_REPEATED]++;
			return TRACKER_OUT_OF_ORDER;
		} else {
			out_of_order[STATS_NONCE_REGRESSED]++;
			return TRACKER_OUT_OF_ORDER;
		}
	}
	a->has_nonce = true;
	a->nonce = beat->nonce;
	a->timestamp = beat->timestamp;
	a->after_terminal = false;
	return TRACKER_ACCEPTED;
}

enum tracker_outcome
herd_beat(struct herd *h, struct herd_agent *a, const struct beat *beat,
    uint64_t now_ns)
{
	enum tracker_outcome r;

	if (is_limited(h, a, beat, now_ns)) {
		h->stats.rate_limited[STATS_LIMITED_PER_PID]++;
		return TRACKER_RATE_LIMITED;
	}
	if (beat->origin < a->origin) {
		h->stats.origin_conflicts++;
		return TRACKER_ORIGIN_CONFLICT;
	}
	if (beat->origin > a->origin) {
		a->origin = beat->origin;
		a->has_nonce = a->has_terminal = a->after_terminal = false;
	}
	r = put_in_order(h, a, beat, now_ns);
	if (r != TRACKER_ACCEPTED)
		return r;
	a->full_rate_ns = u64_max(a->full_rate_ns, now_ns);
	a->full_rate_ns =
	    u64_min(a->full_rate_ns, now_ns + tolerance_ns(h)) + interval_ns(h);
	a->last_seen_ns = now_ns;
	a->status = beat->status;
	a->beats++;
	h->stats.beats++;
	if (!a->stalled)
		return TRACKER_ACCEPTED;
	a->stalled = false;
	h->stats.resumes++;
	return TRACKER_RESUMED;
}

uint64_t
herd_deadline_ns(const struct herd_agent *a)
{
	return u64_max(
	    u64_add_sat(a->last_seen_ns, a->threshold_ns), a->hold_ns);
}

uint64_t
herd_earliest_ns(const struct herd *h)
{
	uint64_t ret = NS_NEVER;
	size_t i;

	for (i = 0; i < HERD_MAX; i++)
		if (h->agents[i].used && !h->agents[i].stalled)
			ret = u64_min(ret, herd_deadline_ns(&h->agents[i]));
	return ret;
}

uint32_t
herd_hanging(const struct herd *h)
{
	const struct herd_agent *a;
	uint32_t n = 0;

	for (a = h->agents; a < h->agents + HERD_MAX; a++)
		n += a->used && a->stalled && a->has_pidfd && !a->gone;
	return n;
}

uint32_t
herd_gone(const struct herd *h)
{
	const struct herd_agent *a;
	uint32_t n = 0;

	for (a = h->agents; a < h->agents + HERD_MAX; a++)
		n += a->used && a->gone;
	return n;
}

int
herd_evictable(const struct herd_agent *a, uint64_t now_ns)
{
	bool long_silent =
	    now_ns - a->last_seen_ns > u64_mul_sat(a->threshold_ns, 10);

	if (a->stalled && (a->gone || long_silent))
		return 2;
	return long_silent ? 1 : 0;
}
