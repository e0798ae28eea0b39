#include "base/prng.h"

#include <assert.h>
#include <errno.h>
#include <unistd.h>

enum { ENTROPY_MAX = 256 }; /* what getentropy(3) gives in one call */

int
prng_entropy(void *bytes, size_t n)
{
	uint8_t *p = bytes;
	size_t part;

	while (n > 0) {
		part = n < ENTROPY_MAX ? n : ENTROPY_MAX;
		if (getentropy(p, part) < 0)
			return -errno;
		p += part;
		n -= part;
	}
	return 0;
}

static uint64_t
rotate_left(uint64_t x, unsigned bits)
{
	return (x << bits) | (x >> (64 - bits));
}

void
prng_seed(struct prng *p, uint64_t seed)
{
	uint64_t z;
	size_t i;

	/* splitmix64: never four zeros in a row, which would stay zeros. */
	for (i = 0; i < 4; i++) {
		seed += UINT64_C(0x9e3779b97f4a7c15);
		z = seed;
		z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
		z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
		p->s[i] = z ^ (z >> 31);
	}
}

uint64_t
prng_u64(struct prng *p)
{
	uint64_t *s = p->s;
	uint64_t ret = rotate_left(s[1] * 5, 7) * 9;
	uint64_t t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotate_left(s[3], 45);
	return ret;
}

uint64_t
prng_below(struct prng *p, uint64_t bound)
{
	uint64_t x, uneven;

	assert(bound >= 1);
	/* 2^64 mod bound: so many lowest values would be drawn too often. */
	uneven = (UINT64_MAX - bound + 1) % bound;
	do
		x = prng_u64(p);
	while (x < uneven);
	return x % bound;
}
