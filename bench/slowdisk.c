/*
 * A disk that hangs: fdatasync(2) of the process takes two seconds, every time.
 * Loaded before the daemon by LD_PRELOAD; nothing else is changed.
 */
#include <time.h>
#include <unistd.h>

__attribute__((visibility("default"))) int fdatasync(int fd);

int
fdatasync(int fd)
{
	const struct timespec two_seconds = { .tv_sec = 2 };

	(void)fd;
	(void)nanosleep(&two_seconds, NULL);
	return 0;
}
