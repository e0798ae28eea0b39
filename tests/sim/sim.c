#include "sim.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <varta/frame.h>

#include "sim_lanes.h"
#include "watch/observer.h"

enum { SIM_EVENTS_MAX = 1 << 18, SIM_UID = 1000, SIM_CHILDREN = 8192 };

static const uint32_t sim_namespace = 4026531836u;

struct process {
	uint64_t token;
	uint64_t start_ticks;
	uint64_t nonce;
	uint64_t born_ns;
	uint64_t period_ns;
	uint64_t next_ns;
	uint32_t pid;
	uint32_t ns;
	struct exit_info how;
	bool ended, reaped, watched;
};

struct packet {
	uint8_t bytes[64];
	uint32_t len, pid, uid;
};

struct sim {
	struct sim_setup setup;
	struct observer *observer;
	struct stats stats;
	uint64_t now_ns;
	uint64_t ticks;
	struct process *procs;
	uint32_t n_procs;
	uint32_t *heap; /* of processes, by next_ns */
	uint32_t n_heap;
	struct packet *queue;
	uint32_t queue_head, n_queue;
	uint32_t *news; /* processes with something to tell */
	uint32_t n_news;
	struct event *events;
	size_t n_events;
	size_t recoveries[RECOVERY_OUTCOME_COUNT];
	size_t started;
	uint64_t child_tokens[SIM_CHILDREN];
	uint32_t n_child_tokens;
	uint64_t wakeups, refused, allocations;
	bool in_pass, continued;
	char *argv[2];
	struct act_options act;
	struct act_command ruled; /* of a rule with a command */
	char *ruled_argv[2];
	char last_program[64], last_lane[64];
	struct rules rules;
	struct intake_policy policy;
	struct tell *tell;
	struct sim_lanes *lanes;
	char (*lane_names)[LANE_SOURCE_NAME_BYTES]; /* of events */
};

/* The allocations of the program under test are counted. */
static struct sim *counting;
void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

static void
count(void)
{
	if (counting != NULL && counting->in_pass)
		counting->allocations++;
}

void *
__wrap_malloc(size_t n)
{
	count();
	return __real_malloc(n);
}

void *
__wrap_calloc(size_t n, size_t size)
{
	count();
	return __real_calloc(n, size);
}

void *
__wrap_realloc(void *p, size_t n)
{
	count();
	return __real_realloc(p, n);
}

/* tell.h, in place of the real one. */
struct tell {
	struct sim *sim;
};

bool
tell_wants_beats(const struct tell *t)
{
	(void)t;
	return false;
}

void
tell_event(struct tell *t, const struct event *ev)
{
	struct sim *s = t->sim;

	if (s->n_events == SIM_EVENTS_MAX)
		return;
	s->events[s->n_events] = *ev;
	if (ev->lane != NULL) {
		memcpy(s->lane_names[s->n_events], ev->lane,
		    strnlen(ev->lane, LANE_SOURCE_NAME_BYTES - 1));
		s->events[s->n_events].lane = s->lane_names[s->n_events];
	}
	s->n_events++;
}

void
tell_recovery(struct tell *t, const struct recovery_record *record)
{
	t->sim->recoveries[record->outcome]++;
}

void
tell_flush(struct tell *t, uint64_t now_ns)
{
	(void)t;
	(void)now_ns;
}

static uint64_t
now_of(void *ctx)
{
	return ((struct sim *)ctx)->now_ns;
}

/* The last process with a pid is the one that has it. */
static struct process *
find(struct sim *s, uint32_t pid)
{
	for (uint32_t i = s->n_procs; i-- > 0;)
		if (s->procs[i].pid == pid)
			return &s->procs[i];
	return NULL;
}

static int
identify(void *ctx, uint32_t pid, struct identity *ret)
{
	struct sim *s = ctx;
	struct process *p = find(s, pid);

	*ret = (struct identity){ .pidfd = -1 };
	if (p == NULL || p->reaped) {
		ret->gone = true;
		return 0;
	}
	ret->start_ticks = p->start_ticks;
	ret->pid_namespace = p->ns;
	if (s->setup.no_pidfds)
		return -EMFILE;
	ret->pidfd = (int)(p - s->procs);
	return 0;
}

static uint64_t
start_ticks(void *ctx, uint32_t pid)
{
	struct process *p = find(ctx, pid);

	return p != NULL && !p->reaped ? p->start_ticks : 0;
}

static void
name(void *ctx, uint32_t pid, char *ret, size_t size)
{
	(void)ctx;
	(void)pid;
	if (size > 0)
		ret[0] = '\0';
}

static struct exit_info
exit_info(void *ctx, int pidfd)
{
	struct sim *s = ctx;

	if (s->setup.exits_unknown || !s->procs[pidfd].reaped)
		return (struct exit_info){ .how = EXIT_HOW_UNKNOWN };
	return s->procs[pidfd].how;
}

static void
has_news(struct sim *s, uint32_t i)
{
	if (s->procs[i].watched)
		s->news[s->n_news++] = i;
}

static int
watch(void *ctx, int pidfd, uint64_t token)
{
	struct sim *s = ctx;

	if ((token & OBSERVER_CHILD) != 0) {
		s->child_tokens[s->n_child_tokens++] = token;
		return 0;
	}
	s->procs[pidfd].token = token;
	s->procs[pidfd].watched = true;
	if (s->procs[pidfd].ended)
		has_news(s, (uint32_t)pidfd);
	return 0;
}

static void
unwatch(void *ctx, int pidfd)
{
	struct sim *s = ctx;

	if ((uint32_t)pidfd < s->n_procs)
		s->procs[pidfd].watched = false;
}

static void
close_pidfd(void *ctx, int pidfd)
{
	(void)ctx;
	(void)pidfd;
}

static size_t
told(void *ctx, struct process_told *ret, size_t max)
{
	struct sim *s = ctx;
	size_t n = 0;

	while (n < max && s->n_child_tokens > 0)
		ret[n++] = (struct process_told){
			.token = s->child_tokens[--s->n_child_tokens],
			.news = PROCESS_REAPED,
		};
	while (n < max && s->n_news > 0) {
		struct process *p = &s->procs[s->news[--s->n_news]];

		if (p->watched)
			ret[n++] = (struct process_told){
				.token = p->token,
				.news =
				    p->reaped ? PROCESS_REAPED : PROCESS_ENDED,
			};
	}
	return n;
}

static int
take(void *ctx, struct datagram *ret, size_t max)
{
	struct sim *s = ctx;
	int n = 0;

	while ((size_t)n < max && s->n_queue > 0) {
		struct packet *p = &s->queue[s->queue_head];

		ret[n++] = (struct datagram){
			.bytes = p->bytes,
			.len = p->len,
			.pid = p->pid,
			.uid = p->uid,
			.gid = p->uid,
			.flags = DATAGRAM_HAS_CREDENTIALS,
		};
		s->queue_head = (s->queue_head + 1) % s->setup.queue_len;
		s->n_queue--;
	}
	return n;
}

static int
child_start(
    void *ctx, char *const argv[], char *const envp[], struct spawned *ret)
{
	struct sim *s = ctx;

	s->last_lane[0] = '\0';
	for (size_t i = 0; envp[i] != NULL; i++)
		if (strncmp(envp[i], "VARTA_LANE=", 11) == 0)
			(void)snprintf(s->last_lane, sizeof(s->last_lane), "%s",
			    envp[i] + 11);
	(void)snprintf(s->last_program, sizeof(s->last_program), "%s", argv[0]);
	s->started++;
	*ret = (struct spawned){
		.pid = (pid_t)(1000000 + s->started),
		.pidfd = 1 << 30,
		.output = { -1, -1 },
	};
	return 0;
}

static int
child_kill(void *ctx, pid_t pid, int signal)
{
	(void)ctx;
	(void)pid;
	(void)signal;
	return 0;
}

static int
child_reap(void *ctx, pid_t pid, struct exit_info *ret)
{
	(void)ctx;
	(void)pid;
	*ret = (struct exit_info){ .how = EXIT_HOW_CODE };
	return 1;
}

static const struct act_command *
command_for(void *ctx, const struct rule *rule)
{
	struct sim *s = ctx;

	if (rule == NULL || rule->recovery_exec == NULL)
		return &s->act.command;
	free(s->ruled_argv[0]);
	s->ruled_argv[0] = strdup(rule->recovery_exec);
	s->ruled =
	    (struct act_command){ .argv = s->ruled_argv, .source = "rule" };
	return &s->ruled;
}

static const struct spawn_ops children = {
	.start = child_start,
	.kill_group = child_kill,
	.reap = child_reap,
};

struct sim_setup
sim_setup_default(void)
{
	return (struct sim_setup){
		.options = {
			.threshold_ms = 1000,
			.tracker_capacity = 1024,
			.eviction_scan_window = 256,
			.iteration_budget_ms = 250,
			.recovery_debounce_ms = 1000,
			.shutdown_grace_ms = 100,
		},
		.agents_max = 2048,
		.queue_len = 512,
	};
}

static void *
table(size_t n, size_t size)
{
	void *p = calloc(n, size);

	assert(p != NULL);
	return p;
}

struct sim *
sim_new(const struct sim_setup *setup)
{
	struct sim *s = table(1, sizeof(*s));
	struct tell *tell = table(1, sizeof(*tell));
	struct observer_ports ports = {
		.now_ns = now_of,
		.clock_ctx = s,
		.host = {
			.identify = identify,
			.start_ticks = start_ticks,
			.name = name,
			.exit_info = exit_info,
			.watch = watch,
			.unwatch = unwatch,
			.close_pidfd = close_pidfd,
			.ctx = s,
			.tells_exits = !setup->exits_unknown,
		},
		.told = told,
		.own_pid_namespace = sim_namespace,
		.source = { .take = take, .ctx = s, .attested = true },
		.policy = { .own_uid = SIM_UID, .pid_max = 4194304,
		    .refuse_pid_zero = true },
		.queue_len = setup->queue_len,
		.tell = tell,
		.rules = &s->rules,
		.command = command_for,
		.command_ctx = s,
		.spawn = &children,
		.spawn_ctx = s,
		.seed = { 1, 2 },
	};

	s->setup = *setup;
	s->policy = ports.policy;
	tell->sim = s;
	s->tell = tell;
	s->procs = table(setup->agents_max, sizeof(*s->procs));
	s->heap = table(setup->agents_max, sizeof(*s->heap));
	s->news = table(4 * (size_t)setup->agents_max, sizeof(*s->news));
	s->queue = table(setup->queue_len, sizeof(*s->queue));
	s->events = table(SIM_EVENTS_MAX, sizeof(*s->events));
	s->lane_names = table(SIM_EVENTS_MAX, sizeof(*s->lane_names));
	if (setup->lanes_max > 0) {
		s->setup.options.lanes_max = setup->lanes_max;
		s->lanes = sim_lanes_new(setup->lanes_max, &s->now_ns);
		ports.lanes = sim_lanes_source(s->lanes);
	}
	if (setup->command != NULL) {
		s->argv[0] = strdup(setup->command);
		s->act = (struct act_options){
			.command = { .argv = s->argv, .source = "inline" },
			.debounce_ns =
			    setup->options.recovery_debounce_ms * NS_PER_MS,
			.capture_bytes = 4096,
			.capacity =
			    setup->options.tracker_capacity + setup->lanes_max,
			.shutdown_grace_ns = NS_PER_MS,
			.own_pid_namespace = sim_namespace,
		};
		ports.recovery = &s->act;
	}
	assert(observer_new(
		   &s->setup.options, &ports, &s->stats, &s->observer) == 0);
	counting = s;
	return s;
}

void
sim_free(struct sim *s)
{
	counting = NULL;
	observer_free(s->observer);
	sim_lanes_free(s->lanes);
	free(s->lane_names);
	free(s->ruled_argv[0]);
	free(s->procs);
	free(s->heap);
	free(s->news);
	free(s->queue);
	free(s->events);
	free(s->argv[0]);
	free(s->tell);
	free(s);
}

static bool
earlier(const struct sim *s, uint32_t a, uint32_t b)
{
	return s->procs[s->heap[a]].next_ns < s->procs[s->heap[b]].next_ns;
}

static void
swap(struct sim *s, uint32_t a, uint32_t b)
{
	uint32_t t = s->heap[a];

	s->heap[a] = s->heap[b];
	s->heap[b] = t;
}

static void
sift_down(struct sim *s, uint32_t i)
{
	for (;;) {
		uint32_t least = i, left = 2 * i + 1;

		for (uint32_t c = left; c < left + 2 && c < s->n_heap; c++)
			if (earlier(s, c, least))
				least = c;
		if (least == i)
			return;
		swap(s, i, least);
		i = least;
	}
}

uint32_t
sim_spawn(struct sim *s, uint32_t pid)
{
	uint32_t i = s->n_procs++;

	assert(i < s->setup.agents_max);
	s->procs[i] = (struct process){
		.pid = pid != 0 ? pid : 1000 + i,
		.start_ticks = ++s->ticks,
		.ns = sim_namespace,
		.born_ns = s->now_ns,
		.next_ns = NS_NEVER,
	};
	return i;
}

uint32_t
sim_pid(const struct sim *s, uint32_t agent)
{
	return s->procs[agent].pid;
}

void
sim_beat_every(
    struct sim *s, uint32_t agent, uint64_t first_ns, uint64_t period_ns)
{
	struct process *p = &s->procs[agent];
	bool filed = p->next_ns != NS_NEVER;

	p->period_ns = period_ns;
	if (period_ns == 0 || filed)
		return; /* leaves the heap at its next turn */
	p->next_ns = first_ns;
	s->heap[s->n_heap] = agent;
	for (uint32_t i = s->n_heap++; i > 0 && earlier(s, i, (i - 1) / 2);
	     i = (i - 1) / 2)
		swap(s, i, (i - 1) / 2);
}

void
sim_send_bytes(struct sim *s, uint32_t sender_pid, uint32_t uid,
    const void *bytes, size_t n)
{
	struct packet *p;

	if (s->n_queue == s->setup.queue_len) {
		s->refused++;
		return;
	}
	p = &s->queue[(s->queue_head + s->n_queue++) % s->setup.queue_len];
	assert(n <= sizeof(p->bytes));
	memcpy(p->bytes, bytes, n);
	p->len = (uint32_t)n;
	p->pid = sender_pid;
	p->uid = uid;
}

void
sim_send(struct sim *s, uint32_t sender_pid, uint32_t uid, struct sim_frame f)
{
	const struct varta_frame frame = {
		.timestamp = f.timestamp,
		.nonce = f.nonce,
		.pid = f.pid,
		.payload = f.payload,
		.status = f.status,
	};
	uint8_t bytes[32];

	assert(varta_frame_encode(&frame, bytes) == 0);
	sim_send_bytes(s, sender_pid, uid, bytes, sizeof(bytes));
}

void
sim_beat(struct sim *s, uint32_t agent, uint8_t status)
{
	struct process *p = &s->procs[agent];
	uint64_t refused = s->refused;

	sim_send(s, p->pid, SIM_UID,
	    (struct sim_frame){ .nonce = p->nonce + 1,
		.timestamp = s->now_ns - p->born_ns,
		.pid = p->pid,
		.status = status });
	/* Committed on success, as an agent does. */
	if (s->refused == refused)
		p->nonce++;
}

void
sim_exec(struct sim *s, uint32_t agent)
{
	s->procs[agent].nonce = 0;
	s->procs[agent].born_ns = s->now_ns;
}

void
sim_end(struct sim *s, uint32_t agent, struct exit_info how, bool reaped)
{
	struct process *p = &s->procs[agent];

	p->ended = true;
	p->how = how;
	sim_lanes_process_ended(s->lanes, agent);
	p->period_ns = 0;
	has_news(s, agent);
	if (reaped)
		sim_reap(s, agent);
}

void
sim_reap(struct sim *s, uint32_t agent)
{
	s->procs[agent].reaped = true;
	has_news(s, agent);
}

void
sim_set_namespace(struct sim *s, uint32_t agent, uint32_t ns)
{
	s->procs[agent].ns = ns;
}

/* Let all beats up to until be sent; none is seen by the observer. */
static void
send_due(struct sim *s, uint64_t until)
{
	while (s->n_heap > 0 && s->procs[s->heap[0]].next_ns <= until) {
		struct process *p = &s->procs[s->heap[0]];

		if (p->period_ns == 0) {
			p->next_ns = NS_NEVER;
			s->heap[0] = s->heap[--s->n_heap];
		} else {
			s->now_ns = u64_max(s->now_ns, p->next_ns);
			sim_beat(s, s->heap[0], AGENT_OK);
			p->next_ns += p->period_ns;
		}
		sift_down(s, 0);
	}
}

static void
pass(struct sim *s)
{
	s->wakeups++;
	s->in_pass = true;
	observer_pass(s->observer, s->now_ns, s->continued);
	s->in_pass = false;
	s->continued = false;
}

void
sim_run(struct sim *s, uint64_t ns)
{
	uint64_t end = s->now_ns + ns;

	pass(s); /* what came before */
	for (;;) {
		struct observer_wait wait =
		    observer_rest(s->observer, s->now_ns, NS_NEVER);
		uint64_t wake = u64_max(wait.until_ns, s->now_ns);

		if (s->n_queue > 0 && wait.for_datagrams)
			wake = s->now_ns;
		else if (s->n_heap > 0 && wait.for_datagrams)
			wake = u64_min(wake, s->procs[s->heap[0]].next_ns);
		if (s->n_news > 0 || s->n_child_tokens > 0 ||
		    sim_lanes_are_ready(s->lanes))
			wake = s->now_ns;
		if (wake > end) {
			send_due(s, end);
			s->now_ns = end;
			return;
		}
		send_due(s, wake);
		s->now_ns = wake;
		pass(s);
	}
}

void
sim_starve_observer(struct sim *s, uint64_t ns)
{
	uint64_t end = s->now_ns + ns;

	send_due(s, end);
	s->now_ns = end;
}

void
sim_stop_observer(struct sim *s, uint64_t ns)
{
	sim_starve_observer(s, ns);
	s->continued = true;
}

void
sim_set_rules(struct sim *s, const struct rules *rules, uint64_t threshold_ms)
{
	s->rules = *rules;
	observer_set_rules(s->observer, &s->rules, threshold_ms * NS_PER_MS);
}

void
sim_allow_uid(struct sim *s, uint32_t uid)
{
	struct intake_policy policy = s->policy;

	policy.allowed_uids[policy.n_allowed_uids++] = uid;
	observer_set_policy(s->observer, &policy);
}

uint64_t
sim_now(const struct sim *s)
{
	return s->now_ns;
}

const struct stats *
sim_stats(const struct sim *s)
{
	return &s->stats;
}

uint64_t
sim_wakeups(const struct sim *s)
{
	return s->wakeups;
}

uint64_t
sim_refused_beats(const struct sim *s)
{
	return s->refused;
}

bool
sim_has_failed(const struct sim *s)
{
	return observer_has_failed(s->observer);
}

uint64_t
sim_allocations_in_passes(const struct sim *s)
{
	return s->allocations;
}

long
sim_position(const struct sim *s, enum event_kind kind, uint32_t pid)
{
	for (size_t i = s->n_events; i-- > 0;)
		if (s->events[i].kind == kind &&
		    (pid == 0 || s->events[i].pid == pid))
			return (long)i;
	return -1;
}

const struct event *
sim_last(const struct sim *s, enum event_kind kind, uint32_t pid)
{
	long i = sim_position(s, kind, pid);

	return i >= 0 ? &s->events[i] : NULL;
}

size_t
sim_count(const struct sim *s, enum event_kind kind, uint32_t pid)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n_events; i++)
		n += s->events[i].kind == kind &&
		     (pid == 0 || s->events[i].pid == pid);
	return n;
}

size_t
sim_recoveries(const struct sim *s, enum recovery_outcome outcome)
{
	return s->recoveries[outcome];
}

size_t
sim_commands_started(const struct sim *s)
{
	return s->started;
}

const struct event *
sim_events(const struct sim *s, size_t *ret_n)
{
	*ret_n = s->n_events;
	return s->events;
}

const char *
sim_last_program(const struct sim *s)
{
	return s->last_program;
}

const char *
sim_last_lane(const struct sim *s)
{
	return s->last_lane;
}

struct sim_lanes *
sim_lanes(const struct sim *s)
{
	assert(s->lanes != NULL);
	return s->lanes;
}

uint32_t
sim_agents(const struct sim *s)
{
	return observer_agents(s->observer);
}

uint32_t
sim_lanes_watched(const struct sim *s)
{
	return observer_lanes(s->observer);
}
