/* SPDX-License-Identifier: Apache-2.0 */
/* vLLM's sleep routes. Levels and tags are query parameters: a body is ignored there. Each step is checked, because
 * each has been seen to answer 200 without effect, and a level-2 wake out of order answers garbage with 200:
 *
 *   sleep    POST /sleep?level=N&mode=M ──► GET /is_sleeping until true
 *   level 1  POST /wake_up ──► GET /is_sleeping until false
 *   level 2  POST /wake_up?tags=weights ──► POST /collective_rpc reload_weights ──► POST /wake_up?tags=kv_cache
 *            ──► POST /reset_prefix_cache ──► GET /is_sleeping until false ──► one token ──► the canary
 */
#include "backend/sleeper.h"

#include "backend/engine_call.h"
#include "backend/probe.h"
#include "util/hash.h"
#include "util/log.h"

#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEP_MS = 10, PATH_SIZE = 96, EXCERPT_SIZE = 120, CANARY_TOKENS = 16 };

/* What one call of the sequences is made with. */
struct talk {
	struct vgw__sleeper *sleeper;
	const struct vgw__endpoint *endpoint;
	int64_t deadline_ms;
};

static vgw_status call(const struct talk *talk, const char *method, const char *path, const char *body,
	struct vgw__control_answer *answer, vgw_error *err)
{
	const struct vgw__engine_call request = {
		.endpoint = talk->endpoint, .path = path, .method = method, .body = body,
		.api_key = talk->sleeper->api_key, .deadline_ms = talk->deadline_ms,
		.cancel_fd = vgw_host_get_cancel_fd(talk->sleeper->host),
	};
	vgw_error why = VGW_ERROR_INIT;
	vgw_status status = vgw__engine_call(&request, answer, &why);

	if (status != VGW_OK)
		return vgw_error_set(err, status, 0, "model '%.60s': %s: %.140s", talk->sleeper->model, path, why.text);
	return VGW_OK;
}

static vgw_status refuse(const struct talk *talk, const char *path, const struct vgw__control_answer *answer,
	vgw_error *err)
{
	char said[EXCERPT_SIZE];

	if (answer->status == 404)
		return vgw_error_set(err, VGW_BACKEND, 0, "model '%.60s': %.60s answers 404; start the engine with "
			"--enable-sleep-mode and VLLM_SERVER_DEV_MODE=1", talk->sleeper->model, path);
	return vgw_error_set(err, VGW_BACKEND, 0, "model '%.60s': %.60s answers %u: %s", talk->sleeper->model, path,
		(unsigned)answer->status, vgw__engine_call_excerpt(answer, said, sizeof(said)));
}

/* One step of a sequence: POST, and 200. */
static vgw_status post(const struct talk *talk, const char *path, const char *body, vgw_error *err)
{
	struct vgw__control_answer answer;
	vgw_status status = call(talk, "POST", path, body, &answer, err);

	if (status == VGW_OK && answer.status != 200)
		status = refuse(talk, path, &answer, err);
	vgw__control_answer_fini(&answer);
	return status;
}

/* --- is it asleep? --- */

static vgw_status ask(const struct talk *talk, bool *is_asleep, vgw_error *err)
{
	struct vgw__control_answer answer;
	vgw_status status = call(talk, "GET", "/is_sleeping", NULL, &answer, err);
	json_t *root;

	*is_asleep = false;
	if (status == VGW_OK && answer.status != 200 && answer.status != 404)
		status = refuse(talk, "/is_sleeping", &answer, err);
	if (status == VGW_OK && answer.status == 200) {
		root = json_loadb(answer.body, answer.body_len, 0, NULL);
		*is_asleep = json_is_true(json_object_get(root, "is_sleeping"));
		if (!json_is_boolean(json_object_get(root, "is_sleeping")))
			status = refuse(talk, "/is_sleeping", &answer, err);
		json_decref(root);
	}
	vgw__control_answer_fini(&answer);
	return status;
}

/* The answer to /sleep may come before it is safe, so ask until it says so. */
static vgw_status await(const struct talk *talk, bool wanted, vgw_error *err)
{
	struct pollfd cancel = { .fd = vgw_host_get_cancel_fd(talk->sleeper->host), .events = POLLIN };

	for (;;) {
		bool is_asleep;
		vgw_status status = ask(talk, &is_asleep, err);

		if (status != VGW_OK || is_asleep == wanted)
			return status;
		if (vgw_now_ms() + STEP_MS >= talk->deadline_ms)
			return vgw_error_set(err, VGW_TIMEOUT, 0, "model '%.60s': told to %s, it %s",
				talk->sleeper->model, wanted ? "sleep" : "wake up",
				wanted ? "stays awake" : "stays asleep");
		if (poll(&cancel, 1, STEP_MS) == 1)
			return vgw_error_set(err, VGW_CANCELLED, 0, "model '%.60s': given up", talk->sleeper->model);
	}
}

/* --- asking for an answer --- */

/* Never 0, which says that there is none. */
static uint64_t hash_answer(const char *text)
{
	uint64_t hash = vgw__hash_text(VGW__HASH_INIT, text);

	return hash ? hash : 1;
}

static vgw_status complete(const struct talk *talk, const char *prompt, int tokens,
	struct vgw__control_answer *answer, vgw_error *err)
{
	json_t *root = json_pack("{s:s, s:s, s:i, s:i, s:i}", "model", talk->sleeper->served_name, "prompt", prompt,
		"max_tokens", tokens, "temperature", 0, "seed", 0);
	char *body = root ? json_dumps(root, JSON_COMPACT) : NULL;
	vgw_status status;

	json_decref(root);
	memset(answer, 0, sizeof(*answer));
	if (!body)
		return vgw_error_set(err, VGW_NOMEM, 0, "model '%.60s': no memory for a prompt", talk->sleeper->model);
	status = call(talk, "POST", "/v1/completions", body, answer, err);
	free(body);
	return status;
}

/* A model that completes nothing (an embedding model) says so with 4xx, and that it answers is what counts. */
static vgw_status warm_up(const struct talk *talk, vgw_error *err)
{
	struct vgw__control_answer answer;
	vgw_status status = complete(talk, "1", 1, &answer, err);

	if (status == VGW_OK && answer.status >= 500)
		status = refuse(talk, "/v1/completions", &answer, err);
	vgw__control_answer_fini(&answer);
	return status;
}

static vgw_status ask_canary(const struct talk *talk, uint64_t *hash, vgw_error *err)
{
	struct vgw__control_answer answer;
	vgw_status status = complete(talk, talk->sleeper->kind->canary, CANARY_TOKENS, &answer, err);
	json_t *root = status == VGW_OK ? json_loadb(answer.body, answer.body_len, 0, NULL) : NULL;
	const char *text = json_string_value(json_object_get(json_array_get(json_object_get(root, "choices"), 0),
		"text"));

	if (status == VGW_OK && (answer.status != 200 || !text))
		status = refuse(talk, "/v1/completions", &answer, err);
	if (status == VGW_OK)
		*hash = hash_answer(text);
	json_decref(root);
	vgw__control_answer_fini(&answer);
	return status;
}

static vgw_status check_canary(const struct talk *talk, vgw_error *err)
{
	uint64_t remembered = atomic_load(&talk->sleeper->canary);
	uint64_t hash = 0;
	vgw_status status;

	if (!talk->sleeper->kind->canary || !remembered)
		return VGW_OK;
	status = ask_canary(talk, &hash, err);
	if (status == VGW_OK && hash != remembered)
		status = vgw_error_set(err, VGW_BACKEND, 0,
			"model '%.60s': since it woke up it answers the canary differently", talk->sleeper->model);
	return status;
}

/* --- the sequences --- */

static vgw_status reload_weights(const struct talk *talk, vgw_error *err)
{
	int64_t left_s = (talk->deadline_ms - vgw_now_ms()) / 1000;
	char body[128];

	(void)snprintf(body, sizeof(body), "{\"method\":\"reload_weights\",\"args\":[],\"kwargs\":{},\"timeout\":%lld}",
		(long long)(left_s > 1 ? left_s : 1));
	return post(talk, "/collective_rpc", body, err);
}

static vgw_status wake_level_1(const struct talk *talk, vgw_error *err)
{
	vgw_status status;

	vgw_host_set_progress(talk->sleeper->host, -1, "waking up");
	status = post(talk, "/wake_up", NULL, err);
	return status == VGW_OK ? await(talk, false, err) : status;
}

static vgw_status wake_level_2(const struct talk *talk, vgw_error *err)
{
	vgw_host *host = talk->sleeper->host;
	vgw_status status;

	vgw_host_set_progress(host, 0, "making room for the weights");
	status = post(talk, "/wake_up?tags=weights", NULL, err);
	if (status == VGW_OK) {
		vgw_host_set_progress(host, 20, "reloading the weights");
		status = reload_weights(talk, err);
	}
	if (status == VGW_OK) {
		vgw_host_set_progress(host, 80, "making room for the cache");
		status = post(talk, "/wake_up?tags=kv_cache", NULL, err);
	}
	if (status == VGW_OK)
		status = post(talk, "/reset_prefix_cache", NULL, err);
	if (status == VGW_OK)
		status = await(talk, false, err);
	if (status == VGW_OK) {
		vgw_host_set_progress(host, 95, "warming up");
		status = warm_up(talk, err);
	}
	return status == VGW_OK ? check_canary(talk, err) : status;
}

static vgw_status fall_asleep(const struct talk *talk, vgw_error *err)
{
	const struct vgw__sleep_kind *kind = talk->sleeper->kind;
	char path[PATH_SIZE];
	vgw_status status;

	(void)snprintf(path, sizeof(path), "/sleep?level=%u&mode=%s", (unsigned)kind->level, kind->mode);
	status = post(talk, path, NULL, err);
	return status == VGW_OK ? await(talk, true, err) : status;
}

/* --- for every endpoint --- */

typedef vgw_status (*talk_fn)(const struct talk *talk, vgw_error *err);

static vgw_status with_each(struct vgw__sleeper *sleeper, talk_fn fn, int64_t deadline_ms, vgw_error *err)
{
	struct vgw__targets *targets = vgw__host_ref_targets(sleeper->host);
	vgw_status status = VGW_OK;

	if (!targets)
		return vgw_error_set(err, VGW_BACKEND, 0, "model '%.60s': its controller named no endpoint",
			sleeper->model);
	for (uint32_t i = 0; status == VGW_OK && i < targets->count; i++) {
		const struct talk talk = { sleeper, targets->items[i]->endpoint, deadline_ms };

		status = fn(&talk, err);
	}
	vgw__targets_unref(targets);
	return status;
}

vgw_status vgw__sleep_post(struct vgw__sleeper *sleeper, int64_t deadline_ms, vgw_error *err)
{
	return with_each(sleeper, fall_asleep, deadline_ms, err);
}

vgw_status vgw__sleep_wake(struct vgw__sleeper *sleeper, uint32_t level, int64_t deadline_ms, vgw_error *err)
{
	return with_each(sleeper, level == 1 ? wake_level_1 : wake_level_2, deadline_ms, err);
}

static vgw_status must_be_awake(const struct talk *talk, vgw_error *err)
{
	bool is_asleep;
	vgw_status status = ask(talk, &is_asleep, err);

	return status == VGW_OK && is_asleep ? VGW_BUSY : status;
}

vgw_status vgw__sleep_ask(struct vgw__sleeper *sleeper, bool *is_asleep, int64_t deadline_ms, vgw_error *err)
{
	vgw_status status = with_each(sleeper, must_be_awake, deadline_ms, err);

	*is_asleep = status == VGW_BUSY;
	return status == VGW_BUSY ? VGW_OK : status;
}

static vgw_status probe_one(const struct talk *talk, vgw_error *err)
{
	const struct vgw__probe probe = {
		.endpoint = (struct vgw__endpoint *)talk->endpoint, .served_name = talk->sleeper->served_name,
		.api_key = talk->sleeper->api_key, .deadline_ms = talk->deadline_ms,
		.cancel_fd = vgw_host_get_cancel_fd(talk->sleeper->host),
	};

	return vgw__probe_run(&probe, err) == VGW__PROBE_READY ? VGW_OK : VGW_BACKEND;
}

vgw_status vgw__sleep_probe(struct vgw__sleeper *sleeper, int64_t deadline_ms, vgw_error *err)
{
	return with_each(sleeper, probe_one, deadline_ms, err);
}

static vgw_status remember(const struct talk *talk, vgw_error *err)
{
	uint64_t hash = 0;
	vgw_status status = ask_canary(talk, &hash, err);

	if (status == VGW_OK)
		atomic_store(&talk->sleeper->canary, hash);
	return status;
}

void vgw__sleep_remember_canary(struct vgw__sleeper *sleeper, int64_t deadline_ms)
{
	vgw_error why = VGW_ERROR_INIT;

	if (with_each(sleeper, remember, deadline_ms, &why) != VGW_OK)
		vgw__log(vgw_host_get_logger(sleeper->host), VGW_LOG_WARN, "sleep", sleeper->model,
			"its answers are not compared after it woke up: %s", why.text);
}
