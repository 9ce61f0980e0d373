/* back.h - the workers' socket: HELLO, CAPACITY and OUTCOMES become events; TASKS, REVOKE and ACK go back.
 *
 * The groups of one turn for one worker leave in one TASKS message.  A worker whose link is behind is shown to the
 * core as one without room until it has caught up: credit for bytes, where the core counts jobs. */
#ifndef PST_BACK_H
#define PST_BACK_H

#include "broker.h"

PST_MUSTCHECK pst_err_t pst_back_new(pst_broker_t *b, const char *address, pst_back_t **ret, pst_errbuf_t *eb);
void pst_back_destroy(pst_back_t **k);
pst_sessions_t *pst_back_sessions(pst_back_t *k);

/* Actions of the core; the blobs are referenced until the message is encoded. */
void pst_back_tasks(pst_back_t *k, pst_peer_t worker, const pst_task_group_t *g, pst_blob_t *headers,
                    pst_blob_t *bodies);
void pst_back_revoke(pst_back_t *k, pst_peer_t worker, const pst_task_ref_t *ref);
void pst_back_ack(pst_back_t *k, pst_peer_t worker, uint64_t number);

/* The end of a turn: what was gathered leaves, and workers that caught up have room again; when to call again. */
pst_ns_t pst_back_flush(pst_back_t *k, pst_ns_t now);
/* After a reload providers may have other numbers: the workers' pools are told to the core again. */
void pst_back_reconfigured(pst_back_t *k);
/* A worker of that name has a session. */
bool pst_back_has(const pst_back_t *k, pst_view_t name);

#endif
