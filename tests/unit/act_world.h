/*
 * A made-up world around act: children that start, end and cannot be killed
 * on command, on a clock that the test sets. What act reports is kept.
 */
#ifndef UNIT_ACT_WORLD_H
#define UNIT_ACT_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "watch/act/act.h"

enum { WORLD_CHILDREN = 9000, WORLD_RECORDS = 20000, WORLD_PID = 100000 };

struct world_child {
	bool over; /* a zombie: reap() finds it */
	bool reaped;
	bool watched;
	unsigned kills;
	unsigned reaps; /* asked */
	struct exit_info exit;
	uint64_t token;
	int pidfd;
	int writers[2]; /* of its output, where pipes are wanted */
};

struct world {
	struct act *act;
	struct stats stats;
	struct act_options options;
	struct act_ports ports;
	uint64_t now_ns;

	/* What the world does. */
	int start_error;
	int kill_error;
	int reap_error;
	bool kills_end; /* a killed child is over at once */
	bool pidfds;
	bool pipes;
	bool watch_fails;
	enum act_wanted wanted;

	/* What happened. */
	struct world_child children[WORLD_CHILDREN];
	uint32_t n_children;
	unsigned starts; /* tried */
	unsigned asked;  /* whether a stall is wanted still */
	char argv[1024]; /* of the last start, joined with bars */
	char envp[1024];
	struct recovery_record records[WORLD_RECORDS];
	char output[4 * ACT_CAPTURE_KEPT + 1]; /* of the last record */
	uint32_t n_records;
};

/* A world with sensible options, to be changed before world_start(). There is
 * one at a time. */
struct world *world_new(void);
void world_start(struct world *w);
void world_free(struct world *w);

/* A stall of agent n, kernel-attested, stalled now. */
struct act_request world_request(const struct world *w, uint32_t n);

/* One more stall, and a pass at the present time. */
void world_stall(struct world *w, uint32_t n);
void world_stall_of(struct world *w, uint32_t n, uint64_t start_ticks);
void world_pass(struct world *w);

/* The child with this number ends; told, where it is watched. */
void world_end(struct world *w, uint32_t child, enum exit_how how, int value);

/* The last record, and how many there are with an outcome. */
const struct recovery_record *world_last(const struct world *w);
uint32_t world_count(const struct world *w, enum recovery_outcome outcome);

/* The clock for act_shutdown(): a millisecond more with each question. */
uint64_t world_clock(void *world);

#endif
