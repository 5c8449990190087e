/* SPDX-License-Identifier: Apache-2.0 */
/* A queue under one mutex. The first thread is there from the beginning, so a job always runs some day, even when
 * no more threads can be had. */
#include "residency/executors.h"

#include "util/alloc.h"

#include <pthread.h>

struct vgw__executors {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct vgw__list queue; /* guarded by lock, as all that follows */
	pthread_t *threads;
	uint32_t count;
	uint32_t max;
	uint32_t idle;
	uint32_t queued;
	bool is_stopping;
};

static void *execute(void *user)
{
	struct vgw__executors *executors = user;

	(void)pthread_mutex_lock(&executors->lock);
	for (;;) {
		struct vgw__list *link;

		executors->idle++;
		while (vgw__list_is_empty(&executors->queue) && !executors->is_stopping)
			(void)pthread_cond_wait(&executors->changed, &executors->lock);
		executors->idle--;
		link = vgw__list_first(&executors->queue);
		if (!link)
			break;
		vgw__list_remove(link);
		executors->queued--;
		(void)pthread_mutex_unlock(&executors->lock);
		VGW__CONTAINER(link, struct vgw__job, link)->run(VGW__CONTAINER(link, struct vgw__job, link));
		(void)pthread_mutex_lock(&executors->lock);
	}
	(void)pthread_mutex_unlock(&executors->lock);
	return NULL;
}

static int add_thread_locked(struct vgw__executors *executors)
{
	int failure = pthread_create(&executors->threads[executors->count], NULL, execute, executors);

	if (!failure)
		executors->count++;
	return failure;
}

vgw_status vgw__executors_new(struct vgw__executors **out, uint32_t max_threads, vgw_error *err)
{
	struct vgw__executors *executors = vgw__alloc(sizeof(*executors));
	int failure;

	*out = NULL;
	if (!executors || !(executors->threads = vgw__calloc(max_threads, sizeof(*executors->threads)))) {
		vgw__free(executors);
		return vgw_error_set(err, VGW_NOMEM, 0, "no memory for executors");
	}
	executors->max = max_threads;
	vgw__list_init(&executors->queue);
	(void)pthread_mutex_init(&executors->lock, NULL);
	(void)pthread_cond_init(&executors->changed, NULL);
	(void)pthread_mutex_lock(&executors->lock);
	failure = add_thread_locked(executors);
	(void)pthread_mutex_unlock(&executors->lock);
	if (failure) {
		vgw__executors_free(executors);
		return vgw_error_set(err, VGW_INTERNAL, failure, "cannot start an executor's thread");
	}
	*out = executors;
	return VGW_OK;
}

void vgw__executors_free(struct vgw__executors *executors)
{
	if (!executors)
		return;
	(void)pthread_mutex_lock(&executors->lock);
	executors->is_stopping = true;
	(void)pthread_cond_broadcast(&executors->changed);
	(void)pthread_mutex_unlock(&executors->lock);
	for (uint32_t i = 0; i < executors->count; i++)
		(void)pthread_join(executors->threads[i], NULL);
	(void)pthread_cond_destroy(&executors->changed);
	(void)pthread_mutex_destroy(&executors->lock);
	vgw__free(executors->threads);
	vgw__free(executors);
}

void vgw__executors_post(struct vgw__executors *executors, struct vgw__job *job)
{
	(void)pthread_mutex_lock(&executors->lock);
	vgw__list_append(&executors->queue, &job->link);
	executors->queued++;
	if (executors->idle < executors->queued && executors->count < executors->max)
		(void)add_thread_locked(executors); /* without one it waits for its turn */
	(void)pthread_cond_signal(&executors->changed);
	(void)pthread_mutex_unlock(&executors->lock);
}
