#include "watch/intake/intake.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include <varta/frame.h>

#include "base/util.h"
#include "watch/intake/v01.h"

_Static_assert(INTAKE_FRAME_BYTES == VARTA_FRAME_BYTES, "one length");

void
intake_init(struct intake *in, const struct intake_source *source,
    const struct intake_policy *policy, struct stats *stats)
{
	assert(policy->n_allowed_uids <= INTAKE_POLICY_IDS);
	assert(policy->n_allowed_gids <= INTAKE_POLICY_IDS);
	in->source = *source;
	in->policy = *policy;
	in->stats = stats;
}

static void
add_fault(struct intake_batch *ret, enum event_kind kind, int error,
    uint32_t claimed_pid, uint32_t uid)
{
	ret->faults[ret->n_faults++] = (struct intake_fault){
		.kind = kind,
		.error = error,
		.claimed_pid = claimed_pid,
		.uid = uid,
		.consumed = true,
	};
}

static bool
is_listed(uint32_t id, const uint32_t *ids, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (ids[i] == id)
			return true;
	return false;
}

bool
intake_may_beat(const struct intake_policy *p, uint32_t uid, uint32_t gid)
{
	return likely(uid == p->own_uid) ||
	       is_listed(uid, p->allowed_uids, p->n_allowed_uids) ||
	       is_listed(gid, p->allowed_gids, p->n_allowed_gids);
}

/* Is the sender one whom we listen to? Reference 1.3, rows 7 and 8. */
static bool
admit_sender(
    struct intake *in, const struct datagram *d, struct intake_batch *ret)
{
	struct stats *s = in->stats;

	if (unlikely((d->flags & DATAGRAM_HAS_CREDENTIALS) == 0)) {
		s->io_errors++;
		s->credentials_missing++;
		add_fault(ret, EVENT_IO, -EBADMSG, 0, UINT32_MAX);
		return false;
	}
	if (unlikely(!intake_may_beat(&in->policy, d->uid, d->gid))) {
		s->io_errors++;
		s->uid_refused++;
		add_fault(ret, EVENT_IO, -EACCES, 0, d->uid);
		return false;
	}
	/* Some process that our pid namespace has no number for: its claim of
	 * a pid could be checked against nothing. */
	if (unlikely(d->pid == 0 && in->policy.refuse_pid_zero)) {
		s->io_errors++;
		s->pid_zero_refused++;
		add_fault(ret, EVENT_IO, -EPERM, 0, d->uid);
		return false;
	}
	return true;
}

static enum stats_decode
decode_counter(int error)
{
	switch ((enum varta_error)error) {
	case VARTA_ERR_BAD_MAGIC:
		return STATS_BAD_MAGIC;
	case VARTA_ERR_BAD_VERSION:
		return STATS_BAD_VERSION;
	case VARTA_ERR_BAD_CRC:
		return STATS_BAD_CRC;
	case VARTA_ERR_BAD_STATUS:
		return STATS_BAD_STATUS;
	case VARTA_ERR_STALL_ON_WIRE:
		return STATS_STALL_ON_WIRE;
	case VARTA_ERR_BAD_PID:
		return STATS_BAD_PID;
	case VARTA_ERR_BAD_TIMESTAMP:
		return STATS_BAD_TIMESTAMP;
	case VARTA_ERR_BAD_NONCE:
		return STATS_BAD_NONCE;
	case VARTA_ERR_BAD_LENGTH:
	case VARTA_ERR_INVALID_STATUS:
	case VARTA_ERR_SHORT_WRITE:
	case VARTA_ERR_CLOSED:
	case VARTA_ERR_ADDRESS:
	case VARTA_ERR_UNSUPPORTED:
	case VARTA_ERR_NO_CRASH_HANDLER:
	case VARTA_ERR_HOST_UNKNOWN:
	case VARTA_ERR_HOST_LATER:
	case VARTA_ERR_KEY:
	case VARTA_ERR_LANE_NAME:
	case VARTA_ERR_LANE_THRESHOLD:
		break;
	}
	/* The decoder gives nothing else for a frame of the right length. */
	assert(false);
	return STATS_DECODE_COUNT;
}

static int
decode(struct intake *in, const struct datagram *d, bool named,
    struct varta_frame *ret)
{
	if (unlikely(in->policy.accept_v01) && named && v01_is(d->bytes)) {
		in->stats->v01_frames++;
		return v01_decode(d->bytes, ret);
	}
	return varta_frame_decode(d->bytes, INTAKE_FRAME_BYTES, ret);
}

static enum origin
origin_of(const struct intake_source *source, bool named)
{
	if (named)
		return ORIGIN_KERNEL_ATTESTED;
	if (!source->is_network)
		return ORIGIN_SOCKET_MODE_ONLY;
	return source->is_vouched ? ORIGIN_OPERATOR_ATTESTED
				  : ORIGIN_NETWORK_UNVERIFIED;
}

static uint32_t
pid_max(const struct intake *in)
{
	return in->source.is_network ? INTAKE_NETWORK_PID_MAX
				     : in->policy.pid_max;
}

static void
add_beat(struct intake *in, const struct datagram *d, bool named,
    const struct varta_frame *frame, struct intake_batch *ret)
{
	const struct intake_source *source = &in->source;
	struct beat *beat = &ret->beats[ret->n_beats];

	*beat = (struct beat){
		.id = (uint64_t)source->id << 32 | frame->pid,
		.nonce = frame->nonce,
		.timestamp = frame->timestamp,
		.pid = frame->pid,
		.payload = frame->payload,
		.uid = source->attested ? d->uid : UINT32_MAX,
		.gid = source->attested ? d->gid : UINT32_MAX,
		.status = frame->status,
		.origin = (uint8_t)origin_of(source, named),
	};
	if (source->judge == NULL || source->judge(source->ctx, d, beat))
		ret->n_beats++;
}

static void
take_frame(struct intake *in, const struct datagram *d, bool named,
    struct intake_batch *ret)
{
	struct varta_frame frame;
	struct stats *s = in->stats;
	uint32_t uid = in->source.attested ? d->uid : UINT32_MAX;
	int r;

	r = decode(in, d, named, &frame);
	if (unlikely(r < 0)) {
		s->decode_errors[decode_counter(r)]++;
		add_fault(ret, EVENT_DECODE, r, 0, uid);
		return;
	}
	if (unlikely(named && d->pid != frame.pid)) {
		s->frame_auth_failures++;
		add_fault(ret, EVENT_MISMATCH, 0, frame.pid, uid);
		return;
	}
	if (unlikely(!named && frame.pid > pid_max(in))) {
		s->pid_above_max++;
		return;
	}
	add_beat(in, d, named, &frame, ret);
}

static void
take_datagram(
    struct intake *in, const struct datagram *d, struct intake_batch *ret)
{
	if ((d->flags & DATAGRAM_DROPPED) != 0)
		return;
	if (unlikely((d->flags & DATAGRAM_CTRUNC) != 0)) {
		in->stats->ctrl_truncated++;
		add_fault(ret, EVENT_CTRUNC, -EBADMSG, 0, d->uid);
		return;
	}
	if (unlikely(d->len != INTAKE_FRAME_BYTES)) {
		in->stats->truncated_datagrams++;
		return;
	}
	if (in->source.attested && !admit_sender(in, d, ret))
		return;
	take_frame(in, d, in->source.attested && d->pid != 0, ret);
}

void
intake_take(struct intake *in, struct intake_batch *ret)
{
	int i, n;

	ret->n_beats = 0;
	ret->n_faults = 0;
	ret->n_taken = 0;

	n = in->source.take(in->source.ctx, in->datagrams, INTAKE_BATCH);
	if (n < 0) {
		if (n == -EINTR || n == -EAGAIN || n == -EWOULDBLOCK)
			return;
		in->stats->io_errors++;
		add_fault(ret, EVENT_IO, n, 0, UINT32_MAX);
		ret->faults[0].consumed = false;
		return;
	}
	if (n == 0)
		return;

	assert(n <= INTAKE_BATCH);
	in->stats->batches++;
	in->stats->datagrams += (uint64_t)n;
	ret->n_taken = (size_t)n;
	for (i = 0; i < n; i++)
		take_datagram(in, &in->datagrams[i], ret);
	if (in->source.settle != NULL)
		in->source.settle(in->source.ctx);
}
