/* SPDX-License-Identifier: Apache-2.0 */
/* Keys that stand for others. */
#ifndef VGW_SERVER_COMPAT_IMPLY_H
#define VGW_SERVER_COMPAT_IMPLY_H

#include "config_yaml.h"

/* After the file and the variables: what a key stands for is put where nothing is said of it. */
void compat_imply(struct config_arena *arena, struct node *root);

#endif
