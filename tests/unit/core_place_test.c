/* core_place_test.c - waiting for capacity: who is let go when there is room, and how what was down comes back. */
#include "core_world.h"

static const say_t BUSY = {.verdict = PST_VERDICT_THROTTLE, .cause = PST_CAUSE_RATE_LIMIT, .status = 429,
                           .wait_ms = 3600000};

/* One provider with two endpoints, each with a model of its own. */
static void configure_two(world_t *w, uint32_t provider_calls, uint32_t endpoint_calls, uint64_t input_a_minute)
{
    pst_core_provider_t p = {.name = PST_VIEW_LIT("one"), .urls = 1, .concurrency = provider_calls};
    pst_core_endpoint_t e[] = {
        {.model = PST_VIEW_LIT("a"), .concurrency = endpoint_calls, .limit = {[PST_RATE_INPUT] = input_a_minute}},
        {.model = PST_VIEW_LIT("b"), .concurrency = endpoint_calls},
    };
    pst_core_model_t m[] = {{PST_VIEW_LIT("a"), 0, 1}, {PST_VIEW_LIT("b"), 1, 1}, {PST_VIEW_LIT("ab"), 0, 2}};
    configure(w, &(pst_core_config_t){&p, 1, e, 2, m, 3});
}

/* The call that runs, and no other, is answered. */
static task_t answer_latest(world_t *w, say_t s)
{
    task_t t = w->tasks[w->tasks_n - 1];
    outcome_from(w, WORKER, &t, s);
    return t;
}

/* ---- places ----------------------------------------------------------------------------------------------------------- */

/* Two routes with different wishes wait at one endpoint that takes one call: each place that becomes free is used by one of
 * them, in turn. */
static void a_free_place_is_used_by_the_route_whose_turn_it_is(void **state)
{
    (void)state;
    world_t *w = world_new();
    configure_two(w, 0, 1, 0);
    hello(w, WORKER, 64, NULL, 0);
    submit(w, (wish_t){.models = {"a"}, .batch = 1, .tenant = "plain", .jobs = 40});
    submit(w, (wish_t){.models = {"a"}, .order = "one", .batch = 2, .tenant = "picky", .jobs = 40});
    assert_int_equal(w->tasks_n, 1);
    for (uint32_t i = 1; i < 60; i++) {
        answer_latest(w, DONE);
        assert_int_equal(w->tasks_n, i + 1);
    }
    uint32_t plain = 0;
    for (uint32_t i = 0; i < 60; i++)
        plain += w->tasks[i].batch == 1;
    assert_in_range(plain, 29, 31);
    world_free(w);
}

/* The provider's one place becomes free.  Its route whose turn comes first can send nothing, because its endpoint rests: the
 * place is for the route behind it. */
static void room_that_one_cannot_use_is_passed_on(void **state)
{
    (void)state;
    world_t *w = world_new();
    configure_two(w, 1, 0, 0);
    hello(w, WORKER, 64, NULL, 0);
    submit(w, (wish_t){.models = {"a"}, .batch = 1, .tenant = "at rest", .jobs = 4});
    assert_string_equal(w->tasks[0].model, "a");
    submit(w, (wish_t){.models = {"b"}, .batch = 2, .tenant = "ready", .input = 500, .jobs = 4});
    assert_int_equal(w->tasks_n, 1);
    answer_latest(w, BUSY); /* a rests; the place is free */
    for (uint32_t i = 1; i <= 4; i++) {
        assert_int_equal(w->tasks_n, i + 1);
        assert_string_equal(w->tasks[i].model, "b");
        answer_latest(w, DONE);
    }
    assert_int_equal(w->tasks_n, 5);
    pass(w, 3601 * PST_SEC);
    assert_int_equal(w->tasks_n, 6);
    assert_string_equal(w->tasks[5].model, "a");
    world_free(w);
}

/* Both wait at the provider's place while the endpoint of the first begins to rest for another reason than a call of its. */
static void room_is_passed_on_though_the_first_was_waiting_for_it(void **state)
{
    (void)state;
    world_t *w = world_new();
    configure_two(w, 2, 0, 0);
    hello(w, WORKER, 64, NULL, 0);
    submit(w, (wish_t){.models = {"a"}, .batch = 1, .tenant = "at rest", .jobs = 8});
    assert_int_equal(w->tasks_n, 2);
    submit(w, (wish_t){.models = {"b"}, .batch = 2, .tenant = "ready", .input = 5000, .jobs = 8});
    task_t first = w->tasks[0], second = w->tasks[1];
    outcome_from(w, WORKER, &first, BUSY);
    assert_int_equal(w->tasks_n, 3);
    assert_string_equal(w->tasks[2].model, "b");
    task_t third = w->tasks[2];
    outcome_from(w, WORKER, &second, DONE); /* the turn is batch 1's: it has had less */
    assert_int_equal(w->tasks_n, 4);
    assert_string_equal(w->tasks[3].model, "b");
    outcome_from(w, WORKER, &third, DONE);
    assert_int_equal(w->tasks_n, 5);
    world_free(w);
}

/* A route that is let go and needs less than there is leaves the rest to the next. */
static void room_that_is_left_is_for_the_next_route(void **state)
{
    (void)state;
    world_t *w = world_new();
    configure_two(w, 0, 100, 0);
    hello(w, WORKER, 1, NULL, 0);
    submit(w, (wish_t){.models = {"a"}, .batch = 1, .jobs = 3});
    submit(w, (wish_t){.models = {"b"}, .batch = 2, .jobs = 10});
    submit(w, (wish_t){.models = {"ab"}, .batch = 3, .jobs = 10});
    assert_int_equal(w->tasks_n, 1);
    hello(w, WORKER + 1, 50, NULL, 0);
    assert_int_equal(w->tasks_n, 23);
    world_free(w);
}

/* A job that wants nine seconds' worth of a budget, beside small ones that would use it up as it comes: these wait while
 * it stands in front. */
static void a_giant_that_waits_for_tokens_is_not_overtaken_for_ever(void **state)
{
    (void)state;
    world_t *w = world_new();
    configure_two(w, 0, 0, 60000);
    w->metered = true;
    hello(w, WORKER, 64, NULL, 0);
    submit(w, (wish_t){.models = {"a"}, .batch = 1, .tenant = "small", .input = 100, .jobs = 256, .packs = 4});
    for (uint32_t i = 0; w->now < 20 * PST_SEC; pass(w, 10 * PST_MS)) /* the budget's first filling is spent */
        while (i < w->tasks_n)
            outcome(w, i++, (say_t){.verdict = PST_VERDICT_DONE, .input_tokens = 100, .output_tokens = 1});
    submit(w, (wish_t){.models = {"a"}, .order = "one", .batch = 2, .tenant = "giant", .input = 9000, .jobs = 1});
    bool sent = false;
    for (uint32_t i = w->tasks_n; !sent && w->now < 40 * PST_SEC; pass(w, 10 * PST_MS)) {
        for (; i < w->tasks_n; i++) {
            sent = sent || w->tasks[i].batch == 2;
            outcome(w, i, (say_t){.verdict = PST_VERDICT_DONE, .input_tokens = 100, .output_tokens = 1});
        }
    }
    assert_true(sent);
    world_free(w);
}

/* ---- what was down comes back ------------------------------------------------------------------------------------------ */

#define ERRORS 10

/* A server error takes so many calls in a row to be an outage; then it rests for half a second. */
static world_t *down(void)
{
    world_t *w = world_new();
    configure_two(w, 0, 100, 0);
    hello(w, WORKER, 256, NULL, 0);
    submit(w, (wish_t){.models = {"a"}, .jobs = 256});
    assert_int_equal(w->tasks_n, 98); /* two of a hundred places are the highest priority's */
    tick(w, 100 * PST_MS);
    for (uint32_t i = 0; i < ERRORS; i++) {
        assert_int_equal(w->parked, 0);
        outcome(w, i, SERVER);
    }
    assert_int_equal(w->parked, 1);
    return w;
}

/* All calls from before it are back, and the first probe is out: from here on tasks are numbered anew. */
static world_t *probing(void)
{
    world_t *w = down();
    for (uint32_t i = ERRORS, before = w->tasks_n; i < before; i++)
        outcome(w, i, SERVER);
    w->tasks_n = 0;
    pass(w, 490 * PST_MS);
    assert_int_equal(w->tasks_n, 0);
    pass(w, 10 * PST_MS);
    assert_int_equal(w->tasks_n, 1);
    return w;
}

static void probes_double_while_none_has_failed(void **state)
{
    (void)state;
    world_t *w = probing();
    for (uint32_t i = 2; i <= 64; i *= 2) {
        pass(w, 90 * PST_MS);
        assert_int_equal(w->tasks_n, i / 2);
        pass(w, 10 * PST_MS);
        assert_int_equal(w->tasks_n, i);
    }
    world_free(w);
}

static void after_a_probe_that_fails_it_rests_and_begins_with_one_again(void **state)
{
    (void)state;
    world_t *w = probing();
    pass(w, 100 * PST_MS);
    assert_int_equal(w->tasks_n, 2);
    outcome(w, 0, SERVER);
    pass(w, 490 * PST_MS);
    assert_int_equal(w->tasks_n, 2);
    outcome(w, 1, SERVER);
    pass(w, 20 * PST_MS);
    assert_int_equal(w->tasks_n, 3); /* one again */
    pass(w, 70 * PST_MS);
    assert_int_equal(w->tasks_n, 3);
    assert_int_equal(w->parked, 1); /* news once */
    world_free(w);
}

static void a_probe_that_works_ends_the_outage(void **state)
{
    (void)state;
    world_t *w = probing();
    outcome(w, 0, DONE);
    assert_int_equal(w->resumed, 1);
    assert_int_equal(w->tasks_n, 1 + 98);
    world_free(w);
}

/* An answer that was long under way says nothing of the provider as it is now. */
static void an_answer_from_before_does_not_end_the_outage(void **state)
{
    (void)state;
    world_t *w = down();
    uint32_t before = w->tasks_n;
    outcome(w, ERRORS, DONE); /* while it rests */
    assert_int_equal(w->resumed, 0);
    for (uint32_t i = ERRORS + 3; i < before; i++)
        outcome(w, i, SERVER);
    pass(w, 490 * PST_MS);
    assert_int_equal(w->tasks_n, before);
    outcome(w, ERRORS + 1, DONE);
    pass(w, 30 * PST_MS);
    outcome(w, ERRORS + 2, DONE); /* while it is probed */
    assert_int_equal(w->resumed, 0);
    assert_int_equal(w->tasks_n, before + 1);
    outcome(w, before, DONE);
    assert_int_equal(w->resumed, 1);
    world_free(w);
}

/* Answers to calls sent before the errors, coming in between them: there are ten errors in a row all the same. */
static void an_answer_from_before_the_errors_is_not_in_between(void **state)
{
    (void)state;
    world_t *w = world_new();
    configure_two(w, 0, 40, 0);
    hello(w, WORKER, 256, NULL, 0);
    submit(w, (wish_t){.models = {"a"}, .jobs = 200});
    tick(w, 100 * PST_MS);
    for (uint32_t i = 0; i < 5; i++)
        outcome(w, i, SERVER);
    for (uint32_t i = 5; i < 10; i++)
        outcome(w, i, DONE);
    for (uint32_t i = 10; i < 14; i++)
        outcome(w, i, SERVER);
    assert_int_equal(w->parked, 0);
    outcome(w, 14, SERVER);
    assert_int_equal(w->parked, 1);
    world_free(w);
}

/* One that was sent after the first of them is. */
static void an_answer_to_a_later_call_begins_the_count_anew(void **state)
{
    (void)state;
    world_t *w = world_new();
    configure_two(w, 0, 40, 0);
    hello(w, WORKER, 256, NULL, 0);
    submit(w, (wish_t){.models = {"a"}, .jobs = 200});
    tick(w, 100 * PST_MS);
    uint32_t before = w->tasks_n;
    for (uint32_t i = 0; i < ERRORS - 1; i++)
        outcome(w, i, SERVER);
    assert_true(w->tasks_n > before);
    outcome(w, before, DONE);
    for (uint32_t i = ERRORS - 1; i < 2 * ERRORS - 2; i++)
        outcome(w, i, SERVER);
    assert_int_equal(w->parked, 0);
    outcome(w, 2 * ERRORS - 2, SERVER);
    assert_int_equal(w->parked, 1);
    world_free(w);
}

/* Whatever an outage does to a job, it does not count as the job's own failure: it is tried until the outage is over. */
static void an_error_at_a_parked_endpoint_spends_no_attempt(void **state)
{
    (void)state;
    world_t *w = world_new();
    configure_two(w, 0, 1, 0);
    hello(w, WORKER, 64, NULL, 0);
    submit(w, (wish_t){.models = {"a"}, .batch = 1, .jobs = 40});
    while (w->parked == 0) {
        outcome(w, w->tasks_n - 1, SERVER);
        pass(w, 61 * PST_SEC / 40);
    }
    uint32_t retries = w->retries;
    for (uint32_t i = 0; i < 10 * PST_ATTEMPTS_MAX; i++) {
        uint32_t before = w->tasks_n;
        outcome(w, before - 1, SERVER);
        assert_int_equal(w->tasks_n, before);
        pass(w, 40 * PST_SEC);
        assert_true(w->tasks_n > before);
    }
    assert_int_equal(w->retries, retries);
    assert_int_equal(w->results, 0);
    while (!w->ended)
        for (uint32_t before = w->tasks_n; w->tasks_n == before && !w->ended; pass(w, PST_SEC))
            outcome(w, before - 1, DONE);
    assert_int_equal(w->summary.completed, 40);
    world_free(w);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_free_place_is_used_by_the_route_whose_turn_it_is),
    cmocka_unit_test(room_that_one_cannot_use_is_passed_on),
    cmocka_unit_test(room_is_passed_on_though_the_first_was_waiting_for_it),
    cmocka_unit_test(room_that_is_left_is_for_the_next_route),
    cmocka_unit_test(a_giant_that_waits_for_tokens_is_not_overtaken_for_ever),
    cmocka_unit_test(probes_double_while_none_has_failed),
    cmocka_unit_test(after_a_probe_that_fails_it_rests_and_begins_with_one_again),
    cmocka_unit_test(a_probe_that_works_ends_the_outage),
    cmocka_unit_test(an_answer_from_before_does_not_end_the_outage),
    cmocka_unit_test(an_answer_from_before_the_errors_is_not_in_between),
    cmocka_unit_test(an_answer_to_a_later_call_begins_the_count_anew),
    cmocka_unit_test(an_error_at_a_parked_endpoint_spends_no_attempt),
};
UNIT_MAIN(tests)
