/* SPDX-License-Identifier: Apache-2.0 */
/* What the routes for administrators share. All of it runs on the desk's thread. */
#ifndef VGW_SERVER_ROUTES_ADMIN_H
#define VGW_SERVER_ROUTES_ADMIN_H

#include "desk.h"

#include <jansson.h>

vgw_residency *admin_get_residency(struct errand *errand);

/* Takes the reference; NULL: no memory. */
void admin_answer_json(struct errand *errand, uint32_t status, json_t *json);

/* What a command's failure is for HTTP: 404, 409 model_busy or insufficient_memory, 503... */
void admin_answer_error(struct errand *errand, const vgw_error *err);

/* The model named by the body {"model": ...} or the query; give *body back after its use. NULL: answered. */
const char *admin_read_model(struct errand *errand, json_t **body);

/* admin_logs.c: the end of an engine's log (?lines=N&follow=1), or all of it. */
void admin_answer_log(struct errand *errand, const char *path);
void admin_send_log(struct errand *errand, const char *path);

/* What to do with a model. XX(NAME, name, state it leads to) */
#define ADMIN_ACTION_MAP(XX)            \
	XX(LOAD, "load", "ready")       \
	XX(UNLOAD, "unload", "absent")  \
	XX(SLEEP, "sleep", "asleep")    \
	XX(WAKE, "wake", "ready")

enum admin_action {
#define XX(name, text, state) ADMIN_##name,
	ADMIN_ACTION_MAP(XX)
#undef XX
};

/* How an action is answered once it has been done, on behalf of one of the facades: NULL without memory. */
typedef json_t *(*admin_print_fn)(const char *model, const char *state);

/* Begin, and answer 202 with the state at once, or when it is done (`is_waiting`), or an error. `model` is read
 * during the call; `print` NULL: the admin API's own shape. */
void admin_act(struct errand *errand, enum admin_action action, const char *model, bool is_waiting,
	admin_print_fn print);

/* The same for an adapter, by its configured name. */
void admin_act_on_adapter(struct errand *errand, enum admin_action action, const char *adapter, bool is_waiting,
	admin_print_fn print);

/* How long ?wait= lets a client wait. */
int64_t admin_get_wait_ms(struct errand *errand);
/* With the model's state, or an adapter's. */
void admin_answer_state(struct errand *errand, const char *name, bool is_done, admin_print_fn print);

#endif
