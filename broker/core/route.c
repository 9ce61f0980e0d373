/* route.c - which endpoints may serve a job, and which one does now.
 *
 * A route is what all jobs of a pack wish, in OpenRouter's words; equal wishes share one.  Its candidates are found when
 * it is first seen and after each reload, and put in order anew each second; the choice among them falls when a job is
 * about to be sent, never earlier:
 *   models in the user's order; a fallback model only when every endpoint of the models before it is parked, or the job
 *     has failed there (with `partition: none` the endpoints of all models stand in one line);
 *   the user's `order`, then all others;
 *   by uptime, then those that meet the preferred speeds before those that do not;
 *   the first of these that can take a job now: with `sort` the cheapest for this very job, or the fastest; else a
 *     smooth weighted round robin by 1/price^2 of what this job is expected to cost (OpenRouter's rule), so that the
 *     cheaper ones come first and the shares are exact over any stretch. */
#include "core/internal.h"

#define RANKS_KEEP PST_SEC

/* ---- candidates --------------------------------------------------------------------------------------------------- */

/* A base slug names all that a provider serves, PROVIDER/VARIANT one. */
static bool slug_names(const pst_core_t *c, const endpoint_t *e, pst_view_t slug)
{
    pst_view_t provider = pst_view_str(c->providers[e->provider]->name), variant = pst_view_str(e->variant);
    if (pst_view_eq(slug, provider))
        return true;
    size_t n = provider.n;
    return variant.n && slug.n == n + 1 + variant.n && memcmp(slug.p, provider.p, n) == 0 && slug.p[n] == '/' &&
           memcmp(slug.p + n + 1, variant.p, variant.n) == 0;
}

/* Place of the first slug that names it; the number of slugs if none does. */
static uint32_t slug_place(const pst_core_t *c, const endpoint_t *e, const pst_names_t *slugs)
{
    uint32_t i = 0;
    while (i < slugs->n && !slug_names(c, e, slugs->v[i]))
        i++;
    return i;
}

static bool is_listed(const pst_core_t *c, const endpoint_t *e, const pst_names_t *slugs)
{
    return slug_place(c, e, slugs) < slugs->n;
}

/* fp4 and fp8 cover their microscaled forms. */
static bool covers(pst_view_t wished, const char *has)
{
    if (pst_view_eqs(wished, has))
        return true;
    if (pst_view_eqs(wished, "fp4"))
        return pst_view_eqs(pst_view_str(has), "mxfp4") || pst_view_eqs(pst_view_str(has), "nvfp4");
    return pst_view_eqs(wished, "fp8") && pst_view_eqs(pst_view_str(has), "mxfp8");
}

static bool quantization_allowed(const pst_names_t *wished, const char *has)
{
    for (uint32_t i = 0; i < wished->n; i++)
        if (covers(wished->v[i], has && *has ? has : "unknown"))
            return true;
    return wished->n == 0;
}

static bool price_allowed(const pst_route_t *w, const endpoint_t *e)
{
    return (w->max_price_prompt < 0 || e->price_input <= w->max_price_prompt) &&
           (w->max_price_completion < 0 || e->price_output <= w->max_price_completion) &&
           (w->max_price_request < 0 || e->price_request <= w->max_price_request);
}

/* The hard wishes: what does not meet them is no candidate. */
static bool wish_allows(const pst_core_t *c, const route_t *r, const endpoint_t *e)
{
    const pst_route_t *w = &r->wish;
    const provider_t *p = c->providers[e->provider];
    if (!e->on || !p->on || !(p->urls & (1u << r->url)))
        return false;
    if ((w->only.n && !is_listed(c, e, &w->only)) || is_listed(c, e, &w->ignore))
        return false;
    if (w->order.n && !w->allow_fallbacks && !is_listed(c, e, &w->order))
        return false;
    if (w->require_parameters && (w->params & ~e->params))
        return false;
    if ((w->deny_data_collection && !p->deny_data_collection) || (w->zdr && !p->zdr))
        return false;
    return quantization_allowed(&w->quantizations, e->quantization) && price_allowed(w, e);
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

static bool meets(const pst_route_t *w, const standing_t *s)
{
    for (int i = 0; s->measured && i < PST_QUANTILES; i++) {
        if (w->min_throughput[i] > 0 && s->throughput[i] < w->min_throughput[i])
            return false;
        if (w->max_latency[i] > 0 && s->latency[i] > w->max_latency[i])
            return false;
    }
    return true;
}

/* Who has not been measured comes first: so it will be. */
static double sorting_key(const pst_route_t *w, const endpoint_t *e, const standing_t *s)
{
    if (w->sort == PST_SORT_THROUGHPUT)
        return s->measured ? -s->throughput[0] : -1e12;
    if (w->sort == PST_SORT_LATENCY)
        return s->measured ? s->latency[0] : -1;
    return e->price_input + e->price_output; /* the price of a job is known only with the job */
}

static void rank(pst_core_t *c, const route_t *r, candidate_t *k)
{
    const endpoint_t *e = c->endpoints[k->endpoint];
    standing_t s = health_standing(c, e);
    k->place = (uint16_t)slug_place(c, e, &r->wish.order);
    k->rank = (uint8_t)(2 * s.tier + !meets(&r->wish, &s));
    if (k->place < r->wish.order.n)
        k->rank = 0; /* who names his providers takes them as they are */
    k->key = sorting_key(&r->wish, e, &s);
}

static bool same_turn(const route_t *r, const candidate_t *a, const candidate_t *b)
{
    return a->place == b->place && a->rank == b->rank && (r->wish.across_models || a->model == b->model);
}

static bool comes_before(const route_t *r, const candidate_t *a, const candidate_t *b)
{
    if (!r->wish.across_models && a->model != b->model)
        return a->model < b->model;
    if (a->place != b->place)
        return a->place < b->place;
    if (a->rank != b->rank)
        return a->rank < b->rank;
    return a->key < b->key;
}

static void rank_candidates(pst_core_t *c, route_t *r)
{
    for (uint32_t i = 0; i < r->candidates_n; i++)
        rank(c, r, &r->candidates[i]);
    for (uint32_t i = 1; i < r->candidates_n; i++) { /* nearly in order already, and those alike stay as they are */
        candidate_t k = r->candidates[i];
        uint32_t at = i;
        for (; at > 0 && comes_before(r, &k, &r->candidates[at - 1]); at--)
            r->candidates[at] = r->candidates[at - 1];
        r->candidates[at] = k;
    }
    r->ranked_at = c->now;
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
    rank_candidates(c, r);
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

/* ---- the choice --------------------------------------------------------------------------------------------------- */

static bool is_given_up(uint8_t given_up, uint8_t model)
{
    return given_up >> model & 1;
}

uint8_t route_give_up(const route_t *r, uint8_t given_up, uint32_t endpoint)
{
    for (uint32_t i = 0; i < r->candidates_n; i++) {
        const candidate_t *k = &r->candidates[i];
        if (k->endpoint == endpoint && !is_given_up(given_up, k->model))
            return (uint8_t)(given_up | 1u << k->model);
    }
    /* A reload took the endpoint away: then the first model that is left. */
    return (uint8_t)(given_up | (given_up + 1));
}

bool route_has_more(const route_t *r, uint8_t given_up)
{
    for (uint32_t i = 0; i < r->candidates_n; i++)
        if (!is_given_up(given_up, r->candidates[i].model))
            return true;
    return false;
}

static bool parked(const pst_core_t *c, const endpoint_t *e)
{
    return e->rest.parked || c->providers[e->provider]->rest.parked;
}

/* A job that looks for its endpoint. */
typedef struct seeker {
    pst_core_t *c;
    route_t *route;
    uint8_t given_up;
    uint32_t avoid;
    const slot_t *job;
} seeker_t;

static bool can_take(const seeker_t *s, const candidate_t *k)
{
    pst_core_t *c = s->c;
    endpoint_t *e = c->endpoints[k->endpoint];
    if (k->endpoint == s->avoid || is_given_up(s->given_up, k->model) || !endpoint_ready(c, e))
        return false;
    const provider_t *p = c->providers[e->provider];
    tokens_t t = estimate_counted(p, e, estimate_tokens(e, s->job));
    return bucket_has(c, p->bucket, t) && bucket_has(c, e->bucket, t);
}

static double cost_of(const seeker_t *s, const candidate_t *k)
{
    const endpoint_t *e = s->c->endpoints[k->endpoint];
    tokens_t t = estimate_tokens(e, s->job);
    return endpoint_cost(e, t.input, 0, t.output);
}

static candidate_t *pick_spread(const seeker_t *s, candidate_t *first, candidate_t *end)
{
    candidate_t *best = NULL;
    double sum = 0;
    for (candidate_t *k = first; k < end; k++) {
        if (!can_take(s, k))
            continue;
        double cost = cost_of(s, k);
        double weight = 1 / ((cost + 1) * (cost + 1)); /* + 1 nano-USD: free endpoints have a weight too */
        k->turn += weight;
        sum += weight;
        if (!best || k->turn > best->turn)
            best = k;
    }
    if (best)
        best->turn -= sum;
    return best;
}

static candidate_t *pick_cheapest(const seeker_t *s, candidate_t *first, candidate_t *end)
{
    candidate_t *best = NULL;
    for (candidate_t *k = first; k < end; k++)
        if ((!best || cost_of(s, k) < cost_of(s, best)) && can_take(s, k))
            best = k;
    return best;
}

static candidate_t *pick_first(const seeker_t *s, candidate_t *first, candidate_t *end)
{
    for (candidate_t *k = first; k < end; k++)
        if (can_take(s, k))
            return k;
    return NULL;
}

/* Among those of one model, or of all: [first, end). */
static candidate_t *pick(const seeker_t *s, candidate_t *first, candidate_t *end)
{
    while (first < end) {
        candidate_t *next = first + 1, *k;
        while (next < end && same_turn(s->route, first, next))
            next++;
        if (s->route->wish.sort == PST_SORT_DEFAULT)
            k = pick_spread(s, first, next);
        else if (s->route->wish.sort == PST_SORT_PRICE)
            k = pick_cheapest(s, first, next);
        else
            k = pick_first(s, first, next);
        if (k)
            return k;
        first = next;
    }
    return NULL;
}

/* First without the endpoint that failed it, then with it. */
static candidate_t *pick_avoiding(seeker_t *s, candidate_t *first, candidate_t *end)
{
    uint32_t avoid = s->avoid;
    candidate_t *k = end - first > 1 || avoid == NONE ? pick(s, first, end) : NULL;
    if (k || avoid == NONE)
        return k;
    s->avoid = NONE;
    k = pick(s, first, end);
    s->avoid = avoid;
    return k;
}

const candidate_t *route_pick(pst_core_t *c, route_t *r, uint8_t given_up, uint32_t avoid, const slot_t *job,
                              bool *ret_hopeless)
{
    if (c->now - r->ranked_at >= RANKS_KEEP)
        rank_candidates(c, r);
    seeker_t s = {.c = c, .route = r, .given_up = given_up, .avoid = avoid, .job = job};
    *ret_hopeless = !route_has_more(r, given_up);
    candidate_t *end = r->candidates + r->candidates_n;
    for (candidate_t *first = r->candidates, *next; first < end; first = next) {
        bool all_parked = true;
        for (next = first; next < end && (r->wish.across_models || next->model == first->model); next++)
            all_parked = all_parked && (is_given_up(given_up, next->model) || parked(c, c->endpoints[next->endpoint]));
        const candidate_t *k = pick_avoiding(&s, first, next);
        if (k || !all_parked)
            return k; /* none: wait for this model, its endpoints are only busy */
    }
    return NULL;
}
