#include "unit.h"

#include "config_core.h"
#include "provider.h"

static pst_arena_t arena;

static pst_core_config_t core_of(const char *text, pst_config_t **ret)
{
    pst_config_errors_t errors = {0};
    pst_core_config_t c;
    if (pst_config_parse(pst_view_str(text), "test.yaml", pst_view(NULL, 0), ret, &errors))
        fail_msg("%s", errors.text);
    pst_config_errors_release(&errors);
    pst_arena_clear(&arena);
    pst_config_core(*ret, &arena, &c);
    return c;
}

/* What the broker believes of a wire protocol is what its adapter says. */
static void urls_and_parameters_are_the_adapters(void **state)
{
    (void)state;
    const pst_provider_t *p;
    for (unsigned i = 0; (p = pst_provider_at(i)); i++) {
        char text[256];
        pst_config_t *config = NULL;
        snprintf(text, sizeof text, "providers:\n  it: { api: %s, base_url: \"http://127.0.0.1:1/v1\", api_key: k }\n",
                 p->name);
        pst_core_config_t c = core_of(strcmp(p->name, "echo") ? text : "providers:\n  it: { api: echo }\n", &config);
        assert_int_equal(c.providers_n, 1);
        assert_int_equal(c.providers[0].urls, pst_provider_urls(p));
        assert_int_equal(c.providers[0].params, p->params);
        pst_config_destroy(&config);
    }
}

/* Anthropic counts the output that there was; all others a call's limit of it. */
static void a_protocol_says_what_is_reserved(void **state)
{
    (void)state;
    pst_config_t *config = NULL;
    pst_core_config_t c = core_of("providers:\n"
                                  "  one: { api: anthropic, base_url: \"https://h\" }\n"
                                  "  two: { api: azure, base_url: \"https://h\" }\n"
                                  "  three: { api: mistral, base_url: \"https://h/v1\" }\n",
                                  &config);
    assert_int_equal(c.providers[0].reserve, PST_RESERVE_EXPECTED);
    assert_int_equal(c.providers[1].reserve, PST_RESERVE_LIMIT);
    assert_int_equal(c.providers[2].reserve, PST_RESERVE_LIMIT);
    pst_config_destroy(&config);
}

static void limits_prices_and_models_are_carried_over(void **state)
{
    (void)state;
    pst_config_t *config = NULL;
    pst_core_config_t c = core_of("providers:\n"
                                  "  one: { api: echo, limits: { rpm: 60, itpm: 1000, otpm: 200, rpd: 9000, concurrency: 7 } }\n"
                                  "  two: { api: echo, limits: { tpm: 500, itpm: 1000 } }\n"
                                  "models:\n"
                                  "  a/b:\n"
                                  "    - { provider: two, model: x, price: { input: 1, output: 2 }, context: 9,"
                                  " limits: { rpm: 5 } }\n"
                                  "    - { provider: one, model: y, caches_prompts: true }\n",
                                  &config);
    assert_int_equal(c.providers_n, 2);
    assert_int_equal(c.providers[0].limit[PST_RATE_REQUESTS], 60);
    assert_int_equal(c.providers[0].limit[PST_RATE_INPUT], 1000);
    assert_int_equal(c.providers[0].limit[PST_RATE_OUTPUT], 200);
    assert_int_equal(c.providers[0].limit[PST_RATE_DAILY], 9000);
    assert_int_equal(c.providers[0].concurrency, 7);
    assert_int_equal(c.providers[1].limit[PST_RATE_TOKENS], 500);
    assert_int_equal(c.providers[1].limit[PST_RATE_INPUT], 1000);
    assert_int_equal(c.models_n, 1);
    assert_true(pst_view_eqs(c.models[0].name, "a/b"));
    assert_int_equal(c.models[0].count, 2);
    const pst_core_endpoint_t *e = &c.endpoints[c.models[0].first];
    assert_true(pst_view_eqs(c.providers[e->provider].name, "two"));
    assert_true(pst_view_eqs(e->model, "x"));
    assert_true(e->price_input == 1 && e->price_output == 2 && e->price_cached == 1);
    assert_int_equal(e->context, 9);
    assert_int_equal(e->limit[PST_RATE_REQUESTS], 5);
    assert_true(!e->caches_prompts && e[1].caches_prompts);
    pst_config_destroy(&config);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_and_parameters_are_the_adapters),
        cmocka_unit_test(a_protocol_says_what_is_reserved),
        cmocka_unit_test(limits_prices_and_models_are_carried_over),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    pst_arena_init(&arena, 0);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    pst_arena_release(&arena);
    return failed;
}
