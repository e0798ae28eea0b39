/*
 * Recovery: a stall, of an agent or of one of its lanes, becomes a request to
 * act.h, and what act asks back is answered. Private to observer.c.
 */
#ifndef WATCH_RECOVERY_H
#define WATCH_RECOVERY_H

#include "watch/event.h"
#include "watch/lanes.h"
#include "watch/lives.h"
#include "watch/observer.h"
#include "watch/stats.h"

struct recovery {
	const struct observer_ports *ports;
	struct stats *stats;
	struct lives *lives;
	struct lanes *lanes; /* NULL: none */
	struct act *act;     /* NULL: no command is given */
};

/* lives and lanes are set; all is borrowed. r must stay where it is. 0, or as
 * act_new(). */
int recovery_open(struct recovery *r, const struct observer_ports *ports,
    struct stats *stats);

/* End commands within their grace. Takes one that was not opened. */
void recovery_close(struct recovery *r);

/* The event is a stall. */
void recovery_stall(struct recovery *r, const struct event *ev);

#endif
