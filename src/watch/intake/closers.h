/*
 * Closing descriptors that others have sent. One of a file system in user space
 * waits in close(2) for who serves it, and who sent it may serve it. So what is
 * not memory is closed by a thread, which may wait for ever, and while CLOSERS
 * of them do, nobody should take a descriptor in: what is not taken the kernel
 * drops without asking anybody. Linux only.
 */
#ifndef WATCH_INTAKE_CLOSERS_H
#define WATCH_INTAKE_CLOSERS_H

#include <stdbool.h>

enum { CLOSERS = 8 };

struct closers;

/* NULL: out of memory. */
struct closers *closers_new(void);

/* What a thread still uses stays until the program has ended. Takes NULL. */
void closers_free(struct closers *c);

/* All threads are at work: the next one would be closed here and now. */
bool closers_are_busy(const struct closers *c);

/* Close fd, which may be -1, now or by a thread. */
void closers_close(struct closers *c, int fd);

#endif
