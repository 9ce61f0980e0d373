/* broker.h - the process: what its parts share, and the order in which one turn of the loop runs them.
 *
 *   front (clients) --events--> engine ==> core ==> engine --actions--> store, front, back, queries, live
 *   back (workers)  --events-->
 *   store, live     --answers->
 *
 * A turn: sockets are read (each message is one step of the core), the core's timers fire, the turn's TASKS leave,
 * the store is flushed, what waits for slow peers is pushed.  Then the loop sleeps.  One thread owns all of it. */
#ifndef PST_BROKER_H
#define PST_BROKER_H

#include "core/core.h"
#include "proc/config.h"
#include "proc/loop.h"
#include "sessions.h"

typedef struct pst_front pst_front_t;
typedef struct pst_back pst_back_t;
typedef struct pst_queries pst_queries_t;
typedef struct pst_live pst_live_t;
typedef struct pst_metrics pst_metrics_t;
typedef struct pst_restore pst_restore_t;

typedef struct pst_broker {
    pst_loop_t *loop;
    pst_core_t *core;
    pst_store_t *store;
    pst_front_t *front;
    pst_back_t *back;
    pst_queries_t *queries;
    pst_live_t *live;
    pst_restore_t *restore;
    pst_metrics_t *metrics;      /* NULL: off */
    pst_config_t *config;
    const char *config_path;     /* as on the command line; NULL: found */
    void *zmq;
    uint64_t seed;
    pst_peer_t last_peer;
    /* store, as it last said */
    bool store_up;
    uint64_t store_used, store_max;
    bool stepping;               /* inside a step: its actions are not carried out yet */
    bool failed;                 /* the process ends with an error */
    pst_arena_t arena;           /* of one event */
} pst_broker_t;

typedef struct pst_broker_args { /* borrowed; NULL: as configured */
    const char *config_path, *redis, *clients, *workers, *metrics;
} pst_broker_args_t;

/* Opens the store, reads everything back, binds.  Errors with words in eb; several lines for a bad configuration. */
PST_MUSTCHECK pst_err_t pst_broker_new(const pst_broker_args_t *args, pst_broker_t **ret, pst_buf_t *words);
void pst_broker_destroy(pst_broker_t **b);
/* Until a signal ends it (true) or it cannot go on (false). */
bool pst_broker_run(pst_broker_t *b);

#endif
