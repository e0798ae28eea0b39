#include "watch/host/selfdog.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/thread.h"
#include "base/util.h"
#include "watch/host/wedge.h"

enum { INTERVAL_MIN_MS = 25, INTERVAL_MAX_MS = 500, LAST_WORDS_MS = 100 };

struct selfdog {
	struct selfdog_options options;
	uint64_t interval_ns;
	pthread_t thread;
	int end[2]; /* a pipe: closed at the end by who ends it */
};

uint64_t
selfdog_interval_ns(uint64_t manager_ns)
{
	if (manager_ns == 0)
		return INTERVAL_MAX_MS * NS_PER_MS;
	return u64_min(u64_max(manager_ns / 4, INTERVAL_MIN_MS * NS_PER_MS),
	    INTERVAL_MAX_MS * NS_PER_MS);
}

/* Whether something happens on fd within the time. No signal comes here, and a
 * call that fails all the same counts as "no". */
static bool
happens(int fd, short what, uint64_t within_ns)
{
	struct pollfd asked = { .fd = fd, .events = what };
	uint64_t ms = within_ns / NS_PER_MS + (within_ns % NS_PER_MS != 0);

	return poll(&asked, 1, (int)ms) > 0 && asked.revents != 0;
}

static _Noreturn void
shoot(const struct wedge *w, enum wedge_verdict verdict)
{
	char line[WEDGE_LINE_MAX];
	size_t n = wedge_describe(w, verdict, line);

	/* The loop may hang because nobody reads our standard error; then this
	 * thread must not hang there, too. */
	if (happens(STDERR_FILENO, POLLOUT, LAST_WORDS_MS * NS_PER_MS))
		(void)!write(STDERR_FILENO, line, n);
	abort();
}

static void *
run(void *ctx)
{
	const struct selfdog *s = ctx;
	const struct selfdog_options *o = &s->options;
	uint64_t now_ns = clock_now_ns(CLOCK_SOURCE_MONOTONIC);
	uint64_t tell_at_ns = 0;
	struct wedge wedge;

	wedge_init(&wedge, o->deadline_ns, s->interval_ns, now_ns);
	while (!happens(s->end[0], POLLIN, s->interval_ns)) {
		bool input =
		    o->input_fd >= 0 && happens(o->input_fd, POLLIN, 0);
		enum wedge_verdict verdict;

		now_ns = clock_now_ns(CLOCK_SOURCE_MONOTONIC);
		verdict =
		    wedge_look(&wedge, pulse_word(o->pulse), input, now_ns);
		if (verdict != WEDGE_HEALTHY)
			shoot(&wedge, verdict);
		if (o->manager_ns == 0 || !wedge_has_completed(&wedge) ||
		    now_ns < tell_at_ns)
			continue;
		if (sdnotify_send(o->notify, "WATCHDOG=1\n"))
			tell_at_ns = u64_add_sat(now_ns, o->manager_ns / 2);
	}
	return NULL;
}

int
selfdog_open(const struct selfdog_options *options, struct selfdog **ret)
{
	struct selfdog *s = malloc(sizeof(*s));
	int r;

	if (s == NULL)
		return -ENOMEM;
	s->options = *options;
	s->interval_ns = selfdog_interval_ns(options->manager_ns);
	if (pipe2(s->end, O_CLOEXEC) < 0) {
		r = -errno;
		free(s);
		return r;
	}
	r = thread_start(&s->thread, run, s);
	if (r < 0) {
		fd_close(&s->end[0]);
		fd_close(&s->end[1]);
		free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void
selfdog_close(struct selfdog *s)
{
	if (s == NULL)
		return;
	fd_close(&s->end[1]);
	(void)pthread_join(s->thread, NULL);
	fd_close(&s->end[0]);
	free(s);
}
