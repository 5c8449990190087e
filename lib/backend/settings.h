/* SPDX-License-Identifier: Apache-2.0 */
/* A controller's configuration: the `backend:` mapping as a JSON object. Every getter answers a wrong value with
 * one line that says which key, what is there, and what would be right. An absent key is no error, and null is
 * the same as absent. */
#ifndef VGW_BACKEND_SETTINGS_H
#define VGW_BACKEND_SETTINGS_H

#include <vllmgw/status.h>

#include "util/strings.h"

#include <jansson.h>

struct vgw__settings {
	json_t *root;
	const char *model; /* for messages */
};

/* `known`: the keys this kind has, ended by NULL; another key is an error that names the nearest. */
vgw_status vgw__settings_open(struct vgw__settings *settings, const char *model, const char *json,
	const char *const *known, vgw_error *err);
void vgw__settings_close(struct vgw__settings *settings); /* also of a zeroed one */

bool vgw__settings_has(const struct vgw__settings *settings, const char *key);
/* *out is borrowed until close; untouched when the key is absent. */
vgw_status vgw__settings_get_text(const struct vgw__settings *settings, const char *key, const char **out,
	vgw_error *err);
/* "20m", or an integer of milliseconds, also under the name KEY_ms. */
vgw_status vgw__settings_get_duration(const struct vgw__settings *settings, const char *key, int64_t *out_ms,
	vgw_error *err);
vgw_status vgw__settings_get_integer(const struct vgw__settings *settings, const char *key, int64_t min,
	int64_t max, int64_t *out, vgw_error *err);
vgw_status vgw__settings_get_flag(const struct vgw__settings *settings, const char *key, bool *out, vgw_error *err);
/* An array of texts (numbers and booleans are taken as they are written), appended to *out. */
vgw_status vgw__settings_get_list(const struct vgw__settings *settings, const char *key, struct vgw__strings *out,
	vgw_error *err);
/* A mapping of names to texts, appended to *out as NAME=value. */
vgw_status vgw__settings_get_map(const struct vgw__settings *settings, const char *key, struct vgw__strings *out,
	vgw_error *err);

#endif
