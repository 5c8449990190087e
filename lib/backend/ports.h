/* SPDX-License-Identifier: Apache-2.0 */
/* A fresh port for each engine. Fresh matters: vLLM listens with SO_REUSEPORT, so that an orphan and its successor on
 * one port would silently share the requests. */
#ifndef VGW_BACKEND_PORTS_H
#define VGW_BACKEND_PORTS_H

#include <vllmgw/status.h>

#include <pthread.h>
#include <stdint.h>
#include <sys/socket.h>

enum { VGW__PORTS_RECENT = 128 };

struct vgw__ports {
	pthread_mutex_t mutex;
	uint16_t recent[VGW__PORTS_RECENT]; /* guarded by mutex; the last ones given out, 0: none */
	size_t next;
};

void vgw__ports_init(struct vgw__ports *ports);
void vgw__ports_fini(struct vgw__ports *ports);

/* A port nobody uses on this numeric address and that was not given out lately. BACKEND: none found. */
vgw_status vgw__ports_choose(struct vgw__ports *ports, const char *address, uint16_t *out, vgw_error *err);

/* "127.0.0.1", "::1", "localhost" with a port. False: not a numeric address. */
bool vgw__ports_make_address(const char *address, uint16_t port, struct sockaddr_storage *out, socklen_t *len);
/* Does somebody accept connections there? Answers at once on this machine's own addresses. */
bool vgw__ports_is_listening(const char *address, uint16_t port);

#endif
