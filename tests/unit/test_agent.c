/*
 * The rules of a beat: what a frame carries, what errors of the system mean,
 * and that nonce and time advance only with frames that were sent.
 */
#include "support/script.h"

/* Frames. */

static void
beats_carry_what_they_were_given(void **state)
{
	struct script *f = *state;
	size_t i;

	f->now_ns += 70;
	assert_int_equal(
	    varta_beat(&f->agent, VARTA_CRITICAL, 0xdeadbeef), VARTA_SENT);
	assert_int_equal(f->sent[0].status, VARTA_CRITICAL);
	assert_int_equal(f->sent[0].payload, 0xdeadbeef);
	assert_int_equal(f->sent[0].pid, getpid());
	assert_int_equal(f->sent[0].timestamp, 70);
	for (i = 1; i < 5; i++)
		assert_int_equal(script_beat(f), VARTA_SENT);
	for (i = 0; i < 5; i++)
		assert_int_equal(f->sent[i].nonce, i + 1);
	assert_int_equal(f->sent_count, 5);
	assert_int_equal(script_counters(f).sent, 5);
	assert_int_equal(script_counters(f).fork_recoveries, 0);
}

static void
an_unknown_status_fails_and_changes_nothing(void **state)
{
	static const unsigned bad[] = { 3, 4, 255, UINT32_MAX };
	struct script *f = *state;
	size_t i;

	varta_set_reconnect_after(&f->agent, 2);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		enum varta_status status;

		PLAN_SENDS(f, -EAGAIN, -EAGAIN, -EAGAIN, -EAGAIN);
		assert_int_equal(script_beat(f), VARTA_DROPPED_QUEUE_FULL);
		memcpy(&status, &bad[i], sizeof(status));
		assert_int_equal(
		    varta_beat(&f->agent, status, 0), VARTA_ERR_INVALID_STATUS);
	}
	/* Each failure began the count of drops anew. */
	assert_int_equal(f->sent_count, ARRAY_SIZE(bad));
	assert_int_equal(f->reconnect_count, 0);
	assert_int_equal(script_beat(f), VARTA_SENT);
	assert_int_equal(f->sent[f->sent_count - 1].nonce, 1);
	assert_int_equal(script_counters(f).failed, ARRAY_SIZE(bad));
}

static void
process_1_cannot_beat(void **state)
{
	struct script *f = *state;

	f->agent.pid = 1;
	assert_int_equal(script_beat(f), VARTA_ERR_BAD_PID);
	assert_int_equal(f->sent_count, 0);
	assert_int_equal(script_counters(f).failed, 1);
}

static void
no_agent_is_a_closed_agent(void **state)
{
	struct varta_counters c = { .sent = 1 };
	struct script *f = *state;

	assert_int_equal(varta_beat(NULL, VARTA_OK, 0), VARTA_ERR_CLOSED);
	assert_int_equal(varta_reconnect(NULL), VARTA_ERR_CLOSED);
	varta_set_reconnect_after(NULL, 1);
	varta_counters_get(NULL, &c);
	assert_int_equal(c.sent, 0);
	varta_close(NULL);
	varta_close(&f->agent);
	assert_int_equal(f->free_count, 1);
}

/* What the system says. */

static void
every_errno_has_its_outcome(void **state)
{
	static const struct {
		int error;
		int outcome;
	} cases[] = {
		{ EAGAIN, VARTA_DROPPED_QUEUE_FULL },
		{ EWOULDBLOCK, VARTA_DROPPED_QUEUE_FULL },
		{ ENOBUFS, VARTA_DROPPED_QUEUE_FULL },
		{ ENOENT, VARTA_DROPPED_NO_OBSERVER },
		{ ECONNREFUSED, VARTA_DROPPED_NO_OBSERVER },
		{ ECONNRESET, VARTA_DROPPED_PEER_GONE },
		{ ENOTCONN, VARTA_DROPPED_PEER_GONE },
		{ EPIPE, VARTA_DROPPED_PEER_GONE },
		{ ENOSPC, VARTA_DROPPED_STORAGE_FULL },
		{ EPERM, -EPERM },
		{ EACCES, -EACCES },
		{ EINTR, -EINTR },
		{ EMSGSIZE, -EMSGSIZE },
		{ ENOMEM, -ENOMEM },
		{ EBADF, -EBADF },
		{ EDESTADDRREQ, -EDESTADDRREQ },
		{ ENETUNREACH, -ENETUNREACH },
		{ EHOSTUNREACH, -EHOSTUNREACH },
		{ EPROTOTYPE, -EPROTOTYPE },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct script *f;

		(void)script_setup(state);
		f = *state;
		f->reconnects[0] = -ENOENT;
		PLAN_SENDS(f, -cases[i].error, -cases[i].error);
		assert_int_equal(script_beat(f), cases[i].outcome);
		assert_int_equal(
		    varta__classify(cases[i].error), cases[i].outcome);
	}
}

static void
drops_are_counted_by_reason(void **state)
{
	struct script *f = *state;
	struct varta_counters c;

	f->reconnects[0] = -ENOENT;
	PLAN_SENDS(f, -EAGAIN, -ENOENT, -EPIPE, -ENOSPC, -EPERM, SCRIPT_ALL);
	assert_int_equal(script_beat(f), VARTA_DROPPED_QUEUE_FULL);
	assert_int_equal(script_beat(f), VARTA_DROPPED_NO_OBSERVER);
	assert_int_equal(script_beat(f), VARTA_DROPPED_PEER_GONE);
	assert_int_equal(script_beat(f), VARTA_DROPPED_STORAGE_FULL);
	assert_int_equal(script_beat(f), -EPERM);
	assert_int_equal(script_beat(f), VARTA_SENT);

	c = script_counters(f);
	assert_int_equal(c.dropped_queue_full, 1);
	assert_int_equal(c.dropped_no_observer, 1);
	assert_int_equal(c.dropped_peer_gone, 1);
	assert_int_equal(c.dropped_storage_full, 1);
	assert_int_equal(c.failed, 1);
	assert_int_equal(c.sent, 1);
	assert_int_equal(c.reconnects, 0);
}

static void
an_interrupted_send_is_repeated_once(void **state)
{
	struct script *f = *state;

	PLAN_SENDS(f, -EINTR, SCRIPT_ALL, -EINTR, -EINTR);
	assert_int_equal(script_beat(f), VARTA_SENT);
	assert_int_equal(f->sent_count, 2);
	assert_int_equal(f->sent[1].nonce, 1);
	assert_int_equal(script_beat(f), -EINTR);
	assert_int_equal(f->sent_count, 4);
}

static void
what_was_not_sent_uses_up_no_nonce_and_no_time(void **state)
{
	static const int refusals[] = { -EAGAIN, -EACCES, 31, 0 };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(refusals); i++) {
		struct script *f;

		(void)script_setup(state);
		f = *state;
		PLAN_SENDS(f, refusals[i]);
		f->now_ns = SCRIPT_START_NS + 90;
		assert_int_not_equal(script_beat(f), VARTA_SENT);
		f->now_ns = SCRIPT_START_NS + 60;
		assert_int_equal(script_beat(f), VARTA_SENT);
		assert_int_equal(f->sent[0].nonce, 1);
		assert_int_equal(f->sent[0].timestamp, 90);
		assert_int_equal(f->sent[1].nonce, 1);
		assert_int_equal(f->sent[1].timestamp, 60);
		assert_int_equal(script_counters(f).clock_regressions, 0);
	}
}

static void
a_short_send_is_a_failure(void **state)
{
	struct script *f = *state;

	PLAN_SENDS(f, 31, 0);
	assert_int_equal(script_beat(f), VARTA_ERR_SHORT_WRITE);
	assert_int_equal(script_beat(f), VARTA_ERR_SHORT_WRITE);
	assert_int_equal(script_counters(f).failed, 2);
	assert_int_equal(f->reconnect_count, 0);
}

/* Nonce and clock. */

static void
the_nonce_wraps_to_0_and_skips_the_terminal_one(void **state)
{
	struct script *f = *state;

	f->agent.nonce = UINT64_MAX - 2;
	PLAN_SENDS(f, SCRIPT_ALL, -EAGAIN, SCRIPT_ALL, SCRIPT_ALL);
	assert_int_equal(script_beat(f), VARTA_SENT);
	assert_true(f->sent[0].nonce == UINT64_MAX - 1);

	assert_int_equal(script_beat(f), VARTA_DROPPED_QUEUE_FULL);
	assert_int_equal(f->sent[1].nonce, 0);
	assert_true(f->agent.nonce == UINT64_MAX - 1);
	assert_int_equal(script_counters(f).nonce_wraps, 0);

	assert_int_equal(script_beat(f), VARTA_SENT);
	assert_int_equal(script_beat(f), VARTA_SENT);
	assert_int_equal(f->sent[2].nonce, 0);
	assert_int_equal(f->sent[3].nonce, 1);
	assert_int_equal(script_counters(f).nonce_wraps, 1);
}

static void
a_clock_that_steps_back_repeats_the_timestamp(void **state)
{
	struct script *f = *state;

	f->now_ns = SCRIPT_START_NS + 100;
	assert_int_equal(script_beat(f), VARTA_SENT);
	f->now_ns = SCRIPT_START_NS + 50;
	assert_int_equal(script_beat(f), VARTA_SENT);
	assert_int_equal(script_counters(f).clock_regressions, 1);
	f->now_ns = SCRIPT_START_NS - 1; /* before the agent was opened */
	assert_int_equal(script_beat(f), VARTA_SENT);
	assert_int_equal(script_counters(f).clock_regressions, 2);
	assert_int_equal(f->sent[1].timestamp, 100);
	assert_int_equal(f->sent[2].timestamp, 100);

	f->now_ns = SCRIPT_START_NS + 100;
	assert_int_equal(script_beat(f), VARTA_SENT);
	f->now_ns = SCRIPT_START_NS + 101;
	assert_int_equal(script_beat(f), VARTA_SENT);
	assert_int_equal(f->sent[4].timestamp, 101);
	assert_int_equal(script_counters(f).clock_regressions, 2);
}

static void
a_step_back_counts_even_if_the_beat_is_dropped(void **state)
{
	struct script *f = *state;

	PLAN_SENDS(f, SCRIPT_ALL, -EAGAIN);
	f->now_ns = SCRIPT_START_NS + 100;
	assert_int_equal(script_beat(f), VARTA_SENT);
	f->now_ns = SCRIPT_START_NS;
	assert_int_equal(script_beat(f), VARTA_DROPPED_QUEUE_FULL);
	assert_int_equal(script_counters(f).clock_regressions, 1);
}

static void
the_timestamp_stops_below_the_reserved_one(void **state)
{
	struct script *f = *state;

	f->agent.start_ns = 0;
	f->now_ns = UINT64_MAX;
	assert_int_equal(script_beat(f), VARTA_SENT);
	assert_int_equal(script_beat(f), VARTA_SENT);
	assert_true(f->sent[0].timestamp == UINT64_MAX - 1);
	assert_true(f->sent[1].timestamp == UINT64_MAX - 1);
}

#define TEST(name) cmocka_unit_test_setup(name, script_setup)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(beats_carry_what_they_were_given),
		TEST(an_unknown_status_fails_and_changes_nothing),
		TEST(process_1_cannot_beat),
		TEST(no_agent_is_a_closed_agent),
		TEST(every_errno_has_its_outcome),
		TEST(drops_are_counted_by_reason),
		TEST(an_interrupted_send_is_repeated_once),
		TEST(what_was_not_sent_uses_up_no_nonce_and_no_time),
		TEST(a_short_send_is_a_failure),
		TEST(the_nonce_wraps_to_0_and_skips_the_terminal_one),
		TEST(a_clock_that_steps_back_repeats_the_timestamp),
		TEST(a_step_back_counts_even_if_the_beat_is_dropped),
		TEST(the_timestamp_stops_below_the_reserved_one),
	};

	return cmocka_run_group_tests_name("agent", tests, NULL, NULL);
}
