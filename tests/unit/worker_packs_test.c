#include "unit.h"

#include <zstd.h>

#include "packs.h"

/* A pack of `jobs` jobs whose bodies are "{<index>}" padded to `body_bytes`. */
typedef struct made {
    pst_buf_t headers, text, bodies;
    pst_task_group_t group;
} made_t;

static void make(made_t *m, uint32_t pack, uint32_t jobs, uint32_t body_bytes, bool compressed)
{
    pst_job_header_t job[16] = {{0}};
    pst_view_t model = PST_VIEW_LIT("m");
    pst_route_t route = {.models = {&model, 1}, .max_price_prompt = -1, .max_price_completion = -1,
                         .max_price_request = -1};
    pst_buf_t r;
    pst_buf_init(&r, 0);
    pst_route_encode(&route, &r);
    pst_buf_init(&m->headers, 0);
    pst_buf_init(&m->text, 0);
    pst_buf_init(&m->bodies, 0);
    for (uint32_t i = 0; i < jobs; i++) {
        job[i] = (pst_job_header_t){.index = 100 + i, .custom_id = PST_VIEW_LIT("c"), .body_bytes = body_bytes};
        pst_buf_printf(&m->text, "{%0*u}", (int)body_bytes - 2, i);
    }
    pst_pack_headers_t h = {.url = PST_URL_CHAT, .route = pst_buf_view(&r),
                            .codec = compressed ? PST_CODEC_ZSTD : PST_CODEC_RAW,
                            .text_bytes = (uint32_t)m->text.n, .jobs = job, .jobs_n = jobs};
    pst_pack_headers_encode(&h, &m->headers);
    if (compressed) {
        size_t bound = ZSTD_compressBound(m->text.n);
        m->bodies.n = ZSTD_compress(pst_buf_reserve(&m->bodies, bound), bound, m->text.p, m->text.n, 1);
    } else {
        pst_buf_putv(&m->bodies, pst_buf_view(&m->text));
    }
    m->group = (pst_task_group_t){.segment = 3, .pack = pack, .headers = pst_buf_view(&m->headers),
                                  .bodies = pst_buf_view(&m->bodies)};
    memset(m->group.batch.b, 0x5a, sizeof m->group.batch.b);
    pst_buf_release(&r);
}

static void unmake(made_t *m)
{
    pst_buf_release(&m->headers);
    pst_buf_release(&m->text);
    pst_buf_release(&m->bodies);
}

/* The group as it comes once the session holds the pack. */
static pst_task_group_t named(const made_t *m)
{
    pst_task_group_t g = m->group;
    g.headers = g.bodies = pst_view(NULL, 0);
    return g;
}

static pst_task_ref_t ref(const made_t *m, uint16_t slot)
{
    return (pst_task_ref_t){m->group.batch, m->group.segment, m->group.pack, slot, 1};
}

/* packs.c never looks into a run: any address will do. */
static pst_run_t *run_mark(uintptr_t n)
{
    return (pst_run_t *)(n * 64);
}

static void test_bodies(void **state)
{
    (void)state;
    for (int compressed = 0; compressed < 2; compressed++) {
        made_t m;
        make(&m, 1, 3, 10, compressed);
        pst_packs_t *p = pst_packs_new(1 << 20, 1);
        pst_pack_t *k;
        assert_int_equal(pst_packs_take(p, &m.group, &k), PST_OK);
        assert_true(k->readable);
        assert_int_equal(k->headers.jobs_n, 3);
        assert_int_equal(k->headers.jobs[2].index, 102);
        assert_memory_equal(pst_pack_body(k, 1).p, "{00000001}", 10);
        assert_int_equal(pst_pack_body(k, 2).n, 10);
        pst_packs_settle(p, k, false);
        pst_packs_destroy(&p);
        assert_null(p);
        unmake(&m);
    }
}

static void test_named_while_held(void **state)
{
    (void)state;
    made_t m;
    make(&m, 1, 2, 10, true);
    pst_packs_t *p = pst_packs_new(1 << 20, 1);
    pst_task_group_t again = named(&m);
    pst_pack_t *k, *same;
    assert_int_equal(pst_packs_take(p, &again, &k), PST_E_NOT_FOUND);
    assert_int_equal(pst_packs_take(p, &m.group, &k), PST_OK);
    pst_packs_settle(p, k, false);
    assert_int_equal(pst_packs_take(p, &again, &same), PST_OK);
    assert_ptr_equal(k, same);
    /* the last group without runs left: it goes at once */
    pst_packs_settle(p, k, true);
    assert_int_equal(pst_packs_bytes(p), 0);
    assert_int_equal(pst_packs_take(p, &again, &k), PST_E_NOT_FOUND);
    pst_packs_destroy(&p);
    unmake(&m);
}

static void test_kept_for_its_runs(void **state)
{
    (void)state;
    made_t m;
    make(&m, 1, 2, 10, true);
    pst_packs_t *p = pst_packs_new(1 << 20, 1);
    pst_pack_t *k;
    assert_int_equal(pst_packs_take(p, &m.group, &k), PST_OK);
    pst_pack_attach(k, 0, run_mark(1));
    pst_pack_attach(k, 1, run_mark(2));
    pst_packs_settle(p, k, true);
    pst_task_ref_t r1 = ref(&m, 1), beyond = ref(&m, 2);
    assert_ptr_equal(pst_packs_run(p, &r1), run_mark(2));
    assert_null(pst_packs_run(p, &beyond));
    pst_pack_detach(k, 1);
    assert_null(pst_packs_run(p, &r1));
    assert_true(pst_packs_bytes(p) > 0);
    pst_pack_detach(k, 0);
    assert_int_equal(pst_packs_bytes(p), 0);
    pst_packs_destroy(&p);
    unmake(&m);
}

/* A new session holds nothing, but what runs is still found, also when the pack comes again. */
static void test_forgotten(void **state)
{
    (void)state;
    made_t used, unused;
    make(&used, 1, 2, 10, true);
    make(&unused, 2, 2, 10, true);
    pst_packs_t *p = pst_packs_new(1 << 20, 1);
    pst_pack_t *k, *u;
    assert_int_equal(pst_packs_take(p, &used.group, &k), PST_OK);
    pst_pack_attach(k, 1, run_mark(1));
    pst_packs_settle(p, k, false);
    assert_int_equal(pst_packs_take(p, &unused.group, &u), PST_OK);
    pst_packs_settle(p, u, false);
    size_t both = pst_packs_bytes(p);
    pst_packs_forget(p);
    assert_true(pst_packs_bytes(p) < both);
    pst_task_group_t again = named(&used);
    assert_int_equal(pst_packs_take(p, &again, &u), PST_E_NOT_FOUND);
    assert_int_equal(pst_packs_take(p, &used.group, &u), PST_OK);
    assert_ptr_equal(u, k);
    assert_ptr_equal(u->run[1], run_mark(1));
    pst_packs_settle(p, u, true);
    pst_pack_detach(u, 1);
    assert_int_equal(pst_packs_bytes(p), 0);
    pst_packs_destroy(&p);
    unmake(&used);
    unmake(&unused);
}

static void test_longest_unused_goes_first(void **state)
{
    (void)state;
    made_t m[4];
    pst_packs_t *p = NULL;
    pst_pack_t *k;
    for (uint32_t i = 0; i < 4; i++)
        make(&m[i], i, 2, 20000, true);
    p = pst_packs_new(150000, 1); /* room for three of 40,000 bytes and what goes with them */
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(pst_packs_take(p, &m[i].group, &k), PST_OK);
        pst_packs_settle(p, k, false);
    }
    pst_task_group_t first = named(&m[0]), second = named(&m[1]);
    assert_int_equal(pst_packs_take(p, &first, &k), PST_OK); /* used: now the second is the oldest */
    pst_packs_settle(p, k, false);
    assert_int_equal(pst_packs_take(p, &m[3].group, &k), PST_OK);
    pst_packs_settle(p, k, false);
    assert_false(pst_packs_over(p));
    assert_int_equal(pst_packs_take(p, &second, &k), PST_E_NOT_FOUND);
    assert_int_equal(pst_packs_take(p, &first, &k), PST_OK);
    pst_packs_settle(p, k, false);
    pst_packs_destroy(&p);
    for (uint32_t i = 0; i < 4; i++)
        unmake(&m[i]);
}

static void test_full_of_runs(void **state)
{
    (void)state;
    made_t m;
    make(&m, 1, 2, 20000, true);
    pst_packs_t *p = pst_packs_new(1000, 1);
    pst_pack_t *k;
    assert_int_equal(pst_packs_take(p, &m.group, &k), PST_OK);
    pst_pack_attach(k, 0, run_mark(1));
    pst_packs_settle(p, k, false);
    assert_true(pst_packs_over(p));
    pst_pack_detach(k, 0); /* idle, and there is no room: dropped */
    assert_false(pst_packs_over(p));
    assert_int_equal(pst_packs_bytes(p), 0);
    pst_packs_destroy(&p);
    unmake(&m);
}

static void test_broken_bodies(void **state)
{
    (void)state;
    made_t m;
    make(&m, 1, 2, 100, true);
    m.bodies.p[m.bodies.n / 2] ^= 0x55;
    m.bodies.p[5] ^= 0xff;
    pst_packs_t *p = pst_packs_new(1 << 20, 1);
    pst_pack_t *k;
    assert_int_equal(pst_packs_take(p, &m.group, &k), PST_OK);
    assert_false(k->readable); /* its jobs can still be named in outcomes */
    assert_int_equal(k->headers.jobs[1].index, 101);
    pst_packs_settle(p, k, true);
    m.group.bodies = pst_view(NULL, 0);
    assert_int_equal(pst_packs_take(p, &m.group, &k), PST_OK);
    assert_false(k->readable);
    pst_packs_settle(p, k, true);
    m.group.headers.n -= 3;
    assert_int_not_equal(pst_packs_take(p, &m.group, &k), PST_OK);
    assert_int_equal(pst_packs_bytes(p), 0);
    pst_packs_destroy(&p);
    unmake(&m);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_bodies),
    cmocka_unit_test(test_named_while_held),
    cmocka_unit_test(test_kept_for_its_runs),
    cmocka_unit_test(test_forgotten),
    cmocka_unit_test(test_longest_unused_goes_first),
    cmocka_unit_test(test_full_of_runs),
    cmocka_unit_test(test_broken_bodies),
};

UNIT_MAIN(tests)
