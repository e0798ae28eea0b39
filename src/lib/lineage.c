/*
 * Noticing a fork for the price of one read: a word that the kernel wipes in
 * the child (MADV_WIPEONFORK, Linux 4.14). It works for a raw clone(2) too.
 * Asking getpid(2) costs a system call for each beat, a seventh of a send(2).
 */
#include "lib/lib.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

static _Atomic(_Atomic uint32_t *) wiped_word;
static _Atomic uint32_t plain_word;
static atomic_bool has_fork_handler;
static _Atomic uint32_t last_generation;

/* One page, mapped at the first call. NULL where there is no such page. */
static _Atomic uint32_t *
map_wiped_word(void)
{
#ifdef MADV_WIPEONFORK
	_Atomic uint32_t *word, *theirs = NULL;
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	void *page;

	word = atomic_load(&wiped_word);
	if (word != NULL)
		return word;

	page = mmap(NULL, size, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return NULL;
	if (madvise(page, size, MADV_WIPEONFORK) < 0) {
		(void)munmap(page, size);
		return NULL;
	}

	word = page;
	if (!atomic_compare_exchange_strong(&wiped_word, &theirs, word)) {
		(void)munmap(page, size);
		return theirs; /* another thread was first */
	}
	return word;
#else
	return NULL;
#endif
}

static void
wipe_plain_word(void)
{
	atomic_store(&plain_word, 0);
}

int
varta__lineage_open(struct varta__lineage *ret)
{
	_Atomic uint32_t *word;
	int error;

	word = map_wiped_word();
	if (word != NULL) {
		ret->word = word;
		ret->compare_pid = false;
		return 0;
	}

	if (!atomic_load(&has_fork_handler)) {
		error = pthread_atfork(NULL, NULL, wipe_plain_word);
		if (error != 0)
			return -error;
		/* Two threads may both come here: it is then wiped twice. */
		atomic_store(&has_fork_handler, true);
	}
	ret->word = &plain_word;
	ret->compare_pid = true;
	return 0;
}

uint32_t
varta__lineage_generation(const struct varta__lineage *lineage)
{
	uint32_t current, next;

	current = atomic_load(lineage->word);
	if (current != 0)
		return current;

	do
		next = atomic_fetch_add(&last_generation, 1) + 1;
	while (next == 0);
	if (atomic_compare_exchange_strong(lineage->word, &current, next))
		return next;
	return current;
}
