/* The rules by which a beat is taken. */
#include "support/tracked.h"

static const uint64_t last_regular = UINT64_MAX - 1;
static struct tracked t;

static int
set_up(void **state)
{
	const struct tracker_options options = { 0 };

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
a_new_agent_is_as_its_first_beat_says(void **state)
{
	struct beat b = tracked_beat(UINT64_C(3) << 32 | 500, 9, 10);
	struct agent_view v;
	uint32_t slot;

	(void)state;
	b.status = AGENT_DEGRADED;
	b.uid = 33;
	t.identity = (struct identity){ 5, 6, 7, true };
	assert_int_equal(tracker_find(t.tracker, b.id), SLOT_NONE);
	slot = tracked_join(&t, &b, 20);
	assert_false(t.did_evict);
	assert_int_equal(tracker_find(t.tracker, b.id), slot);
	v = tracked_view(&t, slot);
	assert_int_equal(v.id, b.id);
	assert_int_equal(v.pid, 500);
	assert_int_equal(v.uid, 33);
	assert_int_equal(v.slot, slot);
	assert_int_equal(v.beats, 1);
	assert_int_equal(v.stalls, 0);
	assert_int_equal(v.last_seen_ns, tracked_ms(20));
	assert_int_equal(v.joined_ns, tracked_ms(20));
	assert_int_equal(v.threshold_ns, t.terms.threshold_ns);
	assert_int_equal(v.last_nonce, 9);
	assert_int_equal(v.start_ticks, 5);
	assert_int_equal(v.pid_namespace, 6);
	assert_int_equal(v.pidfd, 7);
	assert_int_equal(v.status, AGENT_DEGRADED);
	assert_int_equal(v.origin, ORIGIN_KERNEL_ATTESTED);
	assert_false(v.stalled);
	assert_true(v.gone);
	assert_true(tracker_is_gone(t.tracker, slot));
	assert_int_equal(t.stats.joins, 1);
	assert_int_equal(t.stats.beats, 1);
}

static void
an_agent_that_was_removed_is_unknown(void **state)
{
	struct agent_view v;
	uint32_t slot = tracked_add(&t, 5, 0);

	(void)state;
	tracker_remove(t.tracker, slot);
	assert_int_equal(tracker_find(t.tracker, 5), SLOT_NONE);
	assert_false(tracker_view(t.tracker, slot, &v));
	assert_false(tracker_view(t.tracker, 63, &v));
	assert_int_equal(tracker_count(t.tracker), 0);
	assert_int_equal(tracker_slots(t.tracker), 1);
}

static void
a_greater_nonce_is_in_order_whatever_the_timestamp(void **state)
{
	uint32_t slot = tracked_add(&t, 5, 0);
	struct beat b = tracked_beat(5, 7, 3);
	struct agent_view v;

	(void)state;
	b.status = AGENT_CRITICAL;
	assert_int_equal(tracked_put(&t, slot, &b, 10), TRACKER_ACCEPTED);
	v = tracked_view(&t, slot);
	assert_int_equal(v.last_nonce, 7);
	assert_int_equal(v.status, AGENT_CRITICAL);
	assert_int_equal(v.last_seen_ns, tracked_ms(10));
	assert_int_equal(v.beats, 2);
	assert_int_equal(t.stats.beats, 2);
}

static void
nonce_0_may_come_first_and_is_then_repeated(void **state)
{
	struct beat b = tracked_beat(5, 0, 0);
	uint32_t slot = tracked_join(&t, &b, 0);

	(void)state;
	assert_int_equal(tracked_put(&t, slot, &b, 1), TRACKER_OUT_OF_ORDER);
	assert_int_equal(t.stats.out_of_order[STATS_NONCE_REPEATED], 1);
	b.nonce = 1;
	assert_int_equal(tracked_put(&t, slot, &b, 1), TRACKER_ACCEPTED);
}

static void
a_beat_out_of_order_changes_nothing(void **state)
{
	uint32_t slot = tracked_add(&t, 5, 0);
	struct beat b = tracked_beat(5, 1, 1000);
	struct agent_view before = tracked_view(&t, slot), after;

	(void)state;
	b.status = AGENT_CRITICAL;
	assert_int_equal(tracked_put(&t, slot, &b, 10), TRACKER_OUT_OF_ORDER);
	b.nonce = 0;
	assert_int_equal(tracked_put(&t, slot, &b, 10), TRACKER_OUT_OF_ORDER);
	after = tracked_view(&t, slot);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(t.stats.out_of_order[STATS_NONCE_REPEATED], 1);
	assert_int_equal(t.stats.out_of_order[STATS_NONCE_REGRESSED], 1);
}

static void
the_nonce_may_wrap(void **state)
{
	uint32_t slot = tracked_add(&t, 5, 0);
	struct beat b = tracked_beat(5, last_regular, 2000);

	(void)state;
	assert_int_equal(tracked_put(&t, slot, &b, 1), TRACKER_ACCEPTED);
	b.nonce = 0;
	assert_int_equal(tracked_put(&t, slot, &b, 2), TRACKER_ACCEPTED);
	assert_int_equal(t.stats.nonce_wraps, 1);
	b.nonce = 1;
	assert_int_equal(tracked_put(&t, slot, &b, 3), TRACKER_ACCEPTED);
	assert_int_equal(t.stats.nonce_wraps, 1);
}

static void
a_wrap_reaches_so_far_and_no_further(void **state)
{
	const uint64_t near = 1 << 20;
	uint32_t slot;
	struct beat b;

	(void)state;
	b = tracked_beat(5, UINT64_MAX - near, 2000);
	slot = tracked_join(&t, &b, 0);
	b.nonce = near + 1;
	assert_int_equal(tracked_put(&t, slot, &b, 1), TRACKER_OUT_OF_ORDER);
	b.nonce = near;
	assert_int_equal(tracked_put(&t, slot, &b, 1), TRACKER_ACCEPTED);

	b = tracked_beat(6, UINT64_MAX - near - 1, 2000);
	slot = tracked_join(&t, &b, 0);
	b.nonce = 0;
	assert_int_equal(tracked_put(&t, slot, &b, 1), TRACKER_OUT_OF_ORDER);
	assert_int_equal(t.stats.nonce_wraps, 1);
}

static void
the_same_process_that_starts_over_is_believed(void **state)
{
	struct beat b = tracked_beat(5, 100, 9000);
	uint32_t slot = tracked_join(&t, &b, 0);

	(void)state;
	b = tracked_beat(5, 1, 9000);
	assert_int_equal(tracked_put(&t, slot, &b, 1), TRACKER_OUT_OF_ORDER);
	b.timestamp = 8999;
	assert_int_equal(tracked_put(&t, slot, &b, 1), TRACKER_ACCEPTED);
	assert_int_equal(t.stats.new_sessions, 1);
	b = tracked_beat(5, 2, 9500);
	assert_int_equal(tracked_put(&t, slot, &b, 2), TRACKER_ACCEPTED);
	/* The first beat again: its timestamp is lower, its nonce is too. */
	b = tracked_beat(5, 2, 1);
	assert_int_equal(tracked_put(&t, slot, &b, 3), TRACKER_OUT_OF_ORDER);
	assert_int_equal(t.stats.new_sessions, 1);
}

static void
where_nobody_names_senders_a_restart_is_believed_too(void **state)
{
	struct beat b = tracked_beat(5, 100, 9000);
	uint32_t slot;

	(void)state;
	b.origin = ORIGIN_SOCKET_MODE_ONLY;
	slot = tracked_join(&t, &b, 0);
	b.nonce = 1;
	b.timestamp = 5;
	assert_int_equal(tracked_put(&t, slot, &b, 1), TRACKER_ACCEPTED);
	assert_int_equal(t.stats.new_sessions, 1);
}

static void
over_a_network_only_silence_makes_a_new_session(void **state)
{
	struct beat b = tracked_beat(5, 100, 9000);
	uint32_t slot;

	(void)state;
	b.origin = ORIGIN_NETWORK_UNVERIFIED;
	t.identity.start_ticks = 0;
	slot = tracked_join(&t, &b, 0);
	b.nonce = 1;
	b.timestamp = 5;
	assert_int_equal(tracked_put(&t, slot, &b, 999), TRACKER_OUT_OF_ORDER);
	assert_int_equal(tracked_put(&t, slot, &b, 1000), TRACKER_ACCEPTED);
	/* Also the same nonce: the sender may have sent but one. */
	assert_int_equal(tracked_put(&t, slot, &b, 2000), TRACKER_ACCEPTED);
	assert_int_equal(t.stats.new_sessions, 2);
}

static void
with_a_known_start_time_silence_is_no_new_session(void **state)
{
	struct beat b = tracked_beat(5, 100, 9000);
	uint32_t slot;

	(void)state;
	b.origin = ORIGIN_OPERATOR_ATTESTED;
	slot = tracked_join(&t, &b, 0);
	b.nonce = 1;
	assert_int_equal(tracked_put(&t, slot, &b, 5000), TRACKER_OUT_OF_ORDER);
}

static void
a_terminal_frame_stands_outside_of_the_order_of_nonces(void **state)
{
	uint32_t slot = tracked_add(&t, 5, 0);
	struct beat b = tracked_terminal(5, 7);

	(void)state;
	assert_int_equal(tracked_put(&t, slot, &b, 1), TRACKER_ACCEPTED);
	assert_int_equal(tracked_view(&t, slot).last_nonce, UINT64_MAX);
	assert_int_equal(tracked_view(&t, slot).status, AGENT_CRITICAL);
	b = tracked_beat(5, 2, 1001);
	assert_int_equal(tracked_put(&t, slot, &b, 2), TRACKER_ACCEPTED);
	assert_int_equal(tracked_view(&t, slot).last_nonce, 2);
}

static void
a_terminal_frame_must_be_newer_than_the_last(void **state)
{
	uint32_t slot = tracked_add(&t, 5, 0);
	struct beat b = tracked_terminal(5, 7);

	(void)state;
	assert_int_equal(tracked_put(&t, slot, &b, 1), TRACKER_ACCEPTED);
	assert_int_equal(tracked_put(&t, slot, &b, 2), TRACKER_OUT_OF_ORDER);
	b.timestamp = 6;
	assert_int_equal(tracked_put(&t, slot, &b, 3), TRACKER_OUT_OF_ORDER);
	b.timestamp = 8;
	assert_int_equal(tracked_put(&t, slot, &b, 4), TRACKER_ACCEPTED);
	assert_int_equal(t.stats.out_of_order[STATS_TERMINAL_REPLAYED], 2);
}

static void
after_a_terminal_frame_alone_any_nonce_is_in_order(void **state)
{
	struct beat b = tracked_terminal(5, 7);
	uint32_t slot = tracked_join(&t, &b, 0);

	(void)state;
	assert_int_equal(tracked_view(&t, slot).last_nonce, UINT64_MAX);
	assert_int_equal(tracked_put(&t, slot, &b, 1), TRACKER_OUT_OF_ORDER);
	b = tracked_beat(5, 0, 3);
	assert_int_equal(tracked_put(&t, slot, &b, 2), TRACKER_ACCEPTED);
	assert_int_equal(tracked_put(&t, slot, &b, 3), TRACKER_OUT_OF_ORDER);
}

static void
a_new_session_may_end_at_any_time(void **state)
{
	struct beat b = tracked_beat(5, 100, 9000);
	uint32_t slot = tracked_join(&t, &b, 0);

	(void)state;
	b = tracked_terminal(5, 9500);
	assert_int_equal(tracked_put(&t, slot, &b, 1), TRACKER_ACCEPTED);
	b = tracked_beat(5, 1, 10);
	assert_int_equal(tracked_put(&t, slot, &b, 2), TRACKER_ACCEPTED);
	b = tracked_terminal(5, 500);
	assert_int_equal(tracked_put(&t, slot, &b, 3), TRACKER_ACCEPTED);
}

static void
a_terminal_frame_is_an_edge_once(void **state)
{
	struct beat b = tracked_terminal(5, 7);
	struct beat regular = tracked_beat(5, 1, 1);
	uint32_t slot;

	(void)state;
	assert_true(tracker_is_terminal_edge(t.tracker, SLOT_NONE, &b));
	assert_false(tracker_is_terminal_edge(t.tracker, SLOT_NONE, &regular));
	slot = tracked_join(&t, &regular, 0);
	assert_false(tracker_is_terminal_edge(t.tracker, slot, &regular));
	assert_true(tracker_is_terminal_edge(t.tracker, slot, &b));
	assert_int_equal(tracked_put(&t, slot, &b, 1), TRACKER_ACCEPTED);
	b.timestamp = 8;
	assert_false(tracker_is_terminal_edge(t.tracker, slot, &b));
	regular.nonce = 2;
	assert_int_equal(tracked_put(&t, slot, &regular, 2), TRACKER_ACCEPTED);
	assert_true(tracker_is_terminal_edge(t.tracker, slot, &b));
	b.timestamp = 7;
	assert_false(tracker_is_terminal_edge(t.tracker, slot, &b));
}

static void
a_weaker_origin_is_a_conflict(void **state)
{
	uint32_t slot = tracked_add(&t, 5, 0);
	struct beat b = tracked_beat(5, 2, 2000);

	(void)state;
	b.origin = ORIGIN_OPERATOR_ATTESTED;
	assert_int_equal(
	    tracked_put(&t, slot, &b, 10), TRACKER_ORIGIN_CONFLICT);
	assert_int_equal(t.stats.origin_conflicts, 1);
	assert_int_equal(tracked_view(&t, slot).last_seen_ns, 0);
}

static void
a_stronger_origin_repairs_the_slot(void **state)
{
	struct beat b = tracked_beat(5, 100, 9000);
	uint32_t slot;

	(void)state;
	b.origin = ORIGIN_NETWORK_UNVERIFIED;
	b.uid = UINT32_MAX;
	slot = tracked_join(&t, &b, 0);
	b = tracked_beat(5, 3, 9500);
	assert_int_equal(tracked_put(&t, slot, &b, 1), TRACKER_ACCEPTED);
	assert_int_equal(tracked_view(&t, slot).origin, ORIGIN_KERNEL_ATTESTED);
	assert_int_equal(tracked_view(&t, slot).uid, 1000);
	assert_int_equal(tracked_view(&t, slot).last_nonce, 3);
	b.origin = ORIGIN_NETWORK_UNVERIFIED;
	b.nonce = 101;
	assert_int_equal(tracked_put(&t, slot, &b, 2), TRACKER_ORIGIN_CONFLICT);
}

static void
the_time_between_beats_is_noted_when_it_is_asked_for(void **state)
{
	const struct tracker_options options = { .note_intervals = true };
	struct beat b = tracked_beat(5, 2, 2000);
	uint64_t noted = 0;
	uint32_t slot;
	size_t i;

	(void)state;
	tracked_fini(&t);
	tracked_init(&t, &options);
	slot = tracked_add(&t, 5, 0);
	assert_int_equal(tracked_put(&t, slot, &b, 512), TRACKER_ACCEPTED);
	assert_int_equal(tracked_put(&t, slot, &b, 600), TRACKER_OUT_OF_ORDER);
	b.nonce = 3;
	b.status = AGENT_DEGRADED;
	assert_int_equal(tracked_put(&t, slot, &b, 1024), TRACKER_ACCEPTED);
	for (i = 0; i < STATS_FINE_BUCKETS; i++)
		noted += t.stats.beat_interval.buckets[i];
	assert_int_equal(noted, 2);
	assert_int_equal(t.stats.beat_interval.sum_1024ns, NS_PER_MS);
}

static void
beats_of_a_process_that_has_ended_follow_the_same_rules(void **state)
{
	uint32_t slot = tracked_add(&t, 5, 0);
	struct beat b = tracked_beat(5, 2, 2000);

	(void)state;
	assert_false(tracker_is_gone(t.tracker, slot));
	tracker_set_gone(t.tracker, slot);
	assert_true(tracker_is_gone(t.tracker, slot));
	assert_int_equal(tracked_view(&t, slot).pidfd, -1);
	assert_int_equal(tracked_put(&t, slot, &b, 10), TRACKER_ACCEPTED);
	assert_int_equal(tracked_put(&t, slot, &b, 10), TRACKER_OUT_OF_ORDER);
	assert_true(tracker_is_gone(t.tracker, slot));
}

/* Three are silent: one of a process that is there, one of one that has ended,
 * one without a pidfd. */
static void
only_those_whose_process_is_there_are_hanging(void **state)
{
	uint32_t there, ended, far;
	struct beat b = tracked_beat(5, 2, 2000);

	(void)state;
	t.identity.pidfd = 7;
	there = tracked_add(&t, 5, 0);
	ended = tracked_add(&t, 6, 0);
	t.identity.pidfd = -1;
	far = tracked_add(&t, 7, 0);
	assert_int_equal(tracker_hanging(t.tracker), 0);
	tracker_stall(t.tracker, there, STALL_SILENT);
	tracker_stall(t.tracker, there, STALL_SILENT);
	tracker_stall(t.tracker, ended, STALL_SILENT);
	tracker_stall(t.tracker, far, STALL_SILENT);
	assert_int_equal(tracker_hanging(t.tracker), 2);
	tracker_set_gone(t.tracker, ended);
	tracker_set_gone(t.tracker, far);
	assert_int_equal(tracker_hanging(t.tracker), 1);
	assert_int_equal(tracked_put(&t, there, &b, 10), TRACKER_RESUMED);
	assert_int_equal(tracker_hanging(t.tracker), 0);

	/* One that is forgotten is not waited for. */
	tracker_stall(t.tracker, there, STALL_SILENT);
	assert_int_equal(tracker_hanging(t.tracker), 1);
	tracker_remove(t.tracker, there);
	tracker_remove(t.tracker, ended);
	tracker_remove(t.tracker, far);
	assert_int_equal(tracker_hanging(t.tracker), 0);
}

static void
who_has_ended_is_counted_until_forgotten(void **state)
{
	uint32_t here, there;

	(void)state;
	here = tracked_add(&t, 5, 0);
	t.identity.gone = true;
	there = tracked_add(&t, 6, 0);
	assert_int_equal(tracker_gone(t.tracker), 1);
	tracker_set_gone(t.tracker, here);
	tracker_set_gone(t.tracker, here);
	tracker_set_gone(t.tracker, there);
	assert_int_equal(tracker_gone(t.tracker), 2);
	tracker_remove(t.tracker, here);
	assert_int_equal(tracker_gone(t.tracker), 1);
	tracker_remove(t.tracker, there);
	assert_int_equal(tracker_gone(t.tracker), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_new_agent_is_as_its_first_beat_says),
		TEST(an_agent_that_was_removed_is_unknown),
		TEST(only_those_whose_process_is_there_are_hanging),
		TEST(who_has_ended_is_counted_until_forgotten),
		TEST(a_greater_nonce_is_in_order_whatever_the_timestamp),
		TEST(nonce_0_may_come_first_and_is_then_repeated),
		TEST(a_beat_out_of_order_changes_nothing),
		TEST(the_nonce_may_wrap),
		TEST(a_wrap_reaches_so_far_and_no_further),
		TEST(the_same_process_that_starts_over_is_believed),
		TEST(where_nobody_names_senders_a_restart_is_believed_too),
		TEST(over_a_network_only_silence_makes_a_new_session),
		TEST(with_a_known_start_time_silence_is_no_new_session),
		TEST(a_terminal_frame_stands_outside_of_the_order_of_nonces),
		TEST(a_terminal_frame_must_be_newer_than_the_last),
		TEST(after_a_terminal_frame_alone_any_nonce_is_in_order),
		TEST(a_new_session_may_end_at_any_time),
		TEST(a_terminal_frame_is_an_edge_once),
		TEST(a_weaker_origin_is_a_conflict),
		TEST(a_stronger_origin_repairs_the_slot),
		TEST(the_time_between_beats_is_noted_when_it_is_asked_for),
		TEST(beats_of_a_process_that_has_ended_follow_the_same_rules),
	};

	return cmocka_run_group_tests_name("tracker", tests, NULL, NULL);
}
