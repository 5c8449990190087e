/* SPDX-License-Identifier: Apache-2.0 */
/* The script's text goes along each time: Redis knows it by its digest, and nothing is lost when it forgets. */
#include "redis_command.h"

#include <inttypes.h>
#include <stdio.h>

static void add_text(struct redis_command *command, const char *text)
{
	command->texts[command->count++] = text;
}

void redis_command_add_number(struct redis_command *command, uint64_t number)
{
	char *room = command->room[command->count];

	(void)snprintf(room, REDIS_COMMAND_ARG_BYTES, "%" PRIu64, number);
	add_text(command, room);
}

void redis_command_add_who(struct redis_command *command, const char *owner, uint64_t place)
{
	char *room = command->room[command->count];

	(void)snprintf(room, REDIS_COMMAND_ARG_BYTES, "%s:%" PRIu64, owner, place);
	add_text(command, room);
}

/* The braces keep a name's keys on one node of a cluster. */
void redis_command_begin(struct redis_command *command, const char *script, const char *name)
{
	static const char *const kinds[] = { "requests", "tokens", "places" };

	command->count = 0;
	add_text(command, "EVAL");
	add_text(command, script);
	add_text(command, "3");
	for (size_t i = 0; i < 3; i++) {
		char *room = command->room[command->count];

		(void)snprintf(room, REDIS_COMMAND_ARG_BYTES, "vllmgw:{%s}:%s", name, kinds[i]);
		add_text(command, room);
	}
}

bool redis_command_read_answer(const redisReply *reply, vgw_limit_answer *answer)
{
	int64_t numbers[6];

	if (!reply || reply->type != REDIS_REPLY_ARRAY || reply->elements != 6)
		return false;
	for (size_t i = 0; i < 6; i++) {
		if (reply->element[i]->type != REDIS_REPLY_INTEGER)
			return false;
		numbers[i] = reply->element[i]->integer;
	}
	if (numbers[0] < 0 || numbers[0] >= VGW_LIMIT_REASON_COUNT)
		return false;
	answer->reason = (vgw_limit_reason)numbers[0];
	answer->is_allowed = answer->reason == VGW_LIMIT_NONE;
	answer->retry_ms = numbers[1];
	answer->requests_left = (uint64_t)numbers[2];
	answer->requests_reset_ms = numbers[3];
	answer->tokens_left = (uint64_t)numbers[4];
	answer->tokens_reset_ms = numbers[5];
	return true;
}
