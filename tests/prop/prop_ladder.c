/*
 * The ladder against a plain model that scans a list: the same random stalls,
 * on a clock that only goes forward, must give the same steps and counts. The
 * seed is printed; VARTA_SEED gives it again.
 */
#include "watch/act/ladder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/prng.h"
#include "support/seed.h"

enum { ROUNDS = 60, STEPS = 4000, ENTRIES_MAX = 24, IDS = 40 };

struct line {
	uint64_t id;
	uint64_t at_ns;
	uint64_t ticks;
};

/* Lines in the order of their fires, the oldest first. */
struct model {
	struct line lines[ENTRIES_MAX];
	uint32_t n;
	struct ladder_options options;
	struct ladder_counts counts;
};

static void
forget(struct model *m, uint32_t i)
{
	m->n--;
	memmove(
	    &m->lines[i], &m->lines[i + 1], (m->n - i) * sizeof(m->lines[0]));
}

/* The reference drops what is over for ten windows before it looks. */
static void
drop_stale(struct model *m, uint64_t now_ns)
{
	while (m->n > 0 &&
	       now_ns - m->lines[0].at_ns >= 10 * m->options.debounce_ns)
		forget(m, 0);
}

static enum ladder_step
model_step(struct model *m, const struct ladder_ask *ask, uint64_t now_ns)
{
	struct line *line;
	uint32_t i;
	bool same, open;

	drop_stale(m, now_ns);
	for (i = 0; i < m->n && m->lines[i].id != ask->id; i++)
		;
	if (i < m->n) {
		line = &m->lines[i];
		same = line->ticks == 0 || ask->start_ticks == 0 ||
		       line->ticks == ask->start_ticks;
		open = now_ns - line->at_ns < m->options.debounce_ns;
		if (open && same)
			return LADDER_DEBOUNCED;
		if (open)
			m->counts.recycle_resets++;
		forget(m, i);
	} else if (m->n == m->options.entries) {
		if (now_ns - m->lines[0].at_ns < m->options.debounce_ns)
			return LADDER_REFUSE_LEDGER_FULL;
		m->counts.evictions++;
		forget(m, 0);
	}
	m->lines[m->n++] = (struct line){ ask->id, now_ns, ask->start_ticks };
	return LADDER_FIRE;
}

static void
one_round(struct prng *rng)
{
	struct model m = { 0 };
	struct ladder_ask ask = { .origin = ORIGIN_KERNEL_ATTESTED };
	uint64_t now_ns = prng_below(rng, 1000);
	enum ladder_step step;
	struct ladder *l;
	void *mem;
	int i;

	m.options.entries = (uint32_t)(1 + prng_below(rng, ENTRIES_MAX));
	m.options.debounce_ns = prng_below(rng, 300);
	m.options.seed[0] = prng_u64(rng);
	m.options.seed[1] = prng_u64(rng);
	mem = malloc(ladder_size(m.options.entries));
	assert_non_null(mem);
	l = ladder_init(mem, &m.options);
	for (i = 0; i < STEPS; i++) {
		/* Mostly a few steps; now and then a pause of many windows. */
		now_ns += prng_below(rng, 100) == 0 ? prng_below(rng, 6000)
						    : prng_below(rng, 30);
		ask.id = prng_below(rng, IDS) << 20;
		ask.start_ticks = prng_below(rng, 4);
		step = ladder_judge(l, &ask, now_ns);
		if (step == LADDER_FIRE)
			ladder_fired(l, &ask, now_ns);
		assert_int_equal(step, model_step(&m, &ask, now_ns));
		assert_int_equal(
		    ladder_counts(l)->evictions, m.counts.evictions);
		assert_int_equal(
		    ladder_counts(l)->recycle_resets, m.counts.recycle_resets);
	}
	free(mem);
}

static void
steps_and_counts_are_those_of_a_plain_list(void **state)
{
	struct prng rng;
	int i;

	(void)state;
	prng_seed(&rng, seed_choose());
	for (i = 0; i < ROUNDS; i++)
		one_round(&rng);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(steps_and_counts_are_those_of_a_plain_list),
	};

	return cmocka_run_group_tests_name("prop_ladder", tests, NULL, NULL);
}
