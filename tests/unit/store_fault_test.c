/* What the store does when Redis dies, stalls, fills up, forgets, or is not what it should be. */
#include <arpa/inet.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/rng.h"
#include "proc/clock.h"
#include "store_world.h"
#include "unit.h"

static server_t server;
static world_t world, *const w = &world;

static void begin(const char *const *extra, pst_durability_t durability)
{
    server_start(&server, extra);
    world_open(w, &server, durability);
}

static void finish(void)
{
    world_close(w);
    server_stop(&server);
}

static void ok(world_t *x, pst_store_op_t op)
{
    assert_int_equal(world_do(x, op), PST_OK);
}

static void staged(pst_id_t b, uint32_t segments)
{
    pst_batch_info_t info;
    ok(w, op_open(b, "", &info));
    for (uint32_t s = 0; s < segments; s++)
        ok(w, op_put(b, s, s, 256, 1000));
}

/* Runs until the count is reached. */
static void run_until(const unsigned *count, unsigned least, pst_ns_t at_most)
{
    pst_ns_t end = pst_clock_mono() + at_most;
    while (*count < least && pst_clock_mono() < end)
        world_run(w, 10 * PST_MS);
    assert_true(*count >= least);
}

/* ---- appends through kill -9 ------------------------------------------------------------------------------------------ */

#define SEGMENTS 4
#define APPENDS 3000u
#define WINDOW 16
#define KILLS 8

typedef struct stream { /* one segment's appends; its token is segment * 1000000 + n + 1 */
    uint32_t submitted, acked;
} stream_t;

typedef struct streams {
    stream_t v[SEGMENTS];
    bool closed;
    unsigned wrong;
} streams_t;

static void submit_append(uint32_t segment, uint32_t n)
{
    append_t a;
    /* Small ones are one call, large ones a transaction. */
    pst_store_op_t op = op_append(&a, id_of(1), segment, n, segment, n % 256, 1, n % 3 ? 100 : 6000);
    op.token = segment * 1000000 + n + 1;
    pst_store_submit(w->store, &op);
    append_release(&a);
}

static void fill(streams_t *s)
{
    for (uint32_t i = 0; i < SEGMENTS && !s->closed; i++)
        while (s->v[i].submitted < APPENDS && s->v[i].submitted - s->v[i].acked < WINDOW)
            submit_append(i, s->v[i].submitted++);
    pst_store_flush(w->store);
}

/* Answers come once each, in order. */
static void on_append_answer(world_t *x, const pst_store_answer_t *a)
{
    streams_t *s = x->user;
    if (a->type != PST_STORE_APPEND)
        return;
    stream_t *t = &s->v[(a->token - 1) / 1000000];
    s->wrong += a->err != PST_OK || (a->token - 1) % 1000000 != t->acked;
    t->acked++;
    fill(s);
}

typedef struct found {
    uint32_t results[SEGMENTS];
    unsigned wrong;
} found_t;

static void on_restored(void *arg, const pst_restored_t *r)
{
    found_t *f = arg;
    if (r->type != PST_RESTORED_RESULTS)
        return;
    uint32_t n = f->results[r->segment]++;
    f->wrong += r->u.results.n != n || r->u.results.ended_n != 1 || r->u.results.ended[0].slot != n % 256;
}

static found_t restore(void)
{
    found_t f = {0};
    pst_errbuf_t eb = {""};
    pst_err_t e = pst_store_restore(w->store, on_restored, &f, &eb);
    if (e)
        print_message("%s\n", eb.text);
    assert_int_equal(e, PST_OK);
    assert_int_equal(f.wrong, 0);
    return f;
}

static void acked_survives_kill(void **state)
{
    (void)state;
    begin(NULL, PST_DUR_FSYNCED);
    staged(id_of(1), SEGMENTS);
    ok(w, op_commit(id_of(1), SEGMENTS, SEGMENTS * 256, SEGMENTS));
    streams_t s = {0};
    pst_rng_t rng;
    pst_rng_seed(&rng, 7);
    w->on_answer = on_append_answer;
    w->user = &s;
    unsigned kills = 0;
    fill(&s);
    while (kills < KILLS && s.v[0].acked < APPENDS / 2) {
        world_run(w, (1 + pst_rng_below(&rng, 15)) * PST_MS);
        server_kill(&server, SIGKILL);
        /* Notices, and goes on queueing. */
        world_run(w, pst_rng_below(&rng, 20) * PST_MS);
        server_again(&server, NULL);
        run_until(&w->ups, ++kills, 3 * PST_SEC);
    }
    print_message("%u kills, %u appends of the first segment\n", kills, s.v[0].acked);
    assert_true(kills >= 2);
    assert_int_equal(s.wrong, 0);
    assert_true(w->downs >= 2);
    assert_int_equal(w->fatals, 0);

    /* Now the broker dies too, with operations on their way. */
    server_kill(&server, SIGKILL);
    world_run(w, 5 * PST_MS);
    s.closed = true;
    world_close(w);
    server_again(&server, NULL);
    world_open(w, &server, PST_DUR_FSYNCED);
    found_t f = restore();
    for (unsigned i = 0; i < SEGMENTS; i++) {
        assert_in_range(f.results[i], s.v[i].acked, s.v[i].submitted);
        s.v[i].acked = s.v[i].submitted = f.results[i];
    }
    /* The next one goes on, to the end. */
    s.closed = false;
    w->on_answer = on_append_answer;
    w->user = &s;
    fill(&s);
    for (unsigned i = 0; i < 1000 && s.v[0].acked + s.v[1].acked + s.v[2].acked + s.v[3].acked < SEGMENTS * APPENDS; i++)
        world_run(w, 10 * PST_MS);
    world_close(w);
    world_open(w, &server, PST_DUR_FSYNCED);
    f = restore();
    for (unsigned i = 0; i < SEGMENTS; i++)
        assert_int_equal(f.results[i], APPENDS);
    assert_int_equal(s.wrong, 0);
    finish();
}

/* ---- a full Redis ------------------------------------------------------------------------------------------------------- */

static void a_full_redis_takes_results_only(void **state)
{
    (void)state;
    begin(NULL, PST_DUR_FSYNCED);
    pst_batch_info_t info;
    staged(id_of(1), 2);
    ok(w, op_commit(id_of(1), 2, 512, 2));
    staged(id_of(2), 1);
    freeReplyObject(server_ask(&server, "CONFIG SET maxmemory 40mb"));
    pst_err_t e = PST_OK;
    uint32_t packs = 1;
    for (; packs < 1000 && e == PST_OK; packs++)
        e = world_do(w, op_put(id_of(2), 0, packs, 256, 500000));
    assert_int_equal(e, PST_E_STORE_FULL);
    assert_in_range(packs, 20, 100);
    /* A small write may still fit where a large one did not. */
    freeReplyObject(server_ask(&server, "CONFIG SET maxmemory 20mb"));
    assert_int_equal(world_do(w, op_commit(id_of(2), 1, 256, 1)), PST_E_STORE_FULL);
    assert_int_equal(world_do(w, op_open(id_of(3), "", &info)), PST_E_STORE_FULL);
    assert_int_equal(server_num(&server, "SCARD pst:{o}:active"), 2);
    /* What finishes work goes on. */
    for (uint32_t n = 0; n < 20; n++) { /* pipelined: in order all the same */
        append_t a;
        pst_store_op_t op = op_append(&a, id_of(1), 0, n, 0, n, 1, n % 2 ? 100 : 20000);
        if (n < 19)
            pst_store_submit(w->store, &op);
        else
            ok(w, op);
        append_release(&a);
    }
    pst_retry_t y = {.pack = 1, .slot = 3};
    ok(w, (pst_store_op_t){.type = PST_STORE_RETRY, .batch = id_of(1), .segment = 1, .u.retry = {.retry = &y}});
    ok(w, (pst_store_op_t){.type = PST_STORE_CANCELLING, .batch = id_of(1), .u.cancelling = {PST_DRAIN_BUDGET, 5}});
    ok(w, (pst_store_op_t){.type = PST_STORE_LIMIT_TAKE,
                           .u.limit = {.name = PST_VIEW_LIT("p"),
                                       .rate = {[PST_RATE_REQUESTS] = {.limit = 60, .cap = 5, .amount = 1}}}});
    /* A broker that starts now gets its state back. */
    world_close(w);
    world_open(w, &server, PST_DUR_FSYNCED);
    found_t f = {0};
    assert_int_equal(pst_store_restore(w->store, on_restored, &f, NULL), PST_OK);
    assert_int_equal(f.results[0], 20);
    assert_int_equal(f.wrong, 0);
    static const uint32_t where[512], base[] = {0, 256, 512};
    pst_batch_info_t summary = {.batch = id_of(1)};
    ok(w, (pst_store_op_t){.type = PST_STORE_END, .batch = id_of(1),
                           .u.end = {.summary = &summary, .where = where, .segment_base = base, .segments = 2}});
    ok(w, (pst_store_op_t){.type = PST_STORE_DELETE, .batch = id_of(2), .u.del = {.segments = 1}});
    ok(w, op_open(id_of(3), "", &info));
    assert_int_equal(w->fatals, 0);
    finish();
}

/* ---- passing faults ------------------------------------------------------------------------------------------------------- */

typedef struct read_end {
    unsigned done;
    pst_err_t err;
} read_end_t;

static void on_read(void *arg, pst_err_t e, const pst_view_t *v, uint32_t n)
{
    (void)v;
    (void)n;
    read_end_t *r = arg;
    r->done++;
    r->err = e;
}

static void reads_fail_with_the_connection(void **state)
{
    (void)state;
    begin(NULL, PST_DUR_FSYNCED);
    pst_id_t b = id_of(1);
    read_end_t r = {0};
    server_kill(&server, SIGKILL);
    pst_store_read_batch(w->store, &b, on_read, &r);
    pst_store_flush(w->store);
    assert_int_equal(r.done, 0); /* from the loop, never at once */
    run_until(&r.done, 1, 3 * PST_SEC);
    assert_int_equal(r.err, PST_E_STORE_DOWN);
    pst_store_read_batch(w->store, &b, on_read, &r);
    run_until(&r.done, 2, 3 * PST_SEC);
    assert_int_equal(r.err, PST_E_STORE_DOWN);
    /* Neither what nobody answers any more nor its question leaks. */
    pst_batch_info_t info;
    pst_store_op_t op = op_open(b, "key", &info);
    pst_store_submit(w->store, &op);
    pst_store_read_batch(w->store, &b, on_read, &r);
    finish();
}

static void a_stalled_redis_is_left_and_found_again(void **state)
{
    (void)state;
    begin(NULL, PST_DUR_FSYNCED);
    staged(id_of(1), 1);
    kill(server.pid, SIGSTOP);
    pst_store_op_t op = op_put(id_of(1), 0, 1, 256, 1000);
    op.token = 99;
    pst_store_submit(w->store, &op);
    pst_store_flush(w->store);
    pst_ns_t then = pst_clock_mono();
    run_until(&w->downs, 1, 9 * PST_SEC);
    assert_in_range((pst_clock_mono() - then) / PST_MS, 4900, 7500);
    unsigned answers = w->answers;
    kill(server.pid, SIGCONT);
    run_until(&w->ups, 1, 9 * PST_SEC);
    world_run(w, 300 * PST_MS);
    assert_int_equal(w->answers, answers + 1);
    assert_int_equal(w->answer.err, PST_OK);
    uint32_t ops;
    uint64_t bytes;
    pst_store_pending(w->store, &ops, &bytes);
    assert_int_equal(ops, 0);
    assert_int_equal(bytes, 0);
    finish();
}

static void a_demoted_redis_is_waited_for(void **state)
{
    (void)state;
    begin(NULL, PST_DUR_FSYNCED);
    staged(id_of(1), 1);
    freeReplyObject(server_ask(&server, "REPLICAOF 127.0.0.1 1"));
    pst_store_op_t op = op_put(id_of(1), 0, 1, 256, 1000);
    op.token = 99;
    pst_store_submit(w->store, &op);
    pst_store_flush(w->store);
    unsigned answers = w->answers;
    run_until(&w->downs, 1, 3 * PST_SEC);
    world_run(w, 200 * PST_MS);
    assert_int_equal(w->answers, answers);
    freeReplyObject(server_ask(&server, "REPLICAOF NO ONE"));
    run_until(&w->answers, answers + 1, 3 * PST_SEC);
    assert_int_equal(w->answer.err, PST_OK);
    finish();
}

static void a_lost_library_is_loaded_again(void **state)
{
    (void)state;
    begin(NULL, PST_DUR_FSYNCED);
    staged(id_of(1), 1);
    freeReplyObject(server_ask(&server, "FUNCTION FLUSH"));
    ok(w, op_put(id_of(1), 0, 1, 256, 1000));
    assert_int_equal(w->downs, 1);
    assert_int_equal(w->ups, 1);
    finish();
}

/* ---- the end of this broker ------------------------------------------------------------------------------------------------- */

static void a_redis_that_forgot_is_fatal(void **state)
{
    (void)state;
    static const char *const forgets[] = {"--appendonly", "no", NULL};
    begin(forgets, PST_DUR_MEMORY);
    staged(id_of(1), 1);
    server_kill(&server, SIGKILL);
    server_again(&server, forgets);
    run_until(&w->fatals, 1, 3 * PST_SEC);
    assert_non_null(strstr(w->fatal, "back in time"));
    /* Reads still end. */
    read_end_t r = {0};
    pst_id_t b = id_of(1);
    pst_store_read_batch(w->store, &b, on_read, &r);
    run_until(&r.done, 1, 3 * PST_SEC);
    assert_int_equal(r.err, PST_E_STORE_DOWN);
    finish();
}

static void a_newer_broker_is_noticed_after_a_reconnect(void **state)
{
    (void)state;
    begin(NULL, PST_DUR_FSYNCED);
    world_t young;
    world_open(&young, &server, PST_DUR_FSYNCED);
    server_kill(&server, SIGKILL);
    server_again(&server, NULL);
    run_until(&w->fatals, 1, 3 * PST_SEC);
    assert_non_null(strstr(w->fatal, "another broker"));
    world_close(&young);
    finish();
}

/* ---- opening ------------------------------------------------------------------------------------------------------------------ */

static void refused(const char *const *extra, pst_durability_t durability, const char *word)
{
    pst_errbuf_t eb = {""};
    server_start(&server, extra);
    assert_int_equal(world_try(w, server.url, durability, &eb), PST_E_STORE_BAD);
    print_message("%s\n", eb.text);
    assert_non_null(strstr(eb.text, word));
    server_stop(&server);
}

static void unfit_servers_are_refused(void **state)
{
    (void)state;
    refused((const char *const[]){"--maxmemory-policy", "allkeys-lru", NULL}, PST_DUR_MEMORY, "noeviction");
    refused((const char *const[]){"--appendonly", "no", NULL}, PST_DUR_LOGGED, "appendonly yes");
    refused((const char *const[]){"--appendfsync", "everysec", NULL}, PST_DUR_FSYNCED, "appendfsync always");
    pst_errbuf_t eb = {""};
    assert_int_equal(world_try(w, "http://x", PST_DUR_MEMORY, &eb), PST_E_STORE_BAD);
    assert_non_null(strstr(eb.text, "unix://"));
}

static void what_cannot_be_known_is_said(void **state)
{
    (void)state;
    pst_errbuf_t eb = {""};
    server_start(&server, (const char *const[]){"--rename-command", "CONFIG", "", NULL});
    assert_int_equal(world_try(w, server.url, PST_DUR_FSYNCED, &eb), PST_OK);
    assert_non_null(strstr(eb.text, "appendfsync"));
    world_close(w);
    assert_int_equal(world_try(w, server.url, PST_DUR_LOGGED, &eb), PST_OK);
    assert_string_equal(eb.text, "");
    finish();
}

static unsigned free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&a, n) == 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    close(fd);
    return ntohs(a.sin_port);
}

static void passwords_and_databases(void **state)
{
    (void)state;
    char port[8], url[96];
    snprintf(port, sizeof port, "%u", free_port());
    server_start(&server, (const char *const[]){"--port", port, "--bind", "127.0.0.1", "--user", "pen", "on",
                                                ">p@ss", "~*", "&*", "+@all", NULL});
    pst_errbuf_t eb = {""};
    snprintf(url, sizeof url, "redis://pen:wrong@127.0.0.1:%s/3", port);
    assert_int_equal(world_try(w, url, PST_DUR_MEMORY, &eb), PST_E_STORE_BAD);
    print_message("%s\n", eb.text);
    assert_null(strstr(eb.text, "wrong@"));
    snprintf(url, sizeof url, "redis://pen:p%%40ss@127.0.0.1:%s/3", port);
    assert_int_equal(world_try(w, url, PST_DUR_FSYNCED, &eb), PST_OK);
    staged(id_of(1), 1);
    assert_int_equal(server_keys(&server), 0);
    freeReplyObject(server_ask(&server, "SELECT 3"));
    assert_int_equal(server_keys(&server), 6);
    finish();
}

static void no_redis_is_said_after_a_while(void **state)
{
    (void)state;
    pst_errbuf_t eb = {""};
    pst_ns_t then = pst_clock_mono();
    assert_int_equal(world_try(w, "unix:///nowhere/redis", PST_DUR_MEMORY, &eb), PST_E_STORE_DOWN);
    print_message("%s\n", eb.text);
    assert_in_range((pst_clock_mono() - then) / PST_SEC, 9, 11);
}

/* ---- replicated ------------------------------------------------------------------------------------------------------------------ */

static void answers_wait_for_the_replica(void **state)
{
    (void)state;
    char port[8];
    snprintf(port, sizeof port, "%u", free_port());
    server_start(&server, (const char *const[]){"--port", port, "--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0",
                                                NULL});
    server_t replica;
    server_start(&replica, (const char *const[]){"--replicaof", "127.0.0.1", port, NULL});
    world_open(w, &server, PST_DUR_REPLICATED);
    pst_batch_info_t info;
    ok(w, op_open(id_of(1), "k", &info));
    ok(w, op_put(id_of(1), 0, 0, 256, 100000));
    assert_int_equal(server_num(&replica, "EXISTS pst:{o}:active"), 1);

    /* The replica stalls: nothing is answered, and the store says why. */
    kill(replica.pid, SIGSTOP);
    unsigned answers = w->answers;
    for (uint32_t p = 1; p < 4; p++) {
        pst_store_op_t op = op_put(id_of(1), 0, p, 256, 1000);
        op.token = 100 + p;
        pst_store_submit(w->store, &op);
    }
    pst_store_flush(w->store);
    run_until(&w->downs, 1, 4 * PST_SEC);
    assert_int_equal(w->answers, answers);
    /* A lost connection meanwhile: what was held back is sent again. */
    freeReplyObject(server_ask(&server, "CLIENT KILL TYPE normal"));
    world_run(w, 300 * PST_MS);
    assert_int_equal(w->answers, answers);
    kill(replica.pid, SIGCONT);
    run_until(&w->answers, answers + 3, 8 * PST_SEC);
    assert_int_equal(w->answer.token, 103);
    assert_int_equal(w->answer.err, PST_OK);
    ok(w, op_commit(id_of(1), 4, 1024, 1));
    server_stop(&replica);
    finish();
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(acked_survives_kill),
    cmocka_unit_test(a_full_redis_takes_results_only),
    cmocka_unit_test(reads_fail_with_the_connection),
    cmocka_unit_test(a_stalled_redis_is_left_and_found_again),
    cmocka_unit_test(a_demoted_redis_is_waited_for),
    cmocka_unit_test(a_lost_library_is_loaded_again),
    cmocka_unit_test(a_redis_that_forgot_is_fatal),
    cmocka_unit_test(a_newer_broker_is_noticed_after_a_reconnect),
    cmocka_unit_test(unfit_servers_are_refused),
    cmocka_unit_test(what_cannot_be_known_is_said),
    cmocka_unit_test(passwords_and_databases),
    cmocka_unit_test(no_redis_is_said_after_a_while),
    cmocka_unit_test(answers_wait_for_the_replica),
};

UNIT_MAIN(tests)
