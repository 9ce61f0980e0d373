/* core_limit_test.c - what calls take from the budgets, and that all of it comes back that was not used. */
#include "core_world.h"

#define MANY 1000000u /* a minute: no limit in these cases, but counted */

/* One endpoint, `up`, with these limits; a job's prompt is estimated at 100 tokens, its answer may have 100. */
static world_t *limited(const uint64_t limit[PST_RATE_COUNT], pst_reserve_t reserve)
{
    world_t *w = world_new();
    pst_core_provider_t p = {.name = PST_VIEW_LIT("one"), .urls = 1, .reserve = reserve};
    pst_core_endpoint_t e = {.model = PST_VIEW_LIT("up")};
    memcpy(e.limit, limit, sizeof e.limit);
    pst_core_model_t m = {PST_VIEW_LIT("m"), 0, 1};
    configure(w, &(pst_core_config_t){&p, 1, &e, 1, &m, 1});
    hello(w, WORKER, 256, NULL, 0);
    return w;
}

static const uint64_t all_counted[PST_RATE_COUNT] = {MANY, 60 * MANY, 60 * MANY, 60 * MANY, MANY};

/* After the leases have lain idle they are back: what is left is what was used. */
static void assert_used(world_t *w, int64_t calls, int64_t input, int64_t output)
{
    pass(w, 10 * PST_SEC);
    assert_int_equal(w->granted[PST_RATE_REQUESTS], calls);
    assert_int_equal(w->granted[PST_RATE_DAILY], calls);
    assert_int_equal(w->granted[PST_RATE_INPUT], input);
    assert_int_equal(w->granted[PST_RATE_OUTPUT], output);
    assert_int_equal(w->granted[PST_RATE_TOKENS], input + output);
}

static void every_rate_is_asked_for(void **state)
{
    (void)state;
    world_t *w = limited(all_counted, PST_RESERVE_LIMIT);
    w->take_refuse = true;
    w->take_wait_ms = 1000;
    submit(w, (wish_t){.models = {"m"}, .jobs = 1});
    assert_int_equal(w->tasks_n, 0);
    assert_true(w->asked[PST_RATE_REQUESTS] == 1 && w->asked[PST_RATE_DAILY] == 1 && w->asked[PST_RATE_INPUT] == 100 &&
                w->asked[PST_RATE_OUTPUT] == 100 && w->asked[PST_RATE_TOKENS] == 200);
    w->take_refuse = false;
    pass(w, 2 * PST_SEC);
    assert_int_equal(w->tasks_n, 1);
    world_free(w);
}

static void an_answer_is_settled_by_its_usage(void **state)
{
    (void)state;
    world_t *w = limited(all_counted, PST_RESERVE_LIMIT);
    submit(w, (wish_t){.models = {"m"}, .jobs = 100});
    for (uint32_t i = 0; i < 100; i++)
        outcome(w, i, (say_t){.verdict = PST_VERDICT_DONE, .input_tokens = 170, .output_tokens = 30});
    assert_used(w, 100, 17000, 3000);
    world_free(w);
}

/* Calls that come back on other ways than with an answer, a hundred thousand times. */
static void no_way_back_leaks(void **state)
{
    (void)state;
    static const say_t returned = {.verdict = PST_VERDICT_RETURNED};
    static const say_t throttled = {.verdict = PST_VERDICT_THROTTLE, .cause = PST_CAUSE_RATE_LIMIT, .status = 429,
                                    .wait_ms = 50};
    world_t *w = limited(all_counted, PST_RESERVE_LIMIT);
    int64_t calls = 0;
    submit(w, (wish_t){.models = {"m"}, .jobs = 4});
    for (uint32_t i = 0; i < 100000; i++) {
        if (w->tasks_n == 0)
            pass(w, 100 * PST_MS);
        assert_true(w->tasks_n > 0);
        task_t t = w->tasks[--w->tasks_n];
        bool back = i % 3 == 0;
        calls += !back;
        outcome_from(w, t.worker, &t, back ? returned : throttled);
    }
    pass(w, PST_SEC);
    assert_int_equal(w->tasks_n, 4);
    for (uint32_t i = 0; i < 4; i++)
        outcome(w, i, DONE);
    assert_used(w, calls + 4, 40, 80);
    world_free(w);
}

/* Anthropic counts the answer as it is expected, not as it is allowed, and no prompt that was read from a cache. */
static void what_is_expected_is_reserved(void **state)
{
    (void)state;
    world_t *w = limited(all_counted, PST_RESERVE_EXPECTED);
    submit(w, (wish_t){.models = {"m"}, .jobs = 100});
    for (uint32_t i = 0; i < 100; i++)
        outcome(w, i, (say_t){.verdict = PST_VERDICT_DONE, .input_tokens = 100, .cached_tokens = 60,
                              .output_tokens = 20});
    assert_used(w, 100, 4000, 2000);
    w->take_refuse = true;
    w->take_wait_ms = 1000;
    w->tasks_n = 0;
    submit(w, (wish_t){.models = {"m"}, .jobs = 1});
    assert_int_equal(w->asked[PST_RATE_OUTPUT], 24); /* the end of the bucket that 20 is in */
    world_free(w);
}

/* A job larger than a bucket waits for a full one, and no longer. */
static void a_giant_neither_starves_nor_is_starved(void **state)
{
    (void)state;
    world_t *w = limited((const uint64_t[PST_RATE_COUNT]){[PST_RATE_INPUT] = 300}, PST_RESERVE_LIMIT);
    submit(w, (wish_t){.models = {"m"}, .jobs = 1});
    assert_int_equal(w->asked[PST_RATE_INPUT], 50); /* ten seconds' worth of 300 a minute */
    assert_int_equal(w->tasks_n, 1);
    world_free(w);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rate_is_asked_for),
        cmocka_unit_test(an_answer_is_settled_by_its_usage),
        cmocka_unit_test(no_way_back_leaks),
        cmocka_unit_test(what_is_expected_is_reserved),
        cmocka_unit_test(a_giant_neither_starves_nor_is_starved),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
