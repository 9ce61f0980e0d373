/* adapter_limits_test.c - what headers say of limits, as providers send them. */
#include "unit.h"

#include "providers/limits.h"

/* 2026-11-22T15:04:05Z */
#define NOW UINT64_C(1795359845000)
#define NOT_SAID UINT64_MAX

#define HEADERS_MAX 16

typedef struct headers {
    const char *h[HEADERS_MAX][2];
} headers_t;

typedef struct said {
    headers_t headers;
    pst_rate_report_t expect[PST_RATE_COUNT];
    unsigned n;
} said_t;

static pst_reading_t read_headers(const headers_t *x, pst_arena_t *a)
{
    pst_http_header_t h[HEADERS_MAX];
    pst_http_answer_t answer = {.status = 200, .header = h, .wall_ms = NOW};
    pst_reading_t r = {.verdict = PST_VERDICT_DONE};
    for (; answer.headers < HEADERS_MAX && x->h[answer.headers][0]; answer.headers++) {
        h[answer.headers].name = pst_view_str(x->h[answer.headers][0]);
        h[answer.headers].value = pst_view_str(x->h[answer.headers][1]);
    }
    pst_limits_read(&answer, a, &r);
    return r;
}

static const pst_rate_report_t *of_rate(const pst_reading_t *r, pst_rate_t rate)
{
    for (unsigned i = 0; i < r->limits_n; i++)
        if (r->limits[i].rate == rate)
            return &r->limits[i];
    fail_msg("nothing said of rate %d", (int)rate);
    return NULL;
}

static void assert_said(const said_t *s)
{
    pst_arena_t a;
    pst_arena_init(&a, 0);
    pst_reading_t r = read_headers(&s->headers, &a);
    assert_int_equal(r.limits_n, s->n);
    for (unsigned i = 0; i < s->n; i++) {
        const pst_rate_report_t *got = of_rate(&r, s->expect[i].rate);
        assert_int_equal(got->limit, s->expect[i].limit);
        assert_int_equal(got->remaining, s->expect[i].remaining);
        assert_int_equal(got->reset_ms, s->expect[i].reset_ms);
    }
    pst_arena_release(&a);
}

static void openai_and_its_projects(void **state)
{
    (void)state;
    assert_said(&(said_t){
        {{{"date", "Sun, 22 Nov 2026 15:04:05 GMT"},
          {"content-type", "application/json"},
          {"openai-processing-ms", "840"},
          {"x-ratelimit-limit-requests", "5000"},
          {"x-ratelimit-limit-tokens", "160000"},
          {"x-ratelimit-limit-tokens_usage_based", "160000"},
          {"x-ratelimit-remaining-requests", "4999"},
          {"x-ratelimit-remaining-tokens", "159976"},
          {"x-ratelimit-remaining-tokens_usage_based", "159976"},
          {"x-ratelimit-reset-requests", "12ms"},
          {"x-ratelimit-reset-tokens", "9ms"},
          {"x-request-id", "req_1"}}},
        {{PST_RATE_REQUESTS, 5000, 4999, 12}, {PST_RATE_TOKENS, 160000, 159976, 9}}, 2});
    /* The project may have less than the model. */
    assert_said(&(said_t){{{{"x-ratelimit-limit-tokens", "150000000"},
                            {"x-ratelimit-remaining-tokens", "149999000"},
                            {"x-ratelimit-reset-tokens", "0s"},
                            {"x-ratelimit-limit-project-tokens", "1000000"},
                            {"x-ratelimit-remaining-project-tokens", "900000"},
                            {"x-ratelimit-reset-project-tokens", "6s"}}},
                          {{PST_RATE_TOKENS, 1000000, 900000, 6000}}, 1});
    /* And the same may be said in two ways, each with something that the other does not say. */
    assert_said(&(said_t){{{{"x-ratelimit-limit-tokens", "1000"},
                            {"x-ratelimit-remaining-tokens", "800"},
                            {"x-ratelimit-limit-project-tokens", "1000"},
                            {"x-ratelimit-reset-project-tokens", "30s"}}},
                          {{PST_RATE_TOKENS, 1000, 800, 30000}}, 1});
}

static void azure_does_not_know_everything(void **state)
{
    (void)state;
    assert_said(&(said_t){{{{"x-ratelimit-limit-requests", "120"},
                            {"x-ratelimit-remaining-requests", "119"},
                            {"x-ratelimit-reset-requests", "10"},
                            {"x-ratelimit-limit-tokens", "120000"},
                            {"x-ratelimit-remaining-tokens", "-1"}}},
                          {{PST_RATE_REQUESTS, 120, 119, 10000}, {PST_RATE_TOKENS, 120000, NOT_SAID, 0}}, 2});
    assert_said(&(said_t){{{{"x-ratelimit-limit-requests", "-1"},
                            {"x-ratelimit-remaining-requests", "-1"},
                            {"x-ratelimit-reset-requests", "0"}}},
                          {{0}}, 0});
}

static void groq_means_the_day(void **state)
{
    (void)state;
    assert_said(&(said_t){{{{"x-ratelimit-limit-requests", "14400"},
                            {"x-ratelimit-limit-tokens", "18000"},
                            {"x-ratelimit-remaining-requests", "14370"},
                            {"x-ratelimit-remaining-tokens", "17997"},
                            {"x-ratelimit-reset-requests", "2m59.56s"},
                            {"x-ratelimit-reset-tokens", "10ms"}}},
                          {{PST_RATE_DAILY, 14400, 14370, 179560}, {PST_RATE_TOKENS, 18000, 17997, 10}}, 2});
    assert_said(&(said_t){{{{"x-ratelimit-limit-requests", "1000"},
                            {"x-ratelimit-remaining-requests", "942"},
                            {"x-ratelimit-reset-requests", "1h23m31s"}}},
                          {{PST_RATE_DAILY, 1000, 942, 5011000}}, 1});
    assert_said(&(said_t){{{{"x-ratelimit-limit-requests", "1000"},
                            {"x-ratelimit-remaining-requests", "0"},
                            {"x-ratelimit-reset-requests", "23h58m30s"}}},
                          {{PST_RATE_DAILY, 1000, 0, 86310000}}, 1});
}

/* The span of what is only called "requests": 0 none is believed. */
static void a_minute_is_told_from_a_day(void **state)
{
    (void)state;
    static const struct {
        const char *limit, *remaining, *reset;
        int minute, day;
    } cases[] = {
        {"10000", "9999", "6ms", 1, 0},    /* OpenAI: refills by the minute */
        {"200", "199", "7m12s", 0, 1},     /* OpenAI, of a model with a limit a day */
        {"500", "0", "60s", 1, 0},         /* all of a minute used */
        {"60", "59", "1m0s", 1, 0},        /* a window of a minute, just begun */
        {"1000", "400", "31", 1, 0},       /* a window of a minute */
        {"600", "9", "100ms", 1, 0},       /* a bucket that holds less than it passes in a minute */
        {"20", "20", "0s", 1, 0},          /* nothing used */
        {"720", NULL, NULL, 1, 0},         /* nothing more said */
        {"720", "717", NULL, 1, 0},
        {"14400", "14399", "6s", 0, 0},    /* Groq's first call: it could be a minute's window */
        {"2000", "1841", "4h51m22s", 0, 0}, /* a window of five hours */
        {"500", "342", "1m23s", 0, 0},     /* longer than a minute, and not a day */
        {"100", NULL, "1h", 0, 0},
        {"100", "100", "1h", 0, 0},
    };
    for (size_t i = 0; i < PST_COUNT(cases); i++) {
        headers_t h = {{{"x-ratelimit-limit-requests", cases[i].limit}}};
        unsigned n = 1;
        if (cases[i].remaining) {
            h.h[n][0] = "x-ratelimit-remaining-requests";
            h.h[n++][1] = cases[i].remaining;
        }
        if (cases[i].reset) {
            h.h[n][0] = "x-ratelimit-reset-requests";
            h.h[n++][1] = cases[i].reset;
        }
        pst_arena_t a;
        pst_arena_init(&a, 0);
        pst_reading_t r = read_headers(&h, &a);
        bool minute = r.limits_n && r.limits[0].rate == PST_RATE_REQUESTS;
        bool day = r.limits_n && r.limits[0].rate == PST_RATE_DAILY;
        if (minute != cases[i].minute || day != cases[i].day)
            fail_msg("%s of %s, reset %s: minute %d, day %d", cases[i].remaining, cases[i].limit, cases[i].reset,
                     minute, day);
        pst_arena_release(&a);
    }
}

/* No rate of ours is tokens a day. */
static void tokens_of_a_day_are_left_out(void **state)
{
    (void)state;
    assert_said(&(said_t){{{{"x-ratelimit-limit-tokens", "1000000"},
                            {"x-ratelimit-remaining-tokens", "900000"},
                            {"x-ratelimit-reset-tokens", "2h24m"}}},
                          {{0}}, 0});
}

static void anthropic_says_when(void **state)
{
    (void)state;
    assert_said(&(said_t){{{{"anthropic-ratelimit-requests-limit", "4000"},
                            {"anthropic-ratelimit-requests-remaining", "3999"},
                            {"anthropic-ratelimit-requests-reset", "2026-11-22T15:04:06Z"},
                            {"anthropic-ratelimit-input-tokens-limit", "400000"},
                            {"anthropic-ratelimit-input-tokens-remaining", "398000"},
                            {"anthropic-ratelimit-input-tokens-reset", "2026-11-22T15:04:05Z"},
                            {"anthropic-ratelimit-output-tokens-limit", "80000"},
                            {"anthropic-ratelimit-output-tokens-remaining", "80000"},
                            {"anthropic-ratelimit-tokens-limit", "480000"},
                            {"anthropic-ratelimit-tokens-remaining", "478000"},
                            {"anthropic-priority-input-tokens-limit", "7"},
                            {"anthropic-ratelimit-unified-status", "allowed"}}},
                          {{PST_RATE_REQUESTS, 4000, 3999, 1000},
                           {PST_RATE_INPUT, 400000, 398000, 0},
                           {PST_RATE_OUTPUT, 80000, 80000, 0},
                           {PST_RATE_TOKENS, 480000, 478000, 0}}, 4});
}

static void mistral_now_and_before(void **state)
{
    (void)state;
    assert_said(&(said_t){{{{"x-ratelimit-limit-tokens-minute", "5000000"},
                            {"x-ratelimit-remaining-tokens-minute", "4999911"},
                            {"x-ratelimit-tokens-query-cost", "52"},
                            {"x-ratelimit-limit-req-minute", "720"},
                            {"x-ratelimit-remaining-req-minute", "717"}}},
                          {{PST_RATE_REQUESTS, 720, 717, 0}, {PST_RATE_TOKENS, 5000000, 4999911, 0}}, 2});
    assert_said(&(said_t){{{{"x-ratelimitbysize-limit-minute", "500000"},
                            {"x-ratelimitbysize-remaining-minute", "499900"},
                            {"x-ratelimitbysize-limit-month", "1000000000"},
                            {"x-ratelimitbysize-remaining-month", "999999900"},
                            {"ratelimitbysize-limit", "500000"},
                            {"ratelimitbysize-remaining", "499900"},
                            {"ratelimitbysize-reset", "25"},
                            {"ratelimitbysize-query-cost", "100"}}},
                          {{PST_RATE_TOKENS, 500000, 499900, 25000}}, 1});
}

static void cerebras_names_its_spans(void **state)
{
    (void)state;
    assert_said(&(said_t){{{{"x-ratelimit-limit-requests-day", "14400"},
                            {"x-ratelimit-remaining-requests-day", "14399"},
                            {"x-ratelimit-reset-requests-day", "33011.382867"},
                            {"x-ratelimit-limit-tokens-minute", "60000"},
                            {"x-ratelimit-remaining-tokens-minute", "59950"},
                            {"x-ratelimit-reset-tokens-minute", "11.38"},
                            {"x-ratelimit-limit-tokens-day", "1000000"},
                            {"x-ratelimit-limit-requests-hour", "900"}}},
                          {{PST_RATE_DAILY, 14400, 14399, 33011383}, {PST_RATE_TOKENS, 60000, 59950, 11380}}, 2});
}

static void seconds_become_minutes(void **state)
{
    (void)state;
    /* Together. */
    assert_said(&(said_t){{{{"x-ratelimit-limit", "10"},
                            {"x-ratelimit-remaining", "9"},
                            {"x-ratelimit-reset", "1"},
                            {"x-tokenlimit-limit", "30000"},
                            {"x-tokenlimit-remaining", "29000"}}},
                          {{PST_RATE_REQUESTS, 600, 540, 1000}, {PST_RATE_TOKENS, 1800000, 1740000, 0}}, 2});
    assert_said(&(said_t){{{{"x-ratelimit-limit", "100"},
                            {"x-ratelimit-limit-dynamic", "4"},
                            {"x-ratelimit-remaining-dynamic", "3"},
                            {"x-tokenlimit-limit-dynamic", "2000"}}},
                          {{PST_RATE_REQUESTS, 240, 180, 0}, {PST_RATE_TOKENS, 120000, NOT_SAID, 0}}, 2});
    /* Fireworks. */
    assert_said(&(said_t){{{{"x-ratelimit-limit-requests", "6000"},
                            {"x-ratelimit-remaining-requests", "5999"},
                            {"x-ratelimit-limit-tokens-prompt", "60000"},
                            {"x-ratelimit-remaining-tokens-prompt", "59000"},
                            {"x-ratelimit-limit-tokens-cache-adjusted-prompt", "15000"},
                            {"x-ratelimit-limit-tokens-generated", "600"},
                            {"x-ratelimit-remaining-tokens-generated", "600"},
                            {"fireworks-prompt-tokens", "1000"}}},
                          {{PST_RATE_REQUESTS, 6000, 5999, 0},
                           {PST_RATE_INPUT, 3600000, 3540000, 0},
                           {PST_RATE_OUTPUT, 36000, 36000, 0}}, 3});
}

/* OpenRouter's, Cohere's, a gateway's: windows of their own. */
static void a_bare_limit_of_others_is_not_believed(void **state)
{
    (void)state;
    assert_said(&(said_t){{{{"x-ratelimit-limit", "20"},
                            {"x-ratelimit-remaining", "0"},
                            {"x-ratelimit-reset", "1795359900000"}}},
                          {{0}}, 0});
}

static void what_is_no_number_is_not_said(void **state)
{
    (void)state;
    static const char *const odd[] = {
        "", "-1", "unlimited", "0", "0.0", "1e6", "60, 60;w=60", "+60", " ", "1234567890123456", ".5", "0x10",
    };
    for (size_t i = 0; i < PST_COUNT(odd); i++)
        assert_said(&(said_t){{{{"x-ratelimit-limit-requests", odd[i]}}}, {{0}}, 0});
    assert_said(&(said_t){{{{"x-ratelimit-limit-requests", " 60.0 "},
                            {"x-ratelimit-remaining-requests", "soon"},
                            {"x-ratelimit-reset-requests", "never"}}},
                          {{PST_RATE_REQUESTS, 60, NOT_SAID, 0}}, 1});
    assert_said(&(said_t){{{{"x-ratelimit-limit-requests", "999999999999999"},
                            {"x-ratelimit-remaining-requests", "5"},
                            {"x-ratelimit-reset-requests", "1ms"}}},
                          {{PST_RATE_REQUESTS, 999999999999999, 5, 1}}, 1});
}

static void names_are_whole(void **state)
{
    (void)state;
    static const char *const names[] = {
        "x-ratelimit-", "x-ratelimit-limit-", "x-ratelimit-limitrequests", "x-ratelimit-limits-requests",
        "x-ratelimit", "x-ratelimit-requests", "anthropic-ratelimit-limit", "anthropic-ratelimit-requestslimit",
        "anthropic-ratelimit--limit", "ratelimit-limit", "x-ratelimit-limit-requests-", "",
    };
    for (size_t i = 0; i < PST_COUNT(names); i++)
        assert_said(&(said_t){{{{names[i], "60"}, {"x-tokenlimit-remaining", "1"}}}, {{0}}, 0});
}

static void without_memory_nothing_is_said(void **state)
{
    (void)state;
    pst_arena_t a;
    pst_arena_init(&a, 1);
    headers_t h = {{{"x-ratelimit-limit-requests", "60"}}};
    assert_int_equal(read_headers(&h, &a).limits_n, 0);
    pst_arena_release(&a);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(openai_and_its_projects),
    cmocka_unit_test(azure_does_not_know_everything),
    cmocka_unit_test(groq_means_the_day),
    cmocka_unit_test(a_minute_is_told_from_a_day),
    cmocka_unit_test(tokens_of_a_day_are_left_out),
    cmocka_unit_test(anthropic_says_when),
    cmocka_unit_test(mistral_now_and_before),
    cmocka_unit_test(cerebras_names_its_spans),
    cmocka_unit_test(seconds_become_minutes),
    cmocka_unit_test(a_bare_limit_of_others_is_not_believed),
    cmocka_unit_test(what_is_no_number_is_not_said),
    cmocka_unit_test(names_are_whole),
    cmocka_unit_test(without_memory_nothing_is_said),
};
UNIT_MAIN(tests)
