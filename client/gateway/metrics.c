/* metrics.c - /metrics: what the gateway counts of itself, and the cluster as the broker told it last.
 *
 * It tells what the whole cluster does: open to this machine alone, else to keys without a tenant. */
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "gateway/meter.h"
#include "gateway/parts.h"
#include "gateway/ui.h"
#include "proc/prom.h"

/* The process: names that Prometheus's own clients use. */

static double resident_bytes(void)
{
    char text[128] = "";
    FILE *f = fopen("/proc/self/statm", "re");
    if (f && !fgets(text, sizeof text, f))
        text[0] = '\0';
    if (f)
        fclose(f);
    const char *second = strchr(text, ' ');
    return second ? (double)strtoull(second, NULL, 10) * (double)sysconf(_SC_PAGESIZE) : 0;
}

static double seconds(const struct timeval *t)
{
    return (double)t->tv_sec + (double)t->tv_usec / 1e6;
}

static void write_process(const pst_gateway_t *g, pst_buf_t *out)
{
    struct rusage u = {0};
    (void)getrusage(RUSAGE_SELF, &u);
    pst_prom_one(out, "process_resident_memory_bytes", "gauge", "memory of this process that is in RAM", resident_bytes());
    pst_prom_one(out, "process_cpu_seconds_total", "counter", "CPU time that this process took",
                 seconds(&u.ru_utime) + seconds(&u.ru_stime));
    pst_prom_one(out, "process_start_time_seconds", "gauge", "when this process began, since 1970", (double)g->started_s);
    pst_prom_head(out, "penstock_build_info", "gauge", "which penstock this is");
    pst_prom_name(out, "penstock_build_info");
    pst_prom_label(out, "version", PST_VIEW_LIT(PST_VERSION));
    pst_prom_uint(out, 1);
}

static void write_gateway(const pst_gateway_t *g, pst_buf_t *out)
{
    pst_meter_write(g->meter, out);
    pst_prom_one(out, "penstock_gateway_requests_in_flight", "gauge", "requests under way", pst_web_requests(g->web));
    pst_prom_one(out, "penstock_gateway_connections", "gauge", "connections of clients", pst_web_connections(g->web));
    pst_prom_one(out, "penstock_gateway_uploaded_bytes_total", "counter", "bytes of requests' bodies",
                 (double)pst_web_body_bytes(g->web));
    pst_prom_one(out, "penstock_gateway_broker_up", "gauge", "1 while the broker answers", pst_remote_is_up(g->remote));
    pst_prom_one(out, "penstock_gateway_redis_up", "gauge", "1 while Redis answers", pst_db_is_up(g->db));
}

/* The cluster. */

typedef double endpoint_fn(const pst_top_endpoint_t *e);

static double in_flight(const pst_top_endpoint_t *e) { return e->in_flight; }
static double concurrency(const pst_top_endpoint_t *e) { return e->concurrency; }
static double calls(const pst_top_endpoint_t *e) { return (double)e->calls; }
static double completed(const pst_top_endpoint_t *e) { return (double)e->completed; }
static double rate_limited(const pst_top_endpoint_t *e) { return (double)e->rate_limited; }
static double failed(const pst_top_endpoint_t *e) { return (double)e->failed; }
static double input_tokens(const pst_top_endpoint_t *e) { return (double)e->input_tokens; }
static double cached_tokens(const pst_top_endpoint_t *e) { return (double)e->cached_tokens; }
static double output_tokens(const pst_top_endpoint_t *e) { return (double)e->output_tokens; }
static double cost_usd(const pst_top_endpoint_t *e) { return e->cost_usd; }
static double latency_s(const pst_top_endpoint_t *e) { return e->p50_ms / 1e3; }
static double tokens_per_s(const pst_top_endpoint_t *e) { return e->tokens_per_s; }
static double uptime(const pst_top_endpoint_t *e) { return e->uptime_per_mille / 1e3; }
static double parked(const pst_top_endpoint_t *e) { return e->cause != NULL; }

static const struct {
    const char *name, *type, *help;
    endpoint_fn *of;
    bool measured;               /* not told of an endpoint with too few calls */
} figures[] = {
    {"penstock_endpoint_in_flight", "gauge", "calls in flight", in_flight, false},
    {"penstock_endpoint_concurrency", "gauge", "calls that it may have in flight, 0: no limit", concurrency, false},
    {"penstock_endpoint_calls_total", "counter", "calls answered, or given up", calls, false},
    {"penstock_endpoint_completed_total", "counter", "calls that gave an answer", completed, false},
    {"penstock_endpoint_rate_limited_total", "counter", "calls refused by a limit of the provider's", rate_limited, false},
    {"penstock_endpoint_failed_total", "counter", "calls that failed otherwise", failed, false},
    {"penstock_endpoint_input_tokens_total", "counter", "tokens sent", input_tokens, false},
    {"penstock_endpoint_cached_tokens_total", "counter", "tokens of these that the provider had in its cache", cached_tokens,
     false},
    {"penstock_endpoint_output_tokens_total", "counter", "tokens of answers", output_tokens, false},
    {"penstock_endpoint_cost_usd_total", "counter", "what its calls have cost", cost_usd, false},
    {"penstock_endpoint_latency_seconds", "gauge", "median of a whole call, of the last five minutes", latency_s, true},
    {"penstock_endpoint_tokens_per_second", "gauge", "median of output tokens over the whole call", tokens_per_s, true},
    {"penstock_endpoint_uptime_ratio", "gauge", "calls that worked, of the last five minutes", uptime, false},
    {"penstock_endpoint_parked", "gauge", "1 while it rests: key, credit, quota or outage", parked, false},
};

static void put_endpoint(pst_buf_t *out, const char *name, const pst_top_endpoint_t *e)
{
    pst_prom_name(out, name);
    pst_prom_label(out, "provider", pst_view_str(e->provider));
    pst_prom_label(out, "model", pst_view_str(e->model));
}

static void put_provider(pst_buf_t *out, const char *name, const pst_top_provider_t *p)
{
    pst_prom_name(out, name);
    pst_prom_label(out, "provider", pst_view_str(p->name));
}

static void write_endpoints(const pst_top_t *t, pst_buf_t *out)
{
    for (size_t k = 0; k < PST_COUNT(figures); k++) {
        pst_prom_head(out, figures[k].name, figures[k].type, figures[k].help);
        for (size_t i = 0; i < t->endpoints_n; i++) {
            if (figures[k].measured && !t->endpoints[i].p50_ms)
                continue;
            put_endpoint(out, figures[k].name, &t->endpoints[i]);
            pst_prom_num(out, figures[k].of(&t->endpoints[i]));
        }
    }
}

/* used: how much of it is; else the limits themselves.  requests_per_day: of a day, the others of a minute. */
static void write_endpoint_limits(const pst_top_t *t, pst_buf_t *out, const char *name, const char *help, bool used)
{
    pst_prom_head(out, name, "gauge", help);
    for (size_t i = 0; i < t->endpoints_n; i++) {
        for (size_t k = 0; k < t->endpoints[i].limits_n; k++) {
            const pst_top_limit_t *l = &t->endpoints[i].limits[k];
            put_endpoint(out, name, &t->endpoints[i]);
            pst_prom_label(out, "rate", pst_view_str(l->rate));
            pst_prom_uint(out, used ? l->used : l->limit);
        }
    }
}

static void write_provider_limits(const pst_top_t *t, pst_buf_t *out, const char *name, const char *help, bool used)
{
    pst_prom_head(out, name, "gauge", help);
    for (size_t i = 0; i < t->providers_n; i++) {
        for (size_t k = 0; k < t->providers[i].limits_n; k++) {
            const pst_top_limit_t *l = &t->providers[i].limits[k];
            put_provider(out, name, &t->providers[i]);
            pst_prom_label(out, "rate", pst_view_str(l->rate));
            pst_prom_uint(out, used ? l->used : l->limit);
        }
    }
}

static double provider_workers(const pst_top_provider_t *p) { return p->workers; }
static double provider_in_flight(const pst_top_provider_t *p) { return p->in_flight; }
static double provider_room(const pst_top_provider_t *p) { return p->room; }
static double provider_parked(const pst_top_provider_t *p) { return p->cause != NULL; }

static const struct {
    const char *name, *help;
    double (*of)(const pst_top_provider_t *p);
} provider_figures[] = {
    {"penstock_provider_workers", "workers that serve it", provider_workers},
    {"penstock_provider_in_flight", "calls in flight", provider_in_flight},
    {"penstock_provider_room", "calls that its workers could take now", provider_room},
    {"penstock_provider_parked", "1 while the account rests: key, credit, quota or outage", provider_parked},
};

static void write_providers(const pst_top_t *t, pst_buf_t *out)
{
    for (size_t k = 0; k < PST_COUNT(provider_figures); k++) {
        pst_prom_head(out, provider_figures[k].name, "gauge", provider_figures[k].help);
        for (size_t i = 0; i < t->providers_n; i++) {
            put_provider(out, provider_figures[k].name, &t->providers[i]);
            pst_prom_num(out, provider_figures[k].of(&t->providers[i]));
        }
    }
}

static void write_cluster(const pst_top_t *t, pst_buf_t *out)
{
    write_endpoints(t, out);
    write_endpoint_limits(t, out, "penstock_endpoint_limit", "what a model may take at a provider, a minute or a day", false);
    write_endpoint_limits(t, out, "penstock_endpoint_limit_used", "what it took in the last minute, or of the day", true);
    write_providers(t, out);
    write_provider_limits(t, out, "penstock_provider_limit", "what an account may take, a minute or a day", false);
    write_provider_limits(t, out, "penstock_provider_limit_used", "what it took in the last minute, or of the day", true);
}

/* Who may see it; answers the others. */
static bool is_allowed(pst_req_t *r)
{
    if (pst_req_is_local(r))
        return true;
    if (!pst_caller_allow(r))
        return false;
    if (pst_caller_key(r) && !*pst_gw_tenant(r))
        return true;
    pst_reply_error(r, 403, NULL, NULL, "Metrics are of the whole cluster: from elsewhere they are shown to keys without a "
                    "tenant alone.");
    return false;
}

void pst_metrics_get(pst_req_t *r)
{
    const pst_gateway_t *g = pst_gw(r);
    if (!is_allowed(r))
        return;
    const pst_top_t *t = pst_ui_top(g->ui);
    pst_buf_t b;
    pst_buf_init(&b, 0);
    write_process(g, &b);
    write_gateway(g, &b);
    if (t)
        write_cluster(t, &b);
    if (b.failed) {
        pst_buf_release(&b);
        pst_reply_error(r, 503, NULL, NULL, "out of memory");
        return;
    }
    pst_req_reply(r, 200, PST_PROM_TYPE, &b);
}
