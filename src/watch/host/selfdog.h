/*
 * Self-watchdog: a thread that ends the process (SIGABRT) when the loop hangs,
 * so that whoever started it starts it anew. The rule is wedge.h; this is the
 * thread around it. Before it aborts, it writes one plain line to standard
 * error, unless that takes none at once.
 *
 * It also tells a service manager WATCHDOG=1, as long as the loop does not
 * hang, and from the first completed pass on.
 *
 * The thread wakes on its own, two times a second at least, on CLOCK_MONOTONIC,
 * and never wakes the loop. No signal is delivered to it. With the loop it
 * shares a pulse and the input's descriptor, which it asks and does not read.
 */
#ifndef WATCH_HOST_SELFDOG_H
#define WATCH_HOST_SELFDOG_H

#include <stdint.h>

#include "watch/host/pulse.h"
#include "watch/host/sdnotify.h"

struct selfdog_options {
	/* Borrowed until selfdog_close(). */
	const struct pulse *pulse;
	const struct sdnotify *notify;
	int input_fd; /* must not stay readable while the loop waits; -1 none */
	uint64_t deadline_ns;
	uint64_t manager_ns; /* its WATCHDOG_USEC; 0: it waits for nothing */
};

struct selfdog;

/* 0, or -errno when there is no thread to be had. */
int selfdog_open(const struct selfdog_options *options, struct selfdog **ret);

/* End the thread, at once; nothing is told afterwards. Takes NULL. */
void selfdog_close(struct selfdog *s);

/* How often it looks for a manager's interval: a quarter of that, from 25 to
 * 500 ms. */
uint64_t selfdog_interval_ns(uint64_t manager_ns);

#endif
