#include "watch/intake/syncer.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/thread.h"

struct syncer {
	int fd;
	bool asked; /* under lock, with what follows */
	bool ending;
	uint32_t mark; /* of the last one who asked */
	pthread_mutex_t lock;
	pthread_cond_t wanted;
	pthread_t thread;
	_Atomic uint32_t done; /* the mark that was synced */
	atomic_int error;
	atomic_uint failures;
};

static void *
run(void *ctx)
{
	struct syncer *s = ctx;
	uint32_t mark;

	(void)pthread_mutex_lock(&s->lock);
	for (;;) {
		while (!s->asked && !s->ending)
			(void)pthread_cond_wait(&s->wanted, &s->lock);
		if (s->ending)
			break;
		s->asked = false;
		mark = s->mark;
		(void)pthread_mutex_unlock(&s->lock);
		if (fdatasync(s->fd) < 0) {
			atomic_store(&s->error, -errno);
			(void)atomic_fetch_add(&s->failures, 1);
		} else if (atomic_load(&s->failures) == 0) {
			atomic_store(&s->done, mark);
		}
		(void)pthread_mutex_lock(&s->lock);
	}
	(void)pthread_mutex_unlock(&s->lock);
	return NULL;
}

int
syncer_start(int fd, struct syncer **ret)
{
	struct syncer *s = calloc(1, sizeof(*s));
	int r;

	if (s == NULL)
		return -ENOMEM;
	s->fd = fd;
	(void)pthread_mutex_init(&s->lock, NULL);
	(void)pthread_cond_init(&s->wanted, NULL);
	r = thread_start(&s->thread, run, s);
	if (r < 0) {
		free(s);
		return r;
	}
	*ret = s;
	return 0;
}

uint32_t
syncer_stop(struct syncer *s)
{
	uint32_t failures;

	if (s == NULL)
		return 0;
	(void)pthread_mutex_lock(&s->lock);
	s->ending = true;
	(void)pthread_cond_signal(&s->wanted);
	(void)pthread_mutex_unlock(&s->lock);
	(void)pthread_join(s->thread, NULL);
	(void)pthread_cond_destroy(&s->wanted);
	(void)pthread_mutex_destroy(&s->lock);
	failures = atomic_load(&s->failures);
	free(s);
	return failures;
}

void
syncer_ask(struct syncer *s, uint32_t mark)
{
	(void)pthread_mutex_lock(&s->lock);
	s->asked = true;
	s->mark = mark;
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
