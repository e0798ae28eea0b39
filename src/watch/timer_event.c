#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>

#include "base/util.h"
#include "watch/timer.h"

struct timer {
	struct event *event;
	enum clock_source source;
};

static void
on_timer(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd;
	(void)what;
	(void)ctx;
}

int
timer_open(
    struct event_base *base, enum clock_source source, struct timer **ret)
{
	struct timer *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return -ENOMEM;
	t->source = source;
	t->event = evtimer_new(base, on_timer, t);
	if (t->event == NULL) {
		free(t);
		return -ENOMEM;
	}
	*ret = t;
	return 0;
}

void
timer_close(struct timer *t)
{
	if (t == NULL)
		return;
	event_free(t->event);
	free(t);
}

void
timer_arm(struct timer *t, uint64_t at_ns)
{
	uint64_t wait_us;
	struct timeval tv;

	if (at_ns == NS_NEVER) {
		(void)evtimer_del(t->event);
		return;
	}
	/* Rounded up: never early. */
	wait_us =
	    (u64_sub_sat(at_ns, clock_now_ns(t->source)) + 999) / NS_PER_US;
	tv.tv_sec = (time_t)(wait_us / 1000000);
	tv.tv_usec = (suseconds_t)(wait_us % 1000000);
	(void)evtimer_add(t->event, &tv);
}
