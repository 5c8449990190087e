/* SPDX-License-Identifier: Apache-2.0 */
/* Principals: immutable, so workers read them without a lock. */
#include "gateway/limits.h"
#include "gateway/worker.h"
#include "util/alloc.h"
#include "util/error.h"
#include "util/opts.h"

#include <string.h>

enum { NAME_MAX_BYTES = 64 };

static vgw_status check(const vgw_principal_options *options, vgw_error *err)
{
	size_t len = options->name ? strlen(options->name) : 0;

	if (!len || len > NAME_MAX_BYTES)
		return vgw_error_set(err, VGW_INVALID, 0, "a principal's name has 1 to %d bytes", NAME_MAX_BYTES);
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)options->name[i] <= 0x20 || options->name[i] == 0x7f)
			return vgw_error_set(err, VGW_INVALID, 0, "a principal's name has a space or control character");
	}
	if (options->requests_per_minute > VGW_LIMIT_MAX || options->tokens_per_minute > VGW_LIMIT_MAX)
		return vgw_error_set(err, VGW_INVALID, 0, "'%s': a limit is above %d a minute", options->name,
			VGW_LIMIT_MAX);
	if ((unsigned)options->priority > VGW_PRIORITY_INTERACTIVE)
		return vgw_error_set(err, VGW_INVALID, 0, "'%s': unknown priority", options->name);
	for (size_t i = 0; i < options->model_count; i++) {
		const char *star = strchr(options->models[i], '*');

		if (star && star[1])
			return vgw_error_set(err, VGW_INVALID, 0, "'%s': in the pattern '%s' the * is not last",
				options->name, options->models[i]);
	}
	return VGW_OK;
}

static bool copy_patterns(vgw_principal *principal, const vgw_principal_options *options)
{
	principal->patterns = vgw__calloc(options->model_count + 1, sizeof(*principal->patterns));
	while (principal->patterns && principal->pattern_count < options->model_count) {
		char *pattern = vgw__strdup(options->models[principal->pattern_count]);

		if (!pattern)
			return false;
		principal->patterns[principal->pattern_count++] = pattern;
	}
	return principal->patterns != NULL;
}

vgw_status vgw_principal_new(vgw_principal **out, vgw_gateway *gateway, const vgw_principal_options *given,
	vgw_error *err)
{
	vgw_principal_options options;
	vgw_principal *principal;
	vgw_status status;

	*out = NULL;
	vgw__error_reset(err);
	status = vgw__opts_copy(&options, sizeof(options), given, "vgw_principal_options", err);
	if (status == VGW_OK)
		status = check(&options, err);
	if (status != VGW_OK)
		return status;
	principal = vgw__alloc(sizeof(*principal));
	if (!principal)
		return vgw_error_set(err, VGW_NOMEM, 0, "principal");
	atomic_init(&principal->refs, 1);
	principal->limits = &gateway->limits;
	principal->requests_per_minute = options.requests_per_minute;
	principal->tokens_per_minute = options.tokens_per_minute;
	principal->concurrency = options.concurrency;
	principal->priority = options.priority;
	principal->may_not_swap = options.may_not_swap != 0;
	principal->account = vgw__limits_open_account(&gateway->limits, options.name);
	if (!principal->account || !copy_patterns(principal, &options)) {
		vgw_principal_unref(principal);
		return vgw_error_set(err, VGW_NOMEM, 0, "principal");
	}
	*out = principal;
	return VGW_OK;
}

vgw_principal *vgw_principal_ref(vgw_principal *principal)
{
	atomic_fetch_add_explicit(&principal->refs, 1, memory_order_relaxed);
	return principal;
}

void vgw_principal_unref(vgw_principal *principal)
{
	if (!principal || atomic_fetch_sub_explicit(&principal->refs, 1, memory_order_acq_rel) != 1)
		return;
	vgw__limits_close_account(principal->limits, principal->account);
	for (size_t i = 0; i < principal->pattern_count; i++)
		vgw__free(principal->patterns[i]);
	vgw__free(principal->patterns);
	vgw__free(principal);
}

const char *vgw_principal_get_name(const vgw_principal *principal)
{
	return principal->account->name;
}

bool vgw_principal_may_use(const vgw_principal *principal, const char *model)
{
	if (!principal || !principal->pattern_count)
		return true;
	for (size_t i = 0; i < principal->pattern_count; i++) {
		const char *pattern = principal->patterns[i];
		size_t len = strlen(pattern);

		if (len && pattern[len - 1] == '*' ? strncmp(pattern, model, len - 1) == 0 : strcmp(pattern, model) == 0)
			return true;
	}
	return false;
}

bool vgw__principal_is_limited(const vgw_principal *principal)
{
	return principal->requests_per_minute || principal->tokens_per_minute || principal->concurrency;
}
