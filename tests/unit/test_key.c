/*
 * Key files, and memory for secrets.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <varta/error.h>

#include "base/util.h"
#include "secure/secret.h"
#include "support/fault.h"
#include "support/tmpdir.h"

FAULT(void *, NULL, sodium_malloc, (size_t n), (n))
FAULT(int, -1, getentropy, (void *p, size_t n), (p, n))
FAULT(ssize_t, -1, read, (int fd, void *p, size_t n), (fd, p, n))

#define KEY_A "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define KEY_B "FFfeFDfcFBfaF9f8F7f6F5f4F3f2F1f0EFeeEDecEBeaE9e8E7e6E5e4E3e2E1e0"

struct scene {
	struct tmpdir dir;
	struct secret_keys *keys;
	struct file_fault fault;
};

static int
setup(void **state)
{
	static struct scene s;

	memset(&s, 0, sizeof(s));
	tmpdir_init(&s.dir);
	if (secret_init() < 0)
		return -1;
	s.keys = secret_new(sizeof(*s.keys));
	*state = &s;
	return s.keys == NULL ? -1 : 0;
}

static int
teardown(void **state)
{
	struct scene *s = *state;

	secret_free(s->keys);
	tmpdir_fini(&s->dir);
	return 0;
}

static int
read_bytes(struct scene *s, const char *text, size_t n, enum secret_use use)
{
	const char *path = tmpdir_path(&s->dir, "key");
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, n), n);
	(void)close(fd);
	return secret_read_keys(path, use, s->keys, &s->fault);
}

static int
read_text(struct scene *s, const char *text, enum secret_use use)
{
	return read_bytes(s, text, strlen(text), use);
}

static void
assert_refused(
    struct scene *s, const char *text, enum secret_use use, const char *why)
{
	static const struct secret_keys none;

	assert_int_equal(read_text(s, text, use), VARTA_ERR_KEY);
	assert_string_equal(s->fault.text, why);
	assert_memory_equal(s->keys, &none, sizeof(none));
}

static void
one_key_is_read_for_every_use(void **state)
{
	static const char *const texts[] = { KEY_A, KEY_A "\n", KEY_A "\r\n",
		"\n \t" KEY_A " \n\n" };
	struct scene *s = *state;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(texts); i++) {
		assert_int_equal(read_text(s, texts[i], SECRET_SHARED), 0);
		assert_int_equal(read_text(s, texts[i], SECRET_MASTER), 0);
		assert_int_equal(read_text(s, texts[i], SECRET_ANY), 0);
		assert_int_equal(s->keys->n_keys, 1);
		assert_int_equal(s->keys->keys[0][0], 0);
		assert_int_equal(s->keys->keys[0][31], 0x1f);
	}
}

static void
comments_and_several_keys_have_their_uses(void **state)
{
	struct scene *s = *state;

	assert_int_equal(
	    read_text(s, "# ours\n\n" KEY_B "\n", SECRET_SHARED), 0);
	assert_int_equal(s->keys->n_keys, 1);
	assert_int_equal(s->keys->n_comments, 1);
	assert_int_equal(s->keys->keys[0][0], 0xff);
	assert_int_equal(s->keys->keys[0][31], 0xe0);

	assert_int_equal(read_text(s, KEY_A "\n#old\n" KEY_B, SECRET_ANY), 0);
	assert_int_equal(s->keys->n_keys, 2);
	assert_int_equal(s->keys->keys[1][1], 0xfe);
}

static void
what_is_not_one_key_is_refused_with_a_reason(void **state)
{
	struct scene *s = *state;

	assert_refused(s, "", SECRET_SHARED, "no key in it");
	assert_refused(s, "\n \n", SECRET_MASTER, "no key in it");
	assert_refused(s, "# nothing\n", SECRET_ANY, "no key in it");
	assert_refused(s, KEY_A "\n" KEY_B, SECRET_SHARED, "2 keys, need one");
	assert_refused(s, KEY_A "\n" KEY_B, SECRET_MASTER, "2 keys, need one");
	assert_refused(s, "#a\n" KEY_A, SECRET_MASTER,
	    "a master key file has no comments, this one 1");
	assert_refused(s, "\n" KEY_A "0\n", SECRET_SHARED,
	    "line 2: not 64 hexadecimal digits");
	assert_refused(
	    s, &KEY_A[1], SECRET_SHARED, "line 1: not 64 hexadecimal digits");
	assert_refused(
	    s, "0x" KEY_A, SECRET_SHARED, "line 1: not 64 hexadecimal digits");
	assert_refused(s, KEY_A " # ours", SECRET_SHARED,
	    "line 1: not 64 hexadecimal digits");
	assert_refused(
	    s, KEY_A KEY_B, SECRET_SHARED, "line 1: not 64 hexadecimal digits");
}

/* No reason repeats a part of the file: it may be most of a key. */
static void
a_stray_character_anywhere_is_refused(void **state)
{
	struct scene *s = *state;
	char text[65];
	size_t i;

	for (i = 0; i < 64; i++) {
		memcpy(text, KEY_A, sizeof(text));
		text[i] = 'g';
		assert_refused(s, text, SECRET_SHARED,
		    "line 1: not 64 hexadecimal digits");
		text[i] = '\0';
		assert_int_equal(
		    read_bytes(s, text, 64, SECRET_SHARED), VARTA_ERR_KEY);
	}
}

static void
as_many_keys_as_an_observer_takes_and_no_more(void **state)
{
	struct scene *s = *state;
	char text[(SECRET_FILE_KEYS + 1) * 65 + 1];
	size_t i;

	for (i = 0; i <= SECRET_FILE_KEYS; i++)
		memcpy(text + 65 * i, KEY_A "\n", 66);
	assert_refused(
	    s, text, SECRET_ANY, "line 9: more keys than an observer takes");
	text[(size_t)SECRET_FILE_KEYS * 65] = '\0';
	assert_int_equal(read_text(s, text, SECRET_ANY), 0);
	assert_int_equal(s->keys->n_keys, SECRET_FILE_KEYS);
}

static void
a_file_is_taken_up_to_its_limit(void **state)
{
	struct scene *s = *state;
	static char text[SECRET_FILE_MAX + 1];

	memset(text, ' ', sizeof(text));
	memcpy(text, KEY_A, 64);
	assert_int_equal(
	    read_bytes(s, text, SECRET_FILE_MAX, SECRET_MASTER), 0);
	assert_int_equal(
	    read_bytes(s, text, SECRET_FILE_MAX + 1, SECRET_MASTER), -EINVAL);
	assert_string_equal(s->fault.text, "larger than 8192 bytes");
}

/* At its ends as well, where blanks may stand. */
static void
a_nul_byte_is_no_blank(void **state)
{
	struct scene *s = *state;

	assert_int_equal(
	    read_bytes(s, KEY_A "\n", 66, SECRET_ANY), VARTA_ERR_KEY);
	assert_int_equal(
	    read_bytes(s, "\0" KEY_A, 65, SECRET_ANY), VARTA_ERR_KEY);
	assert_int_equal(
	    read_bytes(s, KEY_A "\0", 65, SECRET_MASTER), VARTA_ERR_KEY);
}

/* The first digits, less the highest bit, of a hash of the key under a label of
 * its own. */
static void
a_fingerprint_tells_keys_apart(void **state)
{
	struct scene *s = *state;

	assert_int_equal(read_text(s, KEY_A "\n" KEY_B, SECRET_ANY), 0);
	assert_int_equal(secret_fingerprint(s->keys->keys[0]), 0x138ea790);
	assert_int_equal(secret_fingerprint(s->keys->keys[1]), 0x3d4e4895);
}

static void
the_rules_of_secret_files_hold(void **state)
{
	struct scene *s = *state;
	const char *path = tmpdir_path(&s->dir, "key");
	const char *link = tmpdir_path(&s->dir, "link");

	assert_int_equal(read_text(s, KEY_A, SECRET_MASTER), 0);
	assert_int_equal(chmod(path, 0640), 0);
	assert_int_equal(
	    secret_read_keys(path, SECRET_MASTER, s->keys, &s->fault), -EACCES);
	assert_string_equal(s->fault.text, "mode 0640, need 0600");
	assert_int_equal(symlink(path, link), 0);
	assert_int_equal(
	    secret_read_keys(link, SECRET_MASTER, s->keys, &s->fault), -ELOOP);
	assert_int_equal(
	    secret_read_keys(s->dir.path, SECRET_MASTER, s->keys, &s->fault),
	    -EINVAL);
}

static void
calls_that_fail_are_told(void **state)
{
	struct scene *s = *state;
	uint8_t bytes[16];

	fault_nth(&fault_sodium_malloc, 1, ENOMEM);
	assert_int_equal(read_text(s, KEY_A, SECRET_MASTER), -ENOMEM);
	assert_string_equal(s->fault.text, "no memory for secrets");
	fault_nth(&fault_read, 1, EIO);
	assert_int_equal(read_text(s, KEY_A, SECRET_MASTER), -EIO);
	fault_nth(&fault_getentropy, 1, ENOSYS);
	assert_int_equal(secret_fresh(bytes, sizeof(bytes)), -ENOSYS);
}

static void
fresh_bytes_are_never_the_same(void **state)
{
	uint8_t a[32], b[32];

	(void)state;
	assert_int_equal(secret_fresh(a, sizeof(a)), 0);
	assert_int_equal(secret_fresh(b, sizeof(b)), 0);
	assert_memory_not_equal(a, b, sizeof(a));
}

static void
secrets_are_zeroed_and_aligned_and_end_before_a_guard(void **state)
{
	static const uint8_t zeros[100];
	uint8_t *p = secret_new(sizeof(zeros));
	int status;
	pid_t child;

	(void)state;
	assert_non_null(p);
	assert_memory_equal(p, zeros, sizeof(zeros));
	assert_int_equal((uintptr_t)p % 64, 0);
	child = fork();
	if (child == 0) {
		(void)signal(SIGSEGV, SIG_DFL);
		_exit(((volatile uint8_t *)p)[128]);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	secret_free(p);
	secret_free(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(one_key_is_read_for_every_use),
		TEST(comments_and_several_keys_have_their_uses),
		TEST(what_is_not_one_key_is_refused_with_a_reason),
		TEST(a_stray_character_anywhere_is_refused),
		TEST(as_many_keys_as_an_observer_takes_and_no_more),
		TEST(a_file_is_taken_up_to_its_limit),
		TEST(a_nul_byte_is_no_blank),
		TEST(a_fingerprint_tells_keys_apart),
		TEST(the_rules_of_secret_files_hold),
		TEST(calls_that_fail_are_told),
		TEST(fresh_bytes_are_never_the_same),
		TEST(secrets_are_zeroed_and_aligned_and_end_before_a_guard),
	};

	return cmocka_run_group_tests_name("key", tests, NULL, NULL);
}
