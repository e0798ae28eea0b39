/*
 * beat_vs_send: what varta_beat() adds to the one system call it makes.
 *
 * One thread sends and drains the queue outside the timed region, so that
 * nobody ever sleeps on the socket: that is the cheapest send(2) there is.
 * Blocks of beats and of bare sends alternate within a round.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <varta/varta.h>

#include "base/util.h"
#include "reader.h"
#include "sample.h"
#include "support.h"

enum {
	ROUNDS = 9,
	BLOCK = 8, /* fits into the shortest queue, 11 */
	BLOCKS = 6000,
	BLOCKS_QUICK = 1000,
	SAMPLES = BLOCK * BLOCKS,
	COUNTED = 1000 /* beats under the eyes of the system call counter */
};

static double beats[SAMPLES];
static double sends[SAMPLES];

struct scene {
	int reader_fd;
	int sender_fd; /* connected, non-blocking */
	struct varta_agent *agent;
	uint8_t frame[SUPPORT_FRAME_BYTES];
};

static void
drain(int fd)
{
	uint8_t bytes[SUPPORT_FRAME_BYTES + 1];

	while (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) >= 0)
		;
}

static void
set_up(struct scene *s)
{
	struct sockaddr_un address;

	support_address("bare.sock", &address);
	s->reader_fd = reader_socket(&address);
	s->sender_fd =
	    socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->sender_fd < 0 ||
	    connect(
		s->sender_fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		support_die("%s: %s", address.sun_path, strerror(errno));
	support_check(varta_open(address.sun_path, &s->agent), "varta_open");
	memset(s->frame, 0xA5, sizeof(s->frame));
}

static size_t
time_sends(struct scene *s, double *ret)
{
	uint64_t from, to;
	size_t i, n = 0;
	ssize_t r;

	for (i = 0; i < BLOCK; i++) {
		from = sample_ticks();
		r = send(s->sender_fd, s->frame, sizeof(s->frame),
		    MSG_DONTWAIT | MSG_NOSIGNAL);
		to = sample_ticks();
		if (r == SUPPORT_FRAME_BYTES)
			ret[n++] = sample_ns(from, to);
	}
	drain(s->reader_fd);
	return n;
}

static size_t
time_beats(struct scene *s, double *ret)
{
	uint64_t from, to;
	size_t i, n = 0;
	int r;

	for (i = 0; i < BLOCK; i++) {
		from = sample_ticks();
		r = varta_beat(s->agent, VARTA_OK, 0);
		to = sample_ticks();
		if (r == VARTA_SENT)
			ret[n++] = sample_ns(from, to);
	}
	drain(s->reader_fd);
	return n;
}

/* System calls of COUNTED beats. The child marks both ends by a call that no
 * beat makes; every call between stops it once on its way in. */
static void
be_counted(struct scene *s)
{
	int i;

	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
		_exit(1);
	(void)varta_beat(s->agent, VARTA_OK, 0); /* notices the fork */
	(void)raise(SIGSTOP);
	(void)syscall(SYS_getppid);
	for (i = 0; i < COUNTED; i++)
		(void)varta_beat(s->agent, VARTA_OK, 0);
	(void)syscall(SYS_getppid);
	_exit(0);
}

static long
next_call(pid_t pid)
{
	struct __ptrace_syscall_info info;
	int status;

	for (;;) {
		if (ptrace(PTRACE_SYSCALL, pid, NULL, NULL) < 0 ||
		    waitpid(pid, &status, 0) < 0 || !WIFSTOPPED(status))
			return -1;
		if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) >
			0 &&
		    info.op == PTRACE_SYSCALL_INFO_ENTRY)
			return (long)info.entry.nr;
	}
}

/* Calls per beat, or a negative number where tracing is not permitted. Only
 * whether a frame was sent does not matter here: the queue may be full. */
static double
count_calls(struct scene *s)
{
	unsigned long calls = 0;
	int status;
	long call;
	pid_t pid;

	pid = support_fork(-1);
	if (pid == 0)
		be_counted(s);
	if (waitpid(pid, &status, 0) < 0 || !WIFSTOPPED(status) ||
	    ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD) < 0)
		return -1;
	do
		call = next_call(pid);
	while (call >= 0 && call != SYS_getppid);
	while (call >= 0 && (call = next_call(pid)) != SYS_getppid)
		calls++;
	support_kill(pid);
	drain(s->reader_fd);
	return call < 0 ? -1 : (double)calls / COUNTED;
}

static void
report(struct scene *s, const struct sample_rounds *p50,
    const struct sample_rounds *p99)
{
	sample_begin("beat_vs_send");
	sample_ratio(p50, "ns");
	sample_number("p99", sample_subject(p99));
	sample_number("p99_floor", sample_floor(p99));
	sample_number("syscalls_per_beat", count_calls(s));
	sample_end();
	sample_finish();
}

int
main(int argc, char **argv)
{
	struct sample_rounds p50 = { .n = 0 }, p99 = { .n = 0 };
	struct support_options options;
	size_t n_beats, n_sends;
	struct scene scene;
	unsigned round, i, blocks;

	support_start(argc, argv, ROUNDS, &options);
	support_pin(options.cpu_sender);
	sample_calibrate();
	set_up(&scene);

	blocks = options.quick ? BLOCKS_QUICK : BLOCKS;
	for (round = 0; round < options.rounds; round++) {
		n_beats = n_sends = 0;
		for (i = 0; i < blocks; i++) {
			n_sends += time_sends(&scene, &sends[n_sends]);
			n_beats += time_beats(&scene, &beats[n_beats]);
		}
		if (n_beats == 0 || n_sends == 0)
			support_die("no frame was sent");
		sample_round(&p50, sample_percentile(beats, n_beats, 500),
		    sample_percentile(sends, n_sends, 500));
		sample_round(&p99, sample_percentile(beats, n_beats, 990),
		    sample_percentile(sends, n_sends, 990));
	}
	report(&scene, &p50, &p99);
	varta_close(scene.agent);
	return support_end();
}
