/* SPDX-License-Identifier: Apache-2.0 */
/* A call through a transport as tests see it: what came, in which order, and how it ended. */
#ifndef VGW_TESTS_UPCALL_H
#define VGW_TESTS_UPCALL_H

#include "net/transport.h"

struct upcall {
	struct vgw__upstream_call *handle; /* NULL before start and after the end */
	struct vgw__transport *transport;
	/* what came */
	uint32_t status;
	int64_t content_length;
	int sent_count;
	int head_count;
	char header[2048];      /* "name=value;name=value;" */
	char *body;
	size_t body_len;
	int data_count;
	int end_count;
	struct vgw__upstream_result result;
	/* what the test wants */
	size_t full_at;         /* on_data says FULL once so many bytes came; 0: never */
	bool is_body_dropped;   /* count, do not keep */
	void (*head_hook)(struct upcall *call);
	void (*data_hook)(struct upcall *call);
	void (*end_hook)(struct upcall *call);
	void *user;
};

extern const struct vgw__upstream_events upcall_events;

/* Asserts that start() works. */
void upcall_start(struct upcall *call, struct vgw__transport *transport,
	const struct vgw__upstream_request *request);
void upcall_cancel(struct upcall *call);
void upcall_fini(struct upcall *call);
/* Turns the loop until the call has ended; asserts that this takes no ages. */
void upcall_finish(vgw_loop *loop, struct upcall *call);
/* Turns the loop until *value >= want. */
void upcall_run_until(vgw_loop *loop, const int *value, int want);

#endif
