/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses that no engine may have, whatever a name says: those of the machine's own link, where clouds keep their
 * metadata and with it the machine's credentials. */
#ifndef VGW_NET_DENY_H
#define VGW_NET_DENY_H

#include "net/endpoint.h"

enum { VGW__DENY_RANGES = 64 };

struct vgw__deny_range {
	unsigned char address[16]; /* IPv4 as ::ffff:a.b.c.d */
	unsigned bits;
};

struct vgw__deny {
	struct vgw__deny_range ranges[VGW__DENY_RANGES];
	size_t count;
};

/* The ranges in `texts` ("10.0.0.0/8", "fd00::1"), and those of links unless they are allowed. INVALID names the text. */
vgw_status vgw__deny_init(struct vgw__deny *deny, const char *const *texts, size_t count, bool are_links_allowed,
	vgw_error *err);
bool vgw__deny_matches(const struct vgw__deny *deny, const struct sockaddr *address);

/* Take denied addresses out of an endpoint that is not shared yet. INVALID: no other is left. */
vgw_status vgw__deny_filter(const struct vgw__deny *deny, struct vgw__endpoint *endpoint, vgw_error *err);

#endif
