/* SPDX-License-Identifier: Apache-2.0 */
/* What the devices tell: footprints are learned, and nobody starts before the memory of who left is back. The driver
 * is the fake one, which says what a file says. */
#include "testing.h"

#include "fake_controller.h"

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SOON_MS = 20000, LOOKS = 50 };

#define GIB (UINT64_C(1) << 30)
#define TAKEN (12 * GIB)

static char folder[] = "/tmp/vgw-memory-XXXXXX";
static char path[64];
static atomic_bool is_freed_at_once;

static void tell_free(uint64_t bytes)
{
	char fresh[80];
	FILE *file;

	(void)snprintf(fresh, sizeof(fresh), "%s.new", path);
	file = fopen(fresh, "we");
	assert_non_null(file);
	(void)fprintf(file, "%llu %llu\n", (unsigned long long)(24 * GIB), (unsigned long long)bytes);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(rename(fresh, path), 0);
}

static void on_up(const char *model, bool is_up)
{
	(void)model;
	if (is_up)
		tell_free(23 * GIB - TAKEN);
	else if (is_freed_at_once)
		tell_free(23 * GIB);
}

static int make_driver(void **state)
{
	char library[4200], self[4096];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

	(void)state;
	assert_true(len > 0);
	self[len] = '\0';
	*strrchr(self, '/') = '\0';
	assert_non_null(mkdtemp(folder));
	(void)snprintf(path, sizeof(path), "%s/memory", folder);
	(void)snprintf(library, sizeof(library), "%s/libfake_nvml.so", self);
	assert_int_equal(setenv("VLLMGW_NVML", library, 1), 0);
	assert_int_equal(setenv("VGW_FAKE_NVML", path, 1), 0);
	return 0;
}

static int remove_driver(void **state)
{
	(void)state;
	(void)unlink(path);
	return rmdir(folder);
}

struct stage {
	struct fakes fakes;
	vgw_residency *residency;
};

static void set_stage(struct stage *stage)
{
	static const char *const two[] = { "a", "b", NULL };
	static const vgw_memory gpu = { .device = "gpu0", .bytes = 24 * GIB };
	const vgw_residency_options options = {
		.size = sizeof(options), .devices = &gpu, .device_count = 1, .backoff_ms = 1,
	};

	tell_free(23 * GIB);
	fakes_init(&stage->fakes);
	stage->fakes.on_up = on_up;
	stage->residency = fakes_residency(&stage->fakes, &options);
	fakes_apply(stage->residency, "fake", two);
}

static void strike_stage(struct stage *stage)
{
	is_freed_at_once = true;
	vgw_residency_free(stage->residency);
	fakes_fini(&stage->fakes);
}

static void use(struct stage *stage, const char *model)
{
	vgw_error err = VGW_ERROR_INIT;
	vgw_lease *lease;

	if (vgw_residency_acquire(&lease, stage->residency, model, vgw_now_ms() + SOON_MS, &err) != VGW_OK)
		fail_msg("%s", err.text);
	vgw_lease_release(lease);
}

static json_int_t used_bytes(struct stage *stage)
{
	char *text = vgw_residency_dup_state(stage->residency);
	json_t *root = json_loads(text, 0, NULL);
	json_int_t bytes = json_integer_value(json_object_get(json_array_get(json_object_get(root, "devices"), 0),
		"used_bytes"));

	json_decref(root);
	vgw_free(text);
	return bytes;
}

static void the_first_start_teaches_how_much_a_model_takes(void **state)
{
	struct stage stage;
	int64_t until_ms = vgw_now_ms() + SOON_MS;
	char *decisions;

	(void)state;
	is_freed_at_once = true;
	set_stage(&stage);
	use(&stage, "a");
	while (used_bytes(&stage) != (json_int_t)TAKEN)
		assert_true(vgw_now_ms() < until_ms);
	decisions = vgw_residency_dup_decisions(stage.residency);
	assert_non_null(strstr(decisions, "\"learn\""));
	vgw_free(decisions);
	strike_stage(&stage);
}

static void the_next_start_waits_until_the_memory_is_back(void **state)
{
	struct stage stage;
	int64_t until_ms = vgw_now_ms() + SOON_MS;

	(void)state;
	is_freed_at_once = false;
	set_stage(&stage);
	use(&stage, "a");
	assert_int_equal(vgw_residency_load(stage.residency, "b", 0, NULL), VGW_OK);
	while (!fakes_read(&stage.fakes, &fakes_get(&stage.fakes, "a")->stops))
		assert_true(vgw_now_ms() < until_ms);
	for (int i = 0; i < LOOKS; i++) {
		vgw_free(vgw_residency_dup_state(stage.residency));
		assert_int_equal(fakes_read(&stage.fakes, &fakes_get(&stage.fakes, "b")->activations), 0);
	}
	is_freed_at_once = true;
	tell_free(23 * GIB);
	use(&stage, "b");
	strike_stage(&stage);
}

static void memory_that_came_back_with_a_crash_holds_nobody_up(void **state)
{
	struct stage stage;

	(void)state;
	is_freed_at_once = true;
	set_stage(&stage);
	use(&stage, "a");
	tell_free(23 * GIB);
	fakes_kill(&stage.fakes, "a", "killed by signal 9");
	use(&stage, "b");
	assert_int_equal(fakes_read(&stage.fakes, &fakes_get(&stage.fakes, "a")->stops), 1);
	strike_stage(&stage);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_start_teaches_how_much_a_model_takes),
		cmocka_unit_test(the_next_start_waits_until_the_memory_is_back),
		cmocka_unit_test(memory_that_came_back_with_a_crash_holds_nobody_up),
	};

	return cmocka_run_group_tests(tests, make_driver, remove_driver);
}
