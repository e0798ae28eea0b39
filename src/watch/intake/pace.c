#include "watch/intake/pace.h"

#include "base/util.h"

static const uint64_t nap_max_ns = PACE_NAP_US * NS_PER_US;
static const uint64_t nap_min_ns = PACE_NAP_MIN_US * NS_PER_US;

void
pace_init(struct pace *p, uint32_t queue_len, uint64_t now_ns)
{
	*p = (struct pace){
		.queue_len = queue_len,
		.window_start_ns = now_ns,
	};
}

/* The nap that suits so many frames in so long a time; 0 for none. */
static uint64_t
suitable_nap(const struct pace *p, uint64_t frames, uint64_t elapsed_ns)
{
	const uint64_t least = p->nap_ns > 0 ? PACE_LEAVE : PACE_ENTER;
	uint64_t nap_ns;

	/* frames / elapsed >= least / nap, without dividing. */
	if (u64_mul_sat(frames, nap_max_ns) < u64_mul_sat(least, elapsed_ns))
		return 0;

	nap_ns =
	    u64_mul_sat(p->queue_len / PACE_QUEUE_PART, elapsed_ns) / frames;
	if (nap_ns < nap_min_ns)
		return 0;
	return u64_min(nap_ns, nap_max_ns);
}

void
pace_note(struct pace *p, uint32_t frames, uint64_t now_ns)
{
	uint64_t elapsed_ns = u64_sub_sat(now_ns, p->window_start_ns);

	if (p->queue_len < PACE_QUEUE_MIN)
		return;

	p->window_frames = u64_add_sat(p->window_frames, frames);
	if (frames > p->queue_len / 2) {
		p->blocked_until_ns =
		    u64_add_sat(now_ns, PACE_HOLD_MS * NS_PER_MS);
		p->nap_ns = 0;
	}
	if (elapsed_ns < PACE_WINDOW_MS * NS_PER_MS)
		return;

	p->nap_ns = now_ns < p->blocked_until_ns
			? 0
			: suitable_nap(p, p->window_frames, elapsed_ns);
	p->window_start_ns = now_ns;
	p->window_frames = 0;
}

uint64_t
pace_nap_ns(const struct pace *p)
{
	return p->nap_ns;
}
