/*
 * mass_stall_4096_ms: 4,096 agents stall at once, and for each of them the
 * recovery command /bin/true is run: from the first stall until the last
 * command is reaped, against as many bare posix_spawn(3) of it in portions of
 * the same size. Both ends are read off the daemon's log, which it writes a
 * line at a time.
 */
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agents.h"
#include "base/util.h"
#include "daemon.h"
#include "sample.h"
#include "support.h"
#include "watch/act/act.h"

enum {
	ROUNDS = 5,
	AGENTS = 4096,
	THRESHOLD_MS = 1500,
	QUEUE = 4096,
	LOOK_US = 500,
	DEADLINE_S = 60
};

struct scene {
	struct agents *agents;
	struct daemon daemon;
	FILE *log;
};

/* Read what the log has got since; how many lines say word. */
static unsigned
count_lines(FILE *log, const char *word)
{
	char line[512];
	unsigned n = 0;

	clearerr(log);
	while (fgets(line, sizeof(line), log) != NULL) {
		if (strchr(line, '\n') == NULL) {
			/* Not all of it is there yet. */
			(void)fseek(log, -(long)strlen(line), SEEK_CUR);
			break;
		}
		n += strstr(line, word) != NULL;
	}
	return n;
}

static void
await_lines(FILE *log, const char *word, unsigned n)
{
	uint64_t end_ns = support_now_ns() + DEADLINE_S * NS_PER_S;
	unsigned seen = 0;

	while ((seen += count_lines(log, word)) < n) {
		if (support_now_ns() > end_ns)
			support_die("%u of %u lines of '%s'", seen, n, word);
		support_sleep_until(support_now_ns() + LOOK_US * NS_PER_US);
	}
}

static double
time_mass_stall(struct scene *s)
{
	FILE *ends = fopen(s->daemon.log.sun_path, "r");
	uint64_t from_ns;

	if (ends == NULL || fseek(ends, 0, SEEK_END) != 0)
		support_die("log: %s", strerror(errno));
	(void)fseek(s->log, 0, SEEK_END);
	agents_beat_once(s->agents, 0);
	await_lines(s->log, " stalled", 1);
	from_ns = support_now_ns();
	await_lines(ends, "ended with exit code 0 after", AGENTS);
	(void)fclose(ends);
	return (double)(support_now_ns() - from_ns) / 1e6;
}

static void
spawn_true(void)
{
	static char program[] = "/bin/true";
	char *argv[] = { program, NULL };
	char *envp[] = { NULL };
	pid_t pid;
	int r = posix_spawn(&pid, program, NULL, NULL, argv, envp);

	if (r != 0)
		support_die("posix_spawn: %s", strerror(r));
}

static double
time_bare_spawns(void)
{
	uint64_t from_ns = support_now_ns();
	unsigned spawned = 0, reaped = 0;

	while (reaped < AGENTS) {
		for (unsigned i = 0; i < ACT_SPAWNS_A_PASS && spawned < AGENTS;
		     i++, spawned++)
			spawn_true();
		while (waitpid(-1, NULL, spawned < AGENTS ? WNOHANG : 0) > 0)
			reaped++;
	}
	return (double)(support_now_ns() - from_ns) / 1e6;
}

/* In a process that has no other children. */
static double
time_floor(double *shared)
{
	pid_t pid = support_fork(-1);

	if (pid == 0) {
		*shared = time_bare_spawns();
		_exit(0);
	}
	if (waitpid(pid, NULL, 0) != pid)
		support_die("waitpid: %s", strerror(errno));
	return *shared;
}

static void
set_up(struct scene *s, const struct support_options *options)
{
	static const char *const recovery[] = { "--recovery-exec", "/bin/true",
		"--recovery-debounce-ms", "0", "--log-level", "debug", NULL };
	const struct daemon_options what = {
		.threshold_ms = THRESHOLD_MS,
		.capacity = AGENTS,
		.cpu = -1,
		.more = recovery,
	};
	struct sockaddr_un address;

	daemon_address(&address);
	s->agents = agents_new(AGENTS, options->cpu_sender, &address, 1);
	daemon_start(options, &what, &s->daemon);
	s->log = fopen(s->daemon.log.sun_path, "r");
	if (s->log == NULL)
		support_die("log: %s", strerror(errno));
}

int
main(int argc, char **argv)
{
	static const char *const keys[] = { "mass_stall_4096_ms", NULL };
	struct support_options options;
	struct sample_rounds rounds = { .n = 0 };
	struct scene scene;
	double *floor_ms;

	support_start(argc, argv, ROUNDS, &options);
	if (options.quick)
		options.rounds = 1;
	if (support_long_queue(QUEUE) < 0) {
		sample_skip(keys, "no network namespace of our own");
		return support_end();
	}
	floor_ms = support_shared(sizeof(*floor_ms));
	set_up(&scene, &options);
	for (unsigned i = 0; i < options.rounds; i++)
		sample_round(
		    &rounds, time_mass_stall(&scene), time_floor(floor_ms));
	sample_begin("mass_stall_4096_ms");
	sample_ratio(&rounds, "ms");
	sample_end();
	sample_finish();
	daemon_stop(&scene.daemon);
	agents_free(scene.agents);
	return support_end();
}
