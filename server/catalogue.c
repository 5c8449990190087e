/* SPDX-License-Identifier: Apache-2.0 */
/* The thread and its rounds. The lock is held for moments, never while asking. */
#include "catalogue.h"

#include <curl/curl.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PERIOD_S = 10, RETRY_S = 1, CONNECT_MS = 1000, ANSWER_MS = 2000, ANSWER_MAX_BYTES = 1024 * 1024 };

struct catalogue {
	pthread_t thread;
	CURLM *multi;
	pthread_mutex_t lock; /* guards the rest */
	pthread_cond_t changed;
	json_t *plan;     /* a snapshot without answers; its sources have "url" and "key" */
	json_t *snapshot; /* what is shown */
	bool is_new;      /* the plan has not been followed yet */
	bool is_stopping;
};

/* One engine in a round. */
struct question {
	CURL *easy;
	struct curl_slist *headers;
	char *text;
	size_t len;
};

/* --- asking --------------------------------------------------------------------------------------------------- */

static size_t gather(char *data, size_t size, size_t count, void *user)
{
	struct question *question = user;
	size_t len = size * count;
	char *bigger = len + question->len > ANSWER_MAX_BYTES ? NULL : realloc(question->text, question->len + len + 1);

	if (!bigger)
		return 0;
	question->text = bigger;
	memcpy(question->text + question->len, data, len);
	question->len += len;
	return len;
}

static bool set_url(CURL *easy, const char *url)
{
	bool is_unix = strncmp(url, "unix:", 5) == 0;
	char text[2048];
	int len = snprintf(text, sizeof(text), "%s/v1/models", is_unix ? "http://localhost" : url);

	if (len < 0 || (size_t)len >= sizeof(text))
		return false;
	return curl_easy_setopt(easy, CURLOPT_URL, text) == CURLE_OK &&
		(!is_unix || curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, url + 5) == CURLE_OK);
}

static bool set_key(struct question *question, const char *key)
{
	char text[1024];
	int len = key ? snprintf(text, sizeof(text), "Authorization: Bearer %s", key) : 0;

	if (!key)
		return true;
	if (len < 0 || (size_t)len >= sizeof(text))
		return false;
	question->headers = curl_slist_append(NULL, text);
	return question->headers && curl_easy_setopt(question->easy, CURLOPT_HTTPHEADER, question->headers) == CURLE_OK;
}

static bool begin(struct question *question, const json_t *source, CURLM *multi)
{
	const char *url = json_string_value(json_object_get(source, "url"));

	question->easy = url ? curl_easy_init() : NULL;
	return question->easy && set_url(question->easy, url) &&
		set_key(question, json_string_value(json_object_get(source, "key"))) &&
		curl_easy_setopt(question->easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
		curl_easy_setopt(question->easy, CURLOPT_NOPROXY, "*") == CURLE_OK &&
		curl_easy_setopt(question->easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
		curl_easy_setopt(question->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS) == CURLE_OK &&
		curl_easy_setopt(question->easy, CURLOPT_TIMEOUT_MS, (long)ANSWER_MS) == CURLE_OK &&
		curl_easy_setopt(question->easy, CURLOPT_WRITEFUNCTION, gather) == CURLE_OK &&
		curl_easy_setopt(question->easy, CURLOPT_WRITEDATA, question) == CURLE_OK &&
		curl_multi_add_handle(multi, question->easy) == CURLM_OK;
}

static json_t *read_ids(const struct question *question)
{
	json_t *json = question->text ? json_loadb(question->text, question->len, 0, NULL) : NULL, *ids = NULL, *item;
	size_t i;

	if (json_is_array(json_object_get(json, "data")))
		ids = json_array();
	json_array_foreach(json_object_get(json, "data"), i, item) {
		json_t *id = json_object_get(item, "id");

		if (ids && json_is_string(id))
			(void)json_array_append(ids, id);
	}
	json_decref(json);
	return ids;
}

/* What is known of a source after it was asked; NULL: no memory. */
static json_t *conclude(const struct question *question, const json_t *source)
{
	json_t *ids = NULL, *name = json_object_get(source, "source");
	curl_off_t took_us = 0;
	long status = 0;

	if (json_object_get(source, "ids")) /* one of the gateway's own: nobody is asked */
		return json_pack("{s:O, s:s, s:n, s:O}", "source", name, "state", "ok", "latency_ms", "ids",
			json_object_get(source, "ids"));
	if (question->easy) {
		(void)curl_easy_getinfo(question->easy, CURLINFO_RESPONSE_CODE, &status);
		(void)curl_easy_getinfo(question->easy, CURLINFO_TOTAL_TIME_T, &took_us);
	}
	if (status == 200)
		ids = read_ids(question);
	if (!ids)
		return json_pack("{s:O, s:s, s:n, s:[]}", "source", name, "state", "unavailable", "latency_ms", "ids");
	return json_pack("{s:O, s:s, s:I, s:o}", "source", name, "state", "ok", "latency_ms",
		(json_int_t)((took_us + 500) / 1000), "ids", ids);
}

static bool is_stopping(struct catalogue *catalogue)
{
	bool is;

	(void)pthread_mutex_lock(&catalogue->lock);
	is = catalogue->is_stopping;
	(void)pthread_mutex_unlock(&catalogue->lock);
	return is;
}

static void wait_for_all(struct catalogue *catalogue)
{
	int running = 1;

	while (running && !is_stopping(catalogue)) {
		if (curl_multi_perform(catalogue->multi, &running) != CURLM_OK)
			return;
		if (running && curl_multi_poll(catalogue->multi, NULL, 0, ANSWER_MS, NULL) != CURLM_OK)
			return;
	}
}

static void end(struct question *question, CURLM *multi)
{
	if (question->easy)
		(void)curl_multi_remove_handle(multi, question->easy);
	curl_easy_cleanup(question->easy);
	curl_slist_free_all(question->headers);
	free(question->text);
}

/* The next snapshot, NULL without memory. */
static json_t *follow(struct catalogue *catalogue, const json_t *plan)
{
	const json_t *sources = json_object_get(plan, "sources");
	size_t count = json_array_size(sources);
	struct question *questions = calloc(count + 1, sizeof(*questions));
	json_t *snapshot = json_copy((json_t *)(uintptr_t)plan), *answers = json_array();
	bool is_whole = questions && snapshot && answers;

	for (size_t i = 0; is_whole && i < count; i++)
		(void)begin(&questions[i], json_array_get(sources, i), catalogue->multi);
	if (is_whole)
		wait_for_all(catalogue);
	for (size_t i = 0; questions && i < count; i++) {
		if (is_whole)
			is_whole = json_array_append_new(answers, conclude(&questions[i], json_array_get(sources, i))) == 0;
		end(&questions[i], catalogue->multi);
	}
	free(questions);
	is_whole = is_whole && json_object_set(snapshot, "sources", answers) == 0;
	json_decref(answers);
	if (is_whole)
		return snapshot;
	json_decref(snapshot);
	return NULL;
}

/* --- the thread ----------------------------------------------------------------------------------------------- */

static int get_pause_s(const json_t *snapshot)
{
	json_t *source;
	size_t i;

	json_array_foreach(json_object_get(snapshot, "sources"), i, source) {
		if (strcmp(json_string_value(json_object_get(source, "state")), "ok") != 0)
			return RETRY_S;
	}
	return PERIOD_S;
}

/* False: without memory, to be tried later. */
static bool round_locked(struct catalogue *catalogue)
{
	json_t *plan = json_incref(catalogue->plan), *snapshot;

	(void)pthread_mutex_unlock(&catalogue->lock);
	snapshot = follow(catalogue, plan);
	(void)pthread_mutex_lock(&catalogue->lock);
	if (snapshot && plan == catalogue->plan) {
		json_t *old = catalogue->snapshot;

		catalogue->snapshot = json_incref(snapshot);
		json_decref(old);
		catalogue->is_new = false;
		(void)pthread_cond_broadcast(&catalogue->changed);
	}
	json_decref(snapshot);
	json_decref(plan);
	return snapshot != NULL;
}

static void *run(void *user)
{
	struct catalogue *catalogue = user;
	struct timespec until;

	(void)pthread_mutex_lock(&catalogue->lock);
	while (!catalogue->is_stopping) {
		bool is_good = !catalogue->plan || round_locked(catalogue);

		(void)clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += catalogue->snapshot ? get_pause_s(catalogue->snapshot) : RETRY_S;
		while (!catalogue->is_stopping && !(catalogue->is_new && is_good)) {
			if (pthread_cond_timedwait(&catalogue->changed, &catalogue->lock, &until) != 0)
				break;
		}
	}
	(void)pthread_mutex_unlock(&catalogue->lock);
	return NULL;
}

static bool init_changed(pthread_cond_t *changed)
{
	pthread_condattr_t attributes;
	bool is_good = pthread_condattr_init(&attributes) == 0;

	is_good = is_good && pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 &&
		pthread_cond_init(changed, &attributes) == 0;
	(void)pthread_condattr_destroy(&attributes);
	return is_good;
}

struct catalogue *catalogue_new(void)
{
	struct catalogue *catalogue = calloc(1, sizeof(*catalogue));

	if (!catalogue)
		return NULL;
	catalogue->multi = curl_multi_init();
	if (!catalogue->multi || pthread_mutex_init(&catalogue->lock, NULL) != 0 || !init_changed(&catalogue->changed) ||
		pthread_create(&catalogue->thread, NULL, run, catalogue) != 0) {
		(void)curl_multi_cleanup(catalogue->multi);
		free(catalogue);
		return NULL;
	}
	return catalogue;
}

void catalogue_free(struct catalogue *catalogue)
{
	if (!catalogue)
		return;
	(void)pthread_mutex_lock(&catalogue->lock);
	catalogue->is_stopping = true;
	(void)pthread_cond_broadcast(&catalogue->changed);
	(void)pthread_mutex_unlock(&catalogue->lock);
	(void)curl_multi_wakeup(catalogue->multi);
	(void)pthread_join(catalogue->thread, NULL);
	(void)pthread_cond_destroy(&catalogue->changed);
	(void)pthread_mutex_destroy(&catalogue->lock);
	(void)curl_multi_cleanup(catalogue->multi);
	json_decref(catalogue->plan);
	json_decref(catalogue->snapshot);
	free(catalogue);
}

/* --- the plan ------------------------------------------------------------------------------------------------- */

/* Models that the gateway runs itself are known without asking. */
static json_t *make_source(const struct config_model *model)
{
	json_t *backend = json_loads(model->backend_json, 0, NULL), *source;
	json_t *url = json_array_get(json_object_get(backend, "urls"), 0);

	if (model->is_managed || !url)
		source = json_pack("{s:s, s:[s]}", "source", model->name, "ids", model->name);
	else
		source = json_pack("{s:s, s:O, s:O?}", "source", model->name, "url", url, "key",
			json_object_get(backend, "api_key"));
	json_decref(backend);
	return source;
}

static json_t *make_plan(const struct config *config)
{
	json_t *sources = json_array(), *allowed = json_array();
	bool is_whole = sources && allowed;

	for (size_t i = 0; is_whole && i < config->models.count; i++)
		is_whole = json_array_append_new(sources, make_source(&config->models.items[i])) == 0;
	for (size_t i = 0; is_whole && i < config->compat.allowed_models.count; i++)
		is_whole = json_array_append_new(allowed, json_string(config->compat.allowed_models.items[i])) == 0;
	if (!is_whole) {
		json_decref(sources);
		json_decref(allowed);
		return NULL;
	}
	return json_pack("{s:o, s:o, s:s?, s:s?}", "sources", sources, "allowed", allowed, "default_model",
		config->compat.default_model, "default_source", config->default_model);
}

int catalogue_configure(struct catalogue *catalogue, const struct config *config)
{
	json_t *plan = make_plan(config), *old;

	if (!plan)
		return -1;
	(void)pthread_mutex_lock(&catalogue->lock);
	old = catalogue->plan;
	catalogue->plan = plan;
	catalogue->is_new = true;
	(void)pthread_cond_broadcast(&catalogue->changed);
	(void)pthread_mutex_unlock(&catalogue->lock);
	json_decref(old);
	return 0;
}

void catalogue_wait(struct catalogue *catalogue)
{
	(void)pthread_mutex_lock(&catalogue->lock);
	while (catalogue->is_new)
		(void)pthread_cond_wait(&catalogue->changed, &catalogue->lock);
	(void)pthread_mutex_unlock(&catalogue->lock);
}

json_t *catalogue_dup(struct catalogue *catalogue)
{
	json_t *snapshot;

	(void)pthread_mutex_lock(&catalogue->lock);
	snapshot = json_incref(catalogue->snapshot);
	(void)pthread_mutex_unlock(&catalogue->lock);
	return snapshot;
}
