/*
 * The rules of a beat: nonce and timestamp advance only with frames that were
 * sent, a lost observer is looked for again, a fork makes a new agent.
 */
#include "lib/lib.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"
#include "lib/wire.h"

#define NONCE_HIGHEST (VARTA_NONCE_TERMINAL - 1)
#define TIMESTAMP_HIGHEST (UINT64_MAX - 1)

/* One writer, so a load and a store do; an atomic addition costs 5 ns. */
static inline void
count(_Atomic uint64_t *counter)
{
	uint64_t n = atomic_load_explicit(counter, memory_order_relaxed);

	atomic_store_explicit(counter, n + 1, memory_order_relaxed);
}

static inline uint64_t
read_counter(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

static bool
is_gone(int outcome)
{
	return outcome == VARTA_DROPPED_NO_OBSERVER ||
	       outcome == VARTA_DROPPED_PEER_GONE;
}

int
varta__classify(int error)
{
	switch (error) {
	case EAGAIN:
#if EWOULDBLOCK != EAGAIN
	case EWOULDBLOCK:
#endif
	case ENOBUFS:
		return VARTA_DROPPED_QUEUE_FULL;
	case ENOENT:
	case ECONNREFUSED:
		return VARTA_DROPPED_NO_OBSERVER;
	case ECONNRESET:
	case ENOTCONN:
	case EPIPE:
		return VARTA_DROPPED_PEER_GONE;
	case ENOSPC:
		return VARTA_DROPPED_STORAGE_FULL;
	}
	return -error;
}

void
varta__agent_init(struct varta_agent *agent,
    const struct varta__transport_ops *ops, void *transport,
    const struct varta__lineage *lineage)
{
	agent->ops = ops;
	agent->transport = transport;
	agent->lineage = *lineage;
	agent->fd = -1;
	agent->generation = varta__lineage_generation(lineage);
	agent->pid = (uint32_t)getpid();
	agent->start_ns = varta__agent_now(agent);
	agent->attach_at_ns = NS_NEVER;
}

static int
fail(struct varta_agent *a, int code)
{
	a->drops = 0;
	count(&a->failed);
	return code;
}

static void
stop_looking(struct varta_agent *a)
{
	a->retry_at_ns = 0;
	a->retry_delay_ns = 0;
}

static void
look_later(struct varta_agent *a, uint64_t now_ns)
{
	a->retry_delay_ns = varta__retry_delay(a->retry_delay_ns);
	a->retry_at_ns = u64_add_sat(now_ns, a->retry_delay_ns);
}

static inline bool
was_forked(const struct varta_agent *a)
{
	return !varta__lineage_is(&a->lineage, a->generation, a->pid);
}

static void
know_process(struct varta_agent *a)
{
	a->generation = varta__lineage_generation(&a->lineage);
	a->pid = (uint32_t)getpid();
}

/* Become the agent of the child. An observer that is not there is no reason
 * to fail: this and later beats are dropped until it is found. */
static int
recover_from_fork(struct varta_agent *a, uint64_t now_ns)
{
	bool is_missing;
	int r;

	varta__lanes_leave(a);
	r = a->ops->reconnect(a->transport);
	is_missing = r < 0 && is_gone(varta__classify(-r));
	if (r < 0 && !is_missing)
		return r;

	know_process(a);
	a->start_ns = now_ns;
	a->nonce = 0;
	a->timestamp = 0;
	a->drops = 0;
	stop_looking(a);
	if (is_missing) {
		a->ops->disconnect(a->transport); /* it is the parent's */
		look_later(a, now_ns);
	}
	count(&a->fork_recoveries);
	return 0;
}

static uint64_t
next_timestamp(struct varta_agent *a, uint64_t now_ns)
{
	uint64_t elapsed = u64_sub_sat(now_ns, a->start_ns);

	if (unlikely(elapsed < a->timestamp))
		count(&a->clock_regressions);
	return u64_min(u64_max(elapsed, a->timestamp), TIMESTAMP_HIGHEST);
}

static inline int
transmit(const struct varta_agent *a, const uint8_t *wire)
{
	ssize_t n;

	if (unlikely(a->fd < 0))
		return a->ops->send(a->transport, wire);
	n = send(a->fd, wire, VARTA_FRAME_BYTES, MSG_DONTWAIT | MSG_NOSIGNAL);
	return likely(n >= 0) ? (int)n : -errno;
}

static inline int
send_once(const struct varta_agent *a, const uint8_t *wire)
{
	int n;

	n = transmit(a, wire);
	if (likely(n == VARTA_FRAME_BYTES))
		return VARTA_SENT;
	if (n == -EINTR)
		n = transmit(a, wire);
	if (n == VARTA_FRAME_BYTES)
		return VARTA_SENT;
	return n < 0 ? varta__classify(-n) : VARTA_ERR_SHORT_WRITE;
}

static bool
wants_reconnect(const struct varta_agent *a, int outcome, uint64_t now_ns)
{
	if (a->reconnect_after > 0 && a->drops >= a->reconnect_after)
		return true;
	return is_gone(outcome) && !a->ops->is_connectionless &&
	       now_ns >= a->retry_at_ns;
}

/* What becomes of a frame that was dropped: sent after all over a new
 * connection, or not. Returns its final outcome, or a failure. */
static int
retry_dropped(
    struct varta_agent *a, const uint8_t *wire, int outcome, uint64_t now_ns)
{
	if (a->drops < UINT32_MAX)
		a->drops++;
	if (!wants_reconnect(a, outcome, now_ns))
		return outcome;
	if (a->ops->reconnect(a->transport) < 0) {
		look_later(a, now_ns);
		return outcome;
	}

	count(&a->reconnects);
	a->drops = 0;
	varta__lanes_follow(a, is_gone(outcome));
	outcome = send_once(a, wire);
	if (is_gone(outcome))
		look_later(a, now_ns);
	else
		stop_looking(a);
	return outcome;
}

static void
commit(struct varta_agent *a, uint64_t timestamp, uint64_t nonce)
{
	a->nonce = nonce;
	a->timestamp = timestamp;
	a->drops = 0;
	stop_looking(a);
	count(&a->sent);
	if (unlikely(nonce == 0))
		count(&a->nonce_wraps);
}

int
varta_open(const char *address, struct varta_agent **ret_agent)
{
	struct varta__endpoint endpoint;
	struct varta__lineage lineage;
	int r;

	r = varta__endpoint_parse(address, &endpoint);
	if (r < 0)
		return r;
	r = varta__lineage_open(&lineage);
	if (r < 0)
		return r;
	if (endpoint.addr.any.sa_family == AF_UNIX)
		return varta__unix_agent_open(&endpoint, &lineage, ret_agent);
	return varta__udp_agent_open(&endpoint, &lineage, ret_agent);
}

int
varta_beat(
    struct varta_agent *agent, enum varta_status status, uint32_t payload)
{
	uint8_t wire[VARTA_FRAME_BYTES];
	uint64_t now_ns, timestamp, nonce;
	int r;

	if (unlikely(agent == NULL))
		return VARTA_ERR_CLOSED;
	if (unlikely((unsigned)status > VARTA_CRITICAL))
		return fail(agent, VARTA_ERR_INVALID_STATUS);

	now_ns = varta__agent_now(agent);
	if (unlikely(was_forked(agent))) {
		r = recover_from_fork(agent, now_ns);
		if (r < 0)
			return fail(agent, r);
	}
	if (unlikely(agent->pid < WIRE_PID_LOWEST))
		return fail(agent, VARTA_ERR_BAD_PID);

	timestamp = next_timestamp(agent, now_ns);
	nonce = agent->nonce < NONCE_HIGHEST ? agent->nonce + 1 : 0;
	wire_put(wire, status, agent->pid, timestamp, nonce, payload);

	r = send_once(agent, wire);
	if (unlikely(r > 0))
		r = retry_dropped(agent, wire, r, now_ns);
	if (unlikely(now_ns >= agent->attach_at_ns))
		(void)varta__lanes_look(agent, now_ns);
	if (unlikely(r < 0))
		return fail(agent, r);
	if (unlikely(r > 0)) {
		count(&agent->dropped[r]);
		return r;
	}
	commit(agent, timestamp, nonce);
	return VARTA_SENT;
}

void
varta_close(struct varta_agent *agent)
{
	if (agent == NULL)
		return;
	varta__lanes_free(agent);
	agent->ops->free(agent->transport);
}

int
varta_reconnect(struct varta_agent *agent)
{
	int r;

	if (agent == NULL)
		return VARTA_ERR_CLOSED;
	r = agent->ops->reconnect(agent->transport);
	if (r < 0)
		return r;

	varta__lanes_leave(agent);
	know_process(agent);
	agent->drops = 0;
	stop_looking(agent);
	count(&agent->reconnects);
	varta__lanes_follow(agent, true);
	(void)varta__lanes_look(agent, varta__agent_now(agent));
	return 0;
}

void
varta_set_reconnect_after(struct varta_agent *agent, uint32_t n)
{
	if (agent == NULL)
		return;
	agent->reconnect_after = n;
	agent->drops = 0;
}

void
varta_counters_get(const struct varta_agent *agent, struct varta_counters *ret)
{
	const _Atomic uint64_t *dropped;

	memset(ret, 0, sizeof(*ret));
	if (agent == NULL)
		return;

	dropped = agent->dropped;
	ret->sent = read_counter(&agent->sent);
	ret->dropped_queue_full =
	    read_counter(&dropped[VARTA_DROPPED_QUEUE_FULL]);
	ret->dropped_no_observer =
	    read_counter(&dropped[VARTA_DROPPED_NO_OBSERVER]);
	ret->dropped_peer_gone =
	    read_counter(&dropped[VARTA_DROPPED_PEER_GONE]);
	ret->dropped_storage_full =
	    read_counter(&dropped[VARTA_DROPPED_STORAGE_FULL]);
	ret->failed = read_counter(&agent->failed);
	ret->reconnects = read_counter(&agent->reconnects);
	ret->fork_recoveries = read_counter(&agent->fork_recoveries);
	ret->clock_regressions = read_counter(&agent->clock_regressions);
	ret->nonce_wraps = read_counter(&agent->nonce_wraps);
}
