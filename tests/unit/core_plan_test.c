/* core_plan_test.c - a batch with a window: cheaply while that is fast enough, dearly for exactly the rest.
 *
 * Two endpoints of model `m`, cheap/up at 1 USD and dear/up at 3, each ten calls a second by its limit.  A window of 100
 * seconds leaves 94 to plan with: a reserve of a hundredth, and five for calls of which nothing is known. */
#include "core_world.h"

#define LATENCY (200 * PST_MS)
#define WINDOW 100
#define RATE 600 /* calls a minute */
#define ALONE 900 /* jobs that one of them does in time */

static void configure_market(world_t *w, uint64_t cheap, uint64_t dear, uint32_t concurrency)
{
    pst_core_provider_t p[] = {
        {.name = PST_VIEW_LIT("cheap"), .urls = 1, .limit = {[PST_RATE_REQUESTS] = cheap}, .concurrency = concurrency},
        {.name = PST_VIEW_LIT("dear"), .urls = 1, .limit = {[PST_RATE_REQUESTS] = dear}, .concurrency = concurrency},
    };
    pst_core_endpoint_t e[] = {
        {.provider = 0, .model = PST_VIEW_LIT("up"), .price_input = 1, .price_output = 1},
        {.provider = 1, .model = PST_VIEW_LIT("up"), .price_input = 3, .price_output = 3},
    };
    pst_core_model_t m[] = {{PST_VIEW_LIT("m"), 0, 2}, {PST_VIEW_LIT("c"), 0, 1}};
    configure(w, &(pst_core_config_t){p, 2, e, 2, m, 2});
}

static world_t *market(void)
{
    world_t *w = world_new();
    configure_market(w, RATE, RATE, 0);
    hello(w, WORKER, 1000, NULL, 0);
    return w;
}

static void submit_in_time(world_t *w, wish_t x, uint32_t jobs)
{
    x.window_s = WINDOW;
    x.models[0] = x.models[0] ? x.models[0] : "m";
    x.packs = 10;
    x.jobs = jobs / x.packs;
    submit(w, x);
}

static void work(world_t *w, pst_ns_t time)
{
    answer_for(w, time, LATENCY, DONE);
}

static uint64_t calls(world_t *w, const char *provider)
{
    pst_cluster_t c;
    tick(w, 0);
    pst_core_cluster(w->core, w->wall_ms, &w->arena, &c);
    for (uint32_t i = 0; i < c.endpoints_n; i++)
        if (pst_view_eqs(c.endpoints[i].name.provider, provider))
            return c.endpoints[i].calls + c.endpoints[i].in_flight;
    fail_msg("no endpoint of %s", provider);
    return 0;
}

static void the_cheapest_is_alone_while_it_suffices(void **state)
{
    (void)state;
    world_t *w = market();
    submit_in_time(w, (wish_t){0}, ALONE);
    work(w, WINDOW * PST_SEC);
    assert_true(w->ended);
    assert_int_equal(w->summary.completed, ALONE);
    assert_int_equal(calls(w, "dear"), 0);
    world_free(w);
}

/* Without a window the wish is to be done soon: both serve, the dearer a ninth as often while both can. */
static void without_a_window_nothing_is_planned(void **state)
{
    (void)state;
    world_t *w = market();
    submit(w, (wish_t){.models = {"m"}, .jobs = ALONE / 10, .packs = 10});
    work(w, 5 * PST_SEC);
    assert_true(calls(w, "dear") >= 40);
    world_free(w);
}

/* 1,600 jobs, of which the cheap one does 940, or 985 once it is known how short calls are: the rest is spread evenly over the time. */
static void the_dearer_one_is_opened_for_the_rest(void **state)
{
    (void)state;
    world_t *w = market();
    submit_in_time(w, (wish_t){0}, 1600);
    work(w, 10 * PST_SEC);
    assert_in_range(calls(w, "cheap"), 95, 105);
    assert_in_range(calls(w, "dear"), 55, 80);
    work(w, (WINDOW - 10) * PST_SEC);
    assert_true(w->ended);
    assert_int_equal(w->summary.completed, 1600);
    assert_in_range(calls(w, "dear"), 600, 650);
    world_free(w);
}

static void it_is_closed_again_when_the_cheap_one_is_ahead(void **state)
{
    (void)state;
    world_t *w = market();
    submit_in_time(w, (wish_t){0}, 1600);
    work(w, 10 * PST_SEC);
    assert_true(calls(w, "dear") > 0);
    configure_market(w, 10 * RATE, RATE, 0);
    work(w, PST_SEC);
    uint64_t before = calls(w, "dear");
    work(w, 20 * PST_SEC);
    assert_true(w->ended);
    assert_int_equal(w->summary.completed, 1600);
    assert_int_equal(calls(w, "dear"), before);
    world_free(w);
}

static void a_cheap_one_that_rests_opens_the_next(void **state)
{
    (void)state;
    static const say_t no_credit = {.verdict = PST_VERDICT_PARK, .cause = PST_CAUSE_PAYMENT_REQUIRED, .status = 402,
                                    .whole = true, .wait_ms = 20000};
    world_t *w = market();
    submit_in_time(w, (wish_t){0}, 500);
    work(w, 5 * PST_SEC);
    assert_int_equal(calls(w, "dear"), 0);
    outcome(w, w->tasks_n - 1, no_credit);
    work(w, 10 * PST_SEC);
    assert_in_range(calls(w, "dear"), 90, 105);
    work(w, 12 * PST_SEC); /* it is back */
    uint64_t before = calls(w, "dear");
    work(w, 40 * PST_SEC);
    assert_int_equal(calls(w, "dear"), before);
    assert_int_equal(w->summary.completed, 500);
    world_free(w);
}

static void the_users_order_comes_before_price(void **state)
{
    (void)state;
    world_t *w = market();
    submit_in_time(w, (wish_t){.order = "dear"}, ALONE);
    work(w, WINDOW * PST_SEC);
    assert_int_equal(w->summary.completed, ALONE);
    assert_int_equal(calls(w, "cheap"), 0);
    world_free(w);
}

/* Half of the cheap one's calls have failed lately. */
static void uptime_comes_before_price(void **state)
{
    (void)state;
    world_t *w = market();
    submit(w, (wish_t){.models = {"c"}, .jobs = 20, .packs = 10});
    for (uint32_t i = 0; i < 130; i++) {
        pass(w, 200 * PST_MS);
        if (w->tasks_n > i)
            outcome(w, i, i % 2 ? SERVER : DONE);
    }
    batch_req(w, PST_EV_CANCEL);
    work(w, 2 * PST_SEC);
    uint64_t before = calls(w, "cheap");
    submit_in_time(w, (wish_t){.batch = 1}, 500);
    work(w, 60 * PST_SEC);
    assert_int_equal(calls(w, "cheap"), before);
    assert_int_equal(calls(w, "dear"), 500);
    world_free(w);
}

static void who_sorts_by_throughput_wants_no_plan(void **state)
{
    (void)state;
    pst_view_t m = PST_VIEW_LIT("m");
    pst_route_t r = {.models = {&m, 1}, .allow_fallbacks = true, .max_price_prompt = -1, .max_price_completion = -1,
                     .max_price_request = -1};
    for (int fast = 0; fast < 2; fast++) {
        world_t *w = market();
        r.sort = (uint8_t)(fast ? PST_SORT_THROUGHPUT : PST_SORT_PRICE);
        submit_in_time(w, (wish_t){.route = encoded(w, &r)}, ALONE);
        work(w, 5 * PST_SEC);
        assert_int_equal(calls(w, "dear") > 40, fast);
        world_free(w);
    }
}

/* Ten calls at a time each.  With half of the window left the cheap one is alone, with a twentieth nothing is spared. */
static void everything_is_open_when_time_is_nearly_out(void **state)
{
    (void)state;
    static const uint32_t wait_s[] = {50, 96};
    for (size_t i = 0; i < PST_COUNT(wait_s); i++) {
        world_t *w = world_new();
        configure_market(w, 0, 0, 10);
        submit_in_time(w, (wish_t){0}, 500);
        pass(w, wait_s[i] * PST_SEC);
        hello(w, WORKER, 100, NULL, 0);
        assert_int_equal(calls(w, "cheap"), 10);
        assert_int_equal(calls(w, "dear"), i == 0 ? 0 : 10);
        world_free(w);
    }
}

/* Two calls at a time of 20 ms would be a hundred a second, but it takes ten: that shows, and the next is opened. */
static void who_falls_behind_opens_more(void **state)
{
    (void)state;
    world_t *w = world_new();
    configure_market(w, 0, 0, 2);
    hello(w, WORKER, 100, NULL, 0);
    submit_in_time(w, (wish_t){0}, 1300);
    answer_for(w, WINDOW * PST_SEC, LATENCY,
               (say_t){.verdict = PST_VERDICT_DONE, .status = 200, .latency_us = 20000});
    assert_true(w->ended);
    assert_int_equal(w->summary.completed, 1300);
    assert_in_range(calls(w, "dear"), 300, 450);
    world_free(w);
}

/* More than both can do: what is left when the window ends has expired, and nothing of it stays. */
static void what_does_not_fit_expires(void **state)
{
    (void)state;
    world_t *w = market();
    submit_in_time(w, (wish_t){0}, 2560);
    work(w, (WINDOW + 1) * PST_SEC);
    assert_true(w->ended);
    assert_int_equal(w->end_status, PST_BATCH_EXPIRED);
    assert_in_range(w->summary.completed, 1900, 2010);
    assert_int_equal(w->summary.completed + w->summary.expired, 2560);
    tick(w, 0);
    pst_core_gauges_t g;
    pst_core_gauges(w->core, &g);
    assert_int_equal(g.batches + g.packs + g.packs_open + g.jobs_running + g.jobs_waiting + g.jobs_queued, 0);
    pass(w, 10 * PST_SEC); /* idle slices go back */
    assert_true(pst_core_deadline(w->core) == PST_NEVER);
    world_free(w);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_cheapest_is_alone_while_it_suffices),
    cmocka_unit_test(without_a_window_nothing_is_planned),
    cmocka_unit_test(the_dearer_one_is_opened_for_the_rest),
    cmocka_unit_test(it_is_closed_again_when_the_cheap_one_is_ahead),
    cmocka_unit_test(a_cheap_one_that_rests_opens_the_next),
    cmocka_unit_test(the_users_order_comes_before_price),
    cmocka_unit_test(uptime_comes_before_price),
    cmocka_unit_test(who_sorts_by_throughput_wants_no_plan),
    cmocka_unit_test(everything_is_open_when_time_is_nearly_out),
    cmocka_unit_test(who_falls_behind_opens_more),
    cmocka_unit_test(what_does_not_fit_expires),
};
UNIT_MAIN(tests)
