#include "watch/tell/places.h"

#include <stddef.h>
#include <string.h>

#include "base/util.h"

void
places_init(struct places *p, bool has_shares)
{
	size_t i;

	memset(p, 0, sizeof(*p));
	p->has_shares = has_shares;
	for (i = 0; i < PLACES; i++)
		p->all[i].fd = -1;
}

struct place *
places_of(struct places *p, int fd)
{
	size_t i;

	for (i = 0; i < PLACES; i++)
		if (p->all[i].fd == fd)
			return &p->all[i];
	return NULL;
}

static bool
has_share(const struct places *p, struct ratelimit_key address)
{
	unsigned n = 0;
	size_t i;

	for (i = 0; i < PLACES; i++)
		if (p->all[i].fd >= 0 &&
		    ratelimit_key_equal(p->all[i].address, address))
			n++;
	return !p->has_shares || n < PLACES_PER_ADDRESS;
}

struct place *
places_take(
    struct places *p, int fd, struct ratelimit_key address, uint64_t until_ns)
{
	struct place *place = places_of(p, -1);

	if (place == NULL || !has_share(p, address))
		return NULL;
	*place = (struct place){
		.fd = fd,
		.until_ns = until_ns,
		.number = p->n_ever++,
		.address = address,
	};
	return place;
}

void
places_free(struct place *place)
{
	place->fd = -1;
}

struct place *
places_silent(struct places *p, struct ratelimit_key address)
{
	const bool of_all = has_share(p, address);
	struct place *found = NULL, *place;
	size_t i;

	for (i = 0; i < PLACES; i++) {
		place = &p->all[i];
		if (place->fd < 0 || place->asked || place->cut ||
		    (!of_all && !ratelimit_key_equal(place->address, address)))
			continue;
		if (found == NULL || place->number < found->number)
			found = place;
	}
	return found;
}

struct place *
places_overdue(struct places *p, uint64_t now_ns)
{
	struct place *place;
	size_t i;

	for (i = 0; i < PLACES; i++) {
		place = &p->all[i];
		if (place->fd >= 0 && !place->cut && now_ns >= place->until_ns)
			return place;
	}
	return NULL;
}

uint64_t
places_next_ns(const struct places *p)
{
	uint64_t next_ns = NS_NEVER;
	size_t i;

	for (i = 0; i < PLACES; i++)
		if (p->all[i].fd >= 0 && !p->all[i].cut)
			next_ns = u64_min(next_ns, p->all[i].until_ns);
	return next_ns;
}
