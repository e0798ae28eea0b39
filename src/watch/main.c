/*
 * varta-watch: command line and exit codes. 0: a clean end, --help,
 * --version, --check; 1: could not start or run; 2: the command line.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "varta/version.h"
#include "watch/options.h"
#include "watch/watch.h"

enum { EXIT_CONFIGURATION = 2 };

static int
run(const struct options *options)
{
	struct watch_secrets secrets;
	struct watch *w = NULL;
	int r = watch_read_secrets(options, &secrets);

	if (r == 0 && options->check)
		(void)puts("varta-watch: the options are good");
	else if (r == 0)
		r = watch_open(options, &secrets, &w);
	if (w != NULL)
		r = watch_run(w);
	watch_close(w);
	watch_forget_secrets(&secrets);
	return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int
main(int argc, char *argv[])
{
	struct options options;
	struct options_fault fault;

	if (options_parse(argc, argv, &options, &fault) < 0) {
		(void)fprintf(stderr,
		    "varta-watch: %s\n"
		    "varta-watch: see 'varta-watch --help'\n",
		    fault.text);
		return EXIT_CONFIGURATION;
	}
	if (options.help) {
		options_print_help(stdout);
		return EXIT_SUCCESS;
	}
	if (options.version) {
		(void)printf("varta-watch %s\n", VARTA_VERSION);
		return EXIT_SUCCESS;
	}
	log_init("varta-watch", (enum log_format)options.log_format,
	    (enum log_level)options.log_level);
	return run(&options);
}
