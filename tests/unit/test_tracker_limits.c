/* Sizes, memory, the rate of one agent, and how much one call looks at. */
#include <errno.h>
#include <stdlib.h>

#include "support/fault.h"
#include "support/tracked.h"

FAULT(void *, NULL, calloc, (size_t n, size_t size), (n, size))

static struct tracked t;

static int
tear_down(void **state)
{
	(void)state;
	fault_off(&fault_calloc);
	tracked_fini(&t);
	return 0;
}

static void
make(uint32_t capacity, uint32_t max_rate_per_s)
{
	const struct tracker_options options = {
		.capacity = capacity,
		.max_rate_per_s = max_rate_per_s,
	};

	tracked_init(&t, &options);
}

static void
refuses_options_out_of_range(void **state)
{
	const struct tracker_options good = {
		.capacity = 1, .scan_window = 1, .slot_ns = 1
	};
	struct tracker *tracker = (struct tracker *)&t;
	struct tracker_options bad[6];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		bad[i] = good;
	bad[0].capacity = 0;
	bad[1].capacity = TRACKER_CAPACITY_MAX + 1;
	bad[2].scan_window = 0;
	bad[3].slot_ns = 0;
	bad[4].eviction = (enum tracker_eviction)2;
	bad[5].capacity = UINT32_MAX;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(tracker_bytes(&bad[i]), 0);
		assert_int_equal(
		    tracker_new(&bad[i], &t.stats, 0, &tracker), -EINVAL);
		assert_ptr_equal(tracker, &t);
	}
	t.tracker = NULL;
	tracker_free(NULL);
}

static void
out_of_memory_is_an_error_and_leaves_the_result_alone(void **state)
{
	const struct tracker_options good = {
		.capacity = 1, .scan_window = 1, .slot_ns = 1
	};
	struct tracker *tracker = NULL;

	(void)state;
	fault_nth(&fault_calloc, 1, ENOMEM);
	assert_int_equal(tracker_new(&good, &t.stats, 0, &tracker), -ENOMEM);
	assert_null(tracker);
	t.tracker = NULL;
}

static void
everything_is_allocated_at_once(void **state)
{
	struct beat b = tracked_beat(7, 2, 2000);
	uint32_t i, slot;

	(void)state;
	fault_off(&fault_calloc);
	make(2000, 0);
	assert_int_equal(fault_calloc.calls, 1);
	fault_always(&fault_calloc, ENOMEM);
	for (i = 0; i < 2000; i++)
		assert_true(tracked_add(&t, i, 0) != SLOT_NONE);
	slot = tracker_find(t.tracker, 7);
	assert_int_equal(tracked_put(&t, slot, &b, 500), TRACKER_ACCEPTED);
	assert_int_equal(tracked_stall_all(&t, 1000), 1999);
	assert_int_equal(fault_calloc.calls, 0);
}

static void
an_agent_takes_128_bytes_at_most(void **state)
{
	static const uint32_t sizes[] = { 4096, 100000, 1048576 };
	struct tracker_options options = { .scan_window = 256,
		.slot_ns = NS_PER_MS };
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		options.capacity = sizes[i];
		assert_true(tracker_bytes(&options) <= (size_t)sizes[i] * 128);
		/* And is not 0, nor less than what a beat touches. */
		assert_true(tracker_bytes(&options) > (size_t)sizes[i] * 64);
	}
	t.tracker = NULL;
}

static void
at_one_a_second_a_second_beat_within_a_second_is_dropped(void **state)
{
	struct beat b = tracked_beat(5, 2, 2000);
	struct agent_view before, after;
	uint32_t slot;

	(void)state;
	make(4, 1);
	slot = tracked_add(&t, 5, 0);
	before = tracked_view(&t, slot);
	assert_int_equal(tracked_put(&t, slot, &b, 999), TRACKER_RATE_LIMITED);
	after = tracked_view(&t, slot);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(t.stats.rate_limited[STATS_LIMITED_PER_PID], 1);
	assert_int_equal(tracked_put(&t, slot, &b, 1000), TRACKER_ACCEPTED);
}

/* Beats of one each 10 ms, seen by an observer that drains each 20 ms. */
static void
at_a_hundred_a_second_late_draining_drops_nothing(void **state)
{
	struct beat b = tracked_beat(5, 2, 2000);
	uint32_t slot;
	uint64_t ms;

	(void)state;
	make(4, 100);
	slot = tracked_add(&t, 5, 0);
	for (ms = 10; ms < 10000; ms += 10) {
		b.nonce++;
		assert_int_equal(tracked_put(&t, slot, &b, (ms + 19) / 20 * 20),
		    TRACKER_ACCEPTED);
	}
}

static void
a_flood_is_cut_to_the_rate(void **state)
{
	struct beat b = tracked_beat(5, 2, 2000);
	uint32_t slot, accepted = 0;
	uint64_t ms;

	(void)state;
	make(4, 100);
	slot = tracked_add(&t, 5, 0);
	for (ms = 1; ms <= 10000; ms++) {
		b.nonce++;
		accepted += tracked_put(&t, slot, &b, ms) == TRACKER_ACCEPTED;
	}
	/* And the 50 ms that any may be early. */
	assert_in_range(accepted, 1000, 1005);
}

static void
a_change_of_status_always_passes_and_is_not_paid_for_later(void **state)
{
	struct beat b = tracked_beat(5, 2, 2000);
	uint32_t slot;
	int i;

	(void)state;
	make(4, 1);
	slot = tracked_add(&t, 5, 0);
	for (i = 0; i < 100; i++) {
		b.nonce++;
		b.status = b.status == AGENT_OK ? AGENT_CRITICAL : AGENT_OK;
		assert_int_equal(
		    tracked_put(&t, slot, &b, 10), TRACKER_ACCEPTED);
	}
	b.nonce++;
	assert_int_equal(tracked_put(&t, slot, &b, 1009), TRACKER_RATE_LIMITED);
	assert_int_equal(tracked_put(&t, slot, &b, 1010), TRACKER_ACCEPTED);
}

static void
a_terminal_edge_passes_once_and_its_repetition_pays(void **state)
{
	struct beat b = tracked_beat(5, 2, 2000);
	uint32_t slot;

	(void)state;
	make(4, 1);
	b.status = AGENT_CRITICAL;
	slot = tracked_join(&t, &b, 0);
	b = tracked_terminal(5, 10);
	assert_int_equal(tracked_put(&t, slot, &b, 1), TRACKER_ACCEPTED);
	b.timestamp = 11;
	assert_int_equal(tracked_put(&t, slot, &b, 2), TRACKER_RATE_LIMITED);
}

static void
a_stronger_origin_is_not_held_up_by_the_rate(void **state)
{
	struct beat b = tracked_beat(5, 9, 2000);
	uint32_t slot;

	(void)state;
	make(4, 1);
	b.origin = ORIGIN_SOCKET_MODE_ONLY;
	slot = tracked_join(&t, &b, 0);
	b = tracked_beat(5, 1, 3000);
	assert_int_equal(tracked_put(&t, slot, &b, 1), TRACKER_ACCEPTED);
	/* But the weaker one is, before it is found to be a conflict. */
	b.origin = ORIGIN_SOCKET_MODE_ONLY;
	assert_int_equal(tracked_put(&t, slot, &b, 1), TRACKER_RATE_LIMITED);
}

static void
without_a_limit_and_with_the_highest_nothing_is_dropped(void **state)
{
	static const uint32_t rates[] = { 0, UINT32_MAX };
	struct beat b = tracked_beat(5, 2, 2000);
	size_t i, k;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rates); i++) {
		make(4, rates[i]);
		(void)tracked_add(&t, 5, 0);
		for (k = 0; k < 1000; k++) {
			b.nonce++;
			assert_int_equal(
			    tracked_put(&t, 0, &b, 0), TRACKER_ACCEPTED);
		}
		tracked_fini(&t);
	}
}

/* A hundred thousand in one slot: others get their turn in between. */
static void
one_call_does_not_look_at_everybody(void **state)
{
	enum { MANY = 100000 };
	struct beat b = tracked_beat(0, 2, 2000);
	uint32_t i, calls = 0;
	uint64_t next;

	(void)state;
	make(MANY, 0);
	t.terms.threshold_ns = tracked_ms(10); /* too short for rounds */
	for (i = 0; i < MANY; i++)
		assert_int_equal(tracked_add(&t, i, 0), i);
	for (i = 0; i < MANY; i++)
		assert_int_equal(tracked_put(&t, i, &b, 9), TRACKER_ACCEPTED);
	/* All have beaten since; none is due, but all come up. */
	do {
		assert_int_equal(tracked_due(&t, 10), 0);
		next = tracker_next_ns(t.tracker, tracked_ms(10), 0);
		calls++;
	} while (next <= tracked_ms(10));
	assert_int_equal(next, tracked_ms(19));
	assert_in_range(calls, 5, 10);
	assert_int_equal(tracked_stall_all(&t, 19), MANY);
}

static void
looking_ahead_is_bounded_too(void **state)
{
	enum { MANY = 10000 };
	struct beat b = tracked_beat(0, 2, 2000);
	uint32_t i, calls = 0;

	(void)state;
	make(MANY, 0);
	t.terms.threshold_ns = tracked_ms(10);
	for (i = 0; i < MANY; i++) {
		(void)tracked_add(&t, i, 0);
		(void)tracked_put(&t, i, &b, 5);
	}
	while (tracker_next_ns(t.tracker, tracked_ms(5), NS_PER_S) <
	       tracked_ms(15))
		calls++;
	assert_in_range(calls, 5, 20);
}

static void
asking_for_memory_is_harmless(void **state)
{
	(void)state;
	make(TRACKER_CAPACITY_DEFAULT * 5, 0);
	tracker_prefetch(t.tracker, 5);
	tracker_prefetch_record(t.tracker, 5);
	(void)tracked_add(&t, 5, 0);
	tracker_prefetch(t.tracker, 5);
	tracker_prefetch_record(t.tracker, 5);
	assert_int_equal(tracker_find(t.tracker, 5), 0);
}

#define TEST(f) cmocka_unit_test_teardown(f, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(refuses_options_out_of_range),
		TEST(out_of_memory_is_an_error_and_leaves_the_result_alone),
		TEST(everything_is_allocated_at_once),
		TEST(an_agent_takes_128_bytes_at_most),
		TEST(at_one_a_second_a_second_beat_within_a_second_is_dropped),
		TEST(at_a_hundred_a_second_late_draining_drops_nothing),
		TEST(a_flood_is_cut_to_the_rate),
		TEST(
		    a_change_of_status_always_passes_and_is_not_paid_for_later),
		TEST(a_terminal_edge_passes_once_and_its_repetition_pays),
		TEST(a_stronger_origin_is_not_held_up_by_the_rate),
		TEST(without_a_limit_and_with_the_highest_nothing_is_dropped),
		TEST(one_call_does_not_look_at_everybody),
		TEST(looking_ahead_is_bounded_too),
		TEST(asking_for_memory_is_harmless),
	};

	return cmocka_run_group_tests_name("tracker_limits", tests, NULL, NULL);
}
