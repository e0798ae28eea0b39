/*
 * A clock that never goes back: when the one below it does, time stands still
 * until that has caught up. Pure; the caller reads the clock.
 */
#ifndef BASE_STEADY_H
#define BASE_STEADY_H

#include <stdint.h>

struct steady {
	uint64_t now_ns;
	uint64_t read_ns; /* last reading of the clock below */
	uint64_t n_back;  /* how often it went back */
};

/* The time at this reading. A struct of zeros is at its beginning. */
uint64_t steady_now_ns(struct steady *s, uint64_t read_ns);

#endif
