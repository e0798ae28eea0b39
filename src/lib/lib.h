/*
 * Inside libvarta: the agent's rules, and what they stand on.
 *
 *   endpoint   where the observer is, and a socket to reach it
 *   lineage    was this process forked since we last looked?
 *   time       the clock, and timestamps of last words
 *   agent      the rules of a beat, over a transport that tests can script
 *   lanes      beats of threads, by stores into shared memory (lanes.h)
 *   udp        datagrams to an observer on another host
 *   crash      the last word of a process
 *
 * libvarta-secure stands on some of these. They are exported for it under a
 * symbol version of their own, VARTA_PRIVATE_2, and marked VARTA__PRIVATE here;
 * applications must not use them. The number rises with every change of what
 * they take or of a struct below, so that the loader refuses two libraries
 * that do not fit.
 */
#ifndef LIB_LIB_H
#define LIB_LIB_H

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <varta/frame.h>
#include <varta/varta.h>

#include "base/util.h"

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* macOS: the socket has SO_NOSIGPIPE instead */
#endif

#define VARTA__PRIVATE __attribute__((visibility("default")))

/* Endpoint. */

struct varta__endpoint {
	union {
		struct sockaddr any;
		struct sockaddr_un un;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} addr;
	socklen_t len;
};

/*
 * Parse an address as varta_open() takes it, NULL included. The host of a
 * "udp:" address is looked up, which may block and allocate. 0, or with *ret
 * untouched VARTA_ERR_ADDRESS, -ENAMETOOLONG, VARTA_ERR_HOST_UNKNOWN,
 * VARTA_ERR_HOST_LATER, or -errno of the look-up.
 */
VARTA__PRIVATE int varta__endpoint_parse(
    const char *address, struct varta__endpoint *ret);

/* The same for what stands behind "udp:"; host and port. */
int varta__endpoint_parse_udp(const char *text, struct varta__endpoint *ret);

/*
 * A socket of this type for addresses of this family, close-on-exec and without
 * SIGPIPE, above the three standard descriptors, so that what others print
 * never becomes a datagram. Returns it, or -errno. Async-signal-safe.
 */
int varta__endpoint_socket(int family, int type);

/* fd, or where it is a standard descriptor a close-on-exec copy above those in
 * place of it. Returns it, or -errno; fd is then closed. Async-signal-safe. */
int varta__above_standard(int fd);

/* A datagram socket of this kind, connected. Returns it, or -errno. */
int varta__endpoint_connect(const struct varta__endpoint *endpoint);

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
VARTA__PRIVATE int varta__lineage_open(struct varta__lineage *ret);

/* The generation of this process; a new one when the word was wiped. Never 0,
 * and never the same in a process and its descendants. */
VARTA__PRIVATE uint32_t varta__lineage_generation(
    const struct varta__lineage *lineage);

/* Is this still the process that had this generation and number? */
static inline bool
varta__lineage_is(
    const struct varta__lineage *lineage, uint32_t generation, uint32_t pid)
{
	return atomic_load_explicit(lineage->word, memory_order_relaxed) ==
		   generation &&
	       (!lineage->compare_pid || (uint32_t)getpid() == pid);
}

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

/* Nanoseconds of a clock; 0 where it cannot be read. Async-signal-safe. The
 * only place in the library where a clock is read. */
static inline uint64_t
varta__clock_read_ns(clockid_t clock)
{
	struct timespec ts;

	if (clock_gettime(clock, &ts) < 0)
		return 0;
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* The same of the clock of timestamps. */
static inline uint64_t
varta__clock_ns(void)
{
	return varta__clock_read_ns(TIMESTAMP_CLOCK);
}

/* The same without steps: for last words, whose IVs are made of it. */
static inline uint64_t
varta__clock_exact_ns(void)
{
	return varta__clock_read_ns(CLOCK_MONOTONIC);
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
	/* Send one frame. VARTA_FRAME_BYTES when it was taken whole, in
	 * whatever form; another number when a part was; or an error. */
	int (*send)(void *transport, const uint8_t frame[VARTA_FRAME_BYTES]);

	/* Connect anew. On an error the old connection is still in use. */
	int (*reconnect)(void *transport);

	/* Let the connection go: no later send uses it. */
	void (*disconnect)(void *transport);

	/* Disconnect and free the transport, with the agent inside it. */
	void (*free)(void *transport);

	uint64_t (*now_ns)(void *transport); /* NULL: varta__clock_ns() */

	/* The path of the observer's socket. NULL: it is no Unix socket. */
	const char *(*path)(const void *transport);

	/* That nobody listens says nothing of the connection, which need not
	 * be made anew for it. */
	bool is_connectionless;
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
	uint64_t attach_at_ns;   /* look after the lanes then; NS_NEVER */
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
	struct varta__lanes *lanes; /* NULL: never had any */
};

/* Make an agent of zeroed memory. Everything is borrowed until free(). */
VARTA__PRIVATE void varta__agent_init(struct varta_agent *agent,
    const struct varta__transport_ops *ops, void *transport,
    const struct varta__lineage *lineage);

/* The clock of the agent. */
static inline uint64_t
varta__agent_now(const struct varta_agent *agent)
{
	return likely(agent->ops->now_ns == NULL)
		   ? varta__clock_ns()
		   : agent->ops->now_ns(agent->transport);
}

/* The pause before the next attempt to find a lost observer: 10 ms after the
 * first, for which before_ns is 0, doubling up to 640 ms. The longest one is
 * under a second, so that an agent that beats once a second tries with every
 * beat. */
static inline uint64_t
varta__retry_delay(uint64_t before_ns)
{
	return before_ns == 0 ? 10 * NS_PER_MS
			      : u64_min(2 * before_ns, 640 * NS_PER_MS);
}

/* What a failed send means: VARTA_DROPPED_*, or -error. error is an errno. */
int varta__classify(int error);

/* Agents of each kind of endpoint, which must be of that kind. 0, or with
 * *ret_agent untouched -errno. */
int varta__unix_agent_open(const struct varta__endpoint *endpoint,
    const struct varta__lineage *lineage, struct varta_agent **ret_agent);
int varta__udp_agent_open(const struct varta__endpoint *endpoint,
    const struct varta__lineage *lineage, struct varta_agent **ret_agent);

/* Lanes, as far as beats and agents know of them. All do nothing for an agent
 * without. */

/* Attach them unless they are; a connection that the observer has closed is
 * let go first. Sets attach_at_ns. 0, or -errno. */
int varta__lanes_look(struct varta_agent *agent, uint64_t now_ns);

/* The beats have a new connection: look at the end of the next one, or of this.
 * An observer that is another one knows of no lanes. */
void varta__lanes_follow(struct varta_agent *agent, bool is_another);

/* In the child of a fork, let go of what is the parent's: connection and
 * memory. Nothing when these are our own. */
void varta__lanes_leave(struct varta_agent *agent);

/* Close all that are open, and free everything. */
void varta__lanes_free(struct varta_agent *agent);

/* UDP. */

struct varta__udp {
	struct varta__endpoint endpoint;
	int fd; /* connected, or -1 */
};

/* Connect to an endpoint that is an address of the internet. Without a way to
 * it (network not up yet) the first send that finds one connects. 0 or
 * -errno; the descriptor is then -1. */
VARTA__PRIVATE int varta__udp_open(
    struct varta__udp *udp, const struct varta__endpoint *endpoint);

/*
 * Send a datagram without waiting. Where the own address has gone, or there was
 * no way to the peer, connects anew and tries once more. The number of bytes
 * that were taken, or -errno with nothing sent.
 */
VARTA__PRIVATE int varta__udp_send(
    struct varta__udp *udp, const uint8_t *datagram, size_t n);

/* A new socket, and with it a new port of ours. 0, or -errno with the old one
 * in use. */
VARTA__PRIVATE int varta__udp_reconnect(struct varta__udp *udp);

/* Close. May be called again. */
VARTA__PRIVATE void varta__udp_close(struct varta__udp *udp);

/* Crash. */

enum { VARTA__DATAGRAM_MAX = 64 };

/*
 * What makes the datagram of a last word from its frame, which is given in both
 * forms. Async-signal-safe; any number of threads may call it at the same
 * time. Returns the length of out, or a negative code: nothing is sent then.
 */
struct varta__crash_sealer {
	int (*seal)(const void *context, const struct varta_frame *frame,
	    const uint8_t wire[VARTA_FRAME_BYTES],
	    uint8_t out[VARTA__DATAGRAM_MAX]);
	const void *context; /* lives as long as the process */
};

/* varta_crash_handler_install_signals(), for an address that has been parsed.
 * sealer is copied; NULL: the frame is sent as it is. */
VARTA__PRIVATE int varta__crash_install(const struct varta__endpoint *endpoint,
    unsigned signals, const struct varta__crash_sealer *sealer);

#endif
