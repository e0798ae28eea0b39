#include "watch/tell/words.h"

#include <signal.h>
#include <stddef.h>

#include <varta/error.h>

#include "base/util.h"
#include "watch/event.h"

const char *
words_status(uint8_t status)
{
	static const char *const words[AGENT_STATUS_COUNT] = {
		[AGENT_OK] = "ok",
		[AGENT_DEGRADED] = "degraded",
		[AGENT_CRITICAL] = "critical",
		[AGENT_STALLED] = "stall",
	};

	return status < AGENT_STATUS_COUNT ? words[status] : "-";
}

const char *
words_origin(uint8_t origin)
{
	static const char *const words[ORIGIN_COUNT] = {
		[ORIGIN_NETWORK_UNVERIFIED] = "network_unverified",
		[ORIGIN_SOCKET_MODE_ONLY] = "socket_mode_only",
		[ORIGIN_OPERATOR_ATTESTED] = "operator_attested",
		[ORIGIN_KERNEL_ATTESTED] = "kernel_attested",
	};

	return origin < ORIGIN_COUNT ? words[origin] : "-";
}

const char *
words_error(int error)
{
	return error == 0 ? "unknown" : varta_strerror(error);
}

const char *
words_signal(int signal)
{
	static const struct {
		int number;
		const char *name;
	} names[] = {
		{ SIGHUP, "SIGHUP" },
		{ SIGINT, "SIGINT" },
		{ SIGQUIT, "SIGQUIT" },
		{ SIGILL, "SIGILL" },
		{ SIGTRAP, "SIGTRAP" },
		{ SIGABRT, "SIGABRT" },
		{ SIGBUS, "SIGBUS" },
		{ SIGFPE, "SIGFPE" },
		{ SIGKILL, "SIGKILL" },
		{ SIGUSR1, "SIGUSR1" },
		{ SIGSEGV, "SIGSEGV" },
		{ SIGUSR2, "SIGUSR2" },
		{ SIGPIPE, "SIGPIPE" },
		{ SIGALRM, "SIGALRM" },
		{ SIGTERM, "SIGTERM" },
		{ SIGXCPU, "SIGXCPU" },
		{ SIGXFSZ, "SIGXFSZ" },
		{ SIGSYS, "SIGSYS" },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].number == signal)
			return names[i].name;
	return NULL;
}
