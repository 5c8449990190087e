/* SPDX-License-Identifier: Apache-2.0 */
/* The gateway's own words to clients. */
#ifndef VGW_GATEWAY_FAULT_H
#define VGW_GATEWAY_FAULT_H

#include "util/buf.h"

#include <vllmgw/gateway.h>

/* A server-sent event that tells of a fault, appended to *out. */
bool vgw__fault_print_event(struct vgw__buf *out, vgw_fault fault, const char *message);

#endif
