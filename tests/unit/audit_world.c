#include "unit/audit_world.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/util.h"
#include "support/tmpdir.h"

const char *world_path;
struct auditfile *world_file;
struct auditfile_found world_found;
struct auditbook_verdict world_verdict;
size_t world_disk_bytes;
unsigned world_interrupts;

ssize_t __real_write(int fd, const void *bytes, size_t n);
ssize_t __wrap_write(int fd, const void *bytes, size_t n);

ssize_t
__wrap_write(int fd, const void *bytes, size_t n)
{
	ssize_t r;

	if (world_interrupts > 0) {
		world_interrupts--;
		errno = EINTR;
		return -1;
	}
	if (world_disk_bytes == 0) {
		errno = ENOSPC;
		return -1;
	}
	r = __real_write(
	    fd, bytes, n < world_disk_bytes ? n : world_disk_bytes);
	if (r > 0 && world_disk_bytes != SIZE_MAX)
		world_disk_bytes -= (size_t)r;
	return r;
}

int
world_setup(void **state)
{
	int r = tmpdir_setup(state);

	world_disk_bytes = SIZE_MAX;
	world_interrupts = 0;
	world_file = NULL;
	if (r == 0)
		world_path = tmpdir_path(*state, "audit");
	return r;
}

int
world_teardown(void **state)
{
	world_close();
	return tmpdir_teardown(state);
}

int
world_try_open(uint64_t max_bytes)
{
	const struct auditfile_options options = {
		.path = world_path, .max_bytes = max_bytes, .pid = 1234
	};
	struct file_fault fault = { "" };
	int r;

	r = auditfile_open(&options, 1700, &world_file, &world_found, &fault);
	assert_int_equal(r < 0, fault.text[0] != '\0');
	return r;
}

void
world_open(uint64_t max_bytes)
{
	assert_int_equal(world_try_open(max_bytes), 0);
}

void
world_close(void)
{
	auditfile_close(world_file);
	world_file = NULL;
}

void
world_add(const char *reason, uint64_t n_lost)
{
	char row[128];

	(void)snprintf(row, sizeof(row), "1700\t5\trefused\t42\t%s", reason);
	assert_true(auditfile_has_room(world_file));
	auditfile_add(world_file, AUDITLINE_REFUSED, row, strlen(row), n_lost);
}

const char *
world_name(const char *suffix)
{
	static char names[2][PATH_MAX];
	static unsigned next;
	char *name = names[next++ % ARRAY_SIZE(names)];

	(void)snprintf(name, PATH_MAX, "%s%s", world_path, suffix);
	return name;
}

bool
world_exists(const char *suffix)
{
	return access(world_name(suffix), F_OK) == 0;
}

void
world_put(const char *suffix, const char *text)
{
	int fd = open(
	    world_name(suffix), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
	fd_close(&fd);
}

void
world_read(const char *suffix, char got[static 8192])
{
	int fd = open(world_name(suffix), O_RDONLY | O_CLOEXEC);
	ssize_t n;

	assert_true(fd >= 0);
	n = fd_read_full(fd, got, 8191);
	assert_true(n >= 0);
	got[n] = '\0';
	fd_close(&fd);
}

void
world_verify(void)
{
	auditbook_verify_files(&world_verdict, world_path);
}

void
world_assert_good(uint64_t records)
{
	world_verify();
	assert_int_equal(world_verdict.v.sums.breaks, 0);
	assert_int_equal(world_verdict.v.sums.records, records);
}
