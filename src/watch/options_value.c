#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "base/util.h"
#include "watch/options.h"
#include "watch/options_table.h"

int
options_fault_set(struct options_fault *fault, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(fault->text, sizeof(fault->text), format, args);
	va_end(args);
	return -EINVAL;
}

/* The field of a row; its type is the row's. */
static void *
field_of(struct options *o, const struct option_spec *spec)
{
	return (char *)o + spec->offset;
}

void
options_set_defaults(struct options *o)
{
	*o = (struct options){ 0 };
	for (size_t i = 0; i < options_table_count; i++) {
		const struct option_spec *spec = &options_table[i];

		switch (spec->type) {
		case OPTION_U32:
		case OPTION_MODE:
			*(uint32_t *)field_of(o, spec) = (uint32_t)spec->def;
			break;
		case OPTION_U64:
			*(uint64_t *)field_of(o, spec) = spec->def;
			break;
		case OPTION_CHOICE:
			*(int *)field_of(o, spec) = (int)spec->def;
			break;
		case OPTION_SWITCH:
		case OPTION_TEXT:
		case OPTION_ADDRESS:
		case OPTION_IP:
		case OPTION_PORT:
		case OPTION_UID:
		case OPTION_GID:
		case OPTION_ENV:
		case OPTION_REMOVED:
			break;
		}
	}
}

static int
parse_switch(
    const char *label, const char *text, bool *ret, struct options_fault *fault)
{
	static const char *const words[] = { "false", "true", "no", "yes",
		"off", "on" };

	if (text == NULL) {
		*ret = true;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strcmp(words[i], text) == 0) {
			*ret = i % 2 == 1;
			return 0;
		}
	return options_fault_set(
	    fault, "%s: '%s': must be true or false", label, text);
}

static int
parse_number(const struct option_spec *spec, const char *label,
    const char *text, uint64_t *ret, struct options_fault *fault)
{
	uint64_t width_max = spec->type == OPTION_U32 ? UINT32_MAX : UINT64_MAX;
	uint64_t x;
	int r = text_to_u64(text, width_max, &x);

	if (r == -ERANGE)
		return options_fault_set(fault,
		    "%s: '%s': too large for a whole number of %d bits", label,
		    text, spec->type == OPTION_U32 ? 32 : 64);
	if (r < 0)
		return options_fault_set(
		    fault, "%s: '%s': not a whole number", label, text);
	if (x < spec->min)
		return options_fault_set(fault,
		    "%s: '%s': must be at least %" PRIu64, label, text,
		    spec->min);
	if (x > spec->max)
		return options_fault_set(fault,
		    "%s: '%s': must be at most %" PRIu64, label, text,
		    spec->max);
	*ret = x;
	return 0;
}

static int
parse_choice(const struct option_spec *spec, const char *label,
    const char *text, int *ret, struct options_fault *fault)
{
	char all[96] = "";
	size_t len = 0;

	for (int i = 0; spec->choices[i] != NULL; i++) {
		int n;

		if (strcmp(spec->choices[i], text) == 0) {
			*ret = i;
			return 0;
		}
		n = snprintf(all + len, sizeof(all) - len, "%s%s",
		    i == 0 ? "" : ", ", spec->choices[i]);
		if (n > 0)
			len = (size_t)u64_min(len + (size_t)n, sizeof(all) - 1);
	}
	return options_fault_set(
	    fault, "%s: '%s': must be one of %s", label, text, all);
}

/* "127.0.0.1:9100" or "[::1]:9100", numbers only. */
static int
parse_address(const char *label, const char *text, struct options_address *ret,
    struct options_fault *fault)
{
	struct options_address address = { .given = true };
	struct sockaddr_in *in4 = (struct sockaddr_in *)&address.storage;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&address.storage;
	const char *colon = strrchr(text, ':');
	char host[INET6_ADDRSTRLEN + 2];
	size_t host_len = colon != NULL ? (size_t)(colon - text) : 0;
	uint32_t port;

	if (colon == NULL || host_len >= sizeof(host) ||
	    text_to_u32(colon + 1, UINT16_MAX, &port) < 0 || colon[1] == '+')
		goto bad;
	memcpy(host, text, host_len);
	host[host_len] = '\0';
	if (host[0] == '[' && host_len > 2 && host[host_len - 1] == ']') {
		host[host_len - 1] = '\0';
		if (inet_pton(AF_INET6, host + 1, &in6->sin6_addr) != 1)
			goto bad;
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons((uint16_t)port);
		address.len = sizeof(*in6);
	} else {
		if (inet_pton(AF_INET, host, &in4->sin_addr) != 1)
			goto bad;
		in4->sin_family = AF_INET;
		in4->sin_port = htons((uint16_t)port);
		address.len = sizeof(*in4);
	}
	*ret = address;
	return 0;

bad:
	return options_fault_set(fault,
	    "%s: '%s': must be a numeric IP:PORT, as 127.0.0.1:9100 or "
	    "[::1]:9100",
	    label, text);
}

/* "127.0.0.1" or "::1", numbers only. */
static int
parse_ip(const char *label, const char *text, struct options_address *ret,
    struct options_fault *fault)
{
	struct options_address address = { .given = true };
	struct sockaddr_in *in4 = (struct sockaddr_in *)&address.storage;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&address.storage;

	if (inet_pton(AF_INET, text, &in4->sin_addr) == 1) {
		in4->sin_family = AF_INET;
		address.len = sizeof(*in4);
	} else if (inet_pton(AF_INET6, text, &in6->sin6_addr) == 1) {
		in6->sin6_family = AF_INET6;
		address.len = sizeof(*in6);
	} else {
		return options_fault_set(fault,
		    "%s: '%s': must be a numeric address, as 127.0.0.1 or ::1",
		    label, text);
	}
	*ret = address;
	return 0;
}

static int
parse_port(const char *label, const char *text, struct options_port *ret,
    struct options_fault *fault)
{
	if (text_to_u32(text, UINT16_MAX, &ret->port) < 0)
		return options_fault_set(fault,
		    "%s: '%s': must be a port number of at most 65535", label,
		    text);
	ret->given = true;
	return 0;
}

/* A user or group, by number or by name. */
static int
parse_id(const struct option_spec *spec, const char *label, const char *text,
    struct options_ids *ids, struct options_fault *fault)
{
	uint32_t id = 0;

	if (text_to_u32(text, UINT32_MAX - 1, &id) < 0) {
		if (spec->type == OPTION_UID) {
			const struct passwd *pw = getpwnam(text);

			if (pw == NULL)
				return options_fault_set(fault,
				    "%s: '%s': no such user", label, text);
			id = (uint32_t)pw->pw_uid;
		} else {
			const struct group *gr = getgrnam(text);

			if (gr == NULL)
				return options_fault_set(fault,
				    "%s: '%s': no such group", label, text);
			id = (uint32_t)gr->gr_gid;
		}
	}
	if (ids->n == OPTIONS_IDS_MAX)
		return options_fault_set(fault,
		    "%s: '%s': given more than %d times", label, text,
		    OPTIONS_IDS_MAX);
	ids->ids[ids->n++] = id;
	return 0;
}

static int
parse_env(const char *label, const char *text, struct options *o,
    struct options_fault *fault)
{
	const char *equals = strchr(text, '=');

	if (equals == NULL || equals == text)
		return options_fault_set(
		    fault, "%s: '%s': must be KEY=VALUE", label, text);
	if (o->n_recovery_env == OPTIONS_ENV_MAX)
		return options_fault_set(fault,
		    "%s: '%s': given more than %d times", label, text,
		    OPTIONS_ENV_MAX);
	o->recovery_env[o->n_recovery_env++] = text;
	return 0;
}

int
options_set(const struct option_spec *spec, const char *label, const char *text,
    struct options *o, struct options_fault *fault)
{
	void *field = field_of(o, spec);
	uint64_t x = 0;
	int r = 0;

	switch (spec->type) {
	case OPTION_SWITCH:
		r = parse_switch(label, text, field, fault);
		break;
	case OPTION_TEXT:
		if (text[0] == '\0')
			return options_fault_set(
			    fault, "%s: '': must not be empty", label);
		*(const char **)field = text;
		break;
	case OPTION_U32:
		r = parse_number(spec, label, text, &x, fault);
		if (r == 0)
			*(uint32_t *)field = (uint32_t)x;
		break;
	case OPTION_U64:
		r = parse_number(spec, label, text, &x, fault);
		if (r == 0)
			*(uint64_t *)field = x;
		break;
	case OPTION_MODE:
		if (text_to_mode(text, field) < 0)
			return options_fault_set(fault,
			    "%s: '%s': must be an octal mode of at most 0777",
			    label, text);
		break;
	case OPTION_CHOICE:
		r = parse_choice(spec, label, text, field, fault);
		break;
	case OPTION_ADDRESS:
		r = parse_address(label, text, field, fault);
		break;
	case OPTION_IP:
		r = parse_ip(label, text, field, fault);
		break;
	case OPTION_PORT:
		r = parse_port(label, text, field, fault);
		break;
	case OPTION_UID:
	case OPTION_GID:
		r = parse_id(spec, label, text, field, fault);
		break;
	case OPTION_ENV:
		r = parse_env(label, text, o, fault);
		break;
	case OPTION_REMOVED:
		break;
	}
	if (r == 0 &&
	    spec->offset == offsetof(struct options, shutdown_after_secs))
		o->shutdown_after_given = true;
	return r;
}
