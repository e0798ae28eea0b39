/*
 * What the kernel says about processes: who one is, and when it has ended.
 *
 * One file for each system: process_linux.c (pidfds, /proc) and
 * process_none.c (nothing is known). Chosen by the build.
 */
#ifndef WATCH_HOST_PROCESS_H
#define WATCH_HOST_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "watch/event.h"

/*
 * Who pid is now: opens a pidfd (close-on-exec), reads start time and pid
 * namespace, and makes sure through the pidfd that all of it is of one
 * process. Fields that cannot be known are left unknown; gone is set when
 * there was no such process from the start.
 *
 * A zombie is not gone: it has its pidfd and its start time. One that is
 * reaped during the call keeps its pidfd, which tells of the end, and has
 * nothing else: what was read may be of whoever has the number now.
 *
 * 0, or -EMFILE/-ENFILE/-ENOMEM when no pidfd could be had (the rest of *ret
 * is still filled in; two equal start times then stand for the pidfd's word).
 * -EMFILE comes while a few descriptors are left for other uses. The caller
 * owns ret->pidfd. pid 0 is unknown.
 */
int process_identify(uint32_t pid, struct identity *ret);

/*
 * What /proc says of pid now, unchecked: the number may be another's by the
 * time that this returns. pid 0 is this process.
 */

/* Start time, in clock ticks since boot; 0 when unknown or gone. */
uint64_t process_start_ticks(uint32_t pid);

/* Inode of the pid namespace; 0 when it may not be known. */
uint32_t process_pid_namespace(uint32_t pid);

/* The command name (comm), NUL-ended, "" when unknown. size is at
 * least 1. The process's own choice: to be escaped. */
void process_name(uint32_t pid, char *ret, size_t size);

/* The path of the executable; "" when it may not be known or does not fit. */
void process_exe(uint32_t pid, char *ret, size_t size);

/* The path of the control group (of the unified hierarchy); "" when unknown or
 * when it does not fit. */
void process_cgroup(uint32_t pid, char *ret, size_t size);

/* Highest pid the system gives out. */
uint32_t process_pid_max(void);

/*
 * How the process behind pidfd ended. Only told once its parent has reaped
 * it; EXIT_HOW_UNKNOWN before that and on kernels that do not tell.
 */
struct exit_info process_exit_info(int pidfd);

/* True when this kernel can tell how another's child ended. Starts a process
 * that ends at once, to see; for start-up. */
bool process_exit_info_is_available(void);

/*
 * A set of pidfds to be told about. Its descriptor becomes readable when one
 * of them has something to tell.
 */
struct process_set;

enum process_news {
	PROCESS_ENDED = 1, /* a zombie, or more */
	PROCESS_REAPED     /* its parent has reaped it, too */
};

struct process_told {
	uint64_t token;
	enum process_news news;
};

/* 0 or -errno. */
int process_set_open(struct process_set **ret);
void process_set_close(struct process_set *s); /* takes NULL */
int process_set_fd(const struct process_set *s);

/* Add a pidfd, which must stay open until removed. token is given back. */
int process_set_add(struct process_set *s, int pidfd, uint64_t token);
void process_set_remove(struct process_set *s, int pidfd);

/*
 * What is new, at most max entries; each piece of news once, but for
 * PROCESS_ENDED of a zombie that gets another parent, which may come again. A
 * process that is reaped when first told is PROCESS_REAPED only. Before Linux
 * 6.9 only PROCESS_ENDED is told. Returns how many; max means: call again.
 * Never blocks.
 */
size_t process_set_take(
    struct process_set *s, struct process_told *ret, size_t max);

#endif
