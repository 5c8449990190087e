/* SPDX-License-Identifier: Apache-2.0 */
/* The replicas over which a model's requests are spread, as one counted set. The set never changes; a new one replaces
 * it, and takes over the targets that are in both, with their connections, counts and circuits.
 *
 *   url ── a number, a socket, a name of one address ─────► one target
 *       └─ a name of several A records ───────────────────► one target an address
 *
 * What is counted per target is atomic, because all workers share it. */
#ifndef VGW_BACKEND_TARGETS_H
#define VGW_BACKEND_TARGETS_H

#include "backend/circuit.h"
#include "backend/lora.h"
#include "net/endpoint.h"

enum { VGW__TARGETS_MAX = 64 }; /* a bit of a word for each */

/* What GET /health said of late. XX(NAME, text) */
#define VGW__HEALTH_MAP(XX)     \
	XX(UNKNOWN, "unknown")  \
	XX(UP, "up")            \
	XX(LOADING, "loading")  \
	XX(DOWN, "down")

enum vgw__health_state {
#define XX(name, text) VGW__HEALTH_##name,
	VGW__HEALTH_MAP(XX)
#undef XX
};

struct vgw__target {
	atomic_uint refs;
	uint32_t number; /* the N of "model/N": its own as long as it is in the model's sets */
	uint64_t identity; /* hash of where it is, the same in every gateway: for rendezvous */
	struct vgw__endpoint *endpoint;
	atomic_uint in_flight;      /* requests of ours under way on it */
	atomic_uint_fast64_t total; /* requests ever sent to it */
	atomic_bool is_drained;     /* the operator wants no new requests on it */
	atomic_int health;          /* enum vgw__health_state */
	uint32_t good_checks;       /* in a row; the checking thread's */
	uint32_t bad_checks;
	struct vgw__circuit circuit;
	_Atomic(struct vgw__lora *) lora; /* the adapters loaded there; freed with it. NULL: none was ever asked for */
};

struct vgw__targets {
	atomic_uint refs;
	atomic_uint next; /* where the next search for a target begins: ties rotate */
	uint32_t count;
	struct vgw__target *items[]; /* one reference each */
};

/* A set for these endpoints (references are its own), of which `previous` (NULL: none) lends the targets that stay.
 * *is_same: it would equal `previous`, to which a reference is returned. A name that is not found for once leaves its
 * targets as they were. NULL without memory. */
struct vgw__targets *vgw__targets_new(struct vgw__endpoint *const *endpoints, size_t count,
	struct vgw__targets *previous, bool *is_same);
struct vgw__targets *vgw__targets_ref(struct vgw__targets *targets);
void vgw__targets_unref(struct vgw__targets *targets); /* NULL is allowed */

/* Would it be asked if it had to? Circuits apart: drained, down and loading ones are not. */
static inline bool vgw__target_is_well(const struct vgw__target *target)
{
	return !atomic_load_explicit(&target->is_drained, memory_order_relaxed) &&
		atomic_load_explicit(&target->health, memory_order_relaxed) <= VGW__HEALTH_UP;
}

/* Is there another that would get requests? Then this one may be left out. */
bool vgw__targets_has_other(const struct vgw__targets *targets, const struct vgw__target *but);

const char *vgw__health_name(enum vgw__health_state state);

#endif
