#include "lib/render.h"

#include "base/json.h"
#include "lib/text.h"

#define LIT(b, s) pst_buf_put(b, s, sizeof s - 1)

static void put_id(pst_buf_t *b, const char *batch, uint32_t index)
{
    pst_buf_put(b, batch, strlen(batch));
    pst_buf_putc(b, '.');
    pst_text_uint(b, index);
}

static void put_custom_id(pst_buf_t *b, pst_view_t id)
{
    LIT(b, ",\"custom_id\":");
    if (id.p)
        pst_json_put_str(b, id);
    else
        LIT(b, "null");
}

/* The provider's own request id, or one that names the job. */
static void put_response(pst_buf_t *b, const char *batch, const pst_result_t *r, pst_view_t body)
{
    LIT(b, ",\"response\":{\"status_code\":");
    pst_text_uint(b, r->http_status);
    LIT(b, ",\"request_id\":");
    if (r->request_id.n > 0) {
        pst_json_put_str(b, r->request_id);
    } else {
        LIT(b, "\"req_");
        put_id(b, batch, r->index);
        LIT(b, "\"");
    }
    LIT(b, ",\"body\":");
    if (body.n > 0)
        pst_buf_putv(b, body);
    else
        LIT(b, "null");
    LIT(b, "},\"error\":null");
}

static pst_view_t cause_of(const pst_result_t *r)
{
    const char *text = pst_cause_text(r->cause);
    return pst_view_str(text && *text ? text : "server");
}

static void put_error(pst_buf_t *b, const pst_result_t *r)
{
    LIT(b, ",\"response\":null,\"error\":{\"code\":");
    pst_json_put_str(b, cause_of(r));
    LIT(b, ",\"message\":");
    pst_json_put_str(b, r->message);
    LIT(b, "}");
}

static void put_endpoint(pst_buf_t *b, const pst_result_pack_t *p, uint16_t endpoint)
{
    LIT(b, ",\"provider\":");
    if (endpoint >= p->endpoints_n) {
        LIT(b, "null,\"model\":null");
        return;
    }
    pst_json_put_str(b, p->endpoints[endpoint].provider);
    LIT(b, ",\"model\":");
    pst_json_put_str(b, p->endpoints[endpoint].model);
}

static void put_attempt(pst_buf_t *b, const pst_result_pack_t *p, const pst_attempt_t *a)
{
    LIT(b, "{\"provider\":");
    if (a->endpoint < p->endpoints_n)
        pst_json_put_str(b, p->endpoints[a->endpoint].provider);
    else
        LIT(b, "null");
    LIT(b, ",\"status\":");
    if (a->http_status)
        pst_text_uint(b, a->http_status);
    else
        LIT(b, "null");
    const char *cause = pst_cause_text(a->cause);
    if (cause && *cause) {
        LIT(b, ",\"error_type\":");
        pst_json_put_str(b, pst_view_str(cause));
    }
    LIT(b, ",\"latency_ms\":");
    pst_text_uint(b, a->latency_ms);
    LIT(b, "}");
}

/* What the body asked for and the request went without. */
static void put_dropped(pst_buf_t *b, uint32_t dropped)
{
    static const struct {
        uint32_t bit;
        const char *name;
    } params[] = {
#define X(name, bit, text) {1u << (bit), text},
        PST_PARAM_LIST(X)
#undef X
    };
    if (!(dropped & PST_PARAMS_ALL))
        return;
    LIT(b, ",\"dropped\":[");
    for (size_t i = 0; i < PST_COUNT(params); i++) {
        if (!(dropped & params[i].bit))
            continue;
        pst_json_put_comma(b);
        pst_json_put_str(b, pst_view_str(params[i].name));
    }
    LIT(b, "]");
}

static void put_account(pst_buf_t *b, const pst_result_pack_t *p, const pst_result_t *r)
{
    const char *status = pst_job_status_text(r->status);
    LIT(b, ",\"penstock\":{\"status\":\"");
    pst_buf_puts(b, status ? status : "failed");
    LIT(b, "\"");
    put_endpoint(b, p, r->endpoint);
    LIT(b, ",\"cost_usd\":");
    pst_text_usd(b, r->cost_nano);
    LIT(b, ",\"queued_ms\":");
    pst_text_uint(b, r->queued_ms);
    LIT(b, ",\"latency_ms\":");
    pst_text_uint(b, r->latency_ms);
    LIT(b, ",\"attempts\":[");
    for (uint32_t i = 0; i < r->attempts_n; i++) {
        if (i > 0)
            LIT(b, ",");
        put_attempt(b, p, &r->attempts[i]);
    }
    LIT(b, "]");
    put_dropped(b, r->dropped);
    if (r->cause != PST_CAUSE_NONE) {
        LIT(b, ",\"error_type\":");
        pst_json_put_str(b, cause_of(r));
    }
    if (r->line > 0) {
        LIT(b, ",\"line\":");
        pst_text_uint(b, r->line);
    }
    LIT(b, "}");
}

void pst_render_line(const char *batch, const pst_result_pack_t *pack, const pst_result_t *r, pst_view_t body,
                     pst_buf_t *out)
{
    LIT(out, "{\"id\":\"");
    put_id(out, batch, r->index);
    LIT(out, "\"");
    put_custom_id(out, r->custom_id);
    if (r->http_status)
        put_response(out, batch, r, body);
    else
        put_error(out, r);
    put_account(out, pack, r);
    LIT(out, "}");
}

void pst_render_state(const char *batch, const pst_msg_job_t *job, pst_buf_t *out)
{
    static const char *const names[] = {[PST_STATE_QUEUED] = "queued", [PST_STATE_RUNNING] = "running",
                                        [PST_STATE_RETRYING] = "retrying"};
    LIT(out, "{\"status\":\"");
    pst_buf_puts(out, job->state < PST_COUNT(names) ? names[job->state] : "queued");
    LIT(out, "\",\"id\":\"");
    put_id(out, batch, job->index);
    LIT(out, "\",\"attempts\":");
    pst_text_uint(out, job->attempts);
    if (job->due_wall_ms) {
        LIT(out, ",\"retry_at\":");
        pst_text_uint(out, job->due_wall_ms / 1000);
    }
    LIT(out, "}");
}
