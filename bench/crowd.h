/*
 * A whole observer in a process of its own, with more agents than the kernel
 * has pids for: loop, tables and HTTP are the daemon's, on a real socket and a
 * real port; only what the kernel would say of the senders is made up. Every
 * frame is taken for one of the pid that it claims.
 */
#ifndef BENCH_CROWD_H
#define BENCH_CROWD_H

#include <netinet/in.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

#include "watch/stats.h"

enum {
	CROWD_FIRST_PID = 1000,
	/* From here on the command is called "victim", and held to a threshold
	 * of CROWD_VICTIM_MS; all others have an hour. */
	CROWD_VICTIM_PID = 4000000,
	CROWD_VICTIM_MS = 200
};

/* Shared with the process. */
struct crowd {
	uint32_t ready;
	uint16_t port;
	struct sockaddr_un address;
	struct stats stats; /* the daemon's own, as it counts */
};

/* Start it on cpu. The result lies in shared memory. */
struct crowd *crowd_start(int cpu, pid_t *ret_pid);

/* A socket to send frames to it, and one frame of the agent pid. */
int crowd_connect(const struct crowd *c);
void crowd_beat(int fd, uint32_t pid, uint64_t nonce);

#endif
