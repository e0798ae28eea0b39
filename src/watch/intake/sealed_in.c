#include "watch/intake/sealed_in.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/util.h"

_Static_assert(
    (int)REPLAY_NOTES >= (int)INTAKE_BATCH, "a batch fits into the notes");

struct sealed_in {
	struct sealed_in_options options;
	uint64_t now_ns; /* of the batch */
	bool has_warned; /* that memory runs out */
	struct keyring_opened opened[INTAKE_BATCH];
};

struct sealed_in *
sealed_in_new(const struct sealed_in_options *options)
{
	struct sealed_in *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->options = *options;
	sealed_in_set_keys(s, options->keys);
	return s;
}

void
sealed_in_free(struct sealed_in *s)
{
	free(s);
}

void
sealed_in_set_keys(struct sealed_in *s, struct keyring *keys)
{
	uint32_t sources[KEYRING_KEYS_MAX];
	size_t n = keyring_sources(keys, sources);

	s->options.keys = keys;
	replay_use(s->options.replay, sources, n);
	s->has_warned = false;
}

/* Open d in place: it is then the frame inside, or marked as dropped. */
static void
open_datagram(
    struct sealed_in *s, struct datagram *d, struct keyring_opened *opened)
{
	struct stats *stats = s->options.stats;

	if (d->len != SEAL_SHARED_BYTES && d->len != SEAL_MASTER_BYTES) {
		stats->truncated_datagrams++;
		d->flags |= DATAGRAM_DROPPED;
		return;
	}
	if (keyring_open(s->options.keys, d->bytes, d->len, opened)) {
		d->bytes = opened->plain;
		d->len = SEAL_PLAIN_BYTES;
	} else {
		stats->frame_decrypt_failures++;
		d->flags |= DATAGRAM_DROPPED;
	}
	stats->secure_aead_attempts += opened->attempts;
}

static int
take(void *ctx, struct datagram *ret, size_t max)
{
	struct sealed_in *s = ctx;
	int n = s->options.take(
	    s->options.take_ctx, ret, u64_min(max, INTAKE_BATCH));

	if (n > 0)
		s->now_ns = s->options.now_ns(s->options.clock_ctx);
	for (int i = 0; i < n; i++) {
		ret[i].mark = (uint32_t)i;
		open_datagram(s, &ret[i], &s->opened[i]);
	}
	return n;
}

/* The last word on a frame that is authentic and well-formed. */
static bool
judge(void *ctx, const struct datagram *d, struct beat *beat)
{
	struct sealed_in *s = ctx;
	const struct keyring_opened *opened = &s->opened[d->mark];
	struct stats *stats = s->options.stats;
	struct replay_frame frame = {
		.id = (uint64_t)opened->source << 32 | beat->pid,
		.prefix = load_le64(opened->iv.random),
		.nonce = beat->nonce,
		.timestamp = beat->timestamp,
		.counter = opened->iv.counter,
	};
	enum replay_verdict verdict =
	    replay_check(s->options.replay, &frame, s->now_ns);

	switch (verdict) {
	case REPLAY_TAKEN_ANEW:
	case REPLAY_TAKEN:
		beat->is_anew = verdict == REPLAY_TAKEN_ANEW;
		beat->id = frame.id;
		return true;
	case REPLAY_OLD:
	case REPLAY_VERDICT_COUNT:
		stats->secure_replay_refused++;
		return false;
	case REPLAY_TABLE_FULL:
		stats->sender_state_full++;
		return false;
	case REPLAY_MEMORY_FULL:
		stats->session_refused[STATS_SESSION_MEMORY_FULL]++;
		return false;
	case REPLAY_TOO_OFTEN:
		stats->session_refused[STATS_SESSION_TOO_OFTEN]++;
		return false;
	}
	return false;
}

/* Say once, in time, that memory runs out. */
static void
watch_memory(struct sealed_in *s)
{
	uint64_t used = replay_sessions(s->options.replay);
	uint64_t max = replay_sessions_max(replay_places(s->options.replay));

	if (s->options.sessions != NULL)
		*s->options.sessions = used;
	if (s->options.senders != NULL)
		*s->options.senders = replay_senders(s->options.replay);
	if (s->has_warned || used < max / 4 * 3)
		return;
	s->has_warned = true;
	log_warn("%" PRIu64 " of %" PRIu64 " sessions of sealed beats are "
		 "remembered; when there is no room left, agents that start "
		 "are refused: replace the keys, or raise --udp-senders-max",
	    used, max);
}

/* What the batch has changed is written before its beats are handed on. */
static void
settle(void *ctx)
{
	struct sealed_in *s = ctx;

	if (s->options.store != NULL)
		replay_store_save(s->options.store, s->now_ns);
	else
		replay_settle(s->options.replay);
	watch_memory(s);
}

struct intake_source
sealed_in_source(struct sealed_in *s, bool vouched)
{
	return (struct intake_source){
		.take = take,
		.judge = judge,
		.settle = settle,
		.ctx = s,
		.is_network = true,
		.is_vouched = vouched,
	};
}
