#include "base/syncer.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/thread.h"
#include "base/util.h"

struct syncer {
	/* Under the lock. */
	int asked_fd;                    /* -1: nothing was asked for */
	uint32_t asked_mark;             /* of the last one who asked */
	int waiting[SYNCER_WAITING + 1]; /* handed over, the oldest first */
	unsigned n_waiting;
	bool busy; /* in a sync */
	bool ending;
	bool alone; /* nobody else has it any more: the thread frees it */

	pthread_mutex_t lock;
	pthread_cond_t wanted;
	pthread_t thread;
	_Atomic uint32_t done; /* the mark that was synced */
	atomic_int error;
	atomic_uint failures;
};

static bool
has_work(const struct syncer *s)
{
	return s->asked_fd >= 0 || s->n_waiting > 0;
}

static void
free_all(struct syncer *s)
{
	for (unsigned i = 0; i < s->n_waiting; i++)
		fd_close(&s->waiting[i]);
	(void)pthread_cond_destroy(&s->wanted);
	(void)pthread_mutex_destroy(&s->lock);
	free(s);
}

/* The next file to sync, older ones first. */
static int
take(struct syncer *s, bool *ret_last)
{
	int fd = s->asked_fd;

	*ret_last = s->n_waiting > 0;
	if (!*ret_last) {
		s->asked_fd = -1;
		return fd;
	}
	fd = s->waiting[0];
	s->n_waiting--;
	for (unsigned i = 0; i < s->n_waiting; i++)
		s->waiting[i] = s->waiting[i + 1];
	return fd;
}

/* mark is that of the file that was asked for, not of one handed over. */
static void
sync_one(struct syncer *s, int fd, uint32_t mark, bool last)
{
	int r;

	do
		r = fdatasync(fd) < 0 ? -errno : 0;
	while (r == -EINTR);
	if (r < 0) {
		atomic_store(&s->error, r);
		(void)atomic_fetch_add(&s->failures, 1);
	} else if (!last && atomic_load(&s->failures) == 0) {
		atomic_store(&s->done, mark);
	}
	if (last)
		fd_close(&fd);
}

static void *
run(void *ctx)
{
	struct syncer *s = ctx;
	bool last, alone;
	uint32_t mark;
	int fd;

	(void)pthread_mutex_lock(&s->lock);
	for (;;) {
		while (!has_work(s) && !s->ending)
			(void)pthread_cond_wait(&s->wanted, &s->lock);
		if (s->ending)
			break;
		fd = take(s, &last);
		mark = s->asked_mark;
		s->busy = true;
		(void)pthread_mutex_unlock(&s->lock);
		sync_one(s, fd, mark, last);
		(void)pthread_mutex_lock(&s->lock);
		s->busy = false;
	}
	alone = s->alone;
	(void)pthread_mutex_unlock(&s->lock);
	if (alone)
		free_all(s);
	return NULL;
}

int
syncer_start(struct syncer **ret)
{
	struct syncer *s = calloc(1, sizeof(*s));
	int r;

	if (s == NULL)
		return -ENOMEM;
	s->asked_fd = -1;
	(void)pthread_mutex_init(&s->lock, NULL);
	(void)pthread_cond_init(&s->wanted, NULL);
	r = thread_start(&s->thread, run, s);
	if (r < 0) {
		free_all(s);
		return r;
	}
	*ret = s;
	return 0;
}

void
syncer_ask(struct syncer *s, int fd, uint32_t mark)
{
	(void)pthread_mutex_lock(&s->lock);
	s->asked_fd = fd;
	s->asked_mark = mark;
	(void)pthread_cond_signal(&s->wanted);
	(void)pthread_mutex_unlock(&s->lock);
}

bool
syncer_has_room(struct syncer *s, unsigned n)
{
	bool room;

	(void)pthread_mutex_lock(&s->lock);
	room = s->n_waiting + n <= SYNCER_WAITING;
	(void)pthread_mutex_unlock(&s->lock);
	return room;
}

void
syncer_hand_over(struct syncer *s, int fd)
{
	(void)pthread_mutex_lock(&s->lock);
	assert(s->n_waiting <= SYNCER_WAITING);
	/* The last sync serves what was asked for before, too. */
	if (s->asked_fd == fd)
		s->asked_fd = -1;
	s->waiting[s->n_waiting++] = fd;
	(void)pthread_cond_signal(&s->wanted);
	(void)pthread_mutex_unlock(&s->lock);
}

uint32_t
syncer_done(const struct syncer *s)
{
	return atomic_load(&s->done);
}

uint32_t
syncer_failures(const struct syncer *s, int *ret_error)
{
	*ret_error = atomic_load(&s->error);
	return atomic_load(&s->failures);
}

static bool
is_done(struct syncer *s)
{
	bool done;

	(void)pthread_mutex_lock(&s->lock);
	done = !s->busy && !has_work(s);
	(void)pthread_mutex_unlock(&s->lock);
	return done;
}

bool
syncer_wait(struct syncer *s, uint64_t wait_ns)
{
	uint64_t end_ns =
	    u64_add_sat(clock_now_ns(CLOCK_SOURCE_MONOTONIC), wait_ns);

	while (!is_done(s)) {
		if (clock_now_ns(CLOCK_SOURCE_MONOTONIC) >= end_ns)
			return false;
		(void)poll(NULL, 0, 1);
	}
	return true;
}

void
syncer_stop(struct syncer *s)
{
	pthread_t thread;
	bool alone;

	if (s == NULL)
		return;
	(void)pthread_mutex_lock(&s->lock);
	thread = s->thread;
	s->ending = true;
	s->alone = alone = s->busy;
	(void)pthread_cond_signal(&s->wanted);
	(void)pthread_mutex_unlock(&s->lock);
	if (alone) {
		(void)pthread_detach(thread);
		return;
	}
	(void)pthread_join(thread, NULL);
	free_all(s);
}
