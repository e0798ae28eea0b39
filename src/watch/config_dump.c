#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>

#include "watch/config.h"
#include "watch/options_table.h"

/* A quoted string as the file takes it. */
static void
print_text(FILE *out, const char *text)
{
	(void)fputc('"', out);
	for (; *text != '\0'; text++) {
		if (*text == '"' || *text == '\\' || *text == '$')
			(void)fputc('\\', out);
		(void)fputc(*text, out);
	}
	(void)fputc('"', out);
}

static void
print_address(FILE *out, const struct options_address *address)
{
	const struct sockaddr_in *in4 =
	    (const struct sockaddr_in *)&address->storage;
	const struct sockaddr_in6 *in6 =
	    (const struct sockaddr_in6 *)&address->storage;
	char host[INET6_ADDRSTRLEN] = "";

	if (address->storage.ss_family == AF_INET) {
		(void)inet_ntop(AF_INET, &in4->sin_addr, host, sizeof(host));
		(void)fprintf(out, "\"%s:%u\"", host, ntohs(in4->sin_port));
	} else {
		(void)inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
		(void)fprintf(out, "\"[%s]:%u\"", host, ntohs(in6->sin6_port));
	}
}

static void
print_ip(FILE *out, const struct options_address *address)
{
	const struct sockaddr_in *in4 =
	    (const struct sockaddr_in *)&address->storage;
	const struct sockaddr_in6 *in6 =
	    (const struct sockaddr_in6 *)&address->storage;
	char host[INET6_ADDRSTRLEN] = "";

	if (address->storage.ss_family == AF_INET)
		(void)inet_ntop(AF_INET, &in4->sin_addr, host, sizeof(host));
	else
		(void)inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
	(void)fprintf(out, "\"%s\"", host);
}

static void
print_ids(FILE *out, const struct options_ids *ids)
{
	(void)fputc('{', out);
	for (size_t i = 0; i < ids->n; i++)
		(void)fprintf(
		    out, "%s\"%" PRIu32 "\"", i > 0 ? ", " : "", ids->ids[i]);
	(void)fputc('}', out);
}

static void
print_env(FILE *out, const struct options *o)
{
	(void)fputc('{', out);
	for (size_t i = 0; i < o->n_recovery_env; i++) {
		(void)fputs(i > 0 ? ", " : "", out);
		print_text(out, o->recovery_env[i]);
	}
	(void)fputc('}', out);
}

/* Whether there is anything to print: optional values that were not given are
 * left out, since the file has no word for them. */
static bool
is_given(const struct option_spec *spec, const void *field)
{
	switch (spec->type) {
	case OPTION_TEXT:
		return *(const char *const *)field != NULL;
	case OPTION_ADDRESS:
	case OPTION_IP:
		return ((const struct options_address *)field)->given;
	case OPTION_PORT:
		return ((const struct options_port *)field)->given;
	case OPTION_U32:
		return *(const uint32_t *)field >= spec->min;
	case OPTION_U64:
		return *(const uint64_t *)field >= spec->min &&
		       (*(const uint64_t *)field != 0 || spec->def != 0);
	case OPTION_UID:
	case OPTION_GID:
		return ((const struct options_ids *)field)->n > 0;
	case OPTION_ENV:
		return *(const char *const *)field != NULL;
	case OPTION_SWITCH:
	case OPTION_MODE:
	case OPTION_CHOICE:
		return true;
	case OPTION_REMOVED:
		break;
	}
	return false;
}

static void
print_value(FILE *out, const struct option_spec *spec, const struct options *o)
{
	const void *field = (const char *)o + spec->offset;

	switch (spec->type) {
	case OPTION_SWITCH:
		(void)fputs(*(const bool *)field ? "true" : "false", out);
		break;
	case OPTION_TEXT:
		print_text(out, *(const char *const *)field);
		break;
	case OPTION_U32:
		(void)fprintf(out, "%" PRIu32, *(const uint32_t *)field);
		break;
	case OPTION_U64:
		(void)fprintf(out, "%" PRIu64, *(const uint64_t *)field);
		break;
	case OPTION_MODE:
		(void)fprintf(out, "%04" PRIo32, *(const uint32_t *)field);
		break;
	case OPTION_CHOICE:
		(void)fputs(spec->choices[*(const int *)field], out);
		break;
	case OPTION_ADDRESS:
		print_address(out, field);
		break;
	case OPTION_IP:
		print_ip(out, field);
		break;
	case OPTION_PORT:
		(void)fprintf(out, "%" PRIu32,
		    ((const struct options_port *)field)->port);
		break;
	case OPTION_UID:
	case OPTION_GID:
		print_ids(out, field);
		break;
	case OPTION_ENV:
		print_env(out, o);
		break;
	case OPTION_REMOVED:
		break;
	}
}

static void
print_rule(FILE *out, const struct rule *rule)
{
	const struct {
		const char *key;
		const char *value;
	} texts[] = {
		{ "comm", rule->comm },
		{ "exe", rule->exe },
		{ "unit", rule->unit },
		{ "lane", rule->lane },
		{ "recovery_exec", rule->recovery_exec },
	};

	(void)fputs("agent ", out);
	print_text(out, rule->name);
	(void)fputs(" {\n", out);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (texts[i].value == NULL)
			continue;
		(void)fprintf(out, "\t%s = ", texts[i].key);
		print_text(out, texts[i].value);
		(void)fputc('\n', out);
	}
	if (rule->has_uid)
		(void)fprintf(out, "\tuser = \"%" PRIu32 "\"\n", rule->uid);
	if (rule->threshold_ms != 0)
		(void)fprintf(
		    out, "\tthreshold_ms = %" PRIu64 "\n", rule->threshold_ms);
	if (rule->grace_ms != 0)
		(void)fprintf(
		    out, "\tgrace_ms = %" PRIu64 "\n", rule->grace_ms);
	(void)fputs("}\n", out);
}

void
config_dump(
    const struct options *options, const struct config *config, FILE *out)
{
	for (size_t i = 0; i < options_table_count; i++) {
		const struct option_spec *spec = &options_table[i];

		if (spec->type == OPTION_REMOVED || spec->command_line_only ||
		    !is_given(spec, (const char *)options + spec->offset))
			continue;
		for (const char *c = spec->name; *c != '\0'; c++)
			(void)fputc(*c == '-' ? '_' : *c, out);
		(void)fputs(" = ", out);
		print_value(out, spec, options);
		(void)fputc('\n', out);
	}
	for (size_t i = 0; i < config->rules.n; i++)
		print_rule(out, &config->rules.list[i]);
}
