/*
 * The observer's ports to this very system: processes and clock. Tests have
 * their own.
 */
#ifndef WATCH_PORTS_H
#define WATCH_PORTS_H

#include "watch/host/process.h"
#include "watch/lives.h"

/* set is borrowed. */
struct lives_host ports_host(struct process_set *set);

/* As struct observer_ports told; ctx is the process set. */
size_t ports_told(void *ctx, struct process_told *ret, size_t max);

#endif
