/* core_learn_test.c - limits that nobody configured: found out by being refused, or told in headers; and the pace at which
 * a limit is used.  What is known is looked at as a person would: through pst_core_cluster. */
#include "core_world.h"

static const say_t REFUSED = {.verdict = PST_VERDICT_THROTTLE, .cause = PST_CAUSE_RATE_LIMIT, .status = 429,
                              .wait_ms = 100};

/* One endpoint, `up`, with these limits, and its provider with those. */
static void configure_one(world_t *w, const pst_core_endpoint_t *endpoint, const pst_core_provider_t *provider)
{
    pst_core_provider_t p = *provider;
    pst_core_endpoint_t e = *endpoint;
    p.name = PST_VIEW_LIT("one");
    p.urls = 1;
    e.model = PST_VIEW_LIT("up");
    pst_core_model_t m = {PST_VIEW_LIT("m"), 0, 1};
    configure(w, &(pst_core_config_t){&p, 1, &e, 1, &m, 1});
}

static void submit_jobs(world_t *w, uint8_t batch, uint32_t jobs)
{
    submit(w, (wish_t){.models = {"m"}, .batch = batch, .jobs = jobs / WORLD_PACKS, .packs = WORLD_PACKS});
}

static world_t *with_jobs(uint32_t places, const pst_core_endpoint_t *e, const pst_core_provider_t *p, uint32_t jobs)
{
    world_t *w = world_new();
    configure_one(w, e, p);
    hello(w, WORKER, places, NULL, 0);
    submit_jobs(w, 0, jobs);
    return w;
}

static const pst_core_endpoint_t NO_LIMIT;
static const pst_core_provider_t NO_ACCOUNT_LIMIT;

/* A world of which nothing is known. */
static world_t *unknown(uint32_t places)
{
    return with_jobs(places, &NO_LIMIT, &NO_ACCOUNT_LIMIT, WORLD_TASKS);
}

/* What is known of a rate of `up`; limit 0: nothing. */
static pst_cluster_limit_t known(world_t *w, pst_rate_t rate)
{
    pst_cluster_t c;
    tick(w, 0);
    pst_core_cluster(w->core, w->wall_ms, &w->arena, &c);
    assert_int_equal(c.endpoints_n, 1);
    for (uint32_t i = 0; i < c.endpoints[0].limits_n; i++)
        if (c.endpoints[0].limits[i].rate == rate)
            return c.endpoints[0].limits[i];
    return (pst_cluster_limit_t){0};
}

static double a_second(world_t *w)
{
    return (double)known(w, PST_RATE_REQUESTS).limit / 60;
}

/* Calls that are sent meanwhile. */
static uint32_t flow(world_t *w, pst_ns_t time)
{
    return answer_for(w, time, 100 * PST_MS, DONE);
}

/* The oldest call that runs is refused. */
static void refuse(world_t *w, say_t s)
{
    task_t t = w->tasks[0];
    memmove(w->tasks, w->tasks + 1, --w->tasks_n * sizeof *w->tasks);
    outcome_from(w, WORKER, &t, s);
}

/* Ten at a time, each of 100 ms: a hundred a second, of which the endpoint has now refused one. */
static world_t *refused_once(void)
{
    world_t *w = unknown(10);
    flow(w, 3 * PST_SEC);
    assert_int_equal(known(w, PST_RATE_REQUESTS).limit, 0);
    refuse(w, REFUSED);
    return w;
}

/* The guess was refused too: at about a hundred a second again. */
static world_t *refused_twice(void)
{
    world_t *w = refused_once();
    flow(w, 2 * PST_SEC);
    refuse(w, REFUSED);
    return w;
}

/* ---- slow start ----------------------------------------------------------------------------------------------------- */

static void calls_in_flight_double_while_nothing_is_known(void **state)
{
    (void)state;
    world_t *w = unknown(10000);
    for (uint32_t from = 0, in_flight = 32; in_flight <= 512; in_flight *= 2) {
        assert_int_equal(w->tasks_n - from, in_flight);
        for (uint32_t i = 0; i < in_flight; i++)
            outcome(w, from++, DONE);
    }
    world_free(w);
}

static void any_configured_limit_ends_the_slow_start(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 2 * (PST_RATE_COUNT + 1); i++) {
        pst_core_endpoint_t e = {0};
        pst_core_provider_t p = {0};
        uint32_t kind = i / 2;
        if (kind == PST_RATE_COUNT && i % 2)
            p.concurrency = 10000;
        else if (kind == PST_RATE_COUNT)
            e.concurrency = 10000;
        else if (i % 2)
            p.limit[kind] = 100000000;
        else
            e.limit[kind] = 100000000;
        world_t *w = with_jobs(200, &e, &p, 256);
        assert_true(w->tasks_n > 32);
        world_free(w);
    }
}

/* ---- refusals ---------------------------------------------------------------------------------------------------------- */

static void the_first_refusal_makes_a_rate_of_half_of_what_was_sent(void **state)
{
    (void)state;
    world_t *w = refused_once();
    assert_int_equal(known(w, PST_RATE_REQUESTS).source, PST_LIMIT_LEARNED);
    assert_in_range(a_second(w), 48, 53);
    flow(w, 100 * PST_MS); /* it rests as it was told */
    assert_in_range(flow(w, PST_SEC), 45, 75);
    world_free(w);
}

/* It may have met a burst: the guess doubles each two seconds until it is refused as well. */
static void until_the_second_refusal_the_rate_doubles(void **state)
{
    (void)state;
    world_t *w = refused_once();
    hello(w, WORKER + 1, 1000, NULL, 0);
    flow(w, 2 * PST_SEC);
    assert_in_range(a_second(w), 88, 103);
    flow(w, 4 * PST_SEC);
    assert_in_range(a_second(w), 350, 415);
    world_free(w);
}

static void refusals_of_calls_from_before_a_cut_are_one_with_it(void **state)
{
    (void)state;
    world_t *w = refused_once();
    double rate = a_second(w);
    for (uint32_t i = 0; i < 5; i++)
        refuse(w, REFUSED);
    assert_true(a_second(w) == rate);
    world_free(w);
}

/* By half while they follow one another, later by an eighth. */
static void a_refusal_after_a_cut_cuts_again(void **state)
{
    (void)state;
    world_t *w = refused_once();
    flow(w, PST_SEC);
    double rate = a_second(w);
    refuse(w, REFUSED);
    assert_in_range(1000 * a_second(w) / rate, 490, 510);
    flow(w, 5 * PST_SEC);
    rate = a_second(w);
    refuse(w, REFUSED);
    assert_in_range(1000 * a_second(w) / rate, 865, 885);
    world_free(w);
}

static void the_rate_returns_to_the_old_one_and_goes_beyond(void **state)
{
    (void)state;
    world_t *w = refused_twice();
    flow(w, 8 * PST_SEC);
    assert_in_range(a_second(w), 90, 103); /* where it was refused */
    hello(w, WORKER + 1, 100, NULL, 0);
    flow(w, 8 * PST_SEC);
    assert_true(a_second(w) > 120);
    world_free(w);
}

static void it_grows_only_while_jobs_are_held_back(void **state)
{
    (void)state;
    world_t *w = refused_twice();
    double rate = a_second(w);
    batch_req(w, PST_EV_CANCEL);
    flow(w, 20 * PST_SEC);
    assert_true(w->ended);
    assert_true(a_second(w) == rate);
    submit_jobs(w, 1, 1024);
    flow(w, 2 * PST_SEC);
    assert_in_range(a_second(w) / rate * 100, 110, 160); /* two seconds' growth, not twenty-two's */
    world_free(w);
}

/* Who says "in a tenth of a second" takes ten a second. */
static void a_named_wait_floors_the_rate(void **state)
{
    (void)state;
    world_t *w = unknown(1);
    while (w->now < 20 * PST_SEC) {
        pass(w, 2 * PST_SEC);
        outcome(w, w->tasks_n - 1, DONE);
    }
    w->tasks[0] = w->tasks[w->tasks_n - 1];
    w->tasks_n = 1;
    refuse(w, REFUSED);
    assert_in_range(a_second(w) * 10, 99, 103);
    world_free(w);
}

/* A configured limit is taken for right: only twenty refusals that are a twentieth of all calls teach a rate beside it. */
static void refusals_beside_a_configured_limit_teach_only_if_there_are_many(void **state)
{
    (void)state;
    static const pst_core_endpoint_t input = {.limit = {[PST_RATE_INPUT] = 100000000}};
    for (int busy = 0; busy < 2; busy++) {
        world_t *w = with_jobs(10, &input, &NO_ACCOUNT_LIMIT, WORLD_TASKS);
        flow(w, busy ? 10 * PST_SEC : 200 * PST_MS);
        for (uint32_t i = 0; i < 19; i++) {
            refuse(w, REFUSED);
            flow(w, 110 * PST_MS);
        }
        assert_int_equal(known(w, PST_RATE_REQUESTS).limit, 0);
        refuse(w, REFUSED);
        assert_int_equal(known(w, PST_RATE_REQUESTS).limit > 0, !busy);
        world_free(w);
    }
}

/* ---- headers ------------------------------------------------------------------------------------------------------------ */

/* The oldest call is answered, and the headers say so. */
static void told(world_t *w, pst_rate_t rate, uint64_t limit, uint64_t remaining)
{
    pst_limit_report_t l = {.rate = (uint8_t)rate, .limit = limit, .remaining = remaining};
    say_t s = {.verdict = PST_VERDICT_DONE, .status = 200, .limits = &l, .limits_n = 1};
    refuse(w, s);
}

static void a_limit_is_what_the_headers_say(void **state)
{
    (void)state;
    world_t *w = unknown(100);
    static const uint64_t limit[PST_RATE_COUNT] = {600, 70000, 80000, 90000, 5000};
    for (int i = 0; i < PST_RATE_COUNT; i++) {
        told(w, (pst_rate_t)i, limit[i], UINT64_MAX);
        assert_int_equal(known(w, (pst_rate_t)i).limit, limit[i]);
        assert_int_equal(known(w, (pst_rate_t)i).source, PST_LIMIT_SAID);
    }
    told(w, PST_RATE_REQUESTS, 1200, UINT64_MAX);
    assert_int_equal(known(w, PST_RATE_REQUESTS).limit, 1200);
    flow(w, 200 * PST_MS);
    assert_in_range(flow(w, 2 * PST_SEC), 30, 43); /* twenty a second */
    world_free(w);
}

static void who_names_a_limit_needs_no_slow_start(void **state)
{
    (void)state;
    world_t *w = unknown(200);
    assert_int_equal(w->tasks_n, 32);
    told(w, PST_RATE_INPUT, 1000000000, UINT64_MAX);
    assert_int_equal(w->tasks_n, 196); /* less what is the highest priority's */
    world_free(w);
}

/* It takes the place of what refusals have taught, and is not taught by them. */
static void what_is_said_goes_before_what_is_learned(void **state)
{
    (void)state;
    world_t *w = refused_once();
    told(w, PST_RATE_REQUESTS, 3600, UINT64_MAX);
    assert_int_equal(known(w, PST_RATE_REQUESTS).source, PST_LIMIT_SAID);
    flow(w, PST_SEC);
    refuse(w, REFUSED);
    flow(w, PST_SEC);
    assert_int_equal(known(w, PST_RATE_REQUESTS).limit, 3600);
    world_free(w);
}

static void a_configured_limit_stays(void **state)
{
    (void)state;
    world_t *w = with_jobs(10, &(pst_core_endpoint_t){.limit = {[PST_RATE_REQUESTS] = 6000}}, &NO_ACCOUNT_LIMIT, 256);
    told(w, PST_RATE_REQUESTS, 60, UINT64_MAX);
    assert_int_equal(known(w, PST_RATE_REQUESTS).limit, 6000);
    assert_int_equal(known(w, PST_RATE_REQUESTS).source, PST_LIMIT_CONFIGURED);
    world_free(w);
}

/* Somebody else uses the account too. */
static void what_remains_lowers_the_pace(void **state)
{
    (void)state;
    world_t *w = with_jobs(100, &(pst_core_endpoint_t){.limit = {[PST_RATE_REQUESTS] = 60000}}, &NO_ACCOUNT_LIMIT, 512);
    pass(w, 20 * PST_MS);
    uint32_t before = w->tasks_n;
    pass(w, 10 * PST_MS);
    assert_true(w->tasks_n >= before + 9); /* a thousand a second */
    told(w, PST_RATE_REQUESTS, 60000, 0);
    before = w->tasks_n;
    pass(w, PST_MS / 2);
    assert_int_equal(w->tasks_n, before);
    pass(w, 2 * PST_MS);
    assert_in_range(w->tasks_n, before + 1, before + 2);
    world_free(w);
}

static void limits_past_any_sense_are_clamped(void **state)
{
    (void)state;
    world_t *w = unknown(100);
    for (int i = 0; i < PST_RATE_COUNT; i++) {
        told(w, (pst_rate_t)i, UINT64_MAX, UINT64_MAX - 1);
        assert_true(known(w, (pst_rate_t)i).limit == 1000000000000);
    }
    told(w, PST_RATE_REQUESTS, 0, 0); /* says nothing */
    assert_true(known(w, PST_RATE_REQUESTS).limit == 1000000000000);
    assert_true(flow(w, PST_SEC) > 100);
    world_free(w);
}

/* ---- kept in the store -------------------------------------------------------------------------------------------------- */

static void what_was_learned_is_stored_if_it_is_news(void **state)
{
    (void)state;
    world_t *w = unknown(100);
    told(w, PST_RATE_REQUESTS, 6000, UINT64_MAX);
    assert_int_equal(w->keeps, 1);
    assert_string_equal(w->kept_name, "one/up");
    assert_int_equal(w->kept_limit[PST_RATE_REQUESTS], 6000);
    assert_int_equal(w->kept_source[PST_RATE_REQUESTS], PST_LIMIT_SAID);
    flow(w, 11 * PST_SEC);
    told(w, PST_RATE_REQUESTS, 6600, UINT64_MAX); /* a tenth more */
    assert_int_equal(w->keeps, 1);
    told(w, PST_RATE_REQUESTS, 6601, UINT64_MAX);
    assert_int_equal(w->keeps, 2);
    assert_int_equal(w->kept_limit[PST_RATE_REQUESTS], 6601);
    told(w, PST_RATE_REQUESTS, 9000, UINT64_MAX);
    flow(w, 9900 * PST_MS);
    told(w, PST_RATE_REQUESTS, 9000, UINT64_MAX);
    assert_int_equal(w->keeps, 2); /* not again within ten seconds */
    flow(w, 100 * PST_MS);
    told(w, PST_RATE_REQUESTS, 9000, UINT64_MAX);
    assert_int_equal(w->keeps, 3);
    world_free(w);
}

static void a_learned_rate_is_stored_and_a_configured_limit_is_not(void **state)
{
    (void)state;
    world_t *w = refused_once();
    assert_int_equal(w->keeps, 1);
    assert_int_equal(w->kept_limit[PST_RATE_REQUESTS], known(w, PST_RATE_REQUESTS).limit);
    assert_int_equal(w->kept_source[PST_RATE_REQUESTS], PST_LIMIT_LEARNED);
    world_free(w);
    w = with_jobs(10, &(pst_core_endpoint_t){.limit = {[PST_RATE_INPUT] = 1000000}}, &NO_ACCOUNT_LIMIT, 256);
    told(w, PST_RATE_REQUESTS, 6000, UINT64_MAX);
    assert_int_equal(w->keeps, 1);
    assert_int_equal(w->kept_limit[PST_RATE_REQUESTS], 6000);
    assert_int_equal(w->kept_limit[PST_RATE_INPUT], 0);
    world_free(w);
}

static void restore(world_t *w, pst_view_t name, uint64_t requests, uint64_t input, pst_limit_source_t source)
{
    pst_restored_t r = {.type = PST_RESTORED_LIMITS};
    r.u.limits.name = name;
    r.u.limits.limit[PST_RATE_REQUESTS] = requests;
    r.u.limits.limit[PST_RATE_INPUT] = input;
    r.u.limits.source[PST_RATE_REQUESTS] = r.u.limits.source[PST_RATE_INPUT] = (uint8_t)source;
    run(w, &(pst_event_t){.type = PST_EV_RESTORED, .u.restored = &r});
}

static void what_was_stored_is_known_after_a_restart(void **state)
{
    (void)state;
    world_t *w = world_new();
    configure_one(w, &NO_LIMIT, &NO_ACCOUNT_LIMIT);
    restore(w, PST_VIEW_LIT("one/up"), 300000, 90000000, PST_LIMIT_SAID);
    assert_int_equal(known(w, PST_RATE_REQUESTS).limit, 300000);
    assert_int_equal(known(w, PST_RATE_INPUT).limit, 90000000);
    assert_int_equal(known(w, PST_RATE_INPUT).source, PST_LIMIT_SAID);
    assert_int_equal(w->keeps, 0); /* no news */
    hello(w, WORKER, 1000, NULL, 0);
    submit_jobs(w, 0, 256);
    assert_int_equal(w->tasks_n, 101); /* no slow start: it goes at the pace of five thousand a second */
    world_free(w);
}

/* It begins an eighth below, so that the first calls are not refused, and grows. */
static void a_learned_rate_goes_on_after_a_restart(void **state)
{
    (void)state;
    world_t *w = world_new();
    configure_one(w, &NO_LIMIT, &NO_ACCOUNT_LIMIT);
    restore(w, PST_VIEW_LIT("one/up"), 6000, 0, PST_LIMIT_LEARNED);
    assert_in_range(a_second(w), 87, 89);
    hello(w, WORKER, 100, NULL, 0);
    submit_jobs(w, 0, WORLD_TASKS);
    flow(w, 8 * PST_SEC);
    assert_in_range(a_second(w), 98, 103);
    assert_int_equal(w->keeps, 0); /* the store's rate was not refused: the next restart begins with it as well */
    world_free(w);
}

static void a_restored_limit_yields_to_the_configuration(void **state)
{
    (void)state;
    world_t *w = world_new();
    configure_one(w, &(pst_core_endpoint_t){.limit = {[PST_RATE_REQUESTS] = 6000}}, &NO_ACCOUNT_LIMIT);
    restore(w, PST_VIEW_LIT("one/up"), 60, 0, PST_LIMIT_SAID);
    restore(w, PST_VIEW_LIT("one/gone"), 60, 0, PST_LIMIT_SAID);
    restore(w, PST_VIEW_LIT("nobody"), 60, 0, PST_LIMIT_SAID);
    assert_int_equal(known(w, PST_RATE_REQUESTS).limit, 6000);
    assert_int_equal(known(w, PST_RATE_REQUESTS).source, PST_LIMIT_CONFIGURED);
    world_free(w);
}

/* ---- the pace ------------------------------------------------------------------------------------------------------------ */

/* A hundred a second: a slice of twenty is leased, and goes out one by one. */
static void a_slice_is_not_spent_at_once(void **state)
{
    (void)state;
    world_t *w = with_jobs(1000, &(pst_core_endpoint_t){.limit = {[PST_RATE_REQUESTS] = 6000}}, &NO_ACCOUNT_LIMIT, 512);
    assert_true(w->granted[PST_RATE_REQUESTS] >= 20);
    assert_int_equal(w->tasks_n, 3); /* two per cent of a second's, and one */
    for (uint32_t i = 0; i < 100; i++) {
        uint32_t before = w->tasks_n;
        pass(w, 10 * PST_MS);
        assert_true(w->tasks_n <= before + 1);
    }
    assert_in_range(w->tasks_n, 100, 103);
    world_free(w);
}

/* Four brokers come to the budget in turn: this one is given twenty calls each 800 ms, and is refused in between.  It sends
 * them evenly, not in 200 ms. */
static void beside_other_brokers_the_pace_follows_the_grants(void **state)
{
    (void)state;
    world_t *w = world_new();
    configure_one(w, &(pst_core_endpoint_t){.limit = {[PST_RATE_REQUESTS] = 6000}}, &NO_ACCOUNT_LIMIT);
    w->metered = true;
    w->others = 1; /* nothing comes but what this test gives */
    hello(w, WORKER, 2000, NULL, 0);
    submit_jobs(w, 0, 2048);
    uint32_t most = 0, all = 0;
    for (uint32_t window = 0; window < 160; window++) {
        uint32_t before = w->tasks_n;
        if (window % 4 == 0)
            w->level[PST_RATE_REQUESTS] += 20;
        pass(w, 200 * PST_MS);
        if (window >= 40) {
            most = PST_MAX(most, w->tasks_n - before);
            all += w->tasks_n - before;
        }
    }
    assert_in_range(all, 30 * 18, 30 * 20 + 10);
    assert_true(most <= 9);
    w->others = 0; /* they have gone */
    pass(w, 5 * PST_SEC);
    uint32_t before = w->tasks_n;
    pass(w, PST_SEC);
    assert_in_range(w->tasks_n - before, 95, 101);
    world_free(w);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(calls_in_flight_double_while_nothing_is_known),
    cmocka_unit_test(any_configured_limit_ends_the_slow_start),
    cmocka_unit_test(the_first_refusal_makes_a_rate_of_half_of_what_was_sent),
    cmocka_unit_test(until_the_second_refusal_the_rate_doubles),
    cmocka_unit_test(refusals_of_calls_from_before_a_cut_are_one_with_it),
    cmocka_unit_test(a_refusal_after_a_cut_cuts_again),
    cmocka_unit_test(the_rate_returns_to_the_old_one_and_goes_beyond),
    cmocka_unit_test(it_grows_only_while_jobs_are_held_back),
    cmocka_unit_test(a_named_wait_floors_the_rate),
    cmocka_unit_test(refusals_beside_a_configured_limit_teach_only_if_there_are_many),
    cmocka_unit_test(a_limit_is_what_the_headers_say),
    cmocka_unit_test(who_names_a_limit_needs_no_slow_start),
    cmocka_unit_test(what_is_said_goes_before_what_is_learned),
    cmocka_unit_test(a_configured_limit_stays),
    cmocka_unit_test(what_remains_lowers_the_pace),
    cmocka_unit_test(limits_past_any_sense_are_clamped),
    cmocka_unit_test(what_was_learned_is_stored_if_it_is_news),
    cmocka_unit_test(a_learned_rate_is_stored_and_a_configured_limit_is_not),
    cmocka_unit_test(what_was_stored_is_known_after_a_restart),
    cmocka_unit_test(a_learned_rate_goes_on_after_a_restart),
    cmocka_unit_test(a_restored_limit_yields_to_the_configuration),
    cmocka_unit_test(a_slice_is_not_spent_at_once),
    cmocka_unit_test(beside_other_brokers_the_pace_follows_the_grants),
};
UNIT_MAIN(tests)
