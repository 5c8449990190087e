/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and writing durations; milliseconds inside. */
#include "util/duration.h"

#include <stdio.h>
#include <string.h>

#define CENTURY_MS (INT64_C(100) * 366 * 24 * 3600 * 1000)

struct unit {
	const char *name;
	int64_t ms;
};

static const struct unit units[] = {
	{ "ms", 1 }, { "s", 1000 }, { "m", INT64_C(60) * 1000 }, { "h", INT64_C(3600) * 1000 },
	{ "d", INT64_C(24) * 3600 * 1000 },
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The longest unit at the start of the text: "ms" before "m". */
static const struct unit *find_unit(const char *text)
{
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		size_t len = strlen(units[i].name);

		if (strncmp(text, units[i].name, len) == 0 && (text[len] == '\0' || is_digit(text[len])))
			return &units[i];
	}
	return NULL;
}

/* One "12.5s" of the text; thousandths of the unit are as fine as it gets. */
static const char *parse_part(const char *text, int64_t *total_ms)
{
	const struct unit *unit;
	int64_t whole = 0, thousandths = 0, scale = 100;

	if (!is_digit(*text))
		return NULL;
	for (; is_digit(*text); text++) {
		whole = whole * 10 + (*text - '0');
		if (whole > CENTURY_MS)
			return NULL;
	}
	if (*text == '.') {
		if (!is_digit(*++text))
			return NULL;
		for (; is_digit(*text); text++, scale /= 10)
			thousandths += scale * (*text - '0');
	}
	unit = find_unit(text);
	if (!unit || whole > CENTURY_MS / unit->ms)
		return NULL;
	*total_ms += whole * unit->ms + thousandths * unit->ms / 1000;
	return *total_ms <= CENTURY_MS ? text + strlen(unit->name) : NULL;
}

bool vgw__parse_duration(const char *text, int64_t *out_ms)
{
	int64_t total_ms = 0;

	do {
		text = parse_part(text, &total_ms);
	} while (text && *text != '\0');
	if (text)
		*out_ms = total_ms;
	return text != NULL;
}

const char *vgw__format_duration(char text[VGW__DURATION_TEXT], int64_t ms)
{
	const char *unit = "ms";
	int64_t n = ms;

	if (ms >= INT64_C(100) * 60 * 1000) {
		n = (ms + 1800000) / 3600000;
		unit = "h";
	} else if (ms >= 100 * 1000) {
		n = (ms + 30000) / 60000;
		unit = "min";
	} else if (ms >= 1000) {
		n = (ms + 500) / 1000;
		unit = "s";
	}
	(void)snprintf(text, VGW__DURATION_TEXT, "%lld %s", (long long)n, unit);
	return text;
}
