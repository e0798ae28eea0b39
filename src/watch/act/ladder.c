#include "watch/act/ladder.h"

#include <assert.h>
#include <string.h>

#include "base/util.h"
#include "watch/act/mix.h"

enum { ENTRIES_MAX = 1 << 24 };

/* Of the reference: an entry that old is dropped without being counted. */
enum { WINDOWS_KEPT = 10 };

#define NONE UINT32_MAX

/* The last fire of one identity, in a chain of its bucket and in the list of
 * all entries by time. */
struct entry {
	uint64_t id;
	uint64_t at_ns;
	uint64_t start_ticks;
	uint32_t older;
	uint32_t newer;
	uint32_t chain;
};

struct ladder {
	struct ladder_options options;
	struct ladder_counts counts;
	struct entry *entries;
	uint32_t *buckets;
	uint32_t bucket_mask;
	uint32_t n_entries;
	uint32_t oldest;
	uint32_t newest;
};

size_t
ladder_size(uint32_t entries)
{
	if (entries == 0 || entries > ENTRIES_MAX)
		return 0;
	return sizeof(struct ladder) + entries * sizeof(struct entry) +
	       u32_pow2_ceil(entries) * sizeof(uint32_t);
}

struct ladder *
ladder_init(void *mem, const struct ladder_options *options)
{
	struct ladder *l = mem;
	uint32_t n_buckets = u32_pow2_ceil(options->entries);

	assert(ladder_size(options->entries) > 0);
	memset(l, 0, sizeof(*l));
	l->options = *options;
	l->entries = (struct entry *)(void *)(l + 1);
	l->buckets = (uint32_t *)(void *)(l->entries + options->entries);
	l->bucket_mask = n_buckets - 1;
	l->oldest = NONE;
	l->newest = NONE;
	memset(l->buckets, 0xff, n_buckets * sizeof(l->buckets[0]));
	return l;
}

bool
ladder_is_same_lineage(uint64_t start_ticks, uint64_t other_ticks)
{
	return start_ticks == 0 || other_ticks == 0 ||
	       start_ticks == other_ticks;
}

static uint32_t *
bucket_of(const struct ladder *l, uint64_t id)
{
	return &l->buckets[mix_id(id, l->options.seed) & l->bucket_mask];
}

static uint32_t
find(const struct ladder *l, uint64_t id)
{
	uint32_t i;

	for (i = *bucket_of(l, id); i != NONE; i = l->entries[i].chain) {
		if (l->entries[i].id == id)
			return i;
	}
	return NONE;
}

static bool
is_in_window(const struct ladder *l, const struct entry *e, uint64_t now_ns)
{
	return u64_sub_sat(now_ns, e->at_ns) < l->options.debounce_ns;
}

static bool
is_cross_namespace(const struct ladder *l, const struct ladder_ask *ask)
{
	return !l->options.allow_cross_namespace && ask->pid_namespace != 0 &&
	       l->options.own_pid_namespace != 0 &&
	       ask->pid_namespace != l->options.own_pid_namespace;
}

static enum ladder_step
judge_origin(enum origin origin)
{
	switch (origin) {
	case ORIGIN_KERNEL_ATTESTED:
	case ORIGIN_OPERATOR_ATTESTED:
		return LADDER_FIRE;
	case ORIGIN_SOCKET_MODE_ONLY:
		return LADDER_REFUSE_SOCKET_MODE_ONLY;
	case ORIGIN_NETWORK_UNVERIFIED:
	case ORIGIN_COUNT:
		break;
	}
	return LADDER_REFUSE_UNAUTHENTICATED;
}

enum ladder_step
ladder_judge(
    const struct ladder *l, const struct ladder_ask *ask, uint64_t now_ns)
{
	const struct entry *e;
	enum ladder_step step;
	uint32_t i;

	if (is_cross_namespace(l, ask))
		return LADDER_REFUSE_CROSS_NAMESPACE;
	step = judge_origin(ask->origin);
	if (step != LADDER_FIRE)
		return step;

	i = find(l, ask->id);
	if (i != NONE) {
		e = &l->entries[i];
		if (is_in_window(l, e, now_ns) &&
		    ladder_is_same_lineage(e->start_ticks, ask->start_ticks))
			return LADDER_DEBOUNCED;
		return LADDER_FIRE;
	}
	/* Forgetting a window that is still open would let its agent fire
	 * again too early: rather nobody new fires. */
	if (l->n_entries == l->options.entries &&
	    is_in_window(l, &l->entries[l->oldest], now_ns))
		return LADDER_REFUSE_LEDGER_FULL;
	return LADDER_FIRE;
}

static void
list_remove(struct ladder *l, uint32_t i)
{
	struct entry *e = &l->entries[i];

	if (e->older != NONE)
		l->entries[e->older].newer = e->newer;
	else
		l->oldest = e->newer;
	if (e->newer != NONE)
		l->entries[e->newer].older = e->older;
	else
		l->newest = e->older;
}

static void
list_put_newest(struct ladder *l, uint32_t i)
{
	struct entry *e = &l->entries[i];

	e->older = l->newest;
	e->newer = NONE;
	if (l->newest != NONE) {
		/* Keeps the list in order of time, should the clock not. */
		e->at_ns = u64_max(e->at_ns, l->entries[l->newest].at_ns);
		l->entries[l->newest].newer = i;
	} else {
		l->oldest = i;
	}
	l->newest = i;
}

static void
unchain(struct ladder *l, uint32_t i)
{
	uint32_t *link = bucket_of(l, l->entries[i].id);

	while (*link != i)
		link = &l->entries[*link].chain;
	*link = l->entries[i].chain;
}

/* An entry that is in no list and no chain: a fresh one or the oldest. */
static uint32_t
take_entry(struct ladder *l, uint64_t now_ns)
{
	uint64_t age_ns, kept_ns;
	uint32_t i;

	if (l->n_entries < l->options.entries)
		return l->n_entries++;

	i = l->oldest;
	assert(!is_in_window(l, &l->entries[i], now_ns));
	age_ns = u64_sub_sat(now_ns, l->entries[i].at_ns);
	kept_ns = u64_mul_sat(l->options.debounce_ns, WINDOWS_KEPT);
	if (age_ns < kept_ns)
		l->counts.evictions++;
	unchain(l, i);
	list_remove(l, i);
	return i;
}

void
ladder_fired(struct ladder *l, const struct ladder_ask *ask, uint64_t now_ns)
{
	uint32_t i = find(l, ask->id);
	uint32_t *bucket;
	struct entry *e;

	if (i != NONE) {
		/* Within its window only another process may fire. */
		if (is_in_window(l, &l->entries[i], now_ns))
			l->counts.recycle_resets++;
		list_remove(l, i);
	} else {
		i = take_entry(l, now_ns);
		bucket = bucket_of(l, ask->id);
		l->entries[i].id = ask->id;
		l->entries[i].chain = *bucket;
		*bucket = i;
	}
	e = &l->entries[i];
	e->start_ticks = ask->start_ticks;
	e->at_ns = now_ns;
	list_put_newest(l, i);
}

const struct ladder_counts *
ladder_counts(const struct ladder *l)
{
	return &l->counts;
}
