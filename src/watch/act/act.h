/*
 * Act: what is done about a stall.
 *
 * Takes stalls, decides in the order of the reference (exports page 1.3)
 * whether the recovery command may run, starts it in bounded portions, waits
 * for it without ever blocking, ends it at its time-out, and reports each step.
 * {pid}, {name} and {lane} are replaced in arguments; each command is a process
 * group, with no stdin of ours; the last bytes of its output are kept.
 *
 * Each command that was started is reported once when it is over. One that was
 * ended by us is RECOVERY_KILLED, with its exit, and not "reaped" besides; one
 * that ended by itself is never "killed", even where that was found out only
 * at its time-out. One that cannot be killed stays ours, is tried again after
 * another time-out, and is logged once.
 *
 * Output is read while a command runs, at least every 100 ms, and every 5 ms
 * as long as there is some, so that it never waits for long on a full pipe;
 * this is the only wake-up that a running command costs. What is in the pipes
 * when the command ends is the last that is read: a process that it leaves
 * behind with our pipes as its output gets SIGPIPE, so it should be started
 * with an output of its own. Bytes count up to capture_bytes; the last ones
 * are kept whatever their number, for 256 commands at a time.
 *
 * Nothing is allocated after act_new(). The rules are in ladder.h (pure); what
 * runs is in run.h; the processes in spawn.h, behind a table of functions that
 * a test can replace; how one comes to be in launch.h.
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
	ACT_REAPS_A_PASS = 64,   /* those told, and as many asked for in turn */
	ACT_CHILDREN = 4096,     /* at a time, however large the capacity */
	ACT_LEDGER = 4096,       /* agents whose last recovery is remembered */
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
	uint32_t capture_bytes; /* counted for both streams together at most;
				   0 counts none */
	uint32_t capacity;      /* stalls waiting, and children at a time */
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
	/* Of a lane of the agent; SLOT_NONE: the agent itself. */
	uint32_t lane_slot;
	uint64_t lane_token;
	char lane[ACT_NAME_BYTES]; /* "": the agent itself */
};

/* Whether a stall that had to wait still asks for recovery. */
enum act_wanted {
	ACT_WANTED = 0,
	ACT_AGENT_RESUMED,
	ACT_PID_RECYCLED,
	ACT_UNVERIFIABLE
};

/* What act needs of the rest of the observer. None of these may call act. */
struct act_ports {
	/* Asked for stalls that had to wait for a later pass than the first
	 * after act_stall(), and for kernel-attested ones without a start
	 * time. */
	enum act_wanted (*wanted)(void *ctx, const struct act_request *req);
	/* The command for an agent, asked for when it is needed and valid until
	 * the next call; it has passed command_check(). NULL result: nothing is
	 * to be run. NULL port: options.command for all. */
	const struct act_command *(*command)(
	    void *ctx, const struct act_request *req);
	void (*report)(void *ctx, const struct recovery_record *record);
	/* Be told through act_child_ended(token) when this child ends. The
	 * token is below 2^63. 0 or more, or an error: then act asks for it in
	 * each pass. NULL, with unwatch, where there are no pidfds. */
	int (*watch)(void *ctx, int pidfd, uint64_t token);
	void (*unwatch)(void *ctx, int pidfd);
	void *ctx;
	const struct spawn_ops *spawn; /* NULL: real processes */
	void *spawn_ctx;
};

struct act;

/*
 * options' strings, and with inherit_env those of the environment, are borrowed
 * for the life of the act. 0, -EINVAL (no capacity, no command, one over the
 * limits of command.h, a bad entry of env), -ENOMEM, or the error of the
 * kernel's random numbers or of launcher_new().
 */
int act_new(const struct act_options *options, const struct act_ports *ports,
    struct stats *stats, struct act **ret);

/*
 * Kill and wait for what is left, at most shutdown_grace_ns, then free. Every
 * child is reported: as killed, or, where it was not gone in time, as a failed
 * reap with -ETIMEDOUT. Stalls that wait are dropped without a word. now_ns()
 * is asked for the time. Takes NULL.
 */
void act_shutdown(struct act *a, uint64_t (*now_ns)(void *ctx), void *ctx);

/* Free alone: children run on, and nobody reaps them. Takes NULL. */
void act_free(struct act *a);

/* Take a stall. False when the queue is full (cannot happen while capacity is
 * at least all agents and lanes and each pass is run); reported, and counted,
 * as refused for outstanding capacity. */
bool act_stall(struct act *a, const struct act_request *req);

/* The child with this token has ended: the next act_pass() reaps it. Unknown
 * tokens are ignored. */
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
