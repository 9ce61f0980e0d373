/* watch.h - batches until their end, for those who wait for it: a callback is told (webhooks.h), and the budget that a key's batch
 * took is given back but for what it cost.
 *
 * Of all gateways one looks, the one with the lease; it asks the broker once a second about each batch in `watched`.  What an end
 * leads to may be done twice by two that believe they have it: a webhook has the same id then, and the money is given back by
 * who sets `settled` in the record first. */
#ifndef PST_GATEWAY_WATCH_H
#define PST_GATEWAY_WATCH_H

#include "gateway/parts.h"
#include "gateway/webhooks.h"

/* NULL: out of memory. */
pst_watch_t *pst_watch_new(pst_gateway_t *g, pst_webhooks_t *hooks);
void pst_watch_destroy(pst_watch_t **w);
/* A batch that stands in `watched` is to be forgotten: what its end leads to is done now, whoever has the lease.  over false: it
 * is not over, or something was away. */
typedef void pst_watch_fn(void *arg, bool over);
void pst_watch_settle(pst_watch_t *w, const char *batch, pst_watch_fn *fn, void *arg);

#endif
