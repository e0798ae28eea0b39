#include "watch/lives.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "watch/contact.h"
#include "watch/judge/verdict.h"
#include "watch/life.h"

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
	l->life = calloc(options->tracker.capacity, sizeof(*l->life));
	if (l->life == NULL) {
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
	if (l->tracker != NULL && l->life != NULL)
		for (uint32_t i = 0; i < tracker_slots(l->tracker); i++)
			if (tracker_view(l->tracker, i, &view) &&
			    view.pidfd >= 0)
				l->host.close_pidfd(l->host.ctx, view.pidfd);
	tracker_free(l->tracker);
	free(l->life);
	free(l);
}

void
lives_prefetch(const struct lives *l, const struct beat *beat)
{
	tracker_prefetch(l->tracker, beat->id);
}

void
lives_prefetch_record(const struct lives *l, const struct beat *beat)
{
	tracker_prefetch_record(l->tracker, beat->id);
}

enum tracker_outcome
lives_beat(struct lives *l, const struct beat *beat, uint64_t now_ns)
{
	return contact_beat(l, beat, now_ns);
}

bool
lives_is_terminal_edge(const struct lives *l, const struct beat *beat)
{
	return tracker_is_terminal_edge(
	    l->tracker, tracker_find(l->tracker, beat->id), beat);
}

/* A process that is known by its start time alone: is it still there? */
static bool
has_ended_unseen(const struct lives *l, uint32_t slot)
{
	struct agent_view view;

	if ((l->life[slot].flags & LIFE_NO_PIDFD) == 0)
		return false;
	(void)tracker_view(l->tracker, slot, &view);
	return l->host.start_ticks(l->host.ctx, view.pid) != view.start_ticks;
}

/* Whether it is still the agent that was held. */
static bool
is_held(const struct lives *l, const struct lives_hold *hold)
{
	struct agent_view view;

	return tracker_view(l->tracker, hold->slot, &view) &&
	       view.id == hold->id && view.joined_ns == hold->joined_ns;
}

bool
lives_hold(struct lives *l, const struct beat *contact, uint64_t now_ns,
    struct lives_hold *ret)
{
	uint32_t slot = contact_hold(l, contact, now_ns);
	struct agent_view view;

	if (slot == SLOT_NONE || l->life[slot].holds == LIVES_HOLDS_MAX)
		return false;
	l->life[slot].holds++;
	tracker_hold(l->tracker, slot, true);
	(void)tracker_view(l->tracker, slot, &view);
	*ret = (struct lives_hold){
		.id = view.id,
		.joined_ns = view.joined_ns,
		.slot = slot,
	};
	return true;
}

void
lives_release(struct lives *l, const struct lives_hold *hold)
{
	if (!is_held(l, hold) || --l->life[hold->slot].holds > 0)
		return;
	tracker_hold(l->tracker, hold->slot, false);
	(void)life_drop_idle(l, hold->slot);
}

bool
lives_held_view(const struct lives *l, const struct lives_hold *hold,
    struct agent_view *ret)
{
	return is_held(l, hold) && lives_view(l, hold->slot, ret);
}

const struct rule *
lives_lane_rule(
    const struct lives *l, const struct lives_hold *hold, const char *lane)
{
	struct agent_view view;

	if (!l->options.rules->want_lane || !is_held(l, hold))
		return NULL;
	(void)tracker_view(l->tracker, hold->slot, &view);
	return view.gone ? NULL : contact_rule(l, view.pid, view.uid, lane);
}

enum lives_state
lives_state_of(struct lives *l, const struct lives_hold *hold, uint64_t now_ns)
{
	if (!is_held(l, hold))
		return LIVES_GONE;
	if (tracker_is_gone(l->tracker, hold->slot))
		return LIVES_ENDED;
	if ((l->life[hold->slot].flags & LIFE_DYING) != 0)
		return LIVES_DYING;
	if (!has_ended_unseen(l, hold->slot))
		return LIVES_THERE;
	return life_end(l, hold->slot, life_end_unknown, now_ns) ? LIVES_ENDED
								 : LIVES_GONE;
}

/* An end whose cause is not known yet. */
static void
await_cause(struct lives *l, uint32_t slot, uint64_t now_ns)
{
	uint64_t give_up_ns =
	    u64_add_sat(now_ns, LIVES_EXIT_WAIT_MS * NS_PER_MS);

	if (l->host.tells_exits &&
	    ends_put(&l->ends, life_token(l, slot), give_up_ns)) {
		l->life[slot].flags |= LIFE_DYING;
		return;
	}
	l->stats->exit_wait_overflow += l->host.tells_exits;
	(void)life_end(l, slot, life_end_unknown, now_ns);
}

void
lives_told(struct lives *l, const struct process_told *told, uint64_t now_ns)
{
	uint32_t slot = life_slot(l, told->token);
	struct agent_view view;

	if (slot == SLOT_NONE || !tracker_view(l->tracker, slot, &view) ||
	    view.gone)
		return;
	if (told->news == PROCESS_REAPED)
		(void)life_end(l, slot,
		    l->host.exit_info(l->host.ctx, view.pidfd), now_ns);
	else if ((l->life[slot].flags & LIFE_DYING) == 0)
		await_cause(l, slot, now_ns);
}

/* The oldest end that still has no cause, or NULL; those that were explained
 * meanwhile are dropped. */
static const struct ends_one *
oldest_end(struct lives *l)
{
	const struct ends_one *one;

	while ((one = ends_oldest(&l->ends)) != NULL &&
	       life_slot(l, one->token) == SLOT_NONE)
		ends_drop(&l->ends);
	return one;
}

/* Ends that were waited for long enough are told without a cause. */
static void
give_up_waiting(struct lives *l, uint64_t now_ns)
{
	const struct ends_one *one;

	while ((one = oldest_end(l)) != NULL && one->give_up_ns <= now_ns)
		(void)life_end(
		    l, life_slot(l, one->token), life_end_unknown, now_ns);
}

/* The deadline of this agent has come. */
static void
judge(struct lives *l, const struct tracker_due *due, const struct pause *pause,
    uint64_t now_ns)
{
	struct agent_view view;
	struct verdict verdict;
	uint64_t credit_ns, due_ns;

	(void)tracker_view(l->tracker, due->slot, &view);
	credit_ns = pause_credit_ns(pause, view.last_seen_ns);
	verdict = verdict_of(&view, credit_ns, now_ns);
	if (verdict.kind == VERDICT_WAIT) {
		tracker_defer(l->tracker, due->slot, verdict.look_at_ns);
		return;
	}
	/* It has ended and nobody said so: a parent that does not reap, or a
	 * process that is known by its start time alone. */
	if ((l->life[due->slot].flags & LIFE_DYING) != 0 ||
	    has_ended_unseen(l, due->slot)) {
		(void)life_end(l, due->slot, life_end_unknown, now_ns);
		(void)tracker_view(l->tracker, due->slot, &view);
		if (view.stalled)
			return;
		verdict.why = STALL_GONE;
	}
	due_ns = u64_add_sat(
	    u64_add_sat(due->last_seen_ns, due->threshold_ns), credit_ns);
	life_stall(l, due->slot, verdict.why, u64_max(due_ns, due->deadline_ns),
	    now_ns);
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

void
lives_set_rules(struct lives *l, const struct rules *rules,
    const struct agent_terms *terms, uint64_t now_ns)
{
	l->options.rules = rules;
	l->options.terms = *terms;
	for (uint32_t i = 0; i < tracker_slots(l->tracker); i++) {
		struct life *life = &l->life[i];
		struct agent_view view;
		struct contact contact;

		if (!tracker_view(l->tracker, i, &view))
			continue;
		/* Of a process that is gone nothing new can be learnt. */
		if (view.gone) {
			if (life->rule > 0)
				life->rule =
				    rules_number(rules, life->name, false);
			continue;
		}
		contact_look_up(l, view.id, view.uid, &contact);
		memcpy(life->name, contact.name, sizeof(life->name));
		life->rule = contact.rule;
		tracker_set_terms(l->tracker, i, &contact.terms, now_ns);
	}
	tracker_rearm(l->tracker, now_ns);
}

const struct rule *
lives_rule(const struct lives *l, uint32_t slot)
{
	return rules_at(l->options.rules, l->life[slot].rule);
}

bool
lives_view(const struct lives *l, uint32_t slot, struct agent_view *ret)
{
	if (!tracker_view(l->tracker, slot, ret))
		return false;
	ret->name = l->life[slot].name;
	return true;
}

bool
lives_row(const struct lives *l, uint32_t slot, struct agent_row *ret)
{
	return tracker_row(l->tracker, slot, ret);
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

uint32_t
lives_hanging(const struct lives *l)
{
	return tracker_hanging(l->tracker);
}

uint32_t
lives_gone(const struct lives *l)
{
	return tracker_gone(l->tracker);
}
