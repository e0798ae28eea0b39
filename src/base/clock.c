#include "base/clock.h"

#include <assert.h>
#include <time.h>

#include "base/util.h"

/* Not every system has every clock; this one stands for "not here". */
enum { NO_CLOCK = -1 };

static const int clock_ids[CLOCK_SOURCE_COUNT] = {
	[CLOCK_SOURCE_MONOTONIC] = CLOCK_MONOTONIC,
#ifdef __linux__
	[CLOCK_SOURCE_BOOTTIME] = CLOCK_BOOTTIME,
#else
	[CLOCK_SOURCE_BOOTTIME] = NO_CLOCK,
#endif
/* Linux has it too, but no timerfd runs on it. */
#ifdef __APPLE__
	[CLOCK_SOURCE_MONOTONIC_RAW] = CLOCK_MONOTONIC_RAW,
#else
	[CLOCK_SOURCE_MONOTONIC_RAW] = NO_CLOCK,
#endif
};

static uint64_t
read_ns(clockid_t id)
{
	struct timespec ts;

	if (clock_gettime(id, &ts) < 0 || ts.tv_sec < 0)
		return 0;
	return u64_add_sat(
	    u64_mul_sat((uint64_t)ts.tv_sec, NS_PER_S), (uint64_t)ts.tv_nsec);
}

bool
clock_is_available(enum clock_source source)
{
	assert(source < CLOCK_SOURCE_COUNT);
	return clock_ids[source] != NO_CLOCK;
}

int
clock_id(enum clock_source source)
{
	assert(clock_is_available(source));
	return clock_ids[source];
}

uint64_t
clock_now_ns(enum clock_source source)
{
	return read_ns((clockid_t)clock_id(source));
}

uint64_t
clock_coarse_step_ns(void)
{
#ifdef CLOCK_MONOTONIC_COARSE
	struct timespec ts;

	if (clock_getres(CLOCK_MONOTONIC_COARSE, &ts) == 0)
		return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
#endif
	return 0;
}

uint64_t
clock_wall_ms(void)
{
	return clock_wall_ns() / NS_PER_MS;
}

uint64_t
clock_wall_ns(void)
{
	return read_ns(CLOCK_REALTIME);
}
