/* What a pack costs and how long a million jobs take to read back.  Prints; asserts only what must never happen. */
#include <time.h>

#include "proc/clock.h"
#include "store_world.h"
#include "unit.h"

#define PACKS 3907u /* of 256 jobs: a million */
#define SEGMENT_PACKS 256u
#define SAMPLE 400u
#define WINDOW 64u

static server_t server;
static world_t world, *const w = &world;

static uint64_t cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* Average microseconds of a transaction since the statistics were reset. */
static double server_us(void)
{
    redisReply *r = server_ask(&server, "INFO commandstats");
    const char *at = strstr(r->str, "cmdstat_exec:");
    at = at ? strstr(at, "usec_per_call=") : NULL;
    double us = at ? atof(at + strlen("usec_per_call=")) : 0;
    freeReplyObject(r);
    freeReplyObject(server_ask(&server, "CONFIG RESETSTAT"));
    return us;
}

typedef pst_store_op_t make_fn(uint32_t i, append_t *a);

static size_t bodies_bytes;

static pst_store_op_t make_put(uint32_t i, append_t *a)
{
    (void)a;
    return op_put(id_of(1), i / SEGMENT_PACKS, i, 256, bodies_bytes);
}

static pst_store_op_t make_append(uint32_t i, append_t *a)
{
    pst_store_op_t op = op_append(a, id_of(1), i / SEGMENT_PACKS, i % SEGMENT_PACKS, i, 0, 256, 100);
    op.u.append.spent = &a->spent;
    op.u.append.spent_n = 1;
    return op;
}

/* All of [first, last), a window at a time; prints the costs. */
static void stream(const char *what, make_fn *make, uint32_t first, uint32_t last)
{
    server_us();
    pst_ns_t then = pst_clock_mono();
    uint64_t cpu = cpu_us(), making = 0;
    for (uint32_t i = first; i < last; i++) {
        append_t a = {0};
        uint64_t before = cpu_us();
        pst_store_op_t op = make(i, &a);
        making += cpu_us() - before;
        bool wait = i % WINDOW == WINDOW - 1 || i + 1 == last;
        if (wait)
            assert_int_equal(world_do(w, op), PST_OK);
        else
            pst_store_submit(w->store, &op);
        append_release(&a);
    }
    double n = last - first, us = (double)(pst_clock_mono() - then) / 1e3 / n;
    print_message("%-34s %6.1f us server, %6.1f us client CPU, %6.1f us elapsed a pack\n", what, server_us(),
                  (double)(cpu_us() - cpu - making) / n, us);
}

typedef struct count {
    uint64_t packs, jobs, ended;
} count_t;

static void on_restored(void *arg, const pst_restored_t *r)
{
    count_t *c = arg;
    if (r->type == PST_RESTORED_PACK) {
        c->packs++;
        c->jobs += r->u.pack.entry.jobs;
    } else if (r->type == PST_RESTORED_RESULTS) {
        c->ended += r->u.results.ended_n;
    }
}

static void restore(const char *what, uint64_t ended)
{
    count_t c = {0};
    assert_int_equal(w->downs, 0);
    world_close(w);
    world_open(w, &server, PST_DUR_MEMORY);
    pst_ns_t then = pst_clock_mono();
    assert_int_equal(pst_store_restore(w->store, on_restored, &c, NULL), PST_OK);
    pst_ns_t took = pst_clock_mono() - then;
    print_message("%s: %llu jobs, %llu of them ended, read back in %.1f ms\n", what, (unsigned long long)c.jobs,
                  (unsigned long long)c.ended, (double)took / 1e6);
    assert_int_equal(c.packs, PACKS);
    assert_int_equal(c.jobs, PACKS * 256);
    assert_int_equal(c.ended, ended);
    assert_true(took < 5 * PST_SEC);
}

static void a_million_jobs(void **state)
{
    (void)state;
    server_start(&server, (const char *const[]){"--appendonly", "no", NULL});
    world_open(w, &server, PST_DUR_MEMORY);
    pst_batch_info_t info;
    assert_int_equal(world_do(w, op_open(id_of(1), "", &info)), PST_OK);
    bodies_bytes = 65536;
    stream("PUT_PACK, 10 KiB + 64 KiB", make_put, 0, SAMPLE);
    bodies_bytes = 4096;
    stream("PUT_PACK, 10 KiB + 4 KiB", make_put, SAMPLE, PACKS);
    uint32_t segments = (PACKS + SEGMENT_PACKS - 1) / SEGMENT_PACKS;
    assert_int_equal(world_do(w, op_commit(id_of(1), PACKS, PACKS * 256, segments)), PST_OK);
    restore("fresh", 0);
    stream("APPEND, 256 results of 100 B", make_append, 0, PACKS);
    restore("ended", PACKS * 256);
    pst_ns_t then = pst_clock_mono();
    assert_int_equal(world_do(w, (pst_store_op_t){.type = PST_STORE_DELETE, .batch = id_of(1),
                                                  .u.del = {.segments = segments}}),
                     PST_OK);
    print_message("deleted in %.1f ms\n", (double)(pst_clock_mono() - then) / 1e6);
    assert_int_equal(server_keys(&server), 0);
    assert_int_equal(w->downs, 0);
    world_close(w);
    server_stop(&server);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(a_million_jobs)};

UNIT_MAIN(tests)
