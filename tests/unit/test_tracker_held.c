/* Agents that are known but have not beaten, and agents that are held. */
#include "support/tracked.h"

static struct tracked t;

static int
set_up(void **state)
{
	const struct tracker_options options = { .capacity = 2,
		.eviction = TRACKER_EVICT_BALANCED };

	(void)state;
	tracked_init(&t, &options);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	tracked_fini(&t);
	return 0;
}

static uint32_t
contact(uint64_t id, uint64_t at_ms)
{
	struct beat b = tracked_beat(id, 0, 0);

	b.is_contact = true;
	return tracked_join(&t, &b, at_ms);
}

static void
a_contact_is_no_beat(void **state)
{
	uint32_t slot = contact(1, 100);
	struct agent_view v = tracked_view(&t, slot);

	(void)state;
	assert_false(tracker_has_beaten(t.tracker, slot));
	assert_int_equal(v.beats, 0);
	assert_int_equal(v.joined_ns, tracked_ms(100));
	assert_int_equal(v.start_ticks, 77);
	assert_int_equal(t.stats.beats, 0);
	assert_int_equal(t.stats.joins, 1);
	assert_int_equal(tracker_find(t.tracker, 1), slot);
}

static void
who_has_not_beaten_is_never_due(void **state)
{
	uint32_t slot = contact(1, 100);

	(void)state;
	assert_int_equal(
	    tracker_next_ns(t.tracker, tracked_ms(200), 0), NS_NEVER);
	assert_int_equal(tracked_due(&t, 1000000), 0);
	/* Not even after all deadlines were noted anew. */
	tracker_rearm(t.tracker, tracked_ms(1000000));
	assert_int_equal(tracked_due(&t, 9000000), 0);
	assert_false(tracked_view(&t, slot).stalled);
}

static void
the_first_beat_begins_the_time_that_it_owes(void **state)
{
	uint32_t slot = contact(1, 100);
	/* Any nonce and any timestamp are in order. */
	struct beat b = tracked_beat(1, 0, 5);

	(void)state;
	assert_int_equal(tracked_put(&t, slot, &b, 50000), TRACKER_ACCEPTED);
	assert_true(tracker_has_beaten(t.tracker, slot));
	assert_int_equal(tracked_view(&t, slot).beats, 1);
	assert_int_equal(t.stats.beats, 1);
	assert_int_equal(tracked_due(&t, 50999), 0);
	assert_int_equal(tracked_due(&t, 51001), 1);
	assert_int_equal(t.due[0].slot, slot);
}

static void
a_first_beat_may_be_terminal(void **state)
{
	uint32_t slot = contact(1, 100);
	struct beat b = tracked_terminal(1, 5);

	(void)state;
	assert_true(tracker_is_terminal_edge(t.tracker, slot, &b));
	assert_int_equal(tracked_put(&t, slot, &b, 200), TRACKER_ACCEPTED);
	assert_true(tracker_has_beaten(t.tracker, slot));
}

static void
its_grace_begins_with_the_first_beat(void **state)
{
	struct beat b = tracked_beat(1, 1, 5);
	uint32_t slot;

	(void)state;
	t.terms.grace_ns = tracked_ms(3000);
	slot = contact(1, 100);
	assert_int_equal(tracked_put(&t, slot, &b, 50000), TRACKER_ACCEPTED);
	assert_int_equal(tracked_due(&t, 52999), 0);
	assert_int_equal(tracked_due(&t, 53001), 1);
}

static void
other_terms_before_the_first_beat_are_those_of_then(void **state)
{
	struct agent_terms terms = { .threshold_ns = tracked_ms(500),
		.grace_ns = tracked_ms(2000) };
	struct beat b = tracked_beat(1, 1, 5);
	uint32_t slot = contact(1, 100);

	(void)state;
	tracker_set_terms(t.tracker, slot, &terms, tracked_ms(900000));
	tracker_rearm(t.tracker, tracked_ms(900000));
	assert_int_equal(tracked_put(&t, slot, &b, 950000), TRACKER_ACCEPTED);
	assert_int_equal(tracked_due(&t, 951999), 0);
	assert_int_equal(tracked_due(&t, 952001), 1);
	assert_int_equal(t.due[0].threshold_ns, tracked_ms(500));
}

static void
who_is_held_is_not_evicted(void **state)
{
	uint32_t held = tracked_add(&t, 1, 0), other = tracked_add(&t, 2, 0);

	(void)state;
	tracker_hold(t.tracker, held, true);
	tracker_hold(t.tracker, other, true);
	assert_int_equal(tracked_stall_all(&t, 2000), 2);
	assert_int_equal(tracked_add(&t, 3, 100000), SLOT_NONE);
	assert_int_equal(t.stats.capacity_exceeded, 1);
	tracker_hold(t.tracker, other, false);
	assert_int_equal(tracked_add(&t, 3, 100000), other);
	assert_true(t.did_evict);
	assert_int_equal(t.evicted.id, 2);
	/* Who comes into the slot is not held. */
	tracker_hold(t.tracker, other, true);
	tracker_remove(t.tracker, other);
	assert_int_equal(tracked_add(&t, 4, 100000), other);
	assert_int_equal(tracked_stall_all(&t, 200000), 1);
	assert_int_equal(tracked_add(&t, 5, 300000), other);
}

static void
one_that_never_beat_may_be_evicted_when_nobody_holds_it(void **state)
{
	uint32_t slot = contact(1, 0);
	struct agent_view v;

	(void)state;
	tracker_hold(t.tracker, slot, true);
	(void)tracked_add(&t, 2, 0);
	assert_int_equal(tracked_stall_all(&t, 2000), 1);
	tracker_hold(t.tracker, slot, false);
	assert_int_not_equal(tracked_add(&t, 3, 100000), SLOT_NONE);
	assert_int_not_equal(tracked_add(&t, 4, 100000), SLOT_NONE);
	assert_int_equal(tracker_find(t.tracker, 1), SLOT_NONE);
	assert_int_equal(t.stats.evicted, 2);
	assert_true(tracker_view(t.tracker, slot, &v));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_contact_is_no_beat),
		TEST(who_has_not_beaten_is_never_due),
		TEST(the_first_beat_begins_the_time_that_it_owes),
		TEST(a_first_beat_may_be_terminal),
		TEST(its_grace_begins_with_the_first_beat),
		TEST(other_terms_before_the_first_beat_are_those_of_then),
		TEST(who_is_held_is_not_evicted),
		TEST(one_that_never_beat_may_be_evicted_when_nobody_holds_it),
	};

	return cmocka_run_group_tests_name("tracker_held", tests, NULL, NULL);
}
