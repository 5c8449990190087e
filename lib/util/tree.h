/* SPDX-License-Identifier: Apache-2.0 */
/* Everything a program has started, and its end. A member of the tree is
 *   - the leader, and whoever is in its session or process group,
 *   - whoever was started with our nonce in the environment: also setsid'ed and double-forked grandchildren,
 *   - whoever was seen below a member at an earlier look: also those that cleaned their environment,
 *   - every child of a member.
 * Zombies are dead. Nothing is killed but through a pidfd whose start time was checked after opening it. */
#ifndef VGW_UTIL_TREE_H
#define VGW_UTIL_TREE_H

#include <vllmgw/status.h>

#include "util/proc.h"

#define VGW__NONCE_NAME "VLLMGW_NONCE"

enum { VGW__NONCE_SIZE = 33 }; /* 32 hexadecimal digits */

struct vgw__tree {
	struct vgw__process_identity leader;
	char nonce[VGW__NONCE_SIZE];
	/* Members of the leader's session that started after this are strangers, because its pid may have been used
	 * again. UINT64_MAX: it cannot have been (the leader lives or is our zombie); 0: do not go by the session. */
	uint64_t session_until;
	struct vgw__proc_stat *seen; /* members found so far, the dead too */
	size_t seen_count;
	size_t seen_capacity;
};

void vgw__tree_init(struct vgw__tree *tree, const struct vgw__process_identity *leader, const char *nonce);
void vgw__tree_fini(struct vgw__tree *tree); /* kills nobody; also of a zeroed one */

/* Remember who belongs to it now. *living (may be NULL): how many live. */
vgw_status vgw__tree_look(struct vgw__tree *tree, size_t *living, vgw_error *err);

/* SIGKILL all of it until two looks in a row find nobody. BACKEND: somebody survives past the deadline (a process
 * stuck in the kernel); the text names one. */
vgw_status vgw__tree_kill(struct vgw__tree *tree, int64_t deadline_ms, vgw_error *err);

#endif
