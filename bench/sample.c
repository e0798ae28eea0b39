#include "sample.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

enum { PAIRS = 2001 };

static double ns_per_tick = 1;
static double empty_pair;

/* What the output needs to remember: how deep we are, and whether something
 * stands before the next field. */
static unsigned depth;
static bool need_comma;

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

void
sample_calibrate(void)
{
	uint64_t t0, t1, ns0, ns1, a;
	double pairs[PAIRS];
	size_t i;

	ns0 = support_now_ns();
	t0 = sample_ticks();
	do {
		ns1 = support_now_ns();
		t1 = sample_ticks();
	} while (ns1 - ns0 < 20 * NS_PER_MS);
	ns_per_tick = (double)(ns1 - ns0) / (double)(t1 - t0);

	for (i = 0; i < PAIRS; i++) {
		a = sample_ticks();
		pairs[i] = (double)(sample_ticks() - a);
	}
	empty_pair = sample_percentile(pairs, PAIRS, 500);
}

double
sample_ns(uint64_t from, uint64_t to)
{
	double ticks = (double)(to - from) - empty_pair;

	return ticks > 0 ? ticks * ns_per_tick : 0;
}

double
sample_percentile(double *x, size_t n, unsigned permille)
{
	size_t rank, first, last;
	double below, within;

	qsort(x, n, sizeof(x[0]), compare);
	rank = (n - 1) * permille / 1000;
	first = last = rank;
	while (first > 0 && x[first - 1] >= x[rank])
		first--;
	while (last + 1 < n && x[last + 1] <= x[rank])
		last++;
	if (first == 0 || first == last)
		return x[rank];
	below = x[first - 1];
	within = (double)(rank - first + 1) / (double)(last - first + 1);
	return below + (x[rank] - below) * within;
}

void
sample_round(struct sample_rounds *s, double subject, double floor)
{
	if (s->n == SUPPORT_ROUNDS_MAX)
		support_die("more than %d rounds", SUPPORT_ROUNDS_MAX);
	s->subject[s->n] = subject;
	s->floor[s->n] = floor;
	s->n++;
}

static double
median(const double *x, size_t n)
{
	double sorted[SUPPORT_ROUNDS_MAX];

	if (n == 0)
		support_die("a result without rounds");
	memcpy(sorted, x, n * sizeof(x[0]));
	qsort(sorted, n, sizeof(x[0]), compare);
	return (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
}

double
sample_floor(const struct sample_rounds *s)
{
	return median(s->floor, s->n);
}

double
sample_subject(const struct sample_rounds *s)
{
	return median(s->subject, s->n);
}

/* The start of a field: what stands before it, and its name. */
static void
field(const char *name)
{
	unsigned i;

	if (depth == 0) {
		(void)putchar('{');
		depth = 1;
	}
	if (need_comma)
		(void)putchar(',');
	(void)putchar('\n');
	for (i = 0; i < depth; i++)
		(void)putchar(' ');
	(void)printf("\"%s\": ", name);
	need_comma = true;
}

void
sample_begin(const char *key)
{
	field(key);
	(void)putchar('{');
	depth++;
	need_comma = false;
}

void
sample_end(void)
{
	(void)putchar('}');
	depth--;
	need_comma = true;
}

/* JSON knows no infinity and no "not a number". */
static void
number(double x)
{
	if (isfinite(x))
		(void)printf("%.6g", x);
	else
		(void)fputs("null", stdout);
}

void
sample_number(const char *name, double value)
{
	field(name);
	number(value);
}

void
sample_text(const char *name, const char *text)
{
	field(name);
	(void)printf("\"%s\"", text);
}

/* The lowest and the highest of x. */
static void
spread(const double *x, size_t n)
{
	double low = HUGE_VAL, high = -HUGE_VAL;
	size_t i;

	for (i = 0; i < n; i++) {
		low = fmin(low, x[i]);
		high = fmax(high, x[i]);
	}
	field("spread");
	(void)putchar('[');
	number(low);
	(void)fputs(", ", stdout);
	number(high);
	(void)putchar(']');
}

void
sample_ratio(const struct sample_rounds *s, const char *unit)
{
	double ratios[SUPPORT_ROUNDS_MAX];
	size_t i;

	for (i = 0; i < s->n; i++)
		ratios[i] = s->subject[i] / s->floor[i];
	sample_number("value", sample_subject(s));
	sample_number("floor", sample_floor(s));
	sample_number("ratio", median(ratios, s->n));
	spread(ratios, s->n);
	sample_number("n", (double)s->n);
	sample_text("unit", unit);
}

void
sample_value(const struct sample_rounds *s, const char *unit)
{
	sample_number("value", sample_subject(s));
	sample_number("floor", sample_floor(s));
	spread(s->subject, s->n);
	sample_number("n", (double)s->n);
	sample_text("unit", unit);
}

void
sample_finish(void)
{
	(void)fputs(depth == 0 ? "{}\n" : "\n}\n", stdout);
	depth = 0;
	need_comma = false;
}

void
sample_skip(const char *const *keys, const char *reason)
{
	for (; *keys != NULL; keys++) {
		sample_begin(*keys);
		sample_text("skipped", reason);
		sample_end();
	}
	sample_finish();
}
