/* SPDX-License-Identifier: Apache-2.0 */
/* A table of substrings. The first row that fits wins, so the special ones come first. */
#include "backend/docker_problem.h"

#include "backend/redact.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGE_SIZE = 160, WITH_REMEDY_SIZE = 110 };

struct rule {
	const char *text;
	const char *also; /* must be there too; "": anything */
	enum vgw__docker_trouble trouble;
	vgw_failure failure;
	const char *remedy;
};

#define OTHER VGW__DOCKER_OTHER
#define USER VGW_FAILURE_USER
#define UNKNOWN VGW_FAILURE_UNKNOWN

static const struct rule rules[] = {
	/* versions */
	{ "client version", "is too", VGW__DOCKER_WRONG_VERSION, VGW_FAILURE_RUNTIME,
		"upgrade the older of the two" },
	/* things that are there already */
	{ "port is already allocated", "", VGW__DOCKER_PORT_TAKEN, UNKNOWN, "another container has that port" },
	{ "address already in use", "", VGW__DOCKER_PORT_TAKEN, UNKNOWN, "another program has that port" },
	{ "removal of container", "already in progress", VGW__DOCKER_BEING_REMOVED, UNKNOWN, "" },
	{ "is already in use", "name", VGW__DOCKER_NAME_TAKEN, USER, "remove that container, or set "
		"container_name" },
	/* GPUs */
	{ "could not select device driver", "", OTHER, USER,
		"install the NVIDIA Container Toolkit and restart the engine, or take `gpus` out" },
	{ "unresolvable CDI devices", "", OTHER, USER, "there is no such GPU: see `nvidia-ctk cdi list`" },
	{ "nvidia-container-cli", "", OTHER, USER, "see whether nvidia-smi works on the host" },
	{ "unknown device", "", OTHER, USER, "there is no such GPU: see `nvidia-smi -L`" },
	{ "nknown runtime specified", "", OTHER, USER, "add the runtime to the engine's configuration" },
	{ "unknown or invalid runtime name", "", OTHER, USER, "add the runtime to the engine's configuration" },
	/* networks */
	{ "unable to find network", "", OTHER, USER, "make it with `docker network create`" },
	{ "network ", " not found", OTHER, USER, "make it with `docker network create`" },
	/* mounts */
	{ "bind source path does not exist", "", OTHER, USER, "make that folder on the engine's machine" },
	{ "invalid volume specification", "", OTHER, USER, "write mounts as SOURCE:TARGET or SOURCE:TARGET:ro" },
	{ "invalid mount config", "", OTHER, USER, "write mounts as SOURCE:TARGET or SOURCE:TARGET:ro" },
	{ "invalid mode", "", OTHER, USER, "write mounts as SOURCE:TARGET or SOURCE:TARGET:ro" },
	/* commands */
	{ "exec", "no such file or directory", OTHER, USER, "the image has no such program: see args and "
		"entrypoint" },
	{ "executable file not found", "", OTHER, USER, "the image has no such program: see args and "
		"entrypoint" },
	{ "exec", "permission denied", OTHER, USER, "that program of the image cannot be run" },
	{ "exec format error", "", OTHER, USER, "the image is made for another processor" },
	{ "o command specified", "", OTHER, USER, "the image has no command: set args or entrypoint" },
	{ "unable to find user", "", OTHER, USER, "the image has no such user" },
	/* pulling */
	{ "pull access denied", "", OTHER, USER, "no such image, or it is private: `docker pull` it on "
		"that machine" },
	{ "manifest", "not found", OTHER, USER, "the image has no such tag" },
	{ "manifest unknown", "", OTHER, USER, "the image has no such tag" },
	{ "repository does not exist", "", OTHER, USER, "see how the image is spelt" },
	{ "requested access to the resource is denied", "", OTHER, USER, "`docker pull` it on that machine" },
	{ "unauthorized", "", OTHER, USER, "the registry wants a login: `docker pull` it on that machine" },
	{ "no matching manifest", "", OTHER, USER, "the image is made for another processor" },
	{ "invalid reference format", "", OTHER, USER, "write the image as name:tag" },
	{ "toomanyrequests", "", OTHER, UNKNOWN, "the registry limits pulls: try later" },
	/* things that are not there */
	{ "o such image", "", VGW__DOCKER_NO_IMAGE, USER, "`docker pull` it, or set pull: missing" },
	{ "image not known", "", VGW__DOCKER_NO_IMAGE, USER, "`docker pull` it, or set pull: missing" },
	{ "o such container", "", VGW__DOCKER_NO_CONTAINER, UNKNOWN, "" },
	{ "no container with", "", VGW__DOCKER_NO_CONTAINER, UNKNOWN, "" },
	/* limits of the machine */
	{ "no space left on device", "", OTHER, UNKNOWN, "free some disk space on the engine's machine" },
	{ "emory limit", "", OTHER, USER, "see memory_limit" },
	{ "setting rlimit", "", OTHER, USER, "the engine's machine does not allow that limit" },
};

static bool fits(const struct rule *rule, const char *message)
{
	return strstr(message, rule->text) && strstr(message, rule->also);
}

/* What says most in the runtime's long chains of causes is their end. */
static const char *shorten(const char *message, size_t size)
{
	size_t len = strlen(message);
	const char *cut;

	if (len < size)
		return message;
	cut = strstr(message + len - size + 1, ": ");
	return cut ? cut + 2 : message + len - size + 1;
}

void vgw__docker_problem_explain(struct vgw__docker_problem *problem, const char *doing, uint32_t http,
	const char *message)
{
	const struct vgw__strings no_secrets = { 0 };
	const struct rule *rule = NULL;
	char shown[MESSAGE_SIZE];
	const char *remedy;

	memset(problem, 0, sizeof(*problem));
	for (size_t i = 0; !rule && i < sizeof(rules) / sizeof(rules[0]); i++)
		rule = fits(&rules[i], message) ? &rules[i] : NULL;
	problem->status = VGW_BACKEND;
	problem->http = http;
	problem->trouble = rule ? rule->trouble : VGW__DOCKER_OTHER;
	problem->failure = rule ? rule->failure : http >= 400 && http < 500 && http != 409 ? USER : UNKNOWN;
	remedy = rule ? rule->remedy : "";
	message = shorten(message, remedy[0] ? WITH_REMEDY_SIZE : MESSAGE_SIZE);
	vgw__redact_line(shown, sizeof(shown), message, strlen(message), &no_secrets);
	(void)snprintf(problem->text, sizeof(problem->text), "cannot %.60s: %s%s%s", doing, shown,
		remedy[0] ? "; " : "", remedy);
}

void vgw__docker_problem_read(struct vgw__docker_problem *problem, const char *doing, uint32_t http,
	const char *body, size_t len)
{
	json_t *root = json_loadb(body, len, 0, NULL);
	const char *message = json_string_value(json_object_get(root, "message"));

	if (message && message[0]) {
		vgw__docker_problem_explain(problem, doing, http, message);
	} else {
		memset(problem, 0, sizeof(*problem));
		problem->http = http;
		problem->trouble = VGW__DOCKER_OTHER;
		(void)vgw__docker_problem_set(problem, VGW_BACKEND, VGW_FAILURE_RUNTIME,
			"cannot %.60s: the engine answers %u and not why; is that a Docker Engine?", doing,
			(unsigned)http);
	}
	json_decref(root);
}

vgw_status vgw__docker_problem_set(struct vgw__docker_problem *problem, vgw_status status, vgw_failure failure,
	const char *format, ...)
{
	va_list ap;

	problem->status = status;
	problem->failure = failure;
	if (problem->trouble == VGW__DOCKER_NO_TROUBLE)
		problem->trouble = VGW__DOCKER_OTHER;
	va_start(ap, format);
	(void)vsnprintf(problem->text, sizeof(problem->text), format, ap);
	va_end(ap);
	return status;
}
