/*
 * sealed_beat_vs_floor: what a sealed varta_beat() adds to what it cannot do
 * without, one sealing by libsodium and one send(2) of its 60 bytes.
 *
 * Over UDP on the loopback device, with a shared key. One thread sends and
 * drains outside the timed region, so that nobody ever sleeps on a socket.
 * Blocks of beats and of the floor alternate within a round.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <varta/secure.h>

#include "sample.h"
#include "support.h"

enum {
	ROUNDS = 9,
	BLOCK = 8,
	BLOCKS = 5000,
	BLOCKS_QUICK = 800,
	SAMPLES = BLOCK * BLOCKS,
	SEALED_BYTES = 60,
	PLAIN_BYTES = 32,
	IV_BYTES = crypto_aead_chacha20poly1305_ietf_NPUBBYTES
};

static double beats[SAMPLES];
static double floors[SAMPLES];
static const uint8_t key[VARTA_SECURE_KEY_BYTES] = { 1 };

struct scene {
	int reader_fd;
	int sender_fd;
	struct varta_agent *agent;
	uint8_t frame[PLAIN_BYTES];
	uint8_t iv[IV_BYTES];
};

static void
drain(int fd)
{
	uint8_t bytes[SEALED_BYTES + 1];

	while (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) >= 0)
		;
}

/* Both senders send to one reader: the same way through the kernel. */
static void
set_up(struct scene *s)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);
	char text[64];

	memset(s, 0, sizeof(*s));
	s->reader_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	s->sender_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (s->reader_fd < 0 || s->sender_fd < 0 ||
	    bind(s->reader_fd, (struct sockaddr *)&address, len) < 0 ||
	    getsockname(s->reader_fd, (struct sockaddr *)&address, &len) < 0 ||
	    connect(s->sender_fd, (struct sockaddr *)&address, len) < 0)
		support_die("UDP on the loopback: %s", strerror(errno));
	(void)snprintf(text, sizeof(text), "udp:127.0.0.1:%u",
	    (unsigned)ntohs(address.sin_port));
	support_check(varta_secure_open_shared(text, key, &s->agent),
	    "varta_secure_open");
}

static size_t
time_floor(struct scene *s, double *ret)
{
	uint8_t wire[SEALED_BYTES];
	uint64_t from, to;
	size_t i, n = 0;
	ssize_t r;

	for (i = 0; i < BLOCK; i++) {
		s->iv[IV_BYTES - 1]++;
		from = sample_ticks();
		(void)crypto_aead_chacha20poly1305_ietf_encrypt(wire + IV_BYTES,
		    NULL, s->frame, sizeof(s->frame), NULL, 0, NULL, s->iv,
		    key);
		r = send(s->sender_fd, wire, sizeof(wire),
		    MSG_DONTWAIT | MSG_NOSIGNAL);
		to = sample_ticks();
		if (r == SEALED_BYTES)
			ret[n++] = sample_ns(from, to);
	}
	drain(s->reader_fd);
	return n;
}

static size_t
time_beats(struct scene *s, double *ret)
{
	uint64_t from, to;
	size_t i, n = 0;
	int r;

	for (i = 0; i < BLOCK; i++) {
		from = sample_ticks();
		r = varta_beat(s->agent, VARTA_OK, 0);
		to = sample_ticks();
		if (r == VARTA_SENT)
			ret[n++] = sample_ns(from, to);
	}
	drain(s->reader_fd);
	return n;
}

int
main(int argc, char **argv)
{
	struct sample_rounds p50 = { .n = 0 }, p99 = { .n = 0 };
	struct support_options options;
	size_t n_beats, n_floors;
	struct scene scene;
	unsigned round, i, blocks;

	support_start(argc, argv, ROUNDS, &options);
	support_pin(options.cpu_sender);
	sample_calibrate();
	set_up(&scene);

	blocks = options.quick ? BLOCKS_QUICK : BLOCKS;
	for (round = 0; round < options.rounds; round++) {
		n_beats = n_floors = 0;
		for (i = 0; i < blocks; i++) {
			n_floors += time_floor(&scene, &floors[n_floors]);
			n_beats += time_beats(&scene, &beats[n_beats]);
		}
		if (n_beats == 0 || n_floors == 0)
			support_die("no frame was sent");
		sample_round(&p50, sample_percentile(beats, n_beats, 500),
		    sample_percentile(floors, n_floors, 500));
		sample_round(&p99, sample_percentile(beats, n_beats, 990),
		    sample_percentile(floors, n_floors, 990));
	}
	varta_close(scene.agent);

	sample_begin("sealed_beat_vs_floor");
	sample_ratio(&p50, "ns");
	sample_number("p99", sample_subject(&p99));
	sample_number("p99_floor", sample_floor(&p99));
	sample_end();
	sample_finish();
	return support_end();
}
