/*
 * The event loop: waits for what the observer asks for, then runs its passes.
 *
 * The event library only says what is ready; the order of work is the
 * observer's. While beats come fast the loop does not listen to their socket
 * at all but naps on the timer (design: the wake-up is what a beat costs).
 */
#ifndef WATCH_LOOP_H
#define WATCH_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/steady.h"
#include "watch/health.h"
#include "watch/observer.h"
#include "watch/tell/http.h"
#include "watch/tell/metrics.h"

enum {
	LOOP_HTTP = 2,   /* servers */
	LOOP_LATE_S = 10 /* not ready so long after a gap of our own */
};

/* The observer's time. */
struct loop_clock {
	enum clock_source source;
	uint64_t origin_ns; /* its time 0 */
	struct steady steady;
};

struct loop_options {
	struct observer *observer;
	struct health *health;
	struct pulse *pulse;           /* of this loop, read by others */
	struct http *http[LOOP_HTTP];  /* NULL: none */
	struct metrics_gauges *gauges; /* kept current here */
	struct stats *stats;
	void (*reload)(void *ctx); /* on SIGHUP, between two passes */
	void *reload_ctx;
	int intake_fd;
	int network_fd;           /* -1: none */
	int process_fd;           /* -1: none */
	int lanes_fd;             /* -1: none */
	struct loop_clock *clock; /* borrowed */
	uint64_t end_at_ns;       /* observer's time; NS_NEVER */
};

struct loop;

/* Takes over SIGTERM, SIGINT, SIGHUP and SIGCONT. 0 or -errno. */
int loop_open(const struct loop_options *options, struct loop **ret);

/* From now on these signals have no effect: the end goes its way. Takes NULL.
 */
void loop_close(struct loop *l);

/* Run until a signal, the end time, or a failure of the observer. Returns 0
 * for a clean end, -errno otherwise. */
int loop_run(struct loop *l);

/* ctx is a struct loop_clock. */
uint64_t loop_now_ns(void *ctx);

#endif
