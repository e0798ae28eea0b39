/*
 * Figures: fine time, percentiles, rounds, and the JSON that is made of them.
 *
 * A result is a ratio to a floor measured side by side: in every round first
 * one, then the other; the ratio is taken round by round, and the median of
 * the ratios is the result, with the lowest and the highest as its spread.
 * Each program prints one JSON object on stdout: result name to result.
 */
#ifndef BENCH_SAMPLE_H
#define BENCH_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "support.h"

#if defined(__x86_64__)
#include <x86intrin.h>
#else
#include <time.h>
#endif

/* Now, in ticks. The processor first finishes what was asked before. */
static inline uint64_t
sample_ticks(void)
{
#if defined(__x86_64__)
	uint64_t t;

	_mm_lfence();
	t = __rdtsc();
	_mm_lfence();
	return t;
#else
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
#endif
}

/* Measure the length of a tick and of an empty pair of readings. Once, before
 * the first use of sample_ns(). */
void sample_calibrate(void);

/* Nanoseconds between two readings, less the cost of reading; never below 0. */
double sample_ns(uint64_t from, uint64_t to);

/*
 * Sorts x in place and gives the value below which permille of n lie. Where
 * many are equal because the clock is coarse, the place inside that step is
 * worked out from the rank. n is at least 1.
 */
double sample_percentile(double *x, size_t n, unsigned permille);

/* One value of subject and floor for each round. */
struct sample_rounds {
	double subject[SUPPORT_ROUNDS_MAX];
	double floor[SUPPORT_ROUNDS_MAX];
	size_t n;
};

void sample_round(struct sample_rounds *s, double subject, double floor);

/* Median over the rounds of floor, of subject. */
double sample_floor(const struct sample_rounds *s);
double sample_subject(const struct sample_rounds *s);

/*
 * Output. sample_begin() opens the result called key, the fields follow, and
 * sample_end() closes it; results may lie inside one another. sample_ratio()
 * writes value, floor, ratio, spread, n and unit.
 */
void sample_begin(const char *key);
void sample_ratio(const struct sample_rounds *s, const char *unit);
/* The same where the value itself is what counts, and the floor only stands
 * beside it: value, floor, spread (of the values), n and unit. */
void sample_value(const struct sample_rounds *s, const char *unit);
void sample_number(const char *name, double value);
void sample_text(const char *name, const char *text);
void sample_end(void);

/* The end of the whole object; after the last result. */
void sample_finish(void);

/* All of keys, NULL at the end, are written as skipped; the object is ended. */
void sample_skip(const char *const *keys, const char *reason);

#endif
