/* SPDX-License-Identifier: Apache-2.0 */
/* Which faults a request meets: those of the command line, of POST /_engine/fault, of its x-fault header.
 * Those in the body or behind the model's name are added where the body is read (infer.c). */
#include "engine.h"

#include <stdlib.h>
#include <string.h>

static bool is_hit(const struct conn *conn, const char *where)
{
	if (strcmp(where, "all") == 0)
		return true;
	if (strcmp(where, "inference") == 0)
		return conn->x.route && (conn->x.route->flags & ROUTE_INFERENCE);
	return strncmp(conn->x.request.path, where, strlen(where)) == 0;
}

bool engine_has_fault(const struct engine *engine, enum fault fault)
{
	const struct injected *i;

	for (i = engine->injected; i; i = i->next) {
		if (i->left < 0 && fault_is_on(&i->faults, fault))
			return true;
	}
	return fault_is_on(&engine->options.faults, fault);
}

void engine_inject(struct engine *engine, const struct fault_set *faults, int64_t times, const char *where)
{
	struct injected **end = &engine->injected;
	struct injected *i = xalloc(sizeof(*i));

	i->faults = *faults;
	i->left = times > 0 ? times : -1;
	i->where = xstrdup(where);
	while (*end)
		end = &(*end)->next;
	*end = i;
	if (i->left < 0 && fault_is_on(faults, FAULT_REFUSE))
		server_unlisten(engine);
	if (i->left < 0 && fault_is_on(faults, FAULT_HANG))
		loop_set_hung(&engine->loop, true);
}

void engine_clear_injected(struct engine *engine)
{
	struct conn *conn;
	struct conn *next;

	while (engine->injected) {
		struct injected *i = engine->injected;

		engine->injected = i->next;
		free(i->where);
		free(i);
	}
	if (engine->is_ready || engine->options.is_early)
		server_listen(engine);
	if (!engine->loop.is_hung)
		return;
	loop_set_hung(&engine->loop, false);
	for (conn = engine->conns; conn; conn = next) {
		next = conn->next;
		conn_pump(conn);
	}
}

bool engine_add_spec(struct conn *conn, const char *spec)
{
	struct buf why = {0};
	bool ok = fault_parse(&conn->x.faults, spec, &why);

	if (!ok)
		exchange_error(conn, 400, "BadRequestError", "x_fault", "%s", why.data);
	buf_free(&why);
	return ok;
}

/* The first injected set that is for a number of requests is used up by this one; sets without a number
 * and the command line's always join. */
bool engine_resolve_faults(struct conn *conn)
{
	struct engine *engine = conn->engine;
	struct exchange *x = &conn->x;
	const char *spec = http_header(&x->request, "x-fault");
	struct injected **link = &engine->injected;
	bool has_used = false;

	if (strncmp(x->request.path, "/_engine/", 9) == 0) /* or nobody could end a fault of all routes */
		return true;
	if (is_hit(conn, engine->options.fault_on))
		fault_join(&x->faults, &engine->options.faults);
	while (*link) {
		struct injected *i = *link;
		bool is_counted = i->left > 0;

		if (!is_hit(conn, i->where) || (is_counted && has_used)) {
			link = &i->next;
			continue;
		}
		fault_join(&x->faults, &i->faults);
		has_used |= is_counted;
		if (is_counted && --i->left == 0) {
			*link = i->next;
			free(i->where);
			free(i);
			continue;
		}
		link = &i->next;
	}
	return !spec || engine_add_spec(conn, spec);
}
