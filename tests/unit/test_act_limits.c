/* How much act takes at a time, and what it needs to begin. */
#include "watch/act/act.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "act_world.h"
#include "base/util.h"
#include "support/fault.h"

FAULT(void *, NULL, calloc, (size_t n, size_t size), (n, size))
FAULT(void *, NULL, malloc, (size_t n), (n))
FAULT(void *, NULL, realloc, (void *p, size_t n), (p, n))
FAULT(int, -1, getentropy, (void *bytes, size_t n), (bytes, n))

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
refuses_when_all_places_are_taken(void **state)
{
	(void)state;
	w->options.capacity = 2;
	world_start(w);
	world_stall(w, 1);
	world_stall(w, 2);
	world_stall(w, 3);
	assert_refused(
	    RECOVERY_REFUSED_OUTSTANDING_CAPACITY, "outstanding_capacity");
	assert_int_equal(w->starts, 2);
	/* Its window was not used up. */
	world_end(w, 0, EXIT_HOW_CODE, 0);
	world_pass(w);
	world_stall(w, 3);
	assert_int_equal(w->starts, 3);
}

static void
the_number_of_children_has_a_limit_of_its_own(void **state)
{
	uint32_t n;

	(void)state;
	w->options.capacity = ACT_CHILDREN + 8;
	w->options.debounce_ns = 0;
	world_start(w);
	for (n = 1; n <= ACT_CHILDREN; n++)
		world_stall(w, n);
	assert_int_equal(act_n_children(w->act), ACT_CHILDREN);
	world_stall(w, n);
	assert_refused(
	    RECOVERY_REFUSED_OUTSTANDING_CAPACITY, "outstanding_capacity");
}

static void
refuses_new_agents_when_the_ledger_is_full(void **state)
{
	uint32_t n;

	(void)state;
	w->options.debounce_ns = 100 * NS_PER_S;
	world_start(w);
	for (n = 1; n <= ACT_LEDGER; n++) {
		world_stall(w, n);
		world_end(w, n - 1, EXIT_HOW_CODE, 0);
		world_pass(w);
	}
	world_stall(w, n);
	assert_refused(RECOVERY_REFUSED_DEBOUNCE_CAPACITY, "debounce_capacity");
	assert_int_equal(w->stats.recovery_ledger_evictions, 0);
	w->now_ns += 100 * NS_PER_S;
	world_stall(w, n);
	assert_int_equal(world_last(w)->outcome, RECOVERY_SPAWNED);
	assert_int_equal(w->stats.recovery_ledger_evictions, 1);
}

static void
a_pass_starts_a_few_and_leaves_the_rest(void **state)
{
	struct act_request req;
	uint32_t n;

	(void)state;
	w->options.capacity = 100;
	world_start(w);
	for (n = 1; n <= 40; n++) {
		req = world_request(w, n);
		assert_true(act_stall(w->act, &req));
	}
	world_pass(w);
	assert_int_equal(w->starts, 16);
	assert_int_equal(act_n_waiting(w->act), 24);
	assert_int_equal(act_next_ns(w->act), 0);
	assert_int_equal(w->stats.recovery_spawn_budget_exceeded, 1);
	world_pass(w);
	world_pass(w);
	assert_int_equal(w->starts, 40);
	assert_int_equal(w->stats.recovery_spawn_budget_exceeded, 2);
	/* In the order in which they came. */
	assert_int_equal(world_last(w)->agent_pid, 40);
}

static void
a_pass_looks_at_so_many_stalls_whatever_comes_of_them(void **state)
{
	struct act_request req;
	uint32_t n;

	(void)state;
	w->options.capacity = 1000;
	world_start(w);
	for (n = 1; n <= 600; n++) {
		req = world_request(w, n);
		req.origin = ORIGIN_NETWORK_UNVERIFIED;
		assert_true(act_stall(w->act, &req));
	}
	world_pass(w);
	assert_int_equal(w->n_records, 256);
	assert_int_equal(w->stats.recovery_spawn_budget_exceeded, 1);
	world_pass(w);
	world_pass(w);
	assert_int_equal(w->n_records, 600);
	assert_int_equal(act_next_ns(w->act), NS_NEVER);
}

static void
a_stall_that_finds_the_queue_full_is_refused(void **state)
{
	struct act_request req;

	(void)state;
	w->options.capacity = 1;
	world_start(w);
	req = world_request(w, 1);
	assert_true(act_stall(w->act, &req));
	assert_false(act_stall(w->act, &req));
	assert_refused(
	    RECOVERY_REFUSED_OUTSTANDING_CAPACITY, "outstanding_capacity");
	world_pass(w);
	assert_int_equal(w->starts, 1);
	req = world_request(w, 2);
	assert_true(act_stall(w->act, &req));
}

static void
a_name_without_an_end_is_cut(void **state)
{
	struct act_request req;

	(void)state;
	world_start(w);
	req = world_request(w, 1);
	memset(req.name, 'n', sizeof(req.name));
	assert_true(act_stall(w->act, &req));
	world_pass(w);
	assert_int_equal(
	    strcspn(strstr(w->envp, "nnn"), "|"), ACT_NAME_BYTES - 1);
}

static void
nothing_is_allocated_once_it_is_made(void **state)
{
	uint32_t n;

	(void)state;
	w->options.capacity = 64;
	w->pidfds = true;
	w->pipes = true;
	world_start(w);
	fault_off(&fault_calloc);
	fault_off(&fault_malloc);
	fault_off(&fault_realloc);
	for (n = 1; n <= 64; n++) {
		world_stall(w, n);
		if (n % 2 == 0)
			world_end(w, n - 1, EXIT_HOW_CODE, (int)n % 3);
		world_pass(w);
	}
	w->now_ns += 6 * NS_PER_S;
	for (n = 1; n <= 64; n++)
		world_stall_of(w, n, 1000 + n % 2);
	world_pass(w);
	assert_int_equal(fault_calloc.calls, 0);
	assert_int_equal(fault_malloc.calls, 0);
	assert_int_equal(fault_realloc.calls, 0);
	assert_true(world_count(w, RECOVERY_KILLED) > 0);
	assert_true(world_count(w, RECOVERY_REAPED_NONZERO) > 0);
}

static void
each_allocation_that_fails_is_an_error_of_the_start(void **state)
{
	unsigned nth, total;

	(void)state;
	fault_off(&fault_calloc);
	world_start(w);
	total = fault_calloc.calls;
	act_free(w->act);
	w->act = NULL;
	assert_true(total > 4);
	for (nth = 1; nth <= total; nth++) {
		fault_nth(&fault_calloc, nth, ENOMEM);
		assert_int_equal(
		    act_new(&w->options, &w->ports, &w->stats, &w->act),
		    -ENOMEM);
		assert_null(w->act);
	}
	fault_off(&fault_calloc);
	fault_nth(&fault_getentropy, 1, EIO);
	assert_int_equal(
	    act_new(&w->options, &w->ports, &w->stats, &w->act), -EIO);
	fault_off(&fault_getentropy);
}

static void
assert_invalid(void)
{
	assert_int_equal(
	    act_new(&w->options, &w->ports, &w->stats, &w->act), -EINVAL);
	assert_null(w->act);
	w = world_new();
}

static void
options_that_make_no_sense_are_refused(void **state)
{
	char entry[] = "=x";
	char *const env[] = { entry, NULL };
	char *none[] = { NULL };

	(void)state;
	w->options.capacity = 0;
	assert_invalid();
	w->options.command.argv = NULL;
	assert_invalid();
	w->options.command.argv = none;
	assert_invalid();
	w->options.env = env;
	assert_invalid();
	w->ports.wanted = NULL;
	assert_invalid();
	w->ports.report = NULL;
	assert_invalid();
	w->ports.unwatch = NULL;
	assert_invalid();
}

int
main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		EACH(refuses_when_all_places_are_taken),
		EACH(the_number_of_children_has_a_limit_of_its_own),
		EACH(refuses_new_agents_when_the_ledger_is_full),
		EACH(a_pass_starts_a_few_and_leaves_the_rest),
		EACH(a_pass_looks_at_so_many_stalls_whatever_comes_of_them),
		EACH(a_stall_that_finds_the_queue_full_is_refused),
		EACH(a_name_without_an_end_is_cut),
		EACH(nothing_is_allocated_once_it_is_made),
		EACH(each_allocation_that_fails_is_an_error_of_the_start),
		EACH(options_that_make_no_sense_are_refused),
	};

	return cmocka_run_group_tests_name("act_limits", tests, NULL, NULL);
}
