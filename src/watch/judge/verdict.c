#include "watch/judge/verdict.h"

#include "base/util.h"

struct verdict
verdict_of(const struct agent_view *agent, uint64_t credit_ns, uint64_t now_ns)
{
	uint64_t deadline_ns = u64_add_sat(
	    u64_add_sat(agent->last_seen_ns, agent->threshold_ns), credit_ns);

	if (deadline_ns > now_ns)
		return (struct verdict){
			.kind = VERDICT_WAIT,
			.look_at_ns = deadline_ns,
		};
	return (struct verdict){
		.kind = VERDICT_STALLED,
		.why = agent->gone ? STALL_GONE : STALL_SILENT,
	};
}
