/* SPDX-License-Identifier: Apache-2.0 */
/* Kind "http": a server that loads models itself. What its answer to a load or an unload says matters less than what
 * its list says afterwards: "already loaded" is an error to some of them, and a success to us. */
#include "backend/http.h"

#include "backend/builtin.h"
#include "backend/engine_call.h"
#include "backend/host.h"
#include "backend/template.h"
#include "util/alloc.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	LIST_MS = 5000,       /* one look into the list */
	ADOPT_MS = 2000,
	STEP_MS = 20,         /* between two looks while something is under way */
	STEP_MAX_MS = 250,    /* it doubles up to here */
	SILENCE_MS = 500,     /* how long what was accepted may not show in the list */
	MAX_TELLS = 8,
	MAX_DOUBTS = 3,       /* tells of them after which a 4xx is meant */
	EXCERPT_SIZE = 140,
};

/* --- words --- */

static bool is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c);
}

/* A name as a segment of a path. */
static char *escape_path(const char *name)
{
	char *out = vgw__alloc(strlen(name) * 3 + 1);
	size_t len = 0;

	for (; out && *name; name++) {
		if (is_plain(*name))
			out[len++] = *name;
		else
			len += (size_t)snprintf(out + len, 4, "%%%02X", (unsigned)(unsigned char)*name);
	}
	return out;
}

/* A name inside the quotes of a JSON text. */
static char *escape_json(const char *name)
{
	json_t *value = json_string(name);
	char *quoted = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
	char *out = quoted ? vgw__strndup(quoted + 1, strlen(quoted) - 2) : NULL;

	free(quoted);
	json_decref(value);
	return out;
}

static vgw_status fill(char **out, const char *template, char *name, vgw_error *err)
{
	const struct vgw__template_variable variables[] = { { "MODEL", name }, { NULL, NULL } };
	vgw_status status = name ? vgw__template_expand(out, template, variables, err)
		: vgw_error_set(err, VGW_NOMEM, 0, "no memory for a model's name");

	vgw__free(name);
	return status;
}

/* --- calls --- */

static vgw_status tell(struct vgw__http *http, bool is_load, int64_t deadline_ms, struct vgw__control_answer *answer,
	vgw_error *err)
{
	const struct vgw__http_config *config = &http->config;
	char *path = NULL, *body = NULL;
	vgw_status status = fill(&path, is_load ? config->load_path : config->unload_path,
		escape_path(config->served_name), err);
	struct vgw__engine_call call;

	memset(answer, 0, sizeof(*answer));
	if (status == VGW_OK)
		status = fill(&body, is_load ? config->load_body : config->unload_body,
			escape_json(config->served_name), err);
	call = (struct vgw__engine_call){
		.endpoint = http->endpoint, .path = path, .body = body && body[0] ? body : NULL,
		.method = is_load ? config->load_method : config->unload_method, .api_key = config->api_key,
		.deadline_ms = deadline_ms, .cancel_fd = vgw_host_get_cancel_fd(http->host),
	};
	if (status == VGW_OK)
		status = vgw__engine_call(&call, answer, err);
	vgw__free(path);
	vgw__free(body);
	return status;
}

static vgw_status look(struct vgw__http *http, int64_t deadline_ms, enum vgw__http_state *state, bool *is_listed,
	vgw_error *err)
{
	int64_t until_ms = vgw_now_ms() + LIST_MS < deadline_ms ? vgw_now_ms() + LIST_MS : deadline_ms;
	json_t *list;
	vgw_status status = vgw__http_fetch(&http->config, http->endpoint, until_ms,
		vgw_host_get_cancel_fd(http->host), &list, err);

	if (status == VGW_OK)
		*state = vgw__http_find(&http->config, list, is_listed);
	json_decref(list);
	return status;
}

/* --- failing --- */

static vgw_status fail(struct vgw__http *http, vgw_failure failure, const char *text, vgw_error *err)
{
	vgw_host_set_failure(http->host, failure, text);
	return vgw_error_set_fault(err, VGW_BACKEND, VGW_FAULT_MODEL_START_FAILED, "model '%.60s': %s",
		http->config.model, text);
}

static vgw_status fail_call(struct vgw__http *http, vgw_status status, const vgw_error *why, vgw_error *err)
{
	char text[240];

	if (status == VGW_NOT_FOUND)
		status = VGW_BACKEND;
	if (status != VGW_BACKEND && status != VGW_TIMEOUT)
		return vgw_error_set(err, status, 0, "model '%.60s': %.160s", http->config.model, why->text);
	(void)snprintf(text, sizeof(text), "%.80s: %.140s", http->config.url, why->text);
	(void)fail(http, VGW_FAILURE_RUNTIME, text, err);
	return status;
}

/* False: cancelled. */
static bool pause_for(const struct vgw__http *http, int64_t *step_ms)
{
	struct pollfd cancel = { .fd = vgw_host_get_cancel_fd(http->host), .events = POLLIN };
	int ms = (int)*step_ms;

	*step_ms = *step_ms * 2 < STEP_MAX_MS ? *step_ms * 2 : STEP_MAX_MS;
	return poll(&cancel, 1, ms) == 0;
}

/* --- loading --- */

/* The server said no. It is a yes when the model is there, or on its way; and a no of the moment is none: its room is
 * taken by a model that is about to leave, or it was "already running" and has ended meanwhile. */
static vgw_status judge_refusal(struct vgw__http *http, const struct vgw__control_answer *answer, int tells,
	int64_t deadline_ms, vgw_error *err)
{
	bool is_passing = answer->status == 429 || answer->status >= 500 ? tells < MAX_TELLS
		: answer->status != 404 && tells < MAX_DOUBTS;
	enum vgw__http_state state = VGW__HTTP_UNLOADED;
	char said[EXCERPT_SIZE], text[240];
	bool is_listed = true;
	vgw_error why = VGW_ERROR_INIT;
	vgw_status status = look(http, deadline_ms, &state, &is_listed, &why);

	if (status != VGW_OK)
		return fail_call(http, status, &why, err);
	if (state == VGW__HTTP_LOADED || state == VGW__HTTP_LOADING || is_passing)
		return VGW_OK;
	(void)snprintf(text, sizeof(text), "%.60s answers %u: %s", http->config.load_path, (unsigned)answer->status,
		vgw__engine_call_excerpt(answer, said, sizeof(said)));
	return fail(http, answer->status == 404 ? VGW_FAILURE_USER : VGW_FAILURE_UNKNOWN, text, err);
}

static vgw_status tell_to_load(struct vgw__http *http, int tells, int64_t deadline_ms, vgw_error *err)
{
	struct vgw__control_answer answer;
	vgw_error why = VGW_ERROR_INIT;
	vgw_status status = tell(http, true, deadline_ms, &answer, &why);

	if (status != VGW_OK)
		status = fail_call(http, status, &why, err);
	else if (answer.status / 100 != 2)
		status = judge_refusal(http, &answer, tells, deadline_ms, err);
	vgw__control_answer_fini(&answer);
	return status;
}

/* Tells it, and looks until it is so. When the list shows no trace of a load for a while, somebody has unloaded the
 * model meanwhile, or it was refused for the moment, or it failed at a server that does not tell: it is told again, a
 * few times. */
static vgw_status load(struct vgw__http *http, int64_t deadline_ms, vgw_error *err)
{
	enum vgw__http_state state = VGW__HTTP_UNLOADED;
	int64_t step_ms = STEP_MS, silent_until_ms = 0;
	int tells = 0;

	for (;;) {
		vgw_error why = VGW_ERROR_INIT;
		vgw_status status = look(http, deadline_ms, &state, NULL, &why);

		if (status != VGW_OK)
			return fail_call(http, status, &why, err);
		if (state == VGW__HTTP_LOADED)
			return VGW_OK;
		if (state == VGW__HTTP_FAILED && tells > 0)
			return fail(http, VGW_FAILURE_UNKNOWN, "the server failed to load it; its log says why", err);
		if (state == VGW__HTTP_LOADING) {
			vgw_host_set_progress(http->host, -1, "the server loads it");
			silent_until_ms = vgw_now_ms() + SILENCE_MS;
		} else if (vgw_now_ms() >= silent_until_ms) {
			if (tells++ == MAX_TELLS)
				return fail(http, VGW_FAILURE_UNKNOWN,
					"the server accepted the load and does not load it", err);
			status = tell_to_load(http, tells, deadline_ms, err);
			if (status != VGW_OK)
				return status;
			silent_until_ms = vgw_now_ms() + SILENCE_MS;
			step_ms = STEP_MS;
			continue;
		}
		if (vgw_now_ms() + step_ms >= deadline_ms)
			return vgw_error_set_fault(err, VGW_TIMEOUT, VGW_FAULT_MODEL_START_FAILED,
				"model '%.60s': the server has not loaded it in time", http->config.model);
		if (!pause_for(http, &step_ms))
			return vgw_error_set(err, VGW_CANCELLED, 0, "model '%.60s': its load was given up",
				http->config.model);
	}
}

/* --- unloading --- */

/* It is told again when the model is there for long after a yes: requests of others may have loaded it again before
 * the list was looked into. */
static vgw_status unload(struct vgw__http *http, int64_t deadline_ms, vgw_error *err)
{
	enum vgw__http_state state = VGW__HTTP_LOADED;
	char said[EXCERPT_SIZE] = "";
	int64_t step_ms = STEP_MS, silent_until_ms = 0;

	for (;;) {
		struct vgw__control_answer answer;
		vgw_error why = VGW_ERROR_INIT;
		vgw_status status = look(http, deadline_ms, &state, NULL, &why);

		if (status == VGW_NOT_FOUND)
			return VGW_OK; /* its models went with it; should they turn up again, the thread will see */
		if (status != VGW_OK)
			return vgw_error_set(err, status, 0, "model '%.60s': %.160s", http->config.model, why.text);
		if (state != VGW__HTTP_LOADED && state != VGW__HTTP_LOADING)
			return VGW_OK;
		if (vgw_now_ms() >= silent_until_ms) {
			status = tell(http, false, deadline_ms, &answer, err);
			if (answer.status / 100 == 2)
				silent_until_ms = vgw_now_ms() + SILENCE_MS;
			(void)vgw__engine_call_excerpt(&answer, said, sizeof(said));
			vgw__control_answer_fini(&answer);
			if (status != VGW_OK)
				return status;
		}
		if (vgw_now_ms() + step_ms >= deadline_ms)
			return vgw_error_set(err, VGW_TIMEOUT, 0, "model '%.60s': the server does not unload it: %s",
				http->config.model, said);
		if (!pause_for(http, &step_ms))
			return vgw_error_set(err, VGW_CANCELLED, 0, "model '%.60s': given up", http->config.model);
	}
}

/* --- the operations --- */

static void http_destroy(void *self)
{
	struct vgw__http *http = self;

	if (!http)
		return;
	vgw__http_leave(http);
	vgw__endpoint_unref(http->endpoint);
	vgw__http_config_fini(&http->config);
	vgw__free(http);
}

static vgw_status http_create(void **self, const vgw_replica_spec *spec, vgw_host *host, void *user, vgw_error *err)
{
	struct vgw__http *http = vgw__alloc(sizeof(*http));
	vgw_status status;

	*self = NULL;
	if (!http)
		return vgw_error_set(err, VGW_NOMEM, 0, "model '%.60s': no memory for its backend", spec->model);
	http->host = host;
	http->kind = user;
	vgw__list_init(&http->link);
	status = vgw__http_config_read(&http->config, spec, err);
	if (status != VGW_OK) {
		http_destroy(http);
		return status;
	}
	*self = http;
	return VGW_OK;
}

/* What every operation begins with. Names are looked up here, where it may take its time. */
static vgw_status begin(struct vgw__http *http, vgw_error *err)
{
	vgw_status status = VGW_OK;

	if (!http->endpoint) {
		status = vgw__endpoint_new(&http->endpoint, http->config.url, err);
		if (status == VGW_OK) /* now: once joined, the server's thread reads it, too */
			status = vgw__host_check_endpoint(http->host, http->endpoint, err);
		if (status != VGW_OK) {
			vgw__endpoint_unref(http->endpoint);
			http->endpoint = NULL;
		}
	}
	if (status == VGW_OK)
		status = vgw__http_join(http, err);
	if (status == VGW_OK)
		vgw__http_begin(http);
	return status;
}

static vgw_status serve(struct vgw__http *http, vgw_error *err)
{
	vgw_status status = vgw_host_set_endpoint(http->host, http->config.url, err);

	http->has_endpoint = status == VGW_OK; /* is_busy: the thread does not look */
	return status;
}

static vgw_status http_activate(void *self, int64_t deadline_ms, vgw_error *err)
{
	struct vgw__http *http = self;
	int64_t own_ms = vgw_now_ms() + http->config.start_timeout_ms;
	vgw_status status = begin(http, err);

	if (status != VGW_OK)
		return status;
	status = load(http, own_ms < deadline_ms ? own_ms : deadline_ms, err);
	if (status == VGW_OK)
		status = serve(http, err);
	vgw__http_end(http, status == VGW_OK);
	return status;
}

static vgw_status http_deactivate(void *self, vgw_depth depth, int64_t deadline_ms, vgw_error *err)
{
	struct vgw__http *http = self;
	int64_t own_ms = vgw_now_ms() + http->config.stop_timeout_ms;
	vgw_status status = begin(http, err);

	if (depth != VGW_DEPTH_STOP)
		vgw_host_set_depth(http->host, VGW_DEPTH_STOP);
	if (status != VGW_OK)
		return status;
	status = unload(http, own_ms < deadline_ms ? own_ms : deadline_ms, err);
	vgw__http_end(http, false);
	return status;
}

static vgw_status http_probe(void *self, int64_t deadline_ms, vgw_error *err)
{
	struct vgw__http *http = self;
	enum vgw__http_state state = VGW__HTTP_UNLOADED;
	vgw_status status = look(http, deadline_ms, &state, NULL, err);

	if (status == VGW_OK && state != VGW__HTTP_LOADED)
		status = vgw_error_set(err, VGW_BACKEND, 0, "model '%.60s': the server has not loaded it",
			http->config.model);
	return status;
}

/* Nothing needs to be remembered: the list tells. */
static vgw_status http_adopt(void *self, const char *identity, int64_t deadline_ms, vgw_error *err)
{
	struct vgw__http *http = self;
	int64_t own_ms = vgw_now_ms() + ADOPT_MS;
	vgw_status status = begin(http, err);

	(void)identity;
	if (status != VGW_OK)
		return status;
	status = http_probe(http, own_ms < deadline_ms ? own_ms : deadline_ms, err);
	if (status == VGW_OK)
		status = serve(http, err);
	vgw__http_end(http, status == VGW_OK);
	return status == VGW_OK ? status : VGW_NOT_FOUND;
}

const vgw_controller_ops vgw__http_ops = {
	.size = sizeof(vgw_controller_ops),
	.kind = "http",
	.flags = VGW_CONTROLLER_SELF_RUNNING,
	.create = http_create,
	.destroy = http_destroy,
	.activate = http_activate,
	.deactivate = http_deactivate,
	.probe = http_probe,
	.adopt = http_adopt,
};

/* --- what the instances share --- */

vgw_status vgw__http_kind_new(struct vgw__http_kind **out, vgw_error *err)
{
	struct vgw__http_kind *kind = vgw__alloc(sizeof(*kind));

	*out = NULL;
	if (!kind || pthread_mutex_init(&kind->mutex, NULL) != 0) {
		vgw__free(kind);
		return vgw_error_set(err, VGW_NOMEM, 0, "no memory for the kind http");
	}
	vgw__list_init(&kind->servers);
	*out = kind;
	return VGW_OK;
}

void vgw__http_kind_free(struct vgw__http_kind *kind)
{
	if (!kind)
		return;
	(void)pthread_mutex_destroy(&kind->mutex);
	vgw__free(kind);
}
