/*
 * Bare readers: what stands for the least that any observer must do. A reader
 * is a process of its own with a socket, takes datagrams with the credentials
 * of their senders, and looks at nothing.
 */
#ifndef BENCH_READER_H
#define BENCH_READER_H

#include <stdint.h>
#include <sys/types.h>

#include "support.h"

enum reader_kind {
	READER_BLOCKED = 0, /* sleeps in recvmsg(2) for each datagram */
	READER_POLLED,      /* poll(2), then recvmsg(2), for each datagram */
	READER_BATCHED      /* recvmmsg(2) until the queue is empty, then a nap
			       of 1 ms: never woken by a datagram */
};

struct reader {
	pid_t pid;
	uint64_t *frames; /* taken so far; shared with the reader */
};

/* A socket with credentials on, bound to address. */
int reader_socket(const struct sockaddr_un *address);

/* Bind address and read from it on cpu. */
void reader_start(enum reader_kind kind, int cpu,
    const struct sockaddr_un *address, struct reader *ret);

uint64_t reader_frames(const struct reader *r);

void reader_stop(struct reader *r);

#endif
