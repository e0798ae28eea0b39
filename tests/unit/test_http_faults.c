/* Every call that can fail under http.h failing in turn. */
#include "watch/tell/http.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/epoll.h>

#include <microhttpd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/util.h"
#include "support/fault.h"
#include "support/http_client.h"

FAULT(void *, NULL, malloc, (size_t size), (size))
FAULT(void *, NULL, calloc, (size_t n, size_t size), (n, size))
FAULT(int, -1, getentropy, (void *bytes, size_t n), (bytes, n))
FAULT(int, -1, socket, (int domain, int type, int protocol),
    (domain, type, protocol))
FAULT(int, -1, bind, (int fd, const struct sockaddr *address, socklen_t n),
    (fd, address, n))
FAULT(int, -1, listen, (int fd, int backlog), (fd, backlog))
FAULT(int, -1, setsockopt,
    (int fd, int level, int name, const void *value, socklen_t n),
    (fd, level, name, value, n))
FAULT(int, -1, getsockname, (int fd, struct sockaddr *address, socklen_t *n),
    (fd, address, n))
FAULT(int, -1, accept4,
    (int fd, struct sockaddr *address, socklen_t *n, int flags),
    (fd, address, n, flags))
FAULT(int, -1, epoll_create1, (int flags), (flags))
FAULT(int, -1, epoll_ctl, (int epoll, int op, int fd, struct epoll_event *ev),
    (epoll, op, fd, ev))
FAULT(enum MHD_Result, MHD_NO, MHD_add_connection,
    (struct MHD_Daemon * daemon, int fd, const struct sockaddr *address,
	socklen_t n),
    (daemon, fd, address, n))
FAULT(enum MHD_Result, MHD_NO, MHD_add_response_header,
    (struct MHD_Response * r, const char *name, const char *value),
    (r, name, value))
FAULT(struct MHD_Response *, NULL, MHD_create_response_from_buffer,
    (size_t n, void *text, enum MHD_ResponseMemoryMode mode), (n, text, mode))
FAULT(struct MHD_Response *, NULL, MHD_create_response_from_callback,
    (uint64_t n, size_t block, MHD_ContentReaderCallback read, void *cls,
	MHD_ContentReaderFreeCallback free_cls),
    (n, block, read, cls, free_cls))
FAULT(enum MHD_Result, MHD_NO, MHD_queue_response,
    (struct MHD_Connection * connection, unsigned status,
	struct MHD_Response *r),
    (connection, status, r))

/* Two of the library's take further arguments, which FAULT() cannot pass on. */
static struct fault fault_start_daemon, fault_set_options;

struct MHD_Daemon *__wrap_MHD_start_daemon(unsigned flags, uint16_t daemon_port,
    MHD_AcceptPolicyCallback policy, void *policy_cls,
    MHD_AccessHandlerCallback handler, void *handler_cls, ...);
enum MHD_Result __wrap_MHD_set_response_options(
    struct MHD_Response *r, enum MHD_ResponseFlags flags, ...);
enum MHD_Result __real_MHD_set_response_options(
    struct MHD_Response *r, enum MHD_ResponseFlags flags, ...);

/* The arguments after handler_cls, as http.c gives them. */
struct MHD_Daemon *
__wrap_MHD_start_daemon(unsigned flags, uint16_t daemon_port,
    MHD_AcceptPolicyCallback policy, void *policy_cls,
    MHD_AccessHandlerCallback handler, void *handler_cls, ...)
{
	struct MHD_Daemon *daemon;
	va_list args;

	if (fault_hits(&fault_start_daemon))
		return NULL;
	va_start(args, handler_cls);
	daemon = MHD_start_daemon_va(
	    flags, daemon_port, policy, policy_cls, handler, handler_cls, args);
	va_end(args);
	return daemon;
}

enum MHD_Result
__wrap_MHD_set_response_options(
    struct MHD_Response *r, enum MHD_ResponseFlags flags, ...)
{
	if (fault_hits(&fault_set_options))
		return MHD_NO;
	return __real_MHD_set_response_options(r, flags, MHD_OPTION_END);
}

static struct stats stats;
static struct metrics_gauges gauges;
static struct http *http;
static struct http_fault why;
static uint64_t now_ns;
static uint16_t port;

static bool
no_agent(void *ctx, uint32_t slot, struct agent_view *ret)
{
	(void)ctx;
	(void)slot;
	(void)ret;
	return false;
}

static bool
no_row(void *ctx, uint32_t slot, struct agent_row *ret)
{
	(void)ctx;
	(void)slot;
	(void)ret;
	return false;
}

static uint32_t
one_slot(void *ctx)
{
	(void)ctx;
	return 1;
}

static const struct metrics_source source = { .stats = &stats,
	.gauges = &gauges,
	.agent = no_agent,
	.row = no_row,
	.slots = one_slot };

static int
try_open(const struct sockaddr *address, socklen_t n)
{
	const struct http_options options = {
		.address = address,
		.address_len = n,
		.scrape_budget_ns = NS_NEVER,
	};

	why.text[0] = '\0';
	return http_open(&options, &source, &stats, &http, &why);
}

static int
open_on_port(uint16_t wanted)
{
	const struct sockaddr_in in = { .sin_family = AF_INET,
		.sin_port = htons(wanted),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	return try_open((const struct sockaddr *)&in, sizeof(in));
}

static unsigned
open_descriptors(void)
{
	unsigned n = 0;
	int fd;

	for (fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static unsigned descriptors_before;

static int
setup(void **state)
{
	(void)state;
	memset(&stats, 0, sizeof(stats));
	now_ns = NS_PER_S;
	descriptors_before = open_descriptors();
	assert_int_equal(open_on_port(0), 0);
	port = (uint16_t)atoi(http_bound_address(http) + 10);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	http_close(http);
	http = NULL;
	assert_int_equal(open_descriptors(), descriptors_before);
	return 0;
}

static bool
pass(void)
{
	struct pollfd fd = { .fd = http_fd(http), .events = POLLIN };

	if (poll(&fd, 1, 0) == 0 && http_next_ns(http, now_ns) > now_ns)
		return false;
	http_serve(http, now_ns);
	return true;
}

static void
settle(void)
{
	int i;

	for (i = 0; pass(); i++)
		assert_true(i < 10000);
}

/* The status of the answer to text, 0 when there was none. */
static int
status_of(const char *text)
{
	struct http_client c;
	int status, i;

	http_client_open(&c, port, 1);
	assert_true(http_client_send(&c, text, strlen(text)));
	for (i = 0; !c.ended; i++) {
		struct pollfd fd = { .fd = c.fd, .events = POLLIN };

		assert_true(i < 10000);
		settle();
		assert_true(poll(&fd, 1, 5000) > 0);
		http_client_receive(&c, SIZE_MAX);
	}
	status = http_client_status(&c);
	http_client_close(&c);
	settle();
	return status;
}

static const char get[] = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
static const char head[] = "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
static const char health[] = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";

/* http_open() fails with error, says so, and leaves nothing behind. */
static void
assert_open_fails(struct fault *fault, unsigned nth, int error)
{
	struct http *kept = http;
	unsigned before = open_descriptors();

	fault_nth(fault, nth, error);
	assert_int_equal(open_on_port(0), -error);
	fault_off(fault);
	assert_ptr_equal(http, kept);
	assert_int_equal(open_descriptors(), before);
	assert_true(memcmp(why.text, "metrics address", 15) == 0 ||
		    memcmp(why.text, "HTTP: ", 6) == 0);
	assert_non_null(strstr(why.text, strerror(error)));
}

static void
opening_fails_without_a_trace(void **state)
{
	(void)state;
	assert_open_fails(&fault_calloc, 1, ENOMEM);
	assert_open_fails(&fault_socket, 1, EMFILE);
	assert_open_fails(&fault_setsockopt, 2, EINVAL);
	assert_open_fails(&fault_bind, 1, EACCES);
	assert_open_fails(&fault_listen, 1, EADDRINUSE);
	assert_open_fails(&fault_getsockname, 1, ENOBUFS);
	assert_open_fails(&fault_epoll_create1, 1, EMFILE);
	assert_open_fails(&fault_epoll_ctl, 1, ENOSPC);
	assert_open_fails(&fault_epoll_ctl, 2, ENOSPC);
	assert_open_fails(&fault_getentropy, 1, EIO);
	assert_open_fails(&fault_malloc, 1, ENOMEM);
	assert_open_fails(&fault_start_daemon, 1, ENOMEM);
}

static void
an_address_in_use_is_named(void **state)
{
	struct http *kept = http;
	char want[128];

	(void)state;
	assert_int_equal(open_on_port(port), -EADDRINUSE);
	(void)snprintf(want, sizeof(want),
	    "metrics address '127.0.0.1:%u': cannot listen: Address already in "
	    "use",
	    port);
	assert_string_equal(why.text, want);
	assert_ptr_equal(http, kept);
}

static void
an_ipv6_address_is_named_in_brackets(void **state)
{
	const struct sockaddr_in6 in6 = { .sin6_family = AF_INET6,
		.sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct http *kept = http;
	int r;

	(void)state;
	r = try_open((const struct sockaddr *)&in6, sizeof(in6));
	if (r < 0) {
		/* A machine without IPv6 still names what it refuses. */
		assert_non_null(strstr(why.text, "'[::1]:0'"));
		return;
	}
	assert_memory_equal(http_bound_address(http), "[::1]:", 6);
	assert_int_not_equal(atoi(http_bound_address(http) + 6), 0);
	http_close(http);
	http = kept;
}

static void
without_descriptors_it_pauses_and_goes_on(void **state)
{
	const uint64_t again_ns = now_ns + HTTP_ACCEPT_PAUSE_MS * NS_PER_MS;
	struct http_client c;

	(void)state;
	log_set_level(LOG_ERROR);
	http_client_open(&c, port, 1);
	fault_always(&fault_accept4, EMFILE);
	settle();
	/* One attempt, then silence until the time has come. */
	assert_int_equal(fault_accept4.calls, 1);
	assert_int_equal(http_next_ns(http, now_ns), again_ns);
	http_serve(http, now_ns);
	assert_int_equal(fault_accept4.calls, 1);

	fault_off(&fault_accept4);
	now_ns = again_ns;
	assert_int_equal(status_of(get), 200);
	http_client_close(&c);
	settle();
	assert_true(http_next_ns(http, now_ns) == NS_NEVER);
}

static void
a_connection_that_is_gone_before_accept_is_passed_over(void **state)
{
	(void)state;
	fault_nth(&fault_accept4, 1, ECONNABORTED);
	assert_int_equal(status_of(get), 200);
	fault_off(&fault_accept4);
}

/* The library closes the socket; the stand-in cannot, so the test does. */
static void
a_connection_that_the_library_refuses_leaves_its_place(void **state)
{
	struct http_client c[HTTP_CONNECTIONS_PER_ADDRESS + 1];
	unsigned before;
	size_t i;
	int fd;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(c); i++)
		http_client_open(&c[i], port, 1);
	before = open_descriptors();
	fault_always(&fault_MHD_add_connection, ENOMEM);
	settle();
	assert_int_equal(fault_MHD_add_connection.calls, ARRAY_SIZE(c));
	fault_off(&fault_MHD_add_connection);
	assert_int_equal(stats.prom_dropped[STATS_PROM_DRAIN], 0);
	assert_true(http_next_ns(http, now_ns) == NS_NEVER);
	for (fd = 255; open_descriptors() > before; fd--)
		if (fcntl(fd, F_GETFD) >= 0)
			(void)close(fd);
	for (i = 0; i < ARRAY_SIZE(c); i++)
		http_client_close(&c[i]);
	assert_int_equal(status_of(get), 200);
}

static void
a_scrape_without_memory_ends_and_service_goes_on(void **state)
{
	struct fault *const faults[] = { &fault_calloc, &fault_malloc,
		&fault_MHD_create_response_from_callback,
		&fault_MHD_add_response_header, &fault_MHD_queue_response };
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(faults); i++) {
		fault_always(faults[i], ENOMEM);
		/* The client's own memory comes from calloc(), too. */
		if (i == 0)
			fault_nth(faults[i], 2, ENOMEM);
		assert_int_equal(status_of(get), 0);
		fault_off(faults[i]);
		assert_int_equal(status_of(get), 200);
	}
	fault_nth(&fault_MHD_add_response_header, 2, ENOMEM);
	assert_int_equal(status_of(get), 0);
	fault_off(&fault_MHD_add_response_header);
	fault_nth(&fault_set_options, 1, ENOMEM);
	assert_int_equal(status_of(head), 0);
	assert_int_equal(status_of(head), 200);
	fault_nth(&fault_MHD_create_response_from_buffer, 1, ENOMEM);
	assert_int_equal(status_of(health), 0);
	assert_int_equal(status_of(health), 200);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(opening_fails_without_a_trace),
		TEST(an_address_in_use_is_named),
		TEST(an_ipv6_address_is_named_in_brackets),
		TEST(without_descriptors_it_pauses_and_goes_on),
		TEST(a_connection_that_is_gone_before_accept_is_passed_over),
		TEST(a_connection_that_the_library_refuses_leaves_its_place),
		TEST(a_scrape_without_memory_ends_and_service_goes_on),
	};

	/* What goes wrong on purpose is not for the eyes of who runs this. */
	log_init("test", LOG_PLAIN, LOG_ERROR);
	http_close(NULL);
	return cmocka_run_group_tests_name("http_faults", tests, NULL, NULL);
}
