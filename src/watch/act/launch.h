/*
 * The step from our process to a program in one of its own, and what that
 * takes. The loop stands still meanwhile, so that it must not take longer the
 * more agents there are: on Linux posix_spawn(3) copies the table of our
 * descriptors, of which each agent has one, only for the child to close them.
 *
 * One thread at a time.
 */
#ifndef WATCH_ACT_LAUNCH_H
#define WATCH_ACT_LAUNCH_H

#include <sys/types.h>

struct launcher;

/* Early, while descriptors have small numbers. 0, -ENOMEM, or the error of
 * open(2) for /dev/null. */
int launcher_new(struct launcher **ret);

/* NULL is allowed. */
void launcher_free(struct launcher *l);

/*
 * The program gets a process group of its own, default signals and an empty
 * mask, stdin from /dev/null, output as stdout and stderr, and no other
 * descriptor. The two of output, from 3 up, stay the caller's. 0 or -errno; a
 * program that cannot be executed is an error here, and no child is left.
 */
int launcher_run(struct launcher *l, const char *program, char *const argv[],
    char *const envp[], const int output[2], pid_t *ret_pid);

#endif
