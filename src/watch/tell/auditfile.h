/*
 * The file of the audit trail: opened, continued, written, synced, rotated.
 *
 * Records are numbered and chained when they are added, and written in that
 * order whatever happens: what could not be written stays in the buffer, and a
 * record that was written in part is completed first. So the file holds whole
 * records but for the last one, and at any moment the process may be killed:
 * the next auditfile_open() cuts a torn record off and goes on from the one
 * before it. No record that was written and synced is lost by that.
 *
 * Rotation keeps five generations, PATH.1 to PATH.5. The new file is written
 * and synced as PATH.next, with a first record that names the last link of the
 * old one; then the generations move on, PATH becomes PATH.1, and PATH.next
 * becomes PATH. When that is interrupted, a file PATH or PATH.next is there
 * with all of the trail, and the next open or rotation goes on where the last
 * one stopped: no generation is dropped twice.
 *
 * For one thread at a time. Blocks on the disk. Allocates in open only.
 * Errors are -errno.
 */
#ifndef WATCH_TELL_AUDITFILE_H
#define WATCH_TELL_AUDITFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "audit/auditline.h"
#include "base/file.h"

enum { AUDITFILE_BUFFER_BYTES = 65536, AUDITFILE_GENERATIONS = 5 };

struct auditfile_options {
	const char *path;   /* copied */
	uint64_t max_bytes; /* rotated by the record that reaches it; 0 never */
	uint32_t pid;       /* in boot records */
};

/* What was found at the opening. */
struct auditfile_found {
	enum auditline_boot reason;
	uint64_t cut_bytes; /* of a torn record */
	uint32_t mode;      /* permission bits */
};

struct auditfile;

/*
 * Open or create by the rules of file.h, bring the end of the file into order,
 * add a boot record and sync it. 0, or an error with fault filled in; a file
 * that was there then holds all that it held.
 */
int auditfile_open(const struct auditfile_options *options, uint64_t wall_ms,
    struct auditfile **ret, struct auditfile_found *ret_found,
    struct file_fault *fault);

/* Close as it is: what has not been written is lost. Takes NULL. */
void auditfile_close(struct auditfile *f);

/* Whether a record may be added now: there is room in the buffer, and no
 * rotation is due, unless the last one failed. */
bool auditfile_has_room(const struct auditfile *f);

/* Add a record: text (auditrow.h) gets its number, n_lost numbers left out
 * before it, and its link. Only when there is room. */
void auditfile_add(struct auditfile *f, enum auditline_kind kind,
    const char *text, size_t n, uint64_t n_lost);

/* Write what was added, as far as it goes: 0 or an error. */
int auditfile_write(struct auditfile *f);

/* Write what was added and sync it to disk. 0, also when there is nothing to
 * sync, or an error. */
int auditfile_sync(struct auditfile *f);

/* Records added and not synced, and those of them that are not yet written. */
uint32_t auditfile_unsynced(const struct auditfile *f);
uint32_t auditfile_unwritten(const struct auditfile *f);

/* Whether auditfile_rotate() is called for: the limit is reached, or the last
 * rotation is not complete. */
bool auditfile_rotation_is_due(const struct auditfile *f);

/*
 * Write, sync and rotate. 0, or an error; the trail then goes on in the file
 * it was in, or, where only the last step failed, in PATH.next. Either way
 * records can be added, and this can be called again.
 */
int auditfile_rotate(struct auditfile *f, uint64_t wall_ms);

/* The last record: its number and its link. */
uint64_t auditfile_seq(const struct auditfile *f);
const struct auditline_link *auditfile_head(const struct auditfile *f);

#endif
