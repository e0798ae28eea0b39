#include "watch/ports.h"

#include "base/fd.h"

static int
identify(void *ctx, uint32_t pid, struct identity *ret)
{
	(void)ctx;
	return process_identify(pid, ret);
}

static uint64_t
start_ticks(void *ctx, uint32_t pid)
{
	(void)ctx;
	return process_start_ticks(pid);
}

static void
name(void *ctx, uint32_t pid, char *ret, size_t size)
{
	(void)ctx;
	process_name(pid, ret, size);
}

static void
exe(void *ctx, uint32_t pid, char *ret, size_t size)
{
	(void)ctx;
	process_exe(pid, ret, size);
}

static void
cgroup(void *ctx, uint32_t pid, char *ret, size_t size)
{
	(void)ctx;
	process_cgroup(pid, ret, size);
}

static struct exit_info
exit_info(void *ctx, int pidfd)
{
	(void)ctx;
	return process_exit_info(pidfd);
}

static int
watch(void *ctx, int pidfd, uint64_t token)
{
	return process_set_add(ctx, pidfd, token);
}

static void
unwatch(void *ctx, int pidfd)
{
	process_set_remove(ctx, pidfd);
}

static void
close_pidfd(void *ctx, int pidfd)
{
	(void)ctx;
	fd_close(&pidfd);
}

struct lives_host
ports_host(struct process_set *set)
{
	return (struct lives_host){
		.identify = identify,
		.start_ticks = start_ticks,
		.name = name,
		.exe = exe,
		.cgroup = cgroup,
		.exit_info = exit_info,
		.watch = watch,
		.unwatch = unwatch,
		.close_pidfd = close_pidfd,
		.ctx = set,
		.tells_exits = process_exit_info_is_available(),
	};
}

size_t
ports_told(void *ctx, struct process_told *ret, size_t max)
{
	return process_set_take(ctx, ret, max);
}
