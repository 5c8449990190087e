/* SPDX-License-Identifier: Apache-2.0 */
/* /tokenize and /detokenize: a token of the simulator is one byte. */
#include "model.h"

#include <stdlib.h>
#include <string.h>

void tokens_tokenize(struct conn *conn)
{
	const char *model = infer_admit(conn, tokens_tokenize);
	const json_t *prompt = json_object_get(conn->x.json, "prompt");
	const char *text = json_string_value(prompt);
	json_t *tokens;
	char *dumped = NULL;
	size_t i;

	if (!model)
		return;
	if (!text && json_object_get(conn->x.json, "messages"))
		text = dumped = json_dumps(json_object_get(conn->x.json, "messages"), JSON_COMPACT);
	if (!text) {
		exchange_error(conn, 400, "Bad Request", NULL, "prompt or messages is needed");
		return;
	}
	tokens = json_array();
	for (i = 0; i < strlen(text); i++)
		json_array_append_new(tokens, json_integer((unsigned char)text[i]));
	free(dumped);
	exchange_json(conn, 200,
		json_pack("{s:I, s:I, s:o, s:n}", "count", (json_int_t)json_array_size(tokens),
			"max_model_len", (json_int_t)conn->engine->options.context, "tokens", tokens,
			"token_strs"));
}

void tokens_detokenize(struct conn *conn)
{
	const char *model = infer_admit(conn, tokens_detokenize);
	const json_t *tokens = json_object_get(conn->x.json, "tokens");
	struct buf text = {0};
	size_t i;

	if (!model)
		return;
	for (i = 0; i < json_array_size(tokens); i++) {
		char c = (char)json_integer_value(json_array_get(tokens, i));

		buf_add(&text, &c, 1);
	}
	if (!json_is_array(tokens) || !is_utf8(text.data ? text.data : "", text.len))
		exchange_error(conn, 400, "BadRequestError", "tokens",
			"tokens is a list of the bytes of UTF-8 text");
	else
		exchange_json(conn, 200, json_pack("{s:s%}", "prompt", text.data ? text.data : "", text.len));
	buf_free(&text);
}
