#include "watch/host/hwdog.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/watchdog.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/util.h"
#include "support/fault.h"
#include "support/tmpdir.h"

FAULT(void *, NULL, malloc, (size_t size), (size))
FAULT(int, -1, fstat64, (int fd, struct stat *st), (fd, st))

enum { FAKE_FD = 77 };

/* A device that does as it is told, and notes what is done to it. */
static struct {
	int timeout_s;
	int longest_s; /* that can be set */
	int open_error;
	int get_error;
	int get_error_at; /* the how manieth WDIOC_GETTIMEOUT; 0: the first */
	int set_error;
	int gets;
	char written[64];
	size_t n_written;
	bool is_open;
} device;

static int
fake_open(const char *path)
{
	assert_string_equal(path, "/dev/watchdog");
	if (device.open_error != 0)
		return device.open_error;
	device.is_open = true;
	return FAKE_FD;
}

static int
fake_ioctl(int fd, unsigned long request, int *value)
{
	assert_int_equal(fd, FAKE_FD);
	if (request == WDIOC_GETTIMEOUT) {
		if (device.get_error != 0 &&
		    device.gets++ == device.get_error_at)
			return device.get_error;
		*value = device.timeout_s;
		return 0;
	}
	assert_true(request == WDIOC_SETTIMEOUT);
	if (device.set_error != 0)
		return device.set_error;
	device.timeout_s =
	    *value < device.longest_s ? *value : device.longest_s;
	return 0;
}

static ssize_t
fake_write(int fd, const void *bytes, size_t n)
{
	assert_int_equal(fd, FAKE_FD);
	assert_true(device.is_open);
	assert_int_equal(n, 1);
	assert_true(device.n_written < sizeof(device.written));
	memcpy(device.written + device.n_written++, bytes, 1);
	return 1;
}

static int
fake_close(int fd)
{
	assert_int_equal(fd, FAKE_FD);
	assert_true(device.is_open);
	device.is_open = false;
	return 0;
}

static const struct hwdog_ops ops = {
	.open = fake_open,
	.ioctl = fake_ioctl,
	.write = fake_write,
	.close = fake_close,
};

static struct hwdog *dog;
static struct file_fault fault;

static int
setup(void **state)
{
	memset(&device, 0, sizeof(device));
	device.timeout_s = 60;
	device.longest_s = 1000;
	dog = NULL;
	fault.text[0] = '\0';
	fault_off(&fault_malloc);
	fault_off(&fault_fstat64);
	return tmpdir_setup(state);
}

static int
teardown(void **state)
{
	fault_off(&fault_malloc);
	hwdog_close(dog);
	return tmpdir_teardown(state);
}

static int
open_fake(void)
{
	return hwdog_open("/dev/watchdog", &ops, 5 * NS_PER_S, &dog, &fault);
}

static void
has_been_written(const char *bytes, size_t n)
{
	assert_int_equal(device.n_written, n);
	assert_memory_equal(device.written, bytes, n);
}

/* Refused after it was opened: for this reason, and disarmed first. */
static void
is_refused(int error, const char *reason)
{
	assert_int_equal(open_fake(), error);
	assert_string_equal(fault.text, reason);
	assert_null(dog);
	assert_false(device.is_open);
	has_been_written("V", 1);
}

static void
it_is_kicked_when_opened_and_four_times_in_a_time_out(void **state)
{
	const uint64_t s = NS_PER_S;

	(void)state;
	assert_int_equal(open_fake(), 0);
	assert_int_equal(hwdog_timeout_s(dog), 60);
	has_been_written("\0", 1);
	/* The loop comes by more often than it has to. */
	assert_true(hwdog_kick(dog, 6 * s) == 20 * s);
	assert_true(hwdog_kick(dog, 20 * s - 1) == 20 * s);
	has_been_written("\0", 1);
	assert_true(hwdog_kick(dog, 20 * s) == 35 * s);
	has_been_written("\0\0", 2);
	/* And once too late. */
	assert_true(hwdog_kick(dog, 100 * s) == 115 * s);
	has_been_written("\0\0\0", 3);
}

static void
a_deliberate_end_disarms_it(void **state)
{
	(void)state;
	assert_int_equal(open_fake(), 0);
	hwdog_close(dog);
	dog = NULL;
	has_been_written("\0V", 2);
	assert_false(device.is_open);
	hwdog_close(NULL);
}

static void
a_short_time_out_is_raised(void **state)
{
	(void)state;
	device.timeout_s = 15;
	assert_int_equal(open_fake(), 0);
	assert_int_equal(device.timeout_s, 30);
	assert_int_equal(hwdog_timeout_s(dog), 30);
	assert_true(hwdog_kick(dog, 5 * NS_PER_S) == 12500 * NS_PER_MS);
}

static void
a_time_out_of_half_a_minute_is_left_alone(void **state)
{
	(void)state;
	device.timeout_s = 30;
	device.set_error = -EOPNOTSUPP;
	assert_int_equal(open_fake(), 0);
}

static void
a_time_out_that_stays_short_is_refused(void **state)
{
	(void)state;
	device.timeout_s = 15;
	device.longest_s = 29;
	is_refused(-ERANGE, "its time-out stays at 29 s, need 30");
}

static void
a_time_out_that_cannot_be_set_is_refused(void **state)
{
	(void)state;
	device.timeout_s = 15;
	device.set_error = -EOPNOTSUPP;
	is_refused(
	    -EOPNOTSUPP, "cannot set its time-out: Operation not supported");
}

static void
what_tells_no_time_out_is_no_watchdog(void **state)
{
	(void)state;
	device.get_error = -ENOTTY;
	is_refused(-ENOTTY, "not a watchdog: Inappropriate ioctl for device");
}

static void
a_time_out_that_is_not_told_again_is_refused(void **state)
{
	(void)state;
	device.timeout_s = 15;
	device.get_error = -EIO;
	device.get_error_at = 1;
	is_refused(-EIO, "cannot read its time-out: Input/output error");
}

static void
a_device_that_cannot_be_opened_is_left_alone(void **state)
{
	(void)state;
	device.open_error = -EBUSY;
	assert_int_equal(open_fake(), -EBUSY);
	assert_string_equal(fault.text, "cannot open: Device or resource busy");
	has_been_written("", 0);
	device.open_error = -ENODEV;
	assert_true(open_fake() < 0);
	assert_string_equal(fault.text, "not a character device");
	has_been_written("", 0);
}

static void
memory_that_is_short_arms_nothing(void **state)
{
	(void)state;
	fault_nth(&fault_malloc, 1, ENOMEM);
	assert_int_equal(open_fake(), -ENOMEM);
	assert_string_equal(
	    fault.text, "cannot be used: Cannot allocate memory");
	has_been_written("", 0);
	assert_null(dog);
}

/* ---- the system's own calls ---------------------------------------------- */

static int
open_real(const char *path)
{
	return hwdog_open(path, NULL, 0, &dog, &fault);
}

static void
a_regular_file_is_refused_and_kept(void **state)
{
	const char *path = tmpdir_path(*state, "file");
	int fd = open(path, O_RDWR | O_CREAT, 0600);
	char byte;

	assert_true(fd >= 0);
	assert_true(open_real(path) < 0);
	assert_string_equal(fault.text, "not a character device");
	assert_int_equal(read(fd, &byte, 1), 0);
	fd_close(&fd);
}

static void
a_pipe_and_a_folder_are_refused(void **state)
{
	const char *path = tmpdir_path(*state, "pipe");

	assert_int_equal(mkfifo(path, 0600), 0);
	assert_true(open_real(path) < 0);
	assert_string_equal(fault.text, "not a character device");
	assert_true(open_real("/") < 0);
	assert_string_equal(fault.text, "not a character device");
}

static void
a_character_device_of_another_kind_is_refused(void **state)
{
	(void)state;
	assert_int_equal(open_real("/dev/null"), -ENOTTY);
	assert_string_equal(
	    fault.text, "not a watchdog: Inappropriate ioctl for device");
}

static void
a_device_that_is_not_there_is_refused(void **state)
{
	assert_int_equal(open_real(tmpdir_path(*state, "none")), -ENOENT);
	assert_string_equal(
	    fault.text, "cannot open: No such file or directory");
}

static void
a_device_that_was_exchanged_while_it_was_opened_is_refused(void **state)
{
	(void)state;
	fault_nth(&fault_fstat64, 1, EIO);
	assert_true(open_real("/dev/null") < 0);
	assert_string_equal(fault.text, "not a character device");
	assert_int_equal(fault_fstat64.calls, 1);
}

int
main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		EACH(it_is_kicked_when_opened_and_four_times_in_a_time_out),
		EACH(a_deliberate_end_disarms_it),
		EACH(a_short_time_out_is_raised),
		EACH(a_time_out_of_half_a_minute_is_left_alone),
		EACH(a_time_out_that_stays_short_is_refused),
		EACH(a_time_out_that_cannot_be_set_is_refused),
		EACH(what_tells_no_time_out_is_no_watchdog),
		EACH(a_time_out_that_is_not_told_again_is_refused),
		EACH(a_device_that_cannot_be_opened_is_left_alone),
		EACH(memory_that_is_short_arms_nothing),
		EACH(a_regular_file_is_refused_and_kept),
		EACH(a_pipe_and_a_folder_are_refused),
		EACH(a_character_device_of_another_kind_is_refused),
		EACH(a_device_that_is_not_there_is_refused),
		EACH(
		    a_device_that_was_exchanged_while_it_was_opened_is_refused),
	};

	return cmocka_run_group_tests_name("hwdog", tests, NULL, NULL);
}
