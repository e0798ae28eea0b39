#include "watch/tell/bell.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/util.h"
#include "support/fault.h"

FAULT(int, -1, pipe, (int fds[2]), (fds))
FAULT(int, -1, fcntl64, (int fd, int command, int value), (fd, command, value))

static unsigned n_writes, n_interrupts;

ssize_t __real_write(int fd, const void *bytes, size_t n);
ssize_t __wrap_write(int fd, const void *bytes, size_t n);

ssize_t
__wrap_write(int fd, const void *bytes, size_t n)
{
	n_writes++;
	if (n_interrupts > 0) {
		n_interrupts--;
		errno = EINTR;
		return -1;
	}
	return __real_write(fd, bytes, n);
}

static struct bell bell;

static int
setup(void **state)
{
	(void)state;
	fault_off(&fault_pipe);
	fault_off(&fault_fcntl64);
	n_writes = 0;
	return bell_init(&bell);
}

static int
teardown(void **state)
{
	(void)state;
	bell_fini(&bell);
	return 0;
}

static void
a_ring_is_heard_once(void **state)
{
	(void)state;
	assert_false(bell_wait(&bell, 0));
	bell_ring(&bell);
	assert_true(bell_wait(&bell, NS_NEVER));
	assert_false(bell_wait(&bell, 0));
	assert_false(bell_wait(&bell, 1));
}

static void
many_rings_are_one_and_cost_one_call(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < 100000; i++)
		bell_ring(&bell);
	assert_int_equal(n_writes, 1);
	assert_true(bell_wait(&bell, NS_NEVER));
	assert_false(bell_wait(&bell, 0));
}

static void
an_interrupted_ring_is_made_again(void **state)
{
	(void)state;
	n_interrupts = 2;
	bell_ring(&bell);
	assert_int_equal(n_writes, 3);
	assert_true(bell_wait(&bell, NS_NEVER));
}

enum { ROUNDS = 20000 };

static int work; /* not atomic: the bell orders it */
static struct bell back;

static void *
answer(void *ctx)
{
	int i;

	(void)ctx;
	for (i = 0; i < ROUNDS; i++) {
		while (!bell_wait(&bell, NS_NEVER))
			;
		work++;
		bell_ring(&back);
	}
	return NULL;
}

static void
what_was_done_before_a_ring_is_seen_after_it(void **state)
{
	pthread_t thread;
	int i;

	(void)state;
	assert_int_equal(bell_init(&back), 0);
	work = 0;
	assert_int_equal(pthread_create(&thread, NULL, answer, NULL), 0);
	for (i = 0; i < ROUNDS; i++) {
		work++;
		bell_ring(&bell);
		while (!bell_wait(&back, NS_NEVER))
			;
		assert_int_equal(work, 2 * (i + 1));
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
	bell_fini(&back);
}

static void
a_failure_leaves_nothing_open(void **state)
{
	struct bell none = { .fds = { -1, -1 } };
	int before = dup(0), after;
	unsigned nth;

	(void)state;
	(void)close(before);
	fault_nth(&fault_pipe, 1, EMFILE);
	assert_int_equal(bell_init(&none), -EMFILE);
	for (nth = 1;; nth++) {
		fault_nth(&fault_fcntl64, nth, EPERM);
		if (bell_init(&none) == 0)
			break;
		assert_int_equal(none.fds[0], -1);
	}
	assert_true(nth > 4);
	bell_fini(&none);
	bell_fini(&none);
	after = dup(0);
	(void)close(after);
	assert_int_equal(after, before);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_ring_is_heard_once),
		TEST(many_rings_are_one_and_cost_one_call),
		TEST(an_interrupted_ring_is_made_again),
		TEST(what_was_done_before_a_ring_is_seen_after_it),
		TEST(a_failure_leaves_nothing_open),
	};

	return cmocka_run_group_tests_name("bell", tests, NULL, NULL);
}
