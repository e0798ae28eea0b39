/*
 * What tracking costs: one beat with all the work of the deadlines in it,
 * against the bare look-up of who sent it.
 *
 * Every agent beats once in each second of a made-up clock, in an order drawn
 * anew for each second, with a threshold of three seconds. Beats come in
 * batches as the daemon takes them, and deadlines are looked at once in every
 * millisecond of that clock. The floor does the same look-ups of the same
 * identities in the same order and batches, with the same prefetching; it
 * compares the identity in the record, as every look-up must.
 *
 * Also: bytes of memory for each agent.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/prng.h"
#include "base/util.h"
#include "sample.h"
#include "support.h"
#include "watch/track/tracker.h"

enum {
	ROUNDS = 15,
	BEATS = 1 << 20, /* in a round, at least */
	BEATS_QUICK = 1 << 16,
	PART = 1 << 16, /* of a round, in beats */
	DUE = 64,
	FIRST_PID = 2,
	THRESHOLD_S = 3,
	WARM_UP_S = 4 /* until the wheel is as it will stay */
};

static const uint32_t sizes[] = { 4096, 100000, 1048576 };

struct field {
	struct tracker *tracker;
	struct stats stats;
	struct prng prng;
	uint32_t n_agents;
	uint32_t n_beats; /* of a round: whole seconds */
	uint32_t *order;  /* their senders */
	uint64_t now_ns;
	uint64_t seconds; /* since the start; every agent's nonce */
};

static uint64_t
cpu_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* Every agent once in every second. */
static void
draw_order(struct field *f)
{
	uint32_t *second, i, j, swap;

	for (second = f->order; second < f->order + f->n_beats;
	     second += f->n_agents) {
		for (i = 0; i < f->n_agents; i++)
			second[i] = FIRST_PID + i;
		for (i = f->n_agents - 1; i > 0; i--) {
			j = (uint32_t)prng_below(&f->prng, i + 1);
			swap = second[i];
			second[i] = second[j];
			second[j] = swap;
		}
	}
}

/* Beats from place i on as the intake would deliver them, none of them in
 * another second than the first. Returns how many. */
static inline uint32_t
take_batch(const struct field *f, uint32_t i, struct beat *beats)
{
	uint32_t n = f->n_agents - i % f->n_agents, k;
	uint64_t nonce = f->seconds + i / f->n_agents;

	if (n > SUPPORT_BATCH)
		n = SUPPORT_BATCH;
	for (k = 0; k < n; k++) {
		beats[k].id = f->order[i + k];
		beats[k].nonce = nonce;
		beats[k].timestamp = f->now_ns;
	}
	for (k = 0; k < n; k++)
		tracker_prefetch(f->tracker, beats[k].id);
	for (k = 0; k < n; k++)
		tracker_prefetch_record(f->tracker, beats[k].id);
	return n;
}

/* Look the senders of a part of the round up. Returns the time taken. */
static uint64_t
look_up(const struct field *f, uint32_t from, uint32_t to)
{
	struct beat beats[SUPPORT_BATCH] = { 0 };
	uint32_t i, k, n;
	uint64_t sum = 0, start;

	start = cpu_ns();
	for (i = from; i < to; i += n) {
		n = take_batch(f, i, beats);
		for (k = 0; k < n; k++)
			sum += tracker_find(f->tracker, beats[k].id);
	}
	start = cpu_ns() - start;
	if (sum / (to - from) >= f->n_agents)
		support_die("an agent was not found");
	return start;
}

/* Look once in each millisecond that has begun since the last time. */
static inline uint64_t
look_at_deadlines(const struct field *f, uint64_t now_ns)
{
	uint64_t at_ns = (f->now_ns / NS_PER_MS + 1) * NS_PER_MS, stalled = 0;
	struct tracker_due due[DUE];

	for (; at_ns <= now_ns; at_ns += NS_PER_MS)
		stalled += tracker_due(f->tracker, at_ns, due, DUE);
	return stalled;
}

/* And now they beat. Returns the time taken. */
static uint64_t
beat(struct field *f, uint32_t from, uint32_t to)
{
	struct beat beats[SUPPORT_BATCH] = { 0 };
	uint64_t begin = f->seconds * NS_PER_S, now_ns, start, stalled = 0;
	unsigned refused = 0;
	uint32_t i, k, n, slot;

	for (k = 0; k < SUPPORT_BATCH; k++)
		beats[k].origin = ORIGIN_KERNEL_ATTESTED;
	start = cpu_ns();
	for (i = from; i < to; i += n) {
		n = take_batch(f, i, beats);
		now_ns = begin + i * NS_PER_S / f->n_agents;
		for (k = 0; k < n; k++) {
			slot = tracker_find(f->tracker, beats[k].id);
			refused |= (unsigned)tracker_beat(
			    f->tracker, slot, &beats[k], now_ns);
		}
		stalled += look_at_deadlines(f, now_ns);
		f->now_ns = now_ns;
	}
	start = cpu_ns() - start;
	if (refused != TRACKER_ACCEPTED || stalled != 0)
		support_die("an agent stalled, or a beat was refused");
	return start;
}

/*
 * A round: look-ups and beats alternate, in parts of whole seconds, so that
 * both see the same machine. Returns nanoseconds a beat, and in *ret_floor
 * nanoseconds a look-up.
 */
static double
go_round(struct field *f, double *ret_floor)
{
	uint32_t part = PART / f->n_agents * f->n_agents, from, to;
	uint64_t floor = 0, subject = 0;

	if (part == 0)
		part = f->n_agents;
	draw_order(f);
	for (from = 0; from < f->n_beats; from = to) {
		to = f->n_beats - from > part ? from + part : f->n_beats;
		floor += look_up(f, from, to);
		subject += beat(f, from, to);
	}
	f->seconds += f->n_beats / f->n_agents;
	*ret_floor = (double)floor / f->n_beats;
	return (double)subject / f->n_beats;
}

static struct tracker_options
options_for(uint32_t n_agents)
{
	return (struct tracker_options){
		.capacity = n_agents,
		.scan_window = 256,
		.max_rate_per_s = 100,
		.slot_ns = NS_PER_MS,
		.seed = { UINT64_C(0x5851f42d4c957f2d), n_agents },
	};
}

static void
join_all(struct field *f)
{
	const struct agent_terms terms = { .threshold_ns =
					       THRESHOLD_S * NS_PER_S };
	const struct identity nobody = { .pidfd = -1 };
	struct agent_view evicted;
	struct beat beat = { .origin = ORIGIN_KERNEL_ATTESTED };
	bool did_evict;
	uint32_t i, slot;

	for (i = 0; i < f->n_agents; i++) {
		beat.id = beat.pid = f->order[i];
		slot = tracker_join(f->tracker, &beat, &nobody, &terms,
		    i * NS_PER_S / f->n_agents, &evicted, &did_evict);
		if (slot == SLOT_NONE || did_evict)
			support_die("agent %u has no slot", i);
	}
}

static void
field_init(struct field *f, uint32_t n_agents, uint32_t n_beats)
{
	const struct tracker_options options = options_for(n_agents);
	uint32_t seconds = (n_beats + n_agents - 1) / n_agents;
	double floor;

	*f = (struct field){ .n_agents = n_agents };
	prng_seed(&f->prng, n_agents);
	f->n_beats = seconds * n_agents;
	f->order = calloc(f->n_beats, sizeof(f->order[0]));
	if (f->order == NULL)
		support_die("no memory");
	support_check(
	    tracker_new(&options, &f->stats, 0, &f->tracker), "tracker");
	draw_order(f);
	join_all(f);
	f->now_ns = NS_PER_S;
	f->seconds = 1;
	while (f->seconds < WARM_UP_S)
		(void)go_round(f, &floor);
}

static void
field_fini(struct field *f)
{
	tracker_free(f->tracker);
	free(f->order);
}

static double
median_ratio(const struct sample_rounds *s)
{
	struct sample_rounds ratios = { .n = s->n };
	size_t i;

	for (i = 0; i < s->n; i++)
		ratios.subject[i] = s->subject[i] / s->floor[i];
	return sample_subject(&ratios);
}

static void
measure(
    uint32_t n_agents, const struct support_options *o, struct sample_rounds *s)
{
	double floor, subject;
	struct field f;
	unsigned round;

	field_init(&f, n_agents, o->quick ? BEATS_QUICK : BEATS);
	for (round = 0; round < o->rounds; round++) {
		subject = go_round(&f, &floor);
		sample_round(s, subject, floor);
	}
	field_fini(&f);
	(void)fprintf(stderr,
	    "%u agents: look-up %.1f ns, beat %.1f ns: %.2f\n", n_agents,
	    sample_floor(s), sample_subject(s), median_ratio(s));
}

/* The size at which tracking is dearest. */
static size_t
worst(const struct sample_rounds *s)
{
	size_t i, ret = 0;

	for (i = 1; i < ARRAY_SIZE(sizes); i++)
		if (median_ratio(&s[i]) > median_ratio(&s[ret]))
			ret = i;
	return ret;
}

static void
write_size(uint32_t n_agents, const struct sample_rounds *s)
{
	char name[16];

	(void)snprintf(name, sizeof(name), "%u", n_agents);
	sample_begin(name);
	sample_ratio(s, "ns");
	sample_end();
}

static void
write_bytes(void)
{
	struct tracker_options options;
	double bytes, most = 0;
	char name[16];
	size_t i;

	sample_begin("table_bytes_per_agent");
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		options = options_for(sizes[i]);
		bytes = (double)tracker_bytes(&options) / sizes[i];
		most = bytes > most ? bytes : most;
		(void)snprintf(name, sizeof(name), "at_%u", sizes[i]);
		sample_number(name, bytes);
	}
	sample_number("value", most);
	sample_text("unit", "bytes");
	sample_end();
}

int
main(int argc, char **argv)
{
	static struct sample_rounds rounds[ARRAY_SIZE(sizes)];
	struct support_options options;
	size_t i;

	support_start(argc, argv, ROUNDS, &options);
	support_pin(options.cpu_reader);
	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		measure(sizes[i], &options, &rounds[i]);

	sample_begin("track_vs_lookup");
	sample_ratio(&rounds[worst(rounds)], "ns");
	sample_begin("by_size");
	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		write_size(sizes[i], &rounds[i]);
	sample_end();
	sample_end();
	write_bytes();
	sample_finish();
	return 0;
}
