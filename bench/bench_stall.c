/*
 * stall_lateness_vs_timer: how long after its deadline an agent is said to
 * have stalled, against how late a bare absolute timerfd fires.
 *
 * 1,000 processes beat once each, 1.25 ms apart and a little at random, and
 * then owe a beat. What the event file says of the last beat and of the stall
 * is compared: its times come from one clock. A deadline is looked at in slots
 * of 1 ms, which is taken off before the comparison.
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "agents.h"
#include "base/prng.h"
#include "base/util.h"
#include "daemon.h"
#include "lateness.h"
#include "sample.h"
#include "support.h"

enum {
	ROUNDS = 6,
	ROUNDS_QUICK = 2,
	AGENTS = 1000,
	SPACING_NS = 1250000,
	/* Longer than all first beats take: stalls come in a quiet time. */
	THRESHOLD_MS = 1500,
	SLOT_US = 1000,
	SETTLE_MS = 60,
	QUEUE = 1024
};

struct timer {
	uint32_t run;
	uint32_t done;
	double us[AGENTS]; /* lateness of every deadline of a round */
};

struct scene {
	struct agents *agents;
	struct daemon daemon;
	struct timer *timer;
	struct lateness lateness;
};

static void
arm(int fd, uint64_t at_ns)
{
	struct itimerspec at = {
		.it_value = { .tv_sec = (time_t)(at_ns / NS_PER_S),
		    .tv_nsec = (long)(at_ns % NS_PER_S) },
	};

	if (timerfd_settime(fd, TFD_TIMER_ABSTIME, &at, NULL) < 0)
		support_die("timerfd_settime: %s", strerror(errno));
}

/* As a daemon would: epoll_wait(2), then a look at the clock. */
static void
time_deadlines(int epoll_fd, int timer_fd, double us[AGENTS])
{
	struct epoll_event event;
	uint64_t start_ns, at_ns, fired;
	struct prng random;
	size_t i;

	prng_seed(&random, support_now_ns());
	start_ns = support_now_ns() + 10 * NS_PER_MS;
	for (i = 0; i < AGENTS; i++) {
		at_ns = start_ns + i * SPACING_NS +
			prng_below(&random, SPACING_NS / 2);
		arm(timer_fd, at_ns);
		if (epoll_wait(epoll_fd, &event, 1, -1) != 1 ||
		    read(timer_fd, &fired, sizeof(fired)) != sizeof(fired))
			support_die("timerfd: %s", strerror(errno));
		us[i] = (double)(int64_t)(support_now_ns() - at_ns) / 1000;
	}
}

static _Noreturn void
be_timer(struct timer *t)
{
	struct epoll_event event = { .events = EPOLLIN };
	int epoll_fd, timer_fd;
	uint32_t run = 0;

	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	if (epoll_fd < 0 || timer_fd < 0 ||
	    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, timer_fd, &event) < 0)
		support_die("timerfd: %s", strerror(errno));
	for (;;) {
		support_wait(&t->run, run++);
		time_deadlines(epoll_fd, timer_fd, t->us);
		(void)__atomic_add_fetch(&t->done, 1, __ATOMIC_RELEASE);
		support_wake(&t->done);
	}
}

static void
run_timer(struct timer *t)
{
	uint32_t done = t->done;

	(void)__atomic_add_fetch(&t->run, 1, __ATOMIC_RELEASE);
	support_wake(&t->run);
	support_wait(&t->done, done);
}

static void
run_agents(struct scene *s)
{
	struct agents_plan plan = {
		.start_ns = support_now_ns() + 100 * NS_PER_MS,
		.spacing_ns = SPACING_NS,
		.jitter_ns = SPACING_NS / 2,
		.beats = 1,
	};

	agents_run(s->agents, &plan);
	if (agents_finish(s->agents).sent != AGENTS)
		support_die("a beat was refused");
	support_sleep_ms(THRESHOLD_MS + SETTLE_MS);
	lateness_read(&s->lateness);
	if (s->lateness.n != AGENTS)
		support_die("%u agents, but %zu stalls", AGENTS, s->lateness.n);
}

struct figures {
	struct sample_rounds beyond; /* the slot taken off */
	struct sample_rounds evened; /* the share of a slot that rounding up
					costs at this percentile */
	struct sample_rounds whole;  /* nothing taken off */
};

static void
note(struct figures *f, struct scene *s, unsigned permille)
{
	double subject, floor;

	subject = sample_percentile(s->lateness.us, s->lateness.n, permille);
	floor = sample_percentile(s->timer->us, AGENTS, permille);
	sample_round(
	    &f->beyond, subject > SLOT_US ? subject - SLOT_US : 0, floor);
	sample_round(&f->evened, subject - SLOT_US * permille / 1000.0, floor);
	sample_round(&f->whole, subject, floor);
}

static void
report(const char *part, const struct figures *f)
{
	sample_begin(part);
	sample_ratio(&f->beyond, "us");
	sample_number("lateness", sample_subject(&f->whole));
	sample_begin("rounding_evened_out");
	sample_ratio(&f->evened, "us");
	sample_end();
	sample_end();
}

static void
set_up(struct scene *s, const struct support_options *options)
{
	struct daemon_options what = {
		.threshold_ms = THRESHOLD_MS,
		.cpu = options->cpu_reader,
		.events = true,
	};

	daemon_start(options, &what, &s->daemon);
	s->timer = support_shared(sizeof(*s->timer));
	if (support_fork(options->cpu_reader) == 0)
		be_timer(s->timer);
	s->agents =
	    agents_new(AGENTS, options->cpu_sender, &s->daemon.address, 1);
	lateness_open(&s->lateness, s->daemon.events.sun_path, THRESHOLD_MS);
}

int
main(int argc, char **argv)
{
	static const char *const keys[] = { "stall_lateness_vs_timer", NULL };
	static struct figures p50, p99;
	static struct scene scene;
	struct support_options options;
	unsigned i;

	support_start(argc, argv, ROUNDS, &options);
	if (support_lacks_processors(&options, keys))
		return 0;
	if (options.quick)
		options.rounds = ROUNDS_QUICK;
	/* As it is where that is not permitted: one beat in 1.25 ms. */
	(void)support_long_queue(QUEUE);
	support_pin(options.cpu_sender);
	set_up(&scene, &options);
	for (i = 0; i < options.rounds; i++) {
		run_timer(scene.timer);
		run_agents(&scene);
		note(&p50, &scene, 500);
		note(&p99, &scene, 990);
	}

	sample_begin("stall_lateness_vs_timer");
	sample_begin("parts");
	report("p50", &p50);
	report("p99", &p99);
	sample_end();
	sample_number("stalls", (double)scene.lateness.stalls);
	sample_number("earliest", scene.lateness.earliest_us);
	sample_end();
	sample_finish();

	lateness_close(&scene.lateness);
	agents_free(scene.agents);
	daemon_stop(&scene.daemon);
	return support_end();
}
