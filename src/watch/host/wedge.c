#include "watch/host/wedge.h"

#include <assert.h>

#include "base/strbuf.h"
#include "base/util.h"
#include "watch/host/pulse.h"

/* Those of the reference. Each is far above what a stage ever needs. */
static const struct {
	const char *name;
	uint64_t limit_ns;
} stages[STATS_STAGE_COUNT] = {
	[STATS_STAGE_DRAIN_PENDING] = { "drain_pending", 2000 * NS_PER_MS },
	[STATS_STAGE_POLL] = { "poll", 2000 * NS_PER_MS },
	[STATS_STAGE_MAINTENANCE] = { "maintenance", 500 * NS_PER_MS },
	[STATS_STAGE_RECOVERY_REAP] = { "recovery_reap", 1000 * NS_PER_MS },
	[STATS_STAGE_SERVE_PENDING] = { "serve_pending", 2000 * NS_PER_MS },
	[STATS_STAGE_HOUSEKEEPING] = { "housekeeping", 1000 * NS_PER_MS },
};

void
wedge_init(struct wedge *w, uint64_t deadline_ns, uint64_t interval_ns,
    uint64_t now_ns)
{
	struct pulse p;

	pulse_init(&p);
	*w = (struct wedge){
		.deadline_ns = deadline_ns,
		.interval_ns = interval_ns,
		.looked_at_ns = now_ns,
		.word = pulse_word(&p),
	};
}

static enum wedge_verdict
judge(const struct wedge *w)
{
	struct pulse_view view = pulse_view(w->word);

	if (view.stage >= STATS_STAGE_COUNT) {
		if (w->state_ns > u64_add_sat(view.wait_ns, w->deadline_ns))
			return WEDGE_OVERSLEPT;
		if (w->input_ns > w->deadline_ns)
			return WEDGE_DEAF;
		return WEDGE_HEALTHY;
	}
	if (w->state_ns > stages[view.stage].limit_ns)
		return WEDGE_STAGE;
	if (w->pass_ns > w->deadline_ns)
		return WEDGE_PASS;
	return WEDGE_HEALTHY;
}

enum wedge_verdict
wedge_look(struct wedge *w, uint64_t word, bool input, uint64_t now_ns)
{
	uint64_t passed_ns =
	    u64_min(u64_sub_sat(now_ns, w->looked_at_ns), w->interval_ns);
	struct pulse_view before = pulse_view(w->word);
	struct pulse_view view = pulse_view(word);
	bool same_word = word == w->word;
	bool same_pass =
	    view.pass == before.pass && before.stage != PULSE_WAITING;

	w->state_ns = same_word ? u64_add_sat(w->state_ns, passed_ns) : 0;
	w->pass_ns = same_pass ? u64_add_sat(w->pass_ns, passed_ns) : 0;
	w->input_ns = same_word && input && w->input
			  ? u64_add_sat(w->input_ns, passed_ns)
			  : 0;
	w->completed |= view.pass != 0;
	w->looked_at_ns = now_ns;
	w->word = word;
	w->input = input;
	return judge(w);
}

bool
wedge_has_completed(const struct wedge *w)
{
	return w->completed;
}

static void
add_ms(struct strbuf *line, const char *before, uint64_t ns)
{
	strbuf_str(line, before);
	strbuf_u64(line, ns / NS_PER_MS);
	strbuf_str(line, " ms");
}

size_t
wedge_describe(const struct wedge *w, enum wedge_verdict verdict,
    char line[WEDGE_LINE_MAX])
{
	unsigned stage = pulse_view(w->word).stage;
	struct strbuf sb;

	/* No strbuf_printf(): it may take locks that the loop holds. */
	strbuf_init(&sb, line, WEDGE_LINE_MAX);
	strbuf_str(&sb, "varta-watch: the loop hangs: ");
	switch (verdict) {
	case WEDGE_HEALTHY:
		break;
	case WEDGE_STAGE:
		assert(stage < STATS_STAGE_COUNT);
		strbuf_str(&sb, "stage ");
		strbuf_str(&sb, stages[stage].name);
		add_ms(&sb, " takes ", w->state_ns);
		add_ms(&sb, ", limit ", stages[stage].limit_ns);
		break;
	case WEDGE_PASS:
		add_ms(&sb, "a pass takes ", w->pass_ns);
		add_ms(&sb, ", deadline ", w->deadline_ns);
		break;
	case WEDGE_OVERSLEPT:
		add_ms(&sb, "it waits for ", w->state_ns);
		add_ms(&sb, " instead of ", pulse_view(w->word).wait_ns);
		add_ms(&sb, ", deadline ", w->deadline_ns);
		break;
	case WEDGE_DEAF:
		add_ms(&sb, "beats have been waiting for ", w->input_ns);
		add_ms(&sb, ", deadline ", w->deadline_ns);
		break;
	}
	strbuf_str(&sb, "; aborting\n");
	return sb.len;
}
