#include "agents.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <varta/varta.h>

#include "base/prng.h"
#include "base/util.h"

/* Written by one process only, so that agents do not share a line. */
struct seat {
	_Alignas(64) struct agents_tally tally;
};

struct control {
	uint32_t run; /* number of the plan; agents wait for it to change */
	uint32_t finished; /* agents through with it */
	uint32_t stop;
	struct agents_plan plan;
	struct seat seats[];
};

struct agents {
	struct control *control;
	unsigned n;
	pid_t pids[];
};

/* True when it was sent. */
static bool
beat(struct varta_agent *agent, struct agents_tally *tally)
{
	int r = varta_beat(agent, VARTA_OK, 0);

	if (r < 0)
		support_die("beat: %s", varta_strerror(r));
	if (r == VARTA_SENT)
		tally->sent++;
	else
		tally->dropped++;
	return r == VARTA_SENT;
}

static bool
told_to_stop(const struct control *c)
{
	return __atomic_load_n(&c->stop, __ATOMIC_RELAXED) != 0;
}

static void
follow(struct control *c, unsigned i, struct prng *random,
    struct varta_agent *agent)
{
	const struct agents_plan *plan = &c->plan;
	struct agents_tally tally = { 0, 0 };
	uint64_t at, n;

	at = plan->start_ns + i * plan->spacing_ns;
	if (plan->jitter_ns > 0)
		at += prng_below(random, plan->jitter_ns);
	for (n = 0; plan->beats == 0 || n < plan->beats; n++) {
		if (n == 0 || plan->period_ns > 0)
			support_sleep_until(at + n * plan->period_ns);
		if (told_to_stop(c))
			break;
		while (!beat(agent, &tally) && plan->insist)
			support_sleep_ms(1);
	}
	c->seats[i].tally = tally;
}

static _Noreturn void
live(struct control *c, unsigned i, unsigned n,
    const struct sockaddr_un *targets, unsigned n_targets)
{
	struct varta_agent *agents[AGENTS_TARGETS_MAX];
	struct prng random;
	uint32_t run = 0;
	unsigned k;

	for (k = 0; k < n_targets; k++)
		support_check(
		    varta_open(targets[k].sun_path, &agents[k]), "varta_open");
	prng_seed(&random, i);
	for (;;) {
		support_wait(&c->run, run);
		run++;
		follow(c, i, &random, agents[c->plan.target]);
		if (__atomic_add_fetch(&c->finished, 1, __ATOMIC_ACQ_REL) == n)
			support_wake(&c->finished);
	}
}

struct agents *
agents_new(
    unsigned n, int cpu, const struct sockaddr_un *targets, unsigned n_targets)
{
	struct agents *a;
	unsigned i;

	if (n_targets > AGENTS_TARGETS_MAX)
		support_die("more than %d addresses", AGENTS_TARGETS_MAX);
	a = calloc(1, sizeof(*a) + n * sizeof(a->pids[0]));
	if (a == NULL)
		support_die("out of memory");
	a->n = n;
	a->control =
	    support_shared(sizeof(*a->control) + n * sizeof(struct seat));
	for (i = 0; i < n; i++) {
		a->pids[i] = support_fork(cpu);
		if (a->pids[i] == 0)
			live(a->control, i, n, targets, n_targets);
	}
	return a;
}

void
agents_run(struct agents *a, const struct agents_plan *plan)
{
	struct control *c = a->control;

	c->plan = *plan;
	c->finished = 0;
	c->stop = 0;
	(void)__atomic_add_fetch(&c->run, 1, __ATOMIC_RELEASE);
	support_wake(&c->run);
}

struct agents_tally
agents_finish(struct agents *a)
{
	struct agents_tally sum = { 0, 0 };
	struct control *c = a->control;
	uint32_t finished;
	unsigned i;

	if (c->plan.beats == 0)
		__atomic_store_n(&c->stop, 1, __ATOMIC_RELAXED);
	while (
	    (finished = __atomic_load_n(&c->finished, __ATOMIC_ACQUIRE)) < a->n)
		support_wait(&c->finished, finished);
	for (i = 0; i < a->n; i++) {
		sum.sent += c->seats[i].tally.sent;
		sum.dropped += c->seats[i].tally.dropped;
	}
	return sum;
}

void
agents_beat_once(struct agents *a, unsigned target)
{
	struct agents_plan plan = {
		.target = target,
		.start_ns = support_now_ns() + 20 * NS_PER_MS,
		.spacing_ns = 200 * NS_PER_US,
		.beats = 1,
		.insist = true,
	};

	agents_run(a, &plan);
	(void)agents_finish(a);
}

pid_t
agents_pid(const struct agents *a, unsigned i)
{
	return a->pids[i];
}

void
agents_free(struct agents *a)
{
	unsigned i;

	for (i = 0; i < a->n; i++)
		support_kill(a->pids[i]);
	free(a);
}
