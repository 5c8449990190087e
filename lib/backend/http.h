/* SPDX-License-Identifier: Apache-2.0 */
/* Kind "http" from the inside: what its files share. A server loads and unloads models itself, told so by HTTP, and
 * lists what it has; several of our models live on one server.
 *
 *   http.c         the operations: tell the server, then look into its list until it is so
 *   http_config.c  the `backend:` mapping, presets
 *   http_list.c    the list, and what it says of a model
 *   http_server.c  one thread for each server: what is up is what the list says, whoever did it
 */
#ifndef VGW_BACKEND_HTTP_H
#define VGW_BACKEND_HTTP_H

#include <vllmgw/controller.h>

#include "net/control.h"
#include "net/endpoint.h"
#include "util/list.h"
#include "util/strings.h"

#include <jansson.h>
#include <pthread.h>

/* XX(field): keys of the mapping that are texts, and of each preset. */
#define VGW__HTTP_TEXTS(XX) \
	XX(load_method)     \
	XX(load_path)       \
	XX(load_body)       \
	XX(unload_method)   \
	XX(unload_path)     \
	XX(unload_body)     \
	XX(list_path)       \
	XX(list_items)      \
	XX(list_id)         \
	XX(list_aliases)    \
	XX(list_state)      \
	XX(list_failed)

struct vgw__http_config {
	char *model;
	char *served_name;
	char *url;
	char *api_key; /* NULL: none */
	/* Methods, paths with ${MODEL}, bodies with ${MODEL} ("" for none), and dotted paths into the list: where its
	 * items are ("" for the list itself), in an item its id, its other names ("": it has none), its state ("": listed is
	 * loaded), and whether its last load failed ("": never told). */
#define XX(field) char *field;
	VGW__HTTP_TEXTS(XX)
#undef XX
	struct vgw__strings loaded;  /* states */
	struct vgw__strings loading;
	int64_t start_timeout_ms;
	int64_t stop_timeout_ms;
	int64_t reconcile_ms;
};

vgw_status vgw__http_config_read(struct vgw__http_config *config, const vgw_replica_spec *spec, vgw_error *err);
void vgw__http_config_fini(struct vgw__http_config *config); /* also of a zeroed one */

/* --- http_list.c --- */

enum vgw__http_state { VGW__HTTP_UNLOADED, VGW__HTTP_LOADING, VGW__HTTP_LOADED, VGW__HTTP_FAILED };

/* *out is the server's list. Blocks. NOT_FOUND: nobody answers there; BACKEND: the answer is none of ours; TIMEOUT,
 * CANCELLED, NOMEM. */
vgw_status vgw__http_fetch(const struct vgw__http_config *config, const struct vgw__endpoint *endpoint,
	int64_t deadline_ms, int cancel_fd, json_t **out, vgw_error *err);
/* What the list says of the model; is_listed may be NULL. */
enum vgw__http_state vgw__http_find(const struct vgw__http_config *config, const json_t *list, bool *is_listed);

/* --- http_server.c --- */

/* One model on a server. */
struct vgw__http {
	vgw_host *host;                  /* const after create, down to endpoint */
	struct vgw__http_config config;
	struct vgw__http_kind *kind;
	struct vgw__endpoint *endpoint;  /* of the control calls; made by the first operation */
	struct vgw__http_server *server; /* NULL until the first operation */
	struct vgw__list link;           /* among the server's; guarded by its mutex from here */
	uint64_t epoch;                  /* counts beginnings and ends of operations */
	bool is_busy;                    /* one is under way */
	bool is_up;                      /* as the residency was told last */
	bool has_endpoint;               /* it knows where */
	uint64_t seen_epoch;             /* when the list under way was asked for */
};

struct vgw__http_kind {
	pthread_mutex_t mutex;
	struct vgw__list servers; /* guarded by mutex */
};

/* Join the server of this URL; its thread starts with the first member. Idempotent. */
vgw_status vgw__http_join(struct vgw__http *http, vgw_error *err);
void vgw__http_leave(struct vgw__http *http); /* when it returns nothing is reported any more */
/* An operation begins: the thread leaves this member alone until it ends. */
void vgw__http_begin(struct vgw__http *http);
void vgw__http_end(struct vgw__http *http, bool is_up);

#endif
