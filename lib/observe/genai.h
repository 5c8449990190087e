/* SPDX-License-Identifier: Apache-2.0 */
/* The same figures under the names, labels and buckets of OpenTelemetry's GenAI conventions, for those whose
 * dashboards expect them. Names are as OpenTelemetry translates them for Prometheus. Counted only when asked for. */
#ifndef VGW_OBSERVE_GENAI_H
#define VGW_OBSERVE_GENAI_H

#include "observe/stats.h"

/* XX(NAME, gen_ai_operation_name) */
#define VGW__GENAI_OPERATIONS(XX)           \
	XX(CHAT, "chat")                    \
	XX(TEXT, "text_completion")         \
	XX(EMBEDDINGS, "embeddings")        \
	XX(OTHER, "other")

enum vgw__genai_operation {
#define XX(name, text) VGW__GENAI_##name,
	VGW__GENAI_OPERATIONS(XX)
#undef XX
	VGW__GENAI_OPERATION_COUNT
};

/* One call that ended. -1: not known, or there was none. */
struct vgw__genai_call {
	enum vgw__genai_operation operation;
	uint32_t status;         /* of the answer, or of the fault that ended it */
	int64_t duration_us;
	int64_t first_token_us;  /* of a stream */
	int64_t input_tokens;
	int64_t output_tokens;
};

/* On the worker's thread. Without memory it is not counted. */
void vgw__genai_record(struct vgw__shard *shard, const struct vgw__genai_call *call);

void vgw__genai_free(struct vgw__genai *genai); /* NULL is allowed */

/* Used by metrics.c. */
struct vgw__buf;
bool vgw__genai_print(struct vgw__stats *stats, struct vgw__buf *out);

#endif
