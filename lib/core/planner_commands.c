/* SPDX-License-Identifier: Apache-2.0 */
/* What the operator and the configuration say: load, unload, sleep, pin, reset, adopt, add, change, remove,
 * shutdown. Each returns why it is not obeyed, or NONE. */
#include "core/planner_internal.h"

static enum vgw__reason admit_wish(struct vgw__planner *p, struct vgw__replica *r)
{
	if (p->is_shutdown)
		return VGW__REASON_SHUTDOWN;
	if (r->is_removed)
		return VGW__REASON_NO_SUCH_MODEL;
	if (r->state == VGW__STATE_STUCK)
		return VGW__REASON_STUCK;
	if (r->state == VGW__STATE_BACKOFF)
		return r->until_ms == VGW__NEVER ? VGW__REASON_BROKEN : VGW__REASON_BACKOFF;
	return vgw__swap_admit(p, r);
}

enum vgw__reason vgw__commands_load(
	struct vgw__planner *p, struct vgw__replica *r, const struct vgw__event *event)
{
	enum vgw__reason reason;

	(void)event;
	if (r->state == VGW__STATE_READY && !p->is_shutdown && !r->is_removed) {
		r->last_used_ms = p->now_ms;
		return VGW__REASON_NONE;
	}
	reason = admit_wish(p, r);
	if (reason != VGW__REASON_NONE)
		return reason;
	r->is_wanted_admin = true;
	r->wanted_since_ms = p->now_ms;
	p->has_changed = true;
	return VGW__REASON_NONE;
}

enum vgw__reason vgw__commands_preload(
	struct vgw__planner *p, struct vgw__replica *r, const struct vgw__event *event)
{
	enum vgw__reason reason;

	(void)event;
	if (r->state == VGW__STATE_READY)
		return VGW__REASON_NONE;
	reason = admit_wish(p, r);
	if (reason != VGW__REASON_NONE)
		return reason;
	r->is_wanted_preload = true;
	r->wanted_since_ms = p->now_ms;
	p->has_changed = true;
	return VGW__REASON_NONE;
}

enum vgw__reason vgw__commands_unload(
	struct vgw__planner *p, struct vgw__replica *r, const struct vgw__event *event)
{
	struct vgw__feed feed = {
		.cause = VGW__CAUSE_ADMIN,
		.depth = VGW__DEPTH_STOP,
		.is_final = true,
		.is_force = event->force,
		.beneficiary = VGW__NOBODY,
	};

	if (r->state == VGW__STATE_STUCK)
		return VGW__REASON_STUCK;
	r->is_wanted_admin = false;
	r->is_wanted_preload = false;
	if (r->is_claimed) {
		r->is_claimed = false;
		vgw__waiters_refuse_all(p, r, VGW__REASON_UNLOADED, VGW__NEVER);
	}
	vgw__machine_feed(p, r, VGW__INPUT_EVICT, &feed);
	return VGW__REASON_NONE;
}

enum vgw__reason vgw__commands_sleep(
	struct vgw__planner *p, struct vgw__replica *r, const struct vgw__event *event)
{
	struct vgw__feed feed = {
		.cause = VGW__CAUSE_ADMIN,
		.depth = VGW__DEPTH_SLEEP,
		.is_final = true,
		.beneficiary = VGW__NOBODY,
	};

	(void)event;
	if (r->state == VGW__STATE_ASLEEP)
		return VGW__REASON_NONE;
	if (r->state != VGW__STATE_READY || r->is_removed)
		return VGW__REASON_BUSY;
	if (!r->config.can_sleep || r->sleep_failures >= 2 || !vgw__budget_may_sleep_now(p, r))
		return VGW__REASON_CANNOT_SLEEP;
	vgw__machine_feed(p, r, VGW__INPUT_EVICT, &feed);
	return VGW__REASON_NONE;
}

enum vgw__reason vgw__commands_pin(
	struct vgw__planner *p, struct vgw__replica *r, const struct vgw__event *event)
{
	r->is_pinned = event->kind == VGW__EVENT_PIN;
	p->has_changed = true;
	return VGW__REASON_NONE;
}

enum vgw__reason vgw__commands_reset(
	struct vgw__planner *p, struct vgw__replica *r, const struct vgw__event *event)
{
	r->is_retried = false;
	r->is_shedding = false;
	r->sleep_failures = 0;
	vgw__machine_feed(p, r,
		r->state == VGW__STATE_STUCK && event->force ? VGW__INPUT_FORGET : VGW__INPUT_RESET, NULL);
	p->has_changed = true;
	return VGW__REASON_NONE;
}

enum vgw__reason vgw__commands_adopt(
	struct vgw__planner *p, struct vgw__replica *r, const struct vgw__event *event)
{
	struct vgw__feed feed = {.beneficiary = VGW__NOBODY};
	bool is_asleep = event->depth == VGW__DEPTH_SLEEP;
	bool is_misplaced;

	if (r->state != VGW__STATE_ABSENT || r->is_claimed)
		return VGW__REASON_BUSY;
	/* one that runs where it may not, or nobody knows where, is stopped: its room cannot be accounted for */
	is_misplaced = event->devices ? !vgw__place_is_set(p, r, event->devices) : vgw__place_is_open(r);
	if (event->devices && !is_misplaced)
		vgw__place_put(r, event->devices);
	feed.is_force = p->is_shutdown || is_misplaced ||
			(is_asleep ? !vgw__budget_may_sleep_now(p, r) : !vgw__budget_fits_now(p, r));
	vgw__machine_feed(p, r, is_asleep ? VGW__INPUT_ADOPT_ASLEEP : VGW__INPUT_ADOPT, &feed);
	return feed.is_force ? VGW__REASON_NO_ROOM : VGW__REASON_NONE;
}

/* --- configuration --- */

enum vgw__reason vgw__commands_add(
	struct vgw__planner *p, struct vgw__replica *r, const struct vgw__event *event)
{
	if (r->exists)
		return VGW__REASON_BUSY;
	r->exists = true;
	r->next_config = *event->config;
	r->has_next_config = true;
	vgw__planner_apply_config(p, r);
	p->has_changed = true;
	return VGW__REASON_NONE;
}

static void evict_for_config(struct vgw__planner *p, struct vgw__replica *r)
{
	struct vgw__feed feed = {
		.cause = VGW__CAUSE_CONFIG,
		.depth = VGW__DEPTH_STOP,
		.is_final = true,
		.beneficiary = VGW__NOBODY,
	};

	r->is_claimed = false;
	vgw__machine_feed(p, r, VGW__INPUT_EVICT, &feed);
	if (r->state == VGW__STATE_BACKOFF)
		vgw__machine_feed(p, r, VGW__INPUT_RESET, NULL);
	if (r->state == VGW__STATE_ABSENT)
		vgw__planner_apply_config(p, r);
	p->has_changed = true;
}

enum vgw__reason vgw__commands_change(
	struct vgw__planner *p, struct vgw__replica *r, const struct vgw__event *event)
{
	struct vgw__model_config soft = *event->config;

	if (r->is_removed)
		return VGW__REASON_NO_SUCH_MODEL;
	if (event->force) {
		r->next_config = *event->config;
		r->has_next_config = true;
		evict_for_config(p, r);
		return VGW__REASON_NONE;
	}
	soft.devices = r->config.devices;
	soft.devices_needed = r->config.devices_needed;
	soft.groups = r->config.groups;
	soft.can_sleep = r->config.can_sleep;
	for (int32_t d = 0; d < VGW__DEVICES_MAX; d++) {
		soft.awake_bytes[d] = r->config.awake_bytes[d];
		soft.asleep_bytes[d] = r->config.asleep_bytes[d];
	}
	vgw__planner_set_config(r, &soft);
	p->has_changed = true;
	return VGW__REASON_NONE;
}

enum vgw__reason vgw__commands_remove(
	struct vgw__planner *p, struct vgw__replica *r, const struct vgw__event *event)
{
	(void)event;
	r->is_removed = true;
	r->is_wanted_admin = false;
	r->is_wanted_preload = false;
	vgw__waiters_refuse_all(p, r, VGW__REASON_NO_SUCH_MODEL, VGW__NEVER);
	evict_for_config(p, r);
	return VGW__REASON_NONE;
}

enum vgw__reason vgw__commands_configure(
	struct vgw__planner *p, struct vgw__replica *r, const struct vgw__event *event)
{
	(void)r;
	p->config = *event->residency;
	vgw__planner_fill_defaults(&p->config);
	p->is_trimming = true;
	p->has_changed = true;
	return VGW__REASON_NONE;
}

enum vgw__reason vgw__commands_shutdown(
	struct vgw__planner *p, struct vgw__replica *ignored, const struct vgw__event *event)
{
	struct vgw__feed feed = {
		.cause = VGW__CAUSE_SHUTDOWN,
		.depth = VGW__DEPTH_STOP,
		.is_final = true,
		.beneficiary = VGW__NOBODY,
	};

	(void)ignored;
	p->is_shutdown = true;
	p->is_leaving_engines = event->force;
	for (int32_t i = 0; i < p->limits.models; i++) {
		struct vgw__replica *r = &p->replicas[i];

		if (!r->exists)
			continue;
		vgw__waiters_refuse_all(p, r, VGW__REASON_SHUTDOWN, VGW__NEVER);
		r->is_wanted_admin = false;
		r->is_wanted_preload = false;
		r->is_claimed = false;
		if (!event->force)
			vgw__machine_feed(p, r, VGW__INPUT_EVICT, &feed);
	}
	p->has_changed = true;
	return VGW__REASON_NONE;
}
