/*
 * Error codes of libvarta.
 *
 * Functions that return int give 0 or a positive value on success and a
 * negative code on failure: -1 to -4095 is -errno of the system, -5001 and
 * below is one of enum varta_error. Numbers are never reused or changed.
 */
#ifndef VARTA_ERROR_H
#define VARTA_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif
#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

enum varta_error {
	/* A frame that may not be on the wire, in the order of the checks. */
	VARTA_ERR_BAD_MAGIC = -5001,
	VARTA_ERR_BAD_VERSION = -5002,
	VARTA_ERR_BAD_CRC = -5003,
	VARTA_ERR_BAD_STATUS = -5004,    /* above 3 */
	VARTA_ERR_STALL_ON_WIRE = -5005, /* 3: only an observer makes it */
	VARTA_ERR_BAD_PID = -5006,       /* 0 or 1 */
	VARTA_ERR_BAD_TIMESTAMP = -5007, /* UINT64_MAX */
	VARTA_ERR_BAD_NONCE = -5008,     /* terminal, but not critical */
	VARTA_ERR_BAD_LENGTH = -5009,    /* not VARTA_FRAME_BYTES */

	VARTA_ERR_INVALID_STATUS = -5010, /* not one of enum varta_status */
	VARTA_ERR_SHORT_WRITE = -5011,    /* the system took part of a frame */
	VARTA_ERR_CLOSED = -5012,         /* there is no agent */
	VARTA_ERR_ADDRESS = -5013,        /* an address of no known form */
	VARTA_ERR_UNSUPPORTED = -5014,    /* not supported by this version */
	VARTA_ERR_NO_CRASH_HANDLER = -5015, /* none has been installed */

	/* The host of a "udp:" address. */
	VARTA_ERR_HOST_UNKNOWN = -5016, /* no address has this name */
	VARTA_ERR_HOST_LATER = -5017,   /* no name server answers, now */

	VARTA_ERR_KEY = -5018, /* not one key of 64 hexadecimal digits */

	VARTA_ERR_LANE_NAME = -5019,     /* empty, or longer than 31 bytes */
	VARTA_ERR_LANE_THRESHOLD = -5020 /* below 10 ms */
};

/*
 * Text for any code that this library returns, without a newline; never NULL.
 * It is valid at least until the same thread asks again.
 */
const char *varta_strerror(int code);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif

#endif
