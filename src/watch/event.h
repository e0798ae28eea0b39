/*
 * What the rooms of the observer tell each other: beats, what is known of an
 * agent, events, and records of recovery. Values only; nothing here owns
 * memory, does I/O or reads a clock. Times are nanoseconds since the observer
 * started, on its chosen clock, unless a name says otherwise.
 */
#ifndef WATCH_EVENT_H
#define WATCH_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* No slot of the agent table. */
#define SLOT_NONE UINT32_MAX

/*
 * The source of an agent, in its identity: this host, the network without a
 * key, or the fingerprint of a key, with a bit more for a master key: the same
 * key as a shared and as the master key stands for different agents.
 */
#define SOURCE_HOST UINT32_C(0)
#define SOURCE_UDP UINT32_C(1)
#define SOURCE_MASTER UINT32_C(0x80000000)

/* How far the origin of a beat can be trusted; a higher value is more. */
enum origin {
	ORIGIN_NETWORK_UNVERIFIED = 0,
	ORIGIN_SOCKET_MODE_ONLY,  /* only the mode of the socket file */
	ORIGIN_OPERATOR_ATTESTED, /* the operator vouches for the transport */
	ORIGIN_KERNEL_ATTESTED,   /* the kernel named the sender */
	ORIGIN_COUNT
};

/* Status of an agent, as on the wire; the last is made by the observer. */
enum agent_status {
	AGENT_OK = 0,
	AGENT_DEGRADED,
	AGENT_CRITICAL,
	AGENT_STALLED,
	AGENT_STATUS_COUNT
};

/* One valid frame whose sender passed every check of the intake. */
struct beat {
	uint64_t id; /* identity: source << 32 | pid */
	uint64_t nonce;
	uint64_t timestamp; /* the agent's own clock */
	uint32_t pid;
	uint32_t payload;
	uint32_t uid; /* UINT32_MAX where the kernel does not tell */
	uint32_t gid;
	uint8_t status; /* enum agent_status, never AGENT_STALLED */
	uint8_t origin; /* enum origin */
	/* The intake knows that its sender has begun anew: what was known of
	 * the order of its beats holds no longer. */
	bool is_anew;
	/* No beat at all: its sender has made itself known in another way, and
	 * owes none before its first. For a join only. */
	bool is_contact;
};

/* Who a process is, beyond its number. Found at first contact. */
struct identity {
	uint64_t start_ticks;   /* start time of the process; 0 unknown */
	uint32_t pid_namespace; /* inode of its pid namespace; 0 unknown */
	int pidfd;              /* -1 none; owned by whoever holds the struct */
	bool gone;              /* there is no such process any more */
};

/* How a process ended, as far as the kernel tells. */
enum exit_how {
	EXIT_HOW_UNKNOWN = 0,
	EXIT_HOW_CODE,   /* value is the exit code */
	EXIT_HOW_SIGNAL, /* value is the signal number */
	EXIT_HOW_COUNT
};

struct exit_info {
	enum exit_how how;
	int value;
};

enum event_kind {
	EVENT_BEAT = 0, /* a beat was accepted */
	EVENT_STALL,    /* an agent owes a beat for longer than its threshold */
	EVENT_DECODE,   /* a datagram of the right length is no frame */
	EVENT_IO,       /* receiving failed, or a sender was refused */
	EVENT_CTRUNC,   /* control data was cut off */
	EVENT_MISMATCH, /* a frame that contradicts what is known */
	EVENT_EVICTION, /* a silent agent made room for another */
	EVENT_JOIN,     /* first beat of an agent */
	EVENT_RESUME,   /* first beat after a stall */
	EVENT_EXIT,     /* the process ended, not with exit code 0 */
	EVENT_LEAVE,    /* the process ended with exit code 0 */
	EVENT_LATE,     /* the observer itself was late; nobody is judged */
	EVENT_KIND_COUNT
};

enum mismatch_reason {
	MISMATCH_AUTH_FAILURE = 0, /* the kernel names another pid */
	MISMATCH_ORIGIN_CONFLICT,  /* weaker origin than the agent's own */
	MISMATCH_NAMESPACE_CONFLICT,
	MISMATCH_REASON_COUNT
};

enum stall_reason {
	STALL_SILENT = 0, /* the process is there and does not beat */
	STALL_GONE,       /* the process has ended */
	STALL_REASON_COUNT
};

struct event {
	enum event_kind kind;
	uint64_t at_ns;
	uint32_t slot; /* SLOT_NONE for kinds without an agent */
	uint32_t pid;  /* claimed pid for a mismatch; 0 where there is none */
	uint32_t uid;
	uint64_t nonce;
	uint32_t payload;
	uint8_t status;
	uint8_t origin;
	int error; /* decode: VARTA_ERR_*; io, ctrunc: -errno */
	union {
		enum mismatch_reason mismatch;
		enum stall_reason stall;
		struct exit_info exit;
	} why;
	uint64_t silence_ns;   /* stall: since the last beat; late: the gap */
	uint64_t threshold_ns; /* stall */
	uint64_t due_ns;       /* stall: when it was due, with what the observer
				  gave back; 0: told with the end, before that */
	const char *name;      /* of the agent, borrowed; NULL unknown */
	/* Of a lane of the agent: join, resume, stall, leave. NULL: of the
	 * agent itself. nonce is then the number of its beats. */
	const char *lane;    /* its name, borrowed */
	uint32_t lane_slot;  /* in the table of lanes */
	uint64_t lane_token; /* that of no other lane */
};

/* What is known of one agent, for metrics and answers to tools. */
struct agent_view {
	uint64_t id;
	uint64_t beats;
	uint64_t stalls;
	uint64_t last_seen_ns;
	uint64_t joined_ns;
	uint64_t threshold_ns;
	uint64_t last_nonce; /* the last observed, terminal included */
	uint64_t start_ticks;
	uint32_t slot;
	uint32_t pid;
	uint32_t uid;
	uint32_t pid_namespace;
	const char *name; /* borrowed; NULL unknown */
	int pidfd;        /* borrowed; -1 none */
	uint8_t status;   /* AGENT_STALLED while stalled */
	uint8_t origin;
	bool stalled;
	bool gone;
};

/* The part of it that changes, for those who look at all agents often. */
struct agent_row {
	uint64_t beats;
	uint64_t stalls;
	uint64_t last_seen_ns;
	uint64_t joined_ns;
	uint32_t pid;
	uint32_t source; /* upper half of its id; 0: this host */
	uint8_t status;  /* as above */
};

/* A lane, for those who look at all of them. */
struct lane_row {
	uint64_t beats;
	uint64_t last_seen_ns;
	uint64_t joined_ns;
	uint32_t stalls;
	uint32_t pid;
	uint8_t status; /* AGENT_STALLED while stalled */
	bool is_idle;
	const char *name; /* borrowed */
};

/* Why recovery was not run, or what became of it. */
enum recovery_outcome {
	RECOVERY_SPAWNED = 0,
	RECOVERY_DEBOUNCED,
	RECOVERY_REAPED_ZERO,
	RECOVERY_REAPED_NONZERO,
	RECOVERY_REAP_FAILED,
	RECOVERY_KILLED,
	RECOVERY_SPAWN_FAILED,
	RECOVERY_REFUSED_UNAUTHENTICATED_TRANSPORT,
	RECOVERY_REFUSED_SOCKET_MODE_ONLY,
	RECOVERY_REFUSED_CROSS_NAMESPACE,
	RECOVERY_REFUSED_DEBOUNCE_CAPACITY,
	RECOVERY_REFUSED_OUTSTANDING_CAPACITY,
	RECOVERY_REFUSED_STALE_CHILD_KILL_FAILED,
	RECOVERY_SKIPPED_AGENT_RESUMED,
	RECOVERY_SKIPPED_PID_RECYCLED,
	RECOVERY_SKIPPED_STALL_UNVERIFIABLE,
	RECOVERY_OUTCOME_COUNT
};

/* One thing that happened in recovery; what the audit trail is made of. */
struct recovery_record {
	enum recovery_outcome outcome;
	uint64_t at_ns;
	uint32_t agent_pid;
	uint32_t child_pid;      /* 0 where none was started */
	const char *detail;      /* finer word for a refusal, as audited:
				    "outstanding_in_flight" and so on */
	int error;               /* -errno of a failed spawn, kill or wait */
	const char *source;      /* spawned: where the command was given */
	const char *program;     /* spawned: argv[0] */
	uint32_t template_bytes; /* spawned: length of argv, one separator
				    between two arguments */
	struct exit_info exit;   /* reaped, killed */
	uint64_t duration_ns;    /* reaped, killed: spawn to reap */
	uint64_t latency_ns;     /* spawned: stall to spawn */
	uint64_t stdout_bytes;   /* reaped, killed: seen, not kept */
	uint64_t stderr_bytes;
	bool output_truncated;
	const char *output; /* last bytes of both, escaped; NULL none */
};

#endif
