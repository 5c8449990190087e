/* SPDX-License-Identifier: Apache-2.0 */
/* A program that has a poll() loop of its own and lets a vgw_loop live inside it.
 *
 *   poll() --+-- standard input: each line becomes a job on a thread of its own
 *            +-- vgw_loop_get_fd(): run one turn --+-- message: a job is done, print its answer
 *                                                  +-- timer: say how many jobs are under way
 *
 *   cc 05_event_loop.c $(pkg-config --cflags --libs vllmgw) -pthread
 *   printf 'hello\nworld\n' | ./a.out */
#include <vllmgw/loop.h>

#include <ctype.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { LINE_BYTES = 256, REPORT_MS = 1000 };

struct program {
	vgw_loop *loop;
	vgw_timer report;
	int under_way;
	bool is_input_open;
};

struct job {
	vgw_message done; /* embedded: posting it allocates nothing */
	struct program *program;
	char line[LINE_BYTES];
};

/* On the loop's thread: the job is ours again. */
static void print_answer(vgw_message *message)
{
	struct job *job = message->user;

	printf("answer: %s", job->line);
	job->program->under_way--;
	free(job);
}

/* On a thread of its own: nothing here touches the program, but for the last line. */
static void *work(void *user)
{
	struct job *job = user;

	for (char *c = job->line; *c; c++)
		*c = (char)toupper((unsigned char)*c);
	vgw_loop_post(job->program->loop, &job->done, print_answer);
	return NULL;
}

static void report(vgw_timer *timer)
{
	struct program *program = timer->user;

	printf("%d job(s) under way\n", program->under_way);
	if (vgw_timer_start(program->loop, timer, vgw_loop_now_ms(program->loop) + REPORT_MS, report) != VGW_OK)
		fprintf(stderr, "no memory for the timer: no more reports\n");
}

static void begin_job(struct program *program)
{
	struct job *job = calloc(1, sizeof(*job));
	pthread_t thread;

	if (!job)
		return;
	job->program = program;
	job->done.user = job;
	if (!fgets(job->line, sizeof(job->line), stdin)) {
		program->is_input_open = false;
		free(job);
		return;
	}
	if (pthread_create(&thread, NULL, work, job) != 0) {
		free(job);
		return;
	}
	pthread_detach(thread);
	program->under_way++;
}

static vgw_status run(struct program *program, vgw_error *err)
{
	struct pollfd fds[2] = { { .fd = vgw_loop_get_fd(program->loop), .events = POLLIN }, { .events = POLLIN } };

	while (program->is_input_open || program->under_way > 0) {
		vgw_status status;

		fds[1].fd = program->is_input_open ? STDIN_FILENO : -1;
		if (poll(fds, 2, vgw_loop_get_timeout_ms(program->loop)) < 0)
			return vgw_error_set(err, VGW_INTERNAL, 0, "poll failed");
		if (fds[1].revents)
			begin_job(program);
		status = vgw_loop_run_once(program->loop, 0, err);
		if (status != VGW_OK)
			return status;
	}
	return VGW_OK;
}

int main(void)
{
	struct program program = { .is_input_open = true };
	vgw_error err = VGW_ERROR_INIT;
	vgw_status status;

	setvbuf(stdin, NULL, _IONBF, 0); /* poll() must see every line that was not read yet */
	status = vgw_loop_new(&program.loop, &err);
	if (status == VGW_OK) {
		program.report.user = &program;
		status = vgw_timer_start(program.loop, &program.report, vgw_now_ms() + REPORT_MS, report);
	}
	if (status == VGW_OK)
		status = run(&program, &err);
	if (status != VGW_OK)
		fprintf(stderr, "%s: %s\n", vgw_status_get_name(status), err.text);
	else
		vgw_timer_cancel(program.loop, &program.report);
	vgw_loop_free(program.loop);
	return status == VGW_OK ? 0 : 1;
}
