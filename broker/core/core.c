/* core.c - the step: one event in, actions out.  The parts decide (batch.c, sched.c, outcome.c, …); here are the
 * switchboard, the action queue, timers and the table of store operations on their way. */
#include <stdio.h>

#include "core/internal.h"

static void free_dead(pst_core_t *c)
{
    for (uint32_t i = 0; i < c->dead_n; i++)
        batch_free(c, c->dead[i]);
    c->dead_n = 0;
}

static void forget_actions(pst_core_t *c)
{
    PST_ASSERT(c->actions_at == c->actions_n); /* the shell must take every action before the next step */
    c->actions_n = c->actions_at = 0;
    for (uint32_t i = 0; i < c->held_n; i++)
        pst_blob_unref(&c->held[i]);
    c->held_n = 0;
    pst_arena_clear(&c->scratch);
    free_dead(c);
}

pst_action_t *core_action(pst_core_t *c, pst_action_type_t type)
{
    pst_grow(c->actions, c->actions_n, c->actions_cap);
    pst_action_t *a = &c->actions[c->actions_n++];
    memset(a, 0, sizeof *a);
    a->type = type;
    return a;
}

void *core_scratch(pst_core_t *c, size_t n)
{
    void *p = pst_arena_get(&c->scratch, n);
    PST_ASSERT(p);
    return p;
}

void core_hold(pst_core_t *c, pst_blob_t *b)
{
    if (!b)
        return;
    pst_grow(c->held, c->held_n, c->held_cap);
    c->held[c->held_n++] = pst_blob_ref(b);
}

static op_t *op_new(pst_core_t *c)
{
    if (c->ops_free == NONE) {
        uint32_t old = c->ops_cap;
        c->ops_cap = old ? old * 2 : 64;
        c->ops = pst_realloc(c->ops, (size_t)c->ops_cap * sizeof *c->ops);
        for (uint32_t i = c->ops_cap; i-- > old;) {
            c->ops[i].token = 0;
            c->ops[i].next_free = c->ops_free;
            c->ops_free = i;
        }
    }
    uint32_t at = c->ops_free;
    op_t *op = &c->ops[at];
    c->ops_free = op->next_free;
    memset(op, 0, sizeof *op);
    op->token = ((uint64_t)++c->ops_gen << 32) | at;
    c->ops_n++;
    return op;
}

void core_op_done(pst_core_t *c, op_t *op)
{
    if (op->batch)
        op->batch->ops--;
    op->next_free = c->ops_free;
    c->ops_free = (uint32_t)op->token;
    op->token = 0;
    c->ops_n--;
}

pst_store_op_t *core_store(pst_core_t *c, pst_store_op_type_t type, batch_t *b, op_t **ret_op)
{
    pst_store_op_t *s = &core_action(c, PST_ACT_STORE)->u.store;
    s->type = type;
    if (b) {
        s->batch = b->id;
        s->live = b->live_call != 0;
    }
    if (ret_op) {
        op_t *op = op_new(c);
        op->type = type;
        op->batch = b;
        if (b)
            b->ops++;
        s->token = op->token;
        *ret_op = op;
    }
    return s;
}

void core_reply(pst_core_t *c, pst_peer_t peer, uint32_t req, pst_err_t e, const pst_id_t *batch, bool accepted,
                const char *fmt, ...)
{
    if (e != PST_OK)
        c->count.refusals++;
    if (!peer)
        return;
    pst_action_t *a = core_action(c, PST_ACT_REPLY);
    a->u.reply.peer = peer;
    pst_msg_done_t *d = &a->u.reply.done;
    d->req = req;
    d->err = (uint16_t)e;
    d->accepted = accepted;
    if (batch)
        d->batch = *batch;
    char *text = core_scratch(c, PST_MESSAGE_BYTES_MAX);
    va_list ap;
    va_start(ap, fmt);
    size_t n = (size_t)vsnprintf(text, PST_MESSAGE_BYTES_MAX, fmt, ap);
    va_end(ap);
    d->text = pst_view(text, PST_MIN(n, PST_MESSAGE_BYTES_MAX - 1));
}

void core_notice(pst_core_t *c, pst_notice_t what, const pst_id_t *batch)
{
    pst_action_t *a = core_action(c, PST_ACT_NOTICE);
    a->u.notice.what = what;
    a->u.notice.batch = *batch;
}

void core_timer(pst_core_t *c, timer_t_ *t, pst_ns_t at)
{
    if (at == PST_NEVER)
        pst_heap_remove(&c->timers, &t->node);
    else
        pst_heap_set(&c->timers, &t->node, at);
}

static void fire(pst_core_t *c, timer_t_ *t)
{
    switch (t->kind) {
    case TIMER_JOB: {
        job_t *j = PST_CONTAINER(t, job_t, timer);
        j->batch->waiting--;
        c->gauge.jobs_waiting--;
        sched_ready(c, j);
        break;
    }
    case TIMER_ENDPOINT: {
        endpoint_t *e = PST_CONTAINER(t, endpoint_t, rest.timer);
        rest_timer(c, &e->rest, e, NULL);
        break;
    }
    case TIMER_PROVIDER: {
        provider_t *p = PST_CONTAINER(t, provider_t, rest.timer);
        rest_timer(c, &p->rest, NULL, p);
        break;
    }
    case TIMER_BUCKET:
        bucket_timer(c, PST_CONTAINER(t, bucket_t, timer));
        break;
    case TIMER_BATCH:
        batch_timer(c, PST_CONTAINER(t, batch_t, timer));
        break;
    case TIMER_ROUTE:
        plan_timer(c, PST_CONTAINER(t, route_t, timer));
        break;
    }
}

static void fire_due(pst_core_t *c)
{
    pst_heap_node_t *top;
    while ((top = pst_heap_top(&c->timers)) != NULL && top->key <= c->now) {
        timer_t_ *t = PST_CONTAINER(top, timer_t_, node);
        pst_heap_remove(&c->timers, top);
        fire(c, t);
    }
}

/* Forgets a batch; its memory stays until the next step, because this step's actions may point into it. */
void core_bury(pst_core_t *c, batch_t *b)
{
    pst_map_remove(&c->batches, b->id.b, 16);
    pst_grow(c->dead, c->dead_n, c->dead_cap);
    c->dead[c->dead_n++] = b;
}

static void on_stored(pst_core_t *c, const pst_event_t *ev)
{
    const pst_store_answer_t *a = ev->u.stored.answer;
    uint32_t at = (uint32_t)a->token;
    if (a->token == 0 || at >= c->ops_cap || c->ops[at].token != a->token)
        return; /* nobody waits for it any more */
    op_t op = c->ops[at];
    switch (op.type) {
    case PST_STORE_APPEND:
        outcome_append_stored(c, &op);
        break;
    case PST_STORE_RETRY:
        outcome_retry_stored(c, &op);
        break;
    case PST_STORE_LIMIT_TAKE:
        bucket_taken(c, op.bucket, a);
        break;
    case PST_STORE_LOAD:
        if (op.batch->state == BATCH_ACTIVE) {
            c->count.packs_loaded++; /* read in full, or headers only for a drain */
            PST_ASSERT(a->err == PST_OK && ev->u.stored.headers);
            pack_open(c, op.batch, op.pack, ev->u.stored.headers, a->headers, a->bodies);
            sched_loaded(c, op.batch, op.pack);
        }
        break;
    case PST_STORE_OPEN:
    case PST_STORE_PUT_PACK:
    case PST_STORE_CLAIM:
    case PST_STORE_COMMIT:
    case PST_STORE_CANCELLING:
    case PST_STORE_END:
    case PST_STORE_DELETE:
        batch_on_stored(c, &op, a);
        break;
    case PST_STORE_LIMIT_GIVE:
    case PST_STORE_LIMIT_BLOCK:
    case PST_STORE_LIMIT_KEEP:
    case PST_STORE_OP_COUNT:
        break;
    }
    core_op_done(c, &c->ops[at]);
    if (op.batch && op.batch->state == BATCH_ACTIVE)
        batch_check_end(c, op.batch);
    if (op.batch && op.batch->state == BATCH_DELETING && op.batch->ops == 0)
        core_bury(c, op.batch);
}

static void on_event(pst_core_t *c, const pst_event_t *ev)
{
    switch (ev->type) {
    case PST_EV_TICK:
        break;
    case PST_EV_CONFIG:
        endpoint_config(c, ev->u.config);
        break;
    case PST_EV_OPEN:
        batch_on_open(c, ev->u.open.peer, ev->u.open.msg);
        break;
    case PST_EV_PACK:
        batch_on_pack(c, ev);
        break;
    case PST_EV_COMMIT:
        batch_on_commit(c, ev->u.commit.peer, ev->u.commit.msg);
        break;
    case PST_EV_ABORT:
        batch_on_abort(c, ev->u.batch_req.peer, ev->u.batch_req.msg);
        break;
    case PST_EV_CANCEL:
        batch_on_cancel(c, ev->u.batch_req.peer, ev->u.batch_req.msg);
        break;
    case PST_EV_DELETE:
        batch_on_delete(c, ev->u.batch_req.peer, ev->u.batch_req.msg);
        break;
    case PST_EV_CALL:
        call_on_call(c, ev);
        break;
    case PST_EV_BEGUN:
        call_on_begun(c, &ev->u.begun.call);
        break;
    case PST_EV_WORKER:
        worker_on_hello(c, ev);
        break;
    case PST_EV_CAPACITY:
        worker_on_capacity(c, ev);
        break;
    case PST_EV_WORKER_GONE:
        worker_on_gone(c, ev->u.worker.worker);
        break;
    case PST_EV_OUTCOMES:
        outcome_on_message(c, ev);
        break;
    case PST_EV_STORED:
        on_stored(c, ev);
        break;
    case PST_EV_STORE_STATE:
        c->store_up = ev->u.store_state.up;
        c->store_used = ev->u.store_state.used_bytes;
        c->store_max = ev->u.store_state.max_bytes;
        break;
    case PST_EV_RESTORED:
        restore_on(c, ev->u.restored);
        break;
    case PST_EV_GO:
        restore_go(c);
        break;
    }
}

void pst_core_step(pst_core_t *c, pst_ns_t now, uint64_t wall_ms, const pst_event_t *ev)
{
    forget_actions(c);
    c->now = PST_MAX(c->now, now);
    c->began = c->began ? c->began : c->now;
    c->wall_ms = PST_MAX(c->wall_ms, wall_ms);
    c->more = false;
    fair_age(c);
    on_event(c, ev);
    if (c->go)
        fire_due(c);
    sched_drain(c);
    sched_pump(c);
    outcome_send_appends(c);
}

bool pst_core_next(pst_core_t *c, pst_action_t *ret)
{
    if (c->actions_at == c->actions_n)
        return false;
    *ret = c->actions[c->actions_at++];
    return true;
}

pst_ns_t pst_core_deadline(const pst_core_t *c)
{
    if (c->more)
        return c->now;
    if (!c->go)
        return PST_NEVER;
    pst_heap_node_t *top = pst_heap_top(&c->timers);
    return top ? top->key : PST_NEVER;
}

pst_core_t *pst_core_new(const pst_core_opts_t *o)
{
    pst_core_t *c = pst_calloc(1, sizeof *c);
    c->opts = *o;
    if (!c->opts.batches_max)
        c->opts.batches_max = 100000;
    if (!c->opts.open_bytes_max)
        c->opts.open_bytes_max = 64u << 20;
    if (!c->opts.staging_idle_ms)
        c->opts.staging_idle_ms = PST_UPLOAD_IDLE_MS;
    c->store_up = true;
    c->ops_free = NONE;
    pst_rng_seed(&c->rng, o->seed);
    pst_heap_init(&c->timers);
    pst_map_init(&c->batches, o->seed);
    pst_map_init(&c->workers, o->seed);
    pst_map_init(&c->routes_by_key, o->seed);
    pst_map_init(&c->models_by_name, o->seed);
    pst_map_init(&c->endpoints_by_name, o->seed);
    pst_map_init(&c->tenants, o->seed);
    pst_map_init(&c->flows, o->seed);
    pst_map_init(&c->beginnings, o->seed);
    pst_link_init(&c->beginnings_used);
    pst_heap_init(&c->ready);
    pst_link_init(&c->awake);
    pst_link_init(&c->for_loads);
    pst_link_init(&c->open);
    pst_link_init(&c->gathered);
    pst_link_init(&c->draining);
    pst_link_init(&c->worker_list);
    pst_arena_init(&c->scratch, 0);
    return c;
}

void pst_core_destroy(pst_core_t **cp)
{
    pst_core_t *c = pst_take(cp);
    if (!c)
        return;
    c->actions_at = c->actions_n;
    forget_actions(c);
    while (!pst_link_empty(&c->worker_list)) {
        worker_t *w = PST_CONTAINER(c->worker_list.next, worker_t, link);
        worker_on_gone(c, w->peer);
    }
    c->actions_at = c->actions_n;
    for (uint32_t i = 0; i < c->ops_cap; i++) {
        op_t *op = &c->ops[i];
        if (!op->token)
            continue;
        if (op->append)
            append_recycle(c, op->append);
        if (op->receipt)
            receipt_done(c, op->receipt);
    }
    uint32_t i = 0;
    for (batch_t *b; (b = pst_map_next(&c->batches, &i)) != NULL;)
        batch_free(c, b);
    c->actions_at = c->actions_n;
    forget_actions(c);
    pst_heap_release(&c->timers);
    pst_heap_release(&c->ready);
    job_free_spares(c);
    beginning_free_all(c);
    endpoint_free_all(c);
    append_free_all(c);
    free(c->routes);
    free(c->ops);
    free(c->actions);
    free(c->held);
    free(c->dead);
    pst_arena_release(&c->scratch);
    pst_map_release(&c->batches);
    pst_map_release(&c->workers);
    pst_map_release(&c->routes_by_key);
    pst_map_release(&c->models_by_name);
    pst_map_release(&c->endpoints_by_name);
    pst_map_release(&c->tenants);
    pst_map_release(&c->flows);
    pst_map_release(&c->beginnings);
    free(c);
}

const pst_core_counters_t *pst_core_counters(const pst_core_t *c)
{
    return &c->count;
}

const pst_core_causes_t *pst_core_causes(const pst_core_t *c)
{
    return &c->causes;
}
