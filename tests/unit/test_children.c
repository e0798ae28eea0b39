#include "watch/act/children.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MAX = 4 };

static const uint64_t seed[2] = { 1, 2 };

static struct children *
make(void)
{
	void *mem = malloc(children_size(MAX));

	assert_non_null(mem);
	return children_init(mem, MAX, seed);
}

static void
has_a_size_for_sensible_numbers_only(void **state)
{
	(void)state;
	assert_int_equal(children_size(0), 0);
	assert_true(children_size(1) > 0);
	assert_int_equal(children_size((1 << 24) + 1), 0);
}

static void
finds_a_child_by_identity_until_it_is_removed(void **state)
{
	struct children *t = make();
	struct child *c;

	(void)state;
	assert_null(children_find(t, 7));
	c = children_add(t, 7);
	assert_ptr_equal(children_find(t, 7), c);
	assert_null(children_find(t, 8));
	children_remove(t, c);
	assert_null(children_find(t, 7));
	assert_int_equal(children_count(t), 0);
	free(t);
}

static void
a_new_child_has_nothing_of_the_last_one(void **state)
{
	struct children *t = make();
	struct child *c = children_add(t, 7);

	(void)state;
	c->killed = true;
	c->pid = 42;
	children_remove(t, c);
	c = children_add(t, 8);
	assert_false(c->killed);
	assert_int_equal(c->pid, 0);
	assert_false(c->orphan);
	free(t);
}

static void
a_token_dies_with_its_child(void **state)
{
	struct children *t = make();
	struct child *c = children_add(t, 7);
	uint64_t token = children_token(t, c);

	(void)state;
	assert_true(token < UINT64_C(1) << 63);
	assert_ptr_equal(children_by_token(t, token), c);
	children_remove(t, c);
	assert_null(children_by_token(t, token));
	c = children_add(t, 7);
	assert_null(children_by_token(t, token));
	assert_ptr_equal(children_by_token(t, children_token(t, c)), c);
	assert_null(children_by_token(t, 0));
	assert_null(children_by_token(t, UINT64_MAX));
	free(t);
}

static void
is_full_at_its_limit_and_an_orphan_makes_room(void **state)
{
	struct children *t = make();
	uint64_t id;

	(void)state;
	for (id = 0; id < MAX; id++) {
		assert_false(children_is_full(t));
		(void)children_add(t, id);
	}
	assert_true(children_is_full(t));
	assert_true(children_make_orphan(t, children_find(t, 0)));
	assert_false(children_is_full(t));
	assert_null(children_find(t, 0));
	(void)children_add(t, 0);
	assert_true(children_is_full(t));
	assert_int_equal(children_count(t), MAX + 1);
	free(t);
}

static void
takes_as_many_orphans_as_children_and_no_more(void **state)
{
	struct children *t = make();
	struct child *orphan = NULL;
	int i;

	(void)state;
	for (i = 0; i < MAX; i++) {
		orphan = children_add(t, 7);
		assert_true(children_make_orphan(t, orphan));
	}
	assert_false(children_make_orphan(t, children_add(t, 7)));
	assert_non_null(children_find(t, 7));
	children_remove(t, orphan);
	assert_non_null(children_find(t, 7));
	assert_true(children_make_orphan(t, children_find(t, 7)));
	free(t);
}

static void
lists_keep_the_order_in_which_children_came(void **state)
{
	struct children *t = make();
	struct child *a = children_add(t, 1), *b = children_add(t, 2);
	struct child *c = children_add(t, 3);

	(void)state;
	assert_null(children_first(t, CHILD_ENDED));
	assert_ptr_equal(children_first(t, CHILD_DUE), a);
	children_move(t, a, CHILD_DUE);
	assert_ptr_equal(children_first(t, CHILD_DUE), b);
	children_move(t, c, CHILD_ENDED);
	children_move(t, b, CHILD_ENDED);
	assert_ptr_equal(children_first(t, CHILD_DUE), a);
	assert_ptr_equal(children_first(t, CHILD_ENDED), c);
	children_remove(t, c);
	assert_ptr_equal(children_first(t, CHILD_ENDED), b);
	children_move(t, a, CHILD_IN_NO_LIST);
	children_move(t, b, CHILD_IN_NO_LIST);
	assert_null(children_first(t, CHILD_DUE));
	assert_null(children_first(t, CHILD_ENDED));
	children_remove(t, a);
	assert_int_equal(children_count(t), 1);
	free(t);
}

static void
all_are_reached_by_number_after_a_removal(void **state)
{
	struct children *t = make();
	struct child *a = children_add(t, 1), *b = children_add(t, 2);
	struct child *c = children_add(t, 3);

	(void)state;
	children_remove(t, a);
	assert_int_equal(children_count(t), 2);
	assert_ptr_equal(children_at(t, 0), c);
	assert_ptr_equal(children_at(t, 1), b);
	children_remove(t, b);
	assert_ptr_equal(children_at(t, 0), c);
	free(t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(has_a_size_for_sensible_numbers_only),
		cmocka_unit_test(finds_a_child_by_identity_until_it_is_removed),
		cmocka_unit_test(a_new_child_has_nothing_of_the_last_one),
		cmocka_unit_test(a_token_dies_with_its_child),
		cmocka_unit_test(is_full_at_its_limit_and_an_orphan_makes_room),
		cmocka_unit_test(takes_as_many_orphans_as_children_and_no_more),
		cmocka_unit_test(lists_keep_the_order_in_which_children_came),
		cmocka_unit_test(all_are_reached_by_number_after_a_removal),
	};

	return cmocka_run_group_tests_name("children", tests, NULL, NULL);
}
