/*
 * exit_notice_vs_pidfd: from SIGKILL until the event file has an `exit` line,
 * against a bare loop of epoll_wait(2) over pidfds that writes a line of the
 * same length to a file of its own.
 *
 * The observer of both spins on the file, alone on its processor. Victims,
 * their parent, the daemon and the bare loop share the other one, so that
 * nothing but what is measured runs there. The parent reaps at once.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <varta/varta.h>

#include "base/fd.h"
#include "base/util.h"
#include "daemon.h"
#include "sample.h"
#include "support.h"

enum {
	ROUNDS = 7,
	ROUNDS_QUICK = 2,
	KILLS = 30, /* of each kind in a round */
	VICTIMS = SUPPORT_ROUNDS_MAX * KILLS,
	REST_MS = 3, /* until all is quiet again */
	PATIENCE_MS = 1000,
	LINE_BYTES = 512
};

enum kind { BARE = 0, OBSERVED, KINDS };

struct shared {
	uint32_t ready;    /* victims that wait for their end */
	uint32_t watched;  /* the bare loop has all its pidfds */
	uint64_t woken_ns; /* when the bare loop last came back */
	pid_t victims[KINDS][VICTIMS];
};

/* A file that grows, and how far it has been read. */
struct tail {
	int fd;
	off_t at;
	char line[LINE_BYTES];
	size_t len;
};

struct scene {
	struct shared *shared;
	struct daemon daemon;
	struct tail tails[KINDS];
	unsigned n_victims; /* of each kind */
	unsigned n_killed;
};

static _Noreturn void
be_victim(struct scene *s, enum kind kind)
{
	struct varta_agent *agent;

	if (kind == OBSERVED) {
		support_check(varta_open(s->daemon.address.sun_path, &agent),
		    "varta_open");
		while (varta_beat(agent, VARTA_OK, 0) != VARTA_SENT)
			support_sleep_ms(1);
	}
	(void)__atomic_add_fetch(&s->shared->ready, 1, __ATOMIC_RELEASE);
	support_wake(&s->shared->ready);
	for (;;)
		(void)pause();
}

static _Noreturn void
be_parent(struct scene *s, int cpu)
{
	unsigned i, kind;
	pid_t pid;

	for (i = 0; i < s->n_victims; i++) {
		for (kind = 0; kind < KINDS; kind++) {
			pid = support_fork(cpu);
			if (pid == 0)
				be_victim(s, (enum kind)kind);
			s->shared->victims[kind][i] = pid;
		}
	}
	for (;;) {
		if (waitpid(-1, NULL, 0) < 0)
			(void)pause();
	}
}

static int
watch_victims(const struct scene *s)
{
	struct epoll_event event = { .events = EPOLLIN };
	int epoll_fd, fd;
	unsigned i;

	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	for (i = 0; i < s->n_victims; i++) {
		fd = (int)syscall(
		    SYS_pidfd_open, s->shared->victims[BARE][i], 0);
		event.data.u64 = (uint64_t)fd << 32 | i;
		if (fd < 0 ||
		    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
			support_die("pidfd: %s", strerror(errno));
	}
	return epoll_fd;
}

static _Noreturn void
be_bare_loop(struct scene *s, const char *path)
{
	struct epoll_event event;
	int epoll_fd, out, n, fd;
	char line[64];
	uint64_t now_ns;
	unsigned i;

	epoll_fd = watch_victims(s);
	out = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	__atomic_store_n(&s->shared->watched, 1, __ATOMIC_RELEASE);
	support_wake(&s->shared->watched);
	for (;;) {
		if (epoll_wait(epoll_fd, &event, 1, -1) != 1)
			support_die("epoll_wait: %s", strerror(errno));
		now_ns = support_now_ns();
		i = (unsigned)event.data.u64;
		n = snprintf(line, sizeof(line), "%llu\texit\t%d\t0\t-\t0\n",
		    (unsigned long long)now_ns,
		    (int)s->shared->victims[BARE][i]);
		s->shared->woken_ns = now_ns;
		if (fd_write_all(out, line, (size_t)n) < 0)
			support_die("%s: %s", path, strerror(errno));
		fd = (int)(event.data.u64 >> 32);
		(void)epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
		(void)close(fd);
	}
}

/* Is this the line that says that pid has ended? */
static bool
tells_exit(const char *line, pid_t pid)
{
	const char *kind = strchr(line, '\t');

	return kind != NULL && strncmp(kind, "\texit\t", 6) == 0 &&
	       strtol(kind + 6, NULL, 10) == pid;
}

/* Read what has been added. True when a whole line tells the end of pid. */
static bool
tail_tells(struct tail *t, pid_t pid)
{
	char *newline;
	bool found = false;
	ssize_t n;

	n = pread(t->fd, t->line + t->len, sizeof(t->line) - 1 - t->len, t->at);
	if (n <= 0)
		return false;
	t->at += n;
	t->len += (size_t)n;
	t->line[t->len] = '\0';
	while ((newline = strchr(t->line, '\n')) != NULL) {
		*newline = '\0';
		found = found || tells_exit(t->line, pid);
		t->len -= (size_t)(newline + 1 - t->line);
		memmove(t->line, newline + 1, t->len + 1);
	}
	return found;
}

/* Kill, and spin until the file says so. Microseconds, and the time of the
 * kill. */
static double
kill_one(struct scene *s, enum kind kind, uint64_t *ret_start_ns)
{
	pid_t pid = s->shared->victims[kind][s->n_killed];
	uint64_t start_ns, now_ns;

	support_sleep_ms(REST_MS);
	start_ns = support_now_ns();
	if (kill(pid, SIGKILL) < 0)
		support_die("kill: %s", strerror(errno));
	do {
		now_ns = support_now_ns();
		if (now_ns - start_ns > PATIENCE_MS * NS_PER_MS)
			support_die(
			    "nobody tells the end of process %d", (int)pid);
	} while (!tail_tells(&s->tails[kind], pid));
	now_ns = support_now_ns();
	*ret_start_ns = start_ns;
	return (double)(now_ns - start_ns) / 1000;
}

static void
open_tail(struct tail *t, const char *path)
{
	t->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (t->fd < 0)
		support_die("%s: %s", path, strerror(errno));
	t->at = lseek(t->fd, 0, SEEK_END);
}

static void
set_up(struct scene *s, const struct support_options *options)
{
	struct daemon_options what = {
		.threshold_ms = 3600000,
		.cpu = options->cpu_reader,
		.events = true,
	};
	struct sockaddr_un bare;
	uint32_t ready;

	s->shared = support_shared(sizeof(*s->shared));
	s->n_victims = options->rounds * KILLS;
	daemon_start(options, &what, &s->daemon);
	if (support_fork(options->cpu_reader) == 0)
		be_parent(s, options->cpu_reader);
	while ((ready = __atomic_load_n(&s->shared->ready, __ATOMIC_ACQUIRE)) <
	       KINDS * s->n_victims)
		support_wait(&s->shared->ready, ready);

	support_address("bare.events", &bare);
	if (support_fork(options->cpu_reader) == 0)
		be_bare_loop(s, bare.sun_path);
	support_wait(&s->shared->watched, 0);
	support_sleep_ms(50);
	open_tail(&s->tails[BARE], bare.sun_path);
	open_tail(&s->tails[OBSERVED], s->daemon.events.sun_path);
}

struct figures {
	struct sample_rounds p50;
	struct sample_rounds p99;
	struct sample_rounds bare; /* floor: until the bare loop is awake */
};

static void
measure(struct scene *s, struct figures *f)
{
	double us[KINDS][KILLS], woken_us[KILLS], p50;
	uint64_t start_ns;
	unsigned i;

	for (i = 0; i < KILLS; i++, s->n_killed++) {
		us[BARE][i] = kill_one(s, BARE, &start_ns);
		woken_us[i] = (double)(s->shared->woken_ns - start_ns) / 1000;
		us[OBSERVED][i] = kill_one(s, OBSERVED, &start_ns);
	}
	p50 = sample_percentile(us[OBSERVED], KILLS, 500);
	sample_round(&f->p50, p50, sample_percentile(us[BARE], KILLS, 500));
	sample_round(&f->bare, p50, sample_percentile(woken_us, KILLS, 500));
	sample_round(&f->p99, sample_percentile(us[OBSERVED], KILLS, 990),
	    sample_percentile(us[BARE], KILLS, 990));
}

int
main(int argc, char **argv)
{
	static const char *const keys[] = { "exit_notice_vs_pidfd", NULL };
	static struct figures figures;
	static struct scene scene;
	struct support_options options;
	unsigned i;

	support_start(argc, argv, ROUNDS, &options);
	if (support_lacks_processors(&options, keys))
		return 0;
	if (options.quick)
		options.rounds = ROUNDS_QUICK;
	support_pin(options.cpu_sender);
	set_up(&scene, &options);
	for (i = 0; i < options.rounds; i++)
		measure(&scene, &figures);

	sample_begin("exit_notice_vs_pidfd");
	sample_ratio(&figures.p50, "us");
	sample_number("p99", sample_subject(&figures.p99));
	sample_number("p99_floor", sample_floor(&figures.p99));
	sample_begin("to_wakeup_alone");
	sample_ratio(&figures.bare, "us");
	sample_end();
	sample_end();
	sample_finish();
	daemon_stop(&scene.daemon);
	return support_end();
}
