/*
 * The token bucket against a plain model in 128-bit nanotokens, over random
 * rates, bursts and times. The seed is printed; VARTA_SEED gives it again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/prng.h"
#include "base/util.h"
#include "support/seed.h"
#include "watch/intake/admit.h"

enum { ROUNDS = 300, STEPS = 1000 };

__extension__ typedef unsigned __int128 u128;

/* A token is 10^9 units: one second at a rate of one brings one token. */
struct model {
	u128 units;
	u128 full;
	uint64_t rate;
	uint64_t last_ns;
};

static bool
model_take(struct model *m, uint64_t now_ns)
{
	if (now_ns > m->last_ns) {
		m->units += (u128)(now_ns - m->last_ns) * m->rate;
		m->last_ns = now_ns;
	}
	if (m->units > m->full)
		m->units = m->full;
	if (m->units < NS_PER_S)
		return false;
	m->units -= NS_PER_S;
	return true;
}

static void
seed(struct prng *p)
{
	prng_seed(p, seed_choose());
}

/* Small and huge numbers alike. */
static uint64_t
any(struct prng *p, unsigned max_bits)
{
	return prng_u64(p) >> (64 - 1 - prng_below(p, max_bits));
}

static void
it_lets_pass_what_a_plain_model_lets_pass(void **state)
{
	struct admit a;
	struct model m;
	struct prng p;
	uint64_t now_ns, burst;
	bool took;
	int i, j;

	(void)state;
	seed(&p);
	for (i = 0; i < ROUNDS; i++) {
		now_ns = any(&p, 40);
		m.rate = 1 + any(&p, 31);
		burst = 1 + any(&p, 31);
		m.full = m.units = (u128)burst * NS_PER_S;
		m.last_ns = now_ns;
		admit_init(&a, (uint32_t)m.rate, (uint32_t)burst, now_ns);
		for (j = 0; j < STEPS; j++) {
			if (prng_below(&p, 4) > 0)
				now_ns += any(&p, 36);
			else if (prng_below(&p, 8) == 0)
				now_ns -= u64_min(now_ns, any(&p, 36));
			took = admit_take(&a, now_ns);
			assert_int_equal(took, model_take(&m, now_ns));
			if (took && prng_below(&p, 8) == 0) {
				admit_give_back(&a);
				m.units += NS_PER_S;
			}
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_lets_pass_what_a_plain_model_lets_pass),
	};

	return cmocka_run_group_tests_name("prop_admit", tests, NULL, NULL);
}
