/* SPDX-License-Identifier: Apache-2.0 */
/* The ground floor: errors, buffers, lists. */
#include "testing.h"

#include "util/buf.h"
#include "util/error.h"
#include "util/list.h"

static void the_first_cause_of_an_error_wins(void **state)
{
	vgw_error err = VGW_ERROR_INIT;

	(void)state;
	assert_int_equal(vgw_error_set(&err, VGW_NOT_FOUND, 0, "no model '%s'", "a"), VGW_NOT_FOUND);
	assert_int_equal(vgw_error_set(&err, VGW_INTERNAL, 5, "later"), VGW_INTERNAL);
	assert_int_equal(err.status, VGW_NOT_FOUND);
	assert_string_equal(err.text, "no model 'a'");
	assert_int_equal(vgw_error_get_fault(&err), VGW_FAULT_MODEL_NOT_FOUND);
	assert_int_equal(vgw_fault_get_info(vgw_error_get_fault(&err))->http, 404);
}

static void numbers_that_are_no_status_or_fault_have_a_name_all_the_same(void **state)
{
	(void)state;
	assert_string_equal(vgw_status_get_name((vgw_status)99), "VGW_?");
	assert_string_equal(vgw_fault_get_info((vgw_fault)9999)->code, "internal_error");
}

static void a_buffer_never_exceeds_its_ceiling(void **state)
{
	struct vgw__buf buf;

	(void)state;
	vgw__buf_init(&buf, 8);
	assert_true(vgw__buf_append(&buf, "12345", 5));
	assert_false(vgw__buf_append(&buf, "6789", 4));
	assert_int_equal(buf.len, 5);
	vgw__buf_consume(&buf, 2);
	assert_memory_equal(buf.data, "345", 3);
	vgw__buf_fini(&buf);
}

static void a_link_can_be_removed_twice(void **state)
{
	struct vgw__list head, a, b;

	(void)state;
	vgw__list_init(&head);
	vgw__list_append(&head, &a);
	vgw__list_append(&head, &b);
	vgw__list_remove(&a);
	vgw__list_remove(&a);
	assert_ptr_equal(vgw__list_first(&head), &b);
	vgw__list_remove(&b);
	assert_true(vgw__list_is_empty(&head));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_cause_of_an_error_wins),
		cmocka_unit_test(numbers_that_are_no_status_or_fault_have_a_name_all_the_same),
		cmocka_unit_test(a_buffer_never_exceeds_its_ceiling),
		cmocka_unit_test(a_link_can_be_removed_twice),
	};

	return cmocka_run_group_tests_name("util", tests, NULL, NULL);
}
