/* wire_dump.c - messages as JSON text: numbers as they are, texts as strings, ids and blobs in
 * hexadecimal. */
#include "base/json.h"
#include "wire_sample.h"

#define NUM(b, x, f) num(b, #f, (x)->f)
#define BOOL(b, x, f) flag(b, #f, (x)->f)
#define STR(b, x, f) str(b, #f, (x)->f)
#define HEX(b, x, f) hex(b, #f, (x)->f.p, (x)->f.n)
#define ID(b, x, f) hex(b, #f, (x)->f.b, sizeof(x)->f.b)

static void num(pst_buf_t *b, const char *key, uint64_t v)
{
    pst_json_put_key(b, key);
    pst_buf_printf(b, "%llu", (unsigned long long)v);
}

static void num_or_nil(pst_buf_t *b, const char *key, uint64_t v)
{
    if (v != UINT64_MAX) {
        num(b, key, v);
        return;
    }
    pst_json_put_key(b, key);
    pst_buf_puts(b, "null");
}

static void flag(pst_buf_t *b, const char *key, bool v)
{
    pst_json_put_key(b, key);
    pst_buf_puts(b, v ? "true" : "false");
}

static void str(pst_buf_t *b, const char *key, pst_view_t v)
{
    pst_json_put_key(b, key);
    if (v.p)
        pst_json_put_str(b, v);
    else
        pst_buf_puts(b, "null");
}

static void put_hex(pst_buf_t *b, const void *p, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *at = p;
    pst_buf_putc(b, '"');
    for (size_t i = 0; i < n; i++) {
        pst_buf_putc(b, digits[at[i] >> 4]);
        pst_buf_putc(b, digits[at[i] & 15]);
    }
    pst_buf_putc(b, '"');
}

static void hex(pst_buf_t *b, const char *key, const void *p, size_t n)
{
    pst_json_put_key(b, key);
    put_hex(b, p, n);
}

static void open_list(pst_buf_t *b, const char *key)
{
    pst_json_put_key(b, key);
    pst_buf_putc(b, '[');
}

static void open_item(pst_buf_t *b)
{
    pst_json_put_comma(b);
    pst_buf_putc(b, '{');
}

static void names(pst_buf_t *b, const char *key, const pst_names_t *list)
{
    open_list(b, key);
    for (uint32_t i = 0; i < list->n; i++) {
        pst_json_put_comma(b);
        pst_json_put_str(b, list->v[i]);
    }
    pst_buf_putc(b, ']');
}

static void price(pst_buf_t *b, const char *key, double v)
{
    pst_json_put_key(b, key);
    if (v < 0)
        pst_buf_puts(b, "null");
    else
        pst_json_put_num(b, v);
}

static void quantiles(pst_buf_t *b, const char *key, const double v[PST_QUANTILES])
{
    static const char *const at[PST_QUANTILES] = {"p50", "p75", "p90", "p99"};
    pst_json_put_key(b, key);
    pst_buf_putc(b, '{');
    for (int i = 0; i < PST_QUANTILES; i++)
        price(b, at[i], v[i] > 0 ? v[i] : -1);
    pst_buf_putc(b, '}');
}

void dump_route(const pst_route_t *r, pst_buf_t *b)
{
    pst_buf_putc(b, '{');
    names(b, "models", &r->models);
    names(b, "order", &r->order);
    names(b, "only", &r->only);
    names(b, "ignore", &r->ignore);
    names(b, "quantizations", &r->quantizations);
    BOOL(b, r, allow_fallbacks);
    BOOL(b, r, require_parameters);
    BOOL(b, r, deny_data_collection);
    BOOL(b, r, zdr);
    NUM(b, r, sort);
    price(b, "max_price_prompt", r->max_price_prompt);
    price(b, "max_price_completion", r->max_price_completion);
    price(b, "max_price_request", r->max_price_request);
    NUM(b, r, params);
    BOOL(b, r, across_models);
    quantiles(b, "min_throughput", r->min_throughput);
    quantiles(b, "max_latency", r->max_latency);
    pst_buf_putc(b, '}');
}

void dump_headers(const pst_pack_headers_t *h, pst_buf_t *b)
{
    pst_buf_putc(b, '{');
    NUM(b, h, url);
    HEX(b, h, route);
    NUM(b, h, codec);
    NUM(b, h, text_bytes);
    open_list(b, "jobs");
    for (uint32_t i = 0; i < h->jobs_n; i++) {
        const pst_job_header_t *j = &h->jobs[i];
        open_item(b);
        NUM(b, j, index);
        STR(b, j, custom_id);
        NUM(b, j, input_tokens);
        NUM(b, j, output_tokens);
        NUM(b, j, body_bytes);
        NUM(b, j, prefix);
        NUM(b, j, reject);
        NUM(b, j, line);
        STR(b, j, message);
        pst_buf_putc(b, '}');
    }
    pst_buf_puts(b, "]}");
}

static void endpoint(pst_buf_t *b, const pst_endpoint_name_t *e)
{
    STR(b, e, provider);
    STR(b, e, model);
}

static void endpoints(pst_buf_t *b, const char *key, const pst_endpoint_name_t *v, uint32_t n)
{
    open_list(b, key);
    for (uint32_t i = 0; i < n; i++) {
        open_item(b);
        endpoint(b, &v[i]);
        pst_buf_putc(b, '}');
    }
    pst_buf_putc(b, ']');
}

static void blob(pst_buf_t *b, const pst_result_blob_t *v)
{
    NUM(b, v, codec);
    NUM(b, v, text_bytes);
    HEX(b, v, bytes);
}

static void result(pst_buf_t *b, const pst_result_t *r)
{
    NUM(b, r, index);
    STR(b, r, custom_id);
    NUM(b, r, status);
    NUM(b, r, cause);
    NUM(b, r, http_status);
    NUM(b, r, endpoint);
    NUM(b, r, cost_nano);
    NUM(b, r, input_tokens);
    NUM(b, r, cached_tokens);
    NUM(b, r, output_tokens);
    NUM(b, r, queued_ms);
    NUM(b, r, latency_ms);
    STR(b, r, request_id);
    STR(b, r, message);
    NUM(b, r, line);
    NUM(b, r, blob);
    NUM(b, r, body_offset);
    NUM(b, r, body_bytes);
    open_list(b, "attempts");
    for (uint32_t i = 0; i < r->attempts_n; i++) {
        open_item(b);
        NUM(b, &r->attempts[i], endpoint);
        NUM(b, &r->attempts[i], http_status);
        NUM(b, &r->attempts[i], cause);
        NUM(b, &r->attempts[i], latency_ms);
        pst_buf_putc(b, '}');
    }
    pst_buf_putc(b, ']');
    NUM(b, r, dropped);
}

void dump_result_pack(const pst_result_pack_t *p, pst_buf_t *b)
{
    pst_buf_putc(b, '{');
    endpoints(b, "endpoints", p->endpoints, p->endpoints_n);
    open_list(b, "results");
    for (uint32_t i = 0; i < p->results_n; i++) {
        open_item(b);
        result(b, &p->results[i]);
        pst_buf_putc(b, '}');
    }
    pst_buf_putc(b, ']');
    open_list(b, "blobs");
    for (uint32_t i = 0; i < p->blobs_n; i++) {
        open_item(b);
        blob(b, &p->blobs[i]);
        pst_buf_putc(b, '}');
    }
    pst_buf_puts(b, "]}");
}

static void stats(pst_buf_t *b, const pst_endpoint_stats_t *s)
{
    endpoint(b, &s->name);
    NUM(b, s, calls);
    NUM(b, s, completed);
    NUM(b, s, rate_limited);
    NUM(b, s, retried);
    NUM(b, s, input_tokens);
    NUM(b, s, output_tokens);
    NUM(b, s, cost_nano);
    NUM(b, s, p50_ms);
    NUM(b, s, p95_ms);
    NUM(b, s, cached_tokens);
}

static void info_lists(pst_buf_t *b, const pst_batch_info_t *i)
{
    open_list(b, "causes");
    for (uint32_t k = 0; k < i->causes_n; k++) {
        open_item(b);
        NUM(b, &i->causes[k], cause);
        NUM(b, &i->causes[k], n);
        pst_buf_putc(b, '}');
    }
    pst_buf_putc(b, ']');
    open_list(b, "endpoints");
    for (uint32_t k = 0; k < i->endpoints_n; k++) {
        open_item(b);
        stats(b, &i->endpoints[k]);
        pst_buf_putc(b, '}');
    }
    pst_buf_putc(b, ']');
    open_list(b, "parked");
    for (uint32_t k = 0; k < i->parked_n; k++) {
        open_item(b);
        endpoint(b, &i->parked[k].name);
        NUM(b, &i->parked[k], cause);
        NUM(b, &i->parked[k], until_wall_ms);
        pst_buf_putc(b, '}');
    }
    pst_buf_putc(b, ']');
}

void dump_batch_info(const pst_batch_info_t *i, pst_buf_t *b)
{
    pst_buf_putc(b, '{');
    ID(b, i, batch);
    NUM(b, i, status);
    NUM(b, i, priority);
    STR(b, i, name);
    STR(b, i, metadata);
    STR(b, i, idempotency_key);
    NUM(b, i, created_ms);
    NUM(b, i, accepted_ms);
    NUM(b, i, cancelling_ms);
    NUM(b, i, ended_ms);
    NUM(b, i, expires_ms);
    NUM(b, i, window_s);
    NUM(b, i, max_cost_nano);
    NUM(b, i, jobs);
    NUM(b, i, completed);
    NUM(b, i, failed);
    NUM(b, i, expired);
    NUM(b, i, cancelled);
    NUM(b, i, queued);
    NUM(b, i, running);
    NUM(b, i, retrying);
    NUM(b, i, input_tokens);
    NUM(b, i, cached_tokens);
    NUM(b, i, output_tokens);
    NUM(b, i, cost_nano);
    info_lists(b, i);
    STR(b, i, tenant);
    pst_buf_putc(b, '}');
}

static void ref(pst_buf_t *b, const pst_task_ref_t *r)
{
    ID(b, r, batch);
    NUM(b, r, segment);
    NUM(b, r, pack);
    NUM(b, r, slot);
    NUM(b, r, dispatch);
}

static void refs(pst_buf_t *b, const char *key, const pst_task_ref_t *v, uint32_t n)
{
    open_list(b, key);
    for (uint32_t i = 0; i < n; i++) {
        open_item(b);
        ref(b, &v[i]);
        pst_buf_putc(b, '}');
    }
    pst_buf_putc(b, ']');
}

static void pools(pst_buf_t *b, const pst_pool_capacity_t *v, uint32_t n)
{
    open_list(b, "pools");
    for (uint32_t i = 0; i < n; i++) {
        open_item(b);
        STR(b, &v[i], provider);
        NUM(b, &v[i], jobs);
        pst_buf_putc(b, '}');
    }
    pst_buf_putc(b, ']');
}

static void outcome(pst_buf_t *b, const pst_outcome_t *o)
{
    NUM(b, o, pack);
    NUM(b, o, slot);
    NUM(b, o, dispatch);
    NUM(b, o, index);
    STR(b, o, custom_id);
    NUM(b, o, verdict);
    NUM(b, o, cause);
    NUM(b, o, http_status);
    NUM(b, o, endpoint);
    NUM(b, o, url);
    BOOL(b, o, whole_provider);
    NUM(b, o, wait_ms);
    NUM(b, o, latency_us);
    NUM(b, o, input_tokens);
    NUM(b, o, cached_tokens);
    NUM(b, o, output_tokens);
    STR(b, o, request_id);
    STR(b, o, message);
    NUM(b, o, body_offset);
    NUM(b, o, body_bytes);
}

static void limit_reports(pst_buf_t *b, const pst_outcome_group_t *g)
{
    open_list(b, "limits");
    for (uint32_t i = 0; i < g->limits_n; i++) {
        open_item(b);
        NUM(b, &g->limits[i], endpoint);
        NUM(b, &g->limits[i], rate);
        NUM(b, &g->limits[i], limit);
        num_or_nil(b, "remaining", g->limits[i].remaining);
        NUM(b, &g->limits[i], reset_ms);
        pst_buf_putc(b, '}');
    }
    pst_buf_putc(b, ']');
}

static void outcomes(pst_buf_t *b, const pst_msg_outcomes_t *m)
{
    NUM(b, m, number);
    open_list(b, "groups");
    for (uint32_t i = 0; i < m->groups_n; i++) {
        const pst_outcome_group_t *g = &m->groups[i];
        open_item(b);
        ID(b, g, batch);
        NUM(b, g, segment);
        endpoints(b, "endpoints", g->endpoints, g->endpoints_n);
        open_list(b, "outcomes");
        for (uint32_t k = 0; k < g->outcomes_n; k++) {
            open_item(b);
            outcome(b, &g->outcomes[k]);
            pst_buf_putc(b, '}');
        }
        pst_buf_putc(b, ']');
        pst_json_put_key(b, "blob");
        pst_buf_putc(b, '{');
        blob(b, &g->blob);
        pst_buf_putc(b, '}');
        limit_reports(b, g);
        pst_buf_putc(b, '}');
    }
    pst_buf_putc(b, ']');
}

static void tasks(pst_buf_t *b, const pst_msg_tasks_t *m)
{
    open_list(b, "groups");
    for (uint32_t i = 0; i < m->groups_n; i++) {
        const pst_task_group_t *g = &m->groups[i];
        open_item(b);
        ID(b, g, batch);
        NUM(b, g, segment);
        NUM(b, g, pack);
        HEX(b, g, headers);
        HEX(b, g, bodies);
        BOOL(b, g, last);
        pst_json_put_key(b, "endpoint");
        pst_buf_putc(b, '{');
        endpoint(b, &g->endpoint);
        pst_buf_putc(b, '}');
        STR(b, g, model);
        NUM(b, g, max_output);
        NUM(b, g, flags);
        open_list(b, "slots");
        for (uint32_t k = 0; k < g->slots_n; k++) {
            open_item(b);
            NUM(b, &g->slots[k], slot);
            NUM(b, &g->slots[k], dispatch);
            pst_buf_putc(b, '}');
        }
        pst_buf_putc(b, ']');
        NUM(b, g, priority);
        NUM(b, g, live);
        pst_buf_putc(b, '}');
    }
    pst_buf_putc(b, ']');
}

static void pieces(pst_buf_t *b, const pst_msg_pieces_t *m)
{
    open_list(b, "pieces");
    for (uint32_t i = 0; i < m->pieces_n; i++) {
        open_item(b);
        pst_json_put_key(b, "task");
        pst_buf_putc(b, '{');
        ref(b, &m->pieces[i].task);
        pst_buf_putc(b, '}');
        NUM(b, &m->pieces[i], number);
        HEX(b, &m->pieces[i], bytes);
        pst_buf_putc(b, '}');
    }
    pst_buf_putc(b, ']');
}

static void cursor(pst_buf_t *b, const char *key, const pst_cursor_t *c)
{
    pst_json_put_key(b, key);
    pst_buf_putc(b, '{');
    NUM(b, c, segment);
    NUM(b, c, pack);
    pst_buf_putc(b, '}');
}

static void hello(pst_buf_t *b, const pst_msg_hello_t *m)
{
    NUM(b, m, role);
    STR(b, m, software);
    STR(b, m, name);
    pools(b, m->pools, m->pools_n);
    refs(b, "running", m->running, m->running_n);
}

static void open_msg(pst_buf_t *b, const pst_msg_open_t *m)
{
    NUM(b, m, req);
    ID(b, m, batch);
    STR(b, m, name);
    NUM(b, m, priority);
    NUM(b, m, window_s);
    NUM(b, m, max_cost_nano);
    STR(b, m, idempotency_key);
    STR(b, m, metadata);
    STR(b, m, tenant);
}

static void pack(pst_buf_t *b, const pst_msg_pack_t *m)
{
    NUM(b, m, req);
    ID(b, m, batch);
    NUM(b, m, segment);
    NUM(b, m, pack);
    HEX(b, m, headers);
    HEX(b, m, bodies);
}

static void fetch(pst_buf_t *b, const pst_msg_fetch_t *m)
{
    NUM(b, m, req);
    ID(b, m, batch);
    cursor(b, "cursor", &m->cursor);
    NUM(b, m, bytes);
    NUM(b, m, wait_ms);
}

static void get(pst_buf_t *b, const pst_msg_get_t *m)
{
    NUM(b, m, req);
    ID(b, m, batch);
    BOOL(b, m, by_index);
    NUM(b, m, index);
    STR(b, m, custom_id);
}

static void call(pst_buf_t *b, const pst_msg_call_t *m)
{
    NUM(b, m, req);
    ID(b, m, batch);
    STR(b, m, tenant);
    NUM(b, m, priority);
    NUM(b, m, max_cost_nano);
    NUM(b, m, window_ms);
    BOOL(b, m, stream);
    HEX(b, m, headers);
    HEX(b, m, bodies);
}

static void done(pst_buf_t *b, const pst_msg_done_t *m)
{
    NUM(b, m, req);
    NUM(b, m, err);
    ID(b, m, batch);
    BOOL(b, m, accepted);
    STR(b, m, text);
}

static void batches(pst_buf_t *b, const pst_msg_batches_t *m)
{
    NUM(b, m, req);
    open_list(b, "infos");
    for (uint32_t i = 0; i < m->infos_n; i++) {
        pst_json_put_comma(b);
        dump_batch_info(&m->infos[i], b);
    }
    pst_buf_putc(b, ']');
    BOOL(b, m, more);
}

static void results(pst_buf_t *b, const pst_msg_results_t *m)
{
    NUM(b, m, req);
    cursor(b, "next", &m->next);
    BOOL(b, m, ended);
    open_list(b, "packs");
    for (uint32_t i = 0; i < m->packs_n; i++) {
        pst_json_put_comma(b);
        put_hex(b, m->packs[i].p, m->packs[i].n);
    }
    pst_buf_putc(b, ']');
    NUM(b, m, segments);
}

static void job(pst_buf_t *b, const pst_msg_job_t *m)
{
    NUM(b, m, req);
    NUM(b, m, state);
    NUM(b, m, index);
    NUM(b, m, attempts);
    NUM(b, m, due_wall_ms);
    HEX(b, m, pack);
}

static void cluster_limits(pst_buf_t *b, const pst_cluster_limit_t *v, uint32_t n)
{
    open_list(b, "limits");
    for (uint32_t i = 0; i < n; i++) {
        open_item(b);
        NUM(b, &v[i], rate);
        NUM(b, &v[i], limit);
        NUM(b, &v[i], source);
        NUM(b, &v[i], used);
        pst_buf_putc(b, '}');
    }
    pst_buf_putc(b, ']');
}

static void cluster_provider(pst_buf_t *b, const pst_cluster_provider_t *p)
{
    STR(b, p, name);
    NUM(b, p, workers);
    NUM(b, p, in_flight);
    NUM(b, p, room);
    NUM(b, p, concurrency);
    cluster_limits(b, p->limits, p->limits_n);
    NUM(b, p, cause);
    NUM(b, p, until_wall_ms);
}

static void cluster_endpoint(pst_buf_t *b, const pst_cluster_endpoint_t *e)
{
    endpoint(b, &e->name);
    NUM(b, e, in_flight);
    NUM(b, e, concurrency);
    NUM(b, e, calls);
    NUM(b, e, completed);
    NUM(b, e, rate_limited);
    NUM(b, e, failed);
    NUM(b, e, input_tokens);
    NUM(b, e, cached_tokens);
    NUM(b, e, output_tokens);
    NUM(b, e, cost_nano);
    NUM(b, e, p50_ms);
    NUM(b, e, tokens_per_s);
    NUM(b, e, uptime_per_mille);
    NUM(b, e, cause);
    NUM(b, e, until_wall_ms);
    cluster_limits(b, e->limits, e->limits_n);
}

static void cluster(pst_buf_t *b, const pst_cluster_t *c)
{
    pst_json_put_key(b, "cluster");
    pst_buf_putc(b, '{');
    NUM(b, c, wall_ms);
    NUM(b, c, uptime_ms);
    NUM(b, c, workers);
    NUM(b, c, batches);
    NUM(b, c, jobs_queued);
    NUM(b, c, jobs_running);
    NUM(b, c, jobs_waiting);
    NUM(b, c, accepted);
    NUM(b, c, completed);
    NUM(b, c, failed);
    NUM(b, c, cost_nano);
    open_list(b, "providers");
    for (uint32_t i = 0; i < c->providers_n; i++) {
        open_item(b);
        cluster_provider(b, &c->providers[i]);
        pst_buf_putc(b, '}');
    }
    pst_buf_putc(b, ']');
    open_list(b, "endpoints");
    for (uint32_t i = 0; i < c->endpoints_n; i++) {
        open_item(b);
        cluster_endpoint(b, &c->endpoints[i]);
        pst_buf_putc(b, '}');
    }
    pst_buf_puts(b, "]}");
}

static void fields(pst_buf_t *b, const pst_msg_t *m)
{
    switch ((pst_msg_type_t)m->type) {
    case PST_MSG_HELLO: hello(b, &m->u.hello); break;
    case PST_MSG_WELCOME:
        NUM(b, &m->u.welcome, heartbeat_ms);
        NUM(b, &m->u.welcome, lost_ms);
        NUM(b, &m->u.welcome, upload_packs);
        NUM(b, &m->u.welcome, upload_bytes);
        break;
    case PST_MSG_PING: break;
    case PST_MSG_BYE:
    case PST_MSG_REFUSED:
        NUM(b, &m->u.refused, err);
        STR(b, &m->u.refused, text);
        break;
    case PST_MSG_ROUTE:
        NUM(b, &m->u.route, req);
        NUM(b, &m->u.route, url);
        HEX(b, &m->u.route, route);
        break;
    case PST_MSG_OPEN: open_msg(b, &m->u.open); break;
    case PST_MSG_PACK: pack(b, &m->u.pack); break;
    case PST_MSG_COMMIT:
        NUM(b, &m->u.commit, req);
        ID(b, &m->u.commit, batch);
        NUM(b, &m->u.commit, packs);
        NUM(b, &m->u.commit, jobs);
        break;
    case PST_MSG_ABORT:
    case PST_MSG_STATUS:
    case PST_MSG_CANCEL:
    case PST_MSG_DELETE:
        NUM(b, &m->u.batch_req, req);
        ID(b, &m->u.batch_req, batch);
        break;
    case PST_MSG_LIST:
        NUM(b, &m->u.list, req);
        ID(b, &m->u.list, after);
        NUM(b, &m->u.list, limit);
        break;
    case PST_MSG_FETCH: fetch(b, &m->u.fetch); break;
    case PST_MSG_GET: get(b, &m->u.get); break;
    case PST_MSG_CALL: call(b, &m->u.call); break;
    case PST_MSG_DONE: done(b, &m->u.done); break;
    case PST_MSG_BATCH:
        NUM(b, &m->u.batch, req);
        pst_json_put_key(b, "info");
        dump_batch_info(&m->u.batch.info, b);
        break;
    case PST_MSG_BATCHES: batches(b, &m->u.batches); break;
    case PST_MSG_RESULTS: results(b, &m->u.results); break;
    case PST_MSG_JOB: job(b, &m->u.job); break;
    case PST_MSG_PIECE:
        NUM(b, &m->u.piece, req);
        NUM(b, &m->u.piece, number);
        HEX(b, &m->u.piece, bytes);
        break;
    case PST_MSG_TOP: NUM(b, &m->u.top, req); break;
    case PST_MSG_CLUSTER:
        NUM(b, &m->u.cluster, req);
        cluster(b, &m->u.cluster.cluster);
        break;
    case PST_MSG_CAPACITY: pools(b, m->u.capacity.pools, m->u.capacity.pools_n); break;
    case PST_MSG_OUTCOMES: outcomes(b, &m->u.outcomes); break;
    case PST_MSG_PIECES: pieces(b, &m->u.pieces); break;
    case PST_MSG_TASKS: tasks(b, &m->u.tasks); break;
    case PST_MSG_REVOKE: refs(b, "refs", m->u.revoke.refs, m->u.revoke.refs_n); break;
    case PST_MSG_ACK: NUM(b, &m->u.ack, number); break;
    }
}

void dump_msg(const pst_msg_t *m, pst_buf_t *b)
{
    pst_buf_putc(b, '{');
    NUM(b, m, version);
    str(b, "type", pst_view_str(pst_msg_name(m->type)));
    NUM(b, m, session);
    NUM(b, m, epoch);
    NUM(b, m, seq);
    fields(b, m);
    pst_buf_putc(b, '}');
}
