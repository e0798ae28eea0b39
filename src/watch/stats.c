#include "watch/stats.h"

#include "base/util.h"

const uint64_t stats_bucket_bounds_ns[STATS_BUCKETS] = {
	1 * NS_PER_MS,
	5 * NS_PER_MS,
	10 * NS_PER_MS,
	50 * NS_PER_MS,
	100 * NS_PER_MS,
	250 * NS_PER_MS,
	500 * NS_PER_MS,
	1 * NS_PER_S,
	UINT64_MAX,
};

/* A bound, and the highest bit of it: each has one of its own. */
#define FINE_BOUNDS(X)                                                         \
	X(0, 15, 50 * NS_PER_US)                                               \
	X(1, 16, 100 * NS_PER_US)                                              \
	X(2, 17, 250 * NS_PER_US)                                              \
	X(3, 18, 500 * NS_PER_US)                                              \
	X(4, 19, 1 * NS_PER_MS)                                                \
	X(5, 21, 2500 * NS_PER_US)                                             \
	X(6, 22, 5 * NS_PER_MS)                                                \
	X(7, 23, 10 * NS_PER_MS)                                               \
	X(8, 24, 25 * NS_PER_MS)                                               \
	X(9, 25, 50 * NS_PER_MS)                                               \
	X(10, 26, 100 * NS_PER_MS)                                             \
	X(11, 27, 250 * NS_PER_MS)                                             \
	X(12, 28, 500 * NS_PER_MS)                                             \
	X(13, 29, 1 * NS_PER_S)                                                \
	X(14, 31, 2500 * NS_PER_MS)                                            \
	X(15, 32, 5 * NS_PER_S)                                                \
	X(16, 33, 10 * NS_PER_S)

const uint64_t stats_fine_bounds_ns[STATS_FINE_BUCKETS] = {
#define BOUND(bucket, bit, ns) [bucket] = (ns),
	FINE_BOUNDS(BOUND)
#undef BOUND
	    [STATS_FINE_BUCKETS - 1] = UINT64_MAX,
};

const struct stats_fine_step stats_fine_steps[64] = {
#define STEP(i, bit, ns) [bit] = { .bound_ns = (ns), .bucket = (i) },
	FINE_BOUNDS(STEP)
#undef STEP
/* No bound among these. */
#define ALL(bit, i) [bit] = { .bound_ns = UINT64_MAX, .bucket = (i) }
	/* clang-format off */
	ALL(0, 0), ALL(1, 0), ALL(2, 0), ALL(3, 0), ALL(4, 0), ALL(5, 0),
	ALL(6, 0), ALL(7, 0), ALL(8, 0), ALL(9, 0), ALL(10, 0), ALL(11, 0),
	ALL(12, 0), ALL(13, 0), ALL(14, 0), ALL(20, 5), ALL(30, 14),
	ALL(34, 17), ALL(35, 17), ALL(36, 17), ALL(37, 17), ALL(38, 17),
	ALL(39, 17), ALL(40, 17), ALL(41, 17), ALL(42, 17), ALL(43, 17),
	ALL(44, 17), ALL(45, 17), ALL(46, 17), ALL(47, 17), ALL(48, 17),
	ALL(49, 17), ALL(50, 17), ALL(51, 17), ALL(52, 17), ALL(53, 17),
	ALL(54, 17), ALL(55, 17), ALL(56, 17), ALL(57, 17), ALL(58, 17),
	ALL(59, 17), ALL(60, 17), ALL(61, 17), ALL(62, 17), ALL(63, 17),
/* clang-format on */
#undef ALL
};

void
stats_histogram_add(struct stats_histogram *h, uint64_t ns)
{
	size_t i = 0;

	while (ns > stats_bucket_bounds_ns[i])
		i++;
	h->buckets[i]++;
	h->sum_ns = u64_add_sat(h->sum_ns, ns);
	h->count++;
}
