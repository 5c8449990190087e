/* SPDX-License-Identifier: Apache-2.0 */
/* What is sent to create a container. Only the configuration goes in, nothing of a request ever does. */
#include "backend/docker_config.h"

#include "backend/placed.h"
#include "backend/template.h"
#include "util/alloc.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* jansson's _new functions take their value also when they fail, and fail for NULL: one flag is enough. */
struct body {
	const struct vgw__docker_config *config;
	const struct vgw__docker_launch *launch;
	json_t *root;
	json_t *host; /* root's HostConfig */
	bool has_failed;
};

static void put(struct body *body, json_t *object, const char *key, json_t *value)
{
	body->has_failed = json_object_set_new(object, key, value) != 0 || body->has_failed;
}

static void put_text(struct body *body, json_t *object, const char *key, const char *text)
{
	if (text)
		put(body, object, key, json_string(text));
}

/* An absent list would mean the image's own. */
static void put_list(struct body *body, json_t *object, const char *key, const struct vgw__strings *list)
{
	json_t *array = list->count > 0 ? json_array() : NULL;

	if (list->count == 0)
		return;
	for (size_t i = 0; i < list->count; i++)
		body->has_failed = json_array_append_new(array,
			json_string(list->items[i])) != 0 || body->has_failed;
	put(body, object, key, array);
}

/* --- the templates --- */

static const char *devices_of(const struct body *body)
{
	return body->launch->devices ? body->launch->devices : body->config->devices;
}

static vgw_status expand(const struct body *body, const struct vgw__strings *from, struct vgw__strings *out,
	vgw_error *err)
{
	char port[8], share[VGW__SHARE_TEXT];
	const struct vgw__template_variable variables[] = {
		{ "PORT", port }, { "MODEL", body->config->served_name }, { "DEVICES", devices_of(body) },
		{ "GPU_MEMORY_UTILIZATION", vgw__placed_print_share(share, body->launch->share) },
		{ "HOST", "0.0.0.0" }, { NULL, NULL },
	};

	(void)snprintf(port, sizeof(port), "%u", (unsigned)body->launch->port);
	for (size_t i = 0; i < from->count; i++) {
		char *text;
		vgw_status status = vgw__template_expand(&text, from->items[i], variables, err);

		if (status != VGW_OK)
			return status;
		if (!vgw__strings_take(out, text))
			return vgw_error_set(err, VGW_NOMEM, 0, "model '%.60s': no memory", body->config->model);
	}
	return VGW_OK;
}

/* --- its parts --- */

static void put_labels(struct body *body)
{
	json_t *labels = json_object();

	put_text(body, labels, VGW__LABEL_INSTANCE, body->launch->instance);
	put_text(body, labels, VGW__LABEL_MODEL, body->config->model);
	put_text(body, labels, VGW__LABEL_REPLICA, body->config->replica);
	put_text(body, labels, VGW__LABEL_SPEC, body->config->hash ? body->config->hash : "");
	put_text(body, labels, VGW__LABEL_NONCE, body->launch->nonce);
	put(body, body->root, "Labels", labels);
}

bool vgw__docker_config_wants_gpus(const struct vgw__docker_config *config, const char *devices)
{
	return config->gpu_ids.count > 0 || config->gpu_count != 0 ||
		(config->is_gpu_auto && devices && devices[0]);
}

static void put_gpus(struct body *body)
{
	const struct vgw__docker_config *config = body->config;
	struct vgw__strings placed = { 0 };
	json_t *request;

	if (!vgw__docker_config_wants_gpus(config, body->launch->devices))
		return;
	/* without devices of its own, all are all */
	if (config->gpu_ids.count == 0 && (config->gpu_count >= 0 || config->devices[0]) &&
		!vgw__placed_split(&placed, devices_of(body)))
		body->has_failed = true;
	request = json_pack("{s:s, s:[[s]]}", "Driver", "", "Capabilities", "gpu");
	if (config->gpu_ids.count > 0)
		put_list(body, request, "DeviceIDs", &config->gpu_ids);
	else if (placed.count > 0)
		put_list(body, request, "DeviceIDs", &placed);
	else
		put(body, request, "Count", json_integer(config->gpu_count));
	vgw__strings_fini(&placed);
	put(body, body->host, "DeviceRequests", json_pack("[o]", request));
}

static void put_network(struct body *body)
{
	const struct vgw__docker_config *config = body->config;
	char port[16];

	put_text(body, body->host, "NetworkMode", config->network);
	if (!config->publish_address)
		return;
	(void)snprintf(port, sizeof(port), "%u/tcp", (unsigned)body->launch->port);
	put(body, body->root, "ExposedPorts", json_pack("{s:{}}", port));
	put(body, body->host, "PortBindings", json_pack("{s:[{s:s, s:s}]}", port, "HostIp",
		config->publish_address,
		"HostPort", "0"));
}

static void put_host(struct body *body)
{
	const struct vgw__docker_config *config = body->config;

	put(body, body->host, "RestartPolicy", json_pack("{s:s}", "Name", "no"));
	if (config->has_init)
		put(body, body->host, "Init", json_true());
	put_list(body, body->host, "Binds", &config->mounts);
	put_text(body, body->host, "IpcMode", config->ipc);
	put_text(body, body->host, "Runtime", config->runtime);
	if (config->shm_bytes > 0)
		put(body, body->host, "ShmSize", json_integer(config->shm_bytes));
	if (config->memory_bytes > 0) {
		put(body, body->host, "Memory", json_integer(config->memory_bytes));
		put(body, body->host, "MemorySwap", json_integer(config->memory_bytes));
	}
	put_gpus(body);
	put_network(body);
}

vgw_status vgw__docker_config_make_body(const struct vgw__docker_config *config,
	const struct vgw__docker_launch *launch, char **out, struct vgw__strings *argv, struct vgw__strings *env,
	vgw_error *err)
{
	struct body body = { .config = config, .launch = launch, .root = json_object(), .host = json_object() };
	struct vgw__strings entrypoint = { 0 };
	vgw_status status = expand(&body, &config->args, argv, err);

	*out = NULL;
	if (status == VGW_OK && config->is_share_wanted) {
		char share[VGW__SHARE_TEXT];

		if (!vgw__placed_add_share(argv, vgw__placed_print_share(share, launch->share)))
			body.has_failed = true;
	}
	if (status == VGW_OK)
		status = expand(&body, &config->entrypoint, &entrypoint, err);
	if (status == VGW_OK)
		status = expand(&body, &config->env, env, err);
	if (status == VGW_OK && !vgw__strings_get_value(env, "PYTHONUNBUFFERED") &&
		!vgw__strings_add(env, "PYTHONUNBUFFERED=1")) /* lines shall come when they are printed */
		body.has_failed = true;
	if (status == VGW_OK && config->can_sleep && !vgw__strings_get_value(env, "VLLM_SERVER_DEV_MODE") &&
		!vgw__strings_add(env, "VLLM_SERVER_DEV_MODE=1")) /* else it has no /sleep */
		body.has_failed = true;
	if (status == VGW_OK) {
		put_text(&body, body.root, "Image", config->image);
		put_text(&body, body.root, "User", config->user);
		put_list(&body, body.root, "Cmd", argv);
		put_list(&body, body.root, "Entrypoint", &entrypoint);
		put_list(&body, body.root, "Env", env);
		put(&body, body.root, "StopTimeout", json_integer((config->stop_timeout_ms + 999) / 1000));
		put_labels(&body);
		put_host(&body);
		put(&body, body.root, "HostConfig", json_incref(body.host));
		*out = body.has_failed ? NULL : json_dumps(body.root, JSON_COMPACT);
		if (!*out)
			status = vgw_error_set(err, VGW_NOMEM, 0, "model '%.60s': no memory, or a text of its "
				"configuration is not UTF-8", config->model);
	}
	vgw__strings_fini(&entrypoint);
	json_decref(body.host);
	json_decref(body.root);
	return status;
}
