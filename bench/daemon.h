/*
 * The daemon under measure: started with the options that a benchmark needs,
 * awaited until it says READY=1, asked for its counters, stopped.
 */
#ifndef BENCH_DAEMON_H
#define BENCH_DAEMON_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "support.h"

struct daemon_options {
	uint64_t threshold_ms;
	uint32_t capacity; /* 0: the daemon's default */
	int cpu;           /* -1: anywhere */
	bool metrics;
	bool events;             /* write an event file */
	const char *const *more; /* further words, NULL-ended; or NULL */
};

struct daemon {
	pid_t pid;
	struct sockaddr_un address; /* where it receives */
	struct sockaddr_un events;  /* path of the event file */
	struct sockaddr_un log;     /* path of its log */
	struct sockaddr_in prom;    /* port 0: no metrics */
};

/* The address that daemon_start() will use: agents may be opened before. */
void daemon_address(struct sockaddr_un *ret);

/*
 * Rate limits are off. Socket, event file and log lie in support_folder().
 */
void daemon_start(const struct support_options *support,
    const struct daemon_options *options, struct daemon *ret);

/* Sum of all samples of a metric. */
uint64_t daemon_metric(const struct daemon *d, const char *name);

/* Wait until a metric is at least this. */
void daemon_await(const struct daemon *d, const char *name, uint64_t least);

/* SIGTERM; the exit code must be 0. */
void daemon_stop(struct daemon *d);

#endif
