#include "watch/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "watch/timer.h"

enum {
	LOOP_SIGNALS = 4 /* SIGTERM, SIGINT, SIGHUP, SIGCONT */
};

struct loop {
	struct loop_options options;
	struct event_base *base;
	struct event *datagrams;
	struct event *network;
	struct event *processes;
	struct event *lanes;
	struct event *http[LOOP_HTTP];
	struct event *signals[LOOP_SIGNALS];
	struct timer *timer;
	bool listening; /* to the socket of the beats */
	bool hears_network;
	bool http_ready;
	bool ending;
	bool reload_wanted;
	uint64_t late_gaps; /* known of */
};

/* Set by the handler of SIGCONT, which then does what the library's does: that
 * alone would tell in the next turn, and a stop may fall between two. */
static volatile sig_atomic_t was_continued;
static void (*wake_up)(int signal);

uint64_t
loop_now_ns(void *ctx)
{
	struct loop_clock *clock = ctx;

	return steady_now_ns(&clock->steady,
	    u64_sub_sat(clock_now_ns(clock->source), clock->origin_ns));
}

static void
on_ready(evutil_socket_t fd, short what, void *ctx)
{
	/* That the loop returned is all there is to know. */
	(void)fd;
	(void)what;
	(void)ctx;
}

static void
on_http(evutil_socket_t fd, short what, void *ctx)
{
	struct loop *l = ctx;

	(void)fd;
	(void)what;
	l->http_ready = true;
}

static void
on_end(evutil_socket_t signal, short what, void *ctx)
{
	struct loop *l = ctx;

	(void)what;
	if (!l->ending)
		log_info("ending on signal %d", (int)signal);
	l->ending = true;
}

static void
on_reload(evutil_socket_t signal, short what, void *ctx)
{
	struct loop *l = ctx;

	(void)signal;
	(void)what;
	l->reload_wanted = true;
}

static void
on_continue(int signal)
{
	was_continued = 1;
	wake_up(signal);
}

/* What the library puts back when it gives a signal up. */
static void
do_nothing(int signal)
{
	(void)signal;
}

static int
take_signal(
    struct loop *l, int signal, event_callback_fn callback, struct event **ret)
{
	struct sigaction action = { .sa_handler = do_nothing,
		.sa_flags = SA_RESTART };

	if (sigaction(signal, &action, NULL) < 0)
		return -errno;
	*ret = evsignal_new(l->base, signal, callback, l);
	return *ret == NULL || event_add(*ret, NULL) < 0 ? -ENOMEM : 0;
}

/* The library's handler is put behind ours. */
static int
take_continue(struct loop *l, struct event **ret)
{
	struct sigaction action;
	int r = take_signal(l, SIGCONT, on_ready, ret);

	if (r < 0)
		return r;
	if (sigaction(SIGCONT, NULL, &action) < 0)
		return -errno;
	wake_up = action.sa_handler;
	action.sa_handler = on_continue;
	return sigaction(SIGCONT, &action, NULL) < 0 ? -errno : 0;
}

static int
take_signals(struct loop *l)
{
	static const struct {
		int signal;
		event_callback_fn callback;
	} signals[] = {
		{ SIGTERM, on_end },
		{ SIGINT, on_end },
		{ SIGHUP, on_reload },
	};
	sigset_t all, before;
	int r = 0;

	/* None must meet the handler that does nothing. */
	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, &before);
	for (size_t i = 0; i < ARRAY_SIZE(signals) && r == 0; i++)
		r = take_signal(
		    l, signals[i].signal, signals[i].callback, &l->signals[i]);
	if (r == 0)
		r = take_continue(l, &l->signals[ARRAY_SIZE(signals)]);
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	return r;
}

static int
listen_to(
    struct loop *l, int fd, event_callback_fn callback, struct event **ret)
{
	if (fd < 0)
		return 0;
	*ret = event_new(l->base, fd, EV_READ | EV_PERSIST, callback, l);
	if (*ret == NULL || event_add(*ret, NULL) < 0)
		return -ENOMEM;
	return 0;
}

int
loop_open(const struct loop_options *options, struct loop **ret)
{
	struct event_config *config = event_config_new();
	struct loop *l = calloc(1, sizeof(*l));
	int r = -ENOMEM;

	if (l == NULL || config == NULL)
		goto fail;
	l->options = *options;
	/* No time is read by the library, and no lock is taken. */
	(void)event_config_set_flag(
	    config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_NO_CACHE_TIME);
	l->base = event_base_new_with_config(config);
	if (l->base == NULL)
		goto fail;
	r = take_signals(l);
	if (r < 0)
		goto fail;
	r = timer_open(l->base, options->clock->source, &l->timer);
	if (r < 0)
		goto fail;
	r = listen_to(l, options->intake_fd, on_ready, &l->datagrams);
	if (r < 0)
		goto fail;
	l->listening = true;
	r = listen_to(l, options->network_fd, on_ready, &l->network);
	if (r < 0)
		goto fail;
	l->hears_network = l->network != NULL;
	r = listen_to(l, options->process_fd, on_ready, &l->processes);
	if (r == 0)
		r = listen_to(l, options->lanes_fd, on_ready, &l->lanes);
	if (r < 0)
		goto fail;
	for (size_t i = 0; i < LOOP_HTTP && r == 0; i++)
		if (options->http[i] != NULL)
			r = listen_to(
			    l, http_fd(options->http[i]), on_http, &l->http[i]);
	if (r < 0)
		goto fail;
	event_config_free(config);
	*ret = l;
	return 0;

fail:
	if (config != NULL)
		event_config_free(config);
	loop_close(l);
	return r;
}

void
loop_close(struct loop *l)
{
	if (l == NULL)
		return;
	for (size_t i = 0; i < LOOP_SIGNALS; i++)
		if (l->signals[i] != NULL)
			event_free(l->signals[i]);
	if (l->datagrams != NULL)
		event_free(l->datagrams);
	if (l->network != NULL)
		event_free(l->network);
	if (l->processes != NULL)
		event_free(l->processes);
	if (l->lanes != NULL)
		event_free(l->lanes);
	for (size_t i = 0; i < LOOP_HTTP; i++)
		if (l->http[i] != NULL)
			event_free(l->http[i]);
	timer_close(l->timer);
	if (l->base != NULL)
		event_base_free(l->base);
	free(l);
}

static void
listen_or_nap(
    struct loop *l, struct event *datagrams, bool *listening, bool listen)
{
	if (datagrams == NULL || listen == *listening)
		return;
	*listening = listen;
	l->options.stats->naps_entered += !listen;
	if (listen)
		(void)event_add(datagrams, NULL);
	else
		(void)event_del(datagrams);
}

static void
update_gauges(struct loop *l, uint64_t now_ns)
{
	struct metrics_gauges *gauges = l->options.gauges;

	gauges->agents = observer_agents(l->options.observer);
	gauges->lanes = observer_lanes(l->options.observer);
	gauges->hanging = observer_hanging(l->options.observer);
	gauges->gone = observer_gone(l->options.observer);
	l->options.stats->clock_regressions = l->options.clock->steady.n_back;
	gauges->last_pass_wall_ms = clock_wall_ms();
	gauges->last_pass_ns = now_ns;
	if (l->options.stats->late_gaps != l->late_gaps) {
		l->late_gaps = l->options.stats->late_gaps;
		gauges->late_until_ns =
		    u64_add_sat(now_ns, LOOP_LATE_S * NS_PER_S);
	}
}

/* When HTTP is due without being ready; NS_NEVER where there is none. */
static uint64_t
http_due_ns(const struct loop *l, uint64_t now_ns)
{
	uint64_t due_ns = NS_NEVER;

	for (size_t i = 0; i < LOOP_HTTP; i++)
		if (l->options.http[i] != NULL)
			due_ns = u64_min(
			    due_ns, http_next_ns(l->options.http[i], now_ns));
	return due_ns;
}

/* HTTP comes last in a pass, when it is ready or due. Returns when it is due
 * next. */
static uint64_t
serve_http(struct loop *l, uint64_t now_ns)
{
	uint64_t end_ns;

	if (!l->http_ready && http_due_ns(l, now_ns) > now_ns)
		return http_due_ns(l, now_ns);
	pulse_enter(l->options.pulse, STATS_STAGE_SERVE_PENDING);
	l->http_ready = false;
	for (size_t i = 0; i < LOOP_HTTP; i++)
		if (l->options.http[i] != NULL)
			http_serve(l->options.http[i], now_ns);
	end_ns = loop_now_ns(l->options.clock);
	stats_histogram_add(&l->options.stats->stage[STATS_STAGE_SERVE_PENDING],
	    u64_sub_sat(end_ns, now_ns));
	return http_due_ns(l, end_ns);
}

/* What our own watchers want of a pass. Returns when they are due next. */
static uint64_t
keep_house(struct loop *l, uint64_t now_ns)
{
	uint64_t next_ns;

	pulse_enter(l->options.pulse, STATS_STAGE_HOUSEKEEPING);
	next_ns = health_pass(l->options.health, now_ns);
	stats_histogram_add(&l->options.stats->stage[STATS_STAGE_HOUSEKEEPING],
	    u64_sub_sat(loop_now_ns(l->options.clock), now_ns));
	return next_ns;
}

static void
wait_for(struct loop *l, const struct observer_wait *wait, uint64_t now_ns)
{
	int flags = EVLOOP_ONCE;

	listen_or_nap(l, l->datagrams, &l->listening, wait->for_datagrams);
	listen_or_nap(l, l->network, &l->hears_network, wait->for_network);
	pulse_wait(l->options.pulse, u64_sub_sat(wait->until_ns, now_ns));
	if (wait->until_ns <= now_ns)
		flags |= EVLOOP_NONBLOCK;
	else
		timer_arm(l->timer,
		    u64_add_sat(wait->until_ns, l->options.clock->origin_ns));
	(void)event_base_loop(l->base, flags);
}

int
loop_run(struct loop *l)
{
	while (!l->ending) {
		uint64_t now_ns = loop_now_ns(l->options.clock);
		bool continued = was_continued != 0;
		struct observer_wait wait;
		uint64_t others_ns;

		if (now_ns >= l->options.end_at_ns)
			break;
		was_continued = 0;
		if (l->reload_wanted) {
			l->reload_wanted = false;
			l->options.reload(l->options.reload_ctx);
		}
		observer_pass(l->options.observer, now_ns, continued);
		if (observer_has_failed(l->options.observer))
			return -EPERM;
		now_ns = loop_now_ns(l->options.clock);
		update_gauges(l, now_ns);
		others_ns = serve_http(l, now_ns);
		now_ns = loop_now_ns(l->options.clock);
		others_ns = u64_min(others_ns, keep_house(l, now_ns));
		now_ns = loop_now_ns(l->options.clock);
		wait = observer_rest(l->options.observer, now_ns,
		    u64_min(others_ns, l->options.end_at_ns));
		wait_for(l, &wait, now_ns);
	}
	return 0;
}
