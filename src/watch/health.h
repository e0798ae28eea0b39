/*
 * Health: what the observer does for those who watch it: the self-watchdog, the
 * hardware watchdog, the heartbeat file, the status line of the service
 * manager. Each is there only when it is asked for. The loop comes by once a
 * pass.
 */
#ifndef WATCH_HEALTH_H
#define WATCH_HEALTH_H

#include <stdint.h>

#include "watch/host/pulse.h"
#include "watch/host/sdnotify.h"
#include "watch/stats.h"
#include "watch/tell/metrics.h"

enum {
	HEALTH_AUTO_SECS = 4,          /* under a manager that watches us */
	HEALTH_STATUS_LEAST_MS = 1000, /* between two status lines */
	HEALTH_SETTLE_MS = 100         /* until READY=1 is tried again */
};

struct health_options {
	/* For health_open() alone. */
	const char *heartbeat_file;  /* NULL: none, as all that follow */
	const char *hw_watchdog;     /* its device */
	uint64_t self_watchdog_secs; /* 0: only under a manager that waits */
	const char *watchdog_usec;   /* WATCHDOG_USEC, WATCHDOG_PID */
	const char *watchdog_pid;
	uint64_t now_ns; /* observer's time */

	/* Borrowed until health_close(). */
	struct sdnotify *notify;
	const struct metrics_gauges *gauges;
	struct stats *stats;
	struct pulse *pulse; /* where the loop shows itself */
	int intake_fd;
};

struct health;

/* Open what is asked for, the hardware watchdog last. 0, or -errno after a line
 * in the log, with nothing left behind. */
int health_open(const struct health_options *options, struct health **ret);

/* The part of a pass that is ours. Returns when it must be run next, NS_NEVER
 * when the loop may sleep on. Allocates nothing. */
uint64_t health_pass(struct health *h, uint64_t now_ns);

/* Stop watching and disarm. First thing at the end, which may take longer than
 * a watchdog waits. Takes NULL. */
void health_close(struct health *h);

#endif
