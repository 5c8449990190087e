/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes, counts and groups. Two questions: what is held now (may an operation begin?), and what will be held
 * when everything under way is done (may a load be promised?). Promises are made against the second, so two
 * loads that wait for victims never count on the same room. */
#include "core/planner_internal.h"

#define UNLIMITED (INT64_MAX / 4)

static int64_t larger(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* --- held now --- */

void vgw__budget_charge_of(const struct vgw__planner *p, const struct vgw__replica *r, int64_t *bytes)
{
	for (int32_t d = 0; d < p->limits.devices; d++) {
		bytes[d] = 0;
		if (r->holds & VGW__HOLDS_AWAKE)
			bytes[d] = r->awake[d];
		if (r->holds & VGW__HOLDS_ASLEEP)
			bytes[d] = larger(bytes[d], r->asleep[d]);
	}
}

void vgw__budget_charge(struct vgw__planner *p, struct vgw__replica *r)
{
	int64_t bytes[VGW__DEVICES_MAX];
	int64_t room;

	vgw__budget_charge_of(p, r, bytes);
	for (int32_t d = 0; d < p->limits.devices; d++) {
		p->devices[d].used_bytes -= r->held[d];
		if (r->is_surplus && p->devices[d].budget_bytes) {
			room = p->devices[d].budget_bytes - p->devices[d].used_bytes;
			bytes[d] = bytes[d] > room ? room : bytes[d];
		}
		r->held[d] = bytes[d];
		p->devices[d].used_bytes += bytes[d];
	}
}

bool vgw__budget_is_resident(const struct vgw__replica *r)
{
	switch (r->state) {
	case VGW__STATE_STARTING:
	case VGW__STATE_WAKING:
	case VGW__STATE_READY:
	case VGW__STATE_DRAINING:
		return true;
	case VGW__STATE_LEAVING:
	case VGW__STATE_STUCK:
		return (r->holds & VGW__HOLDS_AWAKE) && !r->is_surplus;
	default:
		return false;
	}
}

bool vgw__budget_is_sleeper(const struct vgw__replica *r)
{
	if (r->is_surplus)
		return false;
	if (r->state == VGW__STATE_ASLEEP)
		return true;
	if (r->state != VGW__STATE_LEAVING && r->state != VGW__STATE_STUCK)
		return false;
	return !(r->holds & VGW__HOLDS_AWAKE) ||
	       (r->phase >= VGW__PHASE_STOPPING && r->op_depth == VGW__DEPTH_SLEEP);
}

static int32_t count_sleepers(const struct vgw__planner *p)
{
	int32_t count = 0;

	for (int32_t i = 0; i < p->limits.models; i++)
		count += vgw__budget_is_sleeper(&p->replicas[i]);
	return count;
}

bool vgw__budget_fits_now(const struct vgw__planner *p, const struct vgw__replica *r)
{
	int64_t residents = 0;
	int64_t need;
	const struct vgw__device *device;

	for (int32_t i = 0; i < p->limits.models; i++) {
		const struct vgw__replica *other = &p->replicas[i];

		if (other == r || !vgw__budget_is_resident(other))
			continue;
		residents++;
		if (other->config.groups & r->config.groups)
			return false;
	}
	if (p->config.max_resident && residents >= p->config.max_resident)
		return false;
	for (int32_t d = 0; d < p->limits.devices; d++) {
		device = &p->devices[d];
		need = larger(r->awake[d], r->held[d]) - r->held[d];
		if (device->budget_bytes && need > 0 && device->used_bytes + need > device->budget_bytes)
			return false;
	}
	return true;
}

bool vgw__budget_may_sleep_now(const struct vgw__planner *p, const struct vgw__replica *r)
{
	const struct vgw__device *device;
	int64_t need;

	if (count_sleepers(p) >= p->config.max_asleep)
		return false;
	for (int32_t d = 0; d < p->limits.devices; d++) {
		device = &p->devices[d];
		need = larger(r->asleep[d], r->held[d]) - r->held[d];
		if (device->budget_bytes && need > 0 && device->used_bytes + need > device->budget_bytes)
			return false;
	}
	return true;
}

/* --- projected --- */

enum future {
	FUTURE_NOTHING,
	FUTURE_AWAKE,
	FUTURE_ASLEEP,
	FUTURE_AS_NOW, /* STUCK */
};

static enum future future_of(const struct vgw__replica *r, enum vgw__mark mark)
{
	if (mark == VGW__MARK_STOP)
		return FUTURE_NOTHING;
	if (mark == VGW__MARK_SLEEP)
		return FUTURE_ASLEEP;
	if (r->is_claimed)
		return FUTURE_AWAKE;
	switch (r->state) {
	case VGW__STATE_STARTING:
	case VGW__STATE_WAKING:
		return r->is_unload ? FUTURE_NOTHING : FUTURE_AWAKE;
	case VGW__STATE_READY:
		return FUTURE_AWAKE;
	case VGW__STATE_DRAINING:
	case VGW__STATE_LEAVING:
		return r->depth == VGW__DEPTH_SLEEP ? FUTURE_ASLEEP : FUTURE_NOTHING;
	case VGW__STATE_ASLEEP:
		return FUTURE_ASLEEP;
	case VGW__STATE_STUCK:
		return FUTURE_AS_NOW;
	default:
		return FUTURE_NOTHING;
	}
}

static int64_t future_bytes(const struct vgw__replica *r, enum future future, int32_t d)
{
	bool is_waking = (r->is_claimed && r->state == VGW__STATE_ASLEEP) || r->state == VGW__STATE_WAKING;

	switch (future) {
	case FUTURE_AWAKE:
		return is_waking ? larger(r->awake[d], r->asleep[d]) : r->awake[d];
	case FUTURE_ASLEEP:
		return r->asleep[d];
	case FUTURE_AS_NOW:
		return r->held[d];
	default:
		return 0;
	}
}

void vgw__budget_project(const struct vgw__planner *p, const int8_t *marks,
	const struct vgw__replica *without, struct vgw__projection *projection)
{
	enum future future;

	for (int32_t d = 0; d < p->limits.devices; d++)
		projection->free[d] = p->devices[d].budget_bytes ? p->devices[d].budget_bytes : UNLIMITED;
	projection->residents_left = p->config.max_resident ? p->config.max_resident : INT32_MAX;
	projection->sleepers_left = p->config.max_asleep;
	projection->groups = 0;
	for (int32_t i = 0; i < p->limits.models; i++) {
		const struct vgw__replica *r = &p->replicas[i];

		if (r == without || !r->exists)
			continue;
		future = future_of(r, marks ? (enum vgw__mark)marks[i] : VGW__MARK_NONE);
		if (future == FUTURE_NOTHING)
			continue;
		for (int32_t d = 0; d < p->limits.devices; d++)
			projection->free[d] -= future_bytes(r, future, d);
		if (future == FUTURE_AWAKE || (future == FUTURE_AS_NOW && vgw__budget_is_resident(r))) {
			projection->residents_left--;
			projection->groups |= r->config.groups;
		} else {
			projection->sleepers_left--;
		}
	}
}

bool vgw__budget_lacks(const struct vgw__planner *p, const struct vgw__replica *r, uint32_t devices,
	const struct vgw__projection *projection, struct vgw__shortage *shortage)
{
	uint32_t elsewhere = r->config.devices & ~devices;
	int64_t need;

	shortage->devices = 0;
	for (int32_t d = 0; d < p->limits.devices; d++) {
		need = ((elsewhere >> d) & 1u) ? 0 : r->need[d];
		if (r->state == VGW__STATE_ASLEEP)
			need = larger(need, r->asleep[d]);
		if (need > 0 && need > projection->free[d])
			shortage->devices |= 1u << d;
	}
	shortage->residents = projection->residents_left < 1;
	shortage->groups = projection->groups & r->config.groups;
	return shortage->devices || shortage->residents || shortage->groups;
}

/* --- one operation at a time on a device --- */

uint32_t vgw__budget_locked(const struct vgw__planner *p)
{
	uint32_t mask = 0;

	for (int32_t d = 0; d < p->limits.devices; d++) {
		if (p->devices[d].holder != VGW__NOBODY)
			mask |= 1u << d;
	}
	return mask;
}

void vgw__budget_lock(struct vgw__planner *p, const struct vgw__replica *r)
{
	for (int32_t d = 0; d < p->limits.devices; d++) {
		if (((r->devices >> d) & 1u) && !p->devices[d].is_host)
			p->devices[d].holder = vgw__replica_index(p, r);
	}
}

void vgw__budget_unlock(struct vgw__planner *p, const struct vgw__replica *r)
{
	for (int32_t d = 0; d < p->limits.devices; d++) {
		if (p->devices[d].holder == vgw__replica_index(p, r))
			p->devices[d].holder = VGW__NOBODY;
	}
}
