/* What was logged, instead of standard error: by one thread. The program is
 * linked with --wrap=write. */
#ifndef SUPPORT_LOGGED_H
#define SUPPORT_LOGGED_H

#include <string.h>
#include <unistd.h>

static char logged[4096];
static size_t n_logged;

ssize_t __real_write(int fd, const void *bytes, size_t n);
ssize_t __wrap_write(int fd, const void *bytes, size_t n);

ssize_t
__wrap_write(int fd, const void *bytes, size_t n)
{
	if (fd != STDERR_FILENO)
		return __real_write(fd, bytes, n);
	assert_true(n_logged + n < sizeof(logged));
	memcpy(logged + n_logged, bytes, n);
	n_logged += n;
	logged[n_logged] = '\0';
	return (ssize_t)n;
}

#endif
