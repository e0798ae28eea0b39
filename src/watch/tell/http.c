#include "watch/tell/http.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include <microhttpd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/prng.h"
#include "base/util.h"
#include "watch/tell/answer.h"
#include "watch/tell/listener.h"
#include "watch/tell/places.h"
#include "watch/tell/ratelimit.h"
#include "watch/tell/request.h"
#include "watch/tell/words.h"

/* Of an address, or of a path with its NUL. */
enum { NAME_BYTES = sizeof(((struct sockaddr_un *)NULL)->sun_path) };

_Static_assert((int)NAME_BYTES >= (int)LISTENER_NAME_BYTES, "room for both");
_Static_assert((int)HTTP_CONNECTIONS == (int)PLACES, "one limit");
_Static_assert(
    (int)HTTP_CONNECTIONS_PER_ADDRESS == (int)PLACES_PER_ADDRESS, "one limit");
_Static_assert((int)HTTP_TOKEN_BYTES == (int)AUTH_TOKEN_BYTES, "one token");

struct http {
	struct MHD_Daemon *daemon;
	struct stats *stats;
	uint64_t scrape_budget_ns;
	int epoll_fd; /* of the listener and of the library's epoll */
	int listen_fd;
	const struct local *local; /* whose descriptor listen_fd is, or NULL */
	uint64_t accept_again_ns;  /* 0: accepting */
	struct answer answer;
	struct places places;
	char name[NAME_BYTES];
};

bool
http_is_available(void)
{
	return true;
}

static const char *
kind_of(const struct http *h)
{
	return h->local != NULL ? "control socket" : "metrics address";
}

/* The library sees the end of the connection and closes it. */
static void
cut(struct place *place)
{
	place->cut = true;
	(void)shutdown(place->fd, SHUT_RDWR);
}

static struct place *
place_of(struct http *h, struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(
	    connection, MHD_CONNECTION_INFO_CONNECTION_FD);

	return places_of(&h->places, info->connect_fd);
}

/* The library tells when it is done with a socket, just before closing it. */
static void
notify(void *cls, struct MHD_Connection *connection, void **socket_context,
    enum MHD_ConnectionNotificationCode what)
{
	struct place *place = place_of(cls, connection);

	(void)socket_context;
	if (what == MHD_CONNECTION_NOTIFY_CLOSED && place != NULL)
		places_free(place);
}

static enum MHD_Result
take_request(void *cls, struct MHD_Connection *connection, const char *url,
    const char *method, const char *version, const char *upload_data,
    size_t *upload_data_size, void **request)
{
	struct http *h = cls;
	struct place *place = place_of(h, connection);

	if (place != NULL)
		place->asked = true;
	return answer_request(&h->answer, connection, url, method, version,
	    upload_data, upload_data_size, request);
}

static int
watch_fd(struct http *h, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN };

	return epoll_ctl(h->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

static int
start_daemon(struct http *h)
{
	const union MHD_DaemonInfo *info;

	/* No time-out of the library: our deadline is the stricter one. */
	h->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET,
	    0, NULL, NULL, take_request, h, MHD_OPTION_CONNECTION_LIMIT,
	    (unsigned)HTTP_CONNECTIONS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
	    (size_t)HTTP_CONNECTION_BYTES, MHD_OPTION_NOTIFY_CONNECTION, notify,
	    h, MHD_OPTION_UNESCAPE_CALLBACK, request_unescape, NULL,
	    MHD_OPTION_END);
	if (h->daemon == NULL)
		return -ENOMEM;
	info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	return watch_fd(h, info->epoll_fd);
}

static int
make_limit(struct http *h, const struct http_options *options)
{
	struct ratelimit_options limit = {
		.per_s = options->rate_per_s,
		.burst = options->rate_burst,
	};
	void *mem;
	int r;

	r = prng_entropy(&limit.seed, sizeof(limit.seed));
	if (r < 0)
		return r;
	mem = malloc(ratelimit_size());
	if (mem == NULL)
		return -ENOMEM;
	h->answer.limit = ratelimit_init(mem, &limit);
	return 0;
}

static int
open_listener(struct http *h, const struct http_options *options)
{
	if (options->local == NULL)
		return listener_open(
		    options->address, options->address_len, h->name);
	h->local = options->local;
	(void)snprintf(h->name, sizeof(h->name), "%s", local_path(h->local));
	return local_fd(h->local);
}

static int
open_all(
    struct http *h, const struct http_options *options, const char **ret_what)
{
	int r;

	*ret_what = "cannot listen";
	r = open_listener(h, options);
	if (r < 0)
		return r;
	h->listen_fd = r;

	*ret_what = "cannot serve";
	h->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (h->epoll_fd < 0)
		return -errno;
	r = watch_fd(h, h->listen_fd);
	if (r == 0)
		r = make_limit(h, options);
	if (r == 0)
		r = start_daemon(h);
	return r;
}

int
http_open(const struct http_options *options,
    const struct metrics_source *source, struct stats *stats, struct http **ret,
    struct http_fault *fault)
{
	const char *what = "";
	struct http *h;
	int r;

	h = calloc(1, sizeof(*h));
	if (h == NULL) {
		(void)snprintf(fault->text, sizeof(fault->text), "HTTP: %s",
		    words_error(-ENOMEM));
		return -ENOMEM;
	}
	h->stats = stats;
	h->scrape_budget_ns = options->scrape_budget_ns;
	h->epoll_fd = -1;
	h->listen_fd = -1;
	/* A Unix socket has no addresses, and its peers are friends. */
	places_init(&h->places, options->local == NULL);
	h->answer.source = *source;
	h->answer.stats = stats;
	if (options->has_token)
		http_set_token(h, options->token);

	r = open_all(h, options, &what);
	if (r < 0) {
		(void)snprintf(fault->text, sizeof(fault->text),
		    "%s '%s': %s: %s", kind_of(h), h->name, what,
		    words_error(r));
		http_close(h);
		return r;
	}
	*ret = h;
	return 0;
}

void
http_close(struct http *h)
{
	if (h == NULL)
		return;
	if (h->daemon != NULL)
		MHD_stop_daemon(h->daemon);
	fd_close(&h->epoll_fd);
	if (h->local == NULL)
		fd_close(&h->listen_fd);
	free(h->answer.limit);
	explicit_bzero(h->answer.token, sizeof(h->answer.token));
	free(h);
}

void
http_set_token(struct http *h, const uint8_t token[static HTTP_TOKEN_BYTES])
{
	memcpy(h->answer.token, token, sizeof(h->answer.token));
	h->answer.has_token = true;
}

const char *
http_bound_address(const struct http *h)
{
	return h->name;
}

int
http_fd(const struct http *h)
{
	return h->epoll_fd;
}

/*
 * Look at the listener or do not: while there are no descriptors left, it
 * stays readable and would keep the loop awake.
 */
static void
set_accepting(struct http *h, bool accepting)
{
	struct epoll_event ev = { .events = accepting ? EPOLLIN : 0 };

	/* Cannot fail: the listener is registered, and MOD allocates nothing.
	 */
	(void)epoll_ctl(h->epoll_fd, EPOLL_CTL_MOD, h->listen_fd, &ev);
}

/*
 * A place for a connection, or NULL. Silent ones keep nobody out: when there is
 * no room, those who have asked meanwhile are answered, and then the one goes
 * that has been silent longest.
 */
static struct place *
make_place(
    struct http *h, int fd, struct ratelimit_key address, uint64_t now_ns)
{
	const uint64_t until_ns =
	    u64_add_sat(now_ns, HTTP_DEADLINE_MS * NS_PER_MS);
	struct place *place, *silent;

	place = places_take(&h->places, fd, address, until_ns);
	if (place != NULL)
		return place;
	(void)MHD_run(h->daemon);
	place = places_take(&h->places, fd, address, until_ns);
	if (place != NULL)
		return place;
	h->stats->prom_dropped[STATS_PROM_DRAIN]++;
	silent = places_silent(&h->places, address);
	if (silent == NULL)
		return NULL;
	cut(silent);
	(void)MHD_run(h->daemon);
	return places_take(&h->places, fd, address, until_ns);
}

/* Take one connection. 0, or -errno when there is none to take. */
static int
accept_one(struct http *h, uint64_t now_ns)
{
	union {
		struct sockaddr any;
		struct sockaddr_storage storage;
	} peer = { .any.sa_family = AF_UNSPEC };
	socklen_t len = sizeof(peer);
	struct place *place;
	int fd;

	fd = accept4(
	    h->listen_fd, &peer.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
		return -errno;

	if (h->local != NULL && !local_peer_is_ours(fd)) {
		h->stats->control_refused++;
		fd_close(&fd);
		return 0;
	}
	place = make_place(h, fd, ratelimit_key_of(&peer.any), now_ns);
	if (place == NULL) {
		fd_close(&fd);
		return 0;
	}
	/* Owns the socket from here on, and closes it when this fails. */
	if (MHD_add_connection(h->daemon, fd, &peer.any, len) != MHD_YES)
		places_free(place);
	return 0;
}

static void
accept_new(struct http *h, uint64_t now_ns)
{
	int i, r;

	if (h->accept_again_ns != 0) {
		if (now_ns < h->accept_again_ns)
			return;
		h->accept_again_ns = 0;
		set_accepting(h, true);
	}
	for (i = 0; i < HTTP_ACCEPTS_A_PASS; i++) {
		r = accept_one(h, now_ns);
		if (r == -EAGAIN)
			return;
		/* Those of one connection that was there and is no more pass;
		 * all else would come again at once. */
		if (r < 0 && r != -ECONNABORTED && r != -EINTR &&
		    r != -EPROTO && r != -EPERM) {
			log_limited(LOG_KIND_PROM_SERVE, now_ns, LOG_ERROR,
			    &(struct log_fields){ .error = words_error(r) },
			    "%s '%s': cannot accept", kind_of(h), h->name);
			h->accept_again_ns = u64_add_sat(
			    now_ns, HTTP_ACCEPT_PAUSE_MS * NS_PER_MS);
			set_accepting(h, false);
			return;
		}
	}
}

/* True when the library has work that no descriptor will tell of. */
static bool
has_work(const struct http *h)
{
	MHD_UNSIGNED_LONG_LONG wait_ms;

	return MHD_get_timeout(h->daemon, &wait_ms) == MHD_YES && wait_ms == 0;
}

void
http_serve(struct http *h, uint64_t now_ns)
{
	const uint64_t begin_ns = clock_now_ns(CLOCK_SOURCE_MONOTONIC);
	struct place *overdue;
	uint64_t spent_ns;

	h->answer.now_ns = now_ns;
	h->answer.until_ns = u64_add_sat(begin_ns, HTTP_PASS_US * NS_PER_US);
	h->answer.made_piece = false;
	while ((overdue = places_overdue(&h->places, now_ns)) != NULL)
		cut(overdue);
	accept_new(h, now_ns);
	do {
		(void)MHD_run(h->daemon);
		spent_ns =
		    u64_sub_sat(clock_now_ns(CLOCK_SOURCE_MONOTONIC), begin_ns);
	} while (has_work(h) && spent_ns < HTTP_PASS_US * NS_PER_US);

	if (has_work(h))
		h->stats->scrape_budget_exhausted++;
	if (spent_ns > h->scrape_budget_ns)
		h->stats->scrape_budget_exceeded++;
}

uint64_t
http_next_ns(const struct http *h, uint64_t now_ns)
{
	uint64_t next_ns = places_next_ns(&h->places);

	if (has_work(h))
		return now_ns;
	return h->accept_again_ns != 0 ? u64_min(next_ns, h->accept_again_ns)
				       : next_ns;
}
