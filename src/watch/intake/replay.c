#include "watch/intake/replay.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "watch/intake/senders.h"

enum {
	/* A reserve of counters is to last about so long: it is doubled when it
	 * lasts less, and halved when it lasts four times as long. After a
	 * crash of the observer an agent is not heard until it is used up. */
	RESERVE_S = 4,
	RESERVE_SHIFT_MAX = 16
};

_Static_assert((int)REPLAY_SENDERS_MAX == (int)SENDERS_MAX, "one limit");

/* An open session. Up to reserved its counters count as used on disk. */
struct session {
	uint64_t prefix;
	uint64_t nonce;
	uint32_t counter;
	uint32_t reserved;
	bool is_open;
};

/* All that is known of an identity but for its place in the table. */
struct known {
	struct session now;
	struct session next;
	uint64_t terminal_timestamp;
	uint64_t refilled_ns; /* when budget was last full or filled up */
	uint64_t reserved_ns; /* when counters were last reserved */
	uint8_t budget;       /* sessions that may begin */
	uint8_t reserve_shift;
	bool has_terminal;
	bool next_spoke;
	bool is_noted;
};

struct replay {
	struct replay_options options;
	struct senders *senders;
	struct prefixset *prefixes;
	struct replay_notes notes;
	struct known known[];
};

uint32_t
replay_sessions_max(uint32_t senders_max)
{
	uint64_t n = (uint64_t)senders_max * REPLAY_SESSIONS_A_SENDER;

	return (uint32_t)u64_min(
	    u64_max(n, REPLAY_SESSIONS_MIN), REPLAY_SESSIONS_MAX);
}

int
replay_new(const struct replay_options *options, struct replay **ret)
{
	struct replay *r;
	int e;

	if (options->senders_max == 0 ||
	    options->senders_max > REPLAY_SENDERS_MAX)
		return -EINVAL;
	r = calloc(1, sizeof(*r) + options->senders_max * sizeof(r->known[0]));
	if (r == NULL)
		return -ENOMEM;
	r->options = *options;
	e = prefixset_new(replay_sessions_max(options->senders_max),
	    options->hash_key, &r->prefixes);
	if (e == 0) {
		r->senders = senders_new(options->senders_max, options->seed);
		e = r->senders != NULL ? 0 : -ENOMEM;
	}
	if (e < 0) {
		replay_free(r);
		return e;
	}
	*ret = r;
	return 0;
}

void
replay_free(struct replay *r)
{
	if (r == NULL)
		return;
	senders_free(r->senders);
	prefixset_free(r->prefixes);
	free(r);
}

void
replay_use(struct replay *r, const uint32_t *sources, size_t n)
{
	prefixset_use(r->prefixes, sources, n);
}

static bool
is_terminal(const struct replay_frame *frame)
{
	return frame->nonce == UINT64_MAX;
}

static void
note_place(struct replay *r, uint32_t place)
{
	struct known *k = &r->known[place];

	if (!r->options.keeps || k->is_noted)
		return;
	assert(r->notes.n_places < REPLAY_NOTES);
	k->is_noted = true;
	r->notes.places[r->notes.n_places++] = place;
}

/* More counters than this one are given out as used, so that not every frame
 * has to be written. */
static void
reserve(struct replay *r, uint32_t place, struct session *s, uint64_t now_ns)
{
	struct known *k = &r->known[place];
	uint32_t ahead = (UINT32_C(1) << k->reserve_shift) - 1;

	s->reserved =
	    s->counter > UINT32_MAX - ahead ? UINT32_MAX : s->counter + ahead;
	k->reserved_ns = now_ns;
	note_place(r, place);
}

/* The counter may have passed what was reserved. */
static void
reserve_more(
    struct replay *r, uint32_t place, struct session *s, uint64_t now_ns)
{
	struct known *k = &r->known[place];
	uint64_t lasted_ns = u64_sub_sat(now_ns, k->reserved_ns);

	if (!r->options.keeps || s->counter <= s->reserved)
		return;
	if (lasted_ns < RESERVE_S * NS_PER_S &&
	    k->reserve_shift < RESERVE_SHIFT_MAX)
		k->reserve_shift++;
	else if (lasted_ns > 4 * RESERVE_S * NS_PER_S && k->reserve_shift > 0)
		k->reserve_shift--;
	reserve(r, place, s, now_ns);
}

static void
note_terminal(struct known *k, const struct replay_frame *frame)
{
	if (k->has_terminal && k->terminal_timestamp >= frame->timestamp)
		return;
	k->has_terminal = true;
	k->terminal_timestamp = frame->timestamp;
}

/* The session that has begun is the session that is; the one before it is
 * closed for good: its prefix is remembered since it was opened. */
static void
close_old(struct replay *r, uint32_t place)
{
	struct known *k = &r->known[place];

	k->now = k->next;
	k->next = (struct session){ 0 };
	k->next_spoke = false;
	/* A last word may have come late, out of the old one. */
	k->has_terminal = false;
	note_place(r, place);
}

/* A frame of an open session. */
static enum replay_verdict
go_on(struct replay *r, uint32_t place, struct session *s,
    const struct replay_frame *frame, uint64_t now_ns)
{
	struct known *k = &r->known[place];
	bool is_next = s == &k->next;
	bool changed = is_next != k->next_spoke;

	if (frame->counter <= s->counter)
		return REPLAY_OLD;
	s->counter = frame->counter;
	if (is_terminal(frame))
		note_terminal(k, frame);
	else
		s->nonce = u64_max(s->nonce, frame->nonce);
	reserve_more(r, place, s, now_ns);
	k->next_spoke = is_next;
	if (is_next && !changed)
		close_old(r, place);
	else if (changed)
		note_place(r, place);
	senders_touch(r->senders, place, now_ns);
	return changed ? REPLAY_TAKEN_ANEW : REPLAY_TAKEN;
}

/* Whether the identity may begin a session. */
static bool
has_budget(struct known *k, uint64_t now_ns)
{
	uint64_t refill_ns = REPLAY_REFILL_S * NS_PER_S;
	uint64_t n = u64_sub_sat(now_ns, k->refilled_ns) / refill_ns;

	if (n > 0) {
		k->budget = (uint8_t)u64_min(k->budget + n, REPLAY_BURST);
		k->refilled_ns += n * refill_ns;
	}
	return k->budget > 0;
}

/* Remember a session that was not; false when there is no room. */
static bool
remember(struct replay *r, const struct prefixset_entry *entry)
{
	if (!prefixset_add(r->prefixes, entry))
		return false;
	if (r->options.keeps) {
		assert(r->notes.n_sessions < REPLAY_NOTES);
		r->notes.sessions[r->notes.n_sessions++] = *entry;
	}
	return true;
}

static void
open_session(struct replay *r, uint32_t place, struct session *s,
    const struct replay_frame *frame, uint64_t now_ns)
{
	struct known *k = &r->known[place];

	*s = (struct session){
		.prefix = frame->prefix,
		.nonce = frame->nonce,
		.counter = frame->counter,
		.is_open = true,
	};
	k->next_spoke = s == &k->next;
	/* The clock of crash frames begins anew with the session. */
	k->has_terminal = false;
	reserve(r, place, s, now_ns);
}

/* Whether a frame of a session that was never seen may open it. */
static bool
may_begin(const struct known *k, const struct replay_frame *frame,
    uint64_t silence_ns, uint64_t gap_ns)
{
	const struct session *latest = k->next.is_open ? &k->next : &k->now;

	if (is_terminal(frame))
		return !k->has_terminal ||
		       frame->timestamp > k->terminal_timestamp;
	return !latest->is_open || frame->nonce > latest->nonce ||
	       frame->nonce == (uint64_t)frame->counter + 1 ||
	       silence_ns >= gap_ns;
}

/* A frame of no open session, from an identity that is known. */
static enum replay_verdict
begin(struct replay *r, uint32_t place, const struct replay_frame *frame,
    uint64_t now_ns)
{
	struct known *k = &r->known[place];
	struct prefixset_entry entry =
	    prefixset_entry(r->prefixes, frame->id, frame->prefix);
	uint64_t silence_ns =
	    u64_sub_sat(now_ns, senders_last_ns(r->senders, place));
	bool is_first = !k->now.is_open;

	if (prefixset_has(r->prefixes, &entry) ||
	    !may_begin(k, frame, silence_ns, r->options.gap_ns))
		return REPLAY_OLD;
	if (!has_budget(k, now_ns))
		return REPLAY_TOO_OFTEN;
	if (!remember(r, &entry))
		return REPLAY_MEMORY_FULL;
	k->budget--;
	senders_touch(r->senders, place, now_ns);
	if (is_terminal(frame)) {
		note_terminal(k, frame);
		note_place(r, place);
		return REPLAY_TAKEN;
	}
	open_session(r, place, is_first ? &k->now : &k->next, frame, now_ns);
	return REPLAY_TAKEN_ANEW;
}

/* A frame of an identity that is not known. */
static enum replay_verdict
meet(struct replay *r, const struct replay_frame *frame, uint64_t now_ns)
{
	struct prefixset_entry entry =
	    prefixset_entry(r->prefixes, frame->id, frame->prefix);
	struct known *k;
	uint32_t place;

	if (prefixset_has(r->prefixes, &entry))
		return REPLAY_OLD;
	if (prefixset_count(r->prefixes) == prefixset_capacity(r->prefixes))
		return REPLAY_MEMORY_FULL;
	place = senders_take(r->senders, frame->id, now_ns,
	    u64_max(r->options.gap_ns, REPLAY_STALE_S * NS_PER_S));
	if (place == SENDERS_NONE)
		return REPLAY_TABLE_FULL;
	(void)remember(r, &entry);
	k = &r->known[place];
	*k = (struct known){
		.refilled_ns = now_ns,
		.reserved_ns = now_ns,
		.budget = REPLAY_BURST - 1,
		.is_noted = k->is_noted,
	};
	if (is_terminal(frame)) {
		note_terminal(k, frame);
		note_place(r, place);
	} else {
		open_session(r, place, &k->now, frame, now_ns);
	}
	return REPLAY_TAKEN_ANEW;
}

enum replay_verdict
replay_check(
    struct replay *r, const struct replay_frame *frame, uint64_t now_ns)
{
	uint32_t place = senders_find(r->senders, frame->id);
	struct known *k;

	if (place == SENDERS_NONE)
		return meet(r, frame, now_ns);
	k = &r->known[place];
	if (likely(k->now.is_open && frame->prefix == k->now.prefix))
		return go_on(r, place, &k->now, frame, now_ns);
	if (k->next.is_open && frame->prefix == k->next.prefix)
		return go_on(r, place, &k->next, frame, now_ns);
	return begin(r, place, frame, now_ns);
}

uint32_t
replay_senders(const struct replay *r)
{
	return senders_count(r->senders);
}

uint32_t
replay_sessions(const struct replay *r)
{
	return prefixset_count(r->prefixes);
}

static struct replay_session
session_image(const struct session *s, bool exact)
{
	return (struct replay_session){
		.prefix = s->prefix,
		.nonce = s->nonce,
		.counter = exact ? s->counter : s->reserved,
		.is_open = s->is_open,
	};
}

bool
replay_image(const struct replay *r, uint32_t place, bool exact,
    struct replay_image *ret)
{
	const struct known *k = &r->known[place];
	uint64_t id = senders_id(r->senders, place);

	if (id == 0)
		return false;
	*ret = (struct replay_image){
		.id = id,
		.now = session_image(&k->now, exact),
		.next = session_image(&k->next, exact),
		.terminal_timestamp = k->terminal_timestamp,
		.has_terminal = k->has_terminal,
		.next_spoke = k->next_spoke,
	};
	return true;
}

uint32_t
replay_places(const struct replay *r)
{
	return senders_capacity(r->senders);
}

static struct session
session_of(const struct replay_session *s)
{
	return (struct session){
		.prefix = s->prefix,
		.nonce = s->nonce,
		.counter = s->counter,
		.reserved = s->counter,
		.is_open = s->is_open,
	};
}

bool
replay_restore(
    struct replay *r, const struct replay_image *image, uint64_t now_ns)
{
	uint32_t place =
	    senders_take(r->senders, image->id, now_ns, UINT64_MAX);

	if (place == SENDERS_NONE)
		return false;
	r->known[place] = (struct known){
		.now = session_of(&image->now),
		.next = session_of(&image->next),
		.terminal_timestamp = image->terminal_timestamp,
		.refilled_ns = now_ns,
		.reserved_ns = now_ns,
		.budget = REPLAY_BURST,
		.has_terminal = image->has_terminal,
		.next_spoke = image->next_spoke,
	};
	return true;
}

struct prefixset *
replay_prefixes(struct replay *r)
{
	return r->prefixes;
}

const struct replay_notes *
replay_notes(const struct replay *r)
{
	return &r->notes;
}

void
replay_settle(struct replay *r)
{
	for (size_t i = 0; i < r->notes.n_places; i++)
		r->known[r->notes.places[i]].is_noted = false;
	r->notes.n_places = 0;
	r->notes.n_sessions = 0;
}
