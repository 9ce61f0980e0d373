#include "lib/routing.h"

#include <math.h>

typedef struct reader {
    const pst_json_t *json;
    pst_arena_t *arena;
    pst_route_t *route;
    pst_view_t why;
    bool sort_given; /* by provider.sort: a suffix does not change it */
} reader_t;

static bool wrong(reader_t *r, const char *what, const char *rule)
{
    r->why = pst_arena_printf(r->arena, "%s %s.", what, rule);
    return false;
}

/* A string of 1 to PST_NAME_BYTES_MAX bytes.  An escape takes at most six bytes a byte, which bounds what is decoded.
 */
static bool read_name(reader_t *r, uint32_t t, pst_view_t *ret)
{
    if (!pst_json_is(r->json, t, PST_JSON_STRING) || pst_json_raw(r->json, t).n > 6 * PST_NAME_BYTES_MAX + 2)
        return false;
    *ret = pst_json_str(r->json, t, r->arena);
    return ret->n > 0 && ret->n <= PST_NAME_BYTES_MAX;
}

static bool read_names(reader_t *r, uint32_t t, const char *what, uint32_t max, pst_names_t *ret)
{
    if (!pst_json_is(r->json, t, PST_JSON_ARRAY))
        return wrong(r, what, "must be an array of strings");
    if (r->json->tok[t].count > max)
        return wrong(r, what, "has too many entries");
    pst_view_t *v = pst_arena_get(r->arena, PST_MAX(r->json->tok[t].count, 1u) * sizeof *v);
    if (!v)
        return wrong(r, what, "is too large");
    *ret = (pst_names_t){.v = v};
    for (uint32_t i = pst_json_first(r->json, t); i != PST_JSON_NONE; i = pst_json_after(r->json, t, i)) {
        if (!read_name(r, i, &v[ret->n++]))
            return wrong(r, what, "must hold strings of 1 to 256 bytes");
    }
    return true;
}

static bool read_bool(reader_t *r, uint32_t t, const char *what, bool *ret)
{
    return pst_json_bool(r->json, t, ret) || wrong(r, what, "must be true or false");
}

static bool read_price(reader_t *r, uint32_t t, const char *what, double *ret)
{
    return (pst_json_num(r->json, t, ret) && *ret >= 0 && isfinite(*ret)) ||
           wrong(r, what, "must be a number that is not negative");
}

/* One of `words`, its place in *ret. */
static bool read_word(reader_t *r, uint32_t t, const char *what, const char *const *words, uint8_t n, uint8_t *ret)
{
    pst_view_t v;
    bool named = read_name(r, t, &v);
    for (uint8_t i = 0; named && i < n; i++) {
        if (pst_view_eqs(v, words[i])) {
            *ret = i;
            return true;
        }
    }
    pst_view_t list = pst_view_str("must be one of");
    for (uint8_t i = 0; i < n; i++)
        list = pst_arena_printf(r->arena, "%.*s%s \"%s\"", (int)list.n, list.p ? list.p : "", i ? "," : "", words[i]);
    return wrong(r, what, list.p ? list.p : "is not known");
}

typedef bool read_member_fn(reader_t *r, pst_view_t key, uint32_t t);

/* Null says nothing. */
static bool read_members(reader_t *r, uint32_t object, read_member_fn *read)
{
    const pst_json_t *j = r->json;
    for (uint32_t k = pst_json_first(j, object); k != PST_JSON_NONE; k = pst_json_after(j, object, k)) {
        if (!pst_json_is(j, k + 1, PST_JSON_NULL) && !read(r, pst_json_str(j, k, r->arena), k + 1))
            return false;
    }
    return true;
}

static bool read_data_collection(reader_t *r, uint32_t t)
{
    static const char *const words[] = {"allow", "deny"};
    uint8_t i = 0;
    if (!read_word(r, t, "provider.data_collection", words, 2, &i))
        return false;
    r->route->deny_data_collection = i == 1;
    return true;
}

static bool read_sort_by(reader_t *r, uint32_t t, const char *what)
{
    static const char *const words[] = {"price", "throughput", "latency"};
    uint8_t i = 0;
    if (!read_word(r, t, what, words, 3, &i))
        return false;
    r->route->sort = (uint8_t)(PST_SORT_PRICE + i);
    r->sort_given = true;
    return true;
}

static bool read_partition(reader_t *r, uint32_t t)
{
    static const char *const words[] = {"model", "none"};
    uint8_t i = 0;
    if (!read_word(r, t, "provider.sort.partition", words, 2, &i))
        return false;
    r->route->across_models = i == 1;
    return true;
}

static bool read_sort_member(reader_t *r, pst_view_t key, uint32_t t)
{
    if (pst_view_eqs(key, "by"))
        return read_sort_by(r, t, "provider.sort.by");
    if (pst_view_eqs(key, "partition"))
        return read_partition(r, t);
    return wrong(r, "provider.sort", "may hold by and partition");
}

/* "price", or {"by": "price", "partition": "none"}. */
static bool read_sort(reader_t *r, uint32_t t)
{
    if (!pst_json_is(r->json, t, PST_JSON_OBJECT))
        return read_sort_by(r, t, "provider.sort");
    return read_members(r, t, read_sort_member);
}

static bool read_max_price_member(reader_t *r, pst_view_t key, uint32_t t)
{
    if (pst_view_eqs(key, "prompt"))
        return read_price(r, t, "provider.max_price.prompt", &r->route->max_price_prompt);
    if (pst_view_eqs(key, "completion"))
        return read_price(r, t, "provider.max_price.completion", &r->route->max_price_completion);
    if (pst_view_eqs(key, "request"))
        return read_price(r, t, "provider.max_price.request", &r->route->max_price_request);
    return wrong(r, "provider.max_price", "may hold prompt, completion and request");
}

static bool read_max_price(reader_t *r, uint32_t t)
{
    if (!pst_json_is(r->json, t, PST_JSON_OBJECT))
        return wrong(r, "provider.max_price", "must be an object");
    return read_members(r, t, read_max_price_member);
}

static bool read_speed(reader_t *r, uint32_t t, const char *what, double *ret)
{
    return (pst_json_num(r->json, t, ret) && *ret > 0 && isfinite(*ret)) || wrong(r, what, "must be numbers above 0");
}

/* A number, which is the median's, or {"p50": 30, "p90": 10}. */
static bool read_speeds(reader_t *r, uint32_t t, const char *what, double ret[PST_QUANTILES])
{
    static const char *const at[PST_QUANTILES] = {"p50", "p75", "p90", "p99"};
    const pst_json_t *j = r->json;
    if (!pst_json_is(j, t, PST_JSON_OBJECT))
        return read_speed(r, t, what, &ret[0]);
    for (uint32_t k = pst_json_first(j, t); k != PST_JSON_NONE; k = pst_json_after(j, t, k)) {
        pst_view_t key = pst_json_str(j, k, r->arena);
        int i = 0;
        while (i < PST_QUANTILES && !pst_view_eqs(key, at[i]))
            i++;
        if (i == PST_QUANTILES)
            return wrong(r, what, "may hold p50, p75, p90 and p99");
        if (!pst_json_is(j, k + 1, PST_JSON_NULL) && !read_speed(r, k + 1, what, &ret[i]))
            return false;
    }
    return true;
}

static bool read_provider_member(reader_t *r, pst_view_t key, uint32_t t)
{
    pst_route_t *o = r->route;
    if (pst_view_eqs(key, "order"))
        return read_names(r, t, "provider.order", PST_ROUTE_NAMES_MAX, &o->order);
    if (pst_view_eqs(key, "only"))
        return read_names(r, t, "provider.only", PST_ROUTE_NAMES_MAX, &o->only);
    if (pst_view_eqs(key, "ignore"))
        return read_names(r, t, "provider.ignore", PST_ROUTE_NAMES_MAX, &o->ignore);
    if (pst_view_eqs(key, "quantizations"))
        return read_names(r, t, "provider.quantizations", PST_ROUTE_NAMES_MAX, &o->quantizations);
    if (pst_view_eqs(key, "allow_fallbacks"))
        return read_bool(r, t, "provider.allow_fallbacks", &o->allow_fallbacks);
    if (pst_view_eqs(key, "require_parameters"))
        return read_bool(r, t, "provider.require_parameters", &o->require_parameters);
    if (pst_view_eqs(key, "zdr"))
        return read_bool(r, t, "provider.zdr", &o->zdr);
    if (pst_view_eqs(key, "data_collection"))
        return read_data_collection(r, t);
    if (pst_view_eqs(key, "sort"))
        return read_sort(r, t);
    if (pst_view_eqs(key, "max_price"))
        return read_max_price(r, t);
    if (pst_view_eqs(key, "preferred_min_throughput"))
        return read_speeds(r, t, "provider.preferred_min_throughput", o->min_throughput);
    if (pst_view_eqs(key, "preferred_max_latency"))
        return read_speeds(r, t, "provider.preferred_max_latency", o->max_latency);
    pst_view_t what = pst_arena_printf(r->arena, "provider.%.*s", (int)PST_MIN(key.n, 64u), key.n ? key.p : "");
    return wrong(r, what.p ? what.p : "provider", "is not a routing field");
}

static bool read_provider(reader_t *r, uint32_t t)
{
    if (t == PST_JSON_NONE)
        return true;
    if (!pst_json_is(r->json, t, PST_JSON_OBJECT))
        return wrong(r, "provider", "must be an object");
    return read_members(r, t, read_provider_member);
}

static bool strip_suffix(pst_view_t *name, pst_view_t suffix)
{
    if (name->n <= suffix.n || memcmp(name->p + name->n - suffix.n, suffix.p, suffix.n) != 0)
        return false;
    name->n -= suffix.n;
    return true;
}

/* Appends a model unless it is there; its suffix, if it is the first one's, sets the order of endpoints. */
static void add_model(reader_t *r, pst_view_t name)
{
    pst_names_t *m = &r->route->models;
    uint8_t sort = PST_SORT_DEFAULT;
    if (strip_suffix(&name, PST_VIEW_LIT(":floor")))
        sort = PST_SORT_PRICE;
    else if (strip_suffix(&name, PST_VIEW_LIT(":nitro")))
        sort = PST_SORT_THROUGHPUT;
    if (m->n == 0 && sort != PST_SORT_DEFAULT && !r->sort_given)
        r->route->sort = sort;
    for (uint32_t i = 0; i < m->n; i++) {
        if (pst_view_eq(m->v[i], name))
            return;
    }
    m->v[m->n++] = name;
}

/* `model` first, then `models`; the fallback only where neither is given. */
static pst_cause_t read_models(reader_t *r, const pst_body_t *b, pst_view_t fallback)
{
    pst_names_t more = {0};
    uint32_t models = b->at[PST_BODY_MODELS];
    if (models != PST_JSON_NONE && !read_names(r, models, "models", PST_ROUTE_MODELS_MAX, &more))
        return PST_CAUSE_LINE_ROUTING;
    pst_view_t first = more.n ? pst_view(NULL, 0) : fallback;
    if (b->at[PST_BODY_MODEL] != PST_JSON_NONE && !read_name(r, b->at[PST_BODY_MODEL], &first)) {
        wrong(r, "body.model", "must be a string of 1 to 256 bytes");
        return PST_CAUSE_LINE_BODY;
    }
    if (first.n == 0 && more.n == 0) {
        r->why = PST_VIEW_LIT("Missing required parameter: 'body.model'.");
        return PST_CAUSE_LINE_MISSING;
    }
    r->route->models.v = pst_arena_get(r->arena, (more.n + 1) * sizeof *more.v);
    if (!r->route->models.v) {
        wrong(r, "models", "is too large");
        return PST_CAUSE_LINE_ROUTING;
    }
    if (first.n)
        add_model(r, first);
    for (uint32_t i = 0; i < more.n; i++)
        add_model(r, more.v[i]);
    if (r->route->models.n > PST_ROUTE_MODELS_MAX) {
        wrong(r, "models", "has too many entries");
        return PST_CAUSE_LINE_ROUTING;
    }
    return PST_CAUSE_NONE;
}

pst_cause_t pst_routing_read(const pst_body_t *b, pst_view_t fallback, pst_arena_t *a, pst_route_t *ret,
                             pst_view_t *ret_why)
{
    *ret = (pst_route_t){.allow_fallbacks = true,
                         .require_parameters = true,
                         .max_price_prompt = -1,
                         .max_price_completion = -1,
                         .max_price_request = -1};
    reader_t r = {.json = b->json, .arena = a, .route = ret};
    pst_cause_t cause = PST_CAUSE_LINE_ROUTING;
    if (read_provider(&r, b->at[PST_BODY_PROVIDER]))
        cause = read_models(&r, b, fallback);
    *ret_why = r.why;
    return cause;
}
