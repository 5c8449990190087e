/* SPDX-License-Identifier: Apache-2.0 */
/* One line, one call of the user's function. Long lines are cut, never split. */
#include "util/log.h"

#include "util/text.h"

#include <stdarg.h>
#include <stdio.h>

enum { LINE_MAX_BYTES = 1024 };

const char *vgw_log_level_get_name(vgw_log_level level)
{
	static const char *const names[] = { "error", "warn", "info", "debug" };

	return (unsigned)level < sizeof(names) / sizeof(names[0]) ? names[level] : "?";
}

void vgw__log(const vgw_logger *logger, vgw_log_level level, const char *area, const char *model,
	const char *format, ...)
{
	char line[LINE_MAX_BYTES];
	va_list ap;

	if (!logger || !logger->fn || level > logger->level)
		return;
	va_start(ap, format);
	(void)vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	vgw__text_mend(line);
	logger->fn(logger->user, level, area, model, line);
}
