/*
 * A listening TCP socket: bound by us and not by the HTTP library, so that an
 * error names its cause and every accepted connection is counted.
 */
#ifndef WATCH_TELL_LISTENER_H
#define WATCH_TELL_LISTENER_H

#include <sys/socket.h>

enum {
	LISTENER_BACKLOG = 64,
	/* What the kernel keeps for a client that does not read. */
	LISTENER_SEND_BYTES = 262144,
	LISTENER_NAME_BYTES = 64 /* "[IPv6 address]:port" */
};

/*
 * Bind and listen; non-blocking, close-on-exec, address reused. name is then
 * the address as bound, port 0 resolved: "127.0.0.1:9100", "[::1]:9100".
 *
 * The descriptor, the caller's to close, or -errno; name is then the address
 * that was asked for.
 */
int listener_open(const struct sockaddr *address, socklen_t address_len,
    char name[static LISTENER_NAME_BYTES]);

#endif
