/*
 * Berths: the memories of lanes that agents have handed over, each with the
 * agent that it belongs to. Takes them in, finds the lanes in them, and gives
 * them up when all is over. Private to lanes.c.
 */
#ifndef WATCH_BERTH_H
#define WATCH_BERTH_H

#include <stdbool.h>
#include <stdint.h>

#include "watch/intake/admit.h"
#include "watch/lanes.h"
#include "watch/lives.h"
#include "watch/track/lanetable.h"

enum {
	/* A process that ends closes its connection before its end is told;
	 * one that is still there after so long has let go of its lanes. */
	BERTH_LET_GO_MS = 100,
	BERTH_DYING_MS = 10, /* look again whether its end has been told */
	/* Lanes found in one memory in one pass; the rest comes in the next. */
	BERTH_FINDS_A_PASS = 64,
	/* Lanes that may join in a second, if not as many as there is room
	 * for; twice as many at once. What joins is told of, and so is that it
	 * has left: nobody may make that go on as fast as memory is written. */
	BERTH_JOINS_A_SECOND = 1000,
	BERTH_JOIN_WAIT_MS = 10
};

enum berth_phase {
	BERTH_FREE = 0,
	BERTH_ATTACHED,
	BERTH_DETACHED, /* its connection has ended: why is not known yet */
	BERTH_ENDED     /* its process has, not with exit code 0 */
};

struct berth {
	struct lives_hold agent;
	uint64_t since_ns; /* detached or ended */
	uint32_t pid;
	uint32_t search_from; /* record */
	uint8_t phase;        /* enum berth_phase */
	bool must_search;     /* for lanes that were opened or closed */
};

struct lanes {
	struct lanes_options options;
	struct lane_source source;
	struct stats *stats;
	struct lanetable *table;
	struct berth *berths;   /* by place */
	struct admit joins;     /* how many may join now */
	uint64_t search_at_ns;  /* not before, since too many have joined */
	uint32_t search_begins; /* place; moves on, so that each has its turn */
	uint32_t n_detached;
	uint32_t n_to_search;
	uint32_t places; /* ever taken are below this */
};

/* A piece of news of the source. */
void berth_news(struct lanes *l, const struct lane_news *news, uint64_t now_ns);

/* Its lanes are to be searched for, from the first record on. */
void berth_ask_search(struct lanes *l, uint32_t place);

/* Search all berths for which that was asked, as far as lanes may join. */
void berth_search(struct lanes *l, uint64_t now_ns);

/* Another phase, from now on. */
void berth_enter(
    struct lanes *l, uint32_t place, enum berth_phase phase, uint64_t now_ns);

/* The lane is over, and that is told. */
void berth_lane_leaves(struct lanes *l, uint32_t slot, uint64_t now_ns);

/* So are all of its lanes, and the berth is free. */
void berth_give_up(struct lanes *l, uint32_t place, uint64_t now_ns);

/* Whether another lane of the same process than that in slot (SLOT_NONE: than
 * none) is shown by this name. */
bool berth_name_is_taken(
    const struct lanes *l, uint32_t place, uint32_t slot, const char *name);

/* What a lane is held to, by the rules of now. */
struct lane_terms berth_terms(
    const struct lanes *l, uint32_t place, const struct lane_reading *reading);

/* An event of a lane, of which view tells. */
struct event berth_event(const struct lanes *l, enum event_kind kind,
    uint32_t slot, const struct lane_view *view, uint64_t now_ns);
void berth_emit(const struct lanes *l, const struct event *ev);

#endif
