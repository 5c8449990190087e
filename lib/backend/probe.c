/* SPDX-License-Identifier: Apache-2.0 */
/* Three GETs within one deadline. Blocks: runs on executor threads. */
#include "backend/probe.h"

#include "backend/engine_call.h"

#include <jansson.h>
#include <string.h>

struct getter {
	const struct vgw__probe *probe;
	struct vgw__control_answer answer; /* of the last GET */
	vgw_error why;                     /* no answer came */
};

/* The status of the answer; 0: none, and getter->why says why. */
static uint32_t get(struct getter *getter, const char *path)
{
	const struct vgw__engine_call call = {
		.endpoint = getter->probe->endpoint, .path = path, .api_key = getter->probe->api_key,
		.deadline_ms = getter->probe->deadline_ms, .cancel_fd = getter->probe->cancel_fd,
	};

	vgw__control_answer_fini(&getter->answer);
	memset(&getter->why, 0, sizeof(getter->why));
	if (vgw__engine_call(&call, &getter->answer, &getter->why) != VGW_OK)
		return 0;
	return getter->answer.status;
}

/* --- what the answers mean --- */

static enum vgw__probe_result check_health(struct getter *getter, vgw_error *err)
{
	uint32_t status = get(getter, "/health");

	/* 404, 405: an engine without that route is judged by its models */
	if (status == 200 || status == 404 || status == 405)
		return VGW__PROBE_READY;
	if (status == 0)
		(void)vgw_error_set(err, VGW_BACKEND, 0, "/health: %.160s", getter->why.text);
	else
		(void)vgw_error_set(err, VGW_BACKEND, 0, "/health answers %u", (unsigned)status);
	return VGW__PROBE_NOT_YET;
}

/* Only engines with a sleep mode have the route; whatever else they say, they are awake. */
static enum vgw__probe_result check_awake(struct getter *getter, vgw_error *err)
{
	enum vgw__probe_result result = VGW__PROBE_READY;
	json_t *root;

	if (get(getter, "/is_sleeping") != 200)
		return result;
	root = json_loadb(getter->answer.body, getter->answer.body_len, 0, NULL);
	if (json_is_true(json_object_get(root, "is_sleeping"))) {
		result = VGW__PROBE_ASLEEP;
		(void)vgw_error_set(err, VGW_BACKEND, 0, "the engine is asleep");
	}
	json_decref(root);
	return result;
}

static enum vgw__probe_result judge_models(const struct getter *getter, const json_t *data, vgw_error *err)
{
	const char *listed = NULL;

	for (size_t i = 0; i < json_array_size(data); i++) {
		const char *id = json_string_value(json_object_get(json_array_get(data, i), "id"));

		if (id && (strcmp(getter->probe->served_name, "*") == 0 || strcmp(id, getter->probe->served_name) == 0))
			return VGW__PROBE_READY;
		listed = id ? id : listed;
	}
	if (!listed) {
		(void)vgw_error_set(err, VGW_BACKEND, 0, "/v1/models lists no model yet");
		return VGW__PROBE_NOT_YET;
	}
	(void)vgw_error_set(err, VGW_BACKEND, 0,
		"the engine serves '%.60s' and not '%.60s'; give it that name, or set served_name", listed,
		getter->probe->served_name);
	return VGW__PROBE_WRONG_MODEL;
}

static enum vgw__probe_result check_models(struct getter *getter, vgw_error *err)
{
	enum vgw__probe_result result = VGW__PROBE_NOT_YET;
	uint32_t status = get(getter, "/v1/models");
	json_t *root;

	if (status != 200) {
		if (status == 0)
			(void)vgw_error_set(err, VGW_BACKEND, 0, "/v1/models: %.160s", getter->why.text);
		else
			(void)vgw_error_set(err, VGW_BACKEND, 0, "/v1/models answers %u", (unsigned)status);
		return result;
	}
	root = json_loadb(getter->answer.body, getter->answer.body_len, 0, NULL);
	if (json_is_array(json_object_get(root, "data")))
		result = judge_models(getter, json_object_get(root, "data"), err);
	else
		(void)vgw_error_set(err, VGW_BACKEND, 0, "/v1/models is not a list of models");
	json_decref(root);
	return result;
}

enum vgw__probe_result vgw__probe_run(const struct vgw__probe *probe, vgw_error *err)
{
	struct getter getter = { .probe = probe };
	enum vgw__probe_result result = check_health(&getter, err);

	if (result == VGW__PROBE_READY)
		result = check_awake(&getter, err);
	if (result == VGW__PROBE_READY)
		result = check_models(&getter, err);
	vgw__control_answer_fini(&getter.answer);
	return result;
}
