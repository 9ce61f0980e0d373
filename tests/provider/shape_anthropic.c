#include "shape.h"

#include <stdio.h>
#include <time.h>

/* Small limits are told exactly: rounded to thousands they would read as "nothing left". */
#define ROUNDED_FROM 100000.0

static void put_allowance(const sim_call_t *c, const char *unit, const sim_allowance_t *a,
                          pst_buf_t *b)
{
    if (a->limit <= 0)
        return;
    time_t reset = (time_t)((c->wall + a->reset + PST_SEC - 1) / PST_SEC);
    struct tm tm;
    char when[32];
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&reset, &tm));
    double left = a->left;
    if (unit[0] == 't' && a->limit >= ROUNDED_FROM)
        left = (double)(uint64_t)(left / 1000 + 0.5) * 1000;
    pst_buf_printf(
        b,
        "anthropic-ratelimit-%s-limit: %.0f\r\nanthropic-ratelimit-%s-remaining: %.0f\r\n"
        "anthropic-ratelimit-%s-reset: %s\r\n",
        unit, a->limit, unit, left, unit, when);
}

static void headers(const sim_call_t *c, pst_buf_t *b)
{
    pst_buf_printf(b, "request-id: req_%024llx\r\n", (unsigned long long)c->id);
    put_allowance(c, "requests", &c->grant.requests, b);
    put_allowance(c, "tokens", &c->grant.tokens, b);
}

static void put_block(const sim_call_t *c, pst_buf_t *b)
{
    if (c->tool) {
        pst_buf_printf(b,
                       "{\"type\":\"tool_use\",\"id\":\"toolu_%024llx\",\"name\":\"" SIM_TOOL_NAME
                       "\","
                       "\"input\":" SIM_TOOL_ARGS "}",
                       (unsigned long long)c->id);
        return;
    }
    pst_buf_puts(b, "{\"type\":\"text\",\"text\":");
    sim_put_echo(c, b);
    pst_buf_putc(b, '}');
}

static const char *stop_reason(const sim_call_t *c)
{
    static const char *const stops[] = {"end_turn", "max_tokens", "refusal"};
    return c->tool ? "tool_use" : stops[c->finish];
}

static void answer(const sim_call_t *c, pst_buf_t *b)
{
    pst_buf_printf(b,
                   "{\"id\":\"msg_%024llx\",\"type\":\"message\",\"role\":\"assistant\",\"model\":",
                   (unsigned long long)c->id);
    sim_js_put(b, c->model);
    pst_buf_puts(b, ",\"content\":[");
    if (!c->empty)
        put_block(c, b);
    pst_buf_printf(
        b,
        "],\"stop_reason\":\"%s\",\"stop_sequence\":null,\"usage\":{\"input_tokens\":%llu,"
        "\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\"output_tokens\":%llu,"
        "\"service_tier\":\"standard\"}}",
        stop_reason(c), (unsigned long long)c->input_tokens,
        (unsigned long long)c->output_tokens);
}

/* ---- as events ---- */

static void put_event(pst_buf_t *b, const char *type, const char *rest)
{
    pst_buf_printf(b, "event: %s\ndata: {\"type\":\"%s\"%s}\n\n", type, type, rest);
}

static void put_start(const sim_call_t *c, pst_buf_t *b)
{
    pst_buf_printf(b,
                   "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_%024llx\","
                   "\"type\":\"message\",\"role\":\"assistant\",\"model\":",
                   (unsigned long long)c->id);
    sim_js_put(b, c->model);
    pst_buf_printf(b,
                   ",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":%llu,"
                   "\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\"output_tokens\":1}}}\n\n",
                   (unsigned long long)c->input_tokens);
}

static void put_part(const sim_call_t *c, pst_view_t part, pst_buf_t *b)
{
    (void)c;
    pst_buf_puts(b, "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,"
                    "\"delta\":{\"type\":\"text_delta\",\"text\":\"");
    pst_buf_putv(b, part);
    pst_buf_puts(b, "\"}}\n\n");
}

static void put_call_events(const sim_call_t *c, pst_buf_t *b)
{
    pst_buf_printf(b,
                   "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":"
                   "{\"type\":\"tool_use\",\"id\":\"toolu_%024llx\",\"name\":\"" SIM_TOOL_NAME "\",\"input\":{}}}\n\n",
                   (unsigned long long)c->id);
    put_event(b, "content_block_delta",
              ",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"city\\\":\"}");
    put_event(b, "content_block_delta",
              ",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"\\\"Paris\\\"}\"}");
}

static bool put_block_events(const sim_call_t *c, pst_buf_t *b)
{
    static const char error_event[] = "event: error\ndata: {\"type\":\"error\",\"error\":"
                                      "{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    if (c->tool) {
        put_call_events(c, b);
    } else {
        put_event(b, "content_block_start", ",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}");
        put_event(b, "ping", "");
        if (!sim_put_parts(c, b, put_part, error_event))
            return false;
    }
    put_event(b, "content_block_stop", ",\"index\":0");
    return true;
}

static void stream(const sim_call_t *c, pst_buf_t *b)
{
    put_start(c, b);
    if (!c->empty && !put_block_events(c, b))
        return;
    pst_buf_printf(b,
                   "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"%s\","
                   "\"stop_sequence\":null},\"usage\":{\"output_tokens\":%llu}}\n\n",
                   stop_reason(c), (unsigned long long)c->output_tokens);
    if (c->spoil != SIM_NO_END)
        put_event(b, "message_stop", "");
}

#define INVALID "invalid_request_error"

static const struct {
    int status;
    const char *type, *message;
} rows[] = {
    [SIM_BAD_REQUEST] = {400, INVALID, "The request was refused as invalid."},
    [SIM_NOT_JSON] = {400, INVALID, "The request body is not valid JSON."},
    [SIM_NO_MODEL] = {400, INVALID, "model: Field required"},
    [SIM_NO_CONTENT] = {400, INVALID, "messages: Field required"},
    [SIM_NO_MAX_TOKENS] = {400, INVALID, "max_tokens: Field required"},
    [SIM_NO_VERSION] = {400, INVALID, "anthropic-version: header is required"},
    [SIM_STREAM] = {400, INVALID, "stream: Streaming is not simulated."},
    [SIM_NO_KEY] = {401, "authentication_error", "x-api-key header is required"},
    [SIM_BAD_KEY] = {401, "authentication_error", "invalid x-api-key"},
    [SIM_CREDIT] =
        {402, "billing_error",
         "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing "
         "to upgrade or purchase credits."},
    [SIM_UNKNOWN_MODEL] = {404, "not_found_error", "model: {model}"},
    [SIM_UNKNOWN_URL] = {404, "not_found_error", "Not found"},
    [SIM_WRONG_METHOD] = {405, INVALID, "Method Not Allowed"},
    [SIM_CONTEXT] = {400, INVALID, "prompt is too long: {input} tokens > 8192 maximum"},
    [SIM_POLICY] = {400, INVALID, "Output blocked by content filtering policy"},
    [SIM_QUOTA] = {429, "rate_limit_error",
                   "The organization has reached its monthly API usage threshold."},
    [SIM_RATE] =
        {429, "rate_limit_error",
         "This request would exceed your organization's rate limit of {limit} {unit} per minute "
         "(model: {model}). Please try again later."},
    [SIM_CROWD] =
        {429, "rate_limit_error",
         "Number of concurrent connections has exceeded your rate limit. Please try again later."},
    [SIM_OVERLOAD] = {529, "overloaded_error", "Overloaded"},
    [SIM_SERVER] = {500, "api_error", "Internal server error"},
};

static int error(const sim_call_t *c, const sim_error_t *e, pst_buf_t *head, pst_buf_t *b)
{
    pst_buf_printf(b, "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":",
                   e->status == 504 ? "timeout_error" : rows[e->trouble].type);
    sim_put_message(c, e, rows[e->trouble].message, b);
    if (e->trouble == SIM_QUOTA)
        pst_buf_puts(b, ",\"details\":{\"error_code\":\"enforced_spend_limit_reached\"}");
    pst_buf_printf(b, "},\"request_id\":\"req_%024llx\"}", (unsigned long long)c->id);
    if (e->trouble != SIM_OVERLOAD)
        sim_put_retry_after(e->wait, head);
    return e->trouble == SIM_SERVER ? e->status : rows[e->trouble].status;
}

const sim_shape_t sim_anthropic = {headers, answer, error, stream, 1u << SIM_MESSAGES};
