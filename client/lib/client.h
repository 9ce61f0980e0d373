/* client.h - the handle behind the public API. */
#ifndef PST_CLIENT_H
#define PST_CLIENT_H

#include "lib/conn.h"
#include "penstock/penstock.h"

#define PST_VERDICTS 1024 /* routes whose verdict a handle remembers */

/* What the broker said of a route; a newer route takes the place of an older one with the same low bits. */
typedef struct pst_route_verdict {
    uint64_t hash[2];          /* of url and route bytes; 0, 0: empty */
    pst_ns_t until;            /* ask again after this: the broker's configuration may have changed */
    bool served;
} pst_route_verdict_t;

struct pst_client {
    pst_conn_t *conn;
    pst_errbuf_t words;
    uint32_t line_bytes_max, prefix_bytes_max, prefix_bytes_min;
    bool submitting;           /* a pst_submit_t is open: it has the connection's upload for itself */
    pst_route_verdict_t *verdict; /* PST_VERDICTS of them, or NULL before the first */
};

/* *ret_served: an endpoint can serve it; if not, the handle's words say why (of a fresh answer). */
PST_MUSTCHECK pst_err_t pst_client_route(pst_client_t *c, pst_url_t url, pst_view_t route, bool *ret_served);
/* The broker's answer is of a kind that does not belong to the question. */
pst_err_t pst_client_no_answer(pst_client_t *c);

#endif
