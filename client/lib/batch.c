/* batch.c - batches as their summaries: asked for, listed, cancelled, deleted, and written as JSON. */
#include "base/json.h"
#include "lib/batch.h"
#include "lib/client.h"
#include "lib/text.h"

static const char *priority_text(uint8_t p)
{
    return p == PST_PRIORITY_LOW ? "low" : p == PST_PRIORITY_HIGH ? "high" : "normal";
}

static const char *or_empty(const char *s)
{
    return s ? s : "";
}

static const char *put_text(pst_arena_t *a, pst_view_t v)
{
    return pst_arena_copy(a, v).p;
}

static bool put_causes(pst_arena_t *a, const pst_batch_info_t *i, pst_batch_t *b)
{
    pst_cause_line_t *v = pst_arena_get(a, (i->causes_n + 1) * sizeof *v);
    for (uint32_t k = 0; v && k < i->causes_n; k++)
        v[k] = (pst_cause_line_t){.error_type = or_empty(pst_cause_text(i->causes[k].cause)), .n = i->causes[k].n};
    b->causes = v;
    b->causes_n = i->causes_n;
    return v;
}

static bool put_endpoints(pst_arena_t *a, const pst_batch_info_t *i, pst_batch_t *b)
{
    pst_endpoint_line_t *v = pst_arena_get(a, (i->endpoints_n + 1) * sizeof *v);
    for (uint32_t k = 0; v && k < i->endpoints_n; k++) {
        const pst_endpoint_stats_t *e = &i->endpoints[k];
        v[k] = (pst_endpoint_line_t){.provider = put_text(a, e->name.provider),
                                     .model = put_text(a, e->name.model),
                                     .calls = e->calls,
                                     .completed = e->completed,
                                     .rate_limited = e->rate_limited,
                                     .retried = e->retried,
                                     .input_tokens = e->input_tokens,
                                     .cached_tokens = e->cached_tokens,
                                     .output_tokens = e->output_tokens,
                                     .cost_usd = pst_usd(e->cost_nano),
                                     .latency_p50_ms = e->p50_ms,
                                     .latency_p95_ms = e->p95_ms};
        if (!v[k].provider || !v[k].model)
            return false;
    }
    b->endpoints = v;
    b->endpoints_n = i->endpoints_n;
    return v;
}

static bool put_parked(pst_arena_t *a, const pst_batch_info_t *i, pst_batch_t *b)
{
    pst_parked_line_t *v = pst_arena_get(a, (i->parked_n + 1) * sizeof *v);
    for (uint32_t k = 0; v && k < i->parked_n; k++) {
        const pst_parked_t *p = &i->parked[k];
        v[k] = (pst_parked_line_t){.provider = put_text(a, p->name.provider),
                                   .model = put_text(a, p->name.model),
                                   .error_type = or_empty(pst_cause_text(p->cause)),
                                   .until_ms = p->until_wall_ms};
        if (!v[k].provider || !v[k].model)
            return false;
    }
    b->parked = v;
    b->parked_n = i->parked_n;
    return v;
}

static void put_numbers(const pst_batch_info_t *i, pst_batch_t *b)
{
    *b = (pst_batch_t){.status = or_empty(pst_batch_status_text(i->status)),
                       .ended = pst_batch_ended(i->status),
                       .priority = priority_text(i->priority),
                       .created_ms = i->created_ms,
                       .accepted_ms = i->accepted_ms,
                       .cancelling_ms = i->cancelling_ms,
                       .ended_ms = i->ended_ms,
                       .expires_ms = i->expires_ms,
                       .window_s = i->window_s,
                       .max_cost_usd = pst_usd(i->max_cost_nano),
                       .jobs = i->jobs,
                       .completed = i->completed,
                       .failed = i->failed,
                       .expired = i->expired,
                       .cancelled = i->cancelled,
                       .queued = i->queued,
                       .running = i->running,
                       .retrying = i->retrying,
                       .input_tokens = i->input_tokens,
                       .cached_tokens = i->cached_tokens,
                       .output_tokens = i->output_tokens,
                       .cost_usd = pst_usd(i->cost_nano)};
    pst_id_text(&i->batch, b->id);
}

pst_err_t pst_batch_copy(const pst_batch_info_t *i, pst_batch_t *ret)
{
    pst_batch_t b;
    put_numbers(i, &b);
    pst_arena_t *a = malloc(sizeof *a);
    if (!a)
        return PST_E_NOMEM;
    pst_arena_init(a, 0);
    b.memory = a;
    b.name = put_text(a, i->name);
    b.metadata = put_text(a, i->metadata);
    b.tenant = put_text(a, i->tenant);
    bool texts = b.name && b.metadata && b.tenant;
    if (!texts || !put_causes(a, i, &b) || !put_endpoints(a, i, &b) || !put_parked(a, i, &b)) {
        pst_batch_release(&b);
        return PST_E_NOMEM;
    }
    *ret = b;
    return PST_OK;
}

void pst_batch_release(pst_batch_t *b)
{
    pst_arena_t *a = b->memory;
    if (a)
        pst_arena_release(a);
    free(a);
    memset(b, 0, sizeof *b);
}

static pst_err_t ask_about(pst_client_t *c, pst_msg_type_t type, const pst_id_t *batch, pst_reply_t **ret)
{
    pst_msg_t m = {.type = (uint8_t)type};
    m.u.batch_req.batch = *batch;
    return pst_conn_ask(c->conn, &m, ret);
}

pst_err_t pst_batch_get(pst_client_t *c, const pst_id_t *batch, pst_batch_t *ret)
{
    pst_reply_t *r = NULL;
    pst_err_t e = ask_about(c, PST_MSG_STATUS, batch, &r);
    if (e)
        return e;
    const pst_msg_t *m = pst_reply_msg(r);
    e = m->type == PST_MSG_BATCH ? pst_batch_copy(&m->u.batch.info, ret) : pst_client_no_answer(c);
    pst_reply_destroy(&r);
    return e;
}

static pst_err_t copy_list(const pst_msg_batches_t *m, pst_batch_list_t *ret)
{
    pst_batch_list_t l = {.v = calloc(m->infos_n + 1, sizeof *l.v), .more = m->more};
    if (!l.v)
        return PST_E_NOMEM;
    pst_err_t e = PST_OK;
    while (!e && l.n < m->infos_n) {
        e = pst_batch_copy(&m->infos[l.n], &l.v[l.n]);
        l.n += e == PST_OK;
    }
    if (e)
        pst_batch_list_release(&l);
    else
        *ret = l;
    return e;
}

pst_err_t pst_batch_list(pst_client_t *c, const pst_id_t *after, uint32_t limit, pst_batch_list_t *ret)
{
    pst_msg_t m = {.type = PST_MSG_LIST};
    if (after)
        m.u.list.after = *after;
    m.u.list.limit = PST_MIN(PST_MAX(limit, 1u), (uint32_t)PST_LIST_MAX);
    pst_reply_t *r = NULL;
    pst_err_t e = pst_conn_ask(c->conn, &m, &r);
    if (e)
        return e;
    const pst_msg_t *in = pst_reply_msg(r);
    e = in->type == PST_MSG_BATCHES ? copy_list(&in->u.batches, ret) : pst_client_no_answer(c);
    pst_reply_destroy(&r);
    return e;
}

void pst_batch_list_release(pst_batch_list_t *l)
{
    for (size_t i = 0; i < l->n; i++)
        pst_batch_release(&l->v[i]);
    free(l->v);
    memset(l, 0, sizeof *l);
}

static pst_err_t do_to(pst_client_t *c, pst_msg_type_t type, const pst_id_t *batch)
{
    pst_reply_t *r = NULL;
    pst_err_t e = ask_about(c, type, batch, &r);
    pst_reply_destroy(&r);
    return e;
}

pst_err_t pst_batch_cancel(pst_client_t *c, const pst_id_t *batch)
{
    return do_to(c, PST_MSG_CANCEL, batch);
}

pst_err_t pst_batch_delete(pst_client_t *c, const pst_id_t *batch)
{
    return do_to(c, PST_MSG_DELETE, batch);
}

/* JSON. */

/* Milliseconds as OpenAI's whole seconds; null for "not yet". */
static void put_time(pst_buf_t *b, const char *key, uint64_t ms)
{
    pst_json_put_key(b, key);
    if (ms)
        pst_text_uint(b, ms / 1000);
    else
        pst_buf_puts(b, "null");
}

/* The time of the end, if the batch ended with this status. */
static void put_end(pst_buf_t *b, const pst_batch_t *x, const char *key, const char *status)
{
    put_time(b, key, x->ended && strcmp(x->status, status) == 0 ? x->ended_ms : 0);
}

static void put_window(pst_buf_t *b, uint64_t s, const char *asked)
{
    static const struct {
        uint64_t s;
        char unit;
    } units[] = {{3600, 'h'}, {60, 'm'}, {1, 's'}};
    if (asked) {
        pst_member_str(b, "completion_window", asked);
        return;
    }
    pst_json_put_key(b, "completion_window");
    if (s == 0) {
        pst_buf_puts(b, "null");
        return;
    }
    size_t i = 0;
    while (s % units[i].s)
        i++;
    pst_buf_printf(b, "\"%llu%c\"", (unsigned long long)(s / units[i].s), units[i].unit);
}

/* Results can be read from the start of the batch on; at its end only a file that has something in it is named. */
static void put_files(pst_buf_t *b, const pst_batch_t *x)
{
    const char *digits = x->id + sizeof "batch_" - 1;
    pst_json_put_key(b, "output_file_id");
    if (x->accepted_ms && (!x->ended || x->completed > 0))
        pst_buf_printf(b, "\"file-output-%s\"", digits);
    else
        pst_buf_puts(b, "null");
    pst_json_put_key(b, "error_file_id");
    if (x->failed + x->expired + x->cancelled > 0)
        pst_buf_printf(b, "\"file-errors-%s\"", digits);
    else
        pst_buf_puts(b, "null");
}

void pst_batch_put_counts(pst_buf_t *b, const pst_batch_t *x, uint64_t failed)
{
    pst_json_put_key(b, "request_counts");
    pst_buf_putc(b, '{');
    pst_member_uint(b, "total", x->jobs);
    pst_member_uint(b, "completed", x->completed);
    pst_member_uint(b, "failed", failed);
    pst_member_uint(b, "expired", x->expired);
    pst_member_uint(b, "cancelled", x->cancelled);
    pst_member_uint(b, "queued", x->queued);
    pst_member_uint(b, "running", x->running);
    pst_member_uint(b, "retrying", x->retrying);
    pst_buf_putc(b, '}');
}

static void put_usage(pst_buf_t *b, const pst_batch_t *x)
{
    pst_json_put_key(b, "usage");
    pst_buf_putc(b, '{');
    pst_member_uint(b, "input_tokens", x->input_tokens);
    pst_buf_printf(b, ",\"input_tokens_details\":{\"cached_tokens\":%llu}", (unsigned long long)x->cached_tokens);
    pst_member_uint(b, "output_tokens", x->output_tokens);
    pst_buf_puts(b, ",\"output_tokens_details\":{\"reasoning_tokens\":0}");
    pst_member_uint(b, "total_tokens", x->input_tokens + x->output_tokens);
    pst_member_usd(b, "cost_usd", x->cost_usd);
    pst_buf_putc(b, '}');
}

static void put_metadata(pst_buf_t *b, const pst_batch_t *x)
{
    pst_json_put_key(b, "metadata");
    pst_buf_puts(b, x->metadata && *x->metadata ? x->metadata : "null");
}

static void put_parked_json(pst_buf_t *b, const pst_batch_t *x)
{
    pst_json_put_key(b, "parked");
    pst_buf_putc(b, '[');
    for (size_t i = 0; i < x->parked_n; i++) {
        const pst_parked_line_t *p = &x->parked[i];
        pst_json_put_comma(b);
        pst_buf_putc(b, '{');
        pst_member_str(b, "provider", p->provider);
        pst_member_str(b, "model", *p->model ? p->model : NULL);
        pst_member_str(b, "error_type", p->error_type);
        put_time(b, "until", p->until_ms);
        pst_buf_putc(b, '}');
    }
    pst_buf_putc(b, ']');
}

void pst_batch_put_json(pst_buf_t *b, const pst_batch_t *x, const pst_batch_made_t *made)
{
    pst_buf_putc(b, '{');
    pst_member_str(b, "id", x->id);
    pst_member_str(b, "object", "batch");
    pst_member_str(b, "endpoint", made->endpoint ? made->endpoint : pst_url_text(PST_URL_CHAT));
    pst_json_put_key(b, "errors");
    pst_buf_puts(b, made->errors ? made->errors : "null");
    pst_member_str(b, "input_file_id", made->input_file_id);
    put_window(b, x->window_s, made->completion_window);
    pst_member_str(b, "status", x->status);
    put_files(b, x);
    put_time(b, "created_at", x->created_ms);
    put_time(b, "in_progress_at", x->accepted_ms);
    put_time(b, "expires_at", x->expires_ms);
    put_time(b, "finalizing_at", x->ended && x->accepted_ms ? x->ended_ms : 0);
    put_end(b, x, "completed_at", "completed");
    put_end(b, x, "failed_at", "failed");
    put_end(b, x, "expired_at", "expired");
    put_time(b, "cancelling_at", x->cancelling_ms);
    put_end(b, x, "cancelled_at", "cancelled");
    pst_batch_put_counts(b, x, x->failed);
    put_usage(b, x);
    put_metadata(b, x);
    pst_member_str(b, "name", x->name && *x->name ? x->name : NULL);
    if (x->tenant && *x->tenant)
        pst_member_str(b, "tenant", x->tenant);
    pst_member_str(b, "priority", x->priority);
    if (x->max_cost_usd > 0)
        pst_member_usd(b, "max_cost_usd", x->max_cost_usd);
    put_parked_json(b, x);
    pst_buf_putc(b, '}');
}

pst_err_t pst_batch_json(const pst_batch_t *x, char **ret)
{
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_batch_put_json(&b, x, &(pst_batch_made_t){0});
    return pst_text_give(&b, ret);
}

static void put_causes_json(pst_buf_t *b, const pst_batch_t *x)
{
    pst_json_put_key(b, "causes");
    pst_buf_putc(b, '{');
    for (size_t i = 0; i < x->causes_n; i++)
        pst_member_uint(b, x->causes[i].error_type, x->causes[i].n);
    pst_buf_putc(b, '}');
}

static void put_endpoint_json(pst_buf_t *b, const pst_endpoint_line_t *e)
{
    pst_json_put_comma(b);
    pst_buf_putc(b, '{');
    pst_member_str(b, "provider", e->provider);
    pst_member_str(b, "model", e->model);
    pst_member_uint(b, "calls", e->calls);
    pst_member_uint(b, "completed", e->completed);
    pst_member_uint(b, "rate_limited", e->rate_limited);
    pst_member_uint(b, "retried", e->retried);
    pst_member_uint(b, "input_tokens", e->input_tokens);
    pst_member_uint(b, "cached_tokens", e->cached_tokens);
    pst_member_uint(b, "output_tokens", e->output_tokens);
    pst_member_usd(b, "cost_usd", e->cost_usd);
    pst_member_uint(b, "latency_p50_ms", e->latency_p50_ms);
    pst_member_uint(b, "latency_p95_ms", e->latency_p95_ms);
    pst_buf_putc(b, '}');
}

pst_err_t pst_batch_receipt_json(const pst_batch_t *x, char **ret)
{
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_buf_putc(&b, '{');
    pst_member_str(&b, "id", x->id);
    pst_member_str(&b, "status", x->status);
    pst_member_uint(&b, "jobs", x->jobs);
    pst_member_uint(&b, "results", x->completed + x->failed + x->expired + x->cancelled);
    pst_member_uint(&b, "completed", x->completed);
    pst_member_uint(&b, "failed", x->failed);
    pst_member_uint(&b, "expired", x->expired);
    pst_member_uint(&b, "cancelled", x->cancelled);
    put_causes_json(&b, x);
    pst_member_usd(&b, "cost_usd", x->cost_usd);
    pst_member_uint(&b, "input_tokens", x->input_tokens);
    pst_member_uint(&b, "cached_tokens", x->cached_tokens);
    pst_member_uint(&b, "output_tokens", x->output_tokens);
    put_time(&b, "started_at", x->accepted_ms);
    put_time(&b, "ended_at", x->ended_ms);
    pst_json_put_key(&b, "endpoints");
    pst_buf_putc(&b, '[');
    for (size_t i = 0; i < x->endpoints_n; i++)
        put_endpoint_json(&b, &x->endpoints[i]);
    pst_buf_puts(&b, "]}");
    return pst_text_give(&b, ret);
}
