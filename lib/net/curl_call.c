/* SPDX-License-Identifier: Apache-2.0 */
/* One request by libcurl: its options, its callbacks, its end. The head is collected line by line and judged by the
 * same strict parser as that of the h1 transport; the framing of the body is libcurl's work. */
#include "net/curl.h"

#include "util/alloc.h"

#include <string.h>

enum {
	IDLE_SECONDS = 4,   /* engines close idle connections after 5 */
	INTERIM_ANSWERS = 8,
};

/* --- the request's body ------------------------------------------------------------------------------------------ */

static void tell_sent(struct vgw__curl_call *call)
{
	if (call->is_told_sent || call->body_left)
		return;
	call->is_told_sent = true;
	if (call->events->on_sent)
		call->events->on_sent(call->user);
}

static size_t on_read(char *out, size_t size, size_t count, void *user)
{
	struct vgw__curl_call *call = user;
	size_t room = size * count, filled = 0;

	if (call->is_dead)
		return CURL_READFUNC_ABORT;
	while (call->body_left && filled < room) {
		const struct vgw__span *span = &call->body[call->segment];
		size_t take = span->len - call->offset;

		if (take > room - filled)
			take = room - filled;
		if (take)
			memcpy(out + filled, span->data + call->offset, take);
		filled += take;
		call->offset += take;
		call->body_left -= take;
		if (call->offset == span->len) {
			call->segment++;
			call->offset = 0;
		}
	}
	if (call->has_head)
		tell_sent(call); /* the answer was faster than the request */
	return filled;
}

/* libcurl would send a request again when a reused connection dies: that decision is the caller's. */
static int on_attempt(void *user, char *peer_ip, char *local_ip, int peer_port, int local_port)
{
	struct vgw__curl_call *call = user;
	long connects = 1;

	(void)peer_ip;
	(void)local_ip;
	(void)peer_port;
	(void)local_port;
	if (!call->attempts++ && curl_easy_getinfo(call->easy, CURLINFO_NUM_CONNECTS, &connects) == CURLE_OK)
		call->is_reused = connects == 0;
	return call->attempts > 1 || call->is_dead ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

/* --- the answer -------------------------------------------------------------------------------------------------- */

static bool finish_head(struct vgw__curl_call *call)
{
	struct vgw__curl *curl = vgw__curl_of(call);
	struct vgw__response_head response;
	struct vgw__h1_head head;
	size_t scanned = 0;
	enum vgw__h1_step step = vgw__h1_scan_head(call->head.data, call->head.len, &scanned, &call->why);

	if (step == VGW__H1_DONE)
		step = vgw__h1_parse_head(call->head.data, scanned, call->is_head_request, curl->headers, &head, &call->why);
	if (step != VGW__H1_DONE) {
		if (!call->why)
			call->why = "the answer's head is malformed";
		return false;
	}
	if (head.status < 200) {
		vgw__buf_reset(&call->head);
		if (++call->interim_count > INTERIM_ANSWERS)
			call->why = "the answer has too many 1xx heads before it";
		return !call->why;
	}
	call->has_head = true;
	response = (struct vgw__response_head){
		.status = head.status,
		.headers = curl->headers,
		.header_count = head.header_count,
		.content_length = head.announced,
	};
	tell_sent(call);
	call->events->on_head(call->user, &response);
	vgw__buf_fini(&call->head);
	return !call->is_dead;
}

/* libcurl hands on each line of the head, and later of the trailers, as it came. */
static size_t on_header(char *line, size_t size, size_t count, void *user)
{
	struct vgw__curl_call *call = user;
	size_t len = size * count;

	if (call->is_dead)
		return 0;
	call->has_answer = true;
	if (call->has_head) {
		call->trailer_bytes += len;
		if (call->trailer_bytes > VGW__H1_TRAILER_BYTES)
			call->why = "the answer's trailers are too large";
		return call->why ? 0 : len;
	}
	if (!vgw__buf_append(&call->head, line, len)) {
		call->why = "the answer's head is too large";
		return 0;
	}
	if (len > 2 || (line[0] != '\r' && line[0] != '\n'))
		return len;
	return finish_head(call) ? len : 0;
}

static size_t on_write(char *data, size_t size, size_t count, void *user)
{
	struct vgw__curl_call *call = user;
	size_t len = size * count;
	enum vgw__flow flow;

	if (call->is_dead || !call->has_head)
		return 0;
	if (call->is_paused) {
		call->is_held = true;
		return CURL_WRITEFUNC_PAUSE; /* libcurl keeps this piece, and reads no more */
	}
	if (!len)
		return 0;
	flow = call->events->on_data(call->user, data, len);
	if (call->is_dead)
		return 0;
	if (flow == VGW__FLOW_FULL)
		call->is_paused = true;
	return len;
}

/* --- options ----------------------------------------------------------------------------------------------------- */

/* An empty value is written "Name;" for libcurl: "Name:" would mean to leave the header out. */
static bool add_headers(struct vgw__curl_call *call, const struct vgw__upstream_request *request)
{
	bool is_fine = vgw__curl_append(&call->headers, "Expect:");

	for (size_t i = 0; is_fine && i < request->header_count; i++) {
		const struct vgw__header *header = &request->headers[i];
		char *line = vgw__printf("%.*s%s%.*s", (int)header->name.len, header->name.data,
			header->value.len ? ": " : ";", (int)header->value.len, header->value.data);

		is_fine = line && vgw__curl_append(&call->headers, line);
		vgw__free(line);
	}
	return is_fine;
}

static CURLcode set_method(struct vgw__curl_call *call, const struct vgw__upstream_request *request)
{
	CURLcode rc = CURLE_OK;

	if (request->has_body || strcmp(request->method, "POST") == 0) {
		VGW__CURL_SET(rc, call->easy, CURLOPT_UPLOAD, 1L);
		VGW__CURL_SET(rc, call->easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)call->body_bytes);
		VGW__CURL_SET(rc, call->easy, CURLOPT_READFUNCTION, on_read);
		VGW__CURL_SET(rc, call->easy, CURLOPT_READDATA, call);
	}
	if (call->is_head_request)
		VGW__CURL_SET(rc, call->easy, CURLOPT_NOBODY, 1L);
	else
		VGW__CURL_SET(rc, call->easy, CURLOPT_CUSTOMREQUEST, request->method);
	return rc;
}

static CURLcode set_options(struct vgw__curl_call *call, const struct vgw__upstream_request *request, const char *url)
{
	CURL *easy = call->easy;
	CURLcode rc = vgw__curl_harden(easy, call->endpoint->ca_file);

	VGW__CURL_SET(rc, easy, CURLOPT_URL, url);
	VGW__CURL_SET(rc, easy, CURLOPT_PRIVATE, call);
	VGW__CURL_SET(rc, easy, CURLOPT_HTTPHEADER, call->headers);
	VGW__CURL_SET(rc, easy, CURLOPT_RESOLVE, call->resolved);
	VGW__CURL_SET(rc, easy, CURLOPT_UNIX_SOCKET_PATH, call->endpoint->unix_path);
	VGW__CURL_SET(rc, easy, CURLOPT_MAXAGE_CONN, (long)IDLE_SECONDS);
	VGW__CURL_SET(rc, easy, CURLOPT_HEADERFUNCTION, on_header);
	VGW__CURL_SET(rc, easy, CURLOPT_HEADERDATA, call);
	VGW__CURL_SET(rc, easy, CURLOPT_WRITEFUNCTION, on_write);
	VGW__CURL_SET(rc, easy, CURLOPT_WRITEDATA, call);
	VGW__CURL_SET(rc, easy, CURLOPT_PREREQFUNCTION, on_attempt);
	VGW__CURL_SET(rc, easy, CURLOPT_PREREQDATA, call);
	if (request->connect_timeout_ms > 0)
		VGW__CURL_SET(rc, easy, CURLOPT_CONNECTTIMEOUT_MS, (long)request->connect_timeout_ms);
	if (rc == CURLE_OK)
		rc = set_method(call, request);
	return rc;
}

static bool prepare(struct vgw__curl_call *call, const struct vgw__upstream_request *request)
{
	const struct vgw__endpoint *endpoint = call->endpoint;
	bool is_fine = call->easy && add_headers(call, request) && vgw__curl_add_addresses(&call->resolved, call->endpoint);
	char *url;

	if (!is_fine)
		return false;
	url = vgw__printf("%s://%s%s%s", endpoint->is_tls ? "https" : "http", endpoint->authority, endpoint->base_path,
		request->path);
	is_fine = url && set_options(call, request, url) == CURLE_OK;
	vgw__free(url);
	return is_fine;
}

struct vgw__curl_call *vgw__curl_call_new(struct vgw__curl *curl, const struct vgw__upstream_request *request,
	const struct vgw__upstream_events *events, void *user, vgw_error *err)
{
	struct vgw__curl_call *call = vgw__alloc(sizeof(*call));

	if (call) {
		call->call.transport = &curl->transport;
		call->events = events;
		call->user = user;
		call->endpoint = vgw__endpoint_ref(request->endpoint);
		call->is_head_request = strcmp(request->method, "HEAD") == 0;
		call->body = request->body;
		call->body_count = request->has_body ? request->body_count : 0;
		for (size_t i = 0; i < call->body_count; i++)
			call->body_bytes += request->body[i].len;
		call->body_left = call->body_bytes;
		vgw__list_init(&call->link);
		vgw__buf_init(&call->head, VGW__H1_HEAD_BYTES);
		call->easy = curl_easy_init();
		if (prepare(call, request))
			return call;
		vgw__curl_call_free(call);
	}
	(void)vgw_error_set(err, VGW_NOMEM, 0, "request");
	return NULL;
}

void vgw__curl_call_free(struct vgw__curl_call *call)
{
	curl_easy_cleanup(call->easy);
	curl_slist_free_all(call->headers);
	curl_slist_free_all(call->resolved);
	vgw__buf_fini(&call->head);
	vgw__endpoint_unref(call->endpoint);
	vgw__free(call);
}

/* --- the end ----------------------------------------------------------------------------------------------------- */

static void judge_failure(const struct vgw__curl_call *call, CURLcode code, struct vgw__upstream_result *result)
{
	if (call->why || code == CURLE_WEIRD_SERVER_REPLY || code == CURLE_UNSUPPORTED_PROTOCOL) {
		result->outcome = VGW__OUTCOME_BAD;
		result->why = call->why ? call->why : "the answer is not valid HTTP/1.1";
	} else if (code == CURLE_OUT_OF_MEMORY) {
		result->outcome = VGW__OUTCOME_FAILED;
		result->why = "out of memory";
	} else if (call->has_answer && code == CURLE_RECV_ERROR && call->has_head && !result->sys_errno) {
		result->outcome = VGW__OUTCOME_BAD; /* libcurl's word for a malformed chunk */
		result->why = "the answer's body is malformed or was cut off";
	} else if (call->has_answer) {
		result->outcome = VGW__OUTCOME_TRUNCATED;
		result->why = "the engine closed the connection inside its answer";
	} else if (!call->attempts) {
		result->outcome = VGW__OUTCOME_CONNECT;
		result->why = code == CURLE_PEER_FAILED_VERIFICATION ? "the engine's certificate is not trusted" :
			"the engine cannot be reached";
	} else {
		result->outcome = VGW__OUTCOME_LOST;
		result->why = "the engine closed the connection before it answered";
	}
}

struct vgw__upstream_result vgw__curl_call_judge(struct vgw__curl_call *call, CURLcode code)
{
	struct vgw__upstream_result result = { .outcome = VGW__OUTCOME_COMPLETE, .why = "complete" };
	curl_off_t uploaded = 0;
	long sent_bytes = 0, sys_errno = 0;

	(void)curl_easy_getinfo(call->easy, CURLINFO_REQUEST_SIZE, &sent_bytes);
	(void)curl_easy_getinfo(call->easy, CURLINFO_SIZE_UPLOAD_T, &uploaded);
	result.is_reused = call->is_reused;
	result.is_sent = sent_bytes > 0 && (uint64_t)uploaded >= call->body_bytes;
	if (code == CURLE_OK && call->has_head)
		return result;
	(void)curl_easy_getinfo(call->easy, CURLINFO_OS_ERRNO, &sys_errno);
	result.sys_errno = (int)sys_errno;
	judge_failure(call, code, &result);
	return result;
}
