/* The control socket: its file, who may connect, and HTTP on it. */
#include "watch/tell/local.h"

#include <sys/stat.h>
#include <sys/wait.h>

#include "support/dgram.h"
#include "support/fault.h"
#include "support/http_fixture.h"
#include "support/tmpdir.h"

FAULT(void *, NULL, malloc, (size_t size), (size))
FAULT(int, -1, socket, (int domain, int type, int protocol),
    (domain, type, protocol))
FAULT(int, -1, listen, (int fd, int backlog), (fd, backlog))
FAULT(int, -1, getsockopt,
    (int fd, int level, int name, void *value, socklen_t *n),
    (fd, level, name, value, n))

static struct tmpdir dir;
static char path[108];
static char why[UNIX_PATH_FAULT_BYTES];
static struct local *local;
static int fds_before;

static int
begin(void **state)
{
	(void)setup(state);
	fault_off(&fault_malloc);
	fault_off(&fault_socket);
	fault_off(&fault_listen);
	fault_off(&fault_getsockopt);
	tmpdir_init(&dir);
	(void)snprintf(path, sizeof(path), "%s/control", dir.path);
	fds_before = dgram_count_fds();
	local = NULL;
	why[0] = '\0';
	return 0;
}

/* -1 when descriptors are left over. */
static int
end(void **state)
{
	(void)teardown(state);
	local_close(local);
	tmpdir_fini(&dir);
	return dgram_count_fds() == fds_before ? 0 : -1;
}

static void
serve(void)
{
	const struct http_options options = { .local = local,
		.scrape_budget_ns = NS_NEVER };
	struct http_fault fault;

	assert_int_equal(
	    http_open(&options, &source, &stats, &http, &fault), 0);
	assert_string_equal(http_bound_address(http), path);
}

/* A connection, accepted by the server or not yet. */
static void
connect_to(struct http_client *c)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };

	*c = (struct http_client){ .size = 4096 };
	c->in = calloc(1, c->size);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_non_null(c->in);
	memcpy(to.sun_path, path, strlen(path) + 1);
	assert_int_equal(
	    connect(c->fd, (const struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(fcntl(c->fd, F_SETFL, O_NONBLOCK), 0);
}

static void
get(const char *what, int status)
{
	struct http_client c;

	connect_to(&c);
	assert_true(http_client_send(&c, what, strlen(what)));
	serve_to_the_end(&c);
	assert_int_equal(http_client_status(&c), status);
	http_client_close(&c);
}

static void
its_file_is_for_its_owner_only_and_goes_with_it(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(local_open(path, &local, why), 0);
	assert_string_equal(local_path(local), path);
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0600);
	local_close(local);
	local = NULL;
	assert_int_equal(lstat(path, &st), -1);
}

static void
a_live_one_is_refused_and_a_dead_one_taken_over(void **state)
{
	struct local *second = NULL;
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd;

	(void)state;
	assert_int_equal(local_open(path, &local, why), 0);
	assert_int_equal(local_open(path, &second, why), -EADDRINUSE);
	assert_non_null(strstr(why, path));
	assert_null(second);
	local_close(local);
	local = NULL;

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	memcpy(at.sun_path, path, strlen(path) + 1);
	assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof(at)), 0);
	(void)close(fd);
	assert_int_equal(local_open(path, &local, why), 0);
}

static void
a_socket_of_beats_is_left_alone(void **state)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)state;
	memcpy(at.sun_path, path, strlen(path) + 1);
	assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(local_open(path, &local, why), -EPROTOTYPE);
	assert_int_equal(access(path, F_OK), 0);
	(void)close(fd);
}

static void
opening_fails_without_a_trace(void **state)
{
	(void)state;
	assert_int_equal(local_open("/nowhere/at/all", &local, why), -ENOENT);
	fault_nth(&fault_malloc, 1, ENOMEM);
	assert_int_equal(local_open(path, &local, why), -ENOMEM);
	fault_off(&fault_malloc);
	fault_nth(&fault_socket, 1, EMFILE);
	assert_int_equal(local_open(path, &local, why), -EMFILE);
	fault_nth(&fault_listen, 1, EIO);
	assert_int_equal(local_open(path, &local, why), -EIO);
	assert_non_null(strstr(why, "cannot listen"));
	assert_int_equal(access(path, F_OK), -1);
	assert_null(local);
}

static void
http_is_served_on_it_without_a_token(void **state)
{
	(void)state;
	assert_int_equal(local_open(path, &local, why), 0);
	serve();
	gauges.started = true;
	get("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 200);
	get("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200);
	get("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n", 200);
	get("GET /else HTTP/1.1\r\nHost: x\r\n\r\n", 404);
	assert_int_equal(stats.prom_requests, 4);
	assert_int_equal(stats.control_refused, 0);
}

static void
all_places_may_be_taken_by_one_peer(void **state)
{
	enum { CLIENTS = HTTP_CONNECTIONS + 3 };
	struct http_client c[CLIENTS];
	size_t i;

	(void)state;
	assert_int_equal(local_open(path, &local, why), 0);
	serve();
	for (i = 0; i < CLIENTS; i++) {
		connect_to(&c[i]);
		settle();
	}
	assert_int_equal(stats.prom_dropped[STATS_PROM_DRAIN], 3);
	for (i = 0; i < CLIENTS; i++)
		http_client_close(&c[i]);
	settle();
	get("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200);
}

static void
a_peer_whom_the_kernel_does_not_name_is_refused(void **state)
{
	struct http_client c;

	(void)state;
	assert_int_equal(local_open(path, &local, why), 0);
	serve();
	connect_to(&c);
	fault_nth(&fault_getsockopt, 1, ENOPROTOOPT);
	serve_to_the_end(&c);
	assert_int_equal(c.len, 0);
	assert_int_equal(stats.control_refused, 1);
	http_client_close(&c);
	get("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200);
}

/* As a stranger, in a process of its own: connect, and wait for the end. */
static _Noreturn void
be_a_stranger(int ready_fd)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	char c;
	int fd;

	if (setgid(65534) < 0 || setuid(65534) < 0)
		_exit(2);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	memcpy(to.sun_path, path, strlen(path) + 1);
	if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0)
		_exit(3);
	if (write(ready_fd, "", 1) != 1)
		_exit(4);
	/* Nothing was asked, and nothing is answered. */
	_exit(read(fd, &c, 1) == 0 ? 0 : 5);
}

static void
another_user_is_refused_whatever_the_mode_is(void **state)
{
	int ready[2], status;
	pid_t pid;
	char c;

	(void)state;
	if (geteuid() != 0) {
		print_message("# needs root, to act as another user\n");
		skip();
	}
	assert_int_equal(local_open(path, &local, why), 0);
	serve();
	assert_int_equal(chmod(dir.path, 0755), 0);
	assert_int_equal(chmod(path, 0666), 0);
	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0)
		be_a_stranger(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	settle();
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(stats.control_refused, 1);
	(void)close(ready[0]);
	(void)close(ready[1]);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(its_file_is_for_its_owner_only_and_goes_with_it),
		TEST(a_live_one_is_refused_and_a_dead_one_taken_over),
		TEST(a_socket_of_beats_is_left_alone),
		TEST(opening_fails_without_a_trace),
		TEST(http_is_served_on_it_without_a_token),
		TEST(all_places_may_be_taken_by_one_peer),
		TEST(a_peer_whom_the_kernel_does_not_name_is_refused),
		TEST(another_user_is_refused_whatever_the_mode_is),
	};

	return cmocka_run_group_tests_name("local", tests, NULL, NULL);
}
