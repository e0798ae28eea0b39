/*
 * Run: the recovery commands that are running. Starts them, reads what they
 * write, ends them at their time-out, reaps them, reports what became of each.
 *
 * Each child that was started is reported once when it is over: as reaped, as
 * killed (when we ended it; not as reaped as well), or as one whose end could
 * not be learnt. A child that cannot be killed stays ours: it is tried again
 * after another time-out, and reported with its own end.
 */
#ifndef WATCH_ACT_RUN_H
#define WATCH_ACT_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "watch/act/act.h"
#include "watch/event.h"
#include "watch/stats.h"

struct run_options {
	uint64_t timeout_ns; /* 0: never ended */
	uint32_t children;   /* outstanding at a time; as many orphans */
	uint32_t capture_bytes;
	uint64_t seed[2];
};

struct run;

/* 0, -ENOMEM or the error of launcher_new(). */
int run_new(const struct run_options *options, const struct act_ports *ports,
    struct stats *stats, struct run **ret);

/* Close what is open; kills nobody. Takes NULL. */
void run_free(struct run *r);

/* Count a record under its outcome and report it. */
void run_report(struct run *r, const struct recovery_record *record);

enum run_way {
	RUN_CLEAR = 0,
	RUN_IN_FLIGHT,    /* a child for the same process still runs */
	RUN_ORPHANS_FULL, /* the old child was killed, its place is needed */
	RUN_KILL_FAILED   /* the old child could not be killed */
};

/*
 * Make way for a child for the agent of req. One that is there already is
 * reaped if it is over; else, one that is left over from an earlier process
 * with this identity is killed and made an orphan, and one for the same
 * process stays. *ret_error is set for RUN_KILL_FAILED.
 */
enum run_way run_clear_way(struct run *r, const struct act_request *req,
    uint64_t now_ns, int *ret_error);

/* Whether no further child may be started. */
bool run_is_full(const struct run *r);

/* Start a child; the way is clear and there is room. Its pid or -errno. */
int run_start(struct run *r, const struct act_request *req, char *const argv[],
    char *const envp[], uint64_t now_ns);

/* The child with this token has ended; the next run_pass() reaps it. */
void run_child_ended(struct run *r, uint64_t token);

/* One portion: reap, time-outs, output. */
void run_pass(struct run *r, uint64_t now_ns);

/* When run_pass() must run next; 0 at once, or NS_NEVER. */
uint64_t run_next_ns(const struct run *r);

uint32_t run_count(const struct run *r);

/* Kill all and wait for them, grace_ns at most. */
void run_shutdown(
    struct run *r, uint64_t grace_ns, uint64_t (*now_ns)(void *ctx), void *ctx);

#endif
