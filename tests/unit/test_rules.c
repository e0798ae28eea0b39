#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "watch/rules.h"

static struct rules rules;

static const struct rule_facts worker = {
	.comm = "worker",
	.exe = "/usr/bin/worker",
	.cgroup = "/system.slice/worker.service",
	.uid = 33,
};

static const struct rule *
match(struct rule rule)
{
	rules.list[0] = rule;
	rules.n = 1;
	return rules_match(&rules, &worker);
}

static void
each_condition_alone_matches_or_not(void **state)
{
	(void)state;
	assert_non_null(match((struct rule){ .comm = "worker" }));
	assert_null(match((struct rule){ .comm = "work" }));
	assert_non_null(match((struct rule){ .exe = "/usr/bin/worker" }));
	assert_null(match((struct rule){ .exe = "worker" }));
	assert_non_null(match((struct rule){ .unit = "worker.service" }));
	assert_non_null(match((struct rule){ .unit = "system.slice" }));
	assert_null(match((struct rule){ .unit = "worker" }));
	assert_non_null(match((struct rule){ .has_uid = true, .uid = 33 }));
	assert_null(match((struct rule){ .has_uid = true, .uid = 0 }));
}

static void
all_conditions_of_a_rule_must_hold(void **state)
{
	(void)state;
	assert_non_null(match(
	    (struct rule){ .comm = "worker", .has_uid = true, .uid = 33 }));
	assert_null(match(
	    (struct rule){ .comm = "worker", .has_uid = true, .uid = 34 }));
}

static void
the_first_rule_that_matches_counts(void **state)
{
	(void)state;
	rules.n = 3;
	rules.list[0] = (struct rule){ .comm = "other" };
	rules.list[1] = (struct rule){ .comm = "worker" };
	rules.list[2] = (struct rule){ .comm = "worker" };
	assert_ptr_equal(rules_match(&rules, &worker), &rules.list[1]);
	rules.n = 1;
	assert_null(rules_match(&rules, &worker));
	rules.n = 0;
	assert_null(rules_match(&rules, &worker));
}

static void
what_is_not_known_matches_nothing(void **state)
{
	const struct rule_facts unknown = {
		.comm = "",
		.exe = "",
		.cgroup = "",
		.uid = UINT32_MAX,
	};

	(void)state;
	rules.n = 3;
	rules.list[0] = (struct rule){ .comm = "worker" };
	rules.list[1] = (struct rule){ .exe = "/x" };
	rules.list[2] = (struct rule){ .unit = "x.service" };
	assert_null(rules_match(&rules, &unknown));
}

/* A rule with a lane is for lanes, one without for processes. */
static void
lanes_and_processes_have_rules_of_their_own(void **state)
{
	struct rule_facts writer = worker;

	(void)state;
	writer.lane = "writer";
	rules.n = 2;
	rules.list[0] = (struct rule){ .comm = "worker" };
	rules.list[1] = (struct rule){ .comm = "worker", .lane = "writer" };
	assert_ptr_equal(rules_match(&rules, &worker), &rules.list[0]);
	assert_ptr_equal(rules_match(&rules, &writer), &rules.list[1]);
	writer.lane = "write";
	assert_null(rules_match(&rules, &writer));
	writer.lane = "";
	assert_null(rules_match(&rules, &writer));
	/* All other conditions hold for its process. */
	writer.lane = "writer";
	rules.list[1] = (struct rule){ .lane = "writer" };
	assert_ptr_equal(rules_match(&rules, &writer), &rules.list[1]);
	rules.list[1] = (struct rule){ .lane = "writer", .comm = "other" };
	assert_null(rules_match(&rules, &writer));
	rules.list[1] =
	    (struct rule){ .lane = "writer", .has_uid = true, .uid = 33 };
	assert_ptr_equal(rules_match(&rules, &writer), &rules.list[1]);
}

static void
a_rule_is_found_again_by_its_name(void **state)
{
	(void)state;
	rules.n = 3;
	rules.list[0] = (struct rule){ .name = "a", .comm = "x" };
	rules.list[1] = (struct rule){ .name = "b", .lane = "x" };
	rules.list[2] = (struct rule){ .name = "b", .comm = "y" };
	assert_int_equal(rules_number(&rules, "a", false), 1);
	assert_int_equal(rules_number(&rules, "a", true), 0);
	assert_int_equal(rules_number(&rules, "b", true), 2);
	assert_int_equal(rules_number(&rules, "b", false), 3);
	assert_int_equal(rules_number(&rules, "c", false), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_condition_alone_matches_or_not),
		cmocka_unit_test(all_conditions_of_a_rule_must_hold),
		cmocka_unit_test(the_first_rule_that_matches_counts),
		cmocka_unit_test(what_is_not_known_matches_nothing),
		cmocka_unit_test(lanes_and_processes_have_rules_of_their_own),
		cmocka_unit_test(a_rule_is_found_again_by_its_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
