/* endpoint.c - the configuration as the core keeps it, and what rests.
 *
 * Endpoints are numbered once and never forgotten while the process lives: jobs in flight and accounts refer to them
 * by number, also after a reload has taken them out of the configuration (`on` false). */
#include <stdio.h>

#include "core/internal.h"
#include "xxhash.h"

/* Calls in flight at first where nothing is known of an endpoint's limits; each answer allows one more, which doubles them
 * in the time of a call. */
#define WINDOW_FIRST 32
#define WINDOW_MAX 4096      /* then there seems to be no bound */
/* Of calls at a time, so much is left to the highest priority: a 64th, but no one of a few. */
#define SHARE_LEFT 64
/* A call to what was down may take as long as any, but one that fails mostly fails at once: until the first has its answer
 * the number of them doubles with each step. */
#define PROBE_STEP (100 * PST_MS)
#define PROBE_STEPS_MAX 10
#define SHARE_LEFT_OF_MIN 16

void core_key(pst_view_t v, uint8_t salt, char key[16])
{
    XXH128_hash_t h = XXH3_128bits_withSeed(v.p ? v.p : "", v.n, salt);
    memcpy(key, &h, 16);
}

static void rest_init(rest_t *r, timer_kind_t kind)
{
    pst_heap_node_init(&r->timer.node);
    r->timer.kind = kind;
}

/* ---- names ------------------------------------------------------------------------------------------------------ */

static uint32_t provider_find(const pst_core_t *c, pst_view_t name)
{
    for (uint32_t i = 0; i < c->providers_n; i++)
        if (pst_view_eqs(name, c->providers[i]->name))
            return i;
    return NONE;
}

static provider_t *provider_intern(pst_core_t *c, pst_view_t name, uint32_t *ret)
{
    *ret = provider_find(c, name);
    if (*ret != NONE)
        return c->providers[*ret];
    provider_t *p = pst_calloc_line(sizeof *p);
    p->name = pst_strdup_view(name);
    rest_init(&p->rest, TIMER_PROVIDER);
    place_init(&p->place, p, NULL);
    pst_link_init(&p->pools);
    c->providers = pst_realloc(c->providers, (c->providers_n + 1) * sizeof *c->providers);
    *ret = c->providers_n;
    c->providers[c->providers_n++] = p;
    return p;
}

static void endpoint_key(const pst_endpoint_name_t *n, char key[16])
{
    char text[2 * PST_NAME_BYTES_MAX + 1];
    size_t a = PST_MIN(n->provider.n, PST_NAME_BYTES_MAX), b = PST_MIN(n->model.n, PST_NAME_BYTES_MAX);
    memcpy(text, n->provider.p, a);
    text[a] = 0;
    memcpy(text + a + 1, n->model.p, b);
    core_key(pst_view(text, a + 1 + b), 1, key);
}

static endpoint_t *endpoint_by_key(const pst_core_t *c, const char key[16])
{
    return pst_map_get(&c->endpoints_by_name, key, 16);
}

uint32_t endpoint_find(const pst_core_t *c, const pst_endpoint_name_t *n)
{
    char key[16];
    endpoint_key(n, key);
    const endpoint_t *e = endpoint_by_key(c, key);
    return e ? e->id : NONE;
}

static endpoint_t *intern(pst_core_t *c, const pst_endpoint_name_t *n)
{
    char key[16];
    endpoint_key(n, key);
    endpoint_t *e = endpoint_by_key(c, key);
    if (e)
        return e;
    e = pst_calloc_line(sizeof *e);
    provider_intern(c, n->provider, &e->provider);
    e->model = pst_strdup_view(n->model);
    rest_init(&e->rest, TIMER_ENDPOINT);
    place_init(&e->place, c->providers[e->provider], e);
    e->window = WINDOW_FIRST;
    pst_grow(c->endpoints, c->endpoints_n, c->endpoints_cap);
    e->id = c->endpoints_n;
    c->endpoints[c->endpoints_n++] = e;
    pst_map_set(&c->endpoints_by_name, key, 16, e);
    return e;
}

uint32_t endpoint_intern(pst_core_t *c, const pst_endpoint_name_t *n)
{
    return intern(c, n)->id;
}

pst_endpoint_name_t endpoint_name(const pst_core_t *c, uint32_t id)
{
    const endpoint_t *e = c->endpoints[id];
    return (pst_endpoint_name_t){pst_view_str(c->providers[e->provider]->name), pst_view_str(e->model)};
}

endpoint_t *endpoint_for_passthrough(pst_core_t *c, pst_view_t name)
{
    const char *slash = name.n ? memchr(name.p, '/', name.n) : NULL;
    if (!slash)
        return NULL;
    pst_endpoint_name_t n = {pst_view(name.p, (size_t)(slash - name.p)),
                             pst_view(slash + 1, name.n - (size_t)(slash - name.p) - 1)};
    uint32_t provider = provider_find(c, n.provider);
    if (provider == NONE || !c->providers[provider]->on || c->providers[provider]->has_models || n.model.n == 0)
        return NULL;
    endpoint_t *e = intern(c, &n);
    e->params = c->providers[provider]->params;
    e->limited = c->providers[provider]->limited;
    e->on = true;
    return e;
}

/* ---- configuration ---------------------------------------------------------------------------------------------- */

static bool any_limit(const uint64_t limit[PST_RATE_COUNT], uint32_t concurrency)
{
    bool any = concurrency > 0;
    for (int i = 0; i < PST_RATE_COUNT; i++)
        any = any || limit[i];
    return any;
}

static bucket_t *set_bucket(bucket_t *b, const char *name, place_t *place, const uint64_t limit[PST_RATE_COUNT])
{
    if (!b && any_limit(limit, 0))
        b = bucket_new(name, place);
    if (b)
        bucket_set(b, limit);
    return b;
}

static void bucket_name(const pst_core_t *c, const endpoint_t *e, char name[BUCKET_NAME_MAX])
{
    snprintf(name, BUCKET_NAME_MAX, "%s/%s", c->providers[e->provider]->name, e->model);
}

bucket_t *endpoint_bucket(pst_core_t *c, endpoint_t *e)
{
    if (!e->bucket) {
        char name[BUCKET_NAME_MAX];
        bucket_name(c, e, name);
        e->bucket = bucket_new(name, &e->place);
    }
    return e->bucket;
}

static void config_provider(pst_core_t *c, const pst_core_provider_t *from)
{
    uint32_t at;
    provider_t *p = provider_intern(c, from->name, &at);
    PST_ASSERT(!p->on); /* names are unique */
    p->on = true;
    p->urls = from->urls;
    p->params = from->params;
    p->concurrency = from->concurrency;
    p->deny_data_collection = from->deny_data_collection;
    p->zdr = from->zdr;
    p->reserve = from->reserve;
    p->bucket = set_bucket(p->bucket, p->name, &p->place, from->limit);
    p->limited = any_limit(from->limit, from->concurrency);
}

static void config_endpoint(pst_core_t *c, const pst_core_config_t *config, const pst_core_endpoint_t *from)
{
    pst_endpoint_name_t n = {config->providers[from->provider].name, from->model};
    endpoint_t *e = intern(c, &n);
    e->on = true;
    e->price_input = from->price_input;
    e->price_output = from->price_output;
    e->price_cached = from->price_cached;
    e->price_request = from->price_request;
    e->context = from->context;
    e->max_output = from->max_output;
    e->flags = from->flags;
    e->params = from->params;
    e->concurrency = from->concurrency;
    free(e->quantization);
    e->quantization = pst_strdup_view(from->quantization);
    free(e->variant);
    e->variant = pst_strdup_view(from->variant);
    e->caches_prompts = from->caches_prompts;
    char name[BUCKET_NAME_MAX];
    bucket_name(c, e, name);
    e->bucket = set_bucket(e->bucket, name, &e->place, from->limit);
    e->limited = any_limit(from->limit, from->concurrency) || c->providers[e->provider]->limited;
    c->providers[e->provider]->has_models = true;
}

static void models_clear(pst_core_t *c)
{
    for (uint32_t i = 0; i < c->models_n; i++) {
        free(c->models[i]->name);
        free(c->models[i]->endpoints);
        free(c->models[i]);
    }
    c->models_n = 0;
    pst_map_release(&c->models_by_name);
    pst_map_init(&c->models_by_name, c->opts.seed);
}

static void config_models(pst_core_t *c, const pst_core_config_t *config)
{
    models_clear(c);
    c->models = pst_realloc(c->models, PST_MAX(config->models_n, 1) * sizeof *c->models);
    for (uint32_t i = 0; i < config->models_n; i++) {
        const pst_core_model_t *from = &config->models[i];
        model_t *m = pst_calloc(1, sizeof *m);
        m->name = pst_strdup_view(from->name);
        m->endpoints = pst_alloc(PST_MAX(from->count, 1) * sizeof *m->endpoints);
        for (uint32_t k = 0; k < from->count; k++) {
            const pst_core_endpoint_t *e = &config->endpoints[from->first + k];
            pst_endpoint_name_t n = {config->providers[e->provider].name, e->model};
            m->endpoints[m->endpoints_n++] = endpoint_find(c, &n);
        }
        c->models[c->models_n++] = m;
        char key[16];
        core_key(from->name, 2, key);
        pst_map_set(&c->models_by_name, key, 16, m);
    }
}

static void free_rest(pst_core_t *c, rest_t *r)
{
    r->until = 0;
    r->parked = r->probing = false;
    r->cause = 0;
    r->streak = r->failures = 0;
    r->since = 0;
    core_timer(c, &r->timer, PST_NEVER);
}

void endpoint_config(pst_core_t *c, const pst_core_config_t *config)
{
    c->configured_at = c->now;
    c->parkings++;
    for (uint32_t i = 0; i < c->providers_n; i++) {
        c->providers[i]->on = c->providers[i]->has_models = false;
        free_rest(c, &c->providers[i]->rest);
    }
    for (uint32_t i = 0; i < c->endpoints_n; i++) {
        c->endpoints[i]->on = false;
        free_rest(c, &c->endpoints[i]->rest);
    }
    for (uint32_t i = 0; i < config->providers_n; i++)
        config_provider(c, &config->providers[i]);
    for (uint32_t i = 0; i < config->endpoints_n; i++)
        config_endpoint(c, config, &config->endpoints[i]);
    config_models(c, config);
    for (uint32_t i = 0; i < c->routes_n; i++) {
        if (!c->routes[i])
            continue;
        route_resolve(c, c->routes[i]);
        route_ready(c, c->routes[i]);
    }
}

uint32_t pst_core_provider(const pst_core_t *c, pst_view_t name)
{
    return provider_find(c, name);
}

/* ---- ready or resting ---------------------------------------------------------------------------------------------- */

static bool rest_over(const pst_core_t *c, const rest_t *r, uint32_t in_flight)
{
    if (r->until > c->now)
        return false;
    pst_ns_t steps = r->probing ? pst_ns_since(c->now, r->probing_since) / PROBE_STEP : 0;
    return !r->probing || in_flight < 1u << PST_MIN(steps, PROBE_STEPS_MAX);
}

/* May one more begin, of such a priority, where so many of so many places are taken? */
static bool may_begin(uint32_t taken, uint32_t places, uint8_t priority)
{
    uint32_t left = priority < PST_PRIORITY_COUNT - 1 && places >= SHARE_LEFT_OF_MIN ? (places + SHARE_LEFT - 1) / SHARE_LEFT : 0;
    return taken + left < places;
}

bool endpoint_free(const pst_core_t *c, const endpoint_t *e, uint8_t priority)
{
    return e->on && rest_over(c, &e->rest, e->in_flight) &&
           (!e->concurrency || may_begin(e->in_flight, e->concurrency, priority)) &&
           (!e->window || e->limited || e->in_flight < e->window);
}

bool provider_free(const pst_core_t *c, const provider_t *p, uint8_t priority)
{
    return p->on && p->room > 0 && may_begin(p->places - p->room, p->places, priority) &&
           rest_over(c, &p->rest, p->in_flight) &&
           (!p->concurrency || may_begin(p->in_flight, p->concurrency, priority));
}

static void notice_rest(pst_core_t *c, const endpoint_t *e, const rest_t *r, bool whole, pst_notice_t what)
{
    pst_action_t *a = core_action(c, PST_ACT_NOTICE);
    a->u.notice.what = what;
    a->u.notice.endpoint = endpoint_name(c, e->id);
    if (whole)
        a->u.notice.endpoint.model = pst_view(NULL, 0);
    a->u.notice.cause = r->cause;
    a->u.notice.until_wall_ms = c->wall_ms + pst_ns_since(r->until, c->now) / PST_MS;
}

static void rest_for(pst_core_t *c, rest_t *r, pst_ns_t wait)
{
    r->until = PST_MAX(r->until, pst_ns_add(c->now, wait));
    core_timer(c, &r->timer, r->until);
}

/* base * 2^streak, at most max. */
static pst_ns_t doubled(pst_ns_t base, uint32_t streak, pst_ns_t max)
{
    return streak >= 20 ? max : PST_MIN(base << streak, max);
}

void endpoint_throttle(pst_core_t *c, endpoint_t *e, uint64_t wait_ms, bool whole_provider)
{
    provider_t *p = c->providers[e->provider];
    rest_t *r = whole_provider ? &p->rest : &e->rest;
    pst_ns_t wait = wait_ms ? wait_ms * PST_MS : doubled(THROTTLE_BASE, r->streak, 60 * PST_SEC);
    if (r->until <= c->now) /* the answers to one burst are one refusal */
        r->streak++;
    rest_for(c, r, wait);
    bucket_t *b = whole_provider || !e->bucket ? p->bucket : e->bucket;
    if (b) /* other brokers share the budget: they must hear of it */
        bucket_block(c, b, wait);
}

void endpoint_park(pst_core_t *c, endpoint_t *e, uint8_t cause, uint64_t wait_ms, bool whole_provider)
{
    rest_t *r = whole_provider ? &c->providers[e->provider]->rest : &e->rest;
    bool news = !r->parked;
    pst_ns_t wait = wait_ms ? wait_ms * PST_MS : doubled(PARK_BASE, r->streak, PARK_MAX);
    if (r->until <= c->now)
        r->streak++;
    c->parkings += news;
    r->parked = true;
    r->parked_at = c->now;
    r->probing = false;
    r->cause = cause;
    rest_for(c, r, wait);
    if (news)
        notice_rest(c, e, r, whole_provider, PST_NOTICE_PARKED);
}

/* What is down is looked at again after a twentieth of the time that it has been so. */
static pst_ns_t until_probe(const pst_core_t *c, const rest_t *r)
{
    return PST_MIN(PST_MAX(pst_ns_since(c->now, r->since) / 20, OUTAGE_BASE), OUTAGE_MAX);
}

/* Errors in a row: after OUTAGE_FAILURES of them the endpoint rests, so that an outage does not eat the attempts of
 * every job behind it. */
void endpoint_failed(pst_core_t *c, endpoint_t *e, uint8_t cause)
{
    rest_t *r = &e->rest;
    if (!r->failures && !r->probing)
        r->since = c->now;
    if (r->probing || ++r->failures >= OUTAGE_FAILURES) {
        r->failures = 0;
        endpoint_park(c, e, cause, until_probe(c, r) / PST_MS, false);
    }
}

static void rest_worked(pst_core_t *c, const endpoint_t *e, rest_t *r, bool whole, pst_ns_t started)
{
    if (r->parked && (r->until > c->now || started < r->parked_at))
        return; /* an answer to a call sent before the rest began */
    if (started >= r->since)
        r->failures = 0; /* or before the errors: those were not in between */
    if (r->until > c->now)
        return;
    r->streak = 0;
    if (!r->parked)
        return;
    r->parked = r->probing = false;
    c->parkings++;
    notice_rest(c, e, r, whole, PST_NOTICE_RESUMED);
    r->cause = 0;
}

void endpoint_worked(pst_core_t *c, endpoint_t *e, pst_ns_t started)
{
    provider_t *p = c->providers[e->provider];
    bool was_probing = e->rest.probing || p->rest.probing;
    e->worked = PST_MAX(e->worked, started);
    rest_worked(c, e, &e->rest, false, started);
    rest_worked(c, e, &p->rest, true, started);
    if (was_probing) {
        place_wake(c, &p->place);
        place_wake(c, &e->place);
    }
}

/* An answer came: what nothing is known of may have one call more at a time. */
void endpoint_widen(endpoint_t *e)
{
    if (e->window && ++e->window == WINDOW_MAX)
        e->window = 0;
}

void rest_timer(pst_core_t *c, rest_t *r, endpoint_t *e, provider_t *p)
{
    if (r->until > c->now) {
        core_timer(c, &r->timer, r->until);
        return;
    }
    if (r->parked && !r->probing) /* a limit is over when it is over; anything else is tried with one call */
        r->probing_since = c->now;
    r->probing = r->parked;
    if (r->probing && pst_ns_since(c->now, r->probing_since) < PROBE_STEPS_MAX * PROBE_STEP)
        core_timer(c, &r->timer, pst_ns_add(c->now, PROBE_STEP)); /* then with two, if that did not fail at once, … */
    place_wake(c, e ? &e->place : &p->place);
}

/* Nano-USD: prices are USD a million tokens, so price * 1000 is nano-USD a token. */
double endpoint_cost(const endpoint_t *e, uint64_t input, uint64_t cached, uint64_t output)
{
    double cached_price = e->price_cached > 0 ? e->price_cached : e->price_input;
    cached = PST_MIN(cached, input);
    return 1e9 * e->price_request + 1e3 * ((double)(input - cached) * e->price_input + (double)cached * cached_price +
                                           (double)output * e->price_output);
}

bool pst_core_endpoint_at(pst_core_t *c, uint32_t i, pst_core_endpoint_state_t *ret)
{
    if (i >= c->endpoints_n)
        return false;
    const endpoint_t *e = c->endpoints[i];
    const provider_t *p = c->providers[e->provider];
    const rest_t *r = p->rest.parked ? &p->rest : &e->rest;
    standing_t s = health_standing(c, e);
    *ret = (pst_core_endpoint_state_t){.name = endpoint_name(c, i), .in_flight = e->in_flight, .room = p->room,
                                       .parked = r->parked, .cause = r->cause, .until = r->until,
                                       .uptime_tier = s.tier, .measured = s.measured, .latency_s = s.latency[0],
                                       .tokens_per_s = s.throughput[0], .input_ratio = estimate_ratio(e)};
    return true;
}

void endpoint_free_all(pst_core_t *c)
{
    models_clear(c);
    free(c->models);
    for (uint32_t i = 0; i < c->endpoints_n; i++) {
        endpoint_t *e = c->endpoints[i];
        bucket_free(e->bucket);
        place_release(&e->place);
        free(e->model);
        free(e->quantization);
        free(e->variant);
        free(e->health);
        free(e->usage);
        free(e);
    }
    free(c->endpoints);
    for (uint32_t i = 0; i < c->providers_n; i++) {
        bucket_free(c->providers[i]->bucket);
        place_release(&c->providers[i]->place);
        free(c->providers[i]->name);
        free(c->providers[i]);
    }
    free(c->providers);
}
