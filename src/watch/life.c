#include "watch/life.h"

#include "base/util.h"

const struct exit_info life_end_unknown = { .how = EXIT_HOW_UNKNOWN };

uint64_t
life_token(const struct lives *l, uint32_t slot)
{
	return (uint64_t)l->life[slot].generation << 32 | slot;
}

uint32_t
life_slot(const struct lives *l, uint64_t token)
{
	uint32_t slot = (uint32_t)token;

	if (slot >= l->options.tracker.capacity || life_token(l, slot) != token)
		return SLOT_NONE;
	return slot;
}

struct event
life_event(const struct lives *l, enum event_kind kind, uint32_t slot,
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
		.name = l->life[slot].name,
	};
}

void
life_emit(const struct lives *l, const struct event *ev)
{
	l->options.event(l->options.event_ctx, ev);
}

void
life_let_go(struct lives *l, uint32_t slot, int pidfd)
{
	struct life *life = &l->life[slot];

	if (pidfd >= 0) {
		l->host.unwatch(l->host.ctx, pidfd);
		l->host.close_pidfd(l->host.ctx, pidfd);
	}
	if ((life->flags & LIFE_NO_PIDFD) != 0)
		l->n_no_pidfd--;
	life->flags = 0;
	life->generation++;
}

void
life_stall(struct lives *l, uint32_t slot, enum stall_reason why,
    uint64_t due_ns, uint64_t now_ns)
{
	struct agent_view view;
	struct event ev;

	(void)tracker_view(l->tracker, slot, &view);
	ev = life_event(l, EVENT_STALL, slot, &view, now_ns);
	ev.why.stall = why;
	ev.due_ns = due_ns;
	tracker_stall(l->tracker, slot, why);
	life_emit(l, &ev);
}

void
life_forgotten(
    const struct lives *l, uint32_t slot, const struct agent_view *view)
{
	struct agent_view named = *view;

	if (l->options.forgotten == NULL)
		return;
	named.name = l->life[slot].name;
	l->options.forgotten(l->options.forgotten_ctx, &named);
}

void
life_remove(struct lives *l, uint32_t slot)
{
	struct agent_view view;

	(void)tracker_view(l->tracker, slot, &view);
	life_forgotten(l, slot, &view);
	tracker_remove(l->tracker, slot);
	l->life[slot].holds = 0;
}

bool
life_drop_idle(struct lives *l, uint32_t slot)
{
	struct agent_view view;

	if (l->life[slot].holds > 0 || tracker_has_beaten(l->tracker, slot))
		return false;
	(void)tracker_view(l->tracker, slot, &view);
	if (!view.gone)
		life_let_go(l, slot, view.pidfd);
	life_remove(l, slot);
	return true;
}

bool
life_end(struct lives *l, uint32_t slot, struct exit_info info, uint64_t now_ns)
{
	bool left = info.how == EXIT_HOW_CODE && info.value == 0;
	struct agent_view view;
	struct event ev;

	(void)tracker_view(l->tracker, slot, &view);
	ev =
	    life_event(l, left ? EVENT_LEAVE : EVENT_EXIT, slot, &view, now_ns);
	ev.why.exit = info;
	if (left)
		l->stats->leaves++;
	else
		l->stats->exits++;
	life_emit(l, &ev);
	life_let_go(l, slot, view.pidfd);
	if (left) {
		life_remove(l, slot);
		return false;
	}
	tracker_set_gone(l->tracker, slot);
	if (!tracker_has_beaten(l->tracker, slot))
		return !life_drop_idle(l, slot);
	if (l->options.stall_on_exit && !view.stalled)
		life_stall(l, slot, STALL_GONE, 0, now_ns);
	return true;
}
