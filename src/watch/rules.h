/*
 * Rules: what an agent is held to, by who it is.
 *
 * The agent sections of the configuration file, in their order; the first that
 * matches counts. Pure.
 */
#ifndef WATCH_RULES_H
#define WATCH_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	RULES_MAX = 256,
	RULES_NAME_BYTES = 32 /* of an agent's name, with its NUL */
};

/* NULL and false: whatever it is. At least one of comm, exe, unit, user and
 * lane is given. A rule with a lane is for lanes alone, all others are for
 * processes. Text belongs to whoever read the rules. */
struct rule {
	const char *name;
	const char *comm; /* command name, as in /proc/PID/comm */
	const char *exe;  /* path of the executable */
	const char *unit; /* a component of its control group's path */
	const char *lane; /* the name that a lane was opened with */
	bool has_uid;
	uint32_t uid;
	uint64_t threshold_ms;     /* 0: as --threshold-ms */
	uint64_t grace_ms;         /* after its first beat; 0 none */
	const char *recovery_exec; /* NULL: the command of all */
	int command_line;          /* where that stands */
};

struct rules {
	struct rule list[RULES_MAX];
	size_t n;
	bool want_exe; /* some rule looks at it */
	bool want_unit;
	bool want_lane;
};

/* What is known of a process; "" where it is not known. */
struct rule_facts {
	const char *comm;
	const char *exe;
	const char *cgroup; /* path in its hierarchy */
	const char *lane;   /* NULL: the process itself */
	uint32_t uid;
};

/* The first rule that matches, or NULL. */
const struct rule *rules_match(
    const struct rules *rules, const struct rule_facts *facts);

/* Rules are kept by their numbers, from 1; 0 is none, as NULL is. */
uint16_t rules_number_of(const struct rules *rules, const struct rule *rule);
const struct rule *rules_at(const struct rules *rules, uint16_t number);

/* The number of the rule of this name, for lanes or for processes; 0 none. What
 * a rule was is looked for by it when there are others. */
uint16_t rules_number(
    const struct rules *rules, const char *name, bool is_for_lanes);

#endif
