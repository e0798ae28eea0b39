#include "daemon.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"

enum {
	ARGUMENTS_MAX = 24,
	PATIENCE_MS = 10000,
	EXPOSITION_BYTES = 64 << 20 /* of 100,000 agents with labels */
};

void
daemon_address(struct sockaddr_un *ret)
{
	support_address("varta.sock", ret);
}

/* Words of the command line; numbers lie in text. */
static void
command_line(const struct support_options *support,
    const struct daemon_options *options, const struct daemon *d,
    char text[2][24], const char *argv[ARGUMENTS_MAX])
{
	size_t n = 0;

	(void)snprintf(
	    text[0], 24, "%llu", (unsigned long long)options->threshold_ms);
	(void)snprintf(text[1], 24, "%u", options->capacity);
	argv[n++] = support->daemon;
	argv[n++] = "--socket";
	argv[n++] = d->address.sun_path;
	argv[n++] = "--threshold-ms";
	argv[n++] = text[0];
	argv[n++] = "--max-beat-rate";
	argv[n++] = "0";
	argv[n++] = "--global-beat-rate";
	argv[n++] = "0";
	if (options->capacity > 0) {
		argv[n++] = "--tracker-capacity";
		argv[n++] = text[1];
	}
	if (options->events) {
		argv[n++] = "--export-file";
		argv[n++] = d->events.sun_path;
	}
	if (options->metrics) {
		argv[n++] = "--prom-addr";
		argv[n++] = "127.0.0.1:0";
		argv[n++] = "--prom-rate-limit-per-sec";
		argv[n++] = "0";
	}
	for (size_t i = 0; options->more != NULL && options->more[i] != NULL;
	     i++)
		argv[n++] = options->more[i];
	argv[n] = NULL;
}

/* In the child: become the daemon, with its log in a file. */
static _Noreturn void
become(const char *const *argv, const char *notify, const char *log, int out)
{
	char *words[ARGUMENTS_MAX];
	size_t i;
	int fd;

	for (i = 0; argv[i] != NULL; i++)
		words[i] = strdup(argv[i]);
	words[i] = NULL;
	(void)setenv("NOTIFY_SOCKET", notify, 1);
	(void)unsetenv("WATCHDOG_USEC");
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	(void)dup2(out, STDOUT_FILENO);
	(void)dup2(fd, STDERR_FILENO);
	execv(words[0], words);
	support_die("%s: %s", words[0], strerror(errno));
}

static bool
is_readable(int fd, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, timeout_ms) > 0;
}

/* The end of the daemon's log, for whoever wants to know why. */
static _Noreturn void
die_with_log(const char *log, const char *what)
{
	char text[512] = "";
	ssize_t n;
	int fd;

	fd = open(log, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		(void)lseek(fd, -(off_t)(sizeof(text) - 1), SEEK_END);
		n = fd_read_full(fd, text, sizeof(text) - 1);
		text[n > 0 ? n : 0] = '\0';
		(void)close(fd);
	}
	support_die("the daemon %s; its log ends in:\n%s", what, text);
}

static void
await_ready(int notify_fd, const char *log)
{
	char text[256];
	ssize_t n;

	do {
		if (!is_readable(notify_fd, PATIENCE_MS))
			die_with_log(log, "does not get ready");
		n = recv(notify_fd, text, sizeof(text) - 1, 0);
		text[n > 0 ? n : 0] = '\0';
	} while (strstr(text, "READY=1") == NULL);
}

/* The line on stdout that tells where the metrics are. */
static void
read_prom_address(int out_fd, struct sockaddr_in *ret)
{
	char text[256] = "", *at, *colon;
	size_t len = 0;
	ssize_t n;

	while (strchr(text, '\n') == NULL) {
		if (!is_readable(out_fd, PATIENCE_MS) ||
		    (n = read(out_fd, text + len, sizeof(text) - 1 - len)) <= 0)
			support_die("the daemon names no metrics address");
		len += (size_t)n;
		text[len] = '\0';
	}
	at = strstr(text, "127.0.0.1:");
	if (at == NULL)
		support_die("no metrics address in '%s'", text);
	colon = strchr(at, ':');
	*ret = (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10)),
	};
}

void
daemon_start(const struct support_options *support,
    const struct daemon_options *options, struct daemon *ret)
{
	const char *argv[ARGUMENTS_MAX];
	struct sockaddr_un notify;
	int notify_fd, out[2];
	char text[2][24];

	*ret = (struct daemon){ .pid = -1 };
	daemon_address(&ret->address);
	support_address("events", &ret->events);
	support_address("log", &ret->log);
	support_address("notify.sock", &notify);
	(void)unlink(ret->events.sun_path);
	(void)unlink(notify.sun_path);

	notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (notify_fd < 0 || pipe2(out, O_CLOEXEC) < 0 ||
	    bind(notify_fd, (struct sockaddr *)&notify, sizeof(notify)) < 0)
		support_die("%s: %s", notify.sun_path, strerror(errno));

	command_line(support, options, ret, text, argv);
	ret->pid = support_fork(options->cpu);
	if (ret->pid == 0)
		become(argv, notify.sun_path, ret->log.sun_path, out[1]);
	(void)close(out[1]);
	await_ready(notify_fd, ret->log.sun_path);
	if (options->metrics)
		read_prom_address(out[0], &ret->prom);
	(void)close(out[0]);
	(void)close(notify_fd);
}

/* Sum over the lines "NAME VALUE" and "NAME{...} VALUE". */
static uint64_t
sum_of(const char *text, const char *name)
{
	size_t len = strlen(name);
	const char *line, *end;
	uint64_t sum = 0;

	for (line = text; line != NULL && *line != '\0';
	     line = end == NULL ? NULL : end + 1) {
		end = strchr(line, '\n');
		if (strncmp(line, name, len) != 0 ||
		    (line[len] != ' ' && line[len] != '{'))
			continue;
		line = line[len] == '{' ? strstr(line, "} ") : line + len - 1;
		if (line == NULL)
			break;
		sum += strtoull(line + 2, NULL, 10);
	}
	return sum;
}

uint64_t
daemon_metric(const struct daemon *d, const char *name)
{
	static const char request[] = "GET /metrics HTTP/1.1\r\n"
				      "Host: bench\r\n"
				      "Connection: close\r\n\r\n";
	uint64_t sum;
	ssize_t n;
	char *text;
	int fd;

	text = malloc(EXPOSITION_BYTES);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (text == NULL || fd < 0 ||
	    connect(fd, (const struct sockaddr *)&d->prom, sizeof(d->prom)) <
		0 ||
	    fd_write_all(fd, request, sizeof(request) - 1) < 0)
		support_die("metrics: %s", strerror(errno));
	n = fd_read_full(fd, text, EXPOSITION_BYTES - 1);
	(void)close(fd);
	if (n < 0)
		support_die("metrics: %s", strerror((int)-n));
	text[n] = '\0';
	if (strncmp(text, "HTTP/1.1 200", 12) != 0)
		support_die("metrics: %.40s", text);
	sum = sum_of(text, name);
	free(text);
	return sum;
}

void
daemon_await(const struct daemon *d, const char *name, uint64_t least)
{
	uint64_t end = support_now_ns() + PATIENCE_MS * NS_PER_MS;
	uint64_t value;

	while ((value = daemon_metric(d, name)) < least) {
		if (support_now_ns() > end)
			support_die("%s is %llu, not %llu", name,
			    (unsigned long long)value,
			    (unsigned long long)least);
		support_sleep_ms(20);
	}
}

void
daemon_stop(struct daemon *d)
{
	int status;

	(void)kill(d->pid, SIGTERM);
	while (waitpid(d->pid, &status, 0) < 0) {
		if (errno != EINTR)
			support_die("waitpid: %s", strerror(errno));
	}
	d->pid = -1;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		support_die(
		    "the daemon ended with status 0x%x", (unsigned)status);
}
