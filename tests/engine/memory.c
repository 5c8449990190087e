/* SPDX-License-Identifier: Apache-2.0 */
/* The fake GPU: a file with one line "PID BYTES NAME UNTIL_MS KEEPER" for each holder, changed under flock.
 *
 * The keeper, a process of its own, stands for the driver: it sees the engine die, however it dies, keeps the
 * line for --memory-release-delay, then removes it. A line counts while its process or its keeper lives; one
 * with UNTIL_MS (milliseconds since the epoch; 0: none) until then, so that killing the keeper frees nothing.
 * The sum of all lines is right too, unless a keeper was killed. */
#include "engine.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct line {
	long pid;
	long long bytes;
	long long until_ms;
	long keeper; /* 0: none */
	char name[128];
};

static long long wall_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (long long)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* A zombie is dead: its memory went when it died, however late its parent looks. */
static bool is_alive(long pid)
{
	struct buf path = {0};
	char text[512];
	const char *state = NULL;
	FILE *file;

	buf_printf(&path, "/proc/%ld/stat", pid);
	file = fopen(path.data, "re");
	buf_free(&path);
	if (!file)
		return false;
	if (fgets(text, sizeof(text), file))
		state = strrchr(text, ')');
	fclose(file);
	return state && !strchr("ZX", state[2]);
}

static bool counts(const struct line *line)
{
	if (line->until_ms)
		return line->until_ms > wall_ms();
	return is_alive(line->pid) || (line->keeper && is_alive(line->keeper));
}

static bool parse_line(const char *text, struct line *line)
{
	memset(line, 0, sizeof(*line));
	return sscanf(text, "%ld %lld %127s %lld %ld", &line->pid, &line->bytes, line->name, &line->until_ms,
		       &line->keeper) >= 2;
}

static int open_locked(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0666);

	if (fd < 0)
		return -1;
	while (flock(fd, LOCK_EX) != 0) {
		if (errno != EINTR) {
			close(fd);
			return -1;
		}
	}
	return fd;
}

static void read_all(int fd, struct buf *out)
{
	char bytes[4096];
	ssize_t n;

	while ((n = read(fd, bytes, sizeof(bytes))) > 0)
		buf_add(out, bytes, (size_t)n);
	buf_add(out, "", 0);
}

/* The living lines of others, then `own` unless it is NULL. */
static void replace_line(const char *path, long pid, const struct line *own)
{
	int fd = open_locked(path, O_RDWR | O_CREAT);
	struct buf old = {0};
	struct buf new = {0};
	struct line line;
	char *text;
	char *rest;

	if (fd < 0) {
		fprintf(stderr, "vllmgw-engine: --memory-file %s: %s\n", path, strerror(errno));
		return;
	}
	read_all(fd, &old);
	rest = old.data;
	while ((text = strsep(&rest, "\n"))) {
		if (parse_line(text, &line) && line.pid != pid && counts(&line))
			buf_printf(&new, "%s\n", text);
	}
	if (own)
		buf_printf(&new, "%ld %lld %s %lld %ld\n", own->pid, own->bytes, own->name, own->until_ms,
			own->keeper);
	if (pwrite(fd, new.data ? new.data : "", new.len, 0) != (ssize_t) new.len ||
		ftruncate(fd, (off_t) new.len) != 0)
		fprintf(stderr, "vllmgw-engine: --memory-file %s: %s\n", path, strerror(errno));
	close(fd);
	buf_free(&old);
	buf_free(&new);
}

static void set_name(struct line *line, const char *name)
{
	size_t i;

	for (i = 0; name[i] && i + 1 < sizeof(line->name); i++)
		line->name[i] = name[i] == ' ' || name[i] == '\n' ? '_' : name[i];
	line->name[i] = '\0';
}

static void write_own(const struct engine *engine, int64_t bytes, long long until_ms)
{
	struct line own = {
		.pid = (long)getpid(), .bytes = bytes, .until_ms = until_ms, .keeper = engine->memory_keeper};

	set_name(&own, engine->options.names.items[0]);
	replace_line(engine->options.memory_file, own.pid, &own);
}

void memory_hold(struct engine *engine, int64_t bytes)
{
	if (engine->options.memory_file)
		write_own(engine, bytes, 0);
}

void memory_release(struct engine *engine)
{
	const struct options *options = &engine->options;

	if (!options->memory_file)
		return;
	if (options->release_delay > 0)
		write_own(engine, options->memory, wall_ms() + options->release_delay / 1000);
	else
		replace_line(options->memory_file, (long)getpid(), NULL);
}

/* --- processes of their own --- */

static void pause_us(int64_t us)
{
	struct timespec left = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};

	while (nanosleep(&left, &left) != 0 && errno == EINTR)
		;
}

/* Forks twice and leaves the session. true in the process that comes out of it. */
static bool detach(const char *title)
{
	pid_t child = fork();
	int status;

	if (child < 0) {
		perror("vllmgw-engine: fork");
		exit(1);
	}
	if (child > 0) {
		while (waitpid(child, &status, 0) < 0 && errno == EINTR)
			;
		return false;
	}
	setsid();
	child = fork();
	if (child != 0)
		_exit(child < 0);
	prctl(PR_SET_NAME, title);
	return true;
}

static void keep(const struct engine *engine, int fd, long engine_pid)
{
	const struct options *options = &engine->options;
	struct line line = {.pid = engine_pid, .bytes = options->memory};
	long own_pid = (long)getpid();
	char byte;

	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	if (write(fd, &own_pid, sizeof(own_pid)) != (ssize_t)sizeof(own_pid))
		_exit(1);
	while (read(fd, &byte, 1) < 0 && errno == EINTR)
		;
	if (options->release_delay > 0) {
		set_name(&line, options->names.items[0]);
		line.until_ms = wall_ms() + options->release_delay / 1000;
		replace_line(options->memory_file, engine_pid, &line);
		pause_us(options->release_delay);
	}
	replace_line(options->memory_file, engine_pid, NULL);
	_exit(0);
}

/* Called before anything is open that the keeper should not hold. */
void memory_spawn_keeper(struct engine *engine)
{
	long engine_pid = (long)getpid();
	int null_fd;
	int ends[2];

	if (!engine->options.memory_file)
		return;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) {
		perror("vllmgw-engine: socketpair");
		exit(1);
	}
	if (detach("gpu-driver")) {
		null_fd = open("/dev/null", O_RDWR);
		dup2(null_fd, 0);
		dup2(null_fd, 1);
		dup2(null_fd, 2);
		dup2(ends[0], 3);
		close_range(4, ~0U, 0);
		keep(engine, 3, engine_pid);
	}
	close(ends[0]);
	fcntl(ends[1], F_SETFD, FD_CLOEXEC); /* stays open for life: its end is the engine's */
	if (read(ends[1], &engine->memory_keeper, sizeof(long)) != (ssize_t)sizeof(long)) {
		fputs("vllmgw-engine: --memory-file: the keeper did not start\n", stderr);
		exit(1);
	}
}

/* Keeps stdout and stderr, and as much memory again as the engine had: what a surviving EngineCore does. */
void memory_spawn_grandchild(struct engine *engine)
{
	const struct options *options = &engine->options;
	struct line own = {.bytes = options->memory};

	if (!engine_has_fault(engine, FAULT_GRANDCHILD))
		return;
	fflush(stdout);
	if (!detach("VLLM::EngineCor"))
		return;
	close_range(3, ~0U, 0);
	signal(SIGTERM, SIG_IGN);
	own.pid = (long)getpid();
	set_name(&own, options->names.items[0]);
	if (options->memory_file)
		replace_line(options->memory_file, own.pid, &own);
	pause_us(options->faults.argument[FAULT_GRANDCHILD]);
	if (options->memory_file)
		replace_line(options->memory_file, own.pid, NULL);
	_exit(0);
}

int memory_print_used(const char *path)
{
	struct buf all = {0};
	struct line line;
	long long used = 0;
	char *text;
	char *rest;
	int fd = open_locked(path, O_RDONLY);

	if (fd < 0 && errno != ENOENT) {
		perror(path);
		return 1;
	}
	if (fd >= 0) {
		read_all(fd, &all);
		close(fd);
	}
	rest = all.data;
	while (rest && (text = strsep(&rest, "\n"))) {
		if (parse_line(text, &line) && counts(&line))
			used += line.bytes;
	}
	printf("%lld\n", used);
	buf_free(&all);
	return 0;
}
