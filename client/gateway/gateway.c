#include "gateway/gateway.h"

#include <stdio.h>

#include "gateway/batches.h"
#include "gateway/import.h"
#include "gateway/live.h"
#include "gateway/parts.h"
#include "proc/clock.h"
#include "proc/log.h"

#define CONNECTIONS_MAX 20000u
#define JSON_BODY_MAX (1u << 20)

/* Ids. */

pst_id_t pst_gw_new_id(void)
{
    uint8_t random[10];
    pst_random(random, sizeof random);
    return pst_id_make(pst_clock_wall_ms(), random);
}

/* Who asks. */

const char *pst_gw_tenant(const pst_req_t *r)
{
    (void)r;
    return "";
}

bool pst_gw_sees(const pst_req_t *r, const char *tenant)
{
    const char *own = pst_gw_tenant(r);
    return !*own || strcmp(own, tenant) == 0;
}

/* The key of a request, in any of the three ways that SDKs send it. */
static const char *bearer(const pst_req_t *r)
{
    const char *text = pst_req_header(r, "Authorization");
    if (text && strncasecmp(text, "Bearer ", 7) == 0)
        return text + 7;
    return pst_req_header(r, "x-api-key");
}

/* In a time that does not tell how much of it is right. */
static bool is_same(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    unsigned char differs = n != m;
    for (size_t i = 0; i < n; i++)
        differs |= (unsigned char)(a[i] ^ b[i < m ? i : 0]);
    return m > 0 && !differs;
}

static bool allow(pst_req_t *r)
{
    pst_gateway_t *g = pst_gw(r);
    if (g->secrets_n == 0)
        return true;
    const char *key = bearer(r);
    if (!key) {
        pst_req_answer_header(r, "www-authenticate", "Bearer");
        pst_reply_error(r, 401, NULL, NULL, "You didn't provide an API key. You need to provide your API key in an Authorization "
                        "header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).");
        return false;
    }
    bool ok = false;
    for (uint32_t i = 0; i < g->secrets_n; i++)
        ok |= is_same(key, g->secrets[i].text);
    if (!ok)
        pst_reply_error(r, 401, "invalid_api_key", NULL, "Incorrect API key provided.");
    return ok;
}

static void fail(pst_req_t *r, unsigned status, const char *message)
{
    pst_reply_error(r, status, NULL, NULL, "%s", message);
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
    bool broker = pst_remote_is_up(g->remote), redis = pst_db_is_up(g->db);
    if (broker && redis)
        reply_text(r, 200, "ok\n");
    else
        reply_text(r, 503, !broker ? "the broker does not answer\n" : "Redis does not answer\n");
}

#define GET(p, f) {.method = "GET", .path = p, .end = f}
#define POST(p, most, f) {.method = "POST", .path = p, .body_max = most, .end = f}

static const pst_handler_t handlers[] = {
    {.method = "GET", .path = "/healthz", .open = true, .end = healthz},
    {.method = "GET", .path = "/readyz", .open = true, .end = readyz},
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
};

/* Beginning and end. */

static pst_err_t read_secrets(pst_gateway_t *g, pst_errbuf_t *eb)
{
    const pst_config_t *c = g->opts.config;
    g->secrets = calloc(c->gateway_keys_n + 1, sizeof *g->secrets);
    if (!g->secrets)
        return pst_errf(eb, PST_E_NOMEM, "out of memory");
    for (uint32_t i = 0; i < c->gateway_keys_n; i++) {
        char what[48];
        snprintf(what, sizeof what, "gateway.api_keys[%u]", i);
        pst_err_t e = pst_config_secret(c->gateway_keys[i], what, &g->secrets[i], eb);
        if (e)
            return e;
        g->secrets_n++;
    }
    return PST_OK;
}

/* The hooks of a turn: web, which asks; remote, which sends, and takes answers; db, which sends; and this. */
static pst_ns_t end_turn(void *arg, pst_ns_t now)
{
    (void)now;
    const pst_gateway_t *g = arg;
    return pst_web_is_due(g->web) ? 0 : PST_NEVER;
}

static pst_err_t begin(pst_gateway_t *g, pst_errbuf_t *eb)
{
    const pst_gateway_opts_t *o = &g->opts;
    pst_err_t e = read_secrets(g, eb);
    if (e)
        return e;
    pst_web_opts_t w = {.listen = o->listen, .connections_max = CONNECTIONS_MAX, .handlers = handlers,
                        .handlers_n = PST_COUNT(handlers), .allow = allow, .fail = fail, .app = g};
    if ((e = pst_web_new(g->loop, &w, &g->web, eb)))
        return e;
    g->remote = pst_remote_new(g->loop, o->broker, eb);
    if (!g->remote)
        return PST_E_INVALID;
    pst_importer_opts_t i = {.broker = o->broker, .redis = o->redis, .line_bytes_max = o->config->line_bytes_max,
                             .prefix_bytes_max = o->config->prefix_bytes_max,
                             .prefix_bytes_min = o->config->prefix_bytes_min};
    if ((e = pst_db_new(g->loop, o->redis, &g->db, eb)) || (e = pst_importer_new(g->loop, g->db, &i, &g->importer, eb)))
        return e;
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
    g->opts.config = config;
}

bool pst_gateway_drain(pst_gateway_t *g)
{
    pst_web_quiesce(g->web);
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
    pst_remote_destroy(&g->remote);
    pst_db_destroy(&g->db);
    for (uint32_t i = 0; i < g->secrets_n; i++)
        pst_secret_release(&g->secrets[i]);
    free(g->secrets);
    pst_line_reader_release(&g->reader);
    free(g);
}

unsigned pst_gateway_port(const pst_gateway_t *g)
{
    return pst_web_port(g->web);
}
