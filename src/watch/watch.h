/*
 * The whole daemon: everything that hangs together while it runs, opened in
 * one order and closed in the reverse.
 */
#ifndef WATCH_WATCH_H
#define WATCH_WATCH_H

#include "watch/setup.h"

struct watch;

/*
 * Bind, open and start everything; the bound address of /metrics is printed to
 * stdout. Takes setup over, also on failure; argc and argv are read again on
 * SIGHUP. 0, or -errno after a line in the log, with nothing left behind.
 */
int watch_open(
    int argc, char *const argv[], struct setup *setup, struct watch **ret);

/* Say READY=1 and run until the end; 0 or -errno. */
int watch_run(struct watch *w);

/* Say STOPPING=1 and close all. Takes NULL. */
void watch_close(struct watch *w);

#endif
