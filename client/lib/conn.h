/* conn.h - what one client asks a broker, and what it uploads, over a session (session.h).
 *
 * Blocking: the library has no thread of its own, so PINGs are sent, replies read and sessions begun anew only while
 * a call waits.  Every request stays here until it is answered.  When the session is lost (the broker says so, is
 * silent for lost_ms, or a message is missing) all unanswered requests are sent again in the next one, in order: every
 * request can be repeated.  A broker that is silent for the time-out ends the call with PST_E_UNREACHABLE.
 *
 * Two kinds of requests.  pst_conn_ask: one question, its answer.  pst_conn_upload: OPEN, PACK, COMMIT are sent
 * without waiting, as far as the broker's credit goes; their DONEs count in the order of sending, because a PACK
 * after an OPEN that was put off fails for no fault of its own.  If the first unanswered one is put off (class
 * RETRY), everything from it on is sent again after a pause.
 *
 * Owns the session and the frames of what is unanswered; they are shared with ZeroMQ's I/O thread, not copied. */
#ifndef PST_CONN_H
#define PST_CONN_H

#include "lib/session.h"

typedef struct pst_conn pst_conn_t;

/* Errors of the connection's calls have their words in *words, which must outlive it. */
PST_MUSTCHECK pst_err_t pst_conn_new(const char *address, uint32_t timeout_ms, pst_errbuf_t *words, pst_conn_t **ret);
void pst_conn_destroy(pst_conn_t **c);
/* Waits for a WELCOME. */
PST_MUSTCHECK pst_err_t pst_conn_hello(pst_conn_t *c);
/* Sends a request (m->type and m->u; its `req` is chosen here) and waits.  A DONE of class RETRY is asked again until
 * the time-out, and then returned; a DONE with any other error is returned as that error too.  The reply is given
 * only with PST_OK. */
PST_MUSTCHECK pst_err_t pst_conn_ask(pst_conn_t *c, pst_msg_t *m, pst_reply_t **ret);
/* Sends a FETCH whose answer a later pst_conn_ask for the same packs will take instead of asking again, whatever its
 * wait_ms: the broker reads them meanwhile.  One at a time, the latest; forgotten with the session. */
void pst_conn_fetch_ahead(pst_conn_t *c, const pst_msg_fetch_t *fetch);
/* Sends part of an upload; waits while there is no credit for it.  Any error ends the upload: pst_conn_forget. */
PST_MUSTCHECK pst_err_t pst_conn_upload(pst_conn_t *c, pst_msg_t *m);
/* Waits until all parts are answered, the COMMIT among them.  *ret_batch is the batch that runs: another one than was
 * uploaded if that one had come first with the same idempotency key. */
PST_MUSTCHECK pst_err_t pst_conn_settle(pst_conn_t *c, pst_id_t *ret_batch);
/* Drops what is unanswered of the upload. */
void pst_conn_forget(pst_conn_t *c);

#endif
