/*
 * What each socket of beats is allowed, and when it is waited for.
 */
#include "watch/inlet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/util.h"

enum { QUEUE = 600 };

static struct stats stats;

static void
make(struct inlet *in, bool is_network)
{
	const struct inlet_options options = {
		.source = { .is_network = is_network },
		.queue_len = QUEUE,
		.rate_per_s = 10,
		.burst = 2,
	};

	inlet_init(in, &options, &stats, NS_PER_S);
}

static bool
waits(const struct inlet *in, uint64_t now_ns, uint64_t *until_ns)
{
	*until_ns = NS_NEVER;
	return inlet_waits(in, now_ns, until_ns);
}

static void
a_quiet_network_is_waited_for(void **state)
{
	static struct inlet in;
	uint64_t now_ns = NS_PER_S, until_ns;

	(void)state;
	make(&in, true);
	for (unsigned i = 0; i < 100; i++, now_ns += 10 * NS_PER_MS) {
		assert_false(inlet_drained(&in, 1, false, now_ns));
		assert_true(waits(&in, now_ns, &until_ns));
		assert_true(until_ns == NS_NEVER);
	}
}

static void
a_flood_is_rested_from(void **state)
{
	static struct inlet in;
	uint64_t now_ns = NS_PER_S, until_ns;

	(void)state;
	make(&in, true);
	/* At once, and in small pieces. */
	assert_false(
	    inlet_drained(&in, INLET_DRAIN_NETWORK, true, now_ns + 100));
	assert_false(waits(&in, now_ns + 100, &until_ns));
	assert_true(until_ns == now_ns + INLET_FLOOD_NS);
	now_ns += INLET_FLOOD_NS;
	for (unsigned i = 0; i < INLET_FLOOD - 1; i++)
		assert_false(inlet_drained(&in, 1, false, now_ns + i));
	assert_true(waits(&in, now_ns + 100, &until_ns));
	assert_false(inlet_drained(&in, 1, false, now_ns + 100));
	assert_false(waits(&in, now_ns + 100, &until_ns));
	assert_true(until_ns == now_ns + INLET_FLOOD_NS);
	/* A pass for another reason finds nothing: the rest goes on. */
	assert_false(inlet_drained(&in, 0, false, now_ns + 200));
	assert_false(waits(&in, now_ns + 200, &until_ns));
	/* And ends. */
	now_ns += INLET_FLOOD_NS;
	assert_false(inlet_drained(&in, 0, false, now_ns));
	assert_true(waits(&in, now_ns, &until_ns));
}

static void
this_host_is_never_rested_from(void **state)
{
	static struct inlet in;
	uint64_t until_ns;

	(void)state;
	make(&in, false);
	assert_true(inlet_drained(&in, INLET_DRAIN_MIN, true, NS_PER_S + 1));
	assert_true(waits(&in, NS_PER_S + 1, &until_ns));
	assert_false(inlet_drained(&in, 100, false, NS_PER_S + 2));
	assert_true(waits(&in, NS_PER_S + 2, &until_ns));
}

static void
a_pass_takes_what_the_kernel_can_have_held(void **state)
{
	static struct inlet in;
	const struct inlet_options options = { .queue_len = 100000 };

	(void)state;
	make(&in, true);
	assert_true(in.drain_max > QUEUE);
	assert_true(in.drain_max <= INLET_DRAIN_NETWORK_MAX);
	make(&in, false);
	assert_int_equal(in.drain_max, INLET_DRAIN_MIN);
	inlet_init(&in, &options, &stats, 0);
	assert_true(in.drain_max > 100000);
}

static void
each_has_its_own_limit_for_all_beats(void **state)
{
	static struct inlet local, network;

	(void)state;
	make(&local, false);
	make(&network, true);
	assert_true(admit_take(&network.admit, NS_PER_S));
	assert_true(admit_take(&network.admit, NS_PER_S));
	assert_false(admit_take(&network.admit, NS_PER_S));
	assert_true(admit_take(&local.admit, NS_PER_S));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_quiet_network_is_waited_for),
		cmocka_unit_test(a_flood_is_rested_from),
		cmocka_unit_test(this_host_is_never_rested_from),
		cmocka_unit_test(a_pass_takes_what_the_kernel_can_have_held),
		cmocka_unit_test(each_has_its_own_limit_for_all_beats),
	};

	return cmocka_run_group_tests_name("inlet", tests, NULL, NULL);
}
