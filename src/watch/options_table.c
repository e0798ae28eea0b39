#include "watch/options_table.h"

#include <stdint.h>

#include "base/util.h"
#include "watch/intake/replay.h"
#include "watch/options.h"

static const char *const eviction_choices[] = { "strict", "balanced", NULL };
static const char *const clock_choices[] = { "monotonic", "boottime",
	"monotonic-raw", NULL };
static const char *const events_choices[] = { "all", "reference", NULL };
static const char *const format_choices[] = { "plain", "json", NULL };
static const char *const level_choices[] = { "error", "warn", "info", "debug",
	NULL };
static const char *const series_choices[] = { "pid", "name", "none", NULL };
static const char *const signal_choices[] = { "direct", "libc", NULL };

#define AT(field) .offset = offsetof(struct options, field)

/* Rows of one kind, so that the table reads as one. */
#define SWITCH(flag, field, text)                                              \
	{                                                                      \
		.name = flag, .type = OPTION_SWITCH, AT(field), .help = text   \
	}
#define ACTION(flag, field, text)                                              \
	{                                                                      \
		.name = flag, .type = OPTION_SWITCH, AT(field), .help = text,  \
		.command_line_only = true                                      \
	}
#define WRITTEN(flag, field, what, text)                                       \
	{                                                                      \
		.name = flag, .type = OPTION_TEXT, AT(field), .value = what,   \
		.file = OPTION_FILE_WRITTEN, .help = text                      \
	}
#define U32(flag, field, what, lo, hi, preset, text)                           \
	{                                                                      \
		.name = flag, .type = OPTION_U32, AT(field), .value = what,    \
		.min = lo, .max = hi, .def = preset, .help = text              \
	}
#define U64(flag, field, what, lo, hi, preset, text)                           \
	{                                                                      \
		.name = flag, .type = OPTION_U64, AT(field), .value = what,    \
		.min = lo, .max = hi, .def = preset, .help = text              \
	}
#define CHOICE(flag, field, what, list, preset, text)                          \
	{                                                                      \
		.name = flag, .type = OPTION_CHOICE, AT(field), .value = what, \
		.choices = list, .def = preset, .help = text                   \
	}
#define REMOVED(flag, instead)                                                 \
	{                                                                      \
		.name = flag, .type = OPTION_REMOVED, .help = instead          \
	}
#define IN_GROUP(text) .group = text

const struct option_spec options_table[] = {
	/* clang-format off */
	{ .name = "socket", .type = OPTION_TEXT, AT(socket_path),
	  .value = "PATH", .file = OPTION_FILE_WRITTEN, IN_GROUP("Watching"),
	  .help = "Unix datagram socket to receive beats on; required" },
	{ .name = "threshold-ms", .type = OPTION_U64, AT(threshold_ms),
	  .value = "MS", .min = 10, .max = UINT64_MAX, .reloadable = true,
	  .help = "silence after which an agent has stalled, from 10; "
		  "required" },
	{ .name = "socket-mode", .type = OPTION_MODE, AT(socket_mode),
	  .value = "OCTAL", .def = 0600, .help = "mode of the socket file" },
	U32("uds-rcvbuf-bytes", uds_rcvbuf_bytes, "BYTES", 0, INT32_MAX,
	    1048576, "receive buffer asked for; 0 leaves the system's own"),
	U64("read-timeout-ms", read_timeout_ms, "MS", 1, 1000, 100,
	    "accepted for compatibility; the socket never blocks"),
	CHOICE("clock-source", clock_source, "CLOCK", clock_choices,
	    CLOCK_SOURCE_MONOTONIC, "clock of thresholds"),

	{ .name = "allow-uid", .type = OPTION_UID, AT(allow_uids),
	  .reloadable = true,
	  .value = "USER", IN_GROUP("Who may beat"),
	  .help = "also accept agents of this user; repeatable" },
	{ .name = "allow-gid", .type = OPTION_GID, AT(allow_gids),
	  .reloadable = true,
	  .value = "GROUP",
	  .help = "also accept agents of this group; repeatable" },
	SWITCH("allow-cross-namespace-agents", allow_cross_namespace,
	    "accept and recover agents of other pid namespaces"),
	SWITCH("strict-namespace-check", strict_namespace,
	    "end with 1 when an agent is of another pid namespace"),
	{ .name = "accept-v01-frames", .type = OPTION_SWITCH,
	  AT(accept_v01_frames), .reloadable = true,
	  .help = "accept version 1 from senders that the kernel names" },

	{ .name = "udp-port", .type = OPTION_PORT, AT(udp_port),
	  .value = "PORT", IN_GROUP("Over the network"),
	  .help = "also receive beats by UDP; port 0 is chosen, and logged" },
	{ .name = "udp-bind-addr", .type = OPTION_IP, AT(udp_bind_addr),
	  .value = "IP",
	  .help = "where; else 127.0.0.1 with keys, 0.0.0.0 without" },
	{ .name = "key-file", .type = OPTION_TEXT, AT(key_file),
	  .value = "PATH", .file = OPTION_FILE_READ, .reloadable = true,
	  .help = "file with the shared key of sealed beats, mode 0600" },
	{ .name = "accepted-key-file", .type = OPTION_TEXT,
	  AT(accepted_key_file), .value = "PATH", .file = OPTION_FILE_READ, .reloadable = true,
	  .help = "file with further shared keys, up to 8 in all" },
	{ .name = "master-key-file", .type = OPTION_TEXT, AT(master_key_file),
	  .value = "PATH", .file = OPTION_FILE_READ, .reloadable = true,
	  .help = "file with the key that keys of agents are derived from" },
	{ .name = "state-dir", .type = OPTION_TEXT, AT(state_dir),
	  .value = "DIR",
	  .help = "folder where sessions are remembered over a restart" },
	U32("udp-senders-max", udp_senders_max, "N", 1, REPLAY_SENDERS_MAX,
	    REPLAY_SENDERS_DEFAULT, "senders of sealed beats known at once"),
	SWITCH("i-accept-plaintext-udp", accept_plaintext_udp,
	    "receive plain beats by UDP, which anyone can forge"),
	SWITCH("i-accept-secure-udp-non-loopback",
	    accept_secure_udp_non_loopback,
	    "receive sealed beats from other hosts"),
	SWITCH("secure-udp-i-accept-recovery-on-unauthenticated-transport",
	    accept_recovery_on_secure_udp,
	    "let sealed beats lead to recovery"),
	SWITCH("plaintext-udp-i-accept-recovery-on-unauthenticated-transport",
	    accept_recovery_on_plaintext_udp,
	    "let plain beats lead to recovery, which anyone can then cause"),

	{ .name = "tracker-capacity", .type = OPTION_U32, AT(tracker_capacity),
	  .value = "N", .min = 1, .max = TRACKER_CAPACITY_MAX,
	  .def = TRACKER_CAPACITY_DEFAULT, IN_GROUP("Limits"),
	  .help = "agents tracked at most" },
	U32("lanes-max", lanes_max, "N", 0, OPTIONS_LANES_MAX, 4096,
	    "lanes watched at most; 0: none, and no socket for them"),
	U32("eviction-scan-window", eviction_scan_window, "N", 1, 4096, 256,
	    "agents looked at to make room for one"),
	CHOICE("tracker-eviction-policy", eviction_policy, "POLICY",
	    eviction_choices, TRACKER_EVICT_STRICT,
	    "whom to evict when the table is full"),
	U32("max-beat-rate", max_beat_rate, "N", 0, UINT32_MAX, 100,
	    "beats a second accepted of one agent; 0: any"),
	U32("global-beat-rate", global_beat_rate, "N", 0, UINT32_MAX, 5000,
	    "beats a second accepted of all; 0: any"),
	U32("global-beat-burst", global_beat_burst, "N", 0, UINT32_MAX, 10000,
	    "how many of them may come at once; 0: any"),

	{ .name = "export-file", .type = OPTION_TEXT, AT(export_file),
	  .value = "PATH", .file = OPTION_FILE_WRITTEN, IN_GROUP("Events"),
	  .help = "append every event to this file" },
	U64("export-file-max-bytes", export_file_max_bytes, "BYTES", 4096,
	    UINT64_MAX, 0, "rotate it at this size, keeping five; else never"),
	U32("export-file-sync-every", export_file_sync_every, "N", 0,
	    UINT32_MAX, 0, "sync it to disk each N events; 0: never"),
	CHOICE("export-events", export_events, "WHICH", events_choices,
	    OPTIONS_EVENTS_ALL,
	    "kinds of event: all, or those of the reference"),
	CHOICE("log-format", log_format, "FORMAT", format_choices, LOG_PLAIN,
	    "lines on stderr"),
	{ .name = "log-level", .type = OPTION_CHOICE, AT(log_level),
	  .value = "LEVEL", .choices = level_choices, .def = LOG_INFO,
	  .reloadable = true, .help = "least level that is logged" },

	{ .name = "prom-addr", .type = OPTION_ADDRESS, AT(prom_addr),
	  .value = "IP:PORT", IN_GROUP("Metrics"),
	  .help = "serve /metrics, /healthz and /readyz; port 0 is chosen" },
	{ .name = "prom-token-file", .type = OPTION_TEXT, AT(prom_token_file),
	  .value = "PATH", .file = OPTION_FILE_READ,
	  .help = "file with the bearer token, 64 hex digits, mode 0600" },
	CHOICE("prom-agent-series", agent_series, "WHICH", series_choices, 0,
	    "series of agents in the metrics"),
	WRITTEN("control-socket", control_socket, "PATH",
	    "serve the same on this Unix socket, to our own user and root"),
	U32("prom-rate-limit-per-sec", prom_rate_limit_per_sec, "N", 0,
	    UINT32_MAX, 5, "requests a second of one address; 0: any"),
	U32("prom-rate-limit-burst", prom_rate_limit_burst, "N", 0, UINT32_MAX,
	    10, "how many of them may come at once; 0: any"),
	U64("scrape-budget-ms", scrape_budget_ms, "MS", 50, 60000, 250,
	    "count passes whose HTTP part took longer"),
	U64("iteration-budget-ms", iteration_budget_ms, "MS", 50, 60000, 250,
	    "count passes that took longer"),

	{ .name = "recovery-exec", .type = OPTION_TEXT, AT(recovery_exec),
	  .value = "COMMAND", .reloadable = true, IN_GROUP("Recovery"),
	  .help = "run when an agent stalls; split on blanks, no shell" },
	{ .name = "recovery-exec-file", .type = OPTION_TEXT, AT(recovery_exec_file),
	  .value = "PATH", .file = OPTION_FILE_READ, .reloadable = true,
	  .help = "the same, read from a file of mode 0600" },
	{ .name = "recovery-cmd", .type = OPTION_TEXT, AT(recovery_cmd),
	  .value = "COMMAND", .reloadable = true,
	  .help = "the same, split by the shell's quoting rules, no shell" },
	U64("recovery-debounce-ms", recovery_debounce_ms, "MS", 0, UINT64_MAX,
	    1000, "least time between two runs for one agent"),
	U64("recovery-timeout-ms", recovery_timeout_ms, "MS", 100, UINT64_MAX,
	    0, "end a command that runs longer; else never"),
	{ .name = "recovery-env", .type = OPTION_ENV, AT(recovery_env),
	  .value = "KEY=VALUE",
	  .help = "add to the command's environment; repeatable" },
	SWITCH("recovery-inherit-env", recovery_inherit_env,
	    "hand our own environment on to the command"),
	SWITCH("recovery-capture-stdio", recovery_capture_stdio,
	    "accepted for compatibility; output is always kept"),
	U32("recovery-capture-bytes", recovery_capture_bytes, "BYTES", 1,
	    1048576, 4096, "output counted of one command at most"),
	SWITCH("recovery-on-exit", recovery_on_exit,
	    "run it when an agent's process ends, not at its deadline"),

	{ .name = "recovery-audit-file", .type = OPTION_TEXT,
	  AT(recovery_audit_file), .value = "PATH", .file = OPTION_FILE_WRITTEN, IN_GROUP("Audit trail"),
	  .help = "append all that recovery does to this chained file" },
	U64("recovery-audit-max-bytes", recovery_audit_max_bytes, "BYTES", 4096,
	    UINT64_MAX, 0, "rotate it at this size, keeping five; else never"),
	U32("recovery-audit-sync-every", recovery_audit_sync_every, "N", 1,
	    UINT32_MAX, 1, "sync it to disk each N records"),
	U32("audit-sync-interval-ms", audit_sync_interval_ms, "MS", 0,
	    UINT32_MAX, 0, "sync records that are older as well; 0: off"),
	U32("audit-fsync-budget-ms", audit_fsync_budget_ms, "MS", 1, UINT32_MAX,
	    50, "count syncs that took longer"),
	U32("audit-rotation-budget-ms", audit_rotation_budget_ms, "MS", 1, 250,
	    50, "count rotations that took longer"),

	{ .name = "self-watchdog-secs", .type = OPTION_U64,
	  AT(self_watchdog_secs), .value = "SECS", .min = 1, .max = UINT64_MAX,
	  IN_GROUP("Our own health"),
	  .help = "abort when the loop hangs for so long" },
	WRITTEN("hw-watchdog", hw_watchdog, "DEVICE",
	    "kick this watchdog device, as /dev/watchdog"),
	WRITTEN("heartbeat-file", heartbeat_file, "PATH",
	    "write how far the loop has come, at least once a second"),

	{ .name = "shutdown-after-secs", .type = OPTION_U64,
	  AT(shutdown_after_secs), .value = "SECS", .max = UINT64_MAX,
	  IN_GROUP("Running"), .help = "end cleanly after so long" },
	U64("shutdown-grace-ms", shutdown_grace_ms, "MS", 100, 60000, 5000,
	    "how long to wait at the end for killed commands"),
	CHOICE("signal-handler-mode", signal_handler_mode, "MODE",
	    signal_choices, 1, "accepted for compatibility"),
	{ .name = "config", .type = OPTION_TEXT, AT(config_file),
	  .value = "FILE", .file = OPTION_FILE_READ, .command_line_only = true,
	  .help = "read options and agents from this file; flags win" },
	ACTION("check", check,
	    "check options, configuration and secret files, and end"),
	ACTION("dump-config", dump_config,
	    "print all that is set in the form of the file, and end"),
	ACTION("version", version, "print the version and end"),
	ACTION("help", help, "print this text and end"),

	REMOVED("recovery-cmd-file", "--recovery-exec-file"),
	REMOVED("i-accept-shell-risk", "--recovery-exec (no shell is used)"),
	REMOVED("key-env", "--key-file (a file of mode 0600)"),
	REMOVED("accepted-key-env", "--accepted-key-file (a file of mode "
				    "0600)"),
	REMOVED("master-key-env", "--master-key-file (a file of mode 0600)"),
	/* clang-format on */
};

const size_t options_table_count = ARRAY_SIZE(options_table);
