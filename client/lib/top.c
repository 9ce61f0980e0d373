/* top.c - the cluster at one moment: asked for, and written as JSON. */
#include "lib/top.h"

#include "base/json.h"
#include "lib/client.h"
#include "lib/text.h"

static const char *rate_text(uint8_t rate)
{
    static const char *const texts[PST_RATE_COUNT] = {
        [PST_RATE_REQUESTS] = "requests_per_minute",    [PST_RATE_INPUT] = "input_tokens_per_minute",
        [PST_RATE_OUTPUT] = "output_tokens_per_minute", [PST_RATE_TOKENS] = "tokens_per_minute",
        [PST_RATE_DAILY] = "requests_per_day",
    };
    return texts[rate]; /* the decoder knows no others */
}

static const char *source_text(uint8_t source)
{
    static const char *const texts[PST_LIMIT_SOURCE_COUNT] = {
        [PST_LIMIT_CONFIGURED] = "configured", [PST_LIMIT_SAID] = "headers", [PST_LIMIT_LEARNED] = "429s"};
    return texts[source];
}

/* NULL for none; a cause of a later version has no name here, but is one. */
static const char *cause_text(uint8_t cause)
{
    const char *text = pst_cause_text(cause);
    return cause == PST_CAUSE_NONE ? NULL : text ? text : "unknown";
}

static const char *copy_text(pst_arena_t *a, pst_view_t v)
{
    return pst_arena_copy(a, v).p;
}

static bool copy_limits(pst_arena_t *a, const pst_cluster_limit_t *from, uint32_t n, const pst_top_limit_t **ret)
{
    pst_top_limit_t *v = pst_arena_get(a, (n + 1) * sizeof *v);
    for (uint32_t i = 0; v && i < n; i++)
        v[i] = (pst_top_limit_t){.rate = rate_text(from[i].rate),
                                 .source = source_text(from[i].source),
                                 .limit = from[i].limit,
                                 .used = from[i].used};
    *ret = v;
    return v;
}

static bool copy_provider(pst_arena_t *a, const pst_cluster_provider_t *p, pst_top_provider_t *ret)
{
    *ret = (pst_top_provider_t){.name = copy_text(a, p->name),
                                .workers = p->workers,
                                .in_flight = p->in_flight,
                                .room = p->room,
                                .concurrency = p->concurrency,
                                .limits_n = p->limits_n,
                                .cause = cause_text(p->cause),
                                .until_wall_ms = p->until_wall_ms};
    return ret->name && copy_limits(a, p->limits, p->limits_n, &ret->limits);
}

static bool copy_endpoint(pst_arena_t *a, const pst_cluster_endpoint_t *e, pst_top_endpoint_t *ret)
{
    *ret = (pst_top_endpoint_t){.provider = copy_text(a, e->name.provider),
                                .model = copy_text(a, e->name.model),
                                .in_flight = e->in_flight,
                                .concurrency = e->concurrency,
                                .calls = e->calls,
                                .completed = e->completed,
                                .rate_limited = e->rate_limited,
                                .failed = e->failed,
                                .input_tokens = e->input_tokens,
                                .cached_tokens = e->cached_tokens,
                                .output_tokens = e->output_tokens,
                                .cost_usd = pst_usd(e->cost_nano),
                                .p50_ms = e->p50_ms,
                                .tokens_per_s = e->tokens_per_s,
                                .uptime_per_mille = e->uptime_per_mille,
                                .limits_n = e->limits_n,
                                .cause = cause_text(e->cause),
                                .until_wall_ms = e->until_wall_ms};
    return ret->provider && ret->model && copy_limits(a, e->limits, e->limits_n, &ret->limits);
}

static bool copy_lists(pst_arena_t *a, const pst_cluster_t *c, pst_top_t *t)
{
    pst_top_provider_t *providers = pst_arena_get(a, (c->providers_n + 1) * sizeof *providers);
    pst_top_endpoint_t *endpoints = pst_arena_get(a, (c->endpoints_n + 1) * sizeof *endpoints);
    bool ok = providers && endpoints;
    for (uint32_t i = 0; ok && i < c->providers_n; i++)
        ok = copy_provider(a, &c->providers[i], &providers[i]);
    for (uint32_t i = 0; ok && i < c->endpoints_n; i++)
        ok = copy_endpoint(a, &c->endpoints[i], &endpoints[i]);
    t->providers = providers;
    t->providers_n = c->providers_n;
    t->endpoints = endpoints;
    t->endpoints_n = c->endpoints_n;
    return ok;
}

pst_err_t pst_top_copy(const pst_cluster_t *c, pst_top_t *ret)
{
    pst_arena_t *a = malloc(sizeof *a);
    if (!a)
        return PST_E_NOMEM;
    pst_arena_init(a, 0);
    pst_top_t t = {.wall_ms = c->wall_ms,
                   .uptime_ms = c->uptime_ms,
                   .workers = c->workers,
                   .batches = c->batches,
                   .jobs_queued = c->jobs_queued,
                   .jobs_running = c->jobs_running,
                   .jobs_waiting = c->jobs_waiting,
                   .accepted = c->accepted,
                   .completed = c->completed,
                   .failed = c->failed,
                   .cost_usd = pst_usd(c->cost_nano),
                   .memory = a};
    if (!copy_lists(a, c, &t)) {
        pst_top_release(&t);
        return PST_E_NOMEM;
    }
    *ret = t;
    return PST_OK;
}

void pst_top_release(pst_top_t *t)
{
    pst_arena_t *a = t->memory;
    if (a)
        pst_arena_release(a);
    free(a);
    memset(t, 0, sizeof *t);
}

pst_err_t pst_top_get(pst_client_t *c, pst_top_t *ret)
{
    pst_msg_t m = {.type = PST_MSG_TOP};
    pst_reply_t *r = NULL;
    pst_err_t e = pst_conn_ask(c->conn, &m, &r);
    if (e)
        return e;
    const pst_msg_t *in = pst_reply_msg(r);
    e = in->type == PST_MSG_CLUSTER ? pst_top_copy(&in->u.cluster.cluster, ret) : pst_client_no_answer(c);
    pst_reply_destroy(&r);
    return e;
}

/* JSON. */

static void put_limits(pst_buf_t *b, const pst_top_limit_t *limits, size_t n)
{
    pst_json_put_key(b, "limits");
    pst_buf_putc(b, '[');
    for (size_t i = 0; i < n; i++) {
        pst_json_put_comma(b);
        pst_buf_putc(b, '{');
        pst_member_str(b, "rate", limits[i].rate);
        pst_member_uint(b, "limit", limits[i].limit);
        pst_member_str(b, "source", limits[i].source);
        pst_member_uint(b, "used", limits[i].used);
        pst_buf_putc(b, '}');
    }
    pst_buf_putc(b, ']');
}

static void put_provider(pst_buf_t *b, const pst_top_provider_t *p)
{
    pst_json_put_comma(b);
    pst_buf_putc(b, '{');
    pst_member_str(b, "name", p->name);
    pst_member_uint(b, "workers", p->workers);
    pst_member_uint(b, "in_flight", p->in_flight);
    pst_member_uint(b, "room", p->room);
    pst_member_uint(b, "concurrency", p->concurrency);
    put_limits(b, p->limits, p->limits_n);
    pst_member_str(b, "cause", p->cause);
    pst_member_uint(b, "until_wall_ms", p->until_wall_ms);
    pst_buf_putc(b, '}');
}

static void put_endpoint(pst_buf_t *b, const pst_top_endpoint_t *e)
{
    pst_json_put_comma(b);
    pst_buf_putc(b, '{');
    pst_member_str(b, "provider", e->provider);
    pst_member_str(b, "model", e->model);
    pst_member_uint(b, "in_flight", e->in_flight);
    pst_member_uint(b, "concurrency", e->concurrency);
    pst_member_uint(b, "calls", e->calls);
    pst_member_uint(b, "completed", e->completed);
    pst_member_uint(b, "rate_limited", e->rate_limited);
    pst_member_uint(b, "failed", e->failed);
    pst_member_uint(b, "input_tokens", e->input_tokens);
    pst_member_uint(b, "cached_tokens", e->cached_tokens);
    pst_member_uint(b, "output_tokens", e->output_tokens);
    pst_member_usd(b, "cost_usd", e->cost_usd);
    pst_member_uint(b, "p50_ms", e->p50_ms);
    pst_member_uint(b, "tokens_per_s", e->tokens_per_s);
    pst_member_uint(b, "uptime_per_mille", e->uptime_per_mille);
    put_limits(b, e->limits, e->limits_n);
    pst_member_str(b, "cause", e->cause);
    pst_member_uint(b, "until_wall_ms", e->until_wall_ms);
    pst_buf_putc(b, '}');
}

void pst_top_put_json(pst_buf_t *b, const pst_top_t *t)
{
    pst_buf_putc(b, '{');
    pst_member_uint(b, "wall_ms", t->wall_ms);
    pst_member_uint(b, "uptime_ms", t->uptime_ms);
    pst_member_uint(b, "workers", t->workers);
    pst_member_uint(b, "batches", t->batches);
    pst_member_uint(b, "jobs_queued", t->jobs_queued);
    pst_member_uint(b, "jobs_running", t->jobs_running);
    pst_member_uint(b, "jobs_waiting", t->jobs_waiting);
    pst_member_uint(b, "accepted", t->accepted);
    pst_member_uint(b, "completed", t->completed);
    pst_member_uint(b, "failed", t->failed);
    pst_member_usd(b, "cost_usd", t->cost_usd);
    pst_json_put_key(b, "providers");
    pst_buf_putc(b, '[');
    for (size_t i = 0; i < t->providers_n; i++)
        put_provider(b, &t->providers[i]);
    pst_buf_putc(b, ']');
    pst_json_put_key(b, "endpoints");
    pst_buf_putc(b, '[');
    for (size_t i = 0; i < t->endpoints_n; i++)
        put_endpoint(b, &t->endpoints[i]);
    pst_buf_puts(b, "]}");
}

pst_err_t pst_top_json(const pst_top_t *t, char **ret)
{
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_top_put_json(&b, t);
    return pst_text_give(&b, ret);
}
