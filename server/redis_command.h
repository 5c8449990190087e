/* SPDX-License-Identifier: Apache-2.0 */
/* Commands that run a script, with their arguments in one piece, and the answer of the script that takes. */
#ifndef VGW_SERVER_REDIS_COMMAND_H
#define VGW_SERVER_REDIS_COMMAND_H

#include "redis_scripts.h"

#include <vllmgw/principal.h>

#include <hiredis/hiredis.h>

enum { REDIS_COMMAND_ARGS = 12, REDIS_COMMAND_ARG_BYTES = 128 };

struct redis_command {
	int count;
	const char *texts[REDIS_COMMAND_ARGS]; /* into `room`, or borrowed */
	char room[REDIS_COMMAND_ARGS][REDIS_COMMAND_ARG_BYTES];
};

/* The script and the keys of a principal's name; the script is borrowed until the command was sent. */
void redis_command_begin(struct redis_command *command, const char *script, const char *name);
void redis_command_add_number(struct redis_command *command, uint64_t number);
/* Who holds a place: a gateway, and its number there. */
void redis_command_add_who(struct redis_command *command, const char *owner, uint64_t place);

/* What REDIS_TAKE returned; false: something else, an error perhaps, or NULL. */
bool redis_command_read_answer(const redisReply *reply, vgw_limit_answer *answer);

#endif
