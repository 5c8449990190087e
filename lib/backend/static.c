/* SPDX-License-Identifier: Apache-2.0 */
/* Kind "static": engines that somebody else keeps running. The smallest controller there is, and the one to copy:
 * bringing up is telling where it listens, taking down is nothing. */
#include "backend/builtin.h"
#include "backend/settings.h"
#include "util/alloc.h"

struct static_backend {
	vgw_host *host;
	struct vgw__strings urls;
};

static void static_destroy(void *self)
{
	struct static_backend *backend = self;

	if (!backend)
		return;
	vgw__strings_fini(&backend->urls);
	vgw__free(backend);
}

static vgw_status read_urls(struct static_backend *backend, const vgw_replica_spec *spec, vgw_error *err)
{
	static const char *const known[] = { "kind", "urls", "url", "api_key", NULL };
	struct vgw__settings settings = { 0 };
	const char *url = NULL;
	vgw_status status;

	status = vgw__settings_open(&settings, spec->model, spec->backend_json, known, err);
	if (status == VGW_OK)
		status = vgw__settings_get_text(&settings, "url", &url, err);
	if (status == VGW_OK)
		status = vgw__settings_get_list(&settings, "urls", &backend->urls, err);
	if (status == VGW_OK && url && !vgw__strings_add(&backend->urls, url))
		status = vgw_error_set(err, VGW_NOMEM, 0, "model '%.60s': no memory for its backend", spec->model);
	if (status == VGW_OK && backend->urls.count == 0)
		status = vgw_error_set(err, VGW_INVALID, 0,
			"model '%.60s': backend of kind static needs `urls: [http://host:port, ...]`", spec->model);
	vgw__settings_close(&settings);
	return status;
}

static vgw_status static_create(void **self, const vgw_replica_spec *spec, vgw_host *host, void *user,
	vgw_error *err)
{
	struct static_backend *backend;
	vgw_status status;

	(void)user;
	*self = NULL;
	backend = vgw__alloc(sizeof(*backend));
	if (!backend)
		return vgw_error_set(err, VGW_NOMEM, 0, "model '%.60s': no memory for its backend", spec->model);
	backend->host = host;
	status = read_urls(backend, spec, err);
	if (status != VGW_OK) {
		static_destroy(backend);
		return status;
	}
	*self = backend;
	return VGW_OK;
}

static vgw_status static_activate(void *self, int64_t deadline_ms, vgw_error *err)
{
	struct static_backend *backend = self;

	(void)deadline_ms; /* nothing to wait for */
	return vgw_host_set_endpoints(backend->host, (const char *const *)backend->urls.items, backend->urls.count,
		err);
}

static vgw_status static_deactivate(void *self, vgw_depth depth, int64_t deadline_ms, vgw_error *err)
{
	(void)self; /* it is not ours to stop */
	(void)depth;
	(void)deadline_ms;
	(void)err;
	return VGW_OK;
}

const vgw_controller_ops vgw__static_ops = {
	.size = sizeof(vgw_controller_ops),
	.kind = "static",
	.flags = VGW_CONTROLLER_UNMANAGED,
	.create = static_create,
	.destroy = static_destroy,
	.activate = static_activate,
	.deactivate = static_deactivate,
};
