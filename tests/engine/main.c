/* SPDX-License-Identifier: Apache-2.0 */
/* vllmgw-engine: an inference engine's HTTP surface without the inference. */
#include "model.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct signals {
	struct source source;
	struct engine *engine;
};

static void signal_ready(struct source *source, uint32_t events)
{
	struct signals *signals = (struct signals *)(void *)source;
	struct signalfd_siginfo info;

	(void)events;
	while (read(signals->engine->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		lifecycle_signal(signals->engine, (int)info.ssi_signo);
}

static void block_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigprocmask(SIG_BLOCK, set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		perror("vllmgw-engine: RLIMIT_NOFILE");
}

static void free_engine(struct engine *engine)
{
	while (engine->conns)
		conn_close(engine->conns, END_CLOSE, "engine");
	server_after_turn(engine);
	engine->is_stopping = true; /* so that clearing a fault does not listen again */
	engine_clear_injected(engine);
	server_close(engine);
	record_clear(engine);
	lora_free(engine);
	router_free(engine);
	memory_release(engine);
	free(engine->loop.heap);
	options_free(&engine->options);
}

int main(int argc, char **argv)
{
	static struct engine engine;
	struct signals signals = {.source.ready = signal_ready, .engine = &engine};
	sigset_t set;
	int rc;

	if (argc == 3 && strcmp(argv[1], "--memory-used") == 0)
		return memory_print_used(argv[2]);
	json_object_seed(1); /* the simulator is deterministic, also in this */
	rc = options_parse(&engine.options, argc, argv);
	if (rc >= 0) {
		options_free(&engine.options);
		return rc;
	}
	block_signals(&set);
	raise_descriptor_limit();
	loop_init(&engine.loop);
	engine.signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (engine.signal_fd < 0) {
		perror("vllmgw-engine: signalfd");
		return 1;
	}
	loop_add(&engine.loop, engine.signal_fd, &signals.source, true);
	record_open(&engine);
	sleep_init(&engine);
	lora_init(&engine);
	router_init(&engine);
	lifecycle_start(&engine);
	loop_run(&engine.loop, server_after_turn, &engine);
	rc = engine.loop.exit_code;
	free_engine(&engine);
	return rc;
}
