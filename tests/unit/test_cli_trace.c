/* SPDX-License-Identifier: Apache-2.0 */
/* Traces: read with the place of every mistake, and made of access lines. */
#include "testing.h"

#include "cli/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Reads `text` as a trace; what is wrong with it, after the file's name, is in `why`. */
static int read_text(struct trace *trace, const char *text, char *why, size_t size)
{
	char path[] = "/tmp/vgw-trace-XXXXXX", told[600] = "";
	int fd = mkstemp(path), result;

	*trace = (struct trace){ NULL, 0, 0 };
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	(void)close(fd);
	result = trace_read(trace, path, told, sizeof(told));
	(void)unlink(path);
	if (result != 0)
		assert_int_equal(strncmp(told, path, strlen(path)), 0);
	(void)snprintf(why, size, "%s", result ? told + strlen(path) : "");
	return result;
}

static void a_trace_is_read_line_by_line(void **state)
{
	struct trace trace;
	char why[600];

	(void)state;
	assert_int_equal(read_text(&trace, "{\"at_ms\": 5, \"model\": \"a\", \"service_ms\": 7}\n\n"
					   "{\"model\":\"b/c\",\"service_ms\":0,\"at_ms\":5}", why, sizeof(why)), 0);
	assert_int_equal(trace.count, 2);
	assert_string_equal(trace.arrivals[1].model, "b/c");
	assert_int_equal(trace.arrivals[0].service_ms, 7);
	assert_int_equal(trace.arrivals[1].at_ms, 5);
	trace_free(&trace);
}

static void a_mistake_in_a_trace_is_told_with_its_line(void **state)
{
	static const struct { const char *text, *why; } cases[] = {
		{ "", ": there is no arrival in it" },
		{ "{\"at_ms\":1,\"model\":\"a\",\"service_ms\":1}\n{nonsense}\n", ":2: " },
		{ "\n{\"at_ms\":-1,\"model\":\"a\",\"service_ms\":1}\n", ":2: at_ms must be" },
		{ "{\"at_ms\":1,\"service_ms\":1}\n", ":1: model must be" },
		{ "{\"at_ms\":1,\"model\":\"a\",\"service_ms\":\"1\"}\n", ":1: service_ms must be" },
		{ "{\"at_ms\":2,\"model\":\"a\",\"service_ms\":1}\n{\"at_ms\":1,\"model\":\"a\",\"service_ms\":1}\n",
			":2: at_ms is before" },
		{ "{\"at_ms\":1,\"at_ms\":2,\"model\":\"a\",\"service_ms\":1}\n", ":1: duplicate" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct trace trace;
		char why[600];

		assert_int_equal(read_text(&trace, cases[i].text, why, sizeof(why)), -1);
		assert_int_equal(strncmp(why, cases[i].why, strlen(cases[i].why)), 0);
		trace_free(&trace);
	}
}

static int add(struct trace *trace, const char *line)
{
	return trace_add_access_line(trace, line, strlen(line));
}

static void access_lines_become_a_trace_in_the_order_of_arrival(void **state)
{
	struct trace trace = { NULL, 0, 0 };

	(void)state;
	/* the second ends first, but began later */
	assert_int_equal(add(&trace, "{\"time\":\"2026-01-31T12:00:04.000Z\",\"area\":\"access\",\"model\":\"b\","
				     "\"status\":200,\"total_us\":1000000,\"queue_us\":0}"), 1);
	assert_int_equal(add(&trace, "{\"time\":\"2026-01-31T12:00:05.500Z\",\"area\":\"access\",\"model\":\"a\","
				     "\"status\":200,\"total_us\":4000000,\"queue_us\":1500000}"), 1);
	assert_int_equal(add(&trace, "{\"time\":\"2026-01-31T12:00:05.500Z\",\"area\":\"access\",\"status\":200}"), 0);
	assert_int_equal(add(&trace, "{\"time\":\"2026-01-31T12:00:05.500Z\",\"area\":\"access\",\"model\":\"a\","
				     "\"status\":503,\"total_us\":1}"), 0);
	assert_int_equal(add(&trace, "12:00:05 info  access: 127.0.0.1 GET /health 200"), 0);
	trace_settle(&trace);
	assert_int_equal(trace.count, 2);
	assert_string_equal(trace.arrivals[0].model, "a");
	assert_int_equal(trace.arrivals[0].at_ms, 0);
	assert_int_equal(trace.arrivals[0].service_ms, 2500);
	assert_string_equal(trace.arrivals[1].model, "b");
	assert_int_equal(trace.arrivals[1].at_ms, 1500);
	assert_int_equal(trace.arrivals[1].service_ms, 1000);
	trace_free(&trace);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_trace_is_read_line_by_line),
		cmocka_unit_test(a_mistake_in_a_trace_is_told_with_its_line),
		cmocka_unit_test(access_lines_become_a_trace_in_the_order_of_arrival),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
