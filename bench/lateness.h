/*
 * How long after their deadlines agents are said to have stalled: read off the
 * event file, which has the last beat and the stall on one clock.
 */
#ifndef BENCH_LATENESS_H
#define BENCH_LATENESS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum {
	LATENESS_MAX = 4096 /* stalls of one reading */
};

struct lateness {
	double us[LATENESS_MAX]; /* of the last reading */
	size_t n;
	double earliest_us; /* of all readings; below 0 would be early */
	size_t stalls;
	FILE *events;
	uint64_t *last_beat_ns; /* by pid */
	double threshold_us;
};

void lateness_open(
    struct lateness *l, const char *event_file, uint64_t threshold_ms);
void lateness_close(struct lateness *l);

/* Take in what the file has to say since the last reading. */
void lateness_read(struct lateness *l);

#endif
