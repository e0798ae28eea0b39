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
	for (i = 0; i < 10000; i++)
		sdnotify_send(&notify, "WATCHDOG=1\n");
	fd_close(&fd);
	sdnotify_send(&notify, "WATCHDOG=1\n");
	fault_nth(&fault_send, 1, ENOBUFS);
	sdnotify_send(&notify, "WATCHDOG=1\n");
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
	};

	return cmocka_run_group_tests_name("sdnotify", tests, NULL, NULL);
}
