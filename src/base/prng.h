/*
 * Random bits: keys for hash tables from the kernel, and a small generator
 * with a known seed for tests and back-off. Not for secrets on the wire.
 */
#ifndef BASE_PRNG_H
#define BASE_PRNG_H

#include <stddef.h>
#include <stdint.h>

/* Fill from the kernel's generator. 0 or -errno. May block before the kernel
 * is seeded; only for start-up. */
int prng_entropy(void *bytes, size_t n);

/* xoshiro256**; the state is the caller's. */
struct prng {
	uint64_t s[4];
};

void prng_seed(struct prng *p, uint64_t seed);
uint64_t prng_u64(struct prng *p);

/* Evenly from 0 to bound - 1; bound is at least 1. */
uint64_t prng_below(struct prng *p, uint64_t bound);

#endif
