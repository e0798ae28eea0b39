/*
 * The UDP socket of the observer: bound to one numeric address, read in
 * batches. Nobody is named by the kernel here: what comes is believed because
 * it is sealed (sealed_in.h), or because the operator has said so.
 */
#ifndef WATCH_INTAKE_UDP_IN_H
#define WATCH_INTAKE_UDP_IN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "watch/intake/intake.h"

enum { UDP_IN_ADDRESS_BYTES = 64 };

struct udp_in;

struct udp_in_fault {
	char text[192];
};

/* 0 or -errno with fault filled in. */
int udp_in_open(const struct sockaddr *address, socklen_t len,
    struct udp_in **ret, struct udp_in_fault *fault);
void udp_in_close(struct udp_in *u); /* takes NULL */

int udp_in_fd(const struct udp_in *u);

/* IP:PORT as bound; a port of 0 was chosen by the system. */
const char *udp_in_address(const struct udp_in *u);

/* How many small datagrams the kernel holds, about. */
uint32_t udp_in_queue_len(const struct udp_in *u);

/* As datagram_reader_take(); the function of a source. */
int udp_in_take(void *u, struct datagram *ret, size_t max);

/* Plain frames: the source for intake_init(). vouched: the operator vouches
 * for the transport. */
struct intake_source udp_in_source(struct udp_in *u, bool vouched);

#endif
