/* SPDX-License-Identifier: Apache-2.0 */
/* Control calls: what goes out, what comes back, and every way to give up. */
#include "testing.h"

#include "net/control.h"
#include "rawserver.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct scene {
	struct rawserver *server;
	char url[256];
	struct vgw__control_request request;
	struct vgw__control_answer answer;
	vgw_error err;
};

static void set_stage(struct scene *scene, rawserver_fn script, void *user, const char *path)
{
	*scene = (struct scene){ .request = VGW__CONTROL_REQUEST_INIT, .err = VGW_ERROR_INIT };
	scene->server = rawserver_start(script, user, NULL);
	assert_non_null(scene->server);
	(void)snprintf(scene->url, sizeof(scene->url), "%s%s", rawserver_get_url(scene->server), path);
	scene->request.url = scene->url;
	scene->request.deadline_ms = vgw_now_ms() + 10000;
}

static vgw_status play(struct scene *scene)
{
	return vgw__control_call(&scene->request, &scene->answer, &scene->err);
}

static void strike(struct scene *scene)
{
	const char *why = rawserver_join(scene->server);

	vgw__control_answer_fini(&scene->answer);
	if (why)
		fail_msg("%s", why);
}

/* --- the way it should go ---------------------------------------------------------------------------------------- */

static void expect(struct rawserver *server, const char *text)
{
	if (!strstr(rawserver_get_head(server), text))
		rawserver_fail(server, text);
}

static void serve_post(struct rawserver *server, void *user)
{
	int fd = rawserver_accept(server);
	size_t len;

	(void)user;
	rawserver_expect_request(server, fd);
	expect(server, "POST /sleep?level=1 HTTP/1.1\r\n");
	expect(server, "\r\nContent-Type: application/json\r\n");
	expect(server, "\r\nAuthorization: Bearer s3cret\r\n");
	expect(server, "\r\nX-More: yes\r\n");
	if (strstr(rawserver_get_head(server), "Expect:"))
		rawserver_fail(server, "it expects a 100");
	if (strncmp(rawserver_get_body(server, &len), "{\"a\":1}", 7) != 0 || len != 7)
		rawserver_fail(server, "another body");
	rawserver_send(server, fd, "HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
}

static void a_post_carries_its_body_token_and_headers(void **state)
{
	static const char *const headers[] = { "X-More: yes" };
	struct scene scene;

	(void)state;
	set_stage(&scene, serve_post, NULL, "/sleep?level=1");
	scene.request.method = "POST";
	scene.request.body = "{\"a\":1}";
	scene.request.body_len = 7;
	scene.request.bearer_token = "s3cret";
	scene.request.headers = headers;
	scene.request.header_count = 1;
	assert_int_equal(play(&scene), VGW_OK);
	assert_int_equal(scene.answer.status, 202);
	assert_string_equal(scene.answer.body, "ok");
	assert_int_equal(scene.answer.body_len, 2);
	strike(&scene);
}

static void answer_with(struct rawserver *server, void *user)
{
	int fd = rawserver_accept(server);

	rawserver_expect_request(server, fd);
	rawserver_send(server, fd, user);
	rawserver_expect_close(server, fd);
	rawserver_expect_no_connection(server, 50);
}

static void a_redirect_is_an_answer_and_is_not_followed(void **state)
{
	struct scene scene;

	(void)state;
	set_stage(&scene, answer_with,
		(char *)"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", "/");
	assert_int_equal(play(&scene), VGW_OK);
	assert_int_equal(scene.answer.status, 302);
	assert_string_equal(scene.answer.body, "");
	strike(&scene);
}

static void the_environments_proxy_is_not_used(void **state)
{
	struct scene scene;

	(void)state;
	assert_int_equal(setenv("http_proxy", "http://127.0.0.1:1", 1), 0);
	set_stage(&scene, answer_with, (char *)"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "/health");
	assert_int_equal(play(&scene), VGW_OK);
	assert_int_equal(scene.answer.status, 200);
	assert_int_equal(unsetenv("http_proxy"), 0);
	strike(&scene);
}

static void a_unix_socket_is_called(void **state)
{
	struct scene scene = { .request = VGW__CONTROL_REQUEST_INIT, .err = VGW_ERROR_INIT };
	char path[64];

	(void)state;
	(void)snprintf(path, sizeof(path), "/tmp/vgw-test-control-%d.sock", (int)getpid());
	scene.server = rawserver_start(answer_with, (char *)"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", path);
	assert_non_null(scene.server);
	scene.request.url = "http://localhost/containers/json";
	scene.request.unix_path = path;
	scene.request.deadline_ms = vgw_now_ms() + 10000;
	assert_int_equal(play(&scene), VGW_OK);
	assert_string_equal(scene.answer.body, "{}");
	strike(&scene);
	(void)unlink(path);
}

/* --- streamed answers -------------------------------------------------------------------------------------------- */

static void stream_lines(struct rawserver *server, void *user)
{
	int fd = rawserver_accept(server);

	(void)user;
	rawserver_expect_request(server, fd);
	rawserver_send(server, fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none\n\r\n");
	rawserver_expect_close(server, fd);
}

static bool take_one_line(void *user, uint32_t status, const char *data, size_t len)
{
	bool *has_come = user;

	assert_int_equal(status, 200);
	*has_come = len == 4 && memcmp(data, "one\n", 4) == 0;
	return false;
}

static void a_stream_ends_well_when_the_caller_has_had_enough(void **state)
{
	struct scene scene;
	bool has_come = false;

	(void)state;
	set_stage(&scene, stream_lines, NULL, "/events");
	scene.request.on_data = take_one_line;
	scene.request.user = &has_come;
	assert_int_equal(play(&scene), VGW_OK);
	assert_true(has_come);
	assert_int_equal(scene.answer.status, 200);
	assert_string_equal(scene.answer.body, "");
	strike(&scene);
}

/* --- giving up --------------------------------------------------------------------------------------------------- */

static void an_answer_larger_than_the_cap_is_refused(void **state)
{
	struct scene scene;

	(void)state;
	set_stage(&scene, answer_with, (char *)"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "/");
	scene.request.max_answer_bytes = 4;
	assert_int_equal(play(&scene), VGW_BACKEND);
	assert_non_null(strstr(scene.err.text, "larger than 4 bytes"));
	assert_null(scene.answer.body);
	strike(&scene);
}

static void an_answer_as_large_as_the_cap_is_taken(void **state)
{
	struct scene scene;

	(void)state;
	set_stage(&scene, answer_with, (char *)"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "/");
	scene.request.max_answer_bytes = 5;
	assert_int_equal(play(&scene), VGW_OK);
	assert_string_equal(scene.answer.body, "hello");
	strike(&scene);
}

static void read_and_say_nothing(struct rawserver *server, void *user)
{
	int fd = rawserver_accept(server);

	rawserver_expect_request(server, fd);
	if (user && write(*(int *)user, &(uint64_t){ 1 }, sizeof(uint64_t)) < 0)
		rawserver_fail(server, "eventfd");
	rawserver_expect_close(server, fd);
	rawserver_expect_no_connection(server, 50);
}

static void the_deadline_ends_a_call_that_is_not_answered(void **state)
{
	struct scene scene;

	(void)state;
	set_stage(&scene, read_and_say_nothing, NULL, "/health");
	scene.request.deadline_ms = vgw_now_ms() + 60;
	assert_int_equal(play(&scene), VGW_TIMEOUT);
	assert_true(vgw_now_ms() >= scene.request.deadline_ms);
	assert_true(vgw_now_ms() < scene.request.deadline_ms + 5000);
	strike(&scene);
}

static void the_cancel_descriptor_ends_a_call_that_waits(void **state)
{
	int cancel_fd = eventfd(0, EFD_CLOEXEC);
	struct scene scene;

	(void)state;
	assert_true(cancel_fd >= 0);
	set_stage(&scene, read_and_say_nothing, &cancel_fd, "/health");
	scene.request.cancel_fd = cancel_fd;
	assert_int_equal(play(&scene), VGW_CANCELLED);
	assert_true(vgw_now_ms() < scene.request.deadline_ms);
	strike(&scene);
	(void)close(cancel_fd);
}

static void close_at_once(struct rawserver *server, void *user)
{
	int fd = rawserver_accept(server);

	(void)user;
	rawserver_expect_request(server, fd);
	rawserver_close(server, fd);
	rawserver_expect_no_connection(server, 50);
}

static void a_lost_connection_is_reported_and_the_request_is_not_sent_again(void **state)
{
	struct scene scene;

	(void)state;
	set_stage(&scene, close_at_once, NULL, "/wake_up");
	scene.request.method = "POST";
	assert_int_equal(play(&scene), VGW_BACKEND);
	assert_non_null(strstr(scene.err.text, "POST http://127.0.0.1:"));
	strike(&scene);
}

static void refusals_name_the_reason(void **state)
{
	static const struct {
		const char *url;
		const char *token;
		vgw_status status;
	} rows[] = {
		{ "http://127.0.0.1:1/", NULL, VGW_BACKEND },
		{ "file:///etc/passwd", NULL, VGW_INVALID },
		{ "http://user:pass@127.0.0.1:1/", NULL, VGW_INVALID },
		{ "http://127.0.0.1:1/", "two\r\nlines: x", VGW_INVALID },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct vgw__control_request request = VGW__CONTROL_REQUEST_INIT;
		struct vgw__control_answer answer;
		vgw_error err = VGW_ERROR_INIT;

		request.url = rows[i].url;
		request.bearer_token = rows[i].token;
		request.deadline_ms = vgw_now_ms() + 5000;
		assert_int_equal(vgw__control_call(&request, &answer, &err), rows[i].status);
		assert_int_not_equal(strlen(err.text), 0);
		assert_null(strstr(err.text, "pass@"));
		assert_null(answer.body);
		vgw__control_answer_fini(&answer);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_post_carries_its_body_token_and_headers),
		cmocka_unit_test(a_redirect_is_an_answer_and_is_not_followed),
		cmocka_unit_test(the_environments_proxy_is_not_used),
		cmocka_unit_test(a_unix_socket_is_called),
		cmocka_unit_test(a_stream_ends_well_when_the_caller_has_had_enough),
		cmocka_unit_test(an_answer_larger_than_the_cap_is_refused),
		cmocka_unit_test(an_answer_as_large_as_the_cap_is_taken),
		cmocka_unit_test(the_deadline_ends_a_call_that_is_not_answered),
		cmocka_unit_test(the_cancel_descriptor_ends_a_call_that_waits),
		cmocka_unit_test(a_lost_connection_is_reported_and_the_request_is_not_sent_again),
		cmocka_unit_test(refusals_name_the_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
