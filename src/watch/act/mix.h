/*
 * A keyed hash of an identity, for the tables of this room. The key is secret
 * and drawn at start, so that no sender can choose where its entries fall.
 * Not a cryptographic hash: at worst a chain of a bounded table is walked.
 */
#ifndef WATCH_ACT_MIX_H
#define WATCH_ACT_MIX_H

#include <stdint.h>

static inline uint32_t
mix_id(uint64_t id, const uint64_t seed[2])
{
	uint64_t x = id ^ seed[0];

	/* The finaliser of MurmurHash3, with the second half of the key
	 * between its two multiplications. */
	x ^= x >> 33;
	x *= UINT64_C(0xff51afd7ed558ccd);
	x ^= seed[1];
	x ^= x >> 33;
	x *= UINT64_C(0xc4ceb9fe1a85ec53);
	x ^= x >> 33;
	return (uint32_t)x;
}

#endif
