/* SPDX-License-Identifier: Apache-2.0 */
/* What the devices themselves say of an engine's memory: learned while it comes up, waited for when it goes. All of
 * it on executors, within the operation that has the devices locked, so two engines never move at once on one.
 *
 *   activate:  free before ──────────────► free after        taken = before - after: the footprint
 *   leave:     free when it begins to go ─► wait until there is
 *                what was free before it came, the others' changes counted in, or what it took on top of what is
 *
 * Either will do: the first fails when a stranger has grown, the second when the engine had crashed and its memory
 * was back before anybody looked. Without a source of such numbers a fixed time is waited (settle_ms). */
#include "residency/internal.h"

#include "backend/settle.h"
#include "util/log.h"

enum { READ_MS = 5000 };

static const int64_t slack_bytes = INT64_C(256) * 1024 * 1024;
static const int64_t foreign_bytes = INT64_C(1024) * 1024 * 1024; /* so much of a stranger's is worth a warning */

/* --- the source ----------------------------------------------------------------------------------------------- */

/* Found when it is first needed, because finding it may take a while. */
static vgw_status find_source(vgw_residency *residency, struct vgw__settle **out)
{
	if (residency->memory_command.count > 0)
		return vgw__settle_new_command(out, &residency->memory_command, NULL);
	return vgw__settle_new_best(out, 0, NULL);
}

struct vgw__settle *vgw__memory_get_source(vgw_residency *residency)
{
	struct vgw__memory *memory = &residency->memory;
	struct vgw__settle *source;

	(void)pthread_mutex_lock(&memory->lock);
	if (!memory->is_sought) {
		memory->is_sought = true;
		if (find_source(residency, &memory->source) == VGW_OK)
			vgw__log(&residency->options.logger, VGW_LOG_DEBUG, "residency", NULL,
				"the devices' memory is told by: %s", memory->source->ops->name);
	}
	source = memory->source;
	(void)pthread_mutex_unlock(&memory->lock);
	return source && source->ops->read ? source : NULL;
}

bool vgw__memory_read(const struct vgw__operation *operation, int32_t device, struct vgw__device_memory *out)
{
	vgw_residency *residency = operation->engine->residency;
	struct vgw__settle *source = vgw__memory_get_source(residency);

	return source && vgw__settle_read(source, residency->device_names[device], vgw_now_ms() + READ_MS,
		vgw_host_get_cancel_fd(operation->instance->host), out, NULL) == VGW_OK;
}

/* -1: nobody tells. */
static int64_t read_free(const struct vgw__operation *operation, int32_t device)
{
	struct vgw__device_memory memory;

	if (!vgw__memory_read(operation, device, &memory))
		return -1;
	return memory.free_bytes > INT64_MAX ? INT64_MAX : (int64_t)memory.free_bytes;
}

static bool is_concerned(const struct vgw__operation *operation, int32_t device)
{
	return ((operation->order.devices >> device) & 1u) && operation->engine->residency->device_names[device][0];
}

/* --- the ledger: what ours take on each device ---------------------------------------------------------------- */

static int64_t used_by_others(const struct vgw__operation *operation, int32_t device)
{
	struct vgw__memory *memory = &operation->engine->residency->memory;
	int64_t bytes;

	(void)pthread_mutex_lock(&memory->lock);
	bytes = memory->used[device] - operation->engine->memory[device].charged;
	(void)pthread_mutex_unlock(&memory->lock);
	return bytes;
}

static void charge_engine(struct vgw__engine *engine, int32_t device, int64_t bytes)
{
	struct vgw__memory *memory = &engine->residency->memory;

	(void)pthread_mutex_lock(&memory->lock);
	memory->used[device] += bytes - engine->memory[device].charged;
	engine->memory[device].charged = bytes;
	(void)pthread_mutex_unlock(&memory->lock);
}

static void charge(const struct vgw__operation *operation, int32_t device, int64_t bytes)
{
	charge_engine(operation->engine, device, bytes);
}

void vgw__memory_adopted(struct vgw__engine *engine, uint32_t devices)
{
	for (int32_t d = 0; d < VGW__DEVICES_MAX; d++) {
		if (((devices >> d) & 1u) && engine->memory[d].taken > 0)
			charge_engine(engine, d, engine->memory[d].taken);
	}
}

/* --- the others ----------------------------------------------------------------------------------------------- */

/* Processes that are not ours take what they like and leave when they like: budgets do not shrink for them. An engine
 * that does not fit for their sake fails as out of memory, and what is told here says why. */
static void note_foreign(const struct vgw__operation *operation, int32_t device, const struct vgw__device_memory *now)
{
	vgw_residency *residency = operation->engine->residency;
	struct vgw__memory *memory = &residency->memory;
	bool is_news;
	int64_t bytes;

	if (!now->total_bytes || now->free_bytes > now->total_bytes || now->total_bytes > INT64_MAX)
		return;
	(void)pthread_mutex_lock(&memory->lock);
	bytes = (int64_t)(now->total_bytes - now->free_bytes) - memory->used[device];
	bytes = bytes > 0 ? bytes : 0;
	memory->foreign[device] = bytes + 1;
	is_news = bytes >= foreign_bytes && bytes > memory->warned[device] + slack_bytes;
	if (is_news || bytes < foreign_bytes)
		memory->warned[device] = bytes;
	(void)pthread_mutex_unlock(&memory->lock);
	if (is_news)
		vgw__log(&residency->options.logger, VGW_LOG_WARN, "residency", NULL,
			"%s: %.1f GiB are taken by processes that are not ours; its budget does not know of them",
			residency->device_names[device], (double)bytes / (1024.0 * 1024.0 * 1024.0));
}

int64_t vgw__memory_get_foreign(vgw_residency *residency, int32_t device)
{
	int64_t bytes;

	(void)pthread_mutex_lock(&residency->memory.lock);
	bytes = residency->memory.foreign[device] - 1;
	(void)pthread_mutex_unlock(&residency->memory.lock);
	return bytes;
}

/* --- coming --------------------------------------------------------------------------------------------------- */

void vgw__memory_before(struct vgw__operation *operation)
{
	if (operation->order.is_wake)
		return; /* what was free before its cold start still counts */
	for (int32_t d = 0; d < VGW__DEVICES_MAX; d++) {
		struct vgw__device_share *share = &operation->engine->memory[d];
		struct vgw__device_memory now;

		if (!is_concerned(operation, d))
			continue;
		share->free_before = -1;
		if (vgw__memory_read(operation, d, &now)) {
			share->free_before = now.free_bytes > INT64_MAX ? INT64_MAX : (int64_t)now.free_bytes;
			note_foreign(operation, d, &now);
		}
		share->others_before = used_by_others(operation, d);
		share->has_baseline = share->free_before >= 0;
		if (share->has_baseline)
			share->taken = 0; /* of an earlier start */
	}
}

void vgw__memory_after(struct vgw__operation *operation)
{
	for (int32_t d = 0; d < VGW__DEVICES_MAX; d++) {
		struct vgw__device_share *share = &operation->engine->memory[d];
		int64_t now;

		operation->footprint[d] = VGW__UNKNOWN_BYTES;
		if (!is_concerned(operation, d) || !share->has_baseline)
			continue;
		if (operation->order.is_wake) {
			charge(operation, d, share->taken);
			continue;
		}
		now = read_free(operation, d);
		if (now < 0)
			continue;
		share->taken = share->free_before > now ? share->free_before - now : 0;
		operation->footprint[d] = share->taken;
		/* on one of several perhaps nothing; on none of them means that they do not show it */
		operation->has_footprint = operation->has_footprint || share->taken;
		charge(operation, d, share->taken);
	}
}

/* --- going ---------------------------------------------------------------------------------------------------- */

void vgw__memory_leaving(struct vgw__operation *operation)
{
	for (int32_t d = 0; d < VGW__DEVICES_MAX; d++) {
		if (is_concerned(operation, d))
			operation->engine->memory[d].free_leaving = operation->engine->is_dead ? -1
				: read_free(operation, d);
	}
}

/* How much must be free; -1: nothing can be said. */
static int64_t wanted_bytes(const struct vgw__operation *operation, int32_t d)
{
	const struct vgw__device_share *share = &operation->engine->memory[d];
	int64_t slack = share->taken / 10 > slack_bytes ? share->taken / 10 : slack_bytes;
	int64_t wanted = -1, other;

	if (share->has_baseline) {
		wanted = share->free_before + share->others_before - used_by_others(operation, d) - slack;
		wanted = wanted > 0 ? wanted : 0;
	}
	if (share->taken > 0 && share->free_leaving >= 0) {
		other = share->free_leaving + share->taken - share->taken / 10;
		wanted = wanted < 0 || other < wanted ? other : wanted;
	}
	return wanted;
}

/* Asleep, what is left on the device is its residue; nobody knows beforehand how much that is. */
static void measure_sleeper(struct vgw__operation *operation, int32_t d)
{
	struct vgw__device_share *share = &operation->engine->memory[d];
	int64_t now = read_free(operation, d);
	int64_t residue;

	if (now < 0 || share->free_leaving < 0 || !share->taken)
		return;
	residue = share->taken - (now - share->free_leaving);
	residue = residue < 0 ? 0 : residue > share->taken ? share->taken : residue;
	operation->footprint[d] = residue;
	operation->has_footprint = true;
	charge(operation, d, residue);
}

vgw_status vgw__memory_settle(struct vgw__operation *operation, vgw_error *err)
{
	vgw_residency *residency = operation->engine->residency;
	int cancel_fd = vgw_host_get_cancel_fd(operation->instance->host);
	struct vgw__settle *source = vgw__memory_get_source(residency);
	bool is_told = false;
	vgw_status status = VGW_OK;

	for (int32_t d = 0; status == VGW_OK && d < VGW__DEVICES_MAX; d++) {
		int64_t wanted;

		operation->footprint[d] = VGW__UNKNOWN_BYTES;
		if (!source || !is_concerned(operation, d))
			continue;
		if (operation->order.depth == VGW__DEPTH_SLEEP) {
			measure_sleeper(operation, d);
			is_told = true;
			continue;
		}
		wanted = wanted_bytes(operation, d);
		if (wanted < 0)
			continue;
		is_told = true;
		status = vgw__settle_wait(source, residency->device_names[d], (uint64_t)wanted,
			operation->order.deadline_ms, cancel_fd, err);
		if (status == VGW_OK)
			charge(operation, d, 0);
	}
	if (!is_told)
		(void)vgw__operation_pause(operation, operation->order.settle_ms);
	return status;
}

void vgw__memory_fini(struct vgw__memory *memory)
{
	vgw__settle_free(memory->source);
	(void)pthread_mutex_destroy(&memory->lock);
}
