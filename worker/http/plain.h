/* plain.h - calls over plain connections: HTTP/1.1 without curl, which only opens the connections.
 *
 * For models of one's own on one's own network, where calls come by the ten thousand a second: curl's way through a
 * call is long, and costs twice what all the rest of the worker does.
 *
 *   start --> waiting --(a connection)--> sending, receiving --> ended --(pst_plain_step)--> its callback
 *
 * A connection serves one call at a time, and no longer than IDLE_MAX rests between two: shorter than servers wait
 * before they close one, so that a call does not meet a connection that is just being closed.  A call whose connection
 * fails is not sent again here: it may have been received, and whoever pays for it should know.
 *
 * Owns connections and calls; a site is its target's. */
#ifndef PST_HTTP_PLAIN_H
#define PST_HTTP_PLAIN_H

#include "http/call.h"

typedef struct pst_plain pst_plain_t;
typedef struct pst_plain_site pst_plain_site_t;

/* Opens a connection to the site's url and says, not at once, pst_plain_connected or pst_plain_refused. */
typedef void pst_plain_connect_fn(void *arg, pst_plain_site_t *site);

pst_plain_t *pst_plain_new(pst_loop_t *loop, pst_plain_connect_fn *connect, void *arg);
void pst_plain_destroy(pst_plain_t **p); /* its sites and their calls must be gone */
void pst_plain_step(pst_plain_t *p, pst_ns_t now);
pst_ns_t pst_plain_due(const pst_plain_t *p);

/* A server.  url: for connect.  base_path: before each path.  lines: whole header lines, sent with each request and
 * wiped at the end. */
pst_plain_site_t *pst_plain_site_new(pst_plain_t *p, const char *url, pst_view_t base_path, pst_view_t lines,
                                     pst_ns_t timeout);
const char *pst_plain_site_url(const pst_plain_site_t *s);
/* Its answers are encoded, which is not understood here: better not called again. */
bool pst_plain_site_unfit(const pst_plain_site_t *s);
void pst_plain_site_destroy(pst_plain_site_t **s); /* calls there still are go on */
void pst_plain_connected(pst_plain_site_t *s, int fd); /* takes the descriptor */
void pst_plain_refused(pst_plain_site_t *s, pst_cause_t cause);

/* As pst_http_start; the path must be fit for a request line. */
pst_http_call_t *pst_plain_start(pst_plain_site_t *s, const pst_http_req_t *req, pst_http_done_fn *done, void *arg);
void pst_plain_cancel(pst_http_call_t *call);

#endif
