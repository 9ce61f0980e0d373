#include "unit.h"

#include <dirent.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../worker/provider.h"
#include "proc/clock.h"
#include "proc/config.h"

/* proto knows no worker: that both name the same bits is seen here. */
_Static_assert(PST_CONFIG_OPT_MAX_COMPLETION_TOKENS == PST_EP_MAX_COMPLETION_TOKENS, "options");
_Static_assert(PST_CONFIG_OPT_MAX_TOKENS == PST_EP_MAX_TOKENS, "options");
_Static_assert(PST_CONFIG_OPT_NO_DEVELOPER == PST_EP_NO_DEVELOPER, "options");
_Static_assert(PST_CONFIG_OPT_NO_STORE == PST_EP_NO_STORE, "options");
_Static_assert(PST_CONFIG_OPT_NO_SAMPLING == PST_EP_NO_SAMPLING, "options");
_Static_assert(PST_CONFIG_OPT_NO_RESPONSES == PST_EP_NO_RESPONSES, "options");

static const char catalog[] =
    "providers:\n"
    "  openai: { api: openai, base_url: \"https://api.openai.com/v1\", api_key: \"${T_OPENAI_KEY}\",\n"
    "            options: [max_completion_tokens] }\n"
    "  anthropic: { api: anthropic, base_url: \"https://api.anthropic.com\", api_key: \"${T_ANTHROPIC_KEY}\" }\n"
    "  openrouter: { api: openai, base_url: \"https://openrouter.ai/api/v1\", api_key: \"${T_OPENROUTER_KEY}\" }\n"
    "models:\n"
    "  openai/small:\n"
    "    - { provider: openai, model: small, price: { input: 0.40, cached: 0.10, output: 1.60 },\n"
    "        context: 1000, max_output: 100, caches_prompts: true }\n"
    "    - { provider: openrouter, model: openai/small, price: { input: 0.40, output: 1.60 } }\n"
    "  anthropic/big: &big\n"
    "    - { provider: anthropic, model: big-5, price: { input: 2, output: 10 }, options: [no_sampling] }\n"
    "  anthropic/big.5: *big\n";

static pst_err_t parse(const char *text, pst_config_t **ret, pst_config_errors_t *errors)
{
    *ret = NULL;
    *errors = (pst_config_errors_t){0};
    return pst_config_parse(pst_view_str(text), "p.yaml", pst_view_str(catalog), ret, errors);
}

static pst_config_t *good(const char *text)
{
    pst_config_t *c;
    pst_config_errors_t errors;
    pst_err_t e = parse(text, &c, &errors);
    if (e)
        print_error("%s", errors.text);
    assert_int_equal(e, PST_OK);
    assert_int_equal(errors.count, 0);
    assert_null(errors.text);
    return c;
}

/* The text gives exactly these lines of findings. */
static void bad(const char *text, const char *want)
{
    pst_config_t *c;
    pst_config_errors_t errors;
    assert_int_equal(parse(text, &c, &errors), PST_E_CONFIG);
    assert_null(c);
    assert_non_null(errors.text);
    assert_string_equal(errors.text, want);
    unsigned lines = 0;
    for (const char *p = errors.text; (p = strchr(p, '\n')); p++)
        lines++;
    assert_int_equal(errors.count, lines);
    pst_config_errors_release(&errors);
    assert_null(errors.text);
}

static const pst_config_provider_t *provider(const pst_config_t *c, const char *name)
{
    int i = pst_config_provider_find(c, pst_view_str(name));
    assert_true(i >= 0);
    return &c->providers[i];
}

static const pst_config_endpoint_t *endpoint(const pst_config_t *c, const char *model, uint32_t i)
{
    const pst_config_model_t *m = pst_config_model_find(c, pst_view_str(model));
    assert_non_null(m);
    assert_in_range(i, 0, m->count - 1);
    return &c->endpoints[m->first + i];
}

static int forget_keys(void **state)
{
    (void)state;
    unsetenv("T_OPENAI_KEY");
    unsetenv("T_ANTHROPIC_KEY");
    unsetenv("T_OPENROUTER_KEY");
    unsetenv("T_REDIS_URL");
    return 0;
}

static void defaults_of_an_empty_file(void **state)
{
    (void)state;
    const char *const texts[] = {"", "# nothing\n", "{}\n", "~\n"};
    for (size_t i = 0; i < PST_COUNT(texts); i++) {
        pst_config_t *c = good(texts[i]);
        assert_string_equal(c->path, "p.yaml");
        assert_string_equal(c->broker_clients, "tcp://127.0.0.1:7701");
        assert_string_equal(c->broker_workers, "tcp://127.0.0.1:7702");
        assert_string_equal(c->broker_metrics, "127.0.0.1:7709");
        assert_string_equal(c->gateway_listen, "127.0.0.1:7700");
        assert_null(c->gateway_webhook_secret);
        assert_false(c->gateway_webhook_private);
        assert_null(c->redis_url);
        assert_int_equal(c->durability, PST_DUR_FSYNCED);
        assert_int_equal(c->redis_maxmemory, 0);
        assert_int_equal(c->line_bytes_max, 32u << 20);
        assert_int_equal(c->prefix_bytes_max, 32u << 10);
        assert_int_equal(c->prefix_bytes_min, 4u << 10);
        assert_int_equal(c->providers_n, 0);
        assert_int_equal(c->models_n, 0);
        assert_null(pst_config_model_find(c, PST_VIEW_LIT("openai/small")));
        pst_config_destroy(&c);
        assert_null(c);
    }
}

static void environment_switches_providers_on(void **state)
{
    (void)state;
    setenv("T_ANTHROPIC_KEY", "k", 1);
    setenv("T_OPENAI_KEY", "", 1);
    pst_config_t *c = good("broker: { metrics: \"\" }\n");
    assert_int_equal(c->providers_n, 1);
    assert_string_equal(c->providers[0].name, "anthropic");
    assert_string_equal(c->providers[0].base_url, "https://api.anthropic.com/v1");
    assert_string_equal(c->providers[0].key_ref, "${T_ANTHROPIC_KEY}");
    assert_int_equal(c->providers[0].line, 0);
    assert_true(c->providers[0].timeout == 600 * PST_SEC);
    assert_true(c->providers[0].idle_timeout == 300 * PST_SEC);
    assert_string_equal(c->broker_metrics, "");
    assert_int_equal(c->models_n, 2);
    assert_string_equal(c->models[0].name, "anthropic/big");
    assert_string_equal(c->models[1].name, "anthropic/big.5");
    assert_int_equal(endpoint(c, "anthropic/big.5", 0)->flags, PST_CONFIG_OPT_NO_SAMPLING);
    pst_config_destroy(&c);
}

static void a_file_that_names_providers_ignores_the_environment(void **state)
{
    (void)state;
    setenv("T_ANTHROPIC_KEY", "k", 1);
    pst_config_t *c = good("providers:\n  openai:\n");
    assert_int_equal(c->providers_n, 1);
    const pst_config_provider_t *p = provider(c, "openai");
    assert_string_equal(p->api, "openai");
    assert_string_equal(p->base_url, "https://api.openai.com/v1");
    assert_int_equal(p->flags, PST_CONFIG_OPT_MAX_COMPLETION_TOKENS);
    assert_int_equal(p->line, 2);
    assert_int_equal(c->models_n, 1);
    const pst_config_endpoint_t *e = endpoint(c, "openai/small", 0);
    assert_int_equal(c->models[0].count, 1);
    assert_int_equal(e->flags, PST_CONFIG_OPT_MAX_COMPLETION_TOKENS);
    assert_true(fabs(e->price.cached - 0.10) < 1e-9);
    pst_config_destroy(&c);
    c = good("providers: {}\n");
    assert_int_equal(c->providers_n, 0);
    pst_config_destroy(&c);
}

static void every_key_arrives(void **state)
{
    (void)state;
    pst_config_t *c = good("redis: { url: \"redis://u:p/@w@host:6379/3\", durability: replicated, maxmemory: 8gb }\n"
                           "broker: { clients: \"tcp://0.0.0.0:1\", workers: \"ipc:///run/w\", metrics: \"[::1]:9\" }\n"
                           "gateway: { listen: \"*:80\", api_keys: [\"${A}\", file:/k, plain],\n"
                           "  webhook_secret: \"${HOOKS}\", webhook_private: true }\n"
                           "input: { line_max: 64KB, prefix_max: 8kb, prefix_min: 500b }\n"
                           "providers:\n"
                           "  mine:\n"
                           "    api: openai\n"
                           "    base_url: http://[fd00::1]:8000/v1///\n"
                           "    api_key: ${MY_KEY}\n"
                           "    limits: { rpm: 1, tpm: 2, itpm: 3, otpm: 4, rpd: 5, concurrency: 6 }\n"
                           "    ca_file: /etc/ssl/mine.pem\n"
                           "    proxy: socks5h://u:p@gate:1080\n"
                           "    headers: { X-Title: My batches, OpenAI-Organization: \"${ORG}\" }\n"
                           "    timeout: 90s\n"
                           "    idle_timeout: 20s\n"
                           "    compressed_answers: true\n"
                           "    options: [max_completion_tokens, no_store]\n"
                           "    data_collection: deny\n"
                           "    zdr: true\n"
                           "  dry: { api: echo, delay: 500ms, answer_bytes: 2kb, timeout: 1h }\n"
                           "models:\n"
                           "  m:\n"
                           "    - { provider: mine, model: \"up:8b\", context: 4096, max_output: 512,\n"
                           "        price: { input: 1, output: 2, cached: 0.5, request: 0.01 },\n"
                           "        quantization: fp8, options: [max_tokens, no_sampling], variant: turbo, parameters: [tools, n],\n"
                           "        limits: { rpm: 7, tpm: 8, itpm: 9, otpm: 10, rpd: 11, concurrency: 12 },\n"
                           "        caches_prompts: true }\n"
                           "    - { provider: dry, model: x, price: { input: 3 } }\n");
    assert_string_equal(c->redis_url, "redis://u:p/@w@host:6379/3");
    assert_int_equal(c->durability, PST_DUR_REPLICATED);
    assert_true(c->redis_maxmemory == 8ull << 30);
    assert_string_equal(c->broker_clients, "tcp://0.0.0.0:1");
    assert_string_equal(c->broker_workers, "ipc:///run/w");
    assert_string_equal(c->broker_metrics, "[::1]:9");
    assert_string_equal(c->gateway_listen, "*:80");
    assert_int_equal(c->gateway_keys_n, 3);
    assert_string_equal(c->gateway_keys[1], "file:/k");
    assert_string_equal(c->gateway_webhook_secret, "${HOOKS}");
    assert_true(c->gateway_webhook_private);
    assert_int_equal(c->line_bytes_max, 64 << 10);
    assert_int_equal(c->prefix_bytes_max, 8 << 10);
    assert_int_equal(c->prefix_bytes_min, 500);
    const pst_config_provider_t *p = provider(c, "mine");
    assert_string_equal(p->base_url, "http://[fd00::1]:8000/v1");
    assert_string_equal(p->key_ref, "${MY_KEY}");
    assert_string_equal(p->ca_file, "/etc/ssl/mine.pem");
    assert_string_equal(p->proxy_ref, "socks5h://u:p@gate:1080");
    assert_int_equal(p->headers_n, 2);
    assert_string_equal(p->headers[0].name, "X-Title");
    assert_string_equal(p->headers[0].value_ref, "My batches");
    assert_string_equal(p->headers[1].value_ref, "${ORG}");
    assert_string_equal(p->data_policy, "deny");
    assert_true(p->zdr);
    assert_true(p->timeout == 90 * PST_SEC);
    assert_true(p->idle_timeout == 20 * PST_SEC);
    assert_true(p->compressed_answers);
    assert_int_equal(p->flags, PST_CONFIG_OPT_MAX_COMPLETION_TOKENS | PST_CONFIG_OPT_NO_STORE);
    assert_int_equal(p->limits.rpm + 10 * p->limits.tpm + 100 * p->limits.itpm + 1000 * p->limits.otpm +
                         10000 * p->limits.rpd + 100000 * p->limits.concurrency,
                     654321);
    p = provider(c, "dry");
    assert_null(p->proxy_ref);
    assert_false(p->compressed_answers);
    assert_int_equal(p->headers_n, 0);
    assert_true(p->echo_delay == 500 * PST_MS);
    assert_int_equal(p->echo_bytes, 2048);
    assert_string_equal(p->base_url, "");
    assert_null(p->key_ref);
    const pst_config_endpoint_t *e = endpoint(c, "m", 0);
    assert_string_equal(e->model, "up:8b");
    assert_true(e->price_known && e->price.input == 1 && e->price.output == 2 && e->price.cached == 0.5);
    assert_true(fabs(e->price.request - 0.01) < 1e-12);
    assert_int_equal(e->context, 4096);
    assert_int_equal(e->max_output, 512);
    assert_string_equal(e->quantization, "fp8");
    assert_string_equal(e->variant, "turbo");
    assert_true(e->parameters_given && e->parameters == (PST_PARAM_TOOLS | PST_PARAM_N));
    assert_false(endpoint(c, "m", 1)->parameters_given);
    /* the endpoint's way of saying max_tokens beats its provider's */
    assert_int_equal(e->flags, PST_CONFIG_OPT_MAX_TOKENS | PST_CONFIG_OPT_NO_STORE | PST_CONFIG_OPT_NO_SAMPLING);
    assert_int_equal(e->limits.concurrency, 12);
    assert_int_equal(e->limits.rpd, 11);
    assert_true(e->caches_prompts);
    assert_false(endpoint(c, "m", 1)->caches_prompts);
    assert_true(endpoint(c, "m", 1)->price.cached == 3);
    pst_config_destroy(&c);
}

static void a_users_model_takes_the_catalogs_place(void **state)
{
    (void)state;
    pst_config_t *c = good("providers:\n"
                           "  openai: { limits: { rpm: 10 } }\n"
                           "  openrouter: {}\n"
                           "models:\n"
                           "  openai/small:\n"
                           "    - { provider: openrouter, model: other }\n"
                           "  aaa:\n"
                           "    - { provider: openai, model: small, price: {}, limits: { rpm: 5 } }\n"
                           "    - { provider: openai, model: small-2 }\n"
                           "  zzz:\n"
                           "    - { provider: openai, model: small, price: { output: 9 }, caches_prompts: false }\n");
    assert_int_equal(c->models_n, 3);
    assert_string_equal(c->models[0].name, "aaa");
    assert_string_equal(c->models[1].name, "openai/small");
    assert_string_equal(c->models[2].name, "zzz");
    assert_int_equal(c->models[1].count, 1);
    assert_string_equal(endpoint(c, "openai/small", 0)->model, "other");
    assert_false(endpoint(c, "openai/small", 0)->price_known);
    /* what the catalog knows of a model at a provider is the default under any name */
    const pst_config_endpoint_t *e = endpoint(c, "aaa", 0);
    assert_true(e->price_known && fabs(e->price.output - 1.60) < 1e-9);
    assert_int_equal(e->context, 1000);
    assert_true(e->caches_prompts);
    assert_int_equal(e->limits.rpm, 5);
    assert_false(endpoint(c, "aaa", 1)->price_known);
    e = endpoint(c, "zzz", 0);
    assert_true(e->price.output == 9 && e->price.input == 0 && e->price.cached == 0);
    assert_false(e->caches_prompts);
    assert_int_equal(e->max_output, 100);
    pst_config_destroy(&c);
}

static void base_urls_get_their_version(void **state)
{
    (void)state;
    static const struct {
        const char *api, *url, *want;
    } cases[] = {
        {"anthropic", "https://h", "https://h/v1"},
        {"anthropic", "https://h/v1/", "https://h/v1"},
        {"anthropic", "https://h/proxy/", "https://h/proxy/v1"},
        {"gemini", "https://h", "https://h/v1beta"},
        {"gemini", "https://h/v1beta", "https://h/v1beta"},
        {"gemini", "https://h/v1", "https://h/v1"},
        {"cohere", "https://h/", "https://h/v2"},
        {"cohere", "https://h/v2", "https://h/v2"},
        {"openai", "https://h/", "https://h"},
        {"mistral", "https://h/v1/", "https://h/v1"},
        {"azure", "https://h", "https://h/openai/v1"},
        {"azure", "https://h/openai/", "https://h/openai/v1"},
        {"azure", "https://h/openai/v1/", "https://h/openai/v1"},
        {"openai", "https://h:8443/openai/v1", "https://h:8443/openai/v1"},
    };
    for (size_t i = 0; i < PST_COUNT(cases); i++) {
        char text[200];
        snprintf(text, sizeof text, "providers: { p: { api: %s, base_url: \"%s\" } }\n", cases[i].api, cases[i].url);
        pst_config_t *c = good(text);
        assert_string_equal(c->providers[0].base_url, cases[i].want);
        pst_config_destroy(&c);
    }
}

static void azure_may_have_a_version(void **state)
{
    (void)state;
    static const char *const urls[] = {"https://h?api-version=2024-10-21", "https://h/?api-version=2024-10-21",
                                       "https://h/openai?api-version=2024-10-21", "https://h/openai/?api-version=2024-10-21"};
    for (size_t i = 0; i < PST_COUNT(urls); i++) {
        char text[200];
        snprintf(text, sizeof text, "providers: { p: { api: azure, base_url: \"%s\" } }\n", urls[i]);
        pst_config_t *c = good(text);
        assert_string_equal(c->providers[0].base_url, "https://h/openai");
        assert_string_equal(c->providers[0].api_version, "2024-10-21");
        pst_config_destroy(&c);
    }
    pst_config_t *c = good("providers: { p: { api: azure, base_url: \"https://h/openai/v1\" } }\n");
    assert_null(c->providers[0].api_version);
    assert_int_equal(c->providers[0].flags, 0);
    pst_config_destroy(&c);
    bad("providers:\n"
        "  one: { api: openai, base_url: \"https://h/v1?api-version=1\" }\n"
        "  two: { api: azure, base_url: \"https://h/openai/v1?api-version=1\" }\n"
        "  three: { api: azure, base_url: \"https://h/openai/deployments/d?api-version=1\" }\n"
        "  four: { api: azure, base_url: \"https://h/openai?api-version=1&x=2\" }\n"
        "  five: { api: azure, base_url: \"https://h/openai?api-version=\" }\n"
        "  six: { api: azure, base_url: \"https://u:p@h/openai?api-version=1\" }\n"
        "  seven: { api: azure, base_url: \"https://h/openai?x=1\" }\n",
        "p.yaml:2:33: providers.one.base_url is not right: only azure has versions: leave ?… out\n"
        "p.yaml:3:32: providers.two.base_url is not right: /v1 needs no api-version: leave ?… out\n"
        "p.yaml:4:34: providers.three.base_url is not right: leave /deployments/… out: a deployment is the model's name "
        "there\n"
        "p.yaml:5:33: providers.four.base_url is not right: behind ?api-version= write a version such as 2024-10-21, "
        "and nothing more\n"
        "p.yaml:6:33: providers.five.base_url is not right: behind ?api-version= write a version such as 2024-10-21, "
        "and nothing more\n"
        "p.yaml:7:32: providers.six.base_url is not right: no user or password in a URL: put the key in api_key\n"
        "p.yaml:8:34: providers.seven.base_url is not right: a base URL ends with its path: leave ?… and #… out\n");
}

static void an_unknown_host_is_treated_with_care(void **state)
{
    (void)state;
    pst_config_t *c = good("providers:\n"
                           "  a: { api: openai, base_url: \"http://h/v1\" }\n"
                           "  b: { api: openai, base_url: \"https://api.openai.com/v1/\", api_key: \"\" }\n"
                           "  c: { api: openai, base_url: \"http://h/v1\", options: [] }\n"
                           "  d: { api: anthropic, base_url: \"http://h\", data_collection: allow }\n"
                           "  openai: { api: echo }\n");
    assert_int_equal(provider(c, "a")->flags,
                     PST_CONFIG_OPT_MAX_TOKENS | PST_CONFIG_OPT_NO_DEVELOPER | PST_CONFIG_OPT_NO_STORE |
                         PST_CONFIG_OPT_NO_RESPONSES);
    assert_int_equal(provider(c, "b")->flags, PST_CONFIG_OPT_MAX_COMPLETION_TOKENS);
    assert_null(provider(c, "b")->key_ref);
    assert_int_equal(provider(c, "c")->flags, 0);
    assert_int_equal(provider(c, "d")->flags, 0);
    assert_null(provider(c, "d")->data_policy);
    /* another protocol: nothing of the catalog's provider fits, its models do */
    assert_string_equal(provider(c, "openai")->base_url, "");
    assert_null(provider(c, "openai")->key_ref);
    assert_true(endpoint(c, "openai/small", 0)->price_known);
    pst_config_destroy(&c);
}

static void redis_url_may_be_a_variable(void **state)
{
    (void)state;
    static const char text[] = "redis:\n  url: ${T_REDIS_URL}\n";
    pst_config_t *c = good(text);
    assert_string_equal(c->redis_url, "${T_REDIS_URL}");
    pst_config_destroy(&c);
    setenv("T_REDIS_URL", "unix:///run/redis.sock", 1);
    c = good(text);
    assert_string_equal(c->redis_url, "unix:///run/redis.sock");
    pst_config_destroy(&c);
    setenv("T_REDIS_URL", "secret", 1);
    bad(text, "p.yaml:2:8: redis.url is not right in the variable it names: "
              "write redis://[USER:PASSWORD@]HOST[:PORT][/DB], unix:///PATH or ${VARIABLE}\n");
}

static void unknown_keys(void **state)
{
    (void)state;
    bad("providers:\n"
        "  openai:\n"
        "    limits: { rmp: 10, concurency: 5 }\n"
        "    baseurl: x\n"
        "    frobnicate: 1\n"
        "modells: {}\n"
        "redis: { <<: 1, ? [a] : b }\n",
        "p.yaml:6:1: unknown key `modells`: did you mean `models`?\n"
        "p.yaml:7:10: merge keys (<<) have no meaning in redis: write the keys out\n"
        "p.yaml:7:19: a key that is no name: write `name: value`\n"
        "p.yaml:3:15: unknown key `rmp` in providers.openai.limits: did you mean `rpm`?\n"
        "p.yaml:3:24: unknown key `concurency` in providers.openai.limits: did you mean `concurrency`?\n"
        "p.yaml:4:5: unknown key `baseurl` in providers.openai: did you mean `base_url`?\n"
        "p.yaml:5:5: unknown key `frobnicate` in providers.openai: remove it; known are api, base_url, api_key, "
        "ca_file, proxy, headers, limits, timeout, idle_timeout, compressed_answers, options, data_collection, zdr, delay, answer_bytes\n");
}

static void values_out_of_bounds(void **state)
{
    (void)state;
    bad("redis: { durability: fsync, maxmemory: 1kb }\n"
        "broker: { clients: \"tcp://x\", workers: \"http://x:1\", metrics: \"x:70000\" }\n"
        "input: { line_max: 33mb }\n"
        "providers:\n"
        "  openai:\n"
        "    timeout: 500ms\n"
        "    ca_file: mine.pem\n"
        "    limits: { rpm: 0, tpm: \"5\", concurrency: 100001, rpd: 99999999999999999999999, otpm: -1 }\n"
        "  e: { api: echo, delay: 10, answer_bytes: 2xb, zdr: yes }\n"
        "models:\n"
        "  m:\n"
        "    - { provider: e, model: m, context: 1.5, price: { input: -1, output: 1e3, cached: 200000 } }\n",
        "p.yaml:1:22: redis.durability is `fsync`: did you mean `fsynced`?\n"
        "p.yaml:1:40: redis.maxmemory is `1kb`: write 64mb to 64tb\n"
        "p.yaml:2:20: broker.clients is `tcp://x`: write tcp://HOST:PORT or ipc:///PATH\n"
        "p.yaml:2:40: broker.workers is `http://x:1`: write tcp://HOST:PORT or ipc:///PATH\n"
        "p.yaml:2:63: broker.metrics is `x:70000`: write HOST:PORT, or \"\" to switch it off\n"
        "p.yaml:3:20: input.line_max is `33mb`: write 1kb to 32mb\n"
        "p.yaml:6:14: providers.openai.timeout is `500ms`: write 1s to 1d\n"
        "p.yaml:7:14: providers.openai.ca_file is `mine.pem`: write a path from the root on, such as "
        "/etc/ssl/certs/company.pem\n"
        "p.yaml:8:20: providers.openai.limits.rpm is `0`: write 1 to 1000000000, or leave it out\n"
        "p.yaml:8:28: providers.openai.limits.tpm is `5`: a number is written without quotes\n"
        "p.yaml:8:46: providers.openai.limits.concurrency is `100001`: write 1 to 100000\n"
        "p.yaml:8:59: providers.openai.limits.rpd is `99999999999999999999999`: write 1 to 1000000000000\n"
        "p.yaml:8:90: providers.openai.limits.otpm is `-1`: write a whole number without quotes, such as 5000\n"
        "p.yaml:9:26: providers.e.delay is `10`: write a duration with its unit, such as 500ms, 600s, 10m or 1h\n"
        "p.yaml:9:44: providers.e.answer_bytes is `2xb`: write a size with its unit, such as 64kb, 512mb or 8gb\n"
        "p.yaml:9:54: providers.e.zdr is `yes`: write true or false\n"
        "p.yaml:12:41: models.m.context is `1.5`: write a whole number without quotes, such as 5000\n"
        "p.yaml:12:62: models.m.price.input is `-1`: write USD as a decimal number without quotes, such as 0.40\n"
        "p.yaml:12:74: models.m.price.output is `1e3`: write USD as a decimal number without quotes, such as 0.40\n"
        "p.yaml:12:87: models.m.price.cached is `200000`: that is beyond any price: write USD per million tokens "
        "(request: USD a call)\n");
}

static void a_beginning_is_no_longer_than_the_longest(void **state)
{
    (void)state;
    bad("input: { prefix_min: 33kb }\n",
        "p.yaml:1:22: input.prefix_min is more than input.prefix_max: write no more than that, or raise it\n");
    pst_config_t *c = good("input: { prefix_max: 2kb }\n"); /* the default of the other gives way */
    pst_config_destroy(&c);
}

static void providers_that_do_not_fit(void **state)
{
    (void)state;
    bad("providers:\n"
        "  one: {}\n"
        "  two: { api: openai }\n"
        "  three: { api: bedrok, base_url: \"https://h\" }\n"
        "  four: { api: opnai, base_url: \"https://h\" }\n"
        "  five: { api: openai, base_url: \"ftp://h\" }\n"
        "  six: { api: openai, base_url: \"https://user:secret@h/\" }\n"
        "  seven: { api: openai, base_url: \"https://h/?key=1\" }\n"
        "  eight/x: {}\n"
        "  openai: {}\n"
        "  openai: {}\n"
        "  nine: 5\n"
        "  ten: { api: openai, base_url: \"http://h\", options: [no_stor, max_tokens, max_completion_tokens] }\n"
        "  eleven: { api: echo, options: no_store, data_collection: never }\n"
        "  twelve: { api: anthropic, base_url: \"http://h\", api: gemini }\n",
        "p.yaml:2:3: provider `one` has no api and the catalog does not know it: add `api:` with openai, anthropic, "
        "gemini, mistral, azure, bedrock, cohere or echo\n"
        "p.yaml:3:3: provider `two` has no base_url: add it, such as https://api.openai.com/v1\n"
        "p.yaml:4:17: providers.three.api is `bedrok`: did you mean `bedrock`?\n"
        "p.yaml:5:16: providers.four.api is `opnai`: did you mean `openai`?\n"
        "p.yaml:6:34: providers.five.base_url is not right: write http://HOST[:PORT][/PATH] or https://…\n"
        "p.yaml:7:33: providers.six.base_url is not right: no user or password in a URL: put the key in api_key\n"
        "p.yaml:8:35: providers.seven.base_url is not right: a base URL ends with its path: leave ?… and #… out\n"
        "p.yaml:9:3: providers has an entry `eight/x`: name it with letters, digits, '.', '_' and '-', at most 40 of "
        "them\n"
        "p.yaml:11:3: provider `openai` is given twice: remove one\n"
        "p.yaml:12:9: providers.nine is not a map: write `key: value` pairs\n"
        "p.yaml:13:55: providers.ten.options is `no_stor`: did you mean `no_store`?\n"
        "p.yaml:13:54: providers.ten.options has max_tokens and max_completion_tokens: keep the one the host knows\n"
        "p.yaml:14:33: providers.eleven.options is not a list: write it as [max_tokens, no_store]\n"
        "p.yaml:14:60: providers.eleven.data_collection is `never`: write allow or deny\n"
        "p.yaml:15:51: providers.twelve.api is given twice: remove one, the first is in line 15\n");
}

static void models_that_do_not_fit(void **state)
{
    (void)state;
    bad("providers: { openai: {}, e: { api: echo } }\n"
        "models:\n"
        "  a:\n"
        "    - { provider: opnai, model: x }\n"
        "    - { provider: openrouter, model: x }\n"
        "    - { provider: e }\n"
        "    - { model: x }\n"
        "    - { provider: e, model: x }\n"
        "    - { provider: e, model: x }\n"
        "    - e\n"
        "  b: { provider: e, model: x }\n"
        "  \"c c\": [{ provider: e, model: x }]\n"
        "  d:floor: [{ provider: e, model: x }]\n"
        "  f: [{ provider: e, model: \"x y\", quantization: \"f p\", model: z }]\n"
        "  g: []\n"
        "  h: [{ provider: e, model: x }]\n"
        "  h: [{ provider: e, model: x }]\n",
        "p.yaml:4:19: models.a.provider is `opnai`: no such provider: did you mean `openai`?\n"
        "p.yaml:5:19: models.a.provider is `openrouter`: no such provider: add it under `providers`\n"
        "p.yaml:6:7: models.a has an endpoint without model: add the provider's name of it\n"
        "p.yaml:7:7: models.a has an endpoint without provider: add `provider:`\n"
        "p.yaml:9:7: models.a has this provider and model twice: remove one\n"
        "p.yaml:10:7: models.a has an endpoint that is no map: write { provider: …, model: … }\n"
        "p.yaml:11:3: models.b is not a list of endpoints: write each as `- { provider: …, model: … }`\n"
        "p.yaml:12:3: models has an entry `c c`: a model's name has 1 to 128 bytes and no blanks\n"
        "p.yaml:13:3: models has an entry `d:floor`: the suffixes :floor and :nitro are routing wishes of a request: "
        "name it otherwise\n"
        "p.yaml:14:29: models.f.model is `x y`: write the provider's name of the model: 1 to 200 bytes, no blanks\n"
        "p.yaml:14:50: models.f.quantization is `f p`: write one word of at most 32 letters and digits, such as fp8\n"
        "p.yaml:14:57: models.f.model is given twice: remove one, the first is in line 14\n"
        "p.yaml:15:3: models.g is not a list of endpoints: write each as `- { provider: …, model: … }`\n"
        "p.yaml:17:3: model `h` is given twice: remove one, the first is in line 16\n");
}

static void secrets_are_never_shown(void **state)
{
    (void)state;
    bad("redis: { url: \"rediss://u:hunter2@h\" }\n"
        "gateway: { api_keys: [\"hunter 2\", \"\"], webhook_secret: \"hunter 2\" }\n"
        "providers:\n"
        "  openai: { api_key: \"hunter 2\" }\n"
        "  anthropic: { api_key: $HUNTER2 }\n"
        "  openrouter: { api_key: file:hunter2 }\n"
        "  a: { api: openai, base_url: \"http://h\", proxy: \"ftp://u:hunter2@h\",\n"
        "    headers: { X-A: \"${hunter2\", Authorization: hunter2, Expect: x, \"a b\": c } }\n"
        "  b: { api: openai, base_url: \"http://h\", headers: [] }\n"
        "  own: { api: echo, api_key: \"hunter2:$HUNTER2\" }\n",
        "p.yaml:1:15: redis.url is not right: TLS to Redis is not in this build yet: use a tunnel (stunnel, a mesh) "
        "and redis://\n"
        "p.yaml:2:23: gateway.api_keys is not right: a key has no blanks and at most 4096 bytes: write ${VARIABLE} or "
        "file:/path\n"
        "p.yaml:2:35: gateway.api_keys is not right: an empty key would let everybody in\n"
        "p.yaml:2:56: gateway.webhook_secret is not right: a key has no blanks and at most 4096 bytes: write "
        "${VARIABLE} or file:/path\n"
        "p.yaml:4:22: providers.openai.api_key is not right: a key has no blanks and at most 4096 bytes: write "
        "${VARIABLE} or file:/path\n"
        "p.yaml:5:25: providers.anthropic.api_key is not right: write ${VARIABLE} with letters, digits and _\n"
        "p.yaml:6:26: providers.openrouter.api_key is not right: write file: and an absolute path, such as "
        "file:/run/secrets/openai\n"
        "p.yaml:7:50: providers.a.proxy is not right: write http://[USER:PASSWORD@]HOST:PORT, https://…, socks5h://…, "
        "${VARIABLE} or \"\" for none\n"
        "p.yaml:8:21: providers.a.headers is not right: write ${VARIABLE} with letters, digits and _\n"
        "p.yaml:8:34: providers.a.headers is `Authorization`: put the key into api_key\n"
        "p.yaml:8:58: providers.a.headers is `Expect`: this header is made for each request: leave it out\n"
        "p.yaml:8:69: providers.a.headers is `a b`: a header's name has letters, digits and -\n"
        "p.yaml:9:52: providers.b.headers is no map: write it as { X-Title: batches }\n"
        "p.yaml:10:30: providers.own.api_key is not right: write ${VARIABLE} with letters, digits and _\n");
}

static void text_that_is_no_config(void **state)
{
    (void)state;
    bad("a: [1\n", "p.yaml:2:1: flow sequence without a closing bracket: mend the YAML\n");
    bad("providers: { openai: { api_key: ${X} } }\n",
        "p.yaml:1:34: missing comma in flow mapping: inside { } a ${VARIABLE} needs quotes around it\n");
    bad("redis:\n  url: \xff\n", "p.yaml:2:8: a byte that is not printable UTF-8: save the file as UTF-8 text\n");
    bad("- a\n", "p.yaml:1:1: the config is not a map: write `key: value` pairs\n");
    bad("redis: [x]\nproviders: x\nmodels: [y]\n",
        "p.yaml:1:8: redis is not a map: write `key: value` pairs\n"
        "p.yaml:2:12: providers is not a map: write `name: …` entries\n"
        "p.yaml:3:9: models is not a map: write `name: …` entries\n");
    bad("redis: {}\n---\nredis: {}\n", "p.yaml:2:1: a second document (---): a config is one document\n");
    bad("redis: !map {}\n", "p.yaml:1:13: tags (!…) have no meaning here: remove it\n");
    bad("redis: *x\n", "p.yaml:1:8: an alias (*…) of an anchor (&…) that does not stand before it\n");
    bad("redis: {}\nredis: {}\n", "p.yaml:2:1: redis is given twice: remove one, the first is in line 1\n");
    bad("redis: { url: , durability: [x], maxmemory: {} }\n",
        "p.yaml:1:10: redis.url is empty: write a URL\n"
        "p.yaml:1:29: redis.durability is a list: write a level\n"
        "p.yaml:1:45: redis.maxmemory is a map: write a size\n");
}

static void sockets_that_collide(void **state)
{
    (void)state;
    bad("gateway:\n  listen: 0.0.0.0:7700\n",
        "p.yaml:2:11: gateway.listen is `0.0.0.0:7700`, which others can reach: set gateway.api_keys, or listen on "
        "127.0.0.1\n");
    bad("gateway: { listen: \"127.example.com:80\" }\n",
        "p.yaml:1:20: gateway.listen is `127.example.com:80`, which others can reach: set gateway.api_keys, or listen "
        "on 127.0.0.1\n");
    bad("broker: { clients: \"tcp://127.0.0.1:7702\" }\n",
        "p.yaml:1:9: broker.clients and broker.workers are one address: give each its own\n");
    pst_config_t *c = good("gateway: { listen: \"localhost:0\" }\nbroker: { clients: \"tcp://127.0.0.1:*\" }\n");
    pst_config_destroy(&c);
    c = good("gateway: { listen: \"\" }\n");
    assert_string_equal(c->gateway_listen, "");
    pst_config_destroy(&c);
}

static void a_wrong_catalog_is_named(void **state)
{
    (void)state;
    pst_config_t *c = NULL;
    pst_config_errors_t errors;
    assert_int_equal(pst_config_parse(PST_VIEW_LIT("providers: { nobody: {} }\n"), "p.yaml",
                                      PST_VIEW_LIT("models:\n  m:\n    - { provider: who, model: x }\n"), &c, &errors),
                     PST_E_CONFIG);
    assert_string_equal(errors.text,
                        "catalog:3:19: models.m.provider is `who`: no such provider: add it under `providers`\n");
    pst_config_errors_release(&errors);
}

static void findings_are_bounded(void **state)
{
    (void)state;
    pst_buf_t text;
    pst_buf_init(&text, 0);
    for (int i = 0; i < 250; i++)
        pst_buf_printf(&text, "key_of_no_use_%d: 1\n", i);
    pst_config_t *c = NULL;
    pst_config_errors_t errors;
    assert_int_equal(pst_config_parse(pst_buf_view(&text), "p.yaml", pst_view(NULL, 0), &c, &errors), PST_E_CONFIG);
    assert_int_equal(errors.count, 250);
    assert_non_null(strstr(errors.text, "p.yaml: 150 more like these: mend the first ones\n"));
    pst_config_errors_release(&errors);
    pst_buf_release(&text);
}

/* Ten lists, each ten times the one before, and a map that holds itself: read in no time, or refused. */
static void bombs_fizzle(void **state)
{
    (void)state;
    pst_ns_t start = pst_clock_mono();
    bad("models:\n"
        "  a: &a [{provider: e, model: m},{provider: e, model: m}]\n"
        "  b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n",
        "p.yaml:2:21: models.a.provider is `e`: no such provider: add it under `providers`\n"
        "p.yaml:2:45: models.a.provider is `e`: no such provider: add it under `providers`\n"
        "p.yaml:3:10: models.b has an endpoint that is no map: write { provider: …, model: … }\n"
        "p.yaml:3:13: models.b has an endpoint that is no map: write { provider: …, model: … }\n"
        "p.yaml:3:16: models.b has an endpoint that is no map: write { provider: …, model: … }\n"
        "p.yaml:3:19: models.b has an endpoint that is no map: write { provider: …, model: … }\n"
        "p.yaml:3:22: models.b has an endpoint that is no map: write { provider: …, model: … }\n"
        "p.yaml:3:25: models.b has an endpoint that is no map: write { provider: …, model: … }\n"
        "p.yaml:3:28: models.b has an endpoint that is no map: write { provider: …, model: … }\n"
        "p.yaml:3:31: models.b has an endpoint that is no map: write { provider: …, model: … }\n"
        "p.yaml:3:34: models.b has an endpoint that is no map: write { provider: …, model: … }\n"
        "p.yaml:3:37: models.b has an endpoint that is no map: write { provider: …, model: … }\n");
    bad("redis: &r { url: *r }\n", "p.yaml:1:11: redis.url is a map: write a URL\n");
    char deep[200] = "redis: ";
    memset(deep + 7, '[', 100);
    pst_config_t *c;
    pst_config_errors_t errors;
    assert_int_equal(parse(deep, &c, &errors), PST_E_CONFIG);
    assert_string_equal(errors.text, "p.yaml:1:23: nested more than 16 deep: a config has no such depth\n");
    pst_config_errors_release(&errors);
    assert_true(pst_clock_mono() - start < 5 * PST_SEC);
}

static void aliases_that_explode_are_refused(void **state)
{
    (void)state;
    pst_buf_t text;
    pst_buf_init(&text, 0);
    pst_buf_puts(&text, "providers: { e: { api: echo } }\nmodels:\n  a:\n    - &e { provider: e, model: m, "
                        "options: &o [no_store");
    for (int i = 0; i < 20000; i++)
        pst_buf_puts(&text, ",no_store");
    pst_buf_puts(&text, "] }\n");
    for (int i = 0; i < 1000; i++)
        pst_buf_printf(&text, "  b%d: [*e]\n", i);
    pst_config_t *c = NULL;
    pst_config_errors_t errors;
    assert_int_equal(pst_config_parse(pst_buf_view(&text), "p.yaml", pst_view(NULL, 0), &c, &errors), PST_E_CONFIG);
    assert_int_equal(errors.count, 1);
    assert_non_null(strstr(errors.text, "aliases make more than 8000000 values of this file: write fewer of them\n"));
    pst_config_errors_release(&errors);
    pst_buf_release(&text);
}

static void counts_are_bounded(void **state)
{
    (void)state;
    pst_buf_t text;
    pst_buf_init(&text, 0);
    pst_buf_puts(&text, "providers:\n");
    for (int i = 0; i < 257; i++)
        pst_buf_printf(&text, "  p%d: { api: echo }\n", i);
    pst_buf_puts(&text, "models:\n  m:\n");
    for (int i = 0; i < 65; i++)
        pst_buf_printf(&text, "    - { provider: p0, model: m%d }\n", i);
    pst_config_t *c = NULL;
    pst_config_errors_t errors;
    assert_int_equal(pst_config_parse(pst_buf_view(&text), "p.yaml", pst_view(NULL, 0), &c, &errors), PST_E_CONFIG);
    assert_string_equal(errors.text, "p.yaml:258:3: more than 256 providers: run several clusters\n"
                                     "p.yaml:325:7: models.m has more than 64 endpoints: remove some\n");
    pst_config_errors_release(&errors);
    pst_buf_release(&text);
}

/* As many endpoints as there may be, in a time that a reload can take. */
static void a_large_config_loads(void **state)
{
    (void)state;
    pst_buf_t text;
    pst_buf_init(&text, 0);
    pst_buf_puts(&text, "providers: { openai: {} }\nmodels:\n");
    for (int i = 100000; i-- > 0;)
        pst_buf_printf(&text,
                       "  model-%06d:\n"
                       "    - { provider: openai, model: m%d, price: { input: 1, output: 2 } }\n",
                       i, i);
    pst_config_t *c = NULL;
    pst_config_errors_t errors;
    pst_ns_t start = pst_clock_mono();
    assert_int_equal(pst_config_parse(pst_buf_view(&text), "p.yaml", pst_view_str(catalog), &c, &errors), PST_OK);
    print_message("100,000 endpoints loaded in %.0f ms\n", (double)(pst_clock_mono() - start) / PST_MS);
    assert_int_equal(c->models_n, 100001);
    assert_int_equal(c->endpoints_n, 100001);
    assert_string_equal(endpoint(c, "model-042000", 0)->model, "m42000");
    pst_config_destroy(&c);
    pst_buf_puts(&text, "  one-more:\n    - { provider: openai, model: m }\n");
    assert_int_equal(pst_config_parse(pst_buf_view(&text), "p.yaml", pst_view_str(catalog), &c, &errors),
                     PST_E_CONFIG);
    assert_string_equal(errors.text, "p.yaml:200004:7: more than 100000 endpoints in all: run several clusters\n");
    pst_config_errors_release(&errors);
    pst_buf_release(&text);
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void keys_are_resolved_where_they_lie(void **state)
{
    (void)state;
    char path[] = "/tmp/pst-key-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    write_file(path, "sk-file\r\n");
    char ref[64];
    snprintf(ref, sizeof ref, "file:%s", path);
    pst_config_provider_t p = {.name = "x", .key_ref = ref};
    pst_secret_t s = {0};
    pst_errbuf_t eb;
    assert_int_equal(pst_config_key(&p, &s, &eb), PST_OK);
    assert_string_equal(s.text, "sk-file");
    pst_secret_release(&s);
    assert_null(s.text);
    write_file(path, "two words\n");
    assert_int_equal(pst_config_key(&p, &s, &eb), PST_E_CONFIG);
    assert_null(strstr(eb.text, "two"));
    write_file(path, "\n");
    assert_int_equal(pst_config_key(&p, &s, &eb), PST_E_CONFIG);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(pst_config_key(&p, &s, &eb), PST_E_CONFIG);
    assert_non_null(strstr(eb.text, "No such file"));

    p.key_ref = "${T_OPENAI_KEY}";
    assert_int_equal(pst_config_key(&p, &s, &eb), PST_E_CONFIG);
    assert_string_equal(eb.text, "the key of provider `x`: the environment variable T_OPENAI_KEY is not set: export it");
    setenv("T_OPENAI_KEY", "sk-env", 1);
    assert_int_equal(pst_config_key(&p, &s, &eb), PST_OK);
    assert_string_equal(s.text, "sk-env");
    pst_secret_release(&s);
    setenv("T_AWS_ID", "AKIA", 1);
    p.key_ref = "${T_AWS_ID}:${T_OPENAI_KEY}:";
    assert_int_equal(pst_config_key(&p, &s, &eb), PST_OK);
    assert_string_equal(s.text, "AKIA:sk-env:");
    pst_secret_release(&s);
    p.key_ref = "${T_AWS_ID}:plain:${T_NOT_SET}";
    assert_int_equal(pst_config_key(&p, &s, &eb), PST_E_CONFIG);
    assert_string_equal(eb.text, "the key of provider `x`: the environment variable T_NOT_SET is not set: export it");
    char *long_value = calloc(1, 20000);
    memset(long_value, 'k', 19999);
    setenv("T_AWS_ID", long_value, 1);
    assert_int_equal(pst_config_key(&p, &s, &eb), PST_E_CONFIG);
    free(long_value);
    unsetenv("T_AWS_ID");
    p.key_ref = "${T_OPENAI_KEY}";
    setenv("T_OPENAI_KEY", "a\r\nX-Evil: 1", 1);
    assert_int_equal(pst_config_key(&p, &s, &eb), PST_E_CONFIG);
    p.key_ref = "literal";
    assert_int_equal(pst_config_secret(p.key_ref, "gateway.api_keys", &s, &eb), PST_OK);
    assert_string_equal(s.text, "literal");
    pst_secret_release(&s);
    p.key_ref = NULL;
    assert_int_equal(pst_config_key(&p, &s, &eb), PST_OK);
    assert_null(s.text);
}

/* files */

static const char shipped[] = PST_SOURCE "/deploy/catalog.yaml";
static char home[] = "/tmp/pst-config-XXXXXX";

static int own_directory(void **state)
{
    forget_keys(state);
    strcpy(home, "/tmp/pst-config-XXXXXX");
    if (!mkdtemp(home) || chdir(home) != 0)
        return -1;
    setenv("HOME", home, 1);
    setenv("PENSTOCK_CATALOG", shipped, 1);
    unsetenv("PENSTOCK_CONFIG");
    return 0;
}

static int remove_directory(void **state)
{
    (void)state;
    unlink("penstock.yaml");
    unlink(".config/penstock/penstock.yaml");
    rmdir(".config/penstock");
    rmdir(".config");
    return chdir("/") == 0 && rmdir(home) == 0 ? 0 : -1;
}

static void every_catalog_provider(const char *value)
{
    static const char *const names[] = {
        "OPENAI_API_KEY",    "ANTHROPIC_API_KEY", "GEMINI_API_KEY",   "OPENROUTER_API_KEY",      "MISTRAL_API_KEY",
        "DEEPSEEK_API_KEY",  "GROQ_API_KEY",      "TOGETHER_API_KEY", "FIREWORKS_API_KEY",       "XAI_API_KEY",
        "CEREBRAS_API_KEY",  "MOONSHOT_API_KEY",  "COHERE_API_KEY",   "AWS_BEARER_TOKEN_BEDROCK",
    };
    for (size_t i = 0; i < PST_COUNT(names); i++) {
        if (value)
            setenv(names[i], value, 1);
        else
            unsetenv(names[i]);
    }
}

static void the_shipped_catalog_starts_from_the_environment(void **state)
{
    (void)state;
    every_catalog_provider(NULL);
    setenv("OPENAI_API_KEY", "k", 1);
    setenv("GEMINI_API_KEY", "k", 1);
    pst_config_t *c = NULL;
    pst_config_errors_t errors;
    pst_ns_t start = pst_clock_mono();
    assert_int_equal(pst_config_load(NULL, &c, &errors), PST_OK);
    pst_ns_t took = pst_clock_mono() - start;
    print_message("catalog loaded in %.1f ms\n", (double)took / PST_MS);
    assert_null(c->path);
    assert_string_equal(c->catalog_path, shipped);
    assert_int_equal(c->providers_n, 2);
    const pst_config_endpoint_t *e = endpoint(c, "openai/gpt-4.1-mini", 0);
    assert_string_equal(e->model, "gpt-4.1-mini");
    assert_true(fabs(e->price.input - 0.40) < 1e-9 && fabs(e->price.output - 1.60) < 1e-9);
    assert_int_equal(e->context, 1047576);
    assert_int_equal(e->max_output, 32768);
    assert_int_equal(pst_config_model_find(c, PST_VIEW_LIT("openai/gpt-4.1-mini"))->count, 1);
    assert_string_equal(provider(c, "gemini")->base_url, "https://generativelanguage.googleapis.com/v1beta");
    assert_non_null(pst_config_model_find(c, PST_VIEW_LIT("google/gemini-2.5-flash-lite")));
    assert_null(pst_config_model_find(c, PST_VIEW_LIT("anthropic/claude-haiku-4-5")));
    pst_config_destroy(&c);
}

static void the_shipped_catalog_is_whole(void **state)
{
    (void)state;
    every_catalog_provider("k");
    pst_config_t *c = NULL;
    pst_config_errors_t errors;
    assert_int_equal(pst_config_load(NULL, &c, &errors), PST_OK);
    every_catalog_provider(NULL);
    assert_int_equal(c->providers_n, 14);
    assert_int_equal(c->models_n, 29 + 5); /* Claude has two spellings */
    for (uint32_t i = 0; i < c->models_n; i++) {
        const pst_config_model_t *m = &c->models[i];
        assert_true(i == 0 || strcmp(c->models[i - 1].name, m->name) < 0);
        assert_ptr_equal(pst_config_model_find(c, pst_view_str(m->name)), m);
        for (uint32_t j = 0; j < m->count; j++) {
            const pst_config_endpoint_t *e = &c->endpoints[m->first + j];
            assert_true(e->price_known && e->price.input > 0 && e->price.output >= e->price.input);
            assert_true(e->price.cached > 0 && e->price.cached <= e->price.input);
            assert_true(e->context >= 1000 && e->max_output >= 1000 && e->max_output <= e->context);
            assert_true(e->provider < c->providers_n);
        }
    }
    assert_true(endpoint(c, "anthropic/claude-opus-5-5", 0)->flags & PST_CONFIG_OPT_NO_SAMPLING);
    assert_false(endpoint(c, "anthropic/claude-haiku-4-5", 0)->flags & PST_CONFIG_OPT_NO_SAMPLING);
    assert_string_equal(endpoint(c, "anthropic/claude-haiku-4.5", 1)->model, "anthropic/claude-haiku-4.5");
    assert_true(endpoint(c, "deepseek/deepseek-v4-pro", 0)->flags & PST_CONFIG_OPT_MAX_TOKENS);
    pst_config_destroy(&c);
}

static void every_example_loads(void **state)
{
    (void)state;
    DIR *d = opendir(PST_SOURCE "/deploy/examples");
    assert_non_null(d);
    unsigned seen = 0;
    for (struct dirent *entry; (entry = readdir(d));) {
        if (!strstr(entry->d_name, ".yaml"))
            continue;
        char path[512];
        snprintf(path, sizeof path, PST_SOURCE "/deploy/examples/%s", entry->d_name);
        pst_config_t *c = NULL;
        pst_config_errors_t errors;
        if (pst_config_load(path, &c, &errors) != PST_OK)
            fail_msg("%s", errors.text);
        assert_string_equal(c->path, path);
        assert_true(c->providers_n > 0 && c->models_n > 0);
        pst_config_destroy(&c);
        seen++;
    }
    closedir(d);
    assert_int_equal(seen, 6);
}

static void files_are_found_in_their_order(void **state)
{
    (void)state;
    pst_config_t *c = NULL;
    pst_config_errors_t errors;
    static const struct {
        const char *path;
        const char *given; /* --config */
        const char *env;
    } steps[] = {{".config/penstock/penstock.yaml", NULL, NULL},
                 {"penstock.yaml", NULL, NULL},
                 {"penstock.yaml", NULL, "penstock.yaml"},
                 {"penstock.yaml", "penstock.yaml", "absent.yaml"}};
    assert_int_equal(mkdir(".config", 0700), 0);
    assert_int_equal(mkdir(".config/penstock", 0700), 0);
    for (size_t i = 0; i < PST_COUNT(steps); i++) {
        write_file(steps[i].path, "providers: { e: { api: echo } }\n");
        setenv("PENSTOCK_CONFIG", steps[i].env ? steps[i].env : "", 1);
        assert_int_equal(pst_config_load(steps[i].given, &c, &errors), PST_OK);
        assert_non_null(strstr(c->path, steps[i].path));
        assert_int_equal(strstr(c->path, ".config") != NULL, i == 0);
        pst_config_destroy(&c);
    }
}

static void files_that_are_not_there(void **state)
{
    (void)state;
    pst_config_t *c = NULL;
    pst_config_errors_t errors;
    assert_int_equal(pst_config_load("absent.yaml", &c, &errors), PST_E_CONFIG);
    assert_string_equal(errors.text, "absent.yaml: No such file or directory: "
                                     "check --config, $PENSTOCK_CONFIG and the file\n");
    assert_int_equal(errors.count, 1);
    pst_config_errors_release(&errors);
    setenv("PENSTOCK_CONFIG", "gone.yaml", 1);
    assert_int_equal(pst_config_load(NULL, &c, &errors), PST_E_CONFIG);
    assert_non_null(strstr(errors.text, "gone.yaml: No such file"));
    pst_config_errors_release(&errors);
    unsetenv("PENSTOCK_CONFIG");
    assert_int_equal(pst_config_load(".", &c, &errors), PST_E_CONFIG);
    assert_non_null(strstr(errors.text, "Is a directory"));
    pst_config_errors_release(&errors);
    setenv("PENSTOCK_CATALOG", "gone.yaml", 1);
    assert_int_equal(pst_config_load(NULL, &c, &errors), PST_E_CONFIG);
    assert_non_null(strstr(errors.text, "check $PENSTOCK_CATALOG"));
    pst_config_errors_release(&errors);
    assert_null(c);
}

static void the_reference_lists_every_key(void **state)
{
    (void)state;
    pst_buf_t out;
    pst_buf_init(&out, 0);
    pst_config_reference(&out);
    size_t n;
    char *text = pst_buf_detach(&out, &n);
    assert_non_null(strstr(text, "providers.NAME.limits.rpm  (a number, 1 to 1000000000)  requests a minute\n"));
    assert_non_null(strstr(text, "providers.NAME.timeout  (a duration, 1s to 1d)  of a whole call; default 10m\n"));
    assert_non_null(strstr(text, "models.NAME[].price.cached  (USD)  "));
    assert_non_null(strstr(text, "input.line_max  (a size, 1kb to 32mb)  "));
    free(text);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup(defaults_of_an_empty_file, forget_keys),
    cmocka_unit_test_setup_teardown(environment_switches_providers_on, forget_keys, forget_keys),
    cmocka_unit_test_setup_teardown(a_file_that_names_providers_ignores_the_environment, forget_keys, forget_keys),
    cmocka_unit_test(every_key_arrives),
    cmocka_unit_test(a_users_model_takes_the_catalogs_place),
    cmocka_unit_test(base_urls_get_their_version),
    cmocka_unit_test(azure_may_have_a_version),
    cmocka_unit_test(an_unknown_host_is_treated_with_care),
    cmocka_unit_test_setup_teardown(redis_url_may_be_a_variable, forget_keys, forget_keys),
    cmocka_unit_test(unknown_keys),
    cmocka_unit_test(values_out_of_bounds),
    cmocka_unit_test(a_beginning_is_no_longer_than_the_longest),
    cmocka_unit_test(providers_that_do_not_fit),
    cmocka_unit_test(models_that_do_not_fit),
    cmocka_unit_test(secrets_are_never_shown),
    cmocka_unit_test(text_that_is_no_config),
    cmocka_unit_test(sockets_that_collide),
    cmocka_unit_test(a_wrong_catalog_is_named),
    cmocka_unit_test(findings_are_bounded),
    cmocka_unit_test(bombs_fizzle),
    cmocka_unit_test(aliases_that_explode_are_refused),
    cmocka_unit_test(counts_are_bounded),
    cmocka_unit_test(a_large_config_loads),
    cmocka_unit_test_setup_teardown(keys_are_resolved_where_they_lie, forget_keys, forget_keys),
    cmocka_unit_test_setup_teardown(the_shipped_catalog_starts_from_the_environment, own_directory, remove_directory),
    cmocka_unit_test_setup_teardown(the_shipped_catalog_is_whole, own_directory, remove_directory),
    cmocka_unit_test_setup_teardown(every_example_loads, own_directory, remove_directory),
    cmocka_unit_test_setup_teardown(files_are_found_in_their_order, own_directory, remove_directory),
    cmocka_unit_test_setup_teardown(files_that_are_not_there, own_directory, remove_directory),
    cmocka_unit_test(the_reference_lists_every_key),
};

UNIT_MAIN(tests)
