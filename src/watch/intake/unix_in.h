/*
 * The Unix datagram socket of the observer: binding by the rules of the
 * reference (observer page 1.1), receiving in batches with the credentials of
 * each sender, removing the file at the end only if it is still ours.
 */
#ifndef WATCH_INTAKE_UNIX_IN_H
#define WATCH_INTAKE_UNIX_IN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/unix_path.h"
#include "watch/intake/intake.h"

struct unix_in;

/* What was wrong, in words, when opening fails: thing, value, reason. */
struct unix_in_fault {
	char text[UNIX_PATH_FAULT_BYTES];
};

struct unix_in_options {
	const char *path;
	uint32_t mode;         /* 0 to 0777 */
	uint32_t rcvbuf_bytes; /* 0 leaves the system's default */
};

/* What the operator is told at start and in metrics. */
struct unix_in_facts {
	uint32_t rcvbuf_bytes; /* granted; 0 unknown */
	uint32_t queue_len;    /* net.unix.max_dgram_qlen; 0 unknown */
	bool dir_sync_failed;  /* the folder could not be synced */
	bool took_over_stale;  /* a dead observer's socket was replaced */
};

/*
 * Bind. The process must be single-threaded (the umask is the process's).
 * Returns 0 or -errno with fault filled in and nothing left behind: -EBUSY
 * (other threads), -EINVAL (parent folder, path), -EACCES (owner or mode of
 * the folder), -EADDRINUSE (a live observer, or not a socket), -ENAMETOOLONG,
 * -ENOMEM, others of the kernel.
 */
int unix_in_open(const struct unix_in_options *options, struct unix_in **ret,
    struct unix_in_facts *ret_facts, struct unix_in_fault *fault);

/* Close, and unlink the file if it is still the one that was bound. Takes
 * NULL. */
void unix_in_close(struct unix_in *u);

int unix_in_fd(const struct unix_in *u);

/* The source for intake_init(); valid while u is open. n_injected, borrowed,
 * counts descriptors that senders slipped in and that were closed. */
struct intake_source unix_in_source(struct unix_in *u, uint64_t *n_injected);

#endif
