/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP call per question. The server's Status object carries a sentence; ours names what it was about and what
 * would help, because the reader of "403" knows neither.
 *
 *   call ──► token file ──► GET or PATCH ──► 2xx: JSON
 *                                       ├──► 401, 403: again, once
 *                                       ├──► 409, 429, 5xx, no answer: again, a few times
 *                                       └──► else: a sentence with a remedy */
#include "backend/kubernetes_api.h"

#include "backend/redact.h"
#include "net/control.h"
#include "util/alloc.h"
#include "util/buf.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

enum {
	TOKEN_SIZE = 16384,
	URL_BYTES = 8192,
	ANSWER_BYTES = 64 << 20, /* a list of a large namespace */
	SAID_SIZE = 160,
	ATTEMPTS = 5,
	ATTEMPT_MS = 10000,
	FIRST_PAUSE_MS = 200,
	LONGEST_PAUSE_MS = 5000,
	DENIED_PAUSE_MS = 500,
};

bool vgw__kube_pause(int cancel_fd, int64_t ms)
{
	struct pollfd cancel = { .fd = cancel_fd, .events = POLLIN };

	return poll(&cancel, cancel_fd >= 0 ? 1 : 0, ms > 0 ? (int)ms : 0) > 0;
}

/* --- the request --- */

static bool add_escaped(struct vgw__buf *url, const char *text)
{
	bool is_added = true;

	for (; *text && is_added; text++) {
		unsigned char c = (unsigned char)*text;
		bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			strchr("-._~", c) != NULL;

		is_added = is_plain ? vgw__buf_append(url, text, 1) : vgw__buf_print(url, "%%%02X", c);
	}
	return is_added;
}

/* "deployments/scale" of "big" is deployments/big/scale. */
static bool print_url(struct vgw__buf *url, const struct vgw__kube_call *call)
{
	const char *below = strchr(call->resource, '/');
	int len = below ? (int)(below - call->resource) : (int)strlen(call->resource);
	const char *mark = "?";
	bool is_good;

	is_good = vgw__buf_print(url, "%s/%s%s/%s/namespaces/%s/%.*s%s%s%s", call->cluster->api_server,
		call->group[0] ? "apis/" : "api", call->group, call->version ? call->version : "v1", call->cluster->space, len,
		call->resource,
		call->name ? "/" : "", call->name ? call->name : "", below ? below : "");
	if (is_good && call->selector) {
		is_good = vgw__buf_print(url, "?labelSelector=") && add_escaped(url, call->selector);
		mark = "&";
	}
	if (is_good && call->more)
		is_good = vgw__buf_print(url, "%s%s", mark, call->more);
	return is_good && vgw__buf_append(url, "", 1);
}

static vgw_status read_token(const struct vgw__kube_cluster *cluster, char *token, size_t size, vgw_error *err)
{
	token[0] = '\0';
	if (!cluster->token_file || vgw__kube_read_file(cluster->token_file, token, size))
		return VGW_OK;
	return vgw_error_set(err, VGW_BACKEND, errno,
		"the token of the service account cannot be read from %.80s: %s; mount it (automountServiceAccountToken), or "
		"set token_file", cluster->token_file, errno == EINVAL ? "it is not one word" : strerror(errno));
}

/* --- refusals --- */

/* What the server says of it, fit for eyes. */
static void get_said(const char *body, size_t len, char said[SAID_SIZE], json_int_t *retry_s)
{
	const struct vgw__strings no_secrets = { 0 };
	json_t *root = json_loadb(body, len, 0, NULL);
	const char *message = json_string_value(json_object_get(root, "message"));
	const char *text = message ? message : root ? "" : body;

	*retry_s = json_integer_value(json_object_get(json_object_get(root, "details"), "retryAfterSeconds"));
	vgw__redact_line(said, SAID_SIZE, text, strcspn(text, "\n"), &no_secrets);
	json_decref(root);
}

static const char *explain(uint32_t http)
{
	switch (http) {
	case 409:
		return "somebody else keeps changing it at the same time";
	case 410:
		return "what was asked for is too old";
	case 429:
		return "the API server limits our requests";
	default:
		return http >= 500 ? "the API server has failed" : "the API server does not take the request";
	}
}

static vgw_status refuse(const struct vgw__kube_call *call, uint32_t http, const char *said, vgw_error *err)
{
	const char *space = call->cluster->space;
	const char *name = call->name ? call->name : "";

	switch (http) {
	case 401:
		return vgw_error_set(err, VGW_BACKEND, 0,
			"%.60s does not accept the token in %.80s (401): is it of this cluster, not expired, for this audience?",
			call->cluster->api_server, call->cluster->token_file ? call->cluster->token_file : "token_file (not set)");
	case 403:
		return vgw_error_set(err, VGW_BACKEND, 0,
			"the service account may not %s %s (403); add to its Role in namespace %.63s: {apiGroups: [\"%s\"], "
			"resources: [%s], verbs: [%s]}", call->verb, call->resource, space, call->group, call->resource,
			call->verb);
	case 404:
		if (!call->name) /* an empty namespace, or none, has an empty list */
			return vgw_error_set(err, VGW_NOT_FOUND, 0,
				"%.80s knows no %s (404); is that the API server of a cluster, of Kubernetes 1.17 or newer?",
				call->cluster->api_server, call->resource);
		return vgw_error_set(err, VGW_NOT_FOUND, 0,
			"namespace %.63s has no %.*s '%.63s' (404); create it, or correct the name", space,
			(int)strcspn(call->resource, "/"), call->resource, name);
	default:
		return vgw_error_set(err, VGW_BACKEND, 0, "%s %s %.63s/%.63s: %s (%u): %s", call->verb, call->resource,
			space, name, explain(http), (unsigned)http, said);
	}
}

/* --- one attempt --- */

struct attempt {
	const struct vgw__kube_call *call;
	struct vgw__buf refusal; /* the body of an answer that is not good */
	json_int_t retry_s;
};

static bool on_piece(void *user, uint32_t status, const char *data, size_t len)
{
	struct attempt *attempt = user;

	if (status >= 200 && status < 300)
		return attempt->call->on_data(attempt->call->user, data, len);
	return vgw__buf_append(&attempt->refusal, data, len); /* it is full: more would not help */
}

static vgw_status judge(struct attempt *attempt, const struct vgw__control_answer *raw,
	struct vgw__kube_answer *answer, vgw_error *err)
{
	const struct vgw__kube_call *call = attempt->call;
	char said[SAID_SIZE];

	answer->http = raw->status;
	answer->is_refused = raw->status >= 400 && raw->status < 500 && raw->status != 409 && raw->status != 429;
	if (raw->status >= 200 && raw->status < 300) {
		if (call->on_data)
			return VGW_OK;
		answer->root = json_loadb(raw->body, raw->body_len, 0, NULL);
		if (json_is_object(answer->root))
			return VGW_OK;
		json_decref(answer->root);
		answer->root = NULL;
		return vgw_error_set(err, VGW_BACKEND, 0, "%s %s: the answer of %.80s is no JSON object", call->verb,
			call->resource, call->cluster->api_server);
	}
	if (call->on_data)
		get_said(attempt->refusal.data ? attempt->refusal.data : "", attempt->refusal.len, said, &attempt->retry_s);
	else
		get_said(raw->body, raw->body_len, said, &attempt->retry_s);
	return refuse(call, raw->status, said, err);
}

static vgw_status send_it(struct attempt *attempt, struct vgw__kube_answer *answer, const char *url,
	const char *token, vgw_error *err)
{
	const struct vgw__kube_call *call = attempt->call;
	struct vgw__control_request request = VGW__CONTROL_REQUEST_INIT;
	struct vgw__control_answer raw = { 0 };
	vgw_status status;

	request.url = url;
	request.method = call->patch ? "PATCH" : NULL;
	request.body = call->patch;
	request.body_len = call->patch ? strlen(call->patch) : 0;
	request.content_type = "application/merge-patch+json";
	request.bearer_token = token[0] ? token : NULL;
	request.ca_file = call->cluster->ca_file;
	request.deadline_ms = call->deadline_ms;
	request.cancel_fd = call->cancel_fd;
	request.max_answer_bytes = ANSWER_BYTES;
	request.on_data = call->on_data ? on_piece : NULL;
	request.user = attempt;
	status = vgw__control_call(&request, &raw, err);
	if (status == VGW_OK)
		status = judge(attempt, &raw, answer, err);
	else if (status == VGW_INVALID)
		status = VGW_BACKEND; /* a wrong URL may be of the environment: no reason to give the model up */
	vgw__control_answer_fini(&raw);
	return status;
}

static vgw_status try_once(const struct vgw__kube_call *call, struct vgw__kube_answer *answer, json_int_t *retry_s,
	vgw_error *err)
{
	struct attempt attempt = { .call = call };
	struct vgw__buf url;
	vgw_status status;
	char *token;

	memset(answer, 0, sizeof(*answer));
	vgw__buf_init(&url, URL_BYTES);
	vgw__buf_init(&attempt.refusal, URL_BYTES);
	token = vgw__alloc(TOKEN_SIZE);
	if (!token || !print_url(&url, call))
		status = vgw_error_set(err, VGW_NOMEM, 0, "no memory to ask the API server");
	else
		status = read_token(call->cluster, token, TOKEN_SIZE, err);
	if (status == VGW_OK)
		status = send_it(&attempt, answer, url.data, token, err);
	*retry_s = attempt.retry_s;
	if (token)
		explicit_bzero(token, TOKEN_SIZE);
	vgw__free(token);
	vgw__buf_fini(&attempt.refusal);
	vgw__buf_fini(&url);
	return status;
}

static vgw_status try_until_known(const struct vgw__kube_call *call, struct vgw__kube_answer *answer,
	json_int_t *retry_s, vgw_error *err)
{
	vgw_error why = VGW_ERROR_INIT;
	vgw_status status = try_once(call, answer, retry_s, &why);
	bool is_denied = status != VGW_OK && (answer->http == 401 || answer->http == 403);

	if (!is_denied || vgw_now_ms() + DENIED_PAUSE_MS >= call->deadline_ms)
		return status == VGW_OK ? status : vgw_error_set(err, status, why.sys_errno, "%s", why.text);
	if (vgw__kube_pause(call->cancel_fd, DENIED_PAUSE_MS))
		return vgw_error_set(err, VGW_CANCELLED, 0, "%s %s: cancelled", call->verb, call->resource);
	return try_once(call, answer, retry_s, err);
}

vgw_status vgw__kube_call_once(const struct vgw__kube_call *call, struct vgw__kube_answer *answer, vgw_error *err)
{
	json_int_t retry_s;

	return try_until_known(call, answer, &retry_s, err);
}

/* --- some attempts --- */

static bool is_worth_another(const struct vgw__kube_call *call, const struct vgw__kube_answer *answer,
	vgw_status status, int attempt)
{
	if (status == VGW_CANCELLED || status == VGW_NOMEM)
		return false;
	if (attempt + 1 >= ATTEMPTS && vgw_now_ms() >= call->patient_until_ms)
		return false;
	return !answer->is_refused;
}

vgw_status vgw__kube_call(const struct vgw__kube_call *call, struct vgw__kube_answer *answer, vgw_error *err)
{
	int64_t pause_ms = FIRST_PAUSE_MS;
	vgw_error why;
	vgw_status status;

	for (int attempt = 0;; attempt++) {
		struct vgw__kube_call one = *call;
		int64_t now = vgw_now_ms(), wait_ms = pause_ms;
		json_int_t retry_s;

		if (now + ATTEMPT_MS < one.deadline_ms)
			one.deadline_ms = now + ATTEMPT_MS;
		why = (vgw_error)VGW_ERROR_INIT;
		status = try_until_known(&one, answer, &retry_s, &why);
		if (status == VGW_OK)
			return status;
		if (retry_s > 0 && retry_s * 1000 > wait_ms)
			wait_ms = retry_s < LONGEST_PAUSE_MS / 1000 ? retry_s * 1000 : LONGEST_PAUSE_MS;
		if (!is_worth_another(call, answer, status, attempt) || vgw_now_ms() + wait_ms >= call->deadline_ms)
			break;
		if (vgw__kube_pause(call->cancel_fd, wait_ms))
			return vgw_error_set(err, VGW_CANCELLED, 0, "%s %s: cancelled", call->verb, call->resource);
		pause_ms = pause_ms * 2 < LONGEST_PAUSE_MS ? pause_ms * 2 : LONGEST_PAUSE_MS;
	}
	return vgw_error_set(err, status, why.sys_errno, "%s", why.text);
}
