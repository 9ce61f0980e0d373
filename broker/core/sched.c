/* sched.c - whose turn it is, and what is sent.
 *
 * A flow is the jobs of one batch with one route: packs with fresh jobs in input order, and records that are ready to
 * run (again).  The pump takes the route whose turn is next (fair.c), its tenant and that one's batch, and sends of
 * that flow's jobs a quantum of tokens at most.  A flow leaves the order when it has nothing to send (IDLE), when its next
 * pack is being read back (LOADING), or when its batch may not send for a while (BUDGET, HELD); a route when none of its
 * candidates can take its next job (WAITING: they stand where room will be, place.c). */
#include "core/internal.h"

/* ---- job records -------------------------------------------------------------------------------------------------- */

#define SPARE_JOBS_MAX 8192u
#define OVERTIME_QUANTA 3
#define LOADING_OF_CROWD 2
#define LOADING_MIN 4 /* flows may wait for a pack at a time, however large packs are */

/* One is needed for every call: what an ended job leaves serves the next. */
static job_t *take_record(pst_core_t *c)
{
    if (!c->spare_jobs)
        return pst_calloc_line(sizeof(job_t));
    job_t *j = c->spare_jobs;
    c->spare_jobs = j->spare;
    c->spare_jobs_n--;
    *j = (job_t){0};
    return j;
}

static void put_record(pst_core_t *c, job_t *j)
{
    free(j->history);
    if (c->spare_jobs_n == SPARE_JOBS_MAX) {
        free(j);
        return;
    }
    j->spare = c->spare_jobs;
    c->spare_jobs = j;
    c->spare_jobs_n++;
}

void job_free_spares(pst_core_t *c)
{
    for (job_t *j; (j = c->spare_jobs) != NULL;) {
        c->spare_jobs = j->spare;
        free(j);
    }
}

job_t *job_new(pst_core_t *c, batch_t *b, uint32_t pack, uint16_t slot)
{
    live_t *l = pack_live(c, b, pack);
    PST_ASSERT(!l->record[slot]);
    job_t *j = take_record(c);
    pst_heap_node_init(&j->timer.node);
    j->timer.kind = TIMER_JOB;
    pst_link_init(&j->link);
    j->batch = b;
    j->pack = pack;
    j->slot = slot;
    j->endpoint = NONE;
    l->record[slot] = j;
    l->records++;
    return j;
}

void job_free(pst_core_t *c, job_t *j)
{
    batch_t *b = j->batch;
    if (j->state == JOB_RUNNING)
        job_leave_worker(c, j);
    else if (j->state == JOB_WAITING) {
        b->waiting--;
        c->gauge.jobs_waiting--;
    }
    core_timer(c, &j->timer, PST_NEVER);
    pst_link_remove(&j->link);
    b->held -= j->held;
    live_t *l = b->packs[j->pack].live;
    l->record[j->slot] = NULL;
    l->records--;
    pack_settle(c, b, j->pack);
    put_record(c, j);
}

/* The worker has the job no longer: its places and reservations are free, on whatever path this was. */
void job_leave_worker(pst_core_t *c, job_t *j)
{
    PST_ASSERT(j->state == JOB_RUNNING);
    pst_link_remove(&j->link);
    j->batch->running--;
    c->gauge.jobs_running--;
    j->state = JOB_READY;
    if (j->leads)
        beginning_failed(c, j);
    if (j->endpoint != NONE && j->worker) {
        endpoint_t *e = c->endpoints[j->endpoint];
        provider_t *p = c->providers[e->provider];
        e->in_flight--;
        p->in_flight--;
        pool_release(c, worker_pool(j->worker, e->provider));
        j->batch->cost_reserved -= j->cost_nano;
        j->cost_nano = 0;
        place_wake(c, &p->place);
        place_wake(c, &e->place);
    }
    j->worker = NULL;
    if (j->batch->budget_waited)
        sched_budget_freed(c, j->batch);
}

/* ---- flows ---------------------------------------------------------------------------------------------------------- */

static void flow_key(const batch_t *b, const route_t *base, uint8_t given_up, char key[21])
{
    memcpy(key, b->id.b, 16);
    memcpy(key + 16, &base->id, 4);
    key[20] = (char)given_up;
}

/* A window is kept as cheaply as it can be, unless the user asks for something else than price. */
static bool is_planned(const batch_t *b, const route_t *base)
{
    return b->window_s && (base->wish.sort == PST_SORT_DEFAULT || base->wish.sort == PST_SORT_PRICE);
}

static route_t *route_for(pst_core_t *c, batch_t *b, route_t *base, uint8_t given_up)
{
    batch_t *planned = is_planned(b, base) ? b : NULL;
    if (given_up || planned)
        return route_variant(c, base, given_up, planned);
    base->refs++;
    return base;
}

static flow_t *flow_of(pst_core_t *c, batch_t *b, route_t *base, uint8_t given_up)
{
    char key[21];
    flow_key(b, base, given_up, key);
    flow_t *f = pst_map_get(&c->flows, key, sizeof key);
    if (f)
        return f;
    f = pst_calloc_line(sizeof *f);
    memcpy(f->key, key, sizeof key);
    f->batch = b;
    f->base = base;
    f->route = route_for(c, b, base, given_up);
    f->share = fair_join(f->route, b->tenant, b->priority);
    if (f->route->planned)
        f->route->planned_flow = f;
    f->head = f->tail = NONE;
    pst_heap_node_init(&f->node);
    pst_link_init(&f->ready);
    pst_link_before(&b->flows, &f->of_batch);
    pst_map_set(&c->flows, key, sizeof key, f);
    return f;
}

/* Of the jobs of a pack that have given up nothing. */
static flow_t *flow_of_pack(pst_core_t *c, batch_t *b, uint32_t pack)
{
    return flow_of(c, b, c->routes[b->packs[pack].route], 0);
}

/* Packs that are being read back for flows whose turn has come: no more than a quarter of the memory for packs, or those
 * read first would have to go before they are used. */
static bool loads_full(const pst_core_t *c)
{
    uint64_t pack = c->gauge.packs_open ? c->open_bytes / c->gauge.packs_open : 0;
    return c->flows_loading >= LOADING_MIN && c->flows_loading * pack >= c->opts.open_bytes_max / 4;
}

/* A crowded route does not begin turn after turn while it waits for a pack. */
static bool loads_enough(const pst_core_t *c, const route_t *r)
{
    return loads_full(c) || (r->loading >= LOADING_OF_CROWD && fair_crowded(c));
}

static void set_state(pst_core_t *c, flow_t *f, flow_state_t state)
{
    if (f->state == state)
        return;
    c->flows_loading += state == FLOW_LOADING;
    c->flows_loading -= f->state == FLOW_LOADING;
    f->route->loading += state == FLOW_LOADING;
    f->route->loading -= f->state == FLOW_LOADING;
    if (f->state == FLOW_ACTIVE)
        fair_leave(c, f);
    f->state = state;
    if (state == FLOW_ACTIVE) {
        fair_enter(c, f);
        route_retry(c, f->route, f->batch->priority);
    } else if (!fair_share(f->route)) {
        route_rest(c, f->route, ROUTE_IDLE);
    }
}

void sched_activate(pst_core_t *c, flow_t *f)
{
    if (f->state == FLOW_IDLE || f->state == FLOW_LOADING)
        set_state(c, f, FLOW_ACTIVE);
}

static void activate_all(pst_core_t *c, batch_t *b, flow_state_t from)
{
    for (pst_link_t *x = b->flows.next; x != &b->flows; x = x->next) {
        flow_t *f = PST_CONTAINER(x, flow_t, of_batch);
        if (f->state == from)
            set_state(c, f, FLOW_ACTIVE);
    }
}

void sched_budget_freed(pst_core_t *c, batch_t *b)
{
    b->budget_waited = false;
    activate_all(c, b, FLOW_BUDGET);
}

void sched_hold_ended(pst_core_t *c, batch_t *b)
{
    b->hold_waited = false;
    activate_all(c, b, FLOW_HELD);
}

void sched_add_pack(pst_core_t *c, batch_t *b, uint32_t pack)
{
    pack_t *p = &b->packs[pack];
    if (p->ended == p->jobs)
        return;
    flow_t *f = flow_of_pack(c, b, pack);
    p->next = NONE;
    if (f->tail == NONE)
        f->head = pack;
    else
        b->packs[f->tail].next = pack;
    f->tail = pack;
    f->left += p->jobs - p->ended - PST_MIN(p->live ? p->live->records : 0, (uint32_t)(p->jobs - p->ended));
    sched_activate(c, f);
}

void sched_remove_flows(pst_core_t *c, batch_t *b)
{
    while (!pst_link_empty(&b->flows)) {
        flow_t *f = PST_CONTAINER(b->flows.next, flow_t, of_batch);
        while (!pst_link_empty(&f->ready)) {
            job_t *j = PST_CONTAINER(f->ready.next, job_t, link);
            pst_link_remove(&j->link);
            j->flow = NULL;
        }
        set_state(c, f, FLOW_IDLE);
        pst_link_remove(&f->of_batch);
        pst_map_remove(&c->flows, f->key, sizeof f->key);
        if (f->route->planned_flow == f)
            f->route->planned_flow = NULL;
        fair_part(f->share);
        route_put(c, f->route);
        free(f);
    }
}

void sched_ready(pst_core_t *c, job_t *j)
{
    batch_t *b = j->batch;
    j->state = JOB_READY;
    core_timer(c, &j->timer, PST_NEVER);
    if (b->begun && b->drain == PST_DRAIN_NONE) /* what began is never begun again */
        batch_start_drain(c, b, PST_DRAIN_LOST);
    if (b->drain != PST_DRAIN_NONE) { /* ends in its turn of the drain */
        b->drain_next = PST_MIN(b->drain_next, j->pack);
        return;
    }
    j->flow = flow_of(c, b, c->routes[b->packs[j->pack].route], j->given_up);
    j->flow->left += !j->held; /* one that was held has not been counted out */
    b->held -= j->held;
    j->held = false;
    pst_link_remove(&j->link);
    pst_link_before(&j->flow->ready, &j->link);
    sched_activate(c, j->flow);
}

static void go_on_loading(pst_core_t *c)
{
    while (!pst_link_empty(&c->for_loads) && !loads_full(c)) {
        route_t *r = PST_CONTAINER(c->for_loads.next, route_t, for_loads);
        pst_link_remove(&r->for_loads);
        route_ready(c, r);
        if (r->state == ROUTE_READY)
            return; /* it may take the place that has become free */
    }
}

void sched_loaded(pst_core_t *c, batch_t *b, uint32_t pack)
{
    if (b->drain != PST_DRAIN_NONE) {
        b->drain_loads -= b->drain_loads > 0; /* one may have been asked for before the drain began */
        return;
    }
    const route_t *base = c->routes[b->packs[pack].route];
    for (pst_link_t *x = b->flows.next; x != &b->flows; x = x->next) {
        flow_t *f = PST_CONTAINER(x, flow_t, of_batch);
        if (f->state == FLOW_LOADING && f->base == base)
            sched_activate(c, f);
    }
    go_on_loading(c);
}

void sched_resume(pst_core_t *c, batch_t *b)
{
    for (pst_link_t *x = b->flows.next; x != &b->flows; x = x->next) {
        flow_t *f = PST_CONTAINER(x, flow_t, of_batch);
        if (f->state == FLOW_LOADING && f->route->candidates_n == 0)
            sched_activate(c, f);
    }
}

/* ---- sending ---------------------------------------------------------------------------------------------------------- */

#define GROUPS_MAX 16

/* Jobs of one pack on their way to one endpoint at one worker, until they are emitted. */
typedef struct batch_of_tasks {
    endpoint_t *endpoint;
    pool_t *pool;
    uint8_t model;
    pst_task_slot_t *slots;
    uint32_t n;
} batch_of_tasks_t;

typedef struct run {
    pst_core_t *c;
    flow_t *flow;
    uint32_t pack;
    batch_of_tasks_t groups[GROUPS_MAX];
    uint32_t groups_n;
} run_t;

static bool is_holder(live_t *l, pst_peer_t peer)
{
    for (int i = 0; i < HOLDERS_MAX; i++)
        if (l->holders[i] == peer)
            return true;
    return false;
}

static bool add_holder(live_t *l, pst_peer_t peer)
{
    for (int i = 0; i < HOLDERS_MAX; i++) {
        if (!l->holders[i]) {
            l->holders[i] = peer;
            return true;
        }
    }
    return false;
}

static void remove_holder(live_t *l, pst_peer_t peer)
{
    for (int i = 0; i < HOLDERS_MAX; i++)
        if (l->holders[i] == peer)
            l->holders[i] = 0;
}

static pst_task_group_t *emit(pst_core_t *c, const batch_t *b, uint32_t pack, pst_peer_t worker)
{
    pst_action_t *a = core_action(c, PST_ACT_TASKS);
    a->u.tasks.worker = worker;
    a->u.tasks.group.batch = b->id;
    a->u.tasks.group.segment = b->packs[pack].segment;
    a->u.tasks.group.pack = pack;
    return &a->u.tasks.group;
}

static void attach_bytes(pst_core_t *c, const live_t *l)
{
    pst_action_t *a = &c->actions[c->actions_n - 1];
    a->u.tasks.headers = l->headers;
    a->u.tasks.bodies = l->bodies;
    a->u.tasks.group.headers = pst_blob_view(l->headers);
    a->u.tasks.group.bodies = pst_blob_view(l->bodies);
    core_hold(c, l->headers);
    core_hold(c, l->bodies);
}

static void emit_group(run_t *r, batch_of_tasks_t *g, bool last)
{
    pst_core_t *c = r->c;
    batch_t *b = r->flow->batch;
    live_t *l = b->packs[r->pack].live;
    pst_peer_t peer = g->pool->worker->peer;
    pst_task_group_t *t = emit(c, b, r->pack, peer);
    if (!is_holder(l, peer)) {
        attach_bytes(c, l);
        t = &c->actions[c->actions_n - 1].u.tasks.group;
        if (!last && !add_holder(l, peer))
            last = true;
    }
    if (last)
        remove_holder(l, peer);
    const endpoint_t *e = g->endpoint;
    t->last = last;
    t->endpoint = endpoint_name(c, e->id);
    t->model = r->flow->route->wish.models.v[g->model];
    t->max_output = e->max_output;
    t->flags = e->flags;
    t->slots = g->slots;
    t->slots_n = g->n;
    t->priority = r->flow->batch->priority;
    t->live = r->flow->batch->live_call;
    c->count.dispatches += g->n;
    g->n = 0;
}

/* Workers that hold the pack and get nothing more of it may let it go. */
static void release_holders(pst_core_t *c, const batch_t *b, uint32_t pack)
{
    live_t *l = b->packs[pack].live;
    for (int i = 0; i < HOLDERS_MAX; i++) {
        if (!l->holders[i])
            continue;
        if (worker_find(c, l->holders[i])) {
            pst_task_group_t *t = emit(c, b, pack, l->holders[i]);
            t->last = true;
        }
        l->holders[i] = 0;
    }
}

static bool only_group_of_worker(const run_t *r, uint32_t at)
{
    for (uint32_t i = at + 1; i < r->groups_n; i++)
        if (r->groups[i].n && r->groups[i].pool->worker == r->groups[at].pool->worker)
            return false;
    return true;
}

static void emit_run(run_t *r, bool last)
{
    for (uint32_t i = 0; i < r->groups_n; i++)
        if (r->groups[i].n)
            emit_group(r, &r->groups[i], last && only_group_of_worker(r, i));
    r->groups_n = 0;
}

static bool room_in(const pool_t *p)
{
    return p->jobs > p->in_flight;
}

/* The group for this endpoint with a worker that has room; NULL only if no worker has (the caller checked). */
static batch_of_tasks_t *group_for(run_t *r, endpoint_t *e, uint8_t model)
{
    for (uint32_t i = 0; i < r->groups_n; i++) {
        batch_of_tasks_t *g = &r->groups[i];
        if (g->endpoint == e && g->model == model && room_in(g->pool) && g->n < PST_PACK_JOBS_MAX)
            return g;
    }
    live_t *l = r->flow->batch->packs[r->pack].live;
    pool_t *pool = worker_pick(r->c, r->c->providers[e->provider], l);
    if (!pool)
        return NULL;
    if (r->groups_n == GROUPS_MAX)
        emit_run(r, false);
    batch_of_tasks_t *g = &r->groups[r->groups_n++];
    *g = (batch_of_tasks_t){.endpoint = e, .pool = pool, .model = model};
    g->slots = core_scratch(r->c, PST_PACK_JOBS_MAX * sizeof *g->slots);
    return g;
}

static bool over_budget(const batch_t *b, uint64_t cost)
{
    return b->max_cost_nano && b->cost_spent + b->cost_reserved + cost > b->max_cost_nano;
}

static void start(run_t *r, batch_of_tasks_t *g, job_t *j, tokens_t tokens, uint64_t cost)
{
    pst_core_t *c = r->c;
    endpoint_t *e = g->endpoint;
    provider_t *p = c->providers[e->provider];
    j->state = JOB_RUNNING;
    j->endpoint = e->id;
    j->worker = g->pool->worker;
    j->reserved = estimate_counted(p, e, tokens);
    j->cost_nano = cost;
    j->dispatch++;
    j->started = c->now;
    pst_link_remove(&j->link);
    pst_link_before(&g->pool->worker->running, &j->link);
    e->in_flight++;
    p->in_flight++;
    r->flow->left -= r->flow->left > 0;
    learn_start(c, e);
    pool_take(c, g->pool);
    bucket_spend(c, p->bucket, j->reserved);
    bucket_spend(c, e->bucket, j->reserved);
    j->batch->running++;
    c->gauge.jobs_running++;
    j->batch->cost_reserved += cost;
    g->slots[g->n++] = (pst_task_slot_t){j->slot, j->dispatch};
    c->step_jobs++;
    r->flow->quantum -= (int64_t)tokens.input + tokens.output;
    fair_count(c, r->flow->batch, tokens.input); /* what the answer takes, when it is known */
}

typedef enum sent { SENT, SENT_BLOCKED, SENT_HOPELESS, SENT_BUDGET, SENT_HELD } sent_t;

/* Its prompt begins as one that is being answered: it waits for that answer. */
static sent_t hold(run_t *r, job_t *j, uint16_t slot, beginning_t *leader)
{
    if (!j)
        j = job_new(r->c, r->flow->batch, r->pack, slot);
    j->state = JOB_READY;
    j->held = true;
    r->flow->batch->held++;
    beginning_hold(leader, j);
    return SENT_HELD;
}

/* Sends one job if it can: j NULL for a fresh one, whose record is made only then. */
static sent_t send_one(run_t *r, job_t *j, uint16_t slot)
{
    pst_core_t *c = r->c;
    batch_t *b = r->flow->batch;
    route_t *route = r->flow->route;
    if (route->candidates_n == 0)
        return SENT_HOPELESS;
    const slot_t *s = &b->packs[r->pack].live->slots[slot];
    pick_t pick = {.avoid = j ? j->endpoint : NONE, .priority = b->priority, .job = s};
    candidate_t *k = route_pick(c, route, &pick);
    if (!k)
        return pick.leader ? hold(r, j, slot, pick.leader) : SENT_BLOCKED;
    endpoint_t *e = c->endpoints[k->endpoint];
    tokens_t tokens = estimate_tokens(e, s);
    uint64_t cost = (uint64_t)endpoint_cost(e, tokens.input, 0, estimate_usual(e, tokens.output));
    if (over_budget(b, cost))
        return SENT_BUDGET;
    batch_of_tasks_t *g = group_for(r, e, k->model);
    PST_ASSERT(g); /* provider_free: its pools have room */
    if (!j)
        j = job_new(c, b, r->pack, slot);
    j->estimate = s->input;
    start(r, g, j, tokens, cost);
    route_sent(c, k, &pick, j);
    return SENT;
}

typedef enum visit {
    VISIT_MORE,
    VISIT_TURN_OVER,
    VISIT_BLOCKED,
    VISIT_LOADING,
    VISIT_LOADS_FULL,
    VISIT_IDLE,
    VISIT_BUDGET,
    VISIT_HELD,
} visit_t;

/* A pack that was read back for a turn is used up in it, if that is not several turns' worth. */
static bool overtime(const run_t *r)
{
    const flow_t *f = r->flow;
    const pack_t *p = r->pack == NONE ? NULL : &f->batch->packs[r->pack];
    return p && p->next_slot < p->jobs && f->quantum > -OVERTIME_QUANTA * QUANTUM_TOKENS && fair_crowded(r->c);
}

static bool turn_over(const run_t *r)
{
    return (r->flow->quantum <= 0 && !overtime(r)) || r->c->step_jobs >= DISPATCH_MAX_STEP;
}

/* What the calls in flight do not take of their reservations may do for this job; without any the money is spent. */
static visit_t out_of_budget(pst_core_t *c, batch_t *b)
{
    if (b->cost_reserved > 0) {
        b->budget_waited = true;
        return VISIT_BUDGET;
    }
    batch_start_drain(c, b, PST_DRAIN_BUDGET); /* frees the flow */
    return VISIT_IDLE;
}

static bool holds_enough(const run_t *r)
{
    return r->flow->batch->held >= HELD_JOBS_MAX;
}

static visit_t after(run_t *r, sent_t s)
{
    switch (s) {
    case SENT_BLOCKED:
        return VISIT_BLOCKED;
    case SENT_BUDGET:
        return out_of_budget(r->c, r->flow->batch);
    case SENT:
    case SENT_HELD:
    case SENT_HOPELESS:
        break;
    }
    return turn_over(r) ? VISIT_TURN_OVER : VISIT_MORE;
}

static bool went_on(const run_t *r, sent_t s)
{
    return s == SENT || (s == SENT_HELD && !holds_enough(r));
}

/* Ends jobs of an open pack that no endpoint can ever serve (or that were refused at submission): the slots
 * [first, end). */
static void end_slots(pst_core_t *c, batch_t *b, uint32_t pack, uint16_t first, uint16_t end)
{
    pack_t *p = &b->packs[pack];
    pst_pack_headers_t h;
    pst_err_t e = pst_pack_headers_decode(pst_blob_view(p->live->headers), &c->scratch, &h);
    PST_ASSERT(e == PST_OK);
    for (uint16_t s = first; s < end; s++) {
        job_t *j = pack_record(p, s);
        if (b->where[p->base + s] || (j && j->state == JOB_RUNNING))
            continue;
        if (h.jobs[s].reject)
            outcome_end_job(c, b, pack, s, &h.jobs[s], PST_JOB_FAILED, h.jobs[s].reject, NULL);
        else
            outcome_end_job(c, b, pack, s, &h.jobs[s], PST_JOB_FAILED, PST_CAUSE_NO_ENDPOINT,
                            "no endpoint can serve this request: check the model, its routing fields and the "
                            "configuration");
    }
}

static visit_t visit_ready(run_t *r)
{
    pst_core_t *c = r->c;
    flow_t *f = r->flow;
    job_t *first = PST_CONTAINER(f->ready.next, job_t, link);
    r->pack = first->pack;
    pack_t *p = &f->batch->packs[r->pack];
    if (!pack_is_open(p) || !p->live->bodies) {
        if (loads_enough(c, f->route))
            return VISIT_LOADS_FULL;
        pack_load(c, f->batch, r->pack, true);
        return VISIT_LOADING;
    }
    sent_t s = SENT;
    uint16_t slot = 0;
    while (went_on(r, s) && !pst_link_empty(&f->ready) && !turn_over(r)) {
        job_t *j = PST_CONTAINER(f->ready.next, job_t, link);
        if (j->pack != r->pack)
            break;
        slot = j->slot;
        s = send_one(r, j, slot);
    }
    bool fresh_left = p->next_slot < p->jobs;
    emit_run(r, !fresh_left);
    if (s == SENT_HOPELESS)
        end_slots(c, f->batch, r->pack, slot, (uint16_t)(slot + 1));
    if (!fresh_left && p->live && (pst_link_empty(&f->ready) ||
                                   PST_CONTAINER(f->ready.next, job_t, link)->pack != r->pack)) {
        release_holders(c, f->batch, r->pack);
        pack_close(c, f->batch, r->pack);
    }
    return after(r, s);
}

static void next_pack(pst_core_t *c, flow_t *f)
{
    batch_t *b = f->batch;
    uint32_t pack = f->head;
    pack_t *p = &b->packs[pack];
    f->head = p->next;
    if (f->head == NONE)
        f->tail = NONE;
    if (p->live) {
        release_holders(c, b, pack);
        pack_close(c, b, pack);
    }
}

static void skip_taken(batch_t *b, pack_t *p)
{
    while (p->next_slot < p->jobs && (b->where[p->base + p->next_slot] || pack_record(p, p->next_slot)))
        p->next_slot++;
}

static void prefetch(pst_core_t *c, flow_t *f)
{
    uint32_t at = f->head;
    int packs = fair_crowded(c) ? 1 : PREFETCH_PACKS;
    for (int i = 0; i < packs && at != NONE; i++) {
        pack_t *p = &f->batch->packs[at];
        if (!pack_is_open(p) && p->ended < p->jobs && (i == 0 || c->open_bytes + p->bytes < c->opts.open_bytes_max))
            pack_load(c, f->batch, at, true);
        at = p->next;
    }
}

static visit_t visit_fresh(run_t *r)
{
    pst_core_t *c = r->c;
    flow_t *f = r->flow;
    batch_t *b = f->batch;
    r->pack = f->head;
    pack_t *p = &b->packs[r->pack];
    skip_taken(b, p);
    if (p->next_slot == p->jobs) {
        next_pack(c, f);
        return VISIT_MORE;
    }
    bool open = pack_is_open(p) && p->live->bodies;
    if (!open && loads_enough(c, f->route))
        return VISIT_LOADS_FULL;
    prefetch(c, f);
    if (!open)
        return VISIT_LOADING;
    pack_touch(c, p->live);
    if (f->route->candidates_n == 0) {
        if (!outcome_room(c))
            return VISIT_LOADING; /* sched_resume comes when the store has caught up */
        end_slots(c, b, r->pack, 0, p->jobs);
        f->quantum = 0;
        c->step_jobs += p->jobs;
        return VISIT_TURN_OVER;
    }
    sent_t s = SENT;
    while (went_on(r, s) && p->next_slot < p->jobs && !turn_over(r)) {
        s = send_one(r, NULL, p->next_slot);
        skip_taken(b, p); /* over this one, if it is sent or held */
    }
    emit_run(r, p->next_slot == p->jobs);
    PST_ASSERT(s != SENT_HOPELESS); /* there are candidates */
    return after(r, s);
}

static visit_t visit(pst_core_t *c, flow_t *f)
{
    run_t r = {.c = c, .flow = f, .pack = NONE};
    if (!f->batch->in_turn)
        f->quantum = QUANTUM_TOKENS;
    f->batch->in_turn = true;
    visit_t v = VISIT_MORE;
    while (v == VISIT_MORE) {
        if (pst_link_empty(&f->ready) && f->head == NONE)
            return VISIT_IDLE;
        if (holds_enough(&r)) { /* this flow, or others of its batch: each waits until some may go */
            f->batch->hold_waited = true;
            return VISIT_HELD;
        }
        v = pst_link_empty(&f->ready) ? visit_fresh(&r) : visit_ready(&r);
    }
    return v;
}

static flow_state_t state_after(visit_t v)
{
    switch (v) {
    case VISIT_LOADING:
        return FLOW_LOADING;
    case VISIT_IDLE:
        return FLOW_IDLE;
    case VISIT_BUDGET:
        return FLOW_BUDGET;
    case VISIT_HELD:
        return FLOW_HELD;
    case VISIT_MORE:
    case VISIT_TURN_OVER:
    case VISIT_BLOCKED:
    case VISIT_LOADS_FULL:
        break;
    }
    return FLOW_ACTIVE;
}

static void visit_route(pst_core_t *c, route_t *r)
{
    r->refs++; /* with its last flow a variant would go */
    flow_t *f = fair_flow(fair_share(r));
    batch_t *b = f->batch;
    visit_t v = visit(c, f);
    bool kept = (v == VISIT_BLOCKED || v == VISIT_LOADS_FULL || v == VISIT_LOADING) && fair_crowded(c);
    if (!kept)
        fair_turn_over(b);
    if (b->drain == PST_DRAIN_NONE) /* else the flow is gone */
        set_state(c, f, state_after(v));
    r->tried_at = v == VISIT_BLOCKED ? c->now : 0;
    r->tried_as = b->priority;
    if (v == VISIT_BLOCKED || v == VISIT_LOADS_FULL)
        route_rest(c, r, ROUTE_WAITING);
    if (v == VISIT_LOADS_FULL && loads_full(c)) /* else the route's own loads wake it */
        pst_link_before(&c->for_loads, &r->for_loads);
    place_pass_on(c, r);
    route_put(c, r);
}

void sched_pump(pst_core_t *c)
{
    c->step_jobs = 0;
    if (!c->go || !c->store_up)
        return;
    for (;;) {
        place_let_go(c);
        route_t *r = fair_route(c);
        if (!r)
            return;
        if (c->step_jobs >= DISPATCH_MAX_STEP) {
            c->more = true;
            return;
        }
        visit_route(c, r);
    }
}

/* ---- draining: cancelled, expired, out of budget ---------------------------------------------------------------------- */

static bool must_end(const batch_t *b, const pack_t *p, uint16_t slot)
{
    if (b->where[p->base + slot])
        return false;
    const job_t *j = pack_record(p, slot);
    return !j || j->state != JOB_RUNNING || b->drain == PST_DRAIN_EXPIRED || b->live_call;
}

static bool pack_must_end(const batch_t *b, const pack_t *p)
{
    for (uint16_t s = 0; s < p->jobs; s++)
        if (must_end(b, p, s))
            return true;
    return false;
}

static void revoke(pst_core_t *c, const job_t *j)
{
    pst_action_t *a = core_action(c, PST_ACT_REVOKE);
    a->u.revoke.worker = j->worker->peer;
    a->u.revoke.ref = (pst_task_ref_t){.batch = j->batch->id, .segment = j->batch->packs[j->pack].segment,
                                       .pack = j->pack, .slot = j->slot, .dispatch = j->dispatch};
}

static void drain_pack(pst_core_t *c, batch_t *b, uint32_t pack)
{
    pack_t *p = &b->packs[pack];
    pst_pack_headers_t h;
    pst_err_t e = pst_pack_headers_decode(pst_blob_view(p->live->headers), &c->scratch, &h);
    PST_ASSERT(e == PST_OK);
    for (uint16_t s = 0; s < p->jobs; s++) {
        if (!must_end(b, p, s))
            continue;
        job_t *j = pack_record(p, s);
        if (j && j->state == JOB_RUNNING && j->worker)
            revoke(c, j);
        if (h.jobs[s].reject)
            outcome_end_job(c, b, pack, s, &h.jobs[s], PST_JOB_FAILED, h.jobs[s].reject, NULL);
        else
            outcome_end_job(c, b, pack, s, &h.jobs[s], batch_drain_status(b), batch_drain_cause(b), NULL);
    }
    if (p->live) {
        release_holders(c, b, pack);
        pack_close(c, b, pack);
    }
}

/* Reads ahead so that the store is asked for several packs at a time. */
static void drain_prefetch(pst_core_t *c, batch_t *b)
{
    for (uint32_t i = b->drain_next; i < b->packs_n && b->drain_loads < DRAIN_LOADS_MAX; i++) {
        pack_t *p = &b->packs[i];
        if (i >= b->drain_next + 2 * DRAIN_LOADS_MAX)
            return;
        if (pack_is_open(p) || (p->live && p->live->loading) || !pack_must_end(b, p))
            continue;
        pack_load(c, b, i, false);
        b->drain_loads++;
    }
}

static void drain_batch(pst_core_t *c, batch_t *b)
{
    while (b->drain_next < b->packs_n && c->step_jobs < DISPATCH_MAX_STEP && (b->live_call || outcome_room(c))) {
        pack_t *p = &b->packs[b->drain_next];
        if (pack_must_end(b, p)) {
            if (!pack_is_open(p))
                break;
            c->step_jobs += p->jobs;
            drain_pack(c, b, b->drain_next);
        }
        b->drain_next++;
    }
    if (c->step_jobs >= DISPATCH_MAX_STEP)
        c->more = true;
    drain_prefetch(c, b);
}

void sched_drain(pst_core_t *c)
{
    c->step_jobs = 0;
    if (!c->go)
        return;
    for (pst_link_t *x = c->draining.next, *next; x != &c->draining; x = next) {
        next = x->next;
        batch_t *b = PST_CONTAINER(x, batch_t, draining);
        if (c->store_up || b->live_call) /* of a call the store need not know */
            drain_batch(c, b);
    }
}
