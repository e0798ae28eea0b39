/*
 * slow_disk_stall_delay_us: how late stalls are told while the disk of the
 * audit file hangs for two seconds at a time. Every stall runs a command, so
 * that there is always something to write down.
 *
 * The disk is a library before the daemon in which fdatasync(2) takes two
 * seconds. The same agents stall under a daemon without it, in turn.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agents.h"
#include "base/util.h"
#include "daemon.h"
#include "lateness.h"
#include "sample.h"
#include "support.h"

enum {
	ROUNDS = 2,
	AGENTS = 500,
	SPACING_NS = 4000000, /* so that the stalls take two seconds */
	THRESHOLD_MS = 2500,
	SLOT_US = 1000,
	SETTLE_MS = 100,
	QUEUE = 1024
};

/* p99 of one run, a slot of the wheel taken off. */
/* By a path of ours: what is loaded so can have no space in its path. */
static void
preload(const char *library)
{
	struct sockaddr_un link;

	support_address("preload.so", &link);
	if (symlink(library, link.sun_path) < 0 && errno != EEXIST)
		support_die("%s: %s", link.sun_path, strerror(errno));
	support_check(setenv("LD_PRELOAD", link.sun_path, 1), "setenv");
}

static double
run(const struct support_options *options, const char *disk)
{
	struct sockaddr_un audit;
	const char *more[] = { "--recovery-exec", "/bin/true",
		"--recovery-audit-file", audit.sun_path, NULL };
	const struct daemon_options what = {
		.threshold_ms = THRESHOLD_MS,
		.cpu = options->cpu_reader,
		.events = true,
		.more = more,
	};
	struct agents_plan plan = { .spacing_ns = SPACING_NS, .beats = 1 };
	static struct lateness lateness;
	struct agents *agents;
	struct daemon daemon;
	double p99;

	support_address("audit", &audit);
	if (disk != NULL)
		preload(disk);
	daemon_start(options, &what, &daemon);
	support_check(unsetenv("LD_PRELOAD"), "unsetenv");
	agents = agents_new(AGENTS, options->cpu_sender, &daemon.address, 1);
	lateness_open(&lateness, daemon.events.sun_path, THRESHOLD_MS);
	plan.start_ns = support_now_ns() + 100 * NS_PER_MS;
	agents_run(agents, &plan);
	if (agents_finish(agents).sent != AGENTS)
		support_die("a beat was refused");
	support_sleep_ms(THRESHOLD_MS + SETTLE_MS);
	lateness_read(&lateness);
	if (lateness.n != AGENTS)
		support_die("%d agents, but %zu stalls", AGENTS, lateness.n);
	p99 = sample_percentile(lateness.us, lateness.n, 990) - SLOT_US;
	agents_free(agents);
	lateness_close(&lateness);
	daemon_stop(&daemon);
	return p99 > 0 ? p99 : 0;
}

/* The library lies beside this program. */
static char *
disk_path(const char *program)
{
	static char path[4096];
	const char *slash = strrchr(program, '/');
	size_t n = slash != NULL ? (size_t)(slash - program) + 1 : 0;

	if (n + sizeof("slowdisk.so") > sizeof(path))
		support_die("%s: too long", program);
	memcpy(path, program, n);
	memcpy(path + n, "slowdisk.so", sizeof("slowdisk.so"));
	return realpath(path, NULL);
}

int
main(int argc, char **argv)
{
	static const char *const keys[] = { "slow_disk_stall_delay_us", NULL };
	double slow[SUPPORT_ROUNDS_MAX], quick[SUPPORT_ROUNDS_MAX];
	char *disk = disk_path(argv[0]);
	struct support_options options;

	if (disk == NULL)
		support_die("slowdisk.so is not beside %s", argv[0]);
	support_start(argc, argv, ROUNDS, &options);
	if (support_lacks_processors(&options, keys))
		return 0;
	if (options.quick)
		options.rounds = 1;
	(void)support_long_queue(QUEUE);
	support_pin(options.cpu_sender);
	for (unsigned i = 0; i < options.rounds; i++) {
		slow[i] = run(&options, disk);
		quick[i] = run(&options, NULL);
	}
	sample_begin("slow_disk_stall_delay_us");
	sample_number("value", sample_percentile(slow, options.rounds, 500));
	sample_number("highest", sample_percentile(slow, options.rounds, 999));
	sample_number(
	    "disk_in_order", sample_percentile(quick, options.rounds, 500));
	sample_number("n", options.rounds);
	sample_text("unit", "us");
	sample_end();
	sample_finish();
	free(disk);
	return support_end();
}
