/*
 * Threads beside the loop. Signals are for the loop alone.
 */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <pthread.h>

/* Start run(ctx) in a thread that is born with all signals blocked; the mask of
 * the caller stays as it is. 0 or -errno. */
int thread_start(pthread_t *ret, void *(*run)(void *ctx), void *ctx);

#endif
