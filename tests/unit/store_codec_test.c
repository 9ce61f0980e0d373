/* Bytes the store keeps, URLs it is given, keys it builds: no Redis here. */
#include "base/rng.h"
#include "store/redis_codec.h"
#include "store/redis_keys.h"
#include "redis/url.h"
#include "unit.h"

static pst_seg_stats_t stats_of(pst_seg_endpoint_t e[2], pst_cause_count_t causes[2])
{
    e[0] = (pst_seg_endpoint_t){.name = {PST_VIEW_LIT("openai"), PST_VIEW_LIT("gpt")}, .calls = 1, .completed = 2,
                                .rate_limited = 3, .retried = 4, .input_tokens = UINT64_MAX, .cached_tokens = 6,
                                .output_tokens = 7, .cost_nano = 1ull << 40};
    e[0].hist[0] = 1;
    e[0].hist[40] = UINT32_MAX;
    e[0].hist[87] = 3;
    e[1] = (pst_seg_endpoint_t){.name = {PST_VIEW_LIT("x"), PST_VIEW_LIT("")}};
    causes[0] = (pst_cause_count_t){PST_CAUSE_TIMEOUT, 70000};
    causes[1] = (pst_cause_count_t){PST_CAUSE_LINE_ROUTING, 1};
    return (pst_seg_stats_t){.completed = 65536, .failed = 1, .expired = 2, .cancelled = 3, .input_tokens = 1ull << 50,
                             .cached_tokens = 5, .output_tokens = 6, .cost_nano = 7, .causes = causes, .causes_n = 2,
                             .endpoints = e, .endpoints_n = 2};
}

static void stats_round_trip(void **state)
{
    (void)state;
    pst_seg_endpoint_t e[2];
    pst_cause_count_t causes[2];
    pst_seg_stats_t s = stats_of(e, causes), back;
    pst_buf_t b;
    pst_arena_t a;
    pst_buf_init(&b, 0);
    pst_arena_init(&a, 0);
    pst_stats_encode(&s, &b);
    assert_in_range(b.n, 50, 150);
    assert_int_equal(pst_stats_decode(pst_buf_view(&b), &a, &back), PST_OK);
    assert_int_equal(back.completed, 65536);
    assert_int_equal(back.input_tokens, 1ull << 50);
    assert_int_equal(back.causes_n, 2);
    assert_int_equal(back.causes[0].n, 70000);
    assert_int_equal(back.endpoints_n, 2);
    assert_true(pst_view_eqs(back.endpoints[0].name.model, "gpt"));
    assert_true(back.endpoints[0].input_tokens == UINT64_MAX);
    assert_memory_equal(back.endpoints[0].hist, e[0].hist, sizeof e[0].hist);
    assert_memory_equal(back.endpoints[1].hist, e[1].hist, sizeof e[1].hist);
    /* Every cut is refused, and so is anything after the end. */
    for (size_t n = 0; n < b.n; n++)
        assert_int_equal(pst_stats_decode(pst_view(b.p, n), &a, &back), PST_E_MALFORMED);
    pst_buf_putc(&b, 0);
    assert_int_equal(pst_stats_decode(pst_buf_view(&b), &a, &back), PST_E_MALFORMED);
    pst_buf_release(&b);
    pst_arena_release(&a);
}

static void retries_round_trip(void **state)
{
    (void)state;
    pst_endpoint_name_t e = {PST_VIEW_LIT("p"), PST_VIEW_LIT("m")};
    pst_attempt_t h[2] = {{0, 503, PST_CAUSE_OVERLOADED, 123456}, {PST_NO_ENDPOINT, 0, PST_CAUSE_WORKER_LOST, 0}};
    pst_retry_t r = {.pack = UINT32_MAX, .slot = 255, .dispatch = 65535, .attempts = 5, .given_up = 7,
                     .due_wall_ms = 1ull << 41, .cost_nano = 1ull << 50, .endpoints = &e, .endpoints_n = 1, .history = h, .history_n = 2}, back;
    pst_buf_t b;
    pst_arena_t a;
    pst_buf_init(&b, 0);
    pst_arena_init(&a, 0);
    pst_retry_encode(&r, &b);
    assert_int_equal(pst_retry_decode(pst_buf_view(&b), &a, &back), PST_OK);
    assert_true(back.pack == UINT32_MAX && back.slot == 255 && back.dispatch == 65535 && back.attempts == 5);
    assert_true(back.given_up == 7 && back.due_wall_ms == 1ull << 41 && back.cost_nano == 1ull << 50);
    assert_int_equal(back.history_n, 2);
    assert_int_equal(back.history[0].latency_ms, 123456);
    assert_int_equal(back.history[1].endpoint, PST_NO_ENDPOINT);
    for (size_t n = 0; n < b.n; n++)
        assert_int_equal(pst_retry_decode(pst_view(b.p, n), &a, &back), PST_E_MALFORMED);
    /* An endpoint that is not in the table. */
    pst_buf_clear(&b);
    h[0].endpoint = 1;
    pst_retry_encode(&r, &b);
    assert_int_equal(pst_retry_decode(pst_buf_view(&b), &a, &back), PST_E_MALFORMED);
    pst_buf_release(&b);
    pst_arena_release(&a);
}

/* Random damage is refused or decodes to something bounded; the sanitizers watch. */
static void damage_is_survived(void **state)
{
    (void)state;
    pst_seg_endpoint_t e[2];
    pst_cause_count_t causes[2];
    pst_seg_stats_t s = stats_of(e, causes), back;
    pst_retry_t retry;
    pst_rng_t rng;
    pst_buf_t b;
    pst_arena_t a;
    pst_rng_seed(&rng, 1);
    pst_buf_init(&b, 0);
    pst_arena_init(&a, 0);
    pst_stats_encode(&s, &b);
    for (unsigned i = 0; i < 20000; i++) {
        char copy[256];
        memcpy(copy, b.p, b.n);
        for (unsigned k = 0; k < 1 + i % 4; k++)
            copy[pst_rng_below(&rng, b.n)] = (char)pst_rng_next(&rng);
        (void)!pst_stats_decode(pst_view(copy, b.n), &a, &back);
        (void)!pst_retry_decode(pst_view(copy, b.n), &a, &retry);
        assert_true(a.bytes < 1u << 20);
        pst_arena_clear(&a);
    }
    pst_buf_release(&b);
    pst_arena_release(&a);
}

static void ends_round_trip(void **state)
{
    (void)state;
    pst_slot_ref_t first[2] = {{7, 255}, {UINT32_MAX, 65535}};
    const pst_slot_ref_t *ended;
    uint32_t n, count;
    pst_buf_t b;
    pst_arena_t a;
    pst_buf_init(&b, 0);
    pst_arena_init(&a, 0);
    pst_ends_encode(0, first, 2, &b);
    pst_ends_encode(1, NULL, 0, &b);
    pst_view_t v = pst_buf_view(&b);
    assert_true(pst_ends_next(&v, &a, &n, &ended, &count));
    assert_true(n == 0 && count == 2 && ended[0].pack == 7 && ended[0].slot == 255);
    assert_true(ended[1].pack == UINT32_MAX && ended[1].slot == 65535);
    assert_true(pst_ends_next(&v, &a, &n, &ended, &count));
    assert_true(n == 1 && count == 0);
    assert_false(pst_ends_next(&v, &a, &n, &ended, &count));
    assert_int_equal(v.n, 0);
    /* A record that claims more than there is. */
    v = pst_view(b.p, 19);
    assert_false(pst_ends_next(&v, &a, &n, &ended, &count));
    assert_int_equal(v.n, 19);
    pst_buf_release(&b);
    pst_arena_release(&a);
}

static void entries_round_trip(void **state)
{
    (void)state;
    pst_dir_value_t d = {.entry = {1, 2, 3, 4, 5, 6, 7, UINT32_MAX}, .url = 3, .rejected = true}, back;
    char bytes[PST_DIR_BYTES];
    pst_dir_encode(&d, bytes);
    bytes[34] = 0x02;
    bytes[35] = 0x01;
    assert_true(pst_dir_decode(pst_view(bytes, sizeof bytes), &back));
    assert_memory_equal(&back.entry, &d.entry, sizeof d.entry);
    /* Queries hand entries on as they lie here. */
    assert_memory_equal(bytes, &d.entry, sizeof d.entry);
    assert_true(back.url == 3 && back.rejected && back.route == 258);
    assert_false(pst_dir_decode(pst_view(bytes, 35), &back));
}

static void urls_parse(void **state)
{
    (void)state;
    pst_redis_url_t u;
    assert_int_equal(pst_redis_url_parse("unix:///a/b", &u, NULL), PST_OK);
    assert_true(u.local);
    assert_string_equal(u.path, "/a/b");
    assert_int_equal(pst_redis_url_parse("redis://host", &u, NULL), PST_OK);
    assert_string_equal(u.host, "host");
    assert_string_equal(u.port, "6379");
    assert_int_equal(pst_redis_url_parse("redis://us%65r:p%40%3a@[::1]:1234/15", &u, NULL), PST_OK);
    assert_string_equal(u.user, "user");
    assert_string_equal(u.pass, "p@:");
    assert_string_equal(u.host, "::1");
    assert_string_equal(u.port, "1234");
    assert_int_equal(u.db, 15);
    assert_int_equal(pst_redis_url_parse("redis://:secret@h/", &u, NULL), PST_OK);
    assert_string_equal(u.user, "");
    assert_string_equal(u.pass, "secret");
    static const char *const bad[] = {"",           "redis://",      "redis://:1",       "redis://h:0",  "redis://h:65536",
                                      "redis://h:", "redis://h/x",   "redis://a@h",      "redis://:%4@h", "redis://:%00@h",
                                      "unix://",    "unix://a",      "rediss://h",       "redis://[::1",  "http://h",
                                      "redis://:%zz@h", "redis://h:1/70000"};
    for (unsigned i = 0; i < PST_COUNT(bad); i++) {
        pst_errbuf_t eb = {""};
        assert_int_equal(pst_redis_url_parse(bad[i], &u, &eb), PST_E_CONFIG);
        assert_non_null(strstr(eb.text, "redis.url"));
    }
    pst_errbuf_t eb = {""};
    assert_int_equal(pst_redis_url_parse("redis://u:verysecret@h:port", &u, &eb), PST_E_CONFIG);
    assert_null(strstr(eb.text, "verysecret"));
}

static void assert_key(const pst_redis_key_t *k, const char *text)
{
    assert_int_equal(k->n, strlen(text));
    assert_memory_equal(k->p, text, k->n);
}

static void keys_share_a_tag(void **state)
{
    (void)state;
    uint8_t random[10] = {0};
    pst_id_t id = pst_id_make(0, random);
    pst_redis_key_t k;
    pst_key_batch(&k, &id);
    assert_key(&k, "pst:{batch_00000000000000000000000000}");
    pst_key_segment(&k, &id, 12, PST_SEG_META);
    assert_key(&k, "pst:{batch_00000000000000000000000000.12}:meta");
    pst_key_pack(&k, &id, 12, PST_PACK_BODIES, UINT32_MAX);
    assert_key(&k, "pst:{batch_00000000000000000000000000.12}:b:4294967295");
    pst_key_limit(&k, PST_VIEW_LIT("openai/gpt"));
    assert_key(&k, "pst:{lim:openai/gpt}");
    char longest[2000];
    memset(longest, 'x', sizeof longest);
    pst_key_limit(&k, pst_view(longest, sizeof longest));
    assert_int_equal(k.n, sizeof k.p);
    pst_key_idem(&k, pst_view(longest, 256));
    assert_int_equal(k.n, strlen("pst:{idem:}") + 32);
    pst_redis_key_t other;
    pst_key_idem(&other, PST_VIEW_LIT(""));
    assert_memory_not_equal(k.p, other.p, k.n);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(stats_round_trip), cmocka_unit_test(retries_round_trip), cmocka_unit_test(damage_is_survived),
    cmocka_unit_test(ends_round_trip),  cmocka_unit_test(entries_round_trip), cmocka_unit_test(urls_parse),
    cmocka_unit_test(keys_share_a_tag),
};

UNIT_MAIN(tests)
