/* SPDX-License-Identifier: Apache-2.0 */
/* Two buffers: one is filled while the other is written. The writer never waits within write(): a pipe that nobody
 * reads may cost lines, not the end of the service. */
#include "log_sink.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER_BYTES = 1024 * 1024, LINE_BYTES = 4096, LOOK_MS = 100, LAST_MS = 2000 };

struct log_sink {
	int fd;
	bool is_json;
	size_t piece; /* what is written at once: no more than fits where there is room at all */
	atomic_int level;
	atomic_int_fast64_t until_ms; /* nobody waits longer for a reader */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wanted;
	/* guarded by lock */
	char *filling;
	size_t len;
	size_t dropped;
	bool is_stopping;
	char **secrets;
	size_t secret_count;
	/* the writer's */
	char *writing;
};

static bool has_room(const struct log_sink *sink)
{
	struct pollfd poller = { .fd = sink->fd, .events = POLLOUT };

	while (poll(&poller, 1, LOOK_MS) == 0) {
		if (vgw_now_ms() >= atomic_load(&sink->until_ms))
			return false;
	}
	return true;
}

static void write_all(const struct log_sink *sink, const char *data, size_t len)
{
	while (len && has_room(sink)) {
		ssize_t done = write(sink->fd, data, len < sink->piece ? len : sink->piece);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return; /* nobody reads our log any more: that must not stop the service */
		data += done;
		len -= (size_t)done;
	}
}

static void *run(void *user)
{
	struct log_sink *sink = user;
	bool is_stopping = false;

	while (!is_stopping) {
		size_t len, dropped;
		char *full;

		(void)pthread_mutex_lock(&sink->lock);
		while (!sink->len && !sink->is_stopping)
			(void)pthread_cond_wait(&sink->wanted, &sink->lock);
		full = sink->filling;
		len = sink->len;
		dropped = sink->dropped;
		is_stopping = sink->is_stopping;
		sink->filling = sink->writing;
		sink->writing = full;
		sink->len = 0;
		sink->dropped = 0;
		(void)pthread_mutex_unlock(&sink->lock);
		write_all(sink, full, len);
		if (dropped) {
			char text[96];

			(void)snprintf(text, sizeof(text), "%zu lines were dropped: the log is written too slowly", dropped);
			log_sink_log(sink, VGW_LOG_WARN, "log", NULL, text);
		}
	}
	return NULL;
}

struct log_sink *log_sink_new(int fd, bool is_json, vgw_log_level level)
{
	struct log_sink *sink = calloc(1, sizeof(*sink));
	struct stat about;

	if (!sink)
		return NULL;
	sink->fd = fd;
	sink->piece = fstat(fd, &about) == 0 && S_ISREG(about.st_mode) ? BUFFER_BYTES : PIPE_BUF;
	atomic_init(&sink->until_ms, INT64_MAX);
	sink->is_json = is_json;
	atomic_init(&sink->level, (int)level);
	sink->filling = malloc(BUFFER_BYTES);
	sink->writing = malloc(BUFFER_BYTES);
	if (!sink->filling || !sink->writing || pthread_mutex_init(&sink->lock, NULL) != 0)
		goto fail;
	if (pthread_cond_init(&sink->wanted, NULL) != 0) {
		(void)pthread_mutex_destroy(&sink->lock);
		goto fail;
	}
	if (pthread_create(&sink->thread, NULL, run, sink) == 0)
		return sink;
	(void)pthread_cond_destroy(&sink->wanted);
	(void)pthread_mutex_destroy(&sink->lock);
fail:
	free(sink->filling);
	free(sink->writing);
	free(sink);
	return NULL;
}

static void free_secrets(char **secrets, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(secrets[i]);
	free(secrets);
}

void log_sink_free(struct log_sink *sink)
{
	if (!sink)
		return;
	atomic_store(&sink->until_ms, vgw_now_ms() + LAST_MS);
	(void)pthread_mutex_lock(&sink->lock);
	sink->is_stopping = true;
	(void)pthread_cond_signal(&sink->wanted);
	(void)pthread_mutex_unlock(&sink->lock);
	(void)pthread_join(sink->thread, NULL);
	write_all(sink, sink->filling, sink->len);
	(void)pthread_cond_destroy(&sink->wanted);
	(void)pthread_mutex_destroy(&sink->lock);
	free_secrets(sink->secrets, sink->secret_count);
	free(sink->filling);
	free(sink->writing);
	free(sink);
}

int log_sink_set_secrets(struct log_sink *sink, const char *const *secrets, size_t count)
{
	char **copies = calloc(count ? count : 1, sizeof(*copies));
	size_t done = 0;

	while (copies && done < count && (copies[done] = strdup(secrets[done])))
		done++;
	if (!copies || done < count) {
		free_secrets(copies, done);
		return -1;
	}
	(void)pthread_mutex_lock(&sink->lock);
	free_secrets(sink->secrets, sink->secret_count);
	sink->secrets = copies;
	sink->secret_count = count;
	(void)pthread_mutex_unlock(&sink->lock);
	return 0;
}

/* In place, as a secret is longer than what replaces it. */
static size_t redact_locked(const struct log_sink *sink, char *line, size_t len)
{
	for (size_t i = 0; i < sink->secret_count; i++) {
		size_t size = strlen(sink->secrets[i]);
		char *at;

		while (size > 3 && (at = memmem(line, len, sink->secrets[i], size))) {
			memcpy(at, "***", 3);
			memmove(at + 3, at + size, len - (size_t)(at + size - line));
			len -= size - 3;
		}
	}
	return len;
}

void log_sink_line(struct log_sink *sink, const char *line, size_t len)
{
	(void)pthread_mutex_lock(&sink->lock);
	if (len + 1 > BUFFER_BYTES - sink->len) {
		sink->dropped++;
	} else {
		char *at = sink->filling + sink->len;

		memcpy(at, line, len);
		len = redact_locked(sink, at, len);
		at[len] = '\n';
		if (!sink->len)
			(void)pthread_cond_signal(&sink->wanted);
		sink->len += len + 1;
	}
	(void)pthread_mutex_unlock(&sink->lock);
}

void log_sink_time(char out[32])
{
	struct timespec now = { 0 };
	struct tm parts = { 0 };
	size_t len;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)gmtime_r(&now.tv_sec, &parts);
	len = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &parts);
	(void)snprintf(out + len, 32 - len, ".%03ldZ", now.tv_nsec / 1000000);
}

static bool is_inside_character(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

size_t log_sink_escape(char *out, size_t size, const char *text, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	size_t at = 0, i;

	for (i = 0; i < len && at + 7 < size; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c == '"' || c == '\\') {
			out[at++] = '\\';
			out[at++] = (char)c;
		} else if (c < 0x20 || c == 0x7f) {
			memcpy(out + at, "\\u00", 4);
			out[at + 4] = digits[c >> 4];
			out[at + 5] = digits[c & 15];
			at += 6;
		} else {
			out[at++] = (char)c;
		}
	}
	if (i < len && is_inside_character(text[i])) {
		while (at && is_inside_character(out[at - 1]))
			at--;
		at -= at > 0; /* its first byte */
	}
	out[at] = '\0';
	return at;
}

void log_sink_log(void *user, vgw_log_level level, const char *area, const char *model, const char *text)
{
	struct log_sink *sink = user;
	char line[LINE_BYTES], stamp[32], escaped[LINE_BYTES / 2], name[256] = "";
	int len;

	if ((int)level > atomic_load_explicit(&sink->level, memory_order_relaxed))
		return;
	log_sink_time(stamp);
	(void)log_sink_escape(escaped, sizeof(escaped), text, strlen(text));
	if (model)
		(void)log_sink_escape(name, sizeof(name), model, strlen(model));
	if (sink->is_json)
		len = snprintf(line, sizeof(line), "{\"time\":\"%s\",\"level\":\"%s\",\"area\":\"%s\"%s%s%s,\"text\":\"%s\"}",
			stamp, vgw_log_level_get_name(level), area, model ? ",\"model\":\"" : "", name,
			model ? "\"" : "", escaped);
	else
		len = snprintf(line, sizeof(line), "%.8s %-5s %s%s%s: %s", stamp + 11, vgw_log_level_get_name(level),
			area, model ? " " : "", name, text);
	if (len > 0)
		log_sink_line(sink, line, (size_t)len < sizeof(line) ? (size_t)len : sizeof(line) - 1);
}

vgw_logger log_sink_get_logger(struct log_sink *sink)
{
	return (vgw_logger){ .fn = log_sink_log, .user = sink, .level = VGW_LOG_DEBUG };
}

bool log_sink_is_json(const struct log_sink *sink)
{
	return sink->is_json;
}

void log_sink_set_level(struct log_sink *sink, vgw_log_level level)
{
	atomic_store(&sink->level, (int)level);
}
