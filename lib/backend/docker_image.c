/* SPDX-License-Identifier: Apache-2.0 */
/* Pulling: POST /images/create answers 200 at once and then tells in JSON, object after object, how it goes; that it
 * failed is said there too.
 *
 *   {"status":"Downloading","id":"a1b2","progressDetail":{"current":512,"total":2048}}  ──► percent of all layers
 *   {"errorDetail":{"message":"..."},"error":"..."}                                      ──► the failure
 */
#include "backend/docker_image.h"

#include "util/alloc.h"
#include "util/buf.h"

#include <stdio.h>
#include <string.h>

enum { LINE_CEILING = 64 * 1024, LAYERS = 256, LAYER_ID = 24 };

struct layer {
	char id[LAYER_ID];
	int64_t current;
	int64_t total;
};

struct pulling {
	vgw_host *host;
	struct vgw__buf line;
	char error[240];
	int percent; /* last told */
	size_t layer_count;
	struct layer layers[LAYERS];
};

static void note_progress(struct pulling *pulling, const json_t *message)
{
	const char *id = json_string_value(json_object_get(message, "id"));
	const json_t *detail = json_object_get(message, "progressDetail");
	json_int_t total = json_integer_value(json_object_get(detail, "total"));
	int64_t current_sum = 0, total_sum = 0;
	size_t i = 0;
	char text[64];

	if (!id || total <= 0 || total > INT64_C(1) << 50 || strlen(id) >= LAYER_ID)
		return;
	while (i < pulling->layer_count && strcmp(pulling->layers[i].id, id) != 0)
		i++;
	if (i == LAYERS)
		return;
	if (i == pulling->layer_count)
		(void)snprintf(pulling->layers[pulling->layer_count++].id, LAYER_ID, "%s", id);
	pulling->layers[i].total = total;
	pulling->layers[i].current = json_integer_value(json_object_get(detail, "current"));
	for (i = 0; i < pulling->layer_count; i++) {
		current_sum += pulling->layers[i].current;
		total_sum += pulling->layers[i].total;
	}
	if (current_sum < 0 || current_sum > total_sum || (int)(current_sum * 100 / total_sum) == pulling->percent)
		return;
	pulling->percent = (int)(current_sum * 100 / total_sum);
	(void)snprintf(text, sizeof(text), "pulling the image: %d%% of %lld MB", pulling->percent,
		(long long)(total_sum / 1000000));
	vgw_host_set_progress(pulling->host, -1, text); /* of the start as a whole nothing is known yet */
}

static void take_line(struct pulling *pulling)
{
	json_t *message = json_loadb(pulling->line.data, pulling->line.len, 0, NULL);
	const char *error = json_string_value(json_object_get(message, "error"));

	if (error && pulling->error[0] == '\0')
		(void)snprintf(pulling->error, sizeof(pulling->error), "%s", error);
	note_progress(pulling, message);
	json_decref(message);
}

static bool on_pulled(void *user, uint32_t status, const char *data, size_t len)
{
	struct pulling *pulling = user;

	(void)status;
	for (; len > 0; data++, len--) {
		if (*data != '\n') {
			(void)vgw__buf_append(&pulling->line, data,
				1); /* the end of a line that is too long is lost */
			continue;
		}
		take_line(pulling);
		vgw__buf_reset(&pulling->line);
	}
	return true;
}

/* "repo:tag", "host:5000/repo@sha256:..." in two; without a tag the engine would pull all of them. */
static char *make_path(const char *image)
{
	const char *slash = strrchr(image, '/');
	const char *digest = strchr(image, '@');
	const char *colon = digest ? digest : strrchr(slash ? slash : image, ':');
	char *name = vgw__strndup(image, colon ? (size_t)(colon - image) : strlen(image));
	char *quoted_name = name ? vgw__docker_quote(name) : NULL;
	char *quoted_tag = vgw__docker_quote(colon ? colon + 1 : "latest");
	char *path = quoted_name && quoted_tag
			     ? vgw__printf("/images/create?fromImage=%s&tag=%s", quoted_name, quoted_tag)
			     : NULL;

	vgw__free(name);
	vgw__free(quoted_name);
	vgw__free(quoted_tag);
	return path;
}

static vgw_status pull(struct vgw__docker_client *client, const struct vgw__docker_config *config,
	vgw_host *host, int64_t deadline_ms, struct vgw__docker_problem *problem)
{
	struct pulling *pulling = vgw__alloc(sizeof(*pulling));
	char *path = make_path(config->image);
	struct vgw__docker_call call = { .method = "POST", .path = path, .deadline_ms = deadline_ms,
		.cancel_fd = vgw_host_get_cancel_fd(host), .on_data = on_pulled, .user = pulling };
	struct vgw__control_answer answer = { 0 };
	char doing[100];
	vgw_status status;

	(void)snprintf(doing, sizeof(doing), "pull '%.80s'", config->image);
	call.doing = doing;
	if (pulling && path) {
		pulling->host = host;
		pulling->percent = -1;
		vgw__buf_init(&pulling->line, LINE_CEILING);
		vgw_host_set_progress(host, -1, "pulling the image");
		status = vgw__docker_call(client, &call, &answer, problem);
		if (pulling->line.len > 0)
			take_line(pulling);
		vgw__buf_fini(&pulling->line);
		if (status == VGW_OK && pulling->error[0] != '\0') {
			vgw__docker_problem_explain(problem, doing, 0, pulling->error);
			status = problem->status;
		}
	} else {
		status = vgw__docker_problem_set(problem, VGW_NOMEM, VGW_FAILURE_UNKNOWN,
			"no memory to pull an image");
	}
	vgw__control_answer_fini(&answer);
	vgw__free(pulling);
	vgw__free(path);
	return status;
}

static vgw_status find(struct vgw__docker_client *client, const struct vgw__docker_config *config,
	vgw_host *host, int64_t deadline_ms, struct vgw__docker_problem *problem)
{
	char *quoted = vgw__docker_quote(config->image);
	char *path = quoted ? vgw__printf("/images/%s/json", quoted) : NULL;
	const struct vgw__docker_call call = { .doing = "look for its image", .path = path,
		.deadline_ms = vgw__docker_soonest(deadline_ms, VGW__DOCKER_QUICK_MS),
		.cancel_fd = vgw_host_get_cancel_fd(host) };
	struct vgw__control_answer answer = { 0 };
	vgw_status status;

	if (path)
		status = vgw__docker_call(client, &call, &answer, problem);
	else
		status = vgw__docker_problem_set(problem, VGW_NOMEM, VGW_FAILURE_UNKNOWN, "no memory");
	vgw__control_answer_fini(&answer);
	vgw__free(quoted);
	vgw__free(path);
	return status;
}

vgw_status vgw__docker_image_ensure(struct vgw__docker_client *client, const struct vgw__docker_config *config,
	vgw_host *host, int64_t deadline_ms, struct vgw__docker_problem *problem)
{
	vgw_status status;

	if (config->pull == VGW__PULL_ALWAYS)
		return pull(client, config, host, deadline_ms, problem);
	status = find(client, config, host, deadline_ms, problem);
	if (status == VGW_OK || problem->trouble != VGW__DOCKER_NO_IMAGE || config->pull == VGW__PULL_NEVER)
		return status;
	return pull(client, config, host, deadline_ms, problem);
}
