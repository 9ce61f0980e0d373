#include "live.h"

#include "base/list.h"
#include "base/map.h"
#include "engine.h"
#include "front.h"

/* What waits for workers costs memory alone: more of it than this nobody waits for with patience. */
#define CALLS_MAX 32768
#define BYTES_MAX ((uint64_t)256 << 20)

/* A session with calls. */
typedef struct caller {
    pst_peer_t peer;
    pst_link_t calls;
} caller_t;

typedef struct call {
    pst_id_t id;
    caller_t *caller;          /* NULL: its session is over */
    pst_link_t link;           /* in caller.calls */
    uint32_t req;
    bool stream;
    uint32_t pieces;           /* that went to the client */
    pst_blob_t *headers, *bodies;
} call_t;

/* An operation that is to be answered. */
typedef struct due {
    pst_store_op_type_t type;
    uint64_t token;
    pst_blob_t *headers, *bodies; /* LOAD */
} due_t;

struct pst_live {
    pst_broker_t *b;
    pst_map_t calls;           /* by id */
    pst_map_t callers;         /* by peer */
    uint64_t bytes;            /* of all calls' packs */
    due_t *due;
    uint32_t due_n, due_at, due_cap;
    due_t answered;            /* the latest: what it points to */
    pst_buf_t pack;            /* of the result on its way */
};

static call_t *find(const pst_live_t *l, const pst_id_t *id)
{
    return pst_map_get(&l->calls, id->b, sizeof id->b);
}

bool pst_live_holds(const pst_live_t *l, const pst_id_t *call)
{
    return find(l, call) != NULL;
}

uint32_t pst_live_count(const pst_live_t *l)
{
    return pst_map_live(&l->calls);
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

static caller_t *caller_of(pst_live_t *l, pst_peer_t peer)
{
    caller_t *k = pst_map_get(&l->callers, &peer, sizeof peer);
    if (k)
        return k;
    k = pst_calloc(1, sizeof *k);
    k->peer = peer;
    pst_link_init(&k->calls);
    pst_map_set(&l->callers, &peer, sizeof peer, k);
    return k;
}

static uint64_t bytes_of(const call_t *x)
{
    return pst_blob_view(x->headers).n + pst_blob_view(x->bodies).n;
}

static call_t *call_new(pst_live_t *l, pst_peer_t peer, const pst_msg_call_t *m)
{
    call_t *x = pst_calloc(1, sizeof *x);
    x->id = m->batch;
    x->caller = caller_of(l, peer);
    x->req = m->req;
    x->stream = m->stream;
    x->headers = pst_blob_new(m->headers.p, m->headers.n);
    x->bodies = pst_blob_new(m->bodies.p, m->bodies.n);
    pst_link_init(&x->link);
    pst_link_before(&x->caller->calls, &x->link);
    pst_map_set(&l->calls, x->id.b, sizeof x->id.b, x);
    l->bytes += bytes_of(x);
    return x;
}

static void call_free(pst_live_t *l, call_t *x)
{
    l->bytes -= bytes_of(x);
    pst_link_remove(&x->link);
    pst_blob_unref(&x->headers);
    pst_blob_unref(&x->bodies);
    free(x);
}

static void forget(pst_live_t *l, const pst_id_t *id)
{
    call_t *x = pst_map_remove(&l->calls, id->b, sizeof id->b);
    if (x)
        call_free(l, x);
}

/* ---- what clients say -------------------------------------------------------------------------------------------- */

static void refuse(const pst_live_t *l, pst_peer_t peer, const pst_msg_call_t *m, const char *text)
{
    pst_msg_done_t d = {.req = m->req, .err = PST_E_FULL, .batch = m->batch, .text = pst_view_str(text)};
    pst_front_done(l->b->front, peer, &d);
}

void pst_live_call(pst_live_t *l, pst_peer_t peer, const pst_msg_call_t *m, const pst_pack_headers_t *h)
{
    call_t *x = find(l, &m->batch);
    if (x && x->caller && x->caller->peer == peer) {
        x->req = m->req; /* a repeat: answered once, as it was asked last */
        return;
    }
    if (x) {
        refuse(l, peer, m, "an older session's call of this id is being stopped: ask again");
        return;
    }
    if (pst_live_count(l) >= CALLS_MAX || l->bytes + m->headers.n + m->bodies.n > BYTES_MAX) {
        refuse(l, peer, m, "too many calls wait already: ask again later");
        return;
    }
    x = call_new(l, peer, m);
    pst_event_t ev = {.type = PST_EV_CALL, .u.call = {peer, m, h, x->headers, x->bodies}};
    pst_engine_step(l->b, &ev); /* after which it may have ended */
    if (!pst_core_calls(l->b->core, &m->batch))
        forget(l, &m->batch);
}

void pst_live_gone(pst_live_t *l, pst_peer_t peer)
{
    caller_t *k = pst_map_remove(&l->callers, &peer, sizeof peer);
    if (!k)
        return;
    while (!pst_link_empty(&k->calls)) {
        call_t *x = PST_CONTAINER(k->calls.next, call_t, link);
        pst_msg_batch_req_t m = {.batch = x->id};
        pst_event_t ev = {.type = PST_EV_CANCEL, .u.batch_req = {0, &m}};
        pst_link_remove(&x->link);
        x->caller = NULL;
        pst_engine_step(l->b, &ev); /* which ends it, unless the broker has only just begun */
    }
    free(k);
}

/* ---- what workers say -------------------------------------------------------------------------------------------- */

static void forward(const pst_live_t *l, call_t *x, const pst_piece_t *p)
{
    pst_msg_t m = {.type = PST_MSG_PIECE, .u.piece = {x->req, p->number, p->bytes}};
    x->pieces++;
    if (x->caller)
        pst_sessions_send(pst_front_sessions(l->b->front), x->caller->peer, &m);
}

static pst_err_t on_piece(pst_live_t *l, pst_peer_t worker, const pst_piece_t *p)
{
    call_t *x = find(l, &p->task.batch);
    if (!x || !x->stream || !pst_core_runs(l->b->core, worker, &p->task))
        return PST_OK; /* not wanted any more */
    if (p->number != x->pieces)
        return PST_E_SEQUENCE;
    if (p->number == 0) {
        pst_event_t ev = {.type = PST_EV_BEGUN, .u.begun.call = x->id};
        pst_engine_step(l->b, &ev);
        x = find(l, &p->task.batch); /* its time may have been over in that step */
    }
    if (x)
        forward(l, x, p);
    return PST_OK;
}

pst_err_t pst_live_pieces(pst_live_t *l, pst_peer_t worker, const pst_msg_pieces_t *m)
{
    pst_err_t e = PST_OK;
    for (uint32_t i = 0; e == PST_OK && i < m->pieces_n; i++)
        e = on_piece(l, worker, &m->pieces[i]);
    return e;
}

/* ---- what the core wants stored ---------------------------------------------------------------------------------- */

static void answer(pst_live_t *l, const call_t *x, const pst_result_pack_t *results)
{
    const pst_result_t *r = &results->results[0];
    pst_buf_clear(&l->pack);
    pst_result_pack_encode(results, &l->pack);
    pst_msg_t m = {.type = PST_MSG_JOB};
    m.u.job = (pst_msg_job_t){.req = x->req, .state = PST_STATE_ENDED, .index = r->index, .attempts = r->attempts_n,
                              .pack = pst_buf_view(&l->pack)};
    pst_sessions_send(pst_front_sessions(l->b->front), x->caller->peer, &m);
}

void pst_live_store(pst_live_t *l, const pst_store_op_t *op)
{
    const call_t *x = find(l, &op->batch);
    PST_ASSERT(x); /* until its END */
    pst_grow(l->due, l->due_n, l->due_cap);
    due_t *d = &l->due[l->due_n++];
    *d = (due_t){.type = op->type, .token = op->token};
    if (op->type == PST_STORE_APPEND && x->caller) {
        answer(l, x, op->u.append.pack);
    } else if (op->type == PST_STORE_LOAD) {
        d->headers = pst_blob_ref(x->headers);
        d->bodies = pst_blob_ref(x->bodies);
    } else if (op->type == PST_STORE_END) {
        forget(l, &op->batch);
    }
}

static void let_go(due_t *d)
{
    pst_blob_unref(&d->headers);
    pst_blob_unref(&d->bodies);
}

bool pst_live_next(pst_live_t *l, pst_store_answer_t *ret)
{
    let_go(&l->answered);
    if (l->due_at == l->due_n) {
        l->due_at = l->due_n = 0;
        return false;
    }
    l->answered = l->due[l->due_at++];
    *ret = (pst_store_answer_t){.type = l->answered.type, .token = l->answered.token, .headers = l->answered.headers,
                                .bodies = l->answered.bodies};
    return true;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

pst_live_t *pst_live_new(pst_broker_t *b)
{
    pst_live_t *l = pst_calloc(1, sizeof *l);
    l->b = b;
    pst_map_init(&l->calls, b->seed);
    pst_map_init(&l->callers, b->seed);
    pst_buf_init(&l->pack, PST_FRAME_BYTES_MAX);
    return l;
}

void pst_live_destroy(pst_live_t **pl)
{
    pst_live_t *l = pst_take(pl);
    if (!l)
        return;
    uint32_t i = 0;
    for (call_t *x; (x = pst_map_next(&l->calls, &i)) != NULL;)
        call_free(l, x);
    i = 0;
    for (caller_t *k; (k = pst_map_next(&l->callers, &i)) != NULL;)
        free(k);
    let_go(&l->answered);
    pst_map_release(&l->calls);
    pst_map_release(&l->callers);
    pst_buf_release(&l->pack);
    free(l->due);
    free(l);
}
