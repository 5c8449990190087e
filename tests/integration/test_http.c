/* SPDX-License-Identifier: Apache-2.0 */
/* Kind "http" against the simulator's router mode: loads, unloads, and a picture that follows the server's own list,
 * whoever changes it. */
#include "process_rig.h"

#include <vllmgw/residency.h>

#include "engine_spy.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

enum { SOON_MS = 20000, TICK_MS = 50 };

/* A server of models a, b, c with room for two, in a process of its own; and a residency that uses it. */
struct world {
	struct rig *rig;
	vgw_residency *residency;
};

static int make_world(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	void *rig;

	assert_non_null(world);
	assert_int_equal(rig_set_up(&rig), 0);
	world->rig = rig;
	*state = world;
	return 0;
}

static int unmake_world(void **state)
{
	struct world *world = *state;
	void *rig = world->rig;

	vgw_residency_free(world->residency);
	assert_int_equal(rig_tear_down(&rig), 0);
	free(world);
	return 0;
}

/* The router's names for the models are org/a and so on; its own name is what the rig looks for. */
static void start_server(struct world *world, const char *more)
{
	char arguments[512];

	(void)snprintf(arguments, sizeof(arguments), ", \"--router\", \"org/big,org/a,org/b,org/c=third,org/broken\", "
		"\"--models-max\", \"3\"%s", more);
	rig_make_engine(world->rig, arguments, "");
	rig_activate_well(world->rig);
}

static void add(vgw_registry *registry, const char *name, const char *served_name, const char *json)
{
	vgw_model_options options = VGW_MODEL_OPTIONS_INIT;
	vgw_error err = VGW_ERROR_INIT;

	options.name = name;
	options.served_name = served_name;
	options.kind = "http";
	options.backend_json = json;
	if (vgw_registry_add(registry, &options, &err) != VGW_OK)
		fail_msg("%s", err.text);
}

static void use_server(struct world *world, uint32_t max_resident, const char *words)
{
	vgw_residency_options options = VGW_RESIDENCY_OPTIONS_INIT;
	vgw_registry *registry = NULL;
	vgw_error err = VGW_ERROR_INIT;
	char json[1024];

	options.max_resident = max_resident;
	options.backoff_ms = 20;
	(void)snprintf(json, sizeof(json), "{\"kind\":\"http\",\"url\":\"%s\",\"reconcile_ms\":%d,%s}",
		world->rig->url, TICK_MS, words);
	assert_int_equal(vgw_residency_new(&world->residency, &options, NULL), VGW_OK);
	assert_int_equal(vgw_registry_new(&registry, NULL), VGW_OK);
	add(registry, "a", "org/a", json);
	add(registry, "b", "org/b", json);
	add(registry, "broken", "org/broken", json);
	add(registry, "nowhere", "org/nowhere", json);
	add(registry, "c", "third", json);
	if (vgw_residency_apply(world->residency, registry, &err) != VGW_OK)
		fail_msg("%s", err.text);
	vgw_registry_unref(registry);
}

static const char llama[] = "\"preset\":\"llama-server\"";

static vgw_status load(struct world *world, const char *model, vgw_error *err)
{
	return vgw_residency_load(world->residency, model, vgw_now_ms() + SOON_MS, err);
}

static void load_well(struct world *world, const char *model)
{
	vgw_error err = VGW_ERROR_INIT;

	if (load(world, model, &err) != VGW_OK)
		fail_msg("%s", err.text);
}

/* Lease, one request, back. */
static void use(struct world *world, const char *model)
{
	vgw_error err = VGW_ERROR_INIT;
	vgw_lease *lease;
	char body[128];

	if (vgw_residency_acquire(&lease, world->residency, model, vgw_now_ms() + SOON_MS, &err) != VGW_OK)
		fail_msg("%s", err.text);
	(void)snprintf(body, sizeof(body), "{\"model\":\"org/%s\",\"prompt\":\"x\",\"max_tokens\":1}", model);
	assert_int_equal(spy_post(vgw_lease_get_endpoint(lease), "/v1/completions", body), 200);
	vgw_lease_release(lease);
}

static void await_standing(struct world *world, const char *model, const char *wanted)
{
	int64_t until_ms = vgw_now_ms() + SOON_MS;

	while (strcmp(vgw_residency_get_standing(world->residency, model), wanted) != 0) {
		if (vgw_now_ms() >= until_ms)
			fail_msg("%s is %s, not %s", model, vgw_residency_get_standing(world->residency, model), wanted);
		(void)poll(NULL, 0, 1);
	}
}

static void await_other_standing(struct world *world, const char *model, const char *present)
{
	int64_t until_ms = vgw_now_ms() + SOON_MS;

	while (strcmp(vgw_residency_get_standing(world->residency, model), present) == 0) {
		assert_true(vgw_now_ms() < until_ms);
		(void)poll(NULL, 0, 1);
	}
}

static void tell_server(struct world *world, const char *path, const char *model)
{
	char body[64];

	(void)snprintf(body, sizeof(body), "{\"model\":\"org/%s\"}", model);
	assert_int_equal(spy_post(world->rig->url, path, body), 200);
}

/* --- loads and unloads --- */

static void models_of_a_router_are_swapped(void **state)
{
	struct world *world = *state;
	char told[SPY_TEXT], body[SPY_TEXT];

	start_server(world, ", \"--load-time\", \"60ms\"");
	use_server(world, 1, llama);
	spy_forget(world->rig->url);
	use(world, "a");
	use(world, "b");
	spy_list(world->rig->url, "POST", told);
	assert_string_equal(told, "POST /models/load\nPOST /v1/completions\nPOST /models/unload\n"
		"POST /models/load\nPOST /v1/completions\n");
	spy_last_body(world->rig->url, "/models/unload", body);
	assert_string_equal(body, "{\"model\":\"org/a\"}");
}

/* The server says yes to an unload long before the model is gone. */
static void a_swap_waits_until_the_list_says_that_the_other_is_gone(void **state)
{
	struct world *world = *state;
	int64_t began_ms;

	start_server(world, ", \"--unload-time\", \"300ms\"");
	use_server(world, 1, llama);
	use(world, "a");
	began_ms = vgw_now_ms();
	load_well(world, "b");
	assert_true(vgw_now_ms() - began_ms >= 300);
	assert_string_equal(vgw_residency_get_standing(world->residency, "a"), "unloaded");
}

static void a_model_that_cannot_be_loaded_is_told_why(void **state)
{
	struct world *world = *state;
	vgw_error err = VGW_ERROR_INIT;

	start_server(world, "");
	use_server(world, 1, llama);
	assert_int_equal(load(world, "broken", &err), VGW_BACKEND);
	assert_says(err.text, "failed to load it");
	memset(&err, 0, sizeof(err));
	assert_int_equal(load(world, "nowhere", &err), VGW_BACKEND);
	assert_says(err.text, "/models/load answers 404");
	load_well(world, "a");
}

static void a_load_refused_for_the_moment_is_told_again(void **state)
{
	struct world *world = *state;
	vgw_error err = VGW_ERROR_INIT;

	start_server(world, "");
	use_server(world, 1, llama);
	assert_int_equal(spy_post(world->rig->url, "/_engine/fault",
		"{\"spec\":\"status-503\",\"times\":2,\"where\":\"/models/load\"}"), 200);
	load_well(world, "a");
	assert_int_equal(spy_post(world->rig->url, "/_engine/fault",
		"{\"spec\":\"status-503\",\"times\":0,\"where\":\"/models/load\"}"), 200);
	assert_int_equal(load(world, "b", &err), VGW_BACKEND);
	assert_says(err.text, "/models/load answers 503");
}

/* It says that it has the model, of which it is just getting rid. */
static void a_load_refused_for_what_is_over_is_told_again(void **state)
{
	struct world *world = *state;

	start_server(world, "");
	use_server(world, 1, llama);
	assert_int_equal(spy_post(world->rig->url, "/_engine/fault",
		"{\"spec\":\"status-422-json\",\"times\":1,\"where\":\"/models/load\"}"), 200);
	load_well(world, "a");
}

/* As when requests of others load it again before the list has told that it was gone: nothing comes of the first. */
static void an_unload_that_did_not_last_is_told_again(void **state)
{
	struct world *world = *state;
	char told[SPY_TEXT];

	start_server(world, ", \"--unload-time\", \"50ms\"");
	use_server(world, 1, llama);
	use(world, "a");
	spy_forget(world->rig->url);
	assert_int_equal(spy_post(world->rig->url, "/_engine/fault",
		"{\"spec\":\"html-200\",\"times\":1,\"where\":\"/models/unload\"}"), 200);
	assert_int_equal(vgw_residency_unload(world->residency, "a", 0, vgw_now_ms() + SOON_MS, NULL), VGW_OK);
	spy_list(world->rig->url, "POST", told);
	assert_string_equal(told, "POST /models/unload\nPOST /models/unload\n");
}

static void a_model_may_be_known_by_an_alias_of_the_servers(void **state)
{
	struct world *world = *state;

	start_server(world, "");
	use_server(world, 1, llama);
	use(world, "b");
	load_well(world, "c");
	assert_string_equal(vgw_residency_get_standing(world->residency, "c"), "loaded");
	use(world, "b");
	await_standing(world, "c", "unloaded");
}

static void other_words_are_other_servers(void **state)
{
	struct world *world = *state;
	char told[SPY_TEXT];

	start_server(world, "");
	use_server(world, 1, "\"load_path\":\"/models/load?m=${MODEL}\",\"load_body\":\"{\\\"model\\\":\\\"${MODEL}\\\"}\","
		"\"unload_path\":\"/models/unload\",\"unload_body\":\"{\\\"model\\\": \\\"${MODEL}\\\"}\","
		"\"list_path\":\"/models\",\"list_state\":\"status.value\",\"loaded\":[\"loaded\"]");
	spy_forget(world->rig->url);
	use(world, "a");
	assert_int_equal(vgw_residency_unload(world->residency, "a", 0, vgw_now_ms() + SOON_MS, NULL), VGW_OK);
	spy_list(world->rig->url, "POST", told);
	assert_string_equal(told, "POST /models/load?m=org%2Fa\nPOST /v1/completions\nPOST /models/unload\n");
}

/* --- a picture that follows the list --- */

static void what_is_loaded_already_is_taken_over(void **state)
{
	struct world *world = *state;
	char told[SPY_TEXT];

	start_server(world, "");
	tell_server(world, "/models/load", "b");
	use_server(world, 2, llama);
	spy_forget(world->rig->url);
	await_standing(world, "b", "loaded");
	use(world, "b");
	spy_list(world->rig->url, "POST", told);
	assert_string_equal(told, "POST /v1/completions\n");
}

static void what_somebody_loads_is_noticed(void **state)
{
	struct world *world = *state;

	start_server(world, "");
	use_server(world, 2, llama);
	assert_string_equal(vgw_residency_get_standing(world->residency, "a"), "unloaded");
	tell_server(world, "/models/load", "a");
	await_standing(world, "a", "loaded");
	use(world, "a");
}

static void what_somebody_loads_without_room_is_unloaded_again(void **state)
{
	struct world *world = *state;
	char told[SPY_TEXT];

	start_server(world, "");
	use_server(world, 1, llama);
	use(world, "a");
	spy_forget(world->rig->url);
	tell_server(world, "/models/load", "b");
	do {
		spy_list(world->rig->url, "POST", told);
	} while (!strstr(told, "POST /models/unload\n"));
	await_standing(world, "b", "unloaded");
	assert_string_equal(vgw_residency_get_standing(world->residency, "a"), "loaded");
}

static void what_somebody_unloads_is_noticed_and_loaded_at_its_next_use(void **state)
{
	struct world *world = *state;

	start_server(world, "");
	use_server(world, 1, llama);
	use(world, "a");
	tell_server(world, "/models/unload", "a");
	await_standing(world, "a", "unloaded"); /* and not "failed": nobody waits for a back-off */
	use(world, "a");
}

struct crowd {
	struct world *world;
	int rounds;
};

static void *use_often(void *user)
{
	struct crowd *crowd = user;

	for (int i = 0; i < crowd->rounds; i++)
		use(crowd->world, "a");
	return NULL;
}

/* use() fails the test at the first request that fails. */
static void no_request_fails_while_somebody_unloads_all_the_time(void **state)
{
	struct world *world = *state;
	struct crowd crowd = { world, 150 };
	pthread_t threads[3];

	start_server(world, ", \"--load-time\", \"10ms\", \"--unload-time\", \"5ms\"");
	use_server(world, 1, llama);
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, use_often, &crowd), 0);
	for (int i = 0; i < 40; i++) {
		(void)spy_post(world->rig->url, "/models/unload", "{\"model\":\"org/a\"}");
		/* until it is there again: one that is unloaded while it loads fails, and rightly */
		assert_int_equal(spy_post(world->rig->url, "/v1/completions",
			"{\"model\":\"org/a\",\"prompt\":\"x\",\"max_tokens\":1}"), 200);
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
}

static void a_server_that_is_gone_takes_its_models_with_it_and_brings_them_back(void **state)
{
	struct world *world = *state;
	char port[32], with_port[160], url[128];
	vgw_error err = VGW_ERROR_INIT;

	start_server(world, "");
	use_server(world, 2, llama);
	use(world, "a");
	(void)snprintf(url, sizeof(url), "%s", world->rig->url);
	(void)snprintf(port, sizeof(port), "%s", strrchr(url, ':') + 1);
	rig_stop_well(world->rig);
	await_other_standing(world, "a", "loaded");
	assert_int_equal(load(world, "a", &err), VGW_BACKEND);
	world->rig->kind->ops.destroy(world->rig->self);
	world->rig->self = NULL;
	(void)snprintf(with_port, sizeof(with_port), ", \"port\": %s", port);
	rig_make_engine(world->rig, ", \"--router\", \"org/big,org/a\"", with_port);
	rig_activate_well(world->rig);
	assert_string_equal(world->rig->url, url);
	assert_int_equal(vgw_residency_reset(world->residency, "a", 0, NULL), VGW_OK);
	use(world, "a");
}

/* --- configuration --- */

static void a_wrong_configuration_is_told_what_would_be_right(void **state)
{
	static const struct row {
		const char *json;
		const char *says;
	} rows[] = {
		{ "{\"kind\":\"http\"}", "needs `url: http://host:port`" },
		{ "{\"kind\":\"http\",\"url\":\"http://h\"}", "or a preset: llama-server, vllm-router" },
		{ "{\"kind\":\"http\",\"url\":\"http://h\",\"preset\":\"lama\"}", "backend.preset is 'lama'" },
		{ "{\"kind\":\"http\",\"url\":\"http://h\",\"pre_set\":\"x\"}", "did you mean 'preset'" },
		{ "{\"kind\":\"http\",\"url\":\"http://h\",\"preset\":\"llama-server\",\"load_body\":\"${NAME}\"}",
			"unknown variable ${NAME}" },
	};
	struct world *world = *state;

	assert_int_equal(vgw__controllers_find(world->rig->controllers, &world->rig->kind, "http", NULL), VGW_OK);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		vgw_error err = VGW_ERROR_INIT;

		assert_int_equal(rig_create(world->rig, rows[i].json, &err), VGW_INVALID);
		assert_says(err.text, rows[i].says);
	}
	world->rig->sleep_level = 1;
	assert_int_equal(rig_create(world->rig, "{\"kind\":\"http\",\"url\":\"http://h\",\"preset\":\"vllm-router\"}",
		NULL), VGW_INVALID);
}

#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, make_world, unmake_world)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(models_of_a_router_are_swapped),
		WORLD_TEST(a_swap_waits_until_the_list_says_that_the_other_is_gone),
		WORLD_TEST(a_model_that_cannot_be_loaded_is_told_why),
		WORLD_TEST(a_load_refused_for_the_moment_is_told_again),
		WORLD_TEST(a_load_refused_for_what_is_over_is_told_again),
		WORLD_TEST(an_unload_that_did_not_last_is_told_again),
		WORLD_TEST(a_model_may_be_known_by_an_alias_of_the_servers),
		WORLD_TEST(other_words_are_other_servers),
		WORLD_TEST(what_is_loaded_already_is_taken_over),
		WORLD_TEST(what_somebody_loads_is_noticed),
		WORLD_TEST(what_somebody_loads_without_room_is_unloaded_again),
		WORLD_TEST(what_somebody_unloads_is_noticed_and_loaded_at_its_next_use),
		WORLD_TEST(no_request_fails_while_somebody_unloads_all_the_time),
		WORLD_TEST(a_server_that_is_gone_takes_its_models_with_it_and_brings_them_back),
		WORLD_TEST(a_wrong_configuration_is_told_what_would_be_right),
	};

	return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
