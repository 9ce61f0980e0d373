#include "shape.h"
#include "track.h"

#include <stdio.h>

#define EMBEDDING_DIMS 8
#define EMBEDDING_DIMS_MAX 4096
/* What Azure's content filters say of a text that they let through. */
#define NOTHING_FOUND                                                                              \
    "{\"hate\":{\"filtered\":false,\"severity\":\"safe\"},"                                        \
    "\"violence\":{\"filtered\":false,\"severity\":\"safe\"}}"

/* Durations as Go writes them: 120ms, 1.5s, 6m0s. */
static void put_duration(pst_ns_t t, pst_buf_t *b)
{
    uint64_t ms = sim_ms_up(t), minutes = ms / 60000;
    if (ms && ms < 1000) {
        pst_buf_printf(b, "%llums", (unsigned long long)ms);
        return;
    }
    if (minutes)
        pst_buf_printf(b, "%llum", (unsigned long long)minutes);
    sim_put_seconds(ms % 60000 * PST_MS, b);
}

static void put_allowance(const char *unit, const sim_allowance_t *a, pst_buf_t *b)
{
    if (a->limit <= 0)
        return;
    pst_buf_printf(
        b, "x-ratelimit-limit-%s: %.0f\r\nx-ratelimit-remaining-%s: %.0f\r\nx-ratelimit-reset-%s: ",
        unit, a->limit, unit, a->left, unit);
    put_duration(a->reset, b);
    pst_buf_puts(b, "\r\n");
}

static void headers(const sim_call_t *c, pst_buf_t *b)
{
    pst_buf_printf(b, "x-request-id: req_%032llx\r\n", (unsigned long long)c->id);
    put_allowance("requests", &c->grant.requests, b);
    put_allowance("tokens", &c->grant.tokens, b);
}

static unsigned long long seconds(const sim_call_t *c)
{
    return (unsigned long long)(c->wall / PST_SEC);
}

static void put_model(const sim_call_t *c, pst_buf_t *b)
{
    pst_buf_puts(b, ",\"model\":");
    sim_js_put(b, c->model);
}

static const char *finish_reason(const sim_call_t *c)
{
    static const char *const words[] = {"stop", "length", "content_filter"};
    return c->tool ? "tool_calls" : words[c->finish];
}

static void put_usage(const sim_call_t *c, pst_buf_t *b)
{
    unsigned long long in = c->input_tokens, out = c->output_tokens;
    pst_buf_printf(
        b,
        ",\"usage\":{\"prompt_tokens\":%llu,\"completion_tokens\":%llu,\"total_tokens\":%llu,"
        "\"prompt_tokens_details\":{\"cached_tokens\":0,\"audio_tokens\":0},"
        "\"completion_tokens_details\":{\"reasoning_tokens\":0,\"audio_tokens\":0}}",
        in, out, in + out);
}

static void put_chat_choice(const sim_call_t *c, pst_buf_t *b)
{
    pst_buf_puts(b, "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":");
    if (c->tool)
        pst_buf_printf(
            b,
            "null,\"tool_calls\":[{\"id\":\"call_%024llx\",\"type\":\"function\",\"function\":"
            "{\"name\":\"" SIM_TOOL_NAME "\",\"arguments\":",
            (unsigned long long)c->id);
    if (c->tool)
        sim_js_put(b, PST_VIEW_LIT(SIM_TOOL_ARGS));
    else
        sim_put_echo(c, b);
    pst_buf_printf(
        b, "%s,\"refusal\":null,\"annotations\":[]},\"logprobs\":null,\"finish_reason\":\"%s\"%s}",
        c->tool ? "}}]" : "", finish_reason(c),
        c->azure ? ",\"content_filter_results\":" NOTHING_FOUND : "");
}

static void answer_chat(const sim_call_t *c, pst_buf_t *b)
{
    pst_buf_printf(b,
                   "{\"id\":\"chatcmpl-%024llx\",\"object\":\"chat.completion\",\"created\":%llu",
                   (unsigned long long)c->id, seconds(c));
    put_model(c, b);
    pst_buf_puts(b, ",\"choices\":[");
    if (!c->empty)
        put_chat_choice(c, b);
    pst_buf_putc(b, ']');
    if (c->azure)
        pst_buf_puts(b, ",\"prompt_filter_results\":[{\"prompt_index\":0,"
                        "\"content_filter_results\":" NOTHING_FOUND "}]");
    put_usage(c, b);
    pst_buf_puts(b, ",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_sim\"}");
}

static void answer_completions(const sim_call_t *c, pst_buf_t *b)
{
    pst_buf_printf(b, "{\"id\":\"cmpl-%024llx\",\"object\":\"text_completion\",\"created\":%llu",
                   (unsigned long long)c->id, seconds(c));
    put_model(c, b);
    pst_buf_puts(b, ",\"choices\":[");
    if (!c->empty) {
        pst_buf_puts(b, "{\"text\":");
        sim_put_echo(c, b);
        pst_buf_printf(b, ",\"index\":0,\"logprobs\":null,\"finish_reason\":\"%s\"}",
                       finish_reason(c));
    }
    pst_buf_putc(b, ']');
    put_usage(c, b);
    pst_buf_putc(b, '}');
}

static void put_response_item(const sim_call_t *c, const char *status, pst_buf_t *b)
{
    unsigned long long id = c->id;
    if (c->tool) {
        pst_buf_printf(b,
                       "{\"id\":\"fc_%032llx\",\"type\":\"function_call\",\"status\":\"completed\","
                       "\"call_id\":\"call_%024llx\",\"name\":\"" SIM_TOOL_NAME "\",\"arguments\":",
                       id, id);
        sim_js_put(b, PST_VIEW_LIT(SIM_TOOL_ARGS));
        pst_buf_putc(b, '}');
        return;
    }
    pst_buf_printf(
        b,
        "{\"id\":\"msg_%032llx\",\"type\":\"message\",\"status\":\"%s\",\"role\":\"assistant\","
        "\"content\":[{\"type\":\"output_text\",\"annotations\":[],\"text\":",
        id, status);
    sim_put_echo(c, b);
    pst_buf_puts(b, "}]}");
}

static void answer_responses(const sim_call_t *c, pst_buf_t *b)
{
    static const char *const incomplete[] = {"null", "{\"reason\":\"max_output_tokens\"}",
                                             "{\"reason\":\"content_filter\"}"};
    unsigned long long in = c->input_tokens, out = c->output_tokens;
    const char *status = c->finish == SIM_STOP ? "completed" : "incomplete";
    pst_buf_printf(
        b,
        "{\"id\":\"resp_%032llx\",\"object\":\"response\",\"created_at\":%llu,\"status\":\"%s\","
        "\"error\":null,\"incomplete_details\":%s,\"instructions\":null,\"metadata\":{}",
        (unsigned long long)c->id, seconds(c), status, incomplete[c->finish]);
    put_model(c, b);
    pst_buf_puts(b, ",\"output\":[");
    if (!c->empty)
        put_response_item(c, status, b);
    pst_buf_printf(
        b,
        "],\"parallel_tool_calls\":true,\"previous_response_id\":null,\"store\":true,"
        "\"usage\":{\"input_tokens\":%llu,\"input_tokens_details\":{\"cached_tokens\":0},"
        "\"output_tokens\":%llu,\"output_tokens_details\":{\"reasoning_tokens\":0},"
        "\"total_tokens\":%llu}}",
        in, out, in + out);
}

static void put_base64(const void *data, size_t n, pst_buf_t *b)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = data;
    for (size_t i = 0; i < n; i += 3) {
        uint32_t w = (uint32_t)p[i] << 16 | (i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0) |
                     (i + 2 < n ? p[i + 2] : 0);
        char quad[4] = {digits[w >> 18], digits[w >> 12 & 63],
                        i + 1 < n ? digits[w >> 6 & 63] : '=', i + 2 < n ? digits[w & 63] : '='};
        pst_buf_put(b, quad, 4);
    }
}

/* A vector that depends on the item's raw text only, each number a multiple of 1/64
 * in [-1, 1), so that six decimals and base64 say the same. */
static void put_vector(const sim_call_t *c, pst_view_t item, pst_buf_t *b)
{
    uint64_t asked = c->body->dimensions ? c->body->dimensions : EMBEDDING_DIMS;
    unsigned dims = (unsigned)PST_MIN(asked, (uint64_t)EMBEDDING_DIMS_MAX);
    float v[EMBEDDING_DIMS_MAX];
    uint64_t hash = sim_hash(item);
    for (unsigned i = 0; i < dims; i++)
        v[i] = (float)(sim_mix(hash, i) >> 57) / 64 - 1;
    if (c->body->base64) {
        pst_buf_putc(b, '"');
        put_base64(v, dims * sizeof *v, b);
        pst_buf_putc(b, '"');
        return;
    }
    for (unsigned i = 0; i < dims; i++)
        pst_buf_printf(b, "%c%.6f", i ? ',' : '[', (double)v[i]);
    pst_buf_putc(b, ']');
}

static void put_embedding(const sim_call_t *c, unsigned index, pst_view_t item, pst_buf_t *b)
{
    pst_buf_printf(b, "%s{\"object\":\"embedding\",\"index\":%u,\"embedding\":", index ? "," : "",
                   index);
    put_vector(c, item, b);
    pst_buf_putc(b, '}');
}

static void answer_embeddings(const sim_call_t *c, pst_buf_t *b)
{
    pst_buf_puts(b, "{\"object\":\"list\",\"data\":[");
    sim_js_t j;
    sim_js_init(&j, c->body->input);
    pst_view_t item;
    bool many = sim_js_peek(&j) == '[';
    if (many)
        sim_js_enter(&j, '[');
    /* An array of numbers is one item, the tokens of a text. */
    if (!many || (j.p < j.end && sim_js_peek(&j) >= '0' && sim_js_peek(&j) <= '9')) {
        if (!c->empty)
            put_embedding(c, 0, c->body->input, b);
    } else {
        for (unsigned i = 0; !c->empty && sim_js_item(&j) && sim_js_skip(&j, &item); i++)
            put_embedding(c, i, item, b);
    }
    pst_buf_putc(b, ']');
    put_model(c, b);
    unsigned long long in = c->input_tokens;
    pst_buf_printf(b, ",\"usage\":{\"prompt_tokens\":%llu,\"total_tokens\":%llu}}", in, in);
}

static void answer(const sim_call_t *c, pst_buf_t *b)
{
    switch (c->api) {
    case SIM_RESPONSES:
        answer_responses(c, b);
        return;
    case SIM_EMBEDDINGS:
        answer_embeddings(c, b);
        return;
    case SIM_COMPLETIONS:
        answer_completions(c, b);
        return;
    case SIM_CHAT:
    case SIM_MESSAGES:
    case SIM_GENERATE:
    case SIM_COHERE_CHAT:
    case SIM_CONVERSE:
        answer_chat(c, b);
        return;
    }
}

/* ---- as events ---- */

static void open_chunk(const sim_call_t *c, pst_buf_t *b)
{
    bool chat = c->api == SIM_CHAT;
    pst_buf_printf(b, "data: {\"id\":\"%s-%024llx\",\"object\":\"%s\",\"created\":%llu", chat ? "chatcmpl" : "cmpl",
                   (unsigned long long)c->id, chat ? "chat.completion.chunk" : "text_completion", seconds(c));
    put_model(c, b);
    pst_buf_puts(b, ",\"choices\":[");
}

static void close_chunk(const sim_call_t *c, pst_buf_t *b)
{
    pst_buf_puts(b, c->body->stream_usage ? "],\"usage\":null}\n\n" : "]}\n\n");
}

static void put_delta(const sim_call_t *c, const char *delta, const char *finish, pst_buf_t *b)
{
    open_chunk(c, b);
    pst_buf_printf(b, "{\"index\":0,%s,\"logprobs\":null,\"finish_reason\":%s%s%s}", delta, finish ? "\"" : "",
                   finish ? finish : "null", finish ? "\"" : "");
    close_chunk(c, b);
}

static void put_part(const sim_call_t *c, pst_view_t part, pst_buf_t *b)
{
    pst_buf_t delta;
    pst_buf_init(&delta, 0);
    pst_buf_printf(&delta, c->api == SIM_CHAT ? "\"delta\":{\"content\":\"%.*s\"}" : "\"text\":\"%.*s\"", (int)part.n,
                   part.p);
    pst_buf_putc(&delta, '\0');
    put_delta(c, delta.p, NULL, b);
    pst_buf_release(&delta);
}

static void put_call_chunks(const sim_call_t *c, pst_buf_t *b)
{
    char delta[256];
    snprintf(delta, sizeof delta,
             "\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"call_%024llx\",\"type\":\"function\",\"function\":"
             "{\"name\":\"" SIM_TOOL_NAME "\",\"arguments\":\"\"}}]}", (unsigned long long)c->id);
    put_delta(c, delta, NULL, b);
    put_delta(c, "\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"city\\\":\"}}]}", NULL, b);
    put_delta(c, "\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"\\\"Paris\\\"}\"}}]}", NULL, b);
}

static const char error_event[] =
    "data: {\"error\":{\"message\":\"The server had an error while processing your request. Sorry about that!\","
    "\"type\":\"server_error\",\"param\":null,\"code\":null}}\n\n";

/* False: an error has ended it. */
static bool put_choice_chunks(const sim_call_t *c, pst_buf_t *b)
{
    bool chat = c->api == SIM_CHAT;
    if (chat)
        put_delta(c, "\"delta\":{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}", NULL, b);
    if (c->tool)
        put_call_chunks(c, b);
    else if (!sim_put_parts(c, b, put_part, error_event))
        return false;
    put_delta(c, chat ? "\"delta\":{}" : "\"text\":\"\"", finish_reason(c), b);
    return true;
}

/* Azure tells first what its filters found in the prompt. */
static void stream(const sim_call_t *c, pst_buf_t *b)
{
    if (c->azure)
        pst_buf_puts(b, "data: {\"id\":\"\",\"object\":\"\",\"created\":0,\"model\":\"\",\"choices\":[],"
                        "\"prompt_filter_results\":[{\"prompt_index\":0,\"content_filter_results\":" NOTHING_FOUND
                        "}]}\n\n");
    if (!c->empty && !put_choice_chunks(c, b))
        return;
    if (c->body->stream_usage) {
        open_chunk(c, b);
        pst_buf_putc(b, ']');
        put_usage(c, b);
        pst_buf_puts(b, "}\n\n");
    }
    if (c->spoil != SIM_NO_END)
        pst_buf_puts(b, "data: [DONE]\n\n");
}

#define INVALID "invalid_request_error"

typedef struct row {
    int status;
    const char *type, *param, *code; /* param, code: NULL means null */
    const char *message;
} row_t;

static const row_t rows[] = {
    [SIM_BAD_REQUEST] = {400, INVALID, NULL, NULL, "The request was refused as invalid."},
    [SIM_NOT_JSON] =
        {400, INVALID, NULL, NULL,
         "We could not parse the JSON body of your request. (HINT: This likely means you aren't "
         "using your HTTP library correctly. The OpenAI API expects a JSON payload, but what was "
         "sent was not valid JSON.)"},
    [SIM_NO_MODEL] = {400, INVALID, NULL, NULL, "you must provide a model parameter"},
    [SIM_NO_CONTENT] = {400, INVALID, "messages", "missing_required_parameter",
                        "Missing required parameter: 'messages'."},
    [SIM_NO_MAX_TOKENS] = {400, INVALID, "max_tokens", "missing_required_parameter",
                           "Missing required parameter: 'max_tokens'."},
    [SIM_NO_VERSION] = {400, INVALID, NULL, NULL, "No API version was named."},
    [SIM_STREAM] = {400, INVALID, "stream", "unsupported_value", "Streaming is not simulated."},
    [SIM_NO_KEY] = {401, INVALID, NULL, NULL,
                    "You didn't provide an API key. You need to provide your API key in an "
                    "Authorization header "
                    "using Bearer auth (i.e. Authorization: Bearer YOUR_KEY)."},
    [SIM_BAD_KEY] = {401, INVALID, NULL, "invalid_api_key",
                     "Incorrect API key provided: {key}. You can find your API key at "
                     "https://platform.openai.com/account/api-keys."},
    [SIM_CREDIT] = {402, "insufficient_balance", NULL, "insufficient_balance",
                    "Insufficient Balance"},
    [SIM_UNKNOWN_MODEL] = {404, INVALID, NULL, "model_not_found",
                           "The model `{model}` does not exist or you do not have access to it."},
    [SIM_UNKNOWN_URL] = {404, INVALID, NULL, "unknown_url", "Invalid URL."},
    [SIM_WRONG_METHOD] = {405, INVALID, NULL, "method_not_supported",
                          "Not allowed with this method."},
    [SIM_CONTEXT] =
        {400, INVALID, "messages", "context_length_exceeded",
         "This model's maximum context length is 8192 tokens. However, your messages resulted in "
         "{input} tokens. Please reduce the length of the messages."},
    [SIM_POLICY] = {400, INVALID, NULL, "content_policy_violation",
                    "Your request was rejected as a result of our safety system."},
    [SIM_QUOTA] =
        {429, "insufficient_quota", NULL, "insufficient_quota",
         "You exceeded your current quota, please check your plan and billing details. For more "
         "information on this error, read the docs: "
         "https://platform.openai.com/docs/guides/error-codes/api-errors."},
    [SIM_RATE] =
        {429, "requests", NULL, "rate_limit_exceeded",
         "Rate limit reached for {model} in organization org-sim on {unit} per min: Limit {limit}. "
         "Please try again in {wait}."},
    [SIM_CROWD] = {429, "requests", NULL, "rate_limit_exceeded",
                   "Too many requests at once for {model}."},
    [SIM_OVERLOAD] = {503, "server_error", NULL, "server_overloaded",
                      "The engine is currently overloaded, please try again later."},
    [SIM_SERVER] = {500, "server_error", NULL, NULL,
                    "The server had an error while processing your request. Sorry about that!"},
};

static void put_string_or_null(const char *s, pst_buf_t *b)
{
    if (s)
        sim_js_put(b, pst_view_str(s));
    else
        pst_buf_puts(b, "null");
}

/* The name of what is missing depends on the API. */
static const char *content_name(sim_api_t api)
{
    switch (api) {
    case SIM_RESPONSES:
    case SIM_EMBEDDINGS:
        return "input";
    case SIM_COMPLETIONS:
        return "prompt";
    case SIM_CHAT:
    case SIM_MESSAGES:
    case SIM_GENERATE:
    case SIM_COHERE_CHAT:
    case SIM_CONVERSE:
        break;
    }
    return "messages";
}

static int error(const sim_call_t *c, const sim_error_t *e, pst_buf_t *head, pst_buf_t *b)
{
    row_t r = rows[e->trouble];
    char missing[64];
    if (e->trouble == SIM_NO_CONTENT) {
        r.param = content_name(c->api);
        snprintf(missing, sizeof missing, "Missing required parameter: '%s'.", r.param);
        r.message = missing;
    }
    if (e->trouble == SIM_RATE && e->for_tokens)
        r.type = "tokens";
    if (e->trouble == SIM_SERVER)
        r.status = e->status;
    pst_buf_puts(b, "{\"error\":{\"message\":");
    sim_put_message(c, e, r.message, b);
    pst_buf_printf(b, ",\"type\":\"%s\",\"param\":", r.type);
    put_string_or_null(r.param, b);
    pst_buf_puts(b, ",\"code\":");
    put_string_or_null(r.code, b);
    pst_buf_puts(b, "}}");
    sim_put_retry_after(e->wait, head);
    if (e->wait)
        pst_buf_printf(head, "retry-after-ms: %llu\r\n", (unsigned long long)sim_ms_up(e->wait));
    return r.status;
}

const sim_shape_t sim_openai = {headers, answer, error, stream, 1u << SIM_CHAT | 1u << SIM_COMPLETIONS};
