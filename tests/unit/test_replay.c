/*
 * The rules against replay, one by one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/fault.h"
#include "support/replaybox.h"
#include "watch/intake/replay.h"

FAULT(void *, NULL, calloc, (size_t n, size_t size), (n, size))

enum { PID = 42, OTHER_PID = 43, SENDERS = 4 };
enum { A = 0xa1, B = 0xb2, C = 0xc3, D = 0xd4, CRASH = 0xdead };

static int
setup(void **state)
{
	struct replaybox *b = malloc(sizeof(*b));

	replaybox_init(b, SENDERS);
	*state = b;
	return 0;
}

static int
teardown(void **state)
{
	replaybox_fini(*state);
	free(*state);
	return 0;
}

static bool
takes(struct replaybox *b, uint64_t prefix, uint32_t n)
{
	struct replay_frame f = replaybox_frame(PID, prefix, n);

	return replaybox_takes(b, &f);
}

static bool
takes_all(struct replaybox *b, uint64_t prefix, uint32_t from, uint32_t to)
{
	bool all = true;

	for (uint32_t n = from; n < to; n++)
		all &= takes(b, prefix, n);
	return all;
}

static bool
takes_any(struct replaybox *b, uint64_t prefix, uint32_t from, uint32_t to)
{
	bool any = false;

	for (uint32_t n = from; n < to; n++)
		any |= takes(b, prefix, n);
	return any;
}

static bool
takes_crash(struct replaybox *b, uint64_t prefix, uint64_t timestamp)
{
	struct replay_frame f = replaybox_frame(PID, prefix, 0);

	f.nonce = UINT64_MAX;
	f.timestamp = timestamp;
	return replaybox_takes(b, &f);
}

static void
a_session_is_taken_once_in_its_order(void **state)
{
	struct replaybox *b = *state;

	assert_true(takes_all(b, A, 0, 10));
	assert_false(takes_any(b, A, 0, 10));
	assert_true(takes(b, A, 10));
}

static void
lost_frames_do_no_harm_and_late_ones_are_refused(void **state)
{
	struct replaybox *b = *state;

	assert_true(takes(b, A, 0));
	assert_true(takes(b, A, 5));
	assert_false(takes(b, A, 4));
	assert_true(takes(b, A, 6));
}

static void
an_unknown_sender_is_taken_wherever_its_session_is(void **state)
{
	struct replaybox *b = *state;
	struct replay_frame f = replaybox_frame(PID, A, 1000);

	f.nonce = 7;
	assert_int_equal(replaybox_ask(b, &f), REPLAY_TAKEN_ANEW);
}

static void
a_restarted_agent_is_taken_at_its_first_beat(void **state)
{
	struct replaybox *b = *state;
	struct replay_frame f = replaybox_frame(PID, B, 0);

	assert_true(takes_all(b, A, 0, 100));
	assert_int_equal(replaybox_ask(b, &f), REPLAY_TAKEN_ANEW);
	f = replaybox_frame(PID, B, 1);
	assert_int_equal(replaybox_ask(b, &f), REPLAY_TAKEN);
}

static void
a_restarted_agent_may_lose_its_first_beats(void **state)
{
	struct replaybox *b = *state;

	assert_true(takes_all(b, A, 0, 100));
	assert_true(takes(b, B, 3));
}

static void
the_earlier_session_is_good_until_the_new_one_speaks_twice(void **state)
{
	struct replaybox *b = *state;
	struct replay_frame f = replaybox_frame(PID, A, 10);

	assert_true(takes_all(b, A, 0, 10));
	assert_true(takes(b, B, 0));
	assert_int_equal(replaybox_ask(b, &f), REPLAY_TAKEN_ANEW);
	assert_true(takes(b, B, 1));
	assert_true(takes(b, A, 11));
	assert_true(takes(b, B, 2));
	assert_true(takes(b, B, 3));
	assert_false(takes_any(b, A, 0, 1000));
	assert_true(takes(b, B, 4));
}

static void
an_earlier_session_is_never_taken_up_again(void **state)
{
	struct replaybox *b = *state;

	assert_true(takes_all(b, A, 0, 10));
	assert_true(takes_all(b, B, 0, 3));
	assert_false(takes_any(b, A, 0, 1000));
	b->now_ns += 3600 * NS_PER_S;
	assert_false(takes_any(b, A, 0, 1000));
	assert_false(takes_any(b, B, 0, 3));
	assert_true(takes(b, B, 3));
}

static void
a_third_session_ends_an_unconfirmed_second(void **state)
{
	struct replaybox *b = *state;

	assert_true(takes_all(b, A, 0, 10));
	assert_true(takes(b, B, 0));
	assert_true(takes(b, C, 0));
	assert_false(takes(b, B, 1));
	assert_true(takes(b, A, 10));
	assert_true(takes(b, C, 1));
	assert_true(takes(b, C, 2));
	assert_false(takes(b, A, 11));
}

static void
a_changed_prefix_goes_on_with_higher_nonces(void **state)
{
	struct replaybox *b = *state;
	struct replay_frame f = replaybox_frame(PID, B, 0);

	assert_true(takes_all(b, A, 0, 10));
	f.nonce = 11;
	assert_true(replaybox_takes(b, &f));
	f.counter = 1;
	f.nonce = 12;
	assert_true(replaybox_takes(b, &f));
	assert_false(takes(b, A, 10));
}

static void
the_middle_of_an_unseen_session_waits_for_a_silence(void **state)
{
	struct replaybox *b = *state;
	struct replay_frame f = replaybox_frame(PID, B, 0);

	assert_true(takes_all(b, A, 0, 10));
	f.nonce = 5; /* not the first of a sender, not after ours */
	assert_int_equal(replaybox_ask(b, &f), REPLAY_OLD);
	b->now_ns += b->options.gap_ns - 1;
	assert_int_equal(replaybox_ask(b, &f), REPLAY_OLD);
	b->now_ns += 1;
	assert_int_equal(replaybox_ask(b, &f), REPLAY_TAKEN_ANEW);
}

static void
identities_do_not_meddle_with_each_other(void **state)
{
	struct replaybox *b = *state;
	struct replay_frame f = replaybox_frame(OTHER_PID, A, 0);

	assert_true(takes_all(b, A, 0, 10));
	assert_true(replaybox_takes(b, &f));
	assert_false(replaybox_takes(b, &f));
	assert_true(takes(b, A, 10));
}

static void
a_crash_frame_is_taken_once(void **state)
{
	struct replaybox *b = *state;

	assert_true(takes_all(b, A, 0, 10));
	assert_true(takes_crash(b, CRASH, 1000));
	assert_false(takes_crash(b, CRASH, 1000));
	assert_false(takes_crash(b, CRASH, 2000));
	/* Other threads live on for a moment. */
	assert_true(takes(b, A, 10));
}

static void
a_crash_frame_needs_a_later_time_than_the_last(void **state)
{
	struct replaybox *b = *state;

	assert_true(takes_crash(b, CRASH, 1000));
	assert_false(takes_crash(b, CRASH + 1, 1000));
	assert_false(takes_crash(b, CRASH + 2, 999));
	assert_true(takes_crash(b, CRASH + 3, 1001));
}

static void
a_new_session_has_a_new_clock_of_crash_frames(void **state)
{
	struct replaybox *b = *state;

	assert_true(takes_all(b, A, 0, 2));
	assert_true(takes_crash(b, CRASH, 1000));
	assert_true(takes_all(b, B, 0, 2));
	assert_true(takes_crash(b, CRASH + 1, 10));
	assert_false(takes_crash(b, CRASH, 1000));
}

/* Of an agent that dies again and again, soon after its start. */
static void
a_life_of_one_beat_has_its_last_word_taken(void **state)
{
	struct replaybox *b = *state;

	assert_true(takes_all(b, A, 0, 10));
	assert_true(takes_crash(b, CRASH, 1000));
	for (uint64_t life = 1; life < 6; life++) {
		assert_true(takes(b, B + life, 0));
		assert_true(takes_crash(b, CRASH + life, 10 - life));
		assert_false(takes_crash(b, CRASH + life, 10 - life));
		assert_false(takes_crash(b, CRASH + 100 + life, 1));
	}
	assert_false(takes_crash(b, CRASH, 1000));
}

static void
a_crash_frame_does_not_open_a_session(void **state)
{
	struct replaybox *b = *state;

	assert_true(takes_crash(b, CRASH, 1000));
	assert_false(takes(b, CRASH, 1));
	assert_true(takes_all(b, A, 0, 5));
}

static void
a_crash_frame_under_the_session_follows_its_counter(void **state)
{
	struct replaybox *b = *state;
	struct replay_frame f = replaybox_frame(PID, A, 10);

	assert_true(takes_all(b, A, 0, 10));
	f.nonce = UINT64_MAX;
	assert_true(replaybox_takes(b, &f));
	assert_false(replaybox_takes(b, &f));
	/* It does not count among the nonces. */
	assert_true(takes(b, A, 11));
	f = replaybox_frame(PID, B, 0);
	f.nonce = 13;
	assert_true(replaybox_takes(b, &f));
}

static void
newcomers_are_refused_when_the_table_is_full(void **state)
{
	struct replaybox *b = *state;
	struct replay_frame f;

	for (uint32_t i = 0; i < SENDERS; i++) {
		f = replaybox_frame(100 + i, A, 0);
		assert_true(replaybox_takes(b, &f));
	}
	f = replaybox_frame(PID, A, 0);
	assert_int_equal(replaybox_ask(b, &f), REPLAY_TABLE_FULL);
	f = replaybox_frame(101, A, 1);
	assert_true(replaybox_takes(b, &f));
	assert_int_equal(replay_senders(b->replay), SENDERS);
}

static void
who_is_silent_longest_gives_its_place_not_its_session(void **state)
{
	struct replaybox *b = *state;
	struct replay_frame f;

	for (uint32_t i = 0; i < SENDERS; i++) {
		b->now_ns += NS_PER_S;
		f = replaybox_frame(100 + i, A, 0);
		assert_true(replaybox_takes(b, &f));
	}
	b->now_ns += REPLAY_STALE_S * NS_PER_S - 3 * NS_PER_S;
	f = replaybox_frame(PID, A, 0);
	assert_true(replaybox_takes(b, &f));
	f = replaybox_frame(PID + 1, A, 0);
	assert_int_equal(replaybox_ask(b, &f), REPLAY_TABLE_FULL);
	b->now_ns += NS_PER_S;
	/* 100 gave its place; what it sent is known for ever. */
	f = replaybox_frame(100, A, 0);
	assert_int_equal(replaybox_ask(b, &f), REPLAY_OLD);
	f = replaybox_frame(100, A, 1);
	assert_int_equal(replaybox_ask(b, &f), REPLAY_OLD);
	f = replaybox_frame(100, B, 0);
	assert_true(replaybox_takes(b, &f));
}

static void
sessions_of_one_sender_begin_at_a_limited_rate(void **state)
{
	struct replaybox *b = *state;
	struct replay_frame f;

	for (uint32_t i = 0; i < REPLAY_BURST; i++)
		assert_true(takes(b, 1000 + i, 0));
	f = replaybox_frame(PID, B, 0);
	assert_int_equal(replaybox_ask(b, &f), REPLAY_TOO_OFTEN);
	/* It is not held against it: it gets in with a later frame. */
	b->now_ns += REPLAY_REFILL_S * NS_PER_S;
	assert_true(takes(b, B, 10));
	f = replaybox_frame(PID, C, 0);
	assert_int_equal(replaybox_ask(b, &f), REPLAY_TOO_OFTEN);
	f = replaybox_frame(OTHER_PID, A, 0);
	assert_true(replaybox_takes(b, &f));
}

static void
a_full_memory_refuses_new_sessions_and_forgets_none(void **state)
{
	struct replaybox *b = *state;
	const uint32_t max = replay_sessions_max(SENDERS);
	struct replay_frame f;

	assert_true(takes(b, A, 0));
	for (uint32_t i = 1; i < max; i++) {
		f = replaybox_frame(100 + i % 2, 10000 + i, 0);
		b->now_ns += REPLAY_REFILL_S * NS_PER_S;
		assert_true(replaybox_takes(b, &f));
	}
	assert_int_equal(replay_sessions(b->replay), max);
	assert_true(takes(b, A, 1));
	f = replaybox_frame(PID, B, 0);
	assert_int_equal(replaybox_ask(b, &f), REPLAY_MEMORY_FULL);
	f = replaybox_frame(OTHER_PID, B, 0);
	assert_int_equal(replaybox_ask(b, &f), REPLAY_MEMORY_FULL);
	for (uint32_t i = 1; i < max; i += 97) {
		f = replaybox_frame(100 + i % 2, 10000 + i, 0);
		assert_int_equal(replaybox_ask(b, &f), REPLAY_OLD);
	}
	/* Other keys, and there is room. */
	replay_use(b->replay, (const uint32_t[]){ 99 }, 1);
	assert_int_equal(replay_sessions(b->replay), 0);
	f.id = UINT64_C(99) << 32 | PID;
	assert_true(replaybox_takes(b, &f));
}

static void
after_a_clean_restart_everything_is_as_it_was(void **state)
{
	struct replaybox *b = *state;

	assert_true(takes_all(b, A, 0, 10));
	assert_true(takes_all(b, B, 0, 10));
	assert_true(takes_crash(b, CRASH, 1000));
	replaybox_restart(b, true);
	assert_false(takes_any(b, A, 0, 1000));
	assert_false(takes_any(b, B, 0, 10));
	assert_false(takes_crash(b, CRASH, 1000));
	assert_false(takes_crash(b, CRASH + 1, 999));
	assert_true(takes(b, B, 10));
	assert_true(takes(b, C, 0));
}

static void
after_a_crash_nothing_is_taken_twice_and_agents_come_back(void **state)
{
	struct replaybox *b = *state;
	uint32_t n = 0;

	/* One a second, so that counters are reserved some seconds ahead. */
	for (; n < 100; n++, b->now_ns += NS_PER_S)
		assert_true(takes(b, A, n));
	replaybox_restart(b, false);
	assert_false(takes_any(b, A, 0, 100));
	for (n = 100; n < 130 && !takes(b, A, n); n++)
		b->now_ns += NS_PER_S;
	assert_true(n < 120);
	assert_true(takes(b, A, n + 1));
}

static void
a_slow_agent_is_heard_at_once_after_a_crash(void **state)
{
	struct replaybox *b = *state;

	for (uint32_t n = 0; n < 100; n++, b->now_ns += 30 * NS_PER_S)
		assert_true(takes(b, A, n));
	replaybox_restart(b, false);
	assert_false(takes_any(b, A, 0, 100));
	assert_true(takes(b, A, 100));
}

static void
an_unconfirmed_session_survives_a_crash(void **state)
{
	struct replaybox *b = *state;

	assert_true(takes_all(b, A, 0, 10));
	assert_true(takes(b, B, 0));
	replaybox_restart(b, false);
	assert_true(takes(b, A, 100));
	assert_true(takes(b, B, 10));
	assert_true(takes(b, B, 11));
	assert_false(takes(b, A, 101));
}

static void
counters_are_written_seldom_whatever_the_rate(void **state)
{
	struct replaybox *b = *state;
	size_t written = 0;

	for (uint32_t n = 0; n < 100000; n++, b->now_ns += NS_PER_MS) {
		struct replay_frame f = replaybox_frame(PID, A, n);

		(void)replay_check(b->replay, &f, b->now_ns);
		written += replay_notes(b->replay)->n_places;
		replay_settle(b->replay);
	}
	/* 100 s: each reserve lasts 4 s or more once the rate is known. */
	assert_true(written < 50);
}

static void
the_last_counters_can_be_used(void **state)
{
	struct replaybox *b = *state;

	assert_true(takes(b, A, UINT32_MAX - 2));
	assert_true(takes(b, A, UINT32_MAX - 1));
	assert_true(takes(b, A, UINT32_MAX));
	assert_false(takes(b, A, UINT32_MAX));
	replaybox_restart(b, false);
	assert_false(takes(b, A, UINT32_MAX));
}

static void
refuses_options_out_of_range_and_bears_a_lack_of_memory(void **state)
{
	struct replay_options options = { .senders_max = 0 };
	struct replay *r = NULL;

	(void)state;
	assert_int_equal(replay_new(&options, &r), -EINVAL);
	options.senders_max = REPLAY_SENDERS_MAX + 1;
	assert_int_equal(replay_new(&options, &r), -EINVAL);
	options.senders_max = 1;
	for (unsigned i = 1; i <= 3; i++) {
		fault_nth(&fault_calloc, i, ENOMEM);
		assert_int_equal(replay_new(&options, &r), -ENOMEM);
	}
	fault_off(&fault_calloc);
	assert_null(r);
	assert_int_equal(replay_new(&options, &r), 0);
	replay_free(r);
	replay_free(NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_session_is_taken_once_in_its_order),
		TEST(lost_frames_do_no_harm_and_late_ones_are_refused),
		TEST(an_unknown_sender_is_taken_wherever_its_session_is),
		TEST(a_restarted_agent_is_taken_at_its_first_beat),
		TEST(a_restarted_agent_may_lose_its_first_beats),
		TEST(
		    the_earlier_session_is_good_until_the_new_one_speaks_twice),
		TEST(an_earlier_session_is_never_taken_up_again),
		TEST(a_third_session_ends_an_unconfirmed_second),
		TEST(a_changed_prefix_goes_on_with_higher_nonces),
		TEST(the_middle_of_an_unseen_session_waits_for_a_silence),
		TEST(identities_do_not_meddle_with_each_other),
		TEST(a_crash_frame_is_taken_once),
		TEST(a_crash_frame_needs_a_later_time_than_the_last),
		TEST(a_new_session_has_a_new_clock_of_crash_frames),
		TEST(a_life_of_one_beat_has_its_last_word_taken),
		TEST(a_crash_frame_does_not_open_a_session),
		TEST(a_crash_frame_under_the_session_follows_its_counter),
		TEST(newcomers_are_refused_when_the_table_is_full),
		TEST(who_is_silent_longest_gives_its_place_not_its_session),
		TEST(sessions_of_one_sender_begin_at_a_limited_rate),
		TEST(a_full_memory_refuses_new_sessions_and_forgets_none),
		TEST(after_a_clean_restart_everything_is_as_it_was),
		TEST(after_a_crash_nothing_is_taken_twice_and_agents_come_back),
		TEST(a_slow_agent_is_heard_at_once_after_a_crash),
		TEST(an_unconfirmed_session_survives_a_crash),
		TEST(counters_are_written_seldom_whatever_the_rate),
		TEST(the_last_counters_can_be_used),
		TEST(refuses_options_out_of_range_and_bears_a_lack_of_memory),
	};

	return cmocka_run_group_tests_name("replay", tests, NULL, NULL);
}
