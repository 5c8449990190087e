/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration of kind "kubernetes": which workload, and how its cluster is reached. */
#ifndef VGW_BACKEND_KUBERNETES_CONFIG_H
#define VGW_BACKEND_KUBERNETES_CONFIG_H

#include <vllmgw/controller.h>

/* A namespace of a cluster, and who we are there. */
struct vgw__kube_cluster {
	char *api_server; /* "https://10.0.0.1:443", no slash at the end */
	char *space;      /* the namespace */
	char *token_file; /* NULL: none, a proxy on this machine authenticates us */
	char *ca_file;    /* NULL: the system's certificates */
};

struct vgw__kube_config {
	struct vgw__kube_cluster cluster;
	char *model;
	const char *resource; /* "deployments" or "statefulsets" */
	char *workload;
	char *service; /* whose EndpointSlices name the pods; NULL with `dns` */
	char *dns;     /* or a name whose addresses are the pods: a headless service; else NULL */
	int64_t replicas;
	int64_t start_timeout_ms;
	int64_t stop_timeout_ms;
	uint16_t port;
};

vgw_status vgw__kube_config_read(struct vgw__kube_config *config, const vgw_replica_spec *spec, vgw_error *err);
void vgw__kube_config_fini(struct vgw__kube_config *config); /* also of a zeroed one */

bool vgw__kube_cluster_copy(struct vgw__kube_cluster *out, const struct vgw__kube_cluster *from);
bool vgw__kube_cluster_is_same(const struct vgw__kube_cluster *a, const struct vgw__kube_cluster *b);
void vgw__kube_cluster_fini(struct vgw__kube_cluster *cluster);

/* The text of a small file without the white space at its ends. False: errno says why; EINVAL: not one line. */
bool vgw__kube_read_file(const char *path, char *out, size_t size);

#endif
