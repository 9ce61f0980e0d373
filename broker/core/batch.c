/* batch.c - the life of a batch.
 *
 *   OPEN        PACK*       COMMIT                  every job has a result
 *   OPENING --> STAGING --> (CLAIMING) COMMITTING --> ACTIVE ------------------> ENDING --> forgotten
 *                  |             |                      | cancel, expiry, budget
 *                  +--ABORT------+--> DELETING          +-- drain: fresh and waiting jobs end, running ones finish
 *
 * A client is answered when the store has answered, never before.  CLAIMING is there only for batches with an
 * idempotency key: the key is taken just before the batch is accepted, so that a client that died half-way
 * leaves a key that the next one may take over. */
#include "core/internal.h"

batch_t *batch_find(const pst_core_t *c, const pst_id_t *id)
{
    return pst_map_get(&c->batches, id->b, 16);
}

static char *copy_or_null(pst_view_t v)
{
    return v.n ? pst_strdup_view(v) : NULL;
}

batch_t *batch_new(pst_core_t *c, const pst_id_t *id, const pst_batch_info_t *info)
{
    batch_t *b = pst_calloc_line(sizeof *b);
    b->id = *id;
    pst_heap_node_init(&b->timer.node);
    b->timer.kind = TIMER_BATCH;
    pst_link_init(&b->flows);
    pst_link_init(&b->draining);
    b->priority = PST_MIN(info->priority, PST_PRIORITY_COUNT - 1);
    b->name = copy_or_null(info->name);
    b->metadata = copy_or_null(info->metadata);
    b->key = copy_or_null(info->idempotency_key);
    b->window_s = info->window_s;
    b->max_cost_nano = info->max_cost_nano;
    b->created_ms = info->created_ms;
    b->tenant = fair_tenant(c, info->tenant);
    pst_map_set(&c->batches, id->b, 16, b);
    c->gauge.batches++;
    return b;
}

void batch_free(pst_core_t *c, batch_t *b)
{
    sched_remove_flows(c, b);
    pst_link_remove(&b->draining);
    core_timer(c, &b->timer, PST_NEVER);
    for (uint32_t i = 0; i < b->packs_n; i++) {
        pack_t *p = &b->packs[i];
        if (p->live) {
            for (uint32_t s = 0; s < p->jobs && p->live; s++)
                if (p->live->record[s])
                    job_free(c, p->live->record[s]);
            if (p->live) {
                p->live->loading = false;
                pack_close(c, b, i);
            }
        }
        route_put(c, c->routes[p->route]);
    }
    for (uint32_t i = 0; i < b->segments_n; i++) {
        if (b->segments[i]->gathering)
            append_recycle(c, b->segments[i]->gathering);
        stats_free(b->segments[i]);
        free(b->segments[i]);
    }
    c->gauge.packs -= b->packs_n;
    c->gauge.batches -= !b->live_call;
    free(b->segments);
    free(b->packs);
    free(b->where);
    free(b->name);
    free(b->metadata);
    free(b->key);
    fair_tenant_put(c, b->tenant);
    free(b);
}

/* Forgets the batch now, or when its last store operation has been answered. */
static void forget(pst_core_t *c, batch_t *b)
{
    b->state = BATCH_DELETING;
    core_timer(c, &b->timer, PST_NEVER);
    if (b->ops == 0)
        core_bury(c, b);
}

static void drop_staging(pst_core_t *c, batch_t *b, pst_peer_t peer, uint32_t req)
{
    op_t *op;
    pst_store_op_t *s = core_store(c, PST_STORE_DELETE, b, &op);
    s->u.del.segments = b->segments_n;
    op->peer = peer;
    op->req = req;
    forget(c, b);
}

static void staging_alive(pst_core_t *c, batch_t *b)
{
    core_timer(c, &b->timer, pst_ns_add(c->now, c->opts.staging_idle_ms * PST_MS));
}

static bool store_has_room(const pst_core_t *c)
{
    return c->store_max == 0 || c->store_used / 100 * 100 < c->store_max / 100 * ROOM_SHARE;
}

void batch_on_open(pst_core_t *c, pst_peer_t peer, const pst_msg_open_t *m)
{
    batch_t *b = batch_find(c, &m->batch);
    if (b && b->state == BATCH_DELETING) {
        core_reply(c, peer, m->req, PST_E_FULL, &b->id, false, "an upload of this id is being dropped: try again");
        return;
    }
    if (b && b->state >= BATCH_ACTIVE) {
        core_reply(c, peer, m->req, PST_OK, &b->id, true, "accepted already");
        return;
    }
    if (b && b->opened) {
        staging_alive(c, b);
        core_reply(c, peer, m->req, PST_OK, &b->id, false, "resumed");
        return;
    }
    if (!b && c->gauge.batches >= c->opts.batches_max) {
        core_reply(c, peer, m->req, PST_E_FULL, &m->batch, false, "too many batches at once: wait until some end");
        return;
    }
    if (!b && !store_has_room(c)) {
        core_reply(c, peer, m->req, PST_E_STORE_FULL, &m->batch, false,
                   "Redis is nearly full: wait, delete old batches, or raise maxmemory");
        return;
    }
    pst_batch_info_t info = {.batch = m->batch, .name = m->name, .metadata = m->metadata, .priority = m->priority,
                             .idempotency_key = m->idempotency_key, .window_s = m->window_s,
                             .max_cost_nano = m->max_cost_nano, .tenant = m->tenant, .created_ms = c->wall_ms};
    if (!b)
        b = batch_new(c, &m->batch, &info);
    staging_alive(c, b);
    op_t *op;
    pst_store_op_t *s = core_store(c, PST_STORE_OPEN, b, &op);
    pst_batch_info_t *kept = core_scratch(c, sizeof *kept);
    *kept = info;
    kept->name = pst_view_str(b->name);
    kept->metadata = pst_view_str(b->metadata);
    kept->idempotency_key = pst_view_str(b->key);
    kept->tenant = pst_view_str(b->tenant->name);
    s->u.open.info = kept;
    op->peer = peer;
    op->req = m->req;
}

segment_t *batch_segment(batch_t *b, uint32_t segment)
{
    return segment < b->segments_n ? b->segments[segment] : NULL;
}

static segment_t *segment_for_new_pack(batch_t *b, uint32_t id)
{
    if (id < b->segments_n)
        return b->segments[id];
    segment_t *s = pst_calloc(1, sizeof *s);
    s->id = id;
    s->base = b->jobs;
    pst_link_init(&s->sent);
    pst_grow(b->segments, b->segments_n, b->segments_cap);
    b->segments[b->segments_n++] = s;
    return s;
}

pack_t *batch_add_pack(pst_core_t *c, batch_t *b, const pst_pack_entry_t *e, uint32_t segment, route_t *r)
{
    segment_t *s = segment_for_new_pack(b, segment);
    pst_grow(b->packs, b->packs_n, b->packs_cap);
    pack_t *p = &b->packs[b->packs_n++];
    *p = (pack_t){.base = b->jobs, .segment = segment, .route = r->id, .index_lo = e->index_lo, .index_hi = e->index_hi,
                  .bytes = e->headers_bytes + e->bodies_bytes, .next = NONE, .jobs = (uint16_t)e->jobs};
    b->jobs += e->jobs;
    s->jobs += e->jobs;
    s->text_bytes += e->text_bytes;
    c->gauge.packs++;
    return p;
}

/* NULL if the pack may be added, else why not. */
static const char *pack_fault(const batch_t *b, const pst_msg_pack_t *m, const pst_pack_headers_t *h)
{
    if (b->segments_n == 0)
        return m->segment == 0 ? NULL : "the first pack belongs to segment 0";
    if (m->segment == b->segments_n)
        return b->jobs + (uint64_t)h->jobs_n <= PST_BATCH_JOBS_MAX ? NULL : "more jobs than a batch can have";
    if (m->segment + 1 != b->segments_n)
        return "segments rise by one";
    const segment_t *s = b->segments[m->segment];
    if (s->jobs + h->jobs_n > PST_SEGMENT_JOBS_MAX)
        return "more jobs than a segment can have";
    if (s->text_bytes + h->text_bytes > PST_SEGMENT_TEXT_BYTES_MAX)
        return "more text than a segment can have";
    return NULL;
}

static pst_pack_entry_t entry_of(const pst_msg_pack_t *m, const pst_pack_headers_t *h)
{
    pst_pack_entry_t e = {.pack = m->pack, .jobs = h->jobs_n, .text_bytes = h->text_bytes,
                          .headers_bytes = (uint32_t)m->headers.n, .bodies_bytes = (uint32_t)m->bodies.n,
                          .index_lo = h->jobs[0].index, .index_hi = h->jobs[h->jobs_n - 1].index};
    for (uint32_t i = 0; i < h->jobs_n; i++)
        e.input_tokens += h->jobs[i].input_tokens;
    return e;
}

static void put_pack(pst_core_t *c, batch_t *b, const pst_event_t *ev)
{
    const pst_msg_pack_t *m = ev->u.pack.msg;
    op_t *op;
    pst_store_op_t *s = core_store(c, PST_STORE_PUT_PACK, b, &op);
    s->segment = m->segment;
    s->u.put.entry = entry_of(m, ev->u.pack.headers);
    s->u.put.url = ev->u.pack.headers->url;
    s->u.put.route = ev->u.pack.headers->route;
    s->u.put.headers = ev->u.pack.headers_blob;
    s->u.put.bodies = ev->u.pack.bodies_blob;
    core_hold(c, ev->u.pack.headers_blob);
    core_hold(c, ev->u.pack.bodies_blob);
    op->pack = m->pack;
    op->peer = ev->u.pack.peer;
    op->req = m->req;
}

void batch_on_pack(pst_core_t *c, const pst_event_t *ev)
{
    const pst_msg_pack_t *m = ev->u.pack.msg;
    const pst_pack_headers_t *h = ev->u.pack.headers;
    pst_peer_t peer = ev->u.pack.peer;
    batch_t *b = batch_find(c, &m->batch);
    if (!b || b->state == BATCH_DELETING) {
        core_reply(c, peer, m->req, PST_E_NOT_FOUND, &m->batch, false, "no such upload: open it first");
        return;
    }
    if (m->pack < b->packs_n) { /* a repeat: answered when the store has (again) said that it is safe */
        if (b->packs[m->pack].stored)
            core_reply(c, peer, m->req, PST_OK, &m->batch, false, "stored already");
        else
            put_pack(c, b, ev);
        return;
    }
    if (b->state > BATCH_STAGING || m->pack > b->packs_n) {
        core_reply(c, peer, m->req, b->state > BATCH_STAGING ? PST_E_STATE : PST_E_SEQUENCE, &m->batch, false,
                   "pack %u cannot follow %u packs", m->pack, b->packs_n);
        return;
    }
    const char *fault = pack_fault(b, m, h);
    if (fault) {
        core_reply(c, peer, m->req, PST_E_INVALID, &m->batch, false, "pack %u: %s", m->pack, fault);
        return;
    }
    if (!store_has_room(c)) {
        core_reply(c, peer, m->req, PST_E_STORE_FULL, &m->batch, false,
                   "Redis is nearly full: wait, delete old batches, or raise maxmemory");
        return;
    }
    pst_err_t err;
    route_t *r = route_get(c, h->url, h->route, true, &err);
    if (!r) {
        core_reply(c, peer, m->req, err, &m->batch, false, "pack %u: %s", m->pack, pst_err_text(err));
        return;
    }
    pst_pack_entry_t e = entry_of(m, h);
    batch_add_pack(c, b, &e, m->segment, r);
    b->packs_unstored++;
    staging_alive(c, b);
    put_pack(c, b, ev);
    if (c->open_bytes + m->headers.n + m->bodies.n <= c->opts.open_bytes_max / 2)
        pack_open(c, b, m->pack, h, ev->u.pack.headers_blob, ev->u.pack.bodies_blob);
}

static void commit(pst_core_t *c, batch_t *b)
{
    b->state = BATCH_COMMITTING;
    b->accepted_ms = c->wall_ms;
    uint64_t lifetime_s = b->window_s ? b->window_s : (uint64_t)BATCH_DAYS_MAX * 86400;
    b->expires_ms = b->accepted_ms + lifetime_s * 1000;
    op_t *op;
    pst_store_op_t *s = core_store(c, PST_STORE_COMMIT, b, &op);
    s->u.commit.packs = b->packs_n;
    s->u.commit.jobs = b->jobs;
    s->u.commit.segments = b->segments_n;
    s->u.commit.accepted_ms = b->accepted_ms;
    s->u.commit.expires_ms = b->expires_ms;
}

static void claim(pst_core_t *c, batch_t *b, const pst_id_t *replace)
{
    b->state = BATCH_CLAIMING;
    op_t *op;
    pst_store_op_t *s = core_store(c, PST_STORE_CLAIM, b, &op);
    s->u.claim.key = pst_view_str(b->key);
    if (replace) {
        s->u.claim.replace = true;
        s->u.claim.holder = *replace;
    }
}

static void accept_begin(pst_core_t *c, batch_t *b)
{
    if (b->key)
        claim(c, b, NULL);
    else
        commit(c, b);
}

typedef enum holder { HOLDER_NONE, HOLDER_ABOUT, HOLDER_ACCEPTED } holder_t;

/* What a batch that holds our key is worth: NONE, ours may replace it; ABOUT, it is just being accepted, which is known
 * only when the store has answered; ACCEPTED, ours is not wanted. */
static holder_t holder_of(const pst_core_t *c, const batch_t *b, const pst_id_t *holder)
{
    static const pst_id_t none;
    if (pst_id_eq(holder, &none) || pst_id_eq(holder, &b->id))
        return HOLDER_NONE;
    const batch_t *h = batch_find(c, holder);
    if (!h) /* it was accepted and has ended: a dropped upload takes its key with it */
        return HOLDER_ACCEPTED;
    if (h->state == BATCH_CLAIMING || h->state == BATCH_COMMITTING)
        return HOLDER_ABOUT;
    return h->state == BATCH_ACTIVE || h->state == BATCH_ENDING ? HOLDER_ACCEPTED : HOLDER_NONE;
}

void batch_on_commit(pst_core_t *c, pst_peer_t peer, const pst_msg_commit_t *m)
{
    batch_t *b = batch_find(c, &m->batch);
    if (!b || b->state == BATCH_DELETING) {
        core_reply(c, peer, m->req, PST_E_NOT_FOUND, &m->batch, false, "no such upload: open it first");
        return;
    }
    if (b->state == BATCH_ACTIVE || b->state == BATCH_ENDING) {
        core_reply(c, peer, m->req, PST_OK, &b->id, true, "accepted already");
        return;
    }
    b->peer = peer;
    b->req = m->req;
    if (b->state == BATCH_CLAIMING || b->state == BATCH_COMMITTING)
        return; /* a repeat: answered with the first */
    if (m->packs != b->packs_n || m->jobs != b->jobs || b->jobs == 0) {
        core_reply(c, peer, m->req, PST_E_STATE, &b->id, false,
                   "%u packs with %u jobs are here, not %u with %u: send what is missing", b->packs_n, b->jobs, m->packs,
                   m->jobs);
        return;
    }
    core_timer(c, &b->timer, PST_NEVER);
    if (b->opened || !b->key)
        accept_begin(c, b); /* the store takes it behind the OPEN, and both are safe with one fsync */
    else
        b->committed_before_opened = true; /* who has the key is known when the OPEN is answered */
}

void batch_on_abort(pst_core_t *c, pst_peer_t peer, const pst_msg_batch_req_t *m)
{
    batch_t *b = batch_find(c, &m->batch);
    if (!b || b->state == BATCH_DELETING)
        core_reply(c, peer, m->req, PST_E_NOT_FOUND, &m->batch, false, "no such upload");
    else if (b->state > BATCH_STAGING)
        core_reply(c, peer, m->req, PST_E_STATE, &m->batch, false, "accepted already: cancel it instead");
    else
        drop_staging(c, b, peer, m->req);
}

void batch_on_cancel(pst_core_t *c, pst_peer_t peer, const pst_msg_batch_req_t *m)
{
    batch_t *b = batch_find(c, &m->batch);
    if (!b || b->state < BATCH_ACTIVE || b->state == BATCH_DELETING) {
        core_reply(c, peer, m->req, PST_E_NOT_FOUND, &m->batch, false, "no such batch is running");
        return;
    }
    if (b->state == BATCH_ENDING) {
        core_reply(c, peer, m->req, PST_E_STATE, &m->batch, false, "the batch has ended");
        return;
    }
    if (b->drain != PST_DRAIN_NONE) {
        core_reply(c, peer, m->req, PST_OK, &m->batch, true, "stopping already");
        return;
    }
    b->peer = peer;
    b->req = m->req;
    batch_start_drain(c, b, PST_DRAIN_CANCELLED);
}

void batch_on_delete(pst_core_t *c, pst_peer_t peer, const pst_msg_batch_req_t *m)
{
    batch_t *b = batch_find(c, &m->batch);
    if (b && b->state != BATCH_DELETING) {
        core_reply(c, peer, m->req, PST_E_STATE, &m->batch, false, "the batch has not ended: cancel it first");
        return;
    }
    op_t *op;
    pst_store_op_t *s = core_store(c, PST_STORE_DELETE, NULL, &op);
    s->batch = m->batch;
    s->u.del.segments = UINT32_MAX;
    op->id = m->batch;
    op->peer = peer;
    op->req = m->req;
}

void batch_accept(pst_core_t *c, batch_t *b)
{
    b->state = BATCH_ACTIVE;
    b->where = pst_calloc(b->jobs_accepted, sizeof *b->where);
    c->gauge.jobs_queued += b->jobs_accepted;
    uint64_t left_ms = b->expires_ms > c->wall_ms ? b->expires_ms - c->wall_ms : 0;
    core_timer(c, &b->timer, pst_ns_add(c->now, left_ms * PST_MS));
}

void batch_timer(pst_core_t *c, batch_t *b)
{
    if (b->state <= BATCH_STAGING)
        drop_staging(c, b, 0, 0);
    else if (b->state == BATCH_ACTIVE && b->drain == PST_DRAIN_NONE)
        batch_start_drain(c, b, PST_DRAIN_EXPIRED);
}

static void reply_not_opened(pst_core_t *c, const batch_t *b, pst_err_t e)
{
    bool ended = e == PST_E_EXISTS;
    core_reply(c, b->peer, b->req, ended ? PST_OK : e, &b->id, ended, "%s", ended ? "accepted already" : pst_err_text(e));
}

/* The store refused it, or half of it.  Packs that came behind the OPEN may be stored already: they go with it. */
static void not_opened(pst_core_t *c, batch_t *b, const op_t *op, pst_err_t e)
{
    bool ended = e == PST_E_EXISTS;
    core_reply(c, op->peer, op->req, ended ? PST_OK : e, &b->id, ended, "%s",
               ended ? "accepted already, and ended" : pst_err_text(e));
    if (b->opened)
        return;
    if (b->state == BATCH_COMMITTING) {
        b->open_err = e;
        return;
    }
    if (b->committed_before_opened)
        reply_not_opened(c, b, e);
    if (ended)
        forget(c, b);
    else
        drop_staging(c, b, 0, 0);
}

static void on_opened(pst_core_t *c, const op_t *op, const pst_store_answer_t *a)
{
    batch_t *b = op->batch;
    if (a->err != PST_OK) {
        not_opened(c, b, op, a->err);
        return;
    }
    b->opened = true;
    if (b->state == BATCH_OPENING)
        b->state = BATCH_STAGING;
    if (b->key && holder_of(c, b, &a->holder) == HOLDER_ACCEPTED) {
        core_reply(c, op->peer, op->req, PST_OK, &a->holder, true, "this idempotency key has its batch");
        if (b->state == BATCH_STAGING)
            drop_staging(c, b, 0, 0);
        return;
    }
    core_reply(c, op->peer, op->req, PST_OK, &b->id, false, "opened");
    if (b->committed_before_opened && b->state == BATCH_STAGING)
        accept_begin(c, b);
    b->committed_before_opened = false;
}

static void on_put(pst_core_t *c, const op_t *op, const pst_store_answer_t *a)
{
    batch_t *b = op->batch;
    if (a->err == PST_OK && op->pack < b->packs_n && !b->packs[op->pack].stored) {
        b->packs[op->pack].stored = true;
        b->packs_unstored--;
        c->count.packs_stored++;
    }
    core_reply(c, op->peer, op->req, a->err, &b->id, false, "%s", a->err ? pst_err_text(a->err) : "stored");
}

static void on_claimed(pst_core_t *c, const op_t *op, const pst_store_answer_t *a)
{
    batch_t *b = op->batch;
    if (b->state != BATCH_CLAIMING)
        return;
    if (a->err != PST_OK) {
        b->state = BATCH_STAGING;
        staging_alive(c, b);
        core_reply(c, b->peer, b->req, a->err, &b->id, false, "%s", pst_err_text(a->err));
    } else if (pst_id_eq(&a->holder, &b->id)) {
        commit(c, b);
    } else if (holder_of(c, b, &a->holder) == HOLDER_ACCEPTED) {
        core_reply(c, b->peer, b->req, PST_OK, &a->holder, true, "this idempotency key has its batch");
        drop_staging(c, b, 0, 0);
    } else if (holder_of(c, b, &a->holder) == HOLDER_ABOUT) {
        b->state = BATCH_STAGING;
        staging_alive(c, b);
        core_reply(c, b->peer, b->req, PST_E_FULL, &b->id, false,
                   "a batch of this idempotency key is just being accepted: ask again");
    } else {
        claim(c, b, &a->holder);
    }
}

/* Whatever the store made of a COMMIT behind an OPEN that it refused, the batch is none. */
static void committed_unopened(pst_core_t *c, batch_t *b)
{
    reply_not_opened(c, b, b->open_err);
    if (b->open_err == PST_E_EXISTS)
        forget(c, b);
    else
        drop_staging(c, b, 0, 0);
}

static void on_committed(pst_core_t *c, const op_t *op, const pst_store_answer_t *a)
{
    batch_t *b = op->batch;
    if (b->open_err) {
        committed_unopened(c, b);
        return;
    }
    if (a->err != PST_OK || b->packs_unstored) {
        pst_err_t e = a->err ? a->err : PST_E_STORE_FULL;
        b->state = BATCH_STAGING;
        b->accepted_ms = b->expires_ms = 0;
        staging_alive(c, b);
        core_reply(c, b->peer, b->req, e, &b->id, false, "%s", pst_err_text(e));
        return;
    }
    c->count.batches_accepted++;
    c->count.jobs_accepted += b->jobs;
    b->jobs_accepted = b->jobs;
    batch_accept(c, b);
    for (uint32_t i = 0; i < b->packs_n; i++)
        sched_add_pack(c, b, i);
    core_reply(c, b->peer, b->req, PST_OK, &b->id, true, "accepted");
    core_notice(c, PST_NOTICE_ACCEPTED, &b->id);
}

static void on_ended(pst_core_t *c, const op_t *op)
{
    batch_t *b = op->batch;
    if (!b->live_call) {
        c->count.batches_ended++;
        core_notice(c, PST_NOTICE_ENDED, &b->id);
    }
    b->state = BATCH_DELETING; /* on_stored frees it: its last operation was this one */
}

static void on_deleted(pst_core_t *c, const op_t *op, const pst_store_answer_t *a)
{
    const pst_id_t *id = op->batch ? &op->batch->id : &op->id;
    core_reply(c, op->peer, op->req, a->err, id, false, "%s", a->err ? pst_err_text(a->err) : "deleted");
}

void batch_on_stored(pst_core_t *c, op_t *op, const pst_store_answer_t *a)
{
    if (op->type == PST_STORE_DELETE) {
        on_deleted(c, op, a);
        return;
    }
    batch_t *b = op->batch;
    if (b->state == BATCH_DELETING && op->type != PST_STORE_END) {
        core_reply(c, op->peer, op->req, PST_E_NOT_FOUND, &b->id, false, "the upload was dropped");
        return;
    }
    if (op->type == PST_STORE_OPEN)
        on_opened(c, op, a);
    else if (op->type == PST_STORE_PUT_PACK)
        on_put(c, op, a);
    else if (op->type == PST_STORE_CLAIM)
        on_claimed(c, op, a);
    else if (op->type == PST_STORE_COMMIT)
        on_committed(c, op, a);
    else if (op->type == PST_STORE_END)
        on_ended(c, op);
    else if (op->type == PST_STORE_CANCELLING && op->peer)
        core_reply(c, op->peer, op->req, a->err, &b->id, true, "stopping");
}

/* ---- the end ------------------------------------------------------------------------------------------------- */

pst_cause_t batch_drain_cause(const batch_t *b)
{
    switch (b->drain) {
    case PST_DRAIN_EXPIRED:
        return PST_CAUSE_BATCH_EXPIRED;
    case PST_DRAIN_BUDGET:
        return PST_CAUSE_BUDGET_EXCEEDED;
    case PST_DRAIN_LOST:
        return PST_CAUSE_WORKER_LOST;
    case PST_DRAIN_CANCELLED:
    case PST_DRAIN_NONE:
        break;
    }
    return PST_CAUSE_BATCH_CANCELLED;
}

pst_job_status_t batch_drain_status(const batch_t *b)
{
    switch (b->drain) {
    case PST_DRAIN_EXPIRED:
        return PST_JOB_EXPIRED;
    case PST_DRAIN_BUDGET:
    case PST_DRAIN_LOST:
        return PST_JOB_FAILED;
    case PST_DRAIN_CANCELLED:
    case PST_DRAIN_NONE:
        break;
    }
    return PST_JOB_CANCELLED;
}

/* From now on nothing more of the batch is sent.  What runs may finish, but for an expiry, which ends it too, and for a
 * call, which is all that there is of it. */
void batch_start_drain(pst_core_t *c, batch_t *b, pst_drain_t why)
{
    b->drain = why;
    b->drain_next = 0;
    b->cancelling_ms = c->wall_ms;
    op_t *op;
    pst_store_op_t *s = core_store(c, PST_STORE_CANCELLING, b, &op);
    s->u.cancelling.drain = why;
    s->u.cancelling.wall_ms = c->wall_ms;
    if (why == PST_DRAIN_CANCELLED) {
        op->peer = b->peer;
        op->req = b->req;
    } else {
        op->peer = 0;
    }
    sched_remove_flows(c, b);
    pst_link_before(&c->draining, &b->draining);
}

static pst_batch_status_t end_status(const batch_t *b, const pst_batch_info_t *info)
{
    if (b->drain == PST_DRAIN_CANCELLED)
        return PST_BATCH_CANCELLED;
    if (b->drain == PST_DRAIN_EXPIRED)
        return PST_BATCH_EXPIRED;
    return info->completed ? PST_BATCH_COMPLETED : PST_BATCH_FAILED;
}

void batch_check_end(pst_core_t *c, batch_t *b)
{
    if (b->state != BATCH_ACTIVE || b->ended < b->jobs)
        return;
    for (uint32_t i = 0; i < b->segments_n; i++)
        if (b->segments[i]->gathering || b->segments[i]->in_flight)
            return;
    if (b->ops > 0)
        return; /* a load or a retry is on its way: its answer comes back here */
    b->state = BATCH_ENDING;
    b->ended_ms = c->wall_ms;
    pst_link_remove(&b->draining);
    core_timer(c, &b->timer, PST_NEVER);
    op_t *op;
    pst_store_op_t *s = core_store(c, PST_STORE_END, b, &op);
    if (b->live_call)
        return; /* nobody asks for its account */
    pst_batch_info_t *info = core_scratch(c, sizeof *info);
    stats_batch_info(c, b, true, &c->scratch, info);
    info->status = (uint8_t)end_status(b, info);
    uint32_t *bases = core_scratch(c, (b->segments_n + 1) * sizeof *bases);
    for (uint32_t i = 0; i < b->segments_n; i++)
        bases[i] = b->segments[i]->base;
    bases[b->segments_n] = b->jobs;
    s->u.end.summary = info;
    s->u.end.where = b->where;
    s->u.end.segment_base = bases;
    s->u.end.segments = b->segments_n;
}
