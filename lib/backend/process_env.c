/* SPDX-License-Identifier: Apache-2.0 */
/* What passes from our environment to an engine's. What changes how an engine behaves towards the network or the
 * loader passes only when it is named in full. */
#include "backend/process_env.h"

#include "util/alloc.h"

#include <string.h>
#include <strings.h>

static const char *const default_patterns[] = {
	"PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_*", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "XDG_CACHE_HOME",
	"XDG_CONFIG_HOME", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "PYTHONPATH", "VIRTUAL_ENV",
	"CUDA_*", "NVIDIA_*", "NCCL_*", "ROCR_*", "HIP_*", "HF_*", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_*",
	"TRANSFORMERS_*", "VLLM_*", "TORCH*", "TRITON_*", "OMP_*", "LLAMA_*",
};

/* VLLM_SERVER_DEV_MODE opens remote method calls; a proxy would see the prompts. */
static bool is_withheld(const char *name, size_t len)
{
	static const char *const names[] = { "VLLM_SERVER_DEV_MODE", "LD_PRELOAD", "LD_AUDIT" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strlen(names[i]) == len && memcmp(name, names[i], len) == 0)
			return true;
	return (len >= 6 && strncasecmp(name + len - 6, "_proxy", 6) == 0) ||
		(len >= 7 && memcmp(name, "VLLMGW_", 7) == 0);
}

static bool matches(const char *name, size_t len, const char *pattern)
{
	size_t pattern_len = strlen(pattern);

	if (pattern_len > 0 && pattern[pattern_len - 1] == '*')
		return len >= pattern_len - 1 && memcmp(name, pattern, pattern_len - 1) == 0 &&
			!is_withheld(name, len);
	return pattern_len == len && memcmp(name, pattern, len) == 0;
}

static bool is_allowed(const char *name, size_t len, const struct vgw__strings *patterns)
{
	if (patterns->count == 0) {
		for (size_t i = 0; i < sizeof(default_patterns) / sizeof(default_patterns[0]); i++)
			if (matches(name, len, default_patterns[i]))
				return true;
		return false;
	}
	for (size_t i = 0; i < patterns->count; i++)
		if (matches(name, len, patterns->items[i]))
			return true;
	return false;
}

bool vgw__process_env_set(struct vgw__strings *env, const char *name, size_t name_len, const char *value)
{
	char *entry = vgw__printf("%.*s=%s", (int)name_len, name, value);

	if (!entry)
		return false;
	for (size_t i = 0; i < env->count; i++) {
		if (strncmp(env->items[i], entry, name_len + 1) == 0) {
			vgw__free(env->items[i]);
			env->items[i] = entry;
			return true;
		}
	}
	return vgw__strings_take(env, entry);
}

bool vgw__process_env_inherit(struct vgw__strings *env, char *const *from, const struct vgw__strings *patterns)
{
	for (; from && *from; from++) {
		const char *equals = strchr(*from, '=');
		size_t len = equals ? (size_t)(equals - *from) : 0;

		if (len > 0 && is_allowed(*from, len, patterns) &&
			!vgw__process_env_set(env, *from, len, equals + 1))
			return false;
	}
	return true;
}
