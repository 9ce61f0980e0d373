/* `penstock catalog import`: fixtures/catalog has both sources in small, and what they become beside a catalog of
 * our own (tests/support/catalog_in_force.h). */
#include "drawn.h"

#include <unistd.h>

#include "catalog_in_force.h"
#include "cli/catalog.h"
#include "cli/cli.h"

#define FIXTURE(name) PST_FIXTURES "/catalog/" name

static pst_config_t *parse(pst_view_t text)
{
    pst_config_t *c = NULL;
    pst_config_errors_t errors = {0};
    if (pst_config_parse(text, "catalog", pst_view(NULL, 0), &c, &errors))
        print_error("%s", errors.text);
    pst_config_errors_release(&errors);
    assert_non_null(c);
    return c;
}

static pst_config_t *in_force(void)
{
    return parse(pst_view_str(catalog_in_force));
}

static char *read_whole(const char *path)
{
    FILE *f = fopen(path, "rbe");
    assert_non_null(f);
    char *text = calloc(1, 1u << 20);
    size_t n = fread(text, 1, (1u << 20) - 1, f);
    fclose(f);
    assert_true(n > 0);
    return text;
}

/* Into `out`: the models a source becomes, then a line for each reason something was left out for. */
static void import(const char *source)
{
    pst_config_t *force = in_force();
    pst_catalog_t c;
    pst_errbuf_t why = {""};
    pst_catalog_init(&c, force);
    assert_int_equal(pst_catalog_read(&c, pst_view_str(source), &why), PST_OK);
    pst_catalog_write(&c, pst_catalog_providers(pst_view_str(catalog_in_force)), &out);
    pst_config_t *check = parse(pst_buf_view(&out)); /* the whole is a catalog */
    assert_int_equal(check->endpoints_n, c.n);
    assert_int_equal(check->providers_n, force->providers_n);
    pst_config_destroy(&check);
    char *models = memmem(out.p, out.n, "\nmodels:\n", 9);
    assert_non_null(models);
    size_t skip = (size_t)(models - out.p) + 1;
    memmove(out.p, out.p + skip, out.n -= skip);
    for (int i = 0; i < PST_CATALOG_SKIPS; i++) {
        if (!c.skipped[i])
            continue;
        pst_buf_puts(&out, "# ");
        pst_catalog_put_skipped(&c, (pst_catalog_skip_t)i, &out);
        pst_buf_putc(&out, '\n');
    }
    if (c.more)
        pst_buf_puts(&out, "# more\n");
    pst_catalog_release(&c);
    pst_config_destroy(&force);
}

static void fixtures_become_what_is_beside_them(void **state)
{
    (void)state;
    static const char *const names[][2] = {
        {FIXTURE("litellm.json"), FIXTURE("litellm.yaml")},
        {FIXTURE("openrouter_models.json"), FIXTURE("openrouter_models.yaml")},
        {FIXTURE("openrouter_endpoints.json"), FIXTURE("openrouter_endpoints.yaml")},
    };
    for (size_t i = 0; i < PST_COUNT(names); i++) {
        char *source = read_whole(names[i][0]), *want = read_whole(names[i][1]);
        import(source);
        assert_drawn(want);
        free(source);
        free(want);
    }
}

#define CHAT "\"mode\":\"chat\",\"input_cost_per_token\":1e-06,\"output_cost_per_token\":2e-06}"
#define OPENAI "{\"litellm_provider\":\"openai\"," CHAT
#define GROQ "{\"litellm_provider\":\"groq\"," CHAT
#define PRICED ",\n        price: { input: 1, output: 2 } }\n"

static void names_are_quoted_where_yaml_would_misread_them(void **state)
{
    (void)state;
    import("{\"b\\\"c\\\\d\":" OPENAI ",\"a:x\":" OPENAI ",\"1.5\":" OPENAI ",\"No\":" OPENAI ",\"{x}\":" OPENAI
           ",\"#x\":" OPENAI "}");
    assert_drawn("models:\n"
                 "  \"openai/#x\":\n    - { provider: openai, model: \"#x\"" PRICED
                 "  openai/1.5:\n    - { provider: openai, model: \"1.5\"" PRICED
                 "  \"openai/a:x\":\n    - { provider: openai, model: \"a:x\"" PRICED
                 "  \"openai/b\\\"c\\\\d\":\n    - { provider: openai, model: \"b\\\"c\\\\d\"" PRICED
                 "  openai/no:\n    - { provider: openai, model: \"No\"" PRICED
                 "  \"openai/{x}\":\n    - { provider: openai, model: \"{x}\"" PRICED);
}

static void names_that_no_catalog_can_hold_are_left_out(void **state)
{
    (void)state;
    static const char *const bad[] = {"a b", "a\\u0000b", "a\\u001b[2J", "a\\u007f", "caf\\u00e9", "a\\nb", ""};
    char source[1024];
    for (size_t i = 0; i < PST_COUNT(bad); i++) {
        snprintf(source, sizeof source, "{\"x\":" OPENAI ",\"%s\":" OPENAI "}", bad[i]);
        import(source);
        assert_drawn("models:\n  openai/x:\n    - { provider: openai, model: x" PRICED
                     "# 1 skipped: name that is too long, or has more than printable ASCII without blanks\n");
    }
    /* one that is short enough upstream, but not with the lab before it */
    char name[200];
    memset(name, 'n', sizeof name - 1);
    for (size_t n = 121; n <= 122; n++) {
        snprintf(source, sizeof source, "{\"x\":" OPENAI ",\"%.*s\":" OPENAI "}", (int)n, name);
        import(source);
        assert_int_equal(memmem(out.p, out.n, "# 1 skipped: name", 17) != NULL, n == 122);
        pst_buf_clear(&out);
    }
}

/* Nobody has said that two upstream names of one provider are one model; of two providers the same one is. */
static void a_name_is_shared_where_the_upstream_names_are_the_same(void **state)
{
    (void)state;
    import("{\"groq/lab/M\":" GROQ ",\"groq/lab/m\":" GROQ ",\"together_ai/lab/m\":"
           "{\"litellm_provider\":\"together_ai\"," CHAT "}");
    assert_drawn("models:\n  lab/m:\n"
                 "    - { provider: groq, model: lab/M" PRICED "    - { provider: together, model: lab/m" PRICED
                 "# 1 skipped: said again of the same provider and model: the first is taken (lab/m 1)\n");
}

static void the_order_of_the_source_does_not_matter(void **state)
{
    (void)state;
    import("{\"b\":" OPENAI ",\"groq/openai/b\":" GROQ ",\"a\":" OPENAI "}");
    char *first = strndup(out.p, out.n);
    pst_buf_clear(&out);
    import("{\"a\":" OPENAI ",\"b\":" OPENAI ",\"groq/openai/b\":" GROQ "}");
    assert_drawn(first);
    free(first);
}

static void prices_have_no_noise(void **state)
{
    (void)state;
    static const struct {
        double usd;
        const char *text;
    } table[] = {
        {0, "0"},           {1.5e-07 * 1e6, "0.15"},      {1.1e-06 * 1e6, "1.1"},   {4.125e-06 * 1e6, "4.125"},
        {6e-05 * 1e6, "60"}, {1e-09 * 1e6, "0.001"},       {1e-09, "0.000000001"},   {100000, "100000"},
        {0.1 + 0.2, "0.3"}, {1.0 / 3, "0.333333333333"}, {2.8e-07 * 1e6, "0.28"},
    };
    for (size_t i = 0; i < PST_COUNT(table); i++) {
        pst_catalog_put_usd(&out, table[i].usd);
        assert_drawn(table[i].text);
    }
}

#define WITH_PRICE(p) "{\"data\":[{\"id\":\"a/ok\",\"pricing\":{\"prompt\":\"0\",\"completion\":\"0\"}}," \
                      "{\"id\":\"a/b\",\"pricing\":{\"prompt\":" p ",\"completion\":\"0\"}}]}"

static void prices_that_are_none_are_left_out(void **state)
{
    (void)state;
    static const struct {
        const char *source;
        bool dynamic;
    } table[] = {
        {WITH_PRICE("\"-1\""), true},      {WITH_PRICE("-0.000001"), true},    {WITH_PRICE("\"\""), false},
        {WITH_PRICE("\"0x1\""), false},    {WITH_PRICE("\"nan\""), false},     {WITH_PRICE("\"1e400\""), false},
        {WITH_PRICE("\"0.1 \""), false},   {WITH_PRICE("\"1\\u0000\""), false}, {WITH_PRICE("true"), false},
        {WITH_PRICE("null"), false},       {WITH_PRICE("\"0.2\""), false},     {WITH_PRICE("\"1e-30\""), false},
        {WITH_PRICE("[\"0.1\"]"), false},
    };
    for (size_t i = 0; i < PST_COUNT(table); i++) {
        import(table[i].source);
        char want[256];
        snprintf(want, sizeof want,
                 "models:\n  a/ok:\n    - { provider: openrouter, model: a/ok,\n"
                 "        price: { input: 0, output: 0 } }\n"
                 "# 1 skipped: %s\n",
                 table[i].dynamic ? "price unknown or made for each call (-1)"
                                  : "no price per token, or none that can be one");
        assert_drawn(want);
    }
    import(WITH_PRICE("\"1.5e-7\"")); /* an exponent is as good */
    assert_non_null(memmem(out.p, out.n, "price: { input: 0.15, output: 0 }", 33));
    pst_buf_clear(&out);
    import(WITH_PRICE("\"-0\""));
    assert_null(memmem(out.p, out.n, "-0", 2));
}

static void refuse(const char *source, size_t n, const char *want)
{
    pst_config_t *force = in_force();
    pst_catalog_t c;
    pst_errbuf_t why = {""};
    pst_catalog_init(&c, force);
    assert_int_equal(pst_catalog_read(&c, pst_view(source, n), &why), PST_E_INVALID);
    assert_string_equal(why.text, want);
    pst_catalog_release(&c);
    pst_config_destroy(&force);
}

#define NEITHER                                                                                                    \
    "neither LiteLLM's model_prices_and_context_window.json nor what OpenRouter answers to /api/v1/models or "     \
    "/api/v1/models/AUTHOR/SLUG/endpoints: name such a file"
#define NO_JSON "no JSON from here on: fetch the file again, whole"

static void what_is_no_source_is_refused_with_its_place(void **state)
{
    (void)state;
    static const char *const table[][2] = {
        {"", "1:1: " NO_JSON},
        {"<html>", "1:1: " NO_JSON},
        {"{\n  \"a\": {\n    \"litellm_provider\": \"openai\",,", "3:34: " NO_JSON},
        {"{\"a\": {\"litellm_provider\": \"ope", "1:32: " NO_JSON},
        {"\n []", "2:2: " NEITHER},
        {"{}", "1:1: " NEITHER},
        {"\"litellm_provider\"", "1:1: " NEITHER},
        {"{\"litellm_provider\": \"openai\"}", "1:1: " NEITHER},
        {"{\"data\": []}", "1:1: " NEITHER},
        {"{\"object\": \"list\", \"data\": [{\"id\": \"gpt\", \"object\": \"model\"}]}", "1:1: " NEITHER},
        {"{\"data\": {\"id\": \"a/b\", \"endpoints\": []}}", "1:1: " NEITHER},
        {"{\"error\": {\"message\": \"no such model\", \"code\": 404}}", "1:1: " NEITHER},
    };
    for (size_t i = 0; i < PST_COUNT(table); i++)
        refuse(table[i][0], strlen(table[i][0]), table[i][1]);
}

static void what_is_too_large_is_refused(void **state)
{
    (void)state;
    static const char too_large[] = "1:1: larger than any list of prices: name the right file";
    size_t n = PST_CATALOG_SOURCE_BYTES_MAX + 1;
    char *text = malloc(n);
    memset(text, ' ', n);
    refuse(text, n, too_large);
    memset(text, ',', PST_CATALOG_SOURCE_VALUES_MAX);
    refuse(text, PST_CATALOG_SOURCE_VALUES_MAX, too_large);
    memset(text, '[', 1000);
    refuse(text, 1000, "1:129: " NO_JSON); /* deeper than any JSON we read */
    free(text);
    pst_buf_t many;
    pst_buf_init(&many, 0);
    for (unsigned i = 0; i <= PST_CATALOG_ENTRIES_MAX; i++)
        pst_buf_printf(&many, "%s\"m%u\":%s", i ? "," : "{", i, OPENAI);
    pst_buf_puts(&many, "}");
    refuse(many.p, many.n, "1:1: more endpoints than a catalog holds: take some out");
    pst_buf_release(&many);
}

static void providers_are_taken_as_they_stand(void **state)
{
    (void)state;
    static const char *const table[][2] = {
        {"", ""},
        {"models: {}\n", ""},
        {"  providers: {}\n", ""},
        {"providers:\n  a: 1\n", "providers:\n  a: 1\n"},
        {"providers: { a: 1 }", "providers: { a: 1 }"},
        {"x: 1\nproviders:\n  a: 1\n\n  # of b\n  b: 2\n# of c\n\nc: 1\n", "providers:\n  a: 1\n\n  # of b\n  b: 2\n"},
        {"providers:\r\n  a: 1\r\n\r\nmodels:\r\n", "providers:\r\n  a: 1\r\n"},
    };
    for (size_t i = 0; i < PST_COUNT(table); i++) {
        pst_buf_putv(&out, pst_catalog_providers(pst_view_str(table[i][0])));
        assert_drawn(table[i][1]);
    }
}

/* The command on files. */

static char folder[] = "/tmp/pst-catalog-XXXXXX";

static void put_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "wbe");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    fclose(f);
}

/* Standard output goes nowhere meanwhile. */
static int quietly(int (*command)(const pst_cli_args_t *a), const pst_cli_args_t *a)
{
    fflush(stdout);
    int own = dup(STDOUT_FILENO);
    assert_non_null(freopen("/dev/null", "w", stdout));
    int code = command(a);
    fflush(stdout);
    dup2(own, STDOUT_FILENO);
    close(own);
    return code;
}

static void what_is_imported_can_be_checked_and_imported_into(void **state)
{
    (void)state;
    char force[64], made[64], again[64];
    assert_non_null(mkdtemp(folder));
    snprintf(force, sizeof force, "%s/force.yaml", folder);
    snprintf(made, sizeof made, "%s/made.yaml", folder);
    snprintf(again, sizeof again, "%s/again.yaml", folder);
    put_file(force, catalog_in_force);
    setenv("HOME", folder, 1);
    setenv("T_KEY", "k", 1);
    unsetenv("PENSTOCK_CONFIG");
    setenv("PENSTOCK_CATALOG", force, 1);
    pst_cli_args_t a = {.operand = {"import", FIXTURE("litellm.json")}, .operands = 2, .output = made};
    assert_int_equal(quietly(pst_cli_catalog, &a), EXIT_WELL);
    setenv("PENSTOCK_CATALOG", made, 1);
    assert_int_equal(quietly(pst_cli_check, &(pst_cli_args_t){.broker = "tcp://127.0.0.1:1"}), EXIT_WELL);
    a.output = again; /* the new one in force, as good as the old */
    assert_int_equal(quietly(pst_cli_catalog, &a), EXIT_WELL);
    char *first = read_whole(made), *second = read_whole(again);
    assert_string_equal(first, second);
    free(first);
    free(second);
    assert_int_equal(unlink(made) | unlink(again) | unlink(force) | rmdir(folder), 0);
}

static void the_command_refuses_and_writes_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *verb, *text;
        int code;
    } table[] = {
        {"export", "{}", EXIT_USAGE},
        {"import", "{}", EXIT_REFUSED},
        {"import", "{\"a\": {\"litellm_provider\": \"nobody\", \"mode\": \"chat\"}}", EXIT_REFUSED},
        {"import", NULL, EXIT_FAILED},
    };
    char source[64], made[64], dir[] = "/tmp/pst-catalog-XXXXXX";
    assert_non_null(mkdtemp(dir));
    snprintf(source, sizeof source, "%s/source.json", dir);
    snprintf(made, sizeof made, "%s/made.yaml", dir);
    setenv("PENSTOCK_CATALOG", PST_SOURCE "/deploy/catalog.yaml", 1);
    for (size_t i = 0; i < PST_COUNT(table); i++) {
        if (table[i].text)
            put_file(source, table[i].text);
        else
            assert_int_equal(unlink(source), 0);
        pst_cli_args_t a = {.operand = {table[i].verb, source}, .operands = 2, .output = made};
        assert_int_equal(quietly(pst_cli_catalog, &a), table[i].code);
        assert_int_not_equal(access(made, F_OK), 0);
    }
    assert_int_equal(rmdir(dir), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
static const struct CMUnitTest tests[] = {
    CASE(fixtures_become_what_is_beside_them),
    CASE(names_are_quoted_where_yaml_would_misread_them),
    CASE(names_that_no_catalog_can_hold_are_left_out),
    CASE(a_name_is_shared_where_the_upstream_names_are_the_same),
    CASE(the_order_of_the_source_does_not_matter),
    CASE(prices_have_no_noise),
    CASE(prices_that_are_none_are_left_out),
    CASE(what_is_no_source_is_refused_with_its_place),
    CASE(what_is_too_large_is_refused),
    CASE(providers_are_taken_as_they_stand),
    CASE(what_is_imported_can_be_checked_and_imported_into),
    CASE(the_command_refuses_and_writes_nothing),
};

UNIT_MAIN(tests)
