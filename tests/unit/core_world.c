#include "core_world.h"

const pst_id_t ID = {{1, 2, 3}};

/* What the budget holds now; there is one in a world that is metered. */
static void fill(world_t *w, const pst_store_op_t *op)
{
    for (int i = 0; i < PST_RATE_COUNT; i++) {
        double cap = (double)op->u.limit.rate[i].cap, rate = (double)op->u.limit.rate[i].limit / 60 * (1 - w->others);
        double now = w->level[i] + rate * (double)(w->now - w->filled_at) / (double)PST_SEC;
        w->level[i] = w->filled_at ? PST_MIN(now, cap) : cap;
    }
    w->filled_at = w->now;
}

/* All that is needed of every rate, or nothing. */
static void take_metered(world_t *w, const pst_store_op_t *op, pst_store_answer_t *a)
{
    fill(w, op);
    for (int i = 0; i < PST_RATE_COUNT; i++) {
        double lacks = (double)op->u.limit.rate[i].least - w->level[i];
        if (!op->u.limit.rate[i].limit || lacks <= 0)
            continue;
        a->refused = true;
        a->wait_ms = PST_MAX(a->wait_ms, (uint64_t)(lacks * 60000 / (double)op->u.limit.rate[i].limit) + 1);
    }
    for (int i = 0; i < PST_RATE_COUNT && !a->refused; i++) {
        a->granted[i] = PST_MIN(op->u.limit.rate[i].amount, (uint64_t)PST_MAX(w->level[i], 0));
        w->level[i] -= (double)a->granted[i];
    }
}

static void answer(world_t *w, const pst_store_op_t *op)
{
    if (!op->token)
        return;
    pst_store_answer_t a = {.type = op->type, .token = op->token, .err = w->refuse[op->type]};
    pst_event_t ev = {.type = PST_EV_STORED};
    ev.u.stored.answer = &a;
    if (op->type == PST_STORE_CLAIM)
        a.holder = op->batch;
    if (op->type == PST_STORE_LIMIT_TAKE) {
        a.refused = w->take_refuse;
        for (int i = 0; i < PST_RATE_COUNT; i++)
            a.granted[i] = w->take_refuse ? 0 : op->u.limit.rate[i].amount;
        a.wait_ms = w->take_refuse ? w->take_wait_ms : 0;
        if (w->metered)
            take_metered(w, op, &a);
        for (int i = 0; i < PST_RATE_COUNT; i++) {
            w->granted[i] += (int64_t)a.granted[i];
            w->asked[i] = op->u.limit.rate[i].least;
        }
    }
    pst_pack_headers_t h;
    if (op->type == PST_STORE_LOAD) {
        w->loads++;
        uint8_t batch = op->batch.b[15];
        a.headers = w->headers[batch][op->u.load.pack];
        a.bodies = op->u.load.bodies ? w->bodies[batch][op->u.load.pack] : NULL;
        assert_int_equal(pst_pack_headers_decode(pst_blob_view(a.headers), &w->arena, &h), PST_OK);
        ev.u.stored.headers = &h;
    }
    run(w, &ev);
}

static void note_append(world_t *w, const pst_store_op_t *op)
{
    w->appends++;
    w->results += op->u.append.pack->results_n;
    assert_true(op->u.append.pack->results_n > 0);
    w->last_result = op->u.append.pack->results[op->u.append.pack->results_n - 1];
    w->last_attempts = w->last_result.attempts_n;
    snprintf(w->last_message, sizeof w->last_message, "%.*s", (int)w->last_result.message.n, w->last_result.message.p);
}

static void note_tasks(world_t *w, const pst_action_t *a)
{
    const pst_task_group_t *g = &a->u.tasks.group;
    for (uint32_t i = 0; i < g->slots_n; i++) {
        assert_true(w->tasks_n < WORLD_TASKS);
        task_t *t = &w->tasks[w->tasks_n++];
        t->batch = g->batch.b[15];
        t->at = w->now;
        t->ref = (pst_task_ref_t){g->batch, g->segment, g->pack, g->slots[i].slot, g->slots[i].dispatch};
        t->bytes = g->headers.n > 0;
        t->worker = a->u.tasks.worker;
        t->live = g->live;
        snprintf(t->provider, sizeof t->provider, "%.*s", (int)g->endpoint.provider.n, g->endpoint.provider.p);
        snprintf(t->model, sizeof t->model, "%.*s", (int)g->endpoint.model.n, g->endpoint.model.p);
    }
}

static void note_keep(world_t *w, const pst_store_op_t *op)
{
    w->keeps++;
    snprintf(w->kept_name, sizeof w->kept_name, "%.*s", (int)op->u.limit.name.n, op->u.limit.name.p);
    for (int i = 0; i < PST_RATE_COUNT; i++) {
        w->kept_limit[i] = op->u.limit.rate[i].limit;
        w->kept_source[i] = op->u.limit.rate[i].amount;
    }
}

static void take_actions(world_t *w, pst_store_op_t *ops, uint32_t *n)
{
    pst_action_t a;
    while (pst_core_next(w->core, &a)) {
        switch (a.type) {
        case PST_ACT_STORE:
            if (a.u.store.type == PST_STORE_APPEND)
                note_append(w, &a.u.store);
            if (a.u.store.type == PST_STORE_RETRY)
                w->retries++;
            if (a.u.store.type == PST_STORE_DELETE)
                w->deletes++;
            if (a.u.store.type == PST_STORE_LIMIT_KEEP)
                note_keep(w, &a.u.store);
            for (int i = 0; i < PST_RATE_COUNT && a.u.store.type == PST_STORE_LIMIT_GIVE; i++)
                w->granted[i] -= (int64_t)a.u.store.u.limit.rate[i].amount;
            if (a.u.store.type < PST_STORE_LIMIT_TAKE)
                *(a.u.store.live ? &w->live_ops : &w->kept_ops) += 1;
            if (a.u.store.type == PST_STORE_END) {
                w->ended = true;
                w->ends++;
            }
            if (a.u.store.type == PST_STORE_END && !a.u.store.live) {
                w->end_status = a.u.store.u.end.summary->status;
                w->summary = *a.u.store.u.end.summary; /* its arrays die with the step */
                w->calls = w->summary.endpoints_n ? w->summary.endpoints[0].calls : 0;
            }
            assert_true(*n < 64);
            ops[(*n)++] = a.u.store;
            break;
        case PST_ACT_TASKS:
            note_tasks(w, &a);
            break;
        case PST_ACT_ACK:
            w->acked = a.u.ack.number;
            break;
        case PST_ACT_REVOKE:
            w->revoked++;
            break;
        case PST_ACT_REPLY:
            w->done = a.u.reply.done;
            break;
        case PST_ACT_NOTICE:
            w->notices++;
            w->parked += a.u.notice.what == PST_NOTICE_PARKED;
            w->resumed += a.u.notice.what == PST_NOTICE_RESUMED;
            break;
        }
    }
}

void run(world_t *w, const pst_event_t *ev)
{
    pst_store_op_t ops[64];
    uint32_t n = 0;
    pst_core_step(w->core, w->now, w->wall_ms, ev);
    take_actions(w, ops, &n);
    for (uint32_t i = 0; i < n; i++) {
        if (w->store_mute)
            w->kept[w->kept_n++] = ops[i];
        else
            answer(w, &ops[i]);
    }
}

/* In the order they were given, those that an answer leads to behind the others. */
void unmute(world_t *w)
{
    for (uint32_t i = 0; i < w->kept_n; i++)
        answer(w, &w->kept[i]);
    w->kept_n = 0;
    w->store_mute = false;
}

void tick(world_t *w, pst_ns_t d)
{
    w->now += d;
    w->wall_ms += d / PST_MS;
    run(w, &(pst_event_t){.type = PST_EV_TICK});
}

/* Lets time pass from deadline to deadline. */
void pass(world_t *w, pst_ns_t d)
{
    pst_ns_t end = w->now + d;
    for (pst_ns_t at; (at = pst_core_deadline(w->core)) <= end;)
        tick(w, at > w->now ? at - w->now : 0);
    tick(w, end - w->now);
}

void configure(world_t *w, const pst_core_config_t *c)
{
    pst_event_t ev = {.type = PST_EV_CONFIG};
    ev.u.config = c;
    run(w, &ev);
    w->pools_n = 0;
    for (uint32_t i = 0; i < c->providers_n; i++)
        w->pools[w->pools_n++].provider = pst_core_provider(w->core, c->providers[i].name);
}

/* Of calls at a time: no bound here, but one is configured, so that none has to be found out. */
#define PLENTY 100000

void configure_limited(world_t *w, uint64_t rpm)
{
    pst_core_provider_t p[] = {
        {.name = PST_VIEW_LIT("alpha"), .urls = 1, .limit = {[PST_RATE_REQUESTS] = rpm}, .concurrency = PLENTY},
        {.name = PST_VIEW_LIT("beta"), .urls = 1, .concurrency = PLENTY},
        {.name = PST_VIEW_LIT("bare"), .urls = 1},
    };
    pst_core_endpoint_t e[] = {
        {.provider = 0, .model = PST_VIEW_LIT("up-a"), .price_input = 1, .price_output = 1},
        {.provider = 1, .model = PST_VIEW_LIT("up-b"), .price_input = 3, .price_output = 3},
        {.provider = 0, .model = PST_VIEW_LIT("only-a"), .price_input = 1, .price_output = 1},
        {.provider = 1, .model = PST_VIEW_LIT("only-b"), .price_input = 1, .price_output = 1},
    };
    pst_core_model_t m[] = {{PST_VIEW_LIT("both"), 0, 2}, {PST_VIEW_LIT("one"), 2, 1}, {PST_VIEW_LIT("other"), 3, 1}};
    configure(w, &(pst_core_config_t){p, 3, e, 4, m, 3});
    w->pools_n = 2; /* nobody serves `bare` */
}

void hello(world_t *w, pst_peer_t peer, uint32_t jobs, const pst_task_ref_t *running, uint32_t running_n)
{
    for (uint32_t i = 0; i < w->pools_n; i++)
        w->pools[i].jobs = jobs;
    pst_event_t ev = {.type = PST_EV_WORKER};
    ev.u.worker.worker = peer;
    ev.u.worker.pools = w->pools;
    ev.u.worker.pools_n = w->pools_n;
    ev.u.worker.running = running;
    ev.u.worker.running_n = running_n;
    run(w, &ev);
}

world_t *world_new(void)
{
    world_t *w = calloc(1, sizeof *w);
    w->wall_ms = 1000000;
    w->now = PST_SEC;
    w->output_limit = 100;
    pst_arena_init(&w->arena, 0);
    w->core = pst_core_new(&(pst_core_opts_t){.seed = 7});
    configure_limited(w, 0);
    run(w, &(pst_event_t){.type = PST_EV_GO});
    return w;
}

void world_free(world_t *w)
{
    pst_core_destroy(&w->core);
    for (int i = 0; i < WORLD_BATCHES * WORLD_PACKS; i++) {
        pst_blob_unref(&w->headers[i / WORLD_PACKS][i % WORLD_PACKS]);
        pst_blob_unref(&w->bodies[i / WORLD_PACKS][i % WORLD_PACKS]);
    }
    pst_arena_release(&w->arena);
    free(w);
}

pst_view_t encoded(world_t *w, const pst_route_t *r)
{
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_route_encode(r, &b);
    pst_view_t v = pst_arena_copy(&w->arena, pst_buf_view(&b));
    pst_buf_release(&b);
    return v;
}

pst_view_t route_bytes(world_t *w, const wish_t *x)
{
    if (x->route.n)
        return x->route;
    pst_view_t names[3], order[1];
    pst_route_t r = {.allow_fallbacks = true, .require_parameters = true, .max_price_prompt = -1,
                     .max_price_completion = -1, .max_price_request = -1};
    r.models.v = names;
    while (r.models.n < 3 && x->models[r.models.n]) {
        names[r.models.n] = pst_view_str(x->models[r.models.n]);
        r.models.n++;
    }
    if (x->order) {
        order[0] = pst_view_str(x->order);
        r.order = (pst_names_t){order, 1};
    }
    return encoded(w, &r);
}

static pst_id_t id_of(const wish_t *x)
{
    pst_id_t id = ID;
    id.b[15] = x->batch;
    return id;
}

/* Its bytes are the world's from then on. */
static pst_pack_headers_t make_pack(world_t *w, const wish_t *x, uint32_t pack)
{
    assert_true(pack < WORLD_PACKS && x->batch < WORLD_BATCHES);
    pst_blob_t **headers = &w->headers[x->batch][pack], **bodies = &w->bodies[x->batch][pack];
    uint32_t jobs = x->jobs ? x->jobs : JOBS;
    pst_job_header_t *h = pst_arena_get(&w->arena, jobs * sizeof *h);
    memset(h, 0, jobs * sizeof *h);
    for (uint32_t i = 0; i < jobs; i++) {
        h[i].index = pack * jobs + i;
        h[i].custom_id = pst_arena_printf(&w->arena, "id-%u", h[i].index);
        h[i].input_tokens = x->input ? x->input : 100;
        h[i].prefix = x->prefix ? x->prefix + h[i].index % PST_MAX(x->prefixes, 1) : 0;
        h[i].output_tokens = w->output_limit;
        h[i].body_bytes = 2;
        if (x->reject) {
            h[i].reject = PST_CAUSE_LINE_JSON;
            h[i].line = i + 1;
            h[i].message = PST_VIEW_LIT("broken");
        }
    }
    pst_pack_headers_t p = {.url = PST_URL_CHAT, .route = route_bytes(w, x), .codec = PST_CODEC_RAW,
                            .text_bytes = jobs * 2, .jobs = h, .jobs_n = jobs};
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_pack_headers_encode(&p, &b);
    pst_blob_unref(headers); /* of an upload before */
    pst_blob_unref(bodies);
    *headers = pst_blob_new(b.p, b.n);
    *bodies = pst_blob_new(NULL, jobs * 2);
    pst_buf_release(&b);
    return p;
}

void send_pack(world_t *w, const wish_t *x, uint32_t pack)
{
    pst_pack_headers_t p = make_pack(w, x, pack);
    pst_blob_t *headers = w->headers[x->batch][pack], *bodies = w->bodies[x->batch][pack];
    pst_msg_pack_t m = {.req = 10 + pack, .batch = id_of(x), .pack = pack, .headers = pst_blob_view(headers),
                        .bodies = pst_blob_view(bodies)};
    pst_event_t ev = {.type = PST_EV_PACK};
    ev.u.pack.peer = CLIENT;
    ev.u.pack.msg = &m;
    ev.u.pack.headers = &p;
    ev.u.pack.headers_blob = headers;
    ev.u.pack.bodies_blob = bodies;
    run(w, &ev);
    w->packs = pack + 1;
}

void send_call(world_t *w, const wish_t *x, pst_msg_call_t how)
{
    wish_t one = *x;
    one.jobs = 1;
    pst_pack_headers_t p = make_pack(w, &one, 0);
    pst_blob_t *headers = w->headers[x->batch][0], *bodies = w->bodies[x->batch][0];
    how.req = 60;
    how.batch = id_of(x);
    how.headers = pst_blob_view(headers);
    how.bodies = pst_blob_view(bodies);
    pst_event_t ev = {.type = PST_EV_CALL, .u.call = {CLIENT, &how, &p, headers, bodies}};
    run(w, &ev);
}

static void commit(world_t *w, pst_id_t batch, uint32_t packs, uint32_t jobs)
{
    pst_msg_commit_t m = {.req = 99, .batch = batch, .packs = packs, .jobs = jobs};
    pst_event_t ev = {.type = PST_EV_COMMIT};
    ev.u.commit.peer = CLIENT;
    ev.u.commit.msg = &m;
    run(w, &ev);
}

void send_commit(world_t *w, uint32_t packs, uint32_t jobs)
{
    commit(w, ID, packs, jobs);
}

void send_open(world_t *w, const wish_t *x)
{
    pst_msg_open_t m = {.req = 1, .batch = id_of(x), .window_s = x->window_s, .max_cost_nano = x->max_cost_nano,
                        .priority = (uint8_t)(x->priority ? x->priority - 1 : PST_PRIORITY_NORMAL),
                        .idempotency_key = pst_view_str(x->key), .tenant = pst_view_str(x->tenant)};
    pst_event_t ev = {.type = PST_EV_OPEN};
    ev.u.open.peer = CLIENT;
    ev.u.open.msg = &m;
    run(w, &ev);
}

void submit(world_t *w, wish_t x)
{
    uint32_t packs = x.packs ? x.packs : 1;
    send_open(w, &x);
    for (uint32_t i = 0; i < packs; i++)
        send_pack(w, &x, i);
    commit(w, id_of(&x), packs, packs * (x.jobs ? x.jobs : JOBS));
}

void batch_req(world_t *w, pst_event_type_t type)
{
    pst_msg_batch_req_t m = {.req = 50, .batch = ID};
    pst_event_t ev = {.type = type};
    ev.u.batch_req.peer = CLIENT;
    ev.u.batch_req.msg = &m;
    run(w, &ev);
}

void outcome_from(world_t *w, pst_peer_t worker, const task_t *t, say_t s)
{
    pst_endpoint_name_t name = {pst_view_str(t->provider), pst_view_str(t->model)};
    pst_blob_t *blob = pst_blob_new("{}", 2);
    char id[16];
    snprintf(id, sizeof id, "id-%u", t->ref.pack * JOBS + t->ref.slot);
    pst_outcome_t o = {.pack = t->ref.pack, .slot = t->ref.slot, .dispatch = t->ref.dispatch,
                       .index = t->ref.pack * JOBS + t->ref.slot, .custom_id = pst_view_str(id),
                       .verdict = (uint8_t)s.verdict, .cause = (uint8_t)s.cause, .http_status = s.status,
                       .wait_ms = s.wait_ms, .whole_provider = s.whole, .latency_us = s.latency_us ? s.latency_us : 5000,
                       .input_tokens = s.input_tokens, .output_tokens = s.output_tokens, .body_bytes = 2};
    if (s.verdict == PST_VERDICT_DONE) {
        o.input_tokens = s.input_tokens ? s.input_tokens : 10;
        o.output_tokens = s.output_tokens ? s.output_tokens : 20;
        o.cached_tokens = s.cached_tokens;
    }
    pst_outcome_group_t g = {.batch = t->ref.batch, .segment = t->ref.segment, .endpoints = &name, .endpoints_n = 1,
                             .outcomes = &o, .outcomes_n = 1, .blob = {PST_CODEC_RAW, 2, pst_blob_view(blob)},
                             .limits = (pst_limit_report_t *)(uintptr_t)s.limits, .limits_n = s.limits_n};
    pst_event_t ev = {.type = PST_EV_OUTCOMES};
    ev.u.outcomes.worker = worker;
    ev.u.outcomes.number = ++w->outcome_number;
    ev.u.outcomes.groups = &g;
    ev.u.outcomes.groups_n = 1;
    ev.u.outcomes.blobs = &blob;
    run(w, &ev);
    pst_blob_unref(&blob);
}

void outcome(world_t *w, uint32_t task, say_t s)
{
    task_t t = w->tasks[task];
    outcome_from(w, t.worker, &t, s);
}

const say_t DONE = {.verdict = PST_VERDICT_DONE, .status = 200};
const say_t SERVER = {.verdict = PST_VERDICT_RETRY, .cause = PST_CAUSE_SERVER, .status = 500};

uint32_t answer_for(world_t *w, pst_ns_t time, pst_ns_t latency, say_t s)
{
    uint32_t sent = 0;
    s.latency_us = s.latency_us ? s.latency_us : latency / PST_US;
    for (pst_ns_t end = w->now + time; w->now < end;) {
        uint32_t before = w->tasks_n, done = 0;
        pass(w, 10 * PST_MS);
        while (done < w->tasks_n && w->tasks[done].at + latency <= w->now)
            outcome(w, done++, s);
        sent += w->tasks_n - before;
        w->tasks_n -= done;
        memmove(w->tasks, w->tasks + done, w->tasks_n * sizeof *w->tasks);
    }
    return sent;
}

void finish_all(world_t *w, uint32_t from)
{
    for (uint32_t i = from; i < w->tasks_n; i++)
        outcome(w, i, DONE);
}

void info(world_t *w, pst_batch_info_t *i)
{
    assert_int_equal(pst_core_batch_info(w->core, &ID, true, &w->arena, i), PST_OK);
}
