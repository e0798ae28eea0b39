/* Deadlines: who is due when, and what becomes of them. */
#include "support/tracked.h"

enum { MANY = 3000 };

static struct tracked t;

static int
set_up(void **state)
{
	const struct tracker_options options = { .capacity = MANY };

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

static void
beat_at(uint32_t slot, uint64_t nonce, uint64_t at_ms)
{
	struct beat b = tracked_beat(0, nonce, 1000 + nonce);
	enum tracker_outcome r = tracked_put(&t, slot, &b, at_ms);

	assert_true(r == TRACKER_ACCEPTED || r == TRACKER_RESUMED);
}

static uint64_t
next_ms(uint64_t now_ms, uint64_t ahead_ms)
{
	uint64_t next = tracker_next_ns(
	    t.tracker, tracked_ms(now_ms), tracked_ms(ahead_ms));

	return next == NS_NEVER ? NS_NEVER : next / NS_PER_MS;
}

static void
a_silent_agent_is_due_at_its_threshold_and_not_before(void **state)
{
	uint32_t slot = tracked_add(&t, 5, 0);

	(void)state;
	assert_int_equal(next_ms(0, 0), 1000);
	assert_int_equal(tracked_due(&t, 999), 0);
	assert_int_equal(tracked_due(&t, 1000), 1);
	assert_int_equal(t.due[0].slot, slot);
	assert_int_equal(t.due[0].last_seen_ns, 0);
	assert_int_equal(t.due[0].threshold_ns, tracked_ms(1000));
	tracker_stall(t.tracker, slot, STALL_SILENT);
	assert_int_equal(t.stats.stalls[STALL_SILENT], 1);
	assert_int_equal(tracked_view(&t, slot).stalls, 1);
	assert_int_equal(tracked_view(&t, slot).status, AGENT_STALLED);
}

static void
a_stalled_agent_costs_nothing_until_it_beats(void **state)
{
	uint32_t slot = tracked_add(&t, 5, 0);
	struct beat b = tracked_beat(5, 2, 2000);

	(void)state;
	assert_int_equal(tracked_stall_all(&t, 1000), 1);
	assert_int_equal(next_ms(1000, 0), NS_NEVER);
	assert_int_equal(tracked_stall_all(&t, 100000), 0);
	assert_int_equal(tracked_put(&t, slot, &b, 200000), TRACKER_RESUMED);
	assert_int_equal(t.stats.resumes, 1);
	assert_int_equal(tracked_view(&t, slot).status, AGENT_OK);
	assert_int_equal(next_ms(200000, 0), 201000);
	assert_int_equal(tracked_due(&t, 200999), 0);
	assert_int_equal(tracked_stall_all(&t, 201000), 1);
}

static void
an_agent_that_beats_is_never_due(void **state)
{
	uint32_t slot = tracked_add(&t, 5, 0);
	uint64_t ms;

	(void)state;
	for (ms = 1; ms < 100000; ms++) {
		if (ms % 900 == 0)
			beat_at(slot, 1 + ms, ms);
		assert_int_equal(tracked_due(&t, ms), 0);
	}
}

static void
nobody_is_woken_for_an_agent_that_has_beaten_since(void **state)
{
	uint32_t slot = tracked_add(&t, 5, 0);

	(void)state;
	beat_at(slot, 2, 400);
	assert_int_equal(next_ms(400, 0), 1000);
	assert_int_equal(next_ms(400, 599), 1000);
	assert_int_equal(next_ms(400, 600), 1400);
	/* One that really is due by then stays as it is. */
	assert_int_equal(next_ms(400, 5000), 1400);
	assert_int_equal(next_ms(400, 5000), 1400);
	assert_int_equal(tracked_due(&t, 1399), 0);
	assert_int_equal(tracked_due(&t, 1400), 1);
	tracker_stall(t.tracker, slot, STALL_SILENT);
	assert_int_equal(next_ms(1400, 5000), NS_NEVER);
}

static void
what_is_due_already_is_due_now(void **state)
{
	(void)state;
	(void)tracked_add(&t, 5, 0);
	assert_true(next_ms(2000, 5000) <= 2000);
	assert_int_equal(tracked_stall_all(&t, 2000), 1);
}

static void
an_agent_that_has_left_wakes_nobody(void **state)
{
	uint32_t slot = tracked_add(&t, 5, 0);

	(void)state;
	tracker_remove(t.tracker, slot);
	assert_int_equal(next_ms(0, 2000), NS_NEVER);
	assert_int_equal(tracked_due(&t, 2000), 0);
}

static void
the_grace_of_a_new_agent_is_waited_for(void **state)
{
	uint32_t slot;

	(void)state;
	t.terms.grace_ns = tracked_ms(5000);
	slot = tracked_add(&t, 5, 0);
	beat_at(slot, 2, 100);
	assert_int_equal(next_ms(100, 10000), 5000);
	assert_int_equal(tracked_due(&t, 4999), 0);
	beat_at(slot, 3, 4500);
	assert_int_equal(tracked_due(&t, 5499), 0);
	assert_int_equal(tracked_due(&t, 5500), 1);
}

static void
one_that_is_deferred_is_due_again_then(void **state)
{
	uint32_t slot = tracked_add(&t, 5, 0);

	(void)state;
	assert_int_equal(tracked_due(&t, 1000), 1);
	tracker_defer(t.tracker, slot, tracked_ms(4000));
	assert_int_equal(next_ms(1000, 10000), 4000);
	assert_int_equal(tracked_due(&t, 3999), 0);
	assert_int_equal(tracked_due(&t, 4000), 1);
	/* To no time at all: then with the next slot. */
	tracker_defer(t.tracker, slot, 0);
	assert_int_equal(tracked_due(&t, 4001), 1);
}

static void
one_that_was_handed_out_and_beats_is_watched_again(void **state)
{
	uint32_t slot = tracked_add(&t, 5, 0);

	(void)state;
	assert_int_equal(tracked_due(&t, 1000), 1);
	beat_at(slot, 2, 1000);
	assert_int_equal(next_ms(1000, 0), 2000);
	/* Deferring it now is too late, and does no harm. */
	tracker_defer(t.tracker, slot, 0);
	assert_int_equal(tracked_due(&t, 2000), 1);
}

static void
one_that_was_handed_out_may_leave(void **state)
{
	uint32_t slot = tracked_add(&t, 5, 0);

	(void)state;
	assert_int_equal(tracked_due(&t, 1000), 1);
	tracker_remove(t.tracker, slot);
	assert_int_equal(tracked_add(&t, 6, 1000), slot);
	assert_int_equal(next_ms(1000, 0), 2000);
}

static void
an_agent_may_be_said_to_have_stalled_before_its_deadline(void **state)
{
	uint32_t slot = tracked_add(&t, 5, 0);

	(void)state;
	tracker_set_gone(t.tracker, slot);
	tracker_stall(t.tracker, slot, STALL_GONE);
	tracker_stall(t.tracker, slot, STALL_GONE);
	assert_int_equal(t.stats.stalls[STALL_GONE], 1);
	assert_int_equal(tracked_due(&t, 5000), 0);
	beat_at(slot, 2, 6000);
	assert_int_equal(tracked_due(&t, 6999), 0);
	assert_int_equal(tracked_due(&t, 7000), 1);
}

static void
a_threshold_without_end_is_never_over(void **state)
{
	uint32_t slot;

	(void)state;
	t.terms.threshold_ns = UINT64_MAX;
	slot = tracked_add(&t, 5, 1000);
	assert_int_equal(tracked_due(&t, UINT64_C(1) << 40), 0);
	beat_at(slot, 2, UINT64_C(1) << 40);
	assert_int_equal(tracked_due(&t, UINT64_C(1) << 43), 0);
}

static void
no_more_are_handed_out_than_asked_for(void **state)
{
	uint64_t i;

	(void)state;
	for (i = 0; i < 20; i++)
		(void)tracked_add(&t, i, 0);
	assert_int_equal(tracker_due(t.tracker, tracked_ms(1000), t.due, 0), 0);
	assert_int_equal(tracked_due(&t, 1000), 8);
	assert_int_equal(tracked_due(&t, 1000), 8);
	assert_int_equal(tracked_due(&t, 1000), 4);
	assert_int_equal(tracked_due(&t, 1000), 0);
}

/* So many that they are gone round. */
static void
among_many_each_silent_one_is_due_in_time(void **state)
{
	uint64_t ms, nonce = 1;
	uint32_t i;

	(void)state;
	for (i = 0; i < MANY; i++)
		(void)tracked_add(&t, i, 0);
	/* All beat every 300 ms, until each hundredth falls silent. */
	for (ms = 1; ms < 10000; ms++) {
		if (ms % 300 != 0)
			continue;
		nonce++;
		for (i = 0; i < MANY; i++)
			if (ms <= 5000 || i % 100 != 0)
				beat_at(tracker_find(t.tracker, i), nonce, ms);
		/* The last beat was at 4800. */
		assert_int_equal(
		    tracked_stall_all(&t, ms), ms == 6000 ? MANY / 100 : 0);
		assert_true(next_ms(ms, 0) > ms);
	}
}

static void
among_many_nobody_is_noticed_late(void **state)
{
	uint64_t ms;
	size_t n = 0;
	uint32_t i;

	(void)state;
	for (i = 0; i < MANY; i++)
		(void)tracked_add(&t, i, i / 3);
	/* Only awake when asked for. */
	for (ms = MANY / 3; n < MANY; ms = next_ms(ms, 0)) {
		n += tracked_stall_all(&t, ms);
		assert_int_equal(
		    n, ms < 1000 ? 0 : u64_min((ms - 999) * 3, MANY));
	}
	assert_int_equal(ms, NS_NEVER);
}

static void
among_many_who_leaves_is_not_gone_round(void **state)
{
	uint32_t i, slot;

	(void)state;
	for (i = 0; i < MANY; i++)
		(void)tracked_add(&t, i, 0);
	for (i = 0; i < MANY; i++)
		tracker_remove(t.tracker, tracker_find(t.tracker, i));
	assert_int_equal(tracked_due(&t, 900), 0);
	assert_int_equal(tracked_due(&t, 1900), 0);
	/* And its slot can be had again. */
	for (i = 0; i < MANY; i++) {
		slot = tracked_add(&t, i, 2000);
		assert_true(slot < MANY);
	}
	assert_int_equal(tracked_stall_all(&t, 3000), MANY);
}

static void
a_shorter_threshold_counts_from_the_change(void **state)
{
	struct agent_terms terms = { .threshold_ns = tracked_ms(100) };
	uint32_t slot = tracked_add(&t, 5, 0), other = tracked_add(&t, 6, 0);

	(void)state;
	tracker_set_terms(t.tracker, slot, &terms, tracked_ms(500));
	tracker_set_terms(t.tracker, other, &t.terms, tracked_ms(500));
	tracker_rearm(t.tracker, tracked_ms(500));
	assert_int_equal(tracked_view(&t, slot).threshold_ns, tracked_ms(100));
	assert_int_equal(next_ms(500, 5000), 600);
	assert_int_equal(tracked_due(&t, 599), 0);
	assert_int_equal(tracked_due(&t, 600), 1);
	assert_int_equal(t.due[0].slot, slot);
	tracker_stall(t.tracker, slot, STALL_SILENT);
	assert_int_equal(tracked_due(&t, 999), 0);
	assert_int_equal(tracked_due(&t, 1000), 1);
}

static void
a_longer_grace_counts_and_a_shorter_one_does_not(void **state)
{
	struct agent_terms terms = t.terms;
	uint32_t slot = tracked_add(&t, 5, 0);

	(void)state;
	terms.grace_ns = tracked_ms(3000);
	tracker_set_terms(t.tracker, slot, &terms, tracked_ms(500));
	terms.grace_ns = 0;
	tracker_set_terms(t.tracker, slot, &terms, tracked_ms(500));
	tracker_rearm(t.tracker, tracked_ms(500));
	assert_int_equal(tracked_due(&t, 2999), 0);
	assert_int_equal(tracked_due(&t, 3000), 1);
}

static void
other_terms_lose_nobody_among_many(void **state)
{
	struct agent_terms terms = { .threshold_ns = tracked_ms(2000) };
	uint32_t i;

	(void)state;
	for (i = 0; i < MANY; i++)
		(void)tracked_add(&t, i, 0);
	tracker_remove(t.tracker, 0);
	tracker_stall(t.tracker, 1, STALL_SILENT);
	for (i = 2; i < MANY; i += 2)
		tracker_set_terms(t.tracker, i, &terms, tracked_ms(500));
	tracker_rearm(t.tracker, tracked_ms(500));
	assert_int_equal(tracked_stall_all(&t, 999), 0);
	assert_int_equal(tracked_stall_all(&t, 1000), MANY / 2 - 1);
	assert_int_equal(tracked_stall_all(&t, 2499), 0);
	assert_int_equal(tracked_stall_all(&t, 2500), MANY / 2 - 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_silent_agent_is_due_at_its_threshold_and_not_before),
		TEST(a_stalled_agent_costs_nothing_until_it_beats),
		TEST(an_agent_that_beats_is_never_due),
		TEST(nobody_is_woken_for_an_agent_that_has_beaten_since),
		TEST(what_is_due_already_is_due_now),
		TEST(an_agent_that_has_left_wakes_nobody),
		TEST(the_grace_of_a_new_agent_is_waited_for),
		TEST(one_that_is_deferred_is_due_again_then),
		TEST(one_that_was_handed_out_and_beats_is_watched_again),
		TEST(one_that_was_handed_out_may_leave),
		TEST(an_agent_may_be_said_to_have_stalled_before_its_deadline),
		TEST(a_threshold_without_end_is_never_over),
		TEST(no_more_are_handed_out_than_asked_for),
		TEST(among_many_each_silent_one_is_due_in_time),
		TEST(among_many_nobody_is_noticed_late),
		TEST(among_many_who_leaves_is_not_gone_round),
		TEST(a_shorter_threshold_counts_from_the_change),
		TEST(a_longer_grace_counts_and_a_shorter_one_does_not),
		TEST(other_terms_lose_nobody_among_many),
	};

	return cmocka_run_group_tests_name("tracker_due", tests, NULL, NULL);
}
