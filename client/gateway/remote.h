/* remote.h - the broker, as the gateway's one thread sees it: any number of questions at a time, each answered by a
 * callback from the loop.  Nothing blocks.
 *
 *                +------ the session is lost -------+
 *                v                                  |
 *   asked --> waits --(a session, and room)--> on its way --> answered: the callback
 *                ^                                  |
 *                +--- pause ---- rests <-- RETRY ---+
 *
 * Sent is as much as the socket takes; the rest waits here, in order.  FETCHes and GETs, whose answers are large, share
 * a window of what they ask for (FETCH: `bytes`), past which the broker would take us for somebody who does not read:
 * more of them wait, and a FETCH that waits at the broker (wait_ms) holds its part meanwhile.
 *
 * Callbacks may ask and forget whatever they like, but not destroy the remote.  Owns the session and the questions. */
#ifndef PST_REMOTE_H
#define PST_REMOTE_H

#include "proc/loop.h"
#include "wire/msg.h"

#define REMOTE_ASKS_MAX 65536u
#define REMOTE_BYTES_MAX ((size_t)512 << 20) /* of all questions on their way */

typedef struct pst_remote pst_remote_t;
/* A question on its way; dead as soon as its callback is called, or after pst_remote_forget. */
typedef struct pst_ask pst_ask_t;
/* err PST_OK: m is the answer (views valid during the call).  Else m is NULL, and words say what is wrong. */
typedef void pst_remote_fn(void *arg, pst_err_t err, const pst_msg_t *m, pst_view_t words);
/* A piece of a streamed call's answer (PROTOCOL.md, PIECE): whole lines. */
typedef void pst_remote_piece_fn(void *arg, uint32_t number, pst_view_t bytes);

/* NULL: eb says why.  The loop must outlive it. */
pst_remote_t *pst_remote_new(pst_loop_t *loop, const char *address, pst_errbuf_t *eb);
/* Unanswered questions are dropped without a call.  The loop runs no more after it: its hooks stay. */
void pst_remote_destroy(pst_remote_t **r);

/* STATUS, LIST, FETCH, GET, CANCEL, DELETE, TOP, ROUTE: all can be repeated, so that a lost session, or an error of
 * class RETRY, only delays them, until `patience` from now: then it is the error they were put off with, or
 * PST_E_UNREACHABLE.  What a broker says that will have no such client (another version) is the answer to all at once.
 * m's number is set here; what it points to is copied.  NULL: more than REMOTE_ASKS_MAX or REMOTE_BYTES_MAX on their
 * way, no memory, or no frame that long; fn is not called then. */
pst_ask_t *pst_remote_ask(pst_remote_t *r, pst_msg_t *m, pst_ns_t patience, pst_remote_fn *fn, void *arg);
/* A CALL.  If the session is lost before its first PIECE it is sent again with the same id (the broker cancels the calls
 * of a session that is lost); after it the call ends with PST_E_UNREACHABLE.  `patience` is for a broker that takes it,
 * anew after each session that is lost: while the broker has it, its window_ms counts. */
pst_ask_t *pst_remote_call(pst_remote_t *r, pst_msg_t *m, pst_ns_t patience, pst_remote_piece_fn *piece,
                           pst_remote_fn *fn, void *arg);
/* Its answer is dropped; a CALL is cancelled.  NULL-safe; sets *a to NULL. */
void pst_remote_forget(pst_remote_t *r, pst_ask_t **a);
/* A session is open and was heard of lately. */
bool pst_remote_is_up(const pst_remote_t *r);

#endif
