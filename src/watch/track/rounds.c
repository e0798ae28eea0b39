#include "watch/track/rounds.h"

#include <assert.h>

#include "base/util.h"

static uint32_t
words_for(uint32_t agents)
{
	return (agents + ROUNDS_WORD - 1) / ROUNDS_WORD;
}

size_t
rounds_size(uint32_t agents)
{
	return (ROUNDS_CLASSES + 1) * sizeof(uint64_t) * words_for(agents);
}

void
rounds_init(struct rounds *r, void *mem, uint32_t agents)
{
	uint64_t *words = mem;
	size_t i;

	r->n_words = words_for(agents);
	r->quiet_ns = NS_NEVER;
	r->seen = words;
	for (i = 0; i < ROUNDS_CLASSES; i++) {
		words += r->n_words;
		r->classes[i] = (struct rounds_class){ .members = words };
	}
}

/* The next round begins when half of the threshold has passed since the last:
 * the hard limit of the one after is then as far away. */
static uint64_t
soft_limit(const struct rounds_class *c)
{
	if (c->n_members == 0)
		return NS_NEVER;
	if (c->under_way_ns != NS_NEVER)
		return 0;
	return u64_add_sat(c->start_ns, c->threshold_ns / 2);
}

/* No member owes a beat before this. */
static uint64_t
hard_limit(const struct rounds_class *c)
{
	if (c->n_members == 0)
		return NS_NEVER;
	if (c->under_way_ns != NS_NEVER)
		return 0;
	return u64_add_sat(c->before_ns, c->threshold_ns);
}

static uint64_t
quiet_until(const struct rounds_class *c)
{
	return u64_min(soft_limit(c), hard_limit(c));
}

/* The class of this threshold; one that is empty if need be; NULL. */
static struct rounds_class *
class_for(struct rounds *r, uint64_t threshold_ns)
{
	struct rounds_class *c, *empty = NULL;

	for (c = r->classes; c < r->classes + ROUNDS_CLASSES; c++) {
		if (c->n_members == 0)
			empty = c;
		else if (c->threshold_ns == threshold_ns)
			return c;
	}
	return empty;
}

bool
rounds_add(struct rounds *r, uint32_t agent, uint64_t threshold_ns,
    uint64_t last_seen_ns, uint64_t now_ns)
{
	struct rounds_class *c = class_for(r, threshold_ns);
	uint32_t word = agent / ROUNDS_WORD;
	uint64_t bit = UINT64_C(1) << agent % ROUNDS_WORD;
	bool is_under_way;

	if (c == NULL)
		return false;
	if (c->n_members == 0) {
		c->threshold_ns = threshold_ns;
		c->start_ns = now_ns;
		c->before_ns = last_seen_ns;
		c->under_way_ns = NS_NEVER;
	}
	is_under_way = c->under_way_ns != NS_NEVER;
	/* The round under way may not come by here any more. */
	if (last_seen_ns < (is_under_way ? c->start_ns : c->before_ns))
		return false;
	assert((c->members[word] & bit) == 0);
	c->members[word] |= bit;
	c->n_members++;
	if (last_seen_ns >= (is_under_way ? c->under_way_ns : c->start_ns))
		r->seen[word] |= bit;
	else
		r->seen[word] &= ~bit;
	r->quiet_ns = u64_min(r->quiet_ns, quiet_until(c));
	return true;
}

void
rounds_remove(struct rounds *r, uint32_t agent)
{
	uint32_t word = agent / ROUNDS_WORD;
	uint64_t bit = UINT64_C(1) << agent % ROUNDS_WORD;
	struct rounds_class *c = r->classes;

	while ((c->members[word] & bit) == 0) {
		c++;
		assert(c < r->classes + ROUNDS_CLASSES);
	}
	c->members[word] &= ~bit;
	c->n_members--;
}

/* Go on with the round of c. Returns how many members were taken; fewer than
 * max: it is complete. */
static size_t
go_round(struct rounds *r, struct rounds_class *c, uint32_t *out, size_t max)
{
	uint64_t silent, *members;
	bool all_late =
	    c->under_way_ns >= u64_add_sat(c->start_ns, c->threshold_ns);
	size_t n = 0;

	for (; c->word < r->n_words; c->word++) {
		members = &c->members[c->word];
		silent = *members & (all_late ? UINT64_MAX : ~r->seen[c->word]);
		for (; silent != 0 && n < max; silent &= silent - 1) {
			out[n++] = c->word * ROUNDS_WORD +
				   (uint32_t)__builtin_ctzll(silent);
			*members &= ~(silent & -silent);
			c->n_members--;
		}
		if (silent != 0)
			return n;
		r->seen[c->word] &= ~*members;
	}
	c->before_ns = c->start_ns;
	c->start_ns = c->under_way_ns;
	c->under_way_ns = NS_NEVER;
	return n;
}

size_t
rounds_take(struct rounds *r, uint64_t now_ns, uint32_t *out, size_t max)
{
	struct rounds_class *c;
	size_t n = 0;

	if (likely(now_ns < r->quiet_ns))
		return 0;
	r->quiet_ns = NS_NEVER;
	for (c = r->classes; c < r->classes + ROUNDS_CLASSES; c++) {
		if (now_ns >= quiet_until(c)) {
			if (c->under_way_ns == NS_NEVER) {
				c->under_way_ns = now_ns;
				c->word = 0;
			}
			n += go_round(r, c, out + n, max - n);
		}
		r->quiet_ns = u64_min(r->quiet_ns, quiet_until(c));
	}
	return n;
}

uint64_t
rounds_next_ns(const struct rounds *r)
{
	const struct rounds_class *c;
	uint64_t ret = NS_NEVER;

	for (c = r->classes; c < r->classes + ROUNDS_CLASSES; c++)
		ret = u64_min(ret, hard_limit(c));
	return ret;
}
