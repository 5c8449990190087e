/* SPDX-License-Identifier: Apache-2.0 */
/* From the start over loading to the end: start faults, log lines, signals, exits. */
#include "model.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LOAD_STEPS = 10, FLOOD_BYTES = 65536 };

void lifecycle_exit_now(struct engine *engine, int exit_code)
{
	if (exit_code < 0)
		kill(getpid(), SIGKILL);
	memory_release(engine);
	fflush(stdout);
	_exit(exit_code);
}

/* --- loading --- */

static void say(const struct engine *engine, const char *line)
{
	if (!engine->options.has_log)
		return;
	printf("INFO 01-01 00:00:00 [simulated.py:1] %s\n", line);
	fflush(stdout);
}

static void say_progress(const struct engine *engine, int step)
{
	static const char *const lines[LOAD_STEPS + 1] = {
		[0] = "Starting to load model",
		[6] = "Model loading took 14.2 GiB and 3.1 seconds",
		[7] = "torch.compile takes 2.2 s in total",
		[8] = "Available KV cache memory: 5.1 GiB",
		[9] = "Capturing CUDA graphs: 100%",
		[10] = "init engine (profile, create kv cache, warmup model) took 2.0 seconds",
	};

	if (!engine->options.has_log)
		return;
	if (step >= 1 && step <= 5)
		printf("Loading safetensors checkpoint shards: %3d%% Completed | %d/5 [00:01<00:00]\n",
			step * 20, step);
	fflush(stdout);
	if (lines[step])
		say(engine, lines[step]);
}

#define CORE_FAILED \
	"RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}\n"

static const char core_failed_text[] = CORE_FAILED;
static const char out_of_memory_text[] =
	"ERROR 01-01 00:00:00 [core.py:1] EngineCore failed to start.\n"
	"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity "
	"of 23.64 GiB of which 1.02 GiB is free.\n"
	"ValueError: Free memory on device (1.02/23.64 GiB) on startup is less than desired GPU memory "
	"utilization (0.9, 21.28 GiB). Decrease GPU memory utilization or reduce GPU memory used by other "
	"processes.\n" CORE_FAILED;

/* What can go wrong halfway. */
static void strike_start(struct engine *engine)
{
	const struct fault_set *faults = &engine->options.faults;

	if (fault_is_on(faults, FAULT_START_OOM)) {
		fputs(out_of_memory_text, stderr);
		lifecycle_exit_now(engine, 1);
	}
	if (fault_is_on(faults, FAULT_START_EXIT0))
		lifecycle_exit_now(engine, 0);
	if (fault_is_on(faults, FAULT_START_EXIT)) {
		fputs(core_failed_text, stderr);
		lifecycle_exit_now(engine, (int)faults->argument[FAULT_START_EXIT]);
	}
}

static void crash(void *arg)
{
	lifecycle_exit_now(arg, -1);
}

static void become_ready(struct engine *engine)
{
	const struct fault_set *faults = &engine->options.faults;

	engine->is_ready = true;
	server_listen(engine);
	say(engine, "Application startup complete.");
	if (fault_is_on(faults, FAULT_CRASH_AFTER)) {
		engine->crash_timer = (struct timer){.fire = crash, .arg = engine};
		timer_arm(
			&engine->loop, &engine->crash_timer, now_us() + faults->argument[FAULT_CRASH_AFTER]);
	}
}

static void load(void *arg)
{
	struct engine *engine = arg;
	int64_t step_us = engine->options.load_time / LOAD_STEPS;

	say_progress(engine, engine->load_step);
	if (engine->load_step == LOAD_STEPS / 2)
		strike_start(engine);
	if (engine->load_step == LOAD_STEPS) {
		if (!fault_is_on(&engine->options.faults, FAULT_START_NEVER_READY))
			become_ready(engine);
		return;
	}
	engine->load_step++;
	timer_arm(&engine->loop, &engine->load_timer, engine->started_us + engine->load_step * step_us);
}

/* Blocks when nobody reads: so does a real engine. */
static void flood(void *arg)
{
	struct engine *engine = arg;
	static char bytes[FLOOD_BYTES];
	size_t n = engine->flood_left < FLOOD_BYTES ? (size_t)engine->flood_left : FLOOD_BYTES;
	ssize_t written;
	size_t i;

	if (!bytes[0]) {
		memset(bytes, 'f', sizeof(bytes));
		for (i = 127; i < sizeof(bytes); i += 128)
			bytes[i] = '\n';
	}
	written = write(STDOUT_FILENO, bytes, n);
	if (written < 0 && errno != EINTR)
		return;
	engine->flood_left -= written > 0 ? written : 0;
	if (engine->flood_left > 0)
		timer_arm(&engine->loop, &engine->flood_timer, now_us());
}

void lifecycle_start(struct engine *engine)
{
	if (fault_is_on(&engine->options.faults, FAULT_START_UNKNOWN_ARG)) {
		fputs("usage: vllm serve [model_tag] [options]\nvllm: error: unrecognized arguments: --foo\n",
			stderr);
		exit(2);
	}
	memory_spawn_keeper(engine);
	memory_hold(engine, engine->options.memory);
	memory_spawn_grandchild(engine);
	engine->started_us = now_us();
	server_bind(engine);
	if (engine->options.is_early || fault_is_on(&engine->options.faults, FAULT_HEALTH_LIES) ||
		engine->router)
		server_listen(engine);
	engine->load_timer = (struct timer){.fire = load, .arg = engine};
	engine->flood_timer = (struct timer){.fire = flood, .arg = engine};
	engine->flood_left = engine->options.log_flood;
	if (engine->router)
		become_ready(engine);
	else
		timer_arm(&engine->loop, &engine->load_timer, engine->started_us);
	if (engine->flood_left)
		timer_arm(&engine->loop, &engine->flood_timer, engine->started_us);
}

/* --- the end --- */

static void stopped(void *arg)
{
	struct engine *engine = arg;

	loop_quit(&engine->loop, 0);
}

void lifecycle_signal(struct engine *engine, int number)
{
	(void)number;
	engine->counters.sigterms++;
	if (engine_has_fault(engine, FAULT_IGNORE_SIGTERM)) {
		fputs("INFO 01-01 00:00:00 [simulated.py:1] SIGTERM ignored\n", stderr);
		return;
	}
	if (engine->is_stopping)
		return;
	engine->is_stopping = true;
	loop_set_hung(&engine->loop, false);
	server_unlisten(engine);
	timer_cancel(&engine->loop, &engine->load_timer);
	timer_cancel(&engine->loop, &engine->flood_timer);
	while (engine->conns)
		conn_close(engine->conns, END_CLOSE, "engine");
	engine->stop_timer = (struct timer){.fire = stopped, .arg = engine};
	timer_arm(&engine->loop, &engine->stop_timer, now_us() + engine->options.stop_time);
}
