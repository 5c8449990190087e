/* SPDX-License-Identifier: Apache-2.0 */
/* Every key of a model's `backend`, by kind; the columns are explained in config_keys.h, which includes this. */
#ifndef VGW_SERVER_CONFIG_BACKEND_KEYS_H
#define VGW_SERVER_CONFIG_BACKEND_KEYS_H

#define CONFIG_BACKEND_STATIC_KEYS(XX)                                                                       \
	XX("kind", TEXT, 0, 0, NULL, NULL, 0, none, "static")                                                \
	XX("urls", URLS, 0, 0, NULL, NULL, CONFIG_NOT_EMPTY, none,                                           \
		"Base URLs of running engines, without /v1: http://host:port, https://host, unix:/path")     \
	XX("api_key", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE | CONFIG_SECRET, none,                       \
		"Key sent to the engine instead of the client's; null: none")

#define CONFIG_BACKEND_PROCESS_KEYS(XX)                                                                      \
	XX("kind", TEXT, 0, 0, NULL, NULL, 0, none, "process")                                               \
	XX("command", TEXTS, 0, 0, NULL, NULL, CONFIG_NOT_EMPTY | CONFIG_SLOTS, none,                        \
		"Program and arguments, no shell; ${PORT}, ${MODEL}, ${DEVICES}, "                           \
		"${GPU_MEMORY_UTILIZATION} are filled at each start")                                        \
	XX("env", VARIABLES, 0, 0, NULL, "{}", CONFIG_SLOTS, none,                                           \
		"Environment of the engine; ${PORT} and the others as above; CUDA_VISIBLE_DEVICES is its "   \
		"placement unless set here")                                                                 \
	XX("gpu_memory_utilization", WORD, 0, 0, "|none|auto", "none", 0, none,                              \
		"auto: --gpu-memory-utilization is added to the arguments, from the model's memory and the " \
		"device's size, rounded down")                                                               \
	XX("start_timeout", DURATION, 1, CONFIG_MAX_MS, NULL, "20m", 0, none,                                \
		"From the start of the process until it answers")                                            \
	XX("stop_timeout", DURATION, 0, CONFIG_MAX_MS, NULL, "30s", 0, none,                                 \
		"From SIGTERM until what is left is killed")

#define CONFIG_BACKEND_DOCKER_KEYS(XX)                                                                       \
	XX("kind", TEXT, 0, 0, NULL, NULL, 0, none, "docker")                                                \
	XX("image", TEXT, 0, 0, NULL, NULL, 0, none, "Image of the container: name:tag or name@digest")      \
	XX("args", TEXTS, 0, 0, NULL, "[]", CONFIG_SLOTS, none,                                              \
		"Arguments of the image's program; ${PORT}, ${MODEL}, ${DEVICES}, "                          \
		"${GPU_MEMORY_UTILIZATION} are filled at each start")                                        \
	XX("entrypoint", TEXTS, 0, 0, NULL, "[]", CONFIG_SLOTS, none,                                        \
		"Program to run instead of the image's, with its first arguments")                           \
	XX("env", VARIABLES, 0, 0, NULL, "{}", CONFIG_SLOTS, none,                                           \
		"Environment of the engine; ${PORT} and the others as above")                                \
	XX("gpu_memory_utilization", WORD, 0, 0, "|none|auto", "none", 0, none,                              \
		"auto: --gpu-memory-utilization is added to the arguments, from the model's memory and the " \
		"device's size, rounded down")                                                               \
	XX("mounts", TEXTS, 0, 0, NULL, "[]", 0, none,                                                       \
		"Folders or volumes in the container: /FOLDER:/TARGET, VOLUME:/TARGET, :ro at the end")      \
	XX("gpus", GPUS, 0, 0, NULL, "auto", 0, none,                                                        \
		"GPUs of the container: auto (those it is placed on; none without devices), all (those of "  \
		"the model's devices, if it names some), none, how many, or a list of numbers and UUIDs")    \
	XX("network", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE, none,                                       \
		"Network to attach to; the engine is reached by its address there; host: the machine's; "    \
		"null: the default, and a published port")                                                   \
	XX("publish_address", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE, none,                               \
		"Address on which the port is published; null: 127.0.0.1 without a network, else nowhere")   \
	XX("port", NUMBER, 1, 65535, NULL, "null", CONFIG_NULLABLE, none,                                    \
		"Port the engine listens on in the container; null: 8000, with network host a fresh one "    \
		"if ${PORT} is used")                                                                        \
	XX("ipc", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE, none,                                           \
		"Shared memory: host, private, or another of Docker's modes; tensor parallelism needs host " \
		"or shm_size")                                                                               \
	XX("shm_size", SIZE, 1, CONFIG_MAX_BYTES, NULL, "null", CONFIG_NULLABLE, none,                       \
		"Size of /dev/shm; null: Docker's 64 MiB")                                                   \
	XX("memory_limit", SIZE, 6 << 20, CONFIG_MAX_BYTES, NULL, "null", CONFIG_NULLABLE, none,             \
		"Most memory (not of GPUs) the container may take; null: no limit")                          \
	XX("user", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE, none,                                          \
		"User inside the container, such as 2000:0; null: the image's")                              \
	XX("runtime", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE, none,                                       \
		"Container runtime, such as nvidia; null: the engine's default")                             \
	XX("init", FLAG, 0, 0, NULL, "true", 0, none, "Run a small init that reaps what the engine leaves")  \
	XX("pull", WORD, 0, 0, "|never|missing|always", "missing", 0, none,                                  \
		"When the image is pulled at a start")                                                       \
	XX("container_name", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE, none,                                \
		"Name of the container; null: vllmgw-MODEL-N")                                               \
	XX("socket", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE, none,                                        \
		"Docker Engine: /run/docker.sock, tcp://host:port, or Podman's socket; null: $DOCKER_HOST, " \
		"else /var/run/docker.sock")                                                                 \
	XX("api_key", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE | CONFIG_SECRET, none,                       \
		"Key sent to the engine instead of the client's; null: none")                                \
	XX("start_timeout", DURATION, 1, CONFIG_MAX_MS, NULL, "20m", 0, none,                                \
		"From the start of the container until it answers (pulling comes before)")                   \
	XX("stop_timeout", DURATION, 0, CONFIG_MAX_MS, NULL, "30s", 0, none,                                 \
		"From SIGTERM until the container is killed")

#define CONFIG_BACKEND_HTTP_KEYS(XX)                                                                         \
	XX("kind", TEXT, 0, 0, NULL, NULL, 0, none, "http")                                                  \
	XX("url", TEXT, 0, 0, NULL, NULL, 0, none, "Base URL of a server that loads models itself")          \
	XX("preset", TEXT, 0, 0, NULL, "generic", 0, none,                                                   \
		"llama-server, vllm-router, or generic: what the keys below are unless given")               \
	XX("api_key", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE | CONFIG_SECRET, none,                       \
		"Key sent to the server instead of the client's; null: none")                                \
	XX("load_method", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE, none, "Method that loads a model")      \
	XX("load_path", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE | CONFIG_SLOTS, none,                      \
		"Path that loads a model; ${MODEL} is filled in")                                            \
	XX("load_body", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE | CONFIG_SLOTS, none,                      \
		"JSON body of it, such as '{\"model\": \"${MODEL}\"}'")                                      \
	XX("unload_method", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE, none, "Method that unloads a model")  \
	XX("unload_path", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE | CONFIG_SLOTS, none,                    \
		"Path that unloads a model; ${MODEL} is filled in")                                          \
	XX("unload_body", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE | CONFIG_SLOTS, none, "JSON body of it") \
	XX("list_path", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE, none, "Path of the list of models")       \
	XX("list_items", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE, none,                                    \
		"Where in the answer the models are, such as data")                                          \
	XX("list_id", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE, none, "Where in a model its name is")       \
	XX("list_aliases", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE, none,                                  \
		"Where in a model its other names are; empty: nowhere")                                      \
	XX("list_state", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE, none,                                    \
		"Where in a model its state is, such as status.value; empty: listed is loaded")              \
	XX("list_failed", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE, none,                                   \
		"Where in a model it says true when its load failed; empty: nowhere")                        \
	XX("loaded", TEXTS, 0, 0, NULL, "[]", 0, none, "States that mean loaded; empty: the preset's")       \
	XX("loading", TEXTS, 0, 0, NULL, "[]", 0, none, "States that mean loading; empty: the preset's")     \
	XX("start_timeout", DURATION, 1, CONFIG_MAX_MS, NULL, "20m", 0, none, "For a load")                  \
	XX("stop_timeout", DURATION, 1, CONFIG_MAX_MS, NULL, "60s", 0, none, "For an unload")                \
	XX("reconcile", DURATION, 50, CONFIG_MAX_MS, NULL, "1s", 0, none,                                    \
		"How often the server's list is compared with what the gateway believes")

#define CONFIG_BACKEND_KUBERNETES_KEYS(XX)                                                                   \
	XX("kind", TEXT, 0, 0, NULL, NULL, 0, none, "kubernetes")                                            \
	XX("namespace", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE, none,                                     \
		"Where the workload is; null: the gateway's own namespace")                                  \
	XX("deployment", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE, none,                                    \
		"The Deployment that is scaled to `replicas` and to 0")                                      \
	XX("statefulset", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE, none,                                   \
		"Or the StatefulSet")                                                                        \
	XX("replicas", NUMBER, 1, 256, NULL, "1", 0, none,                                                   \
		"Pods while the model is loaded; more that an autoscaler asked for stay")                    \
	XX("port", NUMBER, 1, 65535, NULL, "8000", 0, none, "Port of the engine in its pod")                 \
	XX("service", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE, none,                                       \
		"Service whose EndpointSlices name the ready pods; null: named like the workload")           \
	XX("dns", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE, none,                                           \
		"Instead of a service: a name whose addresses are the ready pods (a headless service)")      \
	XX("api_server", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE, none,                                    \
		"https://host:port of the API server; null: that of the gateway's own cluster")              \
	XX("token_file", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE, none,                                    \
		"File with the token, read at every call; null: the service account's, or none with api_server") \
	XX("ca_file", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE, none,                                       \
		"Certificates (PEM) to trust; null: the service account's, or the system's with api_server") \
	XX("api_key", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE | CONFIG_SECRET, none,                       \
		"Key sent to the engine instead of the client's; null: none")                                \
	XX("start_timeout", DURATION, 1, CONFIG_MAX_MS, NULL, "20m", 0, none,                                \
		"From scaling up until a pod is ready")                                                      \
	XX("stop_timeout", DURATION, 1, CONFIG_MAX_MS, NULL, "2m", 0, none,                                  \
		"From scaling to 0 until the pods are gone")

/* XX(kind, array of keys in config_keys.c, is_managed, help) */
#define CONFIG_BACKENDS(XX)                                                                                  \
	XX("static", static_keys, false, "engines that somebody else runs")                                  \
	XX("process", process_keys, true, "an engine the gateway starts and stops as a child process")    \
	XX("docker", docker_keys, true, "an engine the gateway starts and stops in a container") \
	XX("http", http_keys, true, "a server that loads and unloads models itself, told so by HTTP") \
	XX("kubernetes", kubernetes_keys, true, "a workload of a cluster that the gateway scales up and down")

#endif
