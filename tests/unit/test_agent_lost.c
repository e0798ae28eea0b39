/*
 * The rules of a beat when the connection is of no more use: the observer is
 * gone, too many drops, another process.
 */
#include "support/script.h"

/* Finding the observer again. */

static void
a_lost_observer_is_found_at_once_and_gets_the_same_frame(void **state)
{
	static const int losses[] = { -ECONNREFUSED, -ENOTCONN, -ENOENT, -EPIPE,
		-ECONNRESET };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(losses); i++) {
		struct script *f;

		(void)script_setup(state);
		f = *state;
		PLAN_SENDS(f, losses[i], SCRIPT_ALL);
		assert_int_equal(
		    varta_beat(&f->agent, VARTA_DEGRADED, 9), VARTA_SENT);
		assert_int_equal(f->sent_count, 2);
		assert_int_equal(f->reconnect_count, 1);
		assert_memory_equal(
		    &f->sent[0].nonce, &f->sent[1].nonce, sizeof(uint64_t));
		assert_int_equal(f->sent[1].nonce, 1);
		assert_int_equal(f->sent[1].payload, 9);
		assert_int_equal(script_counters(f).reconnects, 1);
		assert_int_equal(script_counters(f).sent, 1);
		assert_int_equal(script_counters(f).dropped_no_observer, 0);
	}
}

static void
other_drops_and_failures_do_not_look_for_an_observer(void **state)
{
	struct script *f = *state;

	PLAN_SENDS(f, -EAGAIN, -ENOBUFS, -ENOSPC, -EPERM, 31);
	(void)script_beat(f);
	(void)script_beat(f);
	(void)script_beat(f);
	(void)script_beat(f);
	(void)script_beat(f);
	assert_int_equal(f->sent_count, 5);
	assert_int_equal(f->reconnect_count, 0);
}

/* One beat at a time; how many attempts to reconnect has it made? */
static size_t
attempts_of_beat(struct script *f)
{
	size_t before = f->reconnect_count;

	f->sent_count = 0;
	PLAN_SENDS(f, -ENOTCONN);
	f->reconnects[f->reconnect_count] = -ENOENT;
	assert_int_equal(script_beat(f), VARTA_DROPPED_PEER_GONE);
	return f->reconnect_count - before;
}

static void
pauses_between_attempts_double_up_to_a_limit(void **state)
{
	static const uint64_t pauses_ms[] = { 10, 20, 40, 80, 160, 320, 640,
		640, 640 };
	struct script *f = *state;
	size_t i;

	assert_int_equal(attempts_of_beat(f), 1);
	for (i = 0; i < ARRAY_SIZE(pauses_ms); i++) {
		assert_int_equal(attempts_of_beat(f), 0);
		f->now_ns += pauses_ms[i] * NS_PER_MS - 1;
		assert_int_equal(attempts_of_beat(f), 0);
		f->now_ns++;
		assert_int_equal(attempts_of_beat(f), 1);
	}
}

static void
after_a_beat_was_sent_the_next_loss_is_looked_into_at_once(void **state)
{
	struct script *f = *state;

	assert_int_equal(attempts_of_beat(f), 1);
	assert_int_equal(attempts_of_beat(f), 0);
	assert_int_equal(script_beat(f), VARTA_SENT);
	assert_int_equal(attempts_of_beat(f), 1);
	f->now_ns += 10 * NS_PER_MS;
	assert_int_equal(attempts_of_beat(f), 1);
}

static void
an_observer_that_leaves_again_at_once_is_given_a_pause(void **state)
{
	struct script *f = *state;

	PLAN_SENDS(
	    f, -ENOTCONN, -ECONNREFUSED, -ENOTCONN, -ENOTCONN, SCRIPT_ALL);
	assert_int_equal(script_beat(f), VARTA_DROPPED_NO_OBSERVER);
	assert_int_equal(f->reconnect_count, 1);
	assert_int_equal(script_beat(f), VARTA_DROPPED_PEER_GONE);
	assert_int_equal(f->reconnect_count, 1);
	f->now_ns += 10 * NS_PER_MS;
	assert_int_equal(script_beat(f), VARTA_SENT);
	assert_int_equal(f->reconnect_count, 2);
	assert_int_equal(f->sent[4].nonce, 1);
}

static void
a_found_observer_with_a_full_queue_ends_the_search(void **state)
{
	struct script *f = *state;

	assert_int_equal(attempts_of_beat(f), 1);
	f->now_ns += 10 * NS_PER_MS;
	f->sent_count = 0;
	PLAN_SENDS(f, -ENOTCONN, -EAGAIN, -ENOTCONN, SCRIPT_ALL);
	assert_int_equal(script_beat(f), VARTA_DROPPED_QUEUE_FULL);
	assert_int_equal(script_beat(f), VARTA_SENT);
	assert_int_equal(f->reconnect_count, 3);
	assert_int_equal(script_counters(f).dropped_queue_full, 1);
}

static void
a_resend_that_fails_is_a_failure(void **state)
{
	struct script *f = *state;

	PLAN_SENDS(f, -ENOTCONN, -EACCES);
	assert_int_equal(script_beat(f), -EACCES);
	assert_int_equal(script_counters(f).failed, 1);
	assert_int_equal(script_counters(f).dropped_peer_gone, 0);
}

/* Reconnecting after so many drops. */

static void
the_second_drop_reconnects_when_that_is_asked_for(void **state)
{
	struct script *f = *state;

	varta_set_reconnect_after(&f->agent, 2);
	PLAN_SENDS(f, -EAGAIN, -EAGAIN, SCRIPT_ALL);
	assert_int_equal(script_beat(f), VARTA_DROPPED_QUEUE_FULL);
	assert_int_equal(f->reconnect_count, 0);
	assert_int_equal(script_beat(f), VARTA_SENT);
	assert_int_equal(f->reconnect_count, 1);
	assert_int_equal(f->sent_count, 3);
	assert_int_equal(f->sent[2].nonce, 1);
}

static void
without_being_asked_no_number_of_drops_reconnects(void **state)
{
	struct script *f = *state;
	size_t i;

	for (i = 0; i < SCRIPT_STEPS; i++)
		f->sends[i] = -EAGAIN;
	f->n_sends = SCRIPT_STEPS;
	for (i = 0; i < SCRIPT_STEPS; i++)
		assert_int_equal(script_beat(f), VARTA_DROPPED_QUEUE_FULL);
	assert_int_equal(f->reconnect_count, 0);
}

static void
a_failed_reconnect_is_tried_again_at_the_next_drop(void **state)
{
	struct script *f = *state;

	varta_set_reconnect_after(&f->agent, 2);
	f->reconnects[0] = -ECONNREFUSED;
	f->reconnects[1] = -EMFILE;
	PLAN_SENDS(f, -EAGAIN, -EAGAIN, -EAGAIN, -EAGAIN, SCRIPT_ALL);
	assert_int_equal(script_beat(f), VARTA_DROPPED_QUEUE_FULL);
	assert_int_equal(script_beat(f), VARTA_DROPPED_QUEUE_FULL);
	assert_int_equal(f->reconnect_count, 1);
	assert_int_equal(script_beat(f), VARTA_DROPPED_QUEUE_FULL);
	assert_int_equal(f->reconnect_count, 2);
	assert_int_equal(script_beat(f), VARTA_SENT);
	assert_int_equal(f->reconnect_count, 3);
	assert_int_equal(script_counters(f).reconnects, 1);
}

static void
sent_beats_and_failures_begin_the_count_of_drops_anew(void **state)
{
	struct script *f = *state;

	varta_set_reconnect_after(&f->agent, 2);
	PLAN_SENDS(
	    f, -EAGAIN, SCRIPT_ALL, -EAGAIN, -EPERM, -EAGAIN, 31, -EAGAIN);
	while (f->sent_count < 7)
		(void)script_beat(f);
	assert_int_equal(f->reconnect_count, 0);
}

static void
setting_the_limit_begins_the_count_of_drops_anew(void **state)
{
	struct script *f = *state;

	varta_set_reconnect_after(&f->agent, 2);
	PLAN_SENDS(f, -EAGAIN, -EAGAIN);
	assert_int_equal(script_beat(f), VARTA_DROPPED_QUEUE_FULL);
	varta_set_reconnect_after(&f->agent, 2);
	assert_int_equal(script_beat(f), VARTA_DROPPED_QUEUE_FULL);
	assert_int_equal(f->reconnect_count, 0);
}

static void
the_count_of_drops_does_not_overflow(void **state)
{
	struct script *f = *state;

	varta_set_reconnect_after(&f->agent, UINT32_MAX);
	f->agent.drops = UINT32_MAX;
	f->reconnects[0] = -ENOENT;
	PLAN_SENDS(f, -EAGAIN);
	assert_int_equal(script_beat(f), VARTA_DROPPED_QUEUE_FULL);
	assert_true(f->agent.drops == UINT32_MAX);
}

static void
reconnecting_by_hand_keeps_nonce_and_clock(void **state)
{
	struct script *f = *state;

	varta_set_reconnect_after(&f->agent, 2);
	PLAN_SENDS(f, SCRIPT_ALL, -EAGAIN, -EAGAIN, SCRIPT_ALL);
	f->now_ns += 10;
	assert_int_equal(script_beat(f), VARTA_SENT);
	assert_int_equal(script_beat(f), VARTA_DROPPED_QUEUE_FULL);
	assert_int_equal(varta_reconnect(&f->agent), 0);
	assert_int_equal(script_beat(f), VARTA_DROPPED_QUEUE_FULL);
	assert_int_equal(f->reconnect_count, 1); /* drops were forgotten */
	assert_int_equal(script_beat(f), VARTA_SENT);
	assert_int_equal(f->sent[3].nonce, 2);
	assert_int_equal(f->sent[3].timestamp, 10);
	assert_int_equal(script_counters(f).reconnects, 1);
}

static void
reconnecting_by_hand_ends_a_pause(void **state)
{
	struct script *f = *state;

	assert_int_equal(attempts_of_beat(f), 1);
	assert_int_equal(attempts_of_beat(f), 0);
	f->reconnects[f->reconnect_count] = 0;
	assert_int_equal(varta_reconnect(&f->agent), 0);
	assert_int_equal(attempts_of_beat(f), 1);
}

static void
a_failed_reconnect_by_hand_changes_nothing(void **state)
{
	struct script *f = *state;
	struct varta_agent before;

	assert_int_equal(script_beat(f), VARTA_SENT);
	memcpy(&before, &f->agent, sizeof(before));
	f->reconnects[0] = -ENOENT;
	assert_int_equal(varta_reconnect(&f->agent), -ENOENT);
	assert_memory_equal(&f->agent, &before, sizeof(before));
	assert_int_equal(f->disconnect_count, 0);
}

/* Forks. */

static void
a_wiped_word_makes_a_new_agent_once(void **state)
{
	struct script *f = *state;

	f->now_ns = SCRIPT_START_NS + 50;
	assert_int_equal(script_beat(f), VARTA_SENT);
	atomic_store(&f->word, 0);
	f->now_ns = SCRIPT_START_NS + 80;
	assert_int_equal(script_beat(f), VARTA_SENT);
	f->now_ns = SCRIPT_START_NS + 81;
	assert_int_equal(script_beat(f), VARTA_SENT);

	assert_int_equal(f->reconnect_count, 1);
	assert_int_equal(f->sent[1].nonce, 1);
	assert_int_equal(f->sent[1].timestamp, 0);
	assert_int_equal(f->sent[2].nonce, 2);
	assert_int_equal(f->sent[2].timestamp, 1);
	assert_int_equal(script_counters(f).fork_recoveries, 1);
	assert_int_equal(script_counters(f).reconnects, 0);
	assert_int_not_equal(atomic_load(&f->word), 0);
}

static void
another_pid_makes_a_new_agent_where_it_has_to_be_asked(void **state)
{
	struct script *f = *state;

	f->agent.lineage.compare_pid = true;
	f->agent.pid += 1;
	f->agent.nonce = 40;
	assert_int_equal(script_beat(f), VARTA_SENT);
	assert_int_equal(script_beat(f), VARTA_SENT);
	assert_int_equal(f->sent[0].nonce, 1);
	assert_int_equal(f->sent[0].pid, getpid());
	assert_int_equal(script_counters(f).fork_recoveries, 1);
	assert_int_equal(f->reconnect_count, 1);
}

static void
every_agent_of_a_child_notices_the_fork_for_itself(void **state)
{
	struct script *f = *state;
	struct varta_agent other = { 0 };
	struct varta_counters c;

	varta__agent_init(&other, &script_ops, f, &f->agent.lineage);
	atomic_store(&f->word, 0);
	assert_int_equal(script_beat(f), VARTA_SENT);
	assert_int_equal(varta_beat(&other, VARTA_OK, 0), VARTA_SENT);
	assert_int_equal(varta_beat(&other, VARTA_OK, 0), VARTA_SENT);
	varta_counters_get(&other, &c);
	assert_int_equal(c.fork_recoveries, 1);
	assert_int_equal(script_counters(f).fork_recoveries, 1);
}

static void
a_child_that_cannot_get_a_socket_sends_nothing_and_tries_again(void **state)
{
	struct script *f = *state;

	assert_int_equal(script_beat(f), VARTA_SENT);
	atomic_store(&f->word, 0);
	f->reconnects[0] = -EMFILE;
	assert_int_equal(script_beat(f), -EMFILE);
	assert_int_equal(f->sent_count, 1);
	assert_int_equal(f->disconnect_count, 0);
	assert_int_equal(script_counters(f).fork_recoveries, 0);
	assert_int_equal(script_counters(f).failed, 1);

	assert_int_equal(script_beat(f), VARTA_SENT);
	assert_int_equal(f->sent[1].nonce, 1);
	assert_int_equal(script_counters(f).fork_recoveries, 1);
}

static void
a_child_without_an_observer_only_drops(void **state)
{
	struct script *f = *state;

	assert_int_equal(script_beat(f), VARTA_SENT);
	atomic_store(&f->word, 0);
	f->reconnects[0] = -ENOENT;
	PLAN_SENDS(f, SCRIPT_ALL, -ENOENT, -ENOENT, SCRIPT_ALL);
	assert_int_equal(script_beat(f), VARTA_DROPPED_NO_OBSERVER);
	assert_int_equal(f->disconnect_count, 1);
	assert_int_equal(f->reconnect_count, 1); /* not twice in one beat */
	assert_int_equal(script_counters(f).fork_recoveries, 1);

	f->now_ns += 10 * NS_PER_MS;
	assert_int_equal(script_beat(f), VARTA_SENT);
	assert_int_equal(f->sent[3].nonce, 1);
	assert_int_equal(script_counters(f).fork_recoveries, 1);
}

static void
a_child_that_reconnects_by_hand_does_not_recover_again(void **state)
{
	struct script *f = *state;

	assert_int_equal(script_beat(f), VARTA_SENT);
	atomic_store(&f->word, 0);
	assert_int_equal(varta_reconnect(&f->agent), 0);
	assert_int_equal(script_beat(f), VARTA_SENT);
	assert_int_equal(f->reconnect_count, 1);
	assert_int_equal(script_counters(f).fork_recoveries, 0);
}

#define TEST(name) cmocka_unit_test_setup(name, script_setup)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_lost_observer_is_found_at_once_and_gets_the_same_frame),
		TEST(other_drops_and_failures_do_not_look_for_an_observer),
		TEST(pauses_between_attempts_double_up_to_a_limit),
		TEST(
		    after_a_beat_was_sent_the_next_loss_is_looked_into_at_once),
		TEST(an_observer_that_leaves_again_at_once_is_given_a_pause),
		TEST(a_found_observer_with_a_full_queue_ends_the_search),
		TEST(a_resend_that_fails_is_a_failure),
		TEST(the_second_drop_reconnects_when_that_is_asked_for),
		TEST(without_being_asked_no_number_of_drops_reconnects),
		TEST(a_failed_reconnect_is_tried_again_at_the_next_drop),
		TEST(sent_beats_and_failures_begin_the_count_of_drops_anew),
		TEST(setting_the_limit_begins_the_count_of_drops_anew),
		TEST(the_count_of_drops_does_not_overflow),
		TEST(reconnecting_by_hand_keeps_nonce_and_clock),
		TEST(reconnecting_by_hand_ends_a_pause),
		TEST(a_failed_reconnect_by_hand_changes_nothing),
		TEST(a_wiped_word_makes_a_new_agent_once),
		TEST(another_pid_makes_a_new_agent_where_it_has_to_be_asked),
		TEST(every_agent_of_a_child_notices_the_fork_for_itself),
		TEST(
		    a_child_that_cannot_get_a_socket_sends_nothing_and_tries_again),
		TEST(a_child_without_an_observer_only_drops),
		TEST(a_child_that_reconnects_by_hand_does_not_recover_again),
	};

	return cmocka_run_group_tests_name("agent_lost", tests, NULL, NULL);
}
