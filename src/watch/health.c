#include "watch/health.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "watch/host/heartbeat.h"
#include "watch/host/hwdog.h"
#include "watch/host/selfdog.h"

/* What the status line tells. */
struct numbers {
	uint64_t agents;
	uint64_t stalls;
	uint64_t exits;
};

struct health {
	struct sdnotify *notify;
	const struct metrics_gauges *gauges;
	struct stats *stats;
	struct selfdog *selfdog;
	struct hwdog *hwdog;
	struct heartbeat *heartbeat;
	struct numbers told;
	uint64_t status_at_ns; /* not before */
};

static int
open_heartbeat(struct health *h, const struct health_options *o)
{
	int r;

	if (o->heartbeat_file == NULL)
		return 0;
	r = heartbeat_open(o->heartbeat_file, h->stats, &h->heartbeat);
	if (r < 0)
		log_error("--heartbeat-file: out of memory");
	return r;
}

/* What the service manager waits for, in ns; 0 for nothing. */
static uint64_t
manager_interval(const struct health_options *o)
{
	uint64_t ns = 0;

	if (sdnotify_watchdog(
		o->watchdog_usec, o->watchdog_pid, getpid(), &ns) < 0)
		log_warn("WATCHDOG_USEC '%s', WATCHDOG_PID '%s': not numbers, "
			 "no watchdog",
		    o->watchdog_usec,
		    o->watchdog_pid != NULL ? o->watchdog_pid : "");
	if (ns > 0 && o->notify->fd < 0) {
		log_warn("WATCHDOG_USEC is set, but there is no NOTIFY_SOCKET "
			 "that can be used: no watchdog");
		ns = 0;
	}
	return ns;
}

static int
open_selfdog(struct health *h, const struct health_options *o)
{
	struct selfdog_options options = {
		.pulse = o->pulse,
		.notify = o->notify,
		.input_fd = o->intake_fd,
		.deadline_ns = u64_mul_sat(o->self_watchdog_secs, NS_PER_S),
		.manager_ns = manager_interval(o),
	};
	int r;

	if (options.deadline_ns == 0 && options.manager_ns == 0)
		return 0;
	if (options.deadline_ns == 0)
		options.deadline_ns = HEALTH_AUTO_SECS * NS_PER_S;
	r = selfdog_open(&options, &h->selfdog);
	if (r < 0)
		log_error("cannot start the self-watchdog: %s", strerror(-r));
	return r;
}

static int
open_hwdog(struct health *h, const struct health_options *o)
{
	const char *path = o->hw_watchdog;
	struct file_fault fault = { "" };
	int r;

	if (path == NULL)
		return 0;
	r = hwdog_open(path, NULL, o->now_ns, &h->hwdog, &fault);
	if (r < 0)
		log_error("--hw-watchdog: device '%s': %s", path, fault.text);
	else
		log_info("hardware watchdog '%s' is armed, time-out %" PRIu32
			 " s",
		    path, hwdog_timeout_s(h->hwdog));
	return r;
}

int
health_open(const struct health_options *options, struct health **ret)
{
	struct health *h = calloc(1, sizeof(*h));
	int r;

	if (h == NULL) {
		log_error("out of memory");
		return -ENOMEM;
	}
	h->notify = options->notify;
	h->gauges = options->gauges;
	h->stats = options->stats;
	/* No number is that high: the first pass tells. */
	h->told.agents = UINT64_MAX;
	r = open_heartbeat(h, options);
	if (r == 0)
		r = open_selfdog(h, options);
	if (r == 0)
		r = open_hwdog(h, options);
	if (r < 0) {
		health_close(h);
		return r;
	}
	*ret = h;
	return 0;
}

void
health_close(struct health *h)
{
	if (h == NULL)
		return;
	hwdog_close(h->hwdog);
	selfdog_close(h->selfdog);
	heartbeat_close(h->heartbeat);
	free(h);
}

static struct numbers
numbers_now(const struct health *h)
{
	struct numbers n = {
		.agents = h->gauges->agents,
		.exits = h->stats->exits,
	};

	for (size_t i = 0; i < STALL_REASON_COUNT; i++)
		n.stalls += h->stats->stalls[i];
	return n;
}

/* Returns when there is something to tell, NS_NEVER when the line is true: who
 * has one agent come and go must not see it there for ever. */
static uint64_t
tell_status(struct health *h, uint64_t now_ns)
{
	const struct numbers n = numbers_now(h);
	struct strbuf sb;
	char text[160];

	if (h->notify->fd < 0 ||
	    (n.agents == h->told.agents && n.stalls == h->told.stalls &&
		n.exits == h->told.exits))
		return NS_NEVER;
	if (now_ns < h->status_at_ns)
		return h->status_at_ns;
	strbuf_init(&sb, text, sizeof(text));
	strbuf_printf(&sb,
	    "STATUS=agents %" PRIu64 ", stalls %" PRIu64 ", exits %" PRIu64
	    "\n",
	    n.agents, n.stalls, n.exits);
	h->status_at_ns =
	    u64_add_sat(now_ns, HEALTH_STATUS_LEAST_MS * NS_PER_MS);
	if (!sdnotify_send(h->notify, text))
		return h->status_at_ns;
	h->told = n;
	return NS_NEVER;
}

uint64_t
health_pass(struct health *h, uint64_t now_ns)
{
	uint64_t next_ns = tell_status(h, now_ns);

	if (!sdnotify_settle(h->notify))
		next_ns = u64_min(
		    next_ns, u64_add_sat(now_ns, HEALTH_SETTLE_MS * NS_PER_MS));
	if (h->heartbeat != NULL)
		next_ns =
		    u64_min(next_ns, heartbeat_beat(h->heartbeat, now_ns));
	if (h->hwdog != NULL)
		next_ns = u64_min(next_ns, hwdog_kick(h->hwdog, now_ns));
	return next_ns;
}
