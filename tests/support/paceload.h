/*
 * A loop that follows a pace, on a clock of its own: it blocks or naps as it is
 * told, drains what a load has sent meanwhile, and keeps account.
 */
#ifndef SUPPORT_PACELOAD_H
#define SUPPORT_PACELOAD_H

#include <stdint.h>
#include <string.h>

#include "watch/intake/pace.h"

struct paceload {
	struct pace pace;
	uint64_t now_ns;
	uint64_t next_ns; /* when the next frame arrives */
	/* When the frame after the one at at_ns arrives. */
	uint64_t (*after)(void *ctx, uint64_t at_ns);
	void *ctx;

	uint64_t first_nap_ns; /* when napping began first; 0 never */
	unsigned entered;
	unsigned left;
	uint64_t wakeups;
	uint32_t most_queued; /* behind a nap, or a blocking wait */
};

static inline void
paceload_init(struct paceload *l, uint32_t queue_len,
    uint64_t (*after)(void *, uint64_t), void *ctx)
{
	memset(l, 0, sizeof(*l));
	l->after = after;
	l->ctx = ctx;
	l->next_ns = after(ctx, 0);
	pace_init(&l->pace, queue_len, 0);
}

/* Go on until until_ns of its clock. */
static inline void
paceload_run(struct paceload *l, uint64_t until_ns)
{
	uint64_t nap_ns;
	uint32_t queued;

	while (l->now_ns < until_ns) {
		nap_ns = pace_nap_ns(&l->pace);
		if (nap_ns > 0)
			l->now_ns += nap_ns;
		else if (l->next_ns > l->now_ns)
			l->now_ns = l->next_ns;
		if (l->now_ns >= until_ns)
			break;

		for (queued = 0; l->next_ns <= l->now_ns; queued++)
			l->next_ns = l->after(l->ctx, l->next_ns);
		l->wakeups++;
		if (queued > l->most_queued)
			l->most_queued = queued;
		pace_note(&l->pace, queued, l->now_ns);

		if (nap_ns == 0 && pace_nap_ns(&l->pace) > 0) {
			l->entered++;
			if (l->first_nap_ns == 0)
				l->first_nap_ns = l->now_ns;
		}
		if (nap_ns > 0 && pace_nap_ns(&l->pace) == 0)
			l->left++;
	}
	l->now_ns = until_ns;
}

#endif
