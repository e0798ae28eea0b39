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
	/* Lanes that join in a second, of all agents: opening and closing one
	 * is cheap, and telling of it is not. Once as many as there is room
	 * for. */
	BERTH_JOINS_PER_S = 1000,
	BERTH_PAUSE_MS = 20 /* of searching, when these are used up */
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
	uint32_t uid; /* of the process when it attached */
	uint32_t gid;
	uint32_t search_at; /* the record where the search goes on */
	uint32_t to_search; /* so many from there, round; clamped to those there
			       are */
	uint8_t phase;      /* enum berth_phase */
	bool must_search;   /* for lanes that were opened or closed */
};

struct lanes {
	struct lanes_options options;
	struct lane_source source;
	struct stats *stats;
	struct lanetable *table;
	struct berth *berths; /* by place */
	uint64_t ends_seen;   /* of processes, as the counters tell */
	uint32_t n_detached;
	uint32_t n_to_search;
	uint64_t search_at_ns; /* not before */
	uint32_t search_next;  /* whose turn it is */
	struct admit joins;
	uint32_t places; /* ever taken are below this */
	uint32_t cursor; /* the slot from which lanes_judge() goes on */
	bool was_full;   /* a lane found no room since all were searched for */
};

/* A piece of news of the source. */
void berth_news(struct lanes *l, const struct lane_news *news, uint64_t now_ns);

/* All of its lanes are to be searched for. */
void berth_ask_search(struct lanes *l, uint32_t place);

/* Search all berths for which that was asked. */
void berth_search(struct lanes *l, uint64_t now_ns);

/* Another phase, from now on. */
void berth_enter(
    struct lanes *l, uint32_t place, enum berth_phase phase, uint64_t now_ns);

/* The lane is over, and that is told. */
void berth_lane_leaves(struct lanes *l, uint32_t slot, uint64_t now_ns);

/* Remove a lane. Who found no room has its chance. */
void berth_lane_remove(struct lanes *l, uint32_t slot);

/* So are all of its lanes, and the berth is free. */
void berth_give_up(struct lanes *l, uint32_t place, uint64_t now_ns);

/* Give up those whose users may not beat any more. */
void berth_check_users(struct lanes *l, uint64_t now_ns);

/* What a lane is held to, by the rules of now. */
struct lane_terms berth_terms(
    const struct lanes *l, uint32_t place, const struct lane_reading *reading);

/* What a look at its memory has shown. */
struct lane_sample berth_sample(
    const struct lane_reading *reading, uint64_t now_ns);

/* Whether another lane of this agent than that in slot (SLOT_NONE: than none)
 * is shown by the same name: series and log lines could not be told apart. */
bool berth_name_is_taken(
    const struct lanes *l, uint32_t place, uint32_t slot, const char *name);

/* An event of a lane, of which view tells. */
struct event berth_event(const struct lanes *l, enum event_kind kind,
    uint32_t slot, const struct lane_view *view, uint64_t now_ns);
void berth_emit(const struct lanes *l, const struct event *ev);

#endif
