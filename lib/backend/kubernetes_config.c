/* SPDX-License-Identifier: Apache-2.0 */
/* From the `backend:` mapping to a workload and its cluster. What a pod's service account brings along (token, CA,
 * namespace) is taken only together with the cluster's own address: a token of this cluster is not shown to
 * another. */
#include "backend/kubernetes_config.h"

#include "backend/settings.h"
#include "util/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ACCOUNT "/var/run/secrets/kubernetes.io/serviceaccount/"
#define DEFAULT_START_MS (INT64_C(20) * 60 * 1000)
#define DEFAULT_STOP_MS (INT64_C(2) * 60 * 1000)

enum { DEFAULT_PORT = 8000, MAX_REPLICAS = 256, NAME_MAX_LEN = 253 };

/* --- clusters --- */

static bool copy_text(char **out, const char *text)
{
	*out = text ? vgw__strdup(text) : NULL;
	return !text || *out;
}

bool vgw__kube_cluster_copy(struct vgw__kube_cluster *out, const struct vgw__kube_cluster *from)
{
	memset(out, 0, sizeof(*out));
	return copy_text(&out->api_server, from->api_server) && copy_text(&out->space, from->space) &&
		copy_text(&out->token_file, from->token_file) && copy_text(&out->ca_file, from->ca_file);
}

static bool is_same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

bool vgw__kube_cluster_is_same(const struct vgw__kube_cluster *a, const struct vgw__kube_cluster *b)
{
	return is_same_text(a->api_server, b->api_server) && is_same_text(a->space, b->space) &&
		is_same_text(a->token_file, b->token_file) && is_same_text(a->ca_file, b->ca_file);
}

void vgw__kube_cluster_fini(struct vgw__kube_cluster *cluster)
{
	vgw__free(cluster->api_server);
	vgw__free(cluster->space);
	vgw__free(cluster->token_file);
	vgw__free(cluster->ca_file);
	memset(cluster, 0, sizeof(*cluster));
}

bool vgw__kube_read_file(const char *path, char *out, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n = -1;
	int error;

	if (fd < 0)
		return false;
	while (len < size && (n = read(fd, out + len, size - len)) > 0)
		len += (size_t)n;
	error = errno;
	(void)close(fd);
	errno = n < 0 ? error : EINVAL;
	if (n < 0 || len == size)
		return false;
	while (len > 0 && strchr(" \t\r\n", out[len - 1]))
		len--;
	out[len] = '\0';
	return len > 0 && strlen(out) == len && !strpbrk(out, " \t\r\n");
}

/* --- checks --- */

/* Names go into paths of URLs: what a cluster would refuse is not sent. */
static bool is_name(const char *text)
{
	size_t len = strlen(text);

	return len > 0 && len <= NAME_MAX_LEN && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-.") == len &&
		text[0] != '-' && text[0] != '.';
}

static vgw_status refuse_name(const char *model, const char *key, const char *text, vgw_error *err)
{
	return vgw_error_set(err, VGW_INVALID, 0,
		"model '%.60s': backend.%s is '%.60s'; a name in Kubernetes has a-z, 0-9, '-' and '.'", model, key, text);
}

/* A text that is a name; required ones are asked for by their callers. */
static vgw_status get_name(const struct vgw__settings *settings, const char *key, const char **out, vgw_error *err)
{
	vgw_status status = vgw__settings_get_text(settings, key, out, err);

	if (status == VGW_OK && *out && !is_name(*out))
		status = refuse_name(settings->model, key, *out, err);
	return status;
}

/* --- reading --- */

static vgw_status no_memory(const struct vgw__settings *settings, vgw_error *err)
{
	return vgw_error_set(err, VGW_NOMEM, 0, "model '%.60s': no memory for its backend", settings->model);
}

static vgw_status read_workload(struct vgw__kube_config *config, const struct vgw__settings *settings, vgw_error *err)
{
	const char *deployment = NULL, *set = NULL, *service = NULL, *dns = NULL;
	vgw_status status = get_name(settings, "deployment", &deployment, err);

	if (status == VGW_OK)
		status = get_name(settings, "statefulset", &set, err);
	if (status == VGW_OK)
		status = get_name(settings, "service", &service, err);
	if (status == VGW_OK)
		status = vgw__settings_get_text(settings, "dns", &dns, err);
	if (status != VGW_OK)
		return status;
	if (!deployment == !set)
		return vgw_error_set(err, VGW_INVALID, 0,
			"model '%.60s': backend of kind kubernetes needs `deployment: NAME` or `statefulset: NAME`, %s",
			settings->model, set ? "not both" : "the workload to scale");
	if (service && dns)
		return vgw_error_set(err, VGW_INVALID, 0,
			"model '%.60s': backend.service and backend.dns are two ways to find the pods; keep one",
			settings->model);
	config->resource = set ? "statefulsets" : "deployments";
	if (!dns && !service)
		service = set ? set : deployment;
	if (!copy_text(&config->workload, set ? set : deployment) || !copy_text(&config->service, service) ||
		!copy_text(&config->dns, dns))
		return no_memory(settings, err);
	return VGW_OK;
}

static vgw_status read_numbers(struct vgw__kube_config *config, const struct vgw__settings *settings, vgw_error *err)
{
	int64_t port = DEFAULT_PORT;
	vgw_status status;

	config->replicas = 1;
	config->start_timeout_ms = DEFAULT_START_MS;
	config->stop_timeout_ms = DEFAULT_STOP_MS;
	status = vgw__settings_get_integer(settings, "port", 1, 65535, &port, err);
	if (status == VGW_OK)
		status = vgw__settings_get_integer(settings, "replicas", 1, MAX_REPLICAS, &config->replicas, err);
	if (status == VGW_OK)
		status = vgw__settings_get_duration(settings, "start_timeout", &config->start_timeout_ms, err);
	if (status == VGW_OK)
		status = vgw__settings_get_duration(settings, "stop_timeout", &config->stop_timeout_ms, err);
	config->port = (uint16_t)port;
	return status;
}

/* The address a pod finds in its environment; NULL outside of a cluster. */
static char *dup_own_server(void)
{
	const char *host = getenv("KUBERNETES_SERVICE_HOST");
	const char *port = getenv("KUBERNETES_SERVICE_PORT");
	bool is_v6 = host && strchr(host, ':');

	if (!host || !host[0])
		return NULL;
	return vgw__printf("https://%s%s%s:%s", is_v6 ? "[" : "", host, is_v6 ? "]" : "", port && port[0] ? port : "443");
}

static vgw_status take_own_cluster(struct vgw__kube_cluster *cluster, const struct vgw__settings *settings,
	vgw_error *err)
{
	char space[NAME_MAX_LEN + 2];

	cluster->api_server = dup_own_server();
	if (!cluster->api_server)
		return vgw_error_set(err, VGW_INVALID, 0,
			"model '%.60s': this is no pod (KUBERNETES_SERVICE_HOST is not set); give backend.api_server, "
			"token_file, ca_file and namespace", settings->model);
	if (!cluster->token_file && !copy_text(&cluster->token_file, ACCOUNT "token"))
		return no_memory(settings, err);
	if (!cluster->ca_file && !copy_text(&cluster->ca_file, ACCOUNT "ca.crt"))
		return no_memory(settings, err);
	if (!cluster->space && vgw__kube_read_file(ACCOUNT "namespace", space, sizeof(space)) && is_name(space) &&
		!copy_text(&cluster->space, space))
		return no_memory(settings, err);
	return VGW_OK;
}

static vgw_status take_server(struct vgw__kube_cluster *cluster, const struct vgw__settings *settings,
	const char *url, vgw_error *err)
{
	size_t len = strlen(url);

	if (strncmp(url, "https://", 8) != 0 && strncmp(url, "http://", 7) != 0)
		return vgw_error_set(err, VGW_INVALID, 0,
			"model '%.60s': backend.api_server is '%.60s'; expected https://host:port", settings->model, url);
	if (url[4] == ':' && cluster->token_file)
		return vgw_error_set(err, VGW_INVALID, 0,
			"model '%.60s': backend.api_server is http: a token would be sent in clear; use https", settings->model);
	while (len > 0 && url[len - 1] == '/')
		len--;
	cluster->api_server = vgw__strndup(url, len);
	return cluster->api_server ? VGW_OK : no_memory(settings, err);
}

static vgw_status read_cluster(struct vgw__kube_cluster *cluster, const struct vgw__settings *settings, vgw_error *err)
{
	const char *space = NULL, *server = NULL, *token = NULL, *ca = NULL;
	vgw_status status = get_name(settings, "namespace", &space, err);

	if (status == VGW_OK)
		status = vgw__settings_get_text(settings, "api_server", &server, err);
	if (status == VGW_OK)
		status = vgw__settings_get_text(settings, "token_file", &token, err);
	if (status == VGW_OK)
		status = vgw__settings_get_text(settings, "ca_file", &ca, err);
	if (status != VGW_OK)
		return status;
	if (!copy_text(&cluster->space, space) || !copy_text(&cluster->token_file, token) ||
		!copy_text(&cluster->ca_file, ca))
		return no_memory(settings, err);
	status = server ? take_server(cluster, settings, server, err) : take_own_cluster(cluster, settings, err);
	if (status == VGW_OK && !cluster->space)
		status = vgw_error_set(err, VGW_INVALID, 0,
			"model '%.60s': backend of kind kubernetes needs `namespace: NAME`, where its workload is",
			settings->model);
	return status;
}

vgw_status vgw__kube_config_read(struct vgw__kube_config *config, const vgw_replica_spec *spec, vgw_error *err)
{
	static const char *const known[] = { "kind", "namespace", "deployment", "statefulset", "port", "replicas",
		"service", "dns", "api_server", "token_file", "ca_file", "api_key", "start_timeout", "start_timeout_ms",
		"stop_timeout", "stop_timeout_ms", NULL };
	struct vgw__settings settings = { 0 };
	vgw_status status;

	memset(config, 0, sizeof(*config));
	status = vgw__settings_open(&settings, spec->model, spec->backend_json, known, err);
	if (status == VGW_OK && !copy_text(&config->model, spec->model))
		status = no_memory(&settings, err);
	if (status == VGW_OK)
		status = read_workload(config, &settings, err);
	if (status == VGW_OK)
		status = read_numbers(config, &settings, err);
	if (status == VGW_OK)
		status = read_cluster(&config->cluster, &settings, err);
	vgw__settings_close(&settings);
	return status;
}

void vgw__kube_config_fini(struct vgw__kube_config *config)
{
	vgw__kube_cluster_fini(&config->cluster);
	vgw__free(config->model);
	vgw__free(config->workload);
	vgw__free(config->service);
	vgw__free(config->dns);
	memset(config, 0, sizeof(*config));
}
