/*
 * The clock of the library, and timestamps that only rise.
 */
#include "lib/lib.h"

#include <errno.h>
#include <time.h>

#include "base/util.h"

/*
 * The clock of timestamps. The coarse one goes in steps of the kernel's tick
 * (1 to 10 ms) and costs 4 ns where the exact one costs 18, a third of all that
 * a beat costs beyond its system call. Timestamps need no more: receivers only
 * compare two of one agent, and equal ones are in order.
 */
#ifdef CLOCK_MONOTONIC_COARSE
#define TIMESTAMP_CLOCK CLOCK_MONOTONIC_COARSE
#else
#define TIMESTAMP_CLOCK CLOCK_MONOTONIC
#endif

uint64_t
varta__clock_ns(void)
{
	struct timespec ts;

	if (clock_gettime(TIMESTAMP_CLOCK, &ts) < 0)
		return 0;
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

int
varta__terminal_timestamp(
    _Atomic uint64_t *last, uint64_t elapsed_ns, uint64_t *ret)
{
	uint64_t before, next;

	before = atomic_load(last);
	do {
		next = u64_max(elapsed_ns, u64_add_sat(before, 1));
		if (next == UINT64_MAX)
			return -EOVERFLOW; /* reserved on the wire */
	} while (!atomic_compare_exchange_weak(last, &before, next));

	*ret = next;
	return 0;
}
