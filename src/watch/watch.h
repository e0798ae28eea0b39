/*
 * The whole daemon: everything that hangs together while it runs, opened in
 * one order and closed in the reverse.
 */
#ifndef WATCH_WATCH_H
#define WATCH_WATCH_H

#include <stdint.h>

#include "base/file.h"
#include "watch/act/command.h"
#include "watch/host/sdnotify.h"
#include "watch/intake/unix_in.h"
#include "watch/loop.h"
#include "watch/options.h"
#include "watch/stats.h"
#include "watch/tell/http.h"

/* What is read from files before anything is bound. */
struct watch_secrets {
	uint8_t token[HTTP_TOKEN_BYTES];
	struct command_words command; /* argc 0: no recovery */
	const char *command_source;
};

/*
 * Read and check the files that options name. 0, or -errno after a line in
 * the log. Nothing is bound, created or started.
 */
int watch_read_secrets(
    const struct options *options, struct watch_secrets *ret);
void watch_forget_secrets(struct watch_secrets *secrets);

struct watch;

/* Bind, open and start everything; the bound address of /metrics is printed to
 * stdout. 0, or -errno after a line in the log, with nothing left behind. */
int watch_open(const struct options *options,
    const struct watch_secrets *secrets, struct watch **ret);

/* Say READY=1 and run until the end; 0 or -errno. */
int watch_run(struct watch *w);

/* Say STOPPING=1 and close all. Takes NULL. */
void watch_close(struct watch *w);

#endif
