#include "unit.h"

#include "outbox.h"
#include "wire/codec.h"

static pst_id_t batch_a = {{1}}, batch_b = {{2}};

static void add(pst_outbox_t *b, const pst_id_t *batch, uint32_t pack, uint16_t slot, const char *model,
                pst_view_t body)
{
    pst_endpoint_name_t e = {PST_VIEW_LIT("p"), pst_view_str(model)};
    pst_outcome_t o = {.pack = pack, .slot = slot, .dispatch = 1, .verdict = PST_VERDICT_DONE,
                       .custom_id = PST_VIEW_LIT("c"), .request_id = PST_VIEW_LIT("req")};
    pst_outbox_add(b, &(pst_ending_t){.batch = batch, .endpoint = &e, .outcome = &o, .body = body});
}

static void add_many(pst_outbox_t *b, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        add(b, &batch_a, i / 256, (uint16_t)(i % 256), "m", PST_VIEW_LIT("{\"n\":1}"));
}

/* Takes the next message as a session would; its number, 0 for none. */
static uint64_t take(pst_outbox_t *b)
{
    const pst_msg_outcomes_t *m = pst_outbox_next(b);
    if (!m)
        return 0;
    pst_outbox_sent(b);
    return m->number;
}

static void test_sent_at_once_then_gathered(void **state)
{
    (void)state;
    pst_outbox_t *b = pst_outbox_new();
    assert_null(pst_outbox_next(b));
    add_many(b, 1);
    assert_int_equal(take(b), 1);
    add_many(b, 100);
    assert_int_equal(take(b), 0); /* one is unacknowledged: the next gathers */
    assert_true(pst_outbox_ack(b, 1));
    const pst_msg_outcomes_t *m = pst_outbox_next(b);
    assert_int_equal(m->number, 2);
    assert_int_equal(m->groups[0].outcomes_n, 100);
    pst_outbox_sent(b);
    assert_false(pst_outbox_ack(b, 1));
    assert_false(pst_outbox_ack(b, 3));
    assert_true(pst_outbox_ack(b, 2));
    assert_true(pst_outbox_empty(b));
    pst_outbox_destroy(&b);
    assert_null(b);
}

static void test_full_message_does_not_wait(void **state)
{
    (void)state;
    pst_outbox_t *b = pst_outbox_new();
    add_many(b, 1);
    assert_int_equal(take(b), 1);
    add_many(b, PST_OUTBOX_MESSAGE_OUTCOMES + 5);
    assert_int_equal(take(b), 2);
    assert_int_equal(take(b), 0); /* the five gather */
    pst_outbox_destroy(&b);
}

static void test_window(void **state)
{
    (void)state;
    pst_outbox_t *b = pst_outbox_new();
    add_many(b, 12 * PST_OUTBOX_MESSAGE_OUTCOMES);
    for (uint64_t n = 1; n <= PST_OUTBOX_WINDOW; n++)
        assert_int_equal(take(b), n);
    assert_int_equal(take(b), 0);
    assert_true(pst_outbox_ack(b, 5)); /* in any order */
    assert_int_equal(take(b), 9);
    assert_int_equal(take(b), 0);
    assert_int_equal(pst_outbox_outcomes(b), 11 * PST_OUTBOX_MESSAGE_OUTCOMES);
    pst_outbox_destroy(&b);
}

static void encode(const pst_msg_outcomes_t *o, pst_buf_t *out)
{
    pst_msg_t m = {.version = PST_PROTOCOL_VERSION, .type = PST_MSG_OUTCOMES, .u.outcomes = *o};
    pst_buf_clear(out);
    pst_msg_encode(&m, out);
    assert_false(out->failed);
}

/* After a new session the same numbers carry the same bytes, in order, whatever was added meanwhile. */
static void test_rewind(void **state)
{
    (void)state;
    pst_outbox_t *b = pst_outbox_new();
    pst_buf_t before[3], after;
    pst_buf_init(&after, 0);
    add_many(b, 3 * PST_OUTBOX_MESSAGE_OUTCOMES);
    for (unsigned i = 0; i < 3; i++) {
        pst_buf_init(&before[i], 0);
        encode(pst_outbox_next(b), &before[i]);
        pst_outbox_sent(b);
    }
    assert_true(pst_outbox_ack(b, 2));
    pst_outbox_rewind(b);
    add_many(b, PST_OUTBOX_MESSAGE_OUTCOMES);
    for (unsigned i = 0; i < 3; i += 2) {
        const pst_msg_outcomes_t *m = pst_outbox_next(b);
        assert_int_equal(m->number, i + 1);
        encode(m, &after);
        assert_int_equal(after.n, before[i].n);
        assert_memory_equal(after.p, before[i].p, after.n);
        pst_outbox_sent(b);
    }
    assert_int_equal(take(b), 4);
    for (unsigned i = 0; i < 3; i++)
        pst_buf_release(&before[i]);
    pst_buf_release(&after);
    pst_outbox_destroy(&b);
}

static void test_groups_and_tables(void **state)
{
    (void)state;
    pst_outbox_t *b = pst_outbox_new();
    add(b, &batch_a, 0, 0, "m", PST_VIEW_LIT("one"));
    add(b, &batch_b, 7, 1, "m", PST_VIEW_LIT("two"));
    add(b, &batch_a, 0, 2, "n", PST_VIEW_LIT("three"));
    add(b, &batch_a, 1, 3, "m", pst_view(NULL, 0));
    const pst_msg_outcomes_t *m = pst_outbox_next(b);
    assert_int_equal(m->groups_n, 2);
    const pst_outcome_group_t *g = &m->groups[0];
    assert_int_equal(g->outcomes_n, 3);
    assert_int_equal(g->endpoints_n, 2);
    assert_int_equal(g->outcomes[1].endpoint, 1);
    assert_int_equal(g->outcomes[2].endpoint, 0);
    assert_true(pst_view_eqs(g->endpoints[1].model, "n"));
    assert_int_equal(g->blob.codec, PST_CODEC_RAW);
    assert_true(pst_view_eqs(g->blob.bytes, "onethree"));
    assert_int_equal(g->outcomes[1].body_offset, 3);
    assert_int_equal(g->outcomes[1].body_bytes, 5);
    assert_int_equal(m->groups[1].outcomes[0].pack, 7);
    pst_task_ref_t refs[8];
    assert_int_equal(pst_outbox_refs(b, refs, 8), 4);
    assert_int_equal(pst_outbox_refs(b, refs, 3), 3);
    assert_int_equal(refs[2].slot, 3);
    pst_outbox_destroy(&b);
}

static void test_many_segments(void **state)
{
    (void)state;
    pst_outbox_t *b = pst_outbox_new();
    pst_endpoint_name_t e = {PST_VIEW_LIT("p"), PST_VIEW_LIT("m")};
    for (uint32_t i = 0; i < 100; i++) {
        pst_outcome_t o = {.pack = i, .verdict = PST_VERDICT_DONE};
        pst_outbox_add(b, &(pst_ending_t){.batch = &batch_a, .segment = i, .endpoint = &e, .outcome = &o,
                                          .body = PST_VIEW_LIT("x")});
    }
    uint32_t groups = 0;
    const pst_msg_outcomes_t *m;
    for (uint64_t n = 1; (m = pst_outbox_next(b)); n++) {
        assert_int_equal(m->number, n);
        assert_int_equal(m->groups[0].segment, groups);
        groups += m->groups_n;
        pst_outbox_sent(b);
        assert_true(pst_outbox_ack(b, n));
    }
    assert_int_equal(groups, 100);
    pst_outbox_destroy(&b);
}

static void test_compressed_when_it_helps(void **state)
{
    (void)state;
    pst_outbox_t *b = pst_outbox_new();
    char same[4096], noise[4096];
    uint64_t x = 88172645463325252ull;
    memset(same, 'a', sizeof same);
    for (size_t i = 0; i < sizeof noise; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        noise[i] = (char)x;
    }
    add(b, &batch_a, 0, 0, "m", pst_view(same, sizeof same));
    add(b, &batch_b, 0, 0, "m", pst_view(noise, sizeof noise));
    const pst_msg_outcomes_t *m = pst_outbox_next(b);
    const pst_result_blob_t *packed = &m->groups[0].blob, *raw = &m->groups[1].blob;
    assert_int_equal(packed->codec, PST_CODEC_ZSTD);
    assert_int_equal(packed->text_bytes, sizeof same);
    assert_true(packed->bytes.n < 100);
    char back[4096];
    pst_decompressor_t *d = pst_decompressor_new();
    assert_int_equal(pst_decompress(d, packed->codec, packed->bytes, back, sizeof back), PST_OK);
    pst_decompressor_destroy(&d);
    assert_memory_equal(back, same, sizeof back);
    assert_int_equal(raw->codec, PST_CODEC_RAW);
    assert_int_equal(raw->bytes.n, sizeof noise);
    pst_outbox_destroy(&b);
}

/* Adds a text of that length, has it sent and acknowledged; how it was compressed.  It must come back as it was. */
static pst_codec_t codec_of(pst_outbox_t *b, pst_ns_t now, bool urgent, size_t n)
{
    static char text[1 << 20], back[1 << 20];
    static uint32_t texts;
    assert_true(n <= sizeof text);
    for (size_t i = 0; i < n; i++)
        text[i] = (char)('a' + i % 23 + (i / 23 + texts) % 3);
    texts++;
    pst_endpoint_name_t e = {PST_VIEW_LIT("p"), PST_VIEW_LIT("m")};
    pst_outcome_t o = {.dispatch = 1, .verdict = PST_VERDICT_DONE};
    pst_outbox_set_now(b, now);
    pst_outbox_add(b, &(pst_ending_t){.urgent = urgent, .batch = &batch_a, .endpoint = &e, .outcome = &o,
                                      .body = pst_view(text, n)});
    const pst_msg_outcomes_t *m = pst_outbox_next(b);
    assert_non_null(m);
    const pst_result_blob_t *blob = &m->groups[0].blob;
    assert_int_equal(blob->text_bytes, n);
    pst_decompressor_t *d = pst_decompressor_new();
    assert_int_equal(pst_decompress(d, blob->codec, blob->bytes, back, n), PST_OK);
    pst_decompressor_destroy(&d);
    assert_memory_equal(back, text, n);
    pst_codec_t codec = (pst_codec_t)blob->codec;
    uint64_t number = m->number;
    pst_outbox_sent(b);
    assert_true(pst_outbox_ack(b, number));
    return codec;
}

/* How many texts in a row are compressed thoroughly at that time. */
static uint32_t thorough_at(pst_outbox_t *b, pst_ns_t now, size_t n)
{
    uint32_t texts = 0;
    while (codec_of(b, now, false, n) == PST_CODEC_ZSTD)
        texts++;
    return texts;
}

/* 16 KiB with what it takes to begin: 8 ms of its share of the time. */
#define TEXT ((size_t)14 << 10)

static void test_thorough_while_there_is_time(void **state)
{
    (void)state;
    pst_outbox_t *b = pst_outbox_new();
    pst_ns_t now = 5 * PST_SEC;
    assert_int_equal(thorough_at(b, now, TEXT), 4);
    assert_int_equal(codec_of(b, now, false, TEXT), PST_CODEC_LZ4);
    now += 5 * PST_MS;
    assert_int_equal(thorough_at(b, now, TEXT), 1);
    now += 3600 * PST_SEC;
    assert_int_equal(thorough_at(b, now, TEXT), 4); /* no more is saved */
    pst_outbox_destroy(&b);
}

/* With never a pause, all that is more than the share is fast. */
static void test_thorough_has_its_share(void **state)
{
    (void)state;
    pst_outbox_t *b = pst_outbox_new();
    uint32_t thorough = 0;
    for (uint32_t ms = 0; ms < 1000; ms++)
        thorough += codec_of(b, 5 * PST_SEC + ms * PST_MS, false, TEXT) == PST_CODEC_ZSTD;
    assert_in_range(thorough, 1000 / 8, 1000 / 8 + 4);
    pst_outbox_destroy(&b);
}

/* It is done well, longer though it takes than was saved; then the others pay. */
static void test_thorough_is_overdrawn(void **state)
{
    (void)state;
    pst_outbox_t *b = pst_outbox_new();
    pst_ns_t now = 5 * PST_SEC;
    assert_int_equal(codec_of(b, now, false, 1 << 20), PST_CODEC_ZSTD);
    assert_int_equal(codec_of(b, now + 450 * PST_MS, false, TEXT), PST_CODEC_LZ4);
    assert_int_equal(codec_of(b, now + 550 * PST_MS, false, TEXT), PST_CODEC_ZSTD);
    pst_outbox_destroy(&b);
}

static void test_urgent_is_fast(void **state)
{
    (void)state;
    pst_outbox_t *b = pst_outbox_new();
    assert_int_equal(codec_of(b, 5 * PST_SEC, true, TEXT), PST_CODEC_LZ4);
    assert_int_equal(thorough_at(b, 5 * PST_SEC, TEXT), 4); /* and uses nothing */
    pst_outbox_destroy(&b);
}

static void test_large_bodies_and_bound(void **state)
{
    (void)state;
    pst_outbox_t *b = pst_outbox_new();
    size_t n = (size_t)3 << 20;
    char *big = malloc(n);
    uint64_t x = 1;
    for (size_t i = 0; i < n; i++) {
        x = x * 6364136223846793005ull + 1442695040888963407ull;
        big[i] = (char)(x >> 56);
    }
    add_many(b, 1);
    add(b, &batch_a, 9, 9, "m", pst_view(big, n));
    const pst_msg_outcomes_t *m = pst_outbox_next(b);
    assert_int_equal(m->groups[0].outcomes_n, 1); /* the small one does not ride with the big one */
    pst_outbox_sent(b);
    m = pst_outbox_next(b);
    assert_int_equal(m->groups[0].blob.text_bytes, n);
    pst_outbox_sent(b);
    assert_false(pst_outbox_full(b));
    while (!pst_outbox_full(b))
        add(b, &batch_a, 9, 9, "m", pst_view(big, n));
    assert_true(pst_outbox_outcomes(b) >= 20 && pst_outbox_outcomes(b) <= 24);
    for (uint64_t k = 1; !pst_outbox_empty(b); k++) {
        assert_true(pst_outbox_ack(b, k));
        (void)take(b);
    }
    assert_false(pst_outbox_full(b));
    free(big);
    pst_outbox_destroy(&b);
}

/* Behind thousands of others, and with the window full, it goes next; numbers rise as they are sent, and stay. */
static void test_urgent_goes_first(void **state)
{
    (void)state;
    pst_outbox_t *b = pst_outbox_new();
    pst_endpoint_name_t e = {PST_VIEW_LIT("p"), PST_VIEW_LIT("m")};
    pst_outcome_t o = {.pack = 7, .dispatch = 1, .verdict = PST_VERDICT_DONE};
    add_many(b, 256 * 20);
    for (uint64_t i = 1; i <= PST_OUTBOX_WINDOW; i++)
        assert_int_equal(take(b), i);
    assert_int_equal(take(b), 0);
    pst_ending_t ending = {.urgent = true, .batch = &batch_b, .segment = 3, .endpoint = &e, .outcome = &o,
                           .body = PST_VIEW_LIT("{}")};
    pst_outbox_add(b, &ending);
    const pst_msg_outcomes_t *m = pst_outbox_next(b);
    assert_int_equal(m->number, PST_OUTBOX_WINDOW + 1);
    assert_int_equal(m->groups[0].segment, 3);
    pst_outbox_sent(b);
    assert_int_equal(take(b), 0); /* the others have no place beyond the window */
    pst_outbox_rewind(b);
    for (uint64_t i = 1; i <= PST_OUTBOX_WINDOW; i++)
        assert_int_equal(take(b), i);
    m = pst_outbox_next(b);
    assert_int_equal(m->number, PST_OUTBOX_WINDOW + 1);
    assert_int_equal(m->groups[0].segment, 3);
    pst_outbox_sent(b);
    ending.segment = 4;
    for (uint32_t i = 0; i < PST_OUTBOX_URGENT_WINDOW; i++)
        pst_outbox_add(b, &ending);
    assert_int_equal(take(b), PST_OUTBOX_WINDOW + 2);
    pst_task_ref_t refs[256 * 20 + 5];
    assert_int_equal(pst_outbox_refs(b, refs, PST_COUNT(refs)), PST_COUNT(refs));
    uint32_t messages = 0;
    for (uint64_t n = 1; !pst_outbox_empty(b); n++) {
        assert_true(pst_outbox_ack(b, n));
        while (take(b))
            ;
        messages++;
    }
    assert_int_equal(messages, 22);
    pst_outbox_destroy(&b);
}

static void add_saying(pst_outbox_t *b, const pst_id_t *batch, const char *model, const pst_rate_report_t *r, unsigned n)
{
    pst_endpoint_name_t e = {PST_VIEW_LIT("p"), pst_view_str(model)};
    pst_outcome_t o = {.dispatch = 1, .verdict = PST_VERDICT_DONE};
    pst_outbox_add(b, &(pst_ending_t){.batch = batch, .endpoint = &e, .outcome = &o, .body = PST_VIEW_LIT("{}"),
                                      .limits = r, .limits_n = n});
}

static void assert_limit(const pst_limit_report_t *l, uint16_t endpoint, pst_rate_t rate, uint64_t remaining)
{
    assert_int_equal(l->endpoint, endpoint);
    assert_int_equal(l->rate, rate);
    assert_int_equal(l->limit, 60);
    assert_int_equal(l->remaining, remaining);
    assert_int_equal(l->reset_ms, 7);
}

/* Of each endpoint and rate of a group what came last; and a message says nothing of those before it. */
static void test_limits_come_along(void **state)
{
    (void)state;
    pst_outbox_t *b = pst_outbox_new();
    pst_rate_report_t first[] = {{PST_RATE_REQUESTS, 60, 59, 7}, {PST_RATE_TOKENS, 60, 50, 7}};
    pst_rate_report_t second[] = {{PST_RATE_TOKENS, 60, 40, 7}};
    add_saying(b, &batch_a, "m", first, 2);
    add_saying(b, &batch_a, "n", first, 1);
    add_saying(b, &batch_a, "m", second, 1);
    add_saying(b, &batch_a, "m", NULL, 0);
    add_saying(b, &batch_b, "m", second, 1);
    const pst_msg_outcomes_t *m = pst_outbox_next(b);
    assert_int_equal(m->groups_n, 2);
    const pst_outcome_group_t *g = &m->groups[0];
    assert_int_equal(g->limits_n, 3);
    assert_limit(&g->limits[0], 0, PST_RATE_REQUESTS, 59);
    assert_limit(&g->limits[1], 0, PST_RATE_TOKENS, 40);
    assert_limit(&g->limits[2], 1, PST_RATE_REQUESTS, 59);
    assert_int_equal(m->groups[1].limits_n, 1);
    assert_limit(&m->groups[1].limits[0], 0, PST_RATE_TOKENS, 40);
    pst_outbox_sent(b);
    assert_true(pst_outbox_ack(b, 1));
    add_many(b, 1);
    assert_int_equal(pst_outbox_next(b)->groups[0].limits_n, 0);
    pst_outbox_destroy(&b);
}

/* A worker with more models than a group may tell of. */
static void test_limits_have_a_limit(void **state)
{
    (void)state;
    pst_outbox_t *b = pst_outbox_new();
    pst_rate_report_t r = {PST_RATE_REQUESTS, 60, 59, 7};
    pst_buf_t frame;
    pst_buf_init(&frame, 0);
    for (unsigned i = 0; i < PST_LIMIT_REPORTS_MAX + 10; i++) {
        char model[16];
        snprintf(model, sizeof model, "m-%u", i);
        add_saying(b, &batch_a, model, &r, 1);
    }
    r.remaining = 30;
    add_saying(b, &batch_a, "m-0", &r, 1);
    const pst_msg_outcomes_t *m = pst_outbox_next(b);
    assert_int_equal(m->groups[0].limits_n, PST_LIMIT_REPORTS_MAX);
    assert_limit(&m->groups[0].limits[0], 0, PST_RATE_REQUESTS, 30);
    encode(m, &frame);
    pst_outbox_sent(b);
    assert_true(pst_outbox_ack(b, 1));
    assert_true(pst_outbox_empty(b));
    pst_buf_release(&frame);
    pst_outbox_destroy(&b);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_urgent_goes_first),
    cmocka_unit_test(test_limits_come_along),
    cmocka_unit_test(test_limits_have_a_limit),
    cmocka_unit_test(test_thorough_while_there_is_time),
    cmocka_unit_test(test_thorough_has_its_share),
    cmocka_unit_test(test_thorough_is_overdrawn),
    cmocka_unit_test(test_urgent_is_fast),
    cmocka_unit_test(test_sent_at_once_then_gathered),
    cmocka_unit_test(test_full_message_does_not_wait),
    cmocka_unit_test(test_window),
    cmocka_unit_test(test_rewind),
    cmocka_unit_test(test_groups_and_tables),
    cmocka_unit_test(test_many_segments),
    cmocka_unit_test(test_compressed_when_it_helps),
    cmocka_unit_test(test_large_bodies_and_bound),
};

UNIT_MAIN(tests)
