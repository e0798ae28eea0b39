#include "base/syncer.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/util.h"
#include "support/disk.h"
#include "support/fault.h"

FAULT(void *, NULL, calloc, (size_t n, size_t size), (n, size))

FAULT_ERROR(pthread_create,
    (pthread_t * thread, const pthread_attr_t *attr, void *(*run)(void *),
	void *ctx),
    (thread, attr, run, ctx))

static struct syncer *syncer;

static int
setup(void **state)
{
	(void)state;
	fault_off(&fault_calloc);
	fault_off(&fault_pthread_create);
	disk_reset();
	return syncer_start(&syncer);
}

static int
teardown(void **state)
{
	(void)state;
	syncer_stop(syncer);
	syncer = NULL;
	return 0;
}

static int
new_file(void)
{
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static bool
is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void
what_is_asked_for_is_done(void **state)
{
	int fd = new_file();

	(void)state;
	syncer_ask(syncer, fd, 0);
	assert_true(syncer_wait(syncer, NS_NEVER));
	assert_int_equal(disk_done(), 1);
	assert_true(is_open(fd));
	(void)close(fd);
}

static void
requests_during_a_sync_are_served_by_one(void **state)
{
	int fd = new_file();

	(void)state;
	disk_hold(true);
	syncer_ask(syncer, fd, 0);
	assert_true(disk_wait(disk_begun, 1));
	for (int i = 0; i < 10; i++)
		syncer_ask(syncer, fd, 0);
	disk_hold(false);
	assert_true(syncer_wait(syncer, NS_NEVER));
	assert_int_equal(disk_done(), 2);
	(void)close(fd);
}

static void
a_file_that_is_handed_over_is_synced_once_more_and_closed(void **state)
{
	int fd = new_file();

	(void)state;
	disk_hold(true);
	syncer_ask(syncer, fd, 0);
	assert_true(disk_wait(disk_begun, 1));
	syncer_ask(syncer, fd, 0);
	syncer_hand_over(syncer, fd);
	assert_true(is_open(fd));
	disk_hold(false);
	assert_true(syncer_wait(syncer, NS_NEVER));
	/* What was asked for is done by the last one. */
	assert_int_equal(disk_done(), 2);
	assert_false(is_open(fd));
}

static void
there_is_room_for_so_many_and_one_more_at_the_end(void **state)
{
	int fd = new_file();

	(void)state;
	disk_hold(true);
	syncer_ask(syncer, fd, 0);
	assert_true(disk_wait(disk_begun, 1));
	for (unsigned i = 0; i < SYNCER_WAITING; i++) {
		assert_true(syncer_has_room(syncer, SYNCER_WAITING - i));
		assert_false(syncer_has_room(syncer, SYNCER_WAITING - i + 1));
		syncer_hand_over(syncer, new_file());
	}
	assert_false(syncer_has_room(syncer, 1));
	syncer_hand_over(syncer, fd);
	disk_hold(false);
	assert_true(syncer_wait(syncer, NS_NEVER));
	assert_int_equal(disk_done(), 1 + SYNCER_WAITING + 1);
	assert_true(syncer_has_room(syncer, SYNCER_WAITING));
}

static void
failures_are_counted(void **state)
{
	int fd = new_file(), error;

	(void)state;
	assert_int_equal(syncer_failures(syncer, &error), 0);
	disk_fail(EIO);
	syncer_ask(syncer, fd, 0);
	assert_true(syncer_wait(syncer, NS_NEVER));
	assert_int_equal(syncer_failures(syncer, &error), 1);
	assert_int_equal(error, -EIO);
	disk_fail(ENOSPC);
	syncer_hand_over(syncer, fd);
	assert_true(syncer_wait(syncer, NS_NEVER));
	assert_int_equal(syncer_failures(syncer, &error), 2);
	assert_int_equal(error, -ENOSPC);
}

static void
a_disk_that_hangs_is_waited_for_so_long_and_left_behind(void **state)
{
	int fd = new_file(), waiting = new_file();

	(void)state;
	disk_hold(true);
	syncer_hand_over(syncer, fd);
	assert_true(disk_wait(disk_begun, 1));
	syncer_hand_over(syncer, waiting);
	assert_false(syncer_wait(syncer, NS_PER_MS));
	syncer_stop(syncer);
	syncer = NULL;
	disk_hold(false);
	assert_true(disk_wait(disk_done, 1));
}

static void
what_is_on_disk_for_certain_has_its_mark(void **state)
{
	int fd = new_file();

	(void)state;
	assert_int_equal(syncer_done(syncer), 0);
	syncer_ask(syncer, fd, 7);
	assert_true(syncer_wait(syncer, NS_NEVER));
	assert_int_equal(syncer_done(syncer), 7);
	disk_fail(EIO);
	syncer_ask(syncer, fd, 8);
	assert_true(syncer_wait(syncer, NS_NEVER));
	disk_fail(0);
	syncer_ask(syncer, fd, 9);
	assert_true(syncer_wait(syncer, NS_NEVER));
	assert_int_equal(syncer_done(syncer), 7);
	(void)close(fd);
}

static void
signals_are_not_for_the_thread(void **state)
{
	int fd = new_file();

	(void)state;
	syncer_hand_over(syncer, fd);
	assert_true(syncer_wait(syncer, NS_NEVER));
	assert_int_equal(sigismember(&disk.mask, SIGTERM), 1);
}

static void
without_memory_or_thread_there_is_none(void **state)
{
	struct syncer *none = NULL;

	(void)state;
	fault_nth(&fault_calloc, 1, ENOMEM);
	assert_int_equal(syncer_start(&none), -ENOMEM);
	fault_nth(&fault_pthread_create, 1, EAGAIN);
	assert_int_equal(syncer_start(&none), -EAGAIN);
	assert_null(none);
	syncer_stop(NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_asked_for_is_done),
		TEST(requests_during_a_sync_are_served_by_one),
		TEST(a_file_that_is_handed_over_is_synced_once_more_and_closed),
		TEST(there_is_room_for_so_many_and_one_more_at_the_end),
		TEST(failures_are_counted),
		TEST(a_disk_that_hangs_is_waited_for_so_long_and_left_behind),
		TEST(what_is_on_disk_for_certain_has_its_mark),
		TEST(signals_are_not_for_the_thread),
		TEST(without_memory_or_thread_there_is_none),
	};

	return cmocka_run_group_tests_name("syncer", tests, NULL, NULL);
}
