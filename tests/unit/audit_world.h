/*
 * What the tests of the audit file share: one trail in a folder of its own, on
 * a disk that can be full. Link with -Wl,--wrap=write.
 */
#ifndef UNIT_AUDIT_WORLD_H
#define UNIT_AUDIT_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "support/auditbook.h"
#include "watch/tell/auditfile.h"

/* Of the trail. */
extern const char *world_path;
extern struct auditfile *world_file; /* NULL: not open */
extern struct auditfile_found world_found;
extern struct auditbook_verdict world_verdict;

/* Bytes that the disk still takes, and writes that are interrupted first. */
extern size_t world_disk_bytes;
extern unsigned world_interrupts;

/* A new folder, and its end. */
int world_setup(void **state);
int world_teardown(void **state);

int world_try_open(uint64_t max_bytes);
void world_open(uint64_t max_bytes);
void world_close(void);

/* Add a refusal for this reason. */
void world_add(const char *reason, uint64_t n_lost);

/* PATH with a suffix; good until the call after the next one. */
const char *world_name(const char *suffix);
bool world_exists(const char *suffix);
void world_put(const char *suffix, const char *text);
void world_read(const char *suffix, char got[static 8192]);

/* Verify the trail through its files; world_assert_good(): it has no break,
 * and so many records. */
void world_verify(void);
void world_assert_good(uint64_t records);

#endif
