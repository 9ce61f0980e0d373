#include "front.h"

#include <stdio.h>

#include "engine.h"
#include "live.h"
#include "query.h"

#define CLIENTS_MAX 10000
/* What one slow reader may cost; two RESULTS of the greatest size fit. */
#define OUT_BYTES_MAX ((size_t)128 << 20)
#define HIGH_WATER 256
/* Operations on their way to the store: beyond, uploads wait. */
#define STORE_PENDING_BYTES_MAX ((uint64_t)128 << 20)

struct pst_front {
    pst_broker_t *b;
    pst_sessions_t *sessions;
};

void pst_front_done(pst_front_t *f, pst_peer_t peer, const pst_msg_done_t *d)
{
    pst_msg_t m = {.type = PST_MSG_DONE, .u.done = *d};
    pst_sessions_send(f->sessions, peer, &m);
}

static void done(pst_front_t *f, pst_peer_t peer, uint32_t req, const pst_id_t *batch, pst_err_t e, const char *text)
{
    pst_msg_done_t d = {.req = req, .err = (uint16_t)e, .text = pst_view_str(text)};
    if (batch)
        d.batch = *batch;
    pst_front_done(f, peer, &d);
}

/* Nothing is dispatched while the store does not answer.  False: the client was told to wait. */
static bool store_is_up(pst_front_t *f, pst_peer_t peer, uint32_t req, const pst_id_t *batch)
{
    if (!f->b->store_up)
        done(f, peer, req, batch, PST_E_STORE_DOWN, "Redis does not answer: the broker waits for it");
    return f->b->store_up;
}

/* Nor can be promised what would change it.  False: the client was told to wait. */
static bool store_takes(pst_front_t *f, pst_peer_t peer, uint32_t req, const pst_id_t *batch)
{
    uint32_t ops;
    uint64_t bytes;
    if (!store_is_up(f, peer, req, batch))
        return false;
    pst_store_pending(f->b->store, &ops, &bytes);
    if (bytes <= STORE_PENDING_BYTES_MAX)
        return true;
    done(f, peer, req, batch, PST_E_FULL, "Redis is slower than what is being sent: wait a little");
    return false;
}

static void on_open(pst_front_t *f, pst_peer_t peer, const pst_msg_open_t *m)
{
    pst_event_t ev = {.type = PST_EV_OPEN, .u.open = {peer, m}};
    if (store_takes(f, peer, m->req, &m->batch))
        pst_engine_step(f->b, &ev);
}

/* Whether the bodies can be what the headers say; what is compressed only its reader can tell. */
static bool bodies_fit(const pst_pack_headers_t *h, pst_view_t bodies)
{
    return h->codec != PST_CODEC_RAW || h->text_bytes == bodies.n;
}

static void on_pack(pst_front_t *f, pst_peer_t peer, const pst_msg_pack_t *m)
{
    if (!store_takes(f, peer, m->req, &m->batch))
        return;
    pst_pack_headers_t headers;
    pst_arena_clear(&f->b->arena);
    if (pst_pack_headers_decode(m->headers, &f->b->arena, &headers) || !bodies_fit(&headers, m->bodies)) {
        done(f, peer, m->req, &m->batch, PST_E_INVALID, "the pack's headers are wrong: see PROTOCOL.md");
        return;
    }
    pst_blob_t *h = pst_blob_new(m->headers.p, m->headers.n);
    pst_blob_t *bodies = pst_blob_new(m->bodies.p, m->bodies.n);
    pst_event_t ev = {.type = PST_EV_PACK, .u.pack = {peer, m, &headers, h, bodies}};
    pst_engine_step(f->b, &ev);
    pst_blob_unref(&h);
    pst_blob_unref(&bodies);
}

static void on_call(pst_front_t *f, pst_peer_t peer, const pst_msg_call_t *m)
{
    if (!store_is_up(f, peer, m->req, &m->batch))
        return;
    pst_pack_headers_t headers;
    pst_arena_clear(&f->b->arena);
    if (pst_pack_headers_decode(m->headers, &f->b->arena, &headers) || !bodies_fit(&headers, m->bodies))
        done(f, peer, m->req, &m->batch, PST_E_INVALID, "the pack's headers are wrong: see PROTOCOL.md");
    else if (headers.jobs_n != 1 || headers.jobs[0].reject)
        done(f, peer, m->req, &m->batch, PST_E_INVALID, "a call is one job that can run: see PROTOCOL.md");
    else
        pst_live_call(f->b->live, peer, m, &headers);
}

static void on_commit(pst_front_t *f, pst_peer_t peer, const pst_msg_commit_t *m)
{
    pst_event_t ev = {.type = PST_EV_COMMIT, .u.commit = {peer, m}};
    if (!store_takes(f, peer, m->req, &m->batch))
        return;
    if (pst_queries_holds(f->b->queries, &m->batch))
        pst_engine_step(f->b, &ev);
    else
        pst_queries_ended(f->b->queries, peer, PST_MSG_COMMIT, m->req, &m->batch);
}

static void on_batch_req(pst_front_t *f, pst_peer_t peer, pst_event_type_t type, const pst_msg_batch_req_t *m)
{
    pst_event_t ev = {.type = type, .u.batch_req = {peer, m}};
    if (store_takes(f, peer, m->req, &m->batch))
        pst_engine_step(f->b, &ev);
}

static void on_cancel(pst_front_t *f, pst_peer_t peer, const pst_msg_batch_req_t *m)
{
    pst_event_t of_call = {.type = PST_EV_CANCEL, .u.batch_req = {peer, m}};
    if (pst_live_holds(f->b->live, &m->batch))
        pst_engine_step(f->b, &of_call);
    else if (pst_queries_holds(f->b->queries, &m->batch))
        on_batch_req(f, peer, PST_EV_CANCEL, m);
    else if (store_takes(f, peer, m->req, &m->batch))
        pst_queries_ended(f->b->queries, peer, PST_MSG_CANCEL, m->req, &m->batch);
}

static void on_delete(pst_front_t *f, pst_peer_t peer, const pst_msg_batch_req_t *m)
{
    if (pst_queries_holds(f->b->queries, &m->batch))
        on_batch_req(f, peer, PST_EV_DELETE, m);
    else if (store_takes(f, peer, m->req, &m->batch))
        pst_queries_ended(f->b->queries, peer, PST_MSG_DELETE, m->req, &m->batch);
}

static void on_route(pst_front_t *f, pst_peer_t peer, const pst_msg_route_t *m)
{
    pst_err_t e = pst_core_route_check(f->b->core, (pst_url_t)m->url, m->route);
    const char *text = e == PST_E_MODEL_NOT_FOUND
                           ? "no endpoint serves this model: see `penstock check` for those that are configured"
                           : pst_err_text(e);
    done(f, peer, m->req, NULL, e, e ? text : "");
}

static pst_err_t on_message(void *arg, pst_peer_t peer, const pst_msg_t *m)
{
    pst_front_t *f = arg;
    switch ((pst_msg_type_t)m->type) {
    case PST_MSG_ROUTE: on_route(f, peer, &m->u.route); return PST_OK;
    case PST_MSG_OPEN: on_open(f, peer, &m->u.open); return PST_OK;
    case PST_MSG_PACK: on_pack(f, peer, &m->u.pack); return PST_OK;
    case PST_MSG_COMMIT: on_commit(f, peer, &m->u.commit); return PST_OK;
    case PST_MSG_ABORT: on_batch_req(f, peer, PST_EV_ABORT, &m->u.batch_req); return PST_OK;
    case PST_MSG_STATUS: pst_queries_status(f->b->queries, peer, &m->u.batch_req); return PST_OK;
    case PST_MSG_LIST: pst_queries_list(f->b->queries, peer, &m->u.list); return PST_OK;
    case PST_MSG_FETCH: pst_queries_fetch(f->b->queries, peer, &m->u.fetch); return PST_OK;
    case PST_MSG_GET: pst_queries_get(f->b->queries, peer, &m->u.get); return PST_OK;
    case PST_MSG_CANCEL: on_cancel(f, peer, &m->u.batch_req); return PST_OK;
    case PST_MSG_DELETE: on_delete(f, peer, &m->u.batch_req); return PST_OK;
    case PST_MSG_TOP: pst_queries_top(f->b->queries, peer, &m->u.top); return PST_OK;
    case PST_MSG_CALL: on_call(f, peer, &m->u.call); return PST_OK;
    case PST_MSG_HELLO: case PST_MSG_WELCOME: case PST_MSG_PING: case PST_MSG_BYE: case PST_MSG_REFUSED:
    case PST_MSG_DONE: case PST_MSG_BATCH: case PST_MSG_BATCHES: case PST_MSG_RESULTS: case PST_MSG_JOB:
    case PST_MSG_CLUSTER: case PST_MSG_CAPACITY: case PST_MSG_OUTCOMES: case PST_MSG_TASKS: case PST_MSG_REVOKE:
    case PST_MSG_ACK: case PST_MSG_PIECE: case PST_MSG_PIECES:
        break; /* no client says this */
    }
    return PST_E_MALFORMED;
}

static pst_err_t on_hello(void *arg, pst_peer_t peer, const pst_msg_hello_t *m)
{
    (void)arg;
    (void)peer;
    (void)m;
    return PST_OK;
}

static void on_gone(void *arg, pst_peer_t peer)
{
    pst_front_t *f = arg;
    pst_queries_gone(f->b->queries, peer);
    pst_live_gone(f->b->live, peer);
}

pst_err_t pst_front_new(pst_broker_t *b, const char *address, pst_front_t **ret, pst_errbuf_t *eb)
{
    pst_front_t *f = pst_calloc(1, sizeof *f);
    f->b = b;
    pst_sessions_opts_t o = {.role = PST_ROLE_CLIENT, .sessions_max = CLIENTS_MAX, .out_bytes_max = OUT_BYTES_MAX,
                             .high_water = HIGH_WATER, .epoch = pst_store_epoch(b->store),
                             .last_peer = &b->last_peer, .seed = b->seed};
    pst_sessions_ops_t ops = {.hello = on_hello, .message = on_message, .gone = on_gone, .arg = f};
    pst_err_t e = pst_sessions_new(b->loop, b->zmq, address, &o, &ops, &f->sessions, eb);
    if (e) {
        pst_front_destroy(&f);
        return e;
    }
    *ret = f;
    return PST_OK;
}

void pst_front_destroy(pst_front_t **f)
{
    pst_front_t *x = pst_take(f);
    if (!x)
        return;
    pst_sessions_destroy(&x->sessions);
    free(x);
}

pst_sessions_t *pst_front_sessions(pst_front_t *f)
{
    return f->sessions;
}
