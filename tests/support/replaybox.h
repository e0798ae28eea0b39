/*
 * Replay rules with one identity or a few, for tests: frames by name of their
 * session, and a restart of the observer that keeps what would be on disk.
 */
#ifndef SUPPORT_REPLAYBOX_H
#define SUPPORT_REPLAYBOX_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/util.h"
#include "watch/intake/replay.h"

enum { REPLAYBOX_SOURCE = 7 };

struct replaybox {
	struct replay *replay;
	struct replay_options options;
	uint64_t now_ns;
};

static inline uint64_t
replaybox_id(uint32_t pid)
{
	return (uint64_t)REPLAYBOX_SOURCE << 32 | pid;
}

static inline struct replay *
replaybox_make(const struct replay_options *options)
{
	const uint32_t source = REPLAYBOX_SOURCE;
	struct replay *r;
	int e = replay_new(options, &r);

	assert(e == 0);
	(void)e;
	replay_use(r, &source, 1);
	return r;
}

static inline void
replaybox_init(struct replaybox *b, uint32_t senders_max)
{
	*b = (struct replaybox){
		.options = {
			.senders_max = senders_max,
			.gap_ns = 5 * NS_PER_S,
			.seed = { 1, 2 },
			.hash_key = { 3 },
			.keeps = true,
		},
		.now_ns = NS_PER_S,
	};
	b->replay = replaybox_make(&b->options);
}

static inline void
replaybox_fini(struct replaybox *b)
{
	replay_free(b->replay);
}

/* Frame number n of a session, from 0: counter n, nonce n + 1. */
static inline struct replay_frame
replaybox_frame(uint32_t pid, uint64_t prefix, uint32_t n)
{
	return (struct replay_frame){
		.id = replaybox_id(pid),
		.prefix = prefix,
		.nonce = (uint64_t)n + 1,
		.timestamp = n * NS_PER_S,
		.counter = n,
	};
}

static inline enum replay_verdict
replaybox_ask(struct replaybox *b, const struct replay_frame *frame)
{
	enum replay_verdict v = replay_check(b->replay, frame, b->now_ns);

	replay_settle(b->replay);
	return v;
}

static inline bool
replaybox_takes(struct replaybox *b, const struct replay_frame *frame)
{
	enum replay_verdict v = replaybox_ask(b, frame);

	return v == REPLAY_TAKEN || v == REPLAY_TAKEN_ANEW;
}

/* What a file keeps goes into a new observer. exact: it ended cleanly. */
static inline void
replaybox_restart(struct replaybox *b, bool exact)
{
	struct replay *fresh = replaybox_make(&b->options);
	struct prefixset_entry entry;
	struct replay_image image;
	uint32_t cursor = 0;

	while (prefixset_next(replay_prefixes(b->replay), false, UINT32_MAX,
		   &cursor, &entry) > 0) {
		bool fits = prefixset_restore(replay_prefixes(fresh), &entry);

		assert(fits);
		(void)fits;
	}
	for (uint32_t i = 0; i < replay_places(b->replay); i++)
		if (replay_image(b->replay, i, exact, &image)) {
			bool fits = replay_restore(fresh, &image, b->now_ns);

			assert(fits);
			(void)fits;
		}
	replay_free(b->replay);
	b->replay = fresh;
}

#endif
