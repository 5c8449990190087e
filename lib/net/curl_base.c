/* SPDX-License-Identifier: Apache-2.0 */
/* See curl_base.h. */
#include "net/curl_base.h"

#include <pthread.h>
#include <sys/socket.h>
#include <time.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static CURLcode global_result;

static void init_once(void)
{
	global_result = curl_global_init(CURL_GLOBAL_DEFAULT);
}

vgw_status vgw__curl_global(vgw_error *err)
{
	if (pthread_once(&once, init_once) != 0 || global_result != CURLE_OK)
		return vgw_error_set(err, VGW_INTERNAL, 0, "libcurl cannot be initialised: %s",
			curl_easy_strerror(global_result));
	return VGW_OK;
}

/* libcurl 7.88 would let children of this process inherit its sockets. */
static curl_socket_t open_socket(void *user, curlsocktype purpose, struct curl_sockaddr *address)
{
	(void)user;
	(void)purpose;
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

CURLcode vgw__curl_harden(CURL *easy, const char *ca_file)
{
	CURLcode rc = CURLE_OK;

	VGW__CURL_SET(rc, easy, CURLOPT_PROTOCOLS_STR, "http,https");
	VGW__CURL_SET(rc, easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
	VGW__CURL_SET(rc, easy, CURLOPT_FOLLOWLOCATION, 0L);
	VGW__CURL_SET(rc, easy, CURLOPT_PROXY, ""); /* not even that of the environment */
	VGW__CURL_SET(rc, easy, CURLOPT_NOPROXY, "*");
	VGW__CURL_SET(rc, easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	VGW__CURL_SET(rc, easy, CURLOPT_NOSIGNAL, 1L);
	VGW__CURL_SET(rc, easy, CURLOPT_QUICK_EXIT, 1L); /* do not wait for a resolver thread at the end */
	VGW__CURL_SET(rc, easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	VGW__CURL_SET(rc, easy, CURLOPT_HTTP09_ALLOWED, 0L);
	VGW__CURL_SET(rc, easy, CURLOPT_ACCEPT_ENCODING, NULL);
	VGW__CURL_SET(rc, easy, CURLOPT_HTTP_TRANSFER_DECODING, 1L);
	VGW__CURL_SET(rc, easy, CURLOPT_TCP_NODELAY, 1L);
	VGW__CURL_SET(rc, easy, CURLOPT_TCP_KEEPALIVE, 1L);
	VGW__CURL_SET(rc, easy, CURLOPT_BUFFERSIZE, 16384L);
	VGW__CURL_SET(rc, easy, CURLOPT_UPLOAD_BUFFERSIZE, 16384L);
	VGW__CURL_SET(rc, easy, CURLOPT_PATH_AS_IS, 1L);
	VGW__CURL_SET(rc, easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
	VGW__CURL_SET(rc, easy, CURLOPT_SSL_VERIFYPEER, 1L);
	VGW__CURL_SET(rc, easy, CURLOPT_SSL_VERIFYHOST, 2L);
	VGW__CURL_SET(rc, easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	if (ca_file) {
		VGW__CURL_SET(rc, easy, CURLOPT_CAINFO, ca_file);
		VGW__CURL_SET(rc, easy, CURLOPT_CAPATH, NULL); /* else the system's would be trusted, too */
	}
	return rc;
}

bool vgw__curl_append(struct curl_slist **list, const char *text)
{
	struct curl_slist *longer = curl_slist_append(*list, text);

	if (longer)
		*list = longer;
	return longer != NULL;
}

void vgw__sigpipe_block(struct vgw__sigpipe *guard)
{
	sigset_t pipe_only, pending;

	(void)sigemptyset(&pipe_only);
	(void)sigaddset(&pipe_only, SIGPIPE);
	guard->was_pending = sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == 1;
	(void)pthread_sigmask(SIG_BLOCK, &pipe_only, &guard->old);
}

void vgw__sigpipe_restore(const struct vgw__sigpipe *guard)
{
	const struct timespec now = { 0, 0 };
	sigset_t pipe_only, pending;

	(void)sigemptyset(&pipe_only);
	(void)sigaddset(&pipe_only, SIGPIPE);
	/* take the one that came meanwhile, not one that somebody else was already waiting for */
	if (!guard->was_pending && sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == 1)
		(void)sigtimedwait(&pipe_only, NULL, &now);
	(void)pthread_sigmask(SIG_SETMASK, &guard->old, NULL);
}
