/*
 * Act in a world that does anything: random stalls of few agents, children
 * that end, cannot be killed, started or reaped, time that jumps. Whatever
 * comes, each child that was started is reported exactly once, at most one
 * runs for a process, no limit is passed, and nothing is left open. The seed
 * is printed; VARTA_SEED gives it again.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/prng.h"
#include "base/util.h"
#include "support/seed.h"
#include "unit/act_world.h"

enum { ROUNDS = 60, STEPS = 800, AGENTS = 12 };

static struct prng rng;

static bool
one_in(uint64_t n)
{
	return prng_below(&rng, n) == 0;
}

static int
open_descriptors(void)
{
	int fd, n = 0;

	for (fd = 0; fd < 256; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			n++;
	}
	return n;
}

static void
stall(struct world *w)
{
	uint32_t agent = (uint32_t)prng_below(&rng, AGENTS);
	struct act_request req = world_request(w, agent);

	req.start_ticks = prng_below(&rng, 3);
	req.origin = one_in(8) ? (enum origin)prng_below(&rng, ORIGIN_COUNT)
			       : ORIGIN_KERNEL_ATTESTED;
	(void)act_stall(w->act, &req);
}

static void
end_one(struct world *w)
{
	uint32_t child;

	if (w->n_children == 0)
		return;
	child = (uint32_t)prng_below(&rng, w->n_children);
	if (!w->children[child].over && !w->children[child].reaped)
		world_end(w, child, EXIT_HOW_CODE, (int)prng_below(&rng, 2));
}

/* A child that was killed ends, and that is told, only later. */
static void
tell_one(struct world *w)
{
	const struct world_child *c;

	if (w->n_children == 0)
		return;
	c = &w->children[prng_below(&rng, w->n_children)];
	if (c->watched && (c->over || one_in(20)))
		act_child_ended(w->act, c->token, w->now_ns);
}

static void
one_step(struct world *w)
{
	w->start_error = one_in(10) ? -EAGAIN : 0;
	w->kill_error = one_in(6) ? -EPERM : 0;
	w->reap_error = one_in(40) ? -ECHILD : 0;
	w->watch_fails = one_in(5);
	w->wanted = (enum act_wanted)(one_in(3) ? prng_below(&rng, 4) : 0);
	switch (prng_below(&rng, 8)) {
	case 0:
	case 1:
	case 2:
		stall(w);
		break;
	case 3:
		end_one(w);
		break;
	case 4:
		tell_one(w);
		break;
	case 5:
		w->now_ns += prng_below(&rng, 400) * NS_PER_MS;
		break;
	default:
		world_pass(w);
		break;
	}
	assert_true(act_n_children(w->act) <= 2 * w->options.capacity);
	assert_true(act_n_waiting(w->act) <= w->options.capacity);
}

static uint32_t
started_not_over(const struct world *w)
{
	return world_count(w, RECOVERY_SPAWNED) -
	       world_count(w, RECOVERY_REAPED_ZERO) -
	       world_count(w, RECOVERY_REAPED_NONZERO) -
	       world_count(w, RECOVERY_KILLED) -
	       world_count(w, RECOVERY_REAP_FAILED);
}

static void
assert_each_reported_once(const struct world *w)
{
	static unsigned reports[WORLD_CHILDREN];
	const struct recovery_record *r;
	uint32_t i;

	memset(reports, 0, sizeof(reports));
	for (i = 0; i < w->n_records; i++) {
		r = &w->records[i];
		if (r->child_pid == 0)
			assert_non_null(r->detail);
		else if (r->outcome != RECOVERY_SPAWNED)
			reports[r->child_pid - WORLD_PID]++;
	}
	for (i = 0; i < w->n_children; i++)
		assert_int_equal(reports[i], 1);
}

static void
one_round(void)
{
	int before = open_descriptors(), i;
	struct world *w = world_new();

	w->pidfds = !one_in(4);
	w->pipes = one_in(2);
	w->kills_end = one_in(2);
	w->options.capacity = (uint32_t)(1 + prng_below(&rng, 6));
	w->options.timeout_ns = one_in(4) ? 0 : NS_PER_S;
	w->options.debounce_ns = prng_below(&rng, 3) * 300 * NS_PER_MS;
	w->options.shutdown_grace_ns = 10 * NS_PER_MS;
	world_start(w);
	for (i = 0; i < STEPS; i++) {
		one_step(w);
		assert_int_equal(started_not_over(w), act_n_children(w->act));
	}
	w->reap_error = 0;
	act_shutdown(w->act, world_clock, w);
	w->act = NULL;
	assert_int_equal(started_not_over(w), 0);
	assert_each_reported_once(w);
	world_free(w);
	assert_int_equal(open_descriptors(), before);
}

static void
each_child_is_reported_once_and_nothing_is_left(void **state)
{
	int i;

	(void)state;
	prng_seed(&rng, seed_choose());
	log_init("prop_act", LOG_PLAIN, LOG_ERROR);
	for (i = 0; i < ROUNDS; i++)
		one_round();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    each_child_is_reported_once_and_nothing_is_left),
	};

	return cmocka_run_group_tests_name("prop_act", tests, NULL, NULL);
}
