/*
 * Inside libvarta: the agent's rules, and what they stand on. Nothing of this
 * is exported.
 *
 *   endpoint   where the observer is, and a socket to reach it
 *   lineage    was this process forked since we last looked?
 *   time       the clock, and timestamps of last words
 *   agent      the rules of a beat, over a transport that tests can script
 */
#ifndef LIB_LIB_H
#define LIB_LIB_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include <varta/frame.h>
#include <varta/varta.h>

#include "base/util.h"

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* macOS: the socket has SO_NOSIGPIPE instead */
#endif

/* Endpoint. */

struct varta__endpoint {
	struct sockaddr_un addr;
	socklen_t len;
};

/*
 * Parse an address as varta_open() takes it, NULL included. 0, or with *ret
 * untouched VARTA_ERR_ADDRESS, VARTA_ERR_UNSUPPORTED or -ENAMETOOLONG.
 */
int varta__endpoint_parse(const char *address, struct varta__endpoint *ret);

/*
 * A datagram socket that is close-on-exec and raises no SIGPIPE, above the
 * three standard descriptors, so that what others print never becomes a
 * datagram. Returns it, or -errno. Async-signal-safe.
 */
int varta__endpoint_socket(void);

/* Lineage. */

/*
 * The word is set back to 0 in the child of a fork: by the kernel, where it
 * lies in a page that is wiped on fork, else by a handler of pthread_atfork(3).
 * The handler does not see a raw clone(2), so in this case the process number
 * has to be compared as well.
 */
struct varta__lineage {
	_Atomic uint32_t *word;
	bool compare_pid;
};

/* The lineage of this process; memory for it is never given back. 0 or
 * -errno, *ret untouched. */
int varta__lineage_open(struct varta__lineage *ret);

/* The generation of this process; a new one when the word was wiped. Never 0,
 * and never the same in a process and its descendants. */
uint32_t varta__lineage_generation(const struct varta__lineage *lineage);

/* Time. */

/*
 * The clock of timestamps. The coarse one goes in steps of the kernel's tick
 * (1 to 10 ms) and costs 4 ns where the exact one costs 18, a third of all that
 * a beat costs beyond its system call. Timestamps need no more: receivers only
 * compare two of one agent, and equal ones are in order.
 */
#ifdef CLOCK_MONOTONIC_COARSE
#define TIMESTAMP_CLOCK CLOCK_MONOTONIC_COARSE
#else
#define TIMESTAMP_CLOCK CLOCK_MONOTONIC
#endif

/* Monotonic nanoseconds; 0 where the clock cannot be read. Async-signal-safe.
 * The only place in the library where a clock is read. */
static inline uint64_t
varta__clock_ns(void)
{
	struct timespec ts;

	if (clock_gettime(TIMESTAMP_CLOCK, &ts) < 0)
		return 0;
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/*
 * The timestamp of a last word: at least elapsed_ns and 1, and above *last,
 * which becomes it. Any number of threads and signal handlers may ask at the
 * same time. 0, or -EOVERFLOW with nothing changed.
 */
int varta__terminal_timestamp(
    _Atomic uint64_t *last, uint64_t elapsed_ns, uint64_t *ret);

/* Agent. */

/* Errors are -errno. None of these may block, or allocate. */
struct varta__transport_ops {
	/* Send one frame; the number of bytes that were taken, or an error. */
	int (*send)(void *transport, const uint8_t frame[VARTA_FRAME_BYTES]);

	/* Connect anew. On an error the old connection is still in use. */
	int (*reconnect)(void *transport);

	/* Let the connection go. The next sends give -ENOENT. */
	void (*disconnect)(void *transport);

	/* Disconnect and free the transport, with the agent inside it. */
	void (*free)(void *transport);

	uint64_t (*now_ns)(void *transport); /* NULL: varta__clock_ns() */
};

/* What a beat reads and writes comes first: two cache lines. */
struct varta_agent {
	const struct varta__transport_ops *ops;
	void *transport;
	struct varta__lineage lineage;
	/* A connected socket that takes a frame as it is; -1: ops->send().
	 * After a system call each return and indirect jump costs some ns, so
	 * the usual way of a beat goes through as few as can be. */
	int fd;
	uint32_t generation; /* of the process that last beat */
	uint32_t pid;
	uint64_t start_ns;
	uint64_t nonce;          /* of the last frame that was sent */
	uint64_t timestamp;      /* likewise */
	uint64_t retry_at_ns;    /* do not look for a lost observer before */
	uint64_t retry_delay_ns; /* 0: not lost, or not looked for yet */
	uint32_t drops;          /* consecutive */
	uint32_t reconnect_after;
	_Atomic uint64_t sent;
	_Atomic uint64_t
	    dropped[VARTA_DROPPED_STORAGE_FULL + 1]; /* by reason */
	_Atomic uint64_t failed;
	_Atomic uint64_t reconnects;
	_Atomic uint64_t fork_recoveries;
	_Atomic uint64_t clock_regressions;
	_Atomic uint64_t nonce_wraps;
};

/* Make an agent of zeroed memory. Everything is borrowed until free(). */
void varta__agent_init(struct varta_agent *agent,
    const struct varta__transport_ops *ops, void *transport,
    const struct varta__lineage *lineage);

/* What a failed send means: VARTA_DROPPED_*, or -error. error is an errno. */
int varta__classify(int error);

#endif
