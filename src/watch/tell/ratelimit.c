#include "watch/tell/ratelimit.h"

#include <netinet/in.h>
#include <string.h>

#include "base/util.h"

enum {
	CHAINS = RATELIMIT_ADDRESSES, /* a power of two */
	NONE = UINT16_MAX
};

_Static_assert(CHAINS < NONE, "an index must fit and leave one for none");

/*
 * The bucket is kept as one time: when it will be full again. A request moves
 * that time one interval ahead, and is refused when that would be more than
 * burst intervals from now.
 */
struct entry {
	struct ratelimit_key key;
	uint64_t full_ns;
	uint64_t last_ns;
	uint16_t chain_next;
	uint16_t newer, older; /* by last request */
};

struct ratelimit {
	uint64_t interval_ns; /* 0: no limit */
	uint64_t burst_ns;
	uint64_t seed;
	uint32_t count;
	uint16_t newest, oldest;
	uint16_t free; /* linked by chain_next */
	uint16_t chains[CHAINS];
	struct entry entries[RATELIMIT_ADDRESSES];
};

struct ratelimit_key
ratelimit_key_of(const struct sockaddr *address)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	struct ratelimit_key key = { 0, 0 };
	struct sockaddr_in6 in6;
	struct sockaddr_in in;
	uint32_t v4;

	if (address->sa_family == AF_INET) {
		memcpy(&in, address, sizeof(in));
		v4 = in.sin_addr.s_addr;
	} else if (address->sa_family == AF_INET6) {
		memcpy(&in6, address, sizeof(in6));
		if (memcmp(&in6.sin6_addr, mapped, sizeof(mapped)) != 0) {
			memcpy(
			    &key.network, &in6.sin6_addr, sizeof(key.network));
			return key;
		}
		memcpy(&v4, in6.sin6_addr.s6_addr + sizeof(mapped), 4);
	} else {
		return key;
	}
	key.host = UINT64_C(0xffff) << 32 | v4;
	return key;
}

bool
ratelimit_key_equal(struct ratelimit_key a, struct ratelimit_key b)
{
	return a.network == b.network && a.host == b.host;
}

size_t
ratelimit_size(void)
{
	return sizeof(struct ratelimit);
}

struct ratelimit *
ratelimit_init(void *mem, const struct ratelimit_options *options)
{
	struct ratelimit *rl = mem;
	uint16_t i;

	memset(rl, 0, sizeof(*rl));
	if (options->per_s != 0 && options->burst != 0)
		rl->interval_ns = u64_max(NS_PER_S / options->per_s, 1);
	rl->burst_ns = u64_mul_sat(rl->interval_ns, options->burst);
	rl->seed = options->seed;
	rl->newest = rl->oldest = NONE;
	for (i = 0; i < CHAINS; i++)
		rl->chains[i] = NONE;
	for (i = 0; i < RATELIMIT_ADDRESSES; i++)
		rl->entries[i].chain_next = (uint16_t)(i + 1);
	rl->entries[RATELIMIT_ADDRESSES - 1].chain_next = NONE;
	rl->free = 0;
	return rl;
}

/* Senders choose their address, so the seed decides which ones collide. */
static uint16_t *
chain_of(struct ratelimit *rl, struct ratelimit_key key)
{
	uint64_t x = rl->seed ^ key.network;

	x = (x ^ x >> 32) * UINT64_C(0xd6e8feb86659fd93);
	x ^= key.host ^ rl->seed >> 7;
	x = (x ^ x >> 32) * UINT64_C(0xd6e8feb86659fd93);
	x = (x ^ x >> 32) * UINT64_C(0xd6e8feb86659fd93);
	return &rl->chains[(x >> 32) % CHAINS];
}

static void
unlink_by_age(struct ratelimit *rl, uint16_t at)
{
	const struct entry *e = &rl->entries[at];

	if (e->newer == NONE)
		rl->newest = e->older;
	else
		rl->entries[e->newer].older = e->older;
	if (e->older == NONE)
		rl->oldest = e->newer;
	else
		rl->entries[e->older].newer = e->newer;
}

static void
link_as_newest(struct ratelimit *rl, uint16_t at)
{
	struct entry *e = &rl->entries[at];

	e->newer = NONE;
	e->older = rl->newest;
	if (rl->newest == NONE)
		rl->oldest = at;
	else
		rl->entries[rl->newest].newer = at;
	rl->newest = at;
}

static void
forget_oldest(struct ratelimit *rl)
{
	uint16_t at = rl->oldest;
	struct entry *e = &rl->entries[at];
	uint16_t *link = chain_of(rl, e->key);

	while (*link != at)
		link = &rl->entries[*link].chain_next;
	*link = e->chain_next;
	unlink_by_age(rl, at);
	e->chain_next = rl->free;
	rl->free = at;
	rl->count--;
}

/* At most two a call: more go than come, and no call takes long. */
static void
forget_idle(struct ratelimit *rl, uint64_t now_ns)
{
	int i;

	for (i = 0; i < 2 && rl->oldest != NONE; i++) {
		if (u64_sub_sat(now_ns, rl->entries[rl->oldest].last_ns) <
		    RATELIMIT_IDLE_S * NS_PER_S)
			return;
		forget_oldest(rl);
	}
}

static uint16_t
find_or_add(struct ratelimit *rl, struct ratelimit_key key, bool *ret_evicted)
{
	uint16_t *chain = chain_of(rl, key);
	uint16_t at;

	for (at = *chain; at != NONE; at = rl->entries[at].chain_next) {
		if (ratelimit_key_equal(rl->entries[at].key, key)) {
			unlink_by_age(rl, at);
			return at;
		}
	}

	if (rl->free == NONE) {
		forget_oldest(rl);
		*ret_evicted = true;
	}
	at = rl->free;
	rl->free = rl->entries[at].chain_next;
	rl->entries[at] = (struct entry){ .key = key, .chain_next = *chain };
	*chain = at;
	rl->count++;
	return at;
}

bool
ratelimit_take(struct ratelimit *rl, struct ratelimit_key key, uint64_t now_ns,
    bool *ret_evicted)
{
	uint64_t latest_ns, full_ns;
	struct entry *e;
	uint16_t at;

	*ret_evicted = false;
	if (rl->interval_ns == 0)
		return true;

	forget_idle(rl, now_ns);
	at = find_or_add(rl, key, ret_evicted);
	link_as_newest(rl, at);
	e = &rl->entries[at];
	e->last_ns = now_ns;

	latest_ns = u64_add_sat(now_ns, rl->burst_ns);
	/* Beyond latest_ns only after the clock went back. */
	full_ns = u64_min(u64_max(e->full_ns, now_ns), latest_ns);
	e->full_ns = full_ns;
	full_ns = u64_add_sat(full_ns, rl->interval_ns);
	if (full_ns > latest_ns)
		return false;
	e->full_ns = full_ns;
	return true;
}

uint32_t
ratelimit_count(const struct ratelimit *rl)
{
	return rl->count;
}
