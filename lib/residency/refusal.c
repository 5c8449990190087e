/* SPDX-License-Identifier: Apache-2.0 */
/* Why somebody does not get a lease, in words: which model, what stands in the way, the decisive line of the
 * engine's log, and when trying again makes sense. */
#include "residency/internal.h"

static vgw_status status_of(enum vgw__reason reason)
{
	switch (reason) {
	case VGW__REASON_NONE:
		return VGW_OK;
	case VGW__REASON_NO_SUCH_MODEL:
		return VGW_NOT_FOUND;
	case VGW__REASON_TIMEOUT:
	case VGW__REASON_MAX_WAIT:
	case VGW__REASON_TOO_LATE:
		return VGW_TIMEOUT;
	case VGW__REASON_NO_ROOM:
	case VGW__REASON_TOO_BIG:
	case VGW__REASON_STUCK:
		return VGW_NO_CAPACITY;
	case VGW__REASON_START_FAILED:
	case VGW__REASON_START_TIMEOUT:
	case VGW__REASON_BACKOFF:
	case VGW__REASON_BROKEN:
		return VGW_BACKEND;
	case VGW__REASON_UNLOADED:
		return VGW_CANCELLED;
	case VGW__REASON_SHUTDOWN:
		return VGW_SHUTDOWN;
	case VGW__REASON_BUSY:
	case VGW__REASON_FULL:
		return VGW_BUSY;
	default:
		return VGW_INVALID;
	}
}

/* The reasons behind which a failure stands. */
static bool tells_failure(enum vgw__reason reason)
{
	return reason == VGW__REASON_START_FAILED || reason == VGW__REASON_START_TIMEOUT ||
		reason == VGW__REASON_BACKOFF || reason == VGW__REASON_BROKEN || reason == VGW__REASON_STUCK;
}

static uint32_t retry_after(enum vgw__reason reason, int64_t eta_ms)
{
	switch (reason) {
	case VGW__REASON_TIMEOUT:
	case VGW__REASON_MAX_WAIT:
	case VGW__REASON_TOO_LATE:
	case VGW__REASON_BACKOFF:
	case VGW__REASON_START_FAILED:
	case VGW__REASON_UNLOADED:
		break;
	case VGW__REASON_NO_ROOM:
	case VGW__REASON_FULL:
	case VGW__REASON_BUSY:
		return 1;
	default:
		return 0;
	}
	if (eta_ms < 0)
		return 0;
	return eta_ms < 1000 ? 1 : eta_ms > INT64_C(86400000) ? 86400 : (uint32_t)((eta_ms + 999) / 1000);
}

/* The time is over, and the model is on its way: not the queue was too long. */
static bool is_still_loading(const struct vgw__resident *resident, enum vgw__reason reason)
{
	return reason == VGW__REASON_TIMEOUT &&
		atomic_load_explicit(&resident->standing, memory_order_relaxed) == VGW__STANDING_LOADING;
}

static vgw_fault fault_of(const struct vgw__resident *resident, enum vgw__reason reason, bool is_runtime)
{
	if (is_runtime)
		return VGW_FAULT_RUNTIME_UNAVAILABLE;
	return is_still_loading(resident, reason) ? VGW_FAULT_MODEL_LOADING : vgw__reason_fault(reason);
}

vgw_status vgw__refuse(const struct vgw__resident *resident, enum vgw__reason reason, int64_t eta_ms, vgw_error *err)
{
	const struct vgw__engine *engine = resident->owner;
	bool has_failure = engine && tells_failure(reason) && engine->failure[0];
	bool is_runtime = has_failure && engine->is_runtime_failure &&
		vgw__reason_fault(reason) == VGW_FAULT_MODEL_START_FAILED;
	vgw_status status;

	status = vgw_error_set_fault(err, status_of(reason), fault_of(resident, reason, is_runtime), "model '%.60s': %s%s%.200s",
		resident->name, vgw__reason_text(reason), has_failure ? ": " : "",
		has_failure ? engine->failure : "");
	if (err)
		err->retry_after = retry_after(reason, eta_ms);
	return status;
}
