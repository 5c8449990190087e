/* SPDX-License-Identifier: Apache-2.0 */
/* One control call: an easy handle on a multi handle of its own, driven by curl_multi_poll() so that the caller's
 * cancel descriptor is waited for together with the socket.
 *
 *   request ──► options ──► perform ◄──► poll (socket, cancel_fd, deadline) ──► answer
 */
#include "net/control.h"

#include "net/curl_base.h"
#include "util/alloc.h"
#include "util/buf.h"

#include <string.h>

enum { POLL_MS = 250 }; /* at the most: libcurl's own timers have been late before */

struct call {
	const struct vgw__control_request *request;
	CURL *easy;
	CURLM *multi;
	struct curl_slist *headers;
	struct curl_slist *resolved;
	struct vgw__buf body;
	bool is_too_large;
	bool is_enough; /* on_data said so */
	bool is_done;
	CURLcode result;
	char words[CURL_ERROR_SIZE];
};

static const char *method_of(const struct vgw__control_request *request)
{
	return request->method ? request->method : "GET";
}

/* --- the answer's bytes ------------------------------------------------------------------------------------------ */

static size_t on_body(char *data, size_t size, size_t count, void *user)
{
	struct call *call = user;
	const struct vgw__control_request *request = call->request;
	size_t len = size * count;
	long status = 0;

	if (request->on_data) {
		(void)curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
		call->is_enough = len && !request->on_data(request->user, (uint32_t)status, data, len);
		return call->is_enough ? 0 : len;
	}
	if (len > call->body.ceiling - call->body.len) {
		call->is_too_large = true;
		return 0;
	}
	return vgw__buf_append(&call->body, data, len) ? len : 0;
}

/* --- options ----------------------------------------------------------------------------------------------------- */

static vgw_status out_of_memory(vgw_error *err)
{
	return vgw_error_set(err, VGW_NOMEM, 0, "control call");
}

/* libcurl sends header lines as they are: what could end a line must not be in them. */
static bool is_one_line(const char *text)
{
	for (; *text; text++)
		if (((unsigned char)*text < 0x20 && *text != '\t') || *text == 0x7f)
			return false;
	return true;
}

static vgw_status add_header(struct call *call, const char *name, const char *value, vgw_error *err)
{
	char *line;
	bool is_added;

	if (!is_one_line(value))
		return vgw_error_set(err, VGW_INVALID, 0, "the %s header of a control call has control characters", name);
	line = vgw__printf("%s: %s", name, value);
	is_added = line && vgw__curl_append(&call->headers, line);
	vgw__free(line);
	return is_added ? VGW_OK : out_of_memory(err);
}

static vgw_status add_headers(struct call *call, vgw_error *err)
{
	const struct vgw__control_request *request = call->request;
	const char *type = request->content_type ? request->content_type : "application/json";
	vgw_status status = VGW_OK;
	char *bearer;

	for (size_t i = 0; i < request->header_count; i++) {
		if (!is_one_line(request->headers[i]))
			return vgw_error_set(err, VGW_INVALID, 0, "a header of a control call has control characters");
		if (!vgw__curl_append(&call->headers, request->headers[i]))
			return out_of_memory(err);
	}
	/* without "Expect:" libcurl would wait for a 100 before a large body */
	if (!vgw__curl_append(&call->headers, "Expect:"))
		return out_of_memory(err);
	if (request->body)
		status = add_header(call, "Content-Type", type, err);
	if (status != VGW_OK || !request->bearer_token)
		return status;
	bearer = vgw__printf("Bearer %s", request->bearer_token);
	status = bearer ? add_header(call, "Authorization", bearer, err) : out_of_memory(err);
	vgw__free(bearer);
	return status;
}

static CURLcode set_options(struct call *call)
{
	const struct vgw__control_request *request = call->request;
	CURL *easy = call->easy;
	CURLcode rc = vgw__curl_harden(easy, request->ca_file);

	VGW__CURL_SET(rc, easy, CURLOPT_URL, request->url);
	VGW__CURL_SET(rc, easy, CURLOPT_RESOLVE, call->resolved);
	if (request->unix_path)
		VGW__CURL_SET(rc, easy, CURLOPT_UNIX_SOCKET_PATH, request->unix_path);
	if (request->cert_file)
		VGW__CURL_SET(rc, easy, CURLOPT_SSLCERT, request->cert_file);
	if (request->key_file)
		VGW__CURL_SET(rc, easy, CURLOPT_SSLKEY, request->key_file);
	if (request->body) {
		VGW__CURL_SET(rc, easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_len);
		VGW__CURL_SET(rc, easy, CURLOPT_POSTFIELDS, request->body);
	} else if (strcmp(method_of(request), "POST") == 0) {
		VGW__CURL_SET(rc, easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)0);
		VGW__CURL_SET(rc, easy, CURLOPT_POSTFIELDS, "");
	}
	if (strcmp(method_of(request), "HEAD") == 0)
		VGW__CURL_SET(rc, easy, CURLOPT_NOBODY, 1L);
	else
		VGW__CURL_SET(rc, easy, CURLOPT_CUSTOMREQUEST, method_of(request));
	VGW__CURL_SET(rc, easy, CURLOPT_HTTPHEADER, call->headers);
	VGW__CURL_SET(rc, easy, CURLOPT_WRITEFUNCTION, on_body);
	VGW__CURL_SET(rc, easy, CURLOPT_WRITEDATA, call);
	VGW__CURL_SET(rc, easy, CURLOPT_ERRORBUFFER, call->words);
	VGW__CURL_SET(rc, easy, CURLOPT_FORBID_REUSE, 1L);
	return rc;
}

static vgw_status prepare(struct call *call, vgw_error *err)
{
	vgw_status status;
	CURLcode rc;

	call->easy = curl_easy_init();
	call->multi = curl_multi_init();
	if (!call->easy || !call->multi)
		return out_of_memory(err);
	status = add_headers(call, err);
	if (status != VGW_OK)
		return status;
	if (call->request->endpoint && !vgw__curl_add_addresses(&call->resolved, call->request->endpoint))
		return out_of_memory(err);
	rc = set_options(call);
	if (rc == CURLE_OUT_OF_MEMORY)
		return out_of_memory(err);
	if (rc != CURLE_OK)
		return vgw_error_set(err, VGW_INVALID, 0, "libcurl refuses the control call: %s", curl_easy_strerror(rc));
	if (curl_multi_add_handle(call->multi, call->easy) != CURLM_OK)
		return out_of_memory(err);
	return VGW_OK;
}

/* --- driving it -------------------------------------------------------------------------------------------------- */

static void look_for_end(struct call *call)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(call->multi, &left)) != NULL) {
		if (message->msg != CURLMSG_DONE)
			continue;
		call->is_done = true;
		call->result = message->data.result;
	}
}

static vgw_status drive(struct call *call, vgw_error *err)
{
	const struct vgw__control_request *request = call->request;
	struct curl_waitfd cancel = { .fd = request->cancel_fd, .events = CURL_WAIT_POLLIN };
	unsigned cancel_count = request->cancel_fd >= 0 ? 1 : 0;

	for (;;) {
		int64_t left_ms;
		int running;

		if (curl_multi_perform(call->multi, &running) != CURLM_OK)
			return vgw_error_set(err, VGW_INTERNAL, 0, "libcurl failed");
		look_for_end(call);
		if (call->is_done)
			return VGW_OK;
		left_ms = request->deadline_ms - vgw_now_ms();
		if (left_ms <= 0)
			return vgw_error_set(err, VGW_TIMEOUT, 0, "%s %.120s: no complete answer in time", method_of(request),
				request->url);
		cancel.revents = 0;
		if (curl_multi_poll(call->multi, &cancel, cancel_count, left_ms < POLL_MS ? (int)left_ms : POLL_MS, NULL) !=
			CURLM_OK)
			return vgw_error_set(err, VGW_INTERNAL, 0, "libcurl failed");
		if (cancel.revents)
			return vgw_error_set(err, VGW_CANCELLED, 0, "%s %.120s: cancelled", method_of(request), request->url);
	}
}

static vgw_status judge(struct call *call, vgw_error *err)
{
	const struct vgw__control_request *request = call->request;
	const char *words = call->words[0] ? call->words : curl_easy_strerror(call->result);
	vgw_status status = VGW_BACKEND;
	long sys_errno = 0;

	if (call->result == CURLE_OK || call->is_enough)
		return VGW_OK;
	if (call->is_too_large)
		return vgw_error_set(err, VGW_BACKEND, 0, "%s %.120s: the answer is larger than %zu bytes",
			method_of(request), request->url, call->body.ceiling);
	if (call->result == CURLE_OUT_OF_MEMORY || call->result == CURLE_WRITE_ERROR)
		return out_of_memory(err);
	if (call->result == CURLE_URL_MALFORMAT || call->result == CURLE_UNSUPPORTED_PROTOCOL ||
		call->result == CURLE_LOGIN_DENIED)
		return vgw_error_set(err, VGW_INVALID, 0, "a control call's URL is not acceptable: %s", words);
	(void)curl_easy_getinfo(call->easy, CURLINFO_OS_ERRNO, &sys_errno);
	return vgw_error_set(err, status, (int)sys_errno, "%s %.100s: %.110s", method_of(request), request->url, words);
}

static vgw_status give_answer(struct call *call, struct vgw__control_answer *answer, vgw_error *err)
{
	long status = 0;

	(void)curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	answer->body = vgw__strndup(call->body.data ? call->body.data : "", call->body.len);
	if (!answer->body)
		return out_of_memory(err);
	answer->body_len = call->body.len;
	answer->status = (uint32_t)status;
	return VGW_OK;
}

/* libcurl writes when it takes leave of a TLS connection, too: the caller keeps SIGPIPE blocked. */
static void clean_up(struct call *call)
{
	if (call->multi && call->easy)
		(void)curl_multi_remove_handle(call->multi, call->easy);
	curl_easy_cleanup(call->easy);
	(void)curl_multi_cleanup(call->multi);
	curl_slist_free_all(call->headers);
	curl_slist_free_all(call->resolved);
	vgw__buf_fini(&call->body);
}

vgw_status vgw__control_call(const struct vgw__control_request *request, struct vgw__control_answer *answer,
	vgw_error *err)
{
	struct call call = { .request = request };
	struct vgw__sigpipe guard;
	vgw_status status;

	memset(answer, 0, sizeof(*answer));
	status = vgw__curl_global(err);
	if (status != VGW_OK)
		return status;
	vgw__buf_init(&call.body, request->max_answer_bytes ? request->max_answer_bytes : VGW__CONTROL_ANSWER_BYTES);
	vgw__sigpipe_block(&guard);
	status = prepare(&call, err);
	if (status == VGW_OK)
		status = drive(&call, err);
	if (status == VGW_OK)
		status = judge(&call, err);
	if (status == VGW_OK)
		status = give_answer(&call, answer, err);
	clean_up(&call);
	vgw__sigpipe_restore(&guard);
	return status;
}

void vgw__control_answer_fini(struct vgw__control_answer *answer)
{
	vgw__free(answer->body);
	memset(answer, 0, sizeof(*answer));
}
