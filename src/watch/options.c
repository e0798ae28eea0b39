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
#include "watch/config.h"
#include "watch/options_table.h"

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
make_long_options(struct option longs[CONFIG_ROWS_MAX])
{
	assert(options_table_count < CONFIG_ROWS_MAX);
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
    struct config *config, struct options *o, struct options_fault *fault)
{
	const struct option_spec *spec;
	const char *token;
	char label[80];
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
		return options_fault_set(fault, "'%s': unknown option", token);
	if (spec->type == OPTION_REMOVED)
		return options_fault_set(fault,
		    "--%s: was removed, use %s instead", spec->name,
		    spec->help);
	c = getopt_long(argc, argv, "+:h", longs, &row);
	if (c == ':')
		return options_fault_set(
		    fault, "--%s: needs a value %s", spec->name, spec->value);
	if (c != 0)
		return options_fault_set(
		    fault, "--%s: takes no value", spec->name);
	(void)snprintf(label, sizeof(label), "--%s", spec->name);
	if (options_set(spec, label, optarg, o, fault) < 0)
		return -EINVAL;
	config_overrule(config, spec);
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

/* The file that a row names, or NULL. */
static const char *
file_of(const struct options *o, const struct option_spec *spec)
{
	const void *field = (const char *)o + spec->offset;

	return spec->file == OPTION_NO_FILE ? NULL
					    : *(const char *const *)field;
}

/* A file that is written has one purpose. */
static int
check_files(const struct options *o, struct options_fault *fault)
{
	for (size_t i = 0; i < options_table_count; i++) {
		const struct option_spec *one = &options_table[i];
		const char *path = file_of(o, one);

		for (size_t j = 0; j < i && path != NULL; j++) {
			const struct option_spec *other = &options_table[j];
			const char *taken = file_of(o, other);

			if (taken != NULL && strcmp(path, taken) == 0 &&
			    (one->file == OPTION_FILE_WRITTEN ||
				other->file == OPTION_FILE_WRITTEN))
				return options_fault_set(fault,
				    "--%s: '%s': is --%s", one->name, path,
				    other->name);
		}
	}
	return 0;
}

static bool
a_section_has_a_command(const struct config *config)
{
	for (size_t i = 0; i < config->rules.n; i++)
		if (config->rules.list[i].recovery_exec != NULL)
			return true;
	return false;
}

static int
check_recovery(const struct options *o, const struct config *config,
    struct options_fault *fault)
{
	bool has_command =
	    options_has_recovery(o) || a_section_has_a_command(config);

	if ((o->recovery_exec != NULL) + (o->recovery_exec_file != NULL) +
		(o->recovery_cmd != NULL) >
	    1)
		return options_fault_set(fault,
		    "--recovery-exec, --recovery-exec-file and --recovery-cmd "
		    "exclude each other");
	if (!has_command && o->recovery_capture_stdio)
		return options_fault_set(fault,
		    "--recovery-capture-stdio: needs --recovery-exec or "
		    "--recovery-exec-file");
	if (!has_command && o->recovery_on_exit)
		return options_fault_set(fault,
		    "--recovery-on-exit: needs --recovery-exec or "
		    "--recovery-exec-file");
	return 0;
}

bool
options_has_keys(const struct options *o)
{
	return o->key_file != NULL || o->accepted_key_file != NULL ||
	       o->master_key_file != NULL;
}

void
options_udp_address(const struct options *o, struct options_address *ret)
{
	struct sockaddr_in *in4 = (struct sockaddr_in *)&ret->storage;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&ret->storage;
	uint16_t port = htons((uint16_t)o->udp_port.port);

	*ret = o->udp_bind_addr;
	if (!ret->given) {
		in4->sin_family = AF_INET;
		in4->sin_addr.s_addr =
		    htonl(options_has_keys(o) ? INADDR_LOOPBACK : INADDR_ANY);
		ret->len = sizeof(*in4);
	}
	if (ret->storage.ss_family == AF_INET)
		in4->sin_port = port;
	else
		in6->sin6_port = port;
}

/* What the operator must have said about the network. Reference: command line
 * page 1.4. */
static int
check_udp(const struct options *o, struct options_fault *fault)
{
	bool sealed = options_has_keys(o);

	if (!o->udp_port.given)
		return 0;
	if (!sealed && !o->accept_plaintext_udp)
		return options_fault_set(fault,
		    "--udp-port: needs --key-file, --accepted-key-file or "
		    "--master-key-file for sealed beats, or "
		    "--i-accept-plaintext-udp");
	if (options_has_recovery(o) && sealed &&
	    !o->accept_recovery_on_secure_udp)
		return options_fault_set(fault,
		    "--udp-port: recovery on the word of the network needs "
		    "--secure-udp-i-accept-recovery-on-unauthenticated-"
		    "transport");
	if (options_has_recovery(o) && !sealed &&
	    !o->accept_recovery_on_plaintext_udp)
		return options_fault_set(fault,
		    "--udp-port: recovery on the word of the network needs "
		    "--plaintext-udp-i-accept-recovery-on-unauthenticated-"
		    "transport");
	if (sealed && o->udp_bind_addr.given &&
	    !options_address_is_loopback(&o->udp_bind_addr) &&
	    !o->accept_secure_udp_non_loopback)
		return options_fault_set(fault,
		    "--udp-bind-addr: a non-loopback address needs "
		    "--i-accept-secure-udp-non-loopback");
	return 0;
}

/* What only shows when all flags are known; the order is the reference's. */
static int
check_all(const struct options *o, const struct config *config,
    struct options_fault *fault)
{
	if (o->socket_path == NULL)
		return options_fault_set(fault, "--socket: is required");
	if (o->threshold_ms == 0)
		return options_fault_set(fault, "--threshold-ms: is required");
	if (o->prom_token_file != NULL && !o->prom_addr.given)
		return options_fault_set(
		    fault, "--prom-token-file: needs --prom-addr");
	if (check_files(o, fault) < 0)
		return -EINVAL;
	if (o->prom_addr.given && o->prom_token_file == NULL &&
	    !options_address_is_loopback(&o->prom_addr))
		return options_fault_set(fault,
		    "--prom-addr: an address outside this host needs "
		    "--prom-token-file");
	if (check_recovery(o, config, fault) < 0 || check_udp(o, fault) < 0)
		return -EINVAL;
	if (o->self_watchdog_secs == 1 && o->read_timeout_ms > 500)
		return options_fault_set(fault,
		    "--read-timeout-ms: '%" PRIu64 "': must be at most 500 "
		    "with --self-watchdog-secs 1",
		    o->read_timeout_ms);
	if (!clock_is_available((enum clock_source)o->clock_source))
		return options_fault_set(fault,
		    "--clock-source: '%s': this system has no such clock",
		    o->clock_source == CLOCK_SOURCE_BOOTTIME ? "boottime"
							     : "monotonic-raw");
	return 0;
}

/* All that stands in argv, over what ret holds already. */
static int
parse_arguments(int argc, char *const argv[], struct config *config,
    struct options *ret, struct options_fault *fault)
{
	struct option longs[CONFIG_ROWS_MAX];
	int r;

	make_long_options(longs);
	optind = 1;
	opterr = 0;
	do
		r = parse_next(argc, argv, longs, config, ret, fault);
	while (r > 0);
	return r;
}

int
options_parse(int argc, char *const argv[], struct config *config,
    struct options *ret, struct options_fault *fault)
{
	const char *file;
	int r;

	config_init(config);
	options_set_defaults(ret);
	r = parse_arguments(argc, argv, config, ret, fault);
	if (r < 0 || ret->help || ret->version)
		return r;
	file = ret->config_file;
	if (file != NULL) {
		/* The file first, then the flags over it. */
		options_set_defaults(ret);
		r = config_read(file, ret, config, fault);
		if (r == 0)
			r = parse_arguments(argc, argv, config, ret, fault);
		if (r < 0)
			return r;
	}
	r = check_all(ret, config, fault);
	if (r < 0)
		config_place(config, ret, fault);
	return r;
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
	case OPTION_IP:
	case OPTION_PORT:
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
		char flag[80];

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
