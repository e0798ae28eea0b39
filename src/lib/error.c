/*
 * Codes to text. The system's own texts are asked for in the C locale where
 * the C library offers that, which also makes the call thread-safe.
 */
#include <varta/error.h>

#include <string.h>

#include <varta/varta.h>

#include "base/util.h"

enum { ERRNO_HIGHEST = 4095 };

/* Index 0 is code -5001. */
static const char *const own_texts[] = {
	"not a Varta frame (magic)",
	"frame of another protocol version",
	"frame is damaged (CRC)",
	"frame has an unknown status",
	"frame has the status stall, which only an observer makes",
	"process number 0 or 1 is not allowed",
	"frame has the reserved timestamp",
	"terminal nonce without the status critical",
	"not the length of a frame",
	"unknown status",
	"the system took only part of a frame",
	"no agent is open",
	"address is not /PATH, unix:/PATH or udp:HOST:PORT",
	"address is of a kind that this version does not support",
	"no crash handler is installed",
	"host name is not known",
	"host name cannot be looked up at present",
	"not one key of 64 hexadecimal digits",
	"name of a lane is not 1 to 31 bytes long",
	"threshold of a lane is below 10 ms",
};

static const char *
system_text(int error)
{
	const char *text;

#ifdef HAVE_STRERRORDESC_NP
	text = strerrordesc_np(error);
#else
	text = strerror(error);
#endif
	return text != NULL ? text : "unknown error";
}

const char *
varta_strerror(int code)
{
	if (code == 0)
		return "success";
	if (code > 0)
		return varta_outcome_text(code);
	if (code >= -ERRNO_HIGHEST)
		return system_text(-code);
	if (code <= VARTA_ERR_BAD_MAGIC && code >= VARTA_ERR_LANE_THRESHOLD)
		return own_texts[VARTA_ERR_BAD_MAGIC - code];
	return "unknown error";
}

const char *
varta_outcome_text(int code)
{
	static const char *const texts[] = {
		"sent",
		"dropped: kernel queue full",
		"dropped: no observer",
		"dropped: peer gone",
		"dropped: storage full",
	};

	if (code < 0)
		return "failed";
	if ((size_t)code < ARRAY_SIZE(texts))
		return texts[code];
	return "unknown outcome";
}
