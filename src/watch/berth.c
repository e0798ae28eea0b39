#include "watch/berth.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "base/util.h"
#include "lib/lane_page.h"

_Static_assert((int)LANETABLE_NAME_BYTES == (int)LANE_SOURCE_NAME_BYTES &&
		   (int)LANETABLE_NAME_BYTES == (int)RULES_NAME_BYTES,
    "names are not cut");

enum { LABEL_BYTES = 3 * LANETABLE_NAME_BYTES }; /* each byte is U+FFFD */

struct event
berth_event(const struct lanes *l, enum event_kind kind, uint32_t slot,
    const struct lane_view *view, uint64_t now_ns)
{
	const struct berth *b = &l->berths[view->id.owner];
	struct agent_view agent;
	struct event ev = {
		.kind = kind,
		.at_ns = now_ns,
		.slot = SLOT_NONE,
		.pid = b->pid,
		.uid = UINT32_MAX,
		.nonce = view->beats,
		.status = view->status,
		.origin = ORIGIN_KERNEL_ATTESTED,
		.silence_ns = u64_sub_sat(now_ns, view->seen_ns),
		.threshold_ns = view->terms->threshold_ns,
		.lane = view->terms->name,
		.lane_slot = slot,
		.lane_token = view->token,
	};

	if (lives_held_view(l->options.lives, &b->agent, &agent)) {
		ev.slot = agent.slot;
		ev.uid = agent.uid;
		ev.origin = agent.origin;
		ev.name = agent.name;
	}
	return ev;
}

void
berth_emit(const struct lanes *l, const struct event *ev)
{
	l->options.event(l->options.event_ctx, ev);
}

static void
ask_search(struct lanes *l, uint32_t place, uint32_t records)
{
	struct berth *b = &l->berths[place];

	l->n_to_search += !b->must_search;
	b->must_search = true;
	b->to_search = (uint32_t)u64_max(b->to_search, records);
}

void
berth_ask_search(struct lanes *l, uint32_t place)
{
	ask_search(l, place, LANES_MAX);
}

void
berth_enter(
    struct lanes *l, uint32_t place, enum berth_phase phase, uint64_t now_ns)
{
	struct berth *b = &l->berths[place];

	l->n_detached -= b->phase == BERTH_DETACHED;
	l->n_detached += phase == BERTH_DETACHED;
	b->phase = (uint8_t)phase;
	b->since_ns = now_ns;
}

void
berth_lane_remove(struct lanes *l, uint32_t slot)
{
	lanetable_remove(l->table, slot);
	for (uint32_t i = 0; l->was_full && i < l->places; i++)
		if (l->berths[i].phase == BERTH_ATTACHED)
			berth_ask_search(l, i);
	l->was_full = false;
}

void
berth_lane_leaves(struct lanes *l, uint32_t slot, uint64_t now_ns)
{
	struct lane_view view;
	struct event ev;

	(void)lanetable_view(l->table, slot, &view);
	ev = berth_event(l, EVENT_LEAVE, slot, &view, now_ns);
	l->stats->lane_leaves++;
	berth_emit(l, &ev);
	berth_lane_remove(l, slot);
}

/* Another memory of the same process may have lanes of the names that are free
 * now. */
static void
search_others(struct lanes *l, uint32_t place)
{
	for (uint32_t i = 0; i < l->places; i++)
		if (i != place && l->berths[i].phase == BERTH_ATTACHED &&
		    l->berths[i].agent.id == l->berths[place].agent.id)
			berth_ask_search(l, i);
}

void
berth_give_up(struct lanes *l, uint32_t place, uint64_t now_ns)
{
	struct berth *b = &l->berths[place];
	struct lane_view view;
	uint32_t slot;

	if (lanetable_first(l->table, place) != SLOT_NONE)
		search_others(l, place);
	while ((slot = lanetable_first(l->table, place)) != SLOT_NONE) {
		(void)lanetable_view(l->table, slot, &view);
		/* That stall was the last of it. */
		if (b->phase == BERTH_ENDED && view.state == LANETABLE_STALLED)
			berth_lane_remove(l, slot);
		else
			berth_lane_leaves(l, slot, now_ns);
	}
	berth_enter(l, place, BERTH_FREE, now_ns);
	l->n_to_search -= b->must_search;
	b->must_search = false;
	lives_release(l->options.lives, &b->agent);
	l->source.drop(l->source.ctx, place);
}

/* ---- taking in ---- */

static void
refuse(struct lanes *l, uint32_t place, enum stats_lane why)
{
	l->stats->lane_refused[why]++;
	l->source.drop(l->source.ctx, place);
}

/*
 * The names of an agent that attaches are free: a process that hands over
 * another memory has let go of those whose connection has ended, as by
 * execve(2), and one of the same number that was there before it is over.
 */
static void
give_up_former(struct lanes *l, const struct lives_hold *agent, uint64_t now_ns)
{
	for (uint32_t i = 0; i < l->places; i++) {
		const struct berth *b = &l->berths[i];

		if (b->phase == BERTH_FREE || b->agent.id != agent->id)
			continue;
		if (b->phase == BERTH_DETACHED ||
		    b->agent.joined_ns != agent->joined_ns)
			berth_give_up(l, i, now_ns);
	}
}

static void
attach(struct lanes *l, const struct lane_news *news, uint64_t now_ns)
{
	const struct beat contact = {
		.id = news->pid,
		.pid = news->pid,
		.uid = news->uid,
		.gid = news->gid,
		.origin = ORIGIN_KERNEL_ATTESTED,
		.is_contact = true,
	};
	struct berth *b = &l->berths[news->place];
	struct lives_hold agent;

	if (news->pid == 0 ||
	    !intake_may_beat(&l->options.policy, news->uid, news->gid)) {
		refuse(l, news->place, STATS_LANE_USER);
		return;
	}
	if (!lives_hold(l->options.lives, &contact, now_ns, &agent)) {
		refuse(l, news->place, STATS_LANE_AGENT);
		return;
	}
	/* What was learnt of that number is of the process that attached only
	 * if that is still there. */
	if (!l->source.is_there(l->source.ctx, news->place)) {
		lives_release(l->options.lives, &agent);
		refuse(l, news->place, STATS_LANE_AGENT);
		return;
	}
	give_up_former(l, &agent, now_ns);
	*b = (struct berth){
		.agent = agent,
		.pid = news->pid,
		.uid = news->uid,
		.gid = news->gid,
	};
	berth_enter(l, news->place, BERTH_ATTACHED, now_ns);
	if (l->places <= news->place)
		l->places = news->place + 1;
	l->stats->lane_attaches++;
	berth_ask_search(l, news->place);
}

void
berth_news(struct lanes *l, const struct lane_news *news, uint64_t now_ns)
{
	if (news->kind == LANE_ATTACHED) {
		attach(l, news, now_ns);
		return;
	}
	/* Of a process that has ended there is no news: whoever else held its
	 * connection has let go of it. */
	if (l->berths[news->place].phase == BERTH_FREE ||
	    l->berths[news->place].phase == BERTH_ENDED)
		return;
	berth_ask_search(l, news->place);
	if (news->kind == LANE_DETACHED)
		berth_enter(l, news->place, BERTH_DETACHED, now_ns);
}

void
berth_check_users(struct lanes *l, uint64_t now_ns)
{
	for (uint32_t i = 0; i < l->places; i++) {
		const struct berth *b = &l->berths[i];

		if (b->phase == BERTH_FREE ||
		    intake_may_beat(&l->options.policy, b->uid, b->gid))
			continue;
		l->stats->lane_refused[STATS_LANE_USER]++;
		berth_give_up(l, i, now_ns);
	}
}

/* ---- searching ---- */

struct lane_terms
berth_terms(
    const struct lanes *l, uint32_t place, const struct lane_reading *reading)
{
	const struct rule *rule = lives_lane_rule(
	    l->options.lives, &l->berths[place].agent, reading->name);
	uint64_t threshold_ms =
	    rule != NULL && rule->threshold_ms != 0
		? rule->threshold_ms
		: u64_max(reading->threshold_ms, LANES_THRESHOLD_MS_MIN);
	struct lane_terms terms = {
		.threshold_ns = u64_mul_sat(threshold_ms, NS_PER_MS),
		.rule = rules_number_of(l->options.rules, rule),
	};

	(void)snprintf(terms.name, sizeof(terms.name), "%s",
	    rule != NULL ? rule->name : reading->name);
	return terms;
}

struct lane_sample
berth_sample(const struct lane_reading *reading, uint64_t now_ns)
{
	return (struct lane_sample){
		.mark = reading->mark,
		.seen_ns = u64_sub_sat(now_ns, reading->age_ns),
		.beats = reading->beats,
		.status = reading->status < AGENT_STALLED ? reading->status
							  : AGENT_CRITICAL,
	};
}

/* As metrics show it: of bytes that are no text, all look alike there. */
static void
label_of(const char *name, char ret[static LABEL_BYTES])
{
	(void)text_escape_label(name, strlen(name), ret, LABEL_BYTES);
}

static bool
is_plain(const char *label)
{
	return strstr(label, "\xef\xbf\xbd") == NULL;
}

bool
berth_name_is_taken(
    const struct lanes *l, uint32_t place, uint32_t slot, const char *name)
{
	const struct lives_hold *agent = &l->berths[place].agent;
	char label[LABEL_BYTES], other[LABEL_BYTES];
	struct lane_view view;

	label_of(name, label);
	for (uint32_t i = 0; i < l->places; i++) {
		const struct berth *b = &l->berths[i];
		uint32_t at;

		if (b->phase == BERTH_FREE || b->agent.id != agent->id)
			continue;
		for (at = lanetable_first(l->table, i); at != SLOT_NONE;
		     at = lanetable_next(l->table, at)) {
			if (at == slot || !lanetable_view(l->table, at, &view))
				continue;
			if (strcmp(view.terms->name, name) == 0)
				return true;
			/* No other name looks like one that is plain text. */
			if (is_plain(label))
				continue;
			label_of(view.terms->name, other);
			if (strcmp(other, label) == 0)
				return true;
		}
	}
	return false;
}

static void
add(struct lanes *l, uint32_t place, uint32_t i)
{
	struct lane_reading reading;
	struct lane_sample sample;
	struct lane_terms terms;
	struct lane_view view;
	struct lane_id id = { .owner = place, .index = i };
	struct event ev;
	uint64_t now_ns;
	uint32_t slot;

	if (!l->source.read(l->source.ctx, place, i, &reading)) {
		berth_ask_search(l, place);
		return;
	}
	if ((reading.generation & 1) == 0)
		return;
	now_ns = l->options.now_ns(l->options.clock_ctx);
	terms = berth_terms(l, place, &reading);
	if (terms.name[0] == '\0' ||
	    berth_name_is_taken(l, place, SLOT_NONE, terms.name)) {
		l->stats->lane_refused[STATS_LANE_RECORD]++;
		return;
	}
	id.generation = reading.generation;
	slot = lanetable_add(l->table, &id, &terms, now_ns);
	if (slot == SLOT_NONE) {
		l->was_full = true;
		l->stats->lane_refused[STATS_LANE_ROOM]++;
		return;
	}
	l->stats->lane_joins++;
	/* One that has hung since before we came has a whole threshold. */
	sample = berth_sample(&reading, now_ns);
	(void)lanetable_note(l->table, slot, &sample, now_ns);
	(void)lanetable_view(l->table, slot, &view);
	ev = berth_event(l, EVENT_JOIN, slot, &view, now_ns);
	berth_emit(l, &ev);
}

/* Lanes that are known: those that were closed leave, the others are noted in
 * known, a bit for each record. */
static void
note_known(struct lanes *l, uint32_t place,
    uint64_t known[static LANES_MAX / 64 + 1], uint64_t now_ns)
{
	uint32_t slot = lanetable_first(l->table, place), next;
	struct lane_view view;

	for (; slot != SLOT_NONE; slot = next) {
		next = lanetable_next(l->table, slot);
		(void)lanetable_view(l->table, slot, &view);
		if (l->source.generation(l->source.ctx, place, view.id.index) !=
		    view.id.generation)
			berth_lane_leaves(l, slot, now_ns);
		else
			known[view.id.index / 64] |= UINT64_C(1)
						     << view.id.index % 64;
	}
}

/* It goes on where the last one ended, or those that were refused would be all
 * that it ever finds. False when no more lanes may join for now. */
static bool
search(struct lanes *l, uint32_t place, uint64_t now_ns)
{
	uint64_t known[LANES_MAX / 64 + 1] = { 0 };
	uint32_t n = l->source.records(l->source.ctx, place), found = 0;
	struct berth *b = &l->berths[place];
	uint32_t left = (uint32_t)u64_min(b->to_search, n);

	b->must_search = false;
	b->to_search = 0;
	l->n_to_search--;
	if (b->phase == BERTH_ENDED)
		return true;
	note_known(l, place, known, now_ns);
	for (; left > 0 && found < BERTH_FINDS_A_PASS; left--) {
		uint32_t i = b->search_at < n ? b->search_at : 0;

		if ((known[i / 64] >> i % 64 & 1) == 0 &&
		    (l->source.generation(l->source.ctx, place, i) & 1) != 0) {
			if (!admit_take(&l->joins, now_ns)) {
				ask_search(l, place, left);
				return false;
			}
			found++;
			add(l, place, i);
		}
		b->search_at = i + 1;
	}
	if (left > 0)
		ask_search(l, place, left);
	return true;
}

void
berth_search(struct lanes *l, uint64_t now_ns)
{
	uint32_t places = l->places, place;

	if (now_ns < l->search_at_ns)
		return;
	/* In turn, so that nobody's lanes keep those of others out. */
	for (uint32_t i = 0; l->n_to_search > 0 && i < places; i++) {
		place = (l->search_next + i) % places;
		if (!l->berths[place].must_search || search(l, place, now_ns))
			continue;
		l->search_next = place + 1;
		l->search_at_ns =
		    u64_add_sat(now_ns, BERTH_PAUSE_MS * NS_PER_MS);
		return;
	}
}
