/* sessions.h - the sessions of one ROUTER socket.
 *
 *   HELLO (new nonce) --> session, numbered --> messages in sequence --> gone
 *                                                 BYE | silence | gap | nonsense | a HELLO with another nonce |
 *                                                 no way to it | more bytes on their way than it may have
 *
 * A routing id is an address that its peer chose: it finds the session, and the nonce, which only the opener knows,
 * tells whether a message is that session's.  Whatever belongs to no session is answered with REFUSED, so that a peer
 * of a broker that was restarted learns it at once.
 *
 * The socket is always read; sending never blocks.  Owns socket, sessions and what is on its way to them.
 * Within the `gone` callback (and after it) the number is unknown here.  `gone` is never called from
 * pst_sessions_send, so that the caller may send while it carries out a step's actions. */
#ifndef PST_SESSIONS_H
#define PST_SESSIONS_H

#include "core/core.h"
#include "proc/loop.h"

typedef struct pst_sessions pst_sessions_t;

typedef struct pst_sessions_ops {
    /* An error refuses the session. */
    pst_err_t (*hello)(void *arg, pst_peer_t peer, const pst_msg_hello_t *m);
    /* Any message but HELLO, PING and BYE, valid during the call.  An error refuses and ends the session. */
    pst_err_t (*message)(void *arg, pst_peer_t peer, const pst_msg_t *m);
    void (*gone)(void *arg, pst_peer_t peer);
    void *arg;
} pst_sessions_ops_t;

typedef struct pst_sessions_opts {
    pst_role_t role;         /* of the peers */
    uint32_t sessions_max;
    size_t out_bytes_max;    /* on their way to one peer */
    int high_water;          /* messages in libzmq, a peer and direction */
    uint64_t epoch;
    pst_peer_t *last_peer;   /* numbers are taken from here; shared by all sockets of the process */
    uint64_t seed;
} pst_sessions_opts_t;

typedef struct pst_sessions_stats {
    uint32_t sessions;
    uint64_t begun, refused, lost; /* lost: ended by silence or for not reading */
    uint64_t messages_in, messages_out, bytes_in, bytes_out;
} pst_sessions_stats_t;

/* Binds the address.  PST_E_IO with eb filled. */
PST_MUSTCHECK pst_err_t pst_sessions_new(pst_loop_t *loop, void *zmq, const char *address, const pst_sessions_opts_t *o,
                                         const pst_sessions_ops_t *ops, pst_sessions_t **ret, pst_errbuf_t *eb);
void pst_sessions_destroy(pst_sessions_t **s);
/* Where it listens in fact ("tcp://127.0.0.1:40123" for a port of *). */
const char *pst_sessions_address(const pst_sessions_t *s);
/* Handles what has come: a bounded share of it. */
void pst_sessions_read(pst_sessions_t *s, pst_ns_t now);
/* Sends what waits, pings, and ends silent sessions; when both want to be called again. */
pst_ns_t pst_sessions_write(pst_sessions_t *s, pst_ns_t now);
/* type and u of m; the envelope is set here.  Nothing happens for a peer that is gone. */
void pst_sessions_send(pst_sessions_t *s, pst_peer_t peer, pst_msg_t *m);
/* Bytes on their way to the peer. */
size_t pst_sessions_waiting(const pst_sessions_t *s, pst_peer_t peer);
const pst_sessions_stats_t *pst_sessions_stats(const pst_sessions_t *s);

#endif
