/* SPDX-License-Identifier: Apache-2.0 */
/* Counting changes of state. One thread writes, any thread reads. */
#include "observe/lifecycle.h"

#include "core/states.h"
#include "observe/stats_internal.h"
#include "util/alloc.h"

#include <inttypes.h>
#include <string.h>

/* When a replica began to come up. */
struct start {
	struct start *next;
	int64_t at_ms;
	char replica[];
};

struct vgw__lifecycle {
	atomic_uint_fast64_t entered[VGW__STATE_COUNT];
	atomic_uint_fast64_t swapped_out;
	atomic_uint_fast64_t failures;
	struct vgw__histogram start;
	struct vgw__histogram wake;
	struct start *starts; /* the writer's, a few */
};

static const struct vgw__scale load_scale = { VGW__BOUND_COUNT, 1e6, { 100000, 250000, 500000, 1000000, 2500000, 5000000,
	10000000, 15000000, 30000000, 45000000, 60000000, 90000000, 120000000, 180000000, 300000000, 600000000 } };

/* --- counting ------------------------------------------------------------------------------------------------- */

static struct vgw__lifecycle *get_lifecycle(struct vgw__stats *stats, const char *model)
{
	struct vgw__model_stats *row = vgw__stats_get_model(stats, model);
	struct vgw__lifecycle *lifecycle = row ? atomic_load_explicit(&row->lifecycle, memory_order_relaxed) : NULL;

	if (row && !lifecycle) {
		lifecycle = vgw__alloc(sizeof(*lifecycle));
		atomic_store_explicit(&row->lifecycle, lifecycle, memory_order_release);
	}
	return lifecycle;
}

static struct start *get_start(struct vgw__lifecycle *lifecycle, const char *replica)
{
	struct start *start = lifecycle->starts;
	size_t size = strlen(replica) + 1;

	while (start && strcmp(start->replica, replica) != 0)
		start = start->next;
	if (start)
		return start;
	start = vgw__alloc(sizeof(*start) + size);
	if (!start)
		return NULL;
	memcpy(start->replica, replica, size);
	start->next = lifecycle->starts;
	lifecycle->starts = start;
	return start;
}

static bool is(const char *name, enum vgw__state state)
{
	return strcmp(name, vgw__state_name(state)) == 0;
}

/* What failed is swept first, whether it is tried again or not. */
static bool is_failure(const char *cause)
{
	return strcmp(cause, vgw__cause_name(VGW__CAUSE_FAILED)) == 0 ||
		strcmp(cause, vgw__cause_name(VGW__CAUSE_TIMED_OUT)) == 0 ||
		strcmp(cause, vgw__cause_name(VGW__CAUSE_CRASHED)) == 0;
}

static void hear_transition(struct vgw__lifecycle *lifecycle, const vgw_event *event)
{
	bool is_coming = is(event->to, VGW__STATE_STARTING) || is(event->to, VGW__STATE_WAKING);
	bool was_starting = is(event->from, VGW__STATE_STARTING);
	bool was_coming = was_starting || is(event->from, VGW__STATE_WAKING);
	struct start *start = is_coming || was_coming ? get_start(lifecycle, event->replica) : NULL;

	for (size_t i = 0; i < VGW__STATE_COUNT; i++) {
		if (is(event->to, (enum vgw__state)i))
			vgw__count(&lifecycle->entered[i], 1);
	}
	if (start && is_coming)
		start->at_ms = event->at_ms;
	else if (start && start->at_ms && is(event->to, VGW__STATE_READY))
		vgw__observe(was_starting ? &lifecycle->start : &lifecycle->wake, &load_scale,
			(event->at_ms - start->at_ms) * 1000, 1);
	if (is(event->to, VGW__STATE_DRAINING) && strcmp(event->cause, vgw__cause_name(VGW__CAUSE_SWAP)) == 0)
		vgw__count(&lifecycle->swapped_out, 1);
	if (is(event->to, VGW__STATE_STUCK) || (is(event->to, VGW__STATE_LEAVING) && is_failure(event->cause)))
		vgw__count(&lifecycle->failures, 1);
}

void vgw__lifecycle_hear(struct vgw__stats *stats, const vgw_event *event)
{
	struct vgw__lifecycle *lifecycle;

	if (event->kind == VGW_EVENT_LOST)
		vgw__count(&stats->events_lost, event->lost_count);
	if (event->kind != VGW_EVENT_TRANSITION)
		return;
	lifecycle = get_lifecycle(stats, event->model);
	if (lifecycle)
		hear_transition(lifecycle, event);
}

void vgw__lifecycle_free(struct vgw__lifecycle *lifecycle)
{
	struct start *start = lifecycle ? lifecycle->starts : NULL;

	while (start) {
		struct start *next = start->next;

		vgw__free(start);
		start = next;
	}
	vgw__free(lifecycle);
}

/* --- rendering ------------------------------------------------------------------------------------------------ */

/* One model's line or lines of one metric. */
typedef bool (*print_fn)(struct vgw__buf *out, const char *labels, const struct vgw__lifecycle *lifecycle);

static bool print_entered(struct vgw__buf *out, const char *labels, const struct vgw__lifecycle *lifecycle)
{
	bool is_ok = true;

	for (size_t i = 0; i < VGW__STATE_COUNT && is_ok; i++)
		is_ok = vgw__buf_print(out, "vllmgw_model_transitions_total{%s,to=\"%s\"} %" PRIuFAST64 "\n", labels,
			vgw__state_name((enum vgw__state)i),
			atomic_load_explicit(&lifecycle->entered[i], memory_order_relaxed));
	return is_ok;
}

static bool print_swapped_out(struct vgw__buf *out, const char *labels, const struct vgw__lifecycle *lifecycle)
{
	return vgw__buf_print(out, "vllmgw_model_swapped_out_total{%s} %" PRIuFAST64 "\n", labels,
		atomic_load_explicit(&lifecycle->swapped_out, memory_order_relaxed));
}

static bool print_failures(struct vgw__buf *out, const char *labels, const struct vgw__lifecycle *lifecycle)
{
	return vgw__buf_print(out, "vllmgw_model_failures_total{%s} %" PRIuFAST64 "\n", labels,
		atomic_load_explicit(&lifecycle->failures, memory_order_relaxed));
}

static bool print_start(struct vgw__buf *out, const char *labels, const struct vgw__lifecycle *lifecycle)
{
	return vgw__metrics_print_histogram(out, "vllmgw_model_start_seconds", labels, &lifecycle->start, &load_scale);
}

static bool print_wake(struct vgw__buf *out, const char *labels, const struct vgw__lifecycle *lifecycle)
{
	return vgw__metrics_print_histogram(out, "vllmgw_model_wake_seconds", labels, &lifecycle->wake, &load_scale);
}

static bool print_metric(struct vgw__stats *stats, struct vgw__buf *out, print_fn print)
{
	bool is_ok = true;

	for (struct vgw__model_stats *model = stats->models; model && is_ok; model = model->next) {
		struct vgw__lifecycle *lifecycle = atomic_load_explicit(&model->lifecycle, memory_order_acquire);
		char *labels = lifecycle ? vgw__metrics_dup_label(model->name) : NULL;

		is_ok = !lifecycle || (labels && print(out, labels, lifecycle));
		vgw__free(labels);
	}
	return is_ok;
}

/* XX(metric name, type, its print_fn, help) */
#define METRICS(XX)                                                                                                    \
	XX("vllmgw_model_transitions_total", "counter", print_entered, "Changes of models' states, by the new state.") \
	XX("vllmgw_model_swapped_out_total", "counter", print_swapped_out, "How often it left to make room for another.") \
	XX("vllmgw_model_failures_total", "counter", print_failures, "Failed starts, crashes, engines that got stuck.") \
	XX("vllmgw_model_start_seconds", "histogram", print_start, "From the order to start to the first good probe.") \
	XX("vllmgw_model_wake_seconds", "histogram", print_wake, "From the order to wake to the first good probe.")

bool vgw__lifecycle_print(struct vgw__stats *stats, struct vgw__buf *out)
{
	bool is_ok;

	(void)pthread_mutex_lock(&stats->lock);
	is_ok = vgw__metrics_print_head(out, "vllmgw_events_lost_total", "counter",
			"Events that did not fit into the queue; the counts of models lack them.") &&
		vgw__buf_print(out, "vllmgw_events_lost_total %" PRIuFAST64 "\n",
			atomic_load_explicit(&stats->events_lost, memory_order_relaxed));
#define XX(name, type, print, help)                                             \
	is_ok = is_ok && vgw__metrics_print_head(out, name, type, help) && print_metric(stats, out, print);
	METRICS(XX)
#undef XX
	(void)pthread_mutex_unlock(&stats->lock);
	return is_ok;
}
