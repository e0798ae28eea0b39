/* The seed of a property test: that of VARTA_SEED, or any. It is printed, so
 * that a run can be repeated. */
#ifndef SUPPORT_SEED_H
#define SUPPORT_SEED_H

#include <stdint.h>
#include <stdlib.h>

#include "base/prng.h"
#include "base/text.h"

static inline uint64_t
seed_choose(void)
{
	const char *given = getenv("VARTA_SEED");
	uint64_t seed;

	assert_int_equal(prng_entropy(&seed, sizeof(seed)), 0);
	if (given != NULL)
		assert_int_equal(text_to_u64(given, UINT64_MAX, &seed), 0);
	print_message("# VARTA_SEED=%llu\n", (unsigned long long)seed);
	return seed;
}

#endif
