/*
 * Any datagrams with any word of the kernel on their senders: what comes out
 * as a beat is a valid frame whose sender was allowed to send it. The first
 * byte chooses the kind of source; then come datagrams, each a head of
 * flags, sender, length and its bytes.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <varta/frame.h>

#include "base/bytes.h"
#include "watch/intake/intake.h"

enum { OWN_UID = 1000, ALLOWED_GID = 50, PID_MAX = 32768, HEAD = 12 };

struct input {
	const uint8_t *data;
	size_t size;
	uint8_t *bytes[INTAKE_BATCH];
	struct datagram given[INTAKE_BATCH];
	size_t n_given;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The next datagram, its bytes in memory of exactly their length. */
static void
take_one(struct input *in, struct datagram *ret)
{
	const uint8_t *head = in->data;
	size_t held = head[2];

	in->data += HEAD;
	in->size -= HEAD;
	if (held > in->size)
		held = in->size;
	in->bytes[in->n_given] = malloc(held > 0 ? held : 1);
	assert(in->bytes[in->n_given] != NULL);
	memcpy(in->bytes[in->n_given], in->data, held);
	*ret = (struct datagram){
		.bytes = in->bytes[in->n_given],
		/* A longer datagram than was held, now and then. */
		.len = (uint32_t)held + (head[1] > 250 ? 100u : 0u),
		.flags = head[0] & 3u,
		.uid = head[3] < 200 ? OWN_UID : head[3],
		.gid = head[4],
		.pid = load_le32(head + 8),
	};
	in->data += held;
	in->size -= held;
}

static int
take(void *ctx, struct datagram *ret, size_t max)
{
	struct input *in = ctx;

	if (in->size == 1)
		return -(int)in->data[0];
	while (in->n_given < max && in->size >= HEAD) {
		take_one(in, &ret[in->n_given]);
		in->given[in->n_given] = ret[in->n_given];
		in->n_given++;
	}
	return (int)in->n_given;
}

/* Could the datagram be the beat, by rules written down a second time? */
static bool
is_source_of(const struct datagram *d, const uint8_t *frame,
    const struct beat *beat, bool attested)
{
	if ((d->flags & DATAGRAM_CTRUNC) != 0 || d->len != VARTA_FRAME_BYTES ||
	    memcmp(d->bytes, frame, VARTA_FRAME_BYTES) != 0)
		return false;
	if (!attested)
		return beat->origin == ORIGIN_SOCKET_MODE_ONLY &&
		       beat->pid <= PID_MAX && beat->uid == UINT32_MAX;
	return beat->origin == ORIGIN_KERNEL_ATTESTED &&
	       (d->flags & DATAGRAM_HAS_CREDENTIALS) != 0 &&
	       d->pid == beat->pid && d->uid == beat->uid &&
	       d->gid == beat->gid &&
	       (d->uid == OWN_UID || d->gid == ALLOWED_GID);
}

/* Beats come in the order of their datagrams, each from one of its own. */
static void
check_beat(const struct input *in, const struct beat *beat, bool attested,
    size_t *from)
{
	const struct varta_frame frame = {
		.pid = beat->pid,
		.nonce = beat->nonce,
		.timestamp = beat->timestamp,
		.payload = beat->payload,
		.status = beat->status,
	};
	uint8_t bytes[VARTA_FRAME_BYTES];

	assert(beat->id == beat->pid);
	assert(varta_frame_encode(&frame, bytes) == 0);
	do
		assert(*from < in->n_given);
	while (!is_source_of(&in->given[(*from)++], bytes, beat, attested));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct intake intake;
	static struct intake_batch got;
	struct input in = { 0 };
	struct stats stats = { 0 };
	const struct intake_policy policy = { .own_uid = OWN_UID,
		.allowed_gids = { ALLOWED_GID },
		.n_allowed_gids = 1,
		.pid_max = PID_MAX,
		.refuse_pid_zero = true };
	struct intake_source source = { .take = take, .ctx = &in };
	size_t i, from = 0;

	if (size == 0)
		return 0;
	source.attested = (data[0] & 1) != 0;
	in.data = data + 1;
	in.size = size - 1;
	intake_init(&intake, &source, &policy, &stats);
	intake_take(&intake, &got);

	assert(got.n_taken == in.n_given);
	assert(got.n_beats + got.n_faults <=
	       got.n_taken + (got.n_taken == 0 ? 1 : 0));
	for (i = 0; i < got.n_beats; i++)
		check_beat(&in, &got.beats[i], source.attested, &from);
	for (i = 0; i < in.n_given; i++)
		free(in.bytes[i]);
	return 0;
}
