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

/* What options and rules have in them, without the file of
 * --recovery-exec-file. 0, -EINVAL or -E2BIG (not a command) or -ENOMEM, with
 * fault filled in. */
int commands_new(const struct options *options, const struct rules *rules,
    struct commands **ret, struct options_fault *fault);
void commands_free(struct commands *c); /* takes NULL */

/* Read the file, where there is one. 0, or -errno with fault filled in. */
int commands_read_file(struct commands *c, const struct options *options,
    struct options_fault *fault);

/* Whether there is any command at all. */
bool commands_are_given(const struct commands *c);

/* The command for agents of rule (NULL: of none), or NULL. */
const struct act_command *commands_for(const struct commands *c,
    const struct rules *rules, const struct rule *rule);

#endif
