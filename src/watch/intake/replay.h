/*
 * Replay: may this authentic frame still be taken?
 *
 * Implements the protocol's rules (vlp(7), "sealed frames") with this
 * project's own: a session, which the random prefix of its IVs names, is never
 * taken up again once another has followed it. docs/security.md says why each
 * rule is as it is, and what they do not protect from.
 *
 * Of each identity (source and pid) up to two sessions are open: the one that
 * is, and one that has begun since. A frame of an open session needs a greater
 * IV counter than the last. A frame of another session is refused if that was
 * ever open; else it opens a new session when
 *
 *	- nothing is known of the identity, or
 *	- its nonce is its counter + 1: the sender has begun anew, and what came
 *	  before this frame may have been lost, or
 *	- its nonce is greater than the last of the latest session: the sender
 *	  has changed its prefix, or
 *	- the identity has been silent for the gap.
 *
 * Two frames of the new session with none of the old one between them close
 * the old one for good. A crash frame (terminal nonce) has a prefix of its
 * own, which is taken once, and needs a later timestamp than the last one
 * under the same session.
 *
 * Sessions begin at a limited rate for each identity, so that no holder of one
 * agent's key can fill the memory of sessions that all share.
 *
 * Pure: no I/O, no clock, nothing allocated after replay_new(). What has to be
 * on disk before a frame counts is noted here and written by replay_store.h.
 */
#ifndef WATCH_INTAKE_REPLAY_H
#define WATCH_INTAKE_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "watch/intake/prefixset.h"

enum {
	REPLAY_SENDERS_DEFAULT = 1024,
	REPLAY_SENDERS_MAX = 65536,
	/* Remembered for each place of the table; between these two in all. */
	REPLAY_SESSIONS_A_SENDER = 256,
	REPLAY_SESSIONS_MIN = 65536,
	REPLAY_SESSIONS_MAX = PREFIXSET_CAPACITY_MAX,
	/* A sender that was silent so long gives its place to a newcomer. */
	REPLAY_STALE_S = 600,
	/* Sessions of one identity: so many at once, then one each so often.
	 */
	REPLAY_BURST = 32,
	REPLAY_REFILL_S = 10,
	/* What is noted for the disk at most before replay_settle(). */
	REPLAY_NOTES = 64
};

struct replay;

struct replay_options {
	uint32_t senders_max; /* 1 to REPLAY_SENDERS_MAX */
	uint64_t gap_ns;      /* silence after which any new session is taken */
	uint64_t seed[2];     /* secret */
	uint8_t hash_key[PREFIXSET_HASH_KEY_BYTES];
	bool keeps; /* there is a disk: counters are reserved ahead */
};

/* An authentic, decoded frame. */
struct replay_frame {
	uint64_t id;
	uint64_t prefix;
	uint64_t nonce;
	uint64_t timestamp;
	uint32_t counter;
};

enum replay_verdict {
	REPLAY_TAKEN = 0,
	REPLAY_TAKEN_ANEW,  /* of another session than the frame before: what
			       was known of nonces holds no longer */
	REPLAY_OLD,         /* was taken before, or might have been */
	REPLAY_TABLE_FULL,  /* no place for another sender */
	REPLAY_MEMORY_FULL, /* no room to remember another session */
	REPLAY_TOO_OFTEN,   /* the sender begins too many sessions */
	REPLAY_VERDICT_COUNT
};

/* How many sessions are remembered for so many senders. */
uint32_t replay_sessions_max(uint32_t senders_max);

/* 0, -EINVAL or -ENOMEM. */
int replay_new(const struct replay_options *options, struct replay **ret);
void replay_free(struct replay *r); /* takes NULL */

/* The sources that frames come from; see prefixset_use(). Before the first
 * frame, and whenever keys change. */
void replay_use(struct replay *r, const uint32_t *sources, size_t n);

/* Ask, and where the answer is TAKEN, remember. now_ns never goes back. At
 * most REPLAY_NOTES frames between two calls of replay_settle(). */
enum replay_verdict replay_check(
    struct replay *r, const struct replay_frame *frame, uint64_t now_ns);

uint32_t replay_senders(const struct replay *r);
uint32_t replay_sessions(const struct replay *r);

/* ---- for replay_store.c ------------------------------------------------- */

/* One open session as kept on disk: no frame up to counter is taken again. */
struct replay_session {
	uint64_t prefix;
	uint64_t nonce; /* greatest regular one; 0 none */
	uint32_t counter;
	bool is_open;
};

struct replay_image {
	uint64_t id;
	struct replay_session now;  /* the session that is */
	struct replay_session next; /* one that has begun since */
	uint64_t terminal_timestamp;
	bool has_terminal;
	bool next_spoke; /* the last frame was of next */
};

/* What is at a place of the table, as it should be on disk. exact: counters as
 * they are, not as they are reserved. False when the place is free. */
bool replay_image(const struct replay *r, uint32_t place, bool exact,
    struct replay_image *ret);
uint32_t replay_places(const struct replay *r);

/* Take in what was on disk, heard at now_ns: before the first frame. False:
 * no room. */
bool replay_restore(
    struct replay *r, const struct replay_image *image, uint64_t now_ns);

/* The memory of sessions, for reading and restoring. */
struct prefixset *replay_prefixes(struct replay *r);

/* What has to be written since the last replay_settle(): places whose image
 * has changed, and sessions that are remembered anew. */
struct replay_notes {
	uint32_t places[REPLAY_NOTES];
	size_t n_places;
	struct prefixset_entry sessions[REPLAY_NOTES];
	size_t n_sessions;
};
const struct replay_notes *replay_notes(const struct replay *r);
void replay_settle(struct replay *r);

#endif
