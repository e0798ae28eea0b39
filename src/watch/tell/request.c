#include "watch/tell/request.h"

#include <string.h>
#include <strings.h>

/* What is looked at in the fields. */
struct seen {
	unsigned n_hosts;
	unsigned n_lengths;
	bool has_odd_name;
};

const char *
request_path(const char *target)
{
	static const char scheme[] = "http://";
	const char *host = target + sizeof(scheme) - 1;

	if (strncasecmp(target, scheme, sizeof(scheme) - 1) != 0 ||
	    *host == '/')
		return target;
	return host + strcspn(host, "/");
}

static enum MHD_Result
look_at(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
	struct seen *seen = cls;

	(void)kind;
	(void)value;
	if (strpbrk(name, " \t") != NULL)
		seen->has_odd_name = true;
	else if (strcasecmp(name, MHD_HTTP_HEADER_HOST) == 0)
		seen->n_hosts++;
	else if (strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0)
		seen->n_lengths++;
	return MHD_YES;
}

bool
request_is_good(struct MHD_Connection *connection, const char *version)
{
	const bool is_old = strcmp(version, MHD_HTTP_VERSION_1_0) == 0;
	struct seen seen = { 0 };

	(void)MHD_get_connection_values(
	    connection, MHD_HEADER_KIND, look_at, &seen);
	return !seen.has_odd_name && seen.n_lengths <= 1 &&
	       (seen.n_hosts == 1 || (seen.n_hosts == 0 && is_old));
}

bool
request_has_body(struct MHD_Connection *connection)
{
	const char *length = MHD_lookup_connection_value(
	    connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
	const char *coding = MHD_lookup_connection_value(
	    connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_TRANSFER_ENCODING);

	return coding != NULL ||
	       (length != NULL && strspn(length, "0") != strlen(length));
}

size_t
request_unescape(void *cls, struct MHD_Connection *connection, char *text)
{
	(void)cls;
	(void)connection;
	return strstr(text, "%00") != NULL ? strlen(text)
					   : MHD_http_unescape(text);
}
