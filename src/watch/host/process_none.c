#include "watch/host/process.h"

#include <errno.h>

/* Nothing to keep, but a set that exists: callers need not ask. */
struct process_set {
	char unused;
};

int
process_identify(uint32_t pid, struct identity *ret)
{
	(void)pid;
	*ret = (struct identity){ .pidfd = -1 };
	return 0;
}

uint64_t
process_start_ticks(uint32_t pid)
{
	(void)pid;
	return 0;
}

uint32_t
process_pid_namespace(uint32_t pid)
{
	(void)pid;
	return 0;
}

void
process_name(uint32_t pid, char *ret, size_t size)
{
	(void)pid;
	(void)size;
	ret[0] = '\0';
}

void
process_exe(uint32_t pid, char *ret, size_t size)
{
	(void)pid;
	(void)size;
	ret[0] = '\0';
}

void
process_cgroup(uint32_t pid, char *ret, size_t size)
{
	(void)pid;
	(void)size;
	ret[0] = '\0';
}

uint32_t
process_pid_max(void)
{
	return UINT32_MAX;
}

struct exit_info
process_exit_info(int pidfd)
{
	(void)pidfd;
	return (struct exit_info){ .how = EXIT_HOW_UNKNOWN };
}

bool
process_exit_info_is_available(void)
{
	return false;
}

int
process_set_open(struct process_set **ret)
{
	static struct process_set nothing;

	*ret = &nothing;
	return 0;
}

void
process_set_close(struct process_set *s)
{
	(void)s;
}

int
process_set_fd(const struct process_set *s)
{
	(void)s;
	return -1;
}

int
process_set_add(struct process_set *s, int pidfd, uint64_t token)
{
	(void)s;
	(void)pidfd;
	(void)token;
	return -ENOTSUP;
}

void
process_set_remove(struct process_set *s, int pidfd)
{
	(void)s;
	(void)pidfd;
}

size_t
process_set_take(struct process_set *s, struct process_told *ret, size_t max)
{
	(void)s;
	(void)ret;
	(void)max;
	return 0;
}
