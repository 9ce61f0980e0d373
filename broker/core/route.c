/* route.c - which endpoints may serve a job, and which one does now.
 *
 * A route is what all jobs of a pack wish; equal wishes share one.  Its candidates are found when it is first
 * seen and after each reload; the choice among them falls when a job is about to be sent, never earlier:
 *   models in the user's order; a fallback model only when every endpoint of the models before it is parked
 *     (or the job has failed there);
 *   with `order` or `sort`: the first that is ready;
 *   else a smooth weighted round robin over those that are ready, by 1/price^2 of what this job is expected to cost
 *     (OpenRouter's rule), so that the cheaper ones come first and the shares are exact over any stretch. */
#include "core/internal.h"

static int name_index(const pst_names_t *names, const char *provider)
{
    for (uint32_t i = 0; i < names->n; i++)
        if (pst_view_eqs(names->v[i], provider))
            return (int)i;
    return -1;
}

static int quantization_index(const pst_names_t *names, const char *q)
{
    return name_index(names, q && *q ? q : "unknown");
}

/* The hard wishes: what does not meet them is no candidate. */
static bool wish_allows(const pst_core_t *c, const route_t *r, const endpoint_t *e)
{
    const pst_route_t *w = &r->wish;
    const provider_t *p = c->providers[e->provider];
    if (!e->on || !p->on || !(p->urls & (1u << r->url)))
        return false;
    if (w->only.n && name_index(&w->only, p->name) < 0)
        return false;
    if (name_index(&w->ignore, p->name) >= 0)
        return false;
    if (w->order.n && !w->allow_fallbacks && name_index(&w->order, p->name) < 0)
        return false;
    if ((w->deny_data_collection && !p->deny_data_collection) || (w->zdr && !p->zdr))
        return false;
    if (w->quantizations.n && quantization_index(&w->quantizations, e->quantization) < 0)
        return false;
    return (w->max_price_prompt < 0 || e->price_input <= w->max_price_prompt) &&
           (w->max_price_completion < 0 || e->price_output <= w->max_price_completion) &&
           (w->max_price_request < 0 || e->price_request <= w->max_price_request);
}

static void link_endpoint(endpoint_t *e, uint32_t route)
{
    for (uint32_t i = 0; i < e->routes_n; i++)
        if (e->routes[i] == route)
            return;
    core_grow(e->routes, e->routes_n, e->routes_cap);
    e->routes[e->routes_n++] = route;
}

static void unlink_endpoint(endpoint_t *e, uint32_t route)
{
    for (uint32_t i = 0; i < e->routes_n; i++)
        if (e->routes[i] == route)
            e->routes[i--] = e->routes[--e->routes_n];
}

/* Sorting key within one model: place in `order` first, then price, then configuration order. */
static double rank(const pst_core_t *c, const route_t *r, const candidate_t *k)
{
    const endpoint_t *e = c->endpoints[k->endpoint];
    int at = name_index(&r->wish.order, c->providers[e->provider]->name);
    double place = r->wish.order.n ? (at < 0 ? 1e6 : at) : 0;
    return place * 1e9 + (e->price_input + e->price_output);
}

static void sort_candidates(const pst_core_t *c, route_t *r)
{
    for (uint32_t i = 1; i < r->candidates_n; i++) { /* few, and stable order matters */
        candidate_t k = r->candidates[i];
        uint32_t at = i;
        while (at > 0 && r->candidates[at - 1].model == k.model && rank(c, r, &r->candidates[at - 1]) > rank(c, r, &k)) {
            r->candidates[at] = r->candidates[at - 1];
            at--;
        }
        r->candidates[at] = k;
    }
}

static void add_candidate(pst_core_t *c, route_t *r, uint32_t endpoint, uint8_t model, uint32_t *cap)
{
    if (!wish_allows(c, r, c->endpoints[endpoint]))
        return;
    core_grow(r->candidates, r->candidates_n, *cap);
    r->candidates[r->candidates_n++] = (candidate_t){.endpoint = endpoint, .model = model};
    link_endpoint(c->endpoints[endpoint], r->id);
}

static const model_t *model_find(const pst_core_t *c, pst_view_t name)
{
    char key[16];
    core_key(name, 2, key);
    return pst_map_get(&c->models_by_name, key, 16);
}

void route_resolve(pst_core_t *c, route_t *r)
{
    for (uint32_t i = 0; i < r->candidates_n; i++)
        unlink_endpoint(c->endpoints[r->candidates[i].endpoint], r->id);
    free(r->candidates);
    r->candidates = NULL;
    r->candidates_n = 0;
    uint32_t cap = 0;
    for (uint32_t i = 0; i < r->wish.models.n; i++) {
        const model_t *m = model_find(c, r->wish.models.v[i]);
        for (uint32_t k = 0; m && k < m->endpoints_n; k++)
            add_candidate(c, r, m->endpoints[k], (uint8_t)i, &cap);
        endpoint_t *e = m ? NULL : endpoint_for_passthrough(c, r->wish.models.v[i]);
        if (e)
            add_candidate(c, r, e->id, (uint8_t)i, &cap);
    }
    r->ordered = r->wish.order.n > 0 || r->wish.sort == PST_SORT_PRICE;
    sort_candidates(c, r);
}

static bool every_model_known(pst_core_t *c, const pst_route_t *w)
{
    for (uint32_t i = 0; i < w->models.n; i++)
        if (!model_find(c, w->models.v[i]) && !endpoint_for_passthrough(c, w->models.v[i]))
            return false;
    return true;
}

route_t *route_get(pst_core_t *c, pst_url_t url, pst_view_t bytes, bool known, pst_err_t *ret_err)
{
    char key[16];
    core_key(bytes, (uint8_t)(16 + url), key);
    route_t *r = pst_map_get(&c->routes_by_key, key, 16);
    if (r) {
        PST_ASSERT(pst_view_eq(pst_view(r->bytes, r->bytes_n), bytes)); /* a 128-bit hash does not collide */
        r->refs++;
        return r;
    }
    r = pst_calloc(1, sizeof *r);
    pst_arena_init(&r->arena, 0);
    pst_link_init(&r->blocked);
    r->bytes = pst_strdup_view(bytes);
    r->bytes_n = bytes.n;
    pst_err_t e = pst_route_decode(pst_view(r->bytes, r->bytes_n), &r->arena, &r->wish);
    if (e == PST_OK && known && !every_model_known(c, &r->wish))
        e = PST_E_MODEL_NOT_FOUND;
    if (e != PST_OK) {
        *ret_err = e;
        pst_arena_release(&r->arena);
        free(r->bytes);
        free(r);
        return NULL;
    }
    r->url = (uint8_t)url;
    r->refs = 1;
    memcpy(r->key, key, 16);
    r->id = 0;
    while (r->id < c->routes_n && c->routes[r->id])
        r->id++;
    if (r->id == c->routes_n) {
        core_grow(c->routes, c->routes_n, c->routes_cap);
        c->routes_n++;
    }
    c->routes[r->id] = r;
    pst_map_set(&c->routes_by_key, key, 16, r);
    route_resolve(c, r);
    return r;
}

void route_put(pst_core_t *c, route_t *r)
{
    if (--r->refs > 0)
        return;
    PST_ASSERT(pst_link_empty(&r->blocked));
    for (uint32_t i = 0; i < r->candidates_n; i++)
        unlink_endpoint(c->endpoints[r->candidates[i].endpoint], r->id);
    c->routes[r->id] = NULL;
    pst_map_remove(&c->routes_by_key, r->key, 16);
    pst_arena_release(&r->arena);
    free(r->candidates);
    free(r->bytes);
    free(r);
}

pst_err_t pst_core_route_check(pst_core_t *c, pst_url_t url, pst_view_t route)
{
    pst_err_t e = PST_OK;
    route_t *r = route_get(c, url, route, true, &e);
    if (r)
        route_put(c, r);
    return e;
}

uint8_t route_models_n(const route_t *r)
{
    return (uint8_t)r->wish.models.n;
}

bool route_has_model(const route_t *r, uint8_t model)
{
    for (uint32_t i = 0; i < r->candidates_n; i++)
        if (r->candidates[i].model == model)
            return true;
    return false;
}

static bool parked(const pst_core_t *c, const endpoint_t *e)
{
    return e->rest.parked || c->providers[e->provider]->rest.parked;
}

static bool can_take(pst_core_t *c, endpoint_t *e, uint64_t tokens)
{
    return endpoint_ready(c, e) && bucket_has(c, c->providers[e->provider]->bucket, tokens) &&
           bucket_has(c, e->bucket, tokens);
}

/* Picks among the candidates [first, end) of one model; skip: an endpoint not to be used. */
static endpoint_t *pick_spread(pst_core_t *c, route_t *r, uint32_t first, uint32_t end, uint32_t skip, uint32_t input,
                               uint32_t output)
{
    candidate_t *best = NULL;
    double sum = 0;
    for (uint32_t i = first; i < end; i++) {
        candidate_t *k = &r->candidates[i];
        endpoint_t *e = c->endpoints[k->endpoint];
        if (k->endpoint == skip || !can_take(c, e, (uint64_t)input + output))
            continue;
        double cost = endpoint_cost(e, input, 0, output);
        double weight = 1 / ((cost + 1) * (cost + 1)); /* + 1 nano-USD: free endpoints have a weight too */
        k->turn += weight;
        sum += weight;
        if (!best || k->turn > best->turn)
            best = k;
    }
    if (!best)
        return NULL;
    best->turn -= sum;
    return c->endpoints[best->endpoint];
}

static endpoint_t *pick_first(pst_core_t *c, route_t *r, uint32_t first, uint32_t end, uint32_t skip, uint64_t tokens)
{
    for (uint32_t i = first; i < end; i++)
        if (r->candidates[i].endpoint != skip && can_take(c, c->endpoints[r->candidates[i].endpoint], tokens))
            return c->endpoints[r->candidates[i].endpoint];
    return NULL;
}

endpoint_t *route_pick(pst_core_t *c, route_t *r, uint8_t model, uint32_t avoid, uint32_t input, uint32_t output,
                       bool *ret_hopeless)
{
    *ret_hopeless = true;
    for (uint32_t i = 0; i < r->candidates_n;) {
        uint32_t end = i;
        bool all_parked = true;
        uint8_t m = r->candidates[i].model;
        for (; end < r->candidates_n && r->candidates[end].model == m; end++)
            all_parked = all_parked && parked(c, c->endpoints[r->candidates[end].endpoint]);
        if (m < model) {
            i = end;
            continue;
        }
        *ret_hopeless = false;
        uint32_t skip = end - i > 1 ? avoid : NONE;
        for (int pass = 0; pass < 2; pass++) { /* first without the endpoint that failed, then with it */
            endpoint_t *e = r->ordered ? pick_first(c, r, i, end, skip, (uint64_t)input + output)
                                       : pick_spread(c, r, i, end, skip, input, output);
            if (e)
                return e;
            if (skip == NONE)
                break;
            skip = NONE;
        }
        if (!all_parked)
            return NULL; /* wait for this model: its endpoints are only busy */
        i = end;
    }
    return NULL;
}
