#include "watch/recovery.h"

#include <stdio.h>

static bool
is_still_stalled(const struct recovery *r, const struct act_request *req,
    const struct agent_view *view)
{
	return req->lane_slot == SLOT_NONE
		   ? view->stalled
		   : lanes_is_stalled(
			 r->lanes, req->lane_slot, req->lane_token);
}

/* Does a stall that had to wait still ask for recovery? */
static enum act_wanted
wanted(void *ctx, const struct act_request *req)
{
	struct recovery *r = ctx;
	struct agent_view view;

	if (!lives_view(r->lives, req->slot, &view) || view.id != req->id ||
	    !is_still_stalled(r, req, &view))
		return ACT_AGENT_RESUMED;
	if (view.start_ticks != req->start_ticks)
		return ACT_PID_RECYCLED;
	if (view.origin == ORIGIN_KERNEL_ATTESTED && view.start_ticks == 0 &&
	    !view.gone)
		return ACT_UNVERIFIABLE;
	return ACT_WANTED;
}

static const struct act_command *
command_for(void *ctx, const struct act_request *req)
{
	struct recovery *r = ctx;
	const struct rule *rule = NULL;

	if (req->lane_slot != SLOT_NONE)
		rule = lanes_rule(r->lanes, req->lane_slot, req->lane_token);
	/* A lane has the command of its process unless it has its own. */
	if (rule == NULL || rule->recovery_exec == NULL)
		rule = lives_rule(r->lives, req->slot);
	return r->ports->command(r->ports->command_ctx, rule);
}

static void
report(void *ctx, const struct recovery_record *record)
{
	struct recovery *r = ctx;

	if (record->outcome == RECOVERY_SPAWNED)
		stats_fine_add(&r->stats->recovery_latency, record->latency_ns);
	tell_recovery(r->ports->tell, record);
}

static int
watch_child(void *ctx, int pidfd, uint64_t token)
{
	struct recovery *r = ctx;

	return r->ports->host.watch(
	    r->ports->host.ctx, pidfd, token | OBSERVER_CHILD);
}

static void
unwatch_child(void *ctx, int pidfd)
{
	struct recovery *r = ctx;

	r->ports->host.unwatch(r->ports->host.ctx, pidfd);
}

int
recovery_open(
    struct recovery *r, const struct observer_ports *ports, struct stats *stats)
{
	const struct act_ports act = {
		.wanted = wanted,
		.command = command_for,
		.report = report,
		.watch = watch_child,
		.unwatch = unwatch_child,
		.ctx = r,
		.spawn = ports->spawn,
		.spawn_ctx = ports->spawn_ctx,
	};

	r->ports = ports;
	r->stats = stats;
	if (ports->recovery == NULL)
		return 0;
	return act_new(ports->recovery, &act, stats, &r->act);
}

void
recovery_close(struct recovery *r)
{
	if (r->act != NULL)
		act_shutdown(r->act, r->ports->now_ns, r->ports->clock_ctx);
	r->act = NULL;
}

void
recovery_stall(struct recovery *r, const struct event *ev)
{
	struct act_request req = {
		.stalled_at_ns = ev->at_ns,
		.slot = ev->slot,
		.pid = ev->pid,
		.origin = (enum origin)ev->origin,
		.why = ev->why.stall,
		.lane_slot = ev->lane != NULL ? ev->lane_slot : SLOT_NONE,
		.lane_token = ev->lane_token,
	};
	struct agent_view view;

	if (r->act == NULL || !lives_view(r->lives, ev->slot, &view))
		return;
	req.id = view.id;
	req.start_ticks = view.start_ticks;
	req.pid_namespace = view.pid_namespace;
	(void)snprintf(
	    req.name, sizeof(req.name), "%s", ev->name != NULL ? ev->name : "");
	(void)snprintf(
	    req.lane, sizeof(req.lane), "%s", ev->lane != NULL ? ev->lane : "");
	(void)act_stall(r->act, &req);
}
