/*
 * Lanes as they come in: the socket to which agents connect to hand over the
 * memory that their lanes beat in (src/lib/lane_page.h).
 *
 * One file for each kind of system: lane_in_linux.c, and lane_in_none.c where
 * nobody can be named or no memory be sealed. Chosen by the build.
 *
 * What is accepted: a connection of a process that the kernel names, whose
 * first message is LANE_HELLO with one descriptor, of a memfd that can neither
 * shrink nor grow, with a head of this version. It is mapped read-only, and its
 * descriptor closed at once. So a place costs a descriptor and no memory of
 * ours, and no read can fail. All else is dropped and counted. Who may attach,
 * and what the memory says, is for others to judge. Never blocks.
 */
#ifndef WATCH_INTAKE_LANE_IN_H
#define WATCH_INTAKE_LANE_IN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/unix_path.h"
#include "watch/intake/lane_source.h"
#include "watch/stats.h"

enum {
	LANE_IN_BACKLOG = 128,
	/* Connections that have not said hello; the oldest makes room, also
	 * when there is no place left. */
	LANE_IN_STRANGERS = 64,
	LANE_IN_MESSAGES = 16 /* read of one connection at a time */
};

struct lane_in;

struct lane_in_options {
	const char
	    *path;       /* of the socket of the beats; LANES_SUFFIX is added */
	uint32_t mode;   /* of the file, 0 to 0777 */
	uint32_t places; /* connections at once, from 1 */
};

/*
 * Bind and listen, while there is one thread. stats is borrowed. 0, or -errno
 * with fault filled in and nothing left behind: as unix_path_init() and
 * unix_path_bind(), -EOPNOTSUPP (not on this system), -ENOMEM.
 */
int lane_in_open(const struct lane_in_options *options, struct stats *stats,
    struct lane_in **ret, char fault[static UNIX_PATH_FAULT_BYTES]);

/* Close all, and unlink the file if it is still ours. Takes NULL. */
void lane_in_close(struct lane_in *in);

/* Readable when there is something to take. */
int lane_in_fd(const struct lane_in *in);

/* For the observer; valid while it is open. */
struct lane_source lane_in_source(struct lane_in *in);

#endif
