/*
 * Who sent a datagram, as the kernel tells: one file for each family of
 * systems, chosen by the build. Reads control data, makes one socket option,
 * and decides nothing.
 */
#ifndef WATCH_INTAKE_CREDENTIALS_H
#define WATCH_INTAKE_CREDENTIALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "watch/intake/cmsg.h"
#include "watch/intake/intake.h"

enum {
	/* Room for the sender, a security label and a few descriptors; what
	 * does not fit is cut off by the kernel and shows. */
	CREDENTIALS_CONTROL_BYTES = 256
};

/* False where the kernel names nobody, so that the mode of the socket file
 * alone says who may send. */
bool credentials_attested(void);

/* Have the kernel name the sender of each datagram on fd. 0 or -errno. */
int credentials_enable(int fd);

/*
 * From now on the kernel takes no descriptors along to fd: who sends any has an
 * error (Linux 6.16). Elsewhere they come in, and have to be closed, for which
 * one of a file system in user space can make us wait.
 */
void credentials_refuse_descriptors(int fd);

/*
 * The case of nearly every datagram: control data that is exactly one record
 * naming the sender (or, where nobody is named, none at all). Fills in pid,
 * uid, gid and DATAGRAM_HAS_CREDENTIALS.
 *
 * Returns false, and leaves *ret as it was, when it is anything else.
 */
bool credentials_take_plain(
    const uint8_t *control, size_t n, struct datagram *ret);

/* The same from one record of a walk; all other records are passed over. Of
 * several the last one counts. */
void credentials_take_record(
    const struct cmsg_record *record, struct datagram *ret);

/* Does the record hold descriptors that are now open in this process? */
bool credentials_is_descriptors(const struct cmsg_record *record);

#endif
