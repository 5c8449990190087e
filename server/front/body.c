/* SPDX-License-Identifier: Apache-2.0 */
/* A request's body on its way in: decoded if it is compressed, gathered within the request's and everybody's limit. */
#include "front/decode.h"
#include "front/internal.h"

#include <stdlib.h>
#include <string.h>

void exchange_forget_body(struct exchange *x)
{
	atomic_fetch_sub(&x->worker->front->body_bytes, x->accounted);
	x->accounted = 0;
	free(x->body);
	decoder_free(x->decoder);
	x->body = NULL;
	x->decoder = NULL;
	x->body_len = 0;
	x->body_capacity = 0;
}

static vgw_fault make_room(struct exchange *x, size_t more)
{
	struct front *front = x->worker->front;
	size_t need = x->body_len + more;
	size_t want = x->head.has_length && !x->decoder ? (size_t)x->head.content_length : need * 2;
	size_t account;
	char *bigger;

	if (need > front->options.body_bytes)
		return VGW_FAULT_REQUEST_TOO_LARGE;
	if (need <= x->body_capacity)
		return VGW_FAULT_NONE;
	if (want < need)
		want = need;
	if (want > front->options.body_bytes)
		want = front->options.body_bytes;
	account = want + (x->decoder ? decoder_get_bytes(x->decoder) : 0);
	if (account > x->accounted) {
		size_t added = account - x->accounted;

		if (atomic_fetch_add(&front->body_bytes, added) + added > front->options.queue_bytes) {
			atomic_fetch_sub(&front->body_bytes, added);
			return VGW_FAULT_SERVER_OVERLOADED;
		}
		x->accounted = account;
	}
	bigger = realloc(x->body, want);
	if (!bigger)
		return VGW_FAULT_OUT_OF_MEMORY;
	x->body = bigger;
	x->body_capacity = want;
	return VGW_FAULT_NONE;
}

static vgw_fault keep(void *user, const char *data, size_t len)
{
	struct exchange *x = user;
	vgw_fault fault = make_room(x, len);

	if (fault != VGW_FAULT_NONE)
		return fault;
	memcpy(x->body + x->body_len, data, len);
	x->body_len += len;
	return VGW_FAULT_NONE;
}

enum MHD_Result exchange_gather(struct exchange *x, void **state, const char *upload, size_t *upload_size)
{
	const char *why = NULL;
	vgw_fault fault = VGW_FAULT_NONE;

	x->uploaded += *upload_size;
	if (x->head.coding != DECODE_IDENTITY && !x->decoder) {
		x->decoder = decoder_new(x->head.coding);
		if (!x->decoder)
			fault = VGW_FAULT_OUT_OF_MEMORY;
	}
	if (fault == VGW_FAULT_NONE)
		fault = x->decoder ? decoder_feed(x->decoder, upload, *upload_size, keep, x, &why)
				   : keep(x, upload, *upload_size);
	if (fault != VGW_FAULT_NONE)
		return stream_refuse(x, state, fault, why);
	*upload_size = 0;
	return MHD_YES;
}

vgw_fault exchange_end_body(struct exchange *x, const char **why)
{
	bool is_complete = !x->decoder || decoder_is_complete(x->decoder);

	decoder_free(x->decoder);
	x->decoder = NULL;
	if (is_complete)
		return VGW_FAULT_NONE;
	*why = "the compressed body is cut off";
	return VGW_FAULT_BAD_REQUEST;
}
