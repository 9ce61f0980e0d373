/* conn.h - one connection to Redis that outlives its sockets.
 *
 * hiredis gives the reply parser; the socket, the order and the waiting are ours, because hiredis's own context dies with
 * its connection and has no time limit for a command.
 *
 *   DOWN --timer--> CONNECTING --writable--> GREETING --pst_redis_up--> UP
 *    ^------------------- any fault: socket, silence, passing refusal ---'
 *
 * Commands stand in one queue in the order they were given, with their bytes, until they are answered.  After a new
 * greeting everything unanswered is sent again from the front, but for `once` commands, which fail with the
 * connection.  A refusal that passes (LOADING, READONLY, a function that is missing …) breaks the connection at
 * once: what was pipelined behind it is not looked at, so that order holds when all of it is repeated.
 *
 * The queue, when a replica must confirm writes:   [w answered][w answered][WAIT][w][r] …
 *                                                   ^head                  ^expect  ^unsent
 * Answered writes stay, with their replies, until the WAIT behind them says that the replica has them. */
#ifndef PST_REDIS_CONN_H
#define PST_REDIS_CONN_H

#include "proc/loop.h"
#include "redis/cmd.h"
#include "redis/url.h"

typedef struct pst_redis pst_redis_t;

typedef struct pst_redis_events {
    /* Connected (r NULL), or a greeting command was answered.  Answers with one of pst_redis_greet, _up, _retry, _stop. */
    void (*greet)(void *arg, const redisReply *r);
    void (*state)(void *arg, bool up, const char *why);
    void (*tick)(void *arg); /* once a second while up */
    void *arg;
} pst_redis_events_t;

pst_redis_t *pst_redis_new(pst_loop_t *loop, const pst_redis_url_t *url, bool replicated, const pst_redis_events_t *ev);
/* Frees what is queued without calling anybody. */
void pst_redis_destroy(pst_redis_t **c);

/* Queues a finished command, takes it. */
void pst_redis_send(pst_redis_t *c, pst_cmd_t *cmd);
/* Writes what is queued. */
void pst_redis_flush(pst_redis_t *c);
/* Runs the connection without the loop until *done or the time `until`; false: the time came first, or it stopped. */
bool pst_redis_pump(pst_redis_t *c, const bool *done, pst_ns_t until);

/* For the greeting. */
void pst_redis_greet(pst_redis_t *c, pst_cmd_t *cmd);
void pst_redis_up(pst_redis_t *c);
void pst_redis_retry(pst_redis_t *c, const char *why); /* close, and try again later */
/* Close for good: nothing is sent any more, `once` commands go on failing. */
void pst_redis_stop(pst_redis_t *c, const char *why);

/* Redis has, or nearly has, no memory left: transactions that store a result would be refused, their calls alone are not
 * (pst_cmd_ungroup).  Set by such a refusal, and by whoever watches the memory. */
bool pst_redis_full(const pst_redis_t *c);
void pst_redis_set_full(pst_redis_t *c, bool full);
bool pst_redis_is_up(const pst_redis_t *c);
const char *pst_redis_why(const pst_redis_t *c); /* of the latest fault */
uint64_t pst_redis_queued_bytes(const pst_redis_t *c);

#endif
