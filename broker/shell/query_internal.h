/* query_internal.h - what the kinds of questions share. */
#ifndef PST_QUERY_INTERNAL_H
#define PST_QUERY_INTERNAL_H

#include "base/blob.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "query.h"

typedef struct query query_t;

/* Those of one client. */
typedef struct asker {
    pst_peer_t peer;             /* 0: gone */
    uint32_t n;
    pst_link_t link;             /* in queries.all_askers */
    pst_link_t queries;
} asker_t;

/* The beginning of every question. */
struct query {
    pst_queries_t *all;
    pst_broker_t *b;
    asker_t *asker;
    pst_link_t link;             /* in asker.queries */
    uint32_t req;
    pst_id_t batch;
    void (*release)(query_t *q); /* what is its kind's own; NULL: nothing */
    bool parked;                 /* waits for results: no answer of the store is on its way */
};

struct pst_queries {
    pst_broker_t *b;
    pst_map_t askers;            /* by peer; those that are not gone */
    pst_link_t all_askers;
    uint32_t n;
    /* query_fetch.c */
    pst_map_t waits;             /* by batch: wait_t */
    pst_heap_t timers;           /* of parked FETCHes */
    pst_link_t woken;
};

/* NULL: too many at once, and the client was told to ask later. */
query_t *query_new(pst_queries_t *all, pst_peer_t peer, uint32_t req, const pst_id_t *batch, size_t size);
/* Each of these ends the question; `m->u.….req` is set here. */
void query_reply(query_t *q, pst_msg_t *m);
void query_done(query_t *q, pst_err_t e, const char *text);
/* The store failed, or there is nothing: answered, and true. */
bool query_failed(query_t *q, pst_err_t e, const pst_view_t *values, uint32_t n, uint32_t wanted);
void query_not_found(query_t *q);

static inline uint32_t query_le32(pst_view_t v)
{
    const uint8_t *p = (const uint8_t *)v.p;
    return v.n < 4 ? 0 : p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* query_fetch.c */
void fetches_init(pst_queries_t *all);
void fetches_release(pst_queries_t *all);
pst_ns_t fetches_turn(pst_queries_t *all, pst_ns_t now);

#endif
