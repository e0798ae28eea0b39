/*
 * The words of labels, in the order of the arrays whose elements they name.
 */
#ifndef WATCH_TELL_METRICS_LABELS_H
#define WATCH_TELL_METRICS_LABELS_H

#include "watch/stats.h"

extern const char *const metrics_decode_kinds[STATS_DECODE_COUNT];
extern const char *const metrics_limited_reasons[STATS_LIMITED_COUNT];
extern const char *const metrics_session_reasons[STATS_SESSION_COUNT];
extern const char *const metrics_out_of_order_causes[STATS_OUT_OF_ORDER_COUNT];
extern const char *const metrics_dropped_reasons[STATS_PROM_DROPPED_COUNT];
extern const char *const metrics_ring_levels[STATS_AUDIT_RING_COUNT];
extern const char *const metrics_lane_reasons[STATS_LANE_COUNT];
extern const char *const metrics_stages[STATS_STAGE_COUNT];
extern const char *const metrics_stall_reasons[STALL_REASON_COUNT];
extern const char *const metrics_signal_modes[1];

#endif
