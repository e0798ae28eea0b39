/*
 * lane_beat_vs_floor: what varta_lane_beat() adds to reading the clock and
 * storing the time. lane_beat_vs_send: the same beat to the cheapest send(2)
 * there is, of a frame into a queue at which nobody sleeps.
 *
 * One thread on one processor. All of them take turns block by block.
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <varta/varta.h>

#include "base/util.h"
#include "reader.h"
#include "sample.h"
#include "support.h"

enum {
	ROUNDS = 9,
	BLOCKS = 4000,
	BLOCKS_QUICK = 500,
	BLOCK_STORES = 64, /* timed together: each is a few ns */
	BLOCK_SENDS = 8    /* fits into the shortest queue, 11 */
};

static double beats[BLOCKS], exact_beats[BLOCKS];
static double stores[BLOCKS], exact_stores[BLOCKS];
static double sends[BLOCKS * BLOCK_SENDS];

struct scene {
	struct varta_agent *agent;
	struct varta_lane *lane; /* coarse clock */
	struct varta_lane *exact;
	_Atomic uint64_t *word; /* shared memory, as a lane has it */
	int reader_fd;
	int sender_fd; /* connected, non-blocking */
};

struct figures {
	struct sample_rounds beat;
	struct sample_rounds exact;
	struct sample_rounds send;
};

static inline uint64_t
clock_ns(clockid_t id)
{
	struct timespec ts;

	(void)clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static void __attribute__((noinline)) store_time(_Atomic uint64_t *word)
{
	atomic_store_explicit(
	    word, clock_ns(CLOCK_MONOTONIC_COARSE), memory_order_release);
}

static void __attribute__((noinline)) store_exact_time(_Atomic uint64_t *word)
{
	atomic_store_explicit(
	    word, clock_ns(CLOCK_MONOTONIC), memory_order_release);
}

static void
set_up(struct scene *s)
{
	struct sockaddr_un address;

	support_address("bare.sock", &address);
	s->reader_fd = reader_socket(&address);
	s->sender_fd =
	    socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->sender_fd < 0 ||
	    connect(
		s->sender_fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		support_die("%s: %s", address.sun_path, strerror(errno));
	support_check(varta_open(address.sun_path, &s->agent), "varta_open");
	support_check(varta_lane_open(s->agent, "coarse", 1000, &s->lane),
	    "varta_lane_open");
	support_check(varta_lane_open(s->agent, "exact", 10, &s->exact),
	    "varta_lane_open");
	s->word = support_shared(sizeof(*s->word));
}

static double
time_beats(struct varta_lane *lane)
{
	uint64_t from, to;
	int i;

	from = sample_ticks();
	for (i = 0; i < BLOCK_STORES; i++)
		varta_lane_beat(lane);
	to = sample_ticks();
	return sample_ns(from, to) / BLOCK_STORES;
}

static double
time_stores(_Atomic uint64_t *word)
{
	uint64_t from, to;
	int i;

	from = sample_ticks();
	for (i = 0; i < BLOCK_STORES; i++)
		store_time(word);
	to = sample_ticks();
	return sample_ns(from, to) / BLOCK_STORES;
}

static double
time_exact_stores(_Atomic uint64_t *word)
{
	uint64_t from, to;
	int i;

	from = sample_ticks();
	for (i = 0; i < BLOCK_STORES; i++)
		store_exact_time(word);
	to = sample_ticks();
	return sample_ns(from, to) / BLOCK_STORES;
}

/* Returns how many were sent. */
static size_t
time_sends(const struct scene *s, double *ret)
{
	uint8_t frame[SUPPORT_FRAME_BYTES + 1] = { 0xa5 };
	uint64_t from, to;
	size_t i, n = 0;
	ssize_t r;

	for (i = 0; i < BLOCK_SENDS; i++) {
		from = sample_ticks();
		r = send(s->sender_fd, frame, SUPPORT_FRAME_BYTES,
		    MSG_DONTWAIT | MSG_NOSIGNAL);
		to = sample_ticks();
		if (r == SUPPORT_FRAME_BYTES)
			ret[n++] = sample_ns(from, to);
	}
	while (recv(s->reader_fd, frame, sizeof(frame), MSG_DONTWAIT) >= 0)
		;
	return n;
}

static void
run_round(const struct scene *s, size_t blocks, struct figures *f)
{
	size_t i, n_sends = 0;
	double beat;

	for (i = 0; i < blocks; i++) {
		stores[i] = time_stores(s->word);
		beats[i] = time_beats(s->lane);
		exact_stores[i] = time_exact_stores(s->word);
		exact_beats[i] = time_beats(s->exact);
		n_sends += time_sends(s, &sends[n_sends]);
	}
	if (n_sends == 0)
		support_die("no frame was sent");

	beat = sample_percentile(beats, blocks, 500);
	sample_round(&f->beat, beat, sample_percentile(stores, blocks, 500));
	sample_round(&f->exact, sample_percentile(exact_beats, blocks, 500),
	    sample_percentile(exact_stores, blocks, 500));
	sample_round(&f->send, beat, sample_percentile(sends, n_sends, 500));
}

static void
report(const struct figures *f)
{
	sample_begin("lane_beat_vs_floor");
	sample_begin("parts");
	sample_begin("coarse");
	sample_ratio(&f->beat, "ns");
	sample_end();
	sample_begin("exact");
	sample_ratio(&f->exact, "ns");
	sample_end();
	sample_end();
	sample_end();
	sample_begin("lane_beat_vs_send");
	sample_ratio(&f->send, "ns");
	sample_end();
	sample_finish();
}

int
main(int argc, char **argv)
{
	struct support_options options;
	static struct figures figures;
	struct scene scene;
	unsigned round;

	support_start(argc, argv, ROUNDS, &options);
	support_pin(options.cpu_sender);
	sample_calibrate();
	set_up(&scene);
	for (round = 0; round < options.rounds; round++)
		run_round(
		    &scene, options.quick ? BLOCKS_QUICK : BLOCKS, &figures);
	report(&figures);
	varta_close(scene.agent);
	return support_end();
}
