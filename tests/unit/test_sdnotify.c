#include "watch/host/sdnotify.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "support/fault.h"
#include "support/tmpdir.h"

FAULT(int, -1, socket, (int family, int type, int protocol),
    (family, type, protocol))
FAULT(ssize_t, -1, send, (int fd, const void *bytes, size_t n, int flags),
    (fd, bytes, n, flags))

static struct sdnotify notify;

static int
setup(void **state)
{
	notify.fd = -7;
	fault_off(&fault_socket);
	fault_off(&fault_send);
	return tmpdir_setup(state);
}

static int
teardown(void **state)
{
	sdnotify_close(&notify);
	return tmpdir_teardown(state);
}

/* A manager's socket; a leading '@' makes the name abstract. */
static int
listen_at(const char *name)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	socklen_t len;
	int fd;

	assert_true(strlen(name) <= sizeof(at.sun_path));
	memcpy(at.sun_path, name, strlen(name));
	len =
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
	if (name[0] == '@')
		at.sun_path[0] = '\0';
	fd = __real_socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
	return fd;
}

static void
assert_told(int fd, const char *want)
{
	char got[64];
	ssize_t n;

	n = recv(fd, got, sizeof(got) - 1, 0);
	assert_true(n >= 0);
	got[n] = '\0';
	assert_string_equal(got, want);
}

static void
without_a_manager_nothing_is_sent(void **state)
{
	(void)state;
	assert_int_equal(sdnotify_open(&notify, NULL), 0);
	assert_int_equal(notify.fd, -1);
	assert_int_equal(sdnotify_open(&notify, ""), 0);
	sdnotify_send(&notify, "READY=1\n");
	assert_int_equal(fault_send.calls, 0);
	sdnotify_close(&notify);
	assert_int_equal(notify.fd, -1);
}

static void
a_manager_at_a_path_is_told(void **state)
{
	const char *path = tmpdir_path(*state, "notify");
	int fd = listen_at(path);

	assert_int_equal(sdnotify_open(&notify, path), 1);
	assert_int_equal(fcntl(notify.fd, F_GETFD), FD_CLOEXEC);
	sdnotify_send(&notify, "READY=1\n");
	sdnotify_send(&notify, "STOPPING=1\n");
	assert_told(fd, "READY=1\n");
	assert_told(fd, "STOPPING=1\n");
	fd_close(&fd);
}

static void
a_manager_with_an_abstract_name_is_told(void **state)
{
	char name[64];
	int fd;

	(void)state;
	(void)snprintf(name, sizeof(name), "@varta-test-%d", (int)getpid());
	fd = listen_at(name);
	assert_int_equal(sdnotify_open(&notify, name), 1);
	sdnotify_send(&notify, "WATCHDOG=1\n");
	assert_told(fd, "WATCHDOG=1\n");
	fd_close(&fd);
}

static void
the_longest_names_fit(void **state)
{
	char name[109];
	int fd;

	(void)state;
	(void)snprintf(name, sizeof(name), "@%107d", (int)getpid());
	name[107] = '\0';
	fd = listen_at(name);
	assert_int_equal(sdnotify_open(&notify, name), 1);
	sdnotify_send(&notify, "READY=1\n");
	assert_told(fd, "READY=1\n");
	fd_close(&fd);
	sdnotify_close(&notify);

	memset(name, 'x', 108);
	name[108] = '\0';
	name[0] = '@';
	assert_int_equal(sdnotify_open(&notify, name), -ENAMETOOLONG);
	name[0] = '/';
	assert_int_equal(sdnotify_open(&notify, name), -ENAMETOOLONG);
	assert_int_equal(notify.fd, -1);
}

static void
an_address_that_cannot_be_used_is_an_error(void **state)
{
	(void)state;
	assert_int_equal(sdnotify_open(&notify, "relative"), -EINVAL);
	assert_int_equal(sdnotify_open(&notify, "vsock:2:1234"), -EINVAL);
	assert_int_equal(
	    sdnotify_open(&notify, tmpdir_path(*state, "none")), -ENOENT);
	fault_nth(&fault_socket, 1, EMFILE);
	assert_int_equal(sdnotify_open(&notify, "/x"), -EMFILE);
	assert_int_equal(notify.fd, -1);
}

static void
a_manager_that_does_not_listen_stops_nobody(void **state)
{
	const char *path = tmpdir_path(*state, "notify");
	int fd = listen_at(path);
	int i;

	assert_int_equal(sdnotify_open(&notify, path), 1);
	/* Its queue fills, and it goes away: neither blocks nor kills us. */
	for (i = 0; sdnotify_send(&notify, "WATCHDOG=1\n"); i++)
		assert_in_range(i, 0, 10000);
	fd_close(&fd);
	assert_true(sdnotify_send(&notify, "WATCHDOG=1\n"));
	fault_nth(&fault_send, 1, ENOBUFS);
	assert_true(sdnotify_send(&notify, "WATCHDOG=1\n"));
	sdnotify_ready(&notify);
	assert_true(sdnotify_settle(&notify));
}

static void
a_manager_with_much_to_read_is_told_later_that_we_are_ready(void **state)
{
	const char *path = tmpdir_path(*state, "notify");
	char text[16];
	int fd = listen_at(path);
	int i, n = 0;

	assert_int_equal(sdnotify_open(&notify, path), 1);
	assert_true(sdnotify_settle(&notify));
	while (sdnotify_send(&notify, "STATUS=\n"))
		n++;
	sdnotify_ready(&notify);
	assert_false(sdnotify_settle(&notify));
	for (i = 0; i < n; i++)
		assert_int_equal(recv(fd, text, sizeof(text), 0), 8);
	assert_true(sdnotify_settle(&notify));
	assert_true(sdnotify_settle(&notify));
	assert_int_equal(recv(fd, text, sizeof(text), MSG_DONTWAIT), 8);
	assert_memory_equal(text, "READY=1\n", 8);
	assert_int_equal(recv(fd, text, sizeof(text), MSG_DONTWAIT), -1);
	fd_close(&fd);
}

static void
a_reload_begins_with_its_time(void **state)
{
	const char *path = tmpdir_path(*state, "notify");
	int fd = listen_at(path);

	assert_int_equal(sdnotify_open(&notify, path), 1);
	sdnotify_send_reloading(&notify, UINT64_C(1234567890123999));
	assert_told(fd, "RELOADING=1\nMONOTONIC_USEC=1234567890123\n");
	sdnotify_send_reloading(&notify, UINT64_MAX);
	assert_told(fd, "RELOADING=1\nMONOTONIC_USEC=18446744073709551\n");
	fd_close(&fd);
}

static uint64_t
watchdog_of(const char *usec, const char *pid)
{
	uint64_t ns = 7;

	assert_int_equal(sdnotify_watchdog(usec, pid, 4711, &ns), 0);
	return ns;
}

static void
a_watchdog_is_ours_without_a_pid_or_with_our_own(void **state)
{
	(void)state;
	assert_true(watchdog_of("8000000", NULL) == UINT64_C(8000000000));
	assert_true(watchdog_of("8000000", "") == UINT64_C(8000000000));
	assert_true(watchdog_of("8000000", "4711") == UINT64_C(8000000000));
	assert_true(watchdog_of("18446744073709551615", NULL) == UINT64_MAX);
}

static void
a_watchdog_of_another_or_of_nothing_is_none(void **state)
{
	(void)state;
	assert_int_equal(watchdog_of(NULL, NULL), 0);
	assert_int_equal(watchdog_of(NULL, "4711"), 0);
	assert_int_equal(watchdog_of("", NULL), 0);
	assert_int_equal(watchdog_of("0", "4711"), 0);
	assert_int_equal(watchdog_of("8000000", "4712"), 0);
	assert_int_equal(watchdog_of("8000000", "18446744073709551615"), 0);
}

static void
a_watchdog_that_is_no_number_is_an_error(void **state)
{
	uint64_t ns = 7;

	(void)state;
	assert_int_equal(sdnotify_watchdog("8s", NULL, 1, &ns), -EINVAL);
	assert_int_equal(sdnotify_watchdog("-1", NULL, 1, &ns), -EINVAL);
	assert_int_equal(sdnotify_watchdog("8", "me", 1, &ns), -EINVAL);
	assert_int_equal(
	    sdnotify_watchdog("18446744073709551616", NULL, 1, &ns), -EINVAL);
	assert_int_equal(ns, 7);
}

int
main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		EACH(without_a_manager_nothing_is_sent),
		EACH(a_manager_at_a_path_is_told),
		EACH(a_manager_with_an_abstract_name_is_told),
		EACH(the_longest_names_fit),
		EACH(an_address_that_cannot_be_used_is_an_error),
		EACH(a_manager_that_does_not_listen_stops_nobody),
		EACH(
		    a_manager_with_much_to_read_is_told_later_that_we_are_ready),
		EACH(a_reload_begins_with_its_time),
		EACH(a_watchdog_is_ours_without_a_pid_or_with_our_own),
		EACH(a_watchdog_of_another_or_of_nothing_is_none),
		EACH(a_watchdog_that_is_no_number_is_an_error),
	};

	return cmocka_run_group_tests_name("sdnotify", tests, NULL, NULL);
}
