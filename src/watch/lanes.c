#include "watch/lanes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "watch/berth.h"
#include "watch/judge/verdict.h"
#include "watch/options.h"

_Static_assert((int)OPTIONS_LANES_MAX == (int)LANETABLE_MAX, "one limit");

enum {
	DUE_BATCH = 64,
	/* News in one pass, in portions of LANE_SOURCE_NEWS. */
	PORTIONS = 8
};

int
lanes_new(const struct lanes_options *options, struct stats *stats,
    struct lanes **ret)
{
	struct lanes *l = calloc(1, sizeof(*l));
	uint32_t joins_per_s;
	int r;

	if (l == NULL)
		return -ENOMEM;
	l->options = *options;
	l->source = options->source;
	l->stats = stats;
	joins_per_s = (uint32_t)u64_max(options->capacity, BERTH_JOINS_PER_S);
	admit_init(&l->joins, joins_per_s, 2 * joins_per_s,
	    options->now_ns(options->clock_ctx));
	r = lanetable_new(options->capacity, &l->table);
	if (r < 0)
		goto fail;
	r = -EINVAL;
	if (l->source.places > options->capacity)
		goto fail;
	r = -ENOMEM;
	l->berths = calloc(l->source.places, sizeof(l->berths[0]));
	if (l->berths == NULL)
		goto fail;
	*ret = l;
	return 0;

fail:
	lanetable_free(l->table);
	free(l);
	return r;
}

void
lanes_free(struct lanes *l)
{
	if (l == NULL)
		return;
	for (uint32_t i = 0; i < l->places; i++) {
		if (l->berths[i].phase == BERTH_FREE)
			continue;
		lives_release(l->options.lives, &l->berths[i].agent);
		l->source.drop(l->source.ctx, i);
	}
	lanetable_free(l->table);
	free(l->berths);
	free(l);
}

void
lanes_take(struct lanes *l, uint64_t now_ns)
{
	struct lane_news news[LANE_SOURCE_NEWS];
	size_t n;

	for (int portion = 0; portion < PORTIONS; portion++) {
		n = l->source.take(l->source.ctx, news);
		for (size_t i = 0; i < n; i++)
			berth_news(l, &news[i], now_ns);
		if (n == 0)
			break;
	}
	berth_search(l, now_ns);
}

/* ---- looking ---- */

/* False where its memory cannot be read, or says that it was closed. */
static bool
read_lane(
    const struct lanes *l, const struct lane_id *id, struct lane_reading *ret)
{
	return l->source.read(l->source.ctx, id->owner, id->index, ret) &&
	       ret->generation == id->generation;
}

static void
stall(struct lanes *l, uint32_t slot, enum stall_reason why, uint64_t due_ns,
    uint64_t now_ns)
{
	struct lane_view view;
	struct event ev;
	uint64_t wait_ns;

	(void)lanetable_view(l->table, slot, &view);
	ev = berth_event(l, EVENT_STALL, slot, &view, now_ns);
	ev.why.stall = why;
	ev.due_ns = due_ns;
	wait_ns = why == STALL_GONE ? LANES_KEPT_MS * NS_PER_MS
				    : u64_max(view.terms->threshold_ns,
					  LANES_STALL_MS_MIN * NS_PER_MS);
	lanetable_stall(l->table, slot, u64_add_sat(now_ns, wait_ns));
	l->stats->lane_stalls[why]++;
	berth_emit(l, &ev);
}

/* What its memory has just said. Tells of a lane that works again. The time of
 * that. */
static uint64_t
note(struct lanes *l, uint32_t slot, const struct lane_reading *reading)
{
	/* Read after the memory: a beat is taken for younger than it is, never
	 * for older. */
	uint64_t now_ns = l->options.now_ns(l->options.clock_ctx);
	const struct lane_sample sample = berth_sample(reading, now_ns);
	struct lane_view view;
	struct event ev;

	if (!lanetable_note(l->table, slot, &sample, now_ns))
		return now_ns;
	l->stats->lane_resumes++;
	(void)lanetable_view(l->table, slot, &view);
	ev = berth_event(l, EVENT_RESUME, slot, &view, now_ns);
	berth_emit(l, &ev);
	return now_ns;
}

/* Its process is there, and so is its connection. */
static void
judge(struct lanes *l, uint32_t slot, const struct lane_view *view,
    const struct pause *pause, uint64_t now_ns)
{
	const struct agent_view lane = {
		.last_seen_ns = view->seen_ns,
		.threshold_ns = view->terms->threshold_ns,
	};
	uint64_t credit_ns = pause_credit_ns(pause, view->seen_ns);
	struct verdict verdict;

	if (view->state != LANETABLE_BUSY || view->due_ns > now_ns)
		return;
	verdict = verdict_of(&lane, credit_ns, now_ns);
	if (verdict.kind == VERDICT_WAIT)
		lanetable_defer(l->table, slot, verdict.look_at_ns);
	else
		stall(l, slot, verdict.why,
		    u64_add_sat(view->due_ns, credit_ns), now_ns);
}

/* Its process has ended. One that owed a beat stalls at its deadline, and stays
 * a while for those who act on it: that was the last of it. Others leave. */
static void
wind_up(struct lanes *l, uint32_t slot, bool at_once, uint64_t now_ns)
{
	struct lane_view view;
	const struct berth *b;
	uint64_t until_ns;

	(void)lanetable_view(l->table, slot, &view);
	b = &l->berths[view.id.owner];
	until_ns = u64_add_sat(b->since_ns, LANES_KEPT_MS * NS_PER_MS);
	switch (view.state) {
	case LANETABLE_BUSY:
		if (at_once || view.due_ns <= now_ns)
			stall(l, slot, STALL_GONE, at_once ? 0 : view.due_ns,
			    now_ns);
		break;
	case LANETABLE_STALLED:
		if (now_ns < until_ns)
			lanetable_look_at(l->table, slot, until_ns);
		else
			berth_lane_remove(l, slot);
		break;
	case LANETABLE_IDLE:
		berth_lane_leaves(l, slot, now_ns);
		break;
	}
}

static void
give_up_if_empty(struct lanes *l, uint32_t place, uint64_t now_ns)
{
	if (lanetable_first(l->table, place) == SLOT_NONE)
		berth_give_up(l, place, now_ns);
}

/* The agent of a berth has ended badly: once for all of its lanes. */
static void
end_berth(struct lanes *l, uint32_t place, uint64_t now_ns)
{
	uint32_t slot = lanetable_first(l->table, place), next;
	struct lane_reading reading;
	struct lane_view view;

	berth_enter(l, place, BERTH_ENDED, now_ns);
	for (; slot != SLOT_NONE; slot = next) {
		next = lanetable_next(l->table, slot);
		(void)lanetable_view(l->table, slot, &view);
		/* The last that it wrote. */
		if (l->source.read(
			l->source.ctx, place, view.id.index, &reading)) {
			if (reading.generation != view.id.generation) {
				berth_lane_leaves(l, slot, now_ns);
				continue;
			}
			(void)note(l, slot, &reading);
		}
		wind_up(l, slot, l->options.stall_on_exit, now_ns);
	}
	give_up_if_empty(l, place, now_ns);
}

static void
look_by_state(
    struct lanes *l, uint32_t slot, const struct pause *pause, uint64_t now_ns)
{
	struct lane_view view;
	struct berth *b;

	(void)lanetable_view(l->table, slot, &view);
	b = &l->berths[view.id.owner];
	switch (lives_state_of(l->options.lives, &b->agent, now_ns)) {
	case LIVES_THERE:
		if (b->phase == BERTH_DETACHED)
			lanetable_defer(l->table, slot,
			    u64_add_sat(
				b->since_ns, BERTH_LET_GO_MS * NS_PER_MS));
		else
			judge(l, slot, &view, pause, now_ns);
		break;
	case LIVES_DYING:
		lanetable_defer(l->table, slot,
		    u64_add_sat(now_ns, BERTH_DYING_MS * NS_PER_MS));
		break;
	case LIVES_ENDED:
		end_berth(l, view.id.owner, now_ns);
		break;
	case LIVES_GONE:
		berth_give_up(l, view.id.owner, now_ns);
		break;
	}
}

static void
look(struct lanes *l, uint32_t slot, const struct pause *pause, uint64_t now_ns)
{
	struct lane_reading reading;
	struct lane_view view;

	/* Gone, with others of its agent that were due as well. */
	if (!lanetable_view(l->table, slot, &view) || view.due_ns > now_ns)
		return;
	l->stats->lane_looks++;
	/* What is in the memory now, a child of the process has written. */
	if (l->berths[view.id.owner].phase == BERTH_ENDED) {
		wind_up(l, slot, false, now_ns);
		give_up_if_empty(l, view.id.owner, now_ns);
		return;
	}
	/* A record is written to only when its lane is closed or opened. */
	if (!read_lane(l, &view.id, &reading)) {
		berth_lane_leaves(l, slot, now_ns);
		berth_ask_search(l, view.id.owner);
		return;
	}
	look_by_state(l, slot, pause, note(l, slot, &reading));
}

/* A process may have ended, or a connection has: with its process, or why else?
 */
static void
settle(struct lanes *l, uint32_t place, uint64_t now_ns)
{
	struct berth *b = &l->berths[place];

	switch (lives_state_of(l->options.lives, &b->agent, now_ns)) {
	case LIVES_THERE:
		if (b->phase == BERTH_DETACHED &&
		    u64_sub_sat(now_ns, b->since_ns) >=
			BERTH_LET_GO_MS * NS_PER_MS)
			berth_give_up(l, place, now_ns);
		break;
	case LIVES_DYING:
		break;
	case LIVES_ENDED:
		end_berth(l, place, now_ns);
		break;
	case LIVES_GONE:
		berth_give_up(l, place, now_ns);
		break;
	}
}

/* A connection outlives its process where a child holds it, so the end of any
 * process is a reason to look at all. */
static void
settle_all(struct lanes *l, uint64_t now_ns)
{
	uint64_t ends = l->stats->exits + l->stats->leaves;
	bool is_news = ends != l->ends_seen;

	l->ends_seen = ends;
	if (!is_news && l->n_detached == 0)
		return;
	for (uint32_t i = 0; i < l->places; i++)
		if (l->berths[i].phase == BERTH_DETACHED ||
		    (is_news && l->berths[i].phase == BERTH_ATTACHED))
			settle(l, i, now_ns);
}

bool
lanes_judge(
    struct lanes *l, const struct pause *pause, size_t max, uint64_t now_ns)
{
	uint32_t due[DUE_BATCH], from = l->cursor;
	size_t n, judged = 0;

	berth_search(l, now_ns);
	settle_all(l, now_ns);
	if (lanetable_next_ns(l->table) > now_ns)
		return true;
	do {
		n = lanetable_due(l->table, &l->cursor, now_ns, due, DUE_BATCH);
		for (size_t i = 0; i < n; i++)
			look(l, due[i], pause, now_ns);
		judged += n;
	} while (n == DUE_BATCH && judged < max);
	if (n == DUE_BATCH)
		return false;
	/* All round, or those in front would be looked at again and again
	 * before the others. */
	l->cursor = 0;
	return from == 0;
}

/* Whether there is nothing to find out about it but whether it has beaten. */
static bool
is_only_busy(const struct lanes *l, const struct lane_view *view)
{
	return view->state == LANETABLE_BUSY &&
	       l->berths[view->id.owner].phase == BERTH_ATTACHED;
}

/* Those that are due soon and have beaten since are not due so soon. */
static void
peek(struct lanes *l, uint64_t until_ns)
{
	uint32_t due[DUE_BATCH], cursor = 0;
	struct lane_reading reading;
	struct lane_view view;
	size_t n;

	do {
		n = lanetable_due(l->table, &cursor, until_ns, due, DUE_BATCH);
		for (size_t i = 0; i < n; i++) {
			(void)lanetable_view(l->table, due[i], &view);
			if (is_only_busy(l, &view) &&
			    read_lane(l, &view.id, &reading))
				(void)note(l, due[i], &reading);
		}
	} while (n == DUE_BATCH);
}

uint64_t
lanes_next_ns(struct lanes *l, uint64_t now_ns, uint64_t ahead_ns)
{
	uint64_t next_ns = lanetable_next_ns(l->table);
	uint64_t until_ns = u64_add_sat(now_ns, ahead_ns);

	if (next_ns > now_ns && next_ns <= until_ns) {
		peek(l, until_ns);
		next_ns = lanetable_next_ns(l->table);
	}
	if (l->n_detached > 0)
		next_ns = u64_min(
		    next_ns, u64_add_sat(now_ns, BERTH_DYING_MS * NS_PER_MS));
	if (l->n_to_search > 0)
		next_ns = u64_min(next_ns, l->search_at_ns);
	return next_ns;
}

/* ---- what others ask and say ---- */

void
lanes_set_policy(
    struct lanes *l, const struct intake_policy *policy, uint64_t now_ns)
{
	l->options.policy = *policy;
	berth_check_users(l, now_ns);
}

/* By the rules of now. */
static void
set_terms(struct lanes *l, uint32_t slot, const struct lane_view *view,
    uint64_t now_ns)
{
	const struct lane_terms old = *view->terms;
	struct lane_terms terms = old;
	struct lane_reading reading;

	if (l->berths[view->id.owner].phase != BERTH_ENDED &&
	    read_lane(l, &view->id, &reading)) {
		terms = berth_terms(l, view->id.owner, &reading);
		if (terms.name[0] == '\0' ||
		    berth_name_is_taken(l, view->id.owner, slot, terms.name))
			memcpy(terms.name, old.name, sizeof(terms.name));
	} else if (terms.rule > 0) {
		/* Nothing is to be learnt of it. */
		terms.rule = rules_number(l->options.rules, terms.name, true);
	}
	lanetable_set_terms(l->table, slot, &terms, now_ns);
}

void
lanes_set_rules(struct lanes *l, const struct rules *rules, uint64_t now_ns)
{
	struct lane_view view;

	l->options.rules = rules;
	for (uint32_t i = 0; i < lanetable_slots(l->table); i++)
		if (lanetable_view(l->table, i, &view))
			set_terms(l, i, &view, now_ns);
}

bool
lanes_is_stalled(const struct lanes *l, uint32_t slot, uint64_t token)
{
	struct lane_view view;

	return lanetable_view(l->table, slot, &view) && view.token == token &&
	       view.state == LANETABLE_STALLED;
}

const struct rule *
lanes_rule(const struct lanes *l, uint32_t slot, uint64_t token)
{
	struct lane_view view;

	if (!lanetable_view(l->table, slot, &view) || view.token != token)
		return NULL;
	return rules_at(l->options.rules, view.terms->rule);
}

bool
lanes_row(struct lanes *l, uint32_t slot, uint64_t now_ns, struct lane_row *ret)
{
	struct lane_reading reading;
	struct lane_view view;

	if (!lanetable_view(l->table, slot, &view))
		return false;
	*ret = (struct lane_row){
		.beats = view.beats,
		.last_seen_ns = view.seen_ns,
		.joined_ns = view.joined_ns,
		.stalls = view.stalls,
		.pid = l->berths[view.id.owner].pid,
		.status = view.status,
		.is_idle = view.state == LANETABLE_IDLE,
		.name = view.terms->name,
	};
	if (read_lane(l, &view.id, &reading)) {
		ret->beats = reading.beats;
		ret->is_idle = reading.mark == 0;
		if (reading.mark != 0)
			ret->last_seen_ns = u64_max(
			    view.seen_ns, u64_sub_sat(now_ns, reading.age_ns));
	}
	if (view.state == LANETABLE_STALLED)
		ret->status = AGENT_STALLED;
	return true;
}

uint32_t
lanes_slots(const struct lanes *l)
{
	return lanetable_slots(l->table);
}

uint32_t
lanes_count(const struct lanes *l)
{
	return lanetable_count(l->table);
}
