#include "watch/watch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/prng.h"
#include "base/util.h"
#include "varta/version.h"
#include "watch/health.h"
#include "watch/host/priority.h"
#include "watch/host/sdnotify.h"
#include "watch/intake/lane_in.h"
#include "watch/intake/unix_in.h"
#include "watch/loop.h"
#include "watch/network.h"
#include "watch/options_table.h"
#include "watch/ports.h"
#include "watch/serve.h"
#include "watch/stats.h"

enum {
	WATCH_QUEUE_LEN_GOOD = 512 /* datagrams; less is worth a warning */
};

struct watch {
	int argc;
	char *const *argv;
	struct setup *setup;           /* in force */
	struct setup *first;           /* texts of its options are in use */
	const struct options *options; /* of it */
	struct stats stats;
	struct metrics_gauges gauges;
	struct loop_clock clock;
	struct sdnotify notify;
	struct pulse pulse;
	struct health *health;
	struct unix_in *unix_in;
	struct unix_in_facts facts;
	struct lane_in *lane_in; /* NULL: no lanes */
	struct network network;
	struct process_set *processes;
	struct tell *tell;
	struct act_options act;
	char *env[OPTIONS_ENV_MAX + 1]; /* --recovery-env, NULL-ended */
	struct observer *observer;
	struct serve serve;
	struct loop *loop;
};

static int
open_socket(struct watch *w)
{
	const struct unix_in_options options = {
		.path = w->options->socket_path,
		.mode = w->options->socket_mode,
		.rcvbuf_bytes = w->options->uds_rcvbuf_bytes,
	};
	struct unix_in_fault fault;
	int r = unix_in_open(&options, &w->unix_in, &w->facts, &fault);

	if (r < 0) {
		log_error("--socket: %s", fault.text);
		return r;
	}
	if (w->facts.took_over_stale)
		log_info("socket '%s': left behind by an observer that is "
			 "gone, taken over",
		    options.path);
	if (w->facts.dir_sync_failed) {
		w->stats.socket_dir_fsync_failed++;
		log_warn("socket '%s': its folder could not be synced to disk",
		    options.path);
	}
	if (w->facts.queue_len != 0 &&
	    w->facts.queue_len < WATCH_QUEUE_LEN_GOOD)
		log_warn("the kernel queues only %u beats "
			 "(net.unix.max_dgram_qlen); agents that beat at the "
			 "same moment will have beats refused: put "
			 "'net.unix.max_dgram_qlen = %d' into "
			 "/etc/sysctl.d/varta.conf and restart",
		    w->facts.queue_len, WATCH_QUEUE_LEN_GOOD);
	return 0;
}

/* Beats matter more than lanes: where there can be none, that is said. They
 * come first, so that an agent that finds the socket of the beats finds theirs.
 */
static int
open_lanes(struct watch *w)
{
	const struct lane_in_options options = {
		.path = w->options->socket_path,
		.mode = w->options->socket_mode,
		.places = w->options->lanes_max,
	};
	char fault[UNIX_PATH_FAULT_BYTES];
	int r;

	if (options.places == 0)
		return 0;
	r = lane_in_open(&options, &w->stats, &w->lane_in, fault);
	if (r == -EOPNOTSUPP || r == -ENAMETOOLONG) {
		log_warn("no lanes are watched: %s", fault);
		return 0;
	}
	if (r < 0) {
		log_error("--socket: %s", fault);
		return r;
	}
	w->gauges.lanes_max = options.places;
	return 0;
}

static struct audit_options
audit_options(const struct options *o)
{
	return (struct audit_options){
		.path = o->recovery_audit_file,
		.max_bytes = o->recovery_audit_max_bytes,
		.sync_every = o->recovery_audit_sync_every,
		.sync_interval_ns = o->audit_sync_interval_ms * NS_PER_MS,
		.fsync_budget_ns = o->audit_fsync_budget_ms * NS_PER_MS,
		.rotation_budget_ns = o->audit_rotation_budget_ms * NS_PER_MS,
		.grace_ns = o->shutdown_grace_ms * NS_PER_MS,
	};
}

static int
open_events(struct watch *w)
{
	const struct tell_options options = {
		.export_path = w->options->export_file,
		.export_max_bytes = w->options->export_file_max_bytes,
		.export_sync_every = w->options->export_file_sync_every,
		.export_reference_only =
		    w->options->export_events == OPTIONS_EVENTS_REFERENCE,
		.grace_ns = w->options->shutdown_grace_ms * NS_PER_MS,
		.audit = audit_options(w->options),
	};
	struct tell_fault fault;
	int r = tell_open(&options, &w->stats, &w->tell, &fault);

	if (r < 0)
		log_error("--%s: %s", fault.option, fault.text);
	return r;
}

static void
set_policy(const struct watch *w, struct intake_policy *policy)
{
	const struct options *o = w->options;

	_Static_assert((int)OPTIONS_IDS_MAX == (int)INTAKE_POLICY_IDS,
	    "as many ids as the intake takes");
	*policy = (struct intake_policy){
		.own_uid = (uint32_t)geteuid(),
		.n_allowed_uids = o->allow_uids.n,
		.n_allowed_gids = o->allow_gids.n,
		.pid_max = process_pid_max(),
		.refuse_pid_zero = true,
		.accept_v01 = o->accept_v01_frames,
	};
	memcpy(policy->allowed_uids, o->allow_uids.ids,
	    sizeof(policy->allowed_uids));
	memcpy(policy->allowed_gids, o->allow_gids.ids,
	    sizeof(policy->allowed_gids));
}

static void
set_recovery(struct watch *w, uint32_t own_pid_namespace)
{
	const struct options *o = w->options;

	memcpy(w->env, o->recovery_env, sizeof(w->env));
	if (o->recovery_inherit_env)
		log_warn("--recovery-inherit-env: recovery commands get our "
			 "whole environment");
	w->act = (struct act_options){
		.env = w->env,
		.inherit_env = o->recovery_inherit_env,
		.debounce_ns = u64_mul_sat(o->recovery_debounce_ms, NS_PER_MS),
		.timeout_ns = u64_mul_sat(o->recovery_timeout_ms, NS_PER_MS),
		.capture_bytes = o->recovery_capture_bytes,
		.capacity = o->tracker_capacity + o->lanes_max,
		.shutdown_grace_ns = o->shutdown_grace_ms * NS_PER_MS,
		.allow_cross_namespace = o->allow_cross_namespace,
		.own_pid_namespace = own_pid_namespace,
	};
}

/* The command for agents that matched rule. */
static const struct act_command *
command_for(void *ctx, const struct rule *rule)
{
	const struct watch *w = ctx;

	return commands_for(w->setup->commands, &w->setup->config.rules, rule);
}

static int
open_observer(struct watch *w)
{
	struct observer_ports ports = {
		.now_ns = loop_now_ns,
		.clock_ctx = &w->clock,
		.host = ports_host(w->processes),
		.told = ports_told,
		.own_pid_namespace = process_pid_namespace(0),
		.source =
		    unix_in_source(w->unix_in, &w->stats.injected_descriptors),
		.queue_len = w->facts.queue_len,
		.lanes = w->lane_in != NULL ? lane_in_source(w->lane_in)
					    : (struct lane_source){ 0 },
		.network = network_source(&w->network),
		.network_queue_len = network_queue_len(&w->network),
		.tell = w->tell,
		.forgotten = serve_forgotten(&w->serve),
		.forgotten_ctx = &w->serve,
		.rules = &w->setup->config.rules,
		.command = command_for,
		.command_ctx = w,
		.pulse = &w->pulse,
	};
	int r = prng_entropy(ports.seed, sizeof(ports.seed));

	if (r < 0) {
		log_error("no random bytes from the kernel: %s", strerror(-r));
		return r;
	}
	set_policy(w, &ports.policy);
	if (commands_are_given(w->setup->commands)) {
		set_recovery(w, ports.own_pid_namespace);
		ports.recovery = &w->act;
	}
	w->gauges.queue_len = w->facts.queue_len;
	w->gauges.uds_rcvbuf_bytes = w->facts.rcvbuf_bytes;
	w->gauges.pid_max = ports.policy.pid_max;
	w->gauges.tracker_capacity = w->options->tracker_capacity;
	w->gauges.scan_window = w->options->eviction_scan_window;
	r = observer_new(w->options, &ports, &w->stats, &w->observer);
	if (r < 0)
		log_error("cannot make tables for %" PRIu32 " agents: %s",
		    w->options->tracker_capacity, strerror(-r));
	return r;
}

static int
prepare_http(struct watch *w)
{
	return serve_prepare(&w->serve, w->options);
}

static int
open_http(struct watch *w)
{
	return serve_open(&w->serve, w->options, w->setup->token, w->observer,
	    &w->gauges, &w->stats);
}

/* Put a new setup into force. Nothing here can fail. */
static void
apply(struct watch *w, struct setup *next)
{
	const struct options *o = &next->options;
	struct intake_policy policy;
	struct setup *last = w->setup;

	w->setup = next;
	w->options = o;
	log_set_level((enum log_level)o->log_level);
	set_policy(w, &policy);
	observer_set_policy(w->observer, &policy);
	observer_set_rules(w->observer, &next->config.rules,
	    u64_mul_sat(o->threshold_ms, NS_PER_MS));
	if (w->serve.prom != NULL && o->prom_token_file != NULL)
		http_set_token(w->serve.prom, next->token);
	network_set_keys(&w->network, next->keys, last->keys);
	last->keys = NULL;
	/* What cannot change was borrowed by others when they were opened. */
	if (last != w->first)
		setup_free(last);
}

/* SIGHUP: all of the new setup is read and checked before any of it holds; on
 * any error the old one stays. */
static void
reload(void *ctx)
{
	struct watch *w = ctx;
	struct options_fault fault;
	struct setup *next = NULL;
	int r;

	sdnotify_send_reloading(
	    &w->notify, clock_now_ns(CLOCK_SOURCE_MONOTONIC));
	tell_follow(w->tell, loop_now_ns(&w->clock));
	r = setup_new(w->argc, w->argv, &next, &fault);
	if (r == 0)
		r = setup_read(next, &fault);
	if (r == 0)
		r = setup_compare(w->setup, next, &fault);
	if (r == 0) {
		apply(w, next);
		w->stats.reloads++;
		log_info("configuration read again: %zu agent sections, "
			 "threshold %" PRIu64 " ms",
		    w->setup->config.rules.n, w->options->threshold_ms);
	} else {
		setup_free(next);
		w->stats.reloads_failed++;
		log_error("configuration not read again, the old one stays: "
			  "%s",
		    fault.text);
	}
	sdnotify_ready(&w->notify);
}

static int
open_health(struct watch *w)
{
	const struct options *o = w->options;
	const struct health_options options = {
		.heartbeat_file = o->heartbeat_file,
		.hw_watchdog = o->hw_watchdog,
		.self_watchdog_secs = o->self_watchdog_secs,
		.watchdog_usec = getenv("WATCHDOG_USEC"),
		.watchdog_pid = getenv("WATCHDOG_PID"),
		.now_ns = loop_now_ns(&w->clock),
		.notify = &w->notify,
		.gauges = &w->gauges,
		.stats = &w->stats,
		.pulse = &w->pulse,
		.intake_fd = unix_in_fd(w->unix_in),
	};

	return health_open(&options, &w->health);
}

static int
open_loop(struct watch *w)
{
	const struct options *o = w->options;
	const struct loop_options options = {
		.observer = w->observer,
		.health = w->health,
		.pulse = &w->pulse,
		.http = { w->serve.prom, w->serve.control },
		.gauges = &w->gauges,
		.stats = &w->stats,
		.intake_fd = unix_in_fd(w->unix_in),
		.network_fd = network_fd(&w->network),
		.process_fd = process_set_fd(w->processes),
		.lanes_fd = w->lane_in != NULL ? lane_in_fd(w->lane_in) : -1,
		.reload = reload,
		.reload_ctx = w,
		.clock = &w->clock,
		.end_at_ns = o->shutdown_after_given
				 ? u64_mul_sat(o->shutdown_after_secs, NS_PER_S)
				 : NS_NEVER,
	};
	int r = loop_open(&options, &w->loop);

	if (r < 0)
		log_error("cannot make the event loop: %s", strerror(-r));
	return r;
}

static int
open_network(struct watch *w)
{
	const struct network_clock clock = { loop_now_ns, &w->clock };

	return network_open(&w->network, w->options, w->setup->keys, &w->stats,
	    &w->gauges, &clock);
}

static int
open_processes(struct watch *w)
{
	int r = process_set_open(&w->processes);

	if (r < 0)
		log_error("cannot watch processes: %s", strerror(-r));
	return r;
}

static int
open_notify(struct watch *w)
{
	int r = sdnotify_open(&w->notify, getenv("NOTIFY_SOCKET"));

	/* A manager that cannot be told is no reason not to watch. */
	if (r < 0)
		log_warn("NOTIFY_SOCKET '%s': %s", getenv("NOTIFY_SOCKET"),
		    strerror(-r));
	return 0;
}

int
watch_open(
    int argc, char *const argv[], struct setup *setup, struct watch **ret)
{
	static int (*const steps[])(struct watch * w) = {
		open_notify,
		open_lanes,
		open_socket,
		prepare_http,
		open_network,
		open_processes,
		open_events,
		open_observer,
		open_http,
		open_health,
		open_loop,
	};
	struct watch *w = calloc(1, sizeof(*w));
	int r = 0;

	if (w == NULL) {
		log_error("out of memory");
		setup_free(setup);
		return -ENOMEM;
	}
	w->argc = argc;
	w->argv = argv;
	w->setup = setup;
	w->first = setup;
	w->options = &setup->options;
	w->notify.fd = -1;
	pulse_init(&w->pulse);
	w->clock.source = (enum clock_source)setup->options.clock_source;
	w->clock.origin_ns = clock_now_ns(w->clock.source);
	(void)fd_raise_limit();
	(void)priority_go_first();
	for (size_t i = 0; i < ARRAY_SIZE(steps) && r == 0; i++)
		r = steps[i](w);
	if (r < 0) {
		watch_close(w);
		return r;
	}
	*ret = w;
	return 0;
}

int
watch_run(struct watch *w)
{
	const struct options *o = w->options;
	int r;

	log_info("started: varta-watch %s, pid %ld, socket '%s' mode %04o, "
		 "threshold %" PRIu64 " ms, %" PRIu32 " agents at most, "
		 "metrics %s%s%s",
	    VARTA_VERSION, (long)getpid(), o->socket_path, o->socket_mode,
	    o->threshold_ms, o->tracker_capacity,
	    w->serve.prom != NULL ? http_bound_address(w->serve.prom) : "off",
	    network_fd(&w->network) >= 0 ? ", UDP " : "",
	    network_address(&w->network));
	sdnotify_ready(&w->notify);
	w->gauges.started = true;
	r = loop_run(w->loop);
	if (r < 0)
		log_error("--strict-namespace-check: an agent of another pid "
			  "namespace has sent a beat");
	return r;
}

void
watch_close(struct watch *w)
{
	uint64_t left_ns; /* of the grace of disks */

	if (w == NULL)
		return;
	left_ns = w->options->shutdown_grace_ms * NS_PER_MS;
	health_close(w->health);
	(void)sdnotify_send(&w->notify, "STOPPING=1\n");
	loop_close(w->loop);
	serve_stop(&w->serve);
	tell_end(w->tell);
	observer_free(w->observer);
	serve_close(&w->serve);
	if (w->tell != NULL)
		left_ns = tell_close(w->tell);
	process_set_close(w->processes);
	network_close(&w->network, left_ns);
	lane_in_close(w->lane_in);
	unix_in_close(w->unix_in);
	sdnotify_close(&w->notify);
	if (w->setup != w->first)
		setup_free(w->setup);
	setup_free(w->first);
	free(w);
}
