/*
 * A made-up table of agents, and metrics rendered from it into a text. For
 * test programs of metrics.h, one instance each.
 */
#ifndef SUPPORT_METRICS_FIXTURE_H
#define SUPPORT_METRICS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "watch/tell/metrics.h"

enum { SLOTS_MAX = 20000, TEXT_MAX = 16 << 20 };

/* A table of agents: pid 0 is a free slot. */
static struct agent_view agents[SLOTS_MAX];
static uint32_t n_slots;
static uint32_t n_looks;

static struct stats stats;
static struct metrics_gauges gauges;
static char text[TEXT_MAX];

static bool
agent(void *ctx, uint32_t slot, struct agent_view *ret)
{
	assert_null(ctx);
	assert_true(slot < n_slots);
	n_looks++;
	if (agents[slot].pid == 0)
		return false;
	*ret = agents[slot];
	return true;
}

/* The same, as rows. */
static inline bool
agent_row(void *ctx, uint32_t slot, struct agent_row *ret)
{
	struct agent_view view;

	if (!agent(ctx, slot, &view))
		return false;
	*ret = (struct agent_row){
		.beats = view.beats,
		.stalls = view.stalls,
		.last_seen_ns = view.last_seen_ns,
		.joined_ns = view.joined_ns,
		.pid = view.pid,
		.status = view.status,
	};
	return true;
}

static uint32_t
slots(void *ctx)
{
	assert_null(ctx);
	return n_slots;
}

static struct metrics_source source;
static enum metrics_format format;

static inline struct agent_view
an_agent(uint32_t pid)
{
	return (struct agent_view){
		.pid = pid,
		.beats = UINT64_C(10) * pid,
		.stalls = pid % 3,
		.status = (uint8_t)(pid % AGENT_STATUS_COUNT),
		.joined_ns = 1,
	};
}

/* Agents with pids 2, 3, ... in slots of falling order. */
static inline void
fill(uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++)
		agents[i] = an_agent(n + 1 - i);
	n_slots = n;
	gauges.agents = n;
}

static inline int
fixture_setup(void **state)
{
	(void)state;
	memset(&stats, 0, sizeof(stats));
	memset(&gauges, 0, sizeof(gauges));
	memset(agents, 0, sizeof(agents));
	n_slots = 0;
	n_looks = 0;
	format = METRICS_CLASSIC;
	source = (struct metrics_source){ .stats = &stats,
		.gauges = &gauges,
		.agent = agent,
		.row = agent_row,
		.slots = slots };
	return 0;
}

/* Render whole in pieces of this size into text. Returns the length. */
static inline size_t
render(size_t piece, uint32_t max_agents, uint64_t now_ns)
{
	struct metrics_render *r = metrics_render_new(&source, format, now_ns);
	size_t len = 0, n;
	bool done = false;

	assert_non_null(r);
	while (!done) {
		assert_true(len + piece < TEXT_MAX);
		n = metrics_render(r, text + len, piece, max_agents, &done);
		assert_true(n <= piece);
		assert_true(n == 0 || text[len + n - 1] == '\n');
		assert_true(!done || n == 0);
		len += n;
	}
	assert_int_equal(
	    metrics_render(r, text + len, piece, max_agents, &done), 0);
	assert_true(done);
	metrics_render_free(r);
	text[len] = '\0';
	return len;
}

/* One call of metrics_render() after the other until there is none left.
 * Returns the length. */
static inline size_t
render_rest(struct metrics_render *r, size_t len)
{
	bool done = false;

	while (!done)
		len += metrics_render(r, text + len, 65536, 100, &done);
	text[len] = '\0';
	metrics_render_free(r);
	return len;
}

/* The whole line is there. */
static inline void
assert_has(const char *line)
{
	const char *at = text;
	size_t n = strlen(line);

	while ((at = strstr(at, line)) != NULL) {
		if ((at == text || at[-1] == '\n') && at[n] == '\n')
			return;
		at++;
	}
	print_error("not there: %s\n", line);
	fail();
}

/* How often. */
static inline unsigned
count(const char *what)
{
	const size_t len = strlen(what);
	const char *at;
	unsigned n = 0;

	/* Not by strstr(): the sanitizer has it measure all of the rest. */
	for (at = text; *at != '\0'; at++)
		n += *at == *what && strncmp(at, what, len) == 0;
	return n;
}

#endif
