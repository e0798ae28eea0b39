/*
 * Starting, ending and reaping child processes, and nothing of the rules.
 *
 * A child gets its own process group, default signals and an empty mask, stdin
 * from /dev/null, its output in pipes of ours, descriptors from 3 up closed.
 * Never fork(2). Nothing is allocated here, on Linux; elsewhere posix_spawn(3)
 * may do so inside the C library, and its failure to is an error of start().
 */
#ifndef WATCH_ACT_SPAWN_H
#define WATCH_ACT_SPAWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "watch/event.h"

struct spawned {
	pid_t pid;
	int pidfd;     /* -1 where there are none */
	int output[2]; /* read ends of stdout and stderr, non-blocking */
};

struct spawn_ops {
	/* argv[0] is looked up in the PATH of envp. 0 or -errno; a program that
	 * cannot be executed is an error here, not an exit code. */
	int (*start)(void *ctx, char *const argv[], char *const envp[],
	    struct spawned *ret);
	/* Signal the whole group; the child itself where it has left the group
	 * that was made for it. 0 or -errno (-ESRCH: already gone). Only before
	 * the child is reaped. */
	int (*kill_group)(void *ctx, pid_t pid, int signal);
	/* 1: ended, *ret filled in, and reaped; 0: still running; -errno. */
	int (*reap)(void *ctx, pid_t pid, struct exit_info *ret);
};

/* Real processes; ctx is a struct launcher for start(), else not used. */
extern const struct spawn_ops spawn_real;

#endif
