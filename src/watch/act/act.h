/*
 * Act: what is done about a stall.
 *
 * Takes stalls, decides in the order of the reference (exports page 1.3)
 * whether the recovery command may run, starts it in bounded portions, waits
 * for it without ever blocking, ends it at its time-out, and reports each step.
 * Decisions 12 and 13 of this project: {pid} and {name} in arguments, process
 * groups, no shared stdin, the last bytes of output kept.
 *
 * Nothing is allocated after act_new(). The rules are in ladder.h (pure); the
 * processes in spawn.h, behind a table of functions that a test can replace.
 */
#ifndef WATCH_ACT_ACT_H
#define WATCH_ACT_ACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "watch/act/spawn.h"
#include "watch/event.h"
#include "watch/stats.h"

enum {
	ACT_SPAWNS_A_PASS = 16,
	ACT_EVALUATIONS_A_PASS = 256,
	ACT_REAPS_A_PASS = 64,
	ACT_LEDGER = 4096, /* agents whose last recovery is remembered */
	ACT_CAPTURE_KEPT = 1024, /* last bytes of output kept of each child */
	ACT_NAME_BYTES = 64
};

/* A command to run, already split into arguments. */
struct act_command {
	char *const *argv;  /* NULL-ended; argv[0] is the program */
	const char *source; /* "inline", or the file it was read from */
};

struct act_options {
	struct act_command command;
	uint64_t debounce_ns;
	uint64_t timeout_ns; /* 0: never ended */
	char *const *env;    /* KEY=VALUE, NULL-ended; may be NULL */
	bool inherit_env;
	uint32_t capture_bytes; /* counted for both streams together at most */
	uint32_t capacity;	/* stalls waiting, and children at a time */
	uint64_t shutdown_grace_ns;
	bool allow_cross_namespace;
	uint32_t own_pid_namespace; /* 0 unknown */
};

/* One stall that asks for recovery. */
struct act_request {
	uint64_t id;
	uint64_t stalled_at_ns;
	uint64_t start_ticks; /* 0 unknown */
	uint32_t slot;
	uint32_t pid;
	uint32_t pid_namespace; /* 0 unknown */
	enum origin origin;
	enum stall_reason why;
	char name[ACT_NAME_BYTES]; /* "" unknown */
};

/* Whether a stall that had to wait still asks for recovery. */
enum act_wanted {
	ACT_WANTED = 0,
	ACT_AGENT_RESUMED,
	ACT_PID_RECYCLED,
	ACT_UNVERIFIABLE
};

/* What act needs of the rest of the observer. */
struct act_ports {
	enum act_wanted (*wanted)(void *ctx, const struct act_request *req);
	void (*report)(void *ctx, const struct recovery_record *record);
	/* Be told through act_child_ended(token) when this child ends. */
	int (*watch)(void *ctx, int pidfd, uint64_t token);
	void (*unwatch)(void *ctx, int pidfd);
	void *ctx;
	const struct spawn_ops *spawn; /* NULL: real processes */
	void *spawn_ctx;
};

struct act;

/* options' strings are borrowed for the life of the act. 0, -EINVAL, -ENOMEM.
 */
int act_new(const struct act_options *options, const struct act_ports *ports,
    struct stats *stats, struct act **ret);

/* Kill and wait for what is left, at most shutdown_grace_ns, then free. Every
 * child ended so is reported. now_ns() is asked for the time. Takes NULL. */
void act_shutdown(struct act *a, uint64_t (*now_ns)(void *ctx), void *ctx);
void act_free(struct act *a);

/* Take a stall. False when the queue is full (cannot happen while capacity is
 * at least that of the tracker); counted as refused. */
bool act_stall(struct act *a, const struct act_request *req);

/* The child with this token has ended. Unknown tokens are ignored. */
void act_child_ended(struct act *a, uint64_t token, uint64_t now_ns);

/* One portion: reap, time-outs, output, decisions, spawns. */
void act_pass(struct act *a, uint64_t now_ns);

/* When act_pass() must run next without news of a child: at once (0) while
 * work waits, a time-out, or NS_NEVER. */
uint64_t act_next_ns(const struct act *a);

/* Stalls waiting and children running, for metrics and tests. */
uint32_t act_n_waiting(const struct act *a);
uint32_t act_n_children(const struct act *a);

#endif
