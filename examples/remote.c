/*
 * An agent of another host: says that it is alive five times a second, sealed
 * with a shared key, until it is told to end.
 * usage: remote udp:HOST:PORT KEY_FILE
 */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include <varta/secure.h>
#include <varta/varta.h>

static volatile sig_atomic_t ending;

static void
end(int signal)
{
	(void)signal;
	ending = 1;
}

int
main(int argc, char *argv[])
{
	struct varta_agent *agent;
	int r;

	if (argc != 3) {
		(void)fputs("usage: remote udp:HOST:PORT KEY_FILE\n", stderr);
		return 2;
	}
	(void)signal(SIGTERM, end);
	r = varta_secure_open_shared_file(argv[1], argv[2], &agent);
	if (r < 0) {
		(void)fprintf(stderr, "remote: %s\n", varta_strerror(r));
		return 1;
	}
	while (!ending) {
		(void)usleep(200000);
		/* A network may lose a beat or two; the threshold of the
		 * observer leaves room for that. */
		(void)varta_beat(agent, VARTA_OK, 0);
	}
	varta_close(agent);
	return 0;
}
