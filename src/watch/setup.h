/*
 * Setup: all that the daemon is told: command line, configuration file, secret
 * files. Read whole before anything is bound, and again on SIGHUP beside the
 * one in force.
 */
#ifndef WATCH_SETUP_H
#define WATCH_SETUP_H

#include <stdint.h>

#include "watch/commands.h"
#include "watch/config.h"
#include "watch/intake/keyring.h"
#include "watch/options.h"
#include "watch/tell/http.h"

struct setup {
	struct options options;
	struct config config;
	uint8_t token[HTTP_TOKEN_BYTES];
	struct commands *commands;
	struct keyring *keys; /* NULL: none, or not read yet */
};

/*
 * Command line and configuration file; argv must outlive the setup. 0, -EINVAL
 * or -E2BIG (their fault: exit code 2) or -ENOMEM, with fault filled in.
 */
int setup_new(int argc, char *const argv[], struct setup **ret,
    struct options_fault *fault);
void setup_free(struct setup *s); /* takes NULL; wipes the secrets */

/* The files that the options name. 0, or -errno with fault filled in (exit
 * code 1). */
int setup_read(struct setup *s, struct options_fault *fault);

/*
 * Whether the daemon can go from one setup to the other while it runs: 0, or
 * -EINVAL with fault naming the first option that would need a restart.
 */
int setup_compare(const struct setup *now, const struct setup *next,
    struct options_fault *fault);

#endif
