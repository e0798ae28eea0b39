/*
 * The places of HTTP connections: who is there, until when, whether there is
 * room for another, and who goes when there is none.
 *
 * An address has a share of the places, unless there are no addresses. Pure:
 * descriptors are only names here.
 */
#ifndef WATCH_TELL_PLACES_H
#define WATCH_TELL_PLACES_H

#include <stdbool.h>
#include <stdint.h>

#include "watch/tell/ratelimit.h"

enum { PLACES = 64, PLACES_PER_ADDRESS = 16 };

/* One connection, from accept to close. */
struct place {
	int fd;     /* -1: free */
	bool asked; /* its request was whole */
	bool cut;   /* waits to be closed */
	uint64_t until_ns;
	uint64_t number; /* of all that there ever were */
	struct ratelimit_key address;
};

struct places {
	bool has_shares;
	uint64_t n_ever;
	struct place all[PLACES];
};

void places_init(struct places *p, bool has_shares);

/* That of the descriptor, or NULL. */
struct place *places_of(struct places *p, int fd);

/* Take one until then; NULL when all are taken, or this address' share. */
struct place *places_take(
    struct places *p, int fd, struct ratelimit_key address, uint64_t until_ns);

void places_free(struct place *place);

/* Who has been there longest without a request, or NULL: of this address when
 * its share is taken, else of all. */
struct place *places_silent(struct places *p, struct ratelimit_key address);

/* One whose time is over at now_ns and who is not cut, or NULL. */
struct place *places_overdue(struct places *p, uint64_t now_ns);

/* When the next one's time is over; NS_NEVER when nobody's is. */
uint64_t places_next_ns(const struct places *p);

#endif
