/*
 * Any memory of agents, changed at any time, with any news of their connections
 * and processes: the observer of lanes crashes on none of it, spins on none of
 * it, judges nobody early, and its counters add up.
 *
 * The input is a script: a byte says what happens, some more what with.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/util.h"
#include "lib/lane_page.h"
#include "watch/berth.h"
#include "watch/intake/lane_memory.h"
#include "watch/judge/pause.h"
#include "watch/lanes.h"

enum {
	PLACES = 4,
	PIDS = 3,
	FIRST_PID = 100,
	UID = 1000,
	PAGES = 2,
	RECORDS = PAGES * LANE_PAGE_RECORDS,
	LANES = 100,
	AGENTS = 3,
	NEWS_MAX = 256,
	SLOW_US_MAX = 20, /* to read a lane, so that all fit in a threshold */
	PASSES_MAX = 400  /* until there is nothing to do now */
};

static const uint64_t STEP_NS = 4 * NS_PER_MS;

struct process {
	uint64_t start_ticks;
	uint64_t token;
	int how; /* exit code, or -1: a signal */
	bool is_alive, is_reaped, has_ever_ended, is_watched, is_foreign;
};

struct memory {
	_Alignas(64) uint8_t bytes[PAGES * LANE_PAGE_BYTES];
	uint64_t written_ns[RECORDS]; /* when its mark became what it is */
	uint64_t highest[RECORDS];    /* mark that it ever had */
	bool has_lied[RECORDS];       /* about a time, or gone back */
	uint8_t torn[RECORDS];
	bool is_taken, is_attached;
};

struct world {
	const uint8_t *data;
	size_t size;
	uint64_t now_ns, ticks, read_ns;
	struct memory memories[PLACES];
	struct process processes[PIDS];
	struct lane_news news[NEWS_MAX];
	size_t n_news;
	struct rules rules;
	struct stats stats;
	struct pause pause;
	struct lives *lives;
	struct lanes *lanes;
	uint64_t last_token, stalls, joins, leaves, resumes;
};

static struct world w;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- the input ---- */

static uint8_t
next_byte(void)
{
	if (w.size == 0)
		return 0;
	w.size--;
	return *w.data++;
}

static uint16_t
next_u16(void)
{
	uint16_t low = next_byte();

	return (uint16_t)(low | next_byte() << 8);
}

/* ---- processes ---- */

static struct process *
process_of(uint32_t pid)
{
	if (pid < FIRST_PID || pid >= FIRST_PID + PIDS)
		return NULL;
	return &w.processes[pid - FIRST_PID];
}

static int
identify(void *ctx, uint32_t pid, struct identity *ret)
{
	const struct process *p = process_of(pid);

	(void)ctx;
	*ret = (struct identity){ .pidfd = -1 };
	if (p == NULL || p->is_reaped) {
		ret->gone = true;
		return 0;
	}
	ret->start_ticks = p->start_ticks;
	ret->pid_namespace = p->is_foreign ? 2 : 1;
	/* Every other one finds no descriptor. */
	if (p->start_ticks % 2 == 0)
		return -1;
	ret->pidfd = (int)(p - w.processes);
	return 0;
}

static uint64_t
start_ticks(void *ctx, uint32_t pid)
{
	const struct process *p = process_of(pid);

	(void)ctx;
	return p != NULL && !p->is_reaped ? p->start_ticks : 0;
}

static void
name(void *ctx, uint32_t pid, char *ret, size_t size)
{
	(void)ctx;
	(void)pid;
	(void)size;
	memcpy(ret, "x", 2);
}

static struct exit_info
exit_info(void *ctx, int pidfd)
{
	const struct process *p = &w.processes[pidfd];

	(void)ctx;
	if (!p->is_reaped)
		return (struct exit_info){ .how = EXIT_HOW_UNKNOWN };
	return p->how >= 0 ? (struct exit_info){ EXIT_HOW_CODE, p->how }
			   : (struct exit_info){ EXIT_HOW_SIGNAL, 9 };
}

static int
watch(void *ctx, int pidfd, uint64_t token)
{
	(void)ctx;
	w.processes[pidfd].token = token;
	w.processes[pidfd].is_watched = true;
	return 0;
}

static void
unwatch(void *ctx, int pidfd)
{
	(void)ctx;
	w.processes[pidfd].is_watched = false;
}

static void
close_pidfd(void *ctx, int pidfd)
{
	(void)ctx;
	(void)pidfd;
}

static void
tell_of_processes(void)
{
	for (int i = 0; i < PIDS; i++) {
		struct process *p = &w.processes[i];
		const struct process_told told = {
			.token = p->token,
			.news = p->is_reaped ? PROCESS_REAPED : PROCESS_ENDED,
		};

		if (!p->is_alive && p->is_watched)
			lives_told(w.lives, &told, w.now_ns);
	}
}

/* ---- the source ---- */

static struct lane_record *
record_at(uint32_t place, uint32_t i)
{
	assert(place < PLACES && i < RECORDS);
	return (void *)(w.memories[place].bytes + lane_record_offset(i));
}

static struct lane_memory
memory_at(uint32_t place)
{
	assert(place < PLACES && w.memories[place].is_taken);
	return (struct lane_memory){ .bytes = w.memories[place].bytes,
		.len = sizeof(w.memories[place].bytes) };
}

static size_t
take(void *ctx, struct lane_news ret[static LANE_SOURCE_NEWS])
{
	size_t n = 0;

	(void)ctx;
	while (n < LANE_SOURCE_NEWS && w.n_news > 0) {
		/* Of a place that was given up none follow. */
		if (w.memories[w.news[0].place].is_taken)
			ret[n++] = w.news[0];
		memmove(w.news, w.news + 1, --w.n_news * sizeof(w.news[0]));
	}
	return n;
}

static bool
is_there(void *ctx, uint32_t place)
{
	(void)ctx;
	return w.memories[place].bytes[8] != 77;
}

static uint32_t
records(void *ctx, uint32_t place)
{
	const struct lane_memory m = memory_at(place);

	(void)ctx;
	return lane_memory_records(&m);
}

static uint32_t
generation(void *ctx, uint32_t place, uint32_t i)
{
	const struct lane_memory m = memory_at(place);

	(void)ctx;
	return lane_memory_generation(&m, i);
}

static bool
read_record(void *ctx, uint32_t place, uint32_t i, struct lane_reading *ret)
{
	const struct lane_memory m = memory_at(place);

	(void)ctx;
	w.now_ns += w.read_ns;
	if (w.memories[place].torn[i] > 0) {
		w.memories[place].torn[i]--;
		return false;
	}
	return lane_memory_read(&m, i, w.now_ns, STEP_NS, ret);
}

static void
drop(void *ctx, uint32_t place)
{
	(void)ctx;
	assert(w.memories[place].is_taken);
	w.memories[place].is_taken = false;
	w.memories[place].is_attached = false;
}

/* ---- what is told ---- */

/* When its owner has really beaten last, at the earliest; 0 where that is
 * anybody's guess. */
static uint64_t
last_beat_ns(const struct lane_id *id)
{
	const struct lane_record *r = record_at(id->owner, id->index);
	uint64_t mark = atomic_load(&r->beat_ns);

	assert(mark != 0);
	if (w.memories[id->owner].has_lied[id->index])
		return 0;
	if ((r->flags & LANE_EXACT) == 0)
		mark = u64_add_sat(mark, STEP_NS);
	return u64_min(mark, w.memories[id->owner].written_ns[id->index]);
}

static void
check_stall(const struct event *ev, const struct lane_view *view)
{
	const struct process *p = process_of(ev->pid);

	w.stalls++;
	assert(p != NULL);
	if (ev->why.stall == STALL_GONE)
		assert(p->has_ever_ended);
	else
		assert(w.now_ns >= u64_add_sat(last_beat_ns(&view->id),
				       view->terms->threshold_ns));
}

static void
on_event(void *ctx, const struct event *ev)
{
	struct lane_view view;

	(void)ctx;
	if (ev->lane == NULL)
		return;
	assert(ev->status <= AGENT_CRITICAL);
	assert(ev->lane[0] != '\0');
	assert(lanetable_view(w.lanes->table, ev->lane_slot, &view));
	assert(view.token == ev->lane_token);
	assert(view.terms->threshold_ns >= LANES_THRESHOLD_MS_MIN * NS_PER_MS);
	if (ev->kind == EVENT_STALL) {
		check_stall(ev, &view);
	} else if (ev->kind == EVENT_JOIN) {
		assert(ev->lane_token > w.last_token);
		w.last_token = ev->lane_token;
		w.joins++;
	} else if (ev->kind == EVENT_LEAVE) {
		w.leaves++;
	} else {
		assert(ev->kind == EVENT_RESUME);
		w.resumes++;
	}
}

/* ---- what always holds ---- */

static void
check_names(void)
{
	struct lane_view a, b;

	for (uint32_t i = 0; i < lanetable_slots(w.lanes->table); i++) {
		if (!lanetable_view(w.lanes->table, i, &a))
			continue;
		for (uint32_t k = 0; k < i; k++)
			assert(!lanetable_view(w.lanes->table, k, &b) ||
			       w.lanes->berths[a.id.owner].pid !=
				   w.lanes->berths[b.id.owner].pid ||
			       strcmp(a.terms->name, b.terms->name) != 0);
	}
}

static void
check_counts(void)
{
	uint32_t detached = 0, to_search = 0, lanes = 0, places = 0;

	for (uint32_t i = 0; i < w.lanes->places; i++) {
		const struct berth *b = &w.lanes->berths[i];

		places += b->phase != BERTH_FREE;
		detached += b->phase == BERTH_DETACHED;
		to_search += b->must_search;
		assert((b->phase != BERTH_FREE) == w.memories[i].is_taken ||
		       w.n_news > 0);
		for (uint32_t slot = lanetable_first(w.lanes->table, i);
		     slot != SLOT_NONE;
		     slot = lanetable_next(w.lanes->table, slot))
			lanes++;
	}
	assert(places <= PLACES);
	assert(detached == w.lanes->n_detached);
	assert(to_search == w.lanes->n_to_search);
	assert(lanes == lanes_count(w.lanes));
	assert(
	    w.joins == w.stats.lane_joins && w.leaves == w.stats.lane_leaves);
	assert(w.resumes == w.stats.lane_resumes);
	assert(w.stalls == w.stats.lane_stalls[STALL_SILENT] +
			       w.stats.lane_stalls[STALL_GONE]);
	/* The others were forgotten after their stall. */
	assert(w.joins >= w.leaves + lanes);
	assert(w.joins - w.leaves - lanes <=
	       w.stats.lane_stalls[STALL_GONE] +
		   w.stats.lane_stalls[STALL_SILENT]);
}

static void
check_rows(void)
{
	struct lane_row row;
	uint32_t n = 0;

	for (uint32_t i = 0; i < lanes_slots(w.lanes); i++) {
		if (!lanes_row(w.lanes, i, w.now_ns, &row))
			continue;
		n++;
		assert(row.last_seen_ns <= w.now_ns);
		assert(row.status <= AGENT_STALLED);
		assert(memchr(row.name, '\0', LANETABLE_NAME_BYTES) != NULL);
	}
	assert(n == lanes_count(w.lanes));
}

/* As observer_pass() and observer_rest(). */
static uint64_t
pass(void)
{
	uint64_t wake_ns;

	(void)pause_wake(&w.pause, w.now_ns, false);
	lanes_take(w.lanes, w.now_ns);
	tell_of_processes();
	(void)lives_judge(w.lives, &w.pause, 1024, w.now_ns);
	(void)lanes_judge(w.lanes, &w.pause, 1024, w.now_ns);
	check_names();
	check_counts();
	check_rows();
	wake_ns = u64_min(lives_next_ns(w.lives, w.now_ns, 10 * NS_PER_MS),
	    lanes_next_ns(w.lanes, w.now_ns, 10 * NS_PER_MS));
	pause_sleep(&w.pause, w.now_ns, wake_ns);
	return wake_ns;
}

/* Until there is nothing to do before then. */
static void
run_until(uint64_t end_ns)
{
	int spins = 0;

	for (;;) {
		uint64_t wake_ns = pass();

		if (w.n_news > 0 || wake_ns <= w.now_ns) {
			assert(spins++ < PASSES_MAX);
			continue;
		}
		spins = 0;
		if (wake_ns > end_ns)
			break;
		w.now_ns = wake_ns;
	}
	w.now_ns = u64_max(w.now_ns, end_ns);
}

/* ---- what the script says ---- */

static void
put_news(enum lane_news_kind kind, uint32_t place, uint32_t pid)
{
	uint8_t user = next_byte();

	if (w.n_news == NEWS_MAX)
		return;
	w.news[w.n_news++] = (struct lane_news){
		.kind = kind,
		.place = place,
		.pid = pid,
		.uid = user == 255 ? 0 : UID,
		.gid = UID,
	};
}

static void
connect_or_end(void)
{
	uint8_t what = next_byte();
	uint32_t place = what % PLACES;
	struct memory *m = &w.memories[place];

	if (!m->is_taken) {
		m->is_taken = m->is_attached = true;
		put_news(LANE_ATTACHED, place,
		    FIRST_PID + next_byte() % (PIDS + 1u));
	} else if (m->is_attached && what >= 128) {
		m->is_attached = false;
		put_news(LANE_DETACHED, place, 0);
	} else if (m->is_attached) {
		put_news(LANE_CHANGED, place, 0);
	}
}

/* The memory was changed, and with it perhaps the mark of a record. */
static void
note_mark(struct memory *m, uint32_t i, uint64_t before)
{
	const struct lane_record *r =
	    (const void *)(m->bytes + lane_record_offset(i));
	uint64_t mark = atomic_load(&r->beat_ns);

	if (mark == before)
		return;
	m->written_ns[i] = w.now_ns;
	if (mark == 0)
		return;
	if (mark > w.now_ns || mark <= m->highest[i])
		m->has_lied[i] = true;
	m->highest[i] = u64_max(m->highest[i], mark);
}

/* Some bytes anywhere. */
static void
scribble(void)
{
	static uint8_t before[PAGES * LANE_PAGE_BYTES];
	struct memory *m = &w.memories[next_byte() % PLACES];
	size_t at = next_u16() % sizeof(m->bytes);
	uint8_t n = next_byte() % 70, value = next_byte();

	memcpy(before, m->bytes, sizeof(before));
	for (; n > 0 && at < sizeof(m->bytes); n--, at++)
		m->bytes[at] = value++;
	for (uint32_t i = 0; i < RECORDS; i++)
		note_mark(m, i, load_le64(before + lane_record_offset(i)));
}

static void
use_lane(void)
{
	uint32_t place = next_byte() % PLACES, i = next_byte() % RECORDS;
	struct memory *m = &w.memories[place];
	struct lane_head *head = (void *)m->bytes;
	struct lane_record *r = record_at(place, i);
	uint8_t what = next_byte();
	uint64_t before = atomic_load(&r->beat_ns);

	switch (what % 6) {
	case 0: /* opened */
		r->threshold_ms = next_byte() * 4u;
		r->flags = what & 64 ? LANE_EXACT : 0;
		memset(r->name, 0, sizeof(r->name));
		r->name[0] = (char)next_byte();
		atomic_store(&r->generation, atomic_load(&r->generation) | 1);
		if (atomic_load(&head->lanes) <= i)
			atomic_store(&head->lanes, i + 1);
		break;
	case 1: /* closed */
		atomic_fetch_add(&r->generation, 1);
		break;
	case 2: /* idle */
		atomic_store(&r->beat_ns, 0);
		break;
	case 3:
		m->torn[i] = next_byte() % 8;
		break;
	default: /* beaten now, or by a clock that is wrong */
		atomic_store(&r->beat_ns, what & 64 ? w.now_ns - next_byte()
						    : (uint64_t)next_u16()
							  << next_byte() % 64);
		break;
	}
	note_mark(m, i, before);
}

static void
open_many(void)
{
	uint32_t place = next_byte() % PLACES;
	struct lane_head *head = (void *)w.memories[place].bytes;
	uint8_t letter = next_byte();

	for (uint32_t i = 0; i < RECORDS; i++) {
		struct lane_record *r = record_at(place, i);

		r->threshold_ms = 100;
		r->name[0] = letter < 64 ? 'a' : (char)(letter + i);
		r->name[1] = letter < 128 ? '\0' : (char)i;
		atomic_store(&r->generation, atomic_load(&r->generation) | 1);
	}
	atomic_store(&head->lanes, RECORDS);
	if (w.memories[place].is_attached)
		put_news(LANE_CHANGED, place, 0);
}

static void
end_or_start(void)
{
	uint8_t what = next_byte();
	struct process *p = &w.processes[what % PIDS];

	if (p->is_alive) {
		p->is_alive = false;
		p->has_ever_ended = true;
		p->how = (what & 64) != 0 ? -1 : what & 1;
		p->is_reaped = (what & 128) != 0;
	} else if (!p->is_reaped) {
		p->is_reaped = true;
	} else {
		/* Another with its number. Who knew the old one is told
		 * first: a pidfd does not change its process. */
		tell_of_processes();
		*p = (struct process){ .start_ticks = ++w.ticks,
			.is_alive = true,
			.has_ever_ended = true,
			.is_foreign = what > 250 };
	}
}

static void
send_beat(void)
{
	uint8_t what = next_byte();
	const struct beat beat = {
		.id = FIRST_PID + what % PIDS,
		.pid = FIRST_PID + what % PIDS,
		.uid = UID,
		.gid = UID,
		.nonce = w.now_ns,
		.timestamp = w.now_ns,
		.origin = ORIGIN_KERNEL_ATTESTED,
	};

	(void)lives_beat(w.lives, &beat, w.now_ns);
}

static void
change_rules(void)
{
	static const struct rule choices[] = {
		{ .name = "a", .lane = "b", .threshold_ms = 20 },
		{ .name = "b", .lane = "c" },
		{ .name = "proc", .comm = "x", .threshold_ms = 300 },
		{ .name = "long", .lane = "a", .threshold_ms = 20000 },
	};
	const struct agent_terms terms = { .threshold_ns = 500 * NS_PER_MS };
	uint8_t which = next_byte();

	w.rules = (struct rules){ .want_lane = true };
	for (size_t i = 0; i < ARRAY_SIZE(choices); i++)
		if ((which >> i & 1) != 0)
			w.rules.list[w.rules.n++] = choices[i];
	lives_set_rules(w.lives, &w.rules, &terms, w.now_ns);
	lanes_set_rules(w.lanes, &w.rules, w.now_ns);
}

/* The observer takes long to read, or is late. */
static void
be_slow(void)
{
	uint8_t how = next_byte();

	if (how < SLOW_US_MAX)
		w.read_ns = how * NS_PER_US;
	else
		w.now_ns += how * NS_PER_MS;
}

static void
step(void)
{
	switch (next_byte() % 10) {
	case 0:
		connect_or_end();
		break;
	case 1:
		scribble();
		break;
	case 2:
	case 3:
		use_lane();
		break;
	case 4:
		open_many();
		break;
	case 5:
		end_or_start();
		break;
	case 6:
		send_beat();
		break;
	case 7:
		change_rules();
		break;
	case 8:
		be_slow();
		break;
	default:
		run_until(w.now_ns + (uint64_t)(next_byte() + 1) * NS_PER_MS *
					 (next_byte() % 8u));
		break;
	}
}

/* ---- */

static uint64_t
clock_now(void *ctx)
{
	(void)ctx;
	return w.now_ns;
}

static void
begin(void)
{
	const struct lives_options lives = {
		.tracker = { .capacity = AGENTS,
		    .scan_window = AGENTS,
		    .eviction = TRACKER_EVICT_BALANCED,
		    .slot_ns = NS_PER_MS,
		    .seed = { 1, 2 } },
		.terms.threshold_ns = 500 * NS_PER_MS,
		.rules = &w.rules,
		.own_pid_namespace = 1,
		.stall_on_exit = (next_byte() & 1) != 0,
		.event = on_event,
	};
	const struct lives_host host = {
		.identify = identify,
		.start_ticks = start_ticks,
		.name = name,
		.exit_info = exit_info,
		.watch = watch,
		.unwatch = unwatch,
		.close_pidfd = close_pidfd,
		.tells_exits = true,
	};
	const struct lanes_options lanes = {
		.capacity = LANES,
		.source = { take, is_there, records, generation, read_record,
		    drop, NULL, PLACES },
		.rules = &w.rules,
		.policy = { .own_uid = UID },
		.stall_on_exit = lives.stall_on_exit,
		.now_ns = clock_now,
		.event = on_event,
	};
	struct lanes_options options = lanes;

	w.now_ns = NS_PER_S;
	pause_init(&w.pause, w.now_ns);
	for (int i = 0; i < PIDS; i++)
		w.processes[i] = (struct process){ .start_ticks = ++w.ticks,
			.is_alive = true };
	assert(lives_new(&lives, &host, &w.stats, w.now_ns, &w.lives) == 0);
	options.lives = w.lives;
	assert(lanes_new(&options, &w.stats, &w.lanes) == 0);
}

/* Everybody goes, and nothing is left of them. */
static void
end(void)
{
	for (uint32_t i = 0; i < PLACES; i++)
		if (w.memories[i].is_attached && w.n_news < NEWS_MAX) {
			w.memories[i].is_attached = false;
			put_news(LANE_DETACHED, i, 0);
		}
	for (int i = 0; i < PIDS; i++) {
		w.processes[i].is_alive = false;
		w.processes[i].is_reaped = true;
		w.processes[i].has_ever_ended = true;
	}
	/* The longest threshold there is takes 50 days. */
	run_until(w.now_ns + 60 * 86400 * NS_PER_S);
	assert(lanes_count(w.lanes) == 0);
	for (uint32_t i = 0; i < PLACES; i++)
		assert(!w.memories[i].is_taken);
	lanes_free(w.lanes);
	lives_free(w.lives);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	memset(&w, 0, sizeof(w));
	w.data = data;
	w.size = size;
	begin();
	while (w.size > 0)
		step();
	end();
	return 0;
}
