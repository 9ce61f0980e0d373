#include "unit.h"

#include "lib/packer.h"
#include "wire/codec.h"

/* What came out, checked as it comes. */
typedef struct world {
    uint32_t packs, jobs, segment;
    uint32_t jobs_of[4096], segment_of[4096];
    uint64_t text, segment_text;
    uint32_t segment_jobs;
    uint32_t alone;            /* packs of one job */
    uint32_t rejects;
    uint8_t codec;
    char names[256];           /* custom_ids of the last pack, with blanks between */
    pst_err_t say;             /* what the sink answers */
} world_t;

static void check_bodies(const pst_pack_headers_t *h, pst_view_t bodies)
{
    char *text = malloc(h->text_bytes + 1u);
    pst_decompressor_t *d = pst_decompressor_new();
    assert_int_equal(pst_decompress(d, h->codec, bodies, text, h->text_bytes), PST_OK);
    pst_decompressor_destroy(&d);
    free(text);
}

static void note_segment(world_t *w, const pst_pack_out_t *p, uint32_t text)
{
    assert_true(p->segment == w->segment || p->segment == w->segment + 1);
    if (p->segment != w->segment)
        w->segment_jobs = w->segment_text = 0;
    w->segment = p->segment;
    w->segment_jobs += p->jobs;
    w->segment_text += text;
    assert_true(w->segment_jobs <= PST_SEGMENT_JOBS_MAX);
    assert_true(w->segment_text <= PST_SEGMENT_TEXT_BYTES_MAX || w->segment_jobs == p->jobs);
}

static pst_err_t take(void *arg, const pst_pack_out_t *p)
{
    world_t *w = arg;
    pst_arena_t a;
    pst_arena_init(&a, 0);
    pst_pack_headers_t h;
    assert_int_equal(pst_pack_headers_decode(p->headers, &a, &h), PST_OK);
    assert_int_equal(p->pack, w->packs);
    assert_int_equal(p->jobs, h.jobs_n);
    check_bodies(&h, p->bodies);
    note_segment(w, p, h.text_bytes);
    w->names[0] = '\0';
    for (uint32_t i = 0; i < h.jobs_n; i++) {
        w->rejects += h.jobs[i].reject != 0;
        size_t n = strlen(w->names);
        snprintf(w->names + n, sizeof w->names - n, "%.*s ", (int)h.jobs[i].custom_id.n,
                 h.jobs[i].custom_id.n ? h.jobs[i].custom_id.p : "");
    }
    if (w->packs < PST_COUNT(w->jobs_of)) {
        w->jobs_of[w->packs] = h.jobs_n;
        w->segment_of[w->packs] = p->segment;
    }
    w->packs++;
    w->jobs += h.jobs_n;
    w->alone += h.jobs_n == 1;
    w->text += h.text_bytes;
    w->codec = h.codec;
    pst_arena_release(&a);
    return w->say;
}

static pst_line_reader_t reader;

static void add(pst_packer_t *p, uint32_t index, const char *model, const char *text, size_t n)
{
    static char line[(4u << 20) + 256];
    int head = snprintf(line, sizeof line, "{\"custom_id\":\"c%u\",\"body\":{\"model\":\"%s\",\"x\":\"", index, model);
    memcpy(line + head, text, n);
    memcpy(line + head + n, "\"}}", 3);
    pst_line_job_t job;
    pst_line_fault_t f;
    assert_int_equal(pst_line_read(&reader, pst_view(line, (size_t)head + n + 3), &job, &f), PST_OK);
    assert_int_equal(pst_packer_add(p, index, &job), PST_OK);
}

static char letters[4u << 20];
static world_t w;
static pst_packer_t *packer;

static int setup(void **state)
{
    (void)state;
    memset(letters, 'x', sizeof letters);
    memset(&w, 0, sizeof w);
    pst_line_reader_init(&reader, pst_view(NULL, 0));
    return pst_packer_new(take, &w, &packer);
}

static int teardown(void **state)
{
    (void)state;
    pst_packer_destroy(&packer);
    pst_line_reader_release(&reader);
    return 0;
}

static void closed_at_256_jobs(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 1000; i++)
        add(packer, i, "m", letters, 10);
    assert_true(w.packs >= 2 && w.packs <= 3); /* the third may still be with another thread */
    assert_int_equal(pst_packer_flush(packer), PST_OK);
    assert_int_equal(w.packs, 4);
    assert_int_equal(w.jobs, 1000);
    assert_int_equal(w.jobs_of[0], PST_PACK_JOBS_MAX);
    assert_int_equal(w.jobs_of[3], 1000 - 3 * PST_PACK_JOBS_MAX);
    assert_int_equal(pst_packer_packs(packer), 4);
    assert_int_equal(pst_packer_jobs(packer), 1000);
    assert_int_equal(w.codec, PST_CODEC_LZ4);
}

static void closed_at_a_megabyte_and_big_ones_alone(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 5; i++)
        add(packer, i, "m", letters, 300u << 10);
    add(packer, 5, "m", letters, 2u << 20);
    add(packer, 6, "m", letters, 10);
    assert_int_equal(pst_packer_flush(packer), PST_OK);
    assert_int_equal(w.packs, 4);
    assert_int_equal(w.jobs_of[0], 3);
    assert_int_equal(w.jobs_of[1], 2);
    assert_int_equal(w.jobs_of[2], 1);
    assert_int_equal(w.jobs_of[3], 1);
    assert_int_equal(w.codec, PST_CODEC_RAW); /* the last is too short to be compressed */
}

static void one_open_pack_a_route(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 60; i++)
        add(packer, i, i % 3 == 0 ? "a" : i % 3 == 1 ? "b" : "c", letters, 10);
    assert_int_equal(w.packs, 0);
    assert_int_equal(pst_packer_flush(packer), PST_OK);
    assert_int_equal(w.packs, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(w.jobs_of[i], 20);
}

/* More routes than may be open, and more text: packs are closed early, but nothing is lost. */
static void bounded_with_many_routes(void **state)
{
    (void)state;
    char model[32];
    for (uint32_t i = 0; i < 2000; i++) {
        snprintf(model, sizeof model, "m%u", i % 700);
        add(packer, i, model, letters, 100);
    }
    assert_true(w.packs > 0);
    for (uint32_t i = 0; i < 100; i++) {
        snprintf(model, sizeof model, "n%u", i);
        add(packer, 2000 + i, model, letters, 200u << 10);
    }
    assert_int_equal(pst_packer_flush(packer), PST_OK);
    assert_int_equal(w.jobs, 2100);
}

static void segments_by_jobs(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 2 * PST_SEGMENT_JOBS_MAX + 10; i++)
        add(packer, i, "m", letters, 1);
    assert_int_equal(pst_packer_flush(packer), PST_OK);
    assert_int_equal(w.segment, 2);
    assert_int_equal(w.segment_of[PST_SEGMENT_JOBS_MAX / PST_PACK_JOBS_MAX - 1], 0);
    assert_int_equal(w.segment_of[PST_SEGMENT_JOBS_MAX / PST_PACK_JOBS_MAX], 1);
}

static void segments_by_text(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 100; i++)
        add(packer, i, "m", letters, 4u << 20);
    assert_int_equal(pst_packer_flush(packer), PST_OK);
    assert_int_equal(w.segment, 1);
    assert_int_equal(w.alone, 100);
}

static void rejected_lines_have_packs_of_their_own(void **state)
{
    (void)state;
    pst_line_fault_t f = {.code = PST_CAUSE_LINE_JSON, .message = "wrong"};
    add(packer, 0, "m", letters, 10);
    assert_int_equal(pst_packer_reject(packer, 1, 2, &f), PST_OK);
    f.custom_id = PST_VIEW_LIT("named");
    assert_int_equal(pst_packer_reject(packer, 2, 3, &f), PST_OK);
    add(packer, 3, "m", letters, 10);
    assert_int_equal(pst_packer_flush(packer), PST_OK);
    assert_int_equal(w.packs, 2);
    assert_int_equal(w.rejects, 2);
    assert_string_equal(w.names, " named ");
}

static void error_of_the_sink_comes_back(void **state)
{
    (void)state;
    add(packer, 0, "m", letters, 10);
    w.say = PST_E_STORE_BAD;
    assert_int_equal(pst_packer_flush(packer), PST_E_STORE_BAD);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
static const struct CMUnitTest tests[] = {
    CASE(closed_at_256_jobs), CASE(closed_at_a_megabyte_and_big_ones_alone), CASE(one_open_pack_a_route),
    CASE(segments_by_jobs),   CASE(bounded_with_many_routes),               CASE(segments_by_text),
    CASE(rejected_lines_have_packs_of_their_own), CASE(error_of_the_sink_comes_back),
};

UNIT_MAIN(tests)
