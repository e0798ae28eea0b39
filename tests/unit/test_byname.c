#include "watch/tell/byname.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/prng.h"
#include "base/util.h"
#include "support/fault.h"

FAULT(void *, NULL, calloc, (size_t n, size_t size), (n, size))

static struct byname *b;
static struct byname_sum sums[BYNAME_ROWS];

static int
setup(void **state)
{
	(void)state;
	fault_off(&fault_calloc);
	b = byname_new();
	return b == NULL ? -1 : 0;
}

static int
teardown(void **state)
{
	(void)state;
	byname_free(b);
	return 0;
}

static struct agent_view
an_agent(const char *name, uint64_t beats)
{
	return (struct agent_view){
		.name = name, .beats = beats, .last_seen_ns = beats
	};
}

/* The row of a name among n, or UINT32_MAX. */
static uint32_t
row(uint32_t n, const char *label)
{
	uint32_t i;

	for (i = 0; i < n; i++)
		if (strcmp(byname_row(b, i), label) == 0)
			return i;
	return UINT32_MAX;
}

static uint32_t
sweep(const struct agent_view *agents, size_t n)
{
	size_t i;

	byname_begin(b, sums);
	for (i = 0; i < n; i++)
		byname_add(b, sums, &agents[i]);
	return byname_end(b, sums);
}

static void
agents_of_one_name_are_summed(void **state)
{
	struct agent_view agents[] = {
		an_agent("web", 5),
		an_agent("db", 7),
		an_agent("web", 6),
	};
	uint32_t n, web, db;

	(void)state;
	agents[0].stalls = 2;
	agents[0].status = AGENT_DEGRADED;
	agents[2].stalls = 1;
	agents[1].status = AGENT_STALLED;
	n = sweep(agents, 3);
	assert_int_equal(n, 3);
	assert_string_equal(byname_row(b, 0), BYNAME_OTHERS);
	assert_int_equal(sums[0].agents, 0);
	web = row(n, "web");
	db = row(n, "db");
	assert_int_equal(sums[web].beats, 11);
	assert_int_equal(sums[web].stalls, 3);
	assert_int_equal(sums[web].agents, 2);
	assert_int_equal(sums[web].last_seen_ns, 6);
	assert_int_equal(sums[web].status, AGENT_DEGRADED);
	assert_int_equal(sums[db].beats, 7);
	assert_int_equal(sums[db].status, AGENT_STALLED);
}

static void
counts_outlive_the_agents(void **state)
{
	const struct agent_view agents[] = { an_agent("web", 5),
		an_agent("web", 6) };
	uint32_t n, web;

	(void)state;
	(void)sweep(agents, 2);
	byname_keep(b, &agents[0]);
	n = sweep(&agents[1], 1);
	web = row(n, "web");
	assert_int_equal(sums[web].beats, 11);
	assert_int_equal(sums[web].agents, 1);
	byname_keep(b, &agents[1]);
	n = sweep(NULL, 0);
	assert_int_equal(sums[web].beats, 11);
	assert_int_equal(sums[web].agents, 0);
	assert_int_equal(row(n, "web"), web);
}

static void
an_agent_that_goes_during_a_sweep_makes_no_sum_fall(void **state)
{
	const struct agent_view agents[] = { an_agent("web", 5),
		an_agent("web", 6) };
	uint32_t n, web;

	(void)state;
	n = sweep(agents, 2);
	web = row(n, "web");

	byname_begin(b, sums);
	byname_add(b, sums, &agents[0]);
	byname_keep(b, &agents[1]); /* before its turn came */
	(void)byname_end(b, sums);
	assert_int_equal(sums[web].beats, 11);

	byname_begin(b, sums);
	byname_add(b, sums, &agents[0]);
	byname_keep(b, &agents[0]); /* after it */
	(void)byname_end(b, sums);
	assert_int_equal(sums[web].beats, 11);
	(void)sweep(NULL, 0);
	assert_int_equal(sums[web].beats, 11);
}

static void
names_without_a_row_of_their_own_share_one(void **state)
{
	struct agent_view agent;
	char name[16];
	uint32_t i, n;

	(void)state;
	byname_begin(b, sums);
	for (i = 0; i < 2 * BYNAME_NAMES; i++) {
		(void)snprintf(name, sizeof(name), "%u", i * 7919 % 65521);
		agent = an_agent(name, 1);
		byname_add(b, sums, &agent);
	}
	agent = an_agent(BYNAME_OTHERS, 1);
	byname_add(b, sums, &agent);
	n = byname_end(b, sums);
	assert_int_equal(n, BYNAME_ROWS);
	assert_int_equal(sums[0].agents, BYNAME_NAMES + 1);
	assert_int_equal(sums[0].beats, BYNAME_NAMES + 1);
	for (i = 1; i < n; i++)
		assert_int_equal(sums[i].agents, 1);
}

static void
names_that_show_alike_are_one(void **state)
{
	const struct agent_view agents[] = { an_agent("a\x01", 1),
		an_agent("a\x02", 2), an_agent("", 3), an_agent(NULL, 4),
		an_agent("q\"\\\n", 5) };
	uint32_t n;

	(void)state;
	n = sweep(agents, 5);
	assert_int_equal(n, 4);
	assert_int_equal(sums[row(n, "a\xef\xbf\xbd")].beats, 3);
	assert_int_equal(sums[row(n, "")].beats, 7);
	assert_int_equal(sums[row(n, "q\\\"\\\\\\n")].beats, 5);
}

static void
a_long_name_is_cut_to_its_room(void **state)
{
	char name[256], label[BYNAME_LABEL_BYTES];

	(void)state;
	memset(name, '"', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	byname_label(name, label);
	assert_int_equal(strlen(label), BYNAME_LABEL_BYTES - 2);
	name[0] = 'x';
	byname_label(name, label);
	assert_int_equal(strlen(label), BYNAME_LABEL_BYTES - 1);
}

/* Whatever comes and goes, and whenever: rows stay, and no sum falls. */
static void
sums_never_fall(void **state)
{
	static struct agent_view agents[64];
	static uint64_t shown[BYNAME_ROWS];
	static const char *const names[] = { "a", "b", "c", "d", "e" };
	struct prng random;
	uint32_t round, i, n;

	(void)state;
	prng_seed(&random, 1);
	for (i = 0; i < ARRAY_SIZE(agents); i++)
		agents[i] = an_agent(names[i % 5], 1);
	for (round = 0; round < 2000; round++) {
		byname_begin(b, sums);
		for (i = 0; i < ARRAY_SIZE(agents); i++) {
			struct agent_view *any =
			    &agents[prng_below(&random, ARRAY_SIZE(agents))];

			if (prng_below(&random, 8) == 0) {
				byname_keep(b, any);
				any->beats = 0;
				any->name = names[prng_below(&random, 5)];
			}
			byname_add(b, sums, &agents[i]);
			any->beats += prng_below(&random, 3);
		}
		n = byname_end(b, sums);
		for (i = 0; i < n; i++) {
			assert_true(sums[i].beats >= shown[i]);
			shown[i] = sums[i].beats;
		}
	}
}

static void
no_memory_is_no_sums(void **state)
{
	(void)state;
	fault_nth(&fault_calloc, 1, ENOMEM);
	assert_null(byname_new());
	byname_free(NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(agents_of_one_name_are_summed),
		TEST(counts_outlive_the_agents),
		TEST(an_agent_that_goes_during_a_sweep_makes_no_sum_fall),
		TEST(names_without_a_row_of_their_own_share_one),
		TEST(names_that_show_alike_are_one),
		TEST(a_long_name_is_cut_to_its_room),
		TEST(sums_never_fall),
		TEST(no_memory_is_no_sums),
	};

	return cmocka_run_group_tests_name("byname", tests, NULL, NULL);
}
