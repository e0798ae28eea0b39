/*
 * Options of varta-watch: one table drives parsing, ranges, defaults, help and
 * the tests of the manual page.
 *
 * Grammar as the reference (command line page 1): long flags only, the value
 * is the next argument or follows '='; no abbreviations; the last of a
 * repeated flag wins, but for those that collect. Nothing is opened here.
 */
#ifndef WATCH_OPTIONS_H
#define WATCH_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "watch/track/tracker.h"

enum {
	OPTIONS_IDS_MAX = 64, /* --allow-uid, --allow-gid, each */
	OPTIONS_ENV_MAX = 64, /* --recovery-env */
	OPTIONS_LANES_MAX = 65536
};

enum options_export_events { OPTIONS_EVENTS_ALL = 0, OPTIONS_EVENTS_REFERENCE };

struct options_ids {
	uint32_t ids[OPTIONS_IDS_MAX];
	size_t n;
};

struct options_address {
	bool given;
	struct sockaddr_storage storage;
	socklen_t len;
};

struct options_port {
	bool given;
	uint32_t port;
};

struct options {
	/* Text values point into argv, or into what was read from a file. */
	const char *config_file;
	const char *socket_path;
	const char *export_file;
	const char *recovery_audit_file;
	const char *heartbeat_file;
	const char *hw_watchdog;
	const char *prom_token_file;
	const char *control_socket;
	const char *key_file;
	const char *accepted_key_file;
	const char *master_key_file;
	const char *state_dir;
	const char *recovery_exec;
	const char *recovery_exec_file;
	const char *recovery_cmd;
	const char *recovery_env[OPTIONS_ENV_MAX + 1]; /* NULL-ended */
	size_t n_recovery_env;
	struct options_ids allow_uids;
	struct options_ids allow_gids;
	struct options_address prom_addr;
	struct options_address udp_bind_addr; /* its port is not set */
	struct options_port udp_port;
	uint64_t threshold_ms;
	uint64_t read_timeout_ms;
	uint64_t export_file_max_bytes;
	uint64_t recovery_audit_max_bytes;
	uint64_t recovery_debounce_ms;
	uint64_t recovery_timeout_ms; /* 0: not given */
	uint64_t self_watchdog_secs;  /* 0: not given */
	uint64_t shutdown_after_secs;
	uint64_t shutdown_grace_ms;
	uint64_t iteration_budget_ms;
	uint64_t scrape_budget_ms;
	uint32_t socket_mode;
	uint32_t uds_rcvbuf_bytes;
	uint32_t tracker_capacity;
	uint32_t lanes_max; /* 0: no lanes */
	uint32_t eviction_scan_window;
	uint32_t max_beat_rate;
	uint32_t global_beat_rate;
	uint32_t global_beat_burst;
	uint32_t udp_senders_max;
	uint32_t export_file_sync_every;
	uint32_t recovery_audit_sync_every;
	uint32_t audit_fsync_budget_ms;
	uint32_t audit_sync_interval_ms;
	uint32_t audit_rotation_budget_ms;
	uint32_t prom_rate_limit_per_sec;
	uint32_t prom_rate_limit_burst;
	uint32_t recovery_capture_bytes;
	int eviction_policy; /* enum tracker_eviction */
	int clock_source;    /* enum clock_source */
	int export_events;   /* enum options_export_events */
	int log_format;      /* enum log_format */
	int agent_series;    /* enum metrics_series */
	int log_level;       /* enum log_level */
	int signal_handler_mode;
	bool allow_cross_namespace;
	bool strict_namespace;
	bool accept_v01_frames;
	bool accept_plaintext_udp;
	bool accept_secure_udp_non_loopback;
	bool accept_recovery_on_secure_udp;
	bool accept_recovery_on_plaintext_udp;
	bool recovery_inherit_env;
	bool recovery_capture_stdio;
	bool recovery_on_exit;
	bool shutdown_after_given;
	bool check;
	bool dump_config;
	bool help;
	bool version;
};

/* What is wrong, naming flag, value and reason. */
struct options_fault {
	char text[384];
};

struct config;

/*
 * Parse the command line and, where it names one, the configuration file (into
 * config, which must outlive ret); check ranges and combinations. 0, or
 * -EINVAL with fault filled in. Where help or version is asked for, parsing
 * stops there and nothing else is checked.
 */
int options_parse(int argc, char *const argv[], struct config *config,
    struct options *ret, struct options_fault *fault);

/* The text of --help. */
void options_print_help(FILE *out);

/* True when a recovery command is given in any form. */
bool options_has_recovery(const struct options *o);

/* True when a file with keys of sealed beats is given. */
bool options_has_keys(const struct options *o);

/* Where --udp-port is bound: by default all of this host for plain beats, and
 * 127.0.0.1 for sealed ones. */
void options_udp_address(const struct options *o, struct options_address *ret);

/* True when the address is of this host only: 127.0.0.0/8 or ::1. */
bool options_address_is_loopback(const struct options_address *address);

#endif
