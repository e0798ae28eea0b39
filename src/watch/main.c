/*
 * varta-watch: command line and exit codes. 0: a clean end, --help,
 * --version, --check; 1: could not start or run, or print what was asked for;
 * 2: the command line.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/text.h"
#include "varta/version.h"
#include "watch/setup.h"
#include "watch/watch.h"

enum { EXIT_CONFIGURATION = 2 };

/* A reader that is gone and a file that may not grow are errors of the write
 * that met them. */
static void
leave_errors_to_writes(void)
{
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN);
}

static int
run(int argc, char *const argv[], struct setup *setup)
{
	struct options_fault fault;
	struct watch *w = NULL;
	int r = setup_read(setup, &fault);

	if (r < 0)
		log_error("%s", fault.text);
	if (r < 0 || setup->options.check) {
		setup_free(setup);
		if (r == 0)
			(void)puts("varta-watch: the options are good");
		return r;
	}
	r = watch_open(argc, argv, setup, &w);
	if (r == 0)
		r = watch_run(w);
	watch_close(w);
	return r;
}

/* One line, whatever was given to us. */
static void
print_fault(const struct options_fault *fault)
{
	char line[4 * sizeof(fault->text)];

	(void)text_escape(fault->text, strlen(fault->text), line, sizeof(line));
	(void)fprintf(stderr,
	    "varta-watch: %s\n"
	    "varta-watch: see 'varta-watch --help'\n",
	    line);
}

/* What was asked for is all that was asked for: a cut text is a failure. */
static int
end_of_text(void)
{
	if (fflush(stdout) == 0 && ferror(stdout) == 0)
		return EXIT_SUCCESS;
	(void)fprintf(
	    stderr, "varta-watch: standard output: %s\n", strerror(errno));
	return EXIT_FAILURE;
}

int
main(int argc, char *argv[])
{
	struct options_fault fault;
	struct setup *setup;
	int r;

	if (fd_fill_standard() < 0)
		return EXIT_FAILURE;
	leave_errors_to_writes();
	r = setup_new(argc, argv, &setup, &fault);
	if (r < 0) {
		print_fault(&fault);
		return r == -ENOMEM ? EXIT_FAILURE : EXIT_CONFIGURATION;
	}
	if (setup->options.help)
		options_print_help(stdout);
	else if (setup->options.version)
		(void)printf("varta-watch %s\n", VARTA_VERSION);
	else if (setup->options.dump_config)
		config_dump(&setup->options, &setup->config, stdout);
	else {
		log_init("varta-watch",
		    (enum log_format)setup->options.log_format,
		    (enum log_level)setup->options.log_level);
		r = run(argc, argv, setup);
		return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
	}
	setup_free(setup);
	return end_of_text();
}
