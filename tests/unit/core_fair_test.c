/* core_fair_test.c - whose turn is next: shares of tenants and batches in tokens, priorities, newcomers. */
#include "core_world.h"

#define QUICK (10 * PST_MS) /* a call */
#define MANY 4096           /* jobs: a batch of so many does not end in these cases */

/* What was sent of each batch since the last look. */
typedef struct tally {
    uint64_t tokens[WORLD_BATCHES];
    uint32_t calls[WORLD_BATCHES];
} tally_t;

/* A worker for one call at a time, so that each call is a decision of its own. */
static world_t *one_at_a_time(void)
{
    world_t *w = world_new();
    hello(w, WORKER, 1, NULL, 0);
    return w;
}

/* Of jobs with so many tokens a prompt. */
static void submit_many(world_t *w, uint8_t batch, const char *tenant, uint32_t input, const char *model)
{
    submit(w, (wish_t){.models = {model}, .batch = batch, .tenant = tenant, .input = input, .jobs = MANY / WORLD_PACKS,
                       .packs = WORLD_PACKS});
}

/* Answers the call that runs, time and again.  input: tokens of a batch's prompts, as they were estimated. */
static tally_t serve(world_t *w, uint32_t calls, pst_ns_t each, const uint32_t input[WORLD_BATCHES])
{
    tally_t t = {0};
    for (uint32_t i = 0; i < calls; i++) {
        assert_true(w->tasks_n > 0);
        task_t task = w->tasks[w->tasks_n - 1];
        uint32_t in = input[task.batch], out = in / 10;
        t.calls[task.batch]++;
        t.tokens[task.batch] += in + out;
        w->tasks_n = 0;
        pass(w, each);
        outcome_from(w, WORKER, &task, (say_t){.verdict = PST_VERDICT_DONE, .input_tokens = in, .output_tokens = out});
    }
    return t;
}

static void assert_alike(uint64_t a, uint64_t b, uint64_t slack)
{
    if ((a > b ? a - b : b - a) > slack)
        fail_msg("%llu and %llu are further apart than %llu", (unsigned long long)a, (unsigned long long)b,
                 (unsigned long long)slack);
}

/* ---- shares --------------------------------------------------------------------------------------------------------- */

static void tenants_get_the_same_tokens_whatever_their_jobs_take(void **state)
{
    (void)state;
    static const uint32_t input[WORLD_BATCHES] = {[1] = 1000, [2] = 100};
    world_t *w = one_at_a_time();
    submit_many(w, 1, "large", 1000, "one");
    submit_many(w, 2, "small", 100, "one");
    tally_t t = serve(w, 550, QUICK, input);
    assert_alike(t.tokens[1], t.tokens[2], 2 * 1100);
    assert_true(t.calls[1] > 40);
    world_free(w);
}

/* Only what an answer took is known late: it counts all the same. */
static void answers_count_as_prompts_do(void **state)
{
    (void)state;
    world_t *w = one_at_a_time();
    submit_many(w, 1, "talks", 100, "one");
    submit_many(w, 2, "listens", 100, "one");
    uint32_t calls[3] = {0};
    for (uint32_t i = 0; i < 600; i++) {
        task_t task = w->tasks[w->tasks_n - 1];
        calls[task.batch]++;
        w->tasks_n = 0;
        outcome_from(w, WORKER, &task, (say_t){.verdict = PST_VERDICT_DONE, .input_tokens = 100,
                                               .output_tokens = task.batch == 1 ? 400 : 1});
    }
    assert_in_range(calls[1], 95, 105); /* 500 tokens a call against 101 */
    world_free(w);
}

static void ten_batches_get_a_tenant_no_more_than_one(void **state)
{
    (void)state;
    uint32_t input[WORLD_BATCHES];
    world_t *w = one_at_a_time();
    for (uint8_t i = 0; i < WORLD_BATCHES; i++)
        input[i] = 100;
    for (uint8_t i = 1; i <= 10; i++)
        submit_many(w, i, "many", 100, "one");
    submit_many(w, 11, "single", 100, "one");
    tally_t t = serve(w, 200, QUICK, input);
    assert_in_range(t.calls[11], 99, 101);
    for (uint8_t i = 1; i <= 10; i++)
        assert_in_range(t.calls[i], 9, 11); /* and these share alike */
    world_free(w);
}

static void batches_of_a_tenant_get_the_same_tokens(void **state)
{
    (void)state;
    static const uint32_t input[WORLD_BATCHES] = {[1] = 900, [2] = 100};
    world_t *w = one_at_a_time();
    submit_many(w, 1, "same", 900, "one");
    submit_many(w, 2, "same", 100, "one");
    tally_t t = serve(w, 500, QUICK, input);
    assert_alike(t.tokens[1], t.tokens[2], 2 * 990);
    world_free(w);
}

/* ---- who comes ------------------------------------------------------------------------------------------------------ */

/* All places become free at once: the small batch is sent whole, behind one turn of the large one at most. */
static void ten_jobs_beside_a_long_queue_wait_for_one_turn(void **state)
{
    (void)state;
    enum { TURN = 64 * 1024 / 200 + 1 }; /* jobs of 100 tokens and 100 for the answer */
    static const char *const tenants[] = {"other", "same"};
    for (size_t i = 0; i < PST_COUNT(tenants); i++) {
        world_t *w = world_new();
        submit_many(w, 1, "same", 100, "one");
        submit(w, (wish_t){.models = {"one"}, .batch = 2, .tenant = tenants[i], .jobs = 10});
        hello(w, WORKER, 2000, NULL, 0);
        uint32_t first = 0;
        while (w->tasks[first].batch == 1)
            first++;
        assert_true(first <= TURN);
        for (uint32_t k = first; k < first + 10; k++)
            assert_int_equal(w->tasks[k].batch, 2);
        world_free(w);
    }
}

/* Who had a machine to himself is not shut out by one who comes: they share from there on, and the newcomer is next. */
static void a_newcomer_is_not_given_what_he_missed(void **state)
{
    (void)state;
    static const uint32_t input[WORLD_BATCHES] = {[1] = 100, [2] = 100};
    static const char *const orders[] = {NULL, "alpha"}; /* also if he wishes something else of the same endpoint */
    for (size_t i = 0; i < PST_COUNT(orders); i++) {
        world_t *w = one_at_a_time();
        submit_many(w, 1, "first", 100, "one");
        serve(w, 3600, PST_SEC, input);
        submit(w, (wish_t){.models = {"one"}, .order = orders[i], .batch = 2, .tenant = "second", .jobs = 256});
        tally_t t = serve(w, 3, QUICK, input);
        assert_true(t.calls[2] >= 1);
        t = serve(w, 200, QUICK, input);
        assert_in_range(t.calls[1], 99, 101);
        world_free(w);
    }
}

/* One who was there all along, with jobs that only now can be sent where the other had an hour for himself.  A
 * half-life of half a minute makes a thousandth of that in five. */
static void an_hour_alone_is_owed_for_no_longer_than_minutes(void **state)
{
    (void)state;
    static const uint32_t input[WORLD_BATCHES] = {[1] = 100, [2] = 100};
    static const say_t later = {.verdict = PST_VERDICT_THROTTLE, .cause = PST_CAUSE_RATE_LIMIT, .status = 429,
                                .wait_ms = 300000};
    world_t *w = one_at_a_time();
    submit_many(w, 1, "first", 100, "one");
    serve(w, 3600, PST_SEC, input);
    outcome(w, w->tasks_n - 1, later); /* only-a rests for five minutes */
    submit(w, (wish_t){.models = {"one"}, .order = "alpha", .batch = 2, .tenant = "second", .input = 100, .jobs = 256});
    w->tasks_n = 0;
    pass(w, 300 * PST_SEC);
    assert_int_equal(w->tasks_n, 1);
    tally_t t = serve(w, 100, QUICK, input);
    assert_in_range(t.calls[1], 45, 52);
    world_free(w);
}

/* ---- priorities ------------------------------------------------------------------------------------------------------- */

static void high_goes_before_normal_before_low(void **state)
{
    (void)state;
    static const uint32_t input[WORLD_BATCHES] = {100, 100, 100, 100};
    world_t *w = world_new();
    submit(w, (wish_t){.models = {"one"}, .batch = 1, .priority = 1 + PST_PRIORITY_LOW, .jobs = 5});
    submit(w, (wish_t){.models = {"one"}, .batch = 2, .priority = 1 + PST_PRIORITY_NORMAL, .tenant = "t", .jobs = 5});
    submit(w, (wish_t){.models = {"one"}, .batch = 3, .priority = 1 + PST_PRIORITY_HIGH, .jobs = 5});
    hello(w, WORKER, 1, NULL, 0);
    assert_int_equal(serve(w, 5, QUICK, input).calls[3], 5);
    assert_int_equal(serve(w, 5, QUICK, input).calls[2], 5);
    assert_int_equal(serve(w, 5, QUICK, input).calls[1], 5);
    assert_int_equal(w->ends, 3);
    world_free(w);
}

/* Places a normal batch gets of so many, and then a high one. */
static void assert_left(uint32_t workers, uint32_t concurrency, uint32_t places, uint32_t left)
{
    world_t *w = world_new();
    pst_core_provider_t p = {.name = PST_VIEW_LIT("one"), .urls = 1, .concurrency = concurrency};
    pst_core_endpoint_t e = {.model = PST_VIEW_LIT("up"), .concurrency = concurrency ? 0 : 10000};
    pst_core_model_t m = {PST_VIEW_LIT("m"), 0, 1};
    configure(w, &(pst_core_config_t){&p, 1, &e, 1, &m, 1});
    hello(w, WORKER, workers, NULL, 0);
    submit_many(w, 1, "", 100, "m");
    assert_int_equal(w->tasks_n, places - left);
    submit(w, (wish_t){.models = {"m"}, .batch = 2, .priority = 1 + PST_PRIORITY_HIGH, .jobs = 256});
    assert_int_equal(w->tasks_n, places);
    for (uint32_t i = places - left; i < places; i++)
        assert_int_equal(w->tasks[i].batch, 2);
    world_free(w);
}

static void a_64th_of_the_places_is_left_to_the_highest_priority(void **state)
{
    (void)state;
    assert_left(64, 0, 64, 1);
    assert_left(129, 0, 129, 3);
    assert_left(16, 0, 16, 1);
    assert_left(15, 0, 15, 0); /* of a few none */
    assert_left(1000, 64, 64, 1);
    assert_left(1000, 15, 15, 0);
}

/* ---- days ------------------------------------------------------------------------------------------------------------- */

/* What was sent weighs twice as much after each half-life: the sums are brought back every three hours or so, and the order
 * is the same after it. */
static void shares_stay_right_over_days(void **state)
{
    (void)state;
    static const uint32_t input[WORLD_BATCHES] = {[1] = 500, [2] = 100};
    world_t *w = one_at_a_time();
    submit_many(w, 1, "large", 500, "one");
    submit_many(w, 2, "small", 100, "one");
    for (uint32_t hour = 0; hour < 48; hour++) {
        tally_t t = serve(w, 60, QUICK, input);
        assert_alike(t.tokens[1], t.tokens[2], 2 * 550);
        serve(w, 4, 15 * 60 * PST_SEC, input); /* and in between one call a quarter of an hour */
    }
    world_free(w);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(tenants_get_the_same_tokens_whatever_their_jobs_take),
    cmocka_unit_test(answers_count_as_prompts_do),
    cmocka_unit_test(ten_batches_get_a_tenant_no_more_than_one),
    cmocka_unit_test(batches_of_a_tenant_get_the_same_tokens),
    cmocka_unit_test(ten_jobs_beside_a_long_queue_wait_for_one_turn),
    cmocka_unit_test(a_newcomer_is_not_given_what_he_missed),
    cmocka_unit_test(an_hour_alone_is_owed_for_no_longer_than_minutes),
    cmocka_unit_test(high_goes_before_normal_before_low),
    cmocka_unit_test(a_64th_of_the_places_is_left_to_the_highest_priority),
    cmocka_unit_test(shares_stay_right_over_days),
};
UNIT_MAIN(tests)
