/*
 * The smallest agent: say that we are alive, ten times, and leave. Works with
 * or without an observer. usage: agent [ADDRESS]
 */
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <varta/varta.h>

int
main(int argc, char *argv[])
{
	const char *address = argc > 1 ? argv[1] : NULL;
	struct varta_agent *agent;
	uint32_t done;
	int r;

	r = varta_crash_handler_install(address);
	if (r < 0)
		(void)fprintf(
		    stderr, "agent: no crash handler: %s\n", varta_strerror(r));
	r = varta_open(address, &agent);
	if (r < 0) {
		(void)fprintf(stderr, "agent: %s\n", varta_strerror(r));
		return 1;
	}

	for (done = 0; done < 10; done++) {
		/* Real work would be here. Beat when some of it is done. */
		(void)usleep(100000);
		r = varta_beat(agent, VARTA_OK, done);
		(void)printf("%s\n", varta_outcome_text(r));
	}

	varta_close(agent);
	return 0;
}
