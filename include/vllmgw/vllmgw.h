/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file vllmgw/vllmgw.h
 * All of libvllmgw in one include. Audience: callers. Each header also stands alone.
 */
#ifndef VLLMGW_VLLMGW_H
#define VLLMGW_VLLMGW_H

#include <vllmgw/common.h>
#include <vllmgw/controller.h>
#include <vllmgw/event.h>
#include <vllmgw/gateway.h>
#include <vllmgw/log.h>
#include <vllmgw/loop.h>
#include <vllmgw/model.h>
#include <vllmgw/principal.h>
#include <vllmgw/residency.h>
#include <vllmgw/router.h>
#include <vllmgw/simulate.h>
#include <vllmgw/status.h>

#endif
