#include "watch/judge/pause.h"

#include <string.h>

#include "base/util.h"

void
pause_init(struct pause *p, uint64_t now_ns)
{
	*p = (struct pause){
		.listened_at_ns = now_ns,
		.slept_at_ns = now_ns,
		.wake_by_ns = NS_NEVER,
	};
}

void
pause_sleep(struct pause *p, uint64_t now_ns, uint64_t wake_by_ns)
{
	p->slept_at_ns = now_ns;
	p->wake_by_ns = wake_by_ns;
}

static void
remember(struct pause *p, uint64_t end_ns, uint64_t length_ns)
{
	if (p->n_gaps == PAUSE_KEPT) {
		struct pause_gap *last = &p->gaps[PAUSE_KEPT - 1];

		/* The two oldest become one that ends with the later. */
		p->gaps[PAUSE_KEPT - 2].length_ns = u64_add_sat(
		    p->gaps[PAUSE_KEPT - 2].length_ns, last->length_ns);
		p->n_gaps--;
	}
	memmove(&p->gaps[1], &p->gaps[0], p->n_gaps * sizeof(p->gaps[0]));
	p->gaps[0].end_ns = end_ns;
	p->gaps[0].length_ns = length_ns;
	p->n_gaps++;
}

uint64_t
pause_wake(struct pause *p, uint64_t now_ns, bool kept_waiting)
{
	const uint64_t tolerance_ns = PAUSE_TOLERANCE_MS * NS_PER_MS;
	uint64_t due_ns = u64_max(p->wake_by_ns, p->slept_at_ns);
	uint64_t busy_ns = u64_sub_sat(p->slept_at_ns, p->listened_at_ns);
	uint64_t gap_ns = u64_sub_sat(now_ns, p->listened_at_ns);

	p->listened_at_ns = now_ns;
	if (gap_ns <= tolerance_ns)
		return 0;
	if (!kept_waiting && u64_sub_sat(now_ns, due_ns) <= tolerance_ns &&
	    busy_ns <= tolerance_ns)
		return 0;
	remember(p, now_ns, gap_ns);
	return gap_ns;
}

uint64_t
pause_credit_ns(const struct pause *p, uint64_t last_seen_ns)
{
	uint64_t credit_ns = 0;

	for (unsigned i = 0; i < p->n_gaps; i++) {
		if (p->gaps[i].end_ns <= last_seen_ns)
			break;
		credit_ns = u64_add_sat(credit_ns, p->gaps[i].length_ns);
	}
	return credit_ns;
}
