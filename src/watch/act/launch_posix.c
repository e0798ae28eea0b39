/* Wherever there is no better way. Keeps nothing: the launcher is NULL. */
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <unistd.h>

#include "watch/act/launch.h"

#ifdef VARTA_HAVE_ADDCLOSEFROM
static int
close_from_3(posix_spawn_file_actions_t *actions)
{
	return posix_spawn_file_actions_addclosefrom_np(actions, 3);
}
#else
/* All of ours are close-on-exec. */
static int
close_from_3(posix_spawn_file_actions_t *actions)
{
	(void)actions;
	return 0;
}
#endif

/* The functions of posix_spawn(3) return the error itself. */
static int
set_actions(posix_spawn_file_actions_t *actions, const int output[2])
{
	int r;

	r = posix_spawn_file_actions_addopen(
	    actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(
		    actions, output[0], STDOUT_FILENO);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(
		    actions, output[1], STDERR_FILENO);
	if (r == 0)
		r = close_from_3(actions);
	return -r;
}

static int
set_attributes(posix_spawnattr_t *attr)
{
	sigset_t none, all;
	int r;

	(void)sigemptyset(&none);
	(void)sigfillset(&all);
	(void)sigdelset(&all, SIGKILL);
	(void)sigdelset(&all, SIGSTOP);
	r = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETPGROUP |
					       POSIX_SPAWN_SETSIGDEF |
					       POSIX_SPAWN_SETSIGMASK);
	if (r == 0)
		r = posix_spawnattr_setpgroup(attr, 0);
	if (r == 0)
		r = posix_spawnattr_setsigdefault(attr, &all);
	if (r == 0)
		r = posix_spawnattr_setsigmask(attr, &none);
	return -r;
}

int
launcher_new(struct launcher **ret)
{
	*ret = NULL;
	return 0;
}

void
launcher_free(struct launcher *l)
{
	(void)l;
}

int
launcher_run(struct launcher *l, const char *program, char *const argv[],
    char *const envp[], const int output[2], pid_t *ret_pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int r;

	(void)l;
	r = -posix_spawn_file_actions_init(&actions);
	if (r < 0)
		return r;
	r = -posix_spawnattr_init(&attr);
	if (r < 0)
		goto destroy_actions;
	r = set_actions(&actions, output);
	if (r == 0)
		r = set_attributes(&attr);
	if (r == 0)
		r = -posix_spawn(ret_pid, program, &actions, &attr, argv, envp);
	(void)posix_spawnattr_destroy(&attr);

destroy_actions:
	(void)posix_spawn_file_actions_destroy(&actions);
	return r;
}
