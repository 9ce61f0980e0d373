/* store.c - Redis as the core can tell: operations take effect in order, each at most once although it may be carried out
 * twice; answers come later, or never if the broker dies first. */
#include <stdio.h>

#include "sim.h"

typedef struct pending {
    pst_store_op_t op; /* its pointers are owned copies where the operation needs them later */
    pst_blob_t *headers, *bodies, *route;
    stored_result_t *results;
    uint32_t results_n;
    pst_seg_stats_t stats;
    pst_slot_ref_t *unretry;
    uint32_t *spent;
    stored_retry_t *retry;
    char name[64];
    struct pending *next;
} pending_t;

stored_batch_t *store_find(world_t *w, const pst_id_t *id)
{
    for (uint32_t i = 0; i < w->stored_n; i++)
        if (w->stored[i].there && pst_id_eq(&w->stored[i].id, id))
            return &w->stored[i];
    return NULL;
}

bool store_has_result(world_t *w, const pst_id_t *batch, uint32_t pack, uint16_t slot)
{
    const stored_batch_t *b = store_find(w, batch);
    if (!b)
        return false;
    for (uint32_t i = 0; i < b->results_n; i++)
        if (b->result[i].pack == pack && b->result[i].slot == slot)
            return true;
    return false;
}

static stored_retry_t *retry_at(stored_batch_t *b, uint32_t pack, uint16_t slot)
{
    if (!b->retry)
        b->retry = pst_calloc((size_t)SIM_PACKS_MAX * 16, sizeof *b->retry);
    PST_ASSERT(pack < SIM_PACKS_MAX && slot < 16);
    return &b->retry[pack * 16 + slot];
}

static void drop_batch(stored_batch_t *b)
{
    for (uint32_t i = 0; i < SIM_PACKS_MAX; i++) {
        pst_blob_unref(&b->pack[i].headers);
        pst_blob_unref(&b->pack[i].bodies);
        pst_blob_unref(&b->pack[i].route);
    }
    free(b->retry);
    memset(b, 0, sizeof *b);
}

static bucket_model_t *bucket_named(world_t *w, const char *name)
{
    for (uint32_t i = 0; i < w->buckets_n; i++)
        if (strcmp(w->bucket[i].name, name) == 0)
            return &w->bucket[i];
    PST_ASSERT(w->buckets_n < PST_COUNT(w->bucket));
    bucket_model_t *b = &w->bucket[w->buckets_n++];
    memset(b, 0, sizeof *b);
    snprintf(b->name, sizeof b->name, "%s", name);
    for (int i = 0; i < PST_RATE_COUNT; i++)
        b->level[i] = 1e18; /* begins full */
    return b;
}

/* ---- effects ---------------------------------------------------------------------------------------------------- */

static pst_err_t apply_append(world_t *w, stored_batch_t *b, const pending_t *p)
{
    const pst_store_op_t *op = &p->op;
    uint32_t seg = op->segment;
    if (op->u.append.n < b->next_n[seg])
        return PST_OK; /* carried out before */
    if (op->u.append.n > b->next_n[seg])
        sim_fail(w, "result pack %u of segment %u after %u", op->u.append.n, seg, b->next_n[seg]);
    b->next_n[seg]++;
    for (uint32_t i = 0; i < p->results_n; i++) {
        const stored_result_t *r = &p->results[i];
        if (store_has_result(w, &b->id, r->pack, r->slot))
            sim_fail(w, "a second result for pack %u slot %u", r->pack, r->slot);
        if (r->pack >= b->packs || r->slot >= b->pack[r->pack].entry.jobs || b->pack[r->pack].segment != seg)
            sim_fail(w, "a result for pack %u slot %u, which is not there", r->pack, r->slot);
        b->result[b->results_n++] = *r;
    }
    b->stats[seg] = p->stats;
    uint32_t in_segment = 0, completed = 0;
    for (uint32_t i = 0; i < b->results_n; i++) {
        in_segment += b->result[i].segment == seg;
        completed += b->result[i].segment == seg && b->result[i].status == PST_JOB_COMPLETED;
    }
    const pst_seg_stats_t *s = &p->stats;
    if (s->completed + s->failed + s->expired + s->cancelled != in_segment || s->completed != completed)
        sim_fail(w, "segment %u's account says %u of %u, the store holds %u of %u", seg, s->completed,
                 s->completed + s->failed + s->expired + s->cancelled, completed, in_segment);
    for (uint32_t i = 0; i < op->u.append.unretry_n; i++) {
        stored_retry_t *r = retry_at(b, p->unretry[i].pack, p->unretry[i].slot);
        b->retries -= r->there;
        r->there = false;
    }
    for (uint32_t i = 0; i < op->u.append.spent_n; i++)
        pst_blob_unref(&b->pack[p->spent[i]].bodies);
    return PST_OK;
}

static pst_err_t apply_commit(world_t *w, stored_batch_t *b, const pst_store_op_t *op)
{
    uint32_t jobs = 0;
    for (uint32_t i = 0; i < b->packs; i++)
        jobs += b->pack[i].entry.jobs;
    if (b->packs != op->u.commit.packs || jobs != op->u.commit.jobs)
        sim_fail(w, "accepted with %u packs and %u jobs stored of %u and %u", b->packs, jobs, op->u.commit.packs,
                 op->u.commit.jobs);
    b->accepted = true;
    b->jobs = jobs;
    b->segments = op->u.commit.segments;
    b->accepted_ms = op->u.commit.accepted_ms;
    b->expires_ms = op->u.commit.expires_ms;
    for (uint32_t i = 0; b->key[0] && i < w->stored_n; i++)
        if (w->stored[i].there && &w->stored[i] != b && w->stored[i].accepted && strcmp(w->stored[i].key, b->key) == 0)
            sim_fail(w, "two batches were accepted with the key %s", b->key);
    return PST_OK;
}

static void apply_put(stored_batch_t *b, pending_t *p)
{
    const pst_store_op_t *op = &p->op;
    uint32_t at = op->u.put.entry.pack;
    if (b->pack[at].there)
        return;
    b->pack[at] = (stored_pack_t){.there = true, .entry = op->u.put.entry, .segment = op->segment,
                                  .url = op->u.put.url, .rejected = op->u.put.rejected,
                                  .headers = pst_blob_ref(p->headers), .bodies = pst_blob_ref(p->bodies),
                                  .route = pst_blob_ref(p->route)};
    b->packs++;
}

static pst_id_t holder_of(world_t *w, const char *key, const pst_id_t *claimant, const pst_id_t *replace)
{
    for (uint32_t i = 0; i < w->keys_n; i++) {
        if (strcmp(w->keys[i].key, key) != 0)
            continue;
        if (claimant && replace && pst_id_eq(&w->keys[i].holder, replace))
            w->keys[i].holder = *claimant;
        return w->keys[i].holder;
    }
    if (!claimant)
        return (pst_id_t){{0}};
    PST_ASSERT(w->keys_n < PST_COUNT(w->keys));
    snprintf(w->keys[w->keys_n].key, sizeof w->keys[0].key, "%s", key);
    w->keys[w->keys_n].holder = *claimant;
    return w->keys[w->keys_n++].holder;
}

/* A batch that is deleted lets its key go. */
static void free_key(world_t *w, const pst_id_t *holder)
{
    for (uint32_t i = 0; i < w->keys_n; i++)
        if (pst_id_eq(&w->keys[i].holder, holder))
            w->keys[i--] = w->keys[--w->keys_n];
}

static void fill(world_t *w, bucket_model_t *b, const pst_store_op_t *op)
{
    for (int i = 0; i < PST_RATE_COUNT; i++) {
        double seconds = i == PST_RATE_DAILY ? 86400 : 60, limit = (double)op->u.limit.rate[i].limit;
        double cap = i == PST_RATE_DAILY ? limit : (double)op->u.limit.rate[i].cap;
        b->level[i] = PST_MIN(b->level[i] + limit / seconds * (double)(w->now - b->at) / 1e9, cap);
    }
    b->at = w->now;
}

/* The least of every rate, or nothing. */
static void take(world_t *w, const pending_t *p, pst_store_answer_t *a)
{
    const pst_store_op_t *op = &p->op;
    bucket_model_t *b = bucket_named(w, p->name);
    fill(w, b, op);
    double wait_ms = w->now < b->blocked_until ? (double)((b->blocked_until - w->now) / PST_MS + 1) : 0;
    for (int i = 0; i < PST_RATE_COUNT; i++) {
        double lacks = (double)op->u.limit.rate[i].least - b->level[i];
        if (op->u.limit.rate[i].limit && lacks > 0)
            wait_ms = PST_MAX(wait_ms, lacks * 60000 / (double)op->u.limit.rate[i].limit + 1);
    }
    a->refused = wait_ms > 0;
    a->blocked = w->now < b->blocked_until;
    a->wait_ms = (uint64_t)wait_ms;
    for (int i = 0; i < PST_RATE_COUNT && !a->refused; i++) {
        if (op->u.limit.rate[i].limit)
            a->granted[i] = (uint64_t)PST_MAX(PST_MIN((double)op->u.limit.rate[i].amount, b->level[i]), 0);
        b->level[i] -= (double)a->granted[i];
    }
    b->granted += a->granted[PST_RATE_REQUESTS];
}

static void keep(bucket_model_t *b, const pst_store_op_t *op)
{
    b->kept = true;
    for (int i = 0; i < PST_RATE_COUNT; i++) {
        b->limit[i] = op->u.limit.rate[i].limit;
        b->source[i] = (uint8_t)op->u.limit.rate[i].amount;
    }
}

static void apply_limit(world_t *w, const pending_t *p, pst_store_answer_t *a)
{
    const pst_store_op_t *op = &p->op;
    bucket_model_t *b = bucket_named(w, p->name);
    if (op->type == PST_STORE_LIMIT_TAKE) {
        take(w, p, a);
    } else if (op->type == PST_STORE_LIMIT_GIVE) {
        for (int i = 0; i < PST_RATE_COUNT; i++)
            b->level[i] += (double)op->u.limit.rate[i].amount;
        b->granted -= op->u.limit.rate[PST_RATE_REQUESTS].amount;
    } else if (op->type == PST_STORE_LIMIT_KEEP) {
        keep(b, op);
    } else {
        b->blocked_until = PST_MAX(b->blocked_until, w->now + op->u.limit.block_ms * PST_MS);
    }
}

static stored_batch_t *apply_open(world_t *w, const pending_t *p)
{
    const pst_store_op_t *op = &p->op;
    stored_batch_t *b = store_find(w, &op->batch);
    if (b)
        return b;
    uint32_t i = 0;
    while (i < w->stored_n && w->stored[i].there)
        i++;
    PST_ASSERT(i < SIM_BATCHES_MAX * 2);
    if (i == w->stored_n)
        w->stored_n++;
    b = &w->stored[i];
    memset(b, 0, sizeof *b);
    b->there = true;
    b->id = op->batch;
    batch_plan_t *plan = sim_plan(w, &op->batch);
    snprintf(b->key, sizeof b->key, "%s", plan->key);
    memcpy(b->tenant, p->name, sizeof b->tenant);
    if (strcmp(b->tenant, plan->tenant) != 0)
        sim_fail(w, "a batch of %s is stored as one of %s", plan->tenant, b->tenant);
    b->window_s = plan->window_s;
    b->max_cost_nano = plan->max_cost_nano;
    return b;
}

static void check_end(world_t *w, stored_batch_t *b, const pst_store_op_t *op)
{
    if (b->results_n != b->jobs)
        sim_fail(w, "a batch ended with %u results for %u jobs", b->results_n, b->jobs);
    if (op->u.end.segments != b->segments)
        sim_fail(w, "a batch ended with %u segments of %u", op->u.end.segments, b->segments);
    b->ended = true;
}

static void apply(world_t *w, pending_t *p, pst_store_answer_t *a)
{
    pst_store_op_t *op = &p->op;
    stored_batch_t *b = store_find(w, &op->batch);
    switch (op->type) {
    case PST_STORE_OPEN:
        b = apply_open(w, p);
        a->err = b->ended ? PST_E_EXISTS : PST_OK;
        a->holder = holder_of(w, b->key, NULL, NULL);
        return;
    case PST_STORE_LIMIT_TAKE:
    case PST_STORE_LIMIT_GIVE:
    case PST_STORE_LIMIT_BLOCK:
    case PST_STORE_LIMIT_KEEP:
        apply_limit(w, p, a);
        return;
    case PST_STORE_DELETE:
        if (b) {
            free_key(w, &b->id);
            drop_batch(b);
        }
        a->err = b ? PST_OK : PST_E_NOT_FOUND;
        return;
    case PST_STORE_PUT_PACK:
    case PST_STORE_CLAIM:
    case PST_STORE_COMMIT:
    case PST_STORE_APPEND:
    case PST_STORE_RETRY:
    case PST_STORE_LOAD:
    case PST_STORE_CANCELLING:
    case PST_STORE_END:
    case PST_STORE_OP_COUNT:
        break;
    }
    if (!b) {
        a->err = PST_E_NOT_FOUND;
        return;
    }
    if (op->type == PST_STORE_PUT_PACK)
        apply_put(b, p);
    else if (op->type == PST_STORE_CLAIM)
        a->holder = holder_of(w, b->key, &b->id, op->u.claim.replace ? &op->u.claim.holder : NULL);
    else if (op->type == PST_STORE_COMMIT)
        a->err = apply_commit(w, b, op);
    else if (op->type == PST_STORE_APPEND)
        a->err = apply_append(w, b, p);
    else if (op->type == PST_STORE_CANCELLING)
        b->drain = op->u.cancelling.drain;
    else if (op->type == PST_STORE_END)
        check_end(w, b, op);
    else if (op->type == PST_STORE_RETRY) {
        stored_retry_t *r = retry_at(b, p->retry->retry.pack, p->retry->retry.slot);
        b->retries += !r->there;
        *r = *p->retry;
        r->there = true;
    } else if (op->type == PST_STORE_LOAD) {
        stored_pack_t *pack = &b->pack[op->u.load.pack];
        if (op->u.load.bodies && !pack->bodies)
            sim_fail(w, "pack %u is read back after all its jobs have ended", op->u.load.pack);
        a->headers = pst_blob_ref(pack->headers);
        a->bodies = op->u.load.bodies ? pst_blob_ref(pack->bodies) : NULL;
    }
}

/* ---- on their way ------------------------------------------------------------------------------------------------- */

static void pending_free(pending_t *p)
{
    pst_blob_unref(&p->headers);
    pst_blob_unref(&p->bodies);
    pst_blob_unref(&p->route);
    free(p->results);
    free(p->unretry);
    free(p->spent);
    free(p->retry);
    free(p);
}

static pending_t *pop(world_t *w)
{
    pending_t *p = w->pending;
    w->pending = p->next;
    if (!w->pending)
        w->pending_tail = NULL;
    return p;
}

static void answer(world_t *w, pending_t *p, pst_store_answer_t *a)
{
    pst_event_t ev = {.type = PST_EV_STORED};
    ev.u.stored.answer = a;
    pst_pack_headers_t h;
    if (p->op.type == PST_STORE_LOAD && a->err == PST_OK) {
        PST_ASSERT(pst_pack_headers_decode(pst_blob_view(a->headers), &w->arena, &h) == PST_OK);
        ev.u.stored.headers = &h;
    }
    if (p->op.token)
        sim_step(w, &ev);
    pst_blob_unref(&a->headers);
    pst_blob_unref(&a->bodies);
}

static void work(world_t *w, void *arg)
{
    (void)arg;
    if (!w->store_up)
        return;
    uint32_t life = w->broker_life;
    for (uint64_t n = sim_between(w, 1, 8); n > 0 && w->pending && life == w->broker_life; n--) {
        pending_t *p = pop(w);
        pst_store_answer_t a = {.type = p->op.type, .token = p->op.token};
        apply(w, p, &a);
        if (w->faults.store_stall && sim_chance(w, 0.05) && p->op.type != PST_STORE_LIMIT_TAKE &&
            p->op.type != PST_STORE_LIMIT_GIVE && p->op.type != PST_STORE_LOAD) {
            pst_store_answer_t again = {.type = p->op.type, .token = p->op.token};
            apply(w, p, &again); /* the reply was lost: the operation is sent again */
            if (p->op.type == PST_STORE_DELETE)
                a.err = PST_OK;
        }
        answer(w, p, &a);
        pending_free(p);
    }
    if (w->pending && life == w->broker_life)
        sim_after(w, sim_between(w, 50 * PST_US, 3 * PST_MS), work, NULL, &w->broker_life, false);
}

void store_set_up(world_t *w, bool up)
{
    w->store_up = up;
    if (up && w->pending)
        sim_after(w, PST_MS, work, NULL, &w->broker_life, false);
}

void store_broker_died(world_t *w)
{
    uint64_t n = sim_between(w, 0, 20);
    while (w->pending) {
        pending_t *p = pop(w);
        pst_store_answer_t a = {.type = p->op.type};
        if (n > 0 && w->store_up) { /* it had been sent */
            apply(w, p, &a);
            n--;
        }
        pst_blob_unref(&a.headers);
        pst_blob_unref(&a.bodies);
        pending_free(p);
    }
}

static void keep_append(pending_t *p, const pst_store_op_t *op)
{
    const pst_result_pack_t *pack = op->u.append.pack;
    p->results_n = pack->results_n;
    p->results = pst_calloc(pack->results_n, sizeof *p->results);
    for (uint32_t i = 0; i < pack->results_n; i++)
        p->results[i] = (stored_result_t){op->segment, op->u.append.n, op->u.append.ended[i].pack,
                                          op->u.append.ended[i].slot, pack->results[i].status};
    p->stats = *op->u.append.stats;
    p->stats.causes = NULL;
    p->stats.endpoints = NULL;
    p->stats.causes_n = p->stats.endpoints_n = 0;
    p->unretry = pst_calloc(op->u.append.unretry_n + 1, sizeof *p->unretry);
    for (uint32_t i = 0; i < op->u.append.unretry_n; i++)
        p->unretry[i] = op->u.append.unretry[i];
    p->spent = pst_calloc(op->u.append.spent_n + 1, sizeof *p->spent);
    for (uint32_t i = 0; i < op->u.append.spent_n; i++)
        p->spent[i] = op->u.append.spent[i];
}

static void keep_retry(world_t *w, pending_t *p, const pst_retry_t *r)
{
    p->retry = pst_calloc(1, sizeof *p->retry);
    p->retry->retry = *r;
    for (uint32_t i = 0; i < r->endpoints_n; i++) { /* names of the world live as long as it does */
        p->retry->names[i] = r->endpoints[i];
        for (int k = 0; k < SIM_PROVIDERS; k++)
            if (pst_view_eqs(r->endpoints[i].provider, w->provider[k].name))
                p->retry->names[i].provider = pst_view_str(w->provider[k].name);
        for (int k = 0; k < SIM_ENDPOINTS; k++)
            if (pst_view_eqs(r->endpoints[i].model, sim_endpoints[k].model))
                p->retry->names[i].model = pst_view_str(sim_endpoints[k].model);
    }
    memcpy(p->retry->history, r->history, r->history_n * sizeof *r->history);
}

void store_submit(world_t *w, const pst_store_op_t *op)
{
    pending_t *p = pst_calloc(1, sizeof *p);
    p->op = *op;
    if (op->type == PST_STORE_PUT_PACK) {
        p->headers = pst_blob_ref(op->u.put.headers);
        p->bodies = pst_blob_ref(op->u.put.bodies);
        p->route = pst_blob_new(op->u.put.route.p, op->u.put.route.n);
    } else if (op->type == PST_STORE_APPEND) {
        keep_append(p, op);
    } else if (op->type == PST_STORE_RETRY) {
        keep_retry(w, p, op->u.retry.retry);
    } else if (op->type == PST_STORE_OPEN) {
        snprintf(p->name, sizeof p->name, "%.*s", (int)op->u.open.info->tenant.n, op->u.open.info->tenant.p);
    } else if (op->type >= PST_STORE_LIMIT_TAKE) {
        snprintf(p->name, sizeof p->name, "%.*s", (int)op->u.limit.name.n, op->u.limit.name.p);
    }
    bool idle = !w->pending;
    if (w->pending_tail)
        w->pending_tail->next = p;
    else
        w->pending = p;
    w->pending_tail = p;
    if (idle)
        sim_after(w, sim_between(w, 50 * PST_US, 2 * PST_MS), work, NULL, &w->broker_life, false);
}

/* ---- reading back --------------------------------------------------------------------------------------------------- */

static void restored(world_t *w, pst_restored_t *r)
{
    pst_event_t ev = {.type = PST_EV_RESTORED};
    ev.u.restored = r;
    sim_step(w, &ev);
}

static void restore_packs(world_t *w, const stored_batch_t *b, uint32_t segment)
{
    for (uint32_t i = 0; i < b->packs; i++) {
        if (b->pack[i].segment != segment)
            continue;
        pst_restored_t r = {.type = PST_RESTORED_PACK, .batch = b->id, .segment = segment};
        r.u.pack.entry = b->pack[i].entry;
        r.u.pack.url = b->pack[i].url;
        r.u.pack.route = pst_blob_view(b->pack[i].route);
        r.u.pack.rejected = b->pack[i].rejected;
        restored(w, &r);
    }
}

static void restore_results(world_t *w, const stored_batch_t *b, uint32_t segment)
{
    for (uint32_t n = 0; n < b->next_n[segment]; n++) {
        pst_slot_ref_t ended[SIM_JOBS_MAX];
        pst_restored_t r = {.type = PST_RESTORED_RESULTS, .batch = b->id, .segment = segment};
        r.u.results.n = n;
        r.u.results.ended = ended;
        for (uint32_t i = 0; i < b->results_n; i++)
            if (b->result[i].segment == segment && b->result[i].n == n)
                ended[r.u.results.ended_n++] = (pst_slot_ref_t){b->result[i].pack, b->result[i].slot};
        restored(w, &r);
    }
    if (b->next_n[segment]) {
        pst_restored_t r = {.type = PST_RESTORED_STATS, .batch = b->id, .segment = segment};
        r.u.stats = b->stats[segment];
        restored(w, &r);
    }
}

static void restore_retries(world_t *w, const stored_batch_t *b, uint32_t segment)
{
    for (uint32_t i = 0; b->retry && i < SIM_PACKS_MAX * 16; i++) {
        if (!b->retry[i].there || b->pack[b->retry[i].retry.pack].segment != segment)
            continue;
        pst_restored_t r = {.type = PST_RESTORED_RETRY, .batch = b->id, .segment = segment};
        r.u.retry = b->retry[i].retry;
        r.u.retry.endpoints = b->retry[i].names;
        r.u.retry.history = b->retry[i].history;
        restored(w, &r);
    }
}

/* Segment by segment, as the keys lie. */
static void restore_one(world_t *w, stored_batch_t *b)
{
    pst_restored_t r = {.type = PST_RESTORED_BATCH, .batch = b->id};
    batch_plan_t *plan = sim_plan(w, &b->id);
    r.u.batch.info = (pst_batch_info_t){.batch = b->id, .priority = plan->priority, .window_s = b->window_s,
                                        .max_cost_nano = b->max_cost_nano, .accepted_ms = b->accepted_ms,
                                        .expires_ms = b->expires_ms, .idempotency_key = pst_view_str(b->key),
                                        .tenant = pst_view_str(b->tenant)};
    r.u.batch.drain = b->drain;
    for (uint32_t i = 0; b->accepted_ms && i < b->packs; i++)
        r.u.batch.jobs += b->pack[i].entry.jobs;
    restored(w, &r);
    for (uint32_t segment = 0; segment < SIM_PACKS_MAX; segment++) {
        restore_packs(w, b, segment);
        restore_results(w, b, segment);
        restore_retries(w, b, segment);
    }
    r = (pst_restored_t){.type = PST_RESTORED_BATCH_END, .batch = b->id};
    restored(w, &r);
}

static void restore_limits(world_t *w, const bucket_model_t *b)
{
    pst_restored_t r = {.type = PST_RESTORED_LIMITS};
    r.u.limits.name = pst_view_str(b->name);
    memcpy(r.u.limits.limit, b->limit, sizeof r.u.limits.limit);
    memcpy(r.u.limits.source, b->source, sizeof r.u.limits.source);
    restored(w, &r);
}

void store_restore(world_t *w)
{
    for (uint32_t i = 0; i < w->buckets_n; i++)
        if (w->bucket[i].kept)
            restore_limits(w, &w->bucket[i]);
    for (uint32_t i = 0; i < w->stored_n; i++)
        if (w->stored[i].there && !w->stored[i].ended)
            restore_one(w, &w->stored[i]);
}

void store_free(world_t *w)
{
    while (w->pending)
        pending_free(pop(w));
    for (uint32_t i = 0; i < w->stored_n; i++)
        drop_batch(&w->stored[i]);
    free(w->stored);
}
