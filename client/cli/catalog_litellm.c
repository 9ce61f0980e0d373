/* catalog_litellm.c - LiteLLM's model_prices_and_context_window.json: one object, a member a model, prices in USD
 * per token as numbers.  `sample_spec` explains the fields.  Keys are upstream names, most with the provider before
 * them. */
#include "cli/catalog_source.h"

#define MILLION 1e6

static bool is_served(pst_view_t mode)
{
    static const char *const served[] = {"chat", "completion", "embedding", "responses"};
    for (size_t i = 0; i < PST_COUNT(served); i++) {
        if (pst_view_eqs(mode, served[i]))
            return true;
    }
    return false;
}

/* A provider that LiteLLM calls otherwise than our catalog, and what stands before its models' names there. */
typedef struct alias {
    const char *litellm, *ours, *prefix;
} alias_t;

static const alias_t *find_alias(pst_view_t litellm)
{
    static const alias_t aliases[] = {
        {"together_ai", "together", "together_ai"},
        {"fireworks_ai", "fireworks", "fireworks_ai"},
        {"fireworks_ai-embedding-models", "fireworks", "fireworks_ai"},
        {"text-completion-openai", "openai", "text-completion-openai"},
        {"cohere_chat", "cohere", "cohere_chat"},
    };
    for (size_t i = 0; i < PST_COUNT(aliases); i++) {
        if (pst_view_eqs(litellm, aliases[i].litellm))
            return &aliases[i];
    }
    return NULL;
}

static pst_view_t upstream(pst_view_t key, pst_view_t prefix)
{
    bool has = key.n > prefix.n && key.p[prefix.n] == '/' && memcmp(key.p, prefix.p, prefix.n) == 0;
    return has ? pst_view(key.p + prefix.n + 1, key.n - prefix.n - 1) : key;
}

/* "200k" */
static bool is_bound(pst_view_t v)
{
    for (size_t i = 0; i < v.n; i++) {
        if ((v.p[i] < '0' || v.p[i] > '9') && v.p[i] != 'k')
            return false;
    }
    return v.n > 0 && v.n < 10;
}

/* "input 2 above 200k tokens" if the key is that of a tier with a price of its own, at the token behind it. */
static void put_tier(pst_catalog_t *c, uint32_t at, const char *prefix, const char *word, double base, pst_buf_t *note)
{
    static const char tail[] = "_tokens";
    size_t before = strlen(prefix), after = sizeof tail - 1;
    pst_view_t key = pst_json_str(&c->json, at, &c->strings);
    if (!pst_catalog_begins(key, prefix) || key.n < before + after ||
        memcmp(key.p + key.n - after, tail, after) != 0)
        return;
    pst_view_t bound = pst_view(key.p + before, key.n - before - after);
    double usd;
    if (!is_bound(bound) || pst_catalog_usd(c, at + 1, MILLION, &usd) != PST_USD_GOOD || usd == base)
        return;
    pst_buf_puts(note, note->n ? ", " : "not in it: ");
    pst_buf_printf(note, "%s ", word);
    pst_catalog_put_usd(note, usd);
    pst_buf_printf(note, " above %.*s tokens", (int)bound.n, bound.p);
}

#define NOTE_BYTES_MAX 400

static pst_view_t tiers(pst_catalog_t *c, uint32_t obj, const pst_catalog_entry_t *e)
{
    pst_buf_t note;
    pst_buf_init(&note, NOTE_BYTES_MAX);
    for (uint32_t k = pst_json_first(&c->json, obj); k != PST_JSON_NONE; k = pst_json_after(&c->json, obj, k)) {
        put_tier(c, k, "input_cost_per_token_above_", "input", e->input, &note);
        put_tier(c, k, "output_cost_per_token_above_", "output", e->output, &note);
    }
    pst_view_t kept = note.n ? pst_arena_copy(&c->strings, pst_buf_view(&note)) : pst_view(NULL, 0);
    pst_buf_release(&note);
    return kept;
}

static pst_catalog_usd_t usd(const pst_catalog_t *c, uint32_t obj, const char *key, double *ret)
{
    return pst_catalog_usd(c, pst_json_get(&c->json, obj, key), MILLION, ret);
}

/* False where no price per token is known. */
static bool read_price(const pst_catalog_t *c, uint32_t obj, bool embeds, pst_catalog_entry_t *e)
{
    if (usd(c, obj, "input_cost_per_token", &e->input) != PST_USD_GOOD)
        return false;
    pst_catalog_usd_t output = usd(c, obj, "output_cost_per_token", &e->output);
    if (output != PST_USD_GOOD && !(embeds && output == PST_USD_ABSENT))
        return false;
    if (usd(c, obj, "cache_read_input_token_cost", &e->cached) != PST_USD_GOOD)
        e->cached = -1;
    return true;
}

static void read_tokens(const pst_catalog_t *c, uint32_t obj, bool embeds, pst_catalog_entry_t *e)
{
    uint32_t old = pst_catalog_tokens(c, obj, "max_tokens"); /* of an answer, where there is one */
    uint32_t input = pst_catalog_tokens(c, obj, "max_input_tokens");
    uint32_t output = pst_catalog_tokens(c, obj, "max_output_tokens");
    e->context = input || !embeds ? input : old;
    e->max_output = embeds ? 0 : output ? output : old;
}

static void read_model(pst_catalog_t *c, pst_view_t key, uint32_t obj)
{
    pst_view_t litellm = pst_catalog_text(c, obj, "litellm_provider");
    pst_view_t mode = pst_catalog_text(c, obj, "mode");
    if (litellm.n == 0) {
        pst_catalog_skip(c, PST_CATALOG_SKIP_FORM, pst_view(NULL, 0));
        return;
    }
    if (!is_served(mode)) {
        pst_catalog_skip(c, PST_CATALOG_SKIP_MODE, mode.n ? mode : pst_view_str("none"));
        return;
    }
    const alias_t *alias = find_alias(litellm);
    int provider = pst_config_provider_find(c->force, alias ? pst_view_str(alias->ours) : litellm);
    if (provider < 0) {
        pst_catalog_skip(c, PST_CATALOG_SKIP_PROVIDER, litellm);
        return;
    }
    bool embeds = pst_view_eqs(mode, "embedding");
    pst_catalog_entry_t e = {.model = upstream(key, alias ? pst_view_str(alias->prefix) : litellm),
                             .provider = (uint32_t)provider};
    if (!read_price(c, obj, embeds, &e)) {
        pst_catalog_skip(c, PST_CATALOG_SKIP_PRICE, litellm);
        return;
    }
    read_tokens(c, obj, embeds, &e);
    e.note = tiers(c, obj, &e);
    pst_catalog_add(c, &e);
}

void pst_catalog_litellm(pst_catalog_t *c)
{
    for (uint32_t k = pst_json_first(&c->json, 0); k != PST_JSON_NONE; k = pst_json_after(&c->json, 0, k)) {
        pst_view_t key = pst_json_str(&c->json, k, &c->strings);
        if (!pst_view_eqs(key, "sample_spec"))
            read_model(c, key, k + 1);
    }
}
