#include <varta/error.h>

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <varta/varta.h>

static void
every_own_code_has_a_text_of_its_own(void **state)
{
	int a, b;

	(void)state;
	for (a = VARTA_ERR_BAD_MAGIC; a >= VARTA_ERR_LANE_THRESHOLD; a--) {
		assert_true(strlen(varta_strerror(a)) > 0);
		assert_string_not_equal(varta_strerror(a), "unknown error");
		for (b = a - 1; b >= VARTA_ERR_LANE_THRESHOLD; b--)
			assert_string_not_equal(
			    varta_strerror(a), varta_strerror(b));
	}
}

static void
numbers_of_codes_never_change(void **state)
{
	(void)state;
	assert_int_equal(VARTA_ERR_BAD_MAGIC, -5001);
	assert_int_equal(VARTA_ERR_BAD_VERSION, -5002);
	assert_int_equal(VARTA_ERR_BAD_CRC, -5003);
	assert_int_equal(VARTA_ERR_BAD_STATUS, -5004);
	assert_int_equal(VARTA_ERR_STALL_ON_WIRE, -5005);
	assert_int_equal(VARTA_ERR_BAD_PID, -5006);
	assert_int_equal(VARTA_ERR_BAD_TIMESTAMP, -5007);
	assert_int_equal(VARTA_ERR_BAD_NONCE, -5008);
	assert_int_equal(VARTA_ERR_BAD_LENGTH, -5009);
	assert_int_equal(VARTA_ERR_INVALID_STATUS, -5010);
	assert_int_equal(VARTA_ERR_SHORT_WRITE, -5011);
	assert_int_equal(VARTA_ERR_CLOSED, -5012);
	assert_int_equal(VARTA_ERR_ADDRESS, -5013);
	assert_int_equal(VARTA_ERR_UNSUPPORTED, -5014);
	assert_int_equal(VARTA_ERR_NO_CRASH_HANDLER, -5015);
	assert_int_equal(VARTA_ERR_HOST_UNKNOWN, -5016);
	assert_int_equal(VARTA_ERR_HOST_LATER, -5017);
	assert_int_equal(VARTA_ERR_KEY, -5018);
	assert_int_equal(VARTA_ERR_LANE_NAME, -5019);
	assert_int_equal(VARTA_ERR_LANE_THRESHOLD, -5020);
	assert_int_equal(VARTA_SENT, 0);
	assert_int_equal(VARTA_DROPPED_QUEUE_FULL, 1);
	assert_int_equal(VARTA_DROPPED_NO_OBSERVER, 2);
	assert_int_equal(VARTA_DROPPED_PEER_GONE, 3);
	assert_int_equal(VARTA_DROPPED_STORAGE_FULL, 4);
}

static void
codes_of_the_system_have_its_texts(void **state)
{
	(void)state;
	assert_string_equal(
	    varta_strerror(-ECONNREFUSED), strerror(ECONNREFUSED));
	assert_string_equal(varta_strerror(-EACCES), strerror(EACCES));
	assert_true(strlen(varta_strerror(-4095)) > 0);
}

static void
unknown_codes_have_a_text_too(void **state)
{
	(void)state;
	assert_string_equal(varta_strerror(-4096), "unknown error");
	assert_string_equal(varta_strerror(-5000), "unknown error");
	assert_string_equal(
	    varta_strerror(VARTA_ERR_LANE_THRESHOLD - 1), "unknown error");
	assert_string_equal(varta_strerror(INT_MIN), "unknown error");
	assert_string_equal(varta_strerror(INT_MAX), "unknown outcome");
}

static void
outcomes_read_as_in_the_protocol(void **state)
{
	(void)state;
	assert_string_equal(varta_outcome_text(VARTA_SENT), "sent");
	assert_string_equal(varta_outcome_text(VARTA_DROPPED_QUEUE_FULL),
	    "dropped: kernel queue full");
	assert_string_equal(varta_outcome_text(VARTA_DROPPED_NO_OBSERVER),
	    "dropped: no observer");
	assert_string_equal(
	    varta_outcome_text(VARTA_DROPPED_PEER_GONE), "dropped: peer gone");
	assert_string_equal(varta_outcome_text(VARTA_DROPPED_STORAGE_FULL),
	    "dropped: storage full");
	assert_string_equal(varta_outcome_text(-EPERM), "failed");
	assert_string_equal(varta_outcome_text(5), "unknown outcome");

	assert_string_equal(varta_strerror(0), "success");
	assert_string_equal(
	    varta_strerror(VARTA_DROPPED_PEER_GONE), "dropped: peer gone");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_own_code_has_a_text_of_its_own),
		cmocka_unit_test(numbers_of_codes_never_change),
		cmocka_unit_test(codes_of_the_system_have_its_texts),
		cmocka_unit_test(unknown_codes_have_a_text_too),
		cmocka_unit_test(outcomes_read_as_in_the_protocol),
	};

	return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
