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
