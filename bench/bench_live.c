/*
 * beat_live_vs_blocked: a beat into the running daemon, which naps and drains,
 * against a bare send(2) to a reader that sleeps in recvmsg(2) and has to be
 * woken for every datagram. Reader and daemon run on the other processor.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <varta/varta.h>

#include "base/util.h"
#include "daemon.h"
#include "reader.h"
#include "sample.h"
#include "support.h"

enum {
	ROUNDS = 9,
	PER_S = 5000,
	WARM = PER_S / 2, /* the daemon looks at the rate before it naps */
	SAMPLES = PER_S,  /* one second */
	QUEUE = 1024
};

static double samples[SAMPLES];

struct scene {
	int fd; /* connected to the bare reader */
	struct varta_agent *agent;
	bool live;
};

/* Time to the next beat is spent awake: a sender that has slept itself finds
 * its caches cold, and that would be measured too. */
static void
await(uint64_t at_ns)
{
	while (support_now_ns() < at_ns)
		;
}

static bool
send_one(const struct scene *s)
{
	static const uint8_t frame[SUPPORT_FRAME_BYTES] = { 0xA5 };

	if (s->live)
		return varta_beat(s->agent, VARTA_OK, 0) == VARTA_SENT;
	return send(s->fd, frame, sizeof(frame), MSG_DONTWAIT | MSG_NOSIGNAL) ==
	       SUPPORT_FRAME_BYTES;
}

/* The median of what was sent; the others are counted. */
static double
measure(const struct scene *s, unsigned n_samples, uint64_t *dropped)
{
	uint64_t start, from, to;
	size_t n = 0;
	unsigned i;
	bool sent;

	start = support_now_ns();
	for (i = 0; i < WARM + n_samples; i++) {
		await(start + i * (NS_PER_S / PER_S));
		from = sample_ticks();
		sent = send_one(s);
		to = sample_ticks();
		if (i < WARM)
			continue;
		if (sent)
			samples[n++] = sample_ns(from, to);
		else
			(*dropped)++;
	}
	if (n == 0)
		support_die("no frame was sent");
	return sample_percentile(samples, n, 500);
}

static int
connected(const struct sockaddr_un *address)
{
	int fd;

	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 ||
	    connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		support_die("%s: %s", address->sun_path, strerror(errno));
	return fd;
}

int
main(int argc, char **argv)
{
	static const char *const keys[] = { "beat_live_vs_blocked", NULL };
	struct sample_rounds rounds = { .n = 0 };
	struct support_options options;
	struct sockaddr_un bare;
	struct reader reader;
	struct daemon daemon;
	struct scene scene;
	uint64_t dropped = 0;
	double floor;
	unsigned i, n;

	support_start(argc, argv, ROUNDS, &options);
	if (support_lacks_processors(&options, keys))
		return 0;
	if (support_long_queue(QUEUE) < 0) {
		sample_skip(keys, "needs a network namespace of its own");
		return 0;
	}
	support_pin(options.cpu_sender);
	sample_calibrate();
	daemon_start(&options,
	    &(struct daemon_options){
		.threshold_ms = 60000, .cpu = options.cpu_reader },
	    &daemon);
	support_address("bare.sock", &bare);
	reader_start(READER_BLOCKED, options.cpu_reader, &bare, &reader);
	scene.fd = connected(&bare);
	support_check(
	    varta_open(daemon.address.sun_path, &scene.agent), "varta_open");

	n = options.quick ? SAMPLES / 5 : SAMPLES;
	for (i = 0; i < options.rounds; i++) {
		scene.live = false;
		floor = measure(&scene, n, &dropped);
		scene.live = true;
		sample_round(&rounds, measure(&scene, n, &dropped), floor);
	}

	sample_begin("beat_live_vs_blocked");
	sample_ratio(&rounds, "ns");
	sample_number("beats_per_s", PER_S);
	sample_number("dropped", (double)dropped);
	sample_end();
	sample_finish();
	reader_stop(&reader);
	daemon_stop(&daemon);
	return support_end();
}
