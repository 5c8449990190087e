/* SPDX-License-Identifier: Apache-2.0 */
/* Who serves what: names, adapters, sleep, the router's models. The gates an inference request passes. */
#ifndef VGW_ENGINE_MODEL_H
#define VGW_ENGINE_MODEL_H

#include "engine.h"

struct adapter {
	struct adapter *next;
	char *name;
	char *path;
	bool is_garbage; /* its weights were discarded; only a load brings them back */
};

/* model.c */
/** The name to answer with, or NULL: the error is sent. Held until the engine's next change of adapters. */
const char *model_resolve(struct conn *conn);
bool model_is_served(const struct engine *engine, const char *name);
void model_list(struct conn *conn); /* GET /v1/models */
void model_get(struct conn *conn);  /* GET /v1/models/{id} */

/* lora.c */
void lora_init(struct engine *engine);
void lora_free(struct engine *engine);
const struct adapter *lora_find(const struct engine *engine, const char *name);
void lora_load(struct conn *conn);
void lora_unload(struct conn *conn);
/** Level 2 of sleep: the names stay listed, what is behind them is gone. */
void lora_discard(struct engine *engine);

/* sleep.c */
void sleep_init(struct engine *engine);
/** true: the request may go on. false: it was answered, or hangs, or waits; `again` is called when awake. */
bool sleep_admits(struct conn *conn, void (*again)(struct conn *conn));
const char *sleep_state_name(const struct engine *engine);
void sleep_begin(struct conn *conn);
void sleep_wake(struct conn *conn);
void sleep_is_sleeping(struct conn *conn);
void sleep_rpc(struct conn *conn);
void sleep_reset_cache(struct conn *conn);
void sleep_pause(struct conn *conn);
void sleep_resume(struct conn *conn);

/* router.c */
void router_init(struct engine *engine);
void router_free(struct engine *engine);
/** As sleep_admits: loads the model first when it is not. */
bool router_admits(struct conn *conn, const char *model, void (*again)(struct conn *conn));
bool router_has(const struct engine *engine, const char *model);
void router_list(struct conn *conn);
void router_load(struct conn *conn);
void router_unload(struct conn *conn);
void router_events(struct conn *conn);
void router_props(struct conn *conn);
json_t *router_openai_list(const struct engine *engine);

/* infer.c, pooling.c, tokens.c, metrics.c, admin.c, health.c */
void infer_chat(struct conn *conn);
void infer_completion(struct conn *conn);
void infer_responses(struct conn *conn);
void infer_messages(struct conn *conn);
void infer_form(struct conn *conn); /* form.c */
/** Passes name, adapters, sleep and router. NULL: not (yet). */
const char *infer_admit(struct conn *conn, void (*again)(struct conn *conn));
/** Of the request without what does not change the answer: model, stream, x_fault. */
uint64_t infer_hash(const struct conn *conn);
void pooling_embeddings(struct conn *conn);
void pooling_rerank(struct conn *conn);
void pooling_score(struct conn *conn);
void pooling_pooling(struct conn *conn);
void pooling_classify(struct conn *conn);
void tokens_tokenize(struct conn *conn);
void tokens_detokenize(struct conn *conn);
void health_get(struct conn *conn);
void health_version(struct conn *conn);
void metrics_get(struct conn *conn);
void admin_requests(struct conn *conn);
void admin_counters(struct conn *conn);
void admin_fault(struct conn *conn);
void admin_reset(struct conn *conn);
void admin_exit(struct conn *conn);

#endif
