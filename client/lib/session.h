/* session.h - a client's sessions with a broker, one after the other, each over a DEALER socket of its own: HELLO and
 * WELCOME, the numbers of messages both ways, PINGs, silence, refusals, and when to begin anew.
 *
 * Nothing waits here, and nothing is asked of a clock: the user receives until there is nothing more, calls step at the
 * latest at the deadline, and sleeps on the socket as it likes.  What was asked in a session that ended is the user's
 * to ask again: every request of a client can be repeated.
 *
 * Owns the ZeroMQ context, the socket and what is received.  Works in other people's processes: out of memory is an
 * error. */
#ifndef PST_LIB_SESSION_H
#define PST_LIB_SESSION_H

#include "lib/frame.h"
#include "wire/msg.h"

/* First pause before what was put off, or a session, is tried again; doubles up to the second one. */
#define PST_PUT_OFF_MIN (20 * PST_MS)
#define PST_PUT_OFF_MAX (1000 * PST_MS)
#define PST_REPLY_BYTES_MAX ((size_t)64 << 20) /* of a decoded message, beside its frame */

typedef struct pst_session pst_session_t;

/* An answer, decoded; its views are valid until pst_reply_destroy. */
typedef struct pst_reply pst_reply_t;
const pst_msg_t *pst_reply_msg(const pst_reply_t *r);
void pst_reply_destroy(pst_reply_t **r);

/* Called from within the session's calls. */
typedef struct pst_session_ops {
    /* HELLO has gone, on a new socket but for the first time; requests may follow at once.  An error is step's. */
    pst_err_t (*began)(void *arg, pst_ns_t now);
    /* No answer comes any more to what was sent.  Perhaps more than once; the socket is still there. */
    void (*ended)(void *arg);
} pst_session_ops_t;

/* high_water: messages that the socket holds each way.  Errors have their words in *words, which must outlive the
 * session.  No session is begun before the first step. */
PST_MUSTCHECK pst_err_t pst_session_new(const char *address, int high_water, const pst_session_ops_t *ops, void *arg,
                                        pst_errbuf_t *words, pst_session_t **ret);
/* Says BYE and gives it a moment to leave. */
void pst_session_destroy(pst_session_t **s);

/* Does what is due now: ends a session that is silent, begins one, sends a PING. */
PST_MUSTCHECK pst_err_t pst_session_step(pst_session_t *s, pst_ns_t now);
pst_ns_t pst_session_deadline(const pst_session_t *s);
/* The next message that is the user's, a reply to a request of the present session; NULL: there is none, or the broker
 * will not have us (pst_session_fatal).  Its views are valid until the next call. */
const pst_msg_t *pst_session_receive(pst_session_t *s, pst_ns_t now);
/* What was received last becomes the user's. */
pst_reply_t *pst_session_keep(pst_session_t *s);
/* Nobody has listened for a while: silence counts from now, and what a broker said of us before is forgotten. */
void pst_session_listen(pst_session_t *s, pst_ns_t now);
/* Ends the session, if there is one; the next begins then. */
void pst_session_end(pst_session_t *s, pst_ns_t begin_at);

/* Stamped as the next of the session's messages and appended to out; out->failed tells of no memory. */
void pst_session_encode(pst_session_t *s, pst_msg_t *m, pst_buf_t *out);
/* A request that was encoded before, with another number and the present session's stamp. */
PST_MUSTCHECK pst_err_t pst_session_encode_again(pst_session_t *s, pst_view_t old, uint32_t req, pst_buf_t *out);
/* Sends what was encoded last.  A socket that takes nothing has a broker that reads nothing: the session ends. */
void pst_session_send(pst_session_t *s, pst_ns_t now, pst_frame_t *f);
void pst_session_send_copy(pst_session_t *s, pst_ns_t now, pst_view_t frame);
/* Encodes and sends. */
void pst_session_post(pst_session_t *s, pst_ns_t now, pst_msg_t *m);

bool pst_session_is_open(const pst_session_t *s);            /* HELLO has gone */
const pst_msg_welcome_t *pst_session_welcome(const pst_session_t *s); /* NULL: not yet */
pst_ns_t pst_session_heard(const pst_session_t *s);          /* also pst_session_listen counts */
/* The broker will not have us: another version, an identity that is not wanted.  Its words are in *words. */
pst_err_t pst_session_fatal(const pst_session_t *s);
/* What it is if a broker was waited for in vain, with its words: UNREACHABLE, or as what it refused us last. */
pst_err_t pst_session_unreachable(pst_session_t *s);
/* The present session's, for polls: another one after each began. */
void *pst_session_socket(const pst_session_t *s);

/* e, with a broker's words for it, or our own if it has none. */
pst_err_t pst_words_put(pst_errbuf_t *words, pst_err_t e, pst_view_t text);

#endif
