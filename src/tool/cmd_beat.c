/*
 * varta beat: an agent for scripts and for trying things out. One beat, beats
 * for as long as the parent lives, or one for each line read.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <varta/varta.h>

#include "base/clock.h"
#include "base/text.h"
#include "base/util.h"
#include "tool/beat_lines.h"
#include "tool/linger.h"
#include "tool/parent.h"
#include "tool/tool.h"

#define WHO "varta beat"

/* Longer than any threshold that makes sense; keeps sums far from overflow. */
#define EVERY_MAX_NS (UINT64_C(86400) * NS_PER_S)
#define EVERY_MIN_NS NS_PER_MS

enum {
	OPT_SOCKET,
	OPT_STATUS,
	OPT_PAYLOAD,
	OPT_EVERY,
	OPT_STDIN,
	OPT_QUIET,
	OPT_HELP,
};

static const struct opts_entry options[] = {
	[OPT_SOCKET] = { "socket", "ADDRESS",
	    "the observer's socket: an absolute path, unix:PATH or\n"
	    "udp:HOST:PORT (default: $VARTA_SOCKET, else\n"
	    "/run/varta/varta.sock)" },
	[OPT_STATUS] = { "status", "STATUS",
	    "ok, degraded or critical (default: ok)" },
	[OPT_PAYLOAD] = { "payload", "NUMBER",
	    "0 to 4294967295, for those who read it (default: 0)" },
	[OPT_EVERY] = { "every", "DURATION",
	    "beat again and again, 1ms to 24h apart (500ms, 2s, 1m),\n"
	    "until the process that started this one has ended" },
	[OPT_STDIN] = { "stdin", NULL,
	    "one beat for each line of standard input: nothing,\n"
	    "STATUS, or STATUS PAYLOAD" },
	[OPT_QUIET] = { "quiet", NULL,
	    "say nothing of beats not sent and of bad lines" },
	[OPT_HELP] = { "help", NULL, "show this help" },
	{ NULL, NULL, NULL },
};

struct request {
	const char *address; /* NULL: the library's default */
	enum varta_status status;
	uint32_t payload;
	uint64_t every_ns; /* 0: not given */
	bool has_beat;     /* --status or --payload was given */
	bool from_stdin;
	bool quiet;
	bool help;
};

/* The agent, and what became of its beats. */
struct sender {
	struct varta_agent *agent;
	const char *address; /* for messages */
	bool quiet;
	int last; /* result of the beat before */
	uint64_t n_sent;
	uint64_t n_unsent;
};

static volatile sig_atomic_t told_to_stop;

static bool
refuse(const char *option, const char *value, const char *reason)
{
	fprintf(stderr, WHO ": --%s '%s': %s\n", option, value, reason);
	return false;
}

static bool
parse_every(const char *value, uint64_t *ret_ns)
{
	uint64_t ns;
	int r;

	r = text_to_duration_ns(value, EVERY_MAX_NS, &ns);
	if (r == -ERANGE || (r == 0 && ns < EVERY_MIN_NS))
		return refuse("every", value, "not from 1ms to 24h");
	if (r < 0)
		return refuse("every", value,
		    "not a number with a unit, as 500ms, 2s or 1m");
	*ret_ns = ns;
	return true;
}

static bool
take_option(struct request *rq, int which, const char *value)
{
	switch (which) {
	case OPT_SOCKET:
		rq->address = value;
		return true;
	case OPT_STATUS:
		rq->has_beat = true;
		return beat_status_parse(value, &rq->status) ||
		       refuse("status", value, "not ok, degraded or critical");
	case OPT_PAYLOAD:
		rq->has_beat = true;
		return text_to_u32(value, UINT32_MAX, &rq->payload) == 0 ||
		       refuse("payload", value,
			   "not a number from 0 to 4294967295");
	case OPT_EVERY:
		return parse_every(value, &rq->every_ns);
	case OPT_STDIN:
		rq->from_stdin = true;
		return true;
	case OPT_QUIET:
		rq->quiet = true;
		return true;
	case OPT_HELP:
		rq->help = true;
		return true;
	case OPTS_BAD:
	default:
		return false;
	}
}

static bool
parse(int argc, char **argv, struct request *rq)
{
	const char *value = NULL;
	int which;

	while (
	    (which = opts_next(options, WHO, argc, argv, &value)) != OPTS_END)
		if (!take_option(rq, which, value))
			return false;
	if (optind < argc) {
		fprintf(
		    stderr, WHO ": unexpected argument '%s'\n", argv[optind]);
		return false;
	}
	if (rq->from_stdin && rq->every_ns != 0) {
		fputs(WHO ": --every and --stdin cannot be used together: "
			  "beats come from a clock or from lines\n",
		    stderr);
		return false;
	}
	if (rq->from_stdin && rq->has_beat) {
		fputs(WHO ": --status and --payload cannot be used with "
			  "--stdin: each line says its own\n",
		    stderr);
		return false;
	}
	return true;
}

static const char *
reason(int result)
{
	return result > 0 ? varta_outcome_text(result) : varta_strerror(result);
}

/* One beat. Says so when its result is not that of the one before. */
static void
send_beat(struct sender *s, enum varta_status status, uint32_t payload)
{
	int r = varta_beat(s->agent, status, payload);

	if (r == VARTA_SENT)
		s->n_sent++;
	else
		s->n_unsent++;
	if (r != s->last && !s->quiet) {
		if (r == VARTA_SENT)
			fprintf(stderr, WHO ": observer '%s': sent again\n",
			    s->address);
		else
			fprintf(stderr, WHO ": observer '%s': %s\n", s->address,
			    reason(r));
	}
	s->last = r;
}

static void
on_stop(int number)
{
	(void)number;
	told_to_stop = 1;
}

/* Have on_stop() called, but only inside ppoll() with *ret_during. A signal
 * that is ignored stays so: a shell does that for what it runs behind it. */
static void
catch_stop(sigset_t *ret_during)
{
	static const int numbers[] = { SIGHUP, SIGINT, SIGTERM };
	struct sigaction old, stop = { .sa_handler = on_stop };
	sigset_t blocked;

	sigemptyset(&stop.sa_mask);
	sigemptyset(&blocked);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		(void)sigaction(numbers[i], NULL, &old);
		if (old.sa_handler == SIG_IGN)
			continue;
		(void)sigaction(numbers[i], &stop, NULL);
		sigaddset(&blocked, numbers[i]);
	}
	(void)sigprocmask(SIG_BLOCK, &blocked, ret_during);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		sigdelset(ret_during, numbers[i]);
}

/* Sleep until at_ns, a stop signal or the parent's end. */
static void
sleep_until(uint64_t at_ns, const struct parent *parent, const sigset_t *during)
{
	struct pollfd ended = { .fd = parent->pidfd, .events = POLLIN };
	uint64_t now_ns = clock_now_ns(CLOCK_SOURCE_MONOTONIC);

	while (now_ns < at_ns && !told_to_stop && !parent_is_gone(parent)) {
		struct timespec wait = {
			.tv_sec = (time_t)((at_ns - now_ns) / NS_PER_S),
			.tv_nsec = (long)((at_ns - now_ns) % NS_PER_S),
		};

		(void)ppoll(&ended, 1, &wait, during);
		now_ns = clock_now_ns(CLOCK_SOURCE_MONOTONIC);
	}
}

static void
beat_every(struct sender *s, const struct request *rq)
{
	struct parent parent;
	sigset_t during;
	uint64_t at_ns, now_ns;

	parent_open(&parent);
	catch_stop(&during);
	at_ns = clock_now_ns(CLOCK_SOURCE_MONOTONIC);
	while (!told_to_stop && !parent_is_gone(&parent)) {
		send_beat(s, rq->status, rq->payload);
		/* What was slept through is not made up for. */
		now_ns = clock_now_ns(CLOCK_SOURCE_MONOTONIC);
		at_ns += ((now_ns - at_ns) / rq->every_ns + 1) * rq->every_ns;
		sleep_until(at_ns, &parent, &during);
	}
	parent_close(&parent);
}

/* The beat that a line asks for. False when it is no such line. */
static bool
beat_line(struct sender *s, const struct beat_lines *l)
{
	enum varta_status status;
	uint32_t payload;
	const char *wrong;

	wrong = l->spoilt ? "longer than 63 bytes, or not text"
			  : beat_line_parse(l->line, &status, &payload);
	if (wrong == NULL) {
		send_beat(s, status, payload);
		return true;
	}
	if (!s->quiet)
		fprintf(
		    stderr, WHO ": line %" PRIu64 ": %s\n", l->number, wrong);
	return false;
}

/* 0 and how many lines were bad, or -errno of a failed read. */
static int
beat_stdin(struct sender *s, uint64_t *ret_bad)
{
	struct beat_lines lines;
	char bytes[4096];
	ssize_t n;

	beat_lines_init(&lines);
	for (;;) {
		n = read(STDIN_FILENO, bytes, sizeof(bytes));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		for (size_t used = 0; used < (size_t)n;) {
			used += beat_lines_take(
			    &lines, bytes + used, (size_t)n - used);
			if (lines.whole && !beat_line(s, &lines))
				++*ret_bad;
		}
	}
	if (n < 0)
		return -errno;
	if (beat_lines_end(&lines) && !beat_line(s, &lines))
		++*ret_bad;
	return 0;
}

static enum tool_exit
beat_lines(struct sender *s)
{
	uint64_t n_bad = 0;
	int r;

	r = beat_stdin(s, &n_bad);
	if (r < 0)
		fprintf(stderr, WHO ": standard input: %s\n", strerror(-r));
	if ((n_bad > 0 || s->n_unsent > 0) && !s->quiet)
		fprintf(stderr,
		    WHO ": %" PRIu64 " sent, %" PRIu64 " not sent, %" PRIu64
			" bad lines\n",
		    s->n_sent, s->n_unsent, n_bad);
	return r == 0 && n_bad == 0 && s->n_unsent == 0 ? TOOL_OK : TOOL_FAILED;
}

static enum tool_exit
beat(const struct request *rq)
{
	struct sender s = { .address = rq->address, .quiet = rq->quiet };
	enum tool_exit code = TOOL_OK;
	int r;

	if (s.address == NULL)
		s.address = getenv("VARTA_SOCKET");
	if (s.address == NULL || *s.address == '\0')
		s.address = "/run/varta/varta.sock";
	r = varta_open(rq->address, &s.agent);
	if (r < 0) {
		fprintf(stderr, WHO ": observer '%s': %s\n", s.address,
		    varta_strerror(r));
		return TOOL_FAILED;
	}

	if (rq->from_stdin) {
		code = beat_lines(&s);
	} else if (rq->every_ns != 0) {
		beat_every(&s, rq);
	} else {
		send_beat(&s, rq->status, rq->payload);
		code = s.n_unsent == 0 ? TOOL_OK : TOOL_FAILED;
	}

	if (s.n_sent > 0 && !linger_until_taken() && !s.quiet)
		fprintf(stderr,
		    WHO ": observer '%s': sent, and not taken within %u ms\n",
		    s.address, (unsigned)LINGER_MAX_MS);
	varta_close(s.agent);
	return code;
}

static enum tool_exit
run(int argc, char **argv)
{
	struct request rq = { .status = VARTA_OK };

	if (!parse(argc, argv, &rq)) {
		fputs("'varta help beat' shows all options\n", stderr);
		return TOOL_USAGE;
	}
	if (rq.help) {
		tool_print_help(&cmd_beat);
		return TOOL_OK;
	}
	return beat(&rq);
}

const struct tool_command cmd_beat = {
	.name = "beat",
	.summary = "beat once, regularly, or for each line of input",
	.synopsis = "[OPTION ...]",
	.about = "Sends beats to the observer, as an agent whose process is "
		 "this one.\n",
	.options = options,
	.run = run,
};
