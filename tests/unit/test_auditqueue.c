#include "watch/tell/auditqueue.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/prng.h"
#include "support/fault.h"

FAULT(void *, NULL, calloc, (size_t n, size_t size), (n, size))

static struct auditqueue *queue;
static char bytes[AUDITQUEUE_BYTES + 1];

static int
setup(void **state)
{
	(void)state;
	queue = auditqueue_new();
	memset(bytes, 'b', sizeof(bytes));
	return queue == NULL;
}

static int
teardown(void **state)
{
	(void)state;
	auditqueue_free(queue);
	return 0;
}

static bool
put(const char *text)
{
	return auditqueue_put(queue, AUDITLINE_REFUSED, text, strlen(text), 5);
}

static void
assert_front(const char *text, uint64_t n_lost)
{
	struct auditqueue_row row;

	assert_true(auditqueue_front(queue, &row));
	assert_int_equal(row.n, strlen(text));
	assert_memory_equal(row.text, text, row.n);
	assert_int_equal(row.kind, AUDITLINE_REFUSED);
	assert_int_equal(row.put_ns, 5);
	assert_int_equal(row.n_lost, n_lost);
	auditqueue_take(queue);
}

static void
rows_come_out_as_they_went_in(void **state)
{
	struct auditqueue_row row;

	(void)state;
	assert_false(auditqueue_front(queue, &row));
	assert_true(put("one"));
	assert_true(put("two"));
	assert_int_equal(auditqueue_count(queue), 2);
	assert_front("one", 0);
	assert_true(put("three"));
	assert_front("two", 0);
	assert_front("three", 0);
	assert_false(auditqueue_front(queue, &row));
	assert_int_equal(auditqueue_count(queue), 0);
}

static void
a_full_queue_loses_rows_and_says_how_many(void **state)
{
	uint32_t i;

	(void)state;
	for (i = 0; i < AUDITQUEUE_ROWS; i++) {
		assert_int_equal(auditqueue_fill(queue), i);
		assert_true(auditqueue_has_room(queue, 3));
		assert_true(put("row"));
	}
	assert_int_equal(auditqueue_fill(queue), AUDITQUEUE_ROWS);
	assert_false(auditqueue_has_room(queue, 1));
	assert_false(put("lost"));
	assert_false(put("lost"));
	assert_front("row", 0);
	assert_true(put("next"));
	assert_false(put("lost"));
	for (i = 1; i < AUDITQUEUE_ROWS; i++)
		assert_front("row", 0);
	assert_front("next", 2);
	assert_true(put("last"));
	assert_front("last", 1);
}

static void
bytes_have_a_limit_as_well(void **state)
{
	struct auditqueue_row row;
	size_t half = AUDITQUEUE_BYTES / 2;

	(void)state;
	assert_false(auditqueue_put(
	    queue, AUDITLINE_SPAWN, bytes, AUDITQUEUE_BYTES + 1, 0));
	assert_true(auditqueue_put(queue, AUDITLINE_SPAWN, bytes, half, 0));
	assert_int_equal(auditqueue_fill(queue), AUDITQUEUE_ROWS / 2);
	assert_true(auditqueue_put(queue, AUDITLINE_SPAWN, bytes, half, 0));
	assert_int_equal(auditqueue_fill(queue), AUDITQUEUE_ROWS);
	assert_false(put("x"));
	assert_true(auditqueue_front(queue, &row));
	assert_int_equal(row.n_lost, 1);
	assert_int_equal(row.n, half);
	auditqueue_take(queue);
	assert_int_equal(auditqueue_fill(queue), AUDITQUEUE_ROWS / 2);

	/* Behind the first half there is room again, in one piece only. */
	assert_false(
	    auditqueue_put(queue, AUDITLINE_SPAWN, bytes, half + 1, 0));
	assert_true(auditqueue_put(queue, AUDITLINE_SPAWN, bytes, half, 0));
	assert_int_equal(auditqueue_fill(queue), AUDITQUEUE_ROWS);
}

/* Rows of any length, their number in each byte, against a plain count. */
static void
rows_of_any_length_are_never_mixed_up(void **state)
{
	struct auditqueue_row row;
	uint64_t put_n = 0, taken_n = 0, lost = 0;
	size_t lengths[1 << 10], n;
	struct prng random;
	int i;

	(void)state;
	prng_seed(&random, 1);
	for (i = 0; i < 200000; i++) {
		if (prng_below(&random, 2) == 0) {
			n = 1 + prng_below(&random,
				    prng_below(&random, 8) == 0 ? 9000 : 200);
			memset(bytes, (int)(put_n & 0xff), n);
			if (!auditqueue_put(
				queue, AUDITLINE_SPAWN, bytes, n, put_n)) {
				lost++;
				continue;
			}
			lengths[put_n++ % (1 << 10)] = n;
		} else if (auditqueue_front(queue, &row)) {
			assert_int_equal(row.put_ns, taken_n);
			assert_int_equal(row.n, lengths[taken_n % (1 << 10)]);
			memset(bytes, (int)(taken_n & 0xff), row.n);
			assert_memory_equal(row.text, bytes, row.n);
			assert_true(row.n_lost <= lost);
			lost -= row.n_lost;
			auditqueue_take(queue);
			taken_n++;
		}
		assert_int_equal(auditqueue_count(queue), put_n - taken_n);
		assert_true(auditqueue_fill(queue) <= AUDITQUEUE_ROWS);
	}
	assert_true(taken_n > 1000);
}

enum { ROWS = 200000 };

/* Takes until all numbers have come, put or lost. */
static void *
take_all(void *ctx)
{
	struct auditqueue_row row;
	uint64_t next = 0;
	bool *ret_in_order = ctx;

	*ret_in_order = true;
	while (next < ROWS) {
		if (!auditqueue_front(queue, &row))
			continue;
		next += row.n_lost;
		*ret_in_order &= row.put_ns == next && row.n == 8 &&
				 memcmp(row.text, &next, 8) == 0;
		next++;
		auditqueue_take(queue);
	}
	return NULL;
}

static void
two_threads_need_no_lock(void **state)
{
	pthread_t thread;
	uint64_t i;
	bool in_order;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, take_all, &in_order), 0);
	for (i = 0; i < ROWS; i++) {
		/* The last one must arrive. */
		while (i == ROWS - 1 && !auditqueue_has_room(queue, sizeof(i)))
			;
		(void)auditqueue_put(
		    queue, AUDITLINE_SPAWN, (const char *)&i, sizeof(i), i);
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(in_order);
}

static void
no_memory_is_no_queue(void **state)
{
	(void)state;
	fault_nth(&fault_calloc, 1, ENOMEM);
	assert_null(auditqueue_new());
	fault_off(&fault_calloc);
	auditqueue_free(NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(rows_come_out_as_they_went_in),
		TEST(a_full_queue_loses_rows_and_says_how_many),
		TEST(bytes_have_a_limit_as_well),
		TEST(rows_of_any_length_are_never_mixed_up),
		TEST(two_threads_need_no_lock),
		TEST(no_memory_is_no_queue),
	};

	return cmocka_run_group_tests_name("auditqueue", tests, NULL, NULL);
}
