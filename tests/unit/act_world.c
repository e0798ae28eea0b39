#include "act_world.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/util.h"

static void
join(char *const list[], char *out, size_t size)
{
	size_t len = 0, i;

	out[0] = '\0';
	for (i = 0; list[i] != NULL && len < size; i++)
		len += (size_t)snprintf(
		    out + len, size - len, "%s%s", i > 0 ? "|" : "", list[i]);
}

static int
start(void *ctx, char *const argv[], char *const envp[], struct spawned *ret)
{
	struct world *w = ctx;
	struct world_child *c;
	int ends[2], i;

	w->starts++;
	join(argv, w->argv, sizeof(w->argv));
	join(envp, w->envp, sizeof(w->envp));
	if (w->start_error < 0)
		return w->start_error;
	assert(w->n_children < WORLD_CHILDREN);
	c = &w->children[w->n_children];
	memset(c, 0, sizeof(*c));
	ret->pid = (pid_t)(WORLD_PID + w->n_children++);
	/* Any descriptor will do: that it is closed shows in the count. */
	ret->pidfd = w->pidfds ? open("/dev/null", O_RDONLY | O_CLOEXEC) : -1;
	c->pidfd = ret->pidfd;
	for (i = 0; i < 2; i++) {
		ret->output[i] = -1;
		c->writers[i] = -1;
		if (!w->pipes)
			continue;
		assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
		ret->output[i] = ends[0];
		c->writers[i] = ends[1];
	}
	return 0;
}

static struct world_child *
child_of(struct world *w, pid_t pid)
{
	assert_in_range(pid, WORLD_PID, WORLD_PID + w->n_children - 1);
	return &w->children[pid - WORLD_PID];
}

static int
kill_group(void *ctx, pid_t pid, int signal)
{
	struct world *w = ctx;
	struct world_child *c = child_of(w, pid);

	/* The number may be another process's by now. */
	assert_false(c->reaped);
	assert_int_equal(signal, SIGKILL);
	c->kills++;
	if (w->kill_error < 0)
		return w->kill_error;
	if (w->kills_end && !c->over) {
		c->over = true;
		c->exit = (struct exit_info){ EXIT_HOW_SIGNAL, SIGKILL };
	}
	return 0;
}

static int
reap(void *ctx, pid_t pid, struct exit_info *ret)
{
	struct world *w = ctx;
	struct world_child *c = child_of(w, pid);
	int i;

	assert_false(c->reaped);
	c->reaps++;
	if (w->reap_error < 0) {
		c->reaped = true;
		return w->reap_error;
	}
	if (!c->over)
		return 0;
	*ret = c->exit;
	c->reaped = true;
	for (i = 0; i < 2; i++)
		fd_close(&c->writers[i]);
	return 1;
}

static enum act_wanted
wanted(void *ctx, const struct act_request *req)
{
	struct world *w = ctx;

	(void)req;
	w->asked++;
	return w->wanted;
}

static void
report(void *ctx, const struct recovery_record *record)
{
	struct world *w = ctx;

	assert(w->n_records < WORLD_RECORDS);
	w->records[w->n_records] = *record;
	w->records[w->n_records].output = NULL;
	if (record->output != NULL) {
		(void)snprintf(
		    w->output, sizeof(w->output), "%s", record->output);
		w->records[w->n_records].output = w->output;
	}
	w->n_records++;
}

static struct world_child *
child_with(struct world *w, int pidfd)
{
	uint32_t i;

	for (i = w->n_children; i-- > 0;) {
		if (!w->children[i].reaped && w->children[i].pidfd == pidfd)
			return &w->children[i];
	}
	return NULL;
}

static int
watch(void *ctx, int pidfd, uint64_t token)
{
	struct world *w = ctx;
	struct world_child *c = child_with(w, pidfd);

	assert_non_null(c);
	if (w->watch_fails)
		return -ENOSPC;
	c->watched = true;
	c->token = token;
	return 0;
}

static void
unwatch(void *ctx, int pidfd)
{
	struct world *w = ctx;
	uint32_t i;

	/* Still open, so that its number is not another's. */
	assert_true(fcntl(pidfd, F_GETFD) >= 0);
	for (i = w->n_children; i-- > 0;) {
		if (w->children[i].pidfd == pidfd && w->children[i].watched) {
			w->children[i].watched = false;
			return;
		}
	}
	fail_msg("a descriptor is given up that was not watched");
}

static const struct spawn_ops fake_spawn = {
	.start = start,
	.kill_group = kill_group,
	.reap = reap,
};

/* Too large for a stack; arguments of a command are not const. */
static struct world the_world;
static char program[] = "/bin/fix", argument[] = "--pid={pid}";
static char *command[] = { program, argument, NULL };

struct world *
world_new(void)
{
	struct world *w = &the_world;

	memset(w, 0, sizeof(*w));
	w->kills_end = true;
	w->now_ns = 10 * NS_PER_S;
	w->options = (struct act_options){
		.command = { command, "inline" },
		.debounce_ns = NS_PER_S,
		.timeout_ns = 5 * NS_PER_S,
		.capacity = 8,
		.capture_bytes = 4096,
		.shutdown_grace_ns = NS_PER_S,
		.own_pid_namespace = 7,
	};
	w->ports = (struct act_ports){
		.wanted = wanted,
		.report = report,
		.watch = watch,
		.unwatch = unwatch,
		.ctx = w,
		.spawn = &fake_spawn,
		.spawn_ctx = w,
	};
	return w;
}

void
world_start(struct world *w)
{
	assert_int_equal(
	    act_new(&w->options, &w->ports, &w->stats, &w->act), 0);
}

void
world_free(struct world *w)
{
	uint32_t i;
	int j;

	act_free(w->act);
	for (i = 0; i < w->n_children; i++) {
		for (j = 0; j < 2; j++)
			fd_close(&w->children[i].writers[j]);
	}
}

struct act_request
world_request(const struct world *w, uint32_t n)
{
	struct act_request req = {
		.id = n,
		.stalled_at_ns = w->now_ns,
		.start_ticks = 1000,
		.slot = n,
		.pid = n,
		.pid_namespace = 7,
		.origin = ORIGIN_KERNEL_ATTESTED,
		.why = STALL_SILENT,
		.name = "web",
	};

	return req;
}

void
world_stall_of(struct world *w, uint32_t n, uint64_t start_ticks)
{
	struct act_request req = world_request(w, n);

	req.start_ticks = start_ticks;
	assert_true(act_stall(w->act, &req));
	world_pass(w);
}

void
world_stall(struct world *w, uint32_t n)
{
	world_stall_of(w, n, 1000);
}

void
world_pass(struct world *w)
{
	act_pass(w->act, w->now_ns);
}

void
world_end(struct world *w, uint32_t child, enum exit_how how, int value)
{
	struct world_child *c = &w->children[child];

	c->over = true;
	c->exit = (struct exit_info){ how, value };
	if (c->watched)
		act_child_ended(w->act, c->token, w->now_ns);
}

const struct recovery_record *
world_last(const struct world *w)
{
	assert(w->n_records > 0);
	return &w->records[w->n_records - 1];
}

uint32_t
world_count(const struct world *w, enum recovery_outcome outcome)
{
	uint32_t i, n = 0;

	for (i = 0; i < w->n_records; i++)
		n += w->records[i].outcome == outcome;
	/* Each is counted exactly when it is reported. */
	assert_int_equal(w->stats.recovery[outcome], n);
	return n;
}

uint64_t
world_clock(void *world)
{
	struct world *w = world;

	w->now_ns += NS_PER_MS;
	return w->now_ns;
}
