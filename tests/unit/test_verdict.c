#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/util.h"
#include "watch/judge/verdict.h"

static void
an_agent_has_stalled_from_its_deadline_on_and_not_before(void **state)
{
	const struct agent_view agent = {
		.last_seen_ns = 1000,
		.threshold_ns = 500,
	};

	(void)state;
	assert_int_equal(verdict_of(&agent, 0, 1499).kind, VERDICT_WAIT);
	assert_int_equal(verdict_of(&agent, 0, 1499).look_at_ns, 1500);
	assert_int_equal(verdict_of(&agent, 0, 1500).kind, VERDICT_STALLED);
	assert_int_equal(verdict_of(&agent, 0, 1500).why, STALL_SILENT);
}

static void
credit_moves_the_deadline(void **state)
{
	const struct agent_view agent = {
		.last_seen_ns = 1000,
		.threshold_ns = 500,
	};

	(void)state;
	assert_int_equal(verdict_of(&agent, 300, 1799).kind, VERDICT_WAIT);
	assert_int_equal(verdict_of(&agent, 300, 1799).look_at_ns, 1800);
	assert_int_equal(verdict_of(&agent, 300, 1800).kind, VERDICT_STALLED);
}

static void
who_has_ended_is_gone_not_silent(void **state)
{
	const struct agent_view agent = { .threshold_ns = 1, .gone = true };

	(void)state;
	assert_int_equal(verdict_of(&agent, 0, 10).why, STALL_GONE);
}

static void
a_threshold_beyond_all_time_never_comes(void **state)
{
	const struct agent_view agent = {
		.last_seen_ns = 1000,
		.threshold_ns = UINT64_MAX,
	};

	(void)state;
	assert_int_equal(
	    verdict_of(&agent, 5, UINT64_MAX - 1).kind, VERDICT_WAIT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    an_agent_has_stalled_from_its_deadline_on_and_not_before),
		cmocka_unit_test(credit_moves_the_deadline),
		cmocka_unit_test(who_has_ended_is_gone_not_silent),
		cmocka_unit_test(a_threshold_beyond_all_time_never_comes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
