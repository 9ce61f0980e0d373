/* core_estimate_test.c - what calls show of tokens changes what the next ones are expected to take.  Seen in a budget:
 * a batch sends as many jobs at once as its --max-cost holds at what they are expected to cost. */
#include "core_world.h"

#define PRICE_NANO 1000u /* a token of `only-a` */

static double ratio(world_t *w)
{
    pst_core_endpoint_state_t e;
    for (uint32_t i = 0; pst_core_endpoint_at(w->core, i, &e); i++)
        if (pst_view_eqs(e.name.model, "only-a"))
            return e.input_ratio;
    fail_msg("no such endpoint");
    return 0;
}

/* Jobs of 100 estimated input tokens. */
static void live_through(world_t *w, uint32_t jobs, uint32_t input, uint32_t output)
{
    w->tasks_n = 0;
    submit(w, (wish_t){.models = {"one"}, .jobs = jobs});
    assert_int_equal(w->tasks_n, jobs);
    for (uint32_t i = 0; i < jobs; i++)
        outcome(w, i, (say_t){.verdict = PST_VERDICT_DONE, .input_tokens = input, .output_tokens = output});
}

/* How many go out at once for so many tokens' money. */
static uint32_t sent_for(world_t *w, uint64_t tokens, uint32_t output_limit)
{
    w->tasks_n = 0;
    w->output_limit = output_limit;
    submit(w, (wish_t){.models = {"one"}, .jobs = 100, .max_cost_nano = tokens * PRICE_NANO});
    uint32_t sent = w->tasks_n;
    for (uint32_t i = 0; i < sent; i++)
        outcome(w, i, DONE);
    return sent;
}

static world_t *one_worker(void)
{
    world_t *w = world_new();
    hello(w, WORKER, 256, NULL, 0);
    return w;
}

static void the_estimate_is_taken_at_first(void **state)
{
    (void)state;
    world_t *w = one_worker();
    assert_true(ratio(w) == 1);
    assert_int_equal(sent_for(w, 2000, 100), 10);
    world_free(w);
}

static void real_usage_corrects_the_estimate(void **state)
{
    (void)state;
    world_t *w = one_worker();
    live_through(w, 200, 200, 20);
    double r = ratio(w); /* (40,000 + 4,000) / (20,000 + 4,000) */
    assert_true(r > 1.83 && r < 1.84);
    assert_int_equal(sent_for(w, 2070, 100), 10); /* 183 + 24 each: that is where the bucket of 20 ends */
    world_free(w);
}

static void one_odd_prompt_moves_little(void **state)
{
    (void)state;
    world_t *w = one_worker();
    live_through(w, 1, 400, 20);
    assert_true(ratio(w) < 1.1);
    world_free(w);
}

static void no_ratio_is_past_four(void **state)
{
    (void)state;
    world_t *w = one_worker();
    live_through(w, 250, 100000, 20);
    assert_true(ratio(w) == 4);
    world_free(w);
}

/* Nobody said how long an answer may be: 256 tokens at first, then what 95 % of the answers took (112 is where the
 * bucket of 100 ends). */
static void answers_without_a_limit_are_as_long_as_those_before(void **state)
{
    (void)state;
    world_t *w = one_worker();
    assert_int_equal(sent_for(w, 3560, 0), 10);
    world_free(w);
    w = one_worker();
    live_through(w, 100, 100, 100);
    assert_int_equal(sent_for(w, 2120, 0), 10);
    world_free(w);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_estimate_is_taken_at_first),
        cmocka_unit_test(real_usage_corrects_the_estimate),
        cmocka_unit_test(one_odd_prompt_moves_little),
        cmocka_unit_test(no_ratio_is_past_four),
        cmocka_unit_test(answers_without_a_limit_are_as_long_as_those_before),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
