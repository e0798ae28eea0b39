/* Who has to leave when the table is full, and which slots are had again. */
#include "support/tracked.h"

static struct tracked t;

static void
make(uint32_t capacity, uint32_t window, enum tracker_eviction eviction)
{
	const struct tracker_options options = {
		.capacity = capacity,
		.scan_window = window,
		.eviction = eviction,
	};

	tracked_init(&t, &options);
}

static int
tear_down(void **state)
{
	(void)state;
	tracked_fini(&t);
	return 0;
}

static void
beat_at(uint32_t slot, uint64_t nonce, uint64_t at_ms)
{
	struct beat b = tracked_beat(0, nonce, 1000 + nonce);

	assert_true(tracked_put(&t, slot, &b, at_ms) <= TRACKER_RESUMED);
}

static void
a_full_table_of_living_agents_takes_nobody(void **state)
{
	(void)state;
	make(2, 8, TRACKER_EVICT_STRICT);
	(void)tracked_add(&t, 1, 0);
	(void)tracked_add(&t, 2, 0);
	assert_int_equal(tracked_add(&t, 3, 0), SLOT_NONE);
	assert_false(t.did_evict);
	assert_int_equal(t.stats.capacity_exceeded, 1);
	assert_int_equal(t.stats.eviction_scan_truncated, 0);
	assert_int_equal(tracker_count(t.tracker), 2);
	assert_int_equal(tracker_find(t.tracker, 3), SLOT_NONE);
}

static void
one_that_has_been_stalled_for_ten_thresholds_makes_room(void **state)
{
	uint32_t slot;

	(void)state;
	make(2, 8, TRACKER_EVICT_STRICT);
	t.identity.pidfd = 9;
	(void)tracked_add(&t, 1, 0);
	slot = tracked_add(&t, 2, 0);
	beat_at(0, 2, 500);
	assert_int_equal(tracked_stall_all(&t, 1000), 1);
	beat_at(0, 3, 9000);
	assert_int_equal(tracked_add(&t, 3, 10000), SLOT_NONE);
	assert_int_equal(tracked_add(&t, 3, 10001), slot);
	assert_true(t.did_evict);
	assert_int_equal(t.evicted.id, 2);
	assert_int_equal(t.evicted.pidfd, 9);
	assert_int_equal(t.evicted.slot, slot);
	assert_true(t.evicted.stalled);
	assert_int_equal(t.stats.evicted, 1);
	assert_int_equal(tracker_find(t.tracker, 2), SLOT_NONE);
	assert_int_equal(tracker_find(t.tracker, 3), slot);
}

static void
one_that_has_ended_and_stalled_makes_room_at_once(void **state)
{
	(void)state;
	make(1, 8, TRACKER_EVICT_STRICT);
	(void)tracked_add(&t, 1, 0);
	tracker_set_gone(t.tracker, 0);
	assert_int_equal(tracked_add(&t, 2, 999), SLOT_NONE);
	assert_int_equal(tracked_stall_all(&t, 1000), 1);
	assert_int_equal(tracked_add(&t, 2, 1000), 0);
	assert_int_equal(t.evicted.id, 1);
}

static void
strict_spares_one_that_is_silent_but_not_stalled(void **state)
{
	(void)state;
	make(2, 8, TRACKER_EVICT_STRICT);
	(void)tracked_add(&t, 1, 0);
	(void)tracked_add(&t, 2, 0);
	tracker_stall(t.tracker, 1, STALL_SILENT);
	beat_at(1, 2, 90000);
	assert_int_equal(tracked_add(&t, 3, 99999), SLOT_NONE);
}

static void
balanced_takes_one_that_is_silent_if_none_is_stalled(void **state)
{
	(void)state;
	make(3, 8, TRACKER_EVICT_BALANCED);
	(void)tracked_add(&t, 1, 0);
	(void)tracked_add(&t, 2, 0);
	(void)tracked_add(&t, 3, 0);
	assert_int_equal(tracked_add(&t, 4, 10000), SLOT_NONE);
	tracker_stall(t.tracker, 2, STALL_SILENT);
	assert_true(tracked_add(&t, 4, 10001) != SLOT_NONE);
	assert_int_equal(t.evicted.id, 3);
	assert_true(tracked_add(&t, 5, 10001) != SLOT_NONE);
	assert_int_equal(t.evicted.id, 1);
	assert_true(tracked_add(&t, 6, 10001) != SLOT_NONE);
	assert_int_equal(t.evicted.id, 2);
	assert_int_equal(tracked_add(&t, 7, 10001), SLOT_NONE);
	/* They stall in their own time, wherever the old ones were filed. */
	assert_int_equal(tracked_stall_all(&t, 11000), 0);
	assert_int_equal(tracked_stall_all(&t, 11001), 3);
}

static void
the_search_goes_on_behind_its_window(void **state)
{
	uint32_t i;

	(void)state;
	make(10, 4, TRACKER_EVICT_STRICT);
	for (i = 0; i < 10; i++)
		(void)tracked_add(&t, i, 0);
	tracker_set_gone(t.tracker, 9);
	tracker_stall(t.tracker, 9, STALL_GONE);
	assert_int_equal(tracked_add(&t, 10, 1), SLOT_NONE);
	assert_int_equal(tracked_add(&t, 10, 1), SLOT_NONE);
	assert_int_equal(t.stats.eviction_scan_truncated, 2);
	assert_int_equal(tracked_add(&t, 10, 1), 9);
	assert_int_equal(t.stats.capacity_exceeded, 2);
}

static void
thresholds_without_end_are_never_ten_times_over(void **state)
{
	(void)state;
	make(1, 1, TRACKER_EVICT_BALANCED);
	t.terms.threshold_ns = UINT64_MAX / 2;
	(void)tracked_add(&t, 1, 0);
	tracker_stall(t.tracker, 0, STALL_SILENT);
	assert_int_equal(tracked_add(&t, 2, UINT64_C(1) << 43), SLOT_NONE);
}

static void
a_slot_that_is_filed_in_time_serves_the_next_agent(void **state)
{
	(void)state;
	make(2, 1, TRACKER_EVICT_STRICT);
	(void)tracked_add(&t, 1, 0);
	tracker_remove(t.tracker, 0);
	/* The old entry, for 1000, brings up the new agent too early. */
	assert_int_equal(tracked_add(&t, 2, 500), 0);
	assert_int_equal(tracked_due(&t, 1000), 0);
	assert_int_equal(tracked_due(&t, 1499), 0);
	assert_int_equal(tracked_due(&t, 1500), 1);
}

static void
a_slot_that_is_filed_too_late_is_left_while_there_are_others(void **state)
{
	(void)state;
	make(2, 1, TRACKER_EVICT_STRICT);
	t.terms.threshold_ns = tracked_ms(9000);
	(void)tracked_add(&t, 1, 0);
	tracker_remove(t.tracker, 0);
	t.terms.threshold_ns = tracked_ms(1000);
	assert_int_equal(tracked_add(&t, 2, 0), 1);
	/* Now there is no other: its entry is swept out of the wheel. */
	assert_int_equal(tracked_add(&t, 3, 0), 0);
	assert_int_equal(tracked_due(&t, 1000), 2);
}

static void
the_slot_that_was_used_last_is_had_first(void **state)
{
	(void)state;
	make(8, 1, TRACKER_EVICT_STRICT);
	(void)tracked_add(&t, 1, 0);
	(void)tracked_add(&t, 2, 0);
	(void)tracked_add(&t, 3, 0);
	assert_int_equal(tracked_stall_all(&t, 1000), 3);
	tracker_remove(t.tracker, 0);
	tracker_remove(t.tracker, 2);
	assert_int_equal(tracked_add(&t, 4, 1000), 2);
	assert_int_equal(tracked_add(&t, 5, 1000), 0);
	assert_int_equal(tracker_slots(t.tracker), 3);
}

/* Filed slots are free in the order in which they came up. */
static void
free_slots_come_up_one_by_one(void **state)
{
	uint32_t i;

	(void)state;
	make(4, 1, TRACKER_EVICT_STRICT);
	for (i = 0; i < 4; i++)
		(void)tracked_add(&t, i, i * 100);
	tracker_remove(t.tracker, 1);
	tracker_remove(t.tracker, 0);
	tracker_remove(t.tracker, 3);
	tracker_remove(t.tracker, 2);
	/* 1000 is over: slot 0, in the middle of the list, then 3, its end. */
	assert_int_equal(tracked_due(&t, 1000), 0);
	assert_int_equal(tracked_add(&t, 10, 1000), 0);
	assert_int_equal(tracked_add(&t, 11, 1000), 1);
	assert_int_equal(tracked_add(&t, 12, 1000), 3);
	assert_int_equal(tracked_add(&t, 13, 1000), 2);
	assert_int_equal(tracked_due(&t, 1999), 0);
	assert_int_equal(tracked_due(&t, 2000), 4);
}

#define TEST(f) cmocka_unit_test_teardown(f, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_full_table_of_living_agents_takes_nobody),
		TEST(one_that_has_been_stalled_for_ten_thresholds_makes_room),
		TEST(one_that_has_ended_and_stalled_makes_room_at_once),
		TEST(strict_spares_one_that_is_silent_but_not_stalled),
		TEST(balanced_takes_one_that_is_silent_if_none_is_stalled),
		TEST(the_search_goes_on_behind_its_window),
		TEST(thresholds_without_end_are_never_ten_times_over),
		TEST(a_slot_that_is_filed_in_time_serves_the_next_agent),
		TEST(
		    a_slot_that_is_filed_too_late_is_left_while_there_are_others),
		TEST(the_slot_that_was_used_last_is_had_first),
		TEST(free_slots_come_up_one_by_one),
	};

	return cmocka_run_group_tests_name("tracker_evict", tests, NULL, NULL);
}
