/*
 * Requests a second for each address: a bounded table of token buckets.
 *
 * The table holds RATELIMIT_ADDRESSES addresses. One that was silent for a
 * minute is forgotten; when all are recent, the one silent for longest makes
 * room and its successor starts with a full bucket, so that a crowd of
 * addresses can weaken the limit but never lock anybody out. IPv6 addresses
 * count by their /64, since one host has that many. Pure: no clock, nothing
 * allocated after ratelimit_init(), each call a few steps.
 */
#ifndef WATCH_TELL_RATELIMIT_H
#define WATCH_TELL_RATELIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum {
	RATELIMIT_ADDRESSES = 1024,
	RATELIMIT_IDLE_S = 60 /* forgotten after so long without a request */
};

struct ratelimit;

struct ratelimit_options {
	uint32_t per_s; /* requests; 0: no limit */
	uint32_t burst; /* at once after a pause; 0: no limit */
	uint64_t seed;  /* of the hash; secret */
};

/* What an address counts as. */
struct ratelimit_key {
	uint64_t network; /* first half of an IPv6 address; 0 for IPv4 */
	uint64_t host;    /* IPv4 as ::ffff:a.b.c.d; 0 for IPv6 */
};

/* IPv4, also when mapped into IPv6, and IPv6; all else is one address. */
struct ratelimit_key ratelimit_key_of(const struct sockaddr *address);

bool ratelimit_key_equal(struct ratelimit_key a, struct ratelimit_key b);

/* Bytes that ratelimit_init() needs. */
size_t ratelimit_size(void);

/*
 * Lay the table out in mem, which must hold ratelimit_size() bytes, be aligned
 * for uint64_t and outlive it. Returns mem.
 */
struct ratelimit *ratelimit_init(
    void *mem, const struct ratelimit_options *options);

/*
 * A request of this address at now_ns: may it be served? Refused ones cost the
 * address nothing. A time before the last one counts as no time passed, and
 * delays the address by at most the whole burst.
 *
 * *ret_evicted: a recent address had to make room for this one.
 */
bool ratelimit_take(struct ratelimit *rl, struct ratelimit_key key,
    uint64_t now_ns, bool *ret_evicted);

/* Addresses in the table. */
uint32_t ratelimit_count(const struct ratelimit *rl);

#endif
