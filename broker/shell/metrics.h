/* metrics.h - Prometheus text at broker.metrics: GET /metrics, and /healthz for a supervisor.  libmicrohttpd runs in
 * our loop, on its own epoll descriptor. */
#ifndef PST_METRICS_H
#define PST_METRICS_H

#include "broker.h"

/* address: HOST:PORT.  PST_E_IO with eb filled. */
PST_MUSTCHECK pst_err_t pst_metrics_new(pst_broker_t *b, const char *address, pst_metrics_t **ret, pst_errbuf_t *eb);
void pst_metrics_destroy(pst_metrics_t **m);
/* Connections' time limits; when to call again. */
pst_ns_t pst_metrics_turn(pst_metrics_t *m, pst_ns_t now);
void pst_metrics_write(const pst_broker_t *b, pst_buf_t *out);

#endif
