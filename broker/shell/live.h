/* live.h - CALLs: jobs whose clients wait for them.
 *
 * To the core a call is a batch of one job whose STORE actions are marked `live`.  What a store would keep of it is kept
 * here, in memory: the pack as it came, until the call has been answered.  The store's answers are given from here as
 * well, each in a step of its own behind the one that asked (pst_live_next), so that a call takes no turn of the loop
 * more than its messages do, and Redis sees nothing of it.
 * The result goes to the client when the core says APPEND: with nothing stored there is nothing to wait for.
 *
 * A call belongs to the session that made it, and is cancelled with it. */
#ifndef PST_LIVE_H
#define PST_LIVE_H

#include "broker.h"

pst_live_t *pst_live_new(pst_broker_t *b);
void pst_live_destroy(pst_live_t **l);
/* A CALL whose headers are decoded, and have one job that is not rejected.  It is answered from here, now or later. */
void pst_live_call(pst_live_t *l, pst_peer_t peer, const pst_msg_call_t *m, const pst_pack_headers_t *h);
/* Of a worker: forwards what belongs to a call.  PST_E_SEQUENCE if a piece of one is missing before these. */
PST_MUSTCHECK pst_err_t pst_live_pieces(pst_live_t *l, pst_peer_t worker, const pst_msg_pieces_t *m);
bool pst_live_holds(const pst_live_t *l, const pst_id_t *call);
/* The client's session is over. */
void pst_live_gone(pst_live_t *l, pst_peer_t peer);
/* Carries out an operation that is marked `live`. */
void pst_live_store(pst_live_t *l, const pst_store_op_t *op);
/* The next answer to one; false: none is due.  What it points to is valid until the next call. */
bool pst_live_next(pst_live_t *l, pst_store_answer_t *ret);
uint32_t pst_live_count(const pst_live_t *l);

#endif
