/* meter.h - what the gateway counts of itself, for /metrics.  Bounded: a route is a row of the table of handlers, never a
 * path.  Pure: no clock, no I/O. */
#ifndef PST_GATEWAY_METER_H
#define PST_GATEWAY_METER_H

#include "gateway/web.h"
#include "wire/msg.h"

typedef struct pst_meter pst_meter_t;

pst_meter_t *pst_meter_new(const pst_handler_t *handlers, size_t n); /* outlive it; NULL: no memory */
void pst_meter_destroy(pst_meter_t **m);
/* A request's end, as pst_web_opts_t.done tells it. */
void pst_meter_request(pst_meter_t *m, const pst_handler_t *route, unsigned status, pst_ns_t took);
/* One that got to no handler. */
void pst_meter_stray(pst_meter_t *m, unsigned status);
/* A call's end; NULL: it got no result. */
void pst_meter_call(pst_meter_t *m, const pst_result_t *result);
/* A call whose client went before it ended. */
void pst_meter_call_left(pst_meter_t *m);
void pst_meter_stream(pst_meter_t *m, int change); /* answers in pieces under way: one more, one less */
void pst_meter_write(const pst_meter_t *m, pst_buf_t *out);

#endif
