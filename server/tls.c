/* SPDX-License-Identifier: Apache-2.0 */
/* Files to contexts, with sentences for what goes wrong. */
#include "tls.h"

#include "file_watch.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509err.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SOON_DAYS = 14 };

struct tls {
	pthread_mutex_t lock;
	SSL_CTX *context; /* guarded by lock */
	/* the main thread's */
	SSL_CTX *staged;
	const struct config *staged_config;
	struct stat staged_info[2];
	const struct config *config;
	struct file_watch watches[2]; /* certificate, key */
};

/* --- a context ------------------------------------------------------------------------------------------------ */

/* HTTP/1.1 is what is spoken behind it; a client that can only do something else is told so at once. */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *offered,
	unsigned offered_len, void *user)
{
	static const unsigned char ours[] = "\x08http/1.1";
	unsigned char *chosen = NULL;

	(void)ssl;
	(void)user;
	if (SSL_select_next_proto(&chosen, out_len, ours, sizeof(ours) - 1, offered, offered_len) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

/* A daemon has nobody to ask. */
static int refuse_passphrase(char *text, int size, int is_writing, void *user)
{
	(void)text;
	(void)size;
	(void)is_writing;
	*(bool *)user = true;
	return -1;
}

static int fail_with_library(const char *key, const char *path, char *why, size_t size)
{
	const char *reason = ERR_reason_error_string(ERR_peek_error());

	(void)snprintf(why, size, "%s: %.200s cannot be used: %.120s", key, path, reason ? reason : "it is damaged");
	return -1;
}

static int check_readable(const char *key, const char *path, char *why, size_t size)
{
	if (access(path, R_OK) == 0)
		return 0;
	(void)snprintf(why, size, "%s: %.200s: %s%s", key, path, strerror(errno),
		errno == EACCES ? "; the user of the server must be able to read it" : "");
	return -1;
}

static bool is_without_pem(void)
{
	unsigned long code = ERR_peek_error();

	return ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
}

static int read_certificate(SSL_CTX *context, const char *path, char *why, size_t size)
{
	static const char key[] = "tls.certificate";

	if (check_readable(key, path, why, size) != 0)
		return -1;
	if (SSL_CTX_use_certificate_chain_file(context, path) == 1)
		return 0;
	if (!is_without_pem())
		return fail_with_library(key, path, why, size);
	(void)snprintf(why, size, "%s: %.200s holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)", key, path);
	return -1;
}

static bool is_mismatch(void)
{
	unsigned long code = ERR_peek_error();

	return ERR_GET_LIB(code) == ERR_LIB_X509 && (ERR_GET_REASON(code) == X509_R_KEY_VALUES_MISMATCH ||
							    ERR_GET_REASON(code) == X509_R_KEY_TYPE_MISMATCH);
}

static int read_key(SSL_CTX *context, const char *path, const char *certificate, char *why, size_t size)
{
	static const char key[] = "tls.key";
	bool is_encrypted = false;

	if (check_readable(key, path, why, size) != 0)
		return -1;
	SSL_CTX_set_default_passwd_cb(context, refuse_passphrase);
	SSL_CTX_set_default_passwd_cb_userdata(context, &is_encrypted);
	if (SSL_CTX_use_PrivateKey_file(context, path, SSL_FILETYPE_PEM) == 1 && SSL_CTX_check_private_key(context) == 1) {
		SSL_CTX_set_default_passwd_cb_userdata(context, NULL);
		return 0;
	}
	if (is_encrypted)
		(void)snprintf(why, size, "%s: %.200s has a passphrase; store it without one: openssl pkey -in FILE -out FILE",
			key, path);
	else if (is_mismatch())
		(void)snprintf(why, size, "%s: %.200s is not the key of the certificate in %.200s; both must come from one "
			"request", key, path, certificate);
	else if (ERR_GET_REASON(ERR_peek_error()) == ERR_R_UNSUPPORTED || is_without_pem())
		(void)snprintf(why, size, "%s: %.200s holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)", key,
			path);
	else
		return fail_with_library(key, path, why, size);
	return -1;
}

/* 1: with a warning. */
static int check_dates(SSL_CTX *context, const char *path, char *why, size_t size)
{
	X509 *certificate = SSL_CTX_get0_certificate(context);
	time_t soon = time(NULL) + (time_t)SOON_DAYS * 24 * 3600;

	why[0] = '\0';
	if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0)
		(void)snprintf(why, size, "tls.certificate: %.200s has expired: clients will refuse it; renew it", path);
	else if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0)
		(void)snprintf(why, size, "tls.certificate: %.200s is not valid yet: is this machine's clock right?", path);
	else if (X509_cmp_time(X509_get0_notAfter(certificate), &soon) < 0)
		(void)snprintf(why, size, "tls.certificate: %.200s expires within %d days; renew it", path, SOON_DAYS);
	return why[0] != '\0';
}

static SSL_CTX *make_context(const struct config *config)
{
	static const int versions[] = { [CONFIG_TLS_1_2] = TLS1_2_VERSION, [CONFIG_TLS_1_3] = TLS1_3_VERSION };
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());

	if (!context)
		return NULL;
	/* Tickets let clients resume without the costly part; a cache on our side would be shared and locked. */
	(void)SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	(void)SSL_CTX_set_num_tickets(context, 1);
	(void)SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	/* no partial writes: a piece is taken whole or not at all, in however many records the client wants it */
	(void)SSL_CTX_clear_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE);
	(void)SSL_CTX_set_mode(context, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
	if (SSL_CTX_set_min_proto_version(context, versions[config->tls.min_version]) == 1)
		return context;
	SSL_CTX_free(context);
	return NULL;
}

/* --- the main thread ------------------------------------------------------------------------------------------ */

struct tls *tls_new(void)
{
	struct tls *tls = calloc(1, sizeof(*tls));

	if (tls && pthread_mutex_init(&tls->lock, NULL) == 0)
		return tls;
	free(tls);
	return NULL;
}

void tls_free(struct tls *tls)
{
	if (!tls)
		return;
	SSL_CTX_free(tls->staged);
	SSL_CTX_free(tls->context);
	(void)pthread_mutex_destroy(&tls->lock);
	free(tls);
}

int tls_stage(struct tls *tls, const struct config *config, char *why, size_t size)
{
	SSL_CTX *context = NULL;
	int result = 0;

	if (config->tls.certificate) {
		file_watch_look(config->tls.certificate, &tls->staged_info[0]);
		file_watch_look(config->tls.key, &tls->staged_info[1]);
		ERR_clear_error();
		context = make_context(config);
		(void)snprintf(why, size, "tls: out of memory, or a version that this library does not speak");
		result = context ? read_certificate(context, config->tls.certificate, why, size) : -1;
		if (result == 0)
			result = read_key(context, config->tls.key, config->tls.certificate, why, size);
		if (result == 0)
			result = check_dates(context, config->tls.certificate, why, size);
		ERR_clear_error();
	}
	if (result < 0) {
		SSL_CTX_free(context);
		return -1;
	}
	SSL_CTX_free(tls->staged);
	tls->staged = context;
	tls->staged_config = config;
	return result;
}

void tls_commit(struct tls *tls)
{
	SSL_CTX *old;

	(void)pthread_mutex_lock(&tls->lock);
	old = tls->context;
	if (tls->staged)
		tls->context = tls->staged;
	else
		old = NULL; /* its listeners stay until a restart, and so does what they show */
	(void)pthread_mutex_unlock(&tls->lock);
	SSL_CTX_free(old);
	tls->staged = NULL;
	tls->config = tls->staged_config;
	for (int i = 0; i < 2; i++)
		file_watch_reset(&tls->watches[i], &tls->staged_info[i]);
}

bool tls_has_files(const struct tls *tls)
{
	return tls->config && tls->config->tls.certificate;
}

/* Certificate and key are two files: one of them may be seen changed before the other is. What does not fit then is
 * told, and mended by the other's change. */
int tls_refresh(struct tls *tls, char *why, size_t size)
{
	bool has_changed;
	int result;

	if (!tls_has_files(tls))
		return 0;
	has_changed = file_watch_has_changed(&tls->watches[0], tls->config->tls.certificate);
	has_changed = file_watch_has_changed(&tls->watches[1], tls->config->tls.key) || has_changed;
	if (!has_changed)
		return 0;
	result = tls_stage(tls, tls->config, why, size);
	if (result < 0)
		return -1;
	if (result == 0)
		why[0] = '\0';
	tls_commit(tls);
	return 1;
}

/* --- workers -------------------------------------------------------------------------------------------------- */

SSL *tls_new_session(struct tls *tls)
{
	SSL_CTX *context;
	SSL *ssl;

	(void)pthread_mutex_lock(&tls->lock);
	context = tls->context;
	if (context)
		(void)SSL_CTX_up_ref(context);
	(void)pthread_mutex_unlock(&tls->lock);
	ssl = context ? SSL_new(context) : NULL;
	SSL_CTX_free(context);
	return ssl;
}
