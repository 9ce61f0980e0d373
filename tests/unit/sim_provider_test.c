/* The simulated provider's parts, without sockets and in virtual time. */
#include "unit.h"

#include "base/json.h"
#include "base/rng.h"
#include "body.h"
#include "fate.h"
#include "http.h"
#include "limit.h"
#include "track.h"

static void change(sim_settings_t *s, const char *name, const char *value)
{
    sim_change_t c;
    assert_int_equal(sim_change_read(pst_view_str(name), pst_view_str(value), &c), PST_OK);
    sim_change_apply(&c, s, true);
}

/* Requests granted to a client that tries every 10 ms for a minute. */
static unsigned granted_in_a_minute(const sim_settings_t *s)
{
    sim_limit_t l;
    sim_limit_init(&l);
    sim_grant_t g;
    unsigned n = 0;
    for (pst_ns_t now = 0; now < 60 * PST_SEC; now += 10 * PST_MS)
        n += sim_limit_take(&l, s, now, 1, &g);
    return n;
}

static void limit_keeps_its_rate(void **state)
{
    (void)state;
    static const char *const buckets[] = {"continuous", "second", "minute"};
    static const unsigned rates[] = {1, 30, 60, 600, 6000};
    for (size_t b = 0; b < PST_COUNT(buckets); b++) {
        for (size_t r = 0; r < PST_COUNT(rates); r++) {
            sim_settings_t s;
            sim_settings_init(&s);
            char rpm[16];
            snprintf(rpm, sizeof rpm, "%u", rates[r]);
            change(&s, "rpm", rpm);
            change(&s, "bucket", buckets[b]);
            unsigned n = granted_in_a_minute(&s);
            /* A continuous bucket begins full: a second's worth more. */
            unsigned most = rates[r] + (b == 0 ? PST_MAX(1u, rates[r] / 60) : 0);
            assert_in_range(n, PST_MIN(rates[r], 5940u), most);
        }
    }
}

static void limit_says_when(void **state)
{
    (void)state;
    static const char *const buckets[] = {"continuous", "second", "minute"};
    for (size_t b = 0; b < PST_COUNT(buckets); b++) {
        sim_settings_t s;
        sim_settings_init(&s);
        change(&s, "rpm", "90");
        change(&s, "tpm", "5000");
        change(&s, "bucket", buckets[b]);
        sim_limit_t l;
        sim_limit_init(&l);
        pst_rng_t rng;
        pst_rng_seed(&rng, 7);
        pst_ns_t now = 0;
        for (unsigned i = 0; i < 2000; i++) {
            sim_grant_t g, again;
            double cost = (double)pst_rng_below(&rng, 200); /* some larger than a second's worth */
            if (sim_limit_take(&l, &s, now, cost, &g)) {
                now += pst_rng_below(&rng, PST_SEC);
                continue;
            }
            assert_true(g.wait > 0);
            assert_false(g.wait > 2 && sim_limit_take(&l, &s, now + g.wait - 2, cost, &again));
            now += g.wait;
            assert_true(sim_limit_take(&l, &s, now, cost, &again));
        }
    }
}

static void marks_follow_one_another(void **state)
{
    (void)state;
    sim_settings_t s;
    sim_settings_init(&s);
    sim_marks_t m;
    sim_marks_find(
        PST_VIEW_LIT("a [[500x2]] [[nonsense]] [[cut x]][[429x1]][[slow:40]] [[tool]][[["), &m);
    assert_int_equal(m.n, 2);
    assert_true(m.counted && m.tool && m.slow);
    static const sim_trouble_t want[] = {SIM_SERVER, SIM_SERVER, SIM_RATE, SIM_OK, SIM_OK};
    for (uint32_t nth = 1; nth <= PST_COUNT(want); nth++) {
        sim_fate_t f;
        sim_fate_decide(&s, &m, nth, nth, &f);
        assert_int_equal(f.trouble, want[nth - 1]);
        assert_true(f.delay_ms == 40);
    }
    sim_marks_find(PST_VIEW_LIT("[[[hang]] [[500x0]] [[500x]] [[500x99999999999]] [[ [["), &m);
    assert_int_equal(m.n, 0);
    sim_marks_find((pst_view_t){0}, &m);
    assert_int_equal(m.n, 0);
}

static const char *const requests[] = {
    "POST /v1/x?a=b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nA: 1\r\n\r\nhello",
    "POST /v1/x?a=b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    "2;x=y\r\nhe\r\n003\r\nllo\r\n0\r\nT: t\r\n\r\n",
};

/* However the bytes are cut, and wherever the buffer lies each time, the same request comes out. */
static void http_reads_any_split(void **state)
{
    (void)state;
    sim_http_req_t req;
    for (size_t r = 0; r < PST_COUNT(requests); r++) {
        size_t n = strlen(requests[r]);
        for (size_t step = 1; step <= n; step++) {
            sim_http_t h = {0};
            char *buf = NULL;
            size_t have = 0;
            int status;
            sim_http_result_t got = SIM_HTTP_MORE;
            while (got == SIM_HTTP_MORE) {
                size_t take = PST_MIN(step, n - have);
                assert_true(take > 0);
                char *moved = malloc(have + take);
                if (have)
                    memcpy(moved, buf, have);
                memcpy(moved + have, requests[r] + have, take);
                free(buf);
                buf = moved;
                have += take;
                got = sim_http_read(&h, buf, have, &req, &status);
            }
            assert_int_equal(got, SIM_HTTP_READY);
            assert_int_equal(h.at, n);
            assert_true(pst_view_eqs(req.path, "/v1/x") && pst_view_eqs(req.query, "a=b"));
            assert_true(pst_view_eqs(req.body, "hello"));
            assert_true(pst_view_eqs(sim_http_header(&req, "HOST"), "h"));
            free(buf);
        }
    }
}

/* Damaged requests: any answer but a crash or a body that is not within the buffer. */
static void http_survives_damage(void **state)
{
    (void)state;
    sim_http_req_t req;
    pst_rng_t rng;
    pst_rng_seed(&rng, 11);
    for (unsigned i = 0; i < 20000; i++) {
        const char *from = requests[pst_rng_below(&rng, PST_COUNT(requests))];
        size_t n = strlen(from);
        char *buf = malloc(n);
        memcpy(buf, from, n);
        for (uint64_t k = pst_rng_below(&rng, 4); k > 0; k--)
            buf[pst_rng_below(&rng, n)] = (char)pst_rng_next(&rng);
        sim_http_t h = {0};
        int status;
        for (size_t have = 1; have <= n; have += 1 + pst_rng_below(&rng, 40)) {
            sim_http_result_t got = sim_http_read(&h, buf, have, &req, &status);
            if (got == SIM_HTTP_READY)
                assert_true(h.at <= have && h.head_n + req.body.n <= have);
            if (got != SIM_HTTP_MORE)
                break;
        }
        free(buf);
    }
}

static bool is_json(pst_view_t text)
{
    sim_js_t j;
    sim_js_init(&j, text);
    return sim_js_skip(&j, NULL) && sim_js_end(&j);
}

/* Two readers written apart must agree on what JSON is. */
static void json_readers_agree(void **state)
{
    (void)state;
    static const char *const seeds[] = {
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"h\\u00e9llo \\\"w\\\" "
        "\xc3\xa9\"}]}",
        "[1,-0,1.5e+7,0.1,true,false,null,[],{},\"\\ud83d\\ude00\\/\",\"\xf0\x9f\x98\x80 long "
        "enough text\"]",
        " { \"a\" : [ [ [ { } ] ] , 12345678901234567890 ] , \"a\" : -1E-2 } ",
    };
    pst_rng_t rng;
    pst_rng_seed(&rng, 5);
    pst_json_t j;
    pst_json_init(&j);
    unsigned good = 0;
    for (unsigned i = 0; i < 100000; i++) {
        const char *from = seeds[pst_rng_below(&rng, PST_COUNT(seeds))];
        size_t n = strlen(from);
        char *buf = malloc(n);
        memcpy(buf, from, n);
        static const char alphabet[] = "{}[]\",:\\u0129.eE+-tfn \n\x01\x80\xc3\xed\xf4";
        for (uint64_t k = pst_rng_below(&rng, 3); k > 0; k--)
            buf[pst_rng_below(&rng, n)] = alphabet[pst_rng_below(&rng, sizeof alphabet)];
        size_t keep = pst_rng_below(&rng, 8) ? n : pst_rng_below(&rng, n + 1);
        pst_view_t text = pst_view(buf, keep);
        bool ours = is_json(text), theirs = pst_json_parse(&j, text, NULL) == PST_OK;
        if (ours != theirs)
            print_error("differ (%d here, %d there): %.*s\n", ours, theirs, (int)keep, buf);
        assert_int_equal(ours, theirs);
        good += ours;
        free(buf);
    }
    assert_in_range(good, 10000, 99000);
    pst_json_release(&j);
}

static void body_survives_damage(void **state)
{
    (void)state;
    static const char body[] =
        "{\"model\":\"m\\n\",\"max_tokens\":10,\"tools\":[{}],\"input\":[\"a\",[1,2]],"
        "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"\\u0041\"}]}]"
        "}";
    pst_rng_t rng;
    pst_rng_seed(&rng, 3);
    pst_buf_t scratch;
    pst_buf_init(&scratch, 0);
    sim_body_t b;
    assert_true(sim_body_read(SIM_CHAT, pst_view_str(body), &scratch, &b));
    assert_true(pst_view_eqs(b.text, "A") && pst_view_eqs(b.text_raw, "\\u0041") &&
                pst_view_eqs(b.model, "m\n"));
    assert_true(b.tools && b.has_max_tokens && b.max_tokens == 10);
    for (unsigned i = 0; i < 20000; i++) {
        char *copy = malloc(sizeof body - 1);
        memcpy(copy, body, sizeof body - 1);
        copy[pst_rng_below(&rng, sizeof body - 1)] = "{}[]\",:\\ 1"[pst_rng_below(&rng, 10)];
        size_t n = i % 4 ? sizeof body - 1 : pst_rng_below(&rng, sizeof body);
        pst_view_t text = pst_view(copy, n);
        bool read = sim_body_read((sim_api_t)(i % (SIM_CONVERSE + 1)), text, &scratch, &b);
        assert_int_equal(read, is_json(text) && n && memchr("{ ", copy[0], 2));
        free(copy);
    }
    pst_buf_release(&scratch);
}

static void track_counts(void **state)
{
    (void)state;
    enum { TEXTS = 200000 };
    sim_track_t *t = sim_track_new();
    char text[32];
    for (unsigned round = 1; round <= 2; round++) {
        for (unsigned i = 0; i < TEXTS; i += round == 1 ? 1 : 1000) {
            pst_view_t v = pst_view(text, (size_t)snprintf(text, sizeof text, "prompt %u", i));
            uint64_t h = sim_hash(v);
            assert_int_equal(sim_track_try(t, h), round);
            sim_track_accept(t, h, v);
            sim_track_answer(t, h);
        }
    }
    sim_track_sums_t s = sim_track_sums(t);
    assert_int_equal(s.unique_texts, TEXTS);
    assert_int_equal(s.repeated_texts, TEXTS / 1000);
    assert_int_equal(s.calls_of_repeated, 2 * TEXTS / 1000);
    assert_int_equal(s.answered_again, TEXTS / 1000);
    sim_track_reset(t);
    assert_int_equal(sim_track_sums(t).unique_texts, 0);
    assert_int_equal(sim_track_try(t, sim_hash(PST_VIEW_LIT("prompt 0"))), 1);
    sim_track_destroy(&t);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(limit_keeps_its_rate),     cmocka_unit_test(limit_says_when),
    cmocka_unit_test(marks_follow_one_another), cmocka_unit_test(http_reads_any_split),
    cmocka_unit_test(http_survives_damage),     cmocka_unit_test(json_readers_agree),
    cmocka_unit_test(body_survives_damage),     cmocka_unit_test(track_counts),
};
UNIT_MAIN(tests)
