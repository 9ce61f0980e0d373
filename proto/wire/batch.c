/* batch.c - a batch's summary: in BATCH and BATCHES, and by itself in the store. */
#include "wire/put.h"
#include "wire/tree.h"

#define FIELDS 29
#define STATS_FIELDS 11
#define PARKED_FIELDS 3
#define CAUSES_MAX 256

static void put_stats(msgpack_packer *k, const pst_endpoint_stats_t *s)
{
    pst_put_array(k, STATS_FIELDS);
    pst_put_endpoint(k, &s->name);
    pst_put_uint(k, s->calls);
    pst_put_uint(k, s->completed);
    pst_put_uint(k, s->rate_limited);
    pst_put_uint(k, s->retried);
    pst_put_uint(k, s->input_tokens);
    pst_put_uint(k, s->output_tokens);
    pst_put_uint(k, s->cost_nano);
    pst_put_uint(k, s->p50_ms);
    pst_put_uint(k, s->p95_ms);
    pst_put_uint(k, s->cached_tokens);
}

static void put_lists(msgpack_packer *k, const pst_batch_info_t *b)
{
    if (!pst_put_list(k, b->causes_n, CAUSES_MAX))
        return;
    for (uint32_t i = 0; i < b->causes_n; i++) {
        pst_put_array(k, 2);
        pst_put_uint(k, b->causes[i].cause);
        pst_put_uint(k, b->causes[i].n);
    }
    if (!pst_put_list(k, b->endpoints_n, PST_STATUS_ENDPOINTS_MAX))
        return;
    for (uint32_t i = 0; i < b->endpoints_n; i++)
        put_stats(k, &b->endpoints[i]);
    if (!pst_put_list(k, b->parked_n, PST_STATUS_ENDPOINTS_MAX))
        return;
    for (uint32_t i = 0; i < b->parked_n; i++) {
        pst_put_array(k, PARKED_FIELDS);
        pst_put_endpoint(k, &b->parked[i].name);
        pst_put_uint(k, b->parked[i].cause);
        pst_put_uint(k, b->parked[i].until_wall_ms);
    }
}

void pst_put_batch_info(msgpack_packer *k, const pst_batch_info_t *b)
{
    pst_put_array(k, FIELDS);
    pst_put_id(k, &b->batch);
    pst_put_uint(k, b->status);
    pst_put_uint(k, b->priority);
    pst_put_str(k, b->name, PST_NAME_BYTES_MAX);
    pst_put_str(k, b->metadata, PST_METADATA_BYTES_MAX);
    pst_put_str(k, b->idempotency_key, PST_NAME_BYTES_MAX);
    const uint64_t times[] = {b->created_ms, b->accepted_ms, b->cancelling_ms, b->ended_ms,
                              b->expires_ms, b->window_s,    b->max_cost_nano};
    for (unsigned i = 0; i < PST_COUNT(times); i++)
        pst_put_uint(k, times[i]);
    const uint32_t jobs[] = {b->jobs,      b->completed, b->failed,  b->expired,
                             b->cancelled, b->queued,    b->running, b->retrying};
    for (unsigned i = 0; i < PST_COUNT(jobs); i++)
        pst_put_uint(k, jobs[i]);
    pst_put_uint(k, b->input_tokens);
    pst_put_uint(k, b->cached_tokens);
    pst_put_uint(k, b->output_tokens);
    pst_put_uint(k, b->cost_nano);
    put_lists(k, b);
    pst_put_str(k, b->tenant, PST_NAME_BYTES_MAX);
}

void pst_batch_info_encode(const pst_batch_info_t *i, pst_buf_t *out)
{
    msgpack_packer k = pst_put_into(out);
    pst_put_batch_info(&k, i);
}

static pst_endpoint_name_t read_name(pst_fields_t *f)
{
    pst_fields_t pair = pst_field_array(f);
    pst_endpoint_name_t e;
    e.provider = pst_field_str(&pair, PST_NAME_BYTES_MAX);
    e.model = pst_field_str(&pair, PST_NAME_BYTES_MAX);
    return e;
}

static void read_stats(pst_fields_t *f, pst_endpoint_stats_t *s)
{
    s->name = read_name(f);
    s->calls = pst_field_uint(f, UINT64_MAX);
    s->completed = pst_field_uint(f, UINT64_MAX);
    s->rate_limited = pst_field_uint(f, UINT64_MAX);
    s->retried = pst_field_uint(f, UINT64_MAX);
    s->input_tokens = pst_field_uint(f, UINT64_MAX);
    s->output_tokens = pst_field_uint(f, UINT64_MAX);
    s->cost_nano = pst_field_uint(f, UINT64_MAX);
    s->p50_ms = pst_field_u32(f);
    s->p95_ms = pst_field_u32(f);
    s->cached_tokens = pst_field_uint_if_any(f, UINT64_MAX);
}

static void read_lists(pst_fields_t *f, pst_arena_t *a, pst_batch_info_t *b)
{
    void *v;
    pst_fields_t list = pst_field_list(f, a, CAUSES_MAX, sizeof *b->causes, &v);
    b->causes = v;
    b->causes_n = list.n;
    for (uint32_t i = 0; i < b->causes_n; i++) {
        pst_fields_t item = pst_field_array(&list);
        b->causes[i].cause = (uint8_t)pst_field_uint(&item, UINT8_MAX);
        b->causes[i].n = pst_field_u32(&item);
    }
    list = pst_field_list(f, a, PST_STATUS_ENDPOINTS_MAX, sizeof *b->endpoints, &v);
    b->endpoints = v;
    b->endpoints_n = list.n;
    for (uint32_t i = 0; i < b->endpoints_n; i++) {
        pst_fields_t item = pst_field_array(&list);
        read_stats(&item, &b->endpoints[i]);
    }
    list = pst_field_list(f, a, PST_STATUS_ENDPOINTS_MAX, sizeof *b->parked, &v);
    b->parked = v;
    b->parked_n = list.n;
    for (uint32_t i = 0; i < b->parked_n; i++) {
        pst_fields_t item = pst_field_array(&list);
        b->parked[i].name = read_name(&item);
        b->parked[i].cause = (uint8_t)pst_field_uint(&item, UINT8_MAX);
        b->parked[i].until_wall_ms = pst_field_uint(&item, UINT64_MAX);
    }
}

static pst_batch_info_t read_info(pst_fields_t *f, pst_arena_t *a)
{
    pst_batch_info_t b;
    b.batch = pst_field_id(f);
    b.status = (uint8_t)pst_field_uint(f, PST_BATCH_CANCELLED);
    b.priority = (uint8_t)pst_field_uint(f, PST_PRIORITY_COUNT - 1);
    b.name = pst_field_str(f, PST_NAME_BYTES_MAX);
    b.metadata = pst_field_str(f, PST_METADATA_BYTES_MAX);
    b.idempotency_key = pst_field_str(f, PST_NAME_BYTES_MAX);
    uint64_t *const times[] = {&b.created_ms, &b.accepted_ms, &b.cancelling_ms, &b.ended_ms,
                               &b.expires_ms, &b.window_s,    &b.max_cost_nano};
    for (unsigned i = 0; i < PST_COUNT(times); i++)
        *times[i] = pst_field_uint(f, UINT64_MAX);
    uint32_t *const jobs[] = {&b.jobs,      &b.completed, &b.failed,  &b.expired,
                              &b.cancelled, &b.queued,    &b.running, &b.retrying};
    for (unsigned i = 0; i < PST_COUNT(jobs); i++)
        *jobs[i] = pst_field_u32(f);
    b.input_tokens = pst_field_uint(f, UINT64_MAX);
    b.cached_tokens = pst_field_uint(f, UINT64_MAX);
    b.output_tokens = pst_field_uint(f, UINT64_MAX);
    b.cost_nano = pst_field_uint(f, UINT64_MAX);
    read_lists(f, a, &b);
    b.tenant = pst_field_str_if_any(f, PST_NAME_BYTES_MAX);
    return b;
}

pst_batch_info_t pst_field_batch_info(pst_fields_t *f, pst_arena_t *a)
{
    pst_fields_t info = pst_field_array(f);
    return read_info(&info, a);
}

pst_err_t pst_batch_info_decode(pst_view_t bytes, pst_arena_t *a, pst_batch_info_t *ret)
{
    pst_tree_t t;
    pst_fields_t f = pst_tree_parse(&t, bytes, false);
    pst_batch_info_t b = read_info(&f, a);
    pst_tree_release(&t);
    if (t.err == PST_OK)
        *ret = b;
    return t.err;
}
