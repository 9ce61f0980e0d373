/* cluster.c - the whole cluster at one moment, in CLUSTER.  Read by the cursor: a thousand endpoints with their limits
 * are more values than a tree may have. */
#include "wire/cursor.h"
#include "wire/put.h"

#define FIELDS 13
#define PROVIDER_FIELDS 8
#define ENDPOINT_FIELDS 17
#define LIMIT_FIELDS 4

static void put_limits(msgpack_packer *k, const pst_cluster_limit_t *limits, uint32_t n)
{
    if (!pst_put_list(k, n, PST_RATE_COUNT))
        return;
    for (uint32_t i = 0; i < n; i++) {
        pst_put_array(k, LIMIT_FIELDS);
        pst_put_uint(k, limits[i].rate);
        pst_put_uint(k, limits[i].limit);
        pst_put_uint(k, limits[i].source);
        pst_put_uint(k, limits[i].used);
    }
}

static void put_provider(msgpack_packer *k, const pst_cluster_provider_t *p)
{
    pst_put_array(k, PROVIDER_FIELDS);
    pst_put_str(k, p->name, PST_NAME_BYTES_MAX);
    pst_put_uint(k, p->workers);
    pst_put_uint(k, p->in_flight);
    pst_put_uint(k, p->room);
    pst_put_uint(k, p->concurrency);
    put_limits(k, p->limits, p->limits_n);
    pst_put_uint(k, p->cause);
    pst_put_uint(k, p->until_wall_ms);
}

static void put_endpoint(msgpack_packer *k, const pst_cluster_endpoint_t *e)
{
    pst_put_array(k, ENDPOINT_FIELDS);
    pst_put_endpoint(k, &e->name);
    pst_put_uint(k, e->in_flight);
    pst_put_uint(k, e->concurrency);
    pst_put_uint(k, e->calls);
    pst_put_uint(k, e->completed);
    pst_put_uint(k, e->rate_limited);
    pst_put_uint(k, e->failed);
    pst_put_uint(k, e->input_tokens);
    pst_put_uint(k, e->cached_tokens);
    pst_put_uint(k, e->output_tokens);
    pst_put_uint(k, e->cost_nano);
    pst_put_uint(k, e->p50_ms);
    pst_put_uint(k, e->tokens_per_s);
    pst_put_uint(k, e->uptime_per_mille);
    pst_put_uint(k, e->cause);
    pst_put_uint(k, e->until_wall_ms);
    put_limits(k, e->limits, e->limits_n);
}

void pst_put_cluster(msgpack_packer *k, const pst_cluster_t *c)
{
    pst_put_array(k, FIELDS);
    pst_put_uint(k, c->wall_ms);
    pst_put_uint(k, c->uptime_ms);
    pst_put_uint(k, c->workers);
    pst_put_uint(k, c->batches);
    pst_put_uint(k, c->jobs_queued);
    pst_put_uint(k, c->jobs_running);
    pst_put_uint(k, c->jobs_waiting);
    pst_put_uint(k, c->accepted);
    pst_put_uint(k, c->completed);
    pst_put_uint(k, c->failed);
    pst_put_uint(k, c->cost_nano);
    if (!pst_put_list(k, c->providers_n, PST_CLUSTER_PROVIDERS_MAX))
        return;
    for (uint32_t i = 0; i < c->providers_n; i++)
        put_provider(k, &c->providers[i]);
    if (!pst_put_list(k, c->endpoints_n, PST_CLUSTER_ENDPOINTS_MAX))
        return;
    for (uint32_t i = 0; i < c->endpoints_n; i++)
        put_endpoint(k, &c->endpoints[i]);
}

static pst_cluster_limit_t *read_limits(pst_in_t *c, pst_arena_t *a, uint32_t *ret_n)
{
    pst_cluster_limit_t *v = pst_in_list(c, a, PST_RATE_COUNT, 1 + LIMIT_FIELDS, sizeof *v, ret_n);
    for (uint32_t i = 0; i < *ret_n; i++) {
        uint32_t extra = pst_in_open(c, LIMIT_FIELDS);
        v[i].rate = pst_in_u8(c, PST_RATE_COUNT - 1);
        v[i].limit = pst_in_uint(c, UINT64_MAX);
        v[i].source = pst_in_u8(c, PST_LIMIT_SOURCE_COUNT - 1);
        v[i].used = pst_in_uint(c, UINT64_MAX);
        pst_in_close(c, extra);
    }
    pst_in_close(c, 0);
    return v;
}

static void read_provider(pst_in_t *c, pst_arena_t *a, pst_cluster_provider_t *p)
{
    uint32_t extra = pst_in_open(c, PROVIDER_FIELDS);
    p->name = pst_in_str(c, PST_NAME_BYTES_MAX);
    p->workers = pst_in_u32(c);
    p->in_flight = pst_in_u32(c);
    p->room = pst_in_u32(c);
    p->concurrency = pst_in_u32(c);
    p->limits = read_limits(c, a, &p->limits_n);
    p->cause = pst_in_u8(c, UINT8_MAX);
    p->until_wall_ms = pst_in_uint(c, UINT64_MAX);
    pst_in_close(c, extra);
}

static void read_endpoint(pst_in_t *c, pst_arena_t *a, pst_cluster_endpoint_t *e)
{
    uint32_t extra = pst_in_open(c, ENDPOINT_FIELDS);
    e->name = pst_in_endpoint(c);
    e->in_flight = pst_in_u32(c);
    e->concurrency = pst_in_u32(c);
    e->calls = pst_in_uint(c, UINT64_MAX);
    e->completed = pst_in_uint(c, UINT64_MAX);
    e->rate_limited = pst_in_uint(c, UINT64_MAX);
    e->failed = pst_in_uint(c, UINT64_MAX);
    e->input_tokens = pst_in_uint(c, UINT64_MAX);
    e->cached_tokens = pst_in_uint(c, UINT64_MAX);
    e->output_tokens = pst_in_uint(c, UINT64_MAX);
    e->cost_nano = pst_in_uint(c, UINT64_MAX);
    e->p50_ms = pst_in_u32(c);
    e->tokens_per_s = pst_in_u32(c);
    e->uptime_per_mille = pst_in_u16(c);
    e->cause = pst_in_u8(c, UINT8_MAX);
    e->until_wall_ms = pst_in_uint(c, UINT64_MAX);
    e->limits = read_limits(c, a, &e->limits_n);
    pst_in_close(c, extra);
}

void pst_in_cluster(pst_in_t *c, pst_arena_t *a, pst_cluster_t *ret)
{
    uint32_t extra = pst_in_open(c, FIELDS);
    ret->wall_ms = pst_in_uint(c, UINT64_MAX);
    ret->uptime_ms = pst_in_uint(c, UINT64_MAX);
    ret->workers = pst_in_u32(c);
    ret->batches = pst_in_u32(c);
    ret->jobs_queued = pst_in_uint(c, UINT64_MAX);
    ret->jobs_running = pst_in_u32(c);
    ret->jobs_waiting = pst_in_u32(c);
    ret->accepted = pst_in_uint(c, UINT64_MAX);
    ret->completed = pst_in_uint(c, UINT64_MAX);
    ret->failed = pst_in_uint(c, UINT64_MAX);
    ret->cost_nano = pst_in_uint(c, UINT64_MAX);
    ret->providers = pst_in_list(c, a, PST_CLUSTER_PROVIDERS_MAX, 1 + PROVIDER_FIELDS, sizeof *ret->providers,
                                 &ret->providers_n);
    for (uint32_t i = 0; i < ret->providers_n; i++)
        read_provider(c, a, &ret->providers[i]);
    pst_in_close(c, 0);
    ret->endpoints = pst_in_list(c, a, PST_CLUSTER_ENDPOINTS_MAX, 1 + ENDPOINT_FIELDS, sizeof *ret->endpoints,
                                 &ret->endpoints_n);
    for (uint32_t i = 0; i < ret->endpoints_n; i++)
        read_endpoint(c, a, &ret->endpoints[i]);
    pst_in_close(c, 0);
    pst_in_close(c, extra);
}
