/* SPDX-License-Identifier: Apache-2.0 */
/* What every use of libcurl in this library has in common: one global initialisation, one list of defensive options,
 * and protection from SIGPIPE, which a library can neither ignore nor afford. */
#ifndef VGW_NET_CURL_BASE_H
#define VGW_NET_CURL_BASE_H

#include <vllmgw/status.h>

#include <curl/curl.h>
#include <signal.h>

/* Set an option unless an earlier one failed: `rc` remembers the first failure. */
#define VGW__CURL_SET(rc, easy, option, value)                                  \
	do {                                                                    \
		if ((rc) == CURLE_OK)                                           \
			(rc) = curl_easy_setopt((easy), (option), (value));     \
	} while (0)

/* Initialise libcurl, once in the process; any thread. */
vgw_status vgw__curl_global(vgw_error *err);

/* No proxies, redirects, .netrc, signals, other protocols or compression; HTTP/1.1; descriptors that children do not
 * inherit. `ca_file` (PEM) replaces the system's certificates; NULL keeps them. */
CURLcode vgw__curl_harden(CURL *easy, const char *ca_file);

/* Append "text" to *list; false: no memory, *list is as before. */
bool vgw__curl_append(struct curl_slist **list, const char *text);

/* Append what CURLOPT_RESOLVE wants to know of an endpoint; false: no memory. curl_resolve.c */
struct vgw__endpoint;
bool vgw__curl_add_addresses(struct curl_slist **list, const struct vgw__endpoint *endpoint);

/* Around everything that may write to a TLS connection: the calling thread gets no SIGPIPE in between. */
struct vgw__sigpipe {
	sigset_t old;
	bool was_pending;
};

void vgw__sigpipe_block(struct vgw__sigpipe *guard);
void vgw__sigpipe_restore(const struct vgw__sigpipe *guard);

#endif
