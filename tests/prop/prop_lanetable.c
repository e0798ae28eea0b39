/*
 * The table of lanes against an array: random lanes that come, go, beat, idle,
 * stall, are deferred and held to other terms. Each is due when the model says,
 * the next time is the earliest of all, the lists of owners are whole. The seed
 * is printed; VARTA_SEED gives it again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/prng.h"
#include "base/util.h"
#include "support/seed.h"
#include "watch/track/lanetable.h"

enum { LANES = 60, OWNERS = 7, OPERATIONS = 300000 };

struct model_lane {
	bool is_used;
	enum lanetable_state state;
	uint32_t owner, stalls;
	uint64_t token, mark, seen_ns, hold_ns, threshold_ns, due_ns;
};

struct model {
	struct lanetable *table;
	struct model_lane lanes[LANES];
	uint32_t n;
	uint64_t now_ns, last_token;
};

static struct prng prng;

static int
seed(void **state)
{
	(void)state;
	prng_seed(&prng, seed_choose());
	return 0;
}

static uint32_t
below(uint32_t n)
{
	return (uint32_t)prng_below(&prng, n);
}

/* A used slot, or LANES. */
static uint32_t
some_lane(const struct model *m)
{
	uint32_t first = below(LANES);

	for (uint32_t i = 0; i < LANES; i++)
		if (m->lanes[(first + i) % LANES].is_used)
			return (first + i) % LANES;
	return LANES;
}

static struct lane_terms
some_terms(void)
{
	return (struct lane_terms){
		.threshold_ns = below(20) == 0 ? UINT64_MAX : 1 + below(500),
		.rule = (uint16_t)below(3),
		.name = "x",
	};
}

static void
come(struct model *m)
{
	const struct lane_terms terms = some_terms();
	const struct lane_id id = { .owner = below(OWNERS),
		.index = below(9),
		.generation = below(9) };
	uint32_t slot = lanetable_add(m->table, &id, &terms, m->now_ns);
	struct lane_view v;

	if (m->n == LANES) {
		assert_int_equal(slot, SLOT_NONE);
		return;
	}
	assert_true(slot < LANES && !m->lanes[slot].is_used);
	assert_true(lanetable_view(m->table, slot, &v));
	assert_true(v.token > m->last_token);
	m->last_token = v.token;
	m->n++;
	m->lanes[slot] = (struct model_lane){
		.is_used = true,
		.owner = id.owner,
		.token = v.token,
		.seen_ns = m->now_ns,
		.threshold_ns = terms.threshold_ns,
		.due_ns = u64_add_sat(m->now_ns, terms.threshold_ns),
	};
}

static void
look(struct model *m, uint32_t slot)
{
	struct model_lane *l = &m->lanes[slot];
	struct lane_sample sample = { .mark = l->mark, .seen_ns = l->seen_ns };
	bool resumes, moves;

	if (below(3) == 0) {
		sample.mark = 0;
	} else if (below(3) > 0) {
		sample.mark = below(5) == 0 ? prng_below(&prng, UINT64_MAX)
					    : u64_sub_sat(m->now_ns, below(60));
		sample.seen_ns = sample.mark;
	}
	moves = sample.mark != l->mark;
	resumes = l->state == LANETABLE_STALLED && moves;
	assert_int_equal(
	    lanetable_note(m->table, slot, &sample, m->now_ns), resumes);
	l->due_ns = u64_add_sat(m->now_ns, l->threshold_ns);
	if (l->state == LANETABLE_STALLED && !moves)
		return;
	l->mark = sample.mark;
	l->state = sample.mark == 0 ? LANETABLE_IDLE : LANETABLE_BUSY;
	if (sample.mark == 0)
		return;
	if (moves)
		l->seen_ns =
		    u64_max(l->seen_ns, u64_min(sample.seen_ns, m->now_ns));
	l->due_ns =
	    u64_max(u64_add_sat(l->seen_ns, l->threshold_ns), l->hold_ns);
}

static void
change(struct model *m, uint32_t slot)
{
	struct model_lane *l = &m->lanes[slot];
	uint64_t at_ns = u64_sub_sat(m->now_ns + below(300), 30);
	struct lane_terms terms;

	switch (below(6)) {
	case 0:
		lanetable_remove(m->table, slot);
		*l = (struct model_lane){ 0 };
		m->n--;
		break;
	case 1:
		lanetable_stall(m->table, slot, at_ns);
		l->state = LANETABLE_STALLED;
		l->stalls++;
		l->due_ns = at_ns;
		break;
	case 2:
		lanetable_defer(m->table, slot, at_ns);
		l->hold_ns = u64_max(l->hold_ns, at_ns);
		l->due_ns = u64_max(l->due_ns, at_ns);
		break;
	case 3:
		terms = some_terms();
		if (below(2) == 0)
			terms.threshold_ns = l->threshold_ns;
		lanetable_set_terms(m->table, slot, &terms, m->now_ns);
		if (terms.threshold_ns == l->threshold_ns)
			break;
		l->threshold_ns = terms.threshold_ns;
		l->hold_ns = u64_max(
		    l->hold_ns, u64_add_sat(m->now_ns, terms.threshold_ns));
		l->due_ns = l->hold_ns;
		break;
	case 4:
		lanetable_look_at(m->table, slot, at_ns);
		l->due_ns = at_ns;
		break;
	default:
		look(m, slot);
		break;
	}
}

/* ---- checks ---- */

static void
check_due(struct model *m, uint64_t at_ns)
{
	bool comes[LANES] = { false };
	uint32_t cursor = 0, slots[LANES];
	size_t n, max;

	do {
		max = 1 + below(LANES);
		n = lanetable_due(m->table, &cursor, at_ns, slots, max);
		assert_true(n <= max);
		for (size_t i = 0; i < n; i++) {
			assert_false(comes[slots[i]]);
			comes[slots[i]] = true;
		}
	} while (n == max);
	for (uint32_t i = 0; i < LANES; i++)
		assert_int_equal(comes[i],
		    m->lanes[i].is_used && m->lanes[i].due_ns <= at_ns);
}

static void
check_next(struct model *m)
{
	uint64_t next_ns = NS_NEVER;

	for (uint32_t i = 0; i < LANES; i++)
		if (m->lanes[i].is_used)
			next_ns = u64_min(next_ns, m->lanes[i].due_ns);
	assert_true(lanetable_next_ns(m->table) == next_ns);
}

static void
check_views(const struct model *m)
{
	struct lane_view v;

	assert_int_equal(lanetable_count(m->table), m->n);
	for (uint32_t i = 0; i < LANES; i++) {
		const struct model_lane *l = &m->lanes[i];

		assert_int_equal(lanetable_view(m->table, i, &v), l->is_used);
		if (!l->is_used)
			continue;
		assert_int_equal(v.state, l->state);
		assert_int_equal(v.id.owner, l->owner);
		assert_int_equal(v.stalls, l->stalls);
		assert_true(v.token == l->token);
		assert_true(v.seen_ns == l->seen_ns);
		assert_true(v.due_ns == l->due_ns);
		assert_true(v.terms->threshold_ns == l->threshold_ns);
	}
}

static void
check_owners(const struct model *m)
{
	bool seen[LANES] = { false };
	uint32_t n = 0;

	for (uint32_t owner = 0; owner < OWNERS; owner++)
		for (uint32_t slot = lanetable_first(m->table, owner);
		     slot != SLOT_NONE; slot = lanetable_next(m->table, slot)) {
			assert_int_equal(m->lanes[slot].owner, owner);
			assert_false(seen[slot]);
			seen[slot] = true;
			n++;
		}
	assert_int_equal(n, m->n);
}

static void
the_table_does_what_an_array_does(void **state)
{
	static struct model m;

	(void)state;
	m.now_ns = 1000;
	assert_int_equal(lanetable_new(LANES, &m.table), 0);
	for (int i = 0; i < OPERATIONS; i++) {
		uint32_t slot = some_lane(&m);

		m.now_ns += below(4) == 0 ? below(100) : 0;
		if (slot == LANES || below(5) == 0)
			come(&m);
		else
			change(&m, slot);
		if (below(4) == 0)
			check_next(&m);
		if (below(8) > 0)
			continue;
		check_due(&m, m.now_ns);
		check_views(&m);
		check_owners(&m);
	}
	lanetable_free(m.table);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(the_table_does_what_an_array_does, seed),
	};

	return cmocka_run_group_tests_name("lanetable", tests, NULL, NULL);
}
