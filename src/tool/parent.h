/*
 * Whether the process that started this one is still there.
 */
#ifndef TOOL_PARENT_H
#define TOOL_PARENT_H

#include <stdbool.h>
#include <sys/types.h>

struct parent {
	pid_t pid;
	int pidfd; /* readable once the parent has ended; -1: not known so */
};

/* Cannot fail: without a pidfd parent_is_gone() still tells. */
void parent_open(struct parent *p);
void parent_close(struct parent *p);

/* True once the parent has ended, also while nobody has reaped it. */
bool parent_is_gone(const struct parent *p);

#endif
