#include "watch/lives.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "watch/ends.h"
#include "watch/judge/verdict.h"

enum side_flags {
	SIDE_DYING = 1u << 0,    /* ended; its parent may still reap it */
	SIDE_NO_PIDFD = 1u << 1, /* known by its start time alone */
};

/* What the tracker has no use for, one for each of its slots. */
struct side {
	char name[LIVES_NAME_BYTES];
	uint32_t generation; /* of the slot; part of the token */
	uint32_t flags;
};

struct lives {
	struct lives_options options;
	struct lives_host host;
	struct stats *stats;
	struct tracker *tracker;
	struct side *side;
	uint32_t n_no_pidfd;
	struct ends ends;
};

int
lives_new(const struct lives_options *options, const struct lives_host *host,
    struct stats *stats, uint64_t now_ns, struct lives **ret)
{
	struct lives *l = calloc(1, sizeof(*l));
	int r;

	if (l == NULL)
		return -ENOMEM;
	l->options = *options;
	l->host = *host;
	l->stats = stats;
	r = tracker_new(&options->tracker, stats, now_ns, &l->tracker);
	if (r < 0)
		goto fail;
	l->side = calloc(options->tracker.capacity, sizeof(*l->side));
	if (l->side == NULL) {
		r = -ENOMEM;
		goto fail;
	}
	*ret = l;
	return 0;

fail:
	lives_free(l);
	return r;
}

void
lives_free(struct lives *l)
{
	struct agent_view view;

	if (l == NULL)
		return;
	if (l->tracker != NULL && l->side != NULL)
		for (uint32_t i = 0; i < tracker_slots(l->tracker); i++)
			if (tracker_view(l->tracker, i, &view) &&
			    view.pidfd >= 0)
				l->host.close_pidfd(l->host.ctx, view.pidfd);
	tracker_free(l->tracker);
	free(l->side);
	free(l);
}

static uint64_t
token_of(const struct lives *l, uint32_t slot)
{
	return (uint64_t)l->side[slot].generation << 32 | slot;
}

/* The slot of a token, or SLOT_NONE when its agent is no longer there. */
static uint32_t
slot_of(const struct lives *l, uint64_t token)
{
	uint32_t slot = (uint32_t)token;

	if (slot >= l->options.tracker.capacity || token_of(l, slot) != token)
		return SLOT_NONE;
	return slot;
}

static struct event
event_of(const struct lives *l, enum event_kind kind, uint32_t slot,
    const struct agent_view *view, uint64_t now_ns)
{
	return (struct event){
		.kind = kind,
		.at_ns = now_ns,
		.slot = slot,
		.pid = view->pid,
		.uid = view->uid,
		.nonce = view->last_nonce,
		.status = view->status,
		.origin = view->origin,
		.threshold_ns = view->threshold_ns,
		.silence_ns = u64_sub_sat(now_ns, view->last_seen_ns),
		.name = l->side[slot].name,
	};
}

static void
emit(const struct lives *l, const struct event *ev)
{
	l->options.event(l->options.event_ctx, ev);
}

static void
emit_beat(const struct lives *l, enum event_kind kind, uint32_t slot,
    const struct beat *beat, uint64_t now_ns)
{
	struct event ev = {
		.kind = kind,
		.at_ns = now_ns,
		.slot = slot,
		.pid = beat->pid,
		.uid = beat->uid,
		.nonce = beat->nonce,
		.payload = beat->payload,
		.status = beat->status,
		.origin = beat->origin,
		.name = l->side[slot].name,
	};

	emit(l, &ev);
}

static void
emit_mismatch(const struct lives *l, const struct beat *beat,
    enum mismatch_reason why, uint64_t now_ns)
{
	struct event ev = {
		.kind = EVENT_MISMATCH,
		.at_ns = now_ns,
		.slot = SLOT_NONE,
		.pid = beat->pid,
		.uid = beat->uid,
		.origin = beat->origin,
		.why.mismatch = why,
	};

	emit(l, &ev);
}

/* The slot's agent is not to be told of again, and its pidfd is closed. */
static void
let_go(struct lives *l, uint32_t slot, int pidfd)
{
	struct side *side = &l->side[slot];

	if (pidfd >= 0) {
		l->host.unwatch(l->host.ctx, pidfd);
		l->host.close_pidfd(l->host.ctx, pidfd);
	}
	if ((side->flags & SIDE_NO_PIDFD) != 0)
		l->n_no_pidfd--;
	side->flags = 0;
	side->generation++;
}

static void
stall(struct lives *l, uint32_t slot, enum stall_reason why, uint64_t now_ns)
{
	struct agent_view view;
	struct event ev;

	(void)tracker_view(l->tracker, slot, &view);
	ev = event_of(l, EVENT_STALL, slot, &view, now_ns);
	ev.why.stall = why;
	tracker_stall(l->tracker, slot, why);
	emit(l, &ev);
}

/* The process behind slot has ended, as info tells. Returns false when the
 * agent is forgotten. */
static bool
end(struct lives *l, uint32_t slot, struct exit_info info, uint64_t now_ns)
{
	bool left = info.how == EXIT_HOW_CODE && info.value == 0;
	struct agent_view view;
	struct event ev;

	(void)tracker_view(l->tracker, slot, &view);
	ev = event_of(l, left ? EVENT_LEAVE : EVENT_EXIT, slot, &view, now_ns);
	ev.why.exit = info;
	if (left)
		l->stats->leaves++;
	else
		l->stats->exits++;
	emit(l, &ev);
	let_go(l, slot, view.pidfd);
	if (left) {
		tracker_remove(l->tracker, slot);
		return false;
	}
	tracker_set_gone(l->tracker, slot);
	if (l->options.stall_on_exit && !view.stalled)
		stall(l, slot, STALL_GONE, now_ns);
	return true;
}

static const struct exit_info exit_unknown = { .how = EXIT_HOW_UNKNOWN };

/*
 * Whoever was in the slot is replaced by another process with its pid: what
 * there is to say of the old one is said now, or never.
 */
static void
retire(struct lives *l, uint32_t slot, uint64_t now_ns)
{
	struct agent_view view;

	l->stats->pid_recycled++;
	(void)tracker_view(l->tracker, slot, &view);
	if (!view.gone) {
		struct exit_info info =
		    view.pidfd >= 0 ? l->host.exit_info(l->host.ctx, view.pidfd)
				    : exit_unknown;

		if (!end(l, slot, info, now_ns))
			return;
		(void)tracker_view(l->tracker, slot, &view);
	}
	if (!view.stalled)
		stall(l, slot, STALL_GONE, now_ns);
	tracker_remove(l->tracker, slot);
}

/* Put a new agent into the table. */
static enum tracker_outcome
join(struct lives *l, const struct beat *beat, struct identity *identity,
    uint64_t now_ns)
{
	struct agent_view evicted;
	struct side *side;
	bool did_evict = false;
	uint32_t slot = tracker_join(l->tracker, beat, identity,
	    &l->options.terms, now_ns, &evicted, &did_evict);

	if (did_evict) {
		struct event ev =
		    event_of(l, EVENT_EVICTION, evicted.slot, &evicted, now_ns);

		emit(l, &ev);
		let_go(l, evicted.slot, evicted.pidfd);
	}
	if (slot == SLOT_NONE) {
		if (identity->pidfd >= 0)
			l->host.close_pidfd(l->host.ctx, identity->pidfd);
		return TRACKER_OUT_OF_ORDER;
	}
	side = &l->side[slot];
	l->host.name(l->host.ctx, beat->pid, side->name, sizeof(side->name));
	emit_beat(l, EVENT_JOIN, slot, beat, now_ns);
	if (l->options.tell_beats)
		emit_beat(l, EVENT_BEAT, slot, beat, now_ns);
	if (identity->pidfd >= 0 &&
	    l->host.watch(l->host.ctx, identity->pidfd, token_of(l, slot)) == 0)
		return TRACKER_ACCEPTED;
	if (identity->gone) {
		(void)end(l, slot, exit_unknown, now_ns);
	} else if (beat->origin != ORIGIN_SOCKET_MODE_ONLY ||
		   identity->start_ticks != 0) {
		side->flags |= SIDE_NO_PIDFD;
		l->n_no_pidfd++;
	}
	return TRACKER_ACCEPTED;
}

/* Find out who sends under a pid that is new, or whose process has ended. */
static void
identify(struct lives *l, struct beat *beat, struct identity *ret)
{
	*ret = (struct identity){ .pidfd = -1 };
	if (beat->origin != ORIGIN_KERNEL_ATTESTED)
		return;
	if (l->host.identify(l->host.ctx, beat->pid, ret) < 0)
		l->stats->pidfd_refused++;
	if (ret->start_ticks == 0 && ret->pidfd < 0) {
		/* The kernel named a pid, but there is nobody to hold on to:
		 * such a beat may never lead to an action. */
		beat->origin = ORIGIN_SOCKET_MODE_ONLY;
		l->stats->identity_unknown++;
	}
}

static bool
is_foreign(const struct lives *l, const struct identity *identity)
{
	return identity->pid_namespace != 0 &&
	       l->options.own_pid_namespace != 0 &&
	       identity->pid_namespace != l->options.own_pid_namespace &&
	       !l->options.allow_cross_namespace;
}

static enum tracker_outcome
first_contact(struct lives *l, struct beat *beat, uint64_t now_ns)
{
	struct identity identity;

	identify(l, beat, &identity);
	if (is_foreign(l, &identity)) {
		l->stats->namespace_mismatches++;
		emit_mismatch(l, beat, MISMATCH_NAMESPACE_CONFLICT, now_ns);
		if (identity.pidfd >= 0)
			l->host.close_pidfd(l->host.ctx, identity.pidfd);
		return TRACKER_OUT_OF_ORDER;
	}
	return join(l, beat, &identity, now_ns);
}

static enum tracker_outcome
known(struct lives *l, uint32_t slot, const struct beat *beat, uint64_t now_ns)
{
	enum tracker_outcome outcome =
	    tracker_beat(l->tracker, slot, beat, now_ns);

	switch (outcome) {
	case TRACKER_RESUMED:
		emit_beat(l, EVENT_RESUME, slot, beat, now_ns);
		/* fall through */
	case TRACKER_ACCEPTED:
		if (l->options.tell_beats)
			emit_beat(l, EVENT_BEAT, slot, beat, now_ns);
		break;
	case TRACKER_ORIGIN_CONFLICT:
		emit_mismatch(l, beat, MISMATCH_ORIGIN_CONFLICT, now_ns);
		break;
	case TRACKER_RATE_LIMITED:
	case TRACKER_OUT_OF_ORDER:
	case TRACKER_OUTCOME_COUNT:
		break;
	}
	return outcome;
}

/*
 * A beat with the pid of a process that has ended, or that is known by its
 * start time alone: from that process still (it was queued when it ended), or
 * from another with the same pid?
 */
static enum tracker_outcome
look_again(
    struct lives *l, uint32_t slot, const struct beat *beat, uint64_t now_ns)
{
	struct beat fresh = *beat;
	struct agent_view view;
	uint64_t start_ticks = 0;

	(void)tracker_view(l->tracker, slot, &view);
	if (beat->origin == ORIGIN_KERNEL_ATTESTED)
		start_ticks = l->host.start_ticks(l->host.ctx, beat->pid);
	if (start_ticks != 0 && start_ticks != view.start_ticks &&
	    (view.gone || view.start_ticks != 0)) {
		retire(l, slot, now_ns);
		return first_contact(l, &fresh, now_ns);
	}
	/* Nothing new is known of the sender: no more trust than before. */
	fresh.origin = view.origin;
	return known(l, slot, &fresh, now_ns);
}

void
lives_prefetch(const struct lives *l, const struct beat *beat)
{
	tracker_prefetch(l->tracker, beat->id);
}

enum tracker_outcome
lives_beat(struct lives *l, const struct beat *beat, uint64_t now_ns)
{
	uint32_t slot = tracker_find(l->tracker, beat->id);

	if (unlikely(slot == SLOT_NONE)) {
		struct beat fresh = *beat;

		return first_contact(l, &fresh, now_ns);
	}
	if (unlikely(tracker_is_gone(l->tracker, slot)) ||
	    (unlikely(l->n_no_pidfd > 0) &&
		(l->side[slot].flags & SIDE_NO_PIDFD) != 0))
		return look_again(l, slot, beat, now_ns);
	return known(l, slot, beat, now_ns);
}

bool
lives_is_terminal_edge(const struct lives *l, const struct beat *beat)
{
	return tracker_is_terminal_edge(
	    l->tracker, tracker_find(l->tracker, beat->id), beat);
}

/* An end whose cause is not known yet. */
static void
await_cause(struct lives *l, uint32_t slot, uint64_t now_ns)
{
	uint64_t give_up_ns =
	    u64_add_sat(now_ns, LIVES_EXIT_WAIT_MS * NS_PER_MS);

	if (l->host.tells_exits &&
	    ends_put(&l->ends, token_of(l, slot), give_up_ns)) {
		l->side[slot].flags |= SIDE_DYING;
		return;
	}
	l->stats->exit_wait_overflow += l->host.tells_exits;
	(void)end(l, slot, exit_unknown, now_ns);
}

void
lives_told(struct lives *l, const struct process_told *told, uint64_t now_ns)
{
	uint32_t slot = slot_of(l, told->token);
	struct agent_view view;

	if (slot == SLOT_NONE || !tracker_view(l->tracker, slot, &view) ||
	    view.gone)
		return;
	if (told->news == PROCESS_REAPED)
		(void)end(l, slot, l->host.exit_info(l->host.ctx, view.pidfd),
		    now_ns);
	else if ((l->side[slot].flags & SIDE_DYING) == 0)
		await_cause(l, slot, now_ns);
}

/* The oldest end that still has no cause, or NULL; those that were explained
 * meanwhile are dropped. */
static const struct ends_one *
oldest_end(struct lives *l)
{
	const struct ends_one *one;

	while ((one = ends_oldest(&l->ends)) != NULL &&
	       slot_of(l, one->token) == SLOT_NONE)
		ends_drop(&l->ends);
	return one;
}

/* Ends that were waited for long enough are told without a cause. */
static void
give_up_waiting(struct lives *l, uint64_t now_ns)
{
	const struct ends_one *one;

	while ((one = oldest_end(l)) != NULL && one->give_up_ns <= now_ns)
		(void)end(l, slot_of(l, one->token), exit_unknown, now_ns);
}

/* The deadline of this agent has come. */
static void
judge(struct lives *l, const struct tracker_due *due, const struct pause *pause,
    uint64_t now_ns)
{
	const struct side *side = &l->side[due->slot];
	struct agent_view view;
	struct verdict verdict;

	(void)tracker_view(l->tracker, due->slot, &view);
	verdict = verdict_of(
	    &view, pause_credit_ns(pause, view.last_seen_ns), now_ns);
	if (verdict.kind == VERDICT_WAIT) {
		tracker_defer(l->tracker, due->slot, verdict.look_at_ns);
		return;
	}
	/* It has ended and nobody said so: a parent that does not reap, or a
	 * process that is known by its start time alone. */
	if ((side->flags & SIDE_DYING) != 0 ||
	    ((side->flags & SIDE_NO_PIDFD) != 0 &&
		l->host.start_ticks(l->host.ctx, view.pid) !=
		    view.start_ticks)) {
		(void)end(l, due->slot, exit_unknown, now_ns);
		(void)tracker_view(l->tracker, due->slot, &view);
		if (view.stalled)
			return;
		verdict.why = STALL_GONE;
	}
	stall(l, due->slot, verdict.why, now_ns);
}

bool
lives_judge(
    struct lives *l, const struct pause *pause, size_t max, uint64_t now_ns)
{
	struct tracker_due due[64];
	size_t judged = 0;

	give_up_waiting(l, now_ns);
	while (judged < max) {
		size_t n =
		    tracker_due(l->tracker, now_ns, due, ARRAY_SIZE(due));

		for (size_t i = 0; i < n; i++)
			judge(l, &due[i], pause, now_ns);
		judged += n;
		if (n < ARRAY_SIZE(due))
			return true;
	}
	return false;
}

uint64_t
lives_next_ns(struct lives *l, uint64_t now_ns, uint64_t ahead_ns)
{
	uint64_t next_ns = tracker_next_ns(l->tracker, now_ns, ahead_ns);
	const struct ends_one *one = oldest_end(l);

	return one != NULL ? u64_min(next_ns, one->give_up_ns) : next_ns;
}

bool
lives_view(const struct lives *l, uint32_t slot, struct agent_view *ret)
{
	return tracker_view(l->tracker, slot, ret);
}

const char *
lives_name(const struct lives *l, uint32_t slot)
{
	return l->side[slot].name;
}

uint32_t
lives_slots(const struct lives *l)
{
	return tracker_slots(l->tracker);
}

uint32_t
lives_count(const struct lives *l)
{
	return tracker_count(l->tracker);
}
