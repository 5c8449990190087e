/* SPDX-License-Identifier: Apache-2.0 */
/* A rate limit in one word, under a clock of our own. */
#include "testing.h"

#include "core/gcra.h"

#define MINUTE VGW__GCRA_MINUTE_NS
#define SECOND (MINUTE / 60)

static void a_minutes_worth_passes_at_once_and_one_more_waits_for_its_share(void **state)
{
	struct vgw__gcra gcra = { 0 };
	int64_t now = 5 * MINUTE;

	(void)state;
	for (int i = 0; i < 60; i++) {
		assert_int_equal(vgw__gcra_left(&gcra, 60, now), 60 - i);
		assert_int_equal(vgw__gcra_wait_ns(&gcra, 60, 1, now), 0);
		vgw__gcra_take(&gcra, 60, 1, now);
	}
	assert_int_equal(vgw__gcra_left(&gcra, 60, now), 0);
	assert_int_equal(vgw__gcra_wait_ns(&gcra, 60, 1, now), SECOND);
	assert_int_equal(vgw__gcra_reset_ns(&gcra, now), MINUTE);
	assert_int_equal(vgw__gcra_wait_ns(&gcra, 60, 1, now + SECOND - 1), 1);
	assert_int_equal(vgw__gcra_wait_ns(&gcra, 60, 1, now + SECOND), 0);
}

static void the_wait_it_tells_is_exact(void **state)
{
	static const uint64_t limits[] = { 1, 7, 60, 1499, 100000, VGW__GCRA_MAX_LIMIT };

	(void)state;
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		struct vgw__gcra gcra = { 0 };
		uint64_t units = (limits[i] + 2) / 3;
		int64_t now = 1, wait;

		for (int round = 0; round < 50; round++) {
			wait = vgw__gcra_wait_ns(&gcra, limits[i], units, now);
			if (wait) {
				assert_int_not_equal(vgw__gcra_wait_ns(&gcra, limits[i], units, now + wait - 1), 0);
				now += wait;
			}
			assert_int_equal(vgw__gcra_wait_ns(&gcra, limits[i], units, now), 0);
			vgw__gcra_take(&gcra, limits[i], units, now);
		}
	}
}

/* The promise, against a plain count: of any stretch of t minutes at most limit * (1 + t) units come through. */
static void no_stretch_of_time_lets_more_through_than_it_promises(void **state)
{
	enum { ASKED = 20000 };
	static int64_t taken_at[ASKED];
	struct vgw__gcra gcra = { 0 };
	const uint64_t limit = 90;
	uint32_t random = 12345;
	int64_t now = 0;
	size_t taken = 0;

	(void)state;
	for (int i = 0; i < ASKED; i++) {
		random = random * 1664525u + 1013904223u;
		now += (int64_t)((uint64_t)(random >> 8) * (uint64_t)(random & 0x80 ? 3 * SECOND : SECOND / 10) >> 24);
		if (vgw__gcra_wait_ns(&gcra, limit, 1, now))
			continue;
		vgw__gcra_take(&gcra, limit, 1, now);
		taken_at[taken++] = now;
	}
	assert_true(taken > 1000);
	for (size_t from = 0; from < taken; from += 7) {
		for (size_t to = from; to < taken && to < from + 600; to++) {
			double minutes = (double)(taken_at[to] - taken_at[from]) / (double)MINUTE;

			assert_true((double)(to - from + 1) <= (double)limit * (1 + minutes) + 1e-6);
		}
	}
}

static void a_client_that_waits_as_told_gets_its_whole_rate(void **state)
{
	struct vgw__gcra gcra = { 0 };
	int64_t now = 0;

	(void)state;
	for (int i = 0; i < 60 * 11; i++) {
		now += vgw__gcra_wait_ns(&gcra, 60, 1, now);
		vgw__gcra_take(&gcra, 60, 1, now);
	}
	assert_int_equal(now, 10 * MINUTE);
}

static void what_is_given_back_is_there_again_but_not_twice(void **state)
{
	struct vgw__gcra gcra = { 0 };
	int64_t now = MINUTE;

	(void)state;
	vgw__gcra_take(&gcra, 1000, 900, now);
	assert_int_equal(vgw__gcra_left(&gcra, 1000, now), 100);
	vgw__gcra_give(&gcra, 1000, 800);
	assert_int_equal(vgw__gcra_left(&gcra, 1000, now), 900);

	/* it had flowed back by itself before it is given */
	vgw__gcra_take(&gcra, 1000, 500, now);
	now += 10 * MINUTE;
	vgw__gcra_give(&gcra, 1000, 500);
	assert_int_equal(vgw__gcra_left(&gcra, 1000, now), 1000);
	vgw__gcra_take(&gcra, 1000, 1000, now);
	assert_int_equal(vgw__gcra_left(&gcra, 1000, now), 0);
}

static void more_than_the_limit_passes_when_nothing_is_owed_and_is_paid_back_afterwards(void **state)
{
	struct vgw__gcra gcra = { 0 };

	(void)state;
	assert_int_equal(vgw__gcra_wait_ns(&gcra, 100, 250, 0), 0);
	vgw__gcra_take(&gcra, 100, 250, 0);
	assert_int_equal(vgw__gcra_left(&gcra, 100, 0), 0);
	assert_int_equal(vgw__gcra_wait_ns(&gcra, 100, 100, 0), 2 * MINUTE + MINUTE / 2);
	assert_int_equal(vgw__gcra_wait_ns(&gcra, 100, 250, 0), 2 * MINUTE + MINUTE / 2);
	assert_int_equal(vgw__gcra_left(&gcra, 100, 2 * MINUTE), 50);
}

static void an_absurd_debt_is_paid_after_an_hour(void **state)
{
	struct vgw__gcra gcra = { 0 };

	(void)state;
	vgw__gcra_take(&gcra, 1, UINT64_MAX, 0);
	vgw__gcra_take(&gcra, 1, UINT64_MAX, 0);
	assert_int_equal(vgw__gcra_reset_ns(&gcra, 0), 60 * MINUTE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_minutes_worth_passes_at_once_and_one_more_waits_for_its_share),
		cmocka_unit_test(the_wait_it_tells_is_exact),
		cmocka_unit_test(no_stretch_of_time_lets_more_through_than_it_promises),
		cmocka_unit_test(a_client_that_waits_as_told_gets_its_whole_rate),
		cmocka_unit_test(what_is_given_back_is_there_again_but_not_twice),
		cmocka_unit_test(more_than_the_limit_passes_when_nothing_is_owed_and_is_paid_back_afterwards),
		cmocka_unit_test(an_absurd_debt_is_paid_after_an_hour),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
