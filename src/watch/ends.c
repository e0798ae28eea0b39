#include "watch/ends.h"

#include <assert.h>
#include <stddef.h>

bool
ends_put(struct ends *e, uint64_t token, uint64_t give_up_ns)
{
	if (e->n == ENDS_WAITING)
		return false;
	e->ring[(e->head + e->n++) % ENDS_WAITING] = (struct ends_one){
		.token = token,
		.give_up_ns = give_up_ns,
	};
	return true;
}

const struct ends_one *
ends_oldest(const struct ends *e)
{
	return e->n > 0 ? &e->ring[e->head] : NULL;
}

void
ends_drop(struct ends *e)
{
	assert(e->n > 0);
	e->head = (e->head + 1) % ENDS_WAITING;
	e->n--;
}
