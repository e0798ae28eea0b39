/*
 * Values of agents and lanes, for the columns of metrics_table.h. Pure.
 */
#ifndef WATCH_TELL_METRICS_VALUES_H
#define WATCH_TELL_METRICS_VALUES_H

#include <stdint.h>

#include "watch/tell/metrics_table.h"

uint64_t metrics_agent_beats(
    const struct family_values *v, const struct agent_row *agent);
uint64_t metrics_agent_stalls(
    const struct family_values *v, const struct agent_row *agent);
uint64_t metrics_agent_status(
    const struct family_values *v, const struct agent_row *agent);
uint64_t metrics_agent_info(
    const struct family_values *v, const struct agent_row *agent);
uint64_t metrics_agent_last_beat(
    const struct family_values *v, const struct agent_row *agent);
uint64_t metrics_lane_beats(
    const struct family_values *v, const struct lane_row *lane);
uint64_t metrics_lane_stalls(
    const struct family_values *v, const struct lane_row *lane);
uint64_t metrics_lane_status(
    const struct family_values *v, const struct lane_row *lane);
uint64_t metrics_lane_busy(
    const struct family_values *v, const struct lane_row *lane);
uint64_t metrics_lane_last_beat(
    const struct family_values *v, const struct lane_row *lane);

#endif
