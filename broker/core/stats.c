/* stats.c - the account of a batch, kept by segment so that each append stores one that is exactly as true as the
 * results it stores. */
#include "core/internal.h"

pst_seg_endpoint_t *stats_endpoint(pst_core_t *c, segment_t *s, uint32_t endpoint)
{
    uint32_t at = core_find_id(s->stat_endpoints, s->stats.endpoints_n, endpoint, &c->endpoints[endpoint]->stats_at);
    if (at < s->stats.endpoints_n)
        return &s->stats.endpoints[at];
    uint32_t n = s->stats.endpoints_n + 1;
    s->stats.endpoints = pst_realloc(s->stats.endpoints, n * sizeof *s->stats.endpoints);
    s->stat_endpoints = pst_realloc(s->stat_endpoints, n * sizeof *s->stat_endpoints);
    s->stat_endpoints[n - 1] = endpoint;
    s->stats.endpoints_n = n;
    pst_seg_endpoint_t *e = &s->stats.endpoints[n - 1];
    memset(e, 0, sizeof *e);
    e->name = endpoint_name(c, endpoint);
    return e;
}

void stats_cause(segment_t *s, uint8_t cause)
{
    for (uint32_t i = 0; i < s->stats.causes_n; i++) {
        if (s->stats.causes[i].cause == cause) {
            s->stats.causes[i].n++;
            return;
        }
    }
    s->stats.causes = pst_realloc(s->stats.causes, (s->stats.causes_n + 1) * sizeof *s->stats.causes);
    s->stats.causes[s->stats.causes_n++] = (pst_cause_count_t){cause, 1};
}

void stats_latency(pst_seg_endpoint_t *e, uint64_t latency_ms)
{
    e->hist[hist_bucket(latency_ms)]++;
}

void stats_free(segment_t *s)
{
    free(s->stats.causes);
    free(s->stats.endpoints);
    free(s->stat_endpoints);
}

void stats_restore(pst_core_t *c, segment_t *s, const pst_seg_stats_t *from)
{
    stats_free(s);
    s->stats = *from;
    s->stats.causes = NULL;
    s->stats.endpoints = NULL;
    s->stats.causes_n = s->stats.endpoints_n = 0;
    s->stat_endpoints = NULL;
    for (uint32_t i = 0; i < from->causes_n; i++) {
        stats_cause(s, from->causes[i].cause);
        s->stats.causes[i].n = from->causes[i].n;
    }
    for (uint32_t i = 0; i < from->endpoints_n; i++) {
        pst_seg_endpoint_t *e = stats_endpoint(c, s, endpoint_intern(c, &from->endpoints[i].name));
        pst_endpoint_name_t name = e->name;
        *e = from->endpoints[i];
        e->name = name;
    }
}

/* ---- a batch's account: the sum over its segments -------------------------------------------------------------- */

static void add_cause(pst_batch_info_t *i, uint8_t cause, uint32_t n)
{
    for (uint32_t k = 0; k < i->causes_n; k++) {
        if (i->causes[k].cause == cause) {
            i->causes[k].n += n;
            return;
        }
    }
    i->causes[i->causes_n++] = (pst_cause_count_t){cause, n};
}

typedef struct sum {
    pst_endpoint_stats_t *of;
    uint32_t id;
    uint64_t calls; /* that are in hist */
    uint32_t hist[PST_HIST_BUCKETS];
} sum_t;

static sum_t *sum_of(sum_t *sums, pst_batch_info_t *i, uint32_t endpoint, pst_endpoint_name_t name)
{
    for (uint32_t k = 0; k < i->endpoints_n; k++)
        if (sums[k].id == endpoint)
            return &sums[k];
    sum_t *s = &sums[i->endpoints_n];
    memset(s, 0, sizeof *s);
    s->id = endpoint;
    s->of = &i->endpoints[i->endpoints_n++];
    memset(s->of, 0, sizeof *s->of);
    s->of->name = name;
    return s;
}

static void add_endpoint(sum_t *s, const pst_seg_endpoint_t *e)
{
    s->of->calls += e->calls;
    s->of->completed += e->completed;
    s->of->rate_limited += e->rate_limited;
    s->of->retried += e->retried;
    s->of->input_tokens += e->input_tokens;
    s->of->cached_tokens += e->cached_tokens;
    s->of->output_tokens += e->output_tokens;
    s->of->cost_nano += e->cost_nano;
    for (uint32_t h = 0; h < PST_HIST_BUCKETS; h++) {
        s->hist[h] += e->hist[h];
        s->calls += e->hist[h];
    }
}

static void sum_endpoints(const pst_core_t *c, const batch_t *b, pst_arena_t *a, pst_batch_info_t *ret)
{
    ret->endpoints = pst_arena_get(a, c->endpoints_n * sizeof *ret->endpoints + 1);
    sum_t *sums = pst_arena_get(a, c->endpoints_n * sizeof *sums + 1);
    PST_ASSERT(ret->endpoints && sums);
    for (uint32_t i = 0; i < b->segments_n; i++) {
        const segment_t *s = b->segments[i];
        for (uint32_t k = 0; k < s->stats.endpoints_n; k++)
            add_endpoint(sum_of(sums, ret, s->stat_endpoints[k], endpoint_name(c, s->stat_endpoints[k])),
                         &s->stats.endpoints[k]);
    }
    for (uint32_t k = 0; k < ret->endpoints_n; k++) {
        ret->endpoints[k].p50_ms = hist_quantile(sums[k].hist, sums[k].calls, 50);
        ret->endpoints[k].p95_ms = hist_quantile(sums[k].hist, sums[k].calls, 95);
    }
}

static void add_parked(const pst_core_t *c, const endpoint_t *e, const rest_t *r, bool whole, pst_batch_info_t *ret)
{
    pst_endpoint_name_t name = endpoint_name(c, e->id);
    if (whole)
        name.model = pst_view_str("");
    for (uint32_t i = 0; i < ret->parked_n; i++)
        if (pst_view_eq(ret->parked[i].name.provider, name.provider) &&
            pst_view_eq(ret->parked[i].name.model, name.model))
            return;
    ret->parked[ret->parked_n++] = (pst_parked_t){
        .name = name, .cause = r->cause, .until_wall_ms = c->wall_ms + pst_ns_since(r->until, c->now) / PST_MS};
}

/* Endpoints that jobs of this batch may wait for. */
static void list_parked(const pst_core_t *c, const batch_t *b, pst_arena_t *a, pst_batch_info_t *ret)
{
    ret->parked = pst_arena_get(a, (c->endpoints_n + 1) * sizeof *ret->parked);
    PST_ASSERT(ret->parked);
    for (pst_link_t *x = b->flows.next; x != &b->flows; x = x->next) {
        const route_t *r = PST_CONTAINER(x, flow_t, of_batch)->route;
        for (uint32_t i = 0; i < r->candidates_n; i++) {
            const endpoint_t *e = c->endpoints[r->candidates[i]->endpoint];
            const provider_t *p = c->providers[e->provider];
            if (p->rest.parked)
                add_parked(c, e, &p->rest, true, ret);
            else if (e->rest.parked)
                add_parked(c, e, &e->rest, false, ret);
        }
    }
}

static pst_batch_status_t status_of(const batch_t *b)
{
    if (b->state < BATCH_ACTIVE)
        return PST_BATCH_VALIDATING;
    if (b->drain != PST_DRAIN_NONE)
        return PST_BATCH_CANCELLING;
    return b->ended == b->jobs ? PST_BATCH_FINALIZING : PST_BATCH_IN_PROGRESS;
}

void stats_batch_info(pst_core_t *c, const batch_t *b, bool full, pst_arena_t *a, pst_batch_info_t *ret)
{
    *ret = (pst_batch_info_t){.batch = b->id, .status = (uint8_t)status_of(b), .priority = b->priority,
                              .name = pst_view_str(b->name), .metadata = pst_view_str(b->metadata),
                              .idempotency_key = pst_view_str(b->key), .tenant = pst_view_str(b->tenant->name),
                              .created_ms = b->created_ms,
                              .accepted_ms = b->accepted_ms, .cancelling_ms = b->cancelling_ms,
                              .ended_ms = b->ended_ms, .expires_ms = b->expires_ms, .window_s = b->window_s,
                              .max_cost_nano = b->max_cost_nano, .jobs = b->jobs, .running = b->running,
                              .retrying = b->waiting};
    ret->causes = pst_arena_get(a, 256 * sizeof *ret->causes);
    PST_ASSERT(ret->causes);
    for (uint32_t i = 0; i < b->segments_n; i++) {
        const pst_seg_stats_t *s = &b->segments[i]->stats;
        ret->completed += s->completed;
        ret->failed += s->failed;
        ret->expired += s->expired;
        ret->cancelled += s->cancelled;
        ret->input_tokens += s->input_tokens;
        ret->cached_tokens += s->cached_tokens;
        ret->output_tokens += s->output_tokens;
        ret->cost_nano += s->cost_nano;
        for (uint32_t k = 0; k < s->causes_n; k++)
            add_cause(ret, s->causes[k].cause, s->causes[k].n);
    }
    ret->queued = b->jobs - b->ended - b->running - b->waiting;
    if (!full)
        ret->causes_n = 0;
    if (full) {
        sum_endpoints(c, b, a, ret);
        list_parked(c, b, a, ret);
    }
}

pst_err_t pst_core_batch_info(pst_core_t *c, const pst_id_t *batch, bool full, pst_arena_t *a, pst_batch_info_t *ret)
{
    const batch_t *b = batch_find(c, batch);
    if (!b || b->live_call || b->state == BATCH_DELETING)
        return PST_E_NOT_FOUND;
    stats_batch_info(c, b, full, a, ret);
    return PST_OK;
}

void pst_core_gauges(const pst_core_t *c, pst_core_gauges_t *ret)
{
    *ret = c->gauge;
    ret->open_bytes = c->open_bytes;
}
