/*
 * An agent over a transport that follows a script, and a clock that the test
 * moves. Works as setup of a cmocka test; *state is then the script.
 */
#ifndef SUPPORT_SCRIPT_H
#define SUPPORT_SCRIPT_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/util.h"
#include "lib/lib.h"

#define SCRIPT_START_NS (5 * NS_PER_S)

enum { SCRIPT_STEPS = 32, SCRIPT_ALL = VARTA_FRAME_BYTES };

struct script {
	struct varta_agent agent;
	_Atomic uint32_t word;
	int sends[SCRIPT_STEPS]; /* what each send gives; past the end:
				    SCRIPT_ALL */
	size_t n_sends;
	struct varta_frame sent[SCRIPT_STEPS];
	size_t sent_count;
	int reconnects[SCRIPT_STEPS]; /* what each gives; past the end: 0 */
	size_t reconnect_count;
	size_t disconnect_count;
	size_t free_count;
	uint64_t now_ns;
};

static inline int
script_send(void *transport, const uint8_t frame[VARTA_FRAME_BYTES])
{
	struct script *f = transport;
	size_t i = f->sent_count++;

	assert_true(i < SCRIPT_STEPS);
	assert_int_equal(
	    varta_frame_decode(frame, VARTA_FRAME_BYTES, &f->sent[i]), 0);
	return i < f->n_sends ? f->sends[i] : SCRIPT_ALL;
}

static inline int
script_reconnect(void *transport)
{
	struct script *f = transport;

	assert_true(f->reconnect_count < SCRIPT_STEPS);
	return f->reconnects[f->reconnect_count++];
}

static inline void
script_disconnect(void *transport)
{
	struct script *f = transport;

	f->disconnect_count++;
}

static inline void
script_free(void *transport)
{
	struct script *f = transport;

	f->free_count++;
}

static inline uint64_t
script_now_ns(void *transport)
{
	const struct script *f = transport;

	return f->now_ns;
}

static const struct varta__transport_ops script_ops = {
	.send = script_send,
	.reconnect = script_reconnect,
	.disconnect = script_disconnect,
	.free = script_free,
	.now_ns = script_now_ns,
};

static inline int
script_setup(void **state)
{
	static struct script f;
	struct varta__lineage lineage = { .word = &f.word };

	memset(&f, 0, sizeof(f));
	f.now_ns = SCRIPT_START_NS;
	varta__agent_init(&f.agent, &script_ops, &f, &lineage);
	*state = &f;
	return 0;
}

static inline void
script_plan_sends(struct script *f, size_t n, const int *results)
{
	memcpy(f->sends, results, n * sizeof(*results));
	f->n_sends = n;
}

#define PLAN_SENDS(f, ...)                                                     \
	script_plan_sends(f, sizeof((int[]){ __VA_ARGS__ }) / sizeof(int),     \
	    (const int[]){ __VA_ARGS__ })

static inline int
script_beat(struct script *f)
{
	return varta_beat(&f->agent, VARTA_OK, 0);
}

static inline struct varta_counters
script_counters(const struct script *f)
{
	struct varta_counters c;

	varta_counters_get(&f->agent, &c);
	return c;
}

#endif
