#include "gateway/openrouter.h"

#include "lib/batch.h"
#include "lib/text.h"
#include "proc/config_value.h"

#define WINDOW_S (24u * 3600)
#define WINDOW_S_MAX (366u * 86400)
#define LIT(b, s) pst_buf_put(b, s, sizeof s - 1)

static const char *const endpoints[] = {"/v1/chat/completions", "/v1/responses", PST_OPENROUTER_MESSAGES, "/v1/embeddings",
                                        "/v1/completions"};

/* ---- a submission ------------------------------------------------------------------------------ */

typedef struct reading {
    const pst_inline_t *in;
    pst_arena_t *arena;
    pst_json_t json;
    pst_errbuf_t *eb;
} reading_t;

/* What the member is, if it is there, not null and of this type; else *ret stays.  A string is decoded. */
static pst_err_t read_member(reading_t *g, const char *name, pst_json_type_t type, pst_view_t *ret)
{
    pst_view_t text = pst_inline_member(g->in, name);
    if (!text.p || pst_view_eqs(text, "null"))
        return PST_OK;
    pst_err_t e = pst_json_parse(&g->json, text, NULL);
    if (e)
        return e;
    if (!pst_json_is(&g->json, 0, type))
        return pst_errf(g->eb, PST_E_INPUT, "%s: expected %s", name, type == PST_JSON_STRING ? "a string" : "an object");
    if (type == PST_JSON_OBJECT) {
        *ret = text;
        return PST_OK;
    }
    pst_view_t v = pst_json_str(&g->json, 0, g->arena);
    if (!v.p)
        return PST_E_NOMEM;
    if (v.n && memchr(v.p, '\0', v.n))
        return pst_errf(g->eb, PST_E_INPUT, "%s has a NUL in it", name);
    *ret = v;
    return PST_OK;
}

static pst_err_t read_endpoint(reading_t *g, pst_openrouter_submit_t *s)
{
    pst_err_t e = read_member(g, "endpoint", PST_JSON_STRING, &s->endpoint);
    if (e)
        return e;
    for (size_t i = 0; i < PST_COUNT(endpoints); i++) {
        if (pst_view_eqs(s->endpoint, endpoints[i]))
            return PST_OK;
    }
    if (!s->endpoint.p)
        return pst_errf(g->eb, PST_E_INPUT, "endpoint is missing: name one such as %s", endpoints[0]);
    return pst_errf(g->eb, PST_E_INPUT, "endpoint: expected one of %s, %s, %s, %s, %s", endpoints[0], endpoints[1],
                    endpoints[2], endpoints[3], endpoints[4]);
}

static pst_view_t without_batch(pst_view_t model)
{
    static const char suffix[] = ":batch";
    size_t n = sizeof suffix - 1;
    bool has = model.n > n && memcmp(model.p + model.n - n, suffix, n) == 0;
    return has ? pst_view(model.p, model.n - n) : model;
}

static pst_err_t read_window(reading_t *g, pst_openrouter_submit_t *s)
{
    pst_view_t text = pst_view(NULL, 0);
    uint64_t ns = 0;
    pst_err_t e = read_member(g, "completion_window", PST_JSON_STRING, &text);
    s->window_s = WINDOW_S;
    if (e || !text.p)
        return e;
    const char *advice = pst_value_duration(text, &ns);
    if (advice || ns < PST_SEC || ns > WINDOW_S_MAX * PST_SEC)
        return pst_errf(g->eb, PST_E_INPUT, "completion_window: expected a duration such as 24h");
    s->window_s = ns / PST_SEC;
    return PST_OK;
}

static pst_err_t read_all(reading_t *g, pst_openrouter_submit_t *s)
{
    pst_err_t e = read_endpoint(g, s);
    if (!e)
        e = read_member(g, "model", PST_JSON_STRING, &s->model);
    if (!e)
        e = read_member(g, "provider", PST_JSON_OBJECT, &s->provider);
    if (!e)
        e = read_member(g, "callback_url", PST_JSON_STRING, &s->callback_url);
    if (!e)
        e = read_member(g, "metadata", PST_JSON_OBJECT, &s->metadata);
    return e ? e : read_window(g, s);
}

pst_err_t pst_openrouter_submit_read(const pst_inline_t *in, pst_arena_t *a, pst_openrouter_submit_t *ret,
                                     pst_errbuf_t *eb)
{
    reading_t g = {.in = in, .arena = a, .eb = eb};
    pst_openrouter_submit_t s = {0};
    pst_json_init(&g.json);
    pst_err_t e = read_all(&g, &s);
    pst_json_release(&g.json);
    if (e)
        return e;
    s.model = without_batch(s.model);
    *ret = s;
    return PST_OK;
}

/* ---- a request --------------------------------------------------------------------------------- */

void pst_openrouter_reader_init(pst_openrouter_reader_t *r)
{
    pst_json_init(&r->json);
    pst_arena_init(&r->arena, 0);
    pst_buf_init(&r->body, 0);
}

void pst_openrouter_reader_release(pst_openrouter_reader_t *r)
{
    pst_json_release(&r->json);
    pst_arena_release(&r->arena);
    pst_buf_release(&r->body);
}

static void put_between(pst_buf_t *b, const pst_json_t *j, uint32_t from, uint32_t to)
{
    pst_buf_put(b, j->text.p + from, to - from);
}

/* The body with what the batch says for all of them: in front, where the body has none of it. */
static void put_body(pst_openrouter_reader_t *r, uint32_t body, const pst_openrouter_submit_t *s)
{
    const pst_json_t *j = &r->json;
    pst_buf_t *b = &r->body;
    uint32_t model = pst_json_get(j, body, "model");
    uint32_t from = j->tok[body].start + 1, end = j->tok[body].end;
    LIT(b, "{");
    if (model == PST_JSON_NONE && s->model.n) {
        pst_json_put_key(b, "model");
        pst_json_put_str(b, s->model);
    }
    if (pst_json_get(j, body, "provider") == PST_JSON_NONE && s->provider.n) {
        pst_json_put_key(b, "provider");
        pst_buf_putv(b, s->provider);
    }
    if (j->tok[body].count)
        pst_json_put_comma(b);
    pst_view_t name = pst_json_str(j, model, &r->arena), bare = without_batch(name);
    if (bare.n < name.n) {
        put_between(b, j, from, j->tok[model].start);
        pst_json_put_str(b, bare);
        from = j->tok[model].end;
    }
    put_between(b, j, from, end);
}

pst_err_t pst_openrouter_read(pst_openrouter_reader_t *r, pst_view_t element, const pst_openrouter_submit_t *s,
                              pst_openrouter_request_t *ret)
{
    pst_arena_clear(&r->arena);
    pst_buf_clear(&r->body);
    pst_err_t e = pst_json_parse(&r->json, element, NULL);
    if (e == PST_E_NOMEM)
        return e;
    if (e || !pst_json_is(&r->json, 0, PST_JSON_OBJECT)) {
        *ret = (pst_openrouter_request_t){.whole = element};
        return PST_OK;
    }
    uint32_t body = pst_json_get(&r->json, 0, "body");
    pst_openrouter_request_t q = {.custom_id = pst_json_raw(&r->json, pst_json_get(&r->json, 0, "custom_id")),
                                  .body = pst_json_raw(&r->json, body)};
    if (pst_json_is(&r->json, body, PST_JSON_OBJECT)) {
        put_body(r, body, s);
        if (r->body.failed)
            return PST_E_NOMEM;
        q.body = pst_buf_view(&r->body);
    }
    *ret = q;
    return PST_OK;
}

/* A line feed in JSON stands between its parts: a string has none. */
static void put_one_line(pst_buf_t *b, pst_view_t v)
{
    while (v.n) {
        size_t n = 0;
        while (n < v.n && v.p[n] != '\n' && v.p[n] != '\r')
            n++;
        pst_buf_put(b, v.p, n);
        if (n < v.n) {
            pst_buf_putc(b, ' ');
            n++;
        }
        v = pst_view(v.p + n, v.n - n);
    }
}

void pst_openrouter_put_element(pst_buf_t *out, pst_view_t element)
{
    put_one_line(out, element);
    LIT(out, "\n");
}

void pst_openrouter_put_line(pst_buf_t *out, const pst_openrouter_request_t *q, pst_view_t url)
{
    if (q->whole.n) {
        pst_openrouter_put_element(out, q->whole);
        return;
    }
    LIT(out, "{");
    if (q->custom_id.n) {
        LIT(out, "\"custom_id\":");
        put_one_line(out, q->custom_id);
        LIT(out, ",");
    }
    LIT(out, "\"method\":\"POST\",\"url\":");
    pst_json_put_str(out, url);
    if (q->body.n) {
        LIT(out, ",\"body\":");
        put_one_line(out, q->body);
    }
    LIT(out, "}\n");
}

/* ---- a batch ----------------------------------------------------------------------------------- */

static void put_time(pst_buf_t *b, const char *key, uint64_t ms)
{
    if (ms)
        pst_member_uint(b, key, ms / 1000);
    else
        pst_member_str(b, key, NULL);
}

/* OpenRouter has a window always.  Without one of its own a batch has until it expires. */
static void put_window(pst_buf_t *b, const pst_batch_t *x)
{
    uint64_t s = x->window_s;
    if (s == 0 && x->expires_ms > x->created_ms)
        s = (x->expires_ms - x->created_ms) / 1000;
    pst_json_put_key(b, "completion_window");
    bool hours = s % 3600 == 0;
    pst_buf_printf(b, "\"%llu%c\"", (unsigned long long)(hours ? s / 3600 : s), hours ? 'h' : 's');
}

typedef const char *name_of_fn(const pst_endpoint_line_t *e);

static const char *provider_of(const pst_endpoint_line_t *e)
{
    return e->provider;
}

static const char *model_of(const pst_endpoint_line_t *e)
{
    return e->model;
}

/* What all endpoints that were called have in common; NULL: nothing, or none was. */
static const char *common(const pst_batch_t *x, name_of_fn *name_of)
{
    const char *name = x->endpoints_n ? name_of(&x->endpoints[0]) : NULL;
    for (size_t i = 1; i < x->endpoints_n; i++) {
        if (strcmp(name, name_of(&x->endpoints[i])) != 0)
            return NULL;
    }
    return name;
}

/* All calls are made with the operator's own keys. */
static void put_usage(pst_buf_t *b, const pst_batch_t *x)
{
    pst_json_put_key(b, "usage");
    LIT(b, "{");
    pst_member_uint(b, "prompt_tokens", x->input_tokens);
    pst_member_uint(b, "completion_tokens", x->output_tokens);
    pst_member_uint(b, "total_tokens", x->input_tokens + x->output_tokens);
    pst_member_usd(b, "cost", x->cost_usd);
    LIT(b, ",\"is_byok\":true}");
}

/* Only a batch of which nothing came of has one. */
static void put_batch_error(pst_buf_t *b, const pst_batch_t *x, const char *error)
{
    pst_json_put_key(b, "error");
    if (strcmp(x->status, "failed") != 0) {
        LIT(b, "null");
        return;
    }
    if (error) {
        LIT(b, "{");
        pst_member_str(b, "message", error);
        LIT(b, "}");
        return;
    }
    LIT(b, "{\"message\":\"No request of this batch completed");
    for (size_t i = 0; i < x->causes_n; i++)
        pst_buf_printf(b, "%s%s: %llu", i ? ", " : ": ", x->causes[i].error_type, (unsigned long long)x->causes[i].n);
    LIT(b, ".\"}");
}

void pst_openrouter_put_batch(pst_buf_t *out, const pst_batch_t *x, const pst_openrouter_about_t *about, bool open)
{
    const char *model = about->model ? about->model : common(x, model_of);
    LIT(out, "{");
    pst_member_str(out, "id", x->id);
    pst_member_str(out, "object", "batch");
    pst_member_str(out, "endpoint", about->endpoint ? about->endpoint : endpoints[0]);
    pst_member_str(out, "model", model ? model : "");
    pst_member_str(out, "provider", common(x, provider_of));
    put_window(out, x);
    pst_member_str(out, "status", x->status);
    put_time(out, "created_at", x->created_ms);
    put_time(out, "expires_at", x->expires_ms);
    put_time(out, "finalized_at", x->ended ? x->ended_ms : 0); /* known a moment before all is stored */
    pst_batch_put_counts(out, x, x->failed + x->expired + x->cancelled);
    put_usage(out, x);
    pst_json_put_key(out, "metadata");
    pst_buf_puts(out, x->metadata && *x->metadata ? x->metadata : "null");
    put_batch_error(out, x, about->error);
    pst_json_put_key(out, "results");
    pst_buf_puts(out, open ? "[" : "null}");
}

void pst_openrouter_put_end(pst_buf_t *out)
{
    LIT(out, "]}");
}

/* In a list nobody is told which endpoints a batch went to: pst_batch_list does not ask. */
void pst_openrouter_put_list(pst_buf_t *out, const pst_batch_list_t *l, const pst_openrouter_about_t *about)
{
    LIT(out, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < l->n; i++) {
        pst_json_put_comma(out);
        pst_openrouter_put_batch(out, &l->v[i], &about[i], false);
    }
    LIT(out, "]");
    pst_member_str(out, "first_id", l->n ? l->v[0].id : NULL);
    pst_member_str(out, "last_id", l->n ? l->v[l->n - 1].id : NULL);
    pst_json_put_key(out, "has_more");
    pst_buf_puts(out, l->more ? "true}" : "false}");
}

/* ---- results ----------------------------------------------------------------------------------- */

/* As it stands. */
static void put_raw(pst_buf_t *b, const pst_json_t *j, uint32_t t)
{
    if (t == PST_JSON_NONE)
        LIT(b, "null");
    else
        pst_buf_putv(b, pst_json_raw(j, t));
}

static uint32_t text_or_none(const pst_json_t *j, uint32_t t)
{
    return pst_json_is(j, t, PST_JSON_STRING) ? t : PST_JSON_NONE;
}

/* Why there is no response: `type` and `message` in the words of the provider that answered, where one did, `error_type`
 * in OpenRouter's (or ours: batch_expired …).  The type of an error that no provider made is its error_type. */
static void put_why(pst_buf_t *b, const pst_json_t *j, uint32_t response)
{
    bool answered = pst_json_is(j, response, PST_JSON_OBJECT);
    uint32_t said = answered ? pst_json_path(j, response, "body", "error", NULL) : pst_json_get(j, 0, "error");
    uint32_t cause = text_or_none(j, pst_json_path(j, 0, "penstock", "error_type", NULL));
    uint32_t type = text_or_none(j, pst_json_get(j, said, "type"));
    uint32_t message = text_or_none(j, pst_json_get(j, said, "message"));
    LIT(b, "{\"type\":");
    put_raw(b, j, type != PST_JSON_NONE ? type : cause);
    LIT(b, ",\"message\":");
    if (message != PST_JSON_NONE) {
        put_raw(b, j, message);
    } else {
        pst_view_t status = pst_json_raw(j, pst_json_get(j, response, "status_code"));
        pst_buf_printf(b, "\"The provider answered with status %.*s.\"", (int)status.n, status.n ? status.p : "");
    }
    LIT(b, ",\"param\":");
    put_raw(b, j, text_or_none(j, pst_json_get(j, said, "param")));
    LIT(b, ",\"error_type\":");
    put_raw(b, j, cause);
    LIT(b, "}");
}

static bool is_result(const pst_json_t *j)
{
    return pst_json_is(j, pst_json_get(j, 0, "id"), PST_JSON_STRING) &&
           pst_json_is(j, pst_json_path(j, 0, "penstock", "status", NULL), PST_JSON_STRING);
}

pst_err_t pst_openrouter_put_result(pst_openrouter_reader_t *r, pst_view_t line, bool first, pst_buf_t *out)
{
    const pst_json_t *j = &r->json;
    pst_err_t e = pst_json_parse(&r->json, line, NULL);
    if (e || !is_result(j))
        return e ? e : PST_E_INVALID;
    pst_view_t status = pst_json_raw(j, pst_json_path(j, 0, "penstock", "status", NULL));
    uint32_t response = pst_json_get(j, 0, "response");
    bool completed = pst_view_eqs(status, "\"completed\"");
    pst_buf_puts(out, first ? "{\"id\":" : ",{\"id\":");
    put_raw(out, j, pst_json_get(j, 0, "id"));
    LIT(out, ",\"custom_id\":");
    put_raw(out, j, pst_json_get(j, 0, "custom_id"));
    LIT(out, ",\"response\":");
    put_raw(out, j, completed ? response : PST_JSON_NONE);
    LIT(out, ",\"error\":");
    if (completed)
        LIT(out, "null");
    else
        put_why(out, j, response);
    LIT(out, ",\"penstock\":");
    put_raw(out, j, pst_json_get(j, 0, "penstock"));
    LIT(out, "}");
    return PST_OK;
}

/* ---- errors ------------------------------------------------------------------------------------ */

void pst_openrouter_put_error(pst_buf_t *out, int status, pst_view_t message, pst_view_t metadata)
{
    pst_buf_printf(out, "{\"error\":{\"code\":%d,\"message\":", status);
    pst_json_put_str(out, message);
    if (metadata.n) {
        pst_json_put_key(out, "metadata");
        pst_buf_putv(out, metadata);
    }
    LIT(out, "}}");
}
