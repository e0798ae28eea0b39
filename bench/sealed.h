/*
 * What benchmarks of sealed beats share: the daemon with keys, a socket to it,
 * and datagrams sent many at a call.
 *
 * All traffic is on the loopback device.
 */
#ifndef BENCH_SEALED_H
#define BENCH_SEALED_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "daemon.h"
#include "secure/seal.h"
#include "support.h"

enum { SEALED_BURST = 32, SEALED_KEYS = 8, SEALED_FORGED = 256 };

/* Datagrams that go out, or come in, with one call. */
struct sealed_burst {
	struct mmsghdr headers[SEALED_BURST];
	struct iovec iov[SEALED_BURST];
	uint8_t bytes[SEALED_BURST][SEAL_SHARED_BYTES];
};

void sealed_burst_init(struct sealed_burst *b);

/* Frames that no key opens. */
struct sealed_forgery {
	uint8_t frames[SEALED_FORGED][SEAL_SHARED_BYTES];
	unsigned next;
};

void sealed_forge(struct sealed_forgery *f);
void sealed_burst_fill(struct sealed_burst *b, struct sealed_forgery *f);

/* Send all of it. */
void sealed_burst_send(struct sealed_burst *b, int fd);

/* A UDP socket, connected unless to is NULL. */
int sealed_socket(const struct sockaddr_in *to);

/* daemon_start() with a UDP port, this key, and others up to n_keys, at most
 * SEALED_KEYS. Returns a socket to it. */
int sealed_start(const struct support_options *support,
    const struct daemon_options *options, const uint8_t key[static 32],
    size_t n_keys, struct daemon *ret);

#endif
