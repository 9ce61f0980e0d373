/* catalog_import.c - from the text of a source to sorted entries; what both sources share. */
#include <ctype.h>
#include <stdio.h>

#include "cli/catalog_source.h"

#define TOKENS_MAX 1000000000 /* of a config's context and max_output */
#define USD_MAX 100000.0      /* of a config's price */
#define USD_MIN 1e-9          /* less is no price, and would need more digits than a config reads */
#define NAME_BYTES_MAX 128
#define MODEL_BYTES_MAX 200
#define TALLIES_MAX 1000      /* what is skipped beyond so many words is only counted */
#define STRINGS_BYTES_MAX ((size_t)256 << 20) /* a name for which there is no room is none */

/* The catalog in force. */

static int known_order(const void *x, const void *y)
{
    const pst_catalog_known_t *a = x, *b = y;
    if (a->endpoint->provider != b->endpoint->provider)
        return a->endpoint->provider < b->endpoint->provider ? -1 : 1;
    int order = strcmp(a->endpoint->model, b->endpoint->model);
    return order ? order : strcmp(a->name, b->name);
}

void pst_catalog_init(pst_catalog_t *c, const pst_config_t *in_force)
{
    *c = (pst_catalog_t){.force = in_force};
    pst_arena_init(&c->strings, STRINGS_BYTES_MAX);
    pst_json_init(&c->json);
    c->known = pst_calloc(in_force->endpoints_n + 1, sizeof *c->known);
    size_t n = 0;
    for (uint32_t i = 0; i < in_force->models_n; i++) {
        const pst_config_model_t *m = &in_force->models[i];
        for (uint32_t k = 0; k < m->count; k++)
            c->known[n++] = (pst_catalog_known_t){&in_force->endpoints[m->first + k], m->name};
    }
    qsort(c->known, n, sizeof *c->known, known_order);
}

void pst_catalog_release(pst_catalog_t *c)
{
    pst_arena_release(&c->strings);
    pst_json_release(&c->json);
    free(c->known);
    free(c->entry);
    free(c->tally);
    *c = (pst_catalog_t){0};
}

/* The order of an endpoint before (below 0), of or behind a provider's model of that name. */
static int compare_known(const pst_config_endpoint_t *k, uint32_t provider, pst_view_t model)
{
    if (k->provider != provider)
        return k->provider < provider ? -1 : 1;
    size_t n = strlen(k->model);
    int order = memcmp(k->model, model.p, PST_MIN(n, model.n));
    return order ? order : (n > model.n) - (n < model.n);
}

/* The first of the known that is not before it. */
static uint32_t find_known(const pst_catalog_t *c, uint32_t provider, pst_view_t model)
{
    uint32_t from = 0, to = c->force->endpoints_n;
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        if (compare_known(c->known[middle].endpoint, provider, model) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

/* Values. */

bool pst_catalog_begins(pst_view_t v, const char *prefix)
{
    size_t n = strlen(prefix);
    return v.n >= n && memcmp(v.p, prefix, n) == 0;
}

pst_view_t pst_catalog_text(pst_catalog_t *c, uint32_t obj, const char *key)
{
    return pst_json_str(&c->json, pst_json_get(&c->json, obj, key), &c->strings);
}

/* A decimal as OpenRouter writes it: digits, a point, perhaps an exponent. */
static bool parse_decimal(pst_view_t v, double *ret)
{
    char text[48], *end;
    if (v.n < 1 || v.n >= sizeof text)
        return false;
    for (size_t i = 0; i < v.n; i++) {
        if (!strchr("0123456789.eE+-", v.p[i]) || v.p[i] == '\0')
            return false;
        text[i] = v.p[i];
    }
    text[v.n] = '\0';
    *ret = strtod(text, &end);
    return *end == '\0';
}

pst_catalog_usd_t pst_catalog_usd(const pst_catalog_t *c, uint32_t at, double scale, double *ret)
{
    const pst_json_t *j = &c->json;
    double v = 0;
    if (at == PST_JSON_NONE || pst_json_is(j, at, PST_JSON_NULL))
        return PST_USD_ABSENT;
    bool text = pst_json_is(j, at, PST_JSON_STRING);
    pst_view_t raw = pst_json_raw(j, at);
    if (text ? !parse_decimal(pst_view(raw.p + 1, raw.n - 2), &v) : !pst_json_num(j, at, &v))
        return PST_USD_WRONG;
    v *= scale;
    if (v < 0)
        return PST_USD_NEGATIVE;
    if (v > USD_MAX || (v > 0 && v < USD_MIN))
        return PST_USD_WRONG;
    *ret = v > 0 ? v : 0; /* -0 is a zero that no config reads */
    return PST_USD_GOOD;
}

uint32_t pst_catalog_tokens(const pst_catalog_t *c, uint32_t obj, const char *key)
{
    int64_t n = 0;
    bool is = pst_json_int(&c->json, pst_json_get(&c->json, obj, key), &n);
    return is && n >= 1 && n <= TOKENS_MAX ? (uint32_t)n : 0;
}

/* What is left out. */

static pst_catalog_tally_t *tally_of(pst_catalog_t *c, pst_catalog_skip_t reason, const char *what)
{
    for (uint32_t i = 0; i < c->tally_n; i++) {
        if (c->tally[i].reason == reason && strcmp(c->tally[i].what, what) == 0)
            return &c->tally[i];
    }
    if (c->tally_n == TALLIES_MAX)
        return NULL;
    pst_grow(c->tally, c->tally_n, c->tally_cap);
    pst_catalog_tally_t *t = &c->tally[c->tally_n++];
    *t = (pst_catalog_tally_t){.reason = reason};
    snprintf(t->what, sizeof t->what, "%s", what);
    return t;
}

void pst_catalog_skip(pst_catalog_t *c, pst_catalog_skip_t reason, pst_view_t what)
{
    char shown[sizeof ((pst_catalog_tally_t *)0)->what] = "";
    size_t n = PST_MIN(what.n, sizeof shown - 1);
    for (size_t i = 0; i < n; i++)
        shown[i] = (char)(what.p[i] > 0x20 && what.p[i] < 0x7f ? what.p[i] : '?');
    c->skipped[reason]++;
    pst_catalog_tally_t *t = n ? tally_of(c, reason, shown) : NULL;
    if (t)
        t->count++;
}

static int tally_order(const void *x, const void *y)
{
    const pst_catalog_tally_t *a = x, *b = y;
    if (a->count != b->count)
        return a->count > b->count ? -1 : 1;
    return strcmp(a->what, b->what);
}

#define WORDS_SHOWN 8

void pst_catalog_put_skipped(const pst_catalog_t *c, pst_catalog_skip_t reason, pst_buf_t *out)
{
    static const char *const text[] = {
#define X(name, words) words,
        PST_CATALOG_SKIP_LIST(X)
#undef X
    };
    pst_buf_printf(out, "%u skipped: %s", c->skipped[reason], text[reason]);
    unsigned shown = 0;
    for (uint32_t i = 0; i < c->tally_n && shown <= WORDS_SHOWN; i++) {
        const pst_catalog_tally_t *t = &c->tally[i];
        if (t->reason != reason)
            continue;
        if (shown == WORDS_SHOWN)
            pst_buf_puts(out, ", …");
        else
            pst_buf_printf(out, "%s%s %u", shown ? ", " : " (", t->what, t->count);
        shown++;
    }
    if (shown)
        pst_buf_putc(out, ')');
}

/* Names. */

static bool is_printable(pst_view_t v)
{
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] <= 0x20 || v.p[i] >= 0x7f)
            return false;
    }
    return true;
}

/* The end of a name that makes it another thing than a model to call: a price for OpenRouter's batches, or a wish
 * that penstock reads itself. */
static const char *bad_suffix(pst_view_t model)
{
    static const char *const suffix[] = {":batch", ":floor", ":nitro"};
    for (size_t i = 0; i < PST_COUNT(suffix); i++) {
        size_t n = strlen(suffix[i]);
        if (model.n >= n && memcmp(model.p + model.n - n, suffix[i], n) == 0)
            return suffix[i];
    }
    return pst_catalog_begins(model, "ft:") ? "ft:" : NULL; /* what one's own fine-tunes cost */
}

/* Whose models a provider serves that serves nobody else's; NULL: a host of many. */
static const char *lab_of(const char *provider)
{
    static const char *const labs[][2] = {
        {"openai", "openai"}, {"anthropic", "anthropic"}, {"gemini", "google"},       {"mistral", "mistralai"},
        {"xai", "x-ai"},      {"deepseek", "deepseek"},   {"moonshot", "moonshotai"}, {"cohere", "cohere"},
    };
    for (size_t i = 0; i < PST_COUNT(labs); i++) {
        if (strcmp(labs[i][0], provider) == 0)
            return labs[i][1];
    }
    return NULL;
}

static pst_view_t skip_prefix(pst_view_t v, const char *prefix)
{
    size_t n = strlen(prefix);
    return pst_catalog_begins(v, prefix) ? pst_view(v.p + n, v.n - n) : v;
}

/* <lab>/<upstream>; hosts of many say the lab in the upstream name, or else are it themselves.  Fireworks says whose
 * account a model is in, which is no lab. */
static pst_view_t make_name(pst_catalog_t *c, uint32_t provider, pst_view_t model)
{
    const char *host = c->force->providers[provider].name, *lab = lab_of(host);
    char own[NAME_BYTES_MAX];
    snprintf(own, sizeof own, "%s/", lab ? lab : host);
    if (pst_catalog_begins(model, "accounts/"))
        model = skip_prefix(skip_prefix(model, "accounts/fireworks/"), "models/");
    else if (lab ? pst_catalog_begins(model, own) : memchr(model.p, '/', model.n) != NULL)
        own[0] = '\0';
    pst_view_t name = pst_arena_printf(&c->strings, "%s%.*s", own, (int)model.n, model.p);
    char *p = (char *)name.p;
    for (size_t i = 0; i < name.n; i++)
        p[i] = (char)tolower((unsigned char)p[i]);
    return name;
}

void pst_catalog_add(pst_catalog_t *c, const pst_catalog_entry_t *e)
{
    const char *suffix = bad_suffix(e->model);
    if (e->model.n < 1 || e->model.n > MODEL_BYTES_MAX || !is_printable(e->model)) {
        pst_catalog_skip(c, PST_CATALOG_SKIP_NAME, pst_view(NULL, 0));
        return;
    }
    if (suffix) {
        pst_catalog_skip(c, PST_CATALOG_SKIP_SUFFIX, pst_view_str(suffix));
        return;
    }
    if (c->n > PST_CATALOG_ENTRIES_MAX) /* the whole is refused */
        return;
    pst_grow(c->entry, c->n, c->cap);
    c->entry[c->n] = *e;
    c->entry[c->n].order = c->n;
    c->n++;
}

/* From what was read to what is written. */

static int view_order(pst_view_t a, pst_view_t b)
{
    int order = a.n && b.n ? memcmp(a.p, b.p, PST_MIN(a.n, b.n)) : 0;
    return order ? order : (a.n > b.n) - (a.n < b.n);
}

/* Before the names are known they are all empty. */
static int entry_order(const void *x, const void *y)
{
    const pst_catalog_entry_t *a = x, *b = y;
    int order = view_order(a->name, b->name);
    if (order == 0)
        order = (a->provider > b->provider) - (a->provider < b->provider);
    if (order == 0)
        order = a->name_made - b->name_made;
    if (order == 0)
        order = view_order(a->model, b->model);
    return order ? order : (a->order > b->order) - (a->order < b->order);
}

static void sort(pst_catalog_t *c)
{
    if (c->n)
        qsort(c->entry, c->n, sizeof *c->entry, entry_order);
}

/* Whether e says again what the one before it in the order says.  Where a name was made, one of its provider is
 * enough: nobody has said that two upstream names are the same model. */
static bool is_repeated(const pst_catalog_entry_t *before, const pst_catalog_entry_t *e)
{
    if (before->provider != e->provider || !pst_view_eq(before->name, e->name))
        return false;
    return e->name_made || pst_view_eq(before->model, e->model);
}

static void drop_repeated(pst_catalog_t *c)
{
    uint32_t kept = 0;
    sort(c);
    for (uint32_t i = 0; i < c->n; i++) {
        if (kept && is_repeated(&c->entry[kept - 1], &c->entry[i]))
            pst_catalog_skip(c, PST_CATALOG_SKIP_REPEATED, c->entry[i].model);
        else
            c->entry[kept++] = c->entry[i];
    }
    c->n = kept;
}

static void put_named(pst_catalog_t *c, pst_catalog_entry_t e, pst_view_t name)
{
    if (name.n < 1 || name.n > NAME_BYTES_MAX) {
        pst_catalog_skip(c, PST_CATALOG_SKIP_NAME, pst_view(NULL, 0));
        return;
    }
    e.name = name;
    pst_grow(c->entry, c->n, c->cap);
    c->entry[c->n++] = e;
}

/* Every entry under each name that the catalog in force has for it, or under one that is made for it. */
static void name_all(pst_catalog_t *c)
{
    pst_catalog_entry_t *read = c->entry;
    uint32_t n = c->n;
    c->entry = NULL;
    c->n = c->cap = 0;
    for (uint32_t i = 0; i < n && c->n <= PST_CATALOG_ENTRIES_MAX; i++) {
        pst_catalog_entry_t e = read[i];
        uint32_t k = find_known(c, e.provider, e.model), first = k;
        for (; k < c->force->endpoints_n && compare_known(c->known[k].endpoint, e.provider, e.model) == 0; k++) {
            e.options = c->known[k].endpoint->flags & ~c->force->providers[e.provider].flags;
            put_named(c, e, pst_view_str(c->known[k].name));
        }
        e.name_made = k == first;
        if (e.name_made)
            put_named(c, e, make_name(c, e.provider, e.model));
    }
    free(read);
}

/* Reading. */

static pst_err_t fail_at(pst_view_t text, size_t at, pst_errbuf_t *eb, const char *what)
{
    unsigned line = 1, column = 1;
    for (size_t i = 0; i < at && i < text.n; i++) {
        column = text.p[i] == '\n' ? 1 : column + 1;
        line += text.p[i] == '\n';
    }
    return pst_errf(eb, PST_E_INVALID, "%u:%u: %s", line, column, what);
}

/* At least as many as a text has: each but the first has a mark before it.  Marks in strings count, too. */
static size_t count_values(pst_view_t text)
{
    size_t n = 1;
    for (size_t i = 0; i < text.n; i++) {
        char ch = text.p[i];
        n += ch == ',' || ch == ':' || ch == '[' || ch == '{';
    }
    return n;
}

/* Whether some member, or item, is an object that has `key`. */
static bool has_within(const pst_json_t *j, uint32_t parent, const char *key)
{
    bool object = pst_json_is(j, parent, PST_JSON_OBJECT);
    for (uint32_t k = pst_json_first(j, parent); k != PST_JSON_NONE; k = pst_json_after(j, parent, k)) {
        if (pst_json_get(j, object ? k + 1 : k, key) != PST_JSON_NONE)
            return true;
    }
    return false;
}

static bool read_by_structure(pst_catalog_t *c)
{
    const pst_json_t *j = &c->json;
    uint32_t data = pst_json_get(j, 0, "data");
    uint32_t endpoints = pst_json_get(j, data, "endpoints");
    if (pst_json_is(j, data, PST_JSON_ARRAY) && has_within(j, data, "pricing")) {
        c->source = "OpenRouter's list of models";
        pst_catalog_openrouter_models(c, data);
    } else if (pst_json_is(j, endpoints, PST_JSON_ARRAY) && has_within(j, endpoints, "pricing")) {
        c->source = "OpenRouter's list of a model's endpoints";
        pst_catalog_openrouter_endpoints(c, data);
    } else if (pst_json_is(j, 0, PST_JSON_OBJECT) && has_within(j, 0, "litellm_provider")) {
        c->source = "LiteLLM's list of prices";
        pst_catalog_litellm(c);
    } else {
        return false;
    }
    return true;
}

pst_err_t pst_catalog_read(pst_catalog_t *c, pst_view_t text, pst_errbuf_t *eb)
{
    size_t at = 0;
    if (text.n > PST_CATALOG_SOURCE_BYTES_MAX || count_values(text) > PST_CATALOG_SOURCE_VALUES_MAX)
        return fail_at(text, 0, eb, "larger than any list of prices: name the right file");
    pst_err_t e = pst_json_parse(&c->json, text, &at);
    if (e)
        return e == PST_E_INVALID ? fail_at(text, at, eb, "no JSON from here on: fetch the file again, whole") : e;
    if (!read_by_structure(c))
        return fail_at(text, c->json.tok[0].start, eb,
                       "neither LiteLLM's model_prices_and_context_window.json nor what OpenRouter answers to "
                       "/api/v1/models or /api/v1/models/AUTHOR/SLUG/endpoints: name such a file");
    if (c->n <= PST_CATALOG_ENTRIES_MAX) {
        drop_repeated(c);
        name_all(c);
        drop_repeated(c);
    }
    if (c->n > PST_CATALOG_ENTRIES_MAX)
        return fail_at(text, 0, eb, "more endpoints than a catalog holds: take some out");
    if (c->tally_n)
        qsort(c->tally, c->tally_n, sizeof *c->tally, tally_order);
    return PST_OK;
}
