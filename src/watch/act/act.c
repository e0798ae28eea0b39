#include "watch/act/act.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/prng.h"
#include "base/util.h"
#include "watch/act/capture.h"
#include "watch/act/command.h"
#include "watch/act/ladder.h"
#include "watch/act/run.h"

static_assert(
    (int)ACT_NAME_BYTES == (int)COMMAND_NAME_BYTES, "names are not cut");
static_assert(
    (int)ACT_CAPTURE_KEPT == (int)CAPTURE_KEPT, "one limit, two names");

/* A stall in the queue. */
struct waiting {
	struct act_request request;
	uint64_t pass; /* the last one that was over when it came */
};

struct act {
	struct act_options options;
	struct act_ports ports;
	struct stats *stats;
	struct ladder *ladder;
	struct run *run;
	struct command_env *env;
	struct command_room room;
	struct waiting *queue; /* a ring of options.capacity */
	uint32_t head;
	uint32_t n_waiting;
	uint64_t pass;
};

/* The words of the audit trail, where there is one for the outcome alone. */
static const char *const details[RECOVERY_OUTCOME_COUNT] = {
	[RECOVERY_DEBOUNCED] = "debounced",
	[RECOVERY_SPAWN_FAILED] = "spawn_failed",
	[RECOVERY_REFUSED_UNAUTHENTICATED_TRANSPORT] =
	    "unauthenticated_transport",
	[RECOVERY_REFUSED_SOCKET_MODE_ONLY] = "socket_mode_only",
	[RECOVERY_REFUSED_CROSS_NAMESPACE] = "cross_namespace_agent",
	[RECOVERY_REFUSED_DEBOUNCE_CAPACITY] = "debounce_capacity",
	[RECOVERY_REFUSED_OUTSTANDING_CAPACITY] = "outstanding_capacity",
	[RECOVERY_REFUSED_STALE_CHILD_KILL_FAILED] = "stale_child_kill_failed",
	[RECOVERY_SKIPPED_AGENT_RESUMED] = "skipped_agent_resumed",
	[RECOVERY_SKIPPED_PID_RECYCLED] = "skipped_pid_recycled",
	[RECOVERY_SKIPPED_STALL_UNVERIFIABLE] = "skipped_stall_unverifiable",
};

static bool
options_are_valid(const struct act_options *options,
    const struct act_ports *ports, const struct stats *stats)
{
	struct command_fault fault;

	return options->capacity > 0 &&
	       (ports->command != NULL ||
		   (options->command.argv != NULL &&
		       command_check(options->command.argv, &fault) == 0)) &&
	       ports->wanted != NULL && ports->report != NULL &&
	       (ports->watch == NULL) == (ports->unwatch == NULL) &&
	       stats != NULL;
}

static int
new_ladder(struct act *a, const uint64_t seed[2])
{
	const struct ladder_options options = {
		.debounce_ns = a->options.debounce_ns,
		.entries = ACT_LEDGER,
		.allow_cross_namespace = a->options.allow_cross_namespace,
		.own_pid_namespace = a->options.own_pid_namespace,
		.seed = { seed[0], seed[1] },
	};
	void *mem = calloc(1, ladder_size(options.entries));

	if (mem == NULL)
		return -ENOMEM;
	a->ladder = ladder_init(mem, &options);
	return 0;
}

static int
new_parts(struct act *a, const uint64_t seed[2])
{
	const struct run_options options = {
		.timeout_ns = a->options.timeout_ns,
		.children =
		    (uint32_t)u64_min(a->options.capacity, ACT_CHILDREN),
		.capture_bytes = a->options.capture_bytes,
		.seed = { seed[0], seed[1] },
	};
	int r;

	a->queue = calloc(a->options.capacity, sizeof(a->queue[0]));
	if (a->queue == NULL)
		return -ENOMEM;
	r = command_env_new(
	    a->options.env, a->options.inherit_env ? environ : NULL, &a->env);
	if (r == 0)
		r = new_ladder(a, seed);
	if (r == 0)
		r = run_new(&options, &a->ports, a->stats, &a->run);
	return r;
}

int
act_new(const struct act_options *options, const struct act_ports *ports,
    struct stats *stats, struct act **ret)
{
	struct act *a;
	uint64_t seed[2];
	int r;

	if (!options_are_valid(options, ports, stats))
		return -EINVAL;
	r = prng_entropy(seed, sizeof(seed));
	if (r < 0)
		return r;
	a = calloc(1, sizeof(*a));
	if (a == NULL)
		return -ENOMEM;
	a->options = *options;
	a->ports = *ports;
	a->stats = stats;
	r = new_parts(a, seed);
	if (r < 0) {
		act_free(a);
		return r;
	}
	*ret = a;
	return 0;
}

void
act_free(struct act *a)
{
	if (a == NULL)
		return;
	run_free(a->run);
	free(a->ladder);
	command_env_free(a->env);
	free(a->queue);
	free(a);
}

void
act_shutdown(struct act *a, uint64_t (*now_ns)(void *ctx), void *ctx)
{
	if (a == NULL)
		return;
	run_shutdown(a->run, a->options.shutdown_grace_ns, now_ns, ctx);
	act_free(a);
}

/* One row that says why nothing was started. detail NULL: the word of the
 * outcome. */
static void
refuse(struct act *a, const struct act_request *req,
    enum recovery_outcome outcome, const char *detail, int error,
    uint64_t now_ns)
{
	const struct recovery_record record = {
		.outcome = outcome,
		.at_ns = now_ns,
		.agent_pid = req->pid,
		.detail = detail != NULL ? detail : details[outcome],
		.error = error,
	};

	run_report(a->run, &record);
}

bool
act_stall(struct act *a, const struct act_request *req)
{
	struct waiting *w;

	if (a->n_waiting == a->options.capacity) {
		refuse(a, req, RECOVERY_REFUSED_OUTSTANDING_CAPACITY, NULL, 0,
		    req->stalled_at_ns);
		return false;
	}
	/* From the front again, so that a large queue that is seldom used
	 * touches little memory. */
	if (a->n_waiting == 0)
		a->head = 0;
	w = &a->queue[((uint64_t)a->head + a->n_waiting) % a->options.capacity];
	w->request = *req;
	w->request.name[ACT_NAME_BYTES - 1] = '\0';
	w->request.lane[ACT_NAME_BYTES - 1] = '\0';
	w->pass = a->pass;
	a->n_waiting++;
	return true;
}

void
act_child_ended(struct act *a, uint64_t token, uint64_t now_ns)
{
	(void)now_ns;
	run_child_ended(a->run, token);
}

/* False: it was refused. */
static bool
check_freshness(struct act *a, const struct waiting *w, uint64_t now_ns)
{
	const struct act_request *req = &w->request;
	bool waited = a->pass - w->pass > 1;
	bool unverified =
	    req->origin == ORIGIN_KERNEL_ATTESTED && req->start_ticks == 0;

	if (!waited && !unverified)
		return true;
	switch (a->ports.wanted(a->ports.ctx, req)) {
	case ACT_WANTED:
		return true;
	case ACT_AGENT_RESUMED:
		refuse(a, req, RECOVERY_SKIPPED_AGENT_RESUMED, NULL, 0, now_ns);
		return false;
	case ACT_PID_RECYCLED:
		refuse(a, req, RECOVERY_SKIPPED_PID_RECYCLED, NULL, 0, now_ns);
		return false;
	case ACT_UNVERIFIABLE:
		break;
	}
	refuse(a, req, RECOVERY_SKIPPED_STALL_UNVERIFIABLE, NULL, 0, now_ns);
	return false;
}

/* What a step of the ladder is in the audit trail; RECOVERY_SPAWNED where it
 * does not speak against a start, or not yet. */
static enum recovery_outcome
outcome_of(enum ladder_step step)
{
	switch (step) {
	case LADDER_REFUSE_CROSS_NAMESPACE:
		return RECOVERY_REFUSED_CROSS_NAMESPACE;
	case LADDER_REFUSE_UNAUTHENTICATED:
		return RECOVERY_REFUSED_UNAUTHENTICATED_TRANSPORT;
	case LADDER_REFUSE_SOCKET_MODE_ONLY:
		return RECOVERY_REFUSED_SOCKET_MODE_ONLY;
	case LADDER_DEBOUNCED:
		return RECOVERY_DEBOUNCED;
	case LADDER_FIRE:
	case LADDER_REFUSE_LEDGER_FULL:
	case LADDER_STEP_COUNT:
		break;
	}
	return RECOVERY_SPAWNED;
}

static bool
clear_way(struct act *a, const struct act_request *req, uint64_t now_ns)
{
	int error = 0;

	switch (run_clear_way(a->run, req, now_ns, &error)) {
	case RUN_CLEAR:
		return true;
	case RUN_IN_FLIGHT:
		refuse(a, req, RECOVERY_DEBOUNCED, "outstanding_in_flight", 0,
		    now_ns);
		return false;
	case RUN_ORPHANS_FULL:
		refuse(a, req, RECOVERY_REFUSED_OUTSTANDING_CAPACITY,
		    "orphan_reap_capacity", 0, now_ns);
		return false;
	case RUN_KILL_FAILED:
		break;
	}
	refuse(a, req, RECOVERY_REFUSED_STALE_CHILD_KILL_FAILED, NULL, error,
	    now_ns);
	return false;
}

static void
note_fire(struct act *a, const struct ladder_ask *ask, uint64_t now_ns)
{
	const struct ladder_counts before = *ladder_counts(a->ladder);
	const struct ladder_counts *after = ladder_counts(a->ladder);

	ladder_fired(a->ladder, ask, now_ns);
	a->stats->recovery_ledger_evictions +=
	    after->evictions - before.evictions;
	a->stats->recovery_debounce_recycle_resets +=
	    after->recycle_resets - before.recycle_resets;
}

static const char *
reason_of(enum stall_reason why)
{
	switch (why) {
	case STALL_GONE:
		return "gone";
	case STALL_SILENT:
	case STALL_REASON_COUNT:
		break;
	}
	return "silent";
}

static const struct act_command *
command_of(const struct act *a, const struct act_request *req)
{
	return a->ports.command != NULL ? a->ports.command(a->ports.ctx, req)
					: &a->options.command;
}

static void
fire(struct act *a, const struct act_request *req,
    const struct act_command *command, const struct ladder_ask *ask,
    uint64_t now_ns)
{
	struct recovery_record record = {
		.outcome = RECOVERY_SPAWNED,
		.at_ns = now_ns,
		.agent_pid = req->pid,
		.latency_ns = u64_sub_sat(now_ns, req->stalled_at_ns),
	};
	const struct command_subject subject = { req->pid, req->name,
		req->lane };
	char *const *envp;
	int pid;

	command_expand(command->argv, &subject, &a->room);
	envp = command_env_set(a->env, &subject, reason_of(req->why));
	pid = run_start(a->run, req, a->room.argv, envp, now_ns);
	if (pid < 0) {
		/* Its debounce window is not used up: the next stall may try
		 * again at once. */
		refuse(a, req, RECOVERY_SPAWN_FAILED, NULL, pid, now_ns);
		return;
	}
	note_fire(a, ask, now_ns);
	record.child_pid = (uint32_t)pid;
	record.program = command->argv[0];
	record.source = command->source;
	record.template_bytes = a->room.template_bytes;
	run_report(a->run, &record);
}

/* Decide about one stall. True when a start was tried. */
static bool
evaluate(struct act *a, const struct waiting *w, uint64_t now_ns)
{
	const struct act_request *req = &w->request;
	const struct ladder_ask ask = {
		.id = req->id,
		.start_ticks = req->start_ticks,
		.pid_namespace = req->pid_namespace,
		.origin = req->origin,
	};
	const struct act_command *command = command_of(a, req);
	enum recovery_outcome outcome;
	enum ladder_step step;

	if (command == NULL)
		return false;
	if (!check_freshness(a, w, now_ns))
		return false;
	step = ladder_judge(a->ladder, &ask, now_ns);
	outcome = outcome_of(step);
	if (outcome != RECOVERY_SPAWNED) {
		refuse(a, req, outcome, NULL, 0, now_ns);
		return false;
	}
	if (!clear_way(a, req, now_ns))
		return false;
	if (run_is_full(a->run)) {
		refuse(a, req, RECOVERY_REFUSED_OUTSTANDING_CAPACITY, NULL, 0,
		    now_ns);
		return false;
	}
	if (step == LADDER_REFUSE_LEDGER_FULL) {
		refuse(a, req, RECOVERY_REFUSED_DEBOUNCE_CAPACITY, NULL, 0,
		    now_ns);
		return false;
	}
	fire(a, req, command, &ask, now_ns);
	return true;
}

void
act_pass(struct act *a, uint64_t now_ns)
{
	const struct waiting *w;
	int evaluations = 0, spawns = 0;

	a->pass++;
	run_pass(a->run, now_ns);
	while (a->n_waiting > 0 && evaluations < ACT_EVALUATIONS_A_PASS &&
	       spawns < ACT_SPAWNS_A_PASS) {
		w = &a->queue[a->head];
		a->head = (a->head + 1) % a->options.capacity;
		a->n_waiting--;
		evaluations++;
		if (evaluate(a, w, now_ns))
			spawns++;
	}
	if (a->n_waiting > 0)
		a->stats->recovery_spawn_budget_exceeded++;
}

uint64_t
act_next_ns(const struct act *a)
{
	return a->n_waiting > 0 ? 0 : run_next_ns(a->run);
}

uint32_t
act_n_waiting(const struct act *a)
{
	return a->n_waiting;
}

uint32_t
act_n_children(const struct act *a)
{
	return run_count(a->run);
}
