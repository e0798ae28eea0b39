#include "watch/host/wedge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "watch/host/pulse.h"

static const uint64_t deadline_ns = 4 * NS_PER_S;
static const uint64_t interval_ns = 500 * NS_PER_MS;

static struct pulse pulse;
static struct wedge wedge;
static uint64_t now_ns;
static bool input;

static int
setup(void **state)
{
	(void)state;
	now_ns = 1000 * NS_PER_S;
	input = false;
	pulse_init(&pulse);
	wedge_init(&wedge, deadline_ns, interval_ns, now_ns);
	return 0;
}

/* One look, ms after the last. */
static enum wedge_verdict
look_after(uint64_t ms)
{
	now_ns += ms * NS_PER_MS;
	return wedge_look(&wedge, pulse_word(&pulse), input, now_ns);
}

/* Looks at the usual interval until one is not healthy, for at most an hour.
 * Returns how long that took, in ms. */
static uint64_t
looks_until(enum wedge_verdict verdict)
{
	for (uint64_t ms = 500; ms <= 3600 * 1000; ms += 500) {
		enum wedge_verdict found = look_after(500);

		if (found == WEDGE_HEALTHY)
			continue;
		assert_int_equal(found, verdict);
		return ms;
	}
	assert_int_equal(verdict, WEDGE_HEALTHY);
	return 0;
}

static void
says(enum wedge_verdict verdict, const char *text)
{
	char line[WEDGE_LINE_MAX];
	size_t n = wedge_describe(&wedge, verdict, line);

	assert_int_equal(n, strlen(line));
	assert_string_equal(line, text);
}

static void
a_pulse_says_where_the_loop_is(void **state)
{
	struct pulse_view v = pulse_view(pulse_word(&pulse));

	(void)state;
	assert_int_equal(v.pass, 0);
	assert_int_equal(v.stage, PULSE_WAITING);
	assert_true(v.wait_ns == NS_NEVER);

	pulse_enter(&pulse, STATS_STAGE_POLL);
	pulse_enter(&pulse, STATS_STAGE_HOUSEKEEPING);
	v = pulse_view(pulse_word(&pulse));
	assert_int_equal(v.pass, 0);
	assert_int_equal(v.stage, STATS_STAGE_HOUSEKEEPING);

	/* Rounded up: nobody is late within the millisecond. */
	pulse_wait(&pulse, 5 * NS_PER_MS + 1);
	v = pulse_view(pulse_word(&pulse));
	assert_int_equal(v.pass, 1);
	assert_int_equal(v.stage, PULSE_WAITING);
	assert_int_equal(v.wait_ns, 6 * NS_PER_MS);

	pulse_wait(&pulse, 0);
	v = pulse_view(pulse_word(&pulse));
	assert_int_equal(v.pass, 2);
	assert_int_equal(v.wait_ns, 0);
}

static void
a_wait_of_days_is_one_for_ever(void **state)
{
	const uint64_t days_ns = PULSE_WAIT_NEVER_MS * NS_PER_MS;

	(void)state;
	pulse_wait(&pulse, days_ns - NS_PER_MS);
	assert_true(
	    pulse_view(pulse_word(&pulse)).wait_ns == days_ns - NS_PER_MS);
	pulse_wait(&pulse, days_ns - 1);
	assert_true(pulse_view(pulse_word(&pulse)).wait_ns == NS_NEVER);
	pulse_wait(&pulse, NS_NEVER - 1);
	assert_true(pulse_view(pulse_word(&pulse)).wait_ns == NS_NEVER);
	assert_int_equal(pulse_view(pulse_word(&pulse)).pass, 3);
}

static void
the_count_of_passes_wraps(void **state)
{
	(void)state;
	atomic_store(&pulse.word, UINT64_MAX);
	pulse_wait(&pulse, NS_PER_MS);
	assert_int_equal(pulse_view(pulse_word(&pulse)).pass, 0);
	assert_int_equal(pulse_view(pulse_word(&pulse)).wait_ns, NS_PER_MS);
}

static void
an_idle_loop_is_healthy_for_ever(void **state)
{
	(void)state;
	assert_int_equal(looks_until(WEDGE_HEALTHY), 0);
	assert_false(wedge_has_completed(&wedge));
	pulse_wait(&pulse, NS_NEVER);
	assert_int_equal(looks_until(WEDGE_HEALTHY), 0);
	assert_true(wedge_has_completed(&wedge));
}

static void
a_loop_that_gets_on_is_healthy(void **state)
{
	(void)state;
	/* Always seen in the same stage, of another pass each time. */
	for (int i = 0; i < 1000; i++) {
		pulse_wait(&pulse, 0);
		pulse_enter(&pulse, STATS_STAGE_POLL);
		assert_int_equal(look_after(500), WEDGE_HEALTHY);
	}
}

static void
a_stage_that_does_not_end_is_found_after_its_limit(void **state)
{
	static const struct {
		enum stats_stage stage;
		uint64_t limit_ms;
	} limits[] = {
		{ STATS_STAGE_DRAIN_PENDING, 2000 },
		{ STATS_STAGE_POLL, 2000 },
		{ STATS_STAGE_MAINTENANCE, 500 },
		{ STATS_STAGE_RECOVERY_REAP, 1000 },
		{ STATS_STAGE_SERVE_PENDING, 2000 },
		{ STATS_STAGE_HOUSEKEEPING, 1000 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		uint64_t ms;

		setup(NULL);
		pulse_enter(&pulse, limits[i].stage);
		ms = looks_until(WEDGE_STAGE);
		/* Within the limit and two looks, never before the limit. */
		assert_in_range(
		    ms, limits[i].limit_ms + 1, limits[i].limit_ms + 1000);
	}
	says(WEDGE_STAGE, "varta-watch: the loop hangs: stage housekeeping "
			  "takes 1500 ms, limit 1000 ms; aborting\n");
}

static void
a_stage_at_its_limit_is_healthy(void **state)
{
	(void)state;
	pulse_enter(&pulse, STATS_STAGE_RECOVERY_REAP);
	assert_int_equal(look_after(500), WEDGE_HEALTHY);
	assert_int_equal(look_after(500), WEDGE_HEALTHY);
	assert_int_equal(look_after(500), WEDGE_HEALTHY); /* 1000 ms */
	assert_int_equal(look_after(1), WEDGE_STAGE);
}

static void
a_pass_that_does_not_end_is_found_after_the_deadline(void **state)
{
	uint64_t ms = 0;

	(void)state;
	/* No stage is slow, but there is no end to them. */
	while (ms <= 10000) {
		pulse_enter(&pulse, STATS_STAGE_POLL);
		if (look_after(500) != WEDGE_HEALTHY)
			break;
		pulse_enter(&pulse, STATS_STAGE_SERVE_PENDING);
		if (look_after(500) != WEDGE_HEALTHY)
			break;
		ms += 1000;
	}
	assert_in_range(ms, 4000, 5000);
	says(WEDGE_PASS, "varta-watch: the loop hangs: a pass takes 4500 ms, "
			 "deadline 4000 ms; aborting\n");
}

static void
the_time_of_a_wait_does_not_count_as_the_pass_after_it(void **state)
{
	(void)state;
	pulse_wait(&pulse, NS_NEVER);
	assert_int_equal(looks_until(WEDGE_HEALTHY), 0);
	pulse_enter(&pulse, STATS_STAGE_POLL);
	assert_int_equal(look_after(500), WEDGE_HEALTHY);
	pulse_enter(&pulse, STATS_STAGE_MAINTENANCE);
	assert_int_equal(look_after(500), WEDGE_HEALTHY);
}

static void
a_loop_that_does_not_wake_in_time_is_found(void **state)
{
	uint64_t ms;

	(void)state;
	pulse_wait(&pulse, 10 * NS_PER_S);
	ms = looks_until(WEDGE_OVERSLEPT);
	assert_in_range(ms, 14001, 15000);
	says(WEDGE_OVERSLEPT,
	    "varta-watch: the loop hangs: it waits for 14500 ms instead of "
	    "10000 ms, deadline 4000 ms; aborting\n");
}

static void
a_loop_that_does_not_hear_its_socket_is_found(void **state)
{
	uint64_t ms;

	(void)state;
	pulse_wait(&pulse, NS_NEVER);
	assert_int_equal(looks_until(WEDGE_HEALTHY), 0);
	input = true;
	ms = looks_until(WEDGE_DEAF);
	assert_in_range(ms, 4001, 5000);
	says(WEDGE_DEAF, "varta-watch: the loop hangs: beats have been waiting "
			 "for 4500 ms, deadline 4000 ms; aborting\n");
}

static void
input_that_is_taken_is_no_sign_of_deafness(void **state)
{
	(void)state;
	pulse_wait(&pulse, NS_NEVER);
	for (int i = 0; i < 100; i++) {
		/* Always some, taken in between. */
		input = true;
		pulse_wait(&pulse, NS_NEVER);
		assert_int_equal(look_after(500), WEDGE_HEALTHY);
	}
	for (int i = 0; i < 100; i++) {
		/* The loop seems to sleep, but the input went. */
		input = i % 8 != 0;
		assert_int_equal(look_after(500), WEDGE_HEALTHY);
	}
}

static void
a_stop_of_the_whole_process_is_not_the_loops(void **state)
{
	(void)state;
	/* In the middle of everything, for a day. */
	for (unsigned s = 0; s < STATS_STAGE_COUNT; s++) {
		setup(NULL);
		pulse_enter(&pulse, (enum stats_stage)s);
		assert_int_equal(look_after(500), WEDGE_HEALTHY);
		assert_int_equal(look_after(86400 * 1000), WEDGE_HEALTHY);
		pulse_wait(&pulse, NS_NEVER);
		assert_int_equal(look_after(500), WEDGE_HEALTHY);
	}
	pulse_wait(&pulse, 5 * NS_PER_MS);
	input = true;
	assert_int_equal(look_after(500), WEDGE_HEALTHY);
	assert_int_equal(look_after(86400 * 1000), WEDGE_HEALTHY);
	/* And if it does hang after that, it is found. */
	assert_in_range(looks_until(WEDGE_OVERSLEPT), 3000, 5000);
}

static void
a_clock_that_goes_back_stands_still(void **state)
{
	(void)state;
	pulse_enter(&pulse, STATS_STAGE_MAINTENANCE);
	assert_int_equal(look_after(500), WEDGE_HEALTHY);
	now_ns = 1;
	assert_int_equal(look_after(0), WEDGE_HEALTHY);
	assert_int_equal(look_after(500), WEDGE_HEALTHY);
	assert_int_equal(look_after(500), WEDGE_STAGE);
}

static void
no_deadline_is_too_long(void **state)
{
	(void)state;
	wedge_init(&wedge, UINT64_MAX, interval_ns, now_ns);
	pulse_wait(&pulse, 1);
	input = true;
	assert_int_equal(looks_until(WEDGE_HEALTHY), 0);
	/* The limits of stages hold without it. */
	pulse_enter(&pulse, STATS_STAGE_POLL);
	(void)looks_until(WEDGE_STAGE);
}

static void
the_longest_line_fits(void **state)
{
	char line[WEDGE_LINE_MAX];
	size_t n;

	(void)state;
	wedge_init(&wedge, UINT64_MAX, UINT64_MAX, 0);
	now_ns = UINT64_MAX;
	pulse_wait(&pulse, NS_NEVER);
	assert_int_equal(look_after(0), WEDGE_HEALTHY);
	wedge.state_ns = UINT64_MAX;
	wedge.input_ns = UINT64_MAX;
	for (int v = WEDGE_PASS; v <= WEDGE_DEAF; v++) {
		n = wedge_describe(&wedge, (enum wedge_verdict)v, line);
		assert_int_equal(n, strlen(line));
		assert_int_equal(line[n - 1], '\n');
	}
}

int
main(void)
{
#define EACH(test) cmocka_unit_test_setup(test, setup)
	const struct CMUnitTest tests[] = {
		EACH(a_pulse_says_where_the_loop_is),
		EACH(a_wait_of_days_is_one_for_ever),
		EACH(the_count_of_passes_wraps),
		EACH(an_idle_loop_is_healthy_for_ever),
		EACH(a_loop_that_gets_on_is_healthy),
		EACH(a_stage_that_does_not_end_is_found_after_its_limit),
		EACH(a_stage_at_its_limit_is_healthy),
		EACH(a_pass_that_does_not_end_is_found_after_the_deadline),
		EACH(the_time_of_a_wait_does_not_count_as_the_pass_after_it),
		EACH(a_loop_that_does_not_wake_in_time_is_found),
		EACH(a_loop_that_does_not_hear_its_socket_is_found),
		EACH(input_that_is_taken_is_no_sign_of_deafness),
		EACH(a_stop_of_the_whole_process_is_not_the_loops),
		EACH(a_clock_that_goes_back_stands_still),
		EACH(no_deadline_is_too_long),
		EACH(the_longest_line_fits),
	};

	return cmocka_run_group_tests_name("wedge", tests, NULL, NULL);
}
