/* market_world.c - time, the brokers' shells, and workers.  See market.h. */
#include <math.h>
#include <stdio.h>
#include <time.h>

#include "market.h"

#define TURN (20 * PST_US)           /* a broker that has more to do than one step does goes on after so long */
#define HOP (200 * PST_US)           /* between broker and worker */
#define NET_S 0.020                  /* between worker and provider, one way */
#define NET_SIGMA 0.5
#define GATHER (2 * PST_MS)          /* a worker sends outcomes no oftener */
#define RESTART (1 * PST_SEC)
#define WALL_MS 1700000000000ull
#define STEPS_A_JOB 200
#define STEPS_MIN 20000000ull
#define WORKER_PEERS 0x40000000u     /* clients are numbered below */
#define ROOM_USUAL 16384

/* ---- time and chance ------------------------------------------------------------------------------------------------- */

void market_fail(market_t *m, const char *fmt, ...)
{
    if (m->failed)
        return;
    m->failed = true;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(m->failure, sizeof m->failure, fmt, ap);
    va_end(ap);
}

uint64_t market_wall_ms(const market_t *m)
{
    return WALL_MS + m->now / PST_MS;
}

void market_schedule(market_t *m, event_t *e, event_kind_t kind, pst_ns_t at)
{
    e->kind = kind;
    pst_heap_set(&m->events, &e->node, PST_MAX(at, m->now));
}

void *market_take(event_t **spare, size_t n)
{
    event_t *e = *spare;
    if (e)
        *spare = e->spare;
    else
        e = pst_alloc(n);
    memset(e, 0, n);
    pst_heap_node_init(&e->node);
    return e;
}

void market_put(event_t **spare, event_t *e)
{
    e->spare = *spare;
    *spare = e;
}

void market_free_spares(event_t **spare)
{
    for (event_t *e; (e = *spare) != NULL;) {
        *spare = e->spare;
        free(e);
    }
}

void *market_scratch(market_t *m, size_t n)
{
    void *p = pst_arena_get(&m->arena, n);
    PST_ASSERT(p);
    return p;
}

#define NORMALS 4096
static double normals[NORMALS];

/* Quantiles in the middle of as many equal shares, each found by halving an interval. */
static void make_normals(void)
{
    for (int i = 0; i < NORMALS / 2; i++) {
        double share = (i + 0.5) / NORMALS, low = -5, high = 0;
        for (int k = 0; k < 50; k++) {
            double middle = (low + high) / 2;
            if (0.5 * erfc(-middle / sqrt(2)) < share)
                low = middle;
            else
                high = middle;
        }
        normals[i] = low;
        normals[NORMALS - 1 - i] = -low;
    }
}

double market_normal(uint64_t bits)
{
    return normals[bits % NORMALS];
}

pst_ns_t market_lognormal(market_t *m, double median_s, double sigma)
{
    return (pst_ns_t)(median_s * exp(sigma * market_normal(pst_rng_next(&m->rng))) * 1e9);
}

typedef struct timer {
    event_t event;
    timer_fn *fn;
    void *arg;
} timer_event_t;

void market_at(market_t *m, pst_ns_t at, timer_fn *fn, void *arg)
{
    timer_event_t *t = pst_calloc(1, sizeof *t);
    pst_heap_node_init(&t->event.node);
    t->fn = fn;
    t->arg = arg;
    market_schedule(m, &t->event, EVENT_TIMER, at);
}

/* ---- a broker's shell ------------------------------------------------------------------------------------------------ */

uint64_t market_real_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * PST_SEC + (uint64_t)t.tv_nsec;
}

/* The least that two looks at the clock, one right after the other, are apart. */
stopwatch_t market_stopwatch(void)
{
    stopwatch_t w = {.on = true, .clock_ns = UINT64_MAX};
    for (int i = 0; i < 1000; i++) {
        uint64_t begin = market_real_ns();
        w.clock_ns = PST_MIN(w.clock_ns, market_real_ns() - begin);
    }
    return w;
}

static worker_t *worker_of(broker_t *b, pst_peer_t peer)
{
    uint32_t at = peer - WORKER_PEERS;
    PST_ASSERT(at < b->market->providers_n);
    return &b->workers[at];
}

static uint32_t endpoint_of(const market_t *m, const pst_endpoint_name_t *n)
{
    uint32_t at = 0;
    for (size_t i = 1; i < n->model.n; i++)
        at = at * 10 + (uint32_t)(n->model.p[i] - '0');
    PST_ASSERT(at < m->endpoints_n && pst_view_eqs(n->model, m->endpoints[at].name));
    return at;
}

static void start_call(broker_t *b, batch_t *batch, uint32_t endpoint, uint32_t pack, const pst_task_slot_t *s)
{
    market_t *m = b->market;
    const provider_plan_t *p = &m->providers[m->endpoints[endpoint].provider].plan;
    call_t *c = market_take(&m->spare_calls, sizeof *c);
    c->broker = b;
    c->life = b->life;
    c->batch = batch;
    c->endpoint = endpoint;
    c->pack = pack;
    c->slot = s->slot;
    c->dispatch = s->dispatch;
    c->index = market_batch_index(batch, pack, s->slot);
    c->job = market_batch_job(m, batch, c->index);
    c->real_input = (uint32_t)(c->job.input * p->tokenizer * c->job.noise + 0.5);
    c->started = m->now + HOP;
    batch->sent++;
    if (batch->tenant) {
        batch->tenant->sent++;
        batch->tenant->tokens += c->real_input + c->job.output;
    }
    market_schedule(m, &c->event, EVENT_CALL, c->started + market_lognormal(m, NET_S, NET_SIGMA));
}

static void check_concurrency(broker_t *b, uint32_t endpoint)
{
    market_t *m = b->market;
    uint32_t at = m->endpoints[endpoint].provider;
    const provider_plan_t *p = &m->providers[at].plan;
    if (p->known != KNOWN_NOWHERE && p->concurrency && b->in_flight_provider[at] > p->concurrency)
        market_fail(m, "broker %u has %u calls of %s in flight, %u are allowed", b->number, b->in_flight_provider[at],
                    m->providers[at].name, p->concurrency);
    if (b->in_flight_provider[at] > p->room)
        market_fail(m, "%u calls for a worker with room for %u", b->in_flight_provider[at], p->room);
}

static void start_group(broker_t *b, const pst_task_group_t *g)
{
    market_t *m = b->market;
    if (!g->slots_n)
        return; /* only lets a pack go */
    uint32_t endpoint = endpoint_of(m, &g->endpoint);
    endpoint_t *e = &m->endpoints[endpoint];
    batch_t *batch = market_batch_of(m, &g->batch);
    if (batch != b->last_turn) {
        b->last_turn = batch;
        m->turns++;
    }
    b->in_flight[endpoint] += g->slots_n;
    b->in_flight_provider[e->provider] += g->slots_n;
    e->in_flight += g->slots_n;
    e->tally.sent += g->slots_n;
    m->watch.sent += g->slots_n;
    batch->last_sent_at = m->now;
    batch->turns_last_sent = m->turns;
    check_concurrency(b, endpoint);
    market_store_check_sent(b, endpoint, g->slots_n);
    for (uint32_t i = 0; i < g->slots_n; i++)
        start_call(b, batch, endpoint, g->pack, &g->slots[i]);
}

static void hear_ack(broker_t *b, pst_peer_t peer, uint64_t number)
{
    worker_t *w = worker_of(b, peer);
    if (number > w->number)
        market_fail(b->market, "OUTCOMES %llu is acknowledged, %llu were sent", (unsigned long long)number,
                    (unsigned long long)w->number);
    w->acked++;
}

static void hear_notice(broker_t *b, const pst_action_t *a)
{
    if (a->u.notice.what == PST_NOTICE_ENDED)
        market_batch_ended(b->market, market_batch_of(b->market, &a->u.notice.batch));
}

static void carry_out(broker_t *b)
{
    market_t *m = b->market;
    pst_action_t a;
    while (pst_core_next(b->core, &a)) {
        switch (a.type) {
        case PST_ACT_REPLY:
            market_client_heard(m, m->batches[a.u.reply.peer - 1], &a.u.reply.done);
            break;
        case PST_ACT_STORE:
            if (a.u.store.type == PST_STORE_APPEND)
                market_batch_results(m, market_batch_of(m, &a.u.store.batch), &a.u.store);
            market_store_submit(b, &a.u.store);
            break;
        case PST_ACT_TASKS:
            start_group(b, &a.u.tasks.group);
            break;
        case PST_ACT_REVOKE: /* comes too late: the call goes on, and is paid for */
            break;
        case PST_ACT_ACK:
            hear_ack(b, a.u.ack.worker, a.u.ack.number);
            break;
        case PST_ACT_NOTICE:
            hear_notice(b, &a);
            break;
        }
    }
}

static void set_tick(broker_t *b)
{
    market_t *m = b->market;
    pst_ns_t at = pst_core_deadline(b->core);
    if (at == PST_NEVER)
        pst_heap_remove(&m->events, &b->tick.node);
    else
        market_schedule(m, &b->tick, EVENT_TICK, at > m->now ? at : m->now + TURN);
}

/* Of an outcome, or of its result on the way to the store. */
static bool is_of_outcomes(const pst_event_t *ev)
{
    if (ev->type != PST_EV_STORED)
        return ev->type == PST_EV_OUTCOMES;
    pst_store_op_type_t type = ev->u.stored.answer->type;
    return type == PST_STORE_APPEND || type == PST_STORE_RETRY || type == PST_STORE_END;
}

static void took(stopwatch_t *w, const pst_event_t *ev, uint64_t ns)
{
    *(is_of_outcomes(ev) ? &w->outcomes_ns : &w->other_ns) += ns - PST_MIN(ns, w->clock_ns);
}

static void step_core(broker_t *b, const pst_event_t *ev)
{
    market_t *m = b->market;
    uint64_t begin = m->watch.on ? market_real_ns() : 0;
    pst_core_step(b->core, m->now, market_wall_ms(m), ev);
    if (m->watch.on)
        took(&m->watch, ev, market_real_ns() - begin);
    carry_out(b);
}

static void store_is(broker_t *b, bool up)
{
    pst_event_t ev = {.type = PST_EV_STORE_STATE};
    ev.u.store_state.up = up;
    step_core(b, &ev);
}

/* Nothing is sent while the store is down: so what is sent after an OUTCOMES is measured apart from the outcomes. */
void market_step(broker_t *b, const pst_event_t *ev)
{
    market_t *m = b->market;
    if (m->failed)
        return;
    if (++m->steps > m->steps_max) {
        market_fail(m, "the core needs more than %llu steps", (unsigned long long)m->steps_max);
        return;
    }
    bool apart = m->watch.on && ev->type == PST_EV_OUTCOMES;
    if (apart)
        store_is(b, false);
    step_core(b, ev);
    if (apart)
        store_is(b, true);
    set_tick(b);
}

/* ---- workers --------------------------------------------------------------------------------------------------------- */

static void outcome_of(const market_t *m, const call_t *c, pst_outcome_t *o)
{
    *o = (pst_outcome_t){.pack = c->pack, .slot = c->slot, .dispatch = c->dispatch, .index = c->index,
                         .custom_id = PST_VIEW_LIT("c-00000000"), .verdict = c->verdict, .cause = c->cause,
                         .http_status = c->status, .endpoint = m->endpoints[c->endpoint].place, .url = PST_URL_CHAT, .wait_ms = c->wait_ms,
                         .latency_us = c->took / PST_US, .body_bytes = (uint32_t)m->answer_body->n};
    if (c->verdict == PST_VERDICT_DONE) {
        o->input_tokens = c->real_input;
        o->output_tokens = c->job.output;
    }
}

/* Outcomes of one segment of one batch, in an array where they lie together. */
typedef struct gathered {
    const batch_t *batch;
    uint32_t segment, n;
    uint32_t first; /* where its next one goes */
} gathered_t;

/* The latest first: outcomes come in runs. */
static uint32_t gather(gathered_t *g, uint32_t *n, const call_t *c)
{
    uint32_t segment = market_batch_segment(c->pack), i = *n;
    while (i-- > 0)
        if (g[i].batch == c->batch && g[i].segment == segment)
            break;
    if (i == UINT32_MAX) {
        i = (*n)++;
        g[i] = (gathered_t){.batch = c->batch, .segment = segment};
    }
    g[i].n++;
    return i;
}

static void forget_calls(worker_t *w, uint32_t n)
{
    broker_t *b = w->broker;
    market_t *m = b->market;
    for (uint32_t i = 0; i < n; i++) {
        call_t *c = w->outbox;
        w->outbox = c->next;
        b->in_flight[c->endpoint]--;
        b->in_flight_provider[w->provider]--;
        m->endpoints[c->endpoint].in_flight--;
        market_put(&m->spare_calls, &c->event);
    }
    w->outbox_n -= n;
    if (!w->outbox)
        w->outbox_tail = &w->outbox;
}

/* The latest that was said of each limit of each endpoint, by the group's calls. */
static void fill_limits(worker_t *w, uint32_t n, const uint32_t *of, pst_outcome_group_t *groups, uint32_t groups_n)
{
    market_t *m = w->broker->market;
    const provider_t *p = &m->providers[w->provider];
    size_t places = (size_t)p->names_n * PST_RATE_COUNT;
    pst_limit_report_t *said = market_scratch(m, groups_n * places * sizeof *said);
    memset(said, 0, groups_n * places * sizeof *said);
    const call_t *c = w->outbox;
    for (uint32_t i = 0; i < n; i++, c = c->next) {
        uint16_t place = m->endpoints[c->endpoint].place;
        for (int k = 0; k < PST_RATE_COUNT; k++) {
            if (!c->limits[k].limit)
                continue;
            pst_limit_report_t *r = &said[of[i] * places + (size_t)place * PST_RATE_COUNT + (size_t)k];
            *r = c->limits[k];
            r->endpoint = place;
        }
    }
    for (uint32_t i = 0; i < groups_n; i++) {
        groups[i].limits = &said[i * places];
        for (size_t k = 0; k < places; k++)
            if (said[i * places + k].limit)
                groups[i].limits[groups[i].limits_n++] = said[i * places + k];
    }
}

/* All of a message; the arena holds it. */
static void fill_outcomes(worker_t *w, uint32_t n, pst_event_t *ev)
{
    market_t *m = w->broker->market;
    const provider_t *p = &m->providers[w->provider];
    gathered_t *g = market_scratch(m, n * sizeof *g);
    uint32_t *of = market_scratch(m, n * sizeof *of), groups = 0;
    const call_t *c = w->outbox;
    for (uint32_t i = 0; i < n; i++, c = c->next)
        of[i] = gather(g, &groups, c);
    pst_outcome_t *all = market_scratch(m, n * sizeof *all);
    pst_outcome_group_t *wire = market_scratch(m, groups * sizeof *wire);
    pst_blob_t **blobs = market_scratch(m, groups * sizeof(pst_blob_t *));
    for (uint32_t i = 0, at = 0; i < groups; at += g[i++].n) {
        g[i].first = at;
        blobs[i] = m->answer_body;
        wire[i] = (pst_outcome_group_t){.batch = g[i].batch->id, .segment = g[i].segment, .endpoints = p->names,
                                        .endpoints_n = p->names_n, .outcomes = &all[at], .outcomes_n = g[i].n,
                                        .blob = {PST_CODEC_RAW, (uint32_t)m->answer_body->n,
                                                 pst_blob_view(m->answer_body)}};
    }
    c = w->outbox;
    for (uint32_t i = 0; i < n; i++, c = c->next)
        outcome_of(m, c, &all[g[of[i]].first++]);
    if (p->plan.headers)
        fill_limits(w, n, of, wire, groups);
    ev->type = PST_EV_OUTCOMES;
    ev->u.outcomes.worker = w->peer;
    ev->u.outcomes.number = ++w->number;
    ev->u.outcomes.groups = wire;
    ev->u.outcomes.groups_n = groups;
    ev->u.outcomes.blobs = blobs;
}

static void schedule_flush(worker_t *w)
{
    market_t *m = w->broker->market;
    if (w->outbox_n && !pst_heap_has(&w->flush.node))
        market_schedule(m, &w->flush, EVENT_FLUSH, PST_MAX(m->now + HOP, w->flushed_at + GATHER));
}

static void flush(worker_t *w)
{
    market_t *m = w->broker->market;
    uint32_t n = PST_MIN(w->outbox_n, PST_OUTCOMES_MAX);
    pst_event_t ev = {0};
    fill_outcomes(w, n, &ev);
    forget_calls(w, n);
    w->flushed_at = m->now;
    m->watch.outcomes += n;
    market_step(w->broker, &ev);
    schedule_flush(w);
}

static void call_arrives(market_t *m, call_t *c)
{
    m->endpoints[c->endpoint].tally.calls++;
    market_schedule(m, &c->event, EVENT_ANSWER, market_provider_call(m, c) + market_lognormal(m, NET_S, NET_SIGMA));
}

static void answer_arrives(market_t *m, call_t *c)
{
    market_provider_answered(m, c);
    broker_t *b = c->broker;
    if (c->life != b->life) { /* nobody is there to hear it */
        m->endpoints[c->endpoint].in_flight--;
        market_put(&m->spare_calls, &c->event);
        return;
    }
    c->took = m->now - c->started;
    worker_t *w = &b->workers[m->endpoints[c->endpoint].provider];
    c->next = NULL;
    *w->outbox_tail = c;
    w->outbox_tail = &c->next;
    w->outbox_n++;
    schedule_flush(w);
}

/* ---- brokers come and go --------------------------------------------------------------------------------------------- */

static void config_limits(const market_t *m, pst_core_provider_t *p, pst_core_endpoint_t *e)
{
    for (uint32_t i = 0; i < m->providers_n; i++)
        if (m->providers[i].plan.known == KNOWN_AT_PROVIDER)
            memcpy(p[i].limit, m->providers[i].plan.limit, sizeof p[i].limit);
    for (uint32_t i = 0; i < m->endpoints_n; i++) {
        const provider_t *of = &m->providers[m->endpoints[i].provider];
        for (int k = 0; k < PST_RATE_COUNT && of->plan.known == KNOWN_AT_ENDPOINT; k++)
            e[i].limit[k] = of->plan.limit[k] / of->names_n;
    }
}

static void configure(broker_t *b)
{
    market_t *m = b->market;
    pst_core_provider_t *p = pst_calloc(m->providers_n, sizeof *p);
    pst_core_endpoint_t *e = pst_calloc(m->endpoints_n, sizeof *e);
    pst_core_model_t *models = pst_calloc(m->endpoints_n, sizeof *models);
    char(*names)[16] = pst_calloc(m->endpoints_n, sizeof *names);
    for (uint32_t i = 0; i < m->providers_n; i++) {
        const provider_plan_t *plan = &m->providers[i].plan;
        p[i] = (pst_core_provider_t){.name = pst_view_str(m->providers[i].name),
                                     .concurrency = plan->known == KNOWN_NOWHERE ? 0 : plan->concurrency,
                                     .urls = 1u << PST_URL_CHAT, .params = PST_PARAMS_ALL,
                                     .reserve = plan->charging == CHARGE_USED ? PST_RESERVE_EXPECTED
                                                                              : PST_RESERVE_LIMIT};
    }
    uint32_t models_n = 0;
    for (uint32_t i = 0; i < m->endpoints_n; i++) {
        const endpoint_t *from = &m->endpoints[i];
        e[i] = (pst_core_endpoint_t){.provider = from->provider, .model = pst_view_str(from->name),
                                     .price_input = from->price_input, .price_output = from->price_output,
                                     .params = PST_PARAMS_ALL};
        if (from->model == models_n) {
            snprintf(names[models_n], sizeof names[0], "m%u", models_n);
            models[models_n] = (pst_core_model_t){.name = pst_view_str(names[models_n]), .first = i};
            models_n++;
        }
        models[models_n - 1].count++;
    }
    config_limits(m, p, e);
    pst_core_config_t config = {p, m->providers_n, e, m->endpoints_n, models, models_n};
    pst_event_t ev = {.type = PST_EV_CONFIG};
    ev.u.config = &config;
    market_step(b, &ev);
    free(p);
    free(e);
    free(models);
    free(names);
}

static void worker_joins(broker_t *b, worker_t *w)
{
    market_t *m = b->market;
    const provider_t *p = &m->providers[w->provider];
    pst_core_pool_t pool = {pst_core_provider(b->core, pst_view_str(p->name)), p->plan.room};
    pst_event_t ev = {.type = PST_EV_WORKER};
    ev.u.worker.worker = w->peer;
    ev.u.worker.pools = &pool;
    ev.u.worker.pools_n = 1;
    market_step(b, &ev);
}

static void broker_starts(broker_t *b)
{
    market_t *m = b->market;
    pst_core_opts_t o = {.seed = pst_rng_next(&m->rng)};
    b->core = pst_core_new(&o);
    configure(b);
    market_store_restore(b);
    for (uint32_t i = 0; i < m->providers_n; i++) {
        worker_t *w = &b->workers[i];
        *w = (worker_t){.broker = b, .provider = i, .peer = WORKER_PEERS + i};
        pst_heap_node_init(&w->flush.node);
        w->outbox_tail = &w->outbox;
        if (!m->workers_wait)
            worker_joins(b, w);
    }
    pst_event_t ev = {.type = PST_EV_GO};
    market_step(b, &ev);
}

void market_workers_join(market_t *m)
{
    m->workers_wait = false;
    for (uint32_t i = 0; i < m->brokers_n; i++)
        for (uint32_t k = 0; k < m->providers_n; k++)
            worker_joins(&m->broker[i], &m->broker[i].workers[k]);
}

static void broker_restarts(market_t *m, void *arg)
{
    broker_t *b = arg;
    broker_starts(b);
    market_batch_resubmit(m, b->number);
}

void market_crash(market_t *m, uint32_t broker)
{
    broker_t *b = &m->broker[broker];
    if (!b->core)
        return;
    m->crashes++;
    b->life++;
    pst_core_destroy(&b->core);
    pst_heap_remove(&m->events, &b->tick.node);
    for (uint32_t i = 0; i < m->providers_n; i++) {
        forget_calls(&b->workers[i], b->workers[i].outbox_n);
        pst_heap_remove(&m->events, &b->workers[i].flush.node);
        b->in_flight_provider[i] = 0;
    }
    memset(b->in_flight, 0, m->endpoints_n * sizeof *b->in_flight);
    market_store_broker_died(b);
    market_at(m, m->now + RESTART, broker_restarts, b);
}

/* ---- the market ------------------------------------------------------------------------------------------------------ */

market_t *market_new(const options_t *o, uint32_t brokers)
{
    PST_ASSERT(brokers >= 1 && brokers <= MARKET_BROKERS_MAX);
    if (normals[0] == 0)
        make_normals();
    market_t *m = pst_calloc(1, sizeof *m);
    m->options = o;
    m->now = m->began = PST_SEC;
    m->brokers_n = brokers;
    pst_rng_seed(&m->rng, o->seed);
    pst_heap_init(&m->events);
    pst_map_init(&m->budgets, o->seed);
    pst_arena_init(&m->arena, 0);
    m->answer_body = pst_blob_new("{}", 2);
    return m;
}

uint32_t market_provider(market_t *m, const provider_plan_t *plan)
{
    m->providers = pst_realloc(m->providers, (m->providers_n + 1) * sizeof *m->providers);
    provider_t *p = &m->providers[m->providers_n];
    *p = (provider_t){.plan = *plan};
    if (!p->plan.room)
        p->plan.room = ROOM_USUAL;
    snprintf(p->name, sizeof p->name, "p%u", m->providers_n);
    return m->providers_n++;
}

uint32_t market_endpoint(market_t *m, uint32_t provider, uint32_t model, double price_input, double price_output)
{
    PST_ASSERT(!m->endpoints_n || m->endpoints[m->endpoints_n - 1].model + 1 >= model);
    m->endpoints = pst_realloc(m->endpoints, (m->endpoints_n + 1) * sizeof *m->endpoints);
    endpoint_t *e = &m->endpoints[m->endpoints_n];
    *e = (endpoint_t){.provider = provider, .model = model, .price_input = price_input, .price_output = price_output};
    snprintf(e->name, sizeof e->name, "e%u", m->endpoints_n);
    return m->endpoints_n++;
}

static void name_endpoints(market_t *m)
{
    for (uint32_t i = 0; i < m->endpoints_n; i++) {
        provider_t *p = &m->providers[m->endpoints[i].provider];
        m->endpoints[i].place = (uint16_t)p->names_n++;
        p->names = pst_realloc(p->names, p->names_n * sizeof *p->names);
        p->names[p->names_n - 1] = (pst_endpoint_name_t){pst_view_str(p->name), pst_view_str(m->endpoints[i].name)};
    }
}

void market_open(market_t *m)
{
    m->steps_max = STEPS_MIN + STEPS_A_JOB * m->options->jobs;
    name_endpoints(m);
    for (uint32_t i = 0; i < m->providers_n; i++)
        market_provider_open(m, &m->providers[i]);
    for (uint32_t i = 0; i < m->brokers_n; i++) {
        broker_t *b = &m->broker[i];
        b->market = m;
        b->number = i;
        pst_heap_node_init(&b->tick.node);
        b->workers = pst_calloc(m->providers_n, sizeof *b->workers);
        b->in_flight = pst_calloc(m->endpoints_n, sizeof *b->in_flight);
        b->in_flight_provider = pst_calloc(m->providers_n, sizeof *b->in_flight_provider);
        broker_starts(b);
    }
    if (m->options->verbose)
        table_begin(m);
}

/* ---- running --------------------------------------------------------------------------------------------------------- */

static void tick(broker_t *b)
{
    static const pst_event_t ev = {.type = PST_EV_TICK};
    market_step(b, &ev);
}

static void fire(market_t *m, timer_event_t *t)
{
    t->fn(m, t->arg);
    free(t);
}

static void happen(market_t *m, event_t *e)
{
    switch (e->kind) {
    case EVENT_TICK:
        tick(PST_CONTAINER(e, broker_t, tick));
        break;
    case EVENT_STORE:
        market_store_answer(m, (op_t *)(void *)e);
        break;
    case EVENT_CALL:
        call_arrives(m, PST_CONTAINER(e, call_t, event));
        break;
    case EVENT_ANSWER:
        answer_arrives(m, PST_CONTAINER(e, call_t, event));
        break;
    case EVENT_FLUSH:
        flush(PST_CONTAINER(e, worker_t, flush));
        break;
    case EVENT_CLIENT:
        market_client_go_on(m, PST_CONTAINER(e, batch_t, event));
        break;
    case EVENT_TIMER:
        fire(m, PST_CONTAINER(e, timer_event_t, event));
        break;
    }
    pst_arena_clear(&m->arena);
}

bool market_next(market_t *m, pst_ns_t until)
{
    pst_heap_node_t *top = pst_heap_top(&m->events);
    if (m->failed || !top || top->key > until)
        return false;
    pst_heap_remove(&m->events, top);
    m->now = top->key;
    happen(m, PST_CONTAINER(top, event_t, node));
    return true;
}

static pst_ns_t after(const market_t *m, double s)
{
    return m->began + (pst_ns_t)(s * 1e9);
}

void market_run(market_t *m, double until_s)
{
    while (!m->failed && m->batches_open) {
        if (market_next(m, after(m, until_s)))
            continue;
        uint64_t results = 0, jobs = 0;
        for (uint32_t i = 0; i < m->batches_n; i++) {
            results += m->batches[i]->results;
            jobs += m->batches[i]->origin == m->batches[i] ? m->batches[i]->plan.jobs : 0;
        }
        market_fail(m, "after %.0f s of virtual time only %llu of %llu jobs have results", until_s,
                    (unsigned long long)results, (unsigned long long)jobs);
    }
}

void market_run_for(market_t *m, double s)
{
    pst_ns_t until = m->now + (pst_ns_t)(s * 1e9);
    while (market_next(m, until))
        continue;
    m->now = until;
}

/* Batches that have ended may leave answers of calls they did not wait for. */
static void settle(market_t *m)
{
    pst_ns_t until = m->now + 600 * PST_SEC;
    for (bool busy = true; busy && !m->failed;) {
        busy = false;
        for (uint32_t i = 0; i < m->endpoints_n; i++)
            busy = busy || m->endpoints[i].in_flight;
        for (uint32_t i = 0; i < m->brokers_n; i++)
            for (uint32_t k = 0; k < m->providers_n && m->broker[i].core; k++)
                busy = busy || m->broker[i].workers[k].acked < m->broker[i].workers[k].number;
        busy = busy && market_next(m, until);
    }
}

static void check_broker(market_t *m, broker_t *b)
{
    if (!b->core)
        return;
    pst_core_gauges_t g;
    pst_core_gauges(b->core, &g);
    if (g.jobs_running || g.jobs_waiting || g.jobs_queued)
        market_fail(m, "%u running, %u waiting, %llu queued jobs are left of nothing", g.jobs_running, g.jobs_waiting,
                    (unsigned long long)g.jobs_queued);
    pst_core_endpoint_state_t e;
    for (uint32_t i = 0; pst_core_endpoint_at(b->core, i, &e); i++)
        if (e.in_flight)
            market_fail(m, "%u calls in flight are left of nothing", e.in_flight);
    for (uint32_t i = 0; i < m->providers_n; i++)
        if (b->workers[i].acked != b->workers[i].number)
            market_fail(m, "%llu of %llu OUTCOMES were acknowledged", (unsigned long long)b->workers[i].acked,
                        (unsigned long long)b->workers[i].number);
}

void market_check_end(market_t *m)
{
    settle(m);
    for (uint32_t i = 0; i < m->batches_n; i++)
        market_batch_check_end(m, m->batches[i]);
    for (uint32_t i = 0; i < m->brokers_n; i++)
        check_broker(m, &m->broker[i]);
}

static void free_event(market_t *m, event_t *e)
{
    pst_heap_remove(&m->events, &e->node);
    bool own = e->kind == EVENT_CALL || e->kind == EVENT_ANSWER || e->kind == EVENT_TIMER || e->kind == EVENT_STORE;
    if (own)
        free(e); /* what it is the beginning of */
}

static void broker_free(market_t *m, broker_t *b)
{
    for (uint32_t i = 0; i < m->providers_n; i++)
        forget_calls(&b->workers[i], b->workers[i].outbox_n);
    pst_core_destroy(&b->core);
    free(b->workers);
    free(b->in_flight);
    free(b->in_flight_provider);
}

void market_destroy(market_t **mp)
{
    market_t *m = pst_take(mp);
    if (!m)
        return;
    pst_heap_node_t *top;
    while ((top = pst_heap_top(&m->events)) != NULL)
        free_event(m, PST_CONTAINER(top, event_t, node));
    for (uint32_t i = 0; i < m->brokers_n; i++)
        broker_free(m, &m->broker[i]);
    for (uint32_t i = 0; i < m->batches_n; i++)
        market_batch_free(m->batches[i]);
    for (uint32_t i = 0; i < m->providers_n; i++)
        free(m->providers[i].names);
    market_free_spares(&m->spare_calls);
    for (uint32_t i = 0; i < PST_COUNT(m->bodies); i++)
        pst_blob_unref(&m->bodies[i]);
    pst_blob_unref(&m->answer_body);
    market_store_free(m);
    pst_heap_release(&m->events);
    pst_map_release(&m->budgets);
    pst_arena_release(&m->arena);
    free(m->batches);
    free(m->providers);
    free(m->endpoints);
    free(m->shown);
    free(m);
}
