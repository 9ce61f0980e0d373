/* curl.h - calls through curl: HTTP/2, proxies, whatever h1.h does not know; and connections for h1.h.
 *
 * Calls are spread over shards, multi handles of at most SHARD_CALLS calls each: curl's search for a free connection
 * is linear in the connections to a host, and one multi handle with a thousand of them costs 60 % more a call than
 * sixteen with sixty-four.  With HTTP/2 a shard is one connection.  Shards are made when the others are full and share
 * names and TLS sessions.
 *
 * Whether a server behind TLS speaks HTTP/2 shows when the first request is written to it (pst_curl_site_http1).
 *
 * Most of a call's time is curl's printing, parsing and allocating: what can be said once is said once, what needs
 * not be sent is not, and its memory comes from memory.h.
 *
 * Owns its calls. */
#ifndef PST_HTTP_CURL_H
#define PST_HTTP_CURL_H

#include "http/call.h"
#include "http/trouble.h"
#include "http/wire.h"

typedef struct pst_curl pst_curl_t;
typedef struct pst_curl_site pst_curl_site_t;

pst_curl_t *pst_curl_new(pst_loop_t *loop);
void pst_curl_destroy(pst_curl_t **p); /* cuts its calls without calling back */
void pst_curl_step(pst_curl_t *p, pst_ns_t now);
pst_ns_t pst_curl_due(const pst_curl_t *p);
/* The environment names a proxy, which curl knows how to use. */
bool pst_curl_proxied(const pst_curl_t *p);
uint64_t pst_curl_connections(const pst_curl_t *p); /* made, handed out or not */
uint64_t pst_curl_reused(const pst_curl_t *p);      /* answers over one that had served another call */

/* A server.  line: header lines of every request; copied, and wiped at the end. */
pst_curl_site_t *pst_curl_site_new(const pst_http_target_opts_t *o, char *const *line, unsigned lines);
pst_curl_site_t *pst_curl_site_ref(pst_curl_site_t *s);
void pst_curl_site_unref(pst_curl_site_t **s); /* NULL-safe; calls there still are go on */
/* It takes HTTP/1.1: without TLS from the start, with TLS where a call came to speak it. */
bool pst_curl_site_http1(const pst_curl_site_t *s);
/* A call is under way that will tell what it takes. */
bool pst_curl_site_asking(const pst_curl_site_t *s);

/* As pst_http_start. */
pst_http_call_t *pst_curl_start(pst_curl_t *p, pst_curl_site_t *s, const pst_http_req_t *req,
                                const pst_http_back_t *back);
void pst_curl_pause(pst_http_call_t *call, bool paused);
void pst_curl_cancel(pst_curl_t *p, pst_http_call_t *call);

/* wire: the callee's, who closes it before pst_curl_destroy; NULL: there is none, because of `why`. */
typedef void pst_curl_connected_fn(void *arg, const pst_wire_t *wire, const pst_trouble_t *why);
/* Opens a connection for HTTP/1.1.  Never calls back at once, nor after pst_curl_destroy. */
void pst_curl_connect(pst_curl_t *p, pst_curl_site_t *s, pst_curl_connected_fn *connected, void *arg);

#endif
