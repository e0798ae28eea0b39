/*
 * The deadline wheel against an array of times: random filing, taking in small
 * portions, taking ahead, sweeps and jumps. Nobody is ever late, nobody comes
 * twice or not at all. The seed is printed; VARTA_SEED gives it again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/prng.h"
#include "base/util.h"
#include "support/seed.h"
#include "watch/track/wheel.h"

enum { AGENTS = 500, OPERATIONS = 60000 };

static const uint64_t SLOT_NS = 1000;

struct model {
	struct wheel *wheel;
	void *memory;
	uint64_t at_ns[AGENTS]; /* NS_NEVER: not filed */
	uint64_t now_ns;
	bool exact; /* nothing was torn, far away or too late */
};

static struct prng prng;

static int
seed(void **state)
{
	(void)state;
	prng_seed(&prng, seed_choose());
	return 0;
}

static uint64_t
slot_end(uint64_t at_ns)
{
	return u64_add_sat(at_ns, SLOT_NS - 1) / SLOT_NS * SLOT_NS;
}

/* Mostly near, sometimes far, seldom beyond the horizon. */
static uint64_t
some_time(void)
{
	uint64_t bits =
	    prng_below(&prng, 300) == 0 ? 40 : prng_below(&prng, 33);

	return prng_below(&prng, UINT64_C(1) << bits) + 1;
}

static void
put(struct model *m, uint32_t agent)
{
	uint64_t at_ns = m->now_ns + some_time();

	if (prng_below(&prng, 200) == 0)
		at_ns = u64_sub_sat(at_ns, 5 * SLOT_NS);
	wheel_put(m->wheel, agent, at_ns);
	m->at_ns[agent] = at_ns;
	/* Beyond the horizon of 2^24 slots it is seen again there. */
	if (at_ns > m->now_ns + (SLOT_NS << 23))
		m->exact = false;
	if (at_ns > m->now_ns)
		return;
	/* What has passed is filed for the next slot. */
	m->at_ns[agent] = m->now_ns / SLOT_NS * SLOT_NS + SLOT_NS;
	m->exact = false;
}

static void
come_up(struct model *m, uint32_t agent)
{
	assert_true(agent < AGENTS);
	assert_true(m->at_ns[agent] != NS_NEVER);
	m->at_ns[agent] = NS_NEVER;
}

static uint64_t
earliest(const struct model *m)
{
	uint64_t ret = NS_NEVER;
	size_t i;

	for (i = 0; i < AGENTS; i++)
		ret = u64_min(ret, m->at_ns[i]);
	return ret;
}

/* All that is due comes, whatever the portions. */
static void
take_all(struct model *m)
{
	uint32_t out[AGENTS];
	size_t n, i, max;

	do {
		max = 1 + prng_below(&prng, 40);
		n = wheel_take(m->wheel, m->now_ns, out, max);
		assert_true(n <= max);
		for (i = 0; i < n; i++)
			come_up(m, out[i]);
		/* Some of those that came early are filed while others are
		 * still to come; their times count from before the slot. */
		if (n > 0 && prng_below(&prng, 2) == 0) {
			wheel_put(m->wheel, out[0], m->now_ns + SLOT_NS);
			m->at_ns[out[0]] = m->now_ns + SLOT_NS;
		}
	} while (n == max);
	for (i = 0; i < AGENTS; i++)
		assert_true(slot_end(m->at_ns[i]) > m->now_ns);
}

static void
take_ahead(struct model *m)
{
	uint32_t out[40];
	size_t n, i, max = 1 + prng_below(&prng, 40);

	n = wheel_take_ahead(m->wheel, out, max);
	assert_int_equal(n == 0, earliest(m) == NS_NEVER);
	for (i = 0; i < n; i++)
		come_up(m, out[i]);
	m->exact = false;
}

static bool
is_kept(const void *ctx, uint32_t agent)
{
	return agent % 4 != *(const uint32_t *)ctx;
}

static void
sweep(struct model *m)
{
	uint32_t drop = (uint32_t)prng_below(&prng, 4), i;

	wheel_sweep(m->wheel, is_kept, &drop);
	for (i = drop; i < AGENTS; i += 4)
		m->at_ns[i] = NS_NEVER;
	m->exact = false;
}

/* Never later than the earliest, and equal when nothing has been torn. */
static void
check_next(struct model *m)
{
	uint64_t next = wheel_next_ns(m->wheel), expected = earliest(m);

	if (expected == NS_NEVER) {
		assert_int_equal(next, NS_NEVER);
		m->exact = true;
		return;
	}
	assert_true(next <= slot_end(expected));
	if (m->exact)
		assert_int_equal(next, slot_end(expected));
}

static void
pass(struct model *m)
{
	uint64_t step = some_time();

	if (prng_below(&prng, 3) == 0)
		step = u64_sub_sat(wheel_next_ns(m->wheel), m->now_ns);
	if (step < UINT64_C(1) << 40)
		m->now_ns += step;
	take_all(m);
}

static void
operate(struct model *m)
{
	uint32_t agent = (uint32_t)prng_below(&prng, AGENTS);

	uint64_t what = prng_below(&prng, 400);

	if (what == 0) {
		sweep(m);
	} else if (what == 1) {
		m->now_ns += prng_below(&prng, UINT64_C(1) << 45);
		take_all(m);
	} else if (what < 6) {
		take_ahead(m);
	} else if (what < 150) {
		pass(m);
	} else if (m->at_ns[agent] == NS_NEVER) {
		put(m, agent);
	}
	check_next(m);
}

static void
nobody_is_late_lost_or_doubled(void **state)
{
	struct model m = { .exact = true };
	size_t i;

	(void)state;
	for (i = 0; i < AGENTS; i++)
		m.at_ns[i] = NS_NEVER;
	m.now_ns = prng_below(&prng, UINT64_C(1) << 50);
	m.memory = aligned_alloc(64, wheel_size(AGENTS));
	assert_non_null(m.memory);
	m.wheel = wheel_init(m.memory, AGENTS, SLOT_NS, m.now_ns);
	take_all(&m);
	for (i = 0; i < OPERATIONS; i++)
		operate(&m);
	free(m.memory);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_is_late_lost_or_doubled),
	};

	return cmocka_run_group_tests_name("prop_wheel", tests, seed, NULL);
}
