#include "wire_sample.h"

#include <stdio.h>

const uint8_t sample_types[] = {
#define X(name, number) number,
    PST_MSG_LIST(X)
#undef X
};
const unsigned sample_types_n = sizeof sample_types;

static void *get(sample_t *s, size_t n)
{
    void *p = pst_arena_get(s->arena, PST_MAX(n, 1));
    PST_ASSERT(p);
    return memset(p, 0, n);
}

/* From min to max; random ones of every magnitude, so that every width is met. */
static uint64_t number(sample_t *s, uint64_t min, uint64_t typical, uint64_t max)
{
    switch (s->shape) {
    case SAMPLE_LEAST: return min;
    case SAMPLE_TYPICAL: return typical;
    case SAMPLE_MOST: return max;
    case SAMPLE_RANDOM: break;
    }
    uint64_t v = pst_rng_next(&s->rng) >> pst_rng_below(&s->rng, 64);
    return v >= min && v <= max ? v : min + pst_rng_below(&s->rng, max - min ? max - min : 1);
}

static uint32_t u32(sample_t *s, uint32_t typical)
{
    return (uint32_t)number(s, 0, typical, UINT32_MAX);
}

static uint64_t u64(sample_t *s, uint64_t typical)
{
    return number(s, 0, typical, UINT64_MAX);
}

static bool yes(sample_t *s, bool typical)
{
    return number(s, 0, typical, 2) & 1;
}

static uint32_t count(sample_t *s, uint32_t min, uint32_t max)
{
    switch (s->shape) {
    case SAMPLE_LEAST: return min;
    case SAMPLE_TYPICAL: return PST_MAX(min, 1);
    case SAMPLE_MOST: return PST_MIN(max, 2);
    case SAMPLE_RANDOM: break;
    }
    uint64_t usual = min + pst_rng_below(&s->rng, PST_MIN(max - min + 1, 6));
    return (uint32_t)(pst_rng_below(&s->rng, 40) ? usual : PST_MIN(max, 300));
}

static size_t length(sample_t *s, size_t typical, size_t max)
{
    switch (s->shape) {
    case SAMPLE_LEAST: return 0;
    case SAMPLE_TYPICAL: return typical;
    case SAMPLE_MOST: return PST_MIN(max, 300);
    case SAMPLE_RANDOM: break;
    }
    size_t usual = pst_rng_below(&s->rng, PST_MIN(max, 40) + 1);
    return pst_rng_below(&s->rng, 40) ? usual : max;
}

static pst_view_t text(sample_t *s, const char *typical, size_t max)
{
    size_t n = length(s, strlen(typical), max);
    char *p = get(s, n);
    for (size_t i = 0; i < n; i++)
        p[i] = (char)(s->shape == SAMPLE_RANDOM ? ' ' + pst_rng_below(&s->rng, 95) : 'a' + i % 26);
    if (s->shape == SAMPLE_TYPICAL)
        memcpy(p, typical, n);
    return pst_view(p, n);
}

static pst_view_t text_or_nil(sample_t *s, const char *typical, size_t max)
{
    bool nil = s->shape == SAMPLE_LEAST ||
               (s->shape == SAMPLE_RANDOM && !pst_rng_below(&s->rng, 4));
    return nil ? pst_view(NULL, 0) : text(s, typical, max);
}

static pst_view_t name(sample_t *s, const char *typical)
{
    return text(s, typical, PST_NAME_BYTES_MAX);
}

static pst_view_t bytes(sample_t *s, size_t max)
{
    size_t n = length(s, 12, max);
    uint8_t *p = get(s, n);
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(s->shape == SAMPLE_RANDOM ? pst_rng_next(&s->rng) : i);
    return pst_view(p, n);
}

static pst_id_t id(sample_t *s)
{
    pst_id_t v = {{0}};
    for (unsigned i = 0; i < sizeof v.b; i++)
        v.b[i] = (uint8_t)number(s, 0, 0x10 + i, UINT8_MAX);
    return v;
}

static pst_endpoint_name_t endpoint(sample_t *s)
{
    pst_view_t provider = name(s, "openai");
    return (pst_endpoint_name_t){provider, name(s, "gpt-4.1-mini")};
}

static pst_endpoint_name_t *endpoints(sample_t *s, uint32_t *ret_n)
{
    uint32_t n = *ret_n = count(s, 0, 40);
    pst_endpoint_name_t *v = get(s, n * sizeof *v);
    for (uint32_t i = 0; i < n; i++)
        v[i] = endpoint(s);
    return v;
}

/* A place in a table of n endpoints. */
static uint16_t endpoint_at(sample_t *s, uint32_t n)
{
    bool none = n == 0 || s->shape == SAMPLE_MOST ||
                (s->shape == SAMPLE_RANDOM && !pst_rng_below(&s->rng, 5));
    return none ? PST_NO_ENDPOINT : (uint16_t)number(s, 0, 0, n - 1);
}

static pst_result_blob_t blob(sample_t *s)
{
    pst_result_blob_t b;
    b.codec = (uint8_t)number(s, 0, PST_CODEC_ZSTD, PST_CODEC_LZ4);
    b.bytes = bytes(s, 600);
    b.text_bytes = (uint32_t)b.bytes.n;
    if (b.codec != PST_CODEC_RAW)
        b.text_bytes = (uint32_t)number(s, 0, 40, PST_BLOB_TEXT_BYTES_MAX);
    return b;
}

static pst_names_t names(sample_t *s, const char *typical, uint32_t max)
{
    pst_names_t list = {.n = count(s, 0, max)};
    list.v = get(s, list.n * sizeof *list.v);
    for (uint32_t i = 0; i < list.n; i++)
        list.v[i] = name(s, typical);
    return list;
}

static double price(sample_t *s, double typical)
{
    if (s->shape == SAMPLE_RANDOM)
        return pst_rng_below(&s->rng, 2) ? -1 : pst_rng_unit(&s->rng) * 100;
    return s->shape == SAMPLE_LEAST ? -1 : typical;
}

static void quantiles(sample_t *s, double typical, double ret[PST_QUANTILES])
{
    bool some = s->shape == SAMPLE_MOST || s->shape == SAMPLE_RANDOM;
    for (int i = 0; i < PST_QUANTILES; i++) {
        double v = some ? price(s, typical * (i + 1)) : 0;
        ret[i] = v > 0 ? v : 0;
    }
}

void sample_route(sample_t *s, pst_route_t *ret)
{
    memset(ret, 0, sizeof *ret);
    ret->models = names(s, "openai/gpt-4.1-mini", PST_ROUTE_MODELS_MAX);
    ret->order = names(s, "azure-eu", PST_ROUTE_NAMES_MAX);
    ret->only = names(s, "openai", PST_ROUTE_NAMES_MAX);
    ret->ignore = names(s, "deepinfra", PST_ROUTE_NAMES_MAX);
    ret->quantizations = names(s, "fp8", PST_ROUTE_NAMES_MAX);
    ret->allow_fallbacks = yes(s, true);
    ret->require_parameters = yes(s, true);
    ret->deny_data_collection = yes(s, false);
    ret->zdr = yes(s, false);
    ret->sort = (uint8_t)number(s, 0, PST_SORT_PRICE, PST_SORT_LATENCY);
    ret->max_price_prompt = price(s, 0.5);
    ret->max_price_completion = price(s, 1.75);
    ret->max_price_request = price(s, 0);
    ret->params = u32(s, PST_PARAM_TOOLS | PST_PARAM_SEED);
    ret->across_models = s->shape != SAMPLE_LEAST && s->shape != SAMPLE_TYPICAL && yes(s, false);
    quantiles(s, 25, ret->min_throughput);
    quantiles(s, 1.5, ret->max_latency);
}

static pst_view_t route_bytes(sample_t *s)
{
    pst_route_t r;
    pst_buf_t b;
    sample_route(s, &r);
    pst_buf_init(&b, 0);
    pst_route_encode(&r, &b);
    pst_view_t v = pst_arena_copy(s->arena, pst_buf_view(&b));
    pst_buf_release(&b);
    return v;
}

static void job(sample_t *s, uint32_t index, pst_job_header_t *j)
{
    char typical[16];
    snprintf(typical, sizeof typical, "r-%u", index);
    j->index = index;
    j->custom_id = text(s, typical, PST_CUSTOM_ID_BYTES_MAX);
    j->input_tokens = u32(s, 120);
    j->output_tokens = u32(s, 50);
    j->body_bytes = (uint32_t)number(s, 0, 2048, PST_LINE_BYTES_MAX / PST_PACK_JOBS_MAX);
    j->prefix = u64(s, 0x1234567890abcdef);
    bool rejected = s->shape == SAMPLE_MOST ||
                    (s->shape == SAMPLE_RANDOM && !pst_rng_below(&s->rng, 8));
    j->message = pst_view("", 0);
    if (!rejected)
        return;
    j->custom_id = text_or_nil(s, typical, PST_CUSTOM_ID_BYTES_MAX);
    j->reject = (uint8_t)number(s, 1, PST_CAUSE_LINE_JSON, UINT8_MAX);
    j->line = u32(s, 7);
    j->message = text(s, "not JSON at byte 17", PST_MESSAGE_BYTES_MAX);
}

void sample_headers(sample_t *s, pst_pack_headers_t *ret)
{
    memset(ret, 0, sizeof *ret);
    ret->url = (uint8_t)number(s, 0, PST_URL_CHAT, PST_URL_COUNT - 1);
    ret->route = route_bytes(s);
    ret->codec = (uint8_t)number(s, 0, PST_CODEC_ZSTD, PST_CODEC_LZ4);
    ret->jobs_n = count(s, 1, PST_PACK_JOBS_MAX);
    ret->jobs = get(s, ret->jobs_n * sizeof *ret->jobs);
    uint32_t index = (uint32_t)number(s, 0, 256, UINT32_MAX - 1000000);
    for (uint32_t i = 0; i < ret->jobs_n; i++) {
        job(s, index, &ret->jobs[i]);
        ret->text_bytes += ret->jobs[i].body_bytes;
        index += 1 + (s->shape == SAMPLE_RANDOM ? (uint32_t)pst_rng_below(&s->rng, 3000) : 0);
    }
}

static void attempts(sample_t *s, uint32_t endpoints_n, pst_result_t *r)
{
    r->attempts_n = count(s, 0, PST_HISTORY_MAX);
    r->attempts = get(s, r->attempts_n * sizeof *r->attempts);
    for (uint32_t i = 0; i < r->attempts_n; i++) {
        pst_attempt_t *t = &r->attempts[i];
        t->endpoint = endpoint_at(s, endpoints_n);
        t->http_status = (uint16_t)number(s, 0, 200, UINT16_MAX);
        t->cause = (uint8_t)number(s, 0, 0, UINT8_MAX);
        t->latency_ms = u32(s, 840);
    }
}

static void result(sample_t *s, const pst_result_pack_t *p, pst_result_t *r)
{
    r->index = u32(s, 7);
    r->custom_id = text_or_nil(s, "r-7", PST_CUSTOM_ID_BYTES_MAX);
    r->status = (uint8_t)number(s, PST_JOB_COMPLETED, PST_JOB_COMPLETED, PST_JOB_CANCELLED);
    r->cause = (uint8_t)number(s, 0, 0, UINT8_MAX);
    r->http_status = (uint16_t)number(s, 0, 200, UINT16_MAX);
    r->endpoint = endpoint_at(s, p->endpoints_n);
    r->cost_nano = u64(s, 123000);
    r->input_tokens = u32(s, 118);
    r->cached_tokens = u32(s, 64);
    r->output_tokens = u32(s, 42);
    r->queued_ms = u64(s, 12);
    r->latency_ms = u32(s, 840);
    r->request_id = text(s, "req_0123", PST_REQUEST_ID_BYTES_MAX);
    r->message = s->shape == SAMPLE_TYPICAL ? pst_view("", 0) : text(s, "", PST_MESSAGE_BYTES_MAX);
    r->line = s->shape == SAMPLE_TYPICAL ? 0 : u32(s, 0);
    if (p->blobs_n) {
        r->blob = (uint16_t)number(s, 0, 0, p->blobs_n - 1);
        r->body_bytes = (uint32_t)number(s, 0, 30, p->blobs[r->blob].text_bytes);
        r->body_offset = (uint32_t)number(s, 0, 2, p->blobs[r->blob].text_bytes - r->body_bytes);
    }
    r->dropped = s->shape == SAMPLE_TYPICAL ? 0 : u32(s, 0);
    attempts(s, p->endpoints_n, r);
}

void sample_result_pack(sample_t *s, pst_result_pack_t *ret)
{
    memset(ret, 0, sizeof *ret);
    ret->endpoints = endpoints(s, &ret->endpoints_n);
    ret->blobs_n = count(s, 0, 20);
    ret->blobs = get(s, ret->blobs_n * sizeof *ret->blobs);
    for (uint32_t i = 0; i < ret->blobs_n; i++)
        ret->blobs[i] = blob(s);
    ret->results_n = count(s, 0, PST_OUTCOMES_MAX);
    ret->results = get(s, ret->results_n * sizeof *ret->results);
    for (uint32_t i = 0; i < ret->results_n; i++)
        result(s, ret, &ret->results[i]);
}

static void batch_lists(sample_t *s, pst_batch_info_t *b)
{
    b->causes_n = count(s, 0, 256);
    b->causes = get(s, b->causes_n * sizeof *b->causes);
    for (uint32_t i = 0; i < b->causes_n; i++) {
        b->causes[i].cause = (uint8_t)number(s, 0, PST_CAUSE_RATE_LIMIT, UINT8_MAX);
        b->causes[i].n = u32(s, 3);
    }
    b->endpoints_n = count(s, 0, PST_STATUS_ENDPOINTS_MAX);
    b->endpoints = get(s, b->endpoints_n * sizeof *b->endpoints);
    for (uint32_t i = 0; i < b->endpoints_n; i++) {
        pst_endpoint_name_t e = endpoint(s);
        b->endpoints[i] = (pst_endpoint_stats_t){
            .name = e,
            .calls = u64(s, 1003),
            .completed = u64(s, 1000),
            .rate_limited = u64(s, 2),
            .retried = u64(s, 1),
            .input_tokens = u64(s, 120000),
            .output_tokens = u64(s, 50000),
            .cost_nano = u64(s, 128000000),
            .p50_ms = u32(s, 830),
            .p95_ms = u32(s, 2100),
            .cached_tokens = u64(s, 64000),
        };
    }
    b->parked_n = count(s, 0, PST_STATUS_ENDPOINTS_MAX);
    b->parked = get(s, b->parked_n * sizeof *b->parked);
    for (uint32_t i = 0; i < b->parked_n; i++) {
        b->parked[i].name = endpoint(s);
        b->parked[i].cause = (uint8_t)number(s, 0, PST_CAUSE_QUOTA, UINT8_MAX);
        b->parked[i].until_wall_ms = u64(s, 1767225600000);
    }
}

void sample_batch_info(sample_t *s, pst_batch_info_t *ret)
{
    *ret = (pst_batch_info_t){
        .batch = id(s),
        .status = (uint8_t)number(s, 0, PST_BATCH_IN_PROGRESS, PST_BATCH_CANCELLED),
        .priority = (uint8_t)number(s, 0, PST_PRIORITY_NORMAL, PST_PRIORITY_HIGH),
        .name = name(s, "nightly"),
        .metadata = text(s, "{\"team\":\"search\"}", PST_METADATA_BYTES_MAX),
        .idempotency_key = name(s, "nightly-2026-01-01"),
        .created_ms = u64(s, 1767222000000),
        .accepted_ms = u64(s, 1767222003000),
        .cancelling_ms = u64(s, 0),
        .ended_ms = u64(s, 0),
        .expires_ms = u64(s, 1767308403000),
        .window_s = u64(s, 86400),
        .max_cost_nano = u64(s, 5000000000),
        .jobs = u32(s, 1200),
        .completed = u32(s, 1000),
        .failed = u32(s, 3),
        .expired = u32(s, 0),
        .cancelled = u32(s, 0),
        .queued = u32(s, 100),
        .running = u32(s, 90),
        .retrying = u32(s, 7),
        .input_tokens = u64(s, 120000),
        .cached_tokens = u64(s, 64000),
        .output_tokens = u64(s, 50000),
        .cost_nano = u64(s, 128000000),
    };
    batch_lists(s, ret);
    ret->tenant = name(s, "search");
}

static pst_task_ref_t ref(sample_t *s)
{
    pst_task_ref_t v = {.batch = id(s)};
    v.segment = u32(s, 1);
    v.pack = u32(s, 300);
    v.slot = (uint16_t)number(s, 0, 17, PST_PACK_JOBS_MAX - 1);
    v.dispatch = (uint16_t)number(s, 0, 1, UINT16_MAX);
    return v;
}

static pst_task_ref_t *refs(sample_t *s, uint32_t *ret_n)
{
    uint32_t n = *ret_n = count(s, 0, PST_RUNNING_MAX);
    pst_task_ref_t *v = get(s, n * sizeof *v);
    for (uint32_t i = 0; i < n; i++)
        v[i] = ref(s);
    return v;
}

static pst_pool_capacity_t *pools(sample_t *s, uint32_t *ret_n)
{
    uint32_t n = *ret_n = count(s, 0, PST_WORKER_PROVIDERS_MAX);
    pst_pool_capacity_t *v = get(s, n * sizeof *v);
    for (uint32_t i = 0; i < n; i++) {
        v[i].provider = name(s, "openai");
        v[i].jobs = u32(s, 200);
    }
    return v;
}

static void outcome(sample_t *s, const pst_outcome_group_t *g, pst_outcome_t *o)
{
    o->pack = u32(s, 300);
    o->slot = (uint16_t)number(s, 0, 17, PST_PACK_JOBS_MAX - 1);
    o->dispatch = (uint16_t)number(s, 0, 1, UINT16_MAX);
    o->index = u32(s, 76817);
    o->custom_id = text_or_nil(s, "r-76817", PST_CUSTOM_ID_BYTES_MAX);
    o->verdict = (uint8_t)number(s, PST_VERDICT_DONE, PST_VERDICT_DONE, PST_VERDICT_RETURNED);
    o->cause = (uint8_t)number(s, 0, 0, UINT8_MAX);
    o->http_status = (uint16_t)number(s, 0, 200, UINT16_MAX);
    o->endpoint = (uint16_t)number(s, 0, 0, g->endpoints_n - 1);
    o->url = (uint8_t)number(s, 0, PST_URL_CHAT, PST_URL_COUNT - 1);
    o->whole_provider = yes(s, false);
    o->wait_ms = u64(s, 0);
    o->latency_us = u64(s, 840123);
    o->input_tokens = u32(s, 118);
    o->cached_tokens = u32(s, 64);
    o->output_tokens = u32(s, 42);
    o->request_id = text(s, "req_0123", PST_REQUEST_ID_BYTES_MAX);
    o->message = s->shape == SAMPLE_TYPICAL ? pst_view("", 0) : text(s, "", PST_MESSAGE_BYTES_MAX);
    o->body_bytes = (uint32_t)number(s, 0, 30, g->blob.text_bytes);
    o->body_offset = (uint32_t)number(s, 0, 2, g->blob.text_bytes - o->body_bytes);
}

static void limit_reports(sample_t *s, pst_outcome_group_t *g)
{
    g->limits_n = g->endpoints_n ? count(s, 0, PST_LIMIT_REPORTS_MAX) : 0;
    g->limits = get(s, g->limits_n * sizeof *g->limits);
    for (uint32_t i = 0; i < g->limits_n; i++) {
        g->limits[i].endpoint = (uint16_t)number(s, 0, 0, g->endpoints_n - 1);
        g->limits[i].rate = (uint8_t)number(s, 0, PST_RATE_TOKENS, PST_RATE_COUNT - 1);
        g->limits[i].limit = number(s, 1, 2000000, UINT64_MAX);
        g->limits[i].remaining = u64(s, 1999000);
        g->limits[i].reset_ms = u64(s, 30);
    }
}

static void sample_outcomes(sample_t *s, pst_msg_outcomes_t *m)
{
    m->number = u64(s, 41);
    m->groups_n = count(s, 0, 3);
    m->groups = get(s, m->groups_n * sizeof *m->groups);
    for (uint32_t i = 0; i < m->groups_n; i++) {
        pst_outcome_group_t *g = &m->groups[i];
        g->batch = id(s);
        g->segment = u32(s, 1);
        g->endpoints = endpoints(s, &g->endpoints_n);
        g->blob = blob(s);
        g->outcomes_n = g->endpoints_n ? count(s, 0, PST_OUTCOMES_MAX) : 0;
        g->outcomes = get(s, g->outcomes_n * sizeof *g->outcomes);
        for (uint32_t k = 0; k < g->outcomes_n; k++)
            outcome(s, g, &g->outcomes[k]);
        limit_reports(s, g);
    }
}

static void sample_tasks(sample_t *s, pst_msg_tasks_t *m)
{
    m->groups_n = count(s, 0, 3);
    m->groups = get(s, m->groups_n * sizeof *m->groups);
    for (uint32_t i = 0; i < m->groups_n; i++) {
        pst_task_group_t *g = &m->groups[i];
        g->batch = id(s);
        g->segment = u32(s, 1);
        g->pack = u32(s, 300);
        g->headers = bytes(s, 3000);
        g->bodies = bytes(s, 70000);
        g->last = yes(s, false);
        g->endpoint = endpoint(s);
        g->model = name(s, "openai/gpt-4.1-mini");
        g->max_output = u32(s, 32768);
        g->flags = u32(s, 1);
        g->slots_n = count(s, 0, PST_PACK_JOBS_MAX);
        g->slots = get(s, g->slots_n * sizeof *g->slots);
        for (uint32_t k = 0; k < g->slots_n; k++) {
            g->slots[k].slot = (uint16_t)number(s, 0, 17, PST_PACK_JOBS_MAX - 1);
            g->slots[k].dispatch = (uint16_t)number(s, 0, 1, UINT16_MAX);
        }
        g->priority = (uint8_t)number(s, 0, PST_PRIORITY_NORMAL, PST_PRIORITY_COUNT - 1);
        g->live = (uint8_t)number(s, 0, PST_LIVE_STREAM | PST_LIVE_UNSTORED, UINT8_MAX);
    }
}

static void sample_pieces(sample_t *s, pst_msg_pieces_t *m)
{
    m->pieces_n = count(s, 0, PST_PIECES_MAX);
    m->pieces = get(s, m->pieces_n * sizeof *m->pieces);
    for (uint32_t i = 0; i < m->pieces_n; i++) {
        m->pieces[i].task = ref(s);
        m->pieces[i].number = u32(s, 2);
        m->pieces[i].bytes = bytes(s, 2000);
    }
}

static void sample_hello(sample_t *s, pst_msg_hello_t *m)
{
    m->role = (uint8_t)number(s, PST_ROLE_CLIENT, PST_ROLE_WORKER, PST_ROLE_WORKER);
    m->software = name(s, "penstock/0.1.0");
    m->name = name(s, "host.4711");
    m->pools = pools(s, &m->pools_n);
    m->running = refs(s, &m->running_n);
}

static void sample_batches(sample_t *s, pst_msg_batches_t *m)
{
    m->req = u32(s, 9);
    m->infos_n = count(s, 0, PST_LIST_MAX);
    m->infos = get(s, m->infos_n * sizeof *m->infos);
    for (uint32_t i = 0; i < m->infos_n; i++) {
        sample_batch_info(s, &m->infos[i]);
        m->infos[i].causes_n = m->infos[i].endpoints_n = m->infos[i].parked_n = 0;
    }
    m->more = yes(s, true);
}

static void sample_results(sample_t *s, pst_msg_results_t *m)
{
    m->req = u32(s, 9);
    m->next = (pst_cursor_t){u32(s, 1), u32(s, 12)};
    m->ended = yes(s, false);
    m->packs_n = count(s, 0, PST_FETCH_PACKS_MAX);
    m->packs = get(s, m->packs_n * sizeof *m->packs);
    for (uint32_t i = 0; i < m->packs_n; i++)
        m->packs[i] = bytes(s, 2000);
    m->segments = u32(s, 2);
}

static pst_cluster_limit_t *cluster_limits(sample_t *s, uint32_t *ret_n)
{
    uint32_t n = *ret_n = count(s, 0, PST_RATE_COUNT);
    pst_cluster_limit_t *v = get(s, n * sizeof *v);
    for (uint32_t i = 0; i < n; i++) {
        v[i].rate = (uint8_t)number(s, 0, PST_RATE_TOKENS, PST_RATE_COUNT - 1);
        v[i].limit = u64(s, 2000000);
        v[i].source = (uint8_t)number(s, 0, PST_LIMIT_SAID, PST_LIMIT_SOURCE_COUNT - 1);
        v[i].used = u64(s, 170000);
    }
    return v;
}

static void cluster_provider(sample_t *s, pst_cluster_provider_t *p)
{
    p->name = name(s, "openai");
    p->workers = u32(s, 2);
    p->in_flight = u32(s, 90);
    p->room = u32(s, 310);
    p->concurrency = u32(s, 400);
    p->limits = cluster_limits(s, &p->limits_n);
    p->cause = (uint8_t)number(s, 0, PST_CAUSE_NONE, UINT8_MAX);
    p->until_wall_ms = u64(s, 0);
}

static void cluster_endpoint(sample_t *s, pst_cluster_endpoint_t *e)
{
    e->name = endpoint(s);
    e->in_flight = u32(s, 90);
    e->concurrency = u32(s, 0);
    e->calls = u64(s, 1003);
    e->completed = u64(s, 1000);
    e->rate_limited = u64(s, 2);
    e->failed = u64(s, 1);
    e->input_tokens = u64(s, 120000);
    e->cached_tokens = u64(s, 64000);
    e->output_tokens = u64(s, 50000);
    e->cost_nano = u64(s, 128000000);
    e->p50_ms = u32(s, 830);
    e->tokens_per_s = u32(s, 60);
    e->uptime_per_mille = (uint16_t)number(s, 0, 999, UINT16_MAX);
    e->cause = (uint8_t)number(s, 0, PST_CAUSE_NONE, UINT8_MAX);
    e->until_wall_ms = u64(s, 0);
    e->limits = cluster_limits(s, &e->limits_n);
}

static void sample_cluster(sample_t *s, pst_msg_cluster_t *m)
{
    pst_cluster_t *c = &m->cluster;
    m->req = u32(s, 9);
    c->wall_ms = u64(s, 1767222000000);
    c->uptime_ms = u64(s, 3600000);
    c->workers = u32(s, 2);
    c->batches = u32(s, 3);
    c->jobs_queued = u64(s, 100);
    c->jobs_running = u32(s, 90);
    c->jobs_waiting = u32(s, 7);
    c->accepted = u64(s, 1200);
    c->completed = u64(s, 1000);
    c->failed = u64(s, 3);
    c->cost_nano = u64(s, 128000000);
    c->providers_n = count(s, 0, PST_CLUSTER_PROVIDERS_MAX);
    c->providers = get(s, c->providers_n * sizeof *c->providers);
    for (uint32_t i = 0; i < c->providers_n; i++)
        cluster_provider(s, &c->providers[i]);
    c->endpoints_n = count(s, 0, PST_CLUSTER_ENDPOINTS_MAX);
    c->endpoints = get(s, c->endpoints_n * sizeof *c->endpoints);
    for (uint32_t i = 0; i < c->endpoints_n; i++)
        cluster_endpoint(s, &c->endpoints[i]);
}

static void requests(sample_t *s, pst_msg_t *m)
{
    switch (m->type) {
    case PST_MSG_ROUTE:
        m->u.route = (pst_msg_route_t){u32(s, 9), (uint8_t)number(s, 0, 0, PST_URL_COUNT - 1),
                                       route_bytes(s)};
        break;
    case PST_MSG_OPEN:
        m->u.open = (pst_msg_open_t){
            .req = u32(s, 9),
            .batch = id(s),
            .name = name(s, "nightly"),
            .priority = (uint8_t)number(s, 0, PST_PRIORITY_NORMAL, PST_PRIORITY_HIGH),
            .window_s = u64(s, 86400),
            .max_cost_nano = u64(s, 5000000000),
            .idempotency_key = name(s, "nightly-2026-01-01"),
            .metadata = text(s, "{\"team\":\"search\"}", PST_METADATA_BYTES_MAX),
            .tenant = name(s, "search"),
        };
        break;
    case PST_MSG_PACK:
        m->u.pack = (pst_msg_pack_t){u32(s, 9),   id(s),          u32(s, 1),
                                     u32(s, 300), bytes(s, 4000), bytes(s, 70000)};
        break;
    case PST_MSG_COMMIT:
        m->u.commit = (pst_msg_commit_t){u32(s, 9), id(s), u32(s, 301), u32(s, 76818)};
        break;
    case PST_MSG_LIST: m->u.list = (pst_msg_list_t){u32(s, 9), id(s), u32(s, 20)}; break;
    case PST_MSG_FETCH:
        m->u.fetch = (pst_msg_fetch_t){
            u32(s, 9), id(s), {u32(s, 1), u32(s, 12)}, u32(s, 1 << 20), u32(s, 10000)};
        break;
    case PST_MSG_GET:
        m->u.get = (pst_msg_get_t){u32(s, 9), id(s), yes(s, false), u32(s, 0),
                                   text(s, "r-7", PST_CUSTOM_ID_BYTES_MAX)};
        break;
    case PST_MSG_CALL:
        m->u.call = (pst_msg_call_t){
            .req = u32(s, 9),
            .batch = id(s),
            .tenant = name(s, "search"),
            .priority = (uint8_t)number(s, 0, PST_PRIORITY_HIGH, PST_PRIORITY_HIGH),
            .max_cost_nano = u64(s, 5000000),
            .window_ms = u64(s, 60000),
            .stream = yes(s, true),
            .headers = bytes(s, 400),
            .bodies = bytes(s, 3000),
        };
        break;
    default: m->u.batch_req = (pst_msg_batch_req_t){u32(s, 9), id(s)};
    }
}

static void refused(sample_t *s, pst_msg_refused_t *m)
{
    m->err = (uint16_t)number(s, 0, PST_E_NO_SESSION, UINT16_MAX);
    m->text = text(s, "no such session: begin a new one", PST_MESSAGE_BYTES_MAX);
}

void sample_msg(sample_t *s, pst_msg_type_t type, pst_msg_t *ret)
{
    *ret = (pst_msg_t){.version = PST_PROTOCOL_VERSION, .type = (uint8_t)type};
    ret->session = u64(s, 0x0102030405060708);
    ret->epoch = u64(s, 3);
    ret->seq = u64(s, 17);
    switch (type) {
    case PST_MSG_HELLO: sample_hello(s, &ret->u.hello); break;
    case PST_MSG_WELCOME:
        ret->u.welcome = (pst_msg_welcome_t){u32(s, PST_HEARTBEAT_MS), u32(s, PST_PEER_LOST_MS),
                                             u32(s, PST_UPLOAD_PACKS_MAX),
                                             u32(s, PST_UPLOAD_BYTES_MAX)};
        break;
    case PST_MSG_PING: break;
    case PST_MSG_BYE:
    case PST_MSG_REFUSED: refused(s, &ret->u.refused); break;
    case PST_MSG_ROUTE:
    case PST_MSG_OPEN:
    case PST_MSG_PACK:
    case PST_MSG_COMMIT:
    case PST_MSG_ABORT:
    case PST_MSG_STATUS:
    case PST_MSG_LIST:
    case PST_MSG_FETCH:
    case PST_MSG_GET:
    case PST_MSG_CALL:
    case PST_MSG_CANCEL:
    case PST_MSG_DELETE: requests(s, ret); break;
    case PST_MSG_DONE:
        ret->u.done = (pst_msg_done_t){u32(s, 9), (uint16_t)number(s, 0, PST_E_STATE, UINT16_MAX),
                                       id(s), yes(s, false),
                                       text(s, "the batch has ended", PST_MESSAGE_BYTES_MAX)};
        break;
    case PST_MSG_BATCH:
        ret->u.batch.req = u32(s, 9);
        sample_batch_info(s, &ret->u.batch.info);
        break;
    case PST_MSG_BATCHES: sample_batches(s, &ret->u.batches); break;
    case PST_MSG_RESULTS: sample_results(s, &ret->u.results); break;
    case PST_MSG_JOB:
        ret->u.job = (pst_msg_job_t){u32(s, 9),
                                     (uint8_t)number(s, 0, PST_STATE_RETRYING, PST_STATE_ENDED),
                                     u32(s, 7),
                                     u32(s, 1),
                                     u64(s, 1767222000000),
                                     bytes(s, 2000)};
        break;
    case PST_MSG_PIECE:
        ret->u.piece = (pst_msg_piece_t){u32(s, 9), u32(s, 2), bytes(s, 2000)};
        break;
    case PST_MSG_TOP: ret->u.top.req = u32(s, 9); break;
    case PST_MSG_CLUSTER: sample_cluster(s, &ret->u.cluster); break;
    case PST_MSG_CAPACITY: ret->u.capacity.pools = pools(s, &ret->u.capacity.pools_n); break;
    case PST_MSG_OUTCOMES: sample_outcomes(s, &ret->u.outcomes); break;
    case PST_MSG_PIECES: sample_pieces(s, &ret->u.pieces); break;
    case PST_MSG_TASKS: sample_tasks(s, &ret->u.tasks); break;
    case PST_MSG_REVOKE: ret->u.revoke.refs = refs(s, &ret->u.revoke.refs_n); break;
    case PST_MSG_ACK: ret->u.ack.number = u64(s, 41); break;
    }
}
