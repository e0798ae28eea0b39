/*
 * A process with four workers, each a thread with a lane of its own. After a
 * while one of them waits for a lock that nobody gives back; the process lives
 * on, and so do the other three.
 * usage: lanes [ADDRESS]
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include <varta/varta.h>

enum { WORKERS = 4, THRESHOLD_MS = 1000, JOBS_BEFORE_HANG = 30 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

struct worker {
	pthread_t thread;
	struct varta_lane *lane; /* NULL is fine: its beats do nothing */
	bool hangs;
};

static void *
work(void *arg)
{
	const struct worker *w = arg;
	int jobs;

	for (jobs = 0;; jobs++) {
		varta_lane_beat(w->lane);
		/* This is where a job would be done. A long one beats as it
		 * gets on. */
		(void)usleep(50000);
		if (w->hangs && jobs == JOBS_BEFORE_HANG)
			(void)pthread_mutex_lock(&lock);
		/* Nothing is owed while there is nothing to do. */
		varta_lane_idle(w->lane);
		(void)usleep(50000);
	}
	return NULL;
}

int
main(int argc, char *argv[])
{
	static struct worker workers[WORKERS] = { [2] = { .hangs = true } };
	struct varta_agent *agent;
	char name[32];
	int i, r;

	r = varta_open(argc > 1 ? argv[1] : NULL, &agent);
	if (r < 0) {
		(void)fprintf(stderr, "lanes: %s\n", varta_strerror(r));
		return 1;
	}
	(void)pthread_mutex_lock(&lock);
	for (i = 0; i < WORKERS; i++) {
		(void)snprintf(name, sizeof(name), "worker-%d", i + 1);
		r = varta_lane_open(
		    agent, name, THRESHOLD_MS, &workers[i].lane);
		if (r < 0)
			(void)fprintf(
			    stderr, "lanes: %s: %s\n", name, varta_strerror(r));
		if (pthread_create(
			&workers[i].thread, NULL, work, &workers[i]) != 0)
			return 1;
	}
	/* The process beats for itself, which also finds an observer that was
	 * restarted. */
	for (;;) {
		(void)varta_beat(agent, VARTA_OK, 0);
		(void)usleep(200000);
	}
}
