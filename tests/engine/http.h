/* SPDX-License-Identifier: Apache-2.0 */
/* Reading HTTP/1.1 requests, keeping their raw heads for the record. */
#ifndef VGW_ENGINE_HTTP_H
#define VGW_ENGINE_HTTP_H

#include "base.h"

struct header {
	char *name;
	char *value;
};

struct request {
	struct buf head; /* raw, with the empty line */
	struct buf body; /* without the chunks' framing */
	char *text;      /* a cut-up copy of the head that the following point into */
	char *method;
	char *path;
	char *query; /* after the '?', or "" */
	struct header *headers;
	size_t header_count;
	bool keep_alive;
	bool is_http_1_0;
	bool is_chunked;
	bool expects_continue;
	int stage;
	uint64_t left; /* of the body or of the chunk */
	size_t scanned; /* of the input, in search of the head's end */
};

enum http_result {
	HTTP_MORE, /* everything usable was used */
	HTTP_HEAD, /* the head is complete: call again */
	HTTP_DONE,
	HTTP_BAD
};

/** Take what belongs to this request from the front of `in`. */
enum http_result http_feed(struct request *request, struct buf *in);
void http_free(struct request *request);
const char *http_header(const struct request *request, const char *name); /* NULL: not there */
/** The n-th value (from 0) of a query parameter, percent-decoded into a new string, or NULL. */
char *http_query(const struct request *request, const char *name, size_t n);

#endif
