#include "watch/contact.h"

#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "watch/rules.h"

enum { COMM_BYTES = 16 }; /* of a command name, with its NUL */

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
		.name = l->life[slot].name,
	};

	life_emit(l, &ev);
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

	life_emit(l, &ev);
}

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
				    : life_end_unknown;

		if (!life_end(l, slot, info, now_ns))
			return;
		(void)tracker_view(l->tracker, slot, &view);
	}
	if (!view.stalled)
		life_stall(l, slot, STALL_GONE, 0, now_ns);
	life_remove(l, slot);
}

/* The rule for a process, or for a lane of it. */
static const struct rule *
match(const struct lives *l, uint32_t pid, uint32_t uid, const char *lane,
    char comm[static COMM_BYTES])
{
	const struct rules *rules = l->options.rules;
	char exe[256] = "", cgroup[256] = "";
	struct rule_facts facts = {
		.comm = comm,
		.exe = exe,
		.cgroup = cgroup,
		.lane = lane,
		.uid = uid,
	};

	l->host.name(l->host.ctx, pid, comm, COMM_BYTES);
	if (rules->want_exe)
		l->host.exe(l->host.ctx, pid, exe, sizeof(exe));
	if (rules->want_unit)
		l->host.cgroup(l->host.ctx, pid, cgroup, sizeof(cgroup));
	return rules_match(rules, &facts);
}

const struct rule *
contact_rule(
    const struct lives *l, uint32_t pid, uint32_t uid, const char *lane)
{
	char comm[COMM_BYTES];

	return match(l, pid, uid, lane, comm);
}

void
contact_look_up(
    const struct lives *l, uint64_t id, uint32_t uid, struct contact *ret)
{
	char comm[COMM_BYTES];
	const struct rule *rule;

	*ret = (struct contact){ .terms = l->options.terms };
	if (id >> 32 != 0)
		return;
	rule = match(l, (uint32_t)id, uid, NULL, comm);
	(void)snprintf(ret->name, sizeof(ret->name), "%s",
	    rule != NULL ? rule->name : comm);
	if (rule == NULL)
		return;
	ret->rule = rules_number_of(l->options.rules, rule);
	ret->terms.grace_ns = u64_mul_sat(rule->grace_ms, NS_PER_MS);
	if (rule->threshold_ms != 0)
		ret->terms.threshold_ns =
		    u64_mul_sat(rule->threshold_ms, NS_PER_MS);
}

/* Put a new agent into the table. */
static enum tracker_outcome
join(struct lives *l, const struct beat *beat, struct identity *identity,
    uint64_t now_ns)
{
	struct agent_view evicted;
	struct contact contact;
	struct life *life;
	bool did_evict = false;
	uint32_t slot;

	contact_look_up(l, beat->id, beat->uid, &contact);
	slot = tracker_join(l->tracker, beat, identity, &contact.terms, now_ns,
	    &evicted, &did_evict);
	if (did_evict) {
		struct event ev = life_event(
		    l, EVENT_EVICTION, evicted.slot, &evicted, now_ns);

		life_emit(l, &ev);
		life_forgotten(l, evicted.slot, &evicted);
		life_let_go(l, evicted.slot, evicted.pidfd);
	}
	if (slot == SLOT_NONE) {
		if (identity->pidfd >= 0)
			l->host.close_pidfd(l->host.ctx, identity->pidfd);
		return TRACKER_OUT_OF_ORDER;
	}
	life = &l->life[slot];
	memcpy(life->name, contact.name, sizeof(life->name));
	life->rule = contact.rule;
	emit_beat(l, EVENT_JOIN, slot, beat, now_ns);
	if (l->options.tell_beats && !beat->is_contact)
		emit_beat(l, EVENT_BEAT, slot, beat, now_ns);
	if (identity->pidfd >= 0 && l->host.watch(l->host.ctx, identity->pidfd,
					life_token(l, slot)) == 0)
		return TRACKER_ACCEPTED;
	if (identity->gone) {
		(void)life_end(l, slot, life_end_unknown, now_ns);
	} else if (beat->origin == ORIGIN_KERNEL_ATTESTED ||
		   identity->start_ticks != 0) {
		life->flags |= LIFE_NO_PIDFD;
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

	if (unlikely(outcome == TRACKER_RESUMED))
		emit_beat(l, EVENT_RESUME, slot, beat, now_ns);
	if (l->options.tell_beats &&
	    (outcome == TRACKER_RESUMED || outcome == TRACKER_ACCEPTED))
		emit_beat(l, EVENT_BEAT, slot, beat, now_ns);
	if (unlikely(outcome == TRACKER_ORIGIN_CONFLICT))
		emit_mismatch(l, beat, MISMATCH_ORIGIN_CONFLICT, now_ns);
	return outcome;
}

/*
 * A process that has ended, or that is known by its start time alone, sends
 * something: it itself still (it was queued when it ended), or another with
 * the same pid?
 */
static bool
is_another(const struct lives *l, const struct agent_view *view,
    const struct beat *beat)
{
	uint64_t start_ticks = 0;

	if (beat->origin == ORIGIN_KERNEL_ATTESTED)
		start_ticks = l->host.start_ticks(l->host.ctx, beat->pid);
	return start_ticks != 0 && start_ticks != view->start_ticks &&
	       (view->gone || view->start_ticks != 0);
}

static bool
must_look_again(const struct lives *l, uint32_t slot)
{
	return unlikely(tracker_is_gone(l->tracker, slot)) ||
	       (unlikely(l->n_no_pidfd > 0) &&
		   (l->life[slot].flags & LIFE_NO_PIDFD) != 0);
}

static enum tracker_outcome
look_again(
    struct lives *l, uint32_t slot, const struct beat *beat, uint64_t now_ns)
{
	struct beat fresh = *beat;
	struct agent_view view;

	(void)tracker_view(l->tracker, slot, &view);
	if (is_another(l, &view, beat)) {
		retire(l, slot, now_ns);
		return first_contact(l, &fresh, now_ns);
	}
	/* Nothing new is known of the sender: no more trust than before. */
	fresh.origin = view.origin;
	return known(l, slot, &fresh, now_ns);
}

enum tracker_outcome
contact_beat(struct lives *l, const struct beat *beat, uint64_t now_ns)
{
	uint32_t slot = tracker_find(l->tracker, beat->id);

	if (unlikely(slot == SLOT_NONE)) {
		struct beat fresh = *beat;

		return first_contact(l, &fresh, now_ns);
	}
	if (must_look_again(l, slot))
		return look_again(l, slot, beat, now_ns);
	return known(l, slot, beat, now_ns);
}

uint32_t
contact_hold(struct lives *l, const struct beat *contact, uint64_t now_ns)
{
	uint32_t slot = tracker_find(l->tracker, contact->id);
	struct beat fresh = *contact;
	struct agent_view view;

	/* News of an end may come later than whoever has the number now. */
	if (slot != SLOT_NONE) {
		(void)tracker_view(l->tracker, slot, &view);
		if (!is_another(l, &view, contact))
			return view.gone ? SLOT_NONE : slot;
		retire(l, slot, now_ns);
	}
	(void)first_contact(l, &fresh, now_ns);
	return tracker_find(l->tracker, contact->id);
}
