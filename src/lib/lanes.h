/*
 * Inside lanes: what lanes.c, the records, and lanes_attach.c, the connection
 * to the observer, share. The memory itself stands in lane_page.h.
 *
 * All of it belongs to one process. In the child of a fork memory and
 * connection are the parent's: they are let go at the first call that knows the
 * agent, and handles of lanes are only freed from then on. A beat in the child
 * finds that the word of the lineage is not the one of its lane, and does
 * nothing.
 */
#ifndef LIB_LANES_H
#define LIB_LANES_H

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/lane_page.h"
#include "lib/lib.h"

enum { LANE_CACHE_LINE_BYTES = 64 };

struct varta_lane {
	/* What a beat reads. All of it is one cache line, which is written to
	 * only when another lane of the agent is closed. */
	alignas(LANE_CACHE_LINE_BYTES) struct lane_record *record;
	const _Atomic uint32_t *word; /* of the lineage */
	uint32_t generation;          /* of the process that opened it */
	clockid_t clock;

	struct varta_agent *agent;
	struct varta_lane *next;
	uint32_t index; /* of the record */
};

struct varta__lanes {
	uint32_t generation; /* of the process whose memory this is */
	int memory_fd;       /* -1: none */
	int connection_fd;   /* -1: not attached */
	uint32_t pages;      /* that are in memory, of memory */
	uint8_t *memory;     /* LANE_PAGES_MAX pages; NULL: none */
	uint64_t retry_delay_ns;
	struct varta_lane *first;             /* of all handles */
	uint64_t used[(LANES_MAX + 63) / 64]; /* a bit for each record */
};

/* Records were opened or closed: ring the bell. False when there is no
 * connection, or no more; it is then let go. */
bool varta__lanes_ring(struct varta_agent *agent);

/* Let the connection go, and attach anew at the next beat. */
void varta__lanes_detach(struct varta_agent *agent);

#endif
