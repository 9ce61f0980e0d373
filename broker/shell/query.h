/* query.h - questions of clients: answered from the core for batches that run, from the store for those that ended.
 *
 * A batch may end between two steps of a question; then the question is asked anew of the store.  A question whose
 * client is gone runs on to its next answer from the store and is forgotten there. */
#ifndef PST_QUERY_H
#define PST_QUERY_H

#include "broker.h"

pst_queries_t *pst_queries_new(pst_broker_t *b);
/* After the store, which may still hold callbacks of them. */
void pst_queries_destroy(pst_queries_t **q);

void pst_queries_status(pst_queries_t *q, pst_peer_t peer, const pst_msg_batch_req_t *m);
/* Answered at once. */
void pst_queries_top(pst_queries_t *q, pst_peer_t peer, const pst_msg_top_t *m);
void pst_queries_list(pst_queries_t *q, pst_peer_t peer, const pst_msg_list_t *m);
void pst_queries_fetch(pst_queries_t *q, pst_peer_t peer, const pst_msg_fetch_t *m);
void pst_queries_get(pst_queries_t *q, pst_peer_t peer, const pst_msg_get_t *m);
/* A COMMIT, CANCEL or DELETE of a batch that the core does not hold: it has ended, or never was. */
void pst_queries_ended(pst_queries_t *q, pst_peer_t peer, pst_msg_type_t type, uint32_t req, const pst_id_t *batch);
/* The core holds the batch: it is being uploaded, or runs. */
bool pst_queries_holds(pst_queries_t *q, const pst_id_t *batch);

/* A batch has new results, or has ended: those who wait for it are answered in the next pst_queries_turn. */
void pst_queries_wake(pst_queries_t *q, const pst_id_t *batch);
void pst_queries_gone(pst_queries_t *q, pst_peer_t peer);
/* When to call again. */
pst_ns_t pst_queries_turn(pst_queries_t *q, pst_ns_t now);
uint32_t pst_queries_count(const pst_queries_t *q);

#endif
