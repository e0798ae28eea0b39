/*
 * The pace under loads of random arrival (the hardest for a rate that is
 * measured): naps where they pay and nowhere else, no flutter, and the queue
 * never full. The seed is printed; VARTA_SEED gives it again.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/prng.h"
#include "base/util.h"
#include "support/paceload.h"
#include "support/seed.h"

/* Independent arrivals at a rate. */
struct chance {
	struct prng prng;
	double mean_gap_ns;
};

static uint64_t
chance_after(void *ctx, uint64_t at_ns)
{
	struct chance *c = ctx;
	double u = (double)(prng_u64(&c->prng) >> 11) * 0x1p-53;

	return at_ns + (uint64_t)(-log(1.0 - u) * c->mean_gap_ns) + 1;
}

static struct chance chance;

static int
seed(void **state)
{
	(void)state;
	prng_seed(&chance.prng, seed_choose());
	return 0;
}

static void
run(struct paceload *l, uint32_t queue_len, double rate, uint64_t seconds)
{
	chance.mean_gap_ns = 1e9 / rate;
	paceload_init(l, queue_len, chance_after, &chance);
	paceload_run(l, seconds * NS_PER_S);
}

static void
a_thousand_random_beats_a_second_are_napped_on_and_it_stays(void **state)
{
	struct paceload l;
	int i, late = 0;

	(void)state;
	for (i = 0; i < 100; i++) {
		run(&l, 1024, 1000, 10);
		/* 1 in 250 needs a second window. */
		late += l.first_nap_ns > 200 * NS_PER_MS;
		assert_in_range(l.first_nap_ns, 1, 800 * NS_PER_MS);
		assert_int_equal(l.left, 0);
	}
	/* Ten or more never come by chance. */
	assert_true(late < 10);
}

static void
five_hundred_random_beats_a_second_are_as_good_as_never(void **state)
{
	struct paceload l;

	(void)state;
	run(&l, 1024, 500, 600);
	/* One window in ten million looks like twice the rate. */
	assert_in_range(l.entered, 0, 1);
	assert_int_equal(l.entered, l.left);
}

static void
no_steady_load_ever_fills_the_queue(void **state)
{
	struct paceload l;
	uint32_t queue_len;
	double rate;
	int i;

	(void)state;
	for (i = 0; i < 500; i++) {
		queue_len =
		    (uint32_t)(PACE_QUEUE_MIN + prng_below(&chance.prng, 2000));
		rate = (double)(100 + prng_below(&chance.prng, 100000));
		run(&l, queue_len, rate, 2);
		assert_true(l.most_queued < queue_len);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    a_thousand_random_beats_a_second_are_napped_on_and_it_stays),
		cmocka_unit_test(
		    five_hundred_random_beats_a_second_are_as_good_as_never),
		cmocka_unit_test(no_steady_load_ever_fills_the_queue),
	};

	return cmocka_run_group_tests_name("prop_pace", tests, seed, NULL);
}
