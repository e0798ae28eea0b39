#include "watch/tell/metrics_labels.h"

const char *const metrics_decode_kinds[STATS_DECODE_COUNT] = {
	[STATS_BAD_MAGIC] = "bad_magic",
	[STATS_BAD_VERSION] = "bad_version",
	[STATS_BAD_STATUS] = "bad_status",
	[STATS_BAD_PID] = "bad_pid",
	[STATS_BAD_TIMESTAMP] = "bad_timestamp",
	[STATS_BAD_NONCE] = "bad_nonce",
	[STATS_STALL_ON_WIRE] = "stall_on_wire",
	[STATS_BAD_CRC] = "bad_crc",
};

const char *const metrics_limited_reasons[STATS_LIMITED_COUNT] = {
	[STATS_LIMITED_PER_PID] = "per_pid",
	[STATS_LIMITED_GLOBAL] = "global",
};

const char *const metrics_session_reasons[STATS_SESSION_COUNT] = {
	[STATS_SESSION_MEMORY_FULL] = "memory_full",
	[STATS_SESSION_TOO_OFTEN] = "too_often",
};

const char *const metrics_out_of_order_causes[STATS_OUT_OF_ORDER_COUNT] = {
	[STATS_NONCE_REPEATED] = "nonce_repeated",
	[STATS_NONCE_REGRESSED] = "nonce_regressed",
	[STATS_TERMINAL_REPLAYED] = "terminal_replayed",
};

const char *const metrics_dropped_reasons[STATS_PROM_DROPPED_COUNT] = {
	[STATS_PROM_DRAIN] = "drain",
	[STATS_PROM_RATE_LIMIT] = "rate_limit",
	[STATS_PROM_IP_TABLE_FULL] = "ip_table_full",
};

const char *const metrics_ring_levels[STATS_AUDIT_RING_COUNT] = {
	[STATS_AUDIT_RING_WARN] = "warn",
	[STATS_AUDIT_RING_CRITICAL] = "critical",
};

const char *const metrics_stages[STATS_STAGE_COUNT] = {
	[STATS_STAGE_DRAIN_PENDING] = "drain_pending",
	[STATS_STAGE_POLL] = "poll",
	[STATS_STAGE_MAINTENANCE] = "maintenance",
	[STATS_STAGE_RECOVERY_REAP] = "recovery_reap",
	[STATS_STAGE_SERVE_PENDING] = "serve_pending",
	[STATS_STAGE_HOUSEKEEPING] = "housekeeping",
};

const char *const metrics_lane_reasons[STATS_LANE_COUNT] = {
	[STATS_LANE_USER] = "user",
	[STATS_LANE_MEMORY] = "memory",
	[STATS_LANE_AGENT] = "agent",
	[STATS_LANE_RECORD] = "record",
	[STATS_LANE_ROOM] = "room",
};

const char *const metrics_stall_reasons[STALL_REASON_COUNT] = {
	[STALL_SILENT] = "silent",
	[STALL_GONE] = "gone",
};

const char *const metrics_signal_modes[] = { "libc" };

/* In the order of the reference, which is not that of the enum. */
