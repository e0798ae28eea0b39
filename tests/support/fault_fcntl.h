/* fault_fcntl for fcntl(2), with at most one more argument, an int. The program
 * is linked with --wrap=fcntl64. */
#ifndef SUPPORT_FAULT_FCNTL_H
#define SUPPORT_FAULT_FCNTL_H

#include <stdarg.h>

#include "support/fault.h"

static struct fault fault_fcntl;

int __real_fcntl64(int fd, int what, ...);
int __wrap_fcntl64(int fd, int what, ...);

int
__wrap_fcntl64(int fd, int what, ...)
{
	va_list args;
	int value;

	if (fault_hits(&fault_fcntl))
		return -1;
	va_start(args, what);
	value = va_arg(args, int);
	va_end(args);
	return __real_fcntl64(fd, what, value);
}

#endif
