/*
 * The rules against replay under random traffic: agents that beat, are
 * started anew and change prefixes; a network that loses, doubles and
 * reorders; an attacker who sends again whatever was delivered, at any time;
 * an observer that ends cleanly or crashes. A plain model that keeps every
 * frame says what must hold:
 *
 *	- nothing is taken twice,
 *	- nothing of a session that was closed is taken,
 *	- a beat that comes in order is taken, but for a while after a crash.
 *
 * The seed is printed; VARTA_SEED gives it again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/prng.h"
#include "support/replaybox.h"
#include "support/seed.h"

enum {
	ROUNDS = 40,
	STEPS = 4000,
	AGENTS = 6,
	FIRST_PID = 100,
	/* Beats come once in some seconds: after a crash no more than these
	 * are refused. */
	DEAF_MAX = 16
};

struct agent {
	uint64_t prefix;
	uint32_t counter;
	uint64_t nonce;
	unsigned deaf; /* beats that may be refused: there was a crash */
	bool is_known; /* a frame of its session was taken */
};

struct world {
	struct replaybox box;
	struct prng rng;
	struct agent agents[AGENTS];
	struct replay_frame *taken; /* every frame that ever was */
	size_t n_taken;
	uint64_t next_prefix;
};

static void
start_agent(struct world *w, struct agent *a, bool keep_nonce)
{
	*a = (struct agent){
		.prefix = w->next_prefix++,
		.nonce = keep_nonce ? a->nonce : 0,
	};
}

static struct replay_frame
next_frame(struct agent *a, uint32_t pid)
{
	return (struct replay_frame){
		.id = replaybox_id(pid),
		.prefix = a->prefix,
		.nonce = ++a->nonce,
		.timestamp = a->nonce,
		.counter = a->counter++,
	};
}

static bool
was_taken(const struct world *w, const struct replay_frame *frame)
{
	for (size_t i = 0; i < w->n_taken; i++)
		if (memcmp(&w->taken[i], frame, sizeof(*frame)) == 0)
			return true;
	return false;
}

/* A frame reaches the observer. Gives whether it was taken. */
static bool
deliver(struct world *w, const struct replay_frame *frame)
{
	struct replay_frame f;

	memset(&f, 0, sizeof(f)); /* padding, too */
	f.id = frame->id;
	f.prefix = frame->prefix;
	f.nonce = frame->nonce;
	f.timestamp = frame->timestamp;
	f.counter = frame->counter;
	if (!replaybox_takes(&w->box, &f))
		return false;
	assert_false(was_taken(w, &f));
	w->taken[w->n_taken++] = f;
	return true;
}

/* The agent beats; the network brings it, or loses it, or doubles it. */
static void
beat(struct world *w, unsigned i)
{
	struct agent *a = &w->agents[i];
	struct replay_frame f = next_frame(a, FIRST_PID + i);

	if (prng_below(&w->rng, 10) == 0)
		return;
	if (!deliver(w, &f)) {
		if (a->deaf-- == 0)
			fail_msg("agent %u: counter %u of session %llu refused",
			    i, f.counter, (unsigned long long)f.prefix);
		return;
	}
	a->deaf = 0;
	a->is_known = true;
	if (prng_below(&w->rng, 10) == 0)
		assert_false(deliver(w, &f));
}

/* Something that was taken before is sent again. */
static void
replay(struct world *w)
{
	if (w->n_taken > 0)
		assert_false(
		    deliver(w, &w->taken[prng_below(&w->rng, w->n_taken)]));
}

/* A frame comes when its session is over: the network was slow, or an attacker
 * kept it. Of a session that was never heard of nobody could tell. */
static void
bring_late(struct world *w, unsigned i)
{
	struct agent *a = &w->agents[i];
	struct replay_frame late = next_frame(a, FIRST_PID + i);
	unsigned n = 0;

	if (!a->is_known)
		return;
	start_agent(w, a, prng_below(&w->rng, 2) == 0);
	a->is_known = true;
	while (n < 2) {
		struct replay_frame f = next_frame(a, FIRST_PID + i);

		n += deliver(w, &f);
		w->box.now_ns += REPLAY_REFILL_S * NS_PER_S;
	}
	assert_false(deliver(w, &late));
}

static void
step(struct world *w)
{
	unsigned i = (unsigned)prng_below(&w->rng, AGENTS);
	uint64_t what = prng_below(&w->rng, 1000);

	w->box.now_ns += prng_below(&w->rng, 2) == 0
			     ? prng_below(&w->rng, NS_PER_S)
			     : NS_PER_S;
	if (what < 700) {
		beat(w, i);
	} else if (what < 960) {
		replay(w);
	} else if (what < 975) {
		w->box.now_ns += 2 * REPLAY_REFILL_S * NS_PER_S;
		/* Going on with the nonce after a change of prefix shows only
		 * where the nonce before it was heard. */
		start_agent(w, &w->agents[i],
		    w->agents[i].is_known && prng_below(&w->rng, 3) == 0);
	} else if (what < 985) {
		bring_late(w, i);
	} else if (what < 990) {
		w->box.now_ns += prng_below(&w->rng, 3600) * NS_PER_S;
	} else if (what < 996) {
		replaybox_restart(&w->box, true);
	} else if (what < 998) {
		replaybox_restart(&w->box, false);
		for (i = 0; i < AGENTS; i++)
			w->agents[i].deaf = DEAF_MAX;
	}
}

static void
nothing_is_ever_taken_twice_and_what_is_in_order_is_taken(void **state)
{
	uint64_t seed = seed_choose();

	(void)state;
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct world w = { .next_prefix = 1 };

		prng_seed(&w.rng, seed + round);
		replaybox_init(&w.box, AGENTS);
		w.taken = calloc(STEPS * 2, sizeof(*w.taken));
		assert_non_null(w.taken);
		for (unsigned i = 0; i < AGENTS; i++)
			start_agent(&w, &w.agents[i], false);
		for (unsigned i = 0; i < STEPS; i++)
			step(&w);
		/* All of it once more, in order, after a silence. */
		w.box.now_ns += 3600 * NS_PER_S;
		for (size_t i = 0; i < w.n_taken; i++)
			assert_false(replaybox_takes(&w.box, &w.taken[i]));
		free(w.taken);
		replaybox_fini(&w.box);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    nothing_is_ever_taken_twice_and_what_is_in_order_is_taken),
	};

	return cmocka_run_group_tests_name("replay", tests, NULL, NULL);
}
