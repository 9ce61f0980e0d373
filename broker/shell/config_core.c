#include "config_core.h"

#define BIT(url) (1u << PST_URL_##url)

/* What each wire protocol can serve and say, and what its provider counts.  The first two the adapters say as well
 * (`urls`, `params` in worker/providers); they are the workers', whose code the broker does not link;
 * tests/unit/shell_config_test.c compares the two. */
typedef struct wire_protocol {
    const char *api;
    uint32_t urls, params;
    pst_reserve_t reserve;
} wire_protocol_t;

static const wire_protocol_t known[] = {
    {"openai", BIT(CHAT) | BIT(RESPONSES) | BIT(EMBEDDINGS) | BIT(COMPLETIONS), PST_PARAMS_ALL, PST_RESERVE_LIMIT},
    {"anthropic", BIT(CHAT),
     PST_PARAM_TOOLS | PST_PARAM_RESPONSE_FORMAT | PST_PARAM_IMAGES | PST_PARAM_REASONING, PST_RESERVE_EXPECTED},
    {"gemini", BIT(CHAT) | BIT(EMBEDDINGS), PST_PARAMS_ALL & ~(uint32_t)PST_PARAM_LOGIT_BIAS, PST_RESERVE_LIMIT},
    {"cohere", BIT(CHAT) | BIT(EMBEDDINGS), PST_PARAMS_ALL & ~(uint32_t)(PST_PARAM_LOGIT_BIAS | PST_PARAM_N),
     PST_RESERVE_LIMIT},
    {"bedrock", BIT(CHAT),
     PST_PARAM_TOOLS | PST_PARAM_RESPONSE_FORMAT | PST_PARAM_IMAGES | PST_PARAM_REASONING, PST_RESERVE_LIMIT},
    {"echo", BIT(CHAT) | BIT(RESPONSES) | BIT(EMBEDDINGS) | BIT(COMPLETIONS), PST_PARAMS_ALL, PST_RESERVE_LIMIT},
    {"mistral", BIT(CHAT) | BIT(EMBEDDINGS),
     PST_PARAMS_ALL & ~(uint32_t)(PST_PARAM_LOGPROBS | PST_PARAM_LOGIT_BIAS), PST_RESERVE_LIMIT},
    /* Admits a call by its prompt and max_tokens. */
    {"azure", BIT(CHAT) | BIT(RESPONSES) | BIT(EMBEDDINGS) | BIT(COMPLETIONS), PST_PARAMS_ALL, PST_RESERVE_LIMIT},
};

/* Of an api that is not known: nothing. */
static wire_protocol_t protocol_of(const char *api)
{
    for (size_t i = 0; i < PST_COUNT(known); i++)
        if (strcmp(known[i].api, api) == 0)
            return known[i];
    return (wire_protocol_t){.api = api};
}

static void *get(pst_arena_t *a, size_t n, size_t size)
{
    void *p = pst_arena_get(a, n * size);
    PST_ASSERT(p);
    memset(p, 0, n * size);
    return p;
}

/* Gemini's tokens a minute are input alone. */
static void limits_of(const char *api, const pst_limits_t *l, uint64_t ret[PST_RATE_COUNT])
{
    bool input_only = strcmp(api, "gemini") == 0;
    ret[PST_RATE_REQUESTS] = l->rpm;
    ret[PST_RATE_INPUT] = input_only && !l->itpm ? l->tpm : l->itpm;
    ret[PST_RATE_OUTPUT] = l->otpm;
    ret[PST_RATE_TOKENS] = input_only ? 0 : l->tpm;
    ret[PST_RATE_DAILY] = l->rpd;
}

static pst_core_provider_t provider_of(const pst_config_provider_t *p)
{
    wire_protocol_t protocol = protocol_of(p->api);
    pst_core_provider_t core = {
        .name = pst_view_str(p->name),
        .reserve = protocol.reserve,
        .concurrency = p->limits.concurrency,
        .urls = protocol.urls & BIT(CHAT) ? protocol.urls | BIT(RESPONSES) : protocol.urls, /* by way of a chat */
        .params = protocol.params,
        .deny_data_collection = p->data_policy && strcmp(p->data_policy, "deny") == 0,
        .zdr = p->zdr,
    };
    limits_of(p->api, &p->limits, core.limit);
    return core;
}

static pst_core_endpoint_t endpoint_of(const pst_config_t *c, const pst_config_endpoint_t *e)
{
    const char *api = c->providers[e->provider].api;
    uint32_t params = protocol_of(api).params;
    pst_core_endpoint_t core = {
        .provider = e->provider,
        .model = pst_view_str(e->model),
        .price_input = e->price.input,
        .price_output = e->price.output,
        .price_cached = e->price.cached,
        .price_request = e->price.request,
        .context = e->context,
        .max_output = e->max_output,
        .flags = e->flags,
        .concurrency = e->limits.concurrency,
        .quantization = pst_view_str(e->quantization),
        .variant = pst_view_str(e->variant),
        .params = e->parameters_given ? params & e->parameters : params,
        .caches_prompts = e->caches_prompts,
    };
    limits_of(api, &e->limits, core.limit);
    return core;
}

void pst_config_core(const pst_config_t *c, pst_arena_t *a, pst_core_config_t *ret)
{
    pst_core_provider_t *providers = get(a, c->providers_n, sizeof *providers);
    pst_core_endpoint_t *endpoints = get(a, c->endpoints_n, sizeof *endpoints);
    pst_core_model_t *models = get(a, c->models_n, sizeof *models);
    for (uint32_t i = 0; i < c->providers_n; i++)
        providers[i] = provider_of(&c->providers[i]);
    for (uint32_t i = 0; i < c->endpoints_n; i++)
        endpoints[i] = endpoint_of(c, &c->endpoints[i]);
    for (uint32_t i = 0; i < c->models_n; i++)
        models[i] = (pst_core_model_t){pst_view_str(c->models[i].name), c->models[i].first, c->models[i].count};
    *ret = (pst_core_config_t){providers, c->providers_n, endpoints, c->endpoints_n, models, c->models_n};
}
