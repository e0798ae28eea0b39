/*
 * The memory of an agent's lanes, as the observer sees it: mapped read-only,
 * untrusted, never able to fault (src/lib/lane_page.h has the layout).
 */
#ifndef WATCH_INTAKE_LANE_MEMORY_H
#define WATCH_INTAKE_LANE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "watch/intake/lane_source.h"

/* Zeroed: none. */
struct lane_memory {
	const uint8_t *bytes;
	size_t len;
};

/*
 * Map what fd is of, which stays the caller's. False, and *m as it was, when it
 * is not a memfd that is sealed against shrinking and growing, has not a size
 * or a head of ours, or cannot be mapped. No question is asked of a descriptor
 * of any other kind that its owner could answer late.
 */
bool lane_memory_map(struct lane_memory *m, int fd);
void lane_memory_unmap(struct lane_memory *m); /* takes a zeroed one */

/* How many records are in use, or were; clamped to what there is room for. */
uint32_t lane_memory_records(const struct lane_memory *m);

/* The generation of record i, below that number. */
uint32_t lane_memory_generation(const struct lane_memory *m, uint32_t i);

/*
 * All of record i. now_ns is of CLOCK_MONOTONIC; a beat by the
 * coarse clock may be as much younger than it says as coarse_step_ns. False
 * while it is being written.
 */
bool lane_memory_read(const struct lane_memory *m, uint32_t i, uint64_t now_ns,
    uint64_t coarse_step_ns, struct lane_reading *ret);

#endif
