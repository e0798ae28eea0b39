/*
 * What every benchmark needs of the system: options, processors, a network
 * namespace with a long queue, a folder, memory shared with child processes,
 * and what the kernel counts for a process.
 *
 * Errors end the program with a message and code 1: a benchmark that could not
 * be run has no result, and nobody to hand an error to. A benchmark ends by
 * itself after two minutes at most, and its child processes end with it.
 */
#ifndef BENCH_SUPPORT_H
#define BENCH_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

enum { SUPPORT_ROUNDS_MAX = 64, SUPPORT_BATCH = 64, SUPPORT_FRAME_BYTES = 32 };

struct support_options {
	const char *daemon; /* program to measure */
	unsigned rounds;    /* floor and subject alternate so many times */
	bool quick;         /* shorter windows: to see that it works */
	int cpu_sender;     /* two processors, or twice the same one */
	int cpu_reader;
};

/* Read --daemon PATH, --rounds N (rounds is the default) and --quick, find the
 * processors, and start the clock of the two minutes. */
void support_start(
    int argc, char **argv, unsigned rounds, struct support_options *ret);

/* True, and the results are written as skipped, when there is but one
 * processor: sender and reader must not share one. */
bool support_lacks_processors(
    const struct support_options *options, const char *const *keys);

/* Kill and reap all that was started, and remove the folder. Gives 0, the exit
 * code of a benchmark that has come to its end. */
int support_end(void);

_Noreturn void support_die(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

/* Messages that end the program when r is negative: -errno. */
void support_check(int r, const char *what);

/* This process runs on this processor only. */
void support_pin(int cpu);

/* fork(2); the child is killed when this process ends, and runs on cpu (-1:
 * anywhere). */
pid_t support_fork(int cpu);

/* Kill and reap. */
void support_kill(pid_t pid);

/*
 * Move into a network namespace of our own, with a receive queue of len
 * datagrams for Unix sockets and the loopback device up. Nothing outside is
 * changed. 0, or -errno where this is not permitted.
 */
int support_long_queue(unsigned len);

/* A fresh folder for sockets and files, removed by support_end(). Path without
 * a slash at the end. */
const char *support_folder(void);

/* PATH under the folder, as a socket address. */
void support_address(const char *name, struct sockaddr_un *ret);

/* Zeroed memory that children made later share. Never given back. */
void *support_shared(size_t bytes);

/* A futex(2) in shared memory: sleep while *word is value; wake all. */
void support_wait(uint32_t *word, uint32_t value);
void support_wake(uint32_t *word);

/* Processor time of a process, all threads, user and system. */
uint64_t support_cpu_ns(pid_t pid);

/* Sum over all threads of a line of /proc/PID/task/TID/status. */
uint64_t support_status(pid_t pid, const char *line);

/* The same of the process alone: VmRSS and its kind. */
uint64_t support_status_kib(pid_t pid, const char *line);

uint64_t support_now_ns(void); /* CLOCK_MONOTONIC */
void support_sleep_until(uint64_t at_ns);
void support_sleep_ms(unsigned ms);

#endif
