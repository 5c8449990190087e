/* SPDX-License-Identifier: Apache-2.0 */
/* Statuses, faults and the caller-owned error value, all made from the two lists of vllmgw/status.h. */
#include "util/error.h"

#include "util/text.h"

#include <stdarg.h>
#include <stdio.h>

struct status_row {
	const char *name;
	const char *text;
};

static const struct status_row statuses[] = {
#define XX(name, value, text) [value] = { "VGW_" #name, text },
	VGW_STATUS_MAP(XX)
#undef XX
};

static const vgw_fault_info faults[] = {
#define XX(name, http, type, code, text) [VGW_FAULT_##name] = { http, 0, type, code, text },
	VGW_FAULT_MAP(XX)
#undef XX
};

/* What a client is told when a failed call named no fault of its own. */
static const vgw_fault fault_of_status[] = {
	[VGW_OK] = VGW_FAULT_NONE,
	[VGW_INVALID] = VGW_FAULT_BAD_REQUEST,
	[VGW_NOT_FOUND] = VGW_FAULT_MODEL_NOT_FOUND,
	[VGW_EXISTS] = VGW_FAULT_MODEL_CONFLICT,
	[VGW_BUSY] = VGW_FAULT_SERVER_OVERLOADED,
	[VGW_TIMEOUT] = VGW_FAULT_QUEUE_TIMEOUT,
	[VGW_CANCELLED] = VGW_FAULT_CLIENT_CLOSED,
	[VGW_BACKEND] = VGW_FAULT_UPSTREAM_ERROR,
	[VGW_NO_CAPACITY] = VGW_FAULT_NO_CAPACITY,
	[VGW_SHUTDOWN] = VGW_FAULT_SHUTTING_DOWN,
	[VGW_NOMEM] = VGW_FAULT_OUT_OF_MEMORY,
	[VGW_INTERNAL] = VGW_FAULT_INTERNAL_ERROR,
};

_Static_assert(sizeof(vgw_error) == 256, "the error's size is part of the ABI");

static bool is_status(vgw_status status)
{
	return (unsigned)status < sizeof(statuses) / sizeof(statuses[0]);
}

const char *vgw_status_get_name(vgw_status status)
{
	return is_status(status) ? statuses[status].name : "VGW_?";
}

const char *vgw_status_get_text(vgw_status status)
{
	return is_status(status) ? statuses[status].text : "unknown status";
}

const vgw_fault_info *vgw_fault_get_info(vgw_fault fault)
{
	return &faults[(unsigned)fault < VGW_FAULT_COUNT ? fault : VGW_FAULT_INTERNAL_ERROR];
}

vgw_fault vgw_error_get_fault(const vgw_error *error)
{
	if (error->fault != VGW_FAULT_NONE)
		return error->fault;
	return is_status(error->status) ? fault_of_status[error->status] : VGW_FAULT_INTERNAL_ERROR;
}

void vgw__error_reset(vgw_error *err)
{
	if (err)
		*err = (vgw_error)VGW_ERROR_INIT;
}

static vgw_status set(vgw_error *err, vgw_status status, int sys_errno, vgw_fault fault, const char *format,
	va_list ap) __attribute__((format(printf, 5, 0)));

static vgw_status set(vgw_error *err, vgw_status status, int sys_errno, vgw_fault fault, const char *format,
	va_list ap)
{
	if (!err || err->status != VGW_OK)
		return status;
	err->status = status;
	err->sys_errno = sys_errno;
	err->fault = fault;
	(void)vsnprintf(err->text, sizeof(err->text), format, ap);
	vgw__text_mend(err->text);
	return status;
}

vgw_status vgw_error_set(vgw_error *err, vgw_status status, int sys_errno, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	status = set(err, status, sys_errno, VGW_FAULT_NONE, format, ap);
	va_end(ap);
	return status;
}

vgw_status vgw_error_set_fault(vgw_error *err, vgw_status status, vgw_fault fault, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	status = set(err, status, 0, fault, format, ap);
	va_end(ap);
	return status;
}
