/*
 * The tracker against a slow, plain one (support/herd.c): agents that join,
 * beat well and badly, end, leave, are evicted and get other terms, while time
 * passes in small steps and in jumps. Outcomes, views and counters agree;
 * every agent that owes a beat is handed out once, never early and at most one
 * slot late. In a small table everybody goes through the wheel, in a large one
 * most go through the rounds. The seed is printed; VARTA_SEED gives it again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/prng.h"
#include "base/util.h"
#include "support/herd.h"
#include "support/seed.h"

static const uint64_t SLOT_NS = NS_PER_MS;

/* How a run differs from another. */
struct kind {
	uint32_t capacity;
	uint32_t ids; /* how many agents there are in the world */
	enum tracker_eviction eviction;
	uint32_t max_rate_per_s;
	uint64_t threshold_ms; /* the shortest */
	unsigned thresholds;   /* how many, each twice the one before */
	uint64_t step_ns;      /* between two beats of anybody, at most */
	size_t operations;
};

struct run {
	const struct kind *kind;
	struct tracker *tracker;
	struct stats stats;
	struct herd herd;
	uint64_t now_ns;
};

static struct prng prng;

static int
seed(void **state)
{
	(void)state;
	prng_seed(&prng, seed_choose());
	return 0;
}

static bool
one_in(uint64_t n)
{
	return prng_below(&prng, n) == 0;
}

static struct agent_terms
some_terms(const struct run *r)
{
	uint64_t shift = prng_below(&prng, r->kind->thresholds);

	return (struct agent_terms){
		.threshold_ns =
		    one_in(200) ? UINT64_MAX
				: (r->kind->threshold_ms << shift) * NS_PER_MS,
		.grace_ns = one_in(4) ? prng_below(&prng, 3 * NS_PER_S) : 0,
	};
}

static uint64_t
slot_end(uint64_t at_ns)
{
	if (at_ns == NS_NEVER)
		return NS_NEVER;
	return (at_ns + SLOT_NS - 1) / SLOT_NS * SLOT_NS;
}

/* Mostly the next beat in order; else anything. a may be NULL. */
static struct beat
some_beat(const struct run *r, const struct herd_agent *a, uint64_t id)
{
	struct beat b = { .id = id, .pid = (uint32_t)id };

	b.uid = 7;
	b.nonce = a != NULL ? a->nonce + 1 : prng_below(&prng, 5);
	b.timestamp = r->now_ns;
	b.origin =
	    a != NULL ? a->origin : (uint8_t)prng_below(&prng, ORIGIN_COUNT);
	b.status = a != NULL ? a->status : (uint8_t)AGENT_OK;
	if (one_in(8))
		b.status = (uint8_t)prng_below(&prng, AGENT_STALLED);
	if (one_in(10))
		b.origin = (uint8_t)prng_below(&prng, ORIGIN_COUNT);
	if (one_in(10))
		b.nonce = u64_sub_sat(b.nonce, prng_below(&prng, 4));
	if (one_in(10))
		b.timestamp = prng_below(&prng, r->now_ns + 1);
	if (one_in(50))
		b.nonce = UINT64_MAX - 1 - prng_below(&prng, 3);
	if (one_in(50))
		b.nonce = prng_below(&prng, 1 << 21);
	if (one_in(30)) {
		b.nonce = UINT64_MAX;
		b.status = AGENT_CRITICAL;
	}
	if (b.nonce == UINT64_MAX)
		b.status = AGENT_CRITICAL;
	return b;
}

static void
check_view(const struct run *r, const struct herd_agent *a)
{
	struct agent_view v;

	assert_true(tracker_view(r->tracker, a->slot, &v));
	assert_int_equal(v.id, a->id);
	assert_int_equal(v.slot, a->slot);
	assert_int_equal(v.beats, a->beats);
	assert_int_equal(v.stalls, a->stalls);
	assert_int_equal(v.last_seen_ns, a->last_seen_ns);
	assert_int_equal(v.joined_ns, a->joined_ns);
	assert_int_equal(v.threshold_ns, a->threshold_ns);
	assert_int_equal(
	    v.last_nonce, a->after_terminal ? UINT64_MAX : a->nonce);
	assert_int_equal(v.start_ticks, a->start_ticks);
	assert_int_equal(v.status, a->stalled ? AGENT_STALLED : a->status);
	assert_int_equal(v.origin, a->origin);
	assert_int_equal(v.stalled, a->stalled);
	assert_int_equal(v.gone, a->gone);
}

/* Who was evicted, or that nobody was, is as it should be. */
static void
check_eviction(struct run *r, bool did, const struct agent_view *evicted)
{
	struct herd_agent *a;
	bool balanced = r->kind->eviction == TRACKER_EVICT_BALANCED;
	int best = 0, got = 0;
	size_t i;

	for (i = 0; i < HERD_MAX; i++) {
		a = &r->herd.agents[i];
		if (a->used && herd_evictable(a, r->now_ns) > best)
			best = herd_evictable(a, r->now_ns);
	}
	if (best == 1 && !balanced)
		best = 0;
	if (r->herd.n < r->kind->capacity)
		best = 0;
	if (did) {
		a = herd_find(&r->herd, evicted->id);
		assert_non_null(a);
		got = herd_evictable(a, r->now_ns);
		assert_int_equal(evicted->slot, a->slot);
		assert_int_equal(evicted->beats, a->beats);
		herd_remove(&r->herd, a);
		r->herd.stats.evicted++;
	}
	/* The window is the whole table. */
	assert_int_equal(got, best);
}

static void
join(struct run *r, uint64_t id)
{
	struct beat beat = some_beat(r, NULL, id);
	struct identity identity = {
		.start_ticks = one_in(2) ? 0 : 1 + prng_below(&prng, 100),
		.pidfd = one_in(3) ? -1 : 9,
		.gone = one_in(30),
	};
	struct agent_terms terms = some_terms(r);
	struct agent_view evicted;
	bool did, was_full = r->herd.n == r->kind->capacity;
	uint32_t slot;

	slot = tracker_join(
	    r->tracker, &beat, &identity, &terms, r->now_ns, &evicted, &did);
	check_eviction(r, did, &evicted);
	if (was_full && !did) {
		assert_int_equal(slot, SLOT_NONE);
		r->herd.stats.capacity_exceeded++;
		return;
	}
	assert_true(slot < r->kind->capacity);
	assert_null(herd_at(&r->herd, slot));
	check_view(
	    r, herd_join(&r->herd, &beat, &identity, &terms, slot, r->now_ns));
}

static void
beat(struct run *r)
{
	uint64_t id = 1 + prng_below(&prng, r->kind->ids);
	struct herd_agent *a = herd_find(&r->herd, id);
	struct beat b;

	tracker_prefetch(r->tracker, id);
	tracker_prefetch_record(r->tracker, id);
	assert_int_equal(
	    tracker_find(r->tracker, id), a != NULL ? a->slot : SLOT_NONE);
	if (a == NULL) {
		join(r, id);
		return;
	}
	b = some_beat(r, a, id);
	assert_int_equal(tracker_is_terminal_edge(r->tracker, a->slot, &b),
	    herd_is_terminal_edge(a, &b));
	assert_int_equal(tracker_beat(r->tracker, a->slot, &b, r->now_ns),
	    herd_beat(&r->herd, a, &b, r->now_ns));
	check_view(r, a);
}

/* What the caller may do with one that owes a beat. */
static void
judge(struct run *r, const struct tracker_due *due)
{
	struct herd_agent *a = herd_at(&r->herd, due->slot);
	enum stall_reason why;
	uint64_t at_ns;

	assert_non_null(a);
	assert_false(a->stalled);
	assert_true(herd_deadline_ns(a) <= r->now_ns);
	assert_int_equal(due->last_seen_ns, a->last_seen_ns);
	assert_int_equal(due->threshold_ns, a->threshold_ns);
	assert_int_equal(due->deadline_ns, herd_deadline_ns(a));
	if (one_in(10)) {
		at_ns = r->now_ns + prng_below(&prng, NS_PER_S);
		tracker_defer(r->tracker, due->slot, at_ns);
		a->hold_ns = u64_max(a->hold_ns, at_ns);
	} else if (one_in(20)) {
		tracker_remove(r->tracker, due->slot);
		herd_remove(&r->herd, a);
	} else {
		why = a->gone ? STALL_GONE : STALL_SILENT;
		tracker_stall(r->tracker, due->slot, why);
		r->herd.stats.stalls[why]++;
		a->stalled = true;
		a->stalls++;
		check_view(r, a);
	}
}

/* Deferred to a time in this very slot, it comes up with the next. */
static void
nobody_is_overdue(const struct run *r)
{
	assert_true(slot_end(herd_earliest_ns(&r->herd)) > r->now_ns ||
		    herd_earliest_ns(&r->herd) > r->now_ns - SLOT_NS);
}

static void
look(struct run *r)
{
	struct tracker_due due[16];
	size_t n, i, max;

	do {
		max = 1 + prng_below(&prng, ARRAY_SIZE(due));
		n = tracker_due(r->tracker, r->now_ns, due, max);
		assert_true(n <= max);
		for (i = 0; i < n; i++)
			judge(r, &due[i]);
	} while (n == max);
	nobody_is_overdue(r);
}

/* The next look comes in time; in a small table it comes for a reason. */
static void
check_next(struct run *r)
{
	uint64_t earliest = slot_end(herd_earliest_ns(&r->herd)), next, i;

	next = tracker_next_ns(
	    r->tracker, r->now_ns, prng_below(&prng, 5 * NS_PER_S));
	assert_true(next <= u64_max(earliest, r->now_ns + SLOT_NS));
	if (r->kind->capacity > 1000 || earliest > r->now_ns + 3600 * NS_PER_S)
		return;
	for (i = 0; i < 10; i++)
		next = tracker_next_ns(r->tracker, r->now_ns, NS_NEVER);
	assert_true(next == earliest || next <= r->now_ns + SLOT_NS);
}

static void
pass(struct run *r)
{
	uint64_t next;

	if (one_in(2000))
		r->now_ns += prng_below(&prng, 3 * 3600 * NS_PER_S);
	else if (one_in(10))
		r->now_ns += prng_below(&prng, 100 * NS_PER_MS);
	look(r);
	check_next(r);
	assert_int_equal(tracker_hanging(r->tracker), herd_hanging(&r->herd));
	assert_int_equal(tracker_gone(r->tracker), herd_gone(&r->herd));
	/* And again exactly when it is asked for. */
	next = tracker_next_ns(r->tracker, r->now_ns, 0);
	if (next > r->now_ns && next - r->now_ns < 3 * SLOT_NS) {
		r->now_ns = next;
		look(r);
	}
}

static void
change_terms(struct run *r)
{
	struct agent_terms terms;
	struct herd_agent *a;
	size_t i;

	/* Whoever is overdue now would come up one slot from now. */
	look(r);
	for (i = 0; i < HERD_MAX; i++) {
		a = &r->herd.agents[i];
		if (!a->used || !one_in(3))
			continue;
		terms = some_terms(r);
		tracker_set_terms(r->tracker, a->slot, &terms, r->now_ns);
		a->hold_ns = u64_max(
		    a->hold_ns, u64_add_sat(a->joined_ns, terms.grace_ns));
		if (a->threshold_ns != terms.threshold_ns)
			a->hold_ns = u64_max(a->hold_ns,
			    u64_add_sat(r->now_ns, terms.threshold_ns));
		a->threshold_ns = terms.threshold_ns;
	}
	tracker_rearm(r->tracker, r->now_ns);
}

/* Something that seldom happens to an agent. */
static void
befall(struct run *r)
{
	struct herd_agent *a =
	    herd_find(&r->herd, 1 + prng_below(&prng, r->kind->ids));

	if (a == NULL)
		return;
	if (one_in(2)) {
		tracker_set_gone(r->tracker, a->slot);
		a->gone = true;
		assert_true(tracker_is_gone(r->tracker, a->slot));
		/* Some observers do not wait for the deadline. */
		if (a->stalled || !one_in(3))
			return;
		tracker_stall(r->tracker, a->slot, STALL_GONE);
		r->herd.stats.stalls[STALL_GONE]++;
		a->stalled = true;
		a->stalls++;
	} else {
		tracker_remove(r->tracker, a->slot);
		herd_remove(&r->herd, a);
	}
}

static void
run(const struct kind *kind)
{
	const struct tracker_options options = {
		.capacity = kind->capacity,
		.eviction = kind->eviction,
		.scan_window = kind->capacity,
		.max_rate_per_s = kind->max_rate_per_s,
		.slot_ns = SLOT_NS,
		.seed = { prng_u64(&prng), prng_u64(&prng) },
	};
	static struct run r;
	size_t i;

	memset(&r, 0, sizeof(r));
	r.kind = kind;
	r.herd.max_rate_per_s = kind->max_rate_per_s;
	r.now_ns = NS_PER_S + prng_below(&prng, NS_PER_S);
	assert_int_equal(
	    tracker_new(&options, &r.stats, r.now_ns, &r.tracker), 0);
	for (i = 0; i < kind->operations; i++) {
		r.now_ns += prng_below(&prng, kind->step_ns);
		beat(&r);
		if (one_in(300))
			befall(&r);
		if (one_in(20000))
			change_terms(&r);
		if (one_in(15))
			pass(&r);
		assert_int_equal(tracker_count(r.tracker), r.herd.n);
	}
	/* Evictions never fall short of the window, so this stays 0 too. */
	assert_memory_equal(&r.stats, &r.herd.stats, sizeof(r.stats));
	tracker_free(r.tracker);
}

static void
a_small_table_agrees(void **state)
{
	static const struct kind kind = {
		.capacity = 40,
		.ids = 60,
		.max_rate_per_s = 50,
		.threshold_ms = 50,
		.thresholds = 6,
		.step_ns = 4 * NS_PER_MS,
		.operations = 100000,
	};

	(void)state;
	run(&kind);
}

static void
a_small_balanced_table_without_a_limit_agrees(void **state)
{
	static const struct kind kind = {
		.capacity = 20,
		.ids = 60,
		.eviction = TRACKER_EVICT_BALANCED,
		.threshold_ms = 10,
		.thresholds = 8,
		.step_ns = 3 * NS_PER_MS,
		.operations = 100000,
	};

	(void)state;
	run(&kind);
}

static void
a_large_table_agrees(void **state)
{
	static const struct kind kind = {
		.capacity = 1500,
		.ids = 1550,
		.max_rate_per_s = 10,
		.threshold_ms = 500,
		.thresholds = 3,
		.step_ns = NS_PER_MS / 4,
		.operations = 200000,
	};

	(void)state;
	run(&kind);
}

static void
a_large_table_with_more_thresholds_than_classes_agrees(void **state)
{
	static const struct kind kind = {
		.capacity = 1500,
		.ids = 1400,
		.threshold_ms = 10,
		.thresholds = 10,
		.step_ns = NS_PER_MS / 4,
		.operations = 200000,
	};

	(void)state;
	run(&kind);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_small_table_agrees),
		cmocka_unit_test(a_small_balanced_table_without_a_limit_agrees),
		cmocka_unit_test(a_large_table_agrees),
		cmocka_unit_test(
		    a_large_table_with_more_thresholds_than_classes_agrees),
	};

	return cmocka_run_group_tests_name("prop_tracker", tests, seed, NULL);
}
