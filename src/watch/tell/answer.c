#include "watch/tell/answer.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "watch/tell/accept.h"
#include "watch/tell/request.h"

static const char methods_allowed[] = "GET, HEAD";

static const char *const types[] = {
	[METRICS_CLASSIC] = "text/plain; version=0.0.4; charset=utf-8",
	[METRICS_OPEN] =
	    "application/openmetrics-text; version=1.0.0; charset=utf-8",
};

/* A body under way. */
struct scrape {
	struct answer *answer;
	struct metrics_render *render;
	/* Output that waits because the library asked for less than a line. */
	size_t staged_at, n_staged;
	char staged[METRICS_PIECE_MIN];
};

static void
scrape_free(void *cls)
{
	struct scrape *s = cls;

	metrics_render_free(s->render);
	free(s);
}

/*
 * The library serves every connection that can take bytes before it comes
 * back, so the time of a pass is kept here: with many scrapes at once, most
 * get their next piece in a later pass.
 */
static bool
may_render(struct answer *a)
{
	if (a->made_piece &&
	    clock_now_ns(CLOCK_SOURCE_MONOTONIC) >= a->until_ns)
		return false;
	a->made_piece = true;
	return true;
}

/* The next piece; 0 means that there is none yet. */
static ssize_t
scrape_read(void *cls, uint64_t pos, char *out, size_t max)
{
	struct scrape *s = cls;
	bool done = false;
	size_t n;

	(void)pos;
	if (s->n_staged == 0 && !may_render(s->answer))
		return 0;
	if (s->n_staged == 0 && max >= METRICS_PIECE_MIN) {
		n = metrics_render(
		    s->render, out, max, ANSWER_AGENTS_A_PIECE, &done);
		return done ? MHD_CONTENT_READER_END_OF_STREAM : (ssize_t)n;
	}
	if (s->n_staged == 0) {
		s->staged_at = 0;
		s->n_staged = metrics_render(s->render, s->staged,
		    sizeof(s->staged), ANSWER_AGENTS_A_PIECE, &done);
		if (done)
			return MHD_CONTENT_READER_END_OF_STREAM;
	}
	n = s->n_staged < max ? s->n_staged : max;
	if (n > 0)
		memcpy(out, s->staged + s->staged_at, n);
	s->staged_at += n;
	s->n_staged -= n;
	return (ssize_t)n;
}

/*
 * NULL when memory is short. Without chunks the length of the body is told by
 * the end of the connection: for HEAD, because libmicrohttpd 0.9.75 sends the
 * last chunk even then.
 */
static struct MHD_Response *
scrape_response(struct answer *a, enum metrics_format format, bool chunked)
{
	struct MHD_Response *response;
	struct scrape *s;

	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return NULL;
	s->answer = a;
	s->render = metrics_render_new(&a->source, format, a->now_ns);
	if (s->render == NULL) {
		free(s);
		return NULL;
	}
	response = MHD_create_response_from_callback(
	    MHD_SIZE_UNKNOWN, ANSWER_BLOCK_BYTES, scrape_read, s, scrape_free);
	if (response == NULL) {
		scrape_free(s);
		return NULL;
	}
	if (!chunked &&
	    MHD_set_response_options(response,
		MHD_RF_HTTP_1_0_COMPATIBLE_STRICT, MHD_OPTION_END) != MHD_YES) {
		MHD_destroy_response(response);
		return NULL;
	}
	return response;
}

/* Takes the response, which may be NULL. MHD_NO ends the connection. */
static enum MHD_Result
send_take(struct MHD_Connection *connection, unsigned status,
    struct MHD_Response *response, const char *header, const char *value)
{
	enum MHD_Result r;

	if (response == NULL)
		return MHD_NO;
	r = MHD_add_response_header(
	    response, MHD_HTTP_HEADER_CONNECTION, "close");
	if (r == MHD_YES && header != NULL)
		r = MHD_add_response_header(response, header, value);
	if (r == MHD_YES)
		r = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return r;
}

static enum MHD_Result
send_text(struct MHD_Connection *connection, unsigned status, char *text,
    const char *header, const char *value)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(
	    strlen(text), text, MHD_RESPMEM_PERSISTENT);

	if (response != NULL &&
	    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
		"text/plain; charset=utf-8") != MHD_YES) {
		MHD_destroy_response(response);
		return MHD_NO;
	}
	return send_take(connection, status, response, header, value);
}

static bool
is_within_rate(const struct answer *a, struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info;
	bool within, evicted;

	info = MHD_get_connection_info(
	    connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	within = ratelimit_take(
	    a->limit, ratelimit_key_of(info->client_addr), a->now_ns, &evicted);
	if (!within)
		a->stats->prom_dropped[STATS_PROM_RATE_LIMIT]++;
	if (evicted)
		a->stats->prom_dropped[STATS_PROM_IP_TABLE_FULL]++;
	return within;
}

static bool
is_authorised(const struct answer *a, struct MHD_Connection *connection)
{
	const char *value;
	bool allowed;

	if (!a->has_token)
		return true;
	value = MHD_lookup_connection_value(
	    connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION);
	allowed =
	    value != NULL && auth_is_allowed(value, strlen(value), a->token);
	if (!allowed)
		a->stats->prom_auth_failures++;
	return allowed;
}

static enum MHD_Result
send_metrics(struct answer *a, struct MHD_Connection *connection, bool is_get)
{
	const enum metrics_format format =
	    accept_format(MHD_lookup_connection_value(
		connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT));

	return send_take(connection, MHD_HTTP_OK,
	    scrape_response(a, format, is_get), MHD_HTTP_HEADER_CONTENT_TYPE,
	    types[format]);
}

static enum MHD_Result
send_readiness(const struct answer *a, struct MHD_Connection *connection)
{
	static char ready[] = "ok\n", starting[] = "starting\n";
	static char late[] = "late: the observer itself could not run in time "
			     "within the last 10 s\n";
	const struct metrics_gauges *g = a->source.gauges;

	if (g->started && a->now_ns >= g->late_until_ns)
		return send_text(connection, MHD_HTTP_OK, ready, NULL, NULL);
	return send_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE,
	    g->started ? late : starting, NULL, NULL);
}

enum MHD_Result
answer_request(void *cls, struct MHD_Connection *connection, const char *url,
    const char *method, const char *version, const char *upload_data,
    size_t *upload_data_size, void **request)
{
	static char ok[] = "ok\n", no_path[] = "not found\n";
	static char no_method[] = "GET and HEAD only\n";
	static char bad[] = "bad request\n";
	static char no_body[] = "no request body, please\n";
	static char too_often[] = "too many requests\n";
	static char no_token[] = "token missing or wrong\n";
	struct answer *a = cls;
	const char *path;
	bool is_metrics, is_ready, is_get;

	(void)upload_data;
	(void)upload_data_size;
	(void)request;
	a->stats->prom_requests++;

	if (!is_within_rate(a, connection))
		return send_text(connection, MHD_HTTP_TOO_MANY_REQUESTS,
		    too_often, MHD_HTTP_HEADER_RETRY_AFTER, "1");
	if (!request_is_good(connection, version))
		return send_text(
		    connection, MHD_HTTP_BAD_REQUEST, bad, NULL, NULL);
	path = request_path(url);
	is_metrics = strcmp(path, "/metrics") == 0;
	is_ready = strcmp(path, "/readyz") == 0;
	if (!is_metrics && !is_ready && strcmp(path, "/healthz") != 0)
		return send_text(
		    connection, MHD_HTTP_NOT_FOUND, no_path, NULL, NULL);
	is_get = strcmp(method, MHD_HTTP_METHOD_GET) == 0;
	if (!is_get && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		return send_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED,
		    no_method, MHD_HTTP_HEADER_ALLOW, methods_allowed);
	if (request_has_body(connection))
		return send_text(connection, MHD_HTTP_CONTENT_TOO_LARGE,
		    no_body, NULL, NULL);
	if (is_ready)
		return send_readiness(a, connection);
	if (!is_metrics)
		return send_text(connection, MHD_HTTP_OK, ok, NULL, NULL);
	if (!is_authorised(a, connection))
		return send_text(connection, MHD_HTTP_UNAUTHORIZED, no_token,
		    MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer realm=\"varta\"");
	return send_metrics(a, connection, is_get);
}
