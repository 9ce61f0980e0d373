/* route.c - which endpoints may serve a job, and which one does now.
 *
 * A route is what all jobs of a pack wish, in OpenRouter's words; equal wishes share one.  Jobs that have given up some of
 * its models have a route of their own, and so has a batch with a window, whose plan it keeps (plan.c).  A route's
 * candidates are found when it is first seen and after each reload, and put in order anew each second; the choice among
 * them falls when a job is about to be sent, never earlier:
 *   models in the user's order; a fallback model only when every endpoint of the models before it is parked, or the job
 *     has failed there (with `partition: none` the endpoints of all models stand in one line);
 *   the user's `order`, then all others;
 *   by uptime, then those that meet the preferred speeds before those that do not: so far they make groups;
 *   within a group the first that can take a job now: with `sort` the cheapest for this very job, or the fastest; else in
 *     turns, of which one takes the more the more this job costs there, by the square (OpenRouter's 1/price^2), so that
 *     the cheaper ones come first and the shares are exact over any stretch.
 * A candidate that cannot take a job leaves its group until there is room again (place.c), so that a choice costs
 * the same however many endpoints are busy. */
#include "core/internal.h"

#define RANKS_KEEP PST_SEC
#define TRIED_KEEPS (50 * PST_MS)

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

static bool wants_speed(const pst_route_t *w)
{
    bool wants = w->sort == PST_SORT_THROUGHPUT || w->sort == PST_SORT_LATENCY;
    for (int i = 0; i < PST_QUANTILES; i++)
        wants = wants || w->min_throughput[i] > 0 || w->max_latency[i] > 0;
    return wants;
}

static void rank(const pst_core_t *c, const route_t *r, candidate_t *k, bool by_speed)
{
    const endpoint_t *e = c->endpoints[k->endpoint];
    standing_t s = by_speed ? health_standing(c, e) : (standing_t){.tier = health_tier(c, e)};
    k->place_in_order = (uint16_t)slug_place(c, e, &r->wish.order);
    k->rank = (uint8_t)(2 * s.tier + !meets(&r->wish, &s));
    if (k->place_in_order < r->wish.order.n)
        k->rank = 0; /* who names his providers takes them as they are */
    k->key = sorting_key(&r->wish, e, &s);
}

static bool same_turn(const route_t *r, const candidate_t *a, const candidate_t *b)
{
    return a->place_in_order == b->place_in_order && a->rank == b->rank && (r->wish.across_models || a->model == b->model);
}

static bool comes_before(const route_t *r, const candidate_t *a, const candidate_t *b)
{
    if (!r->wish.across_models && a->model != b->model)
        return a->model < b->model;
    if (a->place_in_order != b->place_in_order)
        return a->place_in_order < b->place_in_order;
    if (a->rank != b->rank)
        return a->rank < b->rank;
    return a->key < b->key;
}

static uint64_t group_key(const candidate_t *k)
{
    return k->route->wish.sort == PST_SORT_DEFAULT ? core_order(k->pass) : k->at;
}

static void groups_release(route_t *r)
{
    for (uint32_t i = 0; i < r->groups_n; i++)
        pst_heap_release(&r->groups[i].ready);
    free(r->groups);
    r->groups = NULL;
    r->groups_n = 0;
}

/* Candidates stand in their order: those that are equal make a group. */
static void make_groups(route_t *r)
{
    groups_release(r);
    r->groups = pst_calloc(PST_MAX(r->candidates_n, 1), sizeof *r->groups);
    for (uint32_t i = 0; i < r->candidates_n; i++) {
        candidate_t *k = r->candidates[i];
        if (i == 0 || !same_turn(r, r->candidates[i - 1], k)) {
            pst_heap_init(&r->groups[r->groups_n].ready);
            r->groups[r->groups_n++].first = i;
        }
        group_t *g = &r->groups[r->groups_n - 1];
        g->end = i + 1;
        k->group = r->groups_n - 1;
        k->at = i;
        if (!k->place)
            pst_heap_set(&g->ready, &k->node, group_key(k));
    }
}

/* In order, those alike as they stood; false if nothing has moved. */
static bool sort_candidates(route_t *r)
{
    bool moved = false;
    for (uint32_t i = 1; i < r->candidates_n; i++) {
        candidate_t *k = r->candidates[i];
        uint32_t at = i;
        for (; at > 0 && comes_before(r, k, r->candidates[at - 1]); at--)
            r->candidates[at] = r->candidates[at - 1];
        r->candidates[at] = k;
        moved = moved || at != i;
    }
    return moved;
}

static bool still_grouped(const route_t *r)
{
    for (uint32_t i = 1; i < r->candidates_n; i++)
        if (same_turn(r, r->candidates[i - 1], r->candidates[i]) !=
            (r->candidates[i - 1]->group == r->candidates[i]->group))
            return false;
    return r->groups != NULL;
}

static void rank_candidates(const pst_core_t *c, route_t *r)
{
    bool by_speed = wants_speed(&r->wish);
    for (uint32_t i = 0; i < r->candidates_n; i++)
        rank(c, r, r->candidates[i], by_speed);
    bool moved = sort_candidates(r);
    if (moved || !still_grouped(r))
        make_groups(r);
    r->ranked_at = c->now;
}

void route_candidate_in(candidate_t *k)
{
    group_t *g = &k->route->groups[k->group];
    place_leave(k);
    k->pass = PST_MAX(k->pass, g->pass); /* it does not make up for the time it was away */
    pst_heap_set(&g->ready, &k->node, group_key(k));
}

static void add_candidate(pst_core_t *c, route_t *r, uint32_t endpoint, uint8_t model, uint32_t *cap)
{
    if ((r->given_up >> model & 1) || !wish_allows(c, r, c->endpoints[endpoint]))
        return;
    candidate_t *k = pst_calloc_line(sizeof *k);
    pst_heap_node_init(&k->node);
    pst_link_init(&k->woken);
    k->route = r;
    k->endpoint = endpoint;
    k->model = model;
    k->allowed = -1;
    pst_grow(r->candidates, r->candidates_n, *cap);
    r->candidates[r->candidates_n++] = k;
}

static void drop_candidates(route_t *r)
{
    groups_release(r);
    for (uint32_t i = 0; i < r->candidates_n; i++) {
        place_leave(r->candidates[i]);
        pst_link_remove(&r->candidates[i]->woken);
        free(r->candidates[i]);
    }
    free(r->candidates);
    r->candidates = NULL;
    r->candidates_n = 0;
}

static const model_t *model_find(const pst_core_t *c, pst_view_t name)
{
    char key[16];
    core_key(name, 2, key);
    return pst_map_get(&c->models_by_name, key, 16);
}

void route_resolve(pst_core_t *c, route_t *r)
{
    drop_candidates(r);
    uint32_t cap = 0;
    for (uint32_t i = 0; i < r->wish.models.n; i++) {
        const model_t *m = model_find(c, r->wish.models.v[i]);
        for (uint32_t k = 0; m && k < m->endpoints_n; k++)
            add_candidate(c, r, m->endpoints[k], (uint8_t)i, &cap);
        endpoint_t *e = m ? NULL : endpoint_for_passthrough(c, r->wish.models.v[i]);
        if (e)
            add_candidate(c, r, e->id, (uint8_t)i, &cap);
    }
    r->caches = false;
    for (uint32_t i = 0; i < r->candidates_n; i++)
        r->caches = r->caches || c->endpoints[r->candidates[i]->endpoint]->caches_prompts;
    rank_candidates(c, r);
    r->parkings = c->parkings - 1;
    r->planned_at = 0;
}

static bool every_model_known(pst_core_t *c, const pst_route_t *w)
{
    for (uint32_t i = 0; i < w->models.n; i++)
        if (!model_find(c, w->models.v[i]) && !endpoint_for_passthrough(c, w->models.v[i]))
            return false;
    return true;
}

static void route_key(pst_url_t url, pst_view_t bytes, uint8_t given_up, const batch_t *planned, char key[33])
{
    memset(key, 0, 33);
    core_key(bytes, (uint8_t)(16 + url), key);
    key[16] = (char)given_up;
    if (planned)
        memcpy(key + 17, planned->id.b, 16);
}

static void route_free(route_t *r)
{
    pst_arena_release(&r->arena);
    free(r->bytes);
    free(r);
}

static uint32_t free_number(pst_core_t *c)
{
    uint32_t id = c->routes_free;
    while (id < c->routes_n && c->routes[id])
        id++;
    if (id == c->routes_n) {
        pst_grow(c->routes, c->routes_n, c->routes_cap);
        c->routes_n++;
    }
    c->routes_free = id + 1;
    return id;
}

static void route_enlist(pst_core_t *c, route_t *r)
{
    r->id = free_number(c);
    r->refs = 1;
    c->routes[r->id] = r;
    pst_map_set(&c->routes_by_key, r->key, sizeof r->key, r);
    route_resolve(c, r);
}

static route_t *route_new(pst_url_t url, pst_view_t bytes)
{
    route_t *r = pst_calloc_line(sizeof *r);
    pst_arena_init(&r->arena, 0);
    pst_heap_init(&r->shares);
    pst_link_init(&r->all_shares);
    pst_link_init(&r->woken);
    pst_link_init(&r->for_loads);
    pst_heap_node_init(&r->node);
    pst_heap_node_init(&r->timer.node);
    r->timer.kind = TIMER_ROUTE;
    r->url = (uint8_t)url;
    r->bytes = pst_strdup_view(bytes);
    r->bytes_n = bytes.n;
    return r;
}

route_t *route_get(pst_core_t *c, pst_url_t url, pst_view_t bytes, bool known, pst_err_t *ret_err)
{
    char key[33];
    route_key(url, bytes, 0, NULL, key);
    route_t *r = pst_map_get(&c->routes_by_key, key, sizeof key);
    if (r) {
        PST_ASSERT(pst_view_eq(pst_view(r->bytes, r->bytes_n), bytes)); /* a 128-bit hash does not collide */
        r->refs++;
        return r;
    }
    r = route_new(url, bytes);
    pst_err_t e = pst_route_decode(pst_view(r->bytes, r->bytes_n), &r->arena, &r->wish);
    if (e == PST_OK && known && !every_model_known(c, &r->wish))
        e = PST_E_MODEL_NOT_FOUND;
    if (e != PST_OK) {
        *ret_err = e;
        route_free(r);
        return NULL;
    }
    memcpy(r->key, key, sizeof key);
    route_enlist(c, r);
    return r;
}

route_t *route_variant(pst_core_t *c, const route_t *base, uint8_t given_up, batch_t *planned)
{
    char key[33];
    pst_view_t bytes = pst_view(base->bytes, base->bytes_n);
    route_key(base->url, bytes, given_up, planned, key);
    route_t *r = pst_map_get(&c->routes_by_key, key, sizeof key);
    if (r) {
        r->refs++;
        return r;
    }
    r = route_new(base->url, bytes);
    pst_err_t e = pst_route_decode(pst_view(r->bytes, r->bytes_n), &r->arena, &r->wish);
    PST_ASSERT(e == PST_OK); /* as the base's did */
    memcpy(r->key, key, sizeof key);
    r->given_up = given_up;
    r->planned = planned;
    route_enlist(c, r);
    return r;
}

void route_put(pst_core_t *c, route_t *r)
{
    if (--r->refs > 0)
        return;
    PST_ASSERT(pst_link_empty(&r->all_shares));
    drop_candidates(r);
    pst_heap_remove(&c->ready, &r->node);
    pst_link_remove(&r->for_loads);
    pst_heap_release(&r->shares);
    core_timer(c, &r->timer, PST_NEVER);
    c->routes[r->id] = NULL;
    c->routes_free = PST_MIN(c->routes_free, r->id);
    pst_map_remove(&c->routes_by_key, r->key, sizeof r->key);
    route_free(r);
}

/* ---- turns -------------------------------------------------------------------------------------------------------- */

void route_ready(pst_core_t *c, route_t *r)
{
    uint64_t key;
    if (!fair_turn(r, &key))
        return;
    r->state = ROUTE_READY;
    pst_link_remove(&r->for_loads);
    pst_heap_set(&c->ready, &r->node, key);
}

void route_rest(pst_core_t *c, route_t *r, route_state_t state)
{
    r->state = state;
    pst_heap_remove(&c->ready, &r->node);
}

/* What none of them could take a moment ago, they cannot take now: places wake them. */
void route_retry(pst_core_t *c, route_t *r, uint8_t priority)
{
    if (r->state == ROUTE_WAITING && priority <= r->tried_as && r->tried_at && c->now - r->tried_at < TRIED_KEEPS)
        return;
    for (uint32_t i = 0; i < r->candidates_n; i++)
        if (r->candidates[i]->place)
            route_candidate_in(r->candidates[i]);
    route_ready(c, r);
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

uint8_t route_give_up(const route_t *r, uint8_t given_up, uint32_t endpoint)
{
    for (uint32_t i = 0; i < r->candidates_n; i++) {
        const candidate_t *k = r->candidates[i];
        if (k->endpoint == endpoint && !(given_up >> k->model & 1))
            return (uint8_t)(given_up | 1u << k->model);
    }
    /* A reload took the endpoint away: then the first model that is left. */
    return (uint8_t)(given_up | (given_up + 1));
}

bool route_has_more(const route_t *r, uint8_t given_up)
{
    for (uint32_t i = 0; i < r->candidates_n; i++)
        if (!(given_up >> r->candidates[i]->model & 1))
            return true;
    return false;
}

static bool parked(const pst_core_t *c, const endpoint_t *e)
{
    return e->rest.parked || c->providers[e->provider]->rest.parked;
}

const rest_t *route_rests(const pst_core_t *c, const route_t *r, pst_ns_t patience)
{
    const rest_t *soonest = NULL;
    for (uint32_t i = 0; i < r->candidates_n; i++) {
        const endpoint_t *e = c->endpoints[r->candidates[i]->endpoint];
        const provider_t *p = c->providers[e->provider];
        const rest_t *rest = p->rest.parked ? &p->rest : &e->rest;
        if (!rest->parked || rest->until <= pst_ns_add(c->now, patience))
            return NULL;
        if (!soonest || rest->until < soonest->until)
            soonest = rest;
    }
    return soonest;
}

typedef struct seeker {
    pst_core_t *c;
    route_t *route;
    pick_t *pick;
    uint32_t avoid;
    bool together;        /* endpoints that have answered this beginning come first */
} seeker_t;

/* The place that lacks room for the job; NULL if it can be sent there. */
static place_t *lacks(const seeker_t *s, const candidate_t *k)
{
    pst_core_t *c = s->c;
    endpoint_t *e = c->endpoints[k->endpoint];
    provider_t *p = c->providers[e->provider];
    if (!provider_free(c, p, s->pick->priority))
        return &p->place;
    if (!endpoint_free(c, e, s->pick->priority))
        return &e->place;
    if (!p->bucket && !e->bucket)
        return NULL;
    tokens_t t = estimate_counted(p, e, estimate_tokens(e, s->pick->job));
    if (!bucket_has(c, p->bucket, t))
        return &p->place;
    return bucket_has(c, e->bucket, t) ? NULL : &e->place;
}

static bool can_take(const seeker_t *s, candidate_t *k)
{
    place_t *place = lacks(s, k);
    if (place)
        place_wait(s->c, k, place);
    return !place;
}

static double cost_of(const seeker_t *s, const candidate_t *k)
{
    const endpoint_t *e = s->c->endpoints[k->endpoint];
    tokens_t t = estimate_tokens(e, s->pick->job);
    return endpoint_cost(e, t.input, 0, t.output);
}

/* It has had its turn: the next comes the later the more this one costs.  + 1 nano-USD: turns of free ones end too. */
static void take_turn(const seeker_t *s, group_t *g, candidate_t *k)
{
    double cost = cost_of(s, k) + 1;
    g->pass = k->pass;
    k->pass += cost * cost;
    pst_heap_set(&g->ready, &k->node, group_key(k));
}

/* The first of the group that can take the job; the one to be avoided is passed over. */
static candidate_t *pick_first(const seeker_t *s, group_t *g)
{
    candidate_t *aside = NULL, *found = NULL;
    pst_heap_node_t *top;
    while (!found && (top = pst_heap_top(&g->ready)) != NULL) {
        candidate_t *k = PST_CONTAINER(top, candidate_t, node);
        if (k->endpoint == s->avoid && !aside) {
            pst_heap_remove(&g->ready, top);
            aside = k;
        } else if (can_take(s, k)) {
            found = k;
        }
    }
    if (aside)
        pst_heap_set(&g->ready, &aside->node, aside->node.key);
    return found;
}

/* Where prompts are cached, what comes with the same beginning waits for the first answer to it; it goes where that was
 * given if it can. */
static bool waits_for_leader(const seeker_t *s, const candidate_t *k, bool *ret_cached)
{
    *ret_cached = false;
    if (!s->together || !s->c->endpoints[k->endpoint]->caches_prompts)
        return false;
    beginning_t *b = beginning_find(s->c, k->endpoint, s->pick->job->prefix);
    if (!b)
        return false;
    *ret_cached = !beginning_leads(b);
    if (!*ret_cached)
        s->pick->leader = b;
    return !*ret_cached;
}

static double measure_of(const seeker_t *s, const candidate_t *k)
{
    bool by_cost = s->route->planned || s->route->wish.sort == PST_SORT_PRICE;
    return by_cost ? cost_of(s, k) : 0;
}

/* One by one: by whether the beginning is cached there, by this job's cost if that is asked for, then in turn. */
static candidate_t *best_of(const seeker_t *s, const group_t *g)
{
    candidate_t *best = NULL;
    double least = 0;
    bool best_cached = false, cached;
    for (uint32_t i = 0; i < g->ready.n; i++) {
        candidate_t *k = PST_CONTAINER(g->ready.v[i].node, candidate_t, node);
        if (k->endpoint == s->avoid || (s->route->planned && !plan_allows(k)) || waits_for_leader(s, k, &cached))
            continue;
        double cost = measure_of(s, k);
        bool better = !best || (cached != best_cached ? cached : cost != least ? cost < least : k->node.key < best->node.key);
        if (better) {
            best = k;
            least = cost;
            best_cached = cached;
        }
    }
    return best;
}

static candidate_t *pick_best(const seeker_t *s, const group_t *g)
{
    candidate_t *k;
    while ((k = best_of(s, g)) != NULL && !can_take(s, k))
        continue;
    return k;
}

static candidate_t *pick_in(const seeker_t *s, group_t *g)
{
    bool one_by_one = s->together || s->route->planned || s->route->wish.sort == PST_SORT_PRICE;
    candidate_t *k = one_by_one ? pick_best(s, g) : pick_first(s, g);
    if (k && s->route->wish.sort == PST_SORT_DEFAULT)
        take_turn(s, g, k);
    return k;
}

static candidate_t *pick_of(const seeker_t *s, uint32_t first, uint32_t end)
{
    candidate_t *k = NULL;
    for (uint32_t i = first; !k && i < end; i++)
        k = pick_in(s, &s->route->groups[i]);
    return k;
}

/* First without the endpoint that failed it, then with it. */
static candidate_t *pick_avoiding(seeker_t *s, uint32_t first, uint32_t end)
{
    uint32_t avoid = s->avoid;
    candidate_t *k = pick_of(s, first, end);
    if (k || avoid == NONE)
        return k;
    s->avoid = NONE;
    k = pick_of(s, first, end);
    s->avoid = avoid;
    return k;
}

static uint8_t first_open_model(const pst_core_t *c, const route_t *r)
{
    for (uint32_t i = 0; i < r->candidates_n; i++)
        if (!parked(c, c->endpoints[r->candidates[i]->endpoint]))
            return r->candidates[i]->model;
    return UINT8_MAX;
}

/* A model behind this one is not asked: it has an endpoint that is only busy. */
static uint8_t last_model(pst_core_t *c, route_t *r)
{
    if (r->wish.across_models)
        return UINT8_MAX;
    if (r->parkings != c->parkings) {
        r->parkings = c->parkings;
        r->models_open = first_open_model(c, r);
    }
    return r->models_open;
}

candidate_t *route_pick(pst_core_t *c, route_t *r, pick_t *pick)
{
    if (c->now - r->ranked_at >= RANKS_KEEP)
        rank_candidates(c, r);
    if (r->planned)
        plan_refresh(c, r);
    seeker_t s = {.c = c, .route = r, .pick = pick, .avoid = pick->avoid, .together = r->caches && pick->job->prefix};
    uint8_t last = last_model(c, r);
    for (uint32_t first = 0, end; first < r->groups_n; first = end) {
        uint8_t model = r->candidates[r->groups[first].first]->model;
        if (model > last)
            break;
        for (end = first + 1; end < r->groups_n; end++)
            if (!r->wish.across_models && r->candidates[r->groups[end].first]->model != model)
                break;
        candidate_t *k = pick_avoiding(&s, first, end);
        if (k)
            return k;
    }
    return NULL;
}

#define MEAN_OF 64.0 /* jobs */

void route_sent(pst_core_t *c, candidate_t *k, const pick_t *pick, job_t *j)
{
    route_t *r = k->route;
    if (r->planned) {
        tokens_t t = estimate_tokens(c->endpoints[k->endpoint], pick->job);
        double share = r->mean_input ? 1 / MEAN_OF : 1;
        r->mean_input += (t.input - r->mean_input) * share;
        r->mean_output += (t.output - r->mean_output) * share;
        plan_sent(k);
    }
    if (r->caches && pick->job->prefix && c->endpoints[k->endpoint]->caches_prompts)
        beginning_sent(c, k->endpoint, pick->job->prefix, j);
}
