#include "watch/intake/pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/util.h"
#include "support/paceload.h"

/* A load that is evenly spread, or comes in bursts that are. */
struct even {
	uint64_t gap_ns; /* between bursts */
	unsigned burst;
	unsigned sent;
};

static uint64_t
even_after(void *ctx, uint64_t at_ns)
{
	struct even *e = ctx;

	if (++e->sent % e->burst != 0)
		return at_ns;
	return at_ns + e->gap_ns;
}

static void
start(struct paceload *l, struct even *e, uint32_t queue_len,
    uint64_t bursts_per_s, unsigned burst)
{
	*e = (struct even){ NS_PER_S / bursts_per_s, burst, burst - 1 };
	paceload_init(l, queue_len, even_after, e);
}

static void
a_thousand_beats_a_second_are_napped_on_within_200_ms(void **state)
{
	struct paceload l;
	struct even e;

	(void)state;
	start(&l, &e, 1024, 1000, 1);
	paceload_run(&l, 60 * NS_PER_S);
	assert_in_range(l.first_nap_ns, 1, 200 * NS_PER_MS);
	assert_int_equal(l.entered, 1);
	assert_int_equal(l.left, 0);
	assert_int_equal(pace_nap_ns(&l.pace), PACE_NAP_US * NS_PER_US);
}

static void
ten_thousand_beats_a_second_are_napped_on(void **state)
{
	struct paceload l;
	struct even e;

	(void)state;
	start(&l, &e, 1024, 10000, 1);
	paceload_run(&l, 10 * NS_PER_S);
	assert_in_range(l.first_nap_ns, 1, 200 * NS_PER_MS);
	assert_int_equal(l.left, 0);
	assert_in_range(l.most_queued, 49, 51);
}

static void
five_hundred_beats_a_second_are_not(void **state)
{
	struct paceload l;
	struct even e;

	(void)state;
	start(&l, &e, 4096, 500, 1);
	paceload_run(&l, 60 * NS_PER_S);
	assert_int_equal(l.entered, 0);
}

static void
fifty_agents_in_phase_are_not(void **state)
{
	static const uint32_t queues[] = { 0, 10, 64, 128, 511, 512, 4096 };
	struct paceload l;
	struct even e;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(queues) / sizeof(queues[0]); i++) {
		start(&l, &e, queues[i], 10, 50);
		paceload_run(&l, 60 * NS_PER_S);
		assert_int_equal(l.entered, 0);
	}
}

static void
a_short_or_unknown_queue_is_never_napped_on(void **state)
{
	static const uint32_t queues[] = { 0, 1, 10, PACE_QUEUE_MIN - 1 };
	struct paceload l;
	struct even e;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(queues) / sizeof(queues[0]); i++) {
		start(&l, &e, queues[i], 10000, 1);
		paceload_run(&l, 5 * NS_PER_S);
		assert_int_equal(l.entered, 0);
	}
	start(&l, &e, PACE_QUEUE_MIN, 10000, 1);
	paceload_run(&l, 5 * NS_PER_S);
	assert_int_equal(l.entered, 1);
}

static void
a_nap_brings_no_more_than_a_quarter_of_the_queue(void **state)
{
	static const uint64_t rates[] = { 1000, 5000, 10000, 50000, 100000 };
	static const uint32_t queues[] = { 64, 256, 512, 1024 };
	struct paceload l;
	struct even e;
	size_t i, j;

	(void)state;
	for (i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		for (j = 0; j < sizeof(queues) / sizeof(queues[0]); j++) {
			start(&l, &e, queues[j], rates[i], 1);
			paceload_run(&l, 2 * NS_PER_S);
			assert_true(l.most_queued <= queues[j] / 4 + 1);
		}
	}
}

static void
a_rate_that_leaves_no_worthwhile_nap_is_blocked_on(void **state)
{
	struct paceload l;
	struct even e;

	(void)state;
	/* A quarter of 64 frames is there within 160 us. */
	start(&l, &e, 64, 100000, 1);
	paceload_run(&l, 2 * NS_PER_S);
	assert_int_equal(l.entered, 0);
}

static void
a_drain_of_more_than_half_the_queue_ends_naps_for_a_while(void **state)
{
	struct paceload l;
	struct even e;
	uint64_t at_ns, left_ns;

	(void)state;
	start(&l, &e, 512, 1000, 1);
	paceload_run(&l, NS_PER_S);
	assert_true(pace_nap_ns(&l.pace) > 0);

	pace_note(&l.pace, 256, l.now_ns);
	assert_true(pace_nap_ns(&l.pace) > 0);
	pace_note(&l.pace, 257, l.now_ns);
	assert_int_equal(pace_nap_ns(&l.pace), 0);
	left_ns = l.now_ns;
	paceload_run(&l, left_ns + PACE_HOLD_MS * NS_PER_MS - NS_PER_MS);
	assert_int_equal(pace_nap_ns(&l.pace), 0);
	at_ns = left_ns + (PACE_HOLD_MS + 2 * PACE_WINDOW_MS) * NS_PER_MS;
	paceload_run(&l, at_ns);
	assert_true(pace_nap_ns(&l.pace) > 0);
}

static void
after_the_load_ends_there_are_soon_no_wakeups_at_all(void **state)
{
	struct paceload l;
	struct even e;
	uint64_t ended_ns;

	(void)state;
	start(&l, &e, 1024, 1000, 1);
	paceload_run(&l, NS_PER_S);
	assert_true(pace_nap_ns(&l.pace) > 0);

	ended_ns = l.now_ns;
	l.next_ns = NS_NEVER;
	paceload_run(&l, ended_ns + 2 * PACE_WINDOW_MS * NS_PER_MS);
	assert_int_equal(pace_nap_ns(&l.pace), 0);
	l.wakeups = 0;
	paceload_run(&l, ended_ns + 3600 * NS_PER_S);
	assert_int_equal(l.wakeups, 0);
}

static void
an_empty_window_is_enough_to_go_back_to_blocking(void **state)
{
	struct pace p;
	uint64_t at_ns = 0;

	(void)state;
	pace_init(&p, 1024, 0);
	at_ns += PACE_WINDOW_MS * NS_PER_MS;
	pace_note(&p, 500, at_ns);
	assert_true(pace_nap_ns(&p) > 0);
	at_ns += PACE_WINDOW_MS * NS_PER_MS - 1;
	pace_note(&p, 0, at_ns);
	assert_true(pace_nap_ns(&p) > 0);
	pace_note(&p, 0, at_ns + 1);
	assert_int_equal(pace_nap_ns(&p), 0);
}

static void
half_the_load_goes_back_to_blocking(void **state)
{
	struct paceload l;
	struct even e;

	(void)state;
	start(&l, &e, 1024, 1000, 1);
	paceload_run(&l, NS_PER_S);
	e.gap_ns = NS_PER_S / 500;
	paceload_run(&l, l.now_ns + 3 * PACE_WINDOW_MS * NS_PER_MS);
	assert_int_equal(l.left, 1);
	assert_int_equal(pace_nap_ns(&l.pace), 0);
}

static void
between_the_borders_it_stays_as_it_is(void **state)
{
	struct paceload l;
	struct even e;

	(void)state;
	start(&l, &e, 1024, 700, 1);
	paceload_run(&l, 10 * NS_PER_S);
	assert_int_equal(l.entered, 0);
	e.gap_ns = NS_PER_S / 1000;
	paceload_run(&l, l.now_ns + NS_PER_S);
	assert_int_equal(l.entered, 1);
	e.gap_ns = NS_PER_S / 700;
	paceload_run(&l, l.now_ns + 10 * NS_PER_S);
	assert_int_equal(l.left, 0);
}

static void
a_clock_that_stands_or_steps_back_decides_nothing(void **state)
{
	struct pace p;
	int i;

	(void)state;
	pace_init(&p, 1024, NS_PER_S);
	for (i = 0; i < 1000; i++) {
		pace_note(&p, 500, NS_PER_S);
		pace_note(&p, 500, 0);
	}
	assert_int_equal(pace_nap_ns(&p), 0);
	/* So many in so short a time leave no room for a nap. */
	pace_note(&p, 0, NS_PER_S + PACE_WINDOW_MS * NS_PER_MS);
	assert_int_equal(pace_nap_ns(&p), 0);
}

static void
extreme_numbers_do_no_harm(void **state)
{
	struct pace p;

	(void)state;
	pace_init(&p, UINT32_MAX, 0);
	pace_note(&p, UINT32_MAX, UINT64_MAX);
	assert_int_equal(pace_nap_ns(&p), 0);
	pace_init(&p, UINT32_MAX, 0);
	pace_note(&p, 1000, PACE_WINDOW_MS * NS_PER_MS);
	assert_int_equal(pace_nap_ns(&p), PACE_NAP_US * NS_PER_US);
	pace_note(&p, UINT32_MAX / 2, UINT64_MAX);
	assert_int_equal(pace_nap_ns(&p), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    a_thousand_beats_a_second_are_napped_on_within_200_ms),
		cmocka_unit_test(ten_thousand_beats_a_second_are_napped_on),
		cmocka_unit_test(five_hundred_beats_a_second_are_not),
		cmocka_unit_test(fifty_agents_in_phase_are_not),
		cmocka_unit_test(a_short_or_unknown_queue_is_never_napped_on),
		cmocka_unit_test(
		    a_nap_brings_no_more_than_a_quarter_of_the_queue),
		cmocka_unit_test(
		    a_rate_that_leaves_no_worthwhile_nap_is_blocked_on),
		cmocka_unit_test(
		    a_drain_of_more_than_half_the_queue_ends_naps_for_a_while),
		cmocka_unit_test(
		    after_the_load_ends_there_are_soon_no_wakeups_at_all),
		cmocka_unit_test(
		    an_empty_window_is_enough_to_go_back_to_blocking),
		cmocka_unit_test(half_the_load_goes_back_to_blocking),
		cmocka_unit_test(between_the_borders_it_stays_as_it_is),
		cmocka_unit_test(
		    a_clock_that_stands_or_steps_back_decides_nothing),
		cmocka_unit_test(extreme_numbers_do_no_harm),
	};

	return cmocka_run_group_tests_name("pace", tests, NULL, NULL);
}
