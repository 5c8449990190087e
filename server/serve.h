/* SPDX-License-Identifier: Apache-2.0 */
/* The service itself: from a configuration to the exit status. */
#ifndef VGW_SERVER_SERVE_H
#define VGW_SERVER_SERVE_H

#include "args.h"
#include "config.h"

#include <vllmgw/status.h>

/* Serve until told to stop. Takes the configuration; `args` tells where to read it again. */
int serve(struct config *config, const struct args *args);

/* Everything that can be wrong with it short of starting. */
vgw_status serve_check(const struct config *config, vgw_error *err);

/* main.c: read it as the command line says; complaints go to standard error. NULL: there were errors, the first of
 * which is in `why`. */
struct config *load_config(const struct args *args, char *why, size_t size);

#endif
