#include "watch/act/run.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "watch/act/capture.h"
#include "watch/act/children.h"
#include "watch/act/ladder.h"
#include "watch/act/launch.h"

enum {
	DRAINS_A_PASS = 256,        /* children whose output is read */
	DRAIN_BYTES = 65536,        /* of one child: what a pipe holds */
	DRAIN_BYTES_LAST = 1 << 20, /* at its end: the largest pipe */
	SHUTDOWN_POLL_MS = 5
};

/*
 * Pipes of running children have no wake-up of their own. They are looked at
 * every so often while there are any: sooner after a look that found bytes,
 * so that a child that writes a lot is not held up for long.
 */
static const uint64_t tend_quiet_ns = 100 * NS_PER_MS;
static const uint64_t tend_busy_ns = 5 * NS_PER_MS;

struct run {
	struct run_options options;
	struct act_ports ports;
	const struct spawn_ops *spawn;
	struct launcher *launcher; /* NULL where others start children */
	struct stats *stats;
	struct children *children;
	struct capture_pool *captures;
	uint64_t tend_at_ns;
	uint32_t n_piped; /* children whose output is open */
	uint32_t n_unwatched;
	uint32_t drain_at; /* where the next round of looking begins */
	uint32_t poll_at;
};

int
run_new(const struct run_options *options, const struct act_ports *ports,
    struct stats *stats, struct run **ret)
{
	struct run *r = calloc(1, sizeof(*r));
	int error = 0;

	if (r == NULL)
		return -ENOMEM;
	r->options = *options;
	r->ports = *ports;
	r->spawn = ports->spawn;
	r->stats = stats;
	r->children = calloc(1, children_size(options->children));
	r->captures = calloc(1, capture_pool_size());
	if (r->children == NULL || r->captures == NULL)
		error = -ENOMEM;
	if (error == 0 && r->spawn == NULL) {
		r->spawn = &spawn_real;
		error = launcher_new(&r->launcher);
		r->ports.spawn_ctx = r->launcher;
	}
	if (error < 0) {
		run_free(r);
		return error;
	}
	(void)children_init(r->children, options->children, options->seed);
	(void)capture_pool_init(r->captures, options->capture_bytes);
	*ret = r;
	return 0;
}

void
run_report(struct run *r, const struct recovery_record *record)
{
	r->stats->recovery[record->outcome]++;
	r->ports.report(r->ports.ctx, record);
}

/* What a child has written until now. Returns the number of bytes. */
static size_t
read_output(struct run *r, struct child *c, size_t budget)
{
	size_t n;

	if (!capture_is_open(&c->output))
		return 0;
	n = capture_drain(r->captures, &c->output, budget);
	if (!capture_is_open(&c->output))
		r->n_piped--;
	return n;
}

/* Everything that a child holds of ours. */
static void
release(struct run *r, struct child *c)
{
	if (capture_is_open(&c->output))
		r->n_piped--;
	capture_end(r->captures, &c->output);
	if (c->watched)
		r->ports.unwatch(r->ports.ctx, c->pidfd);
	else
		r->n_unwatched--;
	fd_close(&c->pidfd);
	children_remove(r->children, c);
}

void
run_free(struct run *r)
{
	if (r == NULL)
		return;
	while (r->children != NULL && children_count(r->children) > 0)
		release(r, children_at(r->children, 0));
	launcher_free(r->launcher);
	free(r->captures);
	free(r->children);
	free(r);
}

static enum recovery_outcome
outcome_of(const struct child *c, const struct exit_info *exit, int error)
{
	if (error < 0)
		return RECOVERY_REAP_FAILED;
	if (c->killed)
		return RECOVERY_KILLED;
	if (exit->how == EXIT_HOW_CODE && exit->value == 0)
		return RECOVERY_REAPED_ZERO;
	return RECOVERY_REAPED_NONZERO;
}

/* A child is over: reaped, or given up with an error. */
static void
complete(struct run *r, struct child *c, const struct exit_info *exit,
    int error, uint64_t now_ns)
{
	struct recovery_record record = {
		.outcome = outcome_of(c, exit, error),
		.at_ns = now_ns,
		.agent_pid = c->agent_pid,
		.child_pid = (uint32_t)c->pid,
		.error = error,
		.exit = *exit,
		.duration_ns = u64_sub_sat(now_ns, c->started_ns),
	};

	/* What is in the pipes now is all that is waited for: a grandchild
	 * that holds them open must not keep this one from being over. */
	(void)read_output(r, c, DRAIN_BYTES_LAST);
	record.stdout_bytes = c->output.bytes[0];
	record.stderr_bytes = c->output.bytes[1];
	record.output_truncated = c->output.truncated;
	if (record.outcome != RECOVERY_REAPED_ZERO)
		record.output = capture_text(r->captures, &c->output);
	if (record.outcome == RECOVERY_REAPED_ZERO ||
	    record.outcome == RECOVERY_REAPED_NONZERO) {
		r->stats->recovery_duration_ns += record.duration_ns;
		r->stats->recovery_duration_count++;
	}
	release(r, c);
	run_report(r, &record);
}

/* True when the child is over; it must not be used any more. */
static bool
try_reap(struct run *r, struct child *c, uint64_t now_ns)
{
	struct exit_info exit = { EXIT_HOW_UNKNOWN, 0 };
	int n = r->spawn->reap(r->ports.spawn_ctx, c->pid, &exit);

	if (n == 0)
		return false;
	complete(r, c, &exit, n < 0 ? n : 0, now_ns);
	return true;
}

static int
kill_child(struct run *r, struct child *c)
{
	int error = r->spawn->kill_group(r->ports.spawn_ctx, c->pid, SIGKILL);

	if (error < 0)
		return error;
	c->killed = true;
	/* From now on its end is waited for, and nothing else. */
	if (c->list == CHILD_DUE)
		children_move(r->children, c, CHILD_IN_NO_LIST);
	return 0;
}

enum run_way
run_clear_way(struct run *r, const struct act_request *req, uint64_t now_ns,
    int *ret_error)
{
	struct child *c = children_find(r->children, req->id);
	int error;

	if (c == NULL || try_reap(r, c, now_ns))
		return RUN_CLEAR;
	if (ladder_is_same_lineage(c->start_ticks, req->start_ticks))
		return RUN_IN_FLIGHT;

	error = kill_child(r, c);
	if (error < 0 && error != -ESRCH) {
		*ret_error = error;
		return RUN_KILL_FAILED;
	}
	if (!children_make_orphan(r->children, c))
		return RUN_ORPHANS_FULL;
	r->stats->recovery_outstanding_recycle_resets++;
	return RUN_CLEAR;
}

bool
run_is_full(const struct run *r)
{
	return children_is_full(r->children);
}

/* Its time-out begins (anew). All have the same one, so the list of those that
 * run stays in the order of their time-outs. */
static void
set_deadline(struct run *r, struct child *c, uint64_t now_ns)
{
	c->deadline_ns = r->options.timeout_ns == 0
			     ? NS_NEVER
			     : u64_add_sat(now_ns, r->options.timeout_ns);
	children_move(r->children, c, CHILD_DUE);
}

int
run_start(struct run *r, const struct act_request *req, char *const argv[],
    char *const envp[], uint64_t now_ns)
{
	struct spawned spawned = { .pidfd = -1, .output = { -1, -1 } };
	struct child *c;
	int error;

	error = r->spawn->start(r->ports.spawn_ctx, argv, envp, &spawned);
	if (error < 0)
		return error;

	if (r->n_piped == 0 && r->n_unwatched == 0)
		r->tend_at_ns = u64_add_sat(now_ns, tend_quiet_ns);
	c = children_add(r->children, req->id);
	c->pid = spawned.pid;
	c->pidfd = spawned.pidfd;
	c->agent_pid = req->pid;
	c->start_ticks = req->start_ticks;
	c->started_ns = now_ns;
	set_deadline(r, c, now_ns);
	capture_begin(r->captures, &c->output, spawned.output);
	if (capture_is_open(&c->output))
		r->n_piped++;
	c->watched = c->pidfd >= 0 && r->ports.watch != NULL &&
		     r->ports.watch(r->ports.ctx, c->pidfd,
			 children_token(r->children, c)) >= 0;
	if (!c->watched)
		r->n_unwatched++;
	return (int)spawned.pid;
}

void
run_child_ended(struct run *r, uint64_t token)
{
	struct child *c = children_by_token(r->children, token);

	if (c != NULL && c->list != CHILD_ENDED)
		children_move(r->children, c, CHILD_ENDED);
}

/* Said to have ended, and has not: it is asked again and again instead. */
static void
distrust(struct run *r, struct child *c, uint64_t now_ns)
{
	if (c->watched) {
		r->ports.unwatch(r->ports.ctx, c->pidfd);
		c->watched = false;
		r->n_unwatched++;
	}
	if (c->killed)
		children_move(r->children, c, CHILD_IN_NO_LIST);
	else
		set_deadline(r, c, now_ns);
}

static void
reap_ended(struct run *r, uint64_t now_ns)
{
	struct child *c;
	int i;

	for (i = 0; i < ACT_REAPS_A_PASS; i++) {
		c = children_first(r->children, CHILD_ENDED);
		if (c == NULL)
			return;
		if (!try_reap(r, c, now_ns))
			distrust(r, c, now_ns);
	}
	if (children_first(r->children, CHILD_ENDED) != NULL)
		r->stats->recovery_reap_truncated++;
}

/* Those whose end nobody tells, some at a time, all in turn. */
static void
reap_unwatched(struct run *r, uint64_t now_ns)
{
	uint32_t left = children_count(r->children), asked = 0;
	struct child *c;

	if (r->n_unwatched > ACT_REAPS_A_PASS)
		r->stats->recovery_reap_truncated++;
	if (r->n_unwatched == 0)
		return;
	for (; left > 0 && asked < ACT_REAPS_A_PASS; left--) {
		if (r->poll_at >= children_count(r->children))
			r->poll_at = 0;
		c = children_at(r->children, r->poll_at);
		if (!c->watched) {
			asked++;
			/* One that is over leaves its number to another. */
			if (try_reap(r, c, now_ns))
				continue;
		}
		r->poll_at++;
	}
}

static void
kill_late(struct run *r, struct child *c, uint64_t now_ns)
{
	struct log_fields fields = { .pid = c->agent_pid,
		.child_pid = (uint32_t)c->pid };
	int error;

	/* It may be over already, just not said to be: then it was in time. */
	if (try_reap(r, c, now_ns))
		return;
	error = kill_child(r, c);
	if (error == 0)
		return;
	set_deadline(r, c, now_ns);
	if (c->kill_failed)
		return;
	c->kill_failed = true;
	fields.error = strerror(-error);
	log_line(LOG_WARN, &fields,
	    "recovery command is over its time-out and cannot be killed");
}

static void
end_late(struct run *r, uint64_t now_ns)
{
	struct child *c;
	int i;

	for (i = 0; i < ACT_REAPS_A_PASS; i++) {
		c = children_first(r->children, CHILD_DUE);
		if (c == NULL || c->deadline_ns > now_ns)
			return;
		kill_late(r, c, now_ns);
	}
}

static void
drain(struct run *r, uint64_t now_ns)
{
	uint32_t left = children_count(r->children), looked = 0;
	uint64_t wait_ns = tend_quiet_ns;
	struct child *c;

	if (now_ns < r->tend_at_ns)
		return;
	if (r->n_piped > DRAINS_A_PASS)
		wait_ns = tend_busy_ns;
	for (; left > 0 && looked < DRAINS_A_PASS; left--) {
		if (r->drain_at >= children_count(r->children))
			r->drain_at = 0;
		c = children_at(r->children, r->drain_at++);
		if (!capture_is_open(&c->output))
			continue;
		looked++;
		if (read_output(r, c, DRAIN_BYTES) > 0)
			wait_ns = tend_busy_ns;
	}
	r->tend_at_ns = u64_add_sat(now_ns, wait_ns);
}

void
run_pass(struct run *r, uint64_t now_ns)
{
	reap_ended(r, now_ns);
	reap_unwatched(r, now_ns);
	end_late(r, now_ns);
	drain(r, now_ns);
}

uint64_t
run_next_ns(const struct run *r)
{
	const struct child *c;
	uint64_t next_ns = NS_NEVER;

	if (children_first(r->children, CHILD_ENDED) != NULL)
		return 0;
	c = children_first(r->children, CHILD_DUE);
	if (c != NULL)
		next_ns = c->deadline_ns;
	if (r->n_piped > 0 || r->n_unwatched > 0)
		next_ns = u64_min(next_ns, r->tend_at_ns);
	return next_ns;
}

uint32_t
run_count(const struct run *r)
{
	return children_count(r->children);
}

static void
reap_all(struct run *r, uint64_t now_ns)
{
	uint32_t i;

	for (i = children_count(r->children); i-- > 0;)
		(void)try_reap(r, children_at(r->children, i), now_ns);
}

/* Until the first child ends, or for a short while. */
static void
wait_for_one(struct run *r, uint64_t left_ns)
{
	struct pollfd pollfd = { .fd = children_at(r->children, 0)->pidfd,
		.events = POLLIN };
	uint64_t left_ms =
	    (u64_min(left_ns, NS_PER_S) + NS_PER_MS - 1) / NS_PER_MS;

	/* A negative descriptor is passed over. A signal only makes the wait
	 * shorter. */
	(void)poll(&pollfd, 1, (int)u64_min(left_ms, SHUTDOWN_POLL_MS));
}

void
run_shutdown(
    struct run *r, uint64_t grace_ns, uint64_t (*now_ns)(void *ctx), void *ctx)
{
	const struct exit_info unknown = { EXIT_HOW_UNKNOWN, 0 };
	uint64_t now = now_ns(ctx), end_ns = u64_add_sat(now, grace_ns);
	uint32_t i;

	reap_all(r, now);
	for (i = 0; i < children_count(r->children); i++)
		(void)kill_child(r, children_at(r->children, i));
	while (children_count(r->children) > 0) {
		reap_all(r, now);
		now = now_ns(ctx);
		if (children_count(r->children) == 0 || now >= end_ns)
			break;
		wait_for_one(r, end_ns - now);
	}
	/* Left to init. */
	while (children_count(r->children) > 0)
		complete(
		    r, children_at(r->children, 0), &unknown, -ETIMEDOUT, now);
}
