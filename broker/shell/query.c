/* query.c - the table of questions, and those that need one read at most. */
#include "query.h"

#include "engine.h"
#include "front.h"
#include "proc/clock.h"
#include "query_internal.h"

#define QUERIES_MAX 20000
#define QUERIES_PER_PEER_MAX 64
#define INFO_BYTES_MAX ((size_t)8 << 20)

/* ---- the table --------------------------------------------------------------------------------------------------- */

static void refuse(pst_queries_t *all, pst_peer_t peer, uint32_t req, const pst_id_t *batch)
{
    pst_msg_done_t d = {.req = req, .err = PST_E_FULL, .batch = *batch,
                        .text = PST_VIEW_LIT("too many questions at once: ask again later")};
    pst_front_done(all->b->front, peer, &d);
}

static asker_t *asker_of(pst_queries_t *all, pst_peer_t peer)
{
    asker_t *k = pst_map_get(&all->askers, &peer, sizeof peer);
    if (k)
        return k;
    k = pst_calloc(1, sizeof *k);
    k->peer = peer;
    pst_link_init(&k->queries);
    pst_link_init(&k->link);
    pst_link_before(&all->all_askers, &k->link);
    pst_map_set(&all->askers, &peer, sizeof peer, k);
    return k;
}

query_t *query_new(pst_queries_t *all, pst_peer_t peer, uint32_t req, const pst_id_t *batch, size_t size)
{
    const asker_t *known = pst_map_get(&all->askers, &peer, sizeof peer);
    if (all->n >= QUERIES_MAX || (known && known->n >= QUERIES_PER_PEER_MAX)) {
        refuse(all, peer, req, batch);
        return NULL;
    }
    asker_t *k = asker_of(all, peer);
    query_t *q = pst_calloc(1, size);
    q->all = all;
    q->b = all->b;
    q->asker = k;
    q->req = req;
    q->batch = *batch;
    pst_link_init(&q->link);
    pst_link_before(&k->queries, &q->link);
    k->n++;
    all->n++;
    return q;
}

static void asker_left(pst_queries_t *all, asker_t *k)
{
    if (--k->n > 0)
        return;
    if (k->peer)
        pst_map_remove(&all->askers, &k->peer, sizeof k->peer);
    pst_link_remove(&k->link);
    free(k);
}

static void query_end(query_t *q)
{
    if (q->release)
        q->release(q);
    pst_link_remove(&q->link);
    q->all->n--;
    asker_left(q->all, q->asker);
    free(q);
}

void query_reply(query_t *q, pst_msg_t *m)
{
    m->u.done.req = q->req; /* the first field of every answer */
    if (q->asker->peer)
        pst_sessions_send(pst_front_sessions(q->b->front), q->asker->peer, m);
    query_end(q);
}

void query_done(query_t *q, pst_err_t e, const char *text)
{
    pst_msg_t m = {.type = PST_MSG_DONE};
    m.u.done.err = (uint16_t)e;
    m.u.done.batch = q->batch;
    m.u.done.text = pst_view_str(text);
    query_reply(q, &m);
}

void query_not_found(query_t *q)
{
    query_done(q, PST_E_NOT_FOUND, "no such batch");
}

bool query_failed(query_t *q, pst_err_t e, const pst_view_t *values, uint32_t n, uint32_t wanted)
{
    (void)values;
    if (e == PST_OK && n >= wanted)
        return false;
    query_done(q, e ? e : PST_E_STORE_BAD, e == PST_E_STORE_DOWN ? "Redis does not answer: the broker waits for it"
                                                                 : pst_err_text(e ? e : PST_E_STORE_BAD));
    return true;
}

bool pst_queries_holds(pst_queries_t *all, const pst_id_t *batch)
{
    pst_batch_info_t info;
    pst_arena_clear(&all->b->arena);
    return pst_core_batch_info(all->b->core, batch, false, &all->b->arena, &info) == PST_OK;
}

void pst_queries_gone(pst_queries_t *all, pst_peer_t peer)
{
    asker_t *k = pst_map_remove(&all->askers, &peer, sizeof peer);
    if (!k)
        return;
    k->peer = 0;
    k->n++; /* so that ending the last one does not free it under us */
    for (pst_link_t *l = k->queries.next, *next; l != &k->queries; l = next) {
        next = l->next;
        query_t *q = PST_CONTAINER(l, query_t, link);
        if (q->parked)
            query_end(q);
    }
    asker_left(all, k);
}

pst_queries_t *pst_queries_new(pst_broker_t *b)
{
    pst_queries_t *all = pst_calloc(1, sizeof *all);
    all->b = b;
    pst_map_init(&all->askers, b->seed);
    pst_link_init(&all->all_askers);
    fetches_init(all);
    return all;
}

void pst_queries_destroy(pst_queries_t **q)
{
    pst_queries_t *all = pst_take(q);
    if (!all)
        return;
    while (!pst_link_empty(&all->all_askers)) { /* each goes with its last question */
        asker_t *k = PST_CONTAINER(all->all_askers.next, asker_t, link);
        query_end(PST_CONTAINER(k->queries.next, query_t, link));
    }
    fetches_release(all);
    pst_map_release(&all->askers);
    free(all);
}

pst_ns_t pst_queries_turn(pst_queries_t *all, pst_ns_t now)
{
    return fetches_turn(all, now);
}

uint32_t pst_queries_count(const pst_queries_t *all)
{
    return all->n;
}

/* ---- STATUS ------------------------------------------------------------------------------------------------------ */

static void on_status(void *arg, pst_err_t e, const pst_view_t *values, uint32_t n)
{
    query_t *q = arg;
    if (query_failed(q, e, values, n, 2))
        return;
    if (!values[0].p) {
        query_not_found(q);
        return;
    }
    pst_arena_t a;
    pst_arena_init(&a, INFO_BYTES_MAX);
    pst_msg_t m = {.type = PST_MSG_BATCH};
    if (pst_batch_info_decode(values[0], &a, &m.u.batch.info) == PST_OK)
        query_reply(q, &m);
    else
        query_done(q, PST_E_STORE_BAD, "the batch's summary in Redis cannot be read");
    pst_arena_release(&a);
}

void pst_queries_status(pst_queries_t *all, pst_peer_t peer, const pst_msg_batch_req_t *r)
{
    query_t *q = query_new(all, peer, r->req, &r->batch, sizeof *q);
    if (!q)
        return;
    pst_msg_t m = {.type = PST_MSG_BATCH};
    pst_arena_clear(&all->b->arena);
    if (pst_core_batch_info(all->b->core, &r->batch, true, &all->b->arena, &m.u.batch.info))
        pst_store_read_batch(all->b->store, &q->batch, on_status, q);
    else
        query_reply(q, &m);
}

/* ---- TOP --------------------------------------------------------------------------------------------------------- */

void pst_queries_top(pst_queries_t *all, pst_peer_t peer, const pst_msg_top_t *r)
{
    static const pst_event_t tick = {.type = PST_EV_TICK};
    pst_broker_t *b = all->b;
    pst_engine_step(b, &tick); /* so that what rests, and for how long, is told as of now */
    pst_msg_t m = {.type = PST_MSG_CLUSTER};
    m.u.cluster.req = r->req;
    pst_arena_clear(&b->arena);
    pst_core_cluster(b->core, pst_clock_wall_ms(), &b->arena, &m.u.cluster.cluster);
    pst_sessions_send(pst_front_sessions(b->front), peer, &m);
}

/* ---- requests about a batch that is not held --------------------------------------------------------------------- */

typedef struct ended {
    query_t q;
    pst_msg_type_t type;
} ended_t;

static void accepted_again(query_t *q)
{
    pst_msg_t m = {.type = PST_MSG_DONE};
    m.u.done.batch = q->batch;
    m.u.done.accepted = true;
    m.u.done.text = PST_VIEW_LIT("accepted already, and ended");
    query_reply(q, &m);
}

/* The core has the store delete it, and answers. */
static void delete_ended(query_t *q)
{
    pst_msg_batch_req_t m = {.req = q->req, .batch = q->batch};
    pst_event_t ev = {.type = PST_EV_DELETE, .u.batch_req = {q->asker->peer, &m}};
    pst_broker_t *b = q->b;
    query_end(q);
    if (ev.u.batch_req.peer)
        pst_engine_step(b, &ev);
}

static void on_ended(void *arg, pst_err_t e, const pst_view_t *values, uint32_t n)
{
    ended_t *x = arg;
    query_t *q = &x->q;
    if (query_failed(q, e, values, n, 2))
        return;
    if (!values[0].p)
        query_not_found(q);
    else if (x->type == PST_MSG_COMMIT)
        accepted_again(q);
    else if (x->type == PST_MSG_DELETE)
        delete_ended(q);
    else
        query_done(q, PST_E_STATE, "the batch has ended");
}

void pst_queries_ended(pst_queries_t *all, pst_peer_t peer, pst_msg_type_t type, uint32_t req, const pst_id_t *batch)
{
    ended_t *x = (ended_t *)(void *)query_new(all, peer, req, batch, sizeof *x);
    if (!x)
        return;
    x->type = type;
    pst_store_read_batch(all->b->store, batch, on_ended, x);
}
