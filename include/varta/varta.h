/*
 * The agent: a process says that it is alive.
 *
 * A beat is one 32-byte datagram to the observer, on this host unless it was
 * asked for by "udp:", sent by one system call. It never blocks, and nothing is
 * allocated after varta_open(). The observer may come, go and come back at any
 * time. A fork is noticed: the child beats for itself, on a socket of its own.
 *
 * One thread at a time may use an agent, except for varta_counters_get(),
 * which any thread may call while the agent is open, and for beats of lanes.
 * Several agents in one process share nothing. The library never prints, and
 * touches no signal unless varta_crash_handler_install() is called.
 */
#ifndef VARTA_VARTA_H
#define VARTA_VARTA_H

#include <stdint.h>

#include <varta/error.h>
#include <varta/version.h>

#ifdef __cplusplus
extern "C" {
#endif
#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

struct varta_agent;

/* What an agent says of itself. */
enum varta_status { VARTA_OK = 0, VARTA_DEGRADED = 1, VARTA_CRITICAL = 2 };

/* What became of a beat, where varta_beat() did not fail. A dropped beat is
 * part of normal life: the next one is sent as if it had not been tried. */
enum varta_outcome {
	VARTA_SENT = 0,
	VARTA_DROPPED_QUEUE_FULL = 1,  /* the observer is there, but busy */
	VARTA_DROPPED_NO_OBSERVER = 2, /* nobody listens there, yet */
	VARTA_DROPPED_PEER_GONE = 3,   /* the observer was there and left */
	VARTA_DROPPED_STORAGE_FULL = 4
};

/*
 * Open an agent. address is "/path", "unix:/path" or "udp:HOST:PORT"; NULL
 * stands for the environment variable VARTA_SOCKET, or /run/varta/varta.sock
 * where that is unset or empty. A path is absolute, so that it means the same
 * after chdir(2). A number of IPv6 stands in brackets, "udp:[::1]:9000"; a
 * host name is looked up here, which may take its time, and never again.
 *
 * Succeeds whether or not an observer is there yet, or a way to its network.
 * The only allocation of an agent is made here.
 *
 * Frames over UDP can be read and forged by anybody on the way; see
 * <varta/secure.h> for sealed ones. Whether they arrive is not known either:
 * where the other host says that nobody listens, that ends the next beat as
 * VARTA_DROPPED_NO_OBSERVER.
 *
 * Returns 0, or with *ret_agent untouched: VARTA_ERR_ADDRESS,
 * VARTA_ERR_HOST_UNKNOWN, VARTA_ERR_HOST_LATER, -ENAMETOOLONG, -ENOMEM, or what
 * socket(2) and connect(2) say (-EACCES, -EPROTOTYPE, -EMFILE, ...).
 */
int varta_open(const char *address, struct varta_agent **ret_agent);

/*
 * Send one beat. payload is for the application's own use.
 *
 * When the observer is gone or not there, it is looked for at once, then again
 * at the next beats with pauses of 10 ms, doubling up to 640 ms; a beat that
 * finds it is sent. Nonce and timestamp advance only with beats that were sent.
 *
 * Returns VARTA_SENT, another enum varta_outcome, or a failure with nothing
 * sent: VARTA_ERR_CLOSED (agent is NULL), VARTA_ERR_INVALID_STATUS,
 * VARTA_ERR_BAD_PID (process 1 cannot beat), VARTA_ERR_SHORT_WRITE, or -errno.
 */
int varta_beat(
    struct varta_agent *agent, enum varta_status status, uint32_t payload);

/* Close and free the agent, and the lanes that it still has. Takes NULL. Sends
 * nothing. */
void varta_close(struct varta_agent *agent);

/*
 * Connect anew to the same address. Nonce and clock go on; consecutive drops
 * and pauses are forgotten.
 *
 * Returns 0, VARTA_ERR_CLOSED, or -errno; the old connection is then still in
 * use.
 */
int varta_reconnect(struct varta_agent *agent);

/*
 * Reconnect also after n consecutive drops of any reason, and send the dropped
 * frame once more; while that fails, again at every further drop. 0, as at
 * first: only when the observer is gone, as varta_beat() says. Consecutive
 * drops are counted from here. Takes NULL.
 */
void varta_set_reconnect_after(struct varta_agent *agent, uint32_t n);

/* Counted since varta_open(). Every beat adds one to sent, to one of the
 * dropped, or to failed. The child of a fork goes on from its parent's. */
struct varta_counters {
	uint64_t sent;
	uint64_t dropped_queue_full;
	uint64_t dropped_no_observer;
	uint64_t dropped_peer_gone;
	uint64_t dropped_storage_full;
	uint64_t failed;
	uint64_t reconnects;        /* that succeeded, without those of forks */
	uint64_t fork_recoveries;   /* beats that found themselves in a child */
	uint64_t clock_regressions; /* beats at which the clock stepped back */
	uint64_t nonce_wraps;
	uint64_t reserved[6]; /* 0 */
};

/* Read the counters, each for itself, without a lock. All are 0 for NULL. */
void varta_counters_get(
    const struct varta_agent *agent, struct varta_counters *ret);

/* "sent", "dropped: kernel queue full" and so on, "failed" for every negative
 * code; varta_strerror() has the reason. Never NULL. */
const char *varta_outcome_text(int code);

/*
 * A lane: a named worker or thread of this process, with a threshold of its
 * own. It beats by a store into memory that the observer of the same host
 * reads, without a system call; a stall then names process and lane. Linux
 * only.
 */
struct varta_lane;

/*
 * Open a lane of an agent over a Unix socket. name is 1 to 31 bytes long and
 * differs from those of the agent's other open lanes; threshold_ms is 10 or
 * more. Nothing is owed before its first beat.
 *
 * Never waits, and needs no observer: one that comes later, or comes back,
 * finds the lane when the agent beats, opens another one, or calls
 * varta_lanes_attach(). An observer that knows of no lanes serves the agent by
 * its datagrams alone. The first lane costs two descriptors and a page of
 * memory, each further one 64 bytes for its handle; 63 share a page.
 *
 * Returns 0, or with *ret_lane untouched: VARTA_ERR_CLOSED (agent is NULL),
 * VARTA_ERR_UNSUPPORTED (another kind of agent, or system),
 * VARTA_ERR_LANE_NAME, VARTA_ERR_LANE_THRESHOLD, -EEXIST (the name is taken),
 * -ENOSPC (1,008 are open), -ENOMEM, -EFBIG (RLIMIT_FSIZE is below 64 KiB), or
 * what memfd_create(2) and mmap(2) say (-EMFILE, ...).
 */
int varta_lane_open(struct varta_agent *agent, const char *name,
    uint32_t threshold_ms, struct varta_lane **ret_lane);

/*
 * Any thread may call these three while the lane is open, several at a time.
 * They take NULL, never wait, and make no system call where the clock is read
 * without one. In the child of a fork they do nothing for its parent's lanes;
 * it opens its own.
 */

/* The worker went on. From now on the next beat is owed within the threshold.
 * Its time goes in steps of the kernel's tick, 1 to 10 ms; below a threshold of
 * 100 ms it is exact, and the call four times as dear. */
void varta_lane_beat(struct varta_lane *lane);

/* The worker waits for something to do: nothing is owed until its next beat. */
void varta_lane_idle(struct varta_lane *lane);

/* What the worker says of itself; first VARTA_OK. Anything that is not one of
 * enum varta_status is ignored. */
void varta_lane_set_status(struct varta_lane *lane, enum varta_status status);

/* Close and free a lane: nothing is owed any more. Takes NULL, and the lanes of
 * a parent. The thread is one that may use the agent. */
void varta_lane_close(struct varta_lane *lane);

/*
 * See to it that the observer has the lanes, now: attach them unless they are,
 * anew when it has gone meanwhile. varta_beat() does so by itself after it has
 * found the observer again. A program that beats by lanes alone calls this now
 * and then, say each second, since stores do not tell whether anybody reads.
 *
 * Returns 0, also where no lane was ever opened; VARTA_ERR_CLOSED,
 * VARTA_ERR_UNSUPPORTED, -ENAMETOOLONG (with ".lanes" the path does not fit:
 * the lanes stay unwatched), or what socket(2), connect(2) and sendmsg(2) say:
 * -ENOENT or -ECONNREFUSED without an observer that has lanes, ...
 */
int varta_lanes_attach(struct varta_agent *agent);

/* Which signals varta_crash_handler_install_signals() takes. */
enum varta_crash_signals {
	VARTA_CRASH_FAULTS = 1,     /* SEGV BUS ILL FPE ABRT */
	VARTA_CRASH_TERMINATION = 2 /* TERM INT HUP QUIT */
};

/*
 * Send a last word when the process dies of SIGSEGV, SIGBUS, SIGILL, SIGFPE or
 * SIGABRT: one frame with status critical, the terminal nonce and the signal
 * number as payload. The handler that was there before runs afterwards, and
 * the process ends as it would have ended (status, core).
 *
 * The frame is sent to the address, which need not be connected to, so no
 * observer need be there now, and a restarted one is found. A signal that is
 * ignored stays ignored. Called again, the later address counts; a handler set
 * over ours since then stays in front of it. The calling thread gets a signal
 * stack of its own unless it has one; a stack overflow in any other thread is
 * reported only if that thread has called sigaltstack(2).
 *
 * Returns 0, or with nothing changed: the codes of varta_open() for addresses,
 * or -errno.
 */
int varta_crash_handler_install(const char *address);

/* The same for a sum of enum varta_crash_signals, which must not be 0
 * (-EINVAL). Signals of earlier calls stay taken. */
int varta_crash_handler_install_signals(const char *address, unsigned signals);

/*
 * Send the last word now, with payload, to the address of the handler. For
 * programs and languages with handlers of their own: it is async-signal-safe
 * and leaves errno as it was. Every frame has a higher timestamp than the one
 * before.
 *
 * Returns VARTA_SENT, another enum varta_outcome, VARTA_ERR_NO_CRASH_HANDLER,
 * VARTA_ERR_BAD_PID, -EOVERFLOW (timestamps are used up), or -errno.
 */
int varta_crash_frame_send(uint32_t payload);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif

#endif
