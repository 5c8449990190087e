/* SPDX-License-Identifier: Apache-2.0 */
/* Counters and histograms, as they are written by workers and read as text. */
#include "testing.h"

#include "observe/genai.h"
#include "observe/lifecycle.h"
#include "util/alloc.h"

#include <stdio.h>
#include <string.h>

struct book {
	struct vgw__stats *stats;
	struct vgw__shard *shards[2];
};

static void open_book(struct book *book)
{
	assert_int_equal(vgw__stats_new(&book->stats, 2, NULL), VGW_OK);
	for (uint32_t i = 0; i < 2; i++)
		book->shards[i] = vgw__stats_get_shard(vgw__stats_get_model(book->stats, "a\"b"), i);
	assert_non_null(book->shards[0]);
	assert_non_null(book->shards[1]);
}

static void check(struct book *book, bool has_own, bool has_genai, const char *line, bool is_there)
{
	char *text = vgw__stats_render(book->stats, has_own, has_genai);

	assert_non_null(text);
	if ((strstr(text, line) != NULL) != is_there)
		fail_msg("%s: %s", is_there ? "missing" : "there", line);
	vgw__free(text);
}

static void a_value_on_a_bound_is_below_it_and_workers_add_up(void **state)
{
	struct book book;

	(void)state;
	open_book(&book);
	vgw__observe_inter_token(book.shards[0], 1000, 1);
	vgw__observe_inter_token(book.shards[1], 1001, 3);
	vgw__observe_inter_token(book.shards[1], 99999999, 1);
	vgw__observe_inter_token(book.shards[1], -1, 1);
	check(&book, true, false, "vllmgw_inter_token_seconds_bucket{model=\"a\\\"b\",le=\"0.001\"} 1\n", true);
	check(&book, true, false, "vllmgw_inter_token_seconds_bucket{model=\"a\\\"b\",le=\"0.0025\"} 4\n", true);
	check(&book, true, false, "vllmgw_inter_token_seconds_bucket{model=\"a\\\"b\",le=\"2.5\"} 4\n", true);
	check(&book, true, false, "vllmgw_inter_token_seconds_bucket{model=\"a\\\"b\",le=\"+Inf\"} 5\n", true);
	check(&book, true, false, "vllmgw_inter_token_seconds_sum{model=\"a\\\"b\"} 100.004002\n", true);
	vgw__stats_free(book.stats);
}

static void what_has_another_name_is_told_under_the_one_asked_for(void **state)
{
	const struct vgw__genai_call good = { VGW__GENAI_CHAT, 200, 1000000, 100000, 7, 10 };
	const struct vgw__genai_call refused = { VGW__GENAI_CHAT, 429, 10, -1, -1, -1 };
	struct book book;

	(void)state;
	open_book(&book);
	vgw__observe_duration(book.shards[0], 5, 1);
	vgw__genai_record(book.shards[0], &good);
	vgw__genai_record(book.shards[1], &good);
	vgw__genai_record(book.shards[1], &refused);
	check(&book, true, false, "vllmgw_request_duration_seconds_count{", true);
	check(&book, true, false, "gen_ai_", false);
	check(&book, false, true, "vllmgw_request_duration_seconds", false);
	check(&book, false, true, "vllmgw_prompt_tokens_total", false);
	check(&book, false, true, "vllmgw_overhead_seconds_count{", true);
	check(&book, true, true, "vllmgw_request_duration_seconds_count{", true);
#define LABELS "gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"openai\",gen_ai_request_model=\"a\\\"b\""
	check(&book, true, true, "gen_ai_server_request_duration_seconds_sum{" LABELS "} 2.000000\n", true);
	check(&book, true, true, "gen_ai_server_request_duration_seconds_count{" LABELS ",error_type=\"4xx\"} 1\n", true);
	check(&book, true, true, "gen_ai_server_time_per_output_token_seconds_sum{" LABELS "} 0.200000\n", true);
	check(&book, true, true, "gen_ai_client_token_usage_bucket{" LABELS ",gen_ai_token_type=\"input\",le=\"4\"} 0\n", true);
	check(&book, true, true, "gen_ai_client_token_usage_bucket{" LABELS ",gen_ai_token_type=\"input\",le=\"16\"} 2\n", true);
	check(&book, true, true, "gen_ai_client_token_usage_count{" LABELS ",gen_ai_token_type=\"output\"} 2\n", true);
#undef LABELS
	vgw__stats_free(book.stats);
}

static void move(struct book *book, int64_t at_ms, const char *replica, const char *from, const char *to, const char *cause)
{
	const vgw_event event = { .size = sizeof(event), .kind = VGW_EVENT_TRANSITION, .at_ms = at_ms, .model = "m",
		.replica = replica, .from = from, .to = to, .cause = cause, .text = "" };

	vgw__lifecycle_hear(book->stats, &event);
}

static void models_ways_are_counted_and_each_replicas_start_is_timed_by_itself(void **state)
{
	const vgw_event lost = { .size = sizeof(lost), .kind = VGW_EVENT_LOST, .model = "", .lost_count = 7 };
	struct book book;

	(void)state;
	open_book(&book);
	move(&book, 1000, "m/0", "absent", "starting", "request");
	move(&book, 3000, "m/1", "absent", "starting", "request");
	move(&book, 5000, "m/0", "starting", "ready", "completed");
	move(&book, 5000, "m/1", "starting", "ready", "completed");
	move(&book, 6000, "m/0", "ready", "draining", "swap");
	move(&book, 7000, "m/0", "asleep", "waking", "request");
	move(&book, 7500, "m/0", "waking", "ready", "completed");
	move(&book, 8000, "m/0", "ready", "leaving", "crashed");
	move(&book, 9000, "m/0", "leaving", "backoff", "failed");
	move(&book, 9000, "m/1", "starting", "leaving", "failed");
	vgw__lifecycle_hear(book.stats, &lost);
	check(&book, true, false, "vllmgw_model_start_seconds_sum{model=\"m\"} 6.000000\n", true);
	check(&book, true, false, "vllmgw_model_start_seconds_count{model=\"m\"} 2\n", true);
	check(&book, true, false, "vllmgw_model_wake_seconds_sum{model=\"m\"} 0.500000\n", true);
	check(&book, true, false, "vllmgw_model_swapped_out_total{model=\"m\"} 1\n", true);
	check(&book, true, false, "vllmgw_model_failures_total{model=\"m\"} 2\n", true);
	check(&book, true, false, "vllmgw_model_transitions_total{model=\"m\",to=\"ready\"} 3\n", true);
	check(&book, true, false, "vllmgw_events_lost_total 7\n", true);
	vgw__stats_free(book.stats);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_value_on_a_bound_is_below_it_and_workers_add_up),
		cmocka_unit_test(what_has_another_name_is_told_under_the_one_asked_for),
		cmocka_unit_test(models_ways_are_counted_and_each_replicas_start_is_timed_by_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
