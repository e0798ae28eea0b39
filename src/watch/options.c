#include "watch/options.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdarg.h>
#include <string.h>

#include "base/text.h"
#include "base/util.h"
#include "watch/options_table.h"

enum { OPTIONS_ROWS_MAX = 96 };

static int fault_set(struct options_fault *fault, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static int
fault_set(struct options_fault *fault, const char *format, ...)
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

static void
set_defaults(struct options *o)
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
		case OPTION_UID:
		case OPTION_GID:
		case OPTION_ENV:
		case OPTION_REMOVED:
			break;
		}
	}
}

static int
parse_number(const struct option_spec *spec, const char *text, uint64_t *ret,
    struct options_fault *fault)
{
	uint64_t width_max = spec->type == OPTION_U32 ? UINT32_MAX : UINT64_MAX;
	uint64_t x;
	int r = text_to_u64(text, width_max, &x);

	if (r == -ERANGE)
		return fault_set(fault,
		    "--%s: '%s': too large for a whole number of %d bits",
		    spec->name, text, spec->type == OPTION_U32 ? 32 : 64);
	if (r < 0)
		return fault_set(
		    fault, "--%s: '%s': not a whole number", spec->name, text);
	if (x < spec->min)
		return fault_set(fault, "--%s: '%s': must be at least %" PRIu64,
		    spec->name, text, spec->min);
	if (x > spec->max)
		return fault_set(fault, "--%s: '%s': must be at most %" PRIu64,
		    spec->name, text, spec->max);
	*ret = x;
	return 0;
}

static int
parse_choice(const struct option_spec *spec, const char *text, int *ret,
    struct options_fault *fault)
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
	return fault_set(
	    fault, "--%s: '%s': must be one of %s", spec->name, text, all);
}

/* "127.0.0.1:9100" or "[::1]:9100", numbers only. */
static int
parse_address(const struct option_spec *spec, const char *text,
    struct options_address *ret, struct options_fault *fault)
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
	return fault_set(fault,
	    "--%s: '%s': must be a numeric IP:PORT, as 127.0.0.1:9100 or "
	    "[::1]:9100",
	    spec->name, text);
}

/* A user or group, by number or by name. */
static int
parse_id(const struct option_spec *spec, const char *text,
    struct options_ids *ids, struct options_fault *fault)
{
	uint32_t id = 0;

	if (text_to_u32(text, UINT32_MAX - 1, &id) < 0) {
		if (spec->type == OPTION_UID) {
			const struct passwd *pw = getpwnam(text);

			if (pw == NULL)
				return fault_set(fault,
				    "--%s: '%s': no such user", spec->name,
				    text);
			id = (uint32_t)pw->pw_uid;
		} else {
			const struct group *gr = getgrnam(text);

			if (gr == NULL)
				return fault_set(fault,
				    "--%s: '%s': no such group", spec->name,
				    text);
			id = (uint32_t)gr->gr_gid;
		}
	}
	if (ids->n == OPTIONS_IDS_MAX)
		return fault_set(fault, "--%s: '%s': given more than %d times",
		    spec->name, text, OPTIONS_IDS_MAX);
	ids->ids[ids->n++] = id;
	return 0;
}

static int
parse_env(const struct option_spec *spec, const char *text, struct options *o,
    struct options_fault *fault)
{
	const char *equals = strchr(text, '=');

	if (equals == NULL || equals == text)
		return fault_set(
		    fault, "--%s: '%s': must be KEY=VALUE", spec->name, text);
	if (o->n_recovery_env == OPTIONS_ENV_MAX)
		return fault_set(fault, "--%s: '%s': given more than %d times",
		    spec->name, text, OPTIONS_ENV_MAX);
	o->recovery_env[o->n_recovery_env++] = text;
	return 0;
}

static int
set_value(const struct option_spec *spec, const char *text, struct options *o,
    struct options_fault *fault)
{
	void *field = field_of(o, spec);
	uint64_t x = 0;
	int r = 0;

	switch (spec->type) {
	case OPTION_SWITCH:
		*(bool *)field = true;
		break;
	case OPTION_TEXT:
		if (text[0] == '\0')
			return fault_set(
			    fault, "--%s: '': must not be empty", spec->name);
		*(const char **)field = text;
		break;
	case OPTION_U32:
		r = parse_number(spec, text, &x, fault);
		if (r == 0)
			*(uint32_t *)field = (uint32_t)x;
		break;
	case OPTION_U64:
		r = parse_number(spec, text, &x, fault);
		if (r == 0)
			*(uint64_t *)field = x;
		break;
	case OPTION_MODE:
		if (text_to_mode(text, field) < 0)
			return fault_set(fault,
			    "--%s: '%s': must be an octal mode of at most 0777",
			    spec->name, text);
		break;
	case OPTION_CHOICE:
		r = parse_choice(spec, text, field, fault);
		break;
	case OPTION_ADDRESS:
		r = parse_address(spec, text, field, fault);
		break;
	case OPTION_UID:
	case OPTION_GID:
		r = parse_id(spec, text, field, fault);
		break;
	case OPTION_ENV:
		r = parse_env(spec, text, o, fault);
		break;
	case OPTION_REMOVED:
		break;
	}
	if (r == 0 &&
	    spec->offset == offsetof(struct options, shutdown_after_secs))
		o->shutdown_after_given = true;
	return r;
}

/* The row that a token names: exactly, up to an '='. */
static const struct option_spec *
find_row(const char *token)
{
	size_t len;

	if (strncmp(token, "--", 2) != 0)
		return NULL;
	len = strcspn(token + 2, "=");
	for (size_t i = 0; i < options_table_count; i++) {
		const char *name = options_table[i].name;

		if (strlen(name) == len && strncmp(name, token + 2, len) == 0)
			return &options_table[i];
	}
	return NULL;
}

static void
make_long_options(struct option longs[OPTIONS_ROWS_MAX])
{
	assert(options_table_count < OPTIONS_ROWS_MAX);
	for (size_t i = 0; i < options_table_count; i++)
		longs[i] = (struct option){
			.name = options_table[i].name,
			.has_arg = options_table[i].value != NULL
				       ? required_argument
				       : no_argument,
		};
	longs[options_table_count] = (struct option){ 0 };
}

/* One flag at argv[optind]. 1: go on; 0: all read; negative: fault. */
static int
parse_next(int argc, char *const argv[], const struct option *longs,
    struct options *o, struct options_fault *fault)
{
	const struct option_spec *spec;
	const char *token;
	int c, row = 0;

	if (optind >= argc)
		return 0;
	token = argv[optind];
	if (strcmp(token, "-h") == 0) {
		o->help = true;
		return 0;
	}
	/* getopt_long() would take abbreviations; a script that uses one
	 * would break with the next flag, so they are refused here. */
	spec = find_row(token);
	if (spec == NULL)
		return fault_set(fault, "'%s': unknown option", token);
	if (spec->type == OPTION_REMOVED)
		return fault_set(fault, "--%s: was removed, use %s instead",
		    spec->name, spec->help);
	c = getopt_long(argc, argv, "+:h", longs, &row);
	if (c == ':')
		return fault_set(
		    fault, "--%s: needs a value %s", spec->name, spec->value);
	if (c != 0)
		return fault_set(fault, "--%s: takes no value", spec->name);
	if (set_value(spec, optarg, o, fault) < 0)
		return -EINVAL;
	return !o->help && !o->version;
}

bool
options_has_recovery(const struct options *o)
{
	return o->recovery_exec != NULL || o->recovery_exec_file != NULL ||
	       o->recovery_cmd != NULL;
}

bool
options_address_is_loopback(const struct options_address *address)
{
	const struct sockaddr_in *in4 =
	    (const struct sockaddr_in *)&address->storage;
	const struct sockaddr_in6 *in6 =
	    (const struct sockaddr_in6 *)&address->storage;

	if (address->storage.ss_family == AF_INET)
		return ntohl(in4->sin_addr.s_addr) >> 24 == 127;
	return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}

static int
check_recovery(const struct options *o, struct options_fault *fault)
{
	if ((o->recovery_exec != NULL) + (o->recovery_exec_file != NULL) +
		(o->recovery_cmd != NULL) >
	    1)
		return fault_set(fault,
		    "--recovery-exec, --recovery-exec-file and --recovery-cmd "
		    "exclude each other");
	if (!options_has_recovery(o) && o->recovery_capture_stdio)
		return fault_set(fault,
		    "--recovery-capture-stdio: needs --recovery-exec or "
		    "--recovery-exec-file");
	if (!options_has_recovery(o) && o->recovery_on_exit)
		return fault_set(fault,
		    "--recovery-on-exit: needs --recovery-exec or "
		    "--recovery-exec-file");
	return 0;
}

/* What only shows when all flags are known; the order is the reference's. */
static int
check_all(const struct options *o, struct options_fault *fault)
{
	if (o->socket_path == NULL)
		return fault_set(fault, "--socket: is required");
	if (o->threshold_ms == 0)
		return fault_set(fault, "--threshold-ms: is required");
	if (o->prom_token_file != NULL && !o->prom_addr.given)
		return fault_set(fault, "--prom-token-file: needs --prom-addr");
	if (o->prom_addr.given && o->prom_token_file == NULL &&
	    !options_address_is_loopback(&o->prom_addr))
		return fault_set(fault,
		    "--prom-addr: an address outside this host needs "
		    "--prom-token-file");
	if (check_recovery(o, fault) < 0)
		return -EINVAL;
	if (!clock_is_available((enum clock_source)o->clock_source))
		return fault_set(fault,
		    "--clock-source: '%s': this system has no such clock",
		    o->clock_source == CLOCK_SOURCE_BOOTTIME ? "boottime"
							     : "monotonic-raw");
	return 0;
}

int
options_parse(int argc, char *const argv[], struct options *ret,
    struct options_fault *fault)
{
	struct option longs[OPTIONS_ROWS_MAX];
	int r;

	set_defaults(ret);
	make_long_options(longs);
	optind = 1;
	opterr = 0;
	do
		r = parse_next(argc, argv, longs, ret, fault);
	while (r > 0);
	if (r < 0 || ret->help || ret->version)
		return r;
	return check_all(ret, fault);
}

static void
print_default(FILE *out, const struct option_spec *spec)
{
	switch (spec->type) {
	case OPTION_U32:
	case OPTION_U64:
		if (spec->def != 0)
			(void)fprintf(out, " [%" PRIu64 "]", spec->def);
		break;
	case OPTION_MODE:
		(void)fprintf(out, " [%04" PRIo64 "]", spec->def);
		break;
	case OPTION_CHOICE:
		(void)fputs(": ", out);
		for (size_t i = 0; spec->choices[i] != NULL; i++)
			(void)fprintf(
			    out, "%s%s", i == 0 ? "" : ", ", spec->choices[i]);
		(void)fprintf(out, " [%s]", spec->choices[spec->def]);
		break;
	case OPTION_SWITCH:
	case OPTION_TEXT:
	case OPTION_ADDRESS:
	case OPTION_UID:
	case OPTION_GID:
	case OPTION_ENV:
	case OPTION_REMOVED:
		break;
	}
}

void
options_print_help(FILE *out)
{
	(void)fputs(
	    "usage: varta-watch --socket PATH --threshold-ms MS [option ...]\n"
	    "Watch local processes by their beats; say who fell silent or "
	    "ended, and act.\n",
	    out);
	for (size_t i = 0; i < options_table_count; i++) {
		const struct option_spec *spec = &options_table[i];
		char flag[48];

		if (spec->type == OPTION_REMOVED)
			continue;
		if (spec->group != NULL)
			(void)fprintf(out, "\n%s:\n", spec->group);
		(void)snprintf(flag, sizeof(flag), "--%s %s", spec->name,
		    spec->value != NULL ? spec->value : "");
		(void)fprintf(out, "  %-34s %s", flag, spec->help);
		print_default(out, spec);
		(void)fputc('\n', out);
	}
	(void)fputs("\nvarta-watch(8) tells all about them.\n", out);
}
