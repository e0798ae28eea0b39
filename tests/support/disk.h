/*
 * A disk in the place of the real one, for fdatasync(2) alone: it can be held,
 * so that every sync hangs, and can fail. It notes what it was asked to sync.
 * The program is linked with --wrap=fdatasync.
 */
#ifndef SUPPORT_DISK_H
#define SUPPORT_DISK_H

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

enum { DISK_SYNCS_NOTED = 64, DISK_NAPS_MAX = 20000 };

static struct {
	pthread_mutex_t lock;
	pthread_cond_t released;
	bool held;
	int error;      /* 0, or errno of every sync */
	unsigned begun; /* syncs, those that hang too */
	unsigned done;
	sigset_t mask; /* of the thread that synced last */
	struct stat synced[DISK_SYNCS_NOTED]; /* as it was at the begin */
} disk = { .lock = PTHREAD_MUTEX_INITIALIZER,
	.released = PTHREAD_COND_INITIALIZER };

int __wrap_fdatasync(int fd);

int
__wrap_fdatasync(int fd)
{
	int error;

	(void)pthread_mutex_lock(&disk.lock);
	(void)pthread_sigmask(SIG_BLOCK, NULL, &disk.mask);
	if (disk.begun < DISK_SYNCS_NOTED)
		(void)fstat(fd, &disk.synced[disk.begun]);
	disk.begun++;
	while (disk.held)
		(void)pthread_cond_wait(&disk.released, &disk.lock);
	disk.done++;
	error = disk.error;
	(void)pthread_mutex_unlock(&disk.lock);
	if (error == 0)
		return 0;
	errno = error;
	return -1;
}

static inline void
disk_hold(bool held)
{
	(void)pthread_mutex_lock(&disk.lock);
	disk.held = held;
	(void)pthread_cond_broadcast(&disk.released);
	(void)pthread_mutex_unlock(&disk.lock);
}

static inline void
disk_fail(int error)
{
	(void)pthread_mutex_lock(&disk.lock);
	disk.error = error;
	(void)pthread_mutex_unlock(&disk.lock);
}

static inline unsigned
disk_begun(void)
{
	unsigned n;

	(void)pthread_mutex_lock(&disk.lock);
	n = disk.begun;
	(void)pthread_mutex_unlock(&disk.lock);
	return n;
}

static inline unsigned
disk_done(void)
{
	unsigned n;

	(void)pthread_mutex_lock(&disk.lock);
	n = disk.done;
	(void)pthread_mutex_unlock(&disk.lock);
	return n;
}

/* Until a count has come to n, at most 20 s. */
static inline bool
disk_wait(unsigned (*count)(void), unsigned n)
{
	for (int i = 0; i < DISK_NAPS_MAX && count() < n; i++)
		(void)poll(NULL, 0, 1);
	return count() == n;
}

static inline void
disk_reset(void)
{
	(void)pthread_mutex_lock(&disk.lock);
	disk.held = false;
	disk.error = 0;
	disk.begun = disk.done = 0;
	(void)pthread_mutex_unlock(&disk.lock);
}

#endif
