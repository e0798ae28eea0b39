#include "watch/inlet.h"

#include "base/util.h"

void
inlet_init(struct inlet *in, const struct inlet_options *options,
    struct stats *stats, uint64_t now_ns)
{
	intake_init(&in->intake, &options->source, &options->policy, stats);
	admit_init(&in->admit, options->rate_per_s, options->burst, now_ns);
	pace_init(&in->pace, options->queue_len, now_ns);
	in->counted = 0;
	in->count_ns = now_ns;
	in->rest_end_ns = 0;
	if (options->source.is_network) {
		in->drain_max =
		    (uint32_t)u64_min(u64_max(INLET_DRAIN_NETWORK,
					  (uint64_t)options->queue_len + 1),
			INLET_DRAIN_NETWORK_MAX);
		in->flood = INLET_FLOOD;
	} else {
		in->drain_max = (uint32_t)u64_max(INLET_DRAIN_MIN,
		    (uint64_t)options->queue_len + 1 + INTAKE_BATCH);
		in->flood = UINT32_MAX;
	}
}

bool
inlet_drained(
    struct inlet *in, uint32_t taken, bool may_be_more, uint64_t now_ns)
{
	pace_note(&in->pace, taken, now_ns);
	if (u64_sub_sat(now_ns, in->count_ns) >= INLET_FLOOD_NS) {
		in->count_ns = now_ns;
		in->counted = 0;
	}
	in->counted += taken;
	in->rest_end_ns = in->counted < in->flood
			      ? 0
			      : u64_add_sat(in->count_ns, INLET_FLOOD_NS);
	return may_be_more && in->rest_end_ns == 0;
}

bool
inlet_waits(const struct inlet *in, uint64_t now_ns, uint64_t *until_ns)
{
	uint64_t nap_ns = pace_nap_ns(&in->pace), end_ns = in->rest_end_ns;

	if (nap_ns > 0)
		end_ns = u64_max(end_ns, u64_add_sat(now_ns, nap_ns));
	if (end_ns <= now_ns)
		return true;
	*until_ns = u64_min(*until_ns, end_ns);
	return false;
}
