/*
 * The IV session of a sender: which IV seals the next frame. An IV is a prefix
 * derived from the session's salt, and a counter; vlp(7), "sealed frames".
 *
 * An IV is spent by session_commit(), when its frame has left the process. A
 * frame that could not be sent leaves counter and prefix to the next one. No
 * IV comes twice in a session, and sessions have salts of their own.
 *
 * Pure: entropy is the caller's. Never allocates.
 */
#ifndef SECURE_SESSION_H
#define SECURE_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/util.h"
#include "secure/hkdf.h"
#include "secure/seal.h"

/* This counter is never sent: it says that the prefix is used up. */
#define SESSION_COUNTER_END UINT32_MAX

struct session {
	uint8_t salt[HKDF_SALT_BYTES];
	uint32_t prefix_index;
	struct seal_iv iv; /* of the next frame, unless its counter is the end
			    */
};

/* A session that begins with prefix 0 and counter 0. */
void session_begin(struct session *s, const uint8_t salt[static 16]);

/* Go on to the next prefix. False, with nothing changed, where there is none
 * left: begin anew with fresh salt. */
bool session_next_prefix(struct session *s);

/*
 * Make s->iv the IV of the next frame. Called again before session_commit(),
 * it gives the same one. False, with nothing changed, when the session has no
 * IV left: begin anew with fresh salt.
 */
static inline bool
session_prepare(struct session *s)
{
	return likely(s->iv.counter != SESSION_COUNTER_END) ||
	       session_next_prefix(s);
}

/* The frame sealed with s->iv has been sent. */
static inline void
session_commit(struct session *s)
{
	s->iv.counter++;
}

#endif
