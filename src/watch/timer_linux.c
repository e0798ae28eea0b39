#include <errno.h>
#include <event2/event.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>

#include "base/fd.h"
#include "base/util.h"
#include "watch/timer.h"

struct timer {
	int fd;
	struct event *event;
	uint64_t armed_ns;
	bool fired; /* arming again is what clears the descriptor */
};

static void
on_timer(evutil_socket_t fd, short what, void *ctx)
{
	struct timer *t = ctx;

	(void)fd;
	(void)what;
	t->fired = true;
}

int
timer_open(
    struct event_base *base, enum clock_source source, struct timer **ret)
{
	struct timer *t = calloc(1, sizeof(*t));
	int r;

	if (t == NULL)
		return -ENOMEM;
	t->armed_ns = NS_NEVER;
	t->fd = timerfd_create(clock_id(source), TFD_NONBLOCK | TFD_CLOEXEC);
	if (t->fd < 0) {
		r = -errno;
		goto fail;
	}
	t->event = event_new(base, t->fd, EV_READ | EV_PERSIST, on_timer, t);
	if (t->event == NULL || event_add(t->event, NULL) < 0) {
		r = -ENOMEM;
		goto fail;
	}
	*ret = t;
	return 0;

fail:
	timer_close(t);
	return r;
}

void
timer_close(struct timer *t)
{
	if (t == NULL)
		return;
	if (t->event != NULL)
		event_free(t->event);
	fd_close(&t->fd);
	free(t);
}

void
timer_arm(struct timer *t, uint64_t at_ns)
{
	struct itimerspec spec = { 0 };

	if (at_ns == t->armed_ns && !t->fired)
		return;
	if (at_ns != NS_NEVER) {
		/* A value of zero would switch the timer off. */
		at_ns = u64_max(at_ns, 1);
		spec.it_value.tv_sec = (time_t)(at_ns / NS_PER_S);
		spec.it_value.tv_nsec = (long)(at_ns % NS_PER_S);
	}
	(void)timerfd_settime(t->fd, TFD_TIMER_ABSTIME, &spec, NULL);
	t->armed_ns = at_ns;
	t->fired = false;
}
