#include "watch/intake/admit.h"

#include "base/util.h"

enum {
	MILLI = 1000, /* millitokens in a token */
	/* One token a second is one millitoken in so many nanoseconds. */
	NS_PER_MILLI_S = 1000000
};

void
admit_init(
    struct admit *a, uint32_t rate_per_s, uint32_t burst, uint64_t now_ns)
{
	a->rate_per_s = burst > 0 ? rate_per_s : 0;
	a->burst = burst;
	a->millitokens = a->burst * MILLI;
	a->remainder = 0;
	a->last_ns = now_ns;
}

static void
fill_up(struct admit *a)
{
	a->millitokens = a->burst * MILLI;
	a->remainder = 0;
}

static void
refill(struct admit *a, uint64_t now_ns)
{
	uint64_t elapsed_ns, gained;

	if (now_ns <= a->last_ns)
		return;
	elapsed_ns = now_ns - a->last_ns;
	a->last_ns = now_ns;

	/* What does not fit 64 bits is more than any burst: that is at most
	 * 2^32 tokens, or 4.3e18 here. */
	if (__builtin_mul_overflow(elapsed_ns, a->rate_per_s, &gained) ||
	    __builtin_add_overflow(gained, a->remainder, &gained)) {
		fill_up(a);
		return;
	}
	a->remainder = gained % NS_PER_MILLI_S;
	a->millitokens += gained / NS_PER_MILLI_S;
	if (a->millitokens >= a->burst * MILLI)
		fill_up(a);
}

bool
admit_take(struct admit *a, uint64_t now_ns)
{
	if (a->rate_per_s == 0)
		return true;

	refill(a, now_ns);
	if (a->millitokens < MILLI)
		return false;
	a->millitokens -= MILLI;
	return true;
}

void
admit_give_back(struct admit *a)
{
	a->millitokens += MILLI;
	if (a->millitokens >= a->burst * MILLI)
		fill_up(a);
}
