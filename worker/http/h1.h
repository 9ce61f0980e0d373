/* h1.h - calls over HTTP/1.1 without curl, which only opens the connections: names, TLS and trust are its business.
 *
 * For calls by the ten thousand a second, to models of one's own on one's own network: curl's way through a call is
 * long, and costs twice what all the rest of the worker does.
 *
 *   start --> waiting --(a connection)--> sending, receiving --> ended --(pst_h1_step)--> its callback
 *
 * A connection serves one call at a time, and no longer than IDLE_MAX rests between two: shorter than servers wait
 * before they close one, so that a call does not meet a connection that is just being closed.  A call whose connection
 * fails is not sent again here: it may have been received, and whoever pays for it should know.
 *
 * Owns connections and calls; a site is its target's.  Borrows curl, which must outlive it. */
#ifndef PST_HTTP_H1_H
#define PST_HTTP_H1_H

#include "http/call.h"
#include "http/curl.h"

typedef struct pst_h1 pst_h1_t;
typedef struct pst_h1_site pst_h1_site_t;

pst_h1_t *pst_h1_new(pst_loop_t *loop, pst_curl_t *curl);
void pst_h1_destroy(pst_h1_t **p); /* cuts its calls without calling back; its sites must be destroyed */
void pst_h1_step(pst_h1_t *p, pst_ns_t now);
pst_ns_t pst_h1_due(const pst_h1_t *p);
uint64_t pst_h1_reused(const pst_h1_t *p); /* answers over a connection that had served another call */

/* A server.  opens: its connections; kept as long as it is wanted.  base_path: before each path.  lines: whole header
 * lines, sent with each request and wiped at the end.  o: its time-outs. */
pst_h1_site_t *pst_h1_site_new(pst_h1_t *p, pst_curl_site_t *opens, pst_view_t base_path, pst_view_t lines,
                               const pst_http_target_opts_t *o);
/* Its answers are packed in a way that is not understood here: better not called again. */
bool pst_h1_site_unfit(const pst_h1_site_t *s);
void pst_h1_site_destroy(pst_h1_site_t **s); /* calls there still are go on */

/* As pst_http_start; the path must be fit for a request line. */
pst_http_call_t *pst_h1_start(pst_h1_site_t *s, const pst_http_req_t *req, const pst_http_back_t *back);
void pst_h1_pause(pst_http_call_t *call, bool paused);
void pst_h1_cancel(pst_http_call_t *call);

#endif
