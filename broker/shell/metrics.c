#include "metrics.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/epoll.h>

#include "back.h"
#include "front.h"
#include "live.h"
#include "proc/log.h"
#include "proc/prom.h"
#include "query.h"

#define CONNECTIONS_MAX 64
#define CONNECTION_BYTES_MAX 16384
#define TIMEOUT_S 10

struct pst_metrics {
    pst_broker_t *b;
    struct MHD_Daemon *daemon;
    int epoll;
};

/* ---- the text ---------------------------------------------------------------------------------------------------- */

static void one(pst_buf_t *out, const char *name, const char *end, const char *type, const char *help, uint64_t value)
{
    char whole[96];
    snprintf(whole, sizeof whole, "penstock_broker_%s%s", name, end);
    pst_prom_head(out, whole, type, help);
    pst_prom_name(out, whole);
    pst_prom_uint(out, value);
}

static void counter(pst_buf_t *out, const char *name, const char *help, uint64_t value)
{
    one(out, name, "_total", "counter", help, value);
}

static void gauge(pst_buf_t *out, const char *name, const char *help, uint64_t value)
{
    one(out, name, "", "gauge", help, value);
}

static void core_counters(const pst_broker_t *b, pst_buf_t *out)
{
    const pst_core_counters_t *c = pst_core_counters(b->core);
#define X(name, help) counter(out, #name, help, c->name);
    PST_COUNTER_LIST(X)
#undef X
}

static void core_gauges(const pst_broker_t *b, pst_buf_t *out)
{
    pst_core_gauges_t g;
    pst_core_gauges(b->core, &g);
    gauge(out, "batches", "batches that have not ended", g.batches);
    gauge(out, "packs", "packs of batches that have not ended", g.packs);
    gauge(out, "packs_open", "packs in memory", g.packs_open);
    gauge(out, "open_bytes", "bytes of packs in memory", g.open_bytes);
    gauge(out, "jobs_queued", "jobs that have not ended", g.jobs_queued);
    gauge(out, "jobs_running", "jobs at a worker", g.jobs_running);
    gauge(out, "jobs_waiting", "jobs that wait for their next attempt", g.jobs_waiting);
    gauge(out, "workers", "workers with a session", g.workers);
}

static void cause_lines(pst_buf_t *out, const char *name, const char *help, const uint64_t by_cause[UINT8_MAX + 1])
{
    pst_prom_head(out, name, "counter", help);
    for (unsigned i = PST_CAUSE_NONE + 1; i <= UINT8_MAX; i++) {
        const char *cause = pst_cause_text(i);
        if (!cause)
            continue;
        pst_prom_name(out, name);
        pst_prom_label(out, "cause", pst_view_str(cause));
        pst_prom_uint(out, by_cause[i]);
    }
}

static void causes(const pst_broker_t *b, pst_buf_t *out)
{
    const pst_core_causes_t *c = pst_core_causes(b->core);
    cause_lines(out, "penstock_broker_call_errors_total", "calls that failed, by what the worker said of them", c->calls);
    cause_lines(out, "penstock_broker_job_errors_total", "jobs ended without an answer, by why", c->jobs);
}

static void endpoint_line(pst_buf_t *out, const char *name, const pst_core_endpoint_state_t *e, double value)
{
    pst_prom_name(out, name);
    pst_prom_label(out, "provider", e->name.provider);
    pst_prom_label(out, "model", e->name.model);
    pst_prom_num(out, value);
}

typedef double figure_fn(const pst_core_endpoint_state_t *e);

static double in_flight(const pst_core_endpoint_state_t *e) { return e->in_flight; }
static double parked(const pst_core_endpoint_state_t *e) { return e->parked; }
static double uptime_tier(const pst_core_endpoint_state_t *e) { return e->uptime_tier; }
static double input_ratio(const pst_core_endpoint_state_t *e) { return e->input_ratio; }
static double latency(const pst_core_endpoint_state_t *e) { return e->latency_s; }
static double throughput(const pst_core_endpoint_state_t *e) { return e->tokens_per_s; }

static const struct {
    const char *name, *help;
    figure_fn *of;
    bool measured; /* only of endpoints with calls enough */
} figures[] = {
    {"penstock_broker_endpoint_in_flight", "calls in flight", in_flight, false},
    {"penstock_broker_endpoint_parked", "1 while it rests: key, credit, quota or outage", parked, false},
    {"penstock_broker_endpoint_uptime_tier", "0: normal, 1: 80 to 94 % of calls work, 2: fewer", uptime_tier, false},
    {"penstock_broker_endpoint_input_ratio", "input tokens used over input tokens estimated", input_ratio, false},
    {"penstock_broker_endpoint_latency_seconds", "median of a whole call, of the last five minutes", latency, true},
    {"penstock_broker_endpoint_tokens_per_second", "median of output tokens over the whole call", throughput, true},
};

static void endpoints(const pst_broker_t *b, pst_buf_t *out)
{
    for (size_t k = 0; k < PST_COUNT(figures); k++) {
        pst_core_endpoint_state_t e;
        pst_prom_head(out, figures[k].name, "gauge", figures[k].help);
        for (uint32_t i = 0; pst_core_endpoint_at(b->core, i, &e); i++)
            if (e.measured || !figures[k].measured)
                endpoint_line(out, figures[k].name, &e, figures[k].of(&e));
    }
}

static void link_line(pst_buf_t *out, const char *name, const char *link, uint64_t value)
{
    pst_prom_name(out, name);
    pst_prom_label(out, "link", pst_view_str(link));
    pst_prom_uint(out, value);
}

static void link_lines(pst_buf_t *out, const char *name, const char *type, const char *help, uint64_t clients,
                       uint64_t workers)
{
    pst_prom_head(out, name, type, help);
    link_line(out, name, "clients", clients);
    link_line(out, name, "workers", workers);
}

static void links(const pst_broker_t *b, pst_buf_t *out)
{
    const pst_sessions_stats_t *c = pst_sessions_stats(pst_front_sessions(b->front));
    const pst_sessions_stats_t *w = pst_sessions_stats(pst_back_sessions(b->back));
    link_lines(out, "penstock_broker_sessions", "gauge", "sessions", c->sessions, w->sessions);
    link_lines(out, "penstock_broker_sessions_begun_total", "counter", "sessions begun", c->begun, w->begun);
    link_lines(out, "penstock_broker_sessions_lost_total", "counter", "sessions ended by silence or for not reading", c->lost, w->lost);
    link_lines(out, "penstock_broker_refused_total", "counter", "REFUSED sent", c->refused, w->refused);
    link_lines(out, "penstock_broker_messages_in_total", "counter", "messages received", c->messages_in, w->messages_in);
    link_lines(out, "penstock_broker_messages_out_total", "counter", "messages sent", c->messages_out, w->messages_out);
    link_lines(out, "penstock_broker_bytes_in_total", "counter", "bytes received", c->bytes_in, w->bytes_in);
    link_lines(out, "penstock_broker_bytes_out_total", "counter", "bytes sent", c->bytes_out, w->bytes_out);
}

static void store(const pst_broker_t *b, pst_buf_t *out)
{
    uint32_t ops;
    uint64_t bytes;
    pst_store_pending(b->store, &ops, &bytes);
    gauge(out, "store_up", "1 while Redis answers", b->store_up);
    gauge(out, "store_pending_ops", "operations not answered yet", ops);
    gauge(out, "store_pending_bytes", "bytes of operations not answered yet", bytes);
    gauge(out, "redis_used_bytes", "memory Redis uses", b->store_used);
    gauge(out, "redis_max_bytes", "memory Redis may use, 0: no limit", b->store_max);
    gauge(out, "live_calls", "calls whose clients wait", pst_live_count(b->live));
    gauge(out, "queries", "questions of clients not answered yet", pst_queries_count(b->queries));
}

void pst_metrics_write(const pst_broker_t *b, pst_buf_t *out)
{
    core_counters(b, out);
    core_gauges(b, out);
    causes(b, out);
    endpoints(b, out);
    links(b, out);
    store(b, out);
}

/* ---- HTTP -------------------------------------------------------------------------------------------------------- */

static enum MHD_Result respond(struct MHD_Connection *c, unsigned status, pst_buf_t *body, const char *type)
{
    size_t n = body->n;
    char *text = pst_buf_detach(body, NULL);
    struct MHD_Response *r = MHD_create_response_from_buffer(n, text, MHD_RESPMEM_MUST_FREE);
    if (!r) {
        free(text);
        return MHD_NO;
    }
    MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    enum MHD_Result ok = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return ok;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *c, const char *url, const char *method,
                                  const char *version, const char *upload, size_t *upload_n, void **state)
{
    (void)version;
    (void)upload;
    (void)upload_n;
    (void)state;
    const pst_metrics_t *m = arg;
    const char *type = "text/plain; charset=utf-8";
    unsigned status = MHD_HTTP_OK;
    pst_buf_t body;
    pst_buf_init(&body, 0);
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
        status = MHD_HTTP_METHOD_NOT_ALLOWED;
        pst_buf_puts(&body, "only GET\n");
    } else if (strcmp(url, "/metrics") == 0) {
        type = PST_PROM_TYPE;
        pst_metrics_write(m->b, &body);
    } else if (strcmp(url, "/healthz") == 0) {
        status = m->b->store_up ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE;
        pst_buf_puts(&body, m->b->store_up ? "ok\n" : "Redis does not answer\n");
    } else {
        status = MHD_HTTP_NOT_FOUND;
        pst_buf_puts(&body, "see /metrics and /healthz\n");
    }
    return respond(c, status, &body, type);
}

static void on_epoll(void *arg, int fd, uint32_t events)
{
    (void)fd;
    (void)events;
    pst_metrics_t *m = arg;
    MHD_run(m->daemon);
}

pst_ns_t pst_metrics_turn(pst_metrics_t *m, pst_ns_t now)
{
    MHD_UNSIGNED_LONG_LONG ms;
    if (MHD_get_timeout(m->daemon, &ms) != MHD_YES)
        return PST_NEVER;
    if (ms > 0)
        return pst_ns_add(now, ms * PST_MS);
    MHD_run(m->daemon);
    return pst_ns_add(now, PST_MS);
}

static bool split(const char *address, char *host, size_t host_room, const char **ret_port)
{
    const char *colon = strrchr(address, ':');
    if (!colon || colon == address || (size_t)(colon - address) >= host_room)
        return false;
    bool brackets = address[0] == '[' && colon[-1] == ']';
    snprintf(host, host_room, "%.*s", (int)(colon - address) - (brackets ? 2 : 0), address + (brackets ? 1 : 0));
    *ret_port = colon + 1;
    return true;
}

static pst_err_t start(pst_metrics_t *m, const char *address, pst_errbuf_t *eb)
{
    char host[256];
    const char *port;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *list = NULL;
    if (!split(address, host, sizeof host, &port) || getaddrinfo(host, port, &hints, &list) != 0)
        return pst_errf(eb, PST_E_IO, "\"%s\" is no address to listen on: write broker.metrics as HOST:PORT", address);
    unsigned flags = MHD_USE_EPOLL | (list->ai_family == AF_INET6 ? MHD_USE_IPv6 : 0);
    m->daemon = MHD_start_daemon(flags, 0, NULL, NULL, on_request, m, MHD_OPTION_SOCK_ADDR, list->ai_addr,
                                 MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
                                 MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)TIMEOUT_S,
                                 MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES_MAX, MHD_OPTION_END);
    int e = errno;
    freeaddrinfo(list);
    if (m->daemon)
        return PST_OK;
    return pst_errf(eb, PST_E_IO, "cannot listen on %s: %s: change broker.metrics, or set it to \"\"", address,
                    strerror(e));
}

pst_err_t pst_metrics_new(pst_broker_t *b, const char *address, pst_metrics_t **ret, pst_errbuf_t *eb)
{
    pst_metrics_t *m = pst_calloc(1, sizeof *m);
    m->b = b;
    m->epoll = -1;
    pst_err_t e = start(m, address, eb);
    if (e) {
        pst_metrics_destroy(&m);
        return e;
    }
    m->epoll = MHD_get_daemon_info(m->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    pst_loop_fd(b->loop, m->epoll, EPOLLIN, on_epoll, m);
    pst_log(PST_LOG_INFO, "metrics.ready", "address=%s port=%u", address,
            MHD_get_daemon_info(m->daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
    *ret = m;
    return PST_OK;
}

void pst_metrics_destroy(pst_metrics_t **m)
{
    pst_metrics_t *x = pst_take(m);
    if (!x)
        return;
    if (x->epoll >= 0)
        pst_loop_fd_remove(x->b->loop, x->epoll);
    if (x->daemon)
        MHD_stop_daemon(x->daemon);
    free(x);
}
