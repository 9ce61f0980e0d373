/* catalog_openrouter.c - OpenRouter's lists: prices are decimal strings in USD per token, "-1" where there is none.
 *
 * Of a model's endpoints one entry is made: OpenRouter chooses among them and its model name cannot say which, so
 * the entry has the dearest price (a budget must hold wherever the call goes), the parameters that all take (none is
 * to be dropped in silence), and the largest context and answer (OpenRouter sends a long prompt where it fits). */
#include "cli/catalog_source.h"

#include "penstock/job.h"

#define MILLION 1e6

/* A bit of ours and what supported_parameters must have for it. */
static const struct {
    uint32_t bit;
    const char *first, *second; /* second: needed, too; NULL: none */
} parameters[] = {
    {PST_PARAM_TOOLS, "tools", NULL},
    {PST_PARAM_RESPONSE_FORMAT, "response_format", NULL},
    {PST_PARAM_LOGPROBS, "logprobs", NULL},
    {PST_PARAM_SEED, "seed", NULL},
    {PST_PARAM_PENALTIES, "frequency_penalty", "presence_penalty"},
    {PST_PARAM_LOGIT_BIAS, "logit_bias", NULL},
    {PST_PARAM_N, "n", NULL},
    {PST_PARAM_REASONING, "reasoning", NULL},
};

static bool has_word(pst_catalog_t *c, uint32_t list, const char *word)
{
    if (!pst_json_is(&c->json, list, PST_JSON_ARRAY))
        return false;
    for (uint32_t k = pst_json_first(&c->json, list); k != PST_JSON_NONE; k = pst_json_after(&c->json, list, k)) {
        if (pst_view_eqs(pst_json_str(&c->json, k, &c->strings), word))
            return true;
    }
    return false;
}

static void read_parameters(pst_catalog_t *c, uint32_t obj, bool images, pst_catalog_entry_t *e)
{
    uint32_t list = pst_json_get(&c->json, obj, "supported_parameters");
    e->parameters_given = pst_json_is(&c->json, list, PST_JSON_ARRAY);
    if (!e->parameters_given)
        return;
    e->parameters = images ? PST_PARAM_IMAGES : 0;
    for (size_t i = 0; i < PST_COUNT(parameters); i++) {
        const char *second = parameters[i].second;
        if (has_word(c, list, parameters[i].first) && (!second || has_word(c, list, second)))
            e->parameters |= parameters[i].bit;
    }
}

static pst_catalog_usd_t usd(const pst_catalog_t *c, uint32_t pricing, const char *key, double scale, double *ret)
{
    return pst_catalog_usd(c, pst_json_get(&c->json, pricing, key), scale, ret);
}

/* False, with a reason counted, where it has none. */
static bool read_price(pst_catalog_t *c, uint32_t obj, pst_catalog_entry_t *e)
{
    uint32_t pricing = pst_json_get(&c->json, obj, "pricing");
    pst_catalog_usd_t input = usd(c, pricing, "prompt", MILLION, &e->input);
    pst_catalog_usd_t output = usd(c, pricing, "completion", MILLION, &e->output);
    pst_catalog_usd_t request = usd(c, pricing, "request", 1, &e->request);
    if (input == PST_USD_NEGATIVE || output == PST_USD_NEGATIVE || request == PST_USD_NEGATIVE) {
        pst_catalog_skip(c, PST_CATALOG_SKIP_DYNAMIC, pst_view(NULL, 0));
        return false;
    }
    /* A call for more than a thousand dollars is none that a config could say. */
    if (input != PST_USD_GOOD || output != PST_USD_GOOD || request == PST_USD_WRONG || e->request > 1000) {
        pst_catalog_skip(c, PST_CATALOG_SKIP_PRICE, pst_view(NULL, 0));
        return false;
    }
    if (usd(c, pricing, "input_cache_read", MILLION, &e->cached) != PST_USD_GOOD)
        e->cached = -1;
    uint32_t overrides = pst_json_get(&c->json, pricing, "overrides");
    if (pst_json_first(&c->json, overrides) != PST_JSON_NONE)
        e->note = pst_view_str("not in it: prices for long prompts or hours of the day");
    return true;
}

static bool takes_images(pst_catalog_t *c, uint32_t obj)
{
    return has_word(c, pst_json_path(&c->json, obj, "architecture", "input_modalities", NULL), "image");
}

/* Also where it does not say what it answers with. */
static bool answers_with_text(pst_catalog_t *c, uint32_t obj)
{
    uint32_t list = pst_json_path(&c->json, obj, "architecture", "output_modalities", NULL);
    return !pst_json_is(&c->json, list, PST_JSON_ARRAY) || has_word(c, list, "text") || has_word(c, list, "embeddings");
}

/* Begins the entry of a model; false, with a reason counted, where there can be none. */
static bool begin(pst_catalog_t *c, uint32_t obj, pst_catalog_entry_t *e)
{
    int provider = pst_config_provider_find(c->force, pst_view_str("openrouter"));
    *e = (pst_catalog_entry_t){.model = pst_catalog_text(c, obj, "id"), .provider = (uint32_t)provider};
    if (e->model.n == 0) {
        pst_catalog_skip(c, PST_CATALOG_SKIP_FORM, pst_view(NULL, 0));
        return false;
    }
    if (provider < 0) {
        pst_catalog_skip(c, PST_CATALOG_SKIP_PROVIDER, pst_view_str("openrouter"));
        return false;
    }
    if (!answers_with_text(c, obj)) {
        pst_catalog_skip(c, PST_CATALOG_SKIP_OUTPUT, pst_view(NULL, 0));
        return false;
    }
    return true;
}

static void read_model(pst_catalog_t *c, uint32_t obj)
{
    pst_catalog_entry_t e;
    if (!begin(c, obj, &e) || !read_price(c, obj, &e))
        return;
    e.context = pst_catalog_tokens(c, obj, "context_length");
    e.max_output = pst_catalog_tokens(c, pst_json_get(&c->json, obj, "top_provider"), "max_completion_tokens");
    read_parameters(c, obj, takes_images(c, obj), &e);
    pst_catalog_add(c, &e);
}

void pst_catalog_openrouter_models(pst_catalog_t *c, uint32_t list)
{
    for (uint32_t k = pst_json_first(&c->json, list); k != PST_JSON_NONE; k = pst_json_after(&c->json, list, k))
        read_model(c, k);
    c->more = pst_json_is(&c->json, pst_json_path(&c->json, 0, "links", "next", NULL), PST_JSON_STRING);
}

/* One endpoint more of the model that `whole` is to stand for. */
static void join(pst_catalog_entry_t *whole, const pst_catalog_entry_t *e, bool first)
{
    if (first) {
        *whole = *e;
        return;
    }
    whole->input = PST_MAX(whole->input, e->input);
    whole->output = PST_MAX(whole->output, e->output);
    whole->request = PST_MAX(whole->request, e->request);
    whole->cached = whole->cached < 0 || e->cached < 0 ? -1 : PST_MAX(whole->cached, e->cached);
    whole->context = PST_MAX(whole->context, e->context);
    whole->max_output = PST_MAX(whole->max_output, e->max_output);
    /* Not given means all of them: what one says limits the rest. */
    whole->parameters = !whole->parameters_given ? e->parameters
                        : e->parameters_given    ? whole->parameters & e->parameters
                                                 : whole->parameters;
    whole->parameters_given = whole->parameters_given || e->parameters_given;
    if (!pst_view_eq(whole->quantization, e->quantization))
        whole->quantization = pst_view(NULL, 0);
    if (e->note.n)
        whole->note = e->note;
}

/* One word as a config has them, and one that says something. */
static pst_view_t quantization(pst_catalog_t *c, uint32_t obj)
{
    pst_view_t v = pst_catalog_text(c, obj, "quantization");
    bool good = v.n <= 32 && !pst_view_eqs(v, "unknown");
    for (size_t i = 0; good && i < v.n; i++)
        good = (v.p[i] >= 'a' && v.p[i] <= 'z') || (v.p[i] >= '0' && v.p[i] <= '9') || v.p[i] == '_';
    return good ? v : pst_view(NULL, 0);
}

static bool read_endpoint(pst_catalog_t *c, uint32_t obj, pst_catalog_entry_t *e)
{
    int64_t status = 0;
    if (pst_json_int(&c->json, pst_json_get(&c->json, obj, "status"), &status) && status < 0) {
        pst_catalog_skip(c, PST_CATALOG_SKIP_STATUS, pst_catalog_text(c, obj, "provider_name"));
        return false;
    }
    return read_price(c, obj, e);
}

void pst_catalog_openrouter_endpoints(pst_catalog_t *c, uint32_t model)
{
    pst_catalog_entry_t base, whole = {0};
    if (!begin(c, model, &base))
        return;
    bool images = takes_images(c, model);
    uint32_t list = pst_json_get(&c->json, model, "endpoints"), n = 0;
    for (uint32_t k = pst_json_first(&c->json, list); k != PST_JSON_NONE; k = pst_json_after(&c->json, list, k)) {
        pst_catalog_entry_t e = base;
        if (!read_endpoint(c, k, &e))
            continue;
        e.context = pst_catalog_tokens(c, k, "context_length");
        e.max_output = pst_catalog_tokens(c, k, "max_completion_tokens");
        e.quantization = quantization(c, k);
        read_parameters(c, k, images, &e);
        join(&whole, &e, n++ == 0);
    }
    if (n == 0)
        return;
    if (n > 1)
        whole.note = pst_arena_printf(&c->strings, "the dearest of %u endpoints, with what all of them take%s%.*s", n,
                                      whole.note.n ? "; " : "", (int)whole.note.n, whole.note.n ? whole.note.p : "");
    pst_catalog_add(c, &whole);
}
