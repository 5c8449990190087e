/* SPDX-License-Identifier: Apache-2.0 */
/* Devices told about by a command: nvidia-smi, or a configured one. A command can be killed when the driver hangs. */
#include "backend/settle.h"

#include "backend/process_env.h"
#include "backend/template.h"
#include "util/alloc.h"
#include "util/command.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OUTPUT_CEILING = 64 * 1024 };

struct by_command {
	struct vgw__settle base;
	struct vgw__strings command; /* templates with ${DEVICE}; prints FREE [TOTAL] */
	struct vgw__strings lister;  /* prints one pid a line; empty: none */
	uint64_t unit_bytes;
};

/* --- running it --- */

static vgw_status run(const struct vgw__strings *command, const char *device, int64_t deadline_ms, int cancel_fd,
	struct vgw__buf *out, vgw_error *err)
{
	char name[VGW__DEVICE_NAME];
	const struct vgw__template_variable variables[] = { { "DEVICE", name }, { NULL, NULL } };
	struct vgw__strings argv = { 0 }, env = { 0 };
	const struct vgw__strings no_patterns = { 0 };
	vgw_status status = VGW_OK;

	vgw__settle_name_device(name, device);
	if (!vgw__process_env_inherit(&env, environ, &no_patterns) || !vgw__strings_add(&env, "LC_ALL=C"))
		status = vgw_error_set(err, VGW_NOMEM, 0, "no memory to run '%.60s'", command->items[0]);
	for (size_t i = 0; status == VGW_OK && i < command->count; i++) {
		char *argument;

		status = vgw__template_expand(&argument, command->items[i], variables, err);
		if (status == VGW_OK && !vgw__strings_take(&argv, argument))
			status = vgw_error_set(err, VGW_NOMEM, 0, "no memory to run '%.60s'", command->items[0]);
	}
	if (status == VGW_OK)
		status = vgw__command_run((const char *const *)argv.items, (const char *const *)env.items,
			deadline_ms, cancel_fd, out, err);
	vgw__strings_fini(&argv);
	vgw__strings_fini(&env);
	return status;
}

/* The number at *text, which is moved behind it and one comma. */
static bool parse_number(const char **text, uint64_t unit_bytes, uint64_t *out)
{
	const char *p = *text + strspn(*text, " \t");
	unsigned long long value;
	char *end;

	if (*p < '0' || *p > '9')
		return false;
	value = strtoull(p, &end, 10);
	if (__builtin_mul_overflow((uint64_t)value, unit_bytes, out))
		return false;
	end += strspn(end, " \t");
	end += *end == ',';
	*text = end;
	return true;
}

static vgw_status command_read(struct vgw__settle *settle, const char *device, int64_t deadline_ms, int cancel_fd,
	struct vgw__device_memory *out, vgw_error *err)
{
	const struct by_command *by = (const struct by_command *)settle;
	const char *text;
	struct vgw__buf buf;
	vgw_status status;

	vgw__buf_init(&buf, OUTPUT_CEILING);
	status = run(&by->command, device, deadline_ms, cancel_fd, &buf, err);
	if (status == VGW_OK && !vgw__buf_append(&buf, "", 1))
		status = vgw_error_set(err, VGW_BACKEND, 0, "'%.60s' prints too much", by->command.items[0]);
	text = buf.data;
	if (status == VGW_OK && !parse_number(&text, by->unit_bytes, &out->free_bytes))
		status = vgw_error_set(err, VGW_BACKEND, 0, "'%.60s' prints '%.60s' where free bytes were expected",
			by->command.items[0], buf.data);
	if (status == VGW_OK)
		(void)parse_number(&text, by->unit_bytes, &out->total_bytes);
	vgw__buf_fini(&buf);
	return status;
}

static vgw_status command_list(struct vgw__settle *settle, const char *device, int64_t deadline_ms, int cancel_fd,
	int64_t pids[VGW__DEVICE_PIDS], size_t *count, vgw_error *err)
{
	const struct by_command *by = (const struct by_command *)settle;
	struct vgw__buf buf;
	vgw_status status;
	uint64_t pid;

	if (by->lister.count == 0)
		return vgw_error_set(err, VGW_INVALID, 0, "nothing here tells who uses device '%.60s'", device);
	vgw__buf_init(&buf, OUTPUT_CEILING);
	status = run(&by->lister, device, deadline_ms, cancel_fd, &buf, err);
	if (status == VGW_OK && vgw__buf_append(&buf, "", 1)) {
		const char *text = buf.data;

		while (*count < VGW__DEVICE_PIDS && parse_number(&text, 1, &pid)) {
			pids[(*count)++] = (int64_t)pid;
			text += strspn(text, "\r\n");
		}
	}
	vgw__buf_fini(&buf);
	return status;
}

static void command_destroy(struct vgw__settle *settle)
{
	struct by_command *by = (struct by_command *)settle;

	vgw__strings_fini(&by->command);
	vgw__strings_fini(&by->lister);
	vgw__free(by);
}

/* --- making it --- */

static const struct vgw__settle_ops smi_ops = {
	.name = "smi", .read = command_read, .list = command_list, .destroy = command_destroy
};
static const struct vgw__settle_ops command_ops = {
	.name = "command", .read = command_read, .list = command_list, .destroy = command_destroy
};

static struct by_command *new_by_command(const struct vgw__settle_ops *ops, uint64_t unit_bytes)
{
	struct by_command *by = vgw__alloc(sizeof(*by));

	if (by) {
		by->base.ops = ops;
		by->unit_bytes = unit_bytes;
	}
	return by;
}

static bool add_all(struct vgw__strings *list, const char *const *items, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!vgw__strings_add(list, items[i]))
			return false;
	return true;
}

vgw_status vgw__settle_new_command(struct vgw__settle **out, const struct vgw__strings *command, vgw_error *err)
{
	struct by_command *by;

	*out = NULL;
	if (command->count == 0)
		return vgw_error_set(err, VGW_INVALID, 0, "the command that tells a device's memory is empty");
	by = new_by_command(&command_ops, 1);
	if (!by || !add_all(&by->command, (const char *const *)command->items, command->count)) {
		vgw__settle_free(by ? &by->base : NULL);
		return vgw_error_set(err, VGW_NOMEM, 0, "no memory to watch devices");
	}
	*out = &by->base;
	return VGW_OK;
}

vgw_status vgw__settle_new_smi(struct vgw__settle **out, vgw_error *err)
{
	static const char *const reader[] = { "nvidia-smi", "--id=${DEVICE}", "--query-gpu=memory.free,memory.total",
		"--format=csv,noheader,nounits" };
	static const char *const lister[] = { "nvidia-smi", "--id=${DEVICE}", "--query-compute-apps=pid",
		"--format=csv,noheader" };
	struct by_command *by = new_by_command(&smi_ops, UINT64_C(1024) * 1024);
	struct vgw__device_memory memory;
	vgw_status status;

	*out = NULL;
	if (!by || !add_all(&by->command, reader, sizeof(reader) / sizeof(reader[0])) ||
		!add_all(&by->lister, lister, sizeof(lister) / sizeof(lister[0]))) {
		vgw__settle_free(by ? &by->base : NULL);
		return vgw_error_set(err, VGW_NOMEM, 0, "no memory to watch devices");
	}
	status = command_read(&by->base, "0", vgw_now_ms() + 10000, -1, &memory, err);
	if (status != VGW_OK) {
		vgw__settle_free(&by->base);
		return VGW_NOT_FOUND;
	}
	*out = &by->base;
	return VGW_OK;
}
