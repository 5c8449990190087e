/* SPDX-License-Identifier: Apache-2.0 */
/* The library's side of a controller, the registry of kinds, the kind "static". */
#include "testing.h"

#include "backend/host.h"
#include "backend/registry.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

struct heard {
	size_t endpoint_count;
	char first_url[64];
	int percent;
	char progress[64];
	char death[64];
};

static void on_endpoints(void *user, struct vgw__endpoint *const *endpoints, size_t count)
{
	struct heard *heard = user;

	heard->endpoint_count = count;
	(void)snprintf(heard->first_url, sizeof(heard->first_url), "%s", endpoints[0]->url);
}

static void on_progress(void *user, int percent, const char *text)
{
	struct heard *heard = user;

	heard->percent = percent;
	(void)snprintf(heard->progress, sizeof(heard->progress), "%s", text);
}

static void on_death(void *user, const char *reason)
{
	struct heard *heard = user;

	(void)snprintf(heard->death, sizeof(heard->death), "%s", reason);
}

static const struct vgw__host_events events = {
	.on_endpoints = on_endpoints, .on_progress = on_progress, .on_death = on_death
};

static vgw_host *new_host(struct heard *heard)
{
	vgw_host *host;

	memset(heard, 0, sizeof(*heard));
	assert_int_equal(vgw__host_new(&host, &events, heard, NULL, NULL), VGW_OK);
	return host;
}

static bool is_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static void what_a_controller_says_reaches_the_owner(void **state)
{
	const char *const urls[] = { "http://127.0.0.1:8001/", "http://127.0.0.1:8002" };
	struct heard heard;
	vgw_host *host = new_host(&heard);

	(void)state;
	assert_int_equal(vgw_host_set_endpoints(host, urls, 2, NULL), VGW_OK);
	assert_int_equal(heard.endpoint_count, 2);
	assert_string_equal(heard.first_url, "http://127.0.0.1:8001");
	vgw_host_set_progress(host, 150, "loading weights");
	assert_int_equal(heard.percent, 100);
	assert_string_equal(heard.progress, "loading weights");
	vgw_host_report_death(host, "exit code 0");
	assert_string_equal(heard.death, "exit code 0");
	vgw__host_free(host);
}

static void one_bad_url_among_several_sets_none(void **state)
{
	const char *const urls[] = { "http://127.0.0.1:8001", "gopher://x" };
	vgw_error err = { .status = VGW_INTERNAL, .text = "of yesterday" };
	struct heard heard;
	vgw_host *host = new_host(&heard);

	(void)state;
	assert_int_equal(vgw_host_set_endpoints(host, urls, 2, &err), VGW_INVALID);
	assert_non_null(strstr(err.text, "gopher"));
	assert_int_equal(heard.endpoint_count, 0);
	assert_int_equal(vgw_host_set_endpoints(host, urls, 0, &err), VGW_INVALID);
	vgw__host_free(host);
}

static void a_cancelled_operation_is_seen_by_flag_and_descriptor_until_the_next_begins(void **state)
{
	struct heard heard;
	vgw_host *host = new_host(&heard);

	(void)state;
	assert_false(vgw_host_is_cancelled(host));
	assert_false(is_readable(vgw_host_get_cancel_fd(host)));
	vgw__host_cancel(host);
	vgw__host_cancel(host);
	assert_true(vgw_host_is_cancelled(host));
	assert_true(is_readable(vgw_host_get_cancel_fd(host)));
	vgw__host_begin(host);
	assert_false(vgw_host_is_cancelled(host));
	assert_false(is_readable(vgw_host_get_cancel_fd(host)));
	vgw__host_free(host);
}

static void the_report_of_an_operation_is_forgotten_when_the_next_begins(void **state)
{
	struct vgw__host_report report;
	struct heard heard;
	vgw_host *host = new_host(&heard);

	(void)state;
	vgw_host_set_failure(host, VGW_FAILURE_MEMORY, "CUDA out of memory");
	vgw_host_set_depth(host, VGW_DEPTH_STOP);
	vgw__host_get_report(host, &report);
	assert_int_equal(report.failure, VGW_FAILURE_MEMORY);
	assert_string_equal(report.failure_text, "CUDA out of memory");
	assert_true(report.has_depth);
	assert_int_equal(report.depth, VGW_DEPTH_STOP);
	vgw__host_begin(host);
	vgw__host_get_report(host, &report);
	assert_int_equal(report.failure, VGW_FAILURE_UNKNOWN);
	assert_string_equal(report.failure_text, "");
	assert_false(report.has_depth);
	vgw__host_free(host);
}

/* --- the registry --- */

static struct vgw__controllers *new_controllers(void)
{
	struct vgw__controllers *controllers;

	assert_int_equal(vgw__controllers_new(&controllers, NULL), VGW_OK);
	assert_int_equal(vgw__controllers_add_builtin(controllers, NULL), VGW_OK);
	return controllers;
}

static vgw_controller_ops copy_of_static(struct vgw__controllers *controllers, const char *kind)
{
	const struct vgw__controller_kind *found;
	vgw_controller_ops ops;

	assert_int_equal(vgw__controllers_find(controllers, &found, "static", NULL), VGW_OK);
	ops = found->ops;
	ops.kind = kind;
	return ops;
}

static void a_foreign_kind_comes_in_through_the_door_of_the_built_in_ones(void **state)
{
	struct vgw__controllers *controllers = new_controllers();
	const struct vgw__controller_kind *found;
	char name[] = "slurm";
	vgw_controller_ops ops = copy_of_static(controllers, name);

	(void)state;
	assert_int_equal(vgw__controllers_add(controllers, &ops, &ops, NULL), VGW_OK);
	name[0] = 'x'; /* the name was copied */
	assert_int_equal(vgw__controllers_find(controllers, &found, "slurm", NULL), VGW_OK);
	assert_ptr_equal(found->user, &ops);
	vgw__controllers_free(controllers);
}

static void an_operations_table_that_lacks_something_is_refused_with_a_reason(void **state)
{
	struct vgw__controllers *controllers = new_controllers();
	struct {
		vgw_controller_ops ops;
		void *from_the_future;
	} longer;
	vgw_error err = VGW_ERROR_INIT;
	vgw_controller_ops ops = copy_of_static(controllers, "static");

	(void)state;
	assert_int_equal(vgw__controllers_add(controllers, &ops, NULL, &err), VGW_EXISTS);
	ops = copy_of_static(controllers, "Two words");
	assert_int_equal(vgw__controllers_add(controllers, &ops, NULL, NULL), VGW_INVALID);
	ops = copy_of_static(controllers, "a");
	ops.deactivate = NULL;
	assert_int_equal(vgw__controllers_add(controllers, &ops, NULL, NULL), VGW_INVALID);
	ops = copy_of_static(controllers, "b");
	ops.flags |= 0x8000u;
	assert_int_equal(vgw__controllers_add(controllers, &ops, NULL, NULL), VGW_INVALID);
	ops = copy_of_static(controllers, "c");
	ops.size = 8;
	assert_int_equal(vgw__controllers_add(controllers, &ops, NULL, NULL), VGW_INVALID);
	memset(&longer, 0, sizeof(longer));
	longer.ops = copy_of_static(controllers, "d");
	longer.ops.size = sizeof(longer);
	longer.from_the_future = &longer;
	assert_int_equal(vgw__controllers_add(controllers, &longer.ops, NULL, NULL), VGW_INVALID);
	longer.from_the_future = NULL;
	assert_int_equal(vgw__controllers_add(controllers, &longer.ops, NULL, NULL), VGW_OK);
	vgw__controllers_free(controllers);
}

static void a_table_of_an_older_program_lacks_the_later_entries(void **state)
{
	struct vgw__controllers *controllers = new_controllers();
	const struct vgw__controller_kind *found;
	vgw_controller_ops ops = copy_of_static(controllers, "old");

	(void)state;
	ops.size = offsetof(vgw_controller_ops, adopt);
	ops.describe = (void (*)(void *, vgw_replica_facts *))(uintptr_t)0xdead; /* beyond its size */
	assert_int_equal(vgw__controllers_add(controllers, &ops, NULL, NULL), VGW_OK);
	assert_int_equal(vgw__controllers_find(controllers, &found, "old", NULL), VGW_OK);
	assert_true(found->ops.describe == NULL);
	vgw__controllers_free(controllers);
}

static void an_unknown_kind_is_answered_with_the_known_ones(void **state)
{
	struct vgw__controllers *controllers = new_controllers();
	const struct vgw__controller_kind *found;
	vgw_error err = VGW_ERROR_INIT;

	(void)state;
	assert_int_equal(vgw__controllers_find(controllers, &found, "proces", &err), VGW_INVALID);
	assert_null(found);
	assert_non_null(strstr(err.text, "static"));
	vgw__controllers_free(controllers);
}

/* --- kind "static" --- */

static vgw_status make_static(vgw_host *host, const char *json, void **self, vgw_error *err)
{
	struct vgw__controllers *controllers = new_controllers();
	vgw_controller_ops ops = copy_of_static(controllers, "static");
	vgw_replica_spec spec = { .size = sizeof(spec), .model = "small", .served_name = "small",
		.replica = "small/0", .backend_json = json };
	vgw_status status = ops.create(self, &spec, host, NULL, err);

	if (status == VGW_OK) {
		status = ops.activate(*self, vgw_now_ms() + 1000, err);
		(void)ops.deactivate(*self, VGW_DEPTH_STOP, vgw_now_ms() + 1000, NULL);
		ops.destroy(*self);
	}
	vgw__controllers_free(controllers);
	return status;
}

static void a_static_backend_tells_where_its_engines_listen(void **state)
{
	struct heard heard;
	vgw_host *host = new_host(&heard);
	void *self;

	(void)state;
	assert_int_equal(make_static(host, "{\"kind\":\"static\",\"urls\":[\"http://127.0.0.1:1\","
		"\"http://127.0.0.1:2\"],\"api_key\":\"k\"}", &self, NULL), VGW_OK);
	assert_int_equal(heard.endpoint_count, 2);
	assert_int_equal(make_static(host, "{\"kind\":\"static\",\"url\":\"http://127.0.0.1:3\"}", &self, NULL),
		VGW_OK);
	assert_int_equal(heard.endpoint_count, 1);
	assert_string_equal(heard.first_url, "http://127.0.0.1:3");
	vgw__host_free(host);
}

static void a_wrong_static_backend_is_told_what_would_be_right(void **state)
{
	static const struct {
		const char *json;
		const char *said;
	} rows[] = {
		{ "{\"kind\":\"static\"}", "urls" },
		{ "{\"kind\":\"static\",\"ulrs\":[]}", "did you mean 'urls'" },
		{ "{\"kind\":\"static\",\"urls\":\"http://a\"}", "expected a list" },
		{ "{\"kind\":\"static\",\"urls\":[[]]}", "urls[0]" },
		{ "{\"kind\":\"static\",\"url\":7}", "expected a text" },
		{ "{\"kind\":\"static\",\"url\":\"http://a\",\"url\":\"http://b\"}", "line 1" },
		{ "[]", "expected a mapping" },
		{ "{", "line 1" },
	};
	struct heard heard;
	vgw_host *host = new_host(&heard);
	void *self;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		vgw_error err = VGW_ERROR_INIT;

		assert_int_equal(make_static(host, rows[i].json, &self, &err), VGW_INVALID);
		if (!strstr(err.text, rows[i].said))
			fail_msg("'%s' does not say '%s'", err.text, rows[i].said);
		assert_non_null(strstr(err.text, "small"));
	}
	vgw__host_free(host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_controller_says_reaches_the_owner),
		cmocka_unit_test(one_bad_url_among_several_sets_none),
		cmocka_unit_test(a_cancelled_operation_is_seen_by_flag_and_descriptor_until_the_next_begins),
		cmocka_unit_test(the_report_of_an_operation_is_forgotten_when_the_next_begins),
		cmocka_unit_test(a_foreign_kind_comes_in_through_the_door_of_the_built_in_ones),
		cmocka_unit_test(an_operations_table_that_lacks_something_is_refused_with_a_reason),
		cmocka_unit_test(a_table_of_an_older_program_lacks_the_later_entries),
		cmocka_unit_test(an_unknown_kind_is_answered_with_the_known_ones),
		cmocka_unit_test(a_static_backend_tells_where_its_engines_listen),
		cmocka_unit_test(a_wrong_static_backend_is_told_what_would_be_right),
	};

	return cmocka_run_group_tests_name("host", tests, NULL, NULL);
}
