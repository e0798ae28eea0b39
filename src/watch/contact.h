/*
 * Contact: a beat meets what is known of its sender.
 *
 * The beat of a known agent goes to the tracker. A new sender is asked for:
 * who it is, in which pid namespace, what it is held to. One whose process has
 * ended is looked at again: its last beats, or another with the same pid?
 * Private to lives.c.
 */
#ifndef WATCH_CONTACT_H
#define WATCH_CONTACT_H

#include <stdint.h>

#include "watch/life.h"

/* As lives_beat(). */
enum tracker_outcome contact_beat(
    struct lives *l, const struct beat *beat, uint64_t now_ns);

/* The slot of the agent that a contact tells of, known before or not;
 * SLOT_NONE where it may not be one. */
uint32_t contact_hold(
    struct lives *l, const struct beat *contact, uint64_t now_ns);

/* What the rules of now say of an agent. Rules are about processes of this
 * host: an agent of another one matches none and has no name. */
struct contact {
	struct agent_terms terms;
	char name[LIVES_NAME_BYTES];
	uint16_t rule; /* from 1; 0 none */
};

void contact_look_up(
    const struct lives *l, uint64_t id, uint32_t uid, struct contact *ret);

/* The rule that a lane of a process of this host matches, or NULL. */
const struct rule *contact_rule(
    const struct lives *l, uint32_t pid, uint32_t uid, const char *lane);

#endif
