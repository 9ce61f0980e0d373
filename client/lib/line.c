#include "lib/line.h"

#include <stdio.h>

#include "lib/routing.h"

#define ARENA_BYTES_MAX ((size_t)256 << 10)

void pst_line_reader_init(pst_line_reader_t *r, pst_view_t model)
{
    *r = (pst_line_reader_t){.model = model, .prefix_min = PST_PREFIX_BYTES_MIN, .prefix_max = PST_PREFIX_BYTES_MAX};
    pst_json_init(&r->json);
    pst_arena_init(&r->arena, ARENA_BYTES_MAX);
    pst_buf_init(&r->route, PST_HEADERS_BYTES_MAX);
    pst_buf_init(&r->route_model, 0);
}

void pst_line_reader_release(pst_line_reader_t *r)
{
    pst_json_release(&r->json);
    pst_arena_release(&r->arena);
    pst_buf_release(&r->route);
    pst_buf_release(&r->route_model);
    pst_body_memory_release(&r->memory);
}

/* The route remembered may be one that the other may not have. */
void pst_line_reader_rule(pst_line_reader_t *r, const pst_line_rule_t *rule)
{
    r->rule = rule;
    pst_buf_clear(&r->route_model);
}

static pst_err_t fault(pst_line_fault_t *f, pst_cause_t code, const char *fmt, ...) PST_PRINTF(3, 4);
static pst_err_t fault(pst_line_fault_t *f, pst_cause_t code, const char *fmt, ...)
{
    f->code = code;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(f->message, sizeof f->message, fmt, ap);
    va_end(ap);
    return PST_E_INPUT;
}

static pst_err_t missing(pst_line_fault_t *f, const char *what)
{
    return fault(f, PST_CAUSE_LINE_MISSING, "Missing required parameter: '%s'.", what);
}

static pst_err_t parse(pst_line_reader_t *r, pst_view_t text, pst_line_fault_t *f)
{
    pst_arena_clear(&r->arena);
    size_t at = 0;
    pst_err_t e = pst_json_parse(&r->json, text, &at);
    if (e == PST_E_INVALID)
        return fault(f, PST_CAUSE_LINE_JSON, "This line is not parseable as valid JSON (at byte %zu of it).", at + 1);
    return e;
}

typedef struct members {
    uint32_t custom_id, method, url, body; /* tokens or PST_JSON_NONE */
} members_t;

static void find_members(const pst_json_t *j, pst_arena_t *a, members_t *m)
{
    *m = (members_t){PST_JSON_NONE, PST_JSON_NONE, PST_JSON_NONE, PST_JSON_NONE};
    struct {
        pst_view_t name;
        uint32_t *at;
    } table[] = {
        {PST_VIEW_LIT("custom_id"), &m->custom_id},
        {PST_VIEW_LIT("method"), &m->method},
        {PST_VIEW_LIT("url"), &m->url},
        {PST_VIEW_LIT("body"), &m->body},
    };
    for (uint32_t k = pst_json_first(j, 0); k != PST_JSON_NONE; k = pst_json_after(j, 0, k)) {
        pst_view_t key = pst_json_str(j, k, a);
        for (size_t i = 0; i < PST_COUNT(table); i++) {
            if (pst_view_eq(key, table[i].name) && *table[i].at == PST_JSON_NONE)
                *table[i].at = k + 1;
        }
    }
}

static pst_err_t read_custom_id(pst_line_reader_t *r, uint32_t t, pst_view_t *ret, pst_line_fault_t *f)
{
    if (t == PST_JSON_NONE || pst_json_is(&r->json, t, PST_JSON_NULL))
        return missing(f, "custom_id");
    if (!pst_json_is(&r->json, t, PST_JSON_STRING))
        return fault(f, PST_CAUSE_LINE_MISSING, "custom_id must be a string.");
    /* An escape takes at most six bytes a byte, which bounds what is decoded. */
    pst_view_t v = pst_view(NULL, 0);
    bool longer = pst_json_raw(&r->json, t).n > 6 * PST_CUSTOM_ID_BYTES_MAX + 2;
    if (!longer)
        v = pst_json_str(&r->json, t, &r->arena);
    if (longer || v.n > PST_CUSTOM_ID_BYTES_MAX)
        return fault(f, PST_CAUSE_LINE_MISSING, "custom_id is longer than %d bytes.", PST_CUSTOM_ID_BYTES_MAX);
    if (v.n == 0)
        return fault(f, PST_CAUSE_LINE_MISSING, "custom_id is empty.");
    *ret = v;
    return PST_OK;
}

static pst_err_t check_method(const pst_json_t *j, uint32_t t, pst_line_fault_t *f)
{
    if (t == PST_JSON_NONE || pst_view_eqs(pst_json_raw(j, t), "\"POST\""))
        return PST_OK;
    return fault(f, PST_CAUSE_LINE_METHOD, "method must be POST.");
}

static pst_err_t read_url(pst_line_reader_t *r, uint32_t t, pst_url_t *ret, pst_line_fault_t *f)
{
    *ret = PST_URL_CHAT;
    if (t == PST_JSON_NONE)
        return PST_OK;
    int url = pst_url_parse(pst_json_str(&r->json, t, &r->arena));
    if (url < 0)
        return fault(f, PST_CAUSE_LINE_URL,
                     "The URL provided for this request is not served: use %s, %s, %s or %s.",
                     pst_url_text(PST_URL_CHAT), pst_url_text(PST_URL_RESPONSES), pst_url_text(PST_URL_EMBEDDINGS),
                     pst_url_text(PST_URL_COMPLETIONS));
    *ret = (pst_url_t)url;
    return PST_OK;
}

/* The model, as it stood, if of all that pst_routing_read looks at the body has nothing else. */
static pst_view_t lone_model(const pst_body_t *b)
{
    uint32_t model = b->at[PST_BODY_MODEL];
    bool lone = b->at[PST_BODY_MODELS] == PST_JSON_NONE && b->at[PST_BODY_PROVIDER] == PST_JSON_NONE;
    bool plain = pst_json_is(b->json, model, PST_JSON_STRING) && !b->json->tok[model].escaped;
    return lone && plain ? pst_json_raw(b->json, model) : pst_view(NULL, 0);
}

/* Routes are read, encoded and asked about once for a row of jobs of the same model. */
static bool routed_as_before(const pst_line_reader_t *r, pst_view_t lone, uint32_t params)
{
    return lone.n > 0 && params == r->route_params && pst_view_eq(lone, pst_buf_view(&r->route_model));
}

/* Its providers alone are left of what the route may go to. */
static bool keep_allowed(const pst_line_rule_t *rule, pst_arena_t *a, pst_names_t *only)
{
    uint32_t n = 0;
    pst_view_t *all = only->n ? only->v : pst_arena_get(a, rule->providers_n * sizeof *all);
    for (uint32_t i = 0; i < only->n; i++) {
        if (rule->allows_provider(rule->arg, all[i]))
            all[n++] = all[i];
    }
    for (uint32_t i = 0; only->n == 0 && all && i < rule->providers_n; i++)
        all[n++] = pst_view_str(rule->providers[i]);
    *only = (pst_names_t){.v = all, .n = n};
    return n > 0;
}

static pst_err_t apply_rule(pst_line_reader_t *r, pst_route_t *route, pst_line_fault_t *f)
{
    const pst_line_rule_t *rule = r->rule;
    for (uint32_t i = 0; i < route->models.n; i++) {
        pst_view_t model = route->models.v[i];
        if (!rule->allows_model(rule->arg, model))
            return fault(f, PST_CAUSE_LINE_MODEL, "Your API key does not have access to the model '%.*s'.",
                         (int)PST_MIN(model.n, 120u), model.p);
    }
    if (rule->providers_n > 0 && !keep_allowed(rule, &r->arena, &route->only))
        return fault(f, PST_CAUSE_LINE_ROUTING, "Your API key does not have access to any provider that is asked for.");
    return PST_OK;
}

static pst_err_t read_route(pst_line_reader_t *r, const pst_body_t *b, uint32_t params, pst_line_job_t *ret,
                            pst_line_fault_t *f)
{
    pst_view_t lone = lone_model(b), why;
    ret->route_again = routed_as_before(r, lone, params);
    if (ret->route_again) {
        ret->model = pst_view(lone.p + 1, r->route_name);
    } else {
        pst_route_t route;
        pst_cause_t cause = pst_routing_read(b, r->model, &r->arena, &route, &why);
        if (cause != PST_CAUSE_NONE)
            return fault(f, cause, "%.*s", (int)why.n, why.p ? why.p : "");
        pst_err_t e = r->rule ? apply_rule(r, &route, f) : PST_OK;
        if (e)
            return e;
        route.params = params;
        ret->model = route.models.v[0];
        pst_buf_clear(&r->route);
        pst_route_encode(&route, &r->route);
        pst_buf_clear(&r->route_model);
        pst_buf_putv(&r->route_model, lone);
        r->route_params = params;
        r->route_name = ret->model.n;
    }
    ret->route = pst_buf_view(&r->route);
    return r->route.failed || r->route_model.failed ? PST_E_NOMEM : PST_OK;
}

/* Everything of the job that its body says. */
static pst_err_t read_body(pst_line_reader_t *r, uint32_t t, pst_line_job_t *ret, pst_line_fault_t *f)
{
    pst_body_t body;
    pst_body_scan(&body, &r->json, t, &r->arena, &r->memory);
    ret->stream = pst_json_is(&r->json, body.at[PST_BODY_STREAM], PST_JSON_TRUE);
    if (ret->stream && !r->streams)
        return fault(f, PST_CAUSE_LINE_STREAM, "Streaming is not supported in a batch: leave out body.stream.");
    uint32_t params = pst_body_params(&body);
    ret->input_tokens = pst_body_input_tokens(&body, &params);
    ret->output_tokens = pst_body_output_tokens(&body);
    ret->prefix = pst_body_prefix(&body, r->prefix_min, r->prefix_max);
    ret->body = pst_json_raw(&r->json, t);
    return read_route(r, &body, params, ret, f);
}

pst_err_t pst_line_read(pst_line_reader_t *r, pst_view_t text, pst_line_job_t *ret, pst_line_fault_t *f)
{
    *f = (pst_line_fault_t){.code = PST_CAUSE_NONE};
    pst_err_t e = parse(r, text, f);
    if (e)
        return e;
    if (!pst_json_is(&r->json, 0, PST_JSON_OBJECT))
        return fault(f, PST_CAUSE_LINE_JSON, "This line is not a JSON object.");
    members_t m;
    find_members(&r->json, &r->arena, &m);
    if ((e = read_custom_id(r, m.custom_id, &f->custom_id, f)))
        return e;
    ret->custom_id = f->custom_id;
    if ((e = check_method(&r->json, m.method, f)) || (e = read_url(r, m.url, &ret->url, f)))
        return e;
    if (m.body == PST_JSON_NONE)
        return missing(f, "body");
    if (!pst_json_is(&r->json, m.body, PST_JSON_OBJECT))
        return fault(f, PST_CAUSE_LINE_BODY, "body must be a JSON object.");
    return read_body(r, m.body, ret, f);
}

pst_err_t pst_line_read_body(pst_line_reader_t *r, pst_view_t custom_id, pst_url_t url, pst_view_t body,
                             pst_line_job_t *ret, pst_line_fault_t *f)
{
    *f = (pst_line_fault_t){.code = PST_CAUSE_NONE};
    if (custom_id.n == 0 || custom_id.n > PST_CUSTOM_ID_BYTES_MAX)
        return fault(f, PST_CAUSE_LINE_MISSING, "custom_id must have 1 to %d bytes.", PST_CUSTOM_ID_BYTES_MAX);
    f->custom_id = ret->custom_id = custom_id;
    ret->url = url;
    pst_err_t e = parse(r, body, f);
    if (e)
        return e;
    if (!pst_json_is(&r->json, 0, PST_JSON_OBJECT))
        return fault(f, PST_CAUSE_LINE_BODY, "body must be a JSON object.");
    return read_body(r, 0, ret, f);
}
