/* The last hour of the cluster: differences, holes, brokers that begin anew, and what is forgotten. */
#include "unit.h"

#include "base/json.h"
#include "gateway/history.h"
#include "penstock/limits.h"

typedef struct shown {
    pst_buf_t text;
    pst_json_t j;
} shown_t;

static pst_history_t *history(void)
{
    pst_history_t *h = pst_history_new();
    assert_non_null(h);
    return h;
}

static pst_top_t top(uint64_t uptime_s, pst_top_endpoint_t *e, size_t n)
{
    static const pst_top_provider_t p = {.name = "p", .in_flight = 7};
    return (pst_top_t){.uptime_ms = uptime_s * 1000, .endpoints = e, .endpoints_n = n, .providers = &p, .providers_n = 1};
}

static void step(pst_history_t *h, uint64_t uptime_s, uint64_t calls)
{
    pst_top_endpoint_t e = {.provider = "p", .model = "m", .calls = calls, .completed = calls, .input_tokens = calls * 10,
                            .output_tokens = calls, .p50_ms = calls ? 40 : 0, .in_flight = 3};
    pst_top_t t = top(uptime_s, &e, 1);
    pst_history_step(h, uptime_s, &t);
}

static void show(const pst_history_t *h, shown_t *s)
{
    pst_buf_init(&s->text, 0);
    pst_json_init(&s->j);
    pst_history_put_json(h, &s->text);
    assert_int_equal(pst_json_parse(&s->j, pst_buf_view(&s->text), NULL), PST_OK);
}

static void hide(shown_t *s)
{
    pst_json_release(&s->j);
    pst_buf_release(&s->text);
}

/* The series of the i-th of a list, as text. */
static void assert_series(const pst_history_t *h, const char *list, uint32_t i, const char *name, const char *expected)
{
    shown_t s;
    show(h, &s);
    uint32_t at = pst_json_first(&s.j, pst_json_get(&s.j, 0, list));
    for (; i; i--)
        at = pst_json_after(&s.j, pst_json_get(&s.j, 0, list), at);
    pst_view_t raw = pst_json_raw(&s.j, pst_json_get(&s.j, at, name));
    assert_int_equal(raw.n, strlen(expected));
    assert_memory_equal(raw.p, expected, raw.n);
    hide(&s);
}

static void assert_calls(const pst_history_t *h, const char *expected)
{
    assert_series(h, "endpoints", 0, "calls", expected);
}

static void steps_are_differences(void **state)
{
    (void)state;
    pst_history_t *h = history();
    step(h, 100, 50);
    step(h, 110, 62);
    step(h, 120, 62);
    assert_calls(h, "[null,12,0]");
    assert_series(h, "endpoints", 0, "tokens", "[null,132,0]");
    assert_series(h, "endpoints", 0, "failed", "[null,0,0]");
    assert_series(h, "endpoints", 0, "p50_ms", "[40,40,40]");
    assert_series(h, "endpoints", 0, "in_flight", "[3,3,3]");
    assert_series(h, "providers", 0, "calls", "[null,12,0]");
    assert_series(h, "providers", 0, "in_flight", "[7,7,7]");
    shown_t s;
    int64_t end;
    show(h, &s);
    assert_true(pst_json_int(&s.j, pst_json_get(&s.j, 0, "end"), &end));
    assert_int_equal(end, 120);
    hide(&s);
    pst_history_destroy(&h);
}

static void a_step_that_nobody_knows_is_a_hole(void **state)
{
    (void)state;
    pst_history_t *h = history();
    step(h, 100, 50);
    pst_history_step(h, 110, NULL);
    step(h, 120, 90);
    step(h, 130, 91);
    assert_calls(h, "[null,null,null,1]");
    assert_series(h, "endpoints", 0, "in_flight", "[3,null,3,3]");
    pst_history_destroy(&h);
}

static void a_broker_that_begins_anew_counts_from_nothing(void **state)
{
    (void)state;
    pst_history_t *h = history();
    step(h, 100, 50);
    step(h, 5, 60); /* more than before, by itself */
    step(h, 15, 61);
    assert_calls(h, "[null,60,1]");
    step(h, 25, 4); /* fewer, though its clock went on */
    assert_calls(h, "[null,60,1,4]");
    pst_history_destroy(&h);
}

static void who_comes_later_began_then(void **state)
{
    (void)state;
    pst_history_t *h = history();
    pst_top_endpoint_t e[] = {{.provider = "p", .model = "m", .calls = 9}, {.provider = "p", .model = "n", .calls = 4}};
    pst_top_t one = top(100, e, 1), both = top(110, e, 2);
    pst_history_step(h, 100, &one);
    pst_history_step(h, 110, &both);
    assert_series(h, "endpoints", 1, "calls", "[null,4]");
    assert_series(h, "endpoints", 1, "p50_ms", "[null,null]");
    assert_series(h, "providers", 0, "calls", "[null,4]");
    pst_history_destroy(&h);
}

static uint32_t count(const pst_history_t *h, const char *list)
{
    shown_t s;
    show(h, &s);
    uint32_t n = s.j.tok[pst_json_get(&s.j, 0, list)].count;
    hide(&s);
    return n;
}

static void an_hour_is_kept_and_no_more(void **state)
{
    (void)state;
    pst_history_t *h = history();
    step(h, 1, 0);
    for (uint32_t i = 1; i <= PST_HISTORY_STEPS + 5; i++)
        step(h, 1 + i, i * 2);
    shown_t s;
    show(h, &s);
    uint32_t calls = pst_json_get(&s.j, pst_json_first(&s.j, pst_json_get(&s.j, 0, "endpoints")), "calls");
    assert_int_equal(s.j.tok[calls].count, PST_HISTORY_STEPS);
    for (uint32_t t = pst_json_first(&s.j, calls); t != PST_JSON_NONE; t = pst_json_after(&s.j, calls, t))
        assert_memory_equal(pst_json_raw(&s.j, t).p, "2", 1);
    hide(&s);
    pst_top_t empty = top(1000, NULL, 0);
    for (uint32_t i = 0; i < PST_HISTORY_STEPS; i++)
        pst_history_step(h, 1000, &empty);
    assert_int_equal(count(h, "endpoints"), 1);
    pst_history_step(h, 1000, &empty);
    assert_int_equal(count(h, "endpoints"), 0);
    assert_int_equal(count(h, "providers"), 1);
    pst_history_destroy(&h);
}

/* More than there is room for: those that are there stay, those that left make room. */
static void endpoints_are_bounded(void **state)
{
    (void)state;
    enum { MOST = PST_CLUSTER_ENDPOINTS_MAX };
    pst_history_t *h = history();
    static char names[2 * MOST][8];
    static pst_top_endpoint_t e[2 * MOST];
    for (uint32_t i = 0; i < 2 * MOST; i++) {
        snprintf(names[i], sizeof names[i], "%u", i);
        e[i] = (pst_top_endpoint_t){.provider = "p", .model = names[i], .calls = i};
    }
    pst_top_t first = top(10, e, MOST), all = top(20, e, MOST + 1), last = top(30, e + MOST, MOST);
    pst_history_step(h, 10, &first);
    pst_history_step(h, 20, &all);
    assert_int_equal(count(h, "endpoints"), MOST);
    assert_series(h, "endpoints", MOST - 1, "calls", "[null,0]");
    pst_history_step(h, 30, &first);
    pst_history_step(h, 40, &last);
    pst_history_step(h, 50, &last);
    assert_int_equal(count(h, "endpoints"), MOST);
    assert_series(h, "endpoints", 0, "in_flight", "[null,null,null,null,0]");
    pst_history_destroy(&h);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(steps_are_differences),
    cmocka_unit_test(a_step_that_nobody_knows_is_a_hole),
    cmocka_unit_test(a_broker_that_begins_anew_counts_from_nothing),
    cmocka_unit_test(who_comes_later_began_then),
    cmocka_unit_test(an_hour_is_kept_and_no_more),
    cmocka_unit_test(endpoints_are_bounded),
};
UNIT_MAIN(tests)
