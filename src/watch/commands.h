/*
 * Commands: the recovery commands of a configuration, split and checked: one
 * for all, and those of agents that have one of their own.
 */
#ifndef WATCH_COMMANDS_H
#define WATCH_COMMANDS_H

#include <stdbool.h>
#include <stddef.h>

#include "watch/act/act.h"
#include "watch/options.h"
#include "watch/rules.h"

struct commands;

/*
 * Read what options and rules ask for, the file of --recovery-exec-file
 * included. 0, -ENOMEM, or -errno with fault filled in.
 */
int commands_new(const struct options *options, const struct rules *rules,
    struct commands **ret, struct options_fault *fault);
void commands_free(struct commands *c); /* takes NULL */

/* Whether there is any command at all. */
bool commands_are_given(const struct commands *c);

/* The command for agents of rule (NULL: of none), or NULL. */
const struct act_command *commands_for(const struct commands *c,
    const struct rules *rules, const struct rule *rule);

#endif
