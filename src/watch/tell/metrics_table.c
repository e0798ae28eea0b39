#include "watch/tell/metrics_table.h"

#include <stddef.h>

#include <varta/version.h>

#include "base/log.h"
#include "base/util.h"
#include "watch/tell/metrics_labels.h"
#include "watch/tell/metrics_values.h"

static const char *const outcome_words[] = {
	"spawned",
	"debounced",
	"reaped_zero",
	"reaped_nonzero",
	"killed",
	"spawn_failed",
	"refused_unauthenticated_transport",
	"refused_cross_namespace",
	"refused_debounce_capacity",
	"refused_outstanding_capacity",
	"refused_socket_mode_only",
	"skipped_agent_resumed",
	"skipped_pid_recycled",
	"skipped_stall_unverifiable",
	"refused_stale_child_kill_failed",
};

static const enum recovery_outcome outcomes[] = {
	RECOVERY_SPAWNED,
	RECOVERY_DEBOUNCED,
	RECOVERY_REAPED_ZERO,
	RECOVERY_REAPED_NONZERO,
	RECOVERY_KILLED,
	RECOVERY_SPAWN_FAILED,
	RECOVERY_REFUSED_UNAUTHENTICATED_TRANSPORT,
	RECOVERY_REFUSED_CROSS_NAMESPACE,
	RECOVERY_REFUSED_DEBOUNCE_CAPACITY,
	RECOVERY_REFUSED_OUTSTANDING_CAPACITY,
	RECOVERY_REFUSED_SOCKET_MODE_ONLY,
	RECOVERY_SKIPPED_AGENT_RESUMED,
	RECOVERY_SKIPPED_PID_RECYCLED,
	RECOVERY_SKIPPED_STALL_UNVERIFIABLE,
	RECOVERY_REFUSED_STALE_CHILD_KILL_FAILED,
};

_Static_assert(ARRAY_SIZE(outcomes) == ARRAY_SIZE(outcome_words),
    "a word for each outcome");
/* All but RECOVERY_REAP_FAILED, which counts as reaped_nonzero. */
_Static_assert(
    ARRAY_SIZE(outcomes) == RECOVERY_OUTCOME_COUNT - 1, "every outcome");

static const char *const refusal_words[] = {
	"unauthenticated_transport",
	"cross_namespace_agent",
	"debounce_capacity",
	"outstanding_capacity",
	"socket_mode_only",
};

static const enum recovery_outcome refusals[] = {
	RECOVERY_REFUSED_UNAUTHENTICATED_TRANSPORT,
	RECOVERY_REFUSED_CROSS_NAMESPACE,
	RECOVERY_REFUSED_DEBOUNCE_CAPACITY,
	RECOVERY_REFUSED_OUTSTANDING_CAPACITY,
	RECOVERY_REFUSED_SOCKET_MODE_ONLY,
};

static const char *const versions[] = { VARTA_VERSION };

static uint64_t
outcome_value(const struct family_values *v, size_t i)
{
	uint64_t n = v->stats.recovery[outcomes[i]];

	if (outcomes[i] == RECOVERY_REAPED_NONZERO)
		n += v->stats.recovery[RECOVERY_REAP_FAILED];
	return n;
}

static uint64_t
refusal_value(const struct family_values *v, size_t i)
{
	return v->stats.recovery[refusals[i]];
}

static uint64_t
log_suppressed_value(const struct family_values *v, size_t i)
{
	(void)v;
	return log_suppressed((enum log_kind)i);
}

static uint64_t
uptime_value(const struct family_values *v, size_t i)
{
	(void)i;
	return u64_sub_sat(v->now_ns, v->gauges.started_ns) / NS_PER_MS;
}

static uint64_t
zero_value(const struct family_values *v, size_t i)
{
	(void)v;
	(void)i;
	return 0;
}

static uint64_t
one_value(const struct family_values *v, size_t i)
{
	(void)v;
	(void)i;
	return 1;
}

/* One line a family. */
#define AT(field) .offset = offsetof(struct family_values, field)
#define BY(l, list) .label = l, .words = (list), .n_words = ARRAY_SIZE(list)

#define COUNTER(n, field, h)                                                   \
	{                                                                      \
		.name = n, .help = h, AT(stats.field)                          \
	}
#define COUNTER_BY(n, l, list, field, h)                                       \
	{                                                                      \
		.name = n, .help = h, BY(l, list), AT(stats.field)             \
	}
#define COUNTER_OF(n, l, list, function, h)                                    \
	{                                                                      \
		.name = n, .help = h, BY(l, list), .of_values = function       \
	}
#define COUNTER_NS(n, field, h)                                                \
	{                                                                      \
		.name = n, .help = h, .unit = FAMILY_NS, AT(stats.field)       \
	}
#define GAUGE(n, field, h)                                                     \
	{                                                                      \
		.name = n, .help = h, .type = FAMILY_GAUGE, AT(gauges.field)   \
	}
#define HISTOGRAM(n, field, h)                                                 \
	{                                                                      \
		.name = n, .help = h, .type = FAMILY_HISTOGRAM,                \
		AT(stats.field)                                                \
	}
#define FINE(n, field, h)                                                      \
	{                                                                      \
		.name = n, .help = h, .type = FAMILY_FINE, AT(stats.field)     \
	}
#define HISTOGRAM_BY(n, l, list, field, h)                                     \
	{                                                                      \
		.name = n, .help = h, .type = FAMILY_HISTOGRAM, BY(l, list),   \
		AT(stats.field)                                                \
	}

/* A family of the reference whose cause cannot happen here. */
#define ALWAYS_0(n, h)                                                         \
	{                                                                      \
		.name = n, .help = h, .of_values = zero_value                  \
	}

/* clang-format off */
const struct family family_table[] = {
	/* The families of the reference, in its order. */
	{ .name = "varta_beats_total", .of_agent = metrics_agent_beats,
	  .help = "Beats accepted from an agent; its row goes with its slot." },
	{ .name = "varta_stalls_total", .of_agent = metrics_agent_stalls,
	  .help = "Stalls of an agent; its row goes with its slot." },
	{ .name = "varta_status", .of_agent = metrics_agent_status,
	  .type = FAMILY_GAUGE,
	  .help = "Status of an agent: 0 ok, 1 degraded, 2 critical, "
		  "3 stalled." },
	COUNTER("varta_tracker_evicted_total", evicted,
	    "Silent agents that made room for another."),
	COUNTER("varta_frame_auth_failures_total", frame_auth_failures,
	    "Frames whose pid is not the one that the kernel names."),
	COUNTER_BY("varta_decode_errors_total", "kind", metrics_decode_kinds,
	    decode_errors,
	    "Datagrams of the right length that are no frame."),
	COUNTER("varta_io_errors_total", io_errors,
	    "Errors while receiving, refused senders included."),
	COUNTER("varta_ctrl_truncated_total", ctrl_truncated,
	    "Datagrams whose control data was cut off."),
	COUNTER("varta_tracker_capacity_exceeded_total", capacity_exceeded,
	    "Beats of new agents dropped because the table was full."),
	COUNTER("varta_tracker_eviction_scan_truncated_total",
	    eviction_scan_truncated,
	    "Searches for an agent to evict that ended without one."),
	GAUGE("varta_tracker_capacity", tracker_capacity,
	    "Agents that fit in the table."),
	GAUGE("varta_tracker_eviction_scan_window_max", scan_window,
	    "Slots looked at for one eviction."),
	COUNTER_OF("varta_recovery_outcomes_total", "outcome", outcome_words,
	    outcome_value,
	    "Steps of recovery; reaped_nonzero includes failed waits."),
	COUNTER("varta_recovery_duration_ns_sum", recovery_duration_ns,
	    "Run time of recovery commands that were reaped, nanoseconds."),
	COUNTER("varta_recovery_duration_count_total",
	    recovery_duration_count,
	    "Recovery commands in varta_recovery_duration_ns_sum."),
	COUNTER_OF("varta_recovery_refused_total", "reason", refusal_words,
	    refusal_value, "Recovery that was asked for and not allowed."),
	COUNTER("varta_recovery_last_fired_evictions_total",
	    recovery_ledger_evictions,
	    "Debounce entries dropped after their window."),
	COUNTER("varta_recovery_debounce_recycle_resets_total",
	    recovery_debounce_recycle_resets,
	    "Debounce windows ignored: the pid is another process's."),
	COUNTER("varta_recovery_outstanding_recycle_resets_total",
	    recovery_outstanding_recycle_resets,
	    "Running commands given up: the pid is another process's."),
	COUNTER("varta_recovery_spawn_budget_exceeded_total",
	    recovery_spawn_budget_exceeded,
	    "Passes that left recovery commands to be started later."),
	ALWAYS_0("varta_recovery_invariant_violations_total",
	    "Always 0: ours are assertions."),
	COUNTER_OF("varta_log_suppressed_total", "kind", log_kind_names,
	    log_suppressed_value,
	    "Log lines left out, at most one a second of a kind is written."),
	COUNTER("varta_origin_conflict_total", origin_conflicts,
	    "Beats of weaker origin than their agent's, dropped."),
	COUNTER("varta_frame_namespace_mismatch_total",
	    namespace_mismatches,
	    "Frames from another pid namespace than the observer's."),
	COUNTER("varta_frame_rejected_pid_above_max_total", pid_above_max,
	    "Frames with a pid above the kernel's highest."),
	GAUGE("varta_pid_max_current", pid_max,
	    "Highest pid of the kernel; 4294967295 where unknown."),
	ALWAYS_0("varta_tracker_namespace_conflict_total",
	    "Always 0: a process stays in its pid namespace."),
	COUNTER("varta_tracker_pid_recycle_total", pid_recycled,
	    "Agents retired because their pid is another process's."),
	ALWAYS_0("varta_tracker_invariant_violations_total",
	    "Always 0: ours are assertions."),
	ALWAYS_0("varta_tracker_removed_pid_drops_total",
	    "Always 0: rows are read from the table itself."),
	ALWAYS_0("varta_tracker_pid_index_probe_exhausted_total",
	    "Always 0: a look-up has no budget here."),
	ALWAYS_0("varta_recovery_outstanding_probe_exhausted_total",
	    "Always 0: a look-up has no budget here."),
	COUNTER("varta_recovery_reap_truncated_total",
	    recovery_reap_truncated,
	    "Passes that left ended commands to be reaped later."),
	COUNTER("varta_recovery_audit_dropped_total", recovery_audit_dropped,
	    "Audit rows lost because too many were waiting for the disk."),
	COUNTER("varta_recovery_audit_flush_budget_exceeded_total",
	    recovery_audit_flush_budget_exceeded,
	    "Times that audit rows waited for longer than 10 ms."),
	HISTOGRAM("varta_audit_fsync_seconds", audit_fsync,
	    "Time of each sync of audit rows to disk."),
	COUNTER("varta_socket_bind_dir_fsync_failed_total",
	    socket_dir_fsync_failed,
	    "Failed syncs of the socket's folder."),
	COUNTER("varta_audit_fsync_budget_exceeded_total",
	    audit_fsync_budget_exceeded,
	    "Syncs of audit rows longer than --audit-fsync-budget-ms."),
	COUNTER("varta_audit_rotation_budget_exceeded_total",
	    audit_rotation_budget_exceeded,
	    "Rotations longer than --audit-rotation-budget-ms."),
	COUNTER_BY("varta_audit_ring_watermark_total", "level", metrics_ring_levels,
	    audit_ring,
	    "Times that the rows waiting rose to 75 % and to 95 % of what "
	    "can wait."),
	ALWAYS_0("varta_prom_ip_state_probe_exhausted_total",
	    "Always 0: a look-up has no budget here."),
	ALWAYS_0("varta_prom_pid_row_refused_total",
	    "Always 0: rows are read from the table of agents itself."),
	COUNTER("varta_frame_decrypt_failures_total", frame_decrypt_failures,
	    "Sealed frames that no key opens."),
	COUNTER("varta_secure_replay_refused_total", secure_replay_refused,
	    "Sealed frames that are not newer than the last of their sender."),
	COUNTER("varta_truncated_datagrams_total", truncated_datagrams,
	    "Datagrams of a wrong length."),
	COUNTER("varta_sender_state_full_total", sender_state_full,
	    "Sealed frames refused because the table of senders was full."),
	COUNTER("varta_secure_aead_attempts_total", secure_aead_attempts,
	    "Attempts to open a sealed frame, one for each key tried."),
	COUNTER_BY("varta_rate_limited_total", "reason", metrics_limited_reasons,
	    rate_limited, "Beats dropped by a rate limit."),
	GAUGE("varta_observer_uds_rcvbuf_bytes", uds_rcvbuf_bytes,
	    "SO_RCVBUF as granted; it does not bound the queue of beats."),
	COUNTER("varta_observer_clock_regression_total", clock_regressions,
	    "Times the clock went back; taken as standing still."),
	COUNTER("varta_observer_clock_jump_forward_total",
	    clock_jumps_forward,
	    "Steps of the clock of more than 5 s between two passes."),
	ALWAYS_0("varta_scrape_skipped_total",
	    "Always 0: there is no cache, each scrape is rendered."),
	COUNTER("varta_scrape_budget_exhausted_total",
	    scrape_budget_exhausted,
	    "Passes that left HTTP work to the next one."),
	HISTOGRAM("varta_observer_iteration_seconds", iteration,
	    "Time of one pass, waiting excluded."),
	COUNTER("varta_observer_iteration_budget_exceeded_total",
	    iteration_budget_exceeded,
	    "Passes longer than --iteration-budget-ms."),
	HISTOGRAM("varta_observer_serve_pending_seconds",
	    stage[STATS_STAGE_SERVE_PENDING],
	    "Time of the HTTP part of a pass."),
	COUNTER("varta_observer_scrape_budget_exceeded_total",
	    scrape_budget_exceeded,
	    "HTTP parts longer than --scrape-budget-ms."),
	HISTOGRAM_BY("varta_observer_stage_seconds", "stage", metrics_stages, stage,
	    "Time of each part of a pass."),
	COUNTER("varta_prom_auth_failures_total", prom_auth_failures,
	    "HTTP requests with a missing or wrong token."),
	COUNTER_BY("varta_prom_connections_dropped_total", "reason",
	    metrics_dropped_reasons, prom_dropped,
	    "drain: closed unanswered to make room; rate_limit: answered 429; "
	    "ip_table_full: served, another address was forgotten."),
	COUNTER("varta_nonce_wrap_total", nonce_wraps,
	    "Agents that used up all nonces and began again."),
	COUNTER_OF("varta_signal_handler_install_total", "mode",
	    metrics_signal_modes, one_value, "Always 1: how signals are handled."),
	{ .name = "varta_watch_uptime_seconds", .type = FAMILY_GAUGE,
	  .unit = FAMILY_MS, .of_values = uptime_value,
	  .help = "Seconds since the observer started." },
	{ .name = "varta_watch_last_poll_loop_timestamp_seconds",
	  .type = FAMILY_GAUGE, .unit = FAMILY_MS,
	  AT(gauges.last_pass_wall_ms),
	  .help = "Wall-clock time of the last pass." },
	GAUGE("varta_watch_pids_tracked", agents, "Agents tracked now."),

	/* Ours. */
	{ .name = "varta_agent_info", .type = FAMILY_INFO,
	  .of_agent = metrics_agent_info,
	  .help = "Who an agent is. Always 1." },
	{ .name = "varta_agent_last_beat_timestamp_seconds",
	  .type = FAMILY_GAUGE, .unit = FAMILY_MS,
	  .of_agent = metrics_agent_last_beat,
	  .help = "Wall-clock time of the last beat accepted." },
	GAUGE("varta_agents_hanging", hanging,
	    "Agents that are stalled now and whose process is there."),
	GAUGE("varta_agents_gone", gone,
	    "Agents that have ended and keep their place until it is needed."),
	FINE("varta_beat_interval_seconds", beat_interval,
	    "Time between two accepted beats of an agent."),
	FINE("varta_stall_lateness_seconds", stall_lateness,
	    "From the deadline of an agent until its stall was told."),
	FINE("varta_recovery_latency_seconds", recovery_latency,
	    "From a stall until its recovery command was started."),

	{ .name = "varta_lane_beats_total", .of_lane = metrics_lane_beats,
	  .help = "Beats of a lane, about: threads that share one may count "
		  "two as one." },
	{ .name = "varta_lane_stalls_total", .of_lane = metrics_lane_stalls,
	  .help = "Stalls of a lane." },
	{ .name = "varta_lane_status", .of_lane = metrics_lane_status,
	  .type = FAMILY_GAUGE,
	  .help = "Status of a lane: 0 ok, 1 degraded, 2 critical, "
		  "3 stalled." },
	{ .name = "varta_lane_busy", .of_lane = metrics_lane_busy,
	  .type = FAMILY_GAUGE,
	  .help = "1 while a lane owes beats, 0 while it is idle." },
	{ .name = "varta_lane_last_beat_timestamp_seconds",
	  .type = FAMILY_GAUGE, .unit = FAMILY_MS, .of_lane = metrics_lane_last_beat,
	  .help = "Wall-clock time of the last beat of a lane." },
	{ .name = "varta_build_info", .type = FAMILY_INFO,
	  BY("version", versions), .of_values = one_value,
	  .help = "Which version this is. Always 1." },

	/* Totals without a pid survive the agents they count. */
	COUNTER("varta_beats_all_total", beats,
	    "Beats accepted from all agents."),
	COUNTER_BY("varta_stalls_all_total", "reason", metrics_stall_reasons, stalls,
	    "Stalls of all agents; gone: the process had ended."),
	COUNTER("varta_joins_total", joins, "First beats of agents."),
	COUNTER("varta_resumes_total", resumes,
	    "First beats of agents after a stall."),
	COUNTER("varta_exits_total", exits,
	    "Agents that ended otherwise than with exit code 0."),
	COUNTER("varta_leaves_total", leaves,
	    "Agents that ended with exit code 0."),
	COUNTER_BY("varta_out_of_order_total", "cause", metrics_out_of_order_causes,
	    out_of_order, "Beats of known agents dropped for their nonce."),
	COUNTER("varta_new_sessions_total", new_sessions,
	    "Agents that started over in the same process."),
	COUNTER("varta_identity_unknown_total", identity_unknown,
	    "Agents whose process was gone before it was looked at."),
	COUNTER("varta_pidfd_refused_total", pidfd_refused,
	    "Agents watched without a pidfd: out of descriptors."),
	COUNTER("varta_exit_wait_overflow_total", exit_wait_overflow,
	    "Exits told without waiting for an exit code."),
	COUNTER("varta_datagrams_total", datagrams,
	    "Datagrams taken from all sockets."),
	COUNTER("varta_receive_batches_total", batches,
	    "Receive calls that brought datagrams."),
	COUNTER("varta_naps_total", naps_entered,
	    "Changes from waiting for beats to collecting them by time."),
	GAUGE("varta_unix_queue_length", queue_len,
	    "net.unix.max_dgram_qlen, beats that can wait; 0 unknown."),
	COUNTER("varta_credentials_missing_total", credentials_missing,
	    "Datagrams for which the kernel named no sender."),
	COUNTER("varta_uid_refused_total", uid_refused,
	    "Datagrams of a user who may not beat."),
	COUNTER("varta_pid_zero_refused_total", pid_zero_refused,
	    "Datagrams from outside the observer's pid namespace."),
	COUNTER_BY("varta_sealed_sessions_refused_total", "reason",
	    metrics_session_reasons, session_refused,
	    "Sealed frames of a new session for which there was no room in "
	    "memory, or of a sender that begins too many."),
	GAUGE("varta_sealed_sessions", sealed_sessions,
	    "Sessions of sealed frames that are remembered."),
	GAUGE("varta_sealed_sessions_max", sealed_sessions_max,
	    "Sessions that can be remembered; 0 without sealed frames."),
	GAUGE("varta_sealed_senders", sealed_senders,
	    "Senders of sealed frames that are known now."),
	COUNTER("varta_state_errors_total", state_errors,
	    "Failed writes and syncs of the file of sessions."),
	GAUGE("varta_lanes", lanes, "Lanes watched now."),
	GAUGE("varta_lanes_max", lanes_max,
	    "Lanes that can be watched; 0 where none are."),
	COUNTER("varta_lane_attaches_total", lane_attaches,
	    "Times a process handed over the memory of its lanes."),
	COUNTER("varta_lane_joins_total", lane_joins, "Lanes that were opened."),
	COUNTER("varta_lane_leaves_total", lane_leaves,
	    "Lanes that were closed, or let go of by their process."),
	COUNTER("varta_lane_resumes_total", lane_resumes,
	    "Lanes that worked again after a stall."),
	COUNTER_BY("varta_lane_stalls_all_total", "reason",
	    metrics_stall_reasons, lane_stalls,
	    "Stalls of all lanes; gone: the process had ended."),
	COUNTER("varta_lane_looks_total", lane_looks,
	    "Looks at lanes that were due."),
	COUNTER_BY("varta_lanes_refused_total", "reason",
	    metrics_lane_reasons, lane_refused,
	    "Lanes that were not taken in: user: may not beat; memory: not "
	    "what lanes are handed over as; agent: no agent can be made of "
	    "the process; record: no name, or one twice; room: too many."),
	COUNTER("varta_v01_frames_total", v01_frames,
	    "Frames of version 1, refused ones included."),
	COUNTER("varta_injected_descriptors_total", injected_descriptors,
	    "Descriptors that came with a datagram and were closed."),
	COUNTER("varta_observer_passes_total", passes,
	    "Passes of the observer's loop."),
	COUNTER("varta_observer_late_total", late_gaps,
	    "Times the observer was late itself and blamed no agent."),
	COUNTER_NS("varta_observer_late_seconds_total", late_gap_ns,
	    "Time the observer was late in all."),
	COUNTER("varta_reloads_total", reloads,
	    "Times the configuration was read again and taken over."),
	COUNTER("varta_reloads_failed_total", reloads_failed,
	    "Times it was read again and the old one stayed."),
	COUNTER("varta_heartbeat_errors_total", heartbeat_errors,
	    "Failed writes of the heartbeat file."),
	COUNTER("varta_export_errors_total", export_errors,
	    "Failed operations on the event file."),
	COUNTER("varta_export_rows_lost_total", export_rows_lost,
	    "Rows that the event file could not take."),
	COUNTER("varta_audit_rows_total", audit_rows,
	    "Rows taken for writing to the audit file."),
	COUNTER("varta_audit_errors_total", audit_errors,
	    "Failed operations on the audit file."),
	COUNTER("varta_prom_requests_total", prom_requests,
	    "HTTP requests, refused ones included."),
	COUNTER("varta_control_refused_total", control_refused,
	    "Connections to the control socket from users who may not."),
};
/* clang-format on */

const size_t family_count = ARRAY_SIZE(family_table);
