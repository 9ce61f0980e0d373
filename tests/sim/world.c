/* world.c - time, faults, clients, workers and providers around the core.  See sim.h. */
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>

#define OPEN_BYTES_MAX 2000
#define LOST_AFTER (2 * PST_SEC)
#define HEAL_AFTER (20 * PST_SEC)
#define END_AFTER (1200 * PST_SEC) /* of virtual time after healing: everything must have ended */

const sim_endpoint_t sim_endpoints[SIM_ENDPOINTS] = {{0, "m"}, {1, "m"}, {2, "m"}, {0, "n"}};

/* ---- time and chance ---------------------------------------------------------------------------------------------- */

void sim_fail(world_t *w, const char *fmt, ...)
{
    if (w->failure)
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(w->failure_text, sizeof w->failure_text, fmt, ap);
    va_end(ap);
    w->failure = w->failure_text;
}

bool sim_chance(world_t *w, double p)
{
    return pst_rng_unit(&w->rng) < p;
}

uint64_t sim_between(world_t *w, uint64_t lo, uint64_t hi)
{
    return lo + pst_rng_below(&w->rng, hi - lo + 1);
}

void sim_after(world_t *w, pst_ns_t delay, sim_fn *fn, void *arg, const uint32_t *life, bool owns)
{
    sim_event_t *e = pst_calloc(1, sizeof *e);
    pst_heap_node_init(&e->node);
    e->fn = fn;
    e->arg = arg;
    e->life_now = life;
    e->life = life ? *life : 0;
    e->owns = owns;
    pst_heap_set(&w->events, &e->node, w->now + delay);
}

static void trace(world_t *w, uint64_t v)
{
    w->trace = (w->trace ^ v) * 0x9e3779b97f4a7c15ull;
    w->trace ^= w->trace >> 29;
}

/* One after the other, however long each takes: a link keeps its order. */
pst_ns_t sim_in_order(world_t *w, pst_ns_t *last)
{
    pst_ns_t at = w->now + sim_between(w, 20 * PST_US, 2 * PST_MS);
    *last = PST_MAX(at, *last + 1);
    return *last - w->now;
}

batch_plan_t *sim_plan(world_t *w, const pst_id_t *id)
{
    for (uint32_t i = 0; i < w->batches_n; i++)
        if (pst_id_eq(&w->batch[i].id, id))
            return &w->batch[i];
    sim_fail(w, "a batch that nobody opened");
    return &w->batch[0];
}

/* ---- the broker's shell ---------------------------------------------------------------------------------------------- */

typedef struct to_worker {
    world_t *w;
    uint32_t worker;
    pst_action_type_t type;
    pst_task_ref_t ref[64];
    uint32_t refs;
    uint32_t endpoint;
    uint64_t number;
} to_worker_t;

static void worker_receives(world_t *w, void *arg);
static void client_hears(world_t *w, void *arg);

typedef struct to_client {
    uint32_t client;
    pst_msg_done_t done;
} to_client_t;

static worker_t *worker_of(world_t *w, pst_peer_t peer, uint32_t *ret)
{
    for (uint32_t i = 0; i < w->workers_n; i++) {
        if (w->worker[i].session && w->worker[i].peer == peer) {
            *ret = i;
            return &w->worker[i];
        }
    }
    return NULL;
}

static bool same_job(const pst_task_ref_t *a, const pst_task_ref_t *b)
{
    return pst_id_eq(&a->batch, &b->batch) && a->pack == b->pack && a->slot == b->slot;
}

call_t *sim_find_call(worker_t *k, const pst_task_ref_t *ref)
{
    for (call_t *c = k->calls; c; c = c->next)
        if (same_job(&c->ref, ref))
            return c;
    return NULL;
}

/* May the worker forget this answer?  If a result of the job is stored, or if the batch is being stopped and the job may end
 * without an answer. */
static bool may_forget(world_t *w, const pst_task_ref_t *ref)
{
    const stored_batch_t *b = store_find(w, &ref->batch);
    if (!b || b->ended || b->drain || sim_plan(w, &ref->batch)->window_s || sim_plan(w, &ref->batch)->cancel ||
        sim_plan(w, &ref->batch)->max_cost_nano || store_has_result(w, &ref->batch, ref->pack, ref->slot))
        return true;
    return false;
}

static void check_ack(world_t *w, worker_t *k, uint64_t number)
{
    for (call_t *c = k->calls; c; c = c->next)
        if (c->number == number && c->verdict == PST_VERDICT_DONE && !may_forget(w, &c->ref))
            sim_fail(w, "an outcome was acknowledged before its result was stored (pack %u slot %u)", c->ref.pack,
                     c->ref.slot);
}

static uint32_t endpoint_named(world_t *w, const pst_endpoint_name_t *n)
{
    for (uint32_t i = 0; i < SIM_ENDPOINTS; i++)
        if (pst_view_eqs(n->provider, w->provider[sim_endpoints[i].provider].name) &&
            pst_view_eqs(n->model, sim_endpoints[i].model))
            return i;
    sim_fail(w, "an endpoint that is not configured");
    return 0;
}

static void send_to_worker(world_t *w, const pst_action_t *a, pst_peer_t peer)
{
    uint32_t at;
    worker_t *k = worker_of(w, peer, &at);
    if (!k)
        return;
    to_worker_t *m = pst_calloc(1, sizeof *m);
    m->w = w;
    m->worker = at;
    m->type = a->type;
    if (a->type == PST_ACT_TASKS) {
        const pst_task_group_t *g = &a->u.tasks.group;
        PST_ASSERT(g->slots_n <= PST_COUNT(m->ref));
        calls_check_dispatch(w, g);
        for (uint32_t i = 0; i < g->slots_n; i++)
            m->ref[m->refs++] = (pst_task_ref_t){g->batch, g->segment, g->pack, g->slots[i].slot, g->slots[i].dispatch};
        m->endpoint = g->slots_n ? endpoint_named(w, &g->endpoint) : 0;
    } else if (a->type == PST_ACT_REVOKE) {
        m->ref[m->refs++] = a->u.revoke.ref;
    } else {
        m->number = a->u.ack.number;
        check_ack(w, k, m->number);
    }
    pst_ns_t delay = sim_in_order(w, &k->to_worker);
    if (a->type == PST_ACT_REVOKE)
        w->revoked_by = PST_MAX(w->revoked_by, w->now + delay);
    sim_after(w, delay, worker_receives, m, &k->link, true);
}

static void send_to_client(world_t *w, const pst_action_t *a)
{
    uint32_t at = a->u.reply.peer - 1;
    const pst_msg_done_t *d = &a->u.reply.done;
    if (a->u.reply.peer == UINT32_MAX)
        calls_refused(w, d);
    if (at >= w->clients_n)
        return;
    if (d->accepted && d->err == PST_OK) {
        const stored_batch_t *b = store_find(w, &d->batch);
        if (d->req != 50 && (!b || !b->accepted))
            sim_fail(w, "a client was told (request %u, %.*s) that its batch is accepted, and the store does not know it", d->req,
                     (int)d->text.n, d->text.p);
    }
    to_client_t *m = pst_calloc(1, sizeof *m);
    m->client = at;
    m->done = *d;
    m->done.text = pst_view(NULL, 0);
    sim_after(w, sim_between(w, 20 * PST_US, 2 * PST_MS), client_hears, m, &w->broker_life, true);
}

static void tick(world_t *w, void *arg)
{
    (void)arg;
    w->tick_at = PST_NEVER;
    pst_event_t ev = {.type = PST_EV_TICK};
    sim_step(w, &ev);
}

static void check_gauges(world_t *w)
{
    pst_core_gauges_t g;
    pst_core_gauges(w->core, &g);
    if (g.open_bytes > OPEN_BYTES_MAX + 4000)
        sim_fail(w, "%llu bytes of packs are held open", (unsigned long long)g.open_bytes);
}

void sim_step(world_t *w, const pst_event_t *ev)
{
    if (w->failure)
        return;
    trace(w, (uint64_t)ev->type << 56 ^ w->now);
    pst_core_step(w->core, w->now, w->wall_ms + w->now / PST_MS, ev);
    pst_action_t a;
    while (pst_core_next(w->core, &a)) {
        trace(w, a.type);
        switch (a.type) {
        case PST_ACT_STORE:
            trace(w, a.u.store.type * 1000u + a.u.store.segment);
            if (a.u.store.live)
                calls_store(w, &a.u.store);
            else
                store_submit(w, &a.u.store);
            break;
        case PST_ACT_TASKS:
            trace(w, a.u.tasks.group.pack * 1000u + a.u.tasks.group.slots_n);
            send_to_worker(w, &a, a.u.tasks.worker);
            break;
        case PST_ACT_REVOKE:
            send_to_worker(w, &a, a.u.revoke.worker);
            break;
        case PST_ACT_ACK:
            send_to_worker(w, &a, a.u.ack.worker);
            break;
        case PST_ACT_REPLY:
            trace(w, a.u.reply.done.err);
            send_to_client(w, &a);
            break;
        case PST_ACT_NOTICE:
            break;
        }
    }
    check_gauges(w);
    pst_ns_t at = pst_core_deadline(w->core);
    if (at < w->tick_at) {
        w->tick_at = at;
        sim_after(w, at > w->now ? at - w->now : 0, tick, NULL, &w->broker_life, false);
    }
}

/* ---- providers ----------------------------------------------------------------------------------------------------------- */

typedef struct answer {
    uint32_t worker;
    pst_task_ref_t ref;
    uint32_t endpoint;
} answer_t;

static provider_model_t *provider_of(world_t *w, uint32_t endpoint)
{
    return &w->provider[sim_endpoints[endpoint].provider];
}

static uint32_t ordinal(world_t *w, const pst_task_ref_t *ref)
{
    const batch_plan_t *p = sim_plan(w, &ref->batch);
    uint32_t n = ref->slot;
    for (uint32_t i = 0; i < ref->pack; i++)
        n += p->pack_jobs[i];
    return n;
}

/* What is said is not what is enforced: the core must live with either.  Every limit lets all jobs through in time. */
static void say_limit(world_t *w, call_t *c)
{
    static const uint64_t least[PST_RATE_COUNT] = {300, 20000, 20000, 40000, 1000000};
    uint8_t rate = (uint8_t)sim_between(w, 0, PST_RATE_COUNT - 1);
    uint64_t limit = least[rate] * sim_between(w, 1, 100);
    c->said = (pst_limit_report_t){.rate = rate, .limit = limit, .remaining = UINT64_MAX};
    if (sim_chance(w, 0.5))
        c->said.remaining = sim_between(w, 0, limit);
}

static void decide(world_t *w, call_t *c, provider_model_t *p)
{
    if (w->faults.headers && sim_chance(w, 0.1))
        say_limit(w, c);
    c->status = 200;
    c->verdict = PST_VERDICT_DONE;
    c->cause = PST_CAUSE_NONE;
    if (w->now < p->outage_until || sim_chance(w, w->now < w->heal_at ? p->p_error : 0)) {
        c->verdict = PST_VERDICT_RETRY;
        c->cause = PST_CAUSE_SERVER;
        c->status = 500;
    } else if (w->now < p->bad_key_until) {
        c->verdict = PST_VERDICT_PARK;
        c->cause = PST_CAUSE_AUTHENTICATION;
        c->status = 401;
    } else if (sim_chance(w, w->now < w->heal_at ? p->p_429 : 0)) {
        c->verdict = PST_VERDICT_THROTTLE;
        c->cause = PST_CAUSE_RATE_LIMIT;
        c->status = 429;
        c->wait_ms = sim_between(w, 0, 3000);
    } else if (sim_chance(w, p->p_final)) {
        c->verdict = PST_VERDICT_FINAL;
        c->cause = PST_CAUSE_INVALID_REQUEST;
        c->status = 400;
    }
}

static void send_outcomes(world_t *w, uint32_t at);

static void provider_answers(world_t *w, void *arg)
{
    answer_t *a = arg;
    provider_model_t *p = provider_of(w, a->endpoint);
    worker_t *k = &w->worker[a->worker];
    call_t *c = sim_find_call(k, &a->ref);
    if (!c || c->done)
        return; /* revoked: the connection was cut */
    p->in_flight--;
    batch_plan_t *plan = sim_plan(w, &a->ref.batch);
    uint32_t n = ordinal(w, &a->ref);
    decide(w, c, p);
    c->done = true;
    if (c->verdict == PST_VERDICT_DONE && ++plan->done_calls[n] > 1 && !w->losses)
        sim_fail(w, "a job was called again after its answer, and no worker was lost (batch %u pack %u slot %u)",
                 a->ref.batch.b[15], a->ref.pack, a->ref.slot);
    send_outcomes(w, a->worker);
}

static void check_call(world_t *w, uint32_t at, const pst_task_ref_t *ref, provider_model_t *p)
{
    if (p->rpm) {
        uint64_t granted = 0;
        for (uint32_t i = 0; i < w->buckets_n; i++)
            if (strcmp(w->bucket[i].name, p->name) == 0)
                granted = w->bucket[i].granted;
        if (p->calls > granted)
            sim_fail(w, "%llu calls of %s, %llu granted", (unsigned long long)p->calls, p->name,
                     (unsigned long long)granted);
    }
    if (p->concurrency && p->in_flight > p->concurrency && !w->losses && !w->crashes && w->now > w->revoked_by)
        sim_fail(w, "%u calls of %s at once", p->in_flight, p->name);
    for (uint32_t i = 0; i < w->workers_n; i++) {
        if (i == at || !w->worker[i].alive || !w->worker[i].session)
            continue;
        const call_t *other = sim_find_call(&w->worker[i], ref);
        if (other && !other->done)
            sim_fail(w, "two workers with sessions call the same job");
    }
}

/* ---- workers -------------------------------------------------------------------------------------------------------------- */

static void start_call(world_t *w, uint32_t at, const pst_task_ref_t *ref, uint32_t endpoint)
{
    worker_t *k = &w->worker[at];
    call_t *c = sim_find_call(k, ref);
    if (c && !c->done) { /* runs already: from before the session was lost */
        c->ref.dispatch = ref->dispatch;
        return;
    }
    if (c && c->number == 0) {
        c->ref.dispatch = ref->dispatch;
        return;
    }
    c = pst_calloc(1, sizeof *c);
    c->ref = *ref;
    c->endpoint = endpoint;
    c->next = k->calls;
    k->calls = c;
    provider_model_t *p = provider_of(w, endpoint);
    p->calls++;
    p->in_flight++;
    check_call(w, at, ref, p);
    answer_t *a = pst_calloc(1, sizeof *a);
    *a = (answer_t){at, *ref, endpoint};
    sim_after(w, sim_between(w, PST_MS, 400 * PST_MS), provider_answers, a, &k->life, true);
    calls_started(w, k, ref);
}

static void drop_call(world_t *w, worker_t *k, call_t *gone)
{
    for (call_t **c = &k->calls; *c; c = &(*c)->next) {
        if (*c != gone)
            continue;
        *c = gone->next;
        if (!gone->done)
            provider_of(w, gone->endpoint)->in_flight--;
        free(gone);
        return;
    }
}

static void worker_receives(world_t *w, void *arg)
{
    to_worker_t *m = arg;
    worker_t *k = &w->worker[m->worker];
    if (m->type == PST_ACT_TASKS) {
        for (uint32_t i = 0; i < m->refs; i++)
            start_call(w, m->worker, &m->ref[i], m->endpoint);
    } else if (m->type == PST_ACT_REVOKE) {
        call_t *c = sim_find_call(k, &m->ref[0]);
        if (c && !c->done)
            drop_call(w, k, c);
    } else {
        for (call_t *c = k->calls, *next; c; c = next) {
            next = c->next;
            if (c->done && c->number == m->number)
                drop_call(w, k, c);
        }
    }
}

typedef struct to_broker {
    uint32_t worker;
    pst_peer_t peer;
    uint64_t number;
    pst_outcome_t o[64];
    pst_task_ref_t ref[64];
    uint32_t endpoint[64];
    pst_limit_report_t said[64];
    uint32_t n;
} to_broker_t;

static void broker_hears_outcomes(world_t *w, void *arg)
{
    to_broker_t *m = arg;
    pst_outcome_group_t groups[64];
    pst_endpoint_name_t names[64];
    pst_blob_t *blobs[64];
    for (uint32_t i = 0; i < m->n; i++) {
        names[i] = (pst_endpoint_name_t){pst_view_str(provider_of(w, m->endpoint[i])->name),
                                         pst_view_str(sim_endpoints[m->endpoint[i]].model)};
        blobs[i] = pst_blob_new("{}", 2);
        groups[i] = (pst_outcome_group_t){.batch = m->ref[i].batch, .segment = m->ref[i].segment,
                                          .endpoints = &names[i], .endpoints_n = 1, .outcomes = &m->o[i],
                                          .outcomes_n = 1, .blob = {PST_CODEC_RAW, 2, pst_blob_view(blobs[i])},
                                          .limits = &m->said[i], .limits_n = m->said[i].limit > 0};
    }
    pst_event_t ev = {.type = PST_EV_OUTCOMES};
    ev.u.outcomes.worker = m->peer;
    ev.u.outcomes.number = m->number;
    ev.u.outcomes.groups = groups;
    ev.u.outcomes.groups_n = m->n;
    ev.u.outcomes.blobs = blobs;
    sim_step(w, &ev);
    for (uint32_t i = 0; i < m->n; i++)
        pst_blob_unref(&blobs[i]);
}

static void put_outcome(world_t *w, to_broker_t *m, const call_t *c)
{
    pst_outcome_t *o = &m->o[m->n];
    m->ref[m->n] = c->ref;
    m->said[m->n] = c->said;
    m->endpoint[m->n++] = c->endpoint;
    *o = (pst_outcome_t){.pack = c->ref.pack, .slot = c->ref.slot, .dispatch = c->ref.dispatch,
                         .index = ordinal(w, &c->ref), .custom_id = PST_VIEW_LIT("x"), .verdict = c->verdict,
                         .cause = c->cause, .http_status = c->status, .wait_ms = c->wait_ms,
                         .whole_provider = c->verdict == PST_VERDICT_PARK, .latency_us = 1000, .body_bytes = 2};
    if (c->verdict == PST_VERDICT_DONE) {
        o->input_tokens = 10;
        o->output_tokens = 5;
    }
}

static void ship(world_t *w, uint32_t at, to_broker_t *m)
{
    worker_t *k = &w->worker[at];
    m->worker = at;
    m->peer = k->peer;
    sim_after(w, sim_in_order(w, &k->to_broker), broker_hears_outcomes, m, &k->link, true);
}

static void send_outcomes(world_t *w, uint32_t at)
{
    worker_t *k = &w->worker[at];
    if (!k->session)
        return;
    to_broker_t *m = pst_calloc(1, sizeof *m);
    m->number = ++k->number;
    for (call_t *c = k->calls; c && m->n < 64; c = c->next) {
        if (!c->done || c->number)
            continue;
        c->number = m->number;
        put_outcome(w, m, c);
    }
    ship(w, at, m);
}

/* After a new session: everything that was not acknowledged, under its old number. */
static void resend_outcomes(world_t *w, uint32_t at)
{
    worker_t *k = &w->worker[at];
    for (uint64_t number = 1; number <= k->number; number++) {
        to_broker_t *m = pst_calloc(1, sizeof *m);
        m->number = number;
        for (call_t *c = k->calls; c && m->n < 64; c = c->next)
            if (c->done && c->number == number)
                put_outcome(w, m, c);
        if (m->n)
            ship(w, at, m);
        else
            free(m);
    }
    send_outcomes(w, at);
}

static void maybe_go(world_t *w)
{
    if (!w->broker_up || w->going || w->expected_workers)
        return;
    w->going = true;
    pst_event_t ev = {.type = PST_EV_GO};
    sim_step(w, &ev);
}

static void worker_joins(world_t *w, void *arg)
{
    uint32_t at = (uint32_t)(uintptr_t)arg;
    worker_t *k = &w->worker[at];
    if (k->session || !k->alive)
        return;
    if (!w->broker_up) {
        sim_after(w, 50 * PST_MS, worker_joins, arg, &k->life, false);
        return;
    }
    k->session = true;
    k->peer = ++w->next_peer;
    k->to_broker = k->to_worker = w->now;
    pst_core_pool_t pools[SIM_PROVIDERS];
    for (uint32_t i = 0; i < SIM_PROVIDERS; i++)
        pools[i] = (pst_core_pool_t){pst_core_provider(w->core, pst_view_str(w->provider[i].name)),
                                     (uint32_t)sim_between(w, 1, 12)};
    pst_task_ref_t running[512];
    uint32_t n = 0;
    for (call_t *c = k->calls; c && n < 512; c = c->next)
        running[n++] = c->ref;
    pst_event_t ev = {.type = PST_EV_WORKER};
    ev.u.worker.worker = k->peer;
    ev.u.worker.pools = pools;
    ev.u.worker.pools_n = SIM_PROVIDERS;
    ev.u.worker.running = running;
    ev.u.worker.running_n = n;
    sim_step(w, &ev);
    if (w->expected_workers)
        w->expected_workers--;
    maybe_go(w);
    resend_outcomes(w, at);
}

static void broker_notices_loss(world_t *w, void *arg)
{
    pst_event_t ev = {.type = PST_EV_WORKER_GONE};
    ev.u.worker.worker = (pst_peer_t)(uintptr_t)arg;
    sim_step(w, &ev);
}

static bool has_calls(const worker_t *k)
{
    return k->calls != NULL;
}

/* The session is gone on both sides, but the broker learns of it later. */
static void cut_link(world_t *w, worker_t *k)
{
    if (!k->session)
        return;
    k->link++;
    k->session = false;
    w->losses += has_calls(k);
    sim_after(w, LOST_AFTER, broker_notices_loss, (void *)(uintptr_t)k->peer, &w->broker_life, false);
}

static void worker_dies(world_t *w, uint32_t at)
{
    worker_t *k = &w->worker[at];
    w->losses += !k->session && has_calls(k);
    cut_link(w, k);
    while (k->calls)
        drop_call(w, k, k->calls);
    k->life++;
    k->number = 0;
    sim_after(w, sim_between(w, 10 * PST_MS, 3 * PST_SEC), worker_joins, (void *)(uintptr_t)at, &k->life, false);
}

/* ---- clients ------------------------------------------------------------------------------------------------------------- */

typedef struct from_client {
    uint32_t client;
    int what; /* -1 open, -2 commit, -3 cancel, else pack */
} from_client_t;

void sim_build_pack(world_t *w, batch_plan_t *b, uint32_t pack, pst_pack_headers_t *h, pst_job_header_t *jobs)
{
    static const char *routes[3][2] = {{"both", NULL}, {"first", "both"}, {"second", NULL}};
    const char **names = routes[b->pack_route[pack]];
    pst_view_t models[2];
    pst_route_t r = {.allow_fallbacks = true, .require_parameters = true, .max_price_prompt = -1,
                     .max_price_completion = -1, .max_price_request = -1, .models = {models, 0}};
    for (int i = 0; i < 2 && names[i]; i++)
        models[r.models.n++] = pst_view_str(names[i]);
    pst_buf_t buf;
    pst_buf_init(&buf, 0);
    pst_route_encode(&r, &buf);
    memset(jobs, 0, b->pack_jobs[pack] * sizeof *jobs);
    uint32_t first = 0;
    for (uint32_t i = 0; i < pack; i++)
        first += b->pack_jobs[i];
    for (uint32_t i = 0; i < b->pack_jobs[pack]; i++)
        jobs[i] = (pst_job_header_t){.index = first + i, .custom_id = pst_arena_printf(&w->arena, "j-%u", first + i),
                                     .input_tokens = 50, .output_tokens = 50, .body_bytes = 20,
                                     .prefix = b->prefixes ? 1 + (first + i) % b->prefixes : 0};
    *h = (pst_pack_headers_t){.url = PST_URL_CHAT, .route = pst_arena_copy(&w->arena, pst_buf_view(&buf)),
                              .codec = PST_CODEC_RAW, .text_bytes = 20 * b->pack_jobs[pack], .jobs = jobs,
                              .jobs_n = b->pack_jobs[pack]};
    pst_buf_release(&buf);
}

static void broker_hears_pack(world_t *w, const from_client_t *m, batch_plan_t *b)
{
    pst_pack_headers_t h;
    pst_job_header_t jobs[16];
    uint32_t pack = (uint32_t)m->what;
    sim_build_pack(w, b, pack, &h, jobs);
    pst_buf_t buf;
    pst_buf_init(&buf, 0);
    pst_pack_headers_encode(&h, &buf);
    pst_blob_t *headers = pst_blob_new(buf.p, buf.n), *bodies = pst_blob_new(NULL, h.text_bytes);
    memset(bodies->p, 'x', bodies->n);
    pst_buf_release(&buf);
    pst_msg_pack_t msg = {.req = 1000 + pack, .batch = b->id, .segment = b->pack_segment[pack], .pack = pack,
                          .headers = pst_blob_view(headers), .bodies = pst_blob_view(bodies)};
    pst_event_t ev = {.type = PST_EV_PACK};
    ev.u.pack.peer = m->client + 1;
    ev.u.pack.msg = &msg;
    ev.u.pack.headers = &h;
    ev.u.pack.headers_blob = headers;
    ev.u.pack.bodies_blob = bodies;
    sim_step(w, &ev);
    pst_blob_unref(&headers);
    pst_blob_unref(&bodies);
}

static void broker_hears_client(world_t *w, void *arg)
{
    const from_client_t *m = arg;
    batch_plan_t *b = &w->batch[w->client[m->client].batch];
    pst_event_t ev;
    memset(&ev, 0, sizeof ev);
    if (m->what == -1) {
        pst_msg_open_t msg = {.req = 1, .batch = b->id, .priority = b->priority, .window_s = b->window_s,
                              .max_cost_nano = b->max_cost_nano, .idempotency_key = pst_view_str(b->key),
                              .tenant = pst_view_str(b->tenant)};
        ev.type = PST_EV_OPEN;
        ev.u.open.peer = m->client + 1;
        ev.u.open.msg = &msg;
        sim_step(w, &ev);
    } else if (m->what == -2) {
        pst_msg_commit_t msg = {.req = 2, .batch = b->id, .packs = b->packs, .jobs = b->jobs};
        ev.type = PST_EV_COMMIT;
        ev.u.commit.peer = m->client + 1;
        ev.u.commit.msg = &msg;
        sim_step(w, &ev);
    } else if (m->what == -3) {
        pst_msg_batch_req_t msg = {.req = 50, .batch = b->id};
        ev.type = PST_EV_CANCEL;
        ev.u.batch_req.peer = m->client + 1;
        ev.u.batch_req.msg = &msg;
        sim_step(w, &ev);
    } else {
        broker_hears_pack(w, m, b);
    }
}

static void client_sends(world_t *w, uint32_t at, int what)
{
    if (!w->broker_up)
        return;
    from_client_t *m = pst_calloc(1, sizeof *m);
    m->client = at;
    m->what = what;
    sim_after(w, sim_in_order(w, &w->client[at].to_broker), broker_hears_client, m, &w->broker_life, true);
}

/* Sends everything it has no answer to; again and again until its batch is accepted. */
static void client_tries(world_t *w, void *arg)
{
    uint32_t at = (uint32_t)(uintptr_t)arg;
    client_t *c = &w->client[at];
    batch_plan_t *b = &w->batch[c->batch];
    if (c->knows_accepted)
        return;
    client_sends(w, at, -1);
    for (uint32_t i = 0; i < b->packs; i++)
        client_sends(w, at, (int)i);
    client_sends(w, at, -2);
    sim_after(w, sim_between(w, 500 * PST_MS, 3 * PST_SEC), client_tries, arg, &c->life, false);
}

static void client_hears(world_t *w, void *arg)
{
    const to_client_t *m = arg;
    client_t *c = &w->client[m->client];
    if (m->done.err || !m->done.accepted || m->done.req == 50)
        return;
    c->knows_accepted = true;
    sim_plan(w, &m->done.batch)->accepted_told = true;
}

static void client_cancels(world_t *w, void *arg)
{
    client_sends(w, (uint32_t)(uintptr_t)arg, -3);
}

/* Dies without a word; another one comes with the same key and a batch of its own. */
static void client_dies(world_t *w, void *arg)
{
    uint32_t at = (uint32_t)(uintptr_t)arg;
    client_t *c = &w->client[at];
    c->life++;
    if (w->clients_n == PST_COUNT(w->client))
        return;
    batch_plan_t *old = &w->batch[c->batch];
    batch_plan_t *b = &w->batch[w->batches_n];
    *b = *old;
    memset(b->done_calls, 0, sizeof b->done_calls);
    b->accepted_told = false;
    b->id.b[15] = (uint8_t)(100 + w->batches_n);
    uint32_t fresh = w->clients_n++;
    w->client[fresh] = (client_t){.batch = w->batches_n++};
    sim_after(w, sim_between(w, PST_MS, PST_SEC), client_tries, (void *)(uintptr_t)fresh, &w->client[fresh].life, false);
}

/* ---- the broker comes and goes -------------------------------------------------------------------------------------------- */

static void configure(world_t *w)
{
    pst_core_provider_t p[SIM_PROVIDERS];
    pst_core_endpoint_t e[SIM_ENDPOINTS];
    for (uint32_t i = 0; i < SIM_PROVIDERS; i++)
        p[i] = (pst_core_provider_t){.name = pst_view_str(w->provider[i].name), .limit = {[PST_RATE_REQUESTS] = w->provider[i].rpm},
                                     .concurrency = w->provider[i].concurrency, .urls = 1};
    for (uint32_t i = 0; i < SIM_ENDPOINTS; i++)
        e[i] = (pst_core_endpoint_t){.provider = sim_endpoints[i].provider, .model = pst_view_str(sim_endpoints[i].model),
                                     .price_input = 1 + i, .price_output = 2 + i, .caches_prompts = provider_of(w, i)->caches};
    pst_core_model_t m[] = {{PST_VIEW_LIT("both"), 0, 2}, {PST_VIEW_LIT("first"), 3, 1}, {PST_VIEW_LIT("second"), 2, 1}};
    pst_core_config_t c = {p, SIM_PROVIDERS, e, SIM_ENDPOINTS, m, 3};
    pst_event_t ev = {.type = PST_EV_CONFIG};
    ev.u.config = &c;
    sim_step(w, &ev);
}

static void grace_over(world_t *w, void *arg)
{
    (void)arg;
    w->expected_workers = 0;
    maybe_go(w);
}

static void broker_starts(world_t *w, void *arg)
{
    (void)arg;
    pst_core_opts_t o = {.seed = pst_rng_next(&w->rng), .open_bytes_max = OPEN_BYTES_MAX, .staging_idle_ms = 60000};
    w->core = pst_core_new(&o);
    w->broker_up = true;
    w->going = false;
    w->tick_at = PST_NEVER;
    configure(w);
    store_restore(w);
    w->expected_workers = 0;
    for (uint32_t i = 0; i < w->workers_n; i++)
        w->expected_workers += w->worker[i].alive;
    if (!w->store_up)
        store_set_up(w, true);
    sim_after(w, 1500 * PST_MS, grace_over, NULL, &w->broker_life, false);
    maybe_go(w);
}

static void broker_dies(world_t *w)
{
    if (!w->broker_up)
        return;
    w->crashes++;
    w->broker_life++;
    w->broker_up = false;
    store_broker_died(w);
    pst_core_destroy(&w->core);
    for (uint32_t i = 0; i < w->workers_n; i++) {
        worker_t *k = &w->worker[i];
        k->link++;
        k->session = false;
        if (k->alive)
            sim_after(w, sim_between(w, 20 * PST_MS, 400 * PST_MS), worker_joins, (void *)(uintptr_t)i, &k->life, false);
    }
    sim_after(w, sim_between(w, 50 * PST_MS, 500 * PST_MS), broker_starts, NULL, NULL, false);
}

/* ---- faults ----------------------------------------------------------------------------------------------------------------- */

static void store_returns(world_t *w, void *arg)
{
    (void)arg;
    pst_event_t ev = {.type = PST_EV_STORE_STATE};
    ev.u.store_state.up = true;
    sim_step(w, &ev);
    store_set_up(w, true);
}

static void stall_store(world_t *w)
{
    if (!w->store_up || !w->broker_up)
        return;
    store_set_up(w, false);
    pst_event_t ev = {.type = PST_EV_STORE_STATE};
    sim_step(w, &ev);
    sim_after(w, sim_between(w, 10 * PST_MS, 3 * PST_SEC), store_returns, NULL, &w->broker_life, false);
}

static void cut_one(world_t *w, uint32_t at)
{
    worker_t *k = &w->worker[at];
    if (!k->session)
        return;
    cut_link(w, k);
    sim_after(w, sim_between(w, 10 * PST_MS, 5 * PST_SEC), worker_joins, (void *)(uintptr_t)at, &k->life, false);
}

static void fault(world_t *w, void *arg)
{
    (void)arg;
    if (w->now >= w->heal_at)
        return;
    uint32_t at = (uint32_t)sim_between(w, 0, w->workers_n - 1);
    provider_model_t *p = &w->provider[sim_between(w, 0, SIM_PROVIDERS - 1)];
    switch (sim_between(w, 0, 6)) {
    case 0:
        if (w->faults.broker_crash)
            broker_dies(w);
        break;
    case 1:
        if (w->faults.worker_crash)
            worker_dies(w, at);
        break;
    case 2:
        if (w->faults.link_cut)
            cut_one(w, at);
        break;
    case 3:
        if (w->faults.store_stall)
            stall_store(w);
        break;
    case 4:
        if (w->faults.outage)
            p->outage_until = w->now + sim_between(w, 100 * PST_MS, 6 * PST_SEC);
        break;
    case 5:
        if (w->faults.bad_key)
            p->bad_key_until = w->now + sim_between(w, 100 * PST_MS, 6 * PST_SEC);
        break;
    default:
        break;
    }
    sim_after(w, sim_between(w, 50 * PST_MS, 2 * PST_SEC), fault, NULL, NULL, false);
}

/* ---- a seed ------------------------------------------------------------------------------------------------------------------ */

void sim_plan_batch(world_t *w, batch_plan_t *b, uint32_t n)
{
    uint8_t random[10];
    for (int i = 0; i < 10; i++)
        random[i] = (uint8_t)pst_rng_next(&w->rng);
    b->id = pst_id_make(1000 + n, random);
    b->id.b[15] = (uint8_t)n;
    b->packs = (uint32_t)sim_between(w, 1, 14);
    for (uint32_t i = 0; i < b->packs; i++) {
        b->pack_jobs[i] = (uint32_t)sim_between(w, 1, 10);
        b->jobs += b->pack_jobs[i];
        b->pack_segment[i] = i == 0 ? 0 : b->pack_segment[i - 1] + sim_chance(w, 0.25);
        b->pack_route[i] = (uint32_t)sim_between(w, 0, 2);
    }
    b->segments = b->pack_segment[b->packs - 1] + 1;
    b->priority = (uint8_t)sim_between(w, 0, 2);
    if (sim_chance(w, 0.7))
        snprintf(b->tenant, sizeof b->tenant, "tenant-%u", (uint32_t)sim_between(w, 0, 2));
    if (w->faults.caches && sim_chance(w, 0.7))
        b->prefixes = (uint32_t)sim_between(w, 1, 4);
    if (w->faults.client_death || sim_chance(w, 0.3))
        snprintf(b->key, sizeof b->key, "key-%u", n);
    b->cancel = w->faults.cancel && sim_chance(w, 0.5);
    if (w->faults.window && sim_chance(w, 0.5))
        b->window_s = sim_between(w, 2, 60);
    if (w->faults.budget && sim_chance(w, 0.5))
        b->max_cost_nano = sim_between(w, 10000, 5000000);
}

static void make_world(world_t *w)
{
    bool *kinds = (bool *)&w->faults;
    for (size_t i = 0; i < sizeof w->faults / sizeof(bool); i++)
        kinds[i] = sim_chance(w, 0.4);
    w->wall_ms = 1700000000000ull;
    w->now = PST_SEC;
    w->heal_at = w->now + HEAL_AFTER;
    w->store_up = true;
    w->stored = pst_calloc(SIM_BATCHES_MAX * 2, sizeof *w->stored);
    for (uint32_t i = 0; i < SIM_PROVIDERS; i++) {
        provider_model_t *p = &w->provider[i];
        snprintf(p->name, sizeof p->name, "prov-%u", i);
        p->rpm = w->faults.limits && sim_chance(w, 0.5) ? sim_between(w, 300, 20000) : 0;
        p->concurrency = w->faults.limits && sim_chance(w, 0.5) ? (uint32_t)sim_between(w, 1, 20) : 0;
        p->caches = w->faults.caches && sim_chance(w, 0.7);
        p->p_error = w->faults.server_errors ? pst_rng_unit(&w->rng) * 0.3 : 0;
        p->p_429 = w->faults.server_errors ? pst_rng_unit(&w->rng) * 0.2 : 0;
        p->p_final = w->faults.server_errors ? pst_rng_unit(&w->rng) * 0.05 : 0;
    }
    w->workers_n = (uint32_t)sim_between(w, 1, SIM_WORKERS_MAX);
    w->next_peer = 1000;
    for (uint32_t i = 0; i < w->workers_n; i++) {
        w->worker[i].alive = true;
        sim_after(w, sim_between(w, 0, PST_SEC), worker_joins, (void *)(uintptr_t)i, &w->worker[i].life, false);
    }
    broker_starts(w, NULL);
    uint32_t n = (uint32_t)sim_between(w, 1, SIM_BATCHES_MAX);
    for (uint32_t i = 0; i < n; i++) {
        sim_plan_batch(w, &w->batch[i], i);
        w->batches_n = ++w->clients_n;
        w->client[i].batch = i;
        void *at = (void *)(uintptr_t)i;
        sim_after(w, sim_between(w, 0, 10 * PST_SEC), client_tries, at, &w->client[i].life, false);
        if (w->batch[i].cancel)
            sim_after(w, sim_between(w, 2 * PST_SEC, 20 * PST_SEC), client_cancels, at, NULL, false);
        if (w->faults.client_death && sim_chance(w, 0.5))
            sim_after(w, sim_between(w, 0, 11 * PST_SEC), client_dies, at, NULL, false);
    }
    calls_make(w);
    sim_after(w, sim_between(w, PST_SEC, 4 * PST_SEC), fault, NULL, NULL, false);
}

static bool all_ended(const world_t *w)
{
    for (uint32_t i = 0; i < w->stored_n; i++)
        if (w->stored[i].there && w->stored[i].accepted && !w->stored[i].ended)
            return false;
    for (uint32_t i = 0; i < w->clients_n; i++)
        if (!w->client[i].knows_accepted && w->client[i].life == 0)
            return false;
    for (uint32_t i = 0; i < w->batches_n; i++)
        if (call_waits(w, &w->batch[i]))
            return false;
    return true;
}

static void check_at_end(world_t *w)
{
    if (!all_ended(w)) {
        sim_fail(w, "not everything has ended %llu s after the last fault",
                 (unsigned long long)((w->now - w->heal_at) / PST_SEC));
        return;
    }
    for (uint32_t i = 0; i < w->batches_n; i++) {
        if (!w->batch[i].accepted_told)
            continue;
        const stored_batch_t *b = store_find(w, &w->batch[i].id);
        if (!b || b->results_n != w->batch[i].jobs)
            sim_fail(w, "an accepted batch of %u jobs has %u results", w->batch[i].jobs, b ? b->results_n : 0);
    }
    pst_core_gauges_t g;
    pst_event_t ev = {.type = PST_EV_TICK};
    sim_step(w, &ev);
    pst_core_endpoint_state_t e;
    for (uint32_t i = 0; pst_core_endpoint_at(w->core, i, &e); i++)
        if (e.in_flight)
            sim_fail(w, "%u calls in flight are left of nothing", e.in_flight);
    pst_core_gauges(w->core, &g);
    if (g.jobs_running || g.jobs_waiting || g.jobs_queued)
        sim_fail(w, "%u running, %u waiting, %llu queued jobs are left of nothing", g.jobs_running, g.jobs_waiting,
                 (unsigned long long)g.jobs_queued);
}

static void run_events(world_t *w, bool verbose)
{
    pst_heap_node_t *top;
    while (!w->failure && (top = pst_heap_top(&w->events)) != NULL) {
        sim_event_t *e = PST_CONTAINER(top, sim_event_t, node);
        if (top->key > w->heal_at + END_AFTER || (w->now > w->heal_at && all_ended(w) && w->broker_up && w->going))
            break;
        pst_heap_remove(&w->events, top);
        w->now = PST_MAX(w->now, top->key);
        if (!e->life_now || *e->life_now == e->life) {
            w->events_run++;
            if (verbose)
                printf("%10.6f event %u trace %016llx\n", (double)w->now / 1e9, w->events_run,
                       (unsigned long long)w->trace);
            e->fn(w, e->arg);
            pst_arena_clear(&w->arena);
        }
        if (e->owns)
            free(e->arg);
        free(e);
    }
}

static void free_world(world_t *w)
{
    pst_heap_node_t *top;
    while ((top = pst_heap_top(&w->events)) != NULL) {
        sim_event_t *e = PST_CONTAINER(top, sim_event_t, node);
        pst_heap_remove(&w->events, top);
        if (e->owns)
            free(e->arg);
        free(e);
    }
    pst_heap_release(&w->events);
    for (uint32_t i = 0; i < w->workers_n; i++)
        while (w->worker[i].calls)
            drop_call(w, &w->worker[i], w->worker[i].calls);
    pst_action_t a;
    while (w->core && pst_core_next(w->core, &a))
        continue;
    pst_core_destroy(&w->core);
    calls_free(w);
    store_free(w);
    pst_arena_release(&w->arena);
    free(w);
}

void sim_run(uint64_t seed, bool verbose, sim_report_t *ret)
{
    world_t *w = pst_calloc(1, sizeof *w);
    w->seed = seed;
    pst_rng_seed(&w->rng, seed);
    pst_heap_init(&w->events);
    pst_arena_init(&w->arena, 0);
    make_world(w);
    run_events(w, verbose);
    if (!w->failure)
        check_at_end(w);
    *ret = (sim_report_t){.trace = w->trace, .events = w->events_run, .losses = w->losses, .crashes = w->crashes,
                          .took = w->now};
    for (uint32_t i = 0; i < w->batches_n; i++)
        ret->jobs += w->batch[i].jobs;
    if (w->failure)
        snprintf(ret->failure, sizeof ret->failure, "at %.3f s: %s", (double)w->now / 1e9, w->failure);
    free_world(w);
}
