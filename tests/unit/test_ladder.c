#include "watch/act/ladder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/util.h"

enum { ENTRIES = 4 };

static const uint64_t window = 1000;

static struct ladder *
make(struct ladder_options options)
{
	void *mem = malloc(ladder_size(options.entries));

	assert_non_null(mem);
	options.seed[0] = 0x1234;
	options.seed[1] = 0x5678;
	return ladder_init(mem, &options);
}

static struct ladder *
make_plain(void)
{
	const struct ladder_options options = {
		.debounce_ns = window,
		.entries = ENTRIES,
		.own_pid_namespace = 7,
	};

	return make(options);
}

static struct ladder_ask
ask_of(uint64_t id, uint64_t start_ticks)
{
	return (struct ladder_ask){ .id = id,
		.start_ticks = start_ticks,
		.pid_namespace = 7,
		.origin = ORIGIN_KERNEL_ATTESTED };
}

static enum ladder_step
judge(const struct ladder *l, uint64_t id, uint64_t ticks, uint64_t now_ns)
{
	struct ladder_ask ask = ask_of(id, ticks);

	return ladder_judge(l, &ask, now_ns);
}

static void
fire(struct ladder *l, uint64_t id, uint64_t ticks, uint64_t now_ns)
{
	struct ladder_ask ask = ask_of(id, ticks);

	assert_int_equal(ladder_judge(l, &ask, now_ns), LADDER_FIRE);
	ladder_fired(l, &ask, now_ns);
}

static void
has_a_size_for_sensible_numbers_only(void **state)
{
	(void)state;
	assert_int_equal(ladder_size(0), 0);
	assert_true(ladder_size(1) > 0);
	assert_true(ladder_size(1 << 24) > ladder_size(4096));
	assert_int_equal(ladder_size((1 << 24) + 1), 0);
}

static void
refuses_an_agent_of_another_pid_namespace(void **state)
{
	struct ladder *l = make_plain();
	struct ladder_ask ask = ask_of(1, 10);

	(void)state;
	ask.pid_namespace = 8;
	/* Before the origin is looked at. */
	ask.origin = ORIGIN_NETWORK_UNVERIFIED;
	assert_int_equal(
	    ladder_judge(l, &ask, 0), LADDER_REFUSE_CROSS_NAMESPACE);
	free(l);
}

static void
takes_an_unknown_namespace_for_its_own(void **state)
{
	struct ladder_options options = { .debounce_ns = window,
		.entries = ENTRIES };
	struct ladder *l = make_plain(), *unknown = make(options);
	struct ladder_ask ask = ask_of(1, 10);

	(void)state;
	ask.pid_namespace = 0;
	assert_int_equal(ladder_judge(l, &ask, 0), LADDER_FIRE);
	ask.pid_namespace = 8;
	assert_int_equal(ladder_judge(unknown, &ask, 0), LADDER_FIRE);
	free(l);
	free(unknown);
}

static void
fires_across_namespaces_where_that_is_allowed(void **state)
{
	struct ladder_options options = {
		.debounce_ns = window,
		.entries = ENTRIES,
		.allow_cross_namespace = true,
		.own_pid_namespace = 7,
	};
	struct ladder *l = make(options);
	struct ladder_ask ask = ask_of(1, 10);

	(void)state;
	ask.pid_namespace = 8;
	assert_int_equal(ladder_judge(l, &ask, 0), LADDER_FIRE);
	free(l);
}

static void
fires_for_two_origins_only(void **state)
{
	static const enum ladder_step steps[ORIGIN_COUNT + 1] = {
		[ORIGIN_NETWORK_UNVERIFIED] = LADDER_REFUSE_UNAUTHENTICATED,
		[ORIGIN_SOCKET_MODE_ONLY] = LADDER_REFUSE_SOCKET_MODE_ONLY,
		[ORIGIN_OPERATOR_ATTESTED] = LADDER_FIRE,
		[ORIGIN_KERNEL_ATTESTED] = LADDER_FIRE,
		[ORIGIN_COUNT] = LADDER_REFUSE_UNAUTHENTICATED,
	};
	struct ladder *l = make_plain();
	struct ladder_ask ask = ask_of(1, 10);
	int i;

	(void)state;
	for (i = 0; i <= ORIGIN_COUNT; i++) {
		ask.origin = (enum origin)i;
		assert_int_equal(ladder_judge(l, &ask, 0), steps[i]);
	}
	free(l);
}

static void
debounces_until_the_window_is_over(void **state)
{
	struct ladder *l = make_plain();

	(void)state;
	fire(l, 1, 10, 5000);
	assert_int_equal(judge(l, 1, 10, 5000), LADDER_DEBOUNCED);
	assert_int_equal(judge(l, 1, 10, 5999), LADDER_DEBOUNCED);
	assert_int_equal(judge(l, 2, 10, 5999), LADDER_FIRE);
	assert_int_equal(judge(l, 1, 10, 6000), LADDER_FIRE);
	free(l);
}

static void
begins_a_new_window_with_each_fire(void **state)
{
	struct ladder *l = make_plain();

	(void)state;
	fire(l, 1, 10, 0);
	fire(l, 1, 10, 1500);
	assert_int_equal(judge(l, 1, 10, 2499), LADDER_DEBOUNCED);
	assert_int_equal(judge(l, 1, 10, 2500), LADDER_FIRE);
	assert_int_equal(ladder_counts(l)->recycle_resets, 0);
	free(l);
}

static void
a_judgement_begins_no_window(void **state)
{
	struct ladder *l = make_plain();

	(void)state;
	assert_int_equal(judge(l, 1, 10, 0), LADDER_FIRE);
	assert_int_equal(judge(l, 1, 10, 1), LADDER_FIRE);
	free(l);
}

static void
another_process_with_the_number_fires_at_once_and_is_counted(void **state)
{
	struct ladder *l = make_plain();

	(void)state;
	fire(l, 1, 10, 0);
	fire(l, 1, 11, 1);
	assert_int_equal(ladder_counts(l)->recycle_resets, 1);
	/* The window is the new one's now. */
	assert_int_equal(judge(l, 1, 11, 2), LADDER_DEBOUNCED);
	free(l);
}

static void
an_unknown_start_time_counts_as_the_same_process(void **state)
{
	struct ladder *l = make_plain();

	(void)state;
	fire(l, 1, 10, 0);
	assert_int_equal(judge(l, 1, 0, 1), LADDER_DEBOUNCED);
	fire(l, 2, 0, 0);
	assert_int_equal(judge(l, 2, 11, 1), LADDER_DEBOUNCED);
	assert_true(ladder_is_same_lineage(0, 0));
	assert_true(ladder_is_same_lineage(3, 3));
	assert_false(ladder_is_same_lineage(3, 4));
	free(l);
}

static void
fill(struct ladder *l, uint64_t now_ns)
{
	uint64_t id;

	for (id = 1; id <= ENTRIES; id++)
		fire(l, id, 10, now_ns + id);
}

static void
refuses_a_new_agent_while_all_windows_are_open(void **state)
{
	struct ladder *l = make_plain();

	(void)state;
	fill(l, 0);
	assert_int_equal(judge(l, 99, 10, 1000), LADDER_REFUSE_LEDGER_FULL);
	/* One that has an entry needs none. */
	assert_int_equal(judge(l, 1, 11, 1000), LADDER_FIRE);
	assert_int_equal(judge(l, 2, 10, 1000), LADDER_DEBOUNCED);
	free(l);
}

static void
the_oldest_makes_room_once_its_window_is_over(void **state)
{
	struct ladder *l = make_plain();

	(void)state;
	fill(l, 0);
	fire(l, 3, 11, 500); /* from the middle to the end */
	fire(l, 1, 11, 500); /* no longer the oldest */
	fire(l, 99, 10, 1002);
	assert_int_equal(ladder_counts(l)->evictions, 1);
	assert_int_equal(judge(l, 2, 10, 1002), LADDER_REFUSE_LEDGER_FULL);
	assert_int_equal(judge(l, 1, 11, 1002), LADDER_DEBOUNCED);
	assert_int_equal(judge(l, 99, 10, 1002), LADDER_DEBOUNCED);
	free(l);
}

static void
an_entry_over_for_ten_windows_is_dropped_uncounted(void **state)
{
	struct ladder *l = make_plain();

	(void)state;
	fill(l, 0);
	fire(l, 99, 10, 10001);
	assert_int_equal(ladder_counts(l)->evictions, 0);
	fire(l, 98, 10, 10001);
	assert_int_equal(ladder_counts(l)->evictions, 1);
	free(l);
}

static void
no_debounce_means_that_nothing_is_remembered_against_anyone(void **state)
{
	struct ladder_options options = { .entries = 1 };
	struct ladder *l = make(options);

	(void)state;
	fire(l, 1, 10, 0);
	fire(l, 1, 10, 0);
	fire(l, 2, 10, 0);
	assert_int_equal(ladder_counts(l)->evictions, 0);
	free(l);
}

static void
a_clock_that_went_back_opens_no_window_early(void **state)
{
	struct ladder *l = make_plain();

	(void)state;
	fire(l, 1, 10, 5000);
	assert_int_equal(judge(l, 1, 10, 10), LADDER_DEBOUNCED);
	fire(l, 2, 10, 10);
	assert_int_equal(judge(l, 2, 10, 5999), LADDER_DEBOUNCED);
	assert_int_equal(judge(l, 2, 10, 6000), LADDER_FIRE);
	free(l);
}

static void
a_window_without_end_does_not_overflow(void **state)
{
	struct ladder_options options = { .debounce_ns = UINT64_MAX,
		.entries = 1 };
	struct ladder *l = make(options);

	(void)state;
	fire(l, 1, 10, 1);
	assert_int_equal(judge(l, 1, 10, UINT64_MAX - 1), LADDER_DEBOUNCED);
	assert_int_equal(
	    judge(l, 2, 10, UINT64_MAX - 1), LADDER_REFUSE_LEDGER_FULL);
	free(l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(has_a_size_for_sensible_numbers_only),
		cmocka_unit_test(refuses_an_agent_of_another_pid_namespace),
		cmocka_unit_test(takes_an_unknown_namespace_for_its_own),
		cmocka_unit_test(fires_across_namespaces_where_that_is_allowed),
		cmocka_unit_test(fires_for_two_origins_only),
		cmocka_unit_test(debounces_until_the_window_is_over),
		cmocka_unit_test(begins_a_new_window_with_each_fire),
		cmocka_unit_test(a_judgement_begins_no_window),
		cmocka_unit_test(
		    another_process_with_the_number_fires_at_once_and_is_counted),
		cmocka_unit_test(
		    an_unknown_start_time_counts_as_the_same_process),
		cmocka_unit_test(
		    refuses_a_new_agent_while_all_windows_are_open),
		cmocka_unit_test(the_oldest_makes_room_once_its_window_is_over),
		cmocka_unit_test(
		    an_entry_over_for_ten_windows_is_dropped_uncounted),
		cmocka_unit_test(
		    no_debounce_means_that_nothing_is_remembered_against_anyone),
		cmocka_unit_test(a_clock_that_went_back_opens_no_window_early),
		cmocka_unit_test(a_window_without_end_does_not_overflow),
	};

	return cmocka_run_group_tests_name("ladder", tests, NULL, NULL);
}
