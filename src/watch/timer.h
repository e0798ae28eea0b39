/*
 * The one timer of the event loop: an absolute time on the observer's clock,
 * as exact as the system allows. timer_linux.c uses timerfd(2),
 * timer_event.c a timer of the event library.
 */
#ifndef WATCH_TIMER_H
#define WATCH_TIMER_H

#include <stdint.h>

#include "base/clock.h"

struct event_base;
struct timer;

/* The loop returns when the timer fires; it does nothing else. 0 or -errno. */
int timer_open(
    struct event_base *base, enum clock_source source, struct timer **ret);
void timer_close(struct timer *t); /* takes NULL */

/* Fire at at_ns of the clock itself; NS_NEVER switches it off. Cheap when
 * nothing changes. */
void timer_arm(struct timer *t, uint64_t at_ns);

#endif
