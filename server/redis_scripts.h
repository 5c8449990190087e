/* SPDX-License-Identifier: Apache-2.0 */
/* The limits as Redis runs them: each question is one script, so it is one round trip and nothing comes between looking
 * and taking. The time is Redis' own: gateways' clocks need not agree. Numbers are microseconds; they are formatted by
 * hand, because Lua would round them.
 *
 * KEYS  requests' word, tokens' word, places taken (a sorted set: who, until when)
 * A word is the time at which all that was taken will have been paid back, as in the library. */
#ifndef VGW_SERVER_REDIS_SCRIPTS_H
#define VGW_SERVER_REDIS_SCRIPTS_H

#define REDIS_PRELUDE                                                                             \
	"local t = redis.call('TIME')\n"                                                          \
	"local now = t[1] * 1000000 + t[2]\n"                                                     \
	"local minute = 60000000\n"                                                               \
	"local function get(key)\n"                                                               \
	"  return math.max(tonumber(redis.call('GET', key) or '0'), now)\n"                       \
	"end\n"                                                                                   \
	"local function set(key, word)\n"                                                         \
	"  local ms = math.min(math.ceil((word - now) / 1000), 3600000)\n"                        \
	"  if ms > 0 then redis.call('SET', key, string.format('%.0f', word), 'PX', ms)\n"        \
	"  else redis.call('DEL', key) end\n"                                                     \
	"end\n"

/* ARGV  requests and tokens a minute, tokens to reserve, places, who, how long a place is kept without news (ms)
 * Returns reason, wait (ms), requests left, until reset (ms), tokens left, until reset (ms). */
#define REDIS_TAKE REDIS_PRELUDE                                                                  \
	"local rpm, tpm, tokens, places = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])\n" \
	"local reason, wait, r, k = 0, 0, now, now\n"                                             \
	"local function look(word, cost, why)\n"                                                  \
	"  local over = word - now + cost - minute\n"                                             \
	"  if over > 0 and (reason == 0 or over > wait) then reason, wait = why, over end\n"      \
	"end\n"                                                                                   \
	"if places > 0 then\n"                                                                    \
	"  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', string.format('%.0f', now))\n"         \
	"  if redis.call('ZCARD', KEYS[3]) >= places then reason = 3 end\n"                       \
	"end\n"                                                                                   \
	"if rpm > 0 then r = get(KEYS[1]); look(r, minute / rpm, 1) end\n"                        \
	"if tpm > 0 then k = get(KEYS[2]); look(k, minute * tokens / tpm, 2) end\n"               \
	"if reason == 0 then\n"                                                                   \
	"  if rpm > 0 then r = r + minute / rpm; set(KEYS[1], r) end\n"                           \
	"  if tpm > 0 then k = k + minute * tokens / tpm; set(KEYS[2], k) end\n"                  \
	"  if places > 0 then\n"                                                                  \
	"    redis.call('ZADD', KEYS[3], string.format('%.0f', now + ARGV[6] * 1000), ARGV[5])\n" \
	"    redis.call('PEXPIRE', KEYS[3], ARGV[6])\n"                                           \
	"  end\n"                                                                                 \
	"end\n"                                                                                   \
	"local function left(word, limit)\n"                                                      \
	"  return math.floor(math.max(minute - (word - now), 0) * limit / minute + 0.000001)\n"   \
	"end\n"                                                                                   \
	"return { reason, math.ceil(wait / 1000), left(r, rpm), math.ceil((r - now) / 1000), left(k, tpm), "             \
	"math.ceil((k - now) / 1000) }\n"

/* ARGV  tokens a minute, reserved, used, who */
#define REDIS_SETTLE REDIS_PRELUDE                                                                \
	"redis.call('ZREM', KEYS[3], ARGV[4])\n"                                                  \
	"local tpm, more = tonumber(ARGV[1]), ARGV[3] - ARGV[2]\n"                                \
	"if tpm > 0 then\n"                                                                       \
	"  local word = more > 0 and get(KEYS[2]) or tonumber(redis.call('GET', KEYS[2]) or '0')\n" \
	"  set(KEYS[2], math.min(word + minute * more / tpm, now + 60 * minute))\n"               \
	"end\n"                                                                                   \
	"return 0\n"

/* ARGV  who, how long a place is kept without news (ms) */
#define REDIS_RENEW REDIS_PRELUDE                                                                 \
	"redis.call('ZADD', KEYS[3], 'XX', string.format('%.0f', now + ARGV[2] * 1000), ARGV[1])\n" \
	"redis.call('PEXPIRE', KEYS[3], ARGV[2])\n"                                               \
	"return 0\n"

#endif
