/*
 * One life: the state behind lives.h and the steps that its parts share.
 * Private to lives.c and contact.c.
 */
#ifndef WATCH_LIFE_H
#define WATCH_LIFE_H

#include <stdbool.h>
#include <stdint.h>

#include "watch/ends.h"
#include "watch/lives.h"

enum life_flags {
	LIFE_DYING = 1u << 0,    /* ended; its parent may still reap it */
	LIFE_NO_PIDFD = 1u << 1, /* known by its start time alone */
};

/* What the tracker has no use for, one for each of its slots. */
struct life {
	char name[LIVES_NAME_BYTES];
	uint32_t generation; /* of the slot; part of the token */
	uint8_t flags;
	uint8_t holds; /* see lives_hold() */
	uint16_t rule; /* that it matched, from 1; 0 none */
};

struct lives {
	struct lives_options options;
	struct lives_host host;
	struct stats *stats;
	struct tracker *tracker;
	struct life *life;
	uint32_t n_no_pidfd;
	struct ends ends;
};

extern const struct exit_info life_end_unknown;

/* What host.watch() is told of a slot, and back; SLOT_NONE when the agent that
 * it was given for is no longer there. */
uint64_t life_token(const struct lives *l, uint32_t slot);
uint32_t life_slot(const struct lives *l, uint64_t token);

/* An event about the agent in a slot, of which view tells. */
struct event life_event(const struct lives *l, enum event_kind kind,
    uint32_t slot, const struct agent_view *view, uint64_t now_ns);
void life_emit(const struct lives *l, const struct event *ev);

/* The slot's agent is not to be told of again, and its pidfd is closed. */
void life_let_go(struct lives *l, uint32_t slot, int pidfd);

/* due_ns as in struct event. */
void life_stall(struct lives *l, uint32_t slot, enum stall_reason why,
    uint64_t due_ns, uint64_t now_ns);

/* An agent is about to leave the table, or was evicted from it: whoever keeps
 * its counts is told. life_remove() also removes it. */
void life_forgotten(
    const struct lives *l, uint32_t slot, const struct agent_view *view);
void life_remove(struct lives *l, uint32_t slot);

/* Forget an agent that has never beaten and is held by nobody: there is nothing
 * to watch about it. True when it was one. */
bool life_drop_idle(struct lives *l, uint32_t slot);

/* The process behind slot has ended, as info tells. False when the agent is
 * forgotten: it has left, or there is nothing more to wait for. */
bool life_end(
    struct lives *l, uint32_t slot, struct exit_info info, uint64_t now_ns);

#endif
