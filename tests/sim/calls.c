/* calls.c - jobs that clients of the world wait for, and what keeps them instead of a store. */
#include "sim.h"

typedef struct due { /* an answer to an operation that no store sees */
    pst_store_op_type_t type;
    uint64_t token;
    batch_plan_t *of; /* LOAD */
} due_t;

typedef struct piece {
    pst_task_ref_t ref;
    pst_peer_t worker;
} piece_t;

bool call_waits(const world_t *w, const batch_plan_t *b)
{
    return b->call && w->broker_up && b->asked_of == w->broker_life + 1 && !b->over;
}

/* ---- the client ------------------------------------------------------------------------------------------------------ */

static void cancelled(world_t *w, void *arg)
{
    batch_plan_t *b = arg;
    pst_msg_batch_req_t m = {.batch = b->id};
    pst_event_t ev = {.type = PST_EV_CANCEL, .u.batch_req = {0, &m}}; /* by the end of its session: nobody is told */
    if (call_waits(w, b))
        sim_step(w, &ev);
}

/* What the pack is made of is remembered: it may be read back. */
static void encode(batch_plan_t *b, const pst_pack_headers_t *h)
{
    pst_buf_t buf;
    pst_buf_init(&buf, 0);
    pst_pack_headers_encode(h, &buf);
    b->headers = pst_blob_new(buf.p, buf.n);
    b->bodies = pst_blob_new(NULL, h->text_bytes);
    memset(b->bodies->p, 'x', b->bodies->n);
    pst_buf_release(&buf);
}

static void asked(world_t *w, void *arg)
{
    batch_plan_t *b = arg;
    pst_pack_headers_t h;
    pst_job_header_t job;
    if (!w->broker_up) {
        sim_after(w, 100 * PST_MS, asked, b, NULL, false);
        return;
    }
    sim_build_pack(w, b, 0, &h, &job);
    encode(b, &h);
    b->asked_of = w->broker_life + 1;
    pst_msg_call_t m = {.req = 1, .batch = b->id, .priority = b->priority, .tenant = pst_view_str(b->tenant),
                        .max_cost_nano = b->max_cost_nano, .window_ms = b->window_ms, .stream = b->stream,
                        .headers = pst_blob_view(b->headers), .bodies = pst_blob_view(b->bodies)};
    pst_event_t ev = {.type = PST_EV_CALL, .u.call = {UINT32_MAX, &m, &h, b->headers, b->bodies}};
    sim_step(w, &ev);
    if (w->broker_up && !b->over && !pst_core_calls(w->core, &b->id))
        sim_fail(w, "a call was not begun");
}

/* Nothing that could serve it works soon: whoever waits is told so. */
void calls_refused(world_t *w, const pst_msg_done_t *d)
{
    batch_plan_t *b = sim_plan(w, &d->batch);
    if (b->call && d->err == PST_E_PARKED)
        b->over = true;
}

void calls_make(world_t *w)
{
    uint32_t n = w->faults.calls ? (uint32_t)sim_between(w, 1, SIM_CALLS_MAX) : 0;
    for (uint32_t i = 0; i < n; i++) {
        batch_plan_t *b = &w->batch[w->batches_n];
        sim_plan_batch(w, b, w->batches_n++);
        b->id.b[14] = 1;
        b->call = true;
        b->packs = b->jobs = b->segments = b->pack_jobs[0] = 1;
        b->window_ms = b->window_s * 100;
        b->window_s = 0;
        b->key[0] = 0;
        b->stream = sim_chance(w, 0.6);
        sim_after(w, sim_between(w, 0, 20 * PST_SEC), asked, b, NULL, false);
        if (b->cancel)
            sim_after(w, sim_between(w, PST_SEC, 25 * PST_SEC), cancelled, b, NULL, false);
    }
}

/* ---- what the core wants kept ---------------------------------------------------------------------------------------- */

static void answered(world_t *w, void *arg)
{
    const due_t *d = arg;
    pst_store_answer_t a = {.type = d->type, .token = d->token};
    pst_event_t ev = {.type = PST_EV_STORED};
    pst_pack_headers_t h;
    ev.u.stored.answer = &a;
    if (d->of) {
        a.headers = d->of->headers;
        a.bodies = d->of->bodies;
        if (pst_pack_headers_decode(pst_blob_view(a.headers), &w->arena, &h))
            sim_fail(w, "a call's headers do not decode");
        ev.u.stored.headers = &h;
    }
    sim_step(w, &ev);
}

void calls_store(world_t *w, const pst_store_op_t *op)
{
    batch_plan_t *b = sim_plan(w, &op->batch);
    if (!b->call || b->over)
        sim_fail(w, "what is kept of no call, or of one that is over");
    if (op->type == PST_STORE_APPEND && (op->u.append.pack->results_n != 1 || b->answered))
        sim_fail(w, "a call was answered twice");
    if (op->type == PST_STORE_END && !b->answered)
        sim_fail(w, "a call ended without an answer");
    b->answered |= op->type == PST_STORE_APPEND;
    b->over |= op->type == PST_STORE_END;
    due_t *d = pst_calloc(1, sizeof *d);
    *d = (due_t){op->type, op->token, op->type == PST_STORE_LOAD ? b : NULL};
    sim_after(w, 0, answered, d, &w->broker_life, true);
}

/* ---- pieces of its answer --------------------------------------------------------------------------------------------- */

static void piece_came(world_t *w, void *arg)
{
    const piece_t *p = arg;
    batch_plan_t *b = sim_plan(w, &p->ref.batch);
    pst_event_t ev = {.type = PST_EV_BEGUN, .u.begun.call = b->id};
    if (!pst_core_runs(w->core, p->worker, &p->ref))
        return;
    sim_step(w, &ev);
    b->begun = true;
}

static void piece_told(world_t *w, void *arg)
{
    piece_t *p = arg;
    for (uint32_t i = 0; i < w->workers_n; i++) {
        worker_t *k = &w->worker[i];
        call_t *c = k->session && k->peer == p->worker ? sim_find_call(k, &p->ref) : NULL;
        if (!c || c->done || c->ref.dispatch != p->ref.dispatch)
            continue;
        piece_t *copy = pst_calloc(1, sizeof *copy);
        *copy = *p;
        sim_after(w, sim_in_order(w, &k->to_broker), piece_came, copy, &k->link, true);
    }
}

/* Its worker has it: in a while a piece is told, if it is still called then. */
void calls_started(world_t *w, const worker_t *k, const pst_task_ref_t *ref)
{
    const batch_plan_t *b = sim_plan(w, &ref->batch);
    if (!b->stream)
        return;
    piece_t *p = pst_calloc(1, sizeof *p);
    *p = (piece_t){*ref, k->peer};
    sim_after(w, sim_between(w, PST_MS, 200 * PST_MS), piece_told, p, NULL, true);
}

void calls_check_dispatch(world_t *w, const pst_task_group_t *g)
{
    const batch_plan_t *b = sim_plan(w, &g->batch);
    if ((g->live != 0) != b->call)
        sim_fail(w, "a task that is not what it says: a call's, or a batch's");
    if (b->begun && g->slots_n)
        sim_fail(w, "what began was begun again");
}

void calls_free(world_t *w)
{
    for (uint32_t i = 0; i < w->batches_n; i++) {
        pst_blob_unref(&w->batch[i].headers);
        pst_blob_unref(&w->batch[i].bodies);
    }
}
