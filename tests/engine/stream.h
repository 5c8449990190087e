/* SPDX-License-Identifier: Apache-2.0 */
/* An answer made of tokens: what it says (a function of the request alone), in which dialect, and when. */
#ifndef VGW_ENGINE_STREAM_H
#define VGW_ENGINE_STREAM_H

#include "base.h"

struct answer;
struct conn;

/** How one API writes an answer. Each writes events, or one JSON body. */
struct dialect {
	const char *id_prefix;
	void (*open)(struct buf *out, const struct answer *answer);  /* events before the first token */
	void (*token)(struct buf *out, const struct answer *answer, size_t i);
	void (*close)(struct buf *out, const struct answer *answer); /* the last events */
	void (*whole)(struct buf *out, const struct answer *answer);
};

struct answer {
	const struct dialect *dialect;
	char *model;   /* as JSON text, without quotes */
	uint64_t hash; /* of the request: the id and the text come from it */
	size_t tokens;
	size_t prompt_tokens;
	const char *finish;
	bool is_stream;
	bool has_usage;      /* a last event with the usage */
	bool has_continuous; /* the usage in each event */
	bool is_garbage;
	int64_t chunk_bytes;
	int64_t giant_bytes; /* of the second token; 0: none */
};

struct stream {
	struct answer answer;
	size_t next;
	int64_t due_us;
	bool has_opened;
};

/** Token i of the answer as JSON text. */
void answer_token(struct buf *out, const struct answer *answer, size_t i);
void answer_text(struct buf *out, const struct answer *answer);

extern const struct dialect dialect_chat;
extern const struct dialect dialect_completion;
extern const struct dialect dialect_responses;
extern const struct dialect dialect_messages;

/** Begin answering; takes the answer (its model string). */
void stream_start(struct conn *conn, const struct answer *answer);
/** End at once with this finish reason, as an abort does. */
void stream_abort(struct conn *conn, const char *finish);
void stream_free(struct stream *stream);

#endif
