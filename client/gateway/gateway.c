#include "gateway/gateway.h"

#include <stdio.h>

#include "gateway/batches.h"
#include "gateway/import.h"
#include "gateway/live.h"
#include "gateway/meter.h"
#include "gateway/parts.h"
#include "gateway/ui.h"
#include "gateway/watch.h"
#include "proc/clock.h"
#include "proc/config_value.h"
#include "proc/log.h"

#define CONNECTIONS_MAX 20000u
#define JSON_BODY_MAX (1u << 20)
#define KEY_BODY_MAX 4096u

/* The web. */

static void fail(pst_req_t *r, unsigned status, const char *message)
{
    if (!r->handler)
        pst_meter_stray(pst_gw(r)->meter, status);
    pst_reply_error(r, status, NULL, NULL, "%s", message);
}

static void done(pst_req_t *r, unsigned status, pst_ns_t took)
{
    pst_meter_request(pst_gw(r)->meter, r->handler, status, took);
    pst_caller_done(r);
}

/* What there is. */

static void reply_text(pst_req_t *r, unsigned status, const char *text)
{
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_buf_puts(&b, text);
    pst_req_reply(r, status, "text/plain; charset=utf-8", &b);
}

static void healthz(pst_req_t *r)
{
    reply_text(r, 200, "ok\n");
}

static void readyz(pst_req_t *r)
{
    const pst_gateway_t *g = pst_gw(r);
    bool broker = pst_remote_is_up(g->remote), redis = pst_db_is_up(g->db) && pst_keys_loaded(g->keys);
    if (broker && redis)
        reply_text(r, 200, "ok\n");
    else
        reply_text(r, 503, !broker ? "the broker does not answer\n" : "Redis does not answer\n");
}

#define GET(p, f) {.method = "GET", .path = p, .end = f}
#define POST(p, most, f) {.method = "POST", .path = p, .body_max = most, .end = f}
#define MESSAGES(m, p, most, f)                                                                    \
    {.method = m, .path = "/v1/messages" p, .dialect = PST_DIALECT_ANTHROPIC, .body_max = most, .end = f}

static const pst_handler_t handlers[] = {
    {.method = "GET", .path = "/healthz", .open = true, .end = healthz},
    {.method = "GET", .path = "/readyz", .open = true, .end = readyz},
    {.method = "GET", .path = "/metrics", .open = true, .end = pst_metrics_get},
    {.method = "GET", .path = "/", .open = true, .end = pst_ui_file},
    {.method = "GET", .path = "/ui/{file}", .open = true, .end = pst_ui_file},
    {.method = "GET", .path = "/ui/api/session", .open = true, .end = pst_ui_session_show},
    {.method = "POST", .path = "/ui/api/session", .open = true, .body_max = KEY_BODY_MAX, .end = pst_ui_session_begin},
    {.method = "DELETE", .path = "/ui/api/session", .open = true, .end = pst_ui_session_end},
    GET("/ui/api/cluster", pst_ui_cluster),
    GET("/ui/api/history", pst_ui_history),
    GET("/ui/api/events", pst_ui_events),
    GET("/ui/api/batches/{id}/receipt", pst_ui_receipt),
    GET("/ui/api/batches/{id}/failed", pst_ui_failed),
    POST("/v1/chat/completions", PST_LINE_BYTES_MAX, pst_live_chat),
    POST("/v1/completions", PST_LINE_BYTES_MAX, pst_live_completions),
    POST("/v1/embeddings", PST_LINE_BYTES_MAX, pst_live_embeddings),
    POST("/v1/responses", PST_LINE_BYTES_MAX, pst_live_responses),
    GET("/v1/models", pst_models_list),
    GET("/v1/models/{name}", pst_models_get),
    GET("/v1/models/{lab}/{name}", pst_models_get_of_lab),
    {.method = "POST", .path = "/v1/files", .body_max = PST_BODY_STREAMED, .begin = pst_files_create_begin,
     .data = pst_files_create_data, .end = pst_files_create_end},
    GET("/v1/files", pst_files_list),
    GET("/v1/files/{id}", pst_files_get),
    GET("/v1/files/{id}/content", pst_files_content),
    {.method = "DELETE", .path = "/v1/files/{id}", .end = pst_files_delete},
    POST("/v1/batches", JSON_BODY_MAX, pst_batches_create),
    GET("/v1/batches", pst_batches_list),
    GET("/v1/batches/{id}", pst_batches_get),
    POST("/v1/batches/{id}/cancel", JSON_BODY_MAX, pst_batches_cancel),
    {.method = "POST", .path = "/api/v1/batches", .body_max = PST_BODY_STREAMED, .begin = pst_openrouter_create_begin,
     .data = pst_inlined_data, .end = pst_inlined_end},
    GET("/api/v1/batches", pst_openrouter_list),
    GET("/api/v1/batches/{id}", pst_openrouter_get),
    POST("/api/v1/batches/{id}/cancel", JSON_BODY_MAX, pst_openrouter_cancel),
    MESSAGES("POST", "", PST_LINE_BYTES_MAX, pst_messages_create),
    MESSAGES("POST", "/count_tokens", PST_LINE_BYTES_MAX, pst_messages_count),
    {.method = "POST", .path = "/v1/messages/batches", .dialect = PST_DIALECT_ANTHROPIC, .body_max = PST_BODY_STREAMED,
     .begin = pst_messages_batch_begin, .data = pst_inlined_data, .end = pst_inlined_end},
    MESSAGES("GET", "/batches", 0, pst_messages_batches),
    MESSAGES("GET", "/batches/{id}", 0, pst_messages_batch),
    MESSAGES("DELETE", "/batches/{id}", JSON_BODY_MAX, pst_messages_delete),
    MESSAGES("POST", "/batches/{id}/cancel", JSON_BODY_MAX, pst_messages_cancel),
    MESSAGES("GET", "/batches/{id}/results", 0, pst_messages_results),
};

/* Beginning and end. */

/* gateway.api_keys. */
static pst_err_t read_keys(pst_gateway_t *g, pst_errbuf_t *eb)
{
    const pst_config_t *c = g->opts.config;
    pst_keys_plain_clear(g->keys);
    for (uint32_t i = 0; i < c->gateway_keys_n; i++) {
        char what[48];
        pst_secret_t secret;
        snprintf(what, sizeof what, "gateway.api_keys[%u]", i);
        pst_err_t e = pst_config_secret(c->gateway_keys[i], what, &secret, eb);
        if (e)
            return e;
        pst_keys_plain_add(g->keys, pst_view_str(secret.text));
        pst_secret_release(&secret);
    }
    return PST_OK;
}

/* The hooks of a turn: web and ui, which ask; remote, which sends, and takes answers; those that have work of their own; and this. */
static pst_ns_t end_turn(void *arg, pst_ns_t now)
{
    (void)now;
    const pst_gateway_t *g = arg;
    pst_db_flush(g->db);
    return pst_web_is_due(g->web) ? 0 : PST_NEVER;
}

/* Tests cannot wait as long as clients may: seconds of idleness, of silence, of a body's pace. */
static void read_patience(pst_web_opts_t *w)
{
    const char *text = getenv("PENSTOCK_TEST_PATIENCE");
    unsigned idle, silent, pace;
    if (!text || sscanf(text, "%u,%u,%u", &idle, &silent, &pace) != 3)
        return;
    w->idle = idle * PST_SEC;
    w->silent = silent * PST_SEC;
    w->pace_over = pace * PST_SEC;
}

static pst_err_t begin_hooks(pst_gateway_t *g, pst_errbuf_t *eb)
{
    const pst_config_t *c = g->opts.config;
    pst_secret_t secret = {NULL};
    pst_err_t e = PST_OK;
    if (c->gateway_webhook_secret && *c->gateway_webhook_secret)
        e = pst_config_secret(c->gateway_webhook_secret, "gateway.webhook_secret", &secret, eb);
    pst_webhooks_opts_t o = {.loop = g->loop, .redis = pst_db_conn(g->db), .secret = secret.text,
                             .private_too = c->gateway_webhook_private};
    if (!e)
        e = pst_webhooks_new(&o, &g->hooks, eb);
    pst_secret_release(&secret);
    if (e)
        return e;
    pst_loop_prepare(g->loop, pst_webhooks_step, g->hooks);
    g->watch = pst_watch_new(g, g->hooks);
    return g->watch ? PST_OK : pst_errf(eb, PST_E_NOMEM, "out of memory");
}

static pst_err_t begin(pst_gateway_t *g, pst_errbuf_t *eb)
{
    const pst_gateway_opts_t *o = &g->opts;
    g->keys = pst_keys_new(pst_random_u64());
    g->meter = pst_meter_new(handlers, PST_COUNT(handlers));
    pst_err_t e = g->keys && g->meter ? read_keys(g, eb) : pst_errf(eb, PST_E_NOMEM, "out of memory");
    if (e)
        return e;
    pst_web_opts_t w = {.listen = o->listen, .connections_max = CONNECTIONS_MAX, .handlers = handlers,
                        .handlers_n = PST_COUNT(handlers), .allow = pst_caller_allow, .fail = fail,
                        .done = done, .app = g};
    read_patience(&w);
    if ((e = pst_web_new(g->loop, &w, &g->web, eb)))
        return e;
    g->ui = pst_ui_new(g);
    if (!g->ui)
        return pst_errf(eb, PST_E_NOMEM, "out of memory");
    g->remote = pst_remote_new(g->loop, o->broker, eb);
    if (!g->remote)
        return PST_E_INVALID;
    if ((e = pst_db_new(g->loop, o->redis, &g->db, eb)) || (e = begin_hooks(g, eb)))
        return e;
    pst_importer_opts_t i = {.broker = o->broker, .redis = o->redis, .line_bytes_max = o->config->line_bytes_max,
                             .prefix_bytes_max = o->config->prefix_bytes_max,
                             .prefix_bytes_min = o->config->prefix_bytes_min};
    if ((e = pst_importer_new(g->loop, g->db, &i, &g->importer, eb)))
        return e;
    g->keys_redis = pst_keys_redis_new(g->keys, pst_db_conn(g->db));
    if (!g->keys_redis)
        return pst_errf(eb, PST_E_NOMEM, "out of memory");
    pst_loop_prepare(g->loop, pst_keys_redis_turn, g->keys_redis);
    pst_loop_prepare(g->loop, end_turn, g);
    return PST_OK;
}

pst_err_t pst_gateway_new(pst_loop_t *loop, const pst_gateway_opts_t *o, pst_gateway_t **ret, pst_errbuf_t *eb)
{
    pst_gateway_t *g = calloc(1, sizeof *g);
    if (!g)
        return pst_errf(eb, PST_E_NOMEM, "out of memory");
    g->loop = loop;
    g->opts = *o;
    g->loopback = pst_value_is_loopback(pst_view_str(o->listen));
    g->started_s = pst_clock_wall_ms() / 1000;
    pst_line_reader_init(&g->reader, pst_view(NULL, 0));
    g->reader.prefix_min = o->config->prefix_bytes_min;
    g->reader.prefix_max = o->config->prefix_bytes_max;
    g->reader.streams = true;
    pst_err_t e = begin(g, eb);
    if (e) {
        pst_gateway_destroy(&g);
        return e;
    }
    *ret = g;
    return PST_OK;
}

void pst_gateway_config(pst_gateway_t *g, const pst_config_t *config)
{
    pst_errbuf_t eb;
    g->opts.config = config;
    if (read_keys(g, &eb))
        pst_log(PST_LOG_ERROR, "gateway.keys", "why=\"%s\"", eb.text);
}

bool pst_gateway_drain(pst_gateway_t *g)
{
    pst_web_quiesce(g->web);
    pst_ui_quiesce(g->ui);
    return pst_web_requests(g->web) == 0;
}

void pst_gateway_destroy(pst_gateway_t **pg)
{
    pst_gateway_t *g = *pg;
    *pg = NULL;
    if (!g)
        return;
    pst_importer_destroy(&g->importer);
    pst_web_destroy(&g->web);
    pst_ui_destroy(&g->ui);
    pst_remote_destroy(&g->remote);
    pst_db_destroy(&g->db);
    pst_watch_destroy(&g->watch);
    pst_webhooks_destroy(&g->hooks);
    pst_keys_redis_destroy(&g->keys_redis);
    pst_keys_destroy(&g->keys);
    pst_meter_destroy(&g->meter);
    pst_line_reader_release(&g->reader);
    pst_anthropic_release(&g->anthropic);
    free(g);
}

unsigned pst_gateway_port(const pst_gateway_t *g)
{
    return pst_web_port(g->web);
}
