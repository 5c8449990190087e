/* SPDX-License-Identifier: Apache-2.0 */
/* Two tables of substrings, of vLLM, llama.cpp and what Python says. The first line that says why wins, because
 * what follows it is usually its consequence. */
#include "backend/classify.h"

#include <string.h>

struct failure_rule {
	const char *text;
	vgw_failure failure;
	bool is_generic;
};

static const struct failure_rule failure_rules[] = {
	/* a neighbour on the device while it was measuring: before the memory rules, which its text resembles */
	{ "Error in memory profiling", VGW_FAILURE_DISTURBED, false },
	/* memory */
	{ "is less than desired GPU memory utilization", VGW_FAILURE_MEMORY, false },
	{ "No available memory for the cache blocks", VGW_FAILURE_MEMORY, false },
	{ "larger than the available KV cache memory", VGW_FAILURE_MEMORY, false },
	{ "CUDA out of memory", VGW_FAILURE_MEMORY, false },
	{ "torch.OutOfMemoryError", VGW_FAILURE_MEMORY, false },
	{ "CUDA Error: out of memory", VGW_FAILURE_MEMORY, false },
	{ "CUDA error: out of memory", VGW_FAILURE_MEMORY, false },
	{ "HIP out of memory", VGW_FAILURE_MEMORY, false },
	{ "cudaMalloc failed: out of memory", VGW_FAILURE_MEMORY, false },
	{ "CUDA_ERROR_OUT_OF_MEMORY", VGW_FAILURE_MEMORY, false },
	{ "error loading model: unable to allocate", VGW_FAILURE_MEMORY, false },
	{ "failed to allocate buffer for kv cache", VGW_FAILURE_MEMORY, false },
	{ "failed to allocate compute", VGW_FAILURE_MEMORY, false },
	/* the user's */
	{ "unrecognized arguments", VGW_FAILURE_USER, false },
	{ "the following arguments are required", VGW_FAILURE_USER, false },
	{ ": error: argument ", VGW_FAILURE_USER, false },
	{ "error: invalid argument:", VGW_FAILURE_USER, false },
	{ "unknown option", VGW_FAILURE_USER, false },
	{ "gguf_init_from_", VGW_FAILURE_USER, false }, /* only says what is wrong with the file */
	{ "model is corrupted or incomplete", VGW_FAILURE_USER, false },
	{ "is not a local folder and is not a valid model identifier", VGW_FAILURE_USER, false },
	{ "Cannot access gated repo", VGW_FAILURE_USER, false },
	{ "You are trying to access a gated repo", VGW_FAILURE_USER, false },
	{ "401 Client Error", VGW_FAILURE_USER, false },
	{ "403 Client Error", VGW_FAILURE_USER, false },
	{ "404 Client Error", VGW_FAILURE_USER, false },
	{ "RepositoryNotFoundError", VGW_FAILURE_USER, false },
	/* says that, not why */
	{ "ddress already in use", VGW_FAILURE_UNKNOWN, false },
	{ "couldn't bind HTTP server socket", VGW_FAILURE_UNKNOWN, false },
	{ "error loading model: ", VGW_FAILURE_UNKNOWN, false },
	{ "Engine core initialization failed", VGW_FAILURE_UNKNOWN, true },
	{ "EngineCore failed to start", VGW_FAILURE_UNKNOWN, true },
	{ "Traceback (most recent call last)", VGW_FAILURE_UNKNOWN, true },
};

struct progress_rule {
	const char *text;
	const char *words;
	int percent; /* of the whole start, roughly; -1: take the number before '%' in the line, scaled */
};

/* Where the shards' own percentage lies within the start. */
enum { LOAD_FROM = 10, LOAD_TO = 60 };

static const struct progress_rule progress_rules[] = {
	{ "Loading safetensors checkpoint shards", "loading weights", -1 },
	{ "Loading pt checkpoint shards", "loading weights", -1 },
	{ "loading weights", "loading weights", -1 },
	{ "Starting to load model", "loading weights", LOAD_FROM },
	{ "Model loading took", "weights loaded", LOAD_TO },
	{ "torch.compile takes", "compiled", 75 },
	{ "Compiling a graph", "compiling", 65 },
	{ "Available KV cache memory", "memory measured", 80 },
	{ "Capturing CUDA graph", "capturing graphs", 85 },
	{ "Graph capturing finished", "graphs captured", 90 },
	{ "init engine", "engine made", 95 },
	{ "Application startup complete", "listening", 99 },
};

static bool contains(const char *line, size_t len, const char *text)
{
	return memmem(line, len, text, strlen(text)) != NULL;
}

static void keep(char out[VGW__LINE_MAX], const char *line, size_t len)
{
	size_t n = len < VGW__LINE_MAX - 1 ? len : VGW__LINE_MAX - 1;

	memcpy(out, line, n);
	out[n] = '\0';
}

static void note_failure(struct vgw__classifier *classifier, const char *line, size_t len)
{
	if (classifier->has_decisive && !classifier->is_generic)
		return;
	for (size_t i = 0; i < sizeof(failure_rules) / sizeof(failure_rules[0]); i++) {
		const struct failure_rule *rule = &failure_rules[i];

		if (!contains(line, len, rule->text) || (classifier->has_decisive && rule->is_generic))
			continue;
		classifier->failure = rule->failure;
		classifier->has_decisive = true;
		classifier->is_generic = rule->is_generic;
		keep(classifier->decisive, line, len);
		return;
	}
}

/* The number before the last '%' of the line, -1: none. */
static int find_percent(const char *line, size_t len)
{
	const char *sign = memrchr(line, '%', len);
	int value = 0, unit = 1;

	if (!sign || sign == line || sign[-1] < '0' || sign[-1] > '9')
		return -1;
	for (const char *p = sign - 1; p >= line && *p >= '0' && *p <= '9' && unit <= 100; p--, unit *= 10)
		value += unit * (*p - '0');
	return value <= 100 ? value : -1;
}

static bool note_progress(struct vgw__classifier *classifier, const char *line, size_t len)
{
	for (size_t i = 0; i < sizeof(progress_rules) / sizeof(progress_rules[0]); i++) {
		const struct progress_rule *rule = &progress_rules[i];
		int percent = rule->percent;

		if (!contains(line, len, rule->text))
			continue;
		if (percent < 0)
			percent = find_percent(line, len);
		if (percent >= 0 && rule->percent < 0)
			percent = LOAD_FROM + percent * (LOAD_TO - LOAD_FROM) / 100;
		/* Several ranks print the same lines: it never goes back. */
		if (classifier->progress && percent <= classifier->percent)
			return false;
		classifier->percent = percent;
		classifier->progress = rule->words;
		return true;
	}
	return false;
}

bool vgw__classify_line(struct vgw__classifier *classifier, const char *line, size_t len)
{
	while (len > 0 && (line[len - 1] == ' ' || line[len - 1] == '\r' || line[len - 1] == '\t'))
		len--;
	if (len == 0 || line[0] == '\0')
		return false;
	keep(classifier->last, line, len);
	note_failure(classifier, line, len);
	return note_progress(classifier, line, len);
}

const char *vgw__classify_get_line(const struct vgw__classifier *classifier)
{
	return classifier->has_decisive && !classifier->is_generic ? classifier->decisive : classifier->last;
}
