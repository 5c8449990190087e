/* SPDX-License-Identifier: Apache-2.0 */
/* Where real engines (the simulator of this build) come up on four devices, and what they are told of it. The driver
 * is the fake one, which says what a file says, or none at all. */
#include "testing.h"

#include <vllmgw/residency.h>

#include <ftw.h>
#include <jansson.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SOON_MS = 20000, DEVICES = 4, TEXT = 4096 };

#define GIB (UINT64_C(1) << 30)

static char engine[4096], library[4200];
static char folder[64], driver[96], state_dir[96];

static void tell_driver(const char *text)
{
	FILE *file = fopen(driver, "we");

	assert_non_null(file);
	(void)fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static int make_world(void **state)
{
	char self[3072];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

	(void)state;
	assert_true(len > 0);
	self[len] = '\0';
	*strrchr(self, '/') = '\0';
	(void)snprintf(engine, sizeof(engine), "%s/../bin/vllmgw-engine", self);
	(void)snprintf(library, sizeof(library), "%s/libfake_nvml.so", self);
	(void)snprintf(folder, sizeof(folder), "/tmp/vgw-place-XXXXXX");
	assert_non_null(mkdtemp(folder));
	(void)snprintf(driver, sizeof(driver), "%s/driver", folder);
	(void)snprintf(state_dir, sizeof(state_dir), "%s/state", folder);
	assert_int_equal(setenv("VLLMGW_NVML", "/nonexistent", 1), 0);
	assert_int_equal(setenv("VGW_FAKE_NVML", driver, 1), 0);
	assert_int_equal(unsetenv("CUDA_VISIBLE_DEVICES"), 0);
	return 0;
}

static int remove_one(const char *path, const struct stat *about, int type, struct FTW *ftw)
{
	(void)about;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int end_world(void **state)
{
	(void)state;
	return nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* What the log said of somebody else's memory. */
static atomic_bool was_warned;

static void take_log(void *user, vgw_log_level level, const char *area, const char *model, const char *text)
{
	(void)user;
	(void)area;
	(void)model;
	if (level == VGW_LOG_WARN && strstr(text, "not ours"))
		was_warned = true;
}

/* Four devices of 24 GiB, given or found; everybody may be resident. */
static vgw_residency *begin(bool are_found, vgw_on_exit on_exit)
{
	static const vgw_memory devices[DEVICES] = {
		{ "gpu0", 24 * GIB }, { "gpu1", 24 * GIB }, { "gpu2", 24 * GIB }, { "gpu3", 24 * GIB },
	};
	const vgw_residency_options options = {
		.size = sizeof(options), .state_dir = state_dir, .on_exit = on_exit, .max_resident = VGW_UNLIMITED,
		.devices = are_found ? NULL : devices, .device_count = are_found ? 0 : DEVICES, .backoff_ms = 1,
		.discover_devices = are_found, .logger = { .fn = take_log, .level = VGW_LOG_WARN },
	};
	vgw_residency *residency;
	vgw_error err = VGW_ERROR_INIT;

	if (vgw_residency_new(&residency, &options, &err) != VGW_OK)
		fail_msg("%s", err.text);
	return residency;
}

struct asked {
	const char *name;
	const char *arguments; /* more of them, as JSON: ", \"-tp\", \"2\"" */
	const char *more;      /* of the backend */
	uint64_t bytes;        /* on each device */
	uint32_t tensor_parallel;
};

static vgw_status try_apply(vgw_residency *residency, const struct asked *models, vgw_error *err)
{
	vgw_registry *registry;
	char backend[5400];
	vgw_status status;

	assert_int_equal(vgw_registry_new(&registry, NULL), VGW_OK);
	for (; models->name; models++) {
		vgw_model_options options = VGW_MODEL_OPTIONS_INIT;
		const vgw_memory memory = { .device = "each", .bytes = models->bytes };

		(void)snprintf(backend, sizeof(backend), "{\"kind\":\"process\",\"stop_timeout\":2000%s,\"command\":[\"%s\","
			"\"--port\",\"${PORT}\",\"--model\",\"${MODEL}\",\"--load-time\",\"20ms\"%s]}",
			models->more ? models->more : "", engine, models->arguments ? models->arguments : "");
		options.name = models->name;
		options.kind = "process";
		options.backend_json = backend;
		options.memory = models->bytes ? &memory : NULL;
		options.memory_count = models->bytes > 0;
		options.tensor_parallel = models->tensor_parallel;
		assert_int_equal(vgw_registry_add(registry, &options, NULL), VGW_OK);
	}
	status = vgw_residency_apply(residency, registry, err);
	vgw_registry_unref(registry);
	return status;
}

static void apply(vgw_residency *residency, const struct asked *models)
{
	vgw_error err = VGW_ERROR_INIT;

	if (try_apply(residency, models, &err) != VGW_OK)
		fail_msg("%s", err.text);
}

static void use(vgw_residency *residency, const char *model)
{
	vgw_error err = VGW_ERROR_INIT;
	vgw_lease *lease;

	if (vgw_residency_acquire(&lease, residency, model, vgw_now_ms() + SOON_MS, &err) != VGW_OK)
		fail_msg("%s", err.text);
	vgw_lease_release(lease);
}

/* --- what is told --- */

static json_t *get_state(vgw_residency *residency)
{
	char *text = vgw_residency_dup_state(residency);
	json_t *root = json_loads(text, 0, NULL);

	assert_non_null(root);
	vgw_free(text);
	return root;
}

static json_t *find(json_t *list, const char *name)
{
	json_t *item;
	size_t i;

	json_array_foreach(list, i, item) {
		if (strcmp(json_string_value(json_object_get(item, "name")), name) == 0)
			return item;
	}
	fail_msg("there is no %s", name);
	return NULL;
}

static json_t *replica_of(json_t *root, const char *model)
{
	return json_array_get(json_object_get(find(json_object_get(root, "models"), model), "replicas"), 0);
}

static pid_t pid_of(vgw_residency *residency, const char *model)
{
	json_t *root = get_state(residency);
	pid_t pid = (pid_t)json_integer_value(json_object_get(replica_of(root, model), "pid"));

	json_decref(root);
	return pid;
}

/* "gpu2,gpu3"; "": nowhere */
static void assert_runs_on(vgw_residency *residency, const char *model, const char *expected)
{
	json_t *root = get_state(residency);
	json_t *names = json_object_get(replica_of(root, model), "devices");
	char text[128] = "";

	for (size_t i = 0; i < json_array_size(names); i++)
		(void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i ? "," : "",
			json_string_value(json_array_get(names, i)));
	assert_string_equal(text, expected);
	json_decref(root);
}

/* A NUL-separated file of an engine's, with a '\n' after each part. */
static void read_parts(vgw_residency *residency, const char *model, const char *what, char *out)
{
	char path[64];
	FILE *file;
	size_t len;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid_of(residency, model), what);
	file = fopen(path, "re");
	assert_non_null(file);
	out[0] = '\n';
	len = 1 + fread(out + 1, 1, TEXT * 4 - 2, file);
	out[len] = '\0';
	(void)fclose(file);
	for (size_t i = 0; i < len; i++)
		out[i] = out[i] ? out[i] : '\n';
}

static void assert_sees(vgw_residency *residency, const char *model, const char *what, const char *expected)
{
	static char text[TEXT * 4];

	read_parts(residency, model, what, text);
	if (!strstr(text, expected))
		fail_msg("%s of %s does not hold %s: %s", what, model, expected, text);
}

/* --- */

static const struct asked four[] = {
	{ .name = "a", .bytes = 20 * GIB }, { .name = "b", .bytes = 20 * GIB },
	{ .name = "w", .arguments = ", \"--tensor-parallel-size\", \"2\"", .bytes = 20 * GIB },
	{ .name = "x", .bytes = 20 * GIB, .tensor_parallel = 2 }, { .name = NULL },
};

static void four_models_two_of_them_wide_share_four_devices(void **state)
{
	vgw_residency *residency = begin(false, VGW_ON_EXIT_STOP);
	char *why;

	(void)state;
	apply(residency, four);
	use(residency, "a");
	use(residency, "w");
	use(residency, "b");
	assert_runs_on(residency, "a", "gpu0");
	assert_runs_on(residency, "w", "gpu1,gpu2");
	assert_runs_on(residency, "b", "gpu3");
	assert_runs_on(residency, "x", "");
	assert_sees(residency, "a", "environ", "\nCUDA_VISIBLE_DEVICES=0\n");
	assert_sees(residency, "w", "environ", "\nCUDA_VISIBLE_DEVICES=1,2\n");
	assert_sees(residency, "b", "environ", "\nCUDA_VISIBLE_DEVICES=3\n");
	why = vgw_residency_dup_explanation(residency, "x", NULL);
	assert_non_null(strstr(why, "\"devices\":[\"gpu"));
	assert_non_null(strstr(why, "\"devices_why\":\"those who leave them cost least\""));
	vgw_free(why);

	use(residency, "x"); /* a is the oldest, but alone not enough: w goes, which is older than b */
	assert_runs_on(residency, "x", "gpu1,gpu2");
	assert_runs_on(residency, "w", "");
	assert_sees(residency, "x", "environ", "\nCUDA_VISIBLE_DEVICES=1,2\n");
	vgw_residency_free(residency);
}

static void who_sits_on_a_device_is_told(void **state)
{
	vgw_residency *residency = begin(false, VGW_ON_EXIT_STOP);
	json_t *root, *device;

	(void)state;
	apply(residency, four);
	use(residency, "w");
	root = get_state(residency);
	device = find(json_object_get(root, "devices"), "gpu1");
	assert_string_equal(json_string_value(json_array_get(json_object_get(device, "models"), 0)), "w");
	assert_int_equal(json_integer_value(json_object_get(device, "used_bytes")), 20 * GIB);
	assert_string_equal(json_string_value(json_object_get(device, "source")), "configured");
	device = find(json_object_get(root, "devices"), "gpu2");
	assert_int_equal(json_array_size(json_object_get(device, "models")), 0);
	json_decref(root);
	vgw_residency_free(residency);
}

static void an_engine_taken_over_keeps_its_devices(void **state)
{
	vgw_residency *residency = begin(false, VGW_ON_EXIT_LEAVE);
	pid_t pid;

	(void)state;
	apply(residency, four);
	use(residency, "a");
	use(residency, "w");
	pid = pid_of(residency, "w");
	assert_int_equal(vgw_residency_unload(residency, "a", 1, vgw_now_ms() + SOON_MS, NULL), VGW_OK);
	vgw_residency_free(residency);

	residency = begin(false, VGW_ON_EXIT_STOP);
	apply(residency, four);
	assert_int_equal(pid_of(residency, "w"), pid);
	assert_runs_on(residency, "w", "gpu1,gpu2");
	use(residency, "x");
	assert_runs_on(residency, "x", "gpu0,gpu3");
	assert_int_equal(pid_of(residency, "w"), pid);
	vgw_residency_free(residency);
}

static void what_the_user_sets_holds(void **state)
{
	static const struct asked models[] = {
		{ .name = "a", .arguments = ", \"--served-model-name\", \"a\"", .bytes = GIB,
			.more = ", \"env\":{\"CUDA_VISIBLE_DEVICES\":\"7\",\"WHERE\":\"on ${DEVICES}\","
				"\"SHARE\":\"${GPU_MEMORY_UTILIZATION}\"}" },
		{ .name = NULL },
	};
	vgw_residency *residency = begin(false, VGW_ON_EXIT_STOP);

	(void)state;
	apply(residency, models);
	use(residency, "a");
	assert_sees(residency, "a", "environ", "\nCUDA_VISIBLE_DEVICES=7\n");
	assert_sees(residency, "a", "environ", "\nWHERE=on 0\n");
	assert_sees(residency, "a", "environ", "\nSHARE=0.041\n"); /* 1 of 24, rounded down */
	vgw_residency_free(residency);
}

static void a_model_that_needs_more_devices_than_there_are_is_refused(void **state)
{
	static const struct asked models[] = { { .name = "a", .tensor_parallel = 5 }, { .name = NULL } };
	static const struct asked others[] = {
		{ .name = "a", .arguments = ", \"-tp=4\", \"--pipeline-parallel-size\", \"2\"" }, { .name = NULL },
	};
	vgw_residency *residency = begin(false, VGW_ON_EXIT_STOP);
	vgw_error err = VGW_ERROR_INIT;

	(void)state;
	assert_int_equal(try_apply(residency, models, &err), VGW_INVALID);
	assert_string_equal(err.text, "model 'a' takes 5 devices (tensor_parallel), but there are only 4 it may run on");
	assert_int_equal(try_apply(residency, others, &err), VGW_INVALID);
	assert_string_equal(err.text, "model 'a' takes 8 devices (as its backend says), but there are only 4 it may run on");
	vgw_residency_free(residency);
}

/* --- with a driver --- */

static void devices_are_found_and_the_share_leaves_what_others_have(void **state)
{
	static const struct asked models[] = {
		{ .name = "a", .bytes = 18 * GIB, .more = ", \"gpu_memory_utilization\":\"auto\"" },
		{ .name = "b", .more = ", \"gpu_memory_utilization\":\"auto\"" }, { .name = NULL },
	};
	vgw_residency *residency;
	json_t *root, *device;

	(void)state;
	assert_int_equal(setenv("VLLMGW_NVML", library, 1), 0);
	tell_driver("25769803776 25232932864\n25769803776 12884901888 4711\n"); /* 23.5 and 12 of 24 GiB are free */
	was_warned = false;
	residency = begin(true, VGW_ON_EXIT_STOP);
	apply(residency, models);
	use(residency, "a");
	use(residency, "b");
	assert_runs_on(residency, "a", "gpu0");
	assert_runs_on(residency, "b", "gpu1");
	assert_sees(residency, "a", "cmdline", "\n--gpu-memory-utilization\n0.750\n");
	assert_sees(residency, "b", "cmdline", "\n--gpu-memory-utilization\n0.500\n");
	assert_true(was_warned);
	root = get_state(residency);
	device = find(json_object_get(root, "devices"), "gpu1");
	assert_int_equal(json_integer_value(json_object_get(device, "budget_bytes")), 24 * GIB);
	assert_int_equal(json_integer_value(json_object_get(device, "foreign_bytes")), 12 * GIB);
	assert_string_equal(json_string_value(json_object_get(device, "uuid")), "GPU-fake-1");
	assert_string_equal(json_string_value(json_object_get(device, "source")), "discovered");
	json_decref(root);
	vgw_residency_free(residency);
}

static void a_gateway_confined_to_some_devices_finds_those(void **state)
{
	static const struct asked models[] = { { .name = "a" }, { .name = NULL } };
	vgw_residency *residency;
	json_t *root;

	(void)state;
	assert_int_equal(setenv("VLLMGW_NVML", library, 1), 0);
	assert_int_equal(setenv("CUDA_VISIBLE_DEVICES", "2,GPU-fake-1", 1), 0);
	tell_driver("9000000000 9000000000\n9000000000 9000000000\n9000000000 9000000000\n9000000000 9000000000\n");
	residency = begin(true, VGW_ON_EXIT_STOP);
	apply(residency, models);
	root = get_state(residency);
	assert_int_equal(json_array_size(json_object_get(root, "devices")), 3); /* and the host */
	(void)find(json_object_get(root, "devices"), "gpu1");
	(void)find(json_object_get(root, "devices"), "gpu2");
	json_decref(root);
	use(residency, "a");
	assert_sees(residency, "a", "environ", "\nCUDA_VISIBLE_DEVICES=1\n");
	vgw_residency_free(residency);
}

static void without_a_driver_nothing_is_found_and_nothing_is_told(void **state)
{
	static const struct asked models[] = { { .name = "a" }, { .name = NULL } };
	vgw_residency *residency = begin(true, VGW_ON_EXIT_STOP);
	static char text[TEXT * 4];

	(void)state;
	apply(residency, models);
	use(residency, "a");
	read_parts(residency, "a", "environ", text);
	assert_null(strstr(text, "CUDA_VISIBLE_DEVICES"));
	vgw_residency_free(residency);
}

#define IT(name) cmocka_unit_test_setup_teardown(name, make_world, end_world)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IT(four_models_two_of_them_wide_share_four_devices),
		IT(who_sits_on_a_device_is_told),
		IT(an_engine_taken_over_keeps_its_devices),
		IT(what_the_user_sets_holds),
		IT(a_model_that_needs_more_devices_than_there_are_is_refused),
		IT(devices_are_found_and_the_share_leaves_what_others_have),
		IT(a_gateway_confined_to_some_devices_finds_those),
		IT(without_a_driver_nothing_is_found_and_nothing_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
