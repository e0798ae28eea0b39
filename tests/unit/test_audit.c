#include "watch/tell/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "support/auditbook.h"
#include "support/fault.h"
#include "support/tmpdir.h"
#include "watch/tell/auditqueue.h"

FAULT(void *, NULL, calloc, (size_t n, size_t size), (n, size))
FAULT(int, -1, pipe, (int fds[2]), (fds))
FAULT(int, -1, sodium_init, (void), ())

FAULT_ERROR(pthread_create,
    (pthread_t * thread, const pthread_attr_t *attr, void *(*run)(void *),
	void *ctx),
    (thread, attr, run, ctx))

/* A disk that can be held, and one that can fail. */
static pthread_mutex_t disk = PTHREAD_MUTEX_INITIALIZER;
static atomic_uint n_syncs, n_syncs_begun;
static atomic_bool disk_full, rename_fails;
static sigset_t mask_at_sync; /* of the thread that synced last */

/* What was logged, by either thread. */
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static char logged[16384];
static size_t n_logged;

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
ssize_t __real_write(int fd, const void *bytes, size_t n);
ssize_t __wrap_write(int fd, const void *bytes, size_t n);

int
__wrap_fdatasync(int fd)
{
	(void)fd;
	atomic_fetch_add(&n_syncs_begun, 1);
	(void)pthread_mutex_lock(&disk);
	(void)pthread_sigmask(SIG_BLOCK, NULL, &mask_at_sync);
	(void)pthread_mutex_unlock(&disk);
	atomic_fetch_add(&n_syncs, 1);
	return 0;
}

int
__wrap_rename(const char *from, const char *to)
{
	if (atomic_load(&rename_fails)) {
		errno = EACCES;
		return -1;
	}
	return __real_rename(from, to);
}

static void
note_line(const void *bytes, size_t n)
{
	(void)pthread_mutex_lock(&log_lock);
	if (n_logged + n < sizeof(logged)) {
		memcpy(logged + n_logged, bytes, n);
		n_logged += n;
		logged[n_logged] = '\0';
	}
	(void)pthread_mutex_unlock(&log_lock);
}

ssize_t
__wrap_write(int fd, const void *bytes, size_t n)
{
	if (fd == STDERR_FILENO) {
		note_line(bytes, n);
		return (ssize_t)n;
	}
	/* Not the bells. */
	if (n > 1 && atomic_load(&disk_full)) {
		errno = ENOSPC;
		return -1;
	}
	return __real_write(fd, bytes, n);
}

static bool
was_logged(const char *text)
{
	bool found;

	(void)pthread_mutex_lock(&log_lock);
	found = strstr(logged, text) != NULL;
	(void)pthread_mutex_unlock(&log_lock);
	return found;
}

static struct audit_options options;
static struct stats stats;
static struct audit *audit;
static struct auditbook_verdict verdict;

static int
setup(void **state)
{
	int r = tmpdir_setup(state);

	memset(&stats, 0, sizeof(stats));
	(void)pthread_mutex_lock(&log_lock);
	n_logged = 0;
	logged[0] = '\0';
	(void)pthread_mutex_unlock(&log_lock);
	atomic_store(&disk_full, false);
	atomic_store(&rename_fails, false);
	atomic_store(&n_syncs, 0);
	atomic_store(&n_syncs_begun, 0);
	fault_off(&fault_calloc);
	fault_off(&fault_pipe);
	fault_off(&fault_sodium_init);
	fault_off(&fault_pthread_create);
	if (r == 0)
		options = (struct audit_options){
			.path = tmpdir_path(*state, "audit"),
			.fsync_budget_ns = NS_NEVER,
			.rotation_budget_ns = NS_NEVER,
			.grace_ns = 20 * NS_PER_S,
			.sync_every = 1,
		};
	return r;
}

static void
open_audit(void)
{
	struct file_fault fault;

	assert_int_equal(audit_open(&options, &stats, &audit, &fault), 0);
}

static void
close_audit(void)
{
	audit_close(audit);
	audit = NULL;
}

static void
add(unsigned n)
{
	const struct recovery_record record = { .outcome = RECOVERY_DEBOUNCED,
		.at_ns = 5,
		.agent_pid = 42,
		.detail = "debounced" };

	while (n-- > 0)
		audit_add(audit, &record);
}

/* Until the expression holds; what the thread counts is asked for meanwhile. */
#define WAIT_FOR(expression)                                                   \
	do {                                                                   \
		for (int tries_ = 0; !(expression); tries_++) {                \
			assert_true(tries_ < 20000);                           \
			(void)poll(NULL, 0, 1);                                \
			audit_flush(audit);                                    \
		}                                                              \
	} while (0)

/* The disk is at work on one row and does not get done. */
static void
hold_disk(void)
{
	unsigned before = atomic_load(&n_syncs_begun);

	(void)pthread_mutex_lock(&disk);
	add(1);
	WAIT_FOR(atomic_load(&n_syncs_begun) > before);
}

static void
let_disk_go(void)
{
	(void)pthread_mutex_unlock(&disk);
}

static void
verify(void)
{
	auditbook_verify_files(&verdict, options.path);
	assert_int_equal(verdict.v.sums.breaks, 0);
}

static void
put_file(const char *text)
{
	int fd =
	    open(options.path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
	fd_close(&fd);
}

static void
rows_are_on_disk_after_the_close(void **state)
{
	(void)state;
	open_audit();
	assert_true(was_logged("': begun\n"));
	add(3);
	audit_flush(audit);
	add(2);
	close_audit();
	verify();
	assert_int_equal(verdict.v.sums.records, 6);
	assert_int_equal(verdict.v.sums.dropped, 0);
	assert_true(was_logged("': closed after record 6, chain "));
	assert_int_equal(stats.recovery_audit_dropped, 0);
	audit_close(NULL);
}

/* As long as commands that cannot be killed are waited for. */
static void
time_that_others_take_at_the_end_is_not_taken_from_the_disk(void **state)
{
	uint64_t until;

	(void)state;
	options.grace_ns = NS_PER_S;
	open_audit();
	audit_end(audit);
	until = clock_now_ns(CLOCK_SOURCE_MONOTONIC) + options.grace_ns;
	while (clock_now_ns(CLOCK_SOURCE_MONOTONIC) < until)
		(void)poll(NULL, 0, 1);
	add(3);
	close_audit();
	assert_false(was_logged("does not answer"));
	verify();
	assert_int_equal(verdict.v.sums.records, 4);
}

static void
rows_are_on_disk_soon_after_a_pass(void **state)
{
	(void)state;
	open_audit();
	add(1);
	WAIT_FOR(stats.audit_fsync.count == 1);
	assert_int_equal(stats.audit_rows, 1);
	verify();
	assert_int_equal(verdict.v.sums.records, 2);
	close_audit();
}

static void
the_caller_does_not_wait_and_what_has_no_room_is_counted(void **state)
{
	(void)state;
	open_audit();
	hold_disk();
	add(AUDITQUEUE_ROWS * 3 / 4 - 1);
	assert_int_equal(stats.audit_ring[STATS_AUDIT_RING_WARN], 0);
	add(1);
	assert_int_equal(stats.audit_ring[STATS_AUDIT_RING_WARN], 1);
	assert_int_equal(stats.audit_ring[STATS_AUDIT_RING_CRITICAL], 0);
	add(AUDITQUEUE_ROWS / 4);
	assert_int_equal(stats.audit_ring[STATS_AUDIT_RING_WARN], 1);
	assert_int_equal(stats.audit_ring[STATS_AUDIT_RING_CRITICAL], 1);
	assert_int_equal(stats.recovery_audit_dropped, 0);
	add(3);
	assert_int_equal(stats.recovery_audit_dropped, 3);
	assert_true(was_logged("records wait"));

	let_disk_go();
	WAIT_FOR(stats.audit_rows == 1 + AUDITQUEUE_ROWS);
	add(1);
	close_audit();
	verify();
	assert_int_equal(verdict.v.sums.records, AUDITQUEUE_ROWS + 3);
	assert_int_equal(verdict.v.sums.dropped, 3);
}

static void
a_watermark_counts_again_after_the_queue_was_shorter(void **state)
{
	(void)state;
	open_audit();
	hold_disk();
	add(AUDITQUEUE_ROWS);
	let_disk_go();
	WAIT_FOR(stats.audit_rows == 1 + AUDITQUEUE_ROWS);
	hold_disk();
	add(AUDITQUEUE_ROWS);
	assert_int_equal(stats.audit_ring[STATS_AUDIT_RING_WARN], 2);
	assert_int_equal(stats.audit_ring[STATS_AUDIT_RING_CRITICAL], 2);
	let_disk_go();
	close_audit();
}

static void
rows_that_wait_for_the_disk_share_a_sync(void **state)
{
	unsigned before;

	(void)state;
	open_audit();
	hold_disk();
	add(100);
	audit_flush(audit);
	before = atomic_load(&n_syncs_begun);
	let_disk_go();
	WAIT_FOR(stats.audit_rows == 101 && stats.audit_fsync.count == 2);
	assert_int_equal(atomic_load(&n_syncs_begun), before + 1);
	close_audit();
}

static void
rows_can_be_synced_some_at_a_time(void **state)
{
	(void)state;
	options.sync_every = 10;
	open_audit();
	assert_true(was_logged("synced each 10 records only"));
	add(9);
	WAIT_FOR(stats.audit_rows == 9);
	assert_int_equal(stats.audit_fsync.count, 0);
	add(1);
	WAIT_FOR(stats.audit_fsync.count == 1);
	add(4);
	WAIT_FOR(stats.audit_rows == 14);
	assert_int_equal(stats.audit_fsync.count, 1);
	close_audit();
	/* The start of the file, ten, and the rest. */
	assert_int_equal(atomic_load(&n_syncs), 3);
}

static void
rows_can_be_synced_by_time_as_well(void **state)
{
	(void)state;
	options.sync_every = 1000;
	options.sync_interval_ns = NS_PER_MS;
	open_audit();
	add(1);
	WAIT_FOR(stats.audit_fsync.count == 1);
	close_audit();
}

static void
what_takes_too_long_is_counted(void **state)
{
	uint64_t until;

	(void)state;
	options.fsync_budget_ns = 0;
	options.rotation_budget_ns = 0;
	options.max_bytes = 4096;
	open_audit();
	hold_disk();
	add(50);
	until = clock_now_ns(CLOCK_SOURCE_MONOTONIC) + 11 * NS_PER_MS;
	while (clock_now_ns(CLOCK_SOURCE_MONOTONIC) < until)
		(void)poll(NULL, 0, 1);
	let_disk_go();
	WAIT_FOR(stats.audit_rotation_budget_exceeded == 1);
	assert_true(stats.audit_fsync_budget_exceeded > 0);
	assert_true(stats.recovery_audit_flush_budget_exceeded > 0);
	assert_true(stats.audit_fsync.sum_ns > 11 * NS_PER_MS);
	close_audit();
	verify();
}

static void
the_trail_rotates_and_loses_nothing(void **state)
{
	unsigned i;

	(void)state;
	options.max_bytes = 4096;
	open_audit();
	for (i = 0; i < 8; i++) {
		add(20);
		WAIT_FOR(stats.audit_rows == 20 * (i + 1));
	}
	close_audit();
	verify();
	assert_int_equal(verdict.n, 0);
	assert_true(verdict.v.sums.boots > 3);
	assert_int_equal(verdict.v.sums.records, 160 + verdict.v.sums.boots);
}

static void
a_rotation_that_fails_holds_nothing_up(void **state)
{
	(void)state;
	options.max_bytes = 4096;
	open_audit();
	atomic_store(&rename_fails, true);
	add(60);
	WAIT_FOR(stats.audit_errors > 0);
	assert_true(was_logged("cannot rotate"));
	add(100);
	WAIT_FOR(stats.audit_rows == 160);
	atomic_store(&rename_fails, false);
	WAIT_FOR(stats.audit_fsync.count > 1);
	close_audit();
	verify();
	assert_int_equal(verdict.n, 0);
	assert_int_equal(verdict.v.sums.records, 160 + verdict.v.sums.boots);
}

static void
what_a_full_disk_does_not_take_is_written_later(void **state)
{
	(void)state;
	open_audit();
	atomic_store(&disk_full, true);
	add(5);
	WAIT_FOR(stats.audit_errors > 1);
	assert_int_equal(stats.audit_fsync.count, 0);
	atomic_store(&disk_full, false);
	WAIT_FOR(stats.audit_fsync.count == 1);
	verify();
	assert_int_equal(verdict.v.sums.records, 6);
	close_audit();
}

static void
what_a_full_disk_never_takes_is_said_to_be_lost(void **state)
{
	(void)state;
	open_audit();
	atomic_store(&disk_full, true);
	add(5);
	close_audit();
	assert_true(was_logged("5 records could not be written and are lost"));
	assert_false(was_logged("closed after"));
	verify();
	assert_int_equal(verdict.v.sums.records, 1);
}

static void
at_the_end_rows_wait_for_room(void **state)
{
	(void)state;
	open_audit();
	audit_end(audit);
	add(20 * AUDITQUEUE_ROWS);
	close_audit();
	assert_int_equal(stats.recovery_audit_dropped, 0);
	verify();
	assert_int_equal(verdict.v.sums.records, 1 + 20 * AUDITQUEUE_ROWS);
	assert_int_equal(verdict.n, 0);
}

/* The lowest free descriptor. */
static int
free_fd(void)
{
	int fd = dup(STDIN_FILENO);

	(void)close(fd);
	return fd;
}

static void
a_disk_that_hangs_does_not_hold_up_the_end(void **state)
{
	int before = free_fd(), tries;

	(void)state;
	options.grace_ns = 5 * NS_PER_MS;
	open_audit();
	hold_disk();
	audit_end(audit);
	/* Those that fit, and those that wait in vain. */
	add(AUDITQUEUE_ROWS + 2);
	assert_int_equal(stats.recovery_audit_dropped, 2);
	close_audit();
	assert_true(was_logged("disk does not answer"));

	/* Left to itself, the thread does what it can, and cleans up. */
	let_disk_go();
	for (tries = 0; free_fd() != before; tries++) {
		assert_true(tries < 20000);
		(void)poll(NULL, 0, 1);
	}
	verify();
	assert_int_equal(verdict.v.sums.records, AUDITQUEUE_ROWS + 2);
}

static void
signals_go_to_the_loop(void **state)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGCONT,
		SIGCHLD, SIGPIPE };
	sigset_t own;

	(void)state;
	open_audit();
	add(1);
	close_audit();
	assert_int_equal(pthread_sigmask(SIG_BLOCK, NULL, &own), 0);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		assert_true(sigismember(&mask_at_sync, signals[i]));
		assert_false(sigismember(&own, signals[i]));
	}
}

static void
what_is_found_in_a_file_is_said(void **state)
{
	(void)state;
	open_audit();
	close_audit();
	assert_int_equal(chmod(options.path, 0622), 0);
	open_audit();
	assert_true(was_logged("': continued with record 2\n"));
	assert_true(was_logged("mode 0622, others may write it"));
	close_audit();

	put_file("# varta-watch recovery audit v1\n1\tspawn\n");
	open_audit();
	assert_true(was_logged("of schema v1 and not part of the chain"));
	close_audit();

	put_file("# varta-watch recovery audit v2\n1\t17");
	open_audit();
	assert_true(was_logged("torn, 4 bytes were cut off; continued with "
			       "record 1\n"));
	close_audit();

	put_file("# varta-watch recovery audit v2\nof the future\n");
	open_audit();
	assert_true(was_logged("is not understood and was kept"));
	close_audit();
}

static void
opening_fails_without_a_trace(void **state)
{
	struct fault *const all[] = { &fault_calloc, &fault_pipe,
		&fault_sodium_init, &fault_pthread_create };
	struct file_fault fault;
	int before = free_fd();
	unsigned nth;

	(void)state;
	audit = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		for (nth = 1;; nth++) {
			fault_nth(all[i], nth, EAGAIN);
			if (audit_open(&options, &stats, &audit, &fault) == 0)
				break;
			assert_null(audit);
			assert_int_equal(free_fd(), before);
		}
		assert_true(nth > 1);
		fault_off(all[i]);
		close_audit();
	}
	assert_int_equal(free_fd(), before);
	verify();
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, tmpdir_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(rows_are_on_disk_after_the_close),
		TEST(
		    time_that_others_take_at_the_end_is_not_taken_from_the_disk),
		TEST(rows_are_on_disk_soon_after_a_pass),
		TEST(the_caller_does_not_wait_and_what_has_no_room_is_counted),
		TEST(a_watermark_counts_again_after_the_queue_was_shorter),
		TEST(rows_that_wait_for_the_disk_share_a_sync),
		TEST(rows_can_be_synced_some_at_a_time),
		TEST(rows_can_be_synced_by_time_as_well),
		TEST(what_takes_too_long_is_counted),
		TEST(the_trail_rotates_and_loses_nothing),
		TEST(a_rotation_that_fails_holds_nothing_up),
		TEST(what_a_full_disk_does_not_take_is_written_later),
		TEST(what_a_full_disk_never_takes_is_said_to_be_lost),
		TEST(at_the_end_rows_wait_for_room),
		TEST(a_disk_that_hangs_does_not_hold_up_the_end),
		TEST(signals_go_to_the_loop),
		TEST(what_is_found_in_a_file_is_said),
		TEST(opening_fails_without_a_trace),
	};

	log_init("test", LOG_PLAIN, LOG_INFO);
	return cmocka_run_group_tests_name("audit", tests, NULL, NULL);
}
