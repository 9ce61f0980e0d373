/* outbox.h - what became of runs, on its way to the broker.
 *
 *   gathering --seal--> waiting --sent--> sent --ack--> (forgotten)
 *                          ^                |
 *                          +---- rewind ----+   the session ended: to be sent again
 *
 * Outcomes are gathered into OUTCOMES messages.  A message gets its number when it is to be sent first, and from
 * then on neither number nor contents change, so that the broker can tell one that comes twice.  As with Nagle's rule
 * a message goes at once when none is unacknowledged; else outcomes gather until an ACK comes or the message is full.
 * At most PST_OUTBOX_WINDOW messages are unacknowledged at a time.  What is urgent, outcomes of batches of high
 * priority, gathers apart, goes before all that was never sent, and has places of its own beyond the window.
 *
 * Bodies are compressed as well as there is time.  A worker that ends some hundreds of calls a second has all of it,
 * and Redis is to keep the least; one that ends tens of thousands has none.  So a share of the time is for doing it
 * thoroughly, and what comes when that is used up, or is urgent, is compressed fast.
 *
 * What answers say of limits goes along with them: of each endpoint and rate what came last while the message gathered.
 *
 * Memory is bounded by the caller: when pst_outbox_full says so it makes no new calls; those in flight
 * still find room. */
#ifndef PST_OUTBOX_H
#define PST_OUTBOX_H

#include "provider.h"
#include "wire/msg.h"

#define PST_OUTBOX_WINDOW 8
#define PST_OUTBOX_URGENT_WINDOW 4
#define PST_OUTBOX_MESSAGE_OUTCOMES 256
#define PST_OUTBOX_MESSAGE_BYTES ((size_t)1 << 20)
#define PST_OUTBOX_BYTES_MAX ((size_t)64 << 20)
#define PST_OUTBOX_OUTCOMES_MAX (PST_RUNNING_MAX / 2) /* the other half of a HELLO's list is for runs */

typedef struct pst_outbox pst_outbox_t;

/* What became of one run. */
typedef struct pst_ending {
    bool urgent;
    const pst_id_t *batch;
    uint32_t segment;
    const pst_endpoint_name_t *endpoint;
    const pst_outcome_t *outcome;    /* its endpoint and the place of its body are set by the outbox */
    pst_view_t body;
    const pst_rate_report_t *limits; /* of the endpoint, as the answer tells of them */
    unsigned limits_n;
} pst_ending_t;

pst_outbox_t *pst_outbox_new(void);
void pst_outbox_destroy(pst_outbox_t **o);

/* What time it is from now on.  It may stand still while much is added. */
void pst_outbox_set_now(pst_outbox_t *b, pst_ns_t now);
/* Copies all that `e` points to. */
void pst_outbox_add(pst_outbox_t *b, const pst_ending_t *e);
bool pst_outbox_full(const pst_outbox_t *b);
bool pst_outbox_empty(const pst_outbox_t *b); /* nothing gathered, nothing unacknowledged */
uint32_t pst_outbox_outcomes(const pst_outbox_t *b); /* not acknowledged */

/* The message to send now, or NULL.  It stays the next one until pst_outbox_sent. */
const pst_msg_outcomes_t *pst_outbox_next(pst_outbox_t *b);
void pst_outbox_sent(pst_outbox_t *b);
/* False for a number that is not waiting for its ACK: harmless. */
bool pst_outbox_ack(pst_outbox_t *b, uint64_t number);
void pst_outbox_rewind(pst_outbox_t *b);
/* All outcomes not acknowledged, at most max of them; how many. */
uint32_t pst_outbox_refs(const pst_outbox_t *b, pst_task_ref_t *ret, uint32_t max);

#endif
