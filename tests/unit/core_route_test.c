/* core_route_test.c - OpenRouter's routing fields, a rule a row.
 *
 * Every endpoint takes one call at a time, so the order in which a batch fills them is the order in which the router
 * wants them; one that it does not fill is no candidate.  The endpoints, cheapest first:
 *
 *   model  endpoint        price in/out  what there is to say of it
 *   m      cheap/m1        1 / 1         fp8, keeps and trains
 *   m      fast/m2         2 / 2         mxfp4, variant turbo, no tools
 *   m      safe/m3         3 / 3         deny, zdr, quantization not known
 *   m      fast/m4         4 / 4         fp16
 *   n      cheap/n1        5 / 5, 0.1 a request   fp8 */
#include "core_world.h"

#define SOME_CALLS 100

static void configure_all(world_t *w)
{
    static const uint32_t all = PST_PARAMS_ALL;
    pst_core_provider_t p[] = {
        {.name = PST_VIEW_LIT("cheap"), .urls = 1, .params = all},
        {.name = PST_VIEW_LIT("fast"), .urls = 1, .params = all},
        {.name = PST_VIEW_LIT("safe"), .urls = 1, .params = all, .deny_data_collection = true, .zdr = true},
    };
    pst_core_endpoint_t e[] = {
        {.provider = 0, .model = PST_VIEW_LIT("m1"), .price_input = 1, .price_output = 1, .concurrency = 1,
         .quantization = PST_VIEW_LIT("fp8"), .params = all},
        {.provider = 1, .model = PST_VIEW_LIT("m2"), .price_input = 2, .price_output = 2, .concurrency = 1,
         .quantization = PST_VIEW_LIT("mxfp4"), .variant = PST_VIEW_LIT("turbo"),
         .params = all & ~(uint32_t)PST_PARAM_TOOLS},
        {.provider = 2, .model = PST_VIEW_LIT("m3"), .price_input = 3, .price_output = 3, .concurrency = 1,
         .params = all},
        {.provider = 1, .model = PST_VIEW_LIT("m4"), .price_input = 4, .price_output = 4, .concurrency = 1,
         .quantization = PST_VIEW_LIT("fp16"), .params = all},
        {.provider = 0, .model = PST_VIEW_LIT("n1"), .price_input = 5, .price_output = 5, .price_request = 0.1,
         .concurrency = 1, .quantization = PST_VIEW_LIT("fp8"), .params = all},
    };
    pst_core_model_t m[] = {{PST_VIEW_LIT("m"), 0, 4}, {PST_VIEW_LIT("n"), 4, 1}};
    configure(w, &(pst_core_config_t){p, 3, e, 5, m, 2});
}

/* ---- wishes ------------------------------------------------------------------------------------------------------- */

typedef struct fields {
    const char *models[3], *order[3], *only[3], *ignore[3], *quantizations[3];
    bool no_fallbacks, parameters_may_miss, deny, zdr, across;
    pst_sort_t sort;
    double max_prompt, max_completion, max_request; /* 0: none */
    uint32_t params;
    double min_throughput[PST_QUANTILES], max_latency[PST_QUANTILES];
} fields_t;

static pst_names_t names(pst_view_t room[3], const char *const text[3])
{
    pst_names_t list = {room, 0};
    for (; list.n < 3 && text[list.n]; list.n++)
        room[list.n] = pst_view_str(text[list.n]);
    return list;
}

static pst_view_t encode(world_t *w, const fields_t *f)
{
    static const char *const model[3] = {"m"};
    pst_view_t room[5][3];
    pst_route_t r = {.models = names(room[0], f->models[0] ? f->models : model),
                     .order = names(room[1], f->order),
                     .only = names(room[2], f->only),
                     .ignore = names(room[3], f->ignore),
                     .quantizations = names(room[4], f->quantizations),
                     .allow_fallbacks = !f->no_fallbacks,
                     .require_parameters = !f->parameters_may_miss,
                     .deny_data_collection = f->deny,
                     .zdr = f->zdr,
                     .sort = (uint8_t)f->sort,
                     .max_price_prompt = f->max_prompt ? f->max_prompt : -1,
                     .max_price_completion = f->max_completion ? f->max_completion : -1,
                     .max_price_request = f->max_request ? f->max_request : -1,
                     .params = f->params,
                     .across_models = f->across};
    memcpy(r.min_throughput, f->min_throughput, sizeof r.min_throughput);
    memcpy(r.max_latency, f->max_latency, sizeof r.max_latency);
    return encoded(w, &r);
}

static void submit_routed(world_t *w, const fields_t *f, uint32_t jobs)
{
    pass(w, 2 * PST_SEC); /* what is known of an endpoint is looked at each second */
    w->tasks_n = 0;
    w->ended = false;
    submit(w, (wish_t){.route = encode(w, f), .jobs = jobs});
}

/* The endpoints in the order they were filled, then the batch is taken back. */
static const char *order_of(world_t *w, const fields_t *f)
{
    static char text[256];
    size_t n = 0;
    text[0] = '\0';
    submit_routed(w, f, JOBS);
    for (uint32_t i = 0; i < w->tasks_n; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", i ? " " : "", w->tasks[i].model);
    batch_req(w, PST_EV_CANCEL);
    for (uint32_t i = 0, tasks = w->tasks_n; i < tasks; i++)
        outcome(w, i, DONE);
    pass(w, PST_SEC);
    assert_true(w->ended);
    return text;
}

/* Calls through one endpoint: so many answers, and an error before each `fail_every`th. */
static void live_through(world_t *w, const char *only, const char *model, uint32_t fail_every, say_t done)
{
    fields_t f = {.only = {only}};
    if (strcmp(model, "m4") == 0)
        f.quantizations[0] = "fp16";
    submit_routed(w, &f, SOME_CALLS);
    uint32_t failed = 0;
    for (uint32_t i = 0; !w->ended; i++) {
        if (i == w->tasks_n)
            pass(w, 61 * PST_SEC / 4); /* what failed waits to be tried again */
        assert_true(i < w->tasks_n);
        assert_string_equal(w->tasks[i].model, model);
        bool fail = fail_every && i % fail_every == 0 && failed < SOME_CALLS / fail_every;
        failed += fail;
        outcome(w, i, fail ? SERVER : done);
    }
}

/* ---- what may serve, and in which order ---------------------------------------------------------------------------- */

static const struct {
    const char *rule;
    fields_t fields;
    const char *order;
} rules[] = {
    {"default: load balanced by price, the cheapest most", {.sort = PST_SORT_DEFAULT}, "m1 m2 m3 m4"},
    {"order: these providers first, in this order, then the others",
     {.order = {"safe", "cheap"}}, "m3 m1 m2 m4"},
    {"order: a base slug stands for all variants of its provider", {.order = {"fast"}}, "m2 m4 m1 m3"},
    {"order: a full slug stands for one of them", {.order = {"fast/turbo", "safe"}}, "m2 m3 m1 m4"},
    {"order: a provider that does not serve the model is passed over", {.order = {"nobody", "safe"}}, "m3 m1 m2 m4"},
    {"allow_fallbacks false: only the providers of `order`",
     {.order = {"safe", "cheap"}, .no_fallbacks = true}, "m3 m1"},
    {"only: no others", {.only = {"safe", "cheap"}}, "m1 m3"},
    {"only: a base slug matches all variants", {.only = {"fast"}}, "m2 m4"},
    {"only: a full slug matches one", {.only = {"fast/turbo"}}, "m2"},
    {"ignore: all but these", {.ignore = {"cheap"}}, "m2 m3 m4"},
    {"ignore: a base slug matches all variants", {.ignore = {"fast"}}, "m1 m3"},
    {"ignore: a full slug matches one", {.ignore = {"fast/turbo"}}, "m1 m3 m4"},
    {"only and ignore: both hold", {.only = {"fast", "safe"}, .ignore = {"fast/turbo"}}, "m3 m4"},
    {"require_parameters: only who takes all that the request uses", {.params = PST_PARAM_TOOLS}, "m1 m3 m4"},
    {"require_parameters false: who does not take it may serve too",
     {.params = PST_PARAM_TOOLS, .parameters_may_miss = true}, "m1 m2 m3 m4"},
    {"data_collection deny: only who stores nothing for training", {.deny = true}, "m3"},
    {"zdr: only who retains nothing", {.zdr = true}, "m3"},
    {"quantizations: only these", {.quantizations = {"fp8", "fp16"}}, "m1 m4"},
    {"quantizations: fp4 covers its microscaled forms", {.quantizations = {"fp4"}}, "m2"},
    {"quantizations: one that nobody named is `unknown`", {.quantizations = {"unknown"}}, "m3"},
    {"sort price: the cheapest first", {.sort = PST_SORT_PRICE}, "m1 m2 m3 m4"},
    {"max_price prompt: a bound that is not passed", {.max_prompt = 2}, "m1 m2"},
    {"max_price completion: the same of the answer's price", {.max_completion = 3}, "m1 m2 m3"},
    {"max_price request: the same of a call's", {.models = {"n", "m"}, .max_request = 0.05}, "m1 m2 m3 m4"},
    {"models: a fallback waits while the first model's endpoints are only busy",
     {.models = {"n", "m"}}, "n1"},
    {"sort partition none: the endpoints of all models in one line",
     {.models = {"n", "m"}, .sort = PST_SORT_PRICE, .across = true}, "m1 m2 m3 m4 n1"},
};

static void each_rule_holds(void **state)
{
    (void)state;
    for (size_t i = 0; i < PST_COUNT(rules); i++) {
        world_t *w = world_new();
        configure_all(w);
        hello(w, WORKER, 64, NULL, 0);
        const char *order = order_of(w, &rules[i].fields);
        if (strcmp(order, rules[i].order) != 0)
            fail_msg("%s: %s instead of %s", rules[i].rule, order, rules[i].order);
        world_free(w);
    }
}

static uint32_t dropped_by(world_t *w, const char *only, uint32_t params)
{
    fields_t f = {.only = {only}, .params = params, .parameters_may_miss = true};
    submit_routed(w, &f, 1);
    assert_int_equal(w->tasks_n, 1);
    outcome(w, 0, DONE);
    pass(w, PST_SEC);
    assert_true(w->ended);
    return w->last_result.dropped;
}

static void a_result_says_what_its_request_went_without(void **state)
{
    (void)state;
    world_t *w = world_new();
    configure_all(w);
    hello(w, WORKER, 64, NULL, 0);
    assert_int_equal(dropped_by(w, "cheap", PST_PARAM_TOOLS), 0);
    assert_int_equal(dropped_by(w, "fast/turbo", 0), 0);
    assert_int_equal(dropped_by(w, "fast/turbo", PST_PARAM_TOOLS), PST_PARAM_TOOLS);
    world_free(w);
}

/* ---- what was measured --------------------------------------------------------------------------------------------- */

static world_t *experienced(void)
{
    world_t *w = world_new();
    configure_all(w);
    hello(w, WORKER, 64, NULL, 0);
    /* 10, 100, 50 and 200 tokens a second; 2, 1, 0.5 and 4 s a call */
    live_through(w, "cheap", "m1", 0, (say_t){.verdict = PST_VERDICT_DONE, .latency_us = 2000000, .output_tokens = 20});
    live_through(w, "fast/turbo", "m2", 0,
                 (say_t){.verdict = PST_VERDICT_DONE, .latency_us = 1000000, .output_tokens = 100});
    live_through(w, "safe", "m3", 0, (say_t){.verdict = PST_VERDICT_DONE, .latency_us = 500000, .output_tokens = 25});
    live_through(w, "fast", "m4", 0, (say_t){.verdict = PST_VERDICT_DONE, .latency_us = 4000000, .output_tokens = 800});
    return w;
}

static const struct {
    const char *rule;
    fields_t fields;
    const char *order;
} measured_rules[] = {
    {"sort throughput: the fastest first, prices aside", {.sort = PST_SORT_THROUGHPUT}, "m4 m2 m3 m1"},
    {"sort latency: the shortest call first", {.sort = PST_SORT_LATENCY}, "m3 m2 m1 m4"},
    {"order goes before sort", {.order = {"cheap"}, .sort = PST_SORT_THROUGHPUT}, "m1 m4 m2 m3"},
    {"preferred_min_throughput: who is slower comes last, and is not left out",
     {.min_throughput = {40}}, "m2 m3 m4 m1"},
    {"preferred_max_latency: who takes longer comes last", {.max_latency = {1.5}}, "m2 m3 m1 m4"},
    {"preferences: each of the quantiles", {.max_latency = {0, 0, 1.5}}, "m2 m3 m1 m4"},
    {"preferences: nobody meets them, then they change nothing", {.min_throughput = {1000}}, "m1 m2 m3 m4"},
    {"sort partition none: the fastest of all models; one not measured goes first, to be measured",
     {.models = {"m", "n"}, .sort = PST_SORT_THROUGHPUT, .across = true}, "n1 m4 m2 m3 m1"},
};

static void measured_speeds_decide(void **state)
{
    (void)state;
    for (size_t i = 0; i < PST_COUNT(measured_rules); i++) {
        world_t *w = experienced();
        const char *order = order_of(w, &measured_rules[i].fields);
        if (strcmp(order, measured_rules[i].order) != 0)
            fail_msg("%s: %s instead of %s", measured_rules[i].rule, order, measured_rules[i].order);
        world_free(w);
    }
}

/* Uptime 91 % comes later, 67 % last; five minutes later all is forgotten. */
static void uptime_decides_before_price(void **state)
{
    (void)state;
    world_t *w = world_new();
    configure_all(w);
    hello(w, WORKER, 64, NULL, 0);
    live_through(w, "cheap", "m1", 2, DONE);
    live_through(w, "fast/turbo", "m2", 10, DONE);
    live_through(w, "safe", "m3", 0, DONE);
    live_through(w, "fast", "m4", 50, DONE); /* 98 % */
    assert_string_equal(order_of(w, &(fields_t){.sort = PST_SORT_DEFAULT}), "m3 m4 m2 m1");
    assert_string_equal(order_of(w, &(fields_t){.sort = PST_SORT_PRICE}), "m3 m4 m2 m1");
    assert_string_equal(order_of(w, &(fields_t){.order = {"cheap"}}), "m1 m3 m4 m2"); /* named: taken as it is */
    pass(w, 331 * PST_SEC);
    assert_string_equal(order_of(w, &(fields_t){.sort = PST_SORT_DEFAULT}), "m1 m2 m3 m4");
    world_free(w);
}

/* ---- falling back -------------------------------------------------------------------------------------------------- */

static const say_t REFUSED = {.verdict = PST_VERDICT_FINAL, .cause = PST_CAUSE_CONTEXT_LENGTH, .status = 400};

/* A request that one model refuses is tried with the next, in OpenRouter's order, and never again with the first. */
static void a_refused_request_goes_to_the_next_model(void **state)
{
    (void)state;
    world_t *w = world_new();
    configure_all(w);
    hello(w, WORKER, 64, NULL, 0);
    submit_routed(w, &(fields_t){.models = {"m", "n"}}, 1);
    assert_string_equal(w->tasks[0].model, "m1");
    outcome(w, 0, REFUSED);
    assert_string_equal(w->tasks[1].model, "n1");
    outcome(w, 1, REFUSED);
    assert_int_equal(w->tasks_n, 2);
    assert_int_equal(w->last_result.cause, PST_CAUSE_CONTEXT_LENGTH);
    assert_int_equal(w->last_attempts, 2);
    world_free(w);
}

/* With all models in one line the one that refused is given up, wherever it stood. */
static void in_one_line_the_refusing_model_is_given_up(void **state)
{
    (void)state;
    world_t *w = world_new();
    configure_all(w);
    hello(w, WORKER, 64, NULL, 0);
    submit_routed(w, &(fields_t){.models = {"n", "m"}, .sort = PST_SORT_PRICE, .across = true}, 1);
    assert_string_equal(w->tasks[0].model, "m1");
    outcome(w, 0, REFUSED);
    assert_string_equal(w->tasks[1].model, "n1");
    outcome(w, 1, DONE);
    assert_int_equal(w->summary.completed, 1);
    world_free(w);
}

/* While the first model is parked its fallback serves; a job that fails there goes back to wait for the first. */
static void a_parked_model_is_not_given_up(void **state)
{
    (void)state;
    static const say_t key = {.verdict = PST_VERDICT_PARK, .cause = PST_CAUSE_AUTHENTICATION, .status = 401};
    world_t *w = world_new();
    configure_all(w);
    hello(w, WORKER, 64, NULL, 0);
    submit_routed(w, &(fields_t){.models = {"n", "m"}, .only = {"cheap"}}, 1);
    assert_string_equal(w->tasks[0].model, "n1");
    outcome(w, 0, key);
    assert_string_equal(w->tasks[1].model, "m1");
    outcome(w, 1, REFUSED);
    assert_int_equal(w->tasks_n, 2);
    assert_false(w->ended);
    configure_all(w); /* a reload lets it go */
    assert_string_equal(w->tasks[2].model, "n1");
    outcome(w, 2, DONE);
    assert_int_equal(w->summary.completed, 1);
    world_free(w);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_rule_holds),
    cmocka_unit_test(a_result_says_what_its_request_went_without),
        cmocka_unit_test(measured_speeds_decide),
        cmocka_unit_test(uptime_decides_before_price),
        cmocka_unit_test(a_refused_request_goes_to_the_next_model),
        cmocka_unit_test(in_one_line_the_refusing_model_is_given_up),
        cmocka_unit_test(a_parked_model_is_not_given_up),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
