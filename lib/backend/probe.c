/* SPDX-License-Identifier: Apache-2.0 */
/* Three GETs with libcurl, over one connection, within one deadline. Blocks: runs on executor threads. */
#include "backend/probe.h"

#include "util/buf.h"

#include <curl/curl.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

enum { ANSWER_CEILING = 1024 * 1024, URL_SIZE = 2048 };

struct getter {
	const struct vgw__probe *probe;
	CURL *easy;
	struct vgw__buf body;
	char why[CURL_ERROR_SIZE];
};

/* --- one GET --- */

static size_t on_body(char *data, size_t size, size_t count, void *user)
{
	struct getter *getter = user;

	return vgw__buf_append(&getter->body, data, size * count) ? size * count : 0;
}

/* libcurl asks about once a second and whenever something moves. */
static int on_progress(void *user, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up)
{
	const struct getter *getter = user;
	struct pollfd cancel = { .fd = getter->probe->cancel_fd, .events = POLLIN };

	(void)down_total;
	(void)down;
	(void)up_total;
	(void)up;
	return cancel.fd >= 0 && poll(&cancel, 1, 0) == 1;
}

static bool set_up(struct getter *getter)
{
	const struct vgw__probe *probe = getter->probe;
	CURL *easy = getter->easy;
	bool is_set = curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_WRITEDATA, getter) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_XFERINFODATA, getter) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, getter->why) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK;

	if (is_set && probe->endpoint->unix_path)
		is_set = curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, probe->endpoint->unix_path) == CURLE_OK;
	if (is_set && probe->api_key && probe->api_key[0] != '\0') {
		is_set = curl_easy_setopt(easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER) == CURLE_OK &&
			curl_easy_setopt(easy, CURLOPT_XOAUTH2_BEARER, probe->api_key) == CURLE_OK;
	}
	return is_set;
}

/* The status of the answer; 0: none, and getter->why says why. */
static long get(struct getter *getter, const char *path)
{
	const struct vgw__endpoint *endpoint = getter->probe->endpoint;
	int64_t left_ms = getter->probe->deadline_ms - vgw_now_ms();
	char url[URL_SIZE];
	long status = 0;

	getter->why[0] = '\0';
	vgw__buf_reset(&getter->body);
	(void)snprintf(url, sizeof(url), "%s%s%s", endpoint->unix_path ? "http://localhost" : endpoint->url,
		endpoint->unix_path ? endpoint->base_path : "", path);
	if (left_ms <= 0) {
		(void)snprintf(getter->why, sizeof(getter->why), "no time left");
		return 0;
	}
	if (curl_easy_setopt(getter->easy, CURLOPT_URL, url) != CURLE_OK ||
		curl_easy_setopt(getter->easy, CURLOPT_TIMEOUT_MS, (long)left_ms) != CURLE_OK ||
		curl_easy_perform(getter->easy) != CURLE_OK ||
		curl_easy_getinfo(getter->easy, CURLINFO_RESPONSE_CODE, &status) != CURLE_OK)
		return 0;
	return status;
}

/* --- what the answers mean --- */

static enum vgw__probe_result check_health(struct getter *getter, vgw_error *err)
{
	long status = get(getter, "/health");

	/* 404, 405: an engine without that route is judged by its models */
	if (status == 200 || status == 404 || status == 405)
		return VGW__PROBE_READY;
	if (status == 0)
		(void)vgw_error_set(err, VGW_BACKEND, 0, "/health: %.160s", getter->why);
	else
		(void)vgw_error_set(err, VGW_BACKEND, 0, "/health answers %ld", status);
	return VGW__PROBE_NOT_YET;
}

/* Only engines with a sleep mode have the route; whatever else they say, they are awake. */
static enum vgw__probe_result check_awake(struct getter *getter, vgw_error *err)
{
	enum vgw__probe_result result = VGW__PROBE_READY;
	json_t *root;

	if (get(getter, "/is_sleeping") != 200)
		return result;
	root = json_loadb(getter->body.data ? getter->body.data : "", getter->body.len, 0, NULL);
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

		if (id && strcmp(id, getter->probe->served_name) == 0)
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
	long status = get(getter, "/v1/models");
	json_t *root;

	if (status != 200) {
		if (status == 0)
			(void)vgw_error_set(err, VGW_BACKEND, 0, "/v1/models: %.160s", getter->why);
		else
			(void)vgw_error_set(err, VGW_BACKEND, 0, "/v1/models answers %ld", status);
		return result;
	}
	root = json_loadb(getter->body.data ? getter->body.data : "", getter->body.len, 0, NULL);
	if (json_is_array(json_object_get(root, "data")))
		result = judge_models(getter, json_object_get(root, "data"), err);
	else
		(void)vgw_error_set(err, VGW_BACKEND, 0, "/v1/models is not a list of models");
	json_decref(root);
	return result;
}

enum vgw__probe_result vgw__probe_run(const struct vgw__probe *probe, vgw_error *err)
{
	struct getter getter = { .probe = probe, .easy = curl_easy_init() };
	enum vgw__probe_result result = VGW__PROBE_NOT_YET;

	vgw__buf_init(&getter.body, ANSWER_CEILING);
	if (!getter.easy || !set_up(&getter)) {
		(void)vgw_error_set(err, VGW_NOMEM, 0, "no memory to ask the engine whether it serves");
	} else {
		result = check_health(&getter, err);
		if (result == VGW__PROBE_READY)
			result = check_awake(&getter, err);
		if (result == VGW__PROBE_READY)
			result = check_models(&getter, err);
	}
	curl_easy_cleanup(getter.easy);
	vgw__buf_fini(&getter.body);
	return result;
}
