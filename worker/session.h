/* session.h - the worker's conversation with the broker: one DEALER socket, one session after the other.
 *
 *             +------------------- silence, REFUSED, BYE, gap, nonsense -------------------+
 *             v                                                                            |
 *   rest --(due)--> hello --(WELCOME)--> up ------------------------------------------------
 *    ^                |                   |
 *    +--- REFUSED ----+                   +--(pst_session_bye)--> over
 *
 * Each HELLO begins a session with a new nonce and counts its messages from 0; whatever carries another nonce
 * is ignored, so that an answer to an old HELLO, or a dead broker's last words, cannot be taken for the
 * present one's.  A gap in the broker's numbers ends the session: what is missing is then sent again.
 * Nothing is sent before WELCOME but HELLO.
 *
 * Throttling is by window (outbox.h) and by what HELLO and CAPACITY offer; the socket is always read.  At most
 * one encoded frame waits for the socket. */
#ifndef PST_SESSION_H
#define PST_SESSION_H

#include "proc/loop.h"
#include "wire/msg.h"

typedef struct pst_session pst_session_t;

/* What the worker does for its session.  Messages are valid during the call. */
typedef struct pst_session_ops {
    void (*hello)(void *arg, pst_arena_t *a, pst_msg_hello_t *ret); /* pools and running, in the arena */
    void (*up)(void *arg);   /* WELCOME came */
    void (*lost)(void *arg); /* the broker knows nothing any more of what the session told it */
    pst_err_t (*tasks)(void *arg, const pst_msg_tasks_t *m); /* an error ends the session */
    void (*revoke)(void *arg, const pst_msg_revoke_t *m);
    void (*ack)(void *arg, uint64_t number);
    /* The next message to send: type and u, encoded before anything else is asked.  false: none now. */
    bool (*next)(void *arg, pst_arena_t *a, pst_msg_t *ret);
} pst_session_ops_t;

/* address: of the broker's workers socket.  INVALID, IO with eb filled. */
PST_MUSTCHECK pst_err_t pst_session_new(pst_loop_t *loop, const char *address, const pst_session_ops_t *ops,
                                        void *arg, pst_session_t **ret, pst_errbuf_t *eb);
/* Gives what was sent last a moment to leave. */
void pst_session_destroy(pst_session_t **s);
/* Handles what has come. */
void pst_session_read(pst_session_t *s, pst_ns_t now);
/* Sends what is to be sent; when read and write are wanted again. */
pst_ns_t pst_session_write(pst_session_t *s, pst_ns_t now);
/* The last word: BYE once `next` has nothing more, and no session after it. */
void pst_session_bye(pst_session_t *s);
bool pst_session_over(const pst_session_t *s);

#endif
