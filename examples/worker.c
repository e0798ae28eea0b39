/*
 * A worker as many are: a loop with a name, that does some work and says so.
 * usage: worker NAME [ADDRESS]. "crash" on its standard input makes it crash.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <varta/varta.h>

enum { WORK_MS = 100 };

int
main(int argc, char *argv[])
{
	struct pollfd commands = { .fd = STDIN_FILENO, .events = POLLIN };
	const char *address = argc > 2 ? argv[2] : NULL;
	struct varta_agent *agent;
	char command[32];
	int r;

	if (argc < 2) {
		(void)fputs("usage: worker NAME [ADDRESS]\n", stderr);
		return 2;
	}
	(void)prctl(PR_SET_NAME, argv[1]);
	(void)varta_crash_handler_install(address);
	r = varta_open(address, &agent);
	if (r < 0) {
		(void)fprintf(
		    stderr, "worker %s: %s\n", argv[1], varta_strerror(r));
		return 1;
	}
	for (uint32_t done = 0;; done++) {
		ssize_t n = 0;

		/* This is where real work would be. */
		if (poll(&commands, 1, WORK_MS) > 0)
			n = read(STDIN_FILENO, command, sizeof(command));
		if (n >= 5 && memcmp(command, "crash", 5) == 0)
			abort();
		if (n == 0 && commands.revents != 0)
			commands.fd = -1; /* nobody commands us any more */
		/* It is progress that beats, not a timer beside it. */
		(void)varta_beat(agent, VARTA_OK, done);
	}
}
