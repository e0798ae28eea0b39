#include "watch/track/wheel.h"

#include <assert.h>
#include <string.h>

#include "base/util.h"

enum {
	LEVELS = 4,
	SLOT_BITS = 6,
	SLOTS =
	    1 << SLOT_BITS, /* as many as a word of the occupancy has bits */
	CHUNK_AGENTS = 15,  /* and the link: one cache line */
	AGENTS_MAX = 1 << 24,

	/* Chains beyond those of the slots. */
	READY = LEVELS * SLOTS, /* its time has begun; being taken */
	AHEAD,                  /* being taken before its time */
	CHAINS
};

static const uint64_t horizon = (UINT64_C(1) << (LEVELS * SLOT_BITS)) - 1;

static const uint32_t chunk_none = UINT32_MAX;

struct chunk {
	uint32_t agents[CHUNK_AGENTS];
	uint32_t next;
};

/*
 * Chunks of agents. Only the first chunk may have room; its agents stand at
 * its end, from index room on. An empty chain has no chunk, and room 0, too:
 * then the test for "a chunk is needed" is the same.
 */
struct chain {
	uint64_t first_tick; /* earliest ever put since empty; NS_NEVER */
	uint32_t head;
	uint32_t tail; /* last chunk; only looked at while there is one */
	uint32_t room;
};

static const struct chain chain_empty = { UINT64_MAX, UINT32_MAX, 0, 0 };

/*
 * A tick is a multiple of slot_ns. All slots whose time begins at or before
 * `tick` are empty, so a slot index that equals the one of `tick` on a
 * coarse level means 64 slots ahead, never now.
 */
struct wheel {
	uint64_t quiet_ns; /* wheel_take() has nothing to do before */
	uint64_t slot_ns;
	uint64_t tick;
	uint64_t quiet_tick;
	uint64_t ahead_start; /* tick at which the chain AHEAD begins */
	uint64_t occupied[LEVELS];
	struct chunk *chunks;
	uint32_t free_chunk;
	uint32_t n_fresh; /* chunks from here on were never used */
	uint32_t n_chunks;
	struct chain chains[CHAINS];
};

/*
 * A chain with n agents has at most n / 15 full chunks and one that is not
 * full; one more is needed while wheel_sweep() copies.
 */
static uint32_t
chunks_for(uint32_t agents)
{
	uint32_t partly = agents < CHAINS ? agents : CHAINS;

	return agents / CHUNK_AGENTS + partly + 1;
}

static size_t
chunks_offset(void)
{
	size_t line = sizeof(struct chunk);

	return (sizeof(struct wheel) + line - 1) / line * line;
}

size_t
wheel_size(uint32_t agents)
{
	if (agents == 0 || agents > AGENTS_MAX)
		return 0;
	return chunks_offset() + chunks_for(agents) * sizeof(struct chunk);
}

static void
set_quiet(struct wheel *w, uint64_t tick)
{
	w->quiet_tick = tick;
	w->quiet_ns = u64_mul_sat(tick, w->slot_ns);
}

struct wheel *
wheel_init(void *mem, uint32_t agents, uint64_t slot_ns, uint64_t now_ns)
{
	struct wheel *w = mem;
	size_t i;

	if (wheel_size(agents) == 0 || slot_ns == 0)
		return NULL;
	memset(w, 0, sizeof(*w));
	w->slot_ns = slot_ns;
	w->tick = now_ns / slot_ns;
	w->chunks = (void *)((uint8_t *)mem + chunks_offset());
	w->free_chunk = chunk_none;
	w->n_chunks = chunks_for(agents);
	for (i = 0; i < CHAINS; i++)
		w->chains[i] = chain_empty;
	set_quiet(w, w->tick + SLOTS);
	return w;
}

static uint32_t
chunk_take(struct wheel *w)
{
	uint32_t chunk = w->free_chunk;

	if (chunk != chunk_none) {
		w->free_chunk = w->chunks[chunk].next;
		return chunk;
	}
	assert(w->n_fresh < w->n_chunks);
	return w->n_fresh++;
}

static void
chunk_give(struct wheel *w, uint32_t chunk)
{
	w->chunks[chunk].next = w->free_chunk;
	w->free_chunk = chunk;
}

static void
chain_push(struct wheel *w, struct chain *c, uint32_t agent)
{
	uint32_t chunk;

	if (c->room == 0) {
		chunk = chunk_take(w);
		if (c->head == chunk_none)
			c->tail = chunk;
		w->chunks[chunk].next = c->head;
		c->head = chunk;
		c->room = CHUNK_AGENTS;
	}
	w->chunks[c->head].agents[--c->room] = agent;
}

static size_t
chain_pop(struct wheel *w, struct chain *c, uint32_t *out, size_t max)
{
	struct chunk *chunk;
	uint32_t next;
	size_t n = 0;

	while (c->head != chunk_none && n < max) {
		chunk = &w->chunks[c->head];
		if (c->room == 0 && max - n >= CHUNK_AGENTS) {
			memcpy(out + n, chunk->agents, sizeof(chunk->agents));
			n += CHUNK_AGENTS;
			c->room = CHUNK_AGENTS;
		} else {
			out[n++] = chunk->agents[c->room++];
		}
		if (c->room < CHUNK_AGENTS)
			continue;
		next = chunk->next;
		chunk_give(w, c->head);
		c->head = next;
		c->room = 0;
	}
	if (c->head == chunk_none)
		c->first_tick = NS_NEVER;
	else
		__builtin_prefetch(&w->chunks[c->head]);
	return n;
}

void
wheel_put(struct wheel *w, uint32_t agent, uint64_t at_ns)
{
	uint64_t tick = at_ns / w->slot_ns, ahead, start;
	unsigned level, shift, slot;
	struct chain *c;

	tick += at_ns % w->slot_ns != 0;
	ahead = tick > w->tick ? u64_min(tick - w->tick, horizon) : 1;
	tick = w->tick + ahead;

	level = (63u - (unsigned)__builtin_clzll(ahead)) / SLOT_BITS;
	shift = level * SLOT_BITS;
	start = tick >> shift;
	slot = (unsigned)(start % SLOTS);
	c = &w->chains[level * SLOTS + slot];
	chain_push(w, c, agent);
	c->first_tick = u64_min(c->first_tick, tick);
	w->occupied[level] |= UINT64_C(1) << slot;
	if (start << shift < w->quiet_tick)
		set_quiet(w, start << shift);
}

/* The slot of this level that begins first, as a chain, and the tick at which
 * it begins; CHAINS when all are empty. */
static unsigned
first_slot(const struct wheel *w, unsigned level, uint64_t *ret_start)
{
	unsigned shift = level * SLOT_BITS, turn;
	uint64_t next = (w->tick >> shift) + 1, bits = w->occupied[level];

	if (bits == 0)
		return CHAINS;
	/* From the slot after the present one, once around. */
	turn = (unsigned)(next % SLOTS);
	bits = bits >> turn | bits << (SLOTS - turn) % SLOTS;
	next += (unsigned)__builtin_ctzll(bits);
	*ret_start = next << shift;
	return level * SLOTS + (unsigned)(next % SLOTS);
}

/* The chain whose time begins first, READY apart; CHAINS when there is none. */
static unsigned
first_to_begin(const struct wheel *w, uint64_t *ret_start)
{
	unsigned level, chain, ret = CHAINS;
	uint64_t start;

	*ret_start = NS_NEVER;
	if (w->chains[AHEAD].head != chunk_none) {
		*ret_start = w->ahead_start;
		ret = AHEAD;
	}
	for (level = 0; level < LEVELS; level++) {
		chain = first_slot(w, level, &start);
		if (chain == CHAINS || start >= *ret_start)
			continue;
		*ret_start = start;
		ret = chain;
	}
	return ret;
}

/* The slot with the earliest agent; CHAINS when all are empty. */
static unsigned
earliest_slot(const struct wheel *w, uint64_t *ret_start)
{
	uint64_t start, earliest = NS_NEVER;
	unsigned level, chain, ret = CHAINS;

	for (level = 0; level < LEVELS; level++) {
		chain = first_slot(w, level, &start);
		if (chain == CHAINS || w->chains[chain].first_tick >= earliest)
			continue;
		earliest = w->chains[chain].first_tick;
		*ret_start = start;
		ret = chain;
	}
	return ret;
}

static struct chain
detach(struct wheel *w, unsigned chain)
{
	struct chain ret = w->chains[chain];

	w->chains[chain] = chain_empty;
	if (chain < READY)
		w->occupied[chain / SLOTS] &= ~(UINT64_C(1) << chain % SLOTS);
	return ret;
}

/* Put a whole chain to those that are ready: the agents of its first chunk one
 * by one, the others, which are full, by linking. */
static void
make_ready(struct wheel *w, struct chain from)
{
	struct chain *c = &w->chains[READY];
	uint32_t first[CHUNK_AGENTS];
	size_t n;

	if (c->head == chunk_none) {
		*c = from;
		return;
	}
	c->first_tick = u64_min(c->first_tick, from.first_tick);
	n = chain_pop(w, &from, first, CHUNK_AGENTS - from.room);
	while (n > 0)
		chain_push(w, c, first[--n]);
	if (from.head == chunk_none)
		return;
	w->chunks[from.tail].next = w->chunks[c->head].next;
	w->chunks[c->head].next = from.head;
}

/*
 * Let time pass to tick. All that begins on the way is made ready before any
 * of it is taken: so what the caller files again is counted from now, and does
 * not begin a second time.
 */
static void
pass_time(struct wheel *w, uint64_t tick)
{
	uint64_t start;
	unsigned chain;

	for (;;) {
		chain = first_to_begin(w, &start);
		if (chain == CHAINS || start > tick)
			break;
		make_ready(w, detach(w, chain));
	}
	w->tick = u64_max(w->tick, tick);
	/* Look up at least once in a turn of the finest level, so that times
	 * are not counted from long ago. */
	set_quiet(w, u64_min(start, w->tick + SLOTS));
}

uint64_t
wheel_quiet_ns(const struct wheel *w)
{
	return w->chains[READY].head != chunk_none ? 0 : w->quiet_ns;
}

size_t
wheel_take(struct wheel *w, uint64_t now_ns, uint32_t *out, size_t max)
{
	wheel_advance(w, now_ns);
	return chain_pop(w, &w->chains[READY], out, max);
}

void
wheel_advance(struct wheel *w, uint64_t now_ns)
{
	if (unlikely(now_ns >= w->quiet_ns))
		pass_time(w, now_ns / w->slot_ns);
}

size_t
wheel_take_ahead(struct wheel *w, uint32_t *out, size_t max)
{
	unsigned from = AHEAD;

	if (w->chains[READY].head != chunk_none)
		return chain_pop(w, &w->chains[READY], out, max);
	if (w->chains[AHEAD].head == chunk_none) {
		from = earliest_slot(w, &w->ahead_start);
		if (from == CHAINS)
			return 0;
		w->chains[AHEAD] = detach(w, from);
	}
	return chain_pop(w, &w->chains[AHEAD], out, max);
}

uint64_t
wheel_next_ns(const struct wheel *w)
{
	uint64_t start, tick;
	unsigned chain;

	tick =
	    u64_min(w->chains[READY].first_tick, w->chains[AHEAD].first_tick);
	chain = earliest_slot(w, &start);
	if (chain != CHAINS)
		tick = u64_min(tick, w->chains[chain].first_tick);
	return u64_mul_sat(tick, w->slot_ns);
}

static void
chain_sweep(struct wheel *w, unsigned chain,
    bool (*keep)(const void *ctx, uint32_t agent), const void *ctx)
{
	struct chain old = w->chains[chain], *c = &w->chains[chain];
	uint32_t agents[CHUNK_AGENTS];
	size_t i, n;

	*c = chain_empty;
	c->first_tick = old.first_tick;
	while ((n = chain_pop(w, &old, agents, CHUNK_AGENTS)) > 0)
		for (i = 0; i < n; i++)
			if (keep(ctx, agents[i]))
				chain_push(w, c, agents[i]);
	if (c->head != chunk_none)
		return;
	c->first_tick = NS_NEVER;
	if (chain < READY)
		w->occupied[chain / SLOTS] &= ~(UINT64_C(1) << chain % SLOTS);
}

void
wheel_sweep(struct wheel *w, bool (*keep)(const void *ctx, uint32_t agent),
    const void *ctx)
{
	unsigned chain;

	for (chain = 0; chain < CHAINS; chain++)
		if (w->chains[chain].head != chunk_none)
			chain_sweep(w, chain, keep, ctx);
}
