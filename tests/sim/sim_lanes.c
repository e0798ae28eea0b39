#include "sim_lanes.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { UID = 1000, MEMORIES = 4096, NEWS = 1 << 16, NO_PLACE = -1 };

struct record {
	struct lane_reading said; /* mark while it does not beat by plan */
	uint64_t period_ns;       /* 0: not by plan */
	uint64_t first_ns;
	unsigned torn;
	bool is_coarse;
};

struct memory {
	struct record *records; /* SIM_LANES_OF_ONE of them */
	uint32_t n;
	uint32_t agent;
	int place;
	bool is_connected, held_by_child, has_gone;
};

struct sim_lanes {
	uint64_t *now_ns;
	struct memory *memories;
	uint32_t n_memories;
	int *places; /* memory of each, or -1 */
	uint32_t n_places, n_used;
	struct lane_news *news;
	size_t n_news, n_taken;
	uint64_t read_ns, reads;
	bool bells_are_lost;
};

/* ---- what the observer sees ---- */

static struct record *
record_at(struct sim_lanes *l, uint32_t place, uint32_t i)
{
	struct memory *m;

	assert(place < l->n_places && l->places[place] >= 0);
	m = &l->memories[l->places[place]];
	assert(i < SIM_LANES_OF_ONE);
	return &m->records[i];
}

static size_t
take(void *ctx, struct lane_news ret[static LANE_SOURCE_NEWS])
{
	struct sim_lanes *l = ctx;
	size_t n = 0;

	for (; n < LANE_SOURCE_NEWS && l->n_taken < l->n_news; l->n_taken++)
		/* Of a place that was given up there are none. */
		if (l->places[l->news[l->n_taken].place] >= 0)
			ret[n++] = l->news[l->n_taken];
	if (l->n_taken == l->n_news)
		l->n_taken = l->n_news = 0;
	return n;
}

static bool
is_there(void *ctx, uint32_t place)
{
	const struct sim_lanes *l = ctx;

	return !l->memories[l->places[place]].has_gone;
}

static uint32_t
records(void *ctx, uint32_t place)
{
	const struct sim_lanes *l = ctx;

	return l->memories[l->places[place]].n;
}

static uint32_t
generation(void *ctx, uint32_t place, uint32_t i)
{
	return record_at(ctx, place, i)->said.generation;
}

/* The last beat by plan, if there has been one. */
static void
say_by_plan(const struct record *r, uint64_t now_ns, struct lane_reading *ret)
{
	uint64_t n;

	if (r->period_ns == 0 || now_ns < r->first_ns)
		return;
	n = (now_ns - r->first_ns) / r->period_ns;
	ret->mark = r->first_ns + n * r->period_ns;
	ret->beats += n + 1;
	if (r->is_coarse)
		ret->mark -= ret->mark % SIM_COARSE_NS;
}

static bool
read_record(void *ctx, uint32_t place, uint32_t i, struct lane_reading *ret)
{
	struct sim_lanes *l = ctx;
	struct record *r = record_at(l, place, i);
	uint64_t now_ns;

	l->reads++;
	*l->now_ns += l->read_ns;
	now_ns = *l->now_ns;
	if (r->torn > 0) {
		r->torn--;
		return false;
	}
	*ret = r->said;
	say_by_plan(r, now_ns, ret);
	if (ret->mark == 0)
		return true;
	ret->age_ns = u64_sub_sat(now_ns, ret->mark);
	if (r->is_coarse)
		ret->age_ns = u64_sub_sat(ret->age_ns, SIM_COARSE_NS);
	return true;
}

static void
drop(void *ctx, uint32_t place)
{
	struct sim_lanes *l = ctx;
	struct memory *m;

	assert(place < l->n_places && l->places[place] >= 0);
	m = &l->memories[l->places[place]];
	m->place = NO_PLACE;
	m->is_connected = false;
	l->places[place] = NO_PLACE;
	l->n_used--;
}

static void *
table(size_t n, size_t size)
{
	void *p = calloc(n, size);

	assert(p != NULL);
	return p;
}

struct sim_lanes *
sim_lanes_new(uint32_t places, uint64_t *now_ns)
{
	struct sim_lanes *l = table(1, sizeof(*l));

	l->now_ns = now_ns;
	l->n_places = places;
	l->places = table(places, sizeof(l->places[0]));
	for (uint32_t i = 0; i < places; i++)
		l->places[i] = NO_PLACE;
	l->memories = table(MEMORIES, sizeof(l->memories[0]));
	l->news = table(NEWS, sizeof(l->news[0]));
	return l;
}

void
sim_lanes_free(struct sim_lanes *l)
{
	if (l == NULL)
		return;
	for (uint32_t i = 0; i < l->n_memories; i++)
		free(l->memories[i].records);
	free(l->memories);
	free(l->places);
	free(l->news);
	free(l);
}

struct lane_source
sim_lanes_source(struct sim_lanes *l)
{
	return (struct lane_source){
		.take = take,
		.is_there = is_there,
		.records = records,
		.generation = generation,
		.read = read_record,
		.drop = drop,
		.ctx = l,
		.places = l->n_places,
	};
}

bool
sim_lanes_are_ready(const struct sim_lanes *l)
{
	return l != NULL && l->n_news > 0;
}

/* ---- what agents do ---- */

static void
tell(struct sim_lanes *l, struct lane_news news)
{
	assert(l->n_news < NEWS);
	l->news[l->n_news++] = news;
}

static struct memory *
memory_at(const struct sim *s, uint32_t m)
{
	struct sim_lanes *l = sim_lanes(s);

	assert(m < l->n_memories);
	return &l->memories[m];
}

static struct record *
lane_at(const struct sim *s, uint32_t m, uint32_t lane)
{
	return &memory_at(s, m)->records[lane];
}

static void
bell(struct sim *s, const struct memory *m)
{
	if (m->place == NO_PLACE || !m->is_connected ||
	    sim_lanes(s)->bells_are_lost)
		return;
	tell(sim_lanes(s), (struct lane_news){ .kind = LANE_CHANGED,
			       .place = (uint32_t)m->place });
}

static void
end_connection(struct sim_lanes *l, struct memory *m)
{
	if (!m->is_connected)
		return;
	m->is_connected = false;
	tell(l, (struct lane_news){
		    .kind = LANE_DETACHED, .place = (uint32_t)m->place });
}

static uint32_t
attach(struct sim *s, uint32_t agent, uint32_t pid, uint32_t uid)
{
	struct sim_lanes *l = sim_lanes(s);
	uint32_t i = l->n_memories++, place = 0;
	struct memory *m;

	assert(i < MEMORIES);
	m = &l->memories[i];
	*m = (struct memory){ .agent = agent, .place = NO_PLACE };
	m->records = table(SIM_LANES_OF_ONE, sizeof(m->records[0]));
	while (place < l->n_places && l->places[place] >= 0)
		place++;
	if (place == l->n_places)
		return i;
	l->places[place] = (int)i;
	l->n_used++;
	m->place = (int)place;
	m->is_connected = true;
	tell(l, (struct lane_news){
		    .kind = LANE_ATTACHED,
		    .place = place,
		    .pid = pid,
		    .uid = uid,
		    .gid = uid,
		});
	return i;
}

uint32_t
sim_attach_as(struct sim *s, uint32_t agent, uint32_t uid)
{
	return attach(s, agent, sim_pid(s, agent), uid);
}

uint32_t
sim_attach(struct sim *s, uint32_t agent)
{
	return sim_attach_as(s, agent, UID);
}

uint32_t
sim_attach_nameless(struct sim *s)
{
	return attach(s, UINT32_MAX, 0, UID);
}

uint32_t
sim_attach_and_go(struct sim *s, uint32_t agent)
{
	uint32_t m = sim_attach(s, agent);

	memory_at(s, m)->has_gone = true;
	return m;
}

static void
set_name(struct record *r, const char *name)
{
	(void)snprintf(r->said.name, sizeof(r->said.name), "%s", name);
}

uint32_t
sim_lane_open(
    struct sim *s, uint32_t m, const char *name, uint32_t threshold_ms)
{
	struct memory *memory = memory_at(s, m);
	uint32_t lane = memory->n++;

	assert(lane < SIM_LANES_OF_ONE);
	memory->records[lane].said.generation = 1;
	memory->records[lane].said.threshold_ms = threshold_ms;
	set_name(&memory->records[lane], name);
	bell(s, memory);
	return lane;
}

static struct record *
freeze(struct sim *s, uint32_t m, uint32_t lane)
{
	struct record *r = lane_at(s, m, lane);

	say_by_plan(r, sim_now(s), &r->said);
	r->period_ns = 0;
	return r;
}

void
sim_lane_beat_every(
    struct sim *s, uint32_t m, uint32_t lane, uint64_t period_ns)
{
	struct record *r = freeze(s, m, lane);

	r->period_ns = period_ns;
	r->first_ns = sim_now(s);
}

void
sim_lane_beat(struct sim *s, uint32_t m, uint32_t lane)
{
	sim_lane_beat_every(s, m, lane, NS_NEVER);
	(void)freeze(s, m, lane);
}

void
sim_lane_hang(struct sim *s, uint32_t m, uint32_t lane)
{
	(void)freeze(s, m, lane);
}

void
sim_lane_idle(struct sim *s, uint32_t m, uint32_t lane)
{
	freeze(s, m, lane)->said.mark = 0;
}

void
sim_lane_status(struct sim *s, uint32_t m, uint32_t lane, uint8_t status)
{
	lane_at(s, m, lane)->said.status = status;
}

void
sim_lane_close(struct sim *s, uint32_t m, uint32_t lane)
{
	sim_lane_idle(s, m, lane);
	lane_at(s, m, lane)->said.generation++;
	bell(s, memory_at(s, m));
}

void
sim_lane_reopen(struct sim *s, uint32_t m, uint32_t lane, const char *name)
{
	sim_lane_close(s, m, lane);
	set_name(lane_at(s, m, lane), name);
	lane_at(s, m, lane)->said.generation++;
	bell(s, memory_at(s, m));
}

void
sim_lane_coarse(struct sim *s, uint32_t m, uint32_t lane)
{
	lane_at(s, m, lane)->is_coarse = true;
}

void
sim_lane_torn(struct sim *s, uint32_t m, uint32_t lane, unsigned reads)
{
	lane_at(s, m, lane)->torn = reads;
}

void
sim_lane_write(struct sim *s, uint32_t m, uint32_t lane,
    const struct lane_reading *reading)
{
	freeze(s, m, lane)->said = *reading;
}

void
sim_bells_are_lost(struct sim *s, bool lost)
{
	sim_lanes(s)->bells_are_lost = lost;
}

void
sim_detach(struct sim *s, uint32_t m)
{
	end_connection(sim_lanes(s), memory_at(s, m));
}

void
sim_held_by_child(struct sim *s, uint32_t m)
{
	memory_at(s, m)->held_by_child = true;
}

void
sim_lanes_process_ended(struct sim_lanes *l, uint32_t agent)
{
	for (uint32_t i = 0; l != NULL && i < l->n_memories; i++) {
		struct memory *m = &l->memories[i];

		if (m->agent != agent)
			continue;
		for (uint32_t lane = 0; lane < m->n; lane++) {
			struct record *r = &m->records[lane];

			say_by_plan(r, *l->now_ns, &r->said);
			r->period_ns = 0;
		}
		if (!m->held_by_child)
			end_connection(l, m);
	}
}

void
sim_reads_take(struct sim *s, uint64_t ns)
{
	sim_lanes(s)->read_ns = ns;
}

uint64_t
sim_lane_reads(const struct sim *s)
{
	return sim_lanes(s)->reads;
}

uint32_t
sim_memories(const struct sim *s)
{
	return sim_lanes(s)->n_used;
}

/* ---- what was told ---- */

static bool
is_of(const struct event *ev, enum event_kind kind, const char *lane)
{
	return ev->kind == kind && ev->lane != NULL &&
	       (lane == NULL || strcmp(ev->lane, lane) == 0);
}

size_t
sim_lane_count(const struct sim *s, enum event_kind kind, const char *lane)
{
	size_t n, ret = 0;
	const struct event *events = sim_events(s, &n);

	for (size_t i = 0; i < n; i++)
		ret += is_of(&events[i], kind, lane);
	return ret;
}

const struct event *
sim_lane_last(const struct sim *s, enum event_kind kind, const char *lane)
{
	size_t n;
	const struct event *events = sim_events(s, &n);

	for (size_t i = n; i-- > 0;)
		if (is_of(&events[i], kind, lane))
			return &events[i];
	return NULL;
}

size_t
sim_agent_count(const struct sim *s, enum event_kind kind, uint32_t pid)
{
	size_t n, ret = 0;
	const struct event *events = sim_events(s, &n);

	for (size_t i = 0; i < n; i++)
		ret += events[i].kind == kind && events[i].lane == NULL &&
		       (pid == 0 || events[i].pid == pid);
	return ret;
}
