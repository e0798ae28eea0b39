/*
 * ingest_vs_recv, part 100000_agents: the kernel has no pids for so many, so
 * the observer itself runs here, in a process of this program, on a real
 * socket. The frames of 50 senders claim 100,000 pids in random order, and the
 * credentials are made to agree with them; everything between the socket and
 * the table is the daemon's own. Not in it: the event loop and metrics.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <varta/frame.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/prng.h"
#include "base/util.h"
#include "reader.h"
#include "sample.h"
#include "support.h"
#include "watch/config.h"
#include "watch/intake/unix_in.h"
#include "watch/observer.h"
#include "watch/options.h"

enum {
	ROUNDS = 7,
	SENDERS = 50,
	AGENTS = 100000,
	PER_SENDER = AGENTS / SENDERS,
	FIRST_PID = 1000,
	PID_AT = 4, /* in a frame */
	WINDOW_MS = 300,
	WINDOW_QUICK_MS = 100,
	/* Every agent has been seen; the crowd of senders takes a while. */
	FILL_MS = 1500,
	SETTLE_MS = 40,
	QUEUE = 1024
};

enum target { BARE = 0, OBSERVED, TARGETS };

struct shared {
	uint32_t run; /* senders wait for it to change */
	uint32_t finished;
	uint32_t stop;
	uint32_t target;
	uint64_t beats; /* accepted by the observer */
	uint64_t agents;
};

struct scene {
	struct shared *shared;
	struct sockaddr_un targets[TARGETS];
	struct reader reader;
	pid_t observer;
	unsigned window_ms;
};

/* A source in front of the socket's: what the kernel would say of 100,000
 * senders. */
struct claim {
	struct intake_source real;
};

static int
take_claimed(void *ctx, struct datagram *ret, size_t max)
{
	const struct claim *claim = ctx;
	int i, n;

	n = claim->real.take(claim->real.ctx, ret, max);
	for (i = 0; i < n; i++)
		ret[i].pid = load_le32(ret[i].bytes + PID_AT);
	return n;
}

static uint64_t
now_ns(void *ctx)
{
	(void)ctx;
	return support_now_ns();
}

static int
identify(void *ctx, uint32_t pid, struct identity *ret)
{
	(void)ctx;
	/* Any number will do: it is only handed back to these functions. One
	 * without a pidfd would be looked at again with every beat. */
	*ret = (struct identity){ .start_ticks = pid, .pidfd = INT_MAX };
	return 0;
}

static uint64_t
start_ticks(void *ctx, uint32_t pid)
{
	(void)ctx;
	return pid;
}

static void
name(void *ctx, uint32_t pid, char *ret, size_t size)
{
	(void)ctx;
	(void)pid;
	(void)size;
	ret[0] = '\0';
}

static struct exit_info
exit_info(void *ctx, int pidfd)
{
	(void)ctx;
	(void)pidfd;
	return (struct exit_info){ .how = EXIT_HOW_UNKNOWN };
}

static int
watch(void *ctx, int pidfd, uint64_t token)
{
	(void)ctx;
	(void)pidfd;
	(void)token;
	return 0;
}

static void
let_go(void *ctx, int pidfd)
{
	(void)ctx;
	(void)pidfd;
}

static size_t
told(void *ctx, struct process_told *ret, size_t max)
{
	(void)ctx;
	(void)ret;
	(void)max;
	return 0;
}

/* As the daemon is started by the other parts of this result. */
static void
set_options(struct options *ret)
{
	static char words[][24] = { "varta-watch", "--socket", "given below",
		"--threshold-ms", "3600000", "--tracker-capacity", "131072",
		"--max-beat-rate", "0", "--global-beat-rate", "0" };
	char *argv[ARRAY_SIZE(words) + 1];
	static struct config config;
	struct options_fault fault;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(words); i++)
		argv[i] = words[i];
	argv[i] = NULL;
	if (options_parse((int)i, argv, &config, ret, &fault) < 0)
		support_die("options: %s", fault.text);
}

static struct intake_source
open_source(
    const struct sockaddr_un *address, struct claim *claim, struct stats *stats)
{
	struct unix_in_options options = { .path = address->sun_path,
		.mode = 0600 };
	struct unix_in_fault fault;
	struct unix_in_facts facts;
	struct unix_in *unix_in;

	if (unix_in_open(&options, &unix_in, &facts, &fault) < 0)
		support_die("socket: %s", fault.text);
	claim->real = unix_in_source(unix_in, &stats->injected_descriptors);
	return (struct intake_source){
		.take = take_claimed, .ctx = claim, .attested = true
	};
}

static struct observer *
make_observer(
    const struct sockaddr_un *address, struct claim *claim, struct stats *stats)
{
	static struct options options;
	static struct rules rules;
	struct observer_ports ports = {
		.now_ns = now_ns,
		.host = { .identify = identify,
		    .start_ticks = start_ticks,
		    .name = name,
		    .exit_info = exit_info,
		    .watch = watch,
		    .unwatch = let_go,
		    .close_pidfd = let_go },
		.told = told,
		.source = open_source(address, claim, stats),
		.policy = { .own_uid = (uint32_t)geteuid(),
		    .pid_max = FIRST_PID + AGENTS,
		    .refuse_pid_zero = true },
		.queue_len = QUEUE,
		.rules = &rules,
	};
	struct tell_options no_file = { .export_path = NULL };
	struct observer *observer;
	struct tell_fault fault;

	log_set_level(LOG_ERROR);
	set_options(&options);
	support_check(tell_open(&no_file, stats, &ports.tell, &fault), "tell");
	support_check(prng_entropy(ports.seed, sizeof(ports.seed)), "seed");
	support_check(
	    observer_new(&options, &ports, stats, &observer), "observer");
	return observer;
}

/* Passes for as long as they bring something, then a nap like that of the
 * bare reader. */
static _Noreturn void
be_observer(const struct scene *s)
{
	static struct stats stats;
	static struct claim claim;
	struct observer *observer;
	uint64_t taken;

	observer = make_observer(&s->targets[OBSERVED], &claim, &stats);
	__atomic_store_n(&s->shared->agents, 0, __ATOMIC_RELEASE);
	for (;;) {
		taken = stats.datagrams;
		observer_pass(observer, support_now_ns(), false);
		(void)observer_rest(observer, support_now_ns(), NS_NEVER);
		__atomic_store_n(
		    &s->shared->beats, stats.beats, __ATOMIC_RELAXED);
		__atomic_store_n(&s->shared->agents, observer_agents(observer),
		    __ATOMIC_RELAXED);
		if (stats.datagrams == taken)
			support_sleep_ms(1);
	}
}

static void
shuffle(uint32_t *pids, struct prng *random)
{
	uint32_t i, k, pid;

	for (i = PER_SENDER - 1; i > 0; i--) {
		k = (uint32_t)prng_below(random, i + 1);
		pid = pids[i];
		pids[i] = pids[k];
		pids[k] = pid;
	}
}

static bool
told_to_stop(const struct shared *shared)
{
	return __atomic_load_n(&shared->stop, __ATOMIC_RELAXED) != 0;
}

/* One agent after the other until told to stop; each once, then all again in
 * another order. Where it stopped it goes on the next time. */
struct walk {
	uint32_t pids[PER_SENDER];
	uint32_t at;
	uint64_t nonce;
	struct prng random;
};

static void
send_all(const struct shared *shared, int fd, struct walk *w)
{
	struct varta_frame frame = { .status = 0 };
	uint8_t bytes[VARTA_FRAME_BYTES];

	while (!told_to_stop(shared)) {
		if (w->at == PER_SENDER) {
			shuffle(w->pids, &w->random);
			w->at = 0;
			w->nonce++;
		}
		frame.pid = w->pids[w->at];
		frame.nonce = w->nonce;
		frame.timestamp = w->nonce;
		(void)varta_frame_encode(&frame, bytes);
		/* A refused frame is sent again: the order is kept. */
		if (send(fd, bytes, sizeof(bytes),
			MSG_DONTWAIT | MSG_NOSIGNAL) == VARTA_FRAME_BYTES)
			w->at++;
	}
}

static int
connect_to(const struct sockaddr_un *address)
{
	int fd;

	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 ||
	    connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		support_die("%s: %s", address->sun_path, strerror(errno));
	return fd;
}

static _Noreturn void
be_sender(const struct scene *s, uint32_t sender)
{
	static struct walk walks[TARGETS];
	struct shared *shared = s->shared;
	int fds[TARGETS];
	uint32_t run = 0, i;
	unsigned k;

	for (k = 0; k < TARGETS; k++) {
		fds[k] = connect_to(&s->targets[k]);
		prng_seed(&walks[k].random, sender);
		walks[k].at = PER_SENDER;
		for (i = 0; i < PER_SENDER; i++)
			walks[k].pids[i] = FIRST_PID + i * SENDERS + sender;
	}
	for (;;) {
		support_wait(&shared->run, run++);
		send_all(shared, fds[shared->target], &walks[shared->target]);
		if (__atomic_add_fetch(
			&shared->finished, 1, __ATOMIC_ACQ_REL) == SENDERS)
			support_wake(&shared->finished);
	}
}

static void
flood(const struct scene *s, enum target target, unsigned ms)
{
	struct shared *shared = s->shared;
	uint32_t finished;

	shared->target = target;
	shared->finished = 0;
	shared->stop = 0;
	(void)__atomic_add_fetch(&shared->run, 1, __ATOMIC_RELEASE);
	support_wake(&shared->run);
	support_sleep_ms(ms);
	__atomic_store_n(&shared->stop, 1, __ATOMIC_RELAXED);
	while ((finished = __atomic_load_n(
		    &shared->finished, __ATOMIC_ACQUIRE)) < SENDERS)
		support_wait(&shared->finished, finished);
	support_sleep_ms(SETTLE_MS);
}

static uint64_t
frames(const struct scene *s, enum target target)
{
	if (target == BARE)
		return reader_frames(&s->reader);
	return __atomic_load_n(&s->shared->beats, __ATOMIC_RELAXED);
}

static double
cost(const struct scene *s, enum target target)
{
	pid_t pid = target == BARE ? s->reader.pid : s->observer;
	uint64_t cpu_ns, n;

	n = frames(s, target);
	cpu_ns = support_cpu_ns(pid);
	flood(s, target, s->window_ms);
	cpu_ns = support_cpu_ns(pid) - cpu_ns;
	n = frames(s, target) - n;
	if (n == 0)
		support_die("nothing was accepted");
	return (double)cpu_ns / (double)n;
}

static void
set_up(struct scene *s, const struct support_options *options)
{
	uint32_t i;

	s->shared = support_shared(sizeof(*s->shared));
	s->shared->agents = UINT64_MAX;
	s->window_ms = options->quick ? WINDOW_QUICK_MS : WINDOW_MS;
	support_address("bare.sock", &s->targets[BARE]);
	support_address("varta.sock", &s->targets[OBSERVED]);
	reader_start(
	    READER_BATCHED, options->cpu_reader, &s->targets[BARE], &s->reader);
	s->observer = support_fork(options->cpu_reader);
	if (s->observer == 0)
		be_observer(s);
	while (
	    __atomic_load_n(&s->shared->agents, __ATOMIC_ACQUIRE) == UINT64_MAX)
		support_sleep_ms(1);
	for (i = 0; i < SENDERS; i++)
		if (support_fork(options->cpu_sender) == 0)
			be_sender(s, i);
}

int
main(int argc, char **argv)
{
	static const char *const keys[] = { "ingest_vs_recv", NULL };
	struct sample_rounds rounds = { .n = 0 };
	struct support_options options;
	struct scene scene;
	double floor;
	unsigned i;

	support_start(argc, argv, ROUNDS, &options);
	if (support_lacks_processors(&options, keys))
		return 0;
	if (support_long_queue(QUEUE) < 0) {
		sample_skip(keys, "needs a network namespace of its own");
		return 0;
	}
	support_pin(options.cpu_sender);
	set_up(&scene, &options);
	flood(&scene, OBSERVED, FILL_MS);
	for (i = 0; i < options.rounds; i++) {
		floor = cost(&scene, BARE);
		sample_round(&rounds, cost(&scene, OBSERVED), floor);
	}

	sample_begin("ingest_vs_recv");
	sample_begin("parts");
	sample_begin("100000_agents");
	sample_ratio(&rounds, "ns/frame");
	sample_number("agents_known", (double)scene.shared->agents);
	sample_end();
	sample_end();
	sample_end();
	sample_finish();
	return support_end();
}
