/* SPDX-License-Identifier: Apache-2.0 */
/* The command line, as one list: the parser, the defaults and --help come from it. */
#ifndef VGW_ENGINE_OPTIONS_H
#define VGW_ENGINE_OPTIONS_H

#include "base.h"
#include "fault.h"

/* O(field, name, kind, default, argument, help)
 * kind: TEXT, TIME (us), BYTES, COUNT, FLAG, LIST (one or more words, or repeated). */
#define ENGINE_OPTIONS(O) \
	O(host, "host", TEXT, "127.0.0.1", "ADDRESS", "numeric address to listen on") \
	O(port, "port", COUNT, "8000", "N", "port to listen on; 0 takes any free one") \
	O(port_file, "port-file", TEXT, NULL, "FILE", \
		"write the port there as soon as it is bound, before loading") \
	O(uds, "uds", TEXT, NULL, "PATH", "listen on this unix socket instead") \
	O(control, "control", TEXT, NULL, "PATH", \
		"unix socket for /_engine/ that answers always: while loading, refusing or hung") \
	O(model, "model", TEXT, "simulated", "NAME", "the model (also: serve NAME)") \
	O(names, "served-model-name", LIST, NULL, "NAME...", "names to serve it under (default: the model)") \
	O(api_keys, "api-key", LIST, NULL, "KEY...", "ask for Authorization: Bearer KEY") \
	O(load_time, "load-time", TIME, "0", "TIME", "from start to ready") \
	O(is_early, "listen-while-loading", FLAG, NULL, NULL, \
		"accept connections while loading and answer 503") \
	O(ttft, "ttft", TIME, "0", "TIME", "from the request to the first token") \
	O(itl, "itl", TIME, "0", "TIME", "between two tokens") \
	O(prefill, "prefill-per-kb", TIME, "0", "TIME", "added to ttft for each KiB of prompt") \
	O(tokens, "tokens", COUNT, "64", "N", "tokens in an answer, unless max_tokens asks for fewer") \
	O(chunk, "chunk-bytes", BYTES, "0", "N", "bytes of text in each token (0: one word)") \
	O(dimensions, "dimensions", COUNT, "16", "N", "of an embedding") \
	O(context, "max-model-len", BYTES, "1048576", "N", "tokens that fit; more is answered 400") \
	O(keepalive, "keepalive", TIME, "5s", "TIME", \
		"idle connections are closed after this; 0: after each answer") \
	O(stop_time, "stop-time", TIME, "0", "TIME", "from SIGTERM to the exit") \
	O(can_sleep, "enable-sleep-mode", FLAG, NULL, NULL, "sleep routes (env VLLM_SERVER_DEV_MODE=1 too)") \
	O(sleep_time, "sleep-time", TIME, "0", "TIME", "how long /sleep takes") \
	O(wake_time, "wake-time", TIME, "0", "TIME", "how long /wake_up takes") \
	O(asleep_request, "asleep-request", TEXT, "hang", "WHAT", \
		"what a request to a sleeper meets: hang, wait (until awake), error (500), crash") \
	O(has_lora, "enable-lora", FLAG, NULL, NULL, \
		"adapter routes (env VLLM_ALLOW_RUNTIME_LORA_UPDATING=True too)") \
	O(max_loras, "max-loras", COUNT, "1000", "N", "adapters at a time") \
	O(lora_time, "lora-load-time", TIME, "0", "TIME", "how long /v1/load_lora_adapter takes") \
	O(lora_modules, "lora-modules", LIST, NULL, "NAME=PATH...", "adapters from the start") \
	O(router, "router", TEXT, NULL, "A,B=ALIAS,...", "be a llama-server router over these models") \
	O(unload_time, "unload-time", TIME, "0", "TIME", "how long a router takes to unload a model") \
	O(models_max, "models-max", COUNT, "4", "N", "models a router keeps loaded") \
	O(memory_file, "memory-file", TEXT, NULL, "FILE", \
		"a fake GPU: a line 'PID BYTES NAME UNTIL_MS KEEPER' per holder; sum it with --memory-used") \
	O(memory, "memory-bytes", BYTES, "8GiB", "BYTES", "held from the start of loading") \
	O(residue, "sleep-residue-bytes", BYTES, "1GiB", "BYTES", "still held while asleep") \
	O(release_delay, "memory-release-delay", TIME, "0", "TIME", \
		"from the death to the memory being free") \
	O(fault, "fault", LIST, NULL, "SPEC...", "misbehave: NAME[:ARGUMENT],... (see below)") \
	O(fault_on, "fault-on", TEXT, "inference", "WHERE", \
		"requests that --fault hits: inference, all, or the beginning of a path") \
	O(record, "record", TEXT, NULL, "FILE", "append one JSON line per connection event") \
	O(keep, "keep-bytes", BYTES, "256MiB", "BYTES", \
		"recorded requests kept in memory; the oldest go first") \
	O(has_log, "log-lines", FLAG, NULL, NULL, "print lines like vLLM's while loading") \
	O(log_flood, "log-flood", BYTES, NULL, "BYTES", "write this much to stdout, as fast as it is taken")

/* Where each kind keeps its value. */
#define ENGINE_FIELD_TEXT(field) char *field;
#define ENGINE_FIELD_TIME(field) int64_t field;
#define ENGINE_FIELD_BYTES(field) int64_t field;
#define ENGINE_FIELD_COUNT(field) int64_t field;
#define ENGINE_FIELD_FLAG(field) bool field;
#define ENGINE_FIELD_LIST(field) struct words field;

struct words {
	char **items;
	size_t count;
};

struct options {
#define O(field, name, kind, value, argument, help) ENGINE_FIELD_##kind(field)
	ENGINE_OPTIONS(O)
#undef O
	struct fault_set faults;
	struct words unknown; /* arguments that were ignored */
};

/** Fill in from argv. Returns -1 to go on, else the code to exit with (help and messages are printed). */
int options_parse(struct options *options, int argc, char **argv);
void options_free(struct options *options);
void words_add(struct words *words, const char *text);
void words_free(struct words *words);

#endif
