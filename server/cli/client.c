/* SPDX-License-Identifier: Apache-2.0 */
/* libcurl, for the command line. Proxies are never used: the gateway is near. */
#include "cli/client.h"

#include <curl/curl.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CONNECT_MS = 5000, BODY_MAX_BYTES = 256 * 1024 * 1024 };

struct client {
	const struct cli *cli;
	CURL *curl;
	struct curl_slist *headers;
	char error[CURL_ERROR_SIZE];
	char *base; /* "http://127.0.0.1:8080" */
	/* the request under way */
	struct client_answer *answer;
	client_piece_fn fn;
	void *user;
	bool is_enough;
};

/* --- life ----------------------------------------------------------------------------------------------------- */

static bool is_unix(const char *url)
{
	return strncmp(url, "unix:", 5) == 0;
}

/* Texts are copied by libcurl. */
static CURL *make_handle(const struct cli *cli, struct curl_slist *headers)
{
	CURL *curl = curl_easy_init();

	if (!curl)
		return NULL;
	(void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	(void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
	(void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	(void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	if (is_unix(cli->url))
		(void)curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, cli->url + 5);
	return curl;
}

static struct curl_slist *make_headers(const struct cli *cli)
{
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json"), *more;
	char text[1024];

	if (!headers || !cli->key)
		return headers;
	(void)snprintf(text, sizeof(text), "Authorization: Bearer %s", cli->key);
	more = curl_slist_append(headers, text);
	if (!more)
		curl_slist_free_all(headers);
	return more;
}

static char *make_base(const char *url)
{
	char *base = NULL;
	size_t len = strlen(url);

	while (len && url[len - 1] == '/')
		len--;
	if (is_unix(url))
		return strdup("http://localhost");
	if (asprintf(&base, "%s%.*s", strstr(url, "://") ? "" : "http://", (int)len, url) < 0)
		return NULL;
	return base;
}

struct client *client_new(const struct cli *cli)
{
	struct client *client = calloc(1, sizeof(*client));

	if (client && curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK) {
		client->cli = cli;
		client->headers = make_headers(cli);
		client->curl = make_handle(cli, client->headers);
		client->base = make_base(cli->url);
	}
	if (!client || !client->headers || !client->curl || !client->base) {
		(void)cli_fail("out of memory");
		client_free(client);
		return NULL;
	}
	(void)curl_easy_setopt(client->curl, CURLOPT_ERRORBUFFER, client->error);
	return client;
}

void client_free(struct client *client)
{
	if (!client)
		return;
	curl_easy_cleanup(client->curl);
	curl_slist_free_all(client->headers);
	free(client->base);
	free(client);
}

/* --- one request ---------------------------------------------------------------------------------------------- */

static size_t gather(struct client_answer *answer, const char *data, size_t len)
{
	char *bigger = answer->len + len < BODY_MAX_BYTES ? realloc(answer->body, answer->len + len + 1) : NULL;

	if (!bigger)
		return 0;
	memcpy(bigger + answer->len, data, len);
	answer->body = bigger;
	answer->len += len;
	bigger[answer->len] = '\0';
	return len;
}

static size_t on_data(char *data, size_t one, size_t len, void *user)
{
	struct client *client = user;
	long status = 0;

	(void)one;
	(void)curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
	if (!client->fn || status != 200)
		return gather(client->answer, data, len);
	if (client->fn(client->user, data, len))
		return len;
	client->is_enough = true;
	return 0;
}

static void tell_unreachable(const struct client *client, CURLcode code)
{
	(void)cli_fail("the gateway at %s cannot be reached: %s", client->cli->url,
		client->error[0] ? client->error : curl_easy_strerror(code));
	if (code == CURLE_COULDNT_CONNECT)
		(void)fputs("Is vllmgw-server running? Another address is given with --url or $VLLMGW_URL.\n", stderr);
}

static void perform(struct client *client, const char *method, const char *path, const char *body,
	struct client_answer *answer)
{
	char *url = NULL;
	CURLcode code = CURLE_OUT_OF_MEMORY;

	*answer = (struct client_answer){ .status = 0 };
	client->answer = answer;
	client->is_enough = false;
	client->error[0] = '\0';
	if (asprintf(&url, "%s%s", client->base, path) < 0)
		url = NULL;
	if (url) {
		(void)curl_easy_setopt(client->curl, CURLOPT_URL, url);
		(void)curl_easy_setopt(client->curl, CURLOPT_HTTPGET, 1L);
		if (strcmp(method, "POST") == 0) {
			(void)curl_easy_setopt(client->curl, CURLOPT_POST, 1L);
			(void)curl_easy_setopt(client->curl, CURLOPT_POSTFIELDSIZE, (long)(body ? strlen(body) : 0));
			(void)curl_easy_setopt(client->curl, CURLOPT_COPYPOSTFIELDS, body ? body : "");
		}
		(void)curl_easy_setopt(client->curl, CURLOPT_CUSTOMREQUEST, method);
		(void)curl_easy_setopt(client->curl, CURLOPT_WRITEFUNCTION, on_data);
		(void)curl_easy_setopt(client->curl, CURLOPT_WRITEDATA, client);
		code = curl_easy_perform(client->curl);
		free(url);
	}
	if (code == CURLE_OK || client->is_enough)
		(void)curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &answer->status);
	else
		tell_unreachable(client, code);
}

void client_request(struct client *client, const char *method, const char *path, const char *body,
	struct client_answer *answer)
{
	client->fn = NULL;
	perform(client, method, path, body, answer);
}

long client_stream(struct client *client, const char *path, client_piece_fn fn, void *user)
{
	struct client_answer answer;

	client->fn = fn;
	client->user = user;
	perform(client, "GET", path, NULL, &answer);
	if (answer.status && answer.status != 200)
		(void)client_complain(&answer);
	free(answer.body);
	return answer.status;
}

int client_complain(const struct client_answer *answer)
{
	json_t *json = answer->body ? json_loadb(answer->body, answer->len, 0, NULL) : NULL;
	const char *message = json_string_value(json_object_get(json_object_get(json, "error"), "message"));

	if (answer->status == 401)
		(void)cli_fail("%s (--key or $VLLMGW_KEY)", message ? message : "an admin key is required");
	else if (message)
		(void)cli_fail("%s", message);
	else
		(void)cli_fail("the gateway answered %ld", answer->status);
	json_decref(json);
	return CLI_FAILED;
}

json_t *client_ask(const struct cli *cli, const char *method, const char *path, const char *body, int *exit_status)
{
	struct client *client = client_new(cli);
	struct client_answer answer = { .status = 0 };
	json_t *json = NULL;

	*exit_status = CLI_FAILED;
	if (client)
		client_request(client, method, path, body, &answer);
	if (client && !answer.status)
		*exit_status = CLI_UNREACHABLE;
	else if (answer.status >= 300)
		*exit_status = client_complain(&answer);
	else if (answer.status)
		json = json_loadb(answer.body ? answer.body : "", answer.len, 0, NULL);
	if (answer.status && answer.status < 300 && !json)
		(void)cli_fail("what answers at %s is no gateway", cli->url);
	if (json)
		*exit_status = CLI_OK;
	free(answer.body);
	client_free(client);
	return json;
}

char *client_path(const char *before, const char *name, const char *behind)
{
	char *escaped = curl_easy_escape(NULL, name, 0), *path = NULL;

	if (!escaped || asprintf(&path, "%s%s%s", before, escaped, behind) < 0)
		path = NULL;
	curl_free(escaped);
	return path;
}

/* --- many at a time ------------------------------------------------------------------------------------------- */

struct lane {
	CURL *curl;
	struct client_sample *sample;
	int64_t begun_us;
};

static int64_t now_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static size_t on_flood_data(char *data, size_t one, size_t len, void *user)
{
	struct lane *lane = user;

	(void)data;
	(void)one;
	if (lane->sample->first_us < 0)
		lane->sample->first_us = now_us() - lane->begun_us;
	lane->sample->bytes += len;
	return len;
}

static void begin(CURLM *multi, struct lane *lane, struct client_sample *sample)
{
	*sample = (struct client_sample){ .first_us = -1 };
	lane->sample = sample;
	lane->begun_us = now_us();
	(void)curl_multi_add_handle(multi, lane->curl);
}

/* Returns the lane that is free, or NULL. */
static struct lane *reap(CURLM *multi)
{
	int left;
	struct CURLMsg *message = curl_multi_info_read(multi, &left);
	struct lane *lane = NULL;

	if (!message)
		return NULL;
	(void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&lane);
	if (message->data.result == CURLE_OK)
		(void)curl_easy_getinfo(message->easy_handle, CURLINFO_RESPONSE_CODE, &lane->sample->status);
	lane->sample->total_us = now_us() - lane->begun_us;
	(void)curl_multi_remove_handle(multi, lane->curl);
	return lane;
}

static void drive(CURLM *multi, struct lane *lanes, size_t width, size_t total, struct client_sample *samples)
{
	size_t begun = 0, ended = 0;
	int running;

	for (; begun < width && begun < total; begun++)
		begin(multi, &lanes[begun], &samples[begun]);
	while (ended < total) {
		struct lane *lane;

		if (curl_multi_perform(multi, &running) != CURLM_OK)
			return;
		while ((lane = reap(multi)) != NULL) {
			ended++;
			if (begun < total)
				begin(multi, lane, &samples[begun++]);
		}
		if (ended < total)
			(void)curl_multi_poll(multi, NULL, 0, 1000, NULL);
	}
}

static bool set_lane(const struct client *client, struct lane *lane, const char *url, const char *body)
{
	lane->curl = make_handle(client->cli, client->headers);
	if (!lane->curl)
		return false;
	(void)curl_easy_setopt(lane->curl, CURLOPT_URL, url);
	(void)curl_easy_setopt(lane->curl, CURLOPT_POSTFIELDS, body);
	(void)curl_easy_setopt(lane->curl, CURLOPT_WRITEFUNCTION, on_flood_data);
	(void)curl_easy_setopt(lane->curl, CURLOPT_WRITEDATA, lane);
	(void)curl_easy_setopt(lane->curl, CURLOPT_PRIVATE, lane);
	return true;
}

int client_flood(const struct cli *cli, const char *path, const char *body, size_t width, size_t total,
	struct client_sample *samples)
{
	struct client *client = client_new(cli);
	struct lane *lanes = calloc(width, sizeof(*lanes));
	CURLM *multi = client ? curl_multi_init() : NULL;
	char *url = NULL;
	bool is_ready = client && lanes && multi && asprintf(&url, "%s%s", client->base, path) >= 0;

	if (multi)
		(void)curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)width);
	for (size_t i = 0; is_ready && i < width; i++)
		is_ready = set_lane(client, &lanes[i], url, body);
	if (is_ready)
		drive(multi, lanes, width, total, samples);
	else
		(void)cli_fail("out of memory");
	for (size_t i = 0; lanes && i < width; i++)
		curl_easy_cleanup(lanes[i].curl);
	(void)curl_multi_cleanup(multi);
	free(lanes);
	free(url);
	client_free(client);
	return is_ready ? 0 : -1;
}
