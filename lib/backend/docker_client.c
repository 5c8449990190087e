/* SPDX-License-Identifier: Apache-2.0 */
/* Calls by libcurl, a connection each: a daemon that was restarted is spoken to as if nothing had been.
 *
 *   first call ──► GET /version ──► /v1.NN, the newest that both know ──► remembered until it is refused
 */
#include "backend/docker_client.h"

#include "util/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	OLDEST_VERSION = 40, /* 19.03: the first with DeviceRequests */
	NEWEST_VERSION = 45, /* the newest we know well; newer ones are asked for only where this one is refused */
	MESSAGE_SIZE = 256,
};

#define DEFAULT_SOCKET "/var/run/docker.sock"

/* --- where it is --- */

static bool set_certificates(struct vgw__docker_client *client)
{
	const char *folder = getenv("DOCKER_CERT_PATH");

	if (!folder || !folder[0])
		return true;
	client->ca_file = vgw__printf("%s/ca.pem", folder);
	client->cert_file = vgw__printf("%s/cert.pem", folder);
	client->key_file = vgw__printf("%s/key.pem", folder);
	return client->ca_file && client->cert_file && client->key_file;
}

static bool set_tcp(struct vgw__docker_client *client, const char *where)
{
	const char *verify = getenv("DOCKER_TLS_VERIFY");
	bool is_https = strncmp(where, "https://", 8) == 0 ||
		(strncmp(where, "tcp://", 6) == 0 && verify && verify[0]);
	const char *host = strstr(where, "://") + 3;

	client->base = vgw__printf("%s://%.*s", is_https ? "https" : "http", (int)strcspn(host, "/"), host);
	client->name = client->base ? vgw__strdup(client->base) : NULL;
	return client->name && (!is_https || set_certificates(client));
}

static bool set_unix(struct vgw__docker_client *client, const char *path)
{
	client->unix_path = vgw__strdup(path);
	client->base = vgw__strdup("http://localhost");
	client->name = vgw__printf("unix:%s", path);
	return client->unix_path && client->base && client->name;
}

static bool is_tcp(const char *where)
{
	return strncmp(where, "tcp://", 6) == 0 || strncmp(where, "http://", 7) == 0 ||
		strncmp(where, "https://", 8) == 0;
}

vgw_status vgw__docker_client_init(struct vgw__docker_client *client, const char *where, vgw_error *err)
{
	const char *host = getenv("DOCKER_HOST");
	bool is_done;

	memset(client, 0, sizeof(*client));
	if (!where || !where[0])
		where = host && host[0] ? host : DEFAULT_SOCKET;
	if (strncmp(where, "unix:", 5) == 0)
		where += strncmp(where, "unix://", 7) == 0 ? 7 : 5;
	if (where[0] != '/' && !is_tcp(where))
		return vgw_error_set(err, VGW_INVALID, 0,
			"'%.80s' is no Docker Engine; write /var/run/docker.sock or tcp://host:port", where);
	if (where[0] == '/' && strlen(where) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
		return vgw_error_set(err, VGW_INVALID, 0, "the socket path '%.80s...' is longer than 107 "
			"bytes", where);
	is_done = where[0] == '/' ? set_unix(client, where) : set_tcp(client, where);
	if (is_done)
		return VGW_OK;
	vgw__docker_client_fini(client);
	return vgw_error_set(err, VGW_NOMEM, 0, "no memory for a Docker Engine's address");
}

void vgw__docker_client_fini(struct vgw__docker_client *client)
{
	vgw__free(client->name);
	vgw__free(client->base);
	vgw__free(client->unix_path);
	vgw__free(client->ca_file);
	vgw__free(client->cert_file);
	vgw__free(client->key_file);
	memset(client, 0, sizeof(*client));
}

/* --- one call --- */

/* Why nothing came back, with what to do about it. */
static vgw_status explain_silence(const struct vgw__docker_client *client, const char *doing, vgw_status status,
	const vgw_error *why, struct vgw__docker_problem *problem)
{
	const char *remedy = "is it running?";

	memset(problem, 0, sizeof(*problem));
	problem->trouble = VGW__DOCKER_NO_ANSWER;
	if (status == VGW_CANCELLED)
		return vgw__docker_problem_set(problem, VGW_CANCELLED, VGW_FAILURE_UNKNOWN, "%.60s: given up",
			doing);
	if (status == VGW_TIMEOUT)
		return vgw__docker_problem_set(problem, VGW_TIMEOUT, VGW_FAILURE_RUNTIME,
			"cannot %.60s: the Docker Engine at %.100s does not answer", doing, client->name);
	if (client->unix_path && access(client->unix_path, F_OK) != 0)
		remedy = "there is no such socket: is the engine running, is the path right, is it mounted here?";
	else if (client->unix_path && access(client->unix_path, R_OK | W_OK) != 0)
		remedy = "may this user open it (group docker)?";
	return vgw__docker_problem_set(problem, status == VGW_NOMEM ? VGW_NOMEM : VGW_BACKEND,
		VGW_FAILURE_RUNTIME,
		"cannot %.60s: the Docker Engine at %.80s cannot be reached; %s%s%.60s", doing, client->name,
			remedy,
		status == VGW_NOMEM ? " " : "", status == VGW_NOMEM ? why->text : "");
}

/* The answer to a call whose body is streamed; of an error its text is kept. */
struct tap {
	const struct vgw__docker_call *call;
	size_t len;
	char text[MESSAGE_SIZE * 4];
};

static bool on_streamed(void *user, uint32_t status, const char *data, size_t len)
{
	struct tap *tap = user;
	size_t room = sizeof(tap->text) - tap->len;

	if (status < 300)
		return tap->call->on_data(tap->call->user, status, data, len);
	len = len < room ? len : room;
	memcpy(tap->text + tap->len, data, len);
	tap->len += len;
	return tap->len < sizeof(tap->text);
}

static vgw_status call_once(const struct vgw__docker_client *client, const struct vgw__docker_call *call,
	unsigned version, struct vgw__control_answer *answer, struct vgw__docker_problem *problem)
{
	struct vgw__control_request request = VGW__CONTROL_REQUEST_INIT;
	struct tap tap = { .call = call };
	vgw_error why = VGW_ERROR_INIT;
	char *url = version ? vgw__printf("%s/v1.%u%s", client->base, version, call->path)
			    : vgw__printf("%s%s", client->base, call->path);
	vgw_status status = url ? VGW_OK : VGW_NOMEM;

	request.url = url;
	request.unix_path = client->unix_path;
	request.method = call->method;
	request.body = call->body;
	request.body_len = call->body ? strlen(call->body) : 0;
	request.ca_file = client->ca_file;
	request.cert_file = client->cert_file;
	request.key_file = client->key_file;
	request.deadline_ms = call->deadline_ms;
	request.cancel_fd = call->cancel_fd;
	request.on_data = call->on_data ? on_streamed : NULL;
	request.user = &tap;
	if (status == VGW_OK)
		status = vgw__control_call(&request, answer, &why);
	vgw__free(url);
	if (status != VGW_OK)
		return explain_silence(client, call->doing, status, &why, problem);
	memset(problem, 0, sizeof(*problem));
	problem->http = answer->status;
	if ((answer->status >= 200 && answer->status < 300) || answer->status == 304)
		return VGW_OK;
	if (call->on_data)
		vgw__docker_problem_read(problem, call->doing, answer->status, tap.text, tap.len);
	else
		vgw__docker_problem_read(problem, call->doing, answer->status, answer->body, answer->body_len);
	vgw__control_answer_fini(answer);
	return problem->status;
}

/* --- versions --- */

/* "1.41" is 41; 0: not such a version. */
static unsigned parse_version(const json_t *value)
{
	const char *text = json_string_value(value);
	char *end;
	unsigned long minor;

	if (!text || strncmp(text, "1.", 2) != 0 || text[2] < '0' || text[2] > '9')
		return 0;
	minor = strtoul(text + 2, &end, 10);
	return *end == '\0' && minor < 1000 ? (unsigned)minor : 0;
}

static vgw_status negotiate(struct vgw__docker_client *client, const struct vgw__docker_call *call,
	struct vgw__docker_problem *problem)
{
	const struct vgw__docker_call ask = { .doing = call->doing, .path = "/version",
		.cancel_fd = call->cancel_fd,
		.deadline_ms = vgw__docker_soonest(call->deadline_ms, VGW__DOCKER_QUICK_MS) };
	struct vgw__control_answer answer = { 0 };
	unsigned theirs, least, version;
	json_t *root;
	vgw_status status = call_once(client, &ask, 0, &answer, problem);

	if (status != VGW_OK)
		return status;
	root = json_loadb(answer.body, answer.body_len, 0, NULL);
	theirs = parse_version(json_object_get(root, "ApiVersion"));
	least = parse_version(json_object_get(root, "MinAPIVersion"));
	json_decref(root);
	vgw__control_answer_fini(&answer);
	if (theirs == 0)
		return vgw__docker_problem_set(problem, VGW_BACKEND, VGW_FAILURE_RUNTIME,
			"cannot %.60s: what answers at %.100s is not a Docker Engine", call->doing, client->name);
	if (theirs < OLDEST_VERSION)
		return vgw__docker_problem_set(problem, VGW_BACKEND, VGW_FAILURE_RUNTIME,
			"the Docker Engine at %.100s speaks API 1.%u; 1.%u or newer is needed (Docker "
			"19.03): upgrade it",
			client->name, theirs, (unsigned)OLDEST_VERSION);
	version = theirs < NEWEST_VERSION ? theirs : NEWEST_VERSION;
	atomic_store(&client->version, version > least ? version : least);
	return VGW_OK;
}

vgw_status vgw__docker_call(struct vgw__docker_client *client, const struct vgw__docker_call *call,
	struct vgw__control_answer *answer, struct vgw__docker_problem *problem)
{
	vgw_status status = VGW_OK;

	memset(answer, 0, sizeof(*answer));
	/* Twice: the daemon may have been replaced by one that refuses the version we remember. */
	for (int attempt = 0; attempt < 2; attempt++) {
		if (atomic_load(&client->version) == 0)
			status = negotiate(client, call, problem);
		if (status == VGW_OK)
			status = call_once(client, call, atomic_load(&client->version), answer, problem);
		if (status == VGW_OK || problem->trouble != VGW__DOCKER_WRONG_VERSION)
			break;
		atomic_store(&client->version, 0);
		status = attempt == 0 ? VGW_OK : status;
	}
	return status;
}

vgw_status vgw__docker_call_json(struct vgw__docker_client *client, const struct vgw__docker_call *call,
	json_t **out, struct vgw__docker_problem *problem)
{
	struct vgw__control_answer answer;
	vgw_status status = vgw__docker_call(client, call, &answer, problem);

	*out = NULL;
	if (status != VGW_OK)
		return status;
	*out = json_loadb(answer.body, answer.body_len, 0, NULL);
	vgw__control_answer_fini(&answer);
	if (*out)
		return VGW_OK;
	return vgw__docker_problem_set(problem, VGW_BACKEND, VGW_FAILURE_RUNTIME,
		"cannot %.60s: the Docker Engine at %.100s answers what is not JSON", call->doing, client->name);
}

/* --- containers --- */

vgw_status vgw__docker_inspect(struct vgw__docker_client *client, const char *container, int64_t deadline_ms,
	int cancel_fd, json_t **out, struct vgw__docker_problem *problem)
{
	char *path = vgw__printf("/containers/%s/json", container);
	const struct vgw__docker_call call = { .doing = "inspect its container", .path = path,
		.deadline_ms = vgw__docker_soonest(deadline_ms, VGW__DOCKER_QUICK_MS), .cancel_fd = cancel_fd };
	vgw_status status;

	*out = NULL;
	if (!path)
		return vgw__docker_problem_set(problem, VGW_NOMEM, VGW_FAILURE_UNKNOWN, "no memory");
	status = vgw__docker_call_json(client, &call, out, problem);
	vgw__free(path);
	return status;
}

void vgw__docker_read_state(struct vgw__docker_state *out, const json_t *inspected)
{
	const json_t *state = json_object_get(inspected, "State");
	const char *error = json_string_value(json_object_get(state, "Error"));

	memset(out, 0, sizeof(*out));
	out->is_running = json_is_true(json_object_get(state, "Running"));
	out->is_oom_killed = json_is_true(json_object_get(state, "OOMKilled"));
	out->exit_code = (int)json_integer_value(json_object_get(state, "ExitCode"));
	(void)snprintf(out->error, sizeof(out->error), "%s", error ? error : "");
}

/* --- small things --- */

int64_t vgw__docker_soonest(int64_t deadline_ms, int64_t limit_ms)
{
	int64_t limit = vgw_now_ms() + limit_ms;

	return deadline_ms < limit ? deadline_ms : limit;
}

char *vgw__docker_quote(const char *text)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
	char *quoted = vgw__alloc(strlen(text) * 3 + 1);
	char *p = quoted;

	if (!quoted)
		return NULL;
	for (; *text != '\0'; text++) {
		if (strchr(plain, *text))
			*p++ = *text;
		else
			p += snprintf(p, 4, "%%%02X", (unsigned)(unsigned char)*text);
	}
	return quoted;
}
