/* SPDX-License-Identifier: Apache-2.0 */
/* The residency with real engines (the simulator of this build): loads, crashes, and lives after its own. */
#include "testing.h"

#include <vllmgw/residency.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SOON_MS = 20000, PATH_SIZE = 512 };

static char engine[4096];

struct world {
	char state_dir[64];
	char state_file[PATH_SIZE];
};

static int64_t soon(void)
{
	return vgw_now_ms() + SOON_MS;
}

static int make_world(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	char self[3072];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

	assert_non_null(world);
	assert_true(len > 0);
	self[len] = '\0';
	*strrchr(self, '/') = '\0';
	(void)snprintf(engine, sizeof(engine), "%s/../bin/vllmgw-engine", self);
	(void)snprintf(world->state_dir, sizeof(world->state_dir), "/tmp/vgw-residency-XXXXXX");
	assert_non_null(mkdtemp(world->state_dir));
	(void)snprintf(world->state_file, sizeof(world->state_file), "%s/residency.json", world->state_dir);
	*state = world;
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
	struct world *world = *state;

	assert_int_equal(nftw(world->state_dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
	free(world);
	return 0;
}

static vgw_residency *begin(const struct world *world, vgw_on_exit on_exit)
{
	const vgw_residency_options options = {
		.size = sizeof(options), .state_dir = world->state_dir, .on_exit = on_exit, .max_resident = 2,
		.backoff_ms = 1,
	};
	vgw_residency *residency;

	assert_int_equal(vgw_residency_new(&residency, &options, NULL), VGW_OK);
	return residency;
}

/* A model run by the simulator. */
static void add(vgw_registry *registry, const char *name, const char *kind, uint32_t tensor_parallel)
{
	vgw_model_options options = VGW_MODEL_OPTIONS_INIT;
	char backend[5000];

	(void)snprintf(backend, sizeof(backend), "{\"kind\":\"process\",\"stop_timeout\":2000,\"command\":[\"%s\","
		"\"--port\",\"${PORT}\",\"--model\",\"${MODEL}\",\"--load-time\",\"50ms\"]}", engine);
	options.name = name;
	options.kind = kind;
	options.backend_json = backend;
	options.tensor_parallel = tensor_parallel;
	assert_int_equal(vgw_registry_add(registry, &options, NULL), VGW_OK);
}

/* Models run by the simulator, named by a NULL-terminated list. */
static void apply(vgw_residency *residency, const char *const *names)
{
	vgw_error err = VGW_ERROR_INIT;
	vgw_registry *registry;

	assert_int_equal(vgw_registry_new(&registry, NULL), VGW_OK);
	for (size_t i = 0; names[i]; i++)
		add(registry, names[i], "process", 0);
	if (vgw_residency_apply(residency, registry, &err) != VGW_OK)
		fail_msg("%s", err.text);
	vgw_registry_unref(registry);
}

static void use(vgw_residency *residency, const char *model)
{
	vgw_error err = VGW_ERROR_INIT;
	vgw_lease *lease;

	if (vgw_residency_acquire(&lease, residency, model, soon(), &err) != VGW_OK)
		fail_msg("%s", err.text);
	assert_int_equal(strncmp(vgw_lease_get_endpoint(lease), "http://127.0.0.1:", 17), 0);
	vgw_lease_release(lease);
}

/* 0: none */
static pid_t pid_of(vgw_residency *residency, const char *model)
{
	char *text = vgw_residency_dup_state(residency);
	json_t *root = json_loads(text, 0, NULL), *item;
	pid_t pid = 0;
	size_t i;

	json_array_foreach(json_object_get(root, "models"), i, item) {
		if (strcmp(json_string_value(json_object_get(item, "name")), model) == 0)
			pid = (pid_t)json_integer_value(json_object_get(
				json_array_get(json_object_get(item, "replicas"), 0), "pid"));
	}
	json_decref(root);
	vgw_free(text);
	return pid;
}

static bool knows_start_time(vgw_residency *residency)
{
	char *text = vgw_residency_dup_state(residency);
	bool knows = strstr(text, "\"start_ms\":{\"p50\"") != NULL;

	vgw_free(text);
	return knows;
}

static bool lives(pid_t pid)
{
	return kill(pid, 0) == 0 || errno != ESRCH;
}

static const char *const one[] = { "a", NULL };
static const char *const both[] = { "a", "b", NULL };

/* --- */

static void an_engine_is_started_on_demand_and_gone_at_the_end(void **state)
{
	vgw_residency *residency = begin(*state, VGW_ON_EXIT_STOP);
	char *log_path;
	pid_t pid;

	apply(residency, both);
	assert_int_equal(pid_of(residency, "a"), 0);
	use(residency, "a");
	pid = pid_of(residency, "a");
	assert_true(pid > 1 && lives(pid));
	log_path = vgw_residency_dup_log_path(residency, "a", NULL);
	assert_non_null(log_path);
	assert_int_equal(access(log_path, R_OK), 0);
	vgw_free(log_path);
	vgw_residency_free(residency);
	assert_false(lives(pid));
}

static void a_killed_engine_is_started_again_for_the_next_request(void **state)
{
	vgw_residency *residency = begin(*state, VGW_ON_EXIT_STOP);
	int64_t until_ms = soon();
	pid_t pid;

	apply(residency, one);
	use(residency, "a");
	pid = pid_of(residency, "a");
	assert_int_equal(kill(pid, SIGKILL), 0);
	while (strcmp(vgw_residency_get_standing(residency, "a"), "loaded") == 0)
		assert_true(vgw_now_ms() < until_ms);
	use(residency, "a");
	assert_int_not_equal(pid_of(residency, "a"), pid);
	vgw_residency_free(residency);
}

static void engines_left_behind_are_taken_over_with_the_same_pids(void **state)
{
	vgw_residency *residency = begin(*state, VGW_ON_EXIT_LEAVE);
	pid_t pid;

	apply(residency, both);
	use(residency, "a");
	pid = pid_of(residency, "a");
	vgw_residency_free(residency);
	assert_true(lives(pid));

	residency = begin(*state, VGW_ON_EXIT_STOP);
	apply(residency, both);
	assert_string_equal(vgw_residency_get_standing(residency, "a"), "loaded");
	assert_true(knows_start_time(residency));
	use(residency, "a");
	assert_int_equal(pid_of(residency, "a"), pid);
	vgw_residency_free(residency);
	assert_int_equal(waitpid(pid, NULL, WNOHANG) >= 0 || errno == ECHILD, 1);
	assert_false(lives(pid));
}

static void an_engine_whose_model_is_gone_is_stopped_by_the_next_life(void **state)
{
	static const char *const other[] = { "b", NULL };
	vgw_residency *residency = begin(*state, VGW_ON_EXIT_LEAVE);
	pid_t pid;

	apply(residency, one);
	use(residency, "a");
	pid = pid_of(residency, "a");
	vgw_residency_free(residency);
	assert_true(lives(pid));
	residency = begin(*state, VGW_ON_EXIT_STOP);
	apply(residency, other);
	(void)waitpid(pid, NULL, WNOHANG);
	assert_false(lives(pid));
	vgw_residency_free(residency);
}

/* A set that cannot be had, whether that is seen before earlier engines are looked for or after. */
static void refuse(vgw_residency *residency, const char *kind, uint32_t tensor_parallel)
{
	vgw_registry *registry;

	assert_int_equal(vgw_registry_new(&registry, NULL), VGW_OK);
	add(registry, "a", "process", 0);
	add(registry, "b", kind, tensor_parallel);
	assert_int_not_equal(vgw_residency_apply(residency, registry, NULL), VGW_OK);
	vgw_registry_unref(registry);
}

static void a_set_refused_at_the_start_leaves_earlier_engines_to_be_found(void **state)
{
	vgw_residency *residency = begin(*state, VGW_ON_EXIT_LEAVE);
	pid_t pid;

	apply(residency, one);
	use(residency, "a");
	pid = pid_of(residency, "a");
	vgw_residency_free(residency);
	vgw_residency_free(begin(*state, VGW_ON_EXIT_STOP)); /* a start that failed even earlier */
	for (int i = 0; i < 2; i++) {
		residency = begin(*state, VGW_ON_EXIT_STOP);
		refuse(residency, i ? "process" : "unheard-of", i ? 9 : 0);
		vgw_residency_free(residency);
		assert_true(lives(pid));
	}
	residency = begin(*state, VGW_ON_EXIT_STOP);
	apply(residency, one);
	assert_int_equal(pid_of(residency, "a"), pid);
	vgw_residency_free(residency);
	(void)waitpid(pid, NULL, WNOHANG);
	assert_false(lives(pid));
}

static void a_second_residency_of_a_state_directory_leaves_its_engines_alone(void **state)
{
	vgw_model_options elsewhere = VGW_MODEL_OPTIONS_INIT;
	const struct world *world = *state;
	vgw_residency *residency = begin(world, VGW_ON_EXIT_STOP), *second;
	vgw_error err = VGW_ERROR_INIT;
	vgw_registry *registry;
	pid_t pid;

	apply(residency, one);
	use(residency, "a");
	pid = pid_of(residency, "a");
	second = begin(world, VGW_ON_EXIT_STOP);
	elsewhere.name = "elsewhere";
	elsewhere.kind = "static";
	elsewhere.backend_json = "{\"kind\":\"static\",\"urls\":[\"http://127.0.0.1:9\"]}";
	assert_int_equal(vgw_registry_new(&registry, NULL), VGW_OK);
	assert_int_equal(vgw_registry_add(registry, &elsewhere, NULL), VGW_OK);
	assert_int_equal(vgw_residency_apply(second, registry, NULL), VGW_OK);
	add(registry, "a", "process", 0);
	assert_int_equal(vgw_residency_apply(second, registry, &err), VGW_EXISTS);
	assert_non_null(strstr(err.text, world->state_dir));
	assert_non_null(strstr(err.text, "another gateway"));
	vgw_residency_free(second);
	use(residency, "a");
	assert_int_equal(pid_of(residency, "a"), pid);
	vgw_residency_free(residency);

	second = begin(world, VGW_ON_EXIT_STOP);
	assert_int_equal(vgw_residency_apply(second, registry, NULL), VGW_OK);
	vgw_registry_unref(registry);
	vgw_residency_free(second);
}

static void a_state_directory_is_made_with_all_that_leads_to_it(void **state)
{
	const struct world *world = *state;
	vgw_residency_options options = VGW_RESIDENCY_OPTIONS_INIT;
	vgw_residency *residency;
	char path[PATH_SIZE];

	(void)snprintf(path, sizeof(path), "%s/a//new/place/", world->state_dir);
	options.state_dir = path;
	assert_int_equal(vgw_residency_new(&residency, &options, NULL), VGW_OK);
	vgw_residency_free(residency);
	assert_int_equal(access(path, W_OK), 0);
}

/* --- kill -9 --- */

static _Noreturn void live_until_killed(const struct world *world, int out)
{
	vgw_residency *residency = begin(world, VGW_ON_EXIT_STOP);
	pid_t pid;

	apply(residency, one);
	use(residency, "a");
	pid = pid_of(residency, "a");
	if (write(out, &pid, sizeof(pid)) != (ssize_t)sizeof(pid))
		_exit(1);
	for (;;)
		(void)pause();
}

static bool file_says(const char *path, const char *wanted)
{
	char text[16384] = "";
	FILE *file = fopen(path, "re");

	if (!file)
		return false;
	text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
	(void)fclose(file);
	return strstr(text, wanted) != NULL;
}

static void a_killed_gateway_finds_its_engine_again(void **state)
{
	struct world *world = *state;
	int64_t until_ms = soon(), began_ms;
	vgw_residency *residency;
	pid_t gateway, pid = 0;
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	gateway = fork();
	assert_true(gateway >= 0);
	if (gateway == 0)
		live_until_killed(world, ends[1]);
	assert_int_equal(read(ends[0], &pid, sizeof(pid)), sizeof(pid));
	while (!file_says(world->state_file, "\"ready\""))
		assert_true(vgw_now_ms() < until_ms);
	assert_int_equal(kill(gateway, SIGKILL), 0);
	assert_int_equal(waitpid(gateway, NULL, 0), gateway);
	assert_true(lives(pid));

	began_ms = vgw_now_ms();
	residency = begin(world, VGW_ON_EXIT_STOP);
	apply(residency, one);
	use(residency, "a");
	assert_true(vgw_now_ms() - began_ms < 1000);
	assert_int_equal(pid_of(residency, "a"), pid);
	vgw_residency_free(residency);
	until_ms = soon();
	while (lives(pid)) /* its parent reaps it */
		assert_true(vgw_now_ms() < until_ms);
	(void)close(ends[0]);
	(void)close(ends[1]);
}

/* --- files that lie --- */

static void write_state(const struct world *world, const char *text, mode_t mode)
{
	int fd = open(world->state_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

	assert_true(fd >= 0);
	assert_int_equal(fchmod(fd, mode), 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	(void)close(fd);
}

static void a_state_file_that_lies_harms_nobody(void **state)
{
	static const char forged[] = "{\"format\":\"vllmgw-residency\",\"version\":1,\"models\":{\"a\":{\"kind\":\"process\","
		"\"identity\":\"{\\\"pid\\\":%d,\\\"start_time\\\":1,\\\"boot_id\\\":\\\"x\\\",\\\"port\\\":80,"
		"\\\"args_hash\\\":\\\"0\\\",\\\"nonce\\\":\\\"0\\\"}\",\"last_used_at\":-5,\"times\":{\"start_ms\":[-1,\"x\","
		"1e300,99999999999]}},\"gone\":{\"kind\":\"process\",\"identity\":\"{}\"},\"b\":7}}";
	struct world *world = *state;
	char named_us[2048];
	const char *const texts[] = { "", "{", "[]", "{\"format\":\"other\",\"version\":1,\"models\":{}}",
		"{\"format\":\"vllmgw-residency\",\"version\":99,\"models\":{}}", named_us,
		"{\"format\":\"vllmgw-residency\",\"version\":1,\"models\":{\"a\":{\"kind\":5,\"identity\":[]}}}" };

	/* The format is a constant of this file. */
	(void)snprintf(named_us, sizeof(named_us), forged, (int)getpid());
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		vgw_residency *residency;

		write_state(world, texts[i], 0600);
		residency = begin(world, VGW_ON_EXIT_STOP);
		apply(residency, both);
		assert_string_equal(vgw_residency_get_standing(residency, "a"), "unloaded");
		vgw_residency_free(residency);
	}
	write_state(world, named_us, 0666);
	vgw_residency_free(begin(world, VGW_ON_EXIT_STOP));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_engine_is_started_on_demand_and_gone_at_the_end, make_world, end_world),
		cmocka_unit_test_setup_teardown(a_killed_engine_is_started_again_for_the_next_request, make_world,
			end_world),
		cmocka_unit_test_setup_teardown(engines_left_behind_are_taken_over_with_the_same_pids, make_world,
			end_world),
		cmocka_unit_test_setup_teardown(an_engine_whose_model_is_gone_is_stopped_by_the_next_life, make_world,
			end_world),
		cmocka_unit_test_setup_teardown(a_set_refused_at_the_start_leaves_earlier_engines_to_be_found, make_world,
			end_world),
		cmocka_unit_test_setup_teardown(a_second_residency_of_a_state_directory_leaves_its_engines_alone, make_world,
			end_world),
		cmocka_unit_test_setup_teardown(a_state_directory_is_made_with_all_that_leads_to_it, make_world, end_world),
		cmocka_unit_test_setup_teardown(a_killed_gateway_finds_its_engine_again, make_world, end_world),
		cmocka_unit_test_setup_teardown(a_state_file_that_lies_harms_nobody, make_world, end_world),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
