/*
 * varta audit: look into the audit trail of recovery. "verify" follows its
 * chain through all files and says where it breaks.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>
#include <sodium/core.h>

#include "audit/auditverify.h"
#include "base/text.h"
#include "base/util.h"
#include "tool/tool.h"
#include "tool/trail.h"

#define WHO "varta audit"

enum {
	FINDINGS_MAX = 100 /* told one by one; all are counted */
};

enum { OPT_QUIET, OPT_JSON, OPT_HELP };

static const struct opts_entry options[] = {
	[OPT_QUIET] = { "quiet", NULL, "print nothing; the exit code tells" },
	[OPT_JSON] = { "json", NULL, "print one JSON object" },
	[OPT_HELP] = { "help", NULL, "show this help" },
	{ NULL, NULL, NULL },
};

struct request {
	bool quiet;
	bool json;
	bool help;
	char **names;
	size_t n_names;
};

struct run {
	const struct request *request;
	struct trail trail;
	uint64_t n_told;
	json_t *findings;   /* with --json */
	const char *failed; /* the file that could not be read */
	int error;
};

/* ---- arguments ---------------------------------------------------------- */

static bool
parse_options(int argc, char **argv, struct request *rq)
{
	const char *value = NULL;
	int which;

	while (
	    (which = opts_next(options, WHO, argc, argv, &value)) != OPTS_END) {
		switch (which) {
		case OPT_QUIET:
			rq->quiet = true;
			break;
		case OPT_JSON:
			rq->json = true;
			break;
		case OPT_HELP:
			rq->help = true;
			break;
		default:
			return false;
		}
	}
	return true;
}

static bool
parse(int argc, char **argv, struct request *rq)
{
	if (!parse_options(argc, argv, rq))
		return false;
	if (rq->help)
		return true;
	if (optind == argc || strcmp(argv[optind], "verify") != 0) {
		fputs(WHO ": say what to do: verify\n", stderr);
		return false;
	}
	optind++;
	if (!parse_options(argc, argv, rq))
		return false;
	if (rq->help)
		return true;
	if (optind == argc) {
		fputs(WHO ": verify needs a file\n", stderr);
		return false;
	}
	if (rq->quiet && rq->json) {
		fputs(WHO ": --quiet and --json cannot be used together\n",
		    stderr);
		return false;
	}
	rq->names = argv + optind;
	rq->n_names = (size_t)(argc - optind);
	return true;
}

/* ---- what is found ------------------------------------------------------ */

/* A file name need not be UTF-8, and JSON must. */
static json_t *
json_name(const char *name)
{
	char escaped[4 * PATH_MAX];
	json_t *text = json_string(name);

	if (text != NULL)
		return text;
	(void)text_escape(name, strlen(name), escaped, sizeof(escaped));
	return json_string(escaped);
}

static json_t *
json_number(uint64_t x)
{
	return json_integer((json_int_t)u64_min(x, INT64_MAX));
}

static void
note_json(struct run *run, const struct auditverify_finding *f)
{
	(void)json_array_append_new(run->findings,
	    json_pack("{s:o, s:o, s:b, s:s, s:s, s:o}", "file",
		json_name(run->trail.files[f->file].name), "line",
		json_number(f->line), "break", auditverify_is_break(f->what),
		"what", auditverify_word(f->what), "text",
		auditverify_text(f->what), "n", json_number(f->n)));
}

static void
print(const struct run *run, const struct auditverify_finding *f)
{
	printf("%s:%" PRIu64 ": %s%s", run->trail.files[f->file].name, f->line,
	    auditverify_is_break(f->what) ? "broken: " : "",
	    auditverify_text(f->what));
	if (f->n > 0)
		printf(": %" PRIu64, f->n);
	putchar('\n');
}

static void
on_finding(void *ctx, const struct auditverify_finding *finding)
{
	struct run *run = ctx;

	if (run->request->quiet || run->n_told++ >= FINDINGS_MAX)
		return;
	if (run->request->json)
		note_json(run, finding);
	else
		print(run, finding);
}

static void
take(void *ctx, const char *bytes, size_t n)
{
	auditverify_take(ctx, bytes, n);
}

static void
verify(struct run *run, struct auditverify *v)
{
	size_t i;

	for (i = 0; i < run->trail.n && run->error == 0; i++) {
		auditverify_begin(v, i);
		run->error = trail_read(&run->trail, i, take, v);
		if (run->error < 0)
			run->failed = run->trail.files[i].name;
		else
			auditverify_end(v);
	}
}

/* ---- the result --------------------------------------------------------- */

static const char *
verdict(const struct run *run, const struct auditverify_sums *sums)
{
	if (run->error < 0)
		return "error";
	return sums->breaks == 0 ? "good" : "broken";
}

static void
print_count(const char *before, uint64_t n, const char *word, const char *rest)
{
	printf(
	    "%s%" PRIu64 " %s%s%s", before, n, word, n == 1 ? "" : "s", rest);
}

static void
print_sums(const struct run *run, const struct auditverify_sums *sums)
{
	char head[AUDITLINE_LINK_HEX + 1];

	if (run->n_told > FINDINGS_MAX)
		printf("and %" PRIu64 " more\n", run->n_told - FINDINGS_MAX);
	printf("%s: ", verdict(run, sums));
	print_count("", sums->records, "record", "");
	if (sums->records > 0)
		printf(" (%" PRIu64 " to %" PRIu64 ")", sums->first_seq,
		    sums->last_seq);
	print_count(" in ", run->trail.n, "file", "");
	print_count(", ", sums->boots, "start", "");
	if (sums->breaks > 0)
		print_count(", ", sums->breaks, "break", "");
	if (sums->dropped > 0)
		print_count(", ", sums->dropped, "record", " dropped");
	if (sums->unlinked > 0)
		print_count(", ", sums->unlinked, "record", " without a chain");
	auditline_link_format(&sums->head, head);
	printf("\nlast chain: %s\n", head);
}

static json_t *
make_json(const struct run *run, const struct auditverify_sums *sums)
{
	char head[AUDITLINE_LINK_HEX + 1];
	json_t *files = json_array();
	size_t i;

	auditline_link_format(&sums->head, head);
	for (i = 0; i < run->trail.n; i++)
		(void)json_array_append_new(
		    files, json_name(run->trail.files[i].name));
	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:s, s:o, s:o, s:o, "
			 "s:o, s:o, s:O, s:s?}",
	    "verdict", verdict(run, sums), "files", files, "records",
	    json_number(sums->records), "first_seq",
	    json_number(sums->first_seq), "last_seq",
	    json_number(sums->last_seq), "boots", json_number(sums->boots),
	    "last_chain", head, "gaps", json_number(sums->gaps), "dropped",
	    json_number(sums->dropped), "unchained",
	    json_number(sums->unlinked), "legacy_lines",
	    json_number(sums->legacy_lines), "breaks",
	    json_number(sums->breaks), "findings", run->findings, "error",
	    run->error < 0 ? strerror(-run->error) : NULL);
}

static int
print_json(const struct run *run, const struct auditverify_sums *sums)
{
	json_t *all = make_json(run, sums);
	int r = -1;

	if (all != NULL)
		r = json_dumpf(all, stdout, JSON_COMPACT);
	json_decref(all);
	if (r < 0)
		fputs(WHO ": out of memory\n", stderr);
	else
		putchar('\n');
	return r;
}

static enum tool_exit
audit(const struct request *rq)
{
	static struct auditverify v; /* a line of it is long */
	struct run run = { .request = rq };
	int r = 0;

	if (sodium_init() < 0) {
		fputs(WHO ": no random bytes from the kernel\n", stderr);
		return TOOL_FAILED;
	}
	run.findings = rq->json ? json_array() : NULL;
	run.error = rq->n_names == 1
			? trail_open(rq->names[0], &run.trail, &run.failed)
			: trail_open_named(
			      rq->names, rq->n_names, &run.trail, &run.failed);
	auditverify_init(&v, on_finding, &run);
	verify(&run, &v);

	if (run.error < 0)
		fprintf(stderr, WHO ": file '%s': %s\n", run.failed,
		    strerror(-run.error));
	if (rq->json)
		r = print_json(&run, &v.sums);
	else if (!rq->quiet && run.error == 0)
		print_sums(&run, &v.sums);
	json_decref(run.findings);
	trail_close(&run.trail);
	return run.error == 0 && r == 0 && v.sums.breaks == 0 ? TOOL_OK
							      : TOOL_FAILED;
}

static enum tool_exit
run(int argc, char **argv)
{
	struct request rq = { 0 };

	if (!parse(argc, argv, &rq)) {
		fputs("'varta help audit' shows all options\n", stderr);
		return TOOL_USAGE;
	}
	if (rq.help) {
		tool_print_help(&cmd_audit);
		return TOOL_OK;
	}
	return audit(&rq);
}

const struct tool_command cmd_audit = {
	.name = "audit",
	.summary = "verify the audit trail of recovery",
	.synopsis = "verify [OPTION ...] FILE [FILE ...]",
	.about =
	    "Follows the chain of an audit file and says where it breaks: with "
	    "one FILE\nthrough what it was rotated to as well, FILE.5 to "
	    "FILE.1; with several\nthrough these, the oldest first.\n",
	.options = options,
	.run = run,
};
