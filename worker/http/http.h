/* http.h - POSTs to providers, thousands at once on the caller's loop.  The only place that sees curl.
 *
 * Calls are spread over shards, multi handles of at most PST_HTTP_SHARD_CALLS calls each: curl's search for
 * a free connection is linear in the connections to a host, and one multi handle with a thousand of them
 * costs 60 % more a call than sixteen with sixty-four.  Shards are made when the others are full and share
 * names and TLS sessions.
 *
 * A target is where calls of one provider go: base URL, key, timeout.  The key is put on requests to that
 * base URL and nowhere else: a path can only extend it, and no redirect is followed.
 *
 * Owns everything it makes; borrows the loop, which must outlive it. */
#ifndef PST_HTTP_H
#define PST_HTTP_H

#include "proc/config.h"
#include "proc/loop.h"
#include "provider.h"

#define PST_HTTP_SHARD_CALLS 64
#define PST_HTTP_ANSWER_HEADERS_MAX 64
#define PST_HTTP_ANSWER_HEADER_BYTES_MAX (16u << 10)

typedef struct pst_http pst_http_t;
typedef struct pst_http_target pst_http_target_t;
typedef struct pst_http_call pst_http_call_t;

/* The answer and all it points to are valid during the callback, which may start and cancel other calls. */
typedef void pst_http_done_fn(void *arg, const pst_http_answer_t *answer, uint64_t latency_us);

pst_http_t *pst_http_new(pst_loop_t *loop);
/* Cuts the calls in flight without calling back. */
void pst_http_destroy(pst_http_t **h);
/* Does what curl's timers ask for. */
void pst_http_step(pst_http_t *h, pst_ns_t now);
/* When pst_http_step is wanted next; a call just started wants it at once. */
pst_ns_t pst_http_due(const pst_http_t *h);

/* ca_file: NULL for the certificates that $SSL_CERT_FILE names, or the system's.  key: copied, may be NULL with
 * PST_AUTH_NONE. */
pst_http_target_t *pst_http_target_new(const char *base_url, const char *ca_file, pst_auth_t auth,
                                       const pst_secret_t *key, pst_ns_t timeout);
pst_http_target_t *pst_http_target_ref(pst_http_target_t *t);
void pst_http_target_unref(pst_http_target_t **t); /* NULL-safe; the last one wipes the key */

/* The request's body, or its pieces and what lists them, must live until the call ends; the rest is copied.  Never calls back at once.
 * NULL if the request cannot be sent at all: a path that does not begin with '/', a control character in a
 * header. */
pst_http_call_t *pst_http_start(pst_http_t *h, pst_http_target_t *t, const pst_http_req_t *req,
                                pst_http_done_fn *done, void *arg);
/* Cuts the call: its callback is not called. */
void pst_http_cancel(pst_http_t *h, pst_http_call_t **call);

#endif
