/*
 * The only place where a clock is read. Everything else is handed a time.
 *
 * Times are nanoseconds of the chosen clock; two clocks are never mixed.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

enum clock_source {
	CLOCK_SOURCE_MONOTONIC = 0, /* stands still while suspended */
	CLOCK_SOURCE_BOOTTIME,      /* counts suspend; Linux only */
	CLOCK_SOURCE_MONOTONIC_RAW, /* macOS only */
	CLOCK_SOURCE_COUNT
};

/* True when this system has the clock. */
bool clock_is_available(enum clock_source source);

/* The clockid_t behind a source, for timerfd_create(2) and its like. */
int clock_id(enum clock_source source);

/*
 * Now, in nanoseconds of source. The source must be available. Thread-safe
 * and async-signal-safe. A failed read gives 0.
 */
uint64_t clock_now_ns(enum clock_source source);

/* How far the coarse monotonic clock may be behind the exact one; 0 where there
 * is none. */
uint64_t clock_coarse_step_ns(void);

/* Wall clock, milliseconds and nanoseconds since 1970; only to be written
 * down, never compared with a time of another clock. */
uint64_t clock_wall_ms(void);
uint64_t clock_wall_ns(void);

#endif
