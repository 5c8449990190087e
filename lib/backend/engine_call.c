/* SPDX-License-Identifier: Apache-2.0 */
/* From an endpoint and a path to a control call. */
#include "backend/engine_call.h"

#include <stdio.h>
#include <string.h>

enum { ANSWER_BYTES = 1024 * 1024, URL_SIZE = 2048 };

vgw_status vgw__engine_call(const struct vgw__engine_call *call, struct vgw__control_answer *answer, vgw_error *err)
{
	const struct vgw__endpoint *endpoint = call->endpoint;
	struct vgw__control_request request = VGW__CONTROL_REQUEST_INIT;
	char url[URL_SIZE];
	int len;

	memset(answer, 0, sizeof(*answer));
	len = snprintf(url, sizeof(url), "%s%s%s", endpoint->unix_path ? "http://localhost" : endpoint->url,
		endpoint->unix_path ? endpoint->base_path : "", call->path);
	if (len < 0 || len >= URL_SIZE)
		return vgw_error_set(err, VGW_INVALID, 0, "its URL is too long");
	if (!endpoint->address_count)
		return vgw_error_set(err, VGW_BACKEND, 0, "its name cannot be resolved");
	request.url = url;
	request.endpoint = endpoint;
	request.unix_path = endpoint->unix_path;
	request.ca_file = endpoint->ca_file;
	request.method = call->method;
	request.body = call->body;
	request.body_len = call->body ? strlen(call->body) : 0;
	request.bearer_token = call->api_key && call->api_key[0] ? call->api_key : NULL;
	request.deadline_ms = call->deadline_ms;
	request.max_answer_bytes = call->max_answer_bytes ? call->max_answer_bytes : ANSWER_BYTES;
	request.cancel_fd = call->cancel_fd;
	return vgw__control_call(&request, answer, err);
}

const char *vgw__engine_call_excerpt(const struct vgw__control_answer *answer, char *out, size_t size)
{
	size_t len = 0;

	for (size_t i = 0; i < answer->body_len && len + 1 < size; i++) {
		unsigned char byte = (unsigned char)answer->body[i];

		if (byte < 0x20 || byte > 0x7e)
			byte = ' ';
		if (byte != ' ' || (len > 0 && out[len - 1] != ' '))
			out[len++] = (char)byte;
	}
	out[len] = '\0';
	return out;
}
