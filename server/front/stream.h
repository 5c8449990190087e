/* SPDX-License-Identifier: Apache-2.0 */
/* A connection of ours, taken over from libmicrohttpd: what takeover.c opens and stream.c writes. Owned by
 * its exchange, used on the exchange's worker only. */
#ifndef FRONT_STREAM_H
#define FRONT_STREAM_H

#include "front/internal.h"

struct stream {
	int fd;
	struct tls_client *tls; /* reference; NULL: in the clear */
	struct MHD_Daemon *daemon; /* may have the connection back after the answer; NULL: it ends with it */
	uint64_t asked_bytes;
	bool is_kept; /* the client was told that it goes on */
	bool is_chunked;
	bool is_event_stream;
	bool is_ending;
	bool is_clean;
	bool is_full;     /* the call was told so */
	bool is_between;  /* the last piece ended an event */
	int64_t heard_ms; /* when it came */
	bool is_broken;   /* out of memory, or the socket failed: cut at the end of the turn */
	vgw_watch watch;
	vgw_defer flush;
	vgw_timer stall;
	vgw_timer grace; /* until its answer begins although its model is not there */
	char *out;
	size_t len;
	size_t sent;
	size_t capacity;
};

/* The head of x->reply is written. Nothing is sent before the end of the turn. */
void stream_put_head(struct exchange *x);

/* After an answer with a proper end: MHD has the connection back. The exchange is gone then. */
void stream_give_back(struct exchange *x);

/* Out of the worker's sight; the descriptor is the caller's now. */
int stream_detach(struct exchange *x);

/* What the socket says: the client is gone, or there is room again. The watch's user is the exchange. */
void stream_on_event(vgw_watch *watch, uint32_t events);

#endif
