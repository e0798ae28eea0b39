#include "watch/intake/closers.h"

#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

int __real_close(int fd);
int __wrap_close(int fd);

static pthread_t loop_thread;
static _Atomic int closed_here, closed_elsewhere;
static _Atomic bool must_wait;
static sem_t may_go_on;
/* A thread that is about to end may keep one from being freed. */
static struct closers *made[8];
static int n_made;

/* Closing waits for whoever serves the file, if the test says so. */
int
__wrap_close(int fd)
{
	if (pthread_equal(pthread_self(), loop_thread)) {
		closed_here++;
		return __real_close(fd);
	}
	if (must_wait)
		(void)sem_wait(&may_go_on);
	closed_elsewhere++;
	return __real_close(fd);
}

static int
setup(void **state)
{
	struct closers *c = closers_new();

	loop_thread = pthread_self();
	closed_here = closed_elsewhere = 0;
	must_wait = false;
	if (c == NULL || sem_init(&may_go_on, 0, 0) < 0)
		return -1;
	*state = made[n_made++] = c;
	return 0;
}

static int
foreign(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void
wait_closed_elsewhere(int n)
{
	while (atomic_load(&closed_elsewhere) < n)
		(void)usleep(1000);
}

static void
memory_is_closed_at_once(void **state)
{
	struct closers *c = *state;

	closers_close(c, memfd_create("memory", MFD_CLOEXEC));
	assert_int_equal(closed_here, 1);
	closers_free(c);
}

static void
nothing_is_closed_for_no_descriptor(void **state)
{
	struct closers *c = *state;

	closers_close(c, -1);
	assert_int_equal(closed_here, 0);
	assert_false(closers_are_busy(c));
	closers_free(c);
}

static void
all_else_is_closed_by_a_thread(void **state)
{
	struct closers *c = *state;

	closers_close(c, foreign());
	wait_closed_elsewhere(1);
	assert_int_equal(closed_here, 0);
	closers_free(c);
}

static void
nobody_waits_for_threads_that_wait(void **state)
{
	struct closers *c = *state;
	int i;

	must_wait = true;
	for (i = 0; i < CLOSERS; i++) {
		assert_false(closers_are_busy(c));
		closers_close(c, foreign());
	}
	assert_true(closers_are_busy(c));
	assert_int_equal(closed_elsewhere, 0);
	for (i = 0; i < CLOSERS; i++)
		(void)sem_post(&may_go_on);
	wait_closed_elsewhere(CLOSERS);
	while (closers_are_busy(c))
		(void)usleep(1000);
	closers_free(c);
}

static void
nothing_is_freed_that_is_not_there(void **state)
{
	closers_free(*state);
	closers_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(memory_is_closed_at_once, setup),
		cmocka_unit_test_setup(
		    nothing_is_closed_for_no_descriptor, setup),
		cmocka_unit_test_setup(all_else_is_closed_by_a_thread, setup),
		cmocka_unit_test_setup(
		    nobody_waits_for_threads_that_wait, setup),
		cmocka_unit_test_setup(
		    nothing_is_freed_that_is_not_there, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
