/* What act decides about a stall. Its limits and its memory: test_act_limits.c;
 * what becomes of the children: test_run.c. */
#include "watch/act/act.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "act_world.h"
#include "base/util.h"

static struct world *w;

static int
setup(void **state)
{
	(void)state;
	w = world_new();
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	world_free(w);
	return 0;
}

/* The last record is a refusal with this word, and nothing was started. */
static void
assert_refused(enum recovery_outcome outcome, const char *detail)
{
	const struct recovery_record *r = world_last(w);

	assert_int_equal(r->outcome, outcome);
	assert_string_equal(r->detail, detail);
	assert_int_equal(r->child_pid, 0);
	assert_int_equal(r->at_ns, w->now_ns);
}

static void
starts_the_command_and_says_so(void **state)
{
	struct act_request req;
	const struct recovery_record *r;

	(void)state;
	world_start(w);
	req = world_request(w, 42);
	req.stalled_at_ns = w->now_ns - 5;
	req.why = STALL_GONE;
	assert_true(act_stall(w->act, &req));
	assert_int_equal(act_n_waiting(w->act), 1);
	assert_int_equal(act_next_ns(w->act), 0);
	world_pass(w);
	assert_int_equal(act_n_waiting(w->act), 0);
	assert_int_equal(act_n_children(w->act), 1);
	assert_string_equal(w->argv, "/bin/fix|--pid=42");
	assert_string_equal(w->envp,
	    "PATH=/usr/bin:/bin|VARTA_AGENT_PID=42|VARTA_AGENT_NAME=web|"
	    "VARTA_LANE=|VARTA_REASON=gone");
	r = world_last(w);
	assert_int_equal(r->outcome, RECOVERY_SPAWNED);
	assert_int_equal(r->agent_pid, 42);
	assert_int_equal(r->child_pid, WORLD_PID);
	assert_string_equal(r->program, "/bin/fix");
	assert_int_equal(r->template_bytes, strlen("/bin/fix --pid=42"));
	assert_int_equal(r->latency_ns, 5);
	assert_int_equal(r->at_ns, w->now_ns);
	assert_int_equal(world_count(w, RECOVERY_SPAWNED), 1);
}

static void
a_fresh_stall_is_not_asked_about(void **state)
{
	(void)state;
	w->wanted = ACT_AGENT_RESUMED;
	world_start(w);
	world_stall(w, 1);
	assert_int_equal(w->asked, 0);
	assert_int_equal(world_count(w, RECOVERY_SPAWNED), 1);
}

/* A stall that is looked at in the second pass after it came. */
static void
stall_that_waited(enum act_wanted wanted)
{
	struct act_request req;
	uint32_t n;

	w->options.capacity = 100;
	world_start(w);
	for (n = 1; n <= ACT_SPAWNS_A_PASS + 1; n++) {
		req = world_request(w, n);
		assert_true(act_stall(w->act, &req));
	}
	world_pass(w);
	assert_int_equal(act_n_waiting(w->act), 1);
	assert_int_equal(w->asked, 0);
	w->wanted = wanted;
	world_pass(w);
	assert_int_equal(w->asked, 1);
	assert_int_equal(act_n_waiting(w->act), 0);
}

static void
a_stall_that_waited_runs_if_it_is_wanted_still(void **state)
{
	(void)state;
	stall_that_waited(ACT_WANTED);
	assert_int_equal(
	    world_count(w, RECOVERY_SPAWNED), ACT_SPAWNS_A_PASS + 1);
}

static void
a_stall_that_waited_is_skipped_if_the_agent_is_back(void **state)
{
	(void)state;
	stall_that_waited(ACT_AGENT_RESUMED);
	assert_refused(RECOVERY_SKIPPED_AGENT_RESUMED, "skipped_agent_resumed");
}

static void
a_stall_that_waited_is_skipped_if_the_process_is_another(void **state)
{
	(void)state;
	stall_that_waited(ACT_PID_RECYCLED);
	assert_refused(RECOVERY_SKIPPED_PID_RECYCLED, "skipped_pid_recycled");
}

static void
a_kernel_attested_stall_without_a_start_time_is_asked_about(void **state)
{
	(void)state;
	w->wanted = ACT_UNVERIFIABLE;
	world_start(w);
	world_stall_of(w, 1, 0);
	assert_refused(
	    RECOVERY_SKIPPED_STALL_UNVERIFIABLE, "skipped_stall_unverifiable");
	assert_int_equal(w->starts, 0);
}

static void
a_stall_of_another_origin_has_no_start_time_to_ask_for(void **state)
{
	struct act_request req;

	(void)state;
	w->wanted = ACT_UNVERIFIABLE;
	world_start(w);
	req = world_request(w, 1);
	req.origin = ORIGIN_OPERATOR_ATTESTED;
	req.start_ticks = 0;
	assert_true(act_stall(w->act, &req));
	world_pass(w);
	assert_int_equal(world_count(w, RECOVERY_SPAWNED), 1);
}

static void
refuse_with(enum origin origin, uint32_t pid_namespace)
{
	struct act_request req;

	world_start(w);
	req = world_request(w, 1);
	req.origin = origin;
	req.pid_namespace = pid_namespace;
	assert_true(act_stall(w->act, &req));
	world_pass(w);
	assert_int_equal(w->starts, 0);
}

static void
refuses_an_agent_of_another_namespace(void **state)
{
	(void)state;
	refuse_with(ORIGIN_KERNEL_ATTESTED, 8);
	assert_refused(
	    RECOVERY_REFUSED_CROSS_NAMESPACE, "cross_namespace_agent");
}

static void
refuses_a_stall_from_the_network(void **state)
{
	(void)state;
	refuse_with(ORIGIN_NETWORK_UNVERIFIED, 7);
	assert_refused(RECOVERY_REFUSED_UNAUTHENTICATED_TRANSPORT,
	    "unauthenticated_transport");
}

static void
refuses_a_stall_vouched_for_by_a_file_mode_only(void **state)
{
	(void)state;
	refuse_with(ORIGIN_SOCKET_MODE_ONLY, 7);
	assert_refused(RECOVERY_REFUSED_SOCKET_MODE_ONLY, "socket_mode_only");
}

static void
debounces_a_second_stall_within_the_window(void **state)
{
	(void)state;
	world_start(w);
	world_stall(w, 1);
	world_end(w, 0, EXIT_HOW_CODE, 0);
	w->now_ns += NS_PER_S - 1;
	world_stall(w, 1);
	assert_refused(RECOVERY_DEBOUNCED, "debounced");
	w->now_ns += 1;
	world_stall(w, 1);
	assert_int_equal(world_count(w, RECOVERY_SPAWNED), 2);
}

static void
another_process_is_not_debounced(void **state)
{
	(void)state;
	world_start(w);
	world_stall_of(w, 1, 1000);
	world_end(w, 0, EXIT_HOW_CODE, 0);
	world_pass(w);
	world_stall_of(w, 1, 1001);
	assert_int_equal(world_count(w, RECOVERY_SPAWNED), 2);
	assert_int_equal(w->stats.recovery_debounce_recycle_resets, 1);
	assert_int_equal(w->stats.recovery_outstanding_recycle_resets, 0);
}

static void
a_start_that_failed_uses_up_no_window(void **state)
{
	(void)state;
	w->start_error = -ENOENT;
	world_start(w);
	world_stall(w, 1);
	assert_refused(RECOVERY_SPAWN_FAILED, "spawn_failed");
	assert_int_equal(world_last(w)->error, -ENOENT);
	assert_int_equal(act_n_children(w->act), 0);
	w->start_error = 0;
	world_stall(w, 1);
	assert_int_equal(world_count(w, RECOVERY_SPAWNED), 1);
}

static void
one_child_at_a_time_for_one_process(void **state)
{
	(void)state;
	world_start(w);
	world_stall(w, 1);
	w->now_ns += 2 * NS_PER_S;
	world_stall(w, 1);
	assert_refused(RECOVERY_DEBOUNCED, "outstanding_in_flight");
	assert_int_equal(w->children[0].kills, 0);
}

static void
a_child_that_is_over_unnoticed_makes_way(void **state)
{
	(void)state;
	w->pidfds = true;
	world_start(w);
	world_stall(w, 1);
	w->children[0].over = true;
	w->children[0].exit = (struct exit_info){ EXIT_HOW_CODE, 0 };
	w->now_ns += 2 * NS_PER_S;
	world_stall(w, 1);
	assert_int_equal(world_count(w, RECOVERY_REAPED_ZERO), 1);
	assert_int_equal(world_count(w, RECOVERY_SPAWNED), 2);
}

static void
the_child_of_an_earlier_process_is_killed_and_waited_for_aside(void **state)
{
	(void)state;
	w->pidfds = true;
	w->kills_end = false;
	world_start(w);
	world_stall_of(w, 1, 1000);
	world_stall_of(w, 1, 1001);
	assert_int_equal(w->children[0].kills, 1);
	assert_int_equal(w->stats.recovery_outstanding_recycle_resets, 1);
	assert_int_equal(world_count(w, RECOVERY_SPAWNED), 2);
	assert_int_equal(act_n_children(w->act), 2);
	/* The orphan's end does not touch the new child. */
	world_end(w, 0, EXIT_HOW_SIGNAL, 9);
	world_pass(w);
	assert_int_equal(world_last(w)->outcome, RECOVERY_KILLED);
	assert_int_equal(world_last(w)->child_pid, WORLD_PID);
	w->now_ns += 2 * NS_PER_S;
	world_stall_of(w, 1, 1001);
	assert_refused(RECOVERY_DEBOUNCED, "outstanding_in_flight");
}

static void
a_stale_child_that_cannot_be_killed_stays(void **state)
{
	(void)state;
	world_start(w);
	world_stall_of(w, 1, 1000);
	w->kill_error = -EPERM;
	world_stall_of(w, 1, 1001);
	assert_refused(RECOVERY_REFUSED_STALE_CHILD_KILL_FAILED,
	    "stale_child_kill_failed");
	assert_int_equal(world_last(w)->error, -EPERM);
	assert_int_equal(act_n_children(w->act), 1);
	assert_int_equal(w->starts, 1);
}

static void
refuses_when_there_is_no_place_for_an_orphan(void **state)
{
	(void)state;
	w->kills_end = false;
	w->options.capacity = 2;
	world_start(w);
	world_stall_of(w, 1, 1000);
	world_stall_of(w, 1, 1001);
	world_stall_of(w, 1, 1002);
	world_stall_of(w, 1, 1003);
	assert_refused(
	    RECOVERY_REFUSED_OUTSTANDING_CAPACITY, "orphan_reap_capacity");
	/* Killed all the same. */
	assert_int_equal(w->children[2].kills, 1);
	assert_int_equal(w->starts, 3);
	/* Once it is over, its agent may be helped again. */
	world_end(w, 2, EXIT_HOW_SIGNAL, 9);
	world_pass(w);
	assert_int_equal(world_last(w)->outcome, RECOVERY_KILLED);
	world_stall_of(w, 1, 1004);
	assert_int_equal(w->starts, 4);
}

static void
takes_what_is_inherited_where_that_is_asked_for(void **state)
{
	char inherited[] = "INHERITED=yes";
	char *list[] = { inherited, NULL };
	char **saved = environ;

	(void)state;
	w->options.inherit_env = true;
	environ = list;
	world_start(w);
	environ = saved;
	world_stall(w, 1);
	assert_ptr_equal(strstr(w->envp, "INHERITED=yes|VARTA_"), w->envp);
}

static void
a_stall_of_a_lane_tells_the_command_which(void **state)
{
	struct act_request req;
	const char *at;

	(void)state;
	w->options.debounce_ns = NS_PER_S;
	world_start(w);
	req = world_request(w, 42);
	req.lane_slot = 7;
	req.lane_token = 99;
	/* Without an end: it is cut. */
	memset(req.lane, 'x', sizeof(req.lane));
	assert_true(act_stall(w->act, &req));
	world_pass(w);
	at = strstr(w->envp, "VARTA_LANE=x");
	assert_non_null(at);
	assert_int_equal(strspn(at + 11, "x"), ACT_NAME_BYTES - 1);
	/* Another lane of the process is debounced with it. */
	req.lane_slot = 8;
	(void)strcpy(req.lane, "db");
	assert_true(act_stall(w->act, &req));
	world_pass(w);
	assert_int_equal(world_count(w, RECOVERY_SPAWNED), 1);
	assert_int_equal(world_count(w, RECOVERY_DEBOUNCED), 1);
}

int
main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		EACH(starts_the_command_and_says_so),
		EACH(a_stall_of_a_lane_tells_the_command_which),
		EACH(a_fresh_stall_is_not_asked_about),
		EACH(a_stall_that_waited_runs_if_it_is_wanted_still),
		EACH(a_stall_that_waited_is_skipped_if_the_agent_is_back),
		EACH(a_stall_that_waited_is_skipped_if_the_process_is_another),
		EACH(
		    a_kernel_attested_stall_without_a_start_time_is_asked_about),
		EACH(a_stall_of_another_origin_has_no_start_time_to_ask_for),
		EACH(refuses_an_agent_of_another_namespace),
		EACH(refuses_a_stall_from_the_network),
		EACH(refuses_a_stall_vouched_for_by_a_file_mode_only),
		EACH(debounces_a_second_stall_within_the_window),
		EACH(another_process_is_not_debounced),
		EACH(a_start_that_failed_uses_up_no_window),
		EACH(one_child_at_a_time_for_one_process),
		EACH(a_child_that_is_over_unnoticed_makes_way),
		EACH(
		    the_child_of_an_earlier_process_is_killed_and_waited_for_aside),
		EACH(a_stale_child_that_cannot_be_killed_stays),
		EACH(refuses_when_there_is_no_place_for_an_orphan),
		EACH(takes_what_is_inherited_where_that_is_asked_for),
	};

	return cmocka_run_group_tests_name("act", tests, NULL, NULL);
}
