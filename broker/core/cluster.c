/* cluster.c - looking in without changing anything: all providers and endpoints, for a live view. */
#include "core/internal.h"

static void *get(pst_arena_t *a, size_t n)
{
    void *p = pst_arena_get(a, n);
    PST_ASSERT(p);
    return p;
}

static pst_cluster_limit_t *limits_of(const pst_core_t *c, bucket_t *b, pst_arena_t *a, uint32_t *ret_n)
{
    *ret_n = 0;
    if (!b)
        return NULL;
    pst_cluster_limit_t *v = get(a, PST_RATE_COUNT * sizeof *v);
    for (int i = 0; i < PST_RATE_COUNT; i++)
        if (b->rate[i].limit)
            v[(*ret_n)++] = (pst_cluster_limit_t){.rate = (uint8_t)i, .source = b->source[i], .limit = b->rate[i].limit,
                                                  .used = bucket_used(c, b, (pst_rate_t)i)};
    return v;
}

static uint64_t until_wall_ms(const pst_core_t *c, const rest_t *r)
{
    return r->parked ? c->wall_ms + pst_ns_since(r->until, c->now) / PST_MS : 0;
}

static pst_cluster_provider_t show_provider(const pst_core_t *c, const provider_t *p, pst_arena_t *a)
{
    pst_cluster_provider_t x = {.name = pst_view_str(p->name), .in_flight = p->in_flight, .room = p->room,
                                .concurrency = p->concurrency, .cause = p->rest.parked ? p->rest.cause : 0,
                                .until_wall_ms = until_wall_ms(c, &p->rest)};
    for (const pst_link_t *l = p->pools.next; l != &p->pools; l = l->next)
        x.workers += PST_CONTAINER(l, const pool_t, link)->jobs > 0;
    x.limits = limits_of(c, p->bucket, a, &x.limits_n);
    return x;
}

static pst_cluster_endpoint_t show_endpoint(pst_core_t *c, const endpoint_t *e, pst_arena_t *a)
{
    standing_t s = health_standing(c, e);
    const totals_t *t = &e->totals;
    pst_cluster_endpoint_t x = {
        .name = endpoint_name(c, e->id),
        .in_flight = e->in_flight,
        .concurrency = e->concurrency,
        .calls = t->calls,
        .completed = t->completed,
        .rate_limited = t->rate_limited,
        .failed = t->calls - t->completed - t->rate_limited,
        .input_tokens = t->input,
        .cached_tokens = t->cached,
        .output_tokens = t->output,
        .cost_nano = t->cost_nano,
        .p50_ms = (uint32_t)(s.latency[0] * 1000 + 0.5),
        .tokens_per_s = (uint32_t)(s.throughput[0] + 0.5),
        .uptime_per_mille = s.uptime_per_mille,
        .cause = e->rest.parked ? e->rest.cause : 0,
        .until_wall_ms = until_wall_ms(c, &e->rest),
    };
    x.limits = limits_of(c, e->bucket, a, &x.limits_n);
    return x;
}

static bool is_used(const endpoint_t *e)
{
    return e->in_flight || e->totals.calls;
}

/* Where there are more than a view may have, those that nothing was ever sent to are left out. */
static void list_endpoints(pst_core_t *c, pst_arena_t *a, pst_cluster_t *ret)
{
    uint32_t all = 0;
    for (uint32_t i = 0; i < c->endpoints_n; i++)
        all += c->endpoints[i]->on || is_used(c->endpoints[i]);
    uint32_t room = PST_MIN(all, PST_CLUSTER_ENDPOINTS_MAX);
    ret->endpoints = get(a, (room + 1) * sizeof *ret->endpoints);
    for (uint32_t i = 0; i < c->endpoints_n && ret->endpoints_n < room; i++) {
        const endpoint_t *e = c->endpoints[i];
        if (is_used(e) || (e->on && all == room))
            ret->endpoints[ret->endpoints_n++] = show_endpoint(c, e, a);
    }
}

static void list_providers(const pst_core_t *c, pst_arena_t *a, pst_cluster_t *ret)
{
    ret->providers = get(a, (PST_MIN(c->providers_n, PST_CLUSTER_PROVIDERS_MAX) + 1) * sizeof *ret->providers);
    for (uint32_t i = 0; i < c->providers_n && ret->providers_n < PST_CLUSTER_PROVIDERS_MAX; i++) {
        const provider_t *p = c->providers[i];
        if (p->on || p->in_flight)
            ret->providers[ret->providers_n++] = show_provider(c, p, a);
    }
}

void pst_core_cluster(pst_core_t *c, uint64_t wall_ms, pst_arena_t *a, pst_cluster_t *ret)
{
    const pst_core_gauges_t *g = &c->gauge;
    *ret = (pst_cluster_t){
        .wall_ms = PST_MAX(c->wall_ms, wall_ms),
        .uptime_ms = pst_ns_since(c->now, c->began) / PST_MS,
        .workers = g->workers,
        .batches = g->batches,
        .jobs_queued = g->jobs_queued - g->jobs_running - g->jobs_waiting, /* the gauge has all that have not ended */
        .jobs_running = g->jobs_running,
        .jobs_waiting = g->jobs_waiting,
        .accepted = c->count.jobs_accepted,
        .completed = c->count.jobs_completed,
        .failed = c->count.jobs_failed,
    };
    for (uint32_t i = 0; i < c->endpoints_n; i++)
        ret->cost_nano += c->endpoints[i]->totals.cost_nano;
    list_providers(c, a, ret);
    list_endpoints(c, a, ret);
}
