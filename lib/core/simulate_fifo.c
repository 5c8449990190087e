/* SPDX-License-Identifier: Apache-2.0 */
/* First come, first swapped: what a mutex around the swap does. Requests are taken strictly in order; one
 * whose model is not in memory holds the lock while the least recently used others finish, stop, and it
 * starts; everybody behind it waits, also for models that are in memory. */
#include "core/simulate_internal.h"

#include "util/alloc.h"

struct engine {
	bool is_resident;
	uint32_t devices; /* the first on which there was room */
	int64_t busy_until_ms;
	int64_t last_used_ms;
	int64_t since_ms;
};

static int64_t free_bytes(const struct vgw__simulation *s, const struct engine *engines, int32_t d)
{
	int64_t bytes = s->devices[d].budget_bytes;

	for (int32_t m = 0; m < s->model_count; m++) {
		uint32_t elsewhere = s->models[m].devices & ~engines[m].devices;

		bytes -= engines[m].is_resident && !((elsewhere >> d) & 1u) ? s->models[m].awake_bytes[d] : 0;
	}
	return bytes;
}

static bool fits(const struct vgw__simulation *s, struct engine *engines, int32_t wanted)
{
	const struct vgw__model_config *model = &s->models[wanted];
	int32_t residents = 1;
	int32_t left = model->devices_needed;

	for (int32_t m = 0; m < s->model_count; m++) {
		residents += engines[m].is_resident;
		if (engines[m].is_resident && (s->models[m].groups & s->models[wanted].groups))
			return false;
	}
	if (s->config.max_resident && residents > s->config.max_resident)
		return false;
	engines[wanted].devices = left ? 0 : model->devices;
	for (int32_t d = 0; d < s->device_count; d++) {
		bool is_choice = model->devices_needed && ((model->devices >> d) & 1u);
		bool has_room = !s->devices[d].budget_bytes ||
				model->awake_bytes[d] <= free_bytes(s, engines, d);

		if (is_choice && has_room && left) {
			engines[wanted].devices |= 1u << d;
			left--;
		}
		if (!is_choice && !has_room)
			return false;
	}
	return left == 0;
}

static int32_t least_recently_used(const struct vgw__simulation *s, const struct engine *engines)
{
	int32_t oldest = VGW__NOBODY;

	for (int32_t m = 0; m < s->model_count; m++) {
		if (engines[m].is_resident &&
			(oldest == VGW__NOBODY || engines[m].last_used_ms < engines[oldest].last_used_ms))
			oldest = m;
	}
	return oldest;
}

static void add_residence(
	struct vgw__simulated *out, const struct vgw__simulation *s, const struct engine *engine, int64_t ms)
{
	for (int32_t d = 0; d < s->device_count; d++) {
		if (((engine->devices >> d) & 1u) && !s->devices[d].is_host)
			out->device_hours += (double)ms / 3600000.0;
	}
}

bool vgw__simulate_fifo(struct vgw__simulated *out, const struct vgw__simulation *s, int64_t *waits)
{
	struct engine *engines = vgw__calloc((size_t)s->model_count, sizeof(*engines));
	int64_t lock_free_ms = 0;
	int64_t end_ms = 0;
	int64_t now_ms;
	int32_t victim;

	if (!engines)
		return false;
	for (size_t i = 0; i < s->arrival_count; i++) {
		const struct vgw__arrival *arrival = &s->arrivals[i];
		struct engine *engine = &engines[arrival->model];

		now_ms = arrival->at_ms > lock_free_ms ? arrival->at_ms : lock_free_ms;
		while (!engine->is_resident && !fits(s, engines, arrival->model)) {
			victim = least_recently_used(s, engines);
			if (victim == VGW__NOBODY)
				break; /* it is larger than its device: nothing to be done */
			if (engines[victim].busy_until_ms > now_ms)
				now_ms = engines[victim].busy_until_ms;
			now_ms += s->times[victim].stop_ms;
			engines[victim].is_resident = false;
			add_residence(out, s, &engines[victim], now_ms - engines[victim].since_ms);
		}
		if (!engine->is_resident) {
			engine->since_ms = now_ms;
			now_ms += s->times[arrival->model].start_ms;
			engine->is_resident = true;
			out->cold_starts++;
		}
		lock_free_ms = now_ms;
		waits[i] = now_ms - arrival->at_ms;
		engine->last_used_ms = now_ms;
		if (now_ms + arrival->service_ms > engine->busy_until_ms)
			engine->busy_until_ms = now_ms + arrival->service_ms;
		if (engine->busy_until_ms > end_ms)
			end_ms = engine->busy_until_ms;
	}
	for (int32_t m = 0; m < s->model_count; m++) {
		if (engines[m].is_resident)
			add_residence(out, s, &engines[m], end_ms - engines[m].since_ms);
	}
	out->span_ms = s->arrival_count ? end_ms - s->arrivals[0].at_ms : 0;
	vgw__free(engines);
	return true;
}
