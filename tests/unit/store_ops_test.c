/* Every operation of the store against a real Redis, once and again. */
#include "store_world.h"
#include "unit.h"

static server_t server;

static int setup(void **state)
{
    world_t *w = calloc(1, sizeof *w);
    server_start(&server, NULL);
    world_open(w, &server, PST_DUR_FSYNCED);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    world_t *w = *state;
    if (!w->fatals)
        assert_int_equal(w->downs, 0);
    world_close(w);
    free(w);
    server_stop(&server);
    return 0;
}

static void ok(world_t *w, pst_store_op_t op)
{
    assert_int_equal(world_do(w, op), PST_OK);
}

/* Twice: the second time changes nothing and answers the same. */
static void ok_twice(world_t *w, pst_store_op_t op)
{
    ok(w, op);
    pst_store_answer_t first = w->answer;
    ok(w, op);
    assert_memory_equal(&first.holder, &w->answer.holder, sizeof first.holder);
}

static void open_batch(world_t *w, pst_id_t b, const char *key)
{
    pst_batch_info_t info;
    ok_twice(w, op_open(b, key, &info));
}

static void append(world_t *w, pst_id_t b, uint32_t segment, uint32_t n, uint32_t pack, uint32_t jobs)
{
    append_t a;
    pst_store_op_t op = op_append(&a, b, segment, n, pack, 0, jobs, 20);
    op.u.append.spent = &a.spent;
    op.u.append.spent_n = 1;
    ok_twice(w, op);
    append_release(&a);
}

/* Names that live within one transaction. */
static void no_passing_names(void)
{
    redisReply *r = server_ask(&server, "KEYS *:x:*");
    assert_int_equal(r->elements, 0);
    freeReplyObject(r);
}

/* ---- what a restore reported ------------------------------------------------------------------------------------------ */

typedef struct model {
    unsigned batches, ends, packs, results, ended, retries, stats;
    bool order_wrong;
    pst_id_t current;
    pst_restored_t batch;   /* the last one's */
    uint32_t last_pack;
    char route[32];
    bool rejected;
    uint8_t url;
    pst_retry_t retry;
    pst_endpoint_name_t retry_endpoint;
    uint64_t calls;
    uint32_t hist40, hist87, completed;
    unsigned last_ended;
    char learned_name[64]; /* of the latest budget with learned limits */
    uint64_t learned[PST_RATE_COUNT];
    unsigned learned_from;
} model_t;

static void on_restored(void *arg, const pst_restored_t *r)
{
    model_t *m = arg;
    if (r->type != PST_RESTORED_BATCH && r->type != PST_RESTORED_LIMITS)
        m->order_wrong |= !pst_id_eq(&m->current, &r->batch) || m->ends == m->batches;
    switch (r->type) {
    case PST_RESTORED_BATCH:
        m->order_wrong |= m->ends != m->batches;
        m->batches++;
        m->current = r->batch;
        m->batch = *r;
        m->last_pack = UINT32_MAX;
        break;
    case PST_RESTORED_PACK:
        m->order_wrong |= m->last_pack != UINT32_MAX && r->u.pack.entry.pack <= m->last_pack;
        m->last_pack = r->u.pack.entry.pack;
        m->packs++;
        snprintf(m->route, sizeof m->route, "%.*s", (int)r->u.pack.route.n, r->u.pack.route.p);
        m->rejected = r->u.pack.rejected;
        m->url = r->u.pack.url;
        assert_string_equal(m->route, m->last_pack % 2 ? "odd route" : "even route");
        assert_int_equal(m->rejected, m->last_pack % 5 == 4);
        break;
    case PST_RESTORED_RESULTS:
        m->results++;
        m->ended += r->u.results.ended_n;
        m->last_ended = r->u.results.ended_n ? r->u.results.ended[r->u.results.ended_n - 1].slot : 0;
        break;
    case PST_RESTORED_RETRY:
        m->retries++;
        m->retry = r->u.retry;
        assert_int_equal(r->u.retry.endpoints_n, 1);
        assert_true(pst_view_eqs(r->u.retry.endpoints[0].model, "m"));
        assert_int_equal(r->u.retry.history[0].http_status, 500);
        break;
    case PST_RESTORED_STATS:
        m->stats++;
        m->completed = r->u.stats.completed;
        m->calls = r->u.stats.endpoints[0].calls;
        m->hist40 = r->u.stats.endpoints[0].hist[40];
        m->hist87 = r->u.stats.endpoints[0].hist[87];
        break;
    case PST_RESTORED_BATCH_END:
        m->ends++;
        break;
    case PST_RESTORED_LIMITS:
        m->order_wrong |= m->batches > 0;
        snprintf(m->learned_name, sizeof m->learned_name, "%.*s", (int)r->u.limits.name.n, r->u.limits.name.p);
        memcpy(m->learned, r->u.limits.limit, sizeof m->learned);
        m->learned_from = r->u.limits.source[PST_RATE_TOKENS];
        break;
    }
}

static model_t restore(world_t *w)
{
    model_t m = {0};
    pst_errbuf_t eb = {""};
    pst_err_t e = pst_store_restore(w->store, on_restored, &m, &eb);
    if (e)
        print_message("%s\n", eb.text);
    assert_int_equal(e, PST_OK);
    assert_false(m.order_wrong);
    assert_int_equal(m.batches, m.ends);
    return m;
}

/* A new broker on the same Redis. */
static void takeover(world_t *w)
{
    world_close(w);
    world_open(w, &server, PST_DUR_FSYNCED);
}

/* ---- cases --------------------------------------------------------------------------------------------------------------- */

static void epochs_rise(void **state)
{
    world_t *w = *state;
    uint64_t first = pst_store_epoch(w->store);
    assert_int_equal(first, 1);
    takeover(w);
    assert_int_equal(pst_store_epoch(w->store), 2);
}

static pst_retry_t retry_of(uint32_t pack, uint16_t slot)
{
    static pst_endpoint_name_t endpoint = {PST_VIEW_LIT("p"), PST_VIEW_LIT("m")};
    static pst_attempt_t history[2] = {{0, 500, PST_CAUSE_SERVER, 31}, {PST_NO_ENDPOINT, 0, PST_CAUSE_CONNECTION, 0}};
    return (pst_retry_t){.pack = pack, .slot = slot, .dispatch = 3, .attempts = 2, .given_up = 1,
                         .due_wall_ms = 1700000000123, .endpoints = &endpoint, .endpoints_n = 1, .history = history,
                         .history_n = 2};
}

static void a_batch_lives(void **state)
{
    world_t *w = *state;
    pst_id_t b = id_of(1);
    open_batch(w, b, "key");
    for (uint32_t p = 0; p < 6; p++)
        ok_twice(w, op_put(b, p / 3, p, 10, 5000));
    ok_twice(w, (pst_store_op_t){.type = PST_STORE_CLAIM, .batch = b, .u.claim = {.key = PST_VIEW_LIT("key")}});
    assert_true(pst_id_eq(&w->answer.holder, &b));
    ok_twice(w, op_commit(b, 6, 60, 2));
    ok(w, (pst_store_op_t){.type = PST_STORE_LOAD, .batch = b, .segment = 1, .u.load = {.pack = 4, .bodies = true}});
    assert_int_equal(w->headers_n, 400);
    assert_int_equal(w->bodies_n, 5000);
    assert_memory_equal(w->bodies, "abcdefghij", 10);
    pst_retry_t y = retry_of(5, 9);
    ok_twice(w, (pst_store_op_t){.type = PST_STORE_RETRY, .batch = b, .segment = 1, .u.retry = {.retry = &y}});
    append(w, b, 0, 0, 0, 10);
    append(w, b, 0, 1, 1, 10);
    assert_int_equal(world_do(w, (pst_store_op_t){.type = PST_STORE_LOAD, .batch = b, .u.load = {.pack = 1, .bodies = true}}),
                     PST_E_NOT_FOUND);
    ok(w, (pst_store_op_t){.type = PST_STORE_LOAD, .batch = b, .u.load = {.pack = 1}});

    takeover(w);
    model_t m = restore(w);
    assert_int_equal(m.batches, 1);
    assert_int_equal(m.packs, 6);
    assert_int_equal(m.results, 2);
    assert_int_equal(m.ended, 20);
    assert_int_equal(m.last_ended, 9);
    assert_int_equal(m.retries, 1);
    assert_int_equal(m.retry.due_wall_ms, 1700000000123);
    assert_int_equal(m.retry.dispatch, 3);
    assert_int_equal(m.stats, 1);
    assert_int_equal(m.calls, 2);
    assert_int_equal(m.hist40, 10);
    assert_int_equal(m.hist87, 1);
    assert_int_equal(m.batch.u.batch.jobs, 60);
    assert_int_equal(m.batch.u.batch.segments, 2);
    assert_int_equal(m.batch.u.batch.info.accepted_ms, 5000);
    assert_int_equal(m.batch.u.batch.info.expires_ms, 9000);
    assert_int_equal(m.batch.u.batch.info.window_s, 60);
    assert_int_equal(m.url, PST_URL_RESPONSES);

    /* The retry ends with an append. */
    append_t a;
    pst_slot_ref_t unretry = {5, 9};
    pst_store_op_t op = op_append(&a, b, 1, 0, 5, 9, 1, 20);
    op.u.append.unretry = &unretry;
    op.u.append.unretry_n = 1;
    ok_twice(w, op);
    append_release(&a);
    /* A large one, which goes as a transaction. */
    ok_twice(w, op_append(&a, b, 1, 1, 4, 0, 9, 5000));
    append_release(&a);
    no_passing_names();
    ok_twice(w, (pst_store_op_t){.type = PST_STORE_CANCELLING, .batch = b,
                                 .u.cancelling = {.drain = PST_DRAIN_EXPIRED, .wall_ms = 7777}});
    takeover(w);
    m = restore(w);
    assert_int_equal(m.retries, 0);
    assert_int_equal(m.results, 4);
    assert_int_equal(m.batch.u.batch.drain, PST_DRAIN_EXPIRED);
    assert_int_equal(m.batch.u.batch.info.cancelling_ms, 7777);
}

typedef struct seen {
    world_t *w;
    pst_err_t err;
    uint32_t n;
    size_t bytes[8];
    bool null[8];
    char value[8][300];
} seen_t;

static void on_read(void *arg, pst_err_t e, const pst_view_t *v, uint32_t n)
{
    seen_t *s = arg;
    s->err = e;
    s->n = n;
    for (uint32_t i = 0; i < n && i < 8; i++) {
        s->bytes[i] = v[i].n;
        s->null[i] = !v[i].p;
        if (v[i].p)
            memcpy(s->value[i], v[i].p, PST_MIN(v[i].n, (size_t)300));
    }
    pst_loop_stop(s->w->loop);
}

static void wait_read(seen_t *s)
{
    pst_store_flush(s->w->store);
    world_run(s->w, 20 * PST_SEC);
    assert_false(s->w->late);
}

static uint32_t le32(const char *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

static void end_batch(world_t *w, pst_id_t b)
{
    static const uint32_t where[] = {1, 1, 1, 2, 2, 0, 1, 1}, base[] = {0, 6, 8};
    pst_batch_info_t summary = {.batch = b, .name = PST_VIEW_LIT("a name"), .status = PST_BATCH_COMPLETED, .jobs = 8,
                                .completed = 8};
    ok_twice(w, (pst_store_op_t){.type = PST_STORE_END, .batch = b,
                                 .u.end = {.summary = &summary, .where = where, .segment_base = base, .segments = 2}});
}

static void small_batch(world_t *w, pst_id_t b, const char *key)
{
    open_batch(w, b, key);
    ok(w, op_put(b, 0, 0, 3, 5000));
    ok(w, op_put(b, 0, 1, 3, 5000));
    ok(w, op_put(b, 1, 2, 2, 5000));
    if (key[0])
        ok(w, (pst_store_op_t){.type = PST_STORE_CLAIM, .batch = b, .u.claim = {.key = pst_view_str(key)}});
    ok(w, op_commit(b, 3, 8, 2));
}

static void an_ended_batch_is_read(void **state)
{
    world_t *w = *state;
    pst_id_t b = id_of(1);
    seen_t s = {.w = w};
    small_batch(w, b, "");
    pst_store_read_batch(w->store, &b, on_read, &s);
    wait_read(&s);
    assert_true(s.err == PST_OK && s.n == 2 && s.null[0]);
    append(w, b, 0, 0, 0, 3);
    append(w, b, 0, 1, 1, 2);
    append(w, b, 1, 0, 2, 2);
    end_batch(w, b);
    /* Freeing what a running batch needed goes on in the background. */
    for (unsigned i = 0; i < 200 && server_num(&server, "SCARD pst:{o}:active"); i++)
        world_run(w, 10 * PST_MS);
    assert_int_equal(server_num(&server, "SCARD pst:{o}:active"), 0);
    redisReply *r = server_ask(&server, "KEYS *:b:*");
    assert_int_equal(r->elements, 0);
    freeReplyObject(r);
    r = server_ask(&server, "KEYS *:ends");
    assert_int_equal(r->elements, 0);
    freeReplyObject(r);

    pst_store_read_batch(w->store, &b, on_read, &s);
    wait_read(&s);
    assert_true(s.err == PST_OK && s.n == 2 && !s.null[0]);
    assert_int_equal(le32(s.value[1]), 2);
    pst_arena_t arena;
    pst_arena_init(&arena, 0);
    pst_batch_info_t info;
    assert_int_equal(pst_batch_info_decode(pst_view(s.value[0], s.bytes[0]), &arena, &info), PST_OK);
    assert_int_equal(info.completed, 8);
    pst_arena_release(&arena);

    pst_store_read_segment(w->store, &b, 0, on_read, &s);
    wait_read(&s);
    assert_true(s.err == PST_OK && s.n == 3);
    assert_int_equal(le32(s.value[0]), 2);
    assert_int_equal(s.bytes[1], 64);
    assert_int_equal(le32(s.value[1]), 0);
    assert_int_equal(le32(s.value[1] + 32), 1);
    assert_int_equal(s.bytes[2], 24);
    assert_int_equal(le32(s.value[2] + 8), 0);
    assert_int_equal(le32(s.value[2] + 12), 1);
    assert_int_equal(le32(s.value[2] + 20), UINT32_MAX);

    pst_store_read_results(w->store, &b, 0, 0, 3, on_read, &s);
    wait_read(&s);
    assert_true(s.err == PST_OK && s.n == 3 && !s.null[0] && !s.null[1] && s.null[2]);
    uint32_t packs[] = {1, 0};
    pst_store_read_headers(w->store, &b, 0, packs, 2, on_read, &s);
    wait_read(&s);
    assert_true(s.n == 2 && s.bytes[0] == 120);

    takeover(w);
    assert_int_equal(restore(w).batches, 0);
}

static void lists_are_paged(void **state)
{
    world_t *w = *state;
    seen_t s = {.w = w};
    for (uint32_t i = 0; i < 5; i++)
        open_batch(w, id_of(i), "");
    pst_store_read_list(w->store, NULL, 2, on_read, &s);
    wait_read(&s);
    assert_int_equal(s.n, 3);
    pst_id_t newest = id_of(4), after = id_of(3), next = id_of(2);
    assert_memory_equal(s.value[0], newest.b, 16);
    pst_store_read_list(w->store, &after, 10, on_read, &s);
    wait_read(&s);
    assert_int_equal(s.n, 3);
    assert_memory_equal(s.value[0], next.b, 16);
    /* The one to go on from may have been deleted meanwhile. */
    ok(w, (pst_store_op_t){.type = PST_STORE_DELETE, .batch = after, .u.del = {.segments = UINT32_MAX}});
    pst_store_read_list(w->store, &after, 10, on_read, &s);
    wait_read(&s);
    assert_int_equal(s.n, 3);
    assert_memory_equal(s.value[0], next.b, 16);
}

static void keys_are_claimed_once(void **state)
{
    world_t *w = *state;
    pst_id_t a = id_of(1), b = id_of(2), none = {{0}};
    pst_store_op_t claim = {.type = PST_STORE_CLAIM, .batch = a, .u.claim = {.key = PST_VIEW_LIT("k")}};
    pst_batch_info_t info;
    ok(w, op_open(a, "k", &info));
    assert_true(pst_id_eq(&w->answer.holder, &none));
    ok_twice(w, claim);
    ok(w, op_open(b, "k", &info));
    assert_true(pst_id_eq(&w->answer.holder, &a));
    claim.batch = b;
    ok_twice(w, claim);
    assert_true(pst_id_eq(&w->answer.holder, &a));
    claim.u.claim.replace = true;
    claim.u.claim.holder = id_of(3);
    ok(w, claim);
    assert_true(pst_id_eq(&w->answer.holder, &a));
    claim.u.claim.holder = a;
    ok_twice(w, claim);
    assert_true(pst_id_eq(&w->answer.holder, &b));
    /* The key is b's now: deleting a leaves it. */
    ok(w, (pst_store_op_t){.type = PST_STORE_DELETE, .batch = a, .u.del = {.segments = 0}});
    ok(w, op_open(id_of(4), "k", &info));
    assert_true(pst_id_eq(&w->answer.holder, &b));
    ok(w, (pst_store_op_t){.type = PST_STORE_DELETE, .batch = b, .u.del = {.segments = 0}});
    ok(w, op_open(id_of(5), "k", &info));
    assert_true(pst_id_eq(&w->answer.holder, &none));
}

static void delete_leaves_nothing(void **state)
{
    world_t *w = *state;
    small_batch(w, id_of(1), "one");
    append(w, id_of(1), 0, 0, 0, 3);
    append(w, id_of(1), 1, 0, 2, 2);
    end_batch(w, id_of(1));
    /* At once, while the END still frees. */
    ok(w, (pst_store_op_t){.type = PST_STORE_DELETE, .batch = id_of(1), .u.del = {.segments = UINT32_MAX}});
    assert_int_equal(server_keys(&server), 0);
    assert_int_equal(server_num(&server, "EXISTS pst:{o}:all pst:{o}:active"), 0);
    /* One that is not there. */
    assert_int_equal(world_do(w, (pst_store_op_t){.type = PST_STORE_DELETE, .batch = id_of(1),
                                                  .u.del = {.segments = UINT32_MAX}}),
                     PST_E_NOT_FOUND);
    assert_int_equal(server_num(&server, "EXISTS pst:{o}:all pst:{o}:active"), 0);
    /* One that was never committed, with more keys than one command frees, and a gap in its segments. */
    open_batch(w, id_of(2), "two");
    for (uint32_t p = 0; p < 1200; p++) {
        pst_store_op_t op = op_put(id_of(2), p < 1190 ? p / 700 : p / 700 + 20, p, 1, 100);
        pst_store_submit(w->store, &op);
    }
    ok(w, (pst_store_op_t){.type = PST_STORE_DELETE, .batch = id_of(2), .u.del = {.segments = UINT32_MAX}});
    assert_int_equal(server_keys(&server), 0);
    assert_int_equal(server_num(&server, "EXISTS pst:{o}:all pst:{o}:active"), 0);
}

static void half_done_is_finished_after_a_crash(void **state)
{
    world_t *w = *state;
    pst_batch_info_t info;
    small_batch(w, id_of(1), "");
    append(w, id_of(1), 0, 0, 0, 3);
    small_batch(w, id_of(2), "");
    /* Broken off after the mark: an END, a DELETE, an OPEN. */
    char text[PST_BATCH_TEXT_LEN + 1];
    pst_id_t one = id_of(1), two = id_of(2), three = id_of(3);
    pst_id_text(&one, text);
    assert_int_equal(server_num(&server, "HSET pst:{%s} st 2 su x", text), 1);
    pst_id_text(&two, text);
    assert_int_equal(server_num(&server, "HSET pst:{%s} st 3", text), 0);
    assert_int_equal(server_num(&server, "SADD pst:{o}:active %b", three.b, (size_t)16), 1);
    open_batch(w, id_of(4), "");
    (void)info;
    takeover(w);
    model_t m = restore(w);
    assert_int_equal(m.batches, 1);
    pst_id_t four = id_of(4);
    assert_true(pst_id_eq(&m.current, &four));
    assert_int_equal(m.batch.u.batch.info.accepted_ms, 0);
    for (unsigned i = 0; i < 200 && server_num(&server, "SCARD pst:{o}:active") > 1; i++)
        world_run(w, 10 * PST_MS);
    assert_int_equal(server_num(&server, "SCARD pst:{o}:active"), 1);
    redisReply *r = server_ask(&server, "KEYS pst:{%s*", text);
    assert_int_equal(r->elements, 0);
    freeReplyObject(r);
    pst_id_text(&one, text);
    assert_int_equal(server_num(&server, "EXISTS pst:{%s.0}:r:0 pst:{%s.0}:b:1", text, text), 1);
}

static void a_staging_batch_is_restored(void **state)
{
    world_t *w = *state;
    open_batch(w, id_of(9), "");
    for (uint32_t p = 0; p < 80; p++)
        ok(w, op_put(id_of(9), p, p, 2, 100));
    takeover(w);
    model_t m = restore(w);
    assert_int_equal(m.packs, 80);
    assert_int_equal(m.batch.u.batch.segments, 0);
    /* A pack that is missing from an accepted batch is named. */
    ok(w, op_commit(id_of(9), 81, 162, 81));
    takeover(w);
    pst_errbuf_t eb = {""};
    assert_int_equal(pst_store_restore(w->store, on_restored, &m, &eb), PST_E_STORE_BAD);
    char text[PST_BATCH_TEXT_LEN + 1];
    pst_id_t nine = id_of(9);
    pst_id_text(&nine, text);
    assert_non_null(strstr(eb.text, text));
    assert_non_null(strstr(eb.text, "81 packs"));
}

static void many_batches_are_restored_in_order(void **state)
{
    world_t *w = *state;
    static pst_batch_info_t info;
    for (uint32_t i = 0; i < 700; i++) {
        pst_store_op_t op = op_open(id_of(i), "", &info);
        pst_store_submit(w->store, &op);
        op = op_put(id_of(i), 0, 0, 4, 100);
        pst_store_submit(w->store, &op);
        if (i % 3)
            continue;
        op = op_put(id_of(i), 1, 1, 4, 100);
        pst_store_submit(w->store, &op);
    }
    ok(w, op_put(id_of(0), 0, 0, 4, 100));
    for (uint32_t i = 0; i < 700; i++) {
        pst_store_op_t op = i % 3 ? op_commit(id_of(i), 1, 4, 1) : op_commit(id_of(i), 2, 8, 2);
        if (i % 7)
            pst_store_submit(w->store, &op);
    }
    ok(w, op_commit(id_of(1), 1, 4, 1));
    takeover(w);
    model_t m = restore(w);
    assert_int_equal(m.batches, 700);
    assert_int_equal(m.packs, 700 + 234);
}

static void the_older_broker_is_refused(void **state)
{
    world_t *old = *state, young;
    pst_id_t b = id_of(1);
    pst_batch_info_t info;
    small_batch(old, b, "key");
    append(old, b, 0, 0, 0, 3);
    open_batch(old, id_of(2), "");
    world_open(&young, &server, PST_DUR_FSYNCED);
    assert_int_equal(restore(&young).batches, 2);

    append_t a, large;
    pst_retry_t y = retry_of(1, 1);
    static const uint32_t where[] = {1, 1, 1, 1, 1, 1, 1, 1}, base[] = {0, 6, 8};
    pst_batch_info_t summary = {.batch = b};
    pst_store_op_t writes[] = {
        op_open(id_of(3), "", &info),
        op_put(id_of(2), 0, 0, 3, 5000),
        op_commit(id_of(2), 1, 3, 1),
        op_append(&a, b, 0, 1, 1, 0, 2, 20),
        op_append(&large, b, 0, 1, 1, 0, 2, 5000),
        {.type = PST_STORE_RETRY, .batch = b, .u.retry = {.retry = &y}},
        {.type = PST_STORE_CANCELLING, .batch = b, .u.cancelling = {.drain = PST_DRAIN_CANCELLED}},
        {.type = PST_STORE_END, .batch = b,
         .u.end = {.summary = &summary, .where = where, .segment_base = base, .segments = 2}},
        {.type = PST_STORE_DELETE, .batch = b, .u.del = {.segments = UINT32_MAX}},
        {.type = PST_STORE_CLAIM, .batch = id_of(2), .u.claim = {.key = PST_VIEW_LIT("key"), .replace = true, .holder = b}},
    };
    /* The young one has a pack of that segment, and the key, in its own hand. */
    ok(&young, op_put(id_of(2), 0, 1, 3, 5000));
    ok(&young, (pst_store_op_t){.type = PST_STORE_CLAIM, .batch = b, .u.claim = {.key = PST_VIEW_LIT("key")}});
    redisReply *before = server_ask(&server, "FCALL pst2_seg_read 3 x y z"); /* the library answers */
    freeReplyObject(before);
    for (unsigned i = 0; i < PST_COUNT(writes); i++) {
        assert_int_equal(world_do(old, writes[i]), PST_E_FENCED);
    }
    append_release(&a);
    append_release(&large);
    no_passing_names();
    assert_int_equal(old->fatals, 1);
    /* Nothing of it took place. */
    append(&young, b, 0, 1, 1, 2);
    world_close(&young);
    world_open(&young, &server, PST_DUR_FSYNCED);
    model_t m = restore(&young);
    assert_int_equal(m.batches, 2);
    assert_int_equal(m.packs, 4);
    assert_int_equal(m.results, 2);
    assert_int_equal(m.retries, 0);
    world_close(&young);
}

static void a_gap_is_fatal(void **state)
{
    world_t *w = *state;
    append_t a;
    small_batch(w, id_of(1), "");
    assert_int_equal(world_do(w, op_append(&a, id_of(1), 0, 1, 0, 0, 1, 20)), PST_E_STORE_BAD);
    append_release(&a);
    assert_int_equal(w->fatals, 1);
    assert_non_null(strstr(w->fatal, "result pack 1"));
}

/* ---- rate budgets ----------------------------------------------------------------------------------------------------------- */

/* Of a bucket of 10 requests and 1,000 tokens. */
static pst_store_op_t take(uint64_t rpm, uint64_t tpm, uint64_t requests, uint64_t requests_min, uint64_t tokens,
                           uint64_t tokens_min)
{
    return (pst_store_op_t){
        .type = PST_STORE_LIMIT_TAKE,
        .u.limit = {.name = PST_VIEW_LIT("openai/gpt"),
                    .rate = {[PST_RATE_REQUESTS] = {rpm, 10, requests, requests_min},
                             [PST_RATE_TOKENS] = {tpm, 1000, tokens, tokens_min}}}};
}

static void what_was_learned_of_limits_is_kept(void **state)
{
    world_t *w = *state;
    pst_store_op_t keep = {.type = PST_STORE_LIMIT_KEEP,
                           .u.limit = {.name = PST_VIEW_LIT("openai/gpt/4"),
                                       .rate = {[PST_RATE_REQUESTS] = {.limit = 500, .amount = 2},
                                                [PST_RATE_TOKENS] = {.limit = 90000000000, .amount = 1}}}};
    ok(w, keep);
    model_t m = restore(w);
    assert_false(m.order_wrong);
    assert_string_equal(m.learned_name, "openai/gpt/4");
    assert_true(m.learned[PST_RATE_REQUESTS] == 500 && m.learned[PST_RATE_TOKENS] == 90000000000 &&
                m.learned[PST_RATE_INPUT] == 0);
    assert_int_equal(m.learned_from, 1);
    /* What somebody else wrote there is nothing learned. */
    freeReplyObject(server_ask(&server, "HSET pst:{o}:learned openai/gpt/4 words"));
    assert_string_equal(restore(w).learned_name, "");
}

static void budgets_give_and_refuse(void **state)
{
    world_t *w = *state;
    ok(w, take(60, 6000, 4, 1, 300, 1));
    assert_int_equal(w->answer.granted[PST_RATE_REQUESTS], 4);
    assert_int_equal(w->answer.granted[PST_RATE_TOKENS], 300);
    /* What is there, if that is enough. */
    ok(w, take(60, 6000, 100, 1, 5000, 1));
    assert_in_range(w->answer.granted[PST_RATE_REQUESTS], 6, 7);
    assert_in_range(w->answer.granted[PST_RATE_TOKENS], 700, 800);
    /* All or nothing, and nothing is written. */
    redisReply *before = server_ask(&server, "HGETALL pst:{lim:openai/gpt}");
    ok(w, take(60, 6000, 5, 5, 10, 1));
    assert_int_equal(w->answer.granted[PST_RATE_REQUESTS], 0);
    assert_int_equal(w->answer.granted[PST_RATE_TOKENS], 0);
    assert_in_range(w->answer.wait_ms, 3000, 5000);
    assert_false(w->answer.blocked);
    redisReply *after = server_ask(&server, "HGETALL pst:{lim:openai/gpt}");
    for (unsigned i = 0; i < 8; i++)
        assert_string_equal(before->element[i]->str, after->element[i]->str);
    freeReplyObject(before);
    freeReplyObject(after);
    /* Back, up to the cap. */
    pst_store_op_t give = take(60, 6000, 1000, 0, 1000000, 0);
    give.type = PST_STORE_LIMIT_GIVE;
    ok(w, give);
    ok(w, take(60, 6000, 1000, 10, 1000000, 1000));
    assert_int_equal(w->answer.granted[PST_RATE_REQUESTS], 10);
    assert_int_equal(w->answer.granted[PST_RATE_TOKENS], 1000);
    /* More than the bucket holds is given when it is full, and owed. */
    ok(w, give);
    ok(w, take(60, 6000, 1, 1, 1500, 1500));
    assert_int_equal(w->answer.granted[PST_RATE_TOKENS], 1500);
    ok(w, take(60, 6000, 1, 1, 1, 1));
    assert_in_range(w->answer.wait_ms, 4500, 5010);
    /* A pause for everybody; a shorter one later does not end it. */
    ok(w, give);
    pst_store_op_t block = take(60, 6000, 0, 0, 0, 0);
    block.type = PST_STORE_LIMIT_BLOCK;
    block.u.limit.block_ms = 60000;
    ok(w, block);
    block.u.limit.block_ms = 10;
    ok(w, block);
    ok(w, take(60, 6000, 1, 1, 1, 1));
    assert_int_equal(w->answer.granted[PST_RATE_REQUESTS], 0);
    assert_in_range(w->answer.wait_ms, 59000, 60000);
    assert_true(w->answer.blocked);
    assert_in_range(server_num(&server, "PTTL pst:{lim:openai/gpt}"), 3590000, 3600000);
}

/* Five rates in one call: what one of them refuses is taken from none. */
static void all_rates_or_none(void **state)
{
    world_t *w = *state;
    pst_store_op_t op = {.type = PST_STORE_LIMIT_TAKE,
                         .u.limit = {.name = PST_VIEW_LIT("anthropic"),
                                     .rate = {[PST_RATE_REQUESTS] = {60, 10, 2, 1},
                                              [PST_RATE_INPUT] = {60000, 5000, 3000, 1000},
                                              [PST_RATE_OUTPUT] = {6000, 500, 200, 100},
                                              [PST_RATE_TOKENS] = {66000, 5500, 3200, 1100},
                                              [PST_RATE_DAILY] = {5, 5, 2, 1}}}};
    const uint64_t *granted = w->answer.granted;
    ok(w, op);
    assert_false(w->answer.refused);
    assert_true(granted[PST_RATE_REQUESTS] == 2 && granted[PST_RATE_INPUT] == 3000 && granted[PST_RATE_OUTPUT] == 200 &&
                granted[PST_RATE_TOKENS] == 3200 && granted[PST_RATE_DAILY] == 2);
    /* There is no more output than 300: nothing of all. */
    op.u.limit.rate[PST_RATE_OUTPUT].least = op.u.limit.rate[PST_RATE_OUTPUT].amount = 400;
    ok(w, op);
    assert_true(w->answer.refused);
    assert_in_range(w->answer.wait_ms, 900, 1000);
    op.u.limit.rate[PST_RATE_OUTPUT].least = op.u.limit.rate[PST_RATE_OUTPUT].amount = 100;
    op.u.limit.rate[PST_RATE_INPUT].least = op.u.limit.rate[PST_RATE_INPUT].amount = 2000;
    op.u.limit.rate[PST_RATE_TOKENS].amount = 2100;
    ok(w, op);
    assert_int_equal(granted[PST_RATE_INPUT], 2000);
    assert_int_equal(granted[PST_RATE_DAILY], 2);
    /* What came back can be had again. */
    op.type = PST_STORE_LIMIT_GIVE;
    ok(w, op);
    op.type = PST_STORE_LIMIT_TAKE;
    ok(w, op);
    assert_int_equal(granted[PST_RATE_INPUT], 2000);
}

/* Never more requests in any 24 hours than a day may have: hours behind are remembered, those of yesterday are not. */
static void a_day_is_the_last_24_hours(void **state)
{
    world_t *w = *state;
    pst_store_op_t op = {.type = PST_STORE_LIMIT_TAKE,
                         .u.limit = {.name = PST_VIEW_LIT("gemini"), .rate = {[PST_RATE_DAILY] = {10, 10, 4, 4}}}};
    redisReply *t = server_ask(&server, "TIME");
    long long hour = atoll(t->element[0]->str) / 3600;
    freeReplyObject(t);
    char command[160];
    snprintf(command, sizeof command, "HSET pst:{lim:gemini} d %lld:100,%lld:3,%lld:2", hour - 25, hour - 24, hour - 1);
    freeReplyObject(server_ask(&server, command));
    ok(w, op); /* 5 in the last 24 hours, and these */
    assert_int_equal(w->answer.granted[PST_RATE_DAILY], 4);
    ok(w, op);
    assert_true(w->answer.refused);
    /* Until the oldest of those hours is more than a day ago. */
    assert_in_range(w->answer.wait_ms, 1, 3600000);
    op.type = PST_STORE_LIMIT_GIVE;
    ok(w, op);
    op.type = PST_STORE_LIMIT_TAKE;
    ok(w, op);
    assert_int_equal(w->answer.granted[PST_RATE_DAILY], 4);
    assert_in_range(server_num(&server, "PTTL pst:{lim:gemini}"), 86400000, 90000000);
}

/* Two brokers' takes together stay under cap + rate * time. */
static void budgets_are_shared(void **state)
{
    world_t *w = *state, other;
    world_open(&other, &server, PST_DUR_FSYNCED);
    uint64_t requests = 0, tokens = 0;
    redisReply *t0 = server_ask(&server, "TIME");
    for (unsigned i = 0; i < 3000; i++) {
        world_t *x = i % 2 ? w : &other;
        ok(x, take(6007, 60013, 1 + i % 3, 1, 1 + i % 50, 1));
        requests += x->answer.granted[PST_RATE_REQUESTS];
        tokens += x->answer.granted[PST_RATE_TOKENS];
    }
    redisReply *t1 = server_ask(&server, "TIME");
    double minutes = ((double)(atoll(t1->element[0]->str) - atoll(t0->element[0]->str)) +
                      (double)(atoll(t1->element[1]->str) - atoll(t0->element[1]->str)) / 1e6) / 60;
    freeReplyObject(t0);
    freeReplyObject(t1);
    print_message("%.2f s: %llu requests, %llu tokens\n", minutes * 60, (unsigned long long)requests,
                  (unsigned long long)tokens);
    assert_true((double)requests <= 10 + 6007 * minutes + 1);
    assert_true((double)tokens <= 1000 + 60013 * minutes + 1);
    /* And are used up. */
    assert_true((double)requests >= (10 + 6007 * minutes) * 0.9 - 3 || (double)tokens >= (1000 + 60013 * minutes) * 0.9);
    world_close(&other);
}

static void workers_are_remembered(void **state)
{
    world_t *w = *state;
    pst_store_worker(w->store, PST_VIEW_LIT("a.1"), true);
    pst_store_worker(w->store, PST_VIEW_LIT("b.2"), true);
    pst_store_worker(w->store, PST_VIEW_LIT("a.1"), false);
    pst_arena_t a;
    pst_arena_init(&a, 0);
    pst_names_t n;
    assert_int_equal(pst_store_workers(w->store, &a, &n, NULL), PST_OK);
    assert_int_equal(n.n, 1);
    assert_true(pst_view_eqs(n.v[0], "b.2"));
    pst_arena_release(&a);
}

static void room_is_told(void **state)
{
    world_t *w = *state;
    freeReplyObject(server_ask(&server, "CONFIG SET maxmemory 123mb"));
    world_run(w, 2500 * PST_MS);
    assert_in_range(w->rooms, 1, 3);
    assert_int_equal(w->max, 123 << 20);
    assert_true(w->used > 500000);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static const struct CMUnitTest tests[] = {
    CASE(epochs_rise), CASE(a_batch_lives), CASE(an_ended_batch_is_read), CASE(lists_are_paged),
    CASE(keys_are_claimed_once), CASE(delete_leaves_nothing), CASE(half_done_is_finished_after_a_crash),
    CASE(a_staging_batch_is_restored), CASE(many_batches_are_restored_in_order), CASE(the_older_broker_is_refused),
    CASE(a_gap_is_fatal), CASE(what_was_learned_of_limits_is_kept), CASE(budgets_give_and_refuse), CASE(all_rates_or_none), CASE(a_day_is_the_last_24_hours),
    CASE(budgets_are_shared), CASE(workers_are_remembered),
    CASE(room_is_told),
};

UNIT_MAIN(tests)
