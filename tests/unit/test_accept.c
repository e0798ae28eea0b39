#include "watch/tell/accept.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "support/guard.h"

#define OPEN "application/openmetrics-text"

static void
assert_all(const char *const *values, size_t n, enum metrics_format want)
{
	struct guard guard;
	size_t i;

	guard_init(&guard, 256);
	for (i = 0; i < n; i++) {
		/* Directly before memory that must not be read. */
		const char *value = (const char *)guard_copy(
		    &guard, values[i], strlen(values[i]) + 1);

		if (accept_format(value) != want)
			print_error("value: %s\n", values[i]);
		assert_int_equal(accept_format(value), want);
	}
	guard_fini(&guard);
}

static void
openmetrics_is_for_those_who_name_it(void **state)
{
	static const char *const values[] = {
		OPEN,
		OPEN ";version=1.0.0",
		OPEN "; version=1.0.0; charset=utf-8",
		OPEN ";version=\"1.0.0\"",
		"APPLICATION/OpenMetrics-Text ; VERSION = 1.0.0",
		"text/html, " OPEN ", image/png",
		"  ,,\t" OPEN "\t,",
		/* What Prometheus has sent since version 2.5, and since 3. */
		OPEN "; version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
		OPEN ";version=1.0.0," OPEN ";version=0.0.1;q=0.75,"
		     "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
		OPEN ";version=1.0.0;escaping=allow-utf-8;q=0.6,"
		     "application/openmetrics-text;version=0.0.1;q=0.5,"
		     "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
		     "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
		/* Wanted as much. */
		"text/plain," OPEN,
		"*/*," OPEN,
		/* Quoted text hides what it holds. */
		"text/html;x=\"a,b;q=0\"," OPEN,
		/* The narrowest range counts. */
		"*/*," OPEN ";q=0.3,text/plain;q=0.2",
		"text/*;q=0.2," OPEN ";q=0.3,*/*",
	};

	(void)state;
	assert_all(values, ARRAY_SIZE(values), METRICS_OPEN);
}

static void
everybody_else_gets_the_classic_form(void **state)
{
	static const char *const values[] = {
		"",
		",",
		";",
		"*/*",
		"text/plain",
		"text/plain;version=0.0.4",
		"application/json",
		"application/vnd.google.protobuf;q=0.7,*/*;q=0.1",
		/* Versions that we do not speak. */
		OPEN ";version=0.0.1",
		OPEN ";version=2.0.0",
		/* Wanted less, or not at all. */
		OPEN ";q=0.4,text/plain;q=0.5",
		OPEN ";q=0.4,text/*;q=0.5",
		OPEN ";q=0.4,*/*;q=0.5",
		OPEN ";q=0",
		OPEN ";q=0.0",
		OPEN ";q=0.000",
		/* No quality that could be read. */
		OPEN ";q=",
		OPEN ";q=x",
		OPEN ";q=2",
		OPEN ";q=1.001",
		OPEN ";q=0.1234",
		OPEN ";q=-1",
		OPEN ";q=.5",
		OPEN ";q=0,5",
		/* Not that name. */
		"application/openmetrics",
		OPEN "x",
		"x" OPEN,
		"application/*",
		"\"" OPEN,
		"text/html;x=\"" OPEN,
	};

	(void)state;
	assert_int_equal(accept_format(NULL), METRICS_CLASSIC);
	assert_all(values, ARRAY_SIZE(values), METRICS_CLASSIC);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(openmetrics_is_for_those_who_name_it),
		cmocka_unit_test(everybody_else_gets_the_classic_form),
	};

	return cmocka_run_group_tests_name("accept", tests, NULL, NULL);
}
