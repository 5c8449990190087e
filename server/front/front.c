/* SPDX-License-Identifier: Apache-2.0 */
/* All workers together: sockets first, so that a mistake is told before a thread runs. */
#include "front/worker.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int duplicate(int fd)
{
	return fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

/* One address for all workers. */
static int open_listener(struct front *front, size_t place, char *why, size_t size)
{
	const struct front_listen *at = &front->options.listens[place];
	uint16_t port = 0;
	int first = listen_open(at, &port, front->addresses[place], why, size);

	if (first < 0)
		return -1;
	for (uint32_t i = 0; i < front->worker_count; i++) {
		int fd = first;

		if (i > 0 && at->kind == FRONT_LISTEN_TCP)
			fd = listen_open(at, &port, front->addresses[place], why, size);
		else if (i > 0)
			fd = duplicate(front->shared_fds[place]);
		if (i == 0)
			front->shared_fds[place] = at->kind == FRONT_LISTEN_TCP ? -1 : duplicate(first);
		if (fd < 0 || worker_listen(&front->workers[i], fd, why, size) != 0)
			return -1;
	}
	return 0;
}

static struct front *allocate(const struct front_options *options)
{
	struct front *front = calloc(1, sizeof(*front));

	if (!front)
		return NULL;
	front->options = *options;
	front->begun_ms = vgw_now_ms();
	front->connections_each = options->connections / options->workers + 1;
	front->addresses = calloc(options->listen_count, sizeof(*front->addresses));
	front->shared_fds = calloc(options->listen_count, sizeof(*front->shared_fds));
	front->workers = calloc(options->workers, sizeof(*front->workers));
	if (front->addresses && front->shared_fds && front->workers)
		return front;
	free(front->addresses);
	free(front->shared_fds);
	free(front->workers);
	free(front);
	return NULL;
}

int front_new(struct front **out, const struct front_options *options, char *why, size_t size)
{
	struct front *front = allocate(options);
	int result = front ? 0 : -1;

	*out = NULL;
	if (!front) {
		(void)snprintf(why, size, "out of memory");
		return -1;
	}
	for (size_t i = 0; i < options->listen_count; i++)
		front->shared_fds[i] = -1;
	for (; result == 0 && front->worker_count < options->workers; front->worker_count++)
		result = worker_init(&front->workers[front->worker_count], front, front->worker_count, why, size);
	for (size_t i = 0; result == 0 && i < options->listen_count; i++)
		result = open_listener(front, i, why, size);
	for (uint32_t i = 0; result == 0 && i < front->worker_count; i++) {
		int code = worker_start(&front->workers[i]);

		if (code != 0) {
			(void)snprintf(why, size, "cannot start a thread: %s", strerror(code));
			result = -1;
		}
	}
	if (result != 0) {
		front_free(front);
		return -1;
	}
	*out = front;
	return 0;
}

const char *front_get_address(const struct front *front, size_t listener)
{
	return front->addresses[listener];
}

static void order(struct front *front, enum front_stage stage)
{
	atomic_store(&front->stage, stage);
	for (uint32_t i = 0; i < front->worker_count; i++) {
		if (front->workers[i].is_started)
			worker_order(&front->workers[i]);
	}
}

void front_drain(struct front *front)
{
	order(front, FRONT_DRAINING);
}

uint64_t front_count_fresh(const struct front *front)
{
	return atomic_load(&front->fresh);
}

int64_t front_get_silence_ms(struct front *front)
{
	int64_t longest_ms = 0;

	for (uint32_t i = 0; i < front->worker_count; i++) {
		int64_t silence_ms = worker_get_silence_ms(&front->workers[i]);

		if (silence_ms > longest_ms)
			longest_ms = silence_ms;
	}
	return longest_ms;
}

uint64_t front_count_requests(const struct front *front)
{
	return atomic_load(&front->requests);
}

void front_free(struct front *front)
{
	if (!front)
		return;
	order(front, FRONT_STOPPING);
	for (uint32_t i = 0; i < front->worker_count; i++)
		worker_fini(&front->workers[i]);
	for (size_t i = 0; i < front->options.listen_count; i++) {
		if (front->shared_fds[i] < 0)
			continue; /* never bound: a file of that name is another server's */
		(void)close(front->shared_fds[i]);
		if (front->options.listens[i].kind == FRONT_LISTEN_UNIX)
			(void)unlink(front->options.listens[i].path);
	}
	free(front->addresses);
	free(front->shared_fds);
	free(front->workers);
	free(front);
}
