/*
 * Global admission: a token bucket over all beats and all faults that become
 * events (reference: observer page 3). Integer arithmetic with the remainder
 * carried, so that no rate drifts. Time is an argument and may stand still; a
 * step back is taken as no time passed.
 */
#ifndef WATCH_INTAKE_ADMIT_H
#define WATCH_INTAKE_ADMIT_H

#include <stdbool.h>
#include <stdint.h>

struct admit {
	uint64_t rate_per_s; /* 0: everything passes */
	uint64_t burst;
	uint64_t millitokens;
	uint64_t remainder;
	uint64_t last_ns;
};

/* Starts full. rate_per_s or burst of 0 switches the limit off. */
void admit_init(
    struct admit *a, uint32_t rate_per_s, uint32_t burst, uint64_t now_ns);

/* Take one token; false when there is none. */
bool admit_take(struct admit *a, uint64_t now_ns);

/* Give one back that was taken and not used. */
void admit_give_back(struct admit *a);

#endif
