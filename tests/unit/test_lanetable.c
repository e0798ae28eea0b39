#include "watch/track/lanetable.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "support/fault.h"

FAULT(void *, NULL, malloc, (size_t n), (n))
FAULT(void *, NULL, calloc, (size_t n, size_t size), (n, size))

enum { CAPACITY = 100, THRESHOLD = 1000 };

static struct lane_terms
terms_of(uint64_t threshold_ns, const char *name)
{
	struct lane_terms terms = { .threshold_ns = threshold_ns };

	(void)snprintf(terms.name, sizeof(terms.name), "%s", name);
	return terms;
}

static int
setup(void **state)
{
	struct lanetable *t;

	if (lanetable_new(CAPACITY, &t) < 0)
		return -1;
	*state = t;
	return 0;
}

static int
teardown(void **state)
{
	fault_off(&fault_malloc);
	fault_off(&fault_calloc);
	lanetable_free(*state);
	return 0;
}

static uint32_t
add(struct lanetable *t, uint32_t owner, uint64_t now_ns)
{
	const struct lane_id id = {
		.owner = owner, .index = 7, .generation = 3
	};
	const struct lane_terms terms = terms_of(THRESHOLD, "worker");

	return lanetable_add(t, &id, &terms, now_ns);
}

static struct lane_view
view(const struct lanetable *t, uint32_t slot)
{
	struct lane_view v;

	assert_true(lanetable_view(t, slot, &v));
	return v;
}

/* Seen to have beaten at seen_ns, by a look at now_ns. */
static bool
beaten(struct lanetable *t, uint32_t slot, uint64_t seen_ns, uint64_t now_ns)
{
	const struct lane_sample sample = { .mark = seen_ns,
		.seen_ns = seen_ns };

	return lanetable_note(t, slot, &sample, now_ns);
}

static bool
idled(struct lanetable *t, uint32_t slot, uint64_t now_ns)
{
	const struct lane_sample sample = { .mark = 0, .seen_ns = now_ns };

	return lanetable_note(t, slot, &sample, now_ns);
}

static size_t
due(const struct lanetable *t, uint64_t now_ns)
{
	uint32_t cursor = 0, slots[CAPACITY];

	return lanetable_due(t, &cursor, now_ns, slots, CAPACITY);
}

/* ---- */

static void
sizes_that_are_none_are_refused(void **state)
{
	struct lanetable *t = *state, *before = t;

	assert_int_equal(lanetable_new(0, &t), -EINVAL);
	assert_int_equal(lanetable_new(LANETABLE_MAX + 1, &t), -EINVAL);
	assert_ptr_equal(t, before);
	lanetable_free(NULL);
}

static void
a_lack_of_memory_is_told_and_leaves_nothing(void **state)
{
	struct lanetable *t = *state, *before = t;

	for (unsigned nth = 1; nth <= 3; nth++) {
		fault_nth(&fault_calloc, nth, ENOMEM);
		assert_int_equal(lanetable_new(10, &t), -ENOMEM);
	}
	fault_off(&fault_calloc);
	fault_nth(&fault_malloc, 1, ENOMEM);
	assert_int_equal(lanetable_new(10, &t), -ENOMEM);
	assert_ptr_equal(t, before);
}

static void
the_largest_table_takes_that_many(void **state)
{
	struct lanetable *t;
	uint32_t slot = 0;

	(void)state;
	assert_int_equal(lanetable_new(LANETABLE_MAX, &t), 0);
	for (uint32_t i = 0; i < LANETABLE_MAX; i++)
		slot = add(t, i, 5);
	assert_int_equal(slot, LANETABLE_MAX - 1);
	assert_int_equal(add(t, 0, 5), SLOT_NONE);
	assert_int_equal(lanetable_first(t, LANETABLE_MAX - 1), slot);
	lanetable_free(t);
}

static void
an_empty_table_is_never_due(void **state)
{
	struct lanetable *t = *state;

	assert_int_equal(lanetable_next_ns(t), NS_NEVER);
	assert_int_equal(due(t, NS_NEVER - 1), 0);
	assert_int_equal(lanetable_count(t), 0);
	assert_int_equal(lanetable_slots(t), 0);
	assert_int_equal(lanetable_first(t, 0), SLOT_NONE);
}

static void
a_new_lane_is_idle_and_looked_at_after_a_threshold(void **state)
{
	struct lanetable *t = *state;
	uint32_t slot = add(t, 4, 50);
	struct lane_view v = view(t, slot);

	assert_int_equal(v.state, LANETABLE_IDLE);
	assert_int_equal(v.id.owner, 4);
	assert_int_equal(v.id.index, 7);
	assert_int_equal(v.id.generation, 3);
	assert_int_equal(v.joined_ns, 50);
	assert_int_equal(v.seen_ns, 50);
	assert_int_equal(v.due_ns, 50 + THRESHOLD);
	assert_int_equal(v.stalls, 0);
	assert_string_equal(v.terms->name, "worker");
	assert_int_equal(lanetable_next_ns(t), 50 + THRESHOLD);
	assert_int_equal(due(t, 50 + THRESHOLD - 1), 0);
	assert_int_equal(due(t, 50 + THRESHOLD), 1);
	assert_int_equal(lanetable_count(t), 1);
	assert_int_equal(lanetable_slots(t), 1);
}

static void
a_busy_lane_is_due_a_threshold_after_its_beat_never_before(void **state)
{
	struct lanetable *t = *state;
	uint32_t slot = add(t, 0, 0);

	assert_false(beaten(t, slot, 700, 1000));
	assert_int_equal(view(t, slot).state, LANETABLE_BUSY);
	assert_int_equal(view(t, slot).seen_ns, 700);
	assert_int_equal(due(t, 700 + THRESHOLD - 1), 0);
	assert_int_equal(due(t, 700 + THRESHOLD), 1);
	/* Noted again without a new beat: nothing is gained by it. */
	assert_false(beaten(t, slot, 700, 1600));
	assert_int_equal(view(t, slot).due_ns, 700 + THRESHOLD);
}

static void
an_idle_lane_is_looked_at_once_in_a_threshold(void **state)
{
	struct lanetable *t = *state;
	uint32_t slot = add(t, 0, 0);

	assert_false(beaten(t, slot, 700, 900));
	assert_false(idled(t, slot, 1700));
	assert_int_equal(view(t, slot).state, LANETABLE_IDLE);
	assert_int_equal(view(t, slot).due_ns, 1700 + THRESHOLD);
	assert_false(idled(t, slot, 2700));
	assert_int_equal(view(t, slot).due_ns, 2700 + THRESHOLD);
}

static void
a_beat_from_the_future_is_one_of_now(void **state)
{
	struct lanetable *t = *state;
	uint32_t slot = add(t, 0, 0);

	assert_false(beaten(t, slot, 999999, 500));
	assert_int_equal(view(t, slot).seen_ns, 500);
	assert_int_equal(view(t, slot).due_ns, 500 + THRESHOLD);
	/* It stays one of then, while it does not move. */
	assert_false(beaten(t, slot, 999999, 1400));
	assert_int_equal(view(t, slot).due_ns, 500 + THRESHOLD);
}

static void
a_beat_is_never_older_than_the_one_before(void **state)
{
	struct lanetable *t = *state;
	uint32_t slot = add(t, 0, 100);

	/* Before the lane was there. */
	assert_false(beaten(t, slot, 3, 200));
	assert_int_equal(view(t, slot).seen_ns, 100);
	assert_false(beaten(t, slot, 800, 900));
	assert_false(beaten(t, slot, 600, 950));
	assert_int_equal(view(t, slot).seen_ns, 800);
	assert_int_equal(view(t, slot).due_ns, 800 + THRESHOLD);
}

static void
only_a_mark_that_has_moved_ends_a_stall(void **state)
{
	struct lanetable *t = *state;
	uint32_t slot = add(t, 0, 0);

	assert_false(beaten(t, slot, 700, 1000));
	lanetable_stall(t, slot, 3000);
	assert_int_equal(view(t, slot).state, LANETABLE_STALLED);
	assert_int_equal(view(t, slot).stalls, 1);
	assert_int_equal(view(t, slot).due_ns, 3000);
	assert_false(beaten(t, slot, 700, 3000));
	assert_int_equal(view(t, slot).state, LANETABLE_STALLED);
	assert_int_equal(view(t, slot).due_ns, 3000 + THRESHOLD);
	assert_true(beaten(t, slot, 3900, 4000));
	assert_int_equal(view(t, slot).state, LANETABLE_BUSY);
	assert_int_equal(view(t, slot).due_ns, 3900 + THRESHOLD);
	assert_int_equal(view(t, slot).stalls, 1);
	assert_false(beaten(t, slot, 4100, 4200));
}

static void
a_stall_ends_when_the_lane_idles(void **state)
{
	struct lanetable *t = *state;
	uint32_t slot = add(t, 0, 0);

	assert_false(beaten(t, slot, 700, 1000));
	lanetable_stall(t, slot, 3000);
	assert_true(idled(t, slot, 3000));
	assert_int_equal(view(t, slot).state, LANETABLE_IDLE);
	assert_int_equal(view(t, slot).due_ns, 3000 + THRESHOLD);
}

static void
what_a_look_has_shown_is_kept(void **state)
{
	struct lanetable *t = *state;
	uint32_t slot = add(t, 0, 0);
	struct lane_sample sample = {
		.mark = 9, .seen_ns = 9, .beats = UINT64_MAX, .status = 2
	};

	assert_false(lanetable_note(t, slot, &sample, 10));
	assert_true(view(t, slot).beats == UINT64_MAX);
	assert_int_equal(view(t, slot).status, 2);
	/* Of a stalled one, too. */
	lanetable_stall(t, slot, 3000);
	sample.beats = 1;
	sample.status = 1;
	assert_false(lanetable_note(t, slot, &sample, 3000));
	assert_int_equal(view(t, slot).beats, 1);
	assert_int_equal(view(t, slot).status, 1);
}

static void
the_next_time_follows_each_change(void **state)
{
	struct lanetable *t = *state;
	uint32_t a = add(t, 0, 0), b = add(t, 0, 500);

	assert_int_equal(lanetable_next_ns(t), THRESHOLD);
	/* The first of them moves back behind the other. */
	assert_false(beaten(t, a, 900, 950));
	assert_int_equal(lanetable_next_ns(t), 500 + THRESHOLD);
	assert_false(beaten(t, b, 940, 950));
	assert_int_equal(lanetable_next_ns(t), 900 + THRESHOLD);
	lanetable_remove(t, a);
	assert_int_equal(lanetable_next_ns(t), 940 + THRESHOLD);
	/* While that is not asked for, an earlier one comes. */
	lanetable_remove(t, b);
	a = add(t, 0, 10);
	assert_int_equal(lanetable_next_ns(t), 10 + THRESHOLD);
	lanetable_stall(t, a, 10 + THRESHOLD);
	assert_int_equal(lanetable_next_ns(t), 10 + THRESHOLD);
	lanetable_remove(t, a);
	assert_int_equal(lanetable_next_ns(t), NS_NEVER);
}

static void
those_that_are_due_come_in_portions(void **state)
{
	struct lanetable *t = *state;
	uint32_t cursor = 0, slots[4], seen = 0;
	size_t n;

	for (uint32_t i = 0; i < 10; i++)
		(void)add(t, i, i % 2 == 0 ? 0 : 5000);
	n = lanetable_due(t, &cursor, THRESHOLD, slots, 4);
	assert_int_equal(n, 4);
	for (size_t i = 0; i < n; i++)
		seen |= 1u << slots[i];
	n = lanetable_due(t, &cursor, THRESHOLD, slots, 4);
	assert_int_equal(n, 1);
	seen |= 1u << slots[0];
	assert_int_equal(seen, 0x155);
	assert_int_equal(lanetable_due(t, &cursor, THRESHOLD, slots, 4), 0);
}

static void
owners_know_their_lanes(void **state)
{
	struct lanetable *t = *state;
	uint32_t a = add(t, 1, 0), other = add(t, 2, 0), b = add(t, 1, 0),
		 c = add(t, 1, 0), slot, n = 0;
	bool seen[CAPACITY] = { false };

	for (slot = lanetable_first(t, 1); slot != SLOT_NONE;
	     slot = lanetable_next(t, slot), n++)
		seen[slot] = true;
	assert_int_equal(n, 3);
	assert_true(seen[a] && seen[b] && seen[c]);
	assert_int_equal(lanetable_first(t, 2), other);
	assert_int_equal(lanetable_next(t, other), SLOT_NONE);
	/* The middle, the first, the last. */
	lanetable_remove(t, b);
	lanetable_remove(t, lanetable_first(t, 1));
	slot = lanetable_first(t, 1);
	assert_true(slot == a || slot == c);
	assert_int_equal(lanetable_next(t, slot), SLOT_NONE);
	lanetable_remove(t, slot);
	assert_int_equal(lanetable_first(t, 1), SLOT_NONE);
	assert_int_equal(lanetable_count(t), 1);
}

static void
a_full_table_takes_none_until_one_leaves(void **state)
{
	struct lanetable *t = *state;
	struct lane_view v;

	for (uint32_t i = 0; i < CAPACITY; i++)
		assert_int_not_equal(add(t, i, 0), SLOT_NONE);
	assert_int_equal(add(t, 0, 0), SLOT_NONE);
	assert_int_equal(lanetable_count(t), CAPACITY);
	lanetable_remove(t, 42);
	assert_false(lanetable_view(t, 42, &v));
	assert_false(lanetable_view(t, CAPACITY, &v));
	assert_int_equal(add(t, 0, 0), 42);
	assert_int_equal(add(t, 0, 0), SLOT_NONE);
	assert_int_equal(lanetable_slots(t), CAPACITY);
}

static void
a_token_is_never_that_of_another_lane(void **state)
{
	struct lanetable *t = *state;
	uint64_t last = 0;

	for (int i = 0; i < 1000; i++) {
		uint32_t slot = add(t, 0, 0);

		assert_int_equal(slot, 0);
		assert_true(view(t, slot).token > last);
		last = view(t, slot).token;
		lanetable_remove(t, slot);
	}
}

static void
nothing_is_left_of_who_had_the_slot(void **state)
{
	struct lanetable *t = *state;
	uint32_t slot = add(t, 0, 0);

	assert_false(beaten(t, slot, 700, 1000));
	lanetable_defer(t, slot, 900000);
	lanetable_stall(t, slot, 3000);
	lanetable_remove(t, slot);
	assert_int_equal(add(t, 5, 2000), slot);
	assert_int_equal(view(t, slot).stalls, 0);
	assert_int_equal(view(t, slot).state, LANETABLE_IDLE);
	assert_false(beaten(t, slot, 2100, 2200));
	assert_int_equal(view(t, slot).due_ns, 2100 + THRESHOLD);
}

static void
a_deferred_lane_is_not_due_before(void **state)
{
	struct lanetable *t = *state;
	uint32_t slot = add(t, 0, 0);

	assert_false(beaten(t, slot, 700, 1000));
	lanetable_defer(t, slot, 5000);
	assert_int_equal(view(t, slot).due_ns, 5000);
	assert_int_equal(lanetable_next_ns(t), 5000);
	/* Nor is it after another beat, whose deadline would be earlier. */
	assert_false(beaten(t, slot, 1500, 1600));
	assert_int_equal(view(t, slot).due_ns, 5000);
	assert_false(beaten(t, slot, 4500, 4600));
	assert_int_equal(view(t, slot).due_ns, 4500 + THRESHOLD);
	/* To defer is never to hasten. */
	lanetable_defer(t, slot, 4700);
	assert_int_equal(view(t, slot).due_ns, 4500 + THRESHOLD);
}

static void
a_look_may_be_asked_for_at_any_time(void **state)
{
	struct lanetable *t = *state;
	uint32_t slot = add(t, 0, 0);

	lanetable_look_at(t, slot, 20);
	assert_int_equal(lanetable_next_ns(t), 20);
	lanetable_look_at(t, slot, 5000);
	assert_int_equal(lanetable_next_ns(t), 5000);
	/* It binds nobody: a beat has its own deadline. */
	assert_false(beaten(t, slot, 700, 800));
	assert_int_equal(view(t, slot).due_ns, 700 + THRESHOLD);
}

static void
other_terms_make_no_lane_due_at_once(void **state)
{
	struct lanetable *t = *state;
	uint32_t slot = add(t, 0, 0);
	struct lane_terms terms = terms_of(100, "renamed");

	assert_false(beaten(t, slot, 700, 1000));
	terms.rule = 3;
	lanetable_set_terms(t, slot, &terms, 1650);
	assert_string_equal(view(t, slot).terms->name, "renamed");
	assert_int_equal(view(t, slot).terms->rule, 3);
	assert_int_equal(view(t, slot).due_ns, 1750);
	assert_false(beaten(t, slot, 700, 1700));
	assert_int_equal(view(t, slot).due_ns, 1750);
	assert_false(beaten(t, slot, 1690, 1700));
	assert_int_equal(view(t, slot).due_ns, 1790);
	/* A name alone changes nothing about deadlines. */
	terms = terms_of(100, "again");
	lanetable_set_terms(t, slot, &terms, 1780);
	assert_int_equal(view(t, slot).due_ns, 1790);
}

static void
times_at_the_end_of_all_times_do_not_wrap(void **state)
{
	struct lanetable *t = *state;
	const struct lane_terms terms = terms_of(UINT64_MAX, "patient");
	const struct lane_id id = { 0 };
	uint32_t slot = lanetable_add(t, &id, &terms, 10);

	assert_int_equal(view(t, slot).due_ns, NS_NEVER);
	assert_int_equal(lanetable_next_ns(t), NS_NEVER);
	assert_false(beaten(t, slot, 20, 30));
	assert_int_equal(view(t, slot).due_ns, NS_NEVER);
	assert_int_equal(due(t, NS_NEVER - 1), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(sizes_that_are_none_are_refused),
		CASE(a_lack_of_memory_is_told_and_leaves_nothing),
		CASE(the_largest_table_takes_that_many),
		CASE(an_empty_table_is_never_due),
		CASE(a_new_lane_is_idle_and_looked_at_after_a_threshold),
		CASE(
		    a_busy_lane_is_due_a_threshold_after_its_beat_never_before),
		CASE(an_idle_lane_is_looked_at_once_in_a_threshold),
		CASE(a_beat_from_the_future_is_one_of_now),
		CASE(a_beat_is_never_older_than_the_one_before),
		CASE(only_a_mark_that_has_moved_ends_a_stall),
		CASE(a_stall_ends_when_the_lane_idles),
		CASE(what_a_look_has_shown_is_kept),
		CASE(the_next_time_follows_each_change),
		CASE(those_that_are_due_come_in_portions),
		CASE(owners_know_their_lanes),
		CASE(a_full_table_takes_none_until_one_leaves),
		CASE(a_token_is_never_that_of_another_lane),
		CASE(nothing_is_left_of_who_had_the_slot),
		CASE(a_deferred_lane_is_not_due_before),
		CASE(a_look_may_be_asked_for_at_any_time),
		CASE(other_terms_make_no_lane_due_at_once),
		CASE(times_at_the_end_of_all_times_do_not_wrap),
	};

	return cmocka_run_group_tests_name("lanetable", tests, NULL, NULL);
}
