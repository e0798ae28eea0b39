#include "watch/health.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/util.h"
#include "support/fault.h"
#include "support/tmpdir.h"

FAULT(void *, NULL, calloc, (size_t n, size_t size), (n, size))
FAULT(void *, NULL, malloc, (size_t size), (size))
FAULT(int, EAGAIN, pthread_create,
    (pthread_t * t, const pthread_attr_t *attr, void *(*f)(void *), void *ctx),
    (t, attr, f, ctx))

/* What is logged would mix with the answers of the tests. */
ssize_t __real_write(int fd, const void *bytes, size_t n);
ssize_t __wrap_write(int fd, const void *bytes, size_t n);
static char logged[1024];

ssize_t
__wrap_write(int fd, const void *bytes, size_t n)
{
	size_t room = sizeof(logged) - 1 - strlen(logged);

	if (fd != STDERR_FILENO)
		return __real_write(fd, bytes, n);
	strncat(logged, bytes, n < room ? n : room);
	return (ssize_t)n;
}

static struct stats stats;
static struct metrics_gauges gauges;
static struct sdnotify notify;
static struct pulse pulse;
static struct health_options options;
static struct health *health;
static int manager = -1;

static int
setup(void **state)
{
	int pair[2];

	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair), 0);
	notify.fd = pair[0];
	manager = pair[1];
	memset(&stats, 0, sizeof(stats));
	memset(&gauges, 0, sizeof(gauges));
	pulse_init(&pulse);
	options = (struct health_options){
		.notify = &notify,
		.gauges = &gauges,
		.stats = &stats,
		.pulse = &pulse,
		.intake_fd = -1,
	};
	health = NULL;
	logged[0] = '\0';
	fault_off(&fault_pthread_create);
	return tmpdir_setup(state);
}

static int
teardown(void **state)
{
	fault_off(&fault_calloc);
	fault_off(&fault_malloc);
	health_close(health);
	fd_close(&notify.fd);
	fd_close(&manager);
	return tmpdir_teardown(state);
}

static void
is_told(const char *want)
{
	char got[128];
	ssize_t n = recv(manager, got, sizeof(got) - 1, 0);

	assert_true(n >= 0);
	got[n] = '\0';
	assert_string_equal(got, want);
}

static void
is_told_nothing(void)
{
	char byte;

	assert_int_equal(recv(manager, &byte, 1, 0), -1);
}

static void
opened(void)
{
	assert_int_equal(health_open(&options, &health), 0);
}

static void
nothing_asked_for_wakes_nobody(void **state)
{
	(void)state;
	fd_close(&notify.fd);
	opened();
	assert_int_equal(fault_pthread_create.calls, 0);
	assert_true(health_pass(health, 1) == NS_NEVER);
	assert_string_equal(logged, "");
}

static void
the_first_pass_tells_a_status(void **state)
{
	(void)state;
	opened();
	is_told_nothing();
	assert_true(health_pass(health, 0) == NS_NEVER);
	is_told("STATUS=agents 0, stalls 0, exits 0\n");
}

static void
a_status_is_told_when_it_has_changed_and_after_a_second(void **state)
{
	const uint64_t s = NS_PER_S;

	(void)state;
	opened();
	(void)health_pass(health, 5 * s);
	is_told("STATUS=agents 0, stalls 0, exits 0\n");
	(void)health_pass(health, 100 * s);
	is_told_nothing();

	gauges.agents = 3;
	stats.exits = 2;
	stats.stalls[STALL_SILENT] = 4;
	stats.stalls[STALL_GONE] = 1;
	(void)health_pass(health, 200 * s);
	is_told("STATUS=agents 3, stalls 5, exits 2\n");
	stats.exits = 3;
	/* It waits for its second, and for no other pass than this. */
	assert_true(health_pass(health, 201 * s - 1) == 201 * s);
	is_told_nothing();
	assert_true(health_pass(health, 201 * s) == NS_NEVER);
	is_told("STATUS=agents 3, stalls 5, exits 3\n");
}

static void
a_heartbeat_file_is_written_and_asks_for_a_pass_a_second(void **state)
{
	const char *path = tmpdir_path(*state, "heartbeat");

	options.heartbeat_file = path;
	opened();
	assert_int_equal(access(path, F_OK), -1);
	assert_true(health_pass(health, 0) == 900 * NS_PER_MS);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(stats.heartbeat_errors, 0);
}

static void
a_deadline_is_enough_for_a_watchdog(void **state)
{
	(void)state;
	options.self_watchdog_secs = 1000;
	opened();
	assert_int_equal(fault_pthread_create.calls, 1);
}

static void
a_manager_that_waits_is_enough_for_a_watchdog(void **state)
{
	char pid[24];

	(void)state;
	(void)snprintf(pid, sizeof(pid), "%ld", (long)getpid());
	options.watchdog_usec = "60000000";
	options.watchdog_pid = pid;
	opened();
	assert_int_equal(fault_pthread_create.calls, 1);
}

static void
a_manager_that_does_not_wait_for_us_makes_no_watchdog(void **state)
{
	(void)state;
	options.watchdog_usec = "60000000";
	options.watchdog_pid = "1";
	opened();
	assert_int_equal(fault_pthread_create.calls, 0);
	assert_string_equal(logged, "");
}

static void
a_watchdog_that_cannot_be_is_warned_of(void **state)
{
	(void)state;
	options.watchdog_usec = "soon";
	opened();
	assert_string_equal(logged,
	    "varta-watch: WATCHDOG_USEC 'soon', WATCHDOG_PID '': not numbers, "
	    "no watchdog\n");
	health_close(health);
	health = NULL;

	logged[0] = '\0';
	options.watchdog_usec = "60000000";
	fd_close(&notify.fd);
	opened();
	assert_string_equal(logged,
	    "varta-watch: WATCHDOG_USEC is set, but there is no NOTIFY_SOCKET "
	    "that can be used: no watchdog\n");
	assert_int_equal(fault_pthread_create.calls, 0);
}

static void
does_not_open(int error, const char *line)
{
	assert_int_equal(health_open(&options, &health), error);
	assert_null(health);
	assert_string_equal(logged, line);
	logged[0] = '\0';
}

static void
what_cannot_be_opened_stops_the_start(void **state)
{
	options.heartbeat_file = tmpdir_path(*state, "heartbeat");
	options.self_watchdog_secs = 1000;
	options.hw_watchdog = tmpdir_path(*state, "none");

	fault_nth(&fault_calloc, 1, ENOMEM);
	does_not_open(-ENOMEM, "varta-watch: out of memory\n");
	fault_nth(&fault_malloc, 1, ENOMEM);
	does_not_open(
	    -ENOMEM, "varta-watch: --heartbeat-file: out of memory\n");
	fault_nth(&fault_pthread_create, 1, EAGAIN);
	does_not_open(-EAGAIN,
	    "varta-watch: cannot start the self-watchdog: Resource temporarily "
	    "unavailable\n");
	options.hw_watchdog = "/dev/null";
	assert_true(health_open(&options, &health) < 0);
	assert_null(health);
	assert_non_null(
	    strstr(logged, "varta-watch: --hw-watchdog: device '/dev/null': "));
}

int
main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		EACH(nothing_asked_for_wakes_nobody),
		EACH(the_first_pass_tells_a_status),
		EACH(a_status_is_told_when_it_has_changed_and_after_a_second),
		EACH(a_heartbeat_file_is_written_and_asks_for_a_pass_a_second),
		EACH(a_deadline_is_enough_for_a_watchdog),
		EACH(a_manager_that_waits_is_enough_for_a_watchdog),
		EACH(a_manager_that_does_not_wait_for_us_makes_no_watchdog),
		EACH(a_watchdog_that_cannot_be_is_warned_of),
		EACH(what_cannot_be_opened_stops_the_start),
	};

	return cmocka_run_group_tests_name("health", tests, NULL, NULL);
}
