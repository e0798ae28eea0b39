#include "crowd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <varta/frame.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/prng.h"
#include "base/util.h"
#include "support.h"
#include "watch/config.h"
#include "watch/health.h"
#include "watch/intake/unix_in.h"
#include "watch/loop.h"
#include "watch/observer.h"
#include "watch/options.h"

enum {
	PID_AT = 4, /* in a frame */
	QUEUE = 1024
};

/* All that hangs together in the process. */
struct world {
	struct crowd *crowd;
	struct options options;
	struct rules rules;
	struct metrics_gauges gauges;
	struct loop_clock clock;
	struct sdnotify notify;
	struct pulse pulse;
	struct unix_in *unix_in;
	struct intake_source real;
	struct tell *tell;
	struct observer *observer;
	struct http *http;
	struct health *health;
	struct loop *loop;
};

/* In front of the socket: what the kernel would say of such senders. */
static int
take_claimed(void *ctx, struct datagram *ret, size_t max)
{
	const struct world *w = ctx;
	int i, n;

	n = w->real.take(w->real.ctx, ret, max);
	for (i = 0; i < n; i++)
		ret[i].pid = load_le32(ret[i].bytes + PID_AT);
	return n;
}

static int
identify(void *ctx, uint32_t pid, struct identity *ret)
{
	(void)ctx;
	/* Any number will do: it is only handed back to these functions. */
	*ret = (struct identity){ .start_ticks = pid, .pidfd = INT_MAX };
	return 0;
}

static uint64_t
start_ticks(void *ctx, uint32_t pid)
{
	(void)ctx;
	return pid;
}

static void
name(void *ctx, uint32_t pid, char *ret, size_t size)
{
	(void)ctx;
	if (pid >= CROWD_VICTIM_PID)
		(void)snprintf(ret, size, "victim");
	else
		(void)snprintf(ret, size, "worker-%u", pid);
}

static struct exit_info
exit_info(void *ctx, int pidfd)
{
	(void)ctx;
	(void)pidfd;
	return (struct exit_info){ .how = EXIT_HOW_UNKNOWN };
}

static int
watch(void *ctx, int pidfd, uint64_t token)
{
	(void)ctx;
	(void)pidfd;
	(void)token;
	return 0;
}

static void
let_go(void *ctx, int pidfd)
{
	(void)ctx;
	(void)pidfd;
}

static size_t
told(void *ctx, struct process_told *ret, size_t max)
{
	(void)ctx;
	(void)ret;
	(void)max;
	return 0;
}

static void
set_options(struct world *w)
{
	static char words[][24] = { "varta-watch", "--socket", "given below",
		"--threshold-ms", "3600000", "--tracker-capacity", "131072",
		"--max-beat-rate", "0", "--global-beat-rate", "0",
		"--prom-addr", "127.0.0.1:0" };
	char *argv[ARRAY_SIZE(words) + 1];
	static struct config config;
	struct options_fault fault;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(words); i++)
		argv[i] = words[i];
	argv[i] = NULL;
	if (options_parse((int)i, argv, &config, &w->options, &fault) < 0)
		support_die("options: %s", fault.text);
	w->rules.list[0] = (struct rule){ .name = "victim",
		.comm = "victim",
		.threshold_ms = CROWD_VICTIM_MS };
	w->rules.n = 1;
}

static void
open_intake(struct world *w)
{
	struct unix_in_options options = { .path = w->crowd->address.sun_path,
		.mode = 0600 };
	struct unix_in_fault fault;
	struct unix_in_facts facts;

	if (unix_in_open(&options, &w->unix_in, &facts, &fault) < 0)
		support_die("socket: %s", fault.text);
	w->real =
	    unix_in_source(w->unix_in, &w->crowd->stats.injected_descriptors);
}

static void
open_observer(struct world *w)
{
	struct observer_ports ports = {
		.now_ns = loop_now_ns,
		.clock_ctx = &w->clock,
		.host = { .identify = identify,
		    .start_ticks = start_ticks,
		    .name = name,
		    .exit_info = exit_info,
		    .watch = watch,
		    .unwatch = let_go,
		    .close_pidfd = let_go },
		.told = told,
		.source = { .take = take_claimed, .ctx = w, .attested = true },
		.policy = { .own_uid = (uint32_t)geteuid(),
		    .pid_max = UINT32_MAX,
		    .refuse_pid_zero = true },
		.queue_len = QUEUE,
		.tell = w->tell,
		.rules = &w->rules,
		.pulse = &w->pulse,
	};

	support_check(prng_entropy(ports.seed, sizeof(ports.seed)), "seed");
	support_check(
	    observer_new(&w->options, &ports, &w->crowd->stats, &w->observer),
	    "observer");
}

static void
open_http(struct world *w)
{
	const struct http_options options = {
		.address =
		    (const struct sockaddr *)&w->options.prom_addr.storage,
		.address_len = w->options.prom_addr.len,
		.scrape_budget_ns = NS_PER_S,
	};
	struct metrics_source source =
	    observer_metrics(w->observer, &w->gauges);
	struct http_fault fault;

	if (http_open(&options, &source, &w->crowd->stats, &w->http, &fault) <
	    0)
		support_die("%s", fault.text);
	w->crowd->port = (uint16_t)strtoul(
	    strchr(http_bound_address(w->http), ':') + 1, NULL, 10);
}

static void
open_loop(struct world *w)
{
	const struct health_options health = {
		.notify = &w->notify,
		.gauges = &w->gauges,
		.stats = &w->crowd->stats,
		.pulse = &w->pulse,
		.intake_fd = unix_in_fd(w->unix_in),
	};
	struct loop_options options = {
		.observer = w->observer,
		.pulse = &w->pulse,
		.http = { w->http },
		.gauges = &w->gauges,
		.stats = &w->crowd->stats,
		.intake_fd = unix_in_fd(w->unix_in),
		.network_fd = -1,
		.process_fd = -1,
		.lanes_fd = -1,
		.clock = &w->clock,
		.end_at_ns = NS_NEVER,
	};

	support_check(health_open(&health, &w->health), "health");
	options.health = w->health;
	support_check(loop_open(&options, &w->loop), "loop");
}

static _Noreturn void
be_crowd(struct crowd *crowd)
{
	static struct world w;
	const struct tell_options no_file = { .export_path = NULL };
	struct tell_fault fault;

	w.crowd = crowd;
	w.notify.fd = -1;
	w.clock.source = CLOCK_SOURCE_MONOTONIC;
	w.clock.origin_ns = support_now_ns();
	log_set_level(LOG_ERROR);
	set_options(&w);
	support_check(
	    tell_open(&no_file, &crowd->stats, &w.tell, &fault), "tell");
	open_intake(&w);
	open_observer(&w);
	open_http(&w);
	open_loop(&w);
	__atomic_store_n(&crowd->ready, 1, __ATOMIC_RELEASE);
	support_die("the loop ended: %d", loop_run(w.loop));
}

struct crowd *
crowd_start(int cpu, pid_t *ret_pid)
{
	struct crowd *crowd = support_shared(sizeof(*crowd));

	support_address("crowd.sock", &crowd->address);
	*ret_pid = support_fork(cpu);
	if (*ret_pid == 0)
		be_crowd(crowd);
	while (__atomic_load_n(&crowd->ready, __ATOMIC_ACQUIRE) == 0) {
		if (waitpid(*ret_pid, NULL, WNOHANG) != 0)
			support_die("the crowd has ended");
		support_sleep_ms(1);
	}
	return crowd;
}

int
crowd_connect(const struct crowd *c)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)&c->address,
			  sizeof(c->address)) < 0)
		support_die("%s: %s", c->address.sun_path, strerror(errno));
	return fd;
}

void
crowd_beat(int fd, uint32_t pid, uint64_t nonce)
{
	const struct varta_frame frame = {
		.status = 0, .pid = pid, .nonce = nonce, .timestamp = nonce
	};
	uint8_t bytes[VARTA_FRAME_BYTES];

	(void)varta_frame_encode(&frame, bytes);
	if (send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL) != sizeof(bytes))
		support_die("send: %s", strerror(errno));
}
