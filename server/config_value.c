/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers, durations, sizes, URLs and addresses. YAML's own guesses play no part: 012 is no octal, on is no
 * bool. */
#include "config_value.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

struct unit {
	const char *name;
	int64_t factor;
};

/* Largest first within each kind, so that printing finds the shortest spelling. */
static const struct unit durations[] = { { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 } };
static const struct unit sizes[] = { { "TiB", 1LL << 40 }, { "GiB", 1LL << 30 }, { "MiB", 1LL << 20 },
	{ "KiB", 1LL << 10 }, { "TB", 1000000000000LL }, { "GB", 1000000000LL }, { "MB", 1000000LL },
	{ "kB", 1000LL }, { "KB", 1000LL }, { "B", 1 } };

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

const char *config_value_parse_number(const char *text, int64_t *out)
{
	const char *digits = *text == '-' ? text + 1 : text;
	long long value;

	if (!*digits || strspn(digits, "0123456789") != strlen(digits))
		return "is not a whole number";
	if (digits[0] == '0' && digits[1])
		return "has a leading zero; write it without";
	errno = 0;
	value = strtoll(text, NULL, 10);
	if (errno)
		return "is too large";
	*out = value;
	return NULL;
}

static const struct unit *find_unit(const struct unit *units, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(units[i].name, name) == 0)
			return &units[i];
	}
	return NULL;
}

/* "12", "1.5" and a unit. The result must be a whole number of the smallest unit. */
static const char *parse_quantity(const char *text, const struct unit *units, size_t count, int64_t *out)
{
	size_t whole_len = strspn(text, "0123456789");
	size_t fraction_len = 0;
	const char *rest = text + whole_len;
	const struct unit *unit;
	int64_t value = 0;
	int64_t divisor = 1;

	if (whole_len == 0)
		return "is not a number with a unit";
	if (*rest == '.') {
		fraction_len = strspn(rest + 1, "0123456789");
		rest += 1 + fraction_len;
		if (fraction_len == 0 || fraction_len > 6)
			return "is not a number with a unit";
	}
	if (!*rest && strcmp(text, "0") != 0)
		return "has no unit";
	unit = *rest ? find_unit(units, count, rest) : &units[count - 1];
	if (!unit)
		return "has an unknown unit";
	for (const char *at = text; at < rest; at++) {
		if (*at == '.')
			continue;
		if (__builtin_mul_overflow(value, 10, &value) ||
			__builtin_add_overflow(value, *at - '0', &value))
			return "is too large";
	}
	for (size_t i = 0; i < fraction_len; i++)
		divisor *= 10;
	if (__builtin_mul_overflow(value, unit->factor, &value))
		return "is too large";
	if (value % divisor)
		return "is not a whole number of the smallest unit";
	*out = value / divisor;
	return NULL;
}

const char *config_value_parse_duration(const char *text, int64_t *out)
{
	return parse_quantity(text, durations, COUNT(durations), out);
}

const char *config_value_parse_size(const char *text, int64_t *out)
{
	return parse_quantity(text, sizes, COUNT(sizes), out);
}

const char *config_value_print(enum config_type type, int64_t value, char *text, size_t size)
{
	const struct unit *units = type == CONFIG_DURATION ? durations : sizes;
	size_t count = type == CONFIG_DURATION ? COUNT(durations) : COUNT(sizes);

	if (value == 0 || type == CONFIG_NUMBER) {
		(void)snprintf(text, size, "%lld", (long long)value);
		return text;
	}
	for (size_t i = 0; i < count; i++) {
		if (value % units[i].factor == 0) {
			(void)snprintf(
				text, size, "%lld%s", (long long)(value / units[i].factor), units[i].name);
			break;
		}
	}
	return text;
}

/* --- addresses --- */

static bool is_host(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (!isalnum((unsigned char)text[i]) && !strchr("-._", text[i]))
			return false;
	}
	return len > 0 && len <= 253;
}

static bool is_ipv6(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (!isxdigit((unsigned char)text[i]) && !strchr(":.", text[i]))
			return false;
	}
	return len >= 2 && len <= 45;
}

/* The length of "host" or "[address]" at the start of text; 0: neither. */
static size_t get_host_len(const char *text)
{
	size_t len = *text == '[' ? strcspn(text, "]") : strcspn(text, ":/");

	if (*text == '[')
		return text[len] == ']' && is_ipv6(text + 1, len - 1) ? len + 1 : 0;
	return is_host(text, len) ? len : 0;
}

static bool parse_port(const char *text, size_t len, int64_t *out)
{
	int64_t port = 0;

	if (len == 0 || len > 5 || strspn(text, "0123456789") < len)
		return false;
	for (size_t i = 0; i < len; i++)
		port = port * 10 + (text[i] - '0');
	*out = port;
	return port <= 65535;
}

const char *config_value_check_url(const char *text)
{
	const char *host;
	size_t host_len;
	int64_t port;

	if (strncmp(text, "unix:", 5) == 0) {
		if (text[5] != '/')
			return "needs an absolute path: unix:/run/engine.sock";
		if (strlen(text + 5) >= sizeof(((struct sockaddr_un *)0)->sun_path))
			return "has a socket path of more than 107 bytes";
		return NULL;
	}
	if (strncmp(text, "http://", 7) == 0)
		host = text + 7;
	else if (strncmp(text, "https://", 8) == 0)
		host = text + 8;
	else
		return "is not a URL: it begins with http://, https:// or unix:/";
	for (const char *at = text; *at; at++) {
		if ((unsigned char)*at <= 0x20 || *at == 0x7f)
			return "has a space or control character in it";
	}
	if (memchr(host, '@', strcspn(host, "/?#")))
		return "has credentials in it; use api_key";
	if (strpbrk(host, "?#"))
		return "has a query or fragment; a base URL ends before it";
	host_len = get_host_len(host);
	if (host_len == 0)
		return "has no valid host";
	if (host[host_len] == ':') {
		const char *digits = host + host_len + 1;

		if (!parse_port(digits, strcspn(digits, "/"), &port) || port == 0)
			return "has no valid port: a number from 1 to 65535";
		return NULL;
	}
	return host[host_len] == '\0' || host[host_len] == '/' ? NULL : "has no valid host";
}

static const char *parse_unix(const char *path, struct config_listen *out)
{
	if (*path != '/')
		return "needs an absolute path: unix:/run/vllmgw.sock";
	if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return "has a socket path of more than 107 bytes; choose a shorter one";
	out->kind = CONFIG_LISTEN_UNIX;
	out->path = path;
	return NULL;
}

const char *config_value_parse_listen(const char *text, struct config_listen *out, struct config_arena *arena)
{
	size_t host_len;
	int64_t port = 0;

	out->text = text;
	out->host = "";
	out->path = "";
	out->is_tls = strncmp(text, "https://", 8) == 0;
	if (out->is_tls || strncmp(text, "http://", 7) == 0)
		text += out->is_tls ? 8 : 7;
	if (strcmp(text, "systemd") == 0) {
		out->kind = CONFIG_LISTEN_SYSTEMD;
		return NULL;
	}
	if (text == out->text && strncmp(text, "unix:", 5) == 0)
		return parse_unix(text + 5, out);
	host_len = get_host_len(text);
	if (*text == ':' || *text == '*')
		return "names no address; write 0.0.0.0:PORT or \"[::]:PORT\" for all";
	if (host_len == 0 || text[host_len] != ':')
		return "is not host:port, \"[::1]:port\", unix:/path or systemd";
	if (!parse_port(text + host_len + 1, strlen(text + host_len + 1), &port))
		return "has no valid port: a number from 0 to 65535";
	out->kind = CONFIG_LISTEN_TCP;
	out->port = (uint16_t)port;
	out->host = *text == '[' ? config_arena_strndup(arena, text + 1, host_len - 2)
				 : config_arena_strndup(arena, text, host_len);
	return NULL;
}

bool config_value_is_json_number(const char *text)
{
	const char *at = *text == '-' ? text + 1 : text;
	size_t digits = strspn(at, "0123456789");

	if (digits == 0 || (*at == '0' && digits > 1))
		return false;
	at += digits;
	if (*at == '.') {
		digits = strspn(at + 1, "0123456789");
		if (digits == 0)
			return false;
		at += 1 + digits;
	}
	if (*at == 'e' || *at == 'E') {
		at++;
		at += *at == '+' || *at == '-';
		digits = strspn(at, "0123456789");
		if (digits == 0)
			return false;
		at += digits;
	}
	return *at == '\0';
}
