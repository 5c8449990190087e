/* SPDX-License-Identifier: Apache-2.0 */
/* What the instances of kind "kubernetes" share. */
#include "backend/kubernetes.h"

#include "backend/builtin.h"
#include "util/alloc.h"

/* One namespace of one cluster, as long as somebody needs it. */
struct source {
	struct vgw__list link;
	struct vgw__kube_slices *slices;
	size_t refs;
};

static struct source *find_locked(struct vgw__kube_kind *kind, const struct vgw__kube_cluster *cluster)
{
	VGW__LIST_EACH(it, &kind->sources) {
		struct source *source = VGW__CONTAINER(it, struct source, link);

		if (vgw__kube_cluster_is_same(vgw__kube_slices_get_cluster(source->slices), cluster))
			return source;
	}
	return NULL;
}

static struct source *add_locked(struct vgw__kube_kind *kind, const struct vgw__kube_cluster *cluster,
	const vgw_logger *logger, vgw_error *err)
{
	struct source *source = vgw__alloc(sizeof(*source));

	if (!source) {
		(void)vgw_error_set(err, VGW_NOMEM, 0, "no memory to watch EndpointSlices");
		return NULL;
	}
	if (vgw__kube_slices_new(&source->slices, cluster, logger, err) != VGW_OK) {
		vgw__free(source);
		return NULL;
	}
	vgw__list_append(&kind->sources, &source->link);
	return source;
}

vgw_status vgw__kube_kind_take_slices(struct vgw__kube_kind *kind, const struct vgw__kube_cluster *cluster,
	const vgw_logger *logger, struct vgw__kube_slices **out, vgw_error *err)
{
	struct source *source;

	(void)pthread_mutex_lock(&kind->mutex);
	source = find_locked(kind, cluster);
	if (!source)
		source = add_locked(kind, cluster, logger, err);
	if (source)
		source->refs++;
	*out = source ? source->slices : NULL;
	(void)pthread_mutex_unlock(&kind->mutex);
	return source ? VGW_OK : VGW_NOMEM;
}

void vgw__kube_kind_give_slices(struct vgw__kube_kind *kind, struct vgw__kube_slices *slices)
{
	struct source *last = NULL;

	(void)pthread_mutex_lock(&kind->mutex);
	VGW__LIST_EACH(it, &kind->sources) {
		struct source *source = VGW__CONTAINER(it, struct source, link);

		if (source->slices == slices && --source->refs == 0)
			last = source;
	}
	if (last)
		vgw__list_remove(&last->link);
	(void)pthread_mutex_unlock(&kind->mutex);
	if (!last)
		return;
	vgw__kube_slices_free(last->slices);
	vgw__free(last);
}

vgw_status vgw__kube_kind_new(struct vgw__kube_kind **out, vgw_error *err)
{
	struct vgw__kube_kind *kind;
	vgw_status status;

	*out = NULL;
	kind = vgw__alloc(sizeof(*kind));
	if (!kind)
		return vgw_error_set(err, VGW_NOMEM, 0, "no memory for the kind kubernetes");
	status = vgw__watcher_new(&kind->watcher, err);
	if (status != VGW_OK) {
		vgw__free(kind);
		return status;
	}
	(void)pthread_mutex_init(&kind->mutex, NULL);
	vgw__list_init(&kind->sources);
	*out = kind;
	return VGW_OK;
}

void vgw__kube_kind_free(struct vgw__kube_kind *kind)
{
	if (!kind)
		return;
	vgw__watcher_free(kind->watcher);
	(void)pthread_mutex_destroy(&kind->mutex);
	vgw__free(kind);
}
