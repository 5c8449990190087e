/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the kind "process" one by one: templates, redaction, what log lines mean, log files, ports, the
 * watcher, the environment. */
#include "testing.h"

#include "backend/classify.h"
#include "backend/engine_log.h"
#include "backend/ports.h"
#include "backend/process_env.h"
#include "backend/redact.h"
#include "backend/template.h"
#include "backend/watcher.h"
#include "util/alloc.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATIENCE_MS = 10000 };

/* --- templates --- */

static void variables_are_put_in_once(void **state)
{
	static const struct vgw__template_variable variables[] = {
		{ "PORT", "8000" }, { "MODEL", "${PORT}" }, { NULL, NULL }
	};
	static const struct {
		const char *text;
		const char *wanted; /* NULL: refused */
	} rows[] = {
		{ "--port=${PORT}", "--port=8000" }, { "${MODEL}", "${PORT}" }, { "$${PORT}", "${PORT}" },
		{ "$PORT ${", "$PORT ${" }, { "", "" }, { "$", "$" }, { "${PORT", "${PORT" }, { "${}", NULL },
		{ "${port}", NULL }, { "${PORTS}", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *out;

		assert_int_equal(vgw__template_expand(&out, rows[i].text, variables, NULL),
			rows[i].wanted ? VGW_OK : VGW_INVALID);
		if (rows[i].wanted)
			assert_string_equal(out, rows[i].wanted);
		else
			assert_null(out);
		vgw__free(out);
	}
	assert_true(vgw__template_uses("a ${PORT}", "PORT"));
	assert_false(vgw__template_uses("a $${PORT} ${PORTS}", "PORT"));
}

/* --- redaction --- */

static void redacted(const char *line, size_t len, const char *wanted)
{
	struct vgw__strings argv = { 0 }, env = { 0 }, secrets = { 0 };
	char out[64];

	assert_true(vgw__strings_add(&argv, "--api-key"));
	assert_true(vgw__strings_add(&argv, "argument-key"));
	assert_true(vgw__strings_add(&argv, "--token=by-equals"));
	assert_true(vgw__strings_add(&env, "HF_TOKEN=hf_secret"));
	assert_true(vgw__strings_add(&env, "MY_PASSWORD=hf_secret_longer"));
	assert_true(vgw__strings_add(&env, "TOKENIZERS_PARALLELISM=parallel"));
	assert_true(vgw__strings_add(&env, "SHORT_KEY=1"));
	assert_true(vgw__redact_collect(&secrets, &argv, &env));
	assert_int_equal(secrets.count, 4);
	vgw__redact_line(out, sizeof(out), line, len, &secrets);
	assert_string_equal(out, wanted);
	vgw__strings_fini(&argv);
	vgw__strings_fini(&env);
	vgw__strings_fini(&secrets);
}

static void secrets_vanish_from_lines_and_so_does_what_harms_a_terminal(void **state)
{
	(void)state;
	redacted("a hf_secret b", 13, "a [redacted] b");
	redacted("hf_secret_longer", 16, "[redacted]");
	redacted("argument-key,by-equals", 22, "[redacted],[redacted]");
	redacted("parallel 1", 10, "parallel 1");
	redacted("\x1b[31mred\x1b[0m\tx\ry", 16, "red x?y");
	redacted("caf\xc3\xa9 \xff\xc3", 8, "caf\xc3\xa9 ??");
	redacted("a\0b", 3, "a?b");
	redacted("0123456789012345678901234567890123456789012345678901234567890123456789", 70,
		"012345678901234567890123456789012345678901234567890123456789012");
}

/* --- what lines mean --- */

static void classify(struct vgw__classifier *classifier, const char *const *lines)
{
	memset(classifier, 0, sizeof(*classifier));
	for (; *lines; lines++)
		(void)vgw__classify_line(classifier, *lines, strlen(*lines));
}

static void the_first_line_that_says_why_is_the_decisive_one(void **state)
{
	static const char *const memory[] = { "Traceback (most recent call last):", "EngineCore failed to start.",
		"torch.OutOfMemoryError: CUDA out of memory. Tried", "error: unrecognized arguments: --x",
		"RuntimeError: Engine core initialization failed. See root cause above.", NULL };
	static const char *const disturbed[] = {
		"AssertionError: Error in memory profiling. Initial free memory 3, current 4", NULL };
	static const char *const gated[] = { "OSError: You are trying to access a gated repo.", "401 Client Error",
		NULL };
	static const char *const absent[] = { "0.00.010.895 I srv    load_model: loading model '/m/a.gguf'",
		"0.00.011.057 E gguf_init_from_file: failed to open GGUF file '/m/a.gguf' (No such file or directory)",
		"0.00.011.179 E llama_model_load: error loading model: llama_model_loader: failed to load model from /m/a.gguf",
		"0.00.011.702 E srv  llama_server: exiting due to model loading error", NULL };
	static const char *const cut_off[] = { "E llama_model_load: error loading model: tensor 'blk.0.attn_v.weight' data is "
		"not within the file bounds, model is corrupted or incomplete", NULL };
	static const char *const too_big[] = { "E llama_model_load: error loading model: unable to allocate CUDA0 buffer",
		NULL };
	static const char *const generic[] = { "EngineCore failed to start.", "KeyError: 'x'", "", "  ", NULL };
	struct vgw__classifier classifier;

	(void)state;
	classify(&classifier, memory);
	assert_int_equal(classifier.failure, VGW_FAILURE_MEMORY);
	assert_string_equal(vgw__classify_get_line(&classifier), memory[2]);
	classify(&classifier, disturbed);
	assert_int_equal(classifier.failure, VGW_FAILURE_DISTURBED);
	classify(&classifier, gated);
	assert_int_equal(classifier.failure, VGW_FAILURE_USER);
	assert_string_equal(vgw__classify_get_line(&classifier), gated[0]);
	classify(&classifier, absent);
	assert_int_equal(classifier.failure, VGW_FAILURE_USER);
	assert_string_equal(vgw__classify_get_line(&classifier), absent[1]);
	classify(&classifier, cut_off);
	assert_int_equal(classifier.failure, VGW_FAILURE_USER);
	classify(&classifier, too_big);
	assert_int_equal(classifier.failure, VGW_FAILURE_MEMORY);
	assert_string_equal(vgw__classify_get_line(&classifier), too_big[0]);
	classify(&classifier, generic);
	assert_int_equal(classifier.failure, VGW_FAILURE_UNKNOWN);
	assert_string_equal(vgw__classify_get_line(&classifier), "KeyError: 'x'");
}

static void progress_never_goes_back(void **state)
{
	static const struct {
		const char *line;
		int percent; /* 0: nothing new */
	} rows[] = {
		{ "hello", 0 }, { "INFO Starting to load model x...", 10 },
		{ "Loading safetensors checkpoint shards:  50% Completed | 2/4", 35 },
		{ "Loading safetensors checkpoint shards:  25% Completed | 1/4", 0 },
		{ "Loading safetensors checkpoint shards: 100% Completed | 4/4", 60 },
		{ "INFO Application startup complete.", 99 }, { "init engine took 3 s", 0 },
	};
	struct vgw__classifier classifier = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(vgw__classify_line(&classifier, rows[i].line, strlen(rows[i].line)),
			rows[i].percent > 0);
		if (rows[i].percent > 0)
			assert_int_equal(classifier.percent, rows[i].percent);
	}
}

/* --- log files --- */

struct lines {
	int count;
	size_t longest;
	char last[64];
};

static void on_line(void *user, const char *line, size_t len)
{
	struct lines *lines = user;

	lines->count++;
	lines->longest = len > lines->longest ? len : lines->longest;
	(void)snprintf(lines->last, sizeof(lines->last), "%.*s", (int)len, line);
}

static void lines_come_whole_whatever_they_were_cut_into(void **state)
{
	struct vgw__engine_log log;
	struct lines lines = { 0 };

	(void)state;
	assert_int_equal(vgw__engine_log_create(&log, "", NULL), VGW_OK);
	for (const char *p = "one\ntwo\n\nthree"; *p != '\0'; p++) {
		assert_int_equal(write(log.fd, p, 1), 1);
		(void)vgw__engine_log_read(&log, on_line, &lines);
	}
	assert_int_equal(lines.count, 3);
	vgw__engine_log_drain(&log, on_line, &lines);
	assert_int_equal(lines.count, 4);
	assert_string_equal(lines.last, "three");
	vgw__engine_log_close(&log);
}

static void of_a_flood_the_end_is_read_and_of_a_giant_line_the_beginning(void **state)
{
	static char block[65536];
	struct vgw__engine_log log;
	struct lines lines = { 0 };

	(void)state;
	memset(block, 'x', sizeof(block));
	assert_int_equal(vgw__engine_log_create(&log, "", NULL), VGW_OK);
	for (int i = 0; i < 200; i++)
		assert_int_equal(write(log.fd, block, sizeof(block)), sizeof(block));
	assert_int_equal(write(log.fd, "\nthe end\n", 9), 9);
	vgw__engine_log_drain(&log, on_line, &lines);
	assert_string_equal(lines.last, "the end");
	assert_in_range(lines.longest, 1000, 8192);
	vgw__engine_log_close(&log);
}

static void a_log_that_grows_too_long_gives_its_older_half_back(void **state)
{
	static char block[65536];
	struct vgw__engine_log log;
	struct lines lines = { 0 };
	struct stat about;

	(void)state;
	memset(block, 'y', sizeof(block));
	block[sizeof(block) - 1] = '\n';
	assert_int_equal(vgw__engine_log_create(&log, "", NULL), VGW_OK);
	for (int i = 0; i < 32; i++)
		assert_int_equal(write(log.fd, block, sizeof(block)), sizeof(block));
	vgw__engine_log_trim(&log, 1 << 20);
	assert_int_equal(fstat(log.fd, &about), 0);
	assert_in_range(about.st_blocks * 512, 1, 1 << 20);
	assert_int_equal(about.st_size, 32 * sizeof(block)); /* whoever writes goes on where he was */
	assert_int_equal(write(log.fd, "last\n", 5), 5);
	vgw__engine_log_drain(&log, on_line, &lines);
	assert_string_equal(lines.last, "last");
	assert_in_range(lines.count, 2, 16); /* the hole is no line */
	vgw__engine_log_close(&log);
}

static void log_names_are_file_names_and_stay_apart(void **state)
{
	char a[VGW__LOG_PATH_SIZE], b[VGW__LOG_PATH_SIZE];

	(void)state;
	assert_true(vgw__engine_log_make_path(a, "/s", "big", "big/0"));
	assert_string_equal(a, "/s/logs/big.log");
	assert_true(vgw__engine_log_make_path(a, "/s", "big", "big/2"));
	assert_string_equal(a, "/s/logs/big@2.log");
	assert_true(vgw__engine_log_make_path(a, "/s", "../org/big", "../org/big/0"));
	assert_null(strstr(a + strlen("/s/logs/"), "/"));
	assert_true(vgw__engine_log_make_path(a, "/s", "org/big", NULL));
	assert_true(vgw__engine_log_make_path(b, "/s", "org_big", NULL));
	assert_string_not_equal(a, b);
}

/* --- ports --- */

static void a_port_given_out_is_free_and_not_given_out_again_soon(void **state)
{
	struct vgw__ports ports;
	uint16_t given[64];

	(void)state;
	vgw__ports_init(&ports);
	for (size_t i = 0; i < 64; i++) {
		assert_int_equal(vgw__ports_choose(&ports, "127.0.0.1", &given[i], NULL), VGW_OK);
		assert_false(vgw__ports_is_listening("127.0.0.1", given[i]));
		for (size_t j = 0; j < i; j++)
			assert_int_not_equal(given[i], given[j]);
	}
	vgw__ports_fini(&ports);
}

static void a_listener_is_seen_where_it_listens(void **state)
{
	struct sockaddr_storage addr;
	struct vgw__ports ports;
	socklen_t len;
	uint16_t port;
	int fd;

	(void)state;
	vgw__ports_init(&ports);
	assert_int_equal(vgw__ports_choose(&ports, "localhost", &port, NULL), VGW_OK);
	assert_true(vgw__ports_make_address("127.0.0.1", port, &addr, &len));
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&addr, len), 0);
	assert_false(vgw__ports_is_listening("127.0.0.1", port));
	assert_int_equal(listen(fd, 1), 0);
	assert_true(vgw__ports_is_listening("127.0.0.1", port));
	(void)close(fd);
	assert_false(vgw__ports_make_address("example.org", 1, &addr, &len));
	vgw__ports_fini(&ports);
}

/* --- the watcher --- */

struct counted {
	struct vgw__watched watched;
	atomic_int ready;
	atomic_int ticks;
};

static void count_ready(struct vgw__watched *watched)
{
	(void)atomic_fetch_add(&((struct counted *)watched->user)->ready, 1);
}

static void count_tick(struct vgw__watched *watched)
{
	(void)atomic_fetch_add(&((struct counted *)watched->user)->ticks, 1);
}

static void await(atomic_int *counter, int wanted)
{
	int64_t deadline = vgw_now_ms() + PATIENCE_MS;

	while (atomic_load(counter) < wanted) {
		assert_true(vgw_now_ms() < deadline);
		(void)poll(NULL, 0, 1);
	}
}

static void each_ready_descriptor_is_told_once_and_the_removed_never(void **state)
{
	enum { COUNT = 20 };
	struct counted items[COUNT] = { 0 };
	struct vgw__watcher *watcher;
	int fds[COUNT];

	(void)state;
	assert_int_equal(vgw__watcher_new(&watcher, NULL), VGW_OK);
	for (int i = 0; i < COUNT; i++) {
		fds[i] = eventfd(0, EFD_CLOEXEC);
		items[i].watched = (struct vgw__watched){ .user = &items[i], .on_ready = count_ready,
			.on_tick = count_tick };
		assert_int_equal(vgw__watcher_add(watcher, &items[i].watched, fds[i], NULL), VGW_OK);
	}
	vgw__watcher_remove(watcher, &items[3].watched);
	for (int i = 0; i < COUNT; i += 3)
		assert_int_equal(eventfd_write(fds[i], 1), 0);
	for (int i = 0; i < COUNT; i += 3)
		if (i != 3)
			await(&items[i].ready, 1);
	await(&items[1].ticks, 2);
	for (int i = 0; i < COUNT; i++) {
		assert_int_equal(atomic_load(&items[i].ready), i % 3 == 0 && i != 3);
		vgw__watcher_remove(watcher, &items[i].watched);
		vgw__watcher_remove(watcher, &items[i].watched);
		(void)close(fds[i]);
	}
	assert_true(items[3].ticks <= 1);
	vgw__watcher_free(watcher);
}

/* --- the environment --- */

static void what_is_not_allowed_is_not_passed_on(void **state)
{
	static const char *const ours[] = { "PATH=/bin", "HF_TOKEN=t", "VLLM_USE_V1=1", "VLLM_SERVER_DEV_MODE=1",
		"https_proxy=x",
		"HTTP_PROXY=x", "LD_PRELOAD=x", "VLLMGW_ADMIN_KEY=k", "MINE=1", "broken", NULL };
	struct vgw__strings env = { 0 }, patterns = { 0 }, from = { 0 };

	(void)state;
	for (size_t i = 0; ours[i]; i++)
		assert_true(vgw__strings_add(&from, ours[i]));
	assert_true(vgw__process_env_inherit(&env, from.items, &patterns));
	assert_int_equal(env.count, 3);
	assert_string_equal(vgw__strings_get_value(&env, "HF_TOKEN"), "t");
	vgw__strings_fini(&env);
	assert_true(vgw__strings_add(&patterns, "*"));
	assert_true(vgw__strings_add(&patterns, "https_proxy"));
	assert_true(vgw__process_env_inherit(&env, from.items, &patterns));
	assert_int_equal(env.count, 5); /* the withheld only by their full name */
	assert_string_equal(vgw__strings_get_value(&env, "https_proxy"), "x");
	assert_null(vgw__strings_get_value(&env, "LD_PRELOAD"));
	assert_true(vgw__process_env_set(&env, "MINE", 4, "2"));
	assert_int_equal(env.count, 5);
	assert_string_equal(vgw__strings_get_value(&env, "MINE"), "2");
	vgw__strings_fini(&env);
	vgw__strings_fini(&patterns);
	vgw__strings_fini(&from);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(variables_are_put_in_once),
		cmocka_unit_test(secrets_vanish_from_lines_and_so_does_what_harms_a_terminal),
		cmocka_unit_test(the_first_line_that_says_why_is_the_decisive_one),
		cmocka_unit_test(progress_never_goes_back),
		cmocka_unit_test(lines_come_whole_whatever_they_were_cut_into),
		cmocka_unit_test(of_a_flood_the_end_is_read_and_of_a_giant_line_the_beginning),
		cmocka_unit_test(a_log_that_grows_too_long_gives_its_older_half_back),
		cmocka_unit_test(log_names_are_file_names_and_stay_apart),
		cmocka_unit_test(a_port_given_out_is_free_and_not_given_out_again_soon),
		cmocka_unit_test(a_listener_is_seen_where_it_listens),
		cmocka_unit_test(each_ready_descriptor_is_told_once_and_the_removed_never),
		cmocka_unit_test(what_is_not_allowed_is_not_passed_on),
	};

	return cmocka_run_group_tests_name("backend", tests, NULL, NULL);
}
