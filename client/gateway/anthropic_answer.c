/* Answers: a chat completion, said as a Message, and errors. */
#include <stdio.h>

#include "gateway/anthropic_inside.h"
#include "lib/text.h"

#define ID_CHARS_MAX 128

/* ---- what streams need too ---- */

/* Theirs are letters, digits, - and _. */
void pst_anthropic_put_id(pst_buf_t *b, const pst_json_t *j, uint32_t id, pst_view_t fallback)
{
    static const char *const prefixes[] = {"msg_", "chatcmpl-"};
    pst_view_t v = pst_splice_has_text(j, id) ? pst_splice_inside(j, id) : fallback;
    for (size_t i = 0; i < PST_COUNT(prefixes); i++) {
        size_t n = strlen(prefixes[i]);
        if (v.n > n && memcmp(v.p, prefixes[i], n) == 0)
            v = pst_view(v.p + n, v.n - n);
    }
    pst_buf_puts(b, "\"msg_");
    for (size_t i = 0; i < PST_MIN(v.n, (size_t)ID_CHARS_MAX); i++) {
        char c = v.p[i];
        bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
        pst_buf_putc(b, ok ? c : '_');
    }
    pst_buf_putc(b, '"');
}

void pst_anthropic_put_model(pst_buf_t *b, const pst_json_t *j, uint32_t t)
{
    uint32_t model = pst_json_get(j, t, "model");
    if (pst_json_is(j, model, PST_JSON_STRING))
        pst_splice_put_member(b, "model", j, model);
    else
        pst_buf_puts(b, ",\"model\":\"\"");
}

/* Where the provider speaks Anthropic's words, they say more than OpenAI's that were made of them. */
const char *pst_anthropic_stop_reason(const pst_json_t *j, uint32_t choice)
{
    static const char *const theirs[] = {"end_turn",   "max_tokens", "stop_sequence",
                                         "tool_use",   "pause_turn", "refusal", "model_context_window_exceeded"};
    static const struct {
        const char *finish, *stop;
    } made[] = {{"length", "max_tokens"}, {"tool_calls", "tool_use"}, {"function_call", "tool_use"},
                {"content_filter", "refusal"}};
    uint32_t finish = pst_json_get(j, choice, "finish_reason");
    uint32_t native = pst_json_get(j, choice, "native_finish_reason");
    for (size_t i = 0; i < PST_COUNT(theirs); i++) {
        if (pst_splice_is(j, native, theirs[i]))
            return theirs[i];
    }
    for (size_t i = 0; i < PST_COUNT(made); i++) {
        if (pst_splice_is(j, finish, made[i].finish))
            return made[i].stop;
    }
    return pst_splice_has_text(j, finish) ? "end_turn" : NULL;
}

/* OpenAI's prompt_tokens are all of them. */
pst_anthropic_usage_t pst_anthropic_usage_of(const pst_json_t *j, uint32_t usage)
{
    uint32_t prompt = pst_json_get(j, usage, "prompt_tokens_details");
    uint32_t completion = pst_json_get(j, usage, "completion_tokens_details");
    pst_anthropic_usage_t u = {
        .cached = pst_splice_count(j, pst_json_get(j, prompt, "cached_tokens")),
        .cache_write = pst_splice_count(j, pst_json_get(j, prompt, "cache_write_tokens")),
        .output = pst_splice_count(j, pst_json_get(j, usage, "completion_tokens")),
        .reasoning = pst_splice_count(j, pst_json_get(j, completion, "reasoning_tokens")),
    };
    uint64_t all = pst_splice_count(j, pst_json_get(j, usage, "prompt_tokens"));
    u.cached = PST_MIN(u.cached, all);
    u.cache_write = PST_MIN(u.cache_write, all - u.cached);
    u.input = all - u.cached - u.cache_write;
    return u;
}

void pst_anthropic_put_usage(pst_buf_t *b, const pst_anthropic_usage_t *u)
{
    pst_json_put_key(b, "usage");
    pst_buf_putc(b, '{');
    pst_member_uint(b, "input_tokens", u->input);
    pst_member_uint(b, "cache_creation_input_tokens", u->cache_write);
    pst_member_uint(b, "cache_read_input_tokens", u->cached);
    pst_member_uint(b, "output_tokens", u->output);
    if (u->reasoning) {
        pst_buf_puts(b, ",\"output_tokens_details\":{");
        pst_member_uint(b, "thinking_tokens", u->reasoning);
        pst_buf_putc(b, '}');
    }
    pst_buf_putc(b, '}');
}

/* ---- content ---- */

static void put_text(pst_buf_t *b, const pst_json_t *j, uint32_t text)
{
    if (!pst_splice_has_text(j, text))
        return;
    pst_json_put_comma(b);
    pst_buf_puts(b, "{\"type\":\"text\"");
    pst_splice_put_member(b, "text", j, text);
    pst_buf_putc(b, '}');
}

/* A string, or parts of which some are text. */
static void put_texts(pst_buf_t *b, const pst_json_t *j, uint32_t content)
{
    put_text(b, j, content);
    if (!pst_json_is(j, content, PST_JSON_ARRAY))
        return;
    for (uint32_t t = pst_json_first(j, content); t != PST_JSON_NONE; t = pst_json_after(j, content, t))
        put_text(b, j, pst_json_get(j, t, "text"));
}

/* Nobody can check a signature that was not given: it is empty. */
static void put_thoughts(pst_buf_t *b, const pst_json_t *j, uint32_t message)
{
    uint32_t text = pst_json_get(j, message, "reasoning_content");
    if (!pst_splice_has_text(j, text))
        text = pst_json_get(j, message, "reasoning");
    if (!pst_splice_has_text(j, text))
        return;
    pst_buf_puts(b, "{\"type\":\"thinking\"");
    pst_splice_put_member(b, "thinking", j, text);
    pst_buf_puts(b, ",\"signature\":\"\"}");
}

static bool is_object(pst_json_t *inner, pst_view_t text)
{
    return text.n && pst_json_parse(inner, text, NULL) == PST_OK && pst_json_is(inner, 0, PST_JSON_OBJECT);
}

/* An object is asked for: what is none, as an answer that was cut off, goes under a name of its own. */
static void put_input(pst_anthropic_t *x, pst_buf_t *b, uint32_t arguments)
{
    const pst_json_t *j = &x->json;
    pst_view_t text = pst_json_str(j, arguments, &x->arena);
    pst_json_put_key(b, "input");
    if (pst_json_is(j, arguments, PST_JSON_OBJECT)) {
        pst_splice_put(b, j, arguments);
    } else if (is_object(&x->inner, text)) {
        pst_splice_put(b, &x->inner, 0);
    } else {
        pst_buf_putc(b, '{');
        if (text.n)
            pst_splice_put_text(b, "INVALID_JSON", text);
        pst_buf_putc(b, '}');
    }
}

static void put_call(pst_anthropic_t *x, pst_buf_t *b, uint32_t call, unsigned at)
{
    const pst_json_t *j = &x->json;
    uint32_t id = pst_json_get(j, call, "id"), function = pst_json_get(j, call, "function");
    uint32_t name = pst_json_get(j, function, "name");
    pst_json_put_comma(b);
    pst_buf_puts(b, "{\"type\":\"tool_use\"");
    if (pst_splice_has_text(j, id))
        pst_splice_put_member(b, "id", j, id);
    else
        pst_buf_printf(b, ",\"id\":\"toolu_%u\"", at);
    if (pst_json_is(j, name, PST_JSON_STRING))
        pst_splice_put_member(b, "name", j, name);
    else
        pst_buf_puts(b, ",\"name\":\"\"");
    put_input(x, b, pst_json_get(j, function, "arguments"));
    pst_buf_puts(b, ",\"caller\":" PST_ANTHROPIC_CALLER "}");
}

/* False if there are none. */
static bool put_calls(pst_anthropic_t *x, pst_buf_t *b, uint32_t message)
{
    uint32_t calls = pst_json_get(&x->json, message, "tool_calls");
    unsigned at = 0;
    if (!pst_json_is(&x->json, calls, PST_JSON_ARRAY))
        return false;
    for (uint32_t t = pst_json_first(&x->json, calls); t != PST_JSON_NONE; t = pst_json_after(&x->json, calls, t))
        put_call(x, b, t, at++);
    return at > 0;
}

/* ---- the message ---- */

pst_err_t pst_anthropic_put_message(pst_anthropic_t *x, uint32_t t, pst_view_t fallback_id, pst_buf_t *out)
{
    const pst_json_t *j = &x->json;
    uint32_t choices = pst_json_get(j, t, "choices");
    uint32_t choice = pst_json_is(j, choices, PST_JSON_ARRAY) ? pst_json_first(j, choices) : PST_JSON_NONE;
    uint32_t message = pst_json_get(j, choice, "message");
    if (!pst_json_is(j, message, PST_JSON_OBJECT))
        return PST_E_MALFORMED;
    uint32_t refusal = pst_json_get(j, message, "refusal");
    const char *why = pst_anthropic_stop_reason(j, choice);
    pst_anthropic_usage_t u = pst_anthropic_usage_of(j, pst_json_get(j, t, "usage"));
    pst_buf_puts(out, "{\"id\":");
    pst_anthropic_put_id(out, j, pst_json_get(j, t, "id"), fallback_id);
    pst_buf_puts(out, ",\"type\":\"message\",\"role\":\"assistant\"");
    pst_anthropic_put_model(out, j, t);
    pst_buf_puts(out, ",\"content\":[");
    put_thoughts(out, j, message);
    put_texts(out, j, pst_json_get(j, message, "content"));
    put_text(out, j, refusal);
    bool calls = put_calls(x, out, message);
    if (pst_splice_has_text(j, refusal))
        why = "refusal";
    else if (calls && (!why || strcmp(why, "end_turn") == 0))
        why = "tool_use"; /* some hosts say stop all the same */
    pst_buf_puts(out, "],\"stop_reason\":");
    pst_json_put_str(out, pst_view_str(why ? why : "end_turn"));
    pst_buf_puts(out, ",\"stop_sequence\":null");
    pst_anthropic_put_usage(out, &u);
    pst_buf_putc(out, '}');
    return out->failed ? PST_E_NOMEM : PST_OK;
}

pst_err_t pst_anthropic_answer(pst_anthropic_t *x, pst_view_t completion, pst_view_t fallback_id, pst_buf_t *out)
{
    pst_arena_clear(&x->arena);
    pst_err_t e = pst_json_parse(&x->json, completion, NULL);
    return e == PST_E_INVALID ? PST_E_MALFORMED : e ? e : pst_anthropic_put_message(x, 0, fallback_id, out);
}

/* ---- errors ---- */

const char *pst_anthropic_error_type(int status)
{
    static const struct {
        int from, to;
        const char *type;
    } types[] = {
        {401, 401, "authentication_error"}, {402, 402, "billing_error"},    {403, 403, "permission_error"},
        {404, 404, "not_found_error"},      {408, 408, "timeout_error"},    {413, 413, "request_too_large"},
        {429, 429, "rate_limit_error"},     {498, 498, "overloaded_error"}, {499, 499, "timeout_error"},
        {400, 499, "invalid_request_error"}, {503, 503, "overloaded_error"}, {504, 504, "timeout_error"},
        {529, 529, "overloaded_error"},
    };
    for (size_t i = 0; i < PST_COUNT(types); i++) {
        if (status >= types[i].from && status <= types[i].to)
            return types[i].type;
    }
    return "api_error";
}

int pst_anthropic_error_status(pst_view_t error_type)
{
    static const struct {
        pst_cause_t cause;
        int status;
    } known[] = {
        {PST_CAUSE_RATE_LIMIT, 429},      {PST_CAUSE_CONTEXT_LENGTH, 400},    {PST_CAUSE_CONTENT_POLICY, 400},
        {PST_CAUSE_AUTHENTICATION, 401},  {PST_CAUSE_PAYMENT_REQUIRED, 402},  {PST_CAUSE_PERMISSION_DENIED, 403},
        {PST_CAUSE_INVALID_REQUEST, 400}, {PST_CAUSE_NOT_FOUND, 404},         {PST_CAUSE_PAYLOAD_TOO_LARGE, 413},
        {PST_CAUSE_OVERLOADED, 529},      {PST_CAUSE_TIMEOUT, 504},           {PST_CAUSE_QUOTA, 429},
        {PST_CAUSE_BUDGET_EXCEEDED, 402}, {PST_CAUSE_NO_ENDPOINT, 404},       {PST_CAUSE_LINE_MODEL, 404},
        {PST_CAUSE_LINE_TOO_LONG, 413},   {PST_CAUSE_LINE_JSON, 400},         {PST_CAUSE_LINE_MISSING, 400},
        {PST_CAUSE_LINE_DUPLICATE, 400},  {PST_CAUSE_LINE_URL, 400},          {PST_CAUSE_LINE_METHOD, 400},
        {PST_CAUSE_LINE_BODY, 400},       {PST_CAUSE_LINE_STREAM, 400},       {PST_CAUSE_LINE_ROUTING, 400},
        {PST_CAUSE_UNAVAILABLE, 503},
    };
    for (size_t i = 0; i < PST_COUNT(known); i++) {
        if (pst_view_eqs(error_type, pst_cause_text(known[i].cause)))
            return known[i].status;
    }
    return 500;
}

void pst_anthropic_error(int status, pst_view_t message, pst_view_t request_id, pst_buf_t *out)
{
    pst_buf_puts(out, "{\"type\":\"error\",\"error\":{\"type\":");
    pst_json_put_str(out, pst_view_str(pst_anthropic_error_type(status)));
    pst_splice_put_text(out, "message", message);
    pst_buf_puts(out, "},\"request_id\":");
    if (request_id.n)
        pst_json_put_str(out, request_id);
    else
        pst_buf_puts(out, "null");
    pst_buf_putc(out, '}');
}

pst_view_t pst_anthropic_message_of(pst_anthropic_t *x, uint32_t t)
{
    const pst_json_t *j = &x->json;
    uint32_t error = pst_json_get(j, t, "error");
    const uint32_t places[] = {pst_json_get(j, error, "message"), error, pst_json_get(j, t, "message"),
                               pst_json_get(j, t, "detail")};
    for (size_t i = 0; i < PST_COUNT(places); i++) {
        if (pst_splice_has_text(j, places[i]))
            return pst_json_str(j, places[i], &x->arena);
    }
    return pst_view(NULL, 0);
}

void pst_anthropic_error_of(pst_anthropic_t *x, int status, pst_view_t body, pst_view_t request_id, pst_buf_t *out)
{
    char said[64];
    pst_view_t message = pst_view(NULL, 0);
    pst_arena_clear(&x->arena);
    if (pst_json_parse(&x->json, body, NULL) == PST_OK)
        message = pst_anthropic_message_of(x, 0);
    snprintf(said, sizeof said, "the provider answered with status %d", status);
    pst_anthropic_error(status, message.n ? message : pst_view_str(said), request_id, out);
}
