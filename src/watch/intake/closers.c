#include "watch/intake/closers.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/thread.h"

enum { FREE = -1 };

struct closers {
	_Atomic int fds[CLOSERS]; /* each is a thread's, or FREE */
};

struct closers *
closers_new(void)
{
	struct closers *c = malloc(sizeof(*c));

	for (size_t i = 0; c != NULL && i < CLOSERS; i++)
		atomic_init(&c->fds[i], FREE);
	return c;
}

void
closers_free(struct closers *c)
{
	for (size_t i = 0; c != NULL && i < CLOSERS; i++)
		if (atomic_load(&c->fds[i]) != FREE)
			return;
	free(c);
}

/* CLOSERS: there is none. */
static size_t
find_free(const struct closers *c)
{
	size_t i = 0;

	while (i < CLOSERS && atomic_load(&c->fds[i]) != FREE)
		i++;
	return i;
}

bool
closers_are_busy(const struct closers *c)
{
	return find_free(c) == CLOSERS;
}

static void *
close_and_end(void *ctx)
{
	_Atomic int *fd = ctx;

	(void)close(atomic_load(fd));
	atomic_store(fd, FREE);
	return NULL;
}

void
closers_close(struct closers *c, int fd)
{
	pthread_t thread;
	size_t i;

	if (fd < 0)
		return;
	i = find_free(c);
	/* Memory has seals, and nobody serves it. */
	if (i == CLOSERS || fcntl(fd, F_GET_SEALS) >= 0) {
		fd_close(&fd);
		return;
	}
	atomic_store(&c->fds[i], fd);
	if (thread_start(&thread, close_and_end, &c->fds[i]) < 0)
		(void)close_and_end(&c->fds[i]);
	else
		(void)pthread_detach(thread);
}
