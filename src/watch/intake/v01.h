/*
 * Frames of version 1 of the protocol (vlp(7), "version 1"): 32 bytes as well,
 * with a payload of 64 bits where version 2 has 32 and a checksum. Taken only
 * from senders whom the kernel names, where the operator has asked for it.
 */
#ifndef WATCH_INTAKE_V01_H
#define WATCH_INTAKE_V01_H

#include <stdbool.h>
#include <stdint.h>

#include <varta/frame.h>

/* True when the 32 bytes at data say that they are such a frame. */
bool v01_is(const uint8_t data[static VARTA_FRAME_BYTES]);

/*
 * Decode one: 0, or the code that version 2 has for what is wrong, checked in
 * the order of its decoder. What version 2 refuses for its meaning (a stall, a
 * reserved pid, timestamp or nonce) is refused here, too, so that nothing
 * behind it has to know two kinds of frame. Of the payload the low 32 bits are
 * kept. ret is untouched on error.
 */
int v01_decode(
    const uint8_t data[static VARTA_FRAME_BYTES], struct varta_frame *ret);

#endif
