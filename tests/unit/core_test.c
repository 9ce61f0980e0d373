/* core_test.c - the core's rules, one by one: a store that answers at once, a worker that the test plays. */
#include "unit.h"

#include "base/blob.h"
#include "core/core.h"

#define JOBS 8
#define WORKER 100u
#define CLIENT 1u

typedef struct task {
    pst_task_ref_t ref;
    char provider[32], model[32];
    bool bytes;
    pst_peer_t worker;
} task_t;

typedef struct world {
    pst_core_t *core;
    pst_ns_t now;
    uint64_t wall_ms;
    bool store_mute; /* answers are kept back */
    pst_store_op_t kept[64];
    uint32_t kept_n;
    pst_blob_t *headers[4], *bodies[4];
    uint32_t packs;
    task_t tasks[256];
    uint32_t tasks_n;
    uint64_t acked;
    uint32_t revoked;
    pst_msg_done_t done;
    uint32_t results, retries, appends;
    pst_result_t last_result;
    char last_message[256];
    uint32_t last_attempts;
    bool ended;
    uint8_t end_status;
    pst_batch_info_t summary;
    uint64_t calls; /* of the summary's first endpoint */
    uint32_t loads;
    pst_pack_headers_t load_headers;
    pst_arena_t arena;
    uint64_t outcome_number;
    uint64_t take_wait_ms;
    bool take_refuse;
    uint32_t parked, resumed;
    pst_err_t refuse[PST_STORE_OP_COUNT]; /* what the store says to such an operation */
    uint32_t deletes;
} world_t;

static const pst_id_t ID = {{1, 2, 3}};

static void run(world_t *w, const pst_event_t *ev);

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
        a.requests = w->take_refuse ? 0 : op->u.limit.requests;
        a.tokens = w->take_refuse ? 0 : op->u.limit.tokens;
        a.wait_ms = w->take_refuse ? w->take_wait_ms : 0;
    }
    pst_pack_headers_t h;
    if (op->type == PST_STORE_LOAD) {
        w->loads++;
        a.headers = w->headers[op->u.load.pack];
        a.bodies = op->u.load.bodies ? w->bodies[op->u.load.pack] : NULL;
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
        task_t *t = &w->tasks[w->tasks_n++];
        t->ref = (pst_task_ref_t){g->batch, g->segment, g->pack, g->slots[i].slot, g->slots[i].dispatch};
        t->bytes = g->headers.n > 0;
        t->worker = a->u.tasks.worker;
        snprintf(t->provider, sizeof t->provider, "%.*s", (int)g->endpoint.provider.n, g->endpoint.provider.p);
        snprintf(t->model, sizeof t->model, "%.*s", (int)g->endpoint.model.n, g->endpoint.model.p);
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
            if (a.u.store.type == PST_STORE_END) {
                w->ended = true;
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
            w->parked += a.u.notice.what == PST_NOTICE_PARKED;
            w->resumed += a.u.notice.what == PST_NOTICE_RESUMED;
            break;
        }
    }
}

static void run(world_t *w, const pst_event_t *ev)
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
static void unmute(world_t *w)
{
    for (uint32_t i = 0; i < w->kept_n; i++)
        answer(w, &w->kept[i]);
    w->kept_n = 0;
    w->store_mute = false;
}

static void tick(world_t *w, pst_ns_t d)
{
    w->now += d;
    w->wall_ms += d / PST_MS;
    run(w, &(pst_event_t){.type = PST_EV_TICK});
}

/* Lets time pass from deadline to deadline. */
static void pass(world_t *w, pst_ns_t d)
{
    pst_ns_t end = w->now + d;
    for (pst_ns_t at; (at = pst_core_deadline(w->core)) <= end;)
        tick(w, at > w->now ? at - w->now : 0);
    tick(w, end - w->now);
}

static void configure_limited(world_t *w, uint64_t rpm)
{
    pst_core_provider_t p[] = {
        {.name = PST_VIEW_LIT("alpha"), .urls = 1, .rpm = rpm},
        {.name = PST_VIEW_LIT("beta"), .urls = 1},
        {.name = PST_VIEW_LIT("bare"), .urls = 1},
    };
    pst_core_endpoint_t e[] = {
        {.provider = 0, .model = PST_VIEW_LIT("up-a"), .price_input = 1, .price_output = 1},
        {.provider = 1, .model = PST_VIEW_LIT("up-b"), .price_input = 3, .price_output = 3},
        {.provider = 0, .model = PST_VIEW_LIT("only-a"), .price_input = 1, .price_output = 1},
        {.provider = 1, .model = PST_VIEW_LIT("only-b"), .price_input = 1, .price_output = 1},
    };
    pst_core_model_t m[] = {{PST_VIEW_LIT("both"), 0, 2}, {PST_VIEW_LIT("one"), 2, 1}, {PST_VIEW_LIT("other"), 3, 1}};
    pst_core_config_t c = {p, 3, e, 4, m, 3};
    pst_event_t ev = {.type = PST_EV_CONFIG};
    ev.u.config = &c;
    run(w, &ev);
}

static void hello(world_t *w, pst_peer_t peer, uint32_t jobs, const pst_task_ref_t *running, uint32_t running_n)
{
    pst_core_pool_t pools[] = {{pst_core_provider(w->core, pst_view_str("alpha")), jobs},
                               {pst_core_provider(w->core, pst_view_str("beta")), jobs}};
    pst_event_t ev = {.type = PST_EV_WORKER};
    ev.u.worker.worker = peer;
    ev.u.worker.pools = pools;
    ev.u.worker.pools_n = 2;
    ev.u.worker.running = running;
    ev.u.worker.running_n = running_n;
    run(w, &ev);
}

static world_t *world_new(void)
{
    world_t *w = calloc(1, sizeof *w);
    w->wall_ms = 1000000;
    w->now = PST_SEC;
    pst_arena_init(&w->arena, 0);
    w->core = pst_core_new(&(pst_core_opts_t){.seed = 7});
    configure_limited(w, 0);
    run(w, &(pst_event_t){.type = PST_EV_GO});
    return w;
}

static void world_free(world_t *w)
{
    pst_core_destroy(&w->core);
    for (int i = 0; i < 4; i++) {
        pst_blob_unref(&w->headers[i]);
        pst_blob_unref(&w->bodies[i]);
    }
    pst_arena_release(&w->arena);
    free(w);
}

typedef struct wish {
    const char *models[3];
    uint64_t window_s, max_cost_nano;
    uint32_t jobs, packs;
    bool reject;
    const char *order;
    const char *key;
} wish_t;

static pst_view_t route_bytes(world_t *w, const wish_t *x)
{
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
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_route_encode(&r, &b);
    pst_view_t v = pst_arena_copy(&w->arena, pst_buf_view(&b));
    pst_buf_release(&b);
    return v;
}

static void send_pack(world_t *w, const wish_t *x, uint32_t pack)
{
    uint32_t jobs = x->jobs ? x->jobs : JOBS;
    pst_job_header_t h[256];
    memset(h, 0, sizeof h);
    for (uint32_t i = 0; i < jobs; i++) {
        h[i].index = pack * jobs + i;
        h[i].custom_id = pst_arena_printf(&w->arena, "id-%u", h[i].index);
        h[i].input_tokens = 100;
        h[i].output_tokens = 100;
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
    pst_blob_unref(&w->headers[pack]); /* of an upload before */
    pst_blob_unref(&w->bodies[pack]);
    w->headers[pack] = pst_blob_new(b.p, b.n);
    w->bodies[pack] = pst_blob_new(NULL, jobs * 2);
    pst_buf_release(&b);
    pst_msg_pack_t m = {.req = 10 + pack, .batch = ID, .pack = pack, .headers = pst_blob_view(w->headers[pack]),
                        .bodies = pst_blob_view(w->bodies[pack])};
    pst_event_t ev = {.type = PST_EV_PACK};
    ev.u.pack.peer = CLIENT;
    ev.u.pack.msg = &m;
    ev.u.pack.headers = &p;
    ev.u.pack.headers_blob = w->headers[pack];
    ev.u.pack.bodies_blob = w->bodies[pack];
    run(w, &ev);
    w->packs = pack + 1;
}

static void send_commit(world_t *w, uint32_t packs, uint32_t jobs)
{
    pst_msg_commit_t m = {.req = 99, .batch = ID, .packs = packs, .jobs = jobs};
    pst_event_t ev = {.type = PST_EV_COMMIT};
    ev.u.commit.peer = CLIENT;
    ev.u.commit.msg = &m;
    run(w, &ev);
}

static void send_open(world_t *w, const wish_t *x)
{
    pst_msg_open_t m = {.req = 1, .batch = ID, .priority = PST_PRIORITY_NORMAL, .window_s = x->window_s,
                        .max_cost_nano = x->max_cost_nano, .idempotency_key = pst_view_str(x->key)};
    pst_event_t ev = {.type = PST_EV_OPEN};
    ev.u.open.peer = CLIENT;
    ev.u.open.msg = &m;
    run(w, &ev);
}

static void submit(world_t *w, wish_t x)
{
    uint32_t packs = x.packs ? x.packs : 1;
    send_open(w, &x);
    for (uint32_t i = 0; i < packs; i++)
        send_pack(w, &x, i);
    send_commit(w, packs, packs * (x.jobs ? x.jobs : JOBS));
}

static void batch_req(world_t *w, pst_event_type_t type)
{
    pst_msg_batch_req_t m = {.req = 50, .batch = ID};
    pst_event_t ev = {.type = type};
    ev.u.batch_req.peer = CLIENT;
    ev.u.batch_req.msg = &m;
    run(w, &ev);
}

typedef struct say {
    pst_verdict_t verdict;
    pst_cause_t cause;
    uint16_t status;
    uint64_t wait_ms;
    bool whole;
} say_t;

static void outcome_from(world_t *w, pst_peer_t worker, const task_t *t, say_t s)
{
    pst_endpoint_name_t name = {pst_view_str(t->provider), pst_view_str(t->model)};
    pst_blob_t *blob = pst_blob_new("{}", 2);
    char id[16];
    snprintf(id, sizeof id, "id-%u", t->ref.pack * JOBS + t->ref.slot);
    pst_outcome_t o = {.pack = t->ref.pack, .slot = t->ref.slot, .dispatch = t->ref.dispatch,
                       .index = t->ref.pack * JOBS + t->ref.slot, .custom_id = pst_view_str(id),
                       .verdict = (uint8_t)s.verdict, .cause = (uint8_t)s.cause, .http_status = s.status,
                       .wait_ms = s.wait_ms, .whole_provider = s.whole, .latency_us = 5000, .body_bytes = 2};
    if (s.verdict == PST_VERDICT_DONE) {
        o.input_tokens = 10;
        o.output_tokens = 20;
    }
    pst_outcome_group_t g = {.batch = t->ref.batch, .segment = t->ref.segment, .endpoints = &name, .endpoints_n = 1,
                             .outcomes = &o, .outcomes_n = 1, .blob = {PST_CODEC_RAW, 2, pst_blob_view(blob)}};
    pst_event_t ev = {.type = PST_EV_OUTCOMES};
    ev.u.outcomes.worker = worker;
    ev.u.outcomes.number = ++w->outcome_number;
    ev.u.outcomes.groups = &g;
    ev.u.outcomes.groups_n = 1;
    ev.u.outcomes.blobs = &blob;
    run(w, &ev);
    pst_blob_unref(&blob);
}

static void outcome(world_t *w, uint32_t task, say_t s)
{
    task_t t = w->tasks[task];
    outcome_from(w, t.worker, &t, s);
}

static const say_t DONE = {PST_VERDICT_DONE, PST_CAUSE_NONE, 200, 0, false};
static const say_t SERVER = {PST_VERDICT_RETRY, PST_CAUSE_SERVER, 500, 0, false};

static void finish_all(world_t *w, uint32_t from)
{
    for (uint32_t i = from; i < w->tasks_n; i++)
        outcome(w, i, DONE);
}

static void info(world_t *w, pst_batch_info_t *i)
{
    assert_int_equal(pst_core_batch_info(w->core, &ID, w->wall_ms, true, &w->arena, i), PST_OK);
}

/* ---- the cases ------------------------------------------------------------------------------------------------------ */

static void a_batch_runs_and_ends(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 64, NULL, 0);
    submit(w, (wish_t){.models = {"one"}});
    assert_true(w->done.accepted);
    assert_int_equal(w->tasks_n, JOBS);
    assert_true(w->tasks[0].bytes);
    assert_string_equal(w->tasks[0].model, "only-a");
    finish_all(w, 0);
    assert_int_equal(w->results, JOBS);
    assert_true(w->ended);
    assert_int_equal(w->end_status, PST_BATCH_COMPLETED);
    assert_int_equal(w->summary.completed, JOBS);
    assert_int_equal(w->summary.cost_nano, JOBS * 30 * 1000);
    assert_int_equal(w->acked, JOBS);
    pst_batch_info_t i;
    assert_int_equal(pst_core_batch_info(w->core, &ID, 0, true, &w->arena, &i), PST_E_NOT_FOUND);
    tick(w, 0); /* what has ended is freed with the next step */
    pst_core_gauges_t g;
    pst_core_gauges(w->core, &g);
    assert_int_equal(g.batches + g.packs + g.packs_open + g.jobs_running + g.jobs_waiting + g.jobs_queued, 0);
    world_free(w);
}

static void nothing_is_answered_before_it_is_stored(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 64, NULL, 0);
    w->store_mute = true;
    submit(w, (wish_t){.models = {"one"}});
    assert_int_equal(w->done.req, 0);
    assert_int_equal(w->tasks_n, 0);
    unmute(w);
    assert_true(w->done.accepted);
    w->store_mute = true;
    outcome(w, 0, DONE);
    assert_int_equal(w->acked, 0);
    unmute(w);
    assert_int_equal(w->acked, 1);
    w->store_mute = true;
    outcome(w, 1, SERVER);
    assert_int_equal(w->acked, 1);
    unmute(w);
    assert_int_equal(w->acked, 2);
    world_free(w);
}

/* The store has OPEN, PACK and COMMIT in its hands together.  Whatever it makes of a COMMIT behind an OPEN that it
 * refused, nothing runs, and nothing stays. */
static void a_refused_open_takes_the_commit_along(void **state)
{
    (void)state;
    static const pst_err_t commit_says[] = {PST_OK, PST_E_NOT_FOUND, PST_E_STORE_FULL};
    for (size_t i = 0; i < PST_COUNT(commit_says); i++) {
        world_t *w = world_new();
        hello(w, WORKER, 64, NULL, 0);
        w->store_mute = true;
        w->refuse[PST_STORE_OPEN] = PST_E_STORE_FULL;
        w->refuse[PST_STORE_COMMIT] = commit_says[i];
        submit(w, (wish_t){.models = {"one"}});
        assert_int_equal(w->kept_n, 3);
        unmute(w);
        assert_int_equal(w->done.err, PST_E_STORE_FULL);
        assert_int_equal(w->deletes, 1);
        assert_int_equal(w->tasks_n, 0);
        memset(w->refuse, 0, sizeof w->refuse);
        submit(w, (wish_t){.models = {"one"}});
        assert_true(w->done.accepted);
        assert_int_equal(w->tasks_n, JOBS);
        world_free(w);
    }
}

/* An upload that is repeated because its last answer was lost: the batch has run and ended meanwhile. */
static void a_repeated_upload_of_an_ended_batch_is_accepted(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 64, NULL, 0);
    w->store_mute = true;
    w->refuse[PST_STORE_OPEN] = PST_E_EXISTS;
    submit(w, (wish_t){.models = {"one"}});
    unmute(w);
    assert_int_equal(w->done.req, 99);
    assert_int_equal(w->done.err, PST_OK);
    assert_true(w->done.accepted);
    assert_int_equal(w->deletes, 0);
    assert_int_equal(w->tasks_n, 0);
    world_free(w);
}

static void a_commit_that_does_not_add_up_is_refused(void **state)
{
    (void)state;
    world_t *w = world_new();
    wish_t x = {.models = {"one"}};
    send_open(w, &x);
    send_pack(w, &x, 0);
    send_commit(w, 2, 2 * JOBS);
    assert_int_equal(w->done.err, PST_E_STATE);
    send_commit(w, 1, JOBS);
    assert_true(w->done.accepted);
    world_free(w);
}

static void errors_cost_five_attempts_with_growing_waits(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 64, NULL, 0);
    submit(w, (wish_t){.models = {"one"}, .jobs = 1});
    for (uint32_t i = 0; i < PST_ATTEMPTS_MAX; i++) {
        assert_int_equal(w->tasks_n, i + 1);
        assert_false(w->ended);
        outcome(w, i, SERVER);
        pass(w, 61 * PST_SEC);
    }
    assert_true(w->ended);
    assert_int_equal(w->end_status, PST_BATCH_FAILED);
    assert_int_equal(w->retries, PST_ATTEMPTS_MAX - 1);
    assert_int_equal(w->last_attempts, PST_ATTEMPTS_MAX);
    assert_int_equal(w->last_result.http_status, 500);
    world_free(w);
}

static void a_limit_costs_no_attempt(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 64, NULL, 0);
    submit(w, (wish_t){.models = {"one"}, .jobs = 1});
    for (uint32_t i = 0; i < 3 * PST_ATTEMPTS_MAX; i++) {
        assert_int_equal(w->tasks_n, i + 1);
        outcome(w, i, (say_t){PST_VERDICT_THROTTLE, PST_CAUSE_RATE_LIMIT, 429, 2000, false});
        pass(w, 1900 * PST_MS);
        assert_int_equal(w->tasks_n, i + 1); /* not before the provider said */
        pass(w, 200 * PST_MS);
    }
    assert_int_equal(w->retries, 0);
    outcome(w, w->tasks_n - 1, DONE);
    assert_int_equal(w->end_status, PST_BATCH_COMPLETED);
    world_free(w);
}

static void a_refused_key_parks_the_account_and_spends_nothing(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 1, NULL, 0);
    submit(w, (wish_t){.models = {"one"}});
    outcome(w, 0, (say_t){PST_VERDICT_PARK, PST_CAUSE_AUTHENTICATION, 401, 0, true});
    assert_int_equal(w->parked, 1);
    assert_int_equal(w->tasks_n, 1);
    pst_batch_info_t i;
    info(w, &i);
    assert_int_equal(i.parked_n, 1);
    assert_int_equal(i.parked[0].cause, PST_CAUSE_AUTHENTICATION);
    pass(w, 31 * PST_SEC); /* one probe */
    assert_int_equal(w->tasks_n, 2);
    outcome(w, 1, DONE);
    assert_int_equal(w->resumed, 1);
    assert_int_equal(w->tasks_n, 3);
    world_free(w);
}

static void a_parked_endpoint_leaves_the_work_to_the_other(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 1, NULL, 0);
    submit(w, (wish_t){.models = {"both"}, .order = "alpha"});
    assert_string_equal(w->tasks[0].provider, "alpha");
    outcome(w, 0, (say_t){PST_VERDICT_PARK, PST_CAUSE_PAYMENT_REQUIRED, 402, 0, true});
    for (uint32_t i = 1; i < w->tasks_n; i++) {
        assert_string_equal(w->tasks[i].provider, "beta");
        outcome(w, i, DONE);
    }
    assert_int_equal(w->end_status, PST_BATCH_COMPLETED);
    world_free(w);
}

static void a_wrong_request_falls_back_to_the_next_model(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 64, NULL, 0);
    submit(w, (wish_t){.models = {"one", "other"}, .jobs = 1});
    outcome(w, 0, (say_t){PST_VERDICT_FINAL, PST_CAUSE_CONTEXT_LENGTH, 400, 0, false});
    assert_int_equal(w->tasks_n, 2);
    assert_string_equal(w->tasks[1].model, "only-b");
    outcome(w, 1, (say_t){PST_VERDICT_FINAL, PST_CAUSE_CONTEXT_LENGTH, 400, 0, false});
    assert_true(w->ended);
    assert_int_equal(w->end_status, PST_BATCH_FAILED);
    assert_int_equal(w->last_attempts, 2);
    world_free(w);
}

static void cheaper_endpoints_get_the_square_of_their_advantage(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 1000, NULL, 0);
    submit(w, (wish_t){.models = {"both"}, .jobs = 100});
    uint32_t alpha = 0;
    for (uint32_t i = 0; i < w->tasks_n; i++)
        alpha += strcmp(w->tasks[i].provider, "alpha") == 0;
    assert_int_equal(w->tasks_n, 100);
    assert_int_equal(alpha, 90); /* 1 USD against 3: nine to one */
    world_free(w);
}

static void a_lost_worker_gives_its_jobs_back(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 64, NULL, 0);
    submit(w, (wish_t){.models = {"one"}});
    pst_event_t gone = {.type = PST_EV_WORKER_GONE};
    gone.u.worker.worker = WORKER;
    run(w, &gone);
    hello(w, WORKER + 1, 64, NULL, 0);
    assert_int_equal(w->tasks_n, 2 * JOBS);
    assert_true(w->tasks[JOBS].bytes);
    hello(w, WORKER + 2, 64, NULL, 0);
    outcome_from(w, WORKER + 2, &w->tasks[0], DONE); /* the lost one had it done after all */
    assert_int_equal(w->results, 1);
    assert_int_equal(w->revoked, 1);
    for (uint32_t i = JOBS; i < 2 * JOBS; i++)
        outcome(w, i, DONE);
    assert_int_equal(w->results, JOBS);
    assert_int_equal(w->end_status, PST_BATCH_COMPLETED);
    assert_int_equal(w->calls, JOBS);
    world_free(w);
}

static void a_repeated_outcome_changes_nothing(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 64, NULL, 0);
    submit(w, (wish_t){.models = {"one"}});
    outcome(w, 0, DONE);
    outcome(w, 0, DONE);
    assert_int_equal(w->results, 1);
    assert_int_equal(w->acked, 2); /* it may be forgotten all the same */
    world_free(w);
}

static void cancel_keeps_what_is_done_and_lets_calls_finish(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 2, NULL, 0);
    submit(w, (wish_t){.models = {"one"}});
    assert_int_equal(w->tasks_n, 2);
    outcome(w, 0, DONE);
    assert_int_equal(w->tasks_n, 3);
    batch_req(w, PST_EV_CANCEL);
    assert_int_equal(w->done.err, PST_OK);
    assert_int_equal(w->results, 1 + JOBS - 3);
    assert_false(w->ended);
    outcome(w, 1, DONE);
    outcome(w, 2, SERVER); /* not tried again */
    assert_true(w->ended);
    assert_int_equal(w->end_status, PST_BATCH_CANCELLED);
    assert_int_equal(w->summary.completed, 2);
    assert_int_equal(w->summary.cancelled, JOBS - 2);
    world_free(w);
}

static void the_window_ends_what_is_not_done(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 2, NULL, 0);
    submit(w, (wish_t){.models = {"one"}, .window_s = 60});
    outcome(w, 0, DONE);
    pass(w, 61 * PST_SEC);
    assert_true(w->ended);
    assert_int_equal(w->revoked, 2);
    assert_int_equal(w->end_status, PST_BATCH_EXPIRED);
    assert_int_equal(w->summary.expired, JOBS - 1);
    assert_int_equal(w->last_result.cause, PST_CAUSE_BATCH_EXPIRED);
    world_free(w);
}

static void the_budget_is_not_overshot(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 64, NULL, 0);
    submit(w, (wish_t){.models = {"one"}, .max_cost_nano = 3 * 200 * 1000}); /* three jobs' reservations */
    assert_int_equal(w->tasks_n, 3);
    finish_all(w, 0);
    assert_true(w->ended);
    assert_int_equal(w->end_status, PST_BATCH_COMPLETED);
    assert_int_equal(w->summary.failed, JOBS - 3);
    assert_int_equal(w->last_result.status, PST_JOB_COMPLETED);
    world_free(w);
}

static void refused_lines_end_as_failed_without_a_call(void **state)
{
    (void)state;
    world_t *w = world_new();
    submit(w, (wish_t){.reject = true});
    assert_int_equal(w->tasks_n, 0);
    assert_int_equal(w->results, JOBS);
    assert_string_equal(w->last_message, "broken");
    assert_int_equal(w->last_result.cause, PST_CAUSE_LINE_JSON);
    assert_int_equal(w->end_status, PST_BATCH_FAILED);
    world_free(w);
}

static void unknown_models_are_refused_and_bare_providers_pass_through(void **state)
{
    (void)state;
    world_t *w = world_new();
    wish_t x = {.models = {"nobody/knows"}};
    assert_int_equal(pst_core_route_check(w->core, PST_URL_CHAT, route_bytes(w, &x)), PST_E_MODEL_NOT_FOUND);
    x.models[0] = "alpha/typo"; /* alpha has models of its own */
    assert_int_equal(pst_core_route_check(w->core, PST_URL_CHAT, route_bytes(w, &x)), PST_E_MODEL_NOT_FOUND);
    x.models[0] = "bare/any/thing";
    assert_int_equal(pst_core_route_check(w->core, PST_URL_CHAT, route_bytes(w, &x)), PST_OK);
    world_free(w);
}

static void a_budget_of_requests_is_leased_and_waited_for(void **state)
{
    (void)state;
    world_t *w = world_new();
    configure_limited(w, 60);
    w->take_refuse = true;
    w->take_wait_ms = 700;
    hello(w, WORKER, 64, NULL, 0);
    submit(w, (wish_t){.models = {"one"}});
    assert_int_equal(w->tasks_n, 0);
    pass(w, 690 * PST_MS);
    assert_int_equal(w->tasks_n, 0);
    w->take_refuse = false;
    pass(w, 20 * PST_MS);
    assert_int_equal(w->tasks_n, JOBS); /* this store grants whatever is asked: one at a time, until all are out */
    world_free(w);
}

static void idempotency_key_is_claimed_before_the_batch_counts(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 64, NULL, 0);
    submit(w, (wish_t){.models = {"one"}, .key = "k"});
    assert_true(w->done.accepted);
    assert_memory_equal(w->done.batch.b, ID.b, 16);
    assert_int_equal(w->tasks_n, JOBS);
    world_free(w);
}

static void packs_that_do_not_fit_in_memory_are_read_back(void **state)
{
    (void)state;
    world_t *w = world_new();
    pst_core_destroy(&w->core);
    w->core = pst_core_new(&(pst_core_opts_t){.seed = 7, .open_bytes_max = 1});
    configure_limited(w, 0);
    run(w, &(pst_event_t){.type = PST_EV_GO});
    hello(w, WORKER, 2, NULL, 0);
    submit(w, (wish_t){.models = {"one"}, .packs = 4});
    for (uint32_t i = 0; i < w->tasks_n; i++)
        outcome(w, i, DONE);
    assert_int_equal(w->results, 4 * JOBS);
    assert_true(w->loads >= 4);
    assert_int_equal(w->end_status, PST_BATCH_COMPLETED);
    world_free(w);
}

static void a_restarted_core_repeats_no_call_of_a_live_worker(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 3, NULL, 0);
    submit(w, (wish_t){.models = {"one"}});
    assert_int_equal(w->tasks_n, 3);
    outcome(w, 0, DONE);
    pst_core_destroy(&w->core);
    w->core = pst_core_new(&(pst_core_opts_t){.seed = 8});
    configure_limited(w, 0);
    pst_restored_t r = {.type = PST_RESTORED_BATCH, .batch = ID, .u.batch.jobs = JOBS};
    r.u.batch.info.accepted_ms = 1000000;
    r.u.batch.info.expires_ms = w->wall_ms + 1000000;
    pst_event_t ev = {.type = PST_EV_RESTORED};
    ev.u.restored = &r;
    run(w, &ev);
    wish_t x = {.models = {"one"}};
    r = (pst_restored_t){.type = PST_RESTORED_PACK, .batch = ID};
    r.u.pack.entry = (pst_pack_entry_t){.jobs = JOBS, .index_hi = JOBS - 1};
    r.u.pack.route = route_bytes(w, &x);
    run(w, &ev);
    pst_slot_ref_t ended = {0, 0};
    r = (pst_restored_t){.type = PST_RESTORED_RESULTS, .batch = ID};
    r.u.results.ended = &ended;
    r.u.results.ended_n = 1;
    run(w, &ev);
    pst_seg_stats_t stats = {.completed = 1};
    r = (pst_restored_t){.type = PST_RESTORED_STATS, .batch = ID, .u.stats = stats};
    run(w, &ev);
    r = (pst_restored_t){.type = PST_RESTORED_BATCH_END, .batch = ID};
    run(w, &ev);
    pst_task_ref_t running[3] = {w->tasks[1].ref, w->tasks[2].ref, w->tasks[3].ref};
    hello(w, WORKER, 64, running, 3);
    uint32_t before = w->tasks_n;
    assert_int_equal(before, 4);
    run(w, &(pst_event_t){.type = PST_EV_GO});
    assert_int_equal(w->tasks_n, before + JOBS - 4);
    for (uint32_t i = 1; i < w->tasks_n; i++)
        outcome(w, i, DONE);
    assert_int_equal(w->results, JOBS);
    assert_int_equal(w->summary.completed, JOBS);
    assert_int_equal(w->end_status, PST_BATCH_COMPLETED);
    world_free(w);
}

static void an_adopted_call_counts_against_the_limit(void **state)
{
    (void)state;
    world_t *w = world_new();
    pst_core_provider_t p = {.name = PST_VIEW_LIT("alpha"), .urls = 1, .concurrency = 3};
    pst_core_endpoint_t e = {.model = PST_VIEW_LIT("only-a"), .price_input = 1, .price_output = 1};
    pst_core_model_t m = {PST_VIEW_LIT("one"), 0, 1};
    pst_core_config_t c = {&p, 1, &e, 1, &m, 1};
    pst_event_t ev = {.type = PST_EV_CONFIG};
    ev.u.config = &c;
    run(w, &ev);
    hello(w, WORKER, 64, NULL, 0);
    submit(w, (wish_t){.models = {"one"}});
    assert_int_equal(w->tasks_n, 3);
    pst_task_ref_t running[2] = {w->tasks[0].ref, w->tasks[1].ref};
    hello(w, WORKER + 1, 64, running, 2); /* the same calls, in a new session */
    ev = (pst_event_t){.type = PST_EV_WORKER_GONE};
    ev.u.worker.worker = WORKER;
    run(w, &ev);
    assert_int_equal(w->tasks_n, 4); /* two adopted, one given back: there is room for just that one */
    for (uint32_t i = 0; i < w->tasks_n; i++) {
        task_t t = w->tasks[i];
        if (i != 2)
            outcome_from(w, WORKER + 1, &t, DONE);
    }
    assert_int_equal(w->end_status, PST_BATCH_COMPLETED);
    world_free(w);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_runs_and_ends),
        cmocka_unit_test(nothing_is_answered_before_it_is_stored),
        cmocka_unit_test(a_refused_open_takes_the_commit_along),
    cmocka_unit_test(a_repeated_upload_of_an_ended_batch_is_accepted),
    cmocka_unit_test(a_commit_that_does_not_add_up_is_refused),
        cmocka_unit_test(errors_cost_five_attempts_with_growing_waits),
        cmocka_unit_test(a_limit_costs_no_attempt),
        cmocka_unit_test(a_refused_key_parks_the_account_and_spends_nothing),
        cmocka_unit_test(a_parked_endpoint_leaves_the_work_to_the_other),
        cmocka_unit_test(a_wrong_request_falls_back_to_the_next_model),
        cmocka_unit_test(cheaper_endpoints_get_the_square_of_their_advantage),
        cmocka_unit_test(a_lost_worker_gives_its_jobs_back),
        cmocka_unit_test(a_repeated_outcome_changes_nothing),
        cmocka_unit_test(cancel_keeps_what_is_done_and_lets_calls_finish),
        cmocka_unit_test(the_window_ends_what_is_not_done),
        cmocka_unit_test(the_budget_is_not_overshot),
        cmocka_unit_test(refused_lines_end_as_failed_without_a_call),
        cmocka_unit_test(unknown_models_are_refused_and_bare_providers_pass_through),
        cmocka_unit_test(a_budget_of_requests_is_leased_and_waited_for),
        cmocka_unit_test(idempotency_key_is_claimed_before_the_batch_counts),
        cmocka_unit_test(packs_that_do_not_fit_in_memory_are_read_back),
        cmocka_unit_test(a_restarted_core_repeats_no_call_of_a_live_worker),
        cmocka_unit_test(an_adopted_call_counts_against_the_limit),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
