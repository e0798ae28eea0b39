#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/fault.h"

FAULT(int, -1, getrlimit64, (int what, struct rlimit *limit), (what, limit))
FAULT(
    int, -1, setrlimit64, (int what, const struct rlimit *limit), (what, limit))

/* Reads and writes of at most this many bytes; 0 for all that is asked. */
static size_t most_at_once;
static bool write_takes_nothing;
static struct fault fault_io;

ssize_t __real_read(int fd, void *bytes, size_t n);
ssize_t __wrap_read(int fd, void *bytes, size_t n);
ssize_t __real_write(int fd, const void *bytes, size_t n);
ssize_t __wrap_write(int fd, const void *bytes, size_t n);
int __real_fcntl64(int fd, int what, ...);
int __wrap_fcntl64(int fd, int what, ...);

ssize_t
__wrap_read(int fd, void *bytes, size_t n)
{
	if (fault_hits(&fault_io))
		return -1;
	if (most_at_once > 0 && n > most_at_once)
		n = most_at_once;
	return __real_read(fd, bytes, n);
}

ssize_t
__wrap_write(int fd, const void *bytes, size_t n)
{
	if (fault_hits(&fault_io))
		return -1;
	if (write_takes_nothing)
		return 0;
	if (most_at_once > 0 && n > most_at_once)
		n = most_at_once;
	return __real_write(fd, bytes, n);
}

int
__wrap_fcntl64(int fd, int what, ...)
{
	va_list args;
	int flags;

	if (fault_hits(&fault_io))
		return -1;
	va_start(args, what);
	flags = va_arg(args, int);
	va_end(args);
	return __real_fcntl64(fd, what, flags);
}

struct fixture {
	int out, in; /* the two ends of a pipe */
};

static int
setup(void **state)
{
	static struct fixture f;
	int ends[2];

	if (pipe(ends) < 0)
		return -1;
	f.out = ends[0];
	f.in = ends[1];
	*state = &f;
	fault_off(&fault_io);
	most_at_once = 0;
	write_takes_nothing = false;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	fd_close(&f->out);
	fd_close(&f->in);
	return 0;
}

static void
a_descriptor_is_closed_once(void **state)
{
	struct fixture *f = *state;
	int was = f->out;

	errno = ENOTTY;
	fd_close(&f->out);
	assert_int_equal(f->out, -1);
	assert_int_equal(errno, ENOTTY);
	assert_int_equal(fcntl(was, F_GETFD), -1);
	errno = ENOTTY;
	fd_close(&f->out);
	assert_int_equal(f->out, -1);
	assert_int_equal(errno, ENOTTY);
}

static void
flags_are_added_to_those_there(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(fd_set_nonblocking(f->in), 0);
	assert_int_equal(fd_set_nonblocking(f->in), 0);
	assert_int_equal(fcntl(f->in, F_GETFL), O_WRONLY | O_NONBLOCK);
	assert_int_equal(fd_set_cloexec(f->in), 0);
	assert_int_equal(fd_set_cloexec(f->in), 0);
	assert_int_equal(fcntl(f->in, F_GETFD), FD_CLOEXEC);
}

static void
flags_that_cannot_be_set_are_an_error(void **state)
{
	struct fixture *f = *state;
	unsigned nth;

	assert_int_equal(fd_set_nonblocking(-1), -EBADF);
	assert_int_equal(fd_set_cloexec(-1), -EBADF);
	for (nth = 1; nth <= 2; nth++) {
		fault_nth(&fault_io, nth, EPERM);
		assert_int_equal(fd_set_nonblocking(f->in), -EPERM);
		fault_nth(&fault_io, nth, EPERM);
		assert_int_equal(fd_set_cloexec(f->in), -EPERM);
	}
}

static void
all_bytes_pass_in_small_pieces(void **state)
{
	struct fixture *f = *state;
	char got[16] = { 0 };

	most_at_once = 3;
	assert_int_equal(fd_write_all(f->in, "0123456789", 10), 0);
	assert_int_equal(fault_io.calls, 4);
	assert_int_equal(fd_read_full(f->out, got, 10), 10);
	assert_string_equal(got, "0123456789");
	assert_int_equal(fd_write_all(f->in, "", 0), 0);
	assert_int_equal(fd_read_full(f->out, got, 0), 0);
}

static void
reading_stops_at_the_end(void **state)
{
	struct fixture *f = *state;
	char got[16];

	assert_int_equal(fd_write_all(f->in, "abc", 3), 0);
	fd_close(&f->in);
	assert_int_equal(fd_read_full(f->out, got, sizeof(got)), 3);
	assert_int_equal(fd_read_full(f->out, got, sizeof(got)), 0);
}

static void
an_interrupted_call_is_made_again(void **state)
{
	struct fixture *f = *state;
	char got[4] = { 0 };

	fault_nth(&fault_io, 1, EINTR);
	assert_int_equal(fd_write_all(f->in, "abc", 3), 0);
	fault_nth(&fault_io, 1, EINTR);
	assert_int_equal(fd_read_full(f->out, got, 3), 3);
	assert_string_equal(got, "abc");
}

static void
a_failed_read_or_write_is_an_error(void **state)
{
	struct fixture *f = *state;
	char got[4];

	most_at_once = 1;
	fault_nth(&fault_io, 2, ENOSPC);
	assert_int_equal(fd_write_all(f->in, "abc", 3), -ENOSPC);
	fault_nth(&fault_io, 2, EIO);
	assert_int_equal(fd_read_full(f->out, got, 2), -EIO);
}

static void
a_full_pipe_says_so_instead_of_blocking(void **state)
{
	static char much[1 << 20];
	struct fixture *f = *state;

	assert_int_equal(fd_set_nonblocking(f->in), 0);
	assert_int_equal(fd_write_all(f->in, much, sizeof(much)), -EAGAIN);
}

static void
a_write_of_nothing_does_not_hang(void **state)
{
	struct fixture *f = *state;

	write_takes_nothing = true;
	assert_int_equal(fd_write_all(f->in, "abc", 3), -EIO);
}

static void
the_limit_is_raised_as_far_as_it_goes(void **state)
{
	struct rlimit old, low, now;

	(void)state;
	assert_int_equal(__real_getrlimit64(RLIMIT_NOFILE, &old), 0);
	low = old;
	low.rlim_cur = 64;
	assert_int_equal(__real_setrlimit64(RLIMIT_NOFILE, &low), 0);

	fault_always(&fault_setrlimit64, EPERM);
	assert_int_equal(fd_raise_limit(), 64);
	fault_off(&fault_setrlimit64);
	fault_always(&fault_getrlimit64, EPERM);
	assert_int_equal(fd_raise_limit(), 0);
	fault_off(&fault_getrlimit64);

	assert_true(fd_raise_limit() == old.rlim_max);
	assert_int_equal(__real_getrlimit64(RLIMIT_NOFILE, &now), 0);
	assert_true(now.rlim_cur == old.rlim_max);
	assert_int_equal(__real_setrlimit64(RLIMIT_NOFILE, &old), 0);
}

int
main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		EACH(a_descriptor_is_closed_once),
		EACH(flags_are_added_to_those_there),
		EACH(flags_that_cannot_be_set_are_an_error),
		EACH(all_bytes_pass_in_small_pieces),
		EACH(reading_stops_at_the_end),
		EACH(an_interrupted_call_is_made_again),
		EACH(a_failed_read_or_write_is_an_error),
		EACH(a_full_pipe_says_so_instead_of_blocking),
		EACH(a_write_of_nothing_does_not_hang),
		cmocka_unit_test(the_limit_is_raised_as_far_as_it_goes),
	};

	return cmocka_run_group_tests_name("fd", tests, NULL, NULL);
}
