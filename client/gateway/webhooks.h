/* webhooks.h - the ends of batches are told to whoever asked for it, until they have heard it or a day is over.
 *
 * What is to be told lies in Redis, so that no gateway's death loses it and any gateway can tell it.  One hash tag: in a
 * cluster all of it is on one node.
 *
 *   pst:{gateway}:hooks        sorted set: ids of deliveries, by when the next try is due, in milliseconds of Redis's clock
 *   pst:{gateway}:hook:<id>    hash: url batch event dialect created (unix s), tries made, status and why of the last;
 *                              ended (delivered, gone, gave_up) when there will be none: it is out of the set then, and
 *                              stays for three days, so that the same event added again is not told again
 *
 *   add ──► due ──claim──► leased ──POST──► 2xx: delivered    410: gone    the ninth failure: gave_up
 *            ▲                │ anything else: due again later (webhook.h)
 *            └── lease over ──┘ the gateway that had it died, or stalled
 *
 * A claim moves what is due a minute ahead, which is its lease: nobody else sees it as due meanwhile, and if nothing more
 * comes of it, it is due again by itself.  What came of a try is only written if the delivery still stands where the claim
 * put it, so that a gateway that slept through its lease changes nothing.  Each of these is one script (EVAL), by
 * Redis's own clock: gateways' clocks need not agree.  A receiver can hear of an event more than once (a gateway that died
 * between the answer and writing it down), always under the same webhook-id.
 *
 * At most 16 calls at once, and two to a host: what is claimed beyond that goes back for some seconds, untried, so that a
 * host that hangs does not keep the others waiting.
 *
 * Events are logged with host and id: a URL may have a token in it. */
#ifndef PST_WEBHOOKS_H
#define PST_WEBHOOKS_H

#include "gateway/webhook.h"
#include "redis/conn.h"

#define PST_WEBHOOKS_IN_FLIGHT 16
#define PST_WEBHOOKS_IN_FLIGHT_HOST 2
#define PST_WEBHOOKS_SET "pst:{gateway}:hooks"
#define PST_WEBHOOKS_RECORD "pst:{gateway}:hook:"

typedef struct pst_webhooks pst_webhooks_t;

typedef struct pst_webhooks_opts {
    pst_loop_t *loop;
    pst_redis_t *redis;  /* borrowed; destroyed first, or with no turn of the loop in between: it calls back */
    const char *secret;  /* whsec_…; NULL or empty: what is sent has no webhook-signature */
    bool private_too;    /* gateway.webhook_private */
} pst_webhooks_opts_t;

/* Before any other thread there is (webhook_post.h).  PST_E_CONFIG: the secret is none. */
PST_MUSTCHECK pst_err_t pst_webhooks_new(const pst_webhooks_opts_t *o, pst_webhooks_t **ret, pst_errbuf_t *eb);
/* Cuts the calls in flight: they are made again when their leases are over. */
void pst_webhooks_destroy(pst_webhooks_t **w);

/* stored: it lies in Redis (also if it did before), and whoever saw the batch end may forget it; else Redis refused it (no
 * memory …), and it is to be added again.  Not called after pst_webhooks_destroy. */
typedef void pst_webhooks_stored_fn(void *arg, bool stored);
/* Tells `url` of an end.  The same batch, event and url again is the same delivery.  PST_E_INPUT, with words in eb: no webhook
 * goes there (webhook_url.h); nothing is called back.  stored may be NULL. */
PST_MUSTCHECK pst_err_t pst_webhooks_add(pst_webhooks_t *w, pst_view_t url, const pst_webhook_t *event,
                                         pst_webhooks_stored_fn *stored, void *arg, pst_errbuf_t *eb);

/* A hook of the loop (pst_loop_prepare). */
pst_ns_t pst_webhooks_step(void *w, pst_ns_t now);

/* Since the start, of this gateway. */
typedef struct pst_webhooks_counts {
    uint64_t delivered, failed; /* tries */
    uint64_t gave_up, gone;     /* deliveries */
    unsigned in_flight;
} pst_webhooks_counts_t;
void pst_webhooks_counts(const pst_webhooks_t *w, pst_webhooks_counts_t *ret);

#endif
