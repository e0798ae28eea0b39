#include "watch/tell/metrics_values.h"

#include "base/util.h"

uint64_t
metrics_agent_beats(
    const struct family_values *v, const struct agent_row *agent)
{
	(void)v;
	return agent->beats;
}

uint64_t
metrics_agent_stalls(
    const struct family_values *v, const struct agent_row *agent)
{
	(void)v;
	return agent->stalls;
}

uint64_t
metrics_agent_status(
    const struct family_values *v, const struct agent_row *agent)
{
	(void)v;
	return agent->status;
}

uint64_t
metrics_agent_info(const struct family_values *v, const struct agent_row *agent)
{
	(void)v;
	(void)agent;
	return 1;
}

/* A moment of the observer's clock on the wall, in milliseconds. */
static uint64_t
wall_ms(const struct family_values *v, uint64_t ns)
{
	const struct metrics_gauges *g = &v->gauges;

	if (ns > g->last_pass_ns)
		return u64_add_sat(
		    g->last_pass_wall_ms, (ns - g->last_pass_ns) / NS_PER_MS);
	return u64_sub_sat(
	    g->last_pass_wall_ms, (g->last_pass_ns - ns) / NS_PER_MS);
}

uint64_t
metrics_agent_last_beat(
    const struct family_values *v, const struct agent_row *agent)
{
	return wall_ms(v, agent->last_seen_ns);
}

uint64_t
metrics_lane_beats(const struct family_values *v, const struct lane_row *lane)
{
	(void)v;
	return lane->beats;
}

uint64_t
metrics_lane_stalls(const struct family_values *v, const struct lane_row *lane)
{
	(void)v;
	return lane->stalls;
}

uint64_t
metrics_lane_status(const struct family_values *v, const struct lane_row *lane)
{
	(void)v;
	return lane->status;
}

uint64_t
metrics_lane_busy(const struct family_values *v, const struct lane_row *lane)
{
	(void)v;
	return lane->is_idle ? 0 : 1;
}

uint64_t
metrics_lane_last_beat(
    const struct family_values *v, const struct lane_row *lane)
{
	return wall_ms(v, lane->last_seen_ns);
}
