#include "watch/observer.h"

#include <errno.h>
#include <stdlib.h>

#include "base/util.h"
#include "watch/inlet.h"
#include "watch/judge/pause.h"
#include "watch/lanes.h"
#include "watch/recovery.h"

struct observer {
	struct observer_ports ports;
	struct stats *stats;
	struct inlet local;
	struct inlet network;
	bool has_network;
	struct intake_batch batch;
	struct pause pause;
	struct lives *lives;
	struct lanes *lanes; /* NULL: none */
	struct recovery recovery;
	struct pulse *pulse;
	struct pulse unseen; /* for when nobody looks */
	uint64_t iteration_budget_ns;
	bool strict_namespace;
	bool failed;
	bool work_left; /* the next pass must follow at once */
};

static uint64_t
clock_now(const struct observer *o)
{
	return o->ports.now_ns(o->ports.clock_ctx);
}

static void
on_event(void *ctx, const struct event *ev)
{
	struct observer *o = ctx;

	tell_event(o->ports.tell, ev);
	if (ev->kind == EVENT_STALL) {
		if (ev->due_ns > 0)
			stats_fine_add(&o->stats->stall_lateness,
			    u64_sub_sat(clock_now(o), ev->due_ns));
		recovery_stall(&o->recovery, ev);
	} else if (ev->kind == EVENT_MISMATCH &&
		   ev->why.mismatch == MISMATCH_NAMESPACE_CONFLICT &&
		   o->strict_namespace)
		o->failed = true;
}

static int
open_lives(struct observer *o, const struct options *options, uint64_t now_ns)
{
	struct lives_options lives = {
		.tracker = {
			.capacity = options->tracker_capacity,
			.eviction =
			    (enum tracker_eviction)options->eviction_policy,
			.scan_window = options->eviction_scan_window,
			.max_rate_per_s = options->max_beat_rate,
			.slot_ns = OBSERVER_SLOT_NS,
			.note_intervals = options->prom_addr.given ||
					  options->control_socket != NULL,
			.seed = { o->ports.seed[0], o->ports.seed[1] },
		},
		.terms.threshold_ns =
		    u64_mul_sat(options->threshold_ms, NS_PER_MS),
		.rules = o->ports.rules,
		.own_pid_namespace = o->ports.own_pid_namespace,
		.allow_cross_namespace = options->allow_cross_namespace,
		.stall_on_exit = options->recovery_on_exit,
		.tell_beats = tell_wants_beats(o->ports.tell),
		.event = on_event,
		.event_ctx = o,
		.forgotten = o->ports.forgotten,
		.forgotten_ctx = o->ports.forgotten_ctx,
	};

	return lives_new(&lives, &o->ports.host, o->stats, now_ns, &o->lives);
}

static int
open_lanes(struct observer *o, const struct options *options)
{
	const struct lanes_options lanes = {
		.capacity = options->lanes_max,
		.source = o->ports.lanes,
		.lives = o->lives,
		.rules = o->ports.rules,
		.policy = o->ports.policy,
		.stall_on_exit = options->recovery_on_exit,
		.now_ns = o->ports.now_ns,
		.clock_ctx = o->ports.clock_ctx,
		.event = on_event,
		.event_ctx = o,
	};

	if (lanes.source.take == NULL)
		return 0;
	return lanes_new(&lanes, o->stats, &o->lanes);
}

static void
open_inlets(struct observer *o, const struct options *options, uint64_t now_ns)
{
	struct inlet_options inlet = {
		.source = o->ports.source,
		.policy = o->ports.policy,
		.queue_len = o->ports.queue_len,
		.rate_per_s = options->global_beat_rate,
		.burst = options->global_beat_burst,
	};

	inlet_init(&o->local, &inlet, o->stats, now_ns);
	inlet.source = o->ports.network;
	inlet.queue_len = o->ports.network_queue_len;
	inlet_init(&o->network, &inlet, o->stats, now_ns);
	o->has_network = inlet.source.take != NULL;
}

int
observer_new(const struct options *options, const struct observer_ports *ports,
    struct stats *stats, struct observer **ret)
{
	struct observer *o = calloc(1, sizeof(*o));
	uint64_t now_ns;
	int r;

	if (o == NULL)
		return -ENOMEM;
	o->ports = *ports;
	o->stats = stats;
	pulse_init(&o->unseen);
	o->pulse = ports->pulse != NULL ? ports->pulse : &o->unseen;
	o->strict_namespace = options->strict_namespace;
	o->iteration_budget_ns = options->iteration_budget_ms * NS_PER_MS;
	now_ns = clock_now(o);
	open_inlets(o, options, now_ns);
	pause_init(&o->pause, now_ns);
	r = open_lives(o, options, now_ns);
	if (r == 0)
		r = open_lanes(o, options);
	if (r < 0)
		goto fail;
	o->recovery.lives = o->lives;
	o->recovery.lanes = o->lanes;
	r = recovery_open(&o->recovery, &o->ports, stats);
	if (r < 0)
		goto fail;
	*ret = o;
	return 0;

fail:
	observer_free(o);
	return r;
}

void
observer_free(struct observer *o)
{
	if (o == NULL)
		return;
	recovery_close(&o->recovery);
	lanes_free(o->lanes);
	lives_free(o->lives);
	free(o);
}

static void
take_fault(struct observer *o, struct inlet *in,
    const struct intake_fault *fault, uint64_t now_ns)
{
	struct event ev = {
		.kind = fault->kind,
		.at_ns = now_ns,
		.slot = SLOT_NONE,
		.pid = fault->claimed_pid,
		.uid = fault->uid,
		.error = fault->error,
		.why.mismatch = MISMATCH_AUTH_FAILURE,
	};

	/* A datagram that makes an event pays for it like a beat; a receive
	 * call that failed is always told. */
	if (fault->consumed && !admit_take(&in->admit, now_ns)) {
		o->stats->rate_limited[STATS_LIMITED_GLOBAL]++;
		return;
	}
	tell_event(o->ports.tell, &ev);
}

static void
take_beat(struct observer *o, struct inlet *in, const struct beat *beat,
    uint64_t now_ns)
{
	bool paid = admit_take(&in->admit, now_ns);

	/* The last word of a process that the kernel vouches for always
	 * passes, once. */
	if (unlikely(!paid) && (beat->origin != ORIGIN_KERNEL_ATTESTED ||
				   !lives_is_terminal_edge(o->lives, beat))) {
		o->stats->rate_limited[STATS_LIMITED_GLOBAL]++;
		return;
	}
	/* A noisy agent must not use up what belongs to all. */
	if (lives_beat(o->lives, beat, now_ns) == TRACKER_RATE_LIMITED && paid)
		admit_give_back(&in->admit);
}

/*
 * Take in what is queued. The limit is above what the kernel can have held
 * when we began: nothing that was sent before is left unread, and a flood
 * cannot keep the rest of a pass waiting. Returns how much there was.
 */
static uint32_t
drain(struct observer *o, struct inlet *in, uint64_t now_ns)
{
	struct intake_batch *batch = &o->batch;
	uint32_t taken = 0;

	do {
		intake_take(&in->intake, batch);
		if (taken > 0)
			now_ns = clock_now(o);
		for (size_t i = 0; i < batch->n_beats; i++)
			lives_prefetch(o->lives, &batch->beats[i]);
		for (size_t i = 0; i < batch->n_beats; i++)
			lives_prefetch_record(o->lives, &batch->beats[i]);
		for (size_t i = 0; i < batch->n_beats; i++)
			take_beat(o, in, &batch->beats[i], now_ns);
		for (size_t i = 0; i < batch->n_faults; i++)
			take_fault(o, in, &batch->faults[i], now_ns);
		taken += (uint32_t)batch->n_taken;
	} while (batch->n_taken == INTAKE_BATCH && taken < in->drain_max);
	if (inlet_drained(in, taken, batch->n_taken == INTAKE_BATCH, now_ns))
		o->work_left = true;
	return taken;
}

static void
hear_of_processes(struct observer *o, uint64_t now_ns)
{
	struct process_told told[64];
	size_t heard = 0, n;

	do {
		n = o->ports.told(o->ports.host.ctx, told, ARRAY_SIZE(told));
		for (size_t i = 0; i < n; i++) {
			if ((told[i].token & OBSERVER_CHILD) == 0)
				lives_told(o->lives, &told[i], now_ns);
			else if (o->recovery.act != NULL)
				act_child_ended(o->recovery.act,
				    told[i].token & ~OBSERVER_CHILD, now_ns);
		}
		heard += n;
	} while (n == ARRAY_SIZE(told) && heard < OBSERVER_TOLD_A_PASS);
	if (n == ARRAY_SIZE(told))
		o->work_left = true;
}

static void
note_gap(struct observer *o, uint64_t gap_ns, uint64_t now_ns)
{
	struct event ev = {
		.kind = EVENT_LATE,
		.at_ns = now_ns,
		.slot = SLOT_NONE,
		.silence_ns = gap_ns,
	};

	o->stats->late_gaps++;
	o->stats->late_gap_ns += gap_ns;
	if (gap_ns > 5 * NS_PER_S)
		o->stats->clock_jumps_forward++;
	tell_event(o->ports.tell, &ev);
}

/* Time since the last mark, into the histogram of a stage. */
static uint64_t
mark_stage(struct observer *o, enum stats_stage stage, uint64_t since_ns)
{
	uint64_t now_ns = clock_now(o);

	stats_histogram_add(
	    &o->stats->stage[stage], u64_sub_sat(now_ns, since_ns));
	return now_ns;
}

void
observer_pass(struct observer *o, uint64_t now_ns, bool continued)
{
	uint64_t gap_ns, mark_ns;
	uint32_t taken;

	o->stats->passes++;
	o->work_left = false;
	pulse_enter(o->pulse, STATS_STAGE_POLL);
	taken = drain(o, &o->local, now_ns);
	if (o->has_network)
		taken += drain(o, &o->network, clock_now(o));
	gap_ns = pause_wake(&o->pause, now_ns, continued && taken > 0);
	if (o->lanes != NULL)
		lanes_take(o->lanes, now_ns);
	if (gap_ns > 0)
		note_gap(o, gap_ns, now_ns);
	mark_ns = mark_stage(o, STATS_STAGE_POLL, now_ns);

	pulse_enter(o->pulse, STATS_STAGE_DRAIN_PENDING);
	hear_of_processes(o, mark_ns);
	/* Judged as of the begin of the pass: what was sent before it has
	 * been read. */
	if (!lives_judge(o->lives, &o->pause, OBSERVER_JUDGED_A_PASS, now_ns))
		o->work_left = true;
	if (o->lanes != NULL &&
	    !lanes_judge(o->lanes, &o->pause, OBSERVER_JUDGED_A_PASS, mark_ns))
		o->work_left = true;
	mark_ns = mark_stage(o, STATS_STAGE_DRAIN_PENDING, mark_ns);

	pulse_enter(o->pulse, STATS_STAGE_RECOVERY_REAP);
	if (o->recovery.act != NULL)
		act_pass(o->recovery.act, mark_ns);
	mark_ns = mark_stage(o, STATS_STAGE_RECOVERY_REAP, mark_ns);

	pulse_enter(o->pulse, STATS_STAGE_MAINTENANCE);
	tell_flush(o->ports.tell, mark_ns);
	mark_ns = mark_stage(o, STATS_STAGE_MAINTENANCE, mark_ns);

	stats_histogram_add(&o->stats->iteration, u64_sub_sat(mark_ns, now_ns));
	if (u64_sub_sat(mark_ns, now_ns) > o->iteration_budget_ns)
		o->stats->iteration_budget_exceeded++;
}

struct observer_wait
observer_rest(struct observer *o, uint64_t now_ns, uint64_t others_ns)
{
	struct observer_wait wait = {
		.until_ns = u64_min(others_ns,
		    lives_next_ns(o->lives, now_ns, OBSERVER_LOOK_AHEAD_NS)),
	};

	if (o->lanes != NULL)
		wait.until_ns = u64_min(wait.until_ns,
		    lanes_next_ns(o->lanes, now_ns, OBSERVER_LOOK_AHEAD_NS));
	if (o->recovery.act != NULL)
		wait.until_ns =
		    u64_min(wait.until_ns, act_next_ns(o->recovery.act));
	wait.for_datagrams = inlet_waits(&o->local, now_ns, &wait.until_ns);
	wait.for_network =
	    o->has_network && inlet_waits(&o->network, now_ns, &wait.until_ns);
	if (o->work_left)
		wait.until_ns = now_ns;
	pause_sleep(&o->pause, now_ns, wait.until_ns);
	return wait;
}

void
observer_set_policy(struct observer *o, const struct intake_policy *policy)
{
	o->local.intake.policy = *policy;
	o->network.intake.policy = *policy;
	if (o->lanes != NULL)
		lanes_set_policy(o->lanes, policy, clock_now(o));
}

void
observer_set_rules(
    struct observer *o, const struct rules *rules, uint64_t threshold_ns)
{
	const struct agent_terms terms = { .threshold_ns = threshold_ns };

	lives_set_rules(o->lives, rules, &terms, clock_now(o));
	if (o->lanes != NULL)
		lanes_set_rules(o->lanes, rules, clock_now(o));
}

bool
observer_has_failed(const struct observer *o)
{
	return o->failed;
}

static bool
metrics_agent(void *ctx, uint32_t slot, struct agent_view *ret)
{
	const struct observer *o = ctx;

	return lives_view(o->lives, slot, ret);
}

static bool
metrics_row(void *ctx, uint32_t slot, struct agent_row *ret)
{
	const struct observer *o = ctx;

	return lives_row(o->lives, slot, ret);
}

static uint32_t
metrics_slots(void *ctx)
{
	const struct observer *o = ctx;

	return lives_slots(o->lives);
}

static bool
metrics_lane(void *ctx, uint32_t slot, struct lane_row *ret)
{
	const struct observer *o = ctx;

	return lanes_row(o->lanes, slot, clock_now(o), ret);
}

static uint32_t
metrics_lane_slots(void *ctx)
{
	const struct observer *o = ctx;

	return lanes_slots(o->lanes);
}

struct metrics_source
observer_metrics(struct observer *o, const struct metrics_gauges *gauges)
{
	return (struct metrics_source){
		.stats = o->stats,
		.gauges = gauges,
		.agent = metrics_agent,
		.row = metrics_row,
		.slots = metrics_slots,
		.lane = o->lanes != NULL ? metrics_lane : NULL,
		.lane_slots = metrics_lane_slots,
		.ctx = o,
	};
}

uint32_t
observer_agents(const struct observer *o)
{
	return lives_count(o->lives);
}

uint32_t
observer_lanes(const struct observer *o)
{
	return o->lanes != NULL ? lanes_count(o->lanes) : 0;
}

uint32_t
observer_hanging(const struct observer *o)
{
	return lives_hanging(o->lives);
}

uint32_t
observer_gone(const struct observer *o)
{
	return lives_gone(o->lives);
}
