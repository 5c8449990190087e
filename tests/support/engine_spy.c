/* SPDX-License-Identifier: Apache-2.0 */
/* The simulator's /_engine routes. */
#include "engine_spy.h"

#include "net/control.h"

#include <jansson.h>
#include <string.h>

enum { SOON_MS = 10000 };

static json_t *call(const char *url, const char *method, const char *path, const char *body, uint32_t *status)
{
	struct vgw__control_request request = VGW__CONTROL_REQUEST_INIT;
	struct vgw__control_answer answer = { 0 };
	vgw_error err = VGW_ERROR_INIT;
	char whole[512];
	json_t *root;

	(void)snprintf(whole, sizeof(whole), "%s%s", url, path);
	request.url = whole;
	request.method = method;
	request.body = body;
	request.body_len = body ? strlen(body) : 0;
	request.deadline_ms = vgw_now_ms() + SOON_MS;
	request.max_answer_bytes = 8 << 20;
	if (vgw__control_call(&request, &answer, &err) != VGW_OK)
		fail_msg("%s: %s", path, err.text);
	*status = answer.status;
	root = json_loadb(answer.body, answer.body_len, 0, NULL);
	vgw__control_answer_fini(&answer);
	return root;
}

static json_t *get(const char *url, const char *path)
{
	uint32_t status;
	json_t *root = call(url, "GET", path, NULL, &status);

	assert_int_equal(status, 200);
	assert_non_null(root);
	return root;
}

/* "POST /sleep?level=1 HTTP/1.1\r\n..." up to the version. */
static size_t line_length(const char *head)
{
	const char *end = strstr(head, " HTTP/");

	assert_non_null(end);
	return (size_t)(end - head);
}

void spy_list(const char *url, const char *method, char out[SPY_TEXT])
{
	json_t *root = get(url, "/_engine/requests"), *item;
	size_t len = strlen(method), used = 0, i;

	out[0] = '\0';
	json_array_foreach(json_object_get(root, "requests"), i, item) {
		const char *head = json_string_value(json_object_get(item, "head"));
		int more;

		if (strncmp(head, method, len) != 0 || head[len] != ' ' || strstr(head, "/_engine/"))
			continue;
		more = snprintf(out + used, SPY_TEXT - used, "%.*s\n", (int)line_length(head), head);
		assert_true(more > 0 && (size_t)more < SPY_TEXT - used);
		used += (size_t)more;
	}
	json_decref(root);
}

void spy_last_body(const char *url, const char *target, char out[SPY_TEXT])
{
	json_t *root = get(url, "/_engine/requests"), *item;
	bool is_found = false;
	size_t i;

	json_array_foreach(json_object_get(root, "requests"), i, item) {
		const char *head = json_string_value(json_object_get(item, "head"));
		const char *place = strchr(head, ' ') + 1;

		if (strncmp(place, target, strlen(target)) != 0 || place[strlen(target)] != ' ')
			continue;
		(void)snprintf(out, SPY_TEXT, "%s", json_string_value(json_object_get(item, "body")));
		is_found = true;
	}
	json_decref(root);
	assert_true(is_found);
}

void spy_forget(const char *url)
{
	uint32_t status = spy_post(url, "/_engine/reset", "{}");

	assert_int_equal(status, 200);
}

void spy_inject(const char *url, const char *fault)
{
	char body[256];

	(void)snprintf(body, sizeof(body), "{\"spec\":\"%s\",\"where\":\"all\"}", fault);
	assert_int_equal(spy_post(url, "/_engine/fault", body), 200);
}

int64_t spy_count(const char *url, const char *counter)
{
	json_t *root = get(url, "/_engine/counters");
	int64_t count = json_integer_value(json_object_get(root, counter));

	json_decref(root);
	return count;
}

uint32_t spy_post(const char *url, const char *path, const char *body)
{
	uint32_t status;

	json_decref(call(url, "POST", path, body, &status));
	return status;
}
