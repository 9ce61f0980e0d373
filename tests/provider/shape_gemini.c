#include "shape.h"

#define RPC "type.googleapis.com/google.rpc."

/* Gemini has no header for either; the answer's id is in its body. */
static void headers(const sim_call_t *c, pst_buf_t *b)
{
    (void)c;
    (void)b;
}

static void put_part(const sim_call_t *c, pst_buf_t *b)
{
    if (c->tool) {
        pst_buf_puts(b, "{\"functionCall\":{\"name\":\"" SIM_TOOL_NAME "\",\"args\":" SIM_TOOL_ARGS
                        "}}");
        return;
    }
    pst_buf_puts(b, "{\"text\":");
    sim_put_echo(c, b);
    pst_buf_putc(b, '}');
}

static void put_usage(const sim_call_t *c, pst_buf_t *b)
{
    unsigned long long in = c->input_tokens, out = c->output_tokens;
    pst_buf_printf(b,
                   "\"usageMetadata\":{\"promptTokenCount\":%llu,\"candidatesTokenCount\":%llu,"
                   "\"totalTokenCount\":%llu},\"modelVersion\":",
                   in, out, in + out);
    sim_js_put(b, c->model);
    pst_buf_printf(b, ",\"responseId\":\"%022llx\"}", (unsigned long long)c->id);
}

static void answer(const sim_call_t *c, pst_buf_t *b)
{
    static const char *const reasons[] = {"STOP", "MAX_TOKENS", "SAFETY"};
    pst_buf_putc(b, '{');
    if (!c->empty) {
        pst_buf_puts(b, "\"candidates\":[{\"content\":{\"parts\":[");
        put_part(c, b);
        pst_buf_printf(b, "],\"role\":\"model\"},\"finishReason\":\"%s\",\"index\":0}],",
                       c->tool ? "STOP" : reasons[c->finish]);
    }
    put_usage(c, b);
}

static const struct {
    int status;
    const char *name, *message;
} rows[] = {
    [SIM_BAD_REQUEST] = {400, "INVALID_ARGUMENT", "Request contains an invalid argument."},
    [SIM_NOT_JSON] = {400, "INVALID_ARGUMENT", "Invalid JSON payload received."},
    [SIM_NO_MODEL] = {400, "INVALID_ARGUMENT", "Model is not specified"},
    [SIM_NO_CONTENT] = {400, "INVALID_ARGUMENT",
                        "* GenerateContentRequest.contents: contents is not specified\n"},
    [SIM_NO_MAX_TOKENS] = {400, "INVALID_ARGUMENT", "maxOutputTokens is not specified"},
    [SIM_NO_VERSION] = {400, "INVALID_ARGUMENT", "No API version was named."},
    [SIM_STREAM] = {400, "INVALID_ARGUMENT", "Streaming is not simulated."},
    [SIM_NO_KEY] =
        {403, "PERMISSION_DENIED",
         "Method doesn't allow unregistered callers (callers without established identity). Please "
         "use API Key or other form of API consumer identity to call this API."},
    [SIM_BAD_KEY] =
        {401, "UNAUTHENTICATED",
         "Request had invalid authentication credentials. Expected OAuth 2 access token, login "
         "cookie or other valid authentication credential."},
    [SIM_CREDIT] = {402, "FAILED_PRECONDITION", "Billing is not active for this project."},
    [SIM_UNKNOWN_MODEL] =
        {404, "NOT_FOUND",
         "models/{model} is not found for API version v1beta, or is not supported for "
         "generateContent. Call ListModels to see the list of available models and their "
         "supported methods."},
    [SIM_UNKNOWN_URL] = {404, "NOT_FOUND", "The requested URL was not found on this server."},
    [SIM_WRONG_METHOD] = {405, "INVALID_ARGUMENT", "This method is not allowed here."},
    [SIM_CONTEXT] =
        {400, "INVALID_ARGUMENT",
         "The input token count ({input}) exceeds the maximum number of tokens allowed (8192)."},
    [SIM_QUOTA] = {429, "RESOURCE_EXHAUSTED",
                   "You exceeded your current quota, please check your plan and billing details."},
    [SIM_RATE] = {429, "RESOURCE_EXHAUSTED",
                  "You exceeded your current quota, please check your plan and billing details. "
                  "Quota exceeded "
                  "for {unit}, limit: {limit}, model: {model}\nPlease retry in {wait}."},
    [SIM_CROWD] = {429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."},
    [SIM_OVERLOAD] = {503, "UNAVAILABLE", "The model is overloaded. Please try again later."},
    [SIM_SERVER] = {500, "INTERNAL", "An internal error has occurred. Please retry."},
};

static void put_quota_failure(const sim_call_t *c, const sim_error_t *e, const char *window,
                              pst_buf_t *b)
{
    pst_buf_printf(
        b,
        "{\"@type\":\"" RPC "QuotaFailure\",\"violations\":[{\"quotaMetric\":"
        "\"generativelanguage.googleapis.com/generate_content_%s\",\"quotaId\":"
        "\"GenerateContent%sPer%sPerProjectPerModel\",\"quotaDimensions\":{\"location\":\"global\","
        "\"model\":",
        e->for_tokens ? "input_token_count" : "requests",
        e->for_tokens ? "InputTokens" : "Requests", window);
    sim_js_put(b, c->model);
    pst_buf_printf(b, "},\"quotaValue\":\"%.0f\"}]},",
                   e->for_tokens ? c->grant.tokens.limit : c->grant.requests.limit);
    pst_buf_puts(b, "{\"@type\":\"" RPC "Help\",\"links\":[{\"description\":"
                    "\"Learn more about Gemini API quotas\",\"url\":"
                    "\"https://ai.google.dev/gemini-api/docs/rate-limits\"}]}");
}

static void put_retry_info(pst_ns_t wait, pst_buf_t *b)
{
    pst_buf_puts(b, "{\"@type\":\"" RPC "RetryInfo\",\"retryDelay\":\"");
    sim_put_seconds(wait, b);
    pst_buf_puts(b, "\"}");
}

static void put_details(const sim_call_t *c, const sim_error_t *e, pst_buf_t *b)
{
    if (e->trouble == SIM_QUOTA) {
        put_quota_failure(c, e, "Day", b);
    } else if (e->trouble == SIM_RATE) {
        put_quota_failure(c, e, "Minute", b);
        if (e->wait) {
            pst_buf_putc(b, ',');
            put_retry_info(e->wait, b);
        }
    } else if (e->trouble == SIM_CROWD && e->wait) {
        put_retry_info(e->wait, b);
    } else if (e->trouble == SIM_BAD_KEY) {
        pst_buf_puts(b, "{\"@type\":\"" RPC "ErrorInfo\",\"reason\":\"API_KEY_INVALID\","
                        "\"domain\":\"googleapis.com\",\"metadata\":{\"service\":"
                        "\"generativelanguage.googleapis.com\"}}");
    }
}

/* A blocked prompt is a 200 without candidates. */
static int answer_blocked(const sim_call_t *c, pst_buf_t *b)
{
    pst_buf_puts(b, "{\"promptFeedback\":{\"blockReason\":\"PROHIBITED_CONTENT\"},");
    put_usage(c, b);
    return 200;
}

static int error(const sim_call_t *c, const sim_error_t *e, pst_buf_t *head, pst_buf_t *b)
{
    (void)head;
    if (e->trouble == SIM_POLICY)
        return answer_blocked(c, b);
    int status = rows[e->trouble].status;
    const char *name = rows[e->trouble].name, *message = rows[e->trouble].message;
    if (e->trouble == SIM_SERVER)
        status = e->status;
    if (e->trouble == SIM_SERVER && status != 500)
        name = status == 504 ? "DEADLINE_EXCEEDED" : "UNAVAILABLE";
    if (e->trouble == SIM_BAD_KEY && c->bad_key_status == 400) {
        status = 400; /* what Google answers to a key it does not know */
        name = "INVALID_ARGUMENT";
        message = "API key not valid. Please pass a valid API key.";
    }
    pst_buf_printf(b, "{\"error\":{\"code\":%d,\"message\":", status);
    sim_put_message(c, e, message, b);
    pst_buf_printf(b, ",\"status\":\"%s\"", name);
    size_t bare = b->n;
    pst_buf_puts(b, ",\"details\":[");
    size_t none = b->n;
    put_details(c, e, b);
    if (b->n == none)
        b->n = bare;
    else
        pst_buf_putc(b, ']');
    pst_buf_puts(b, "}}");
    return status;
}

const sim_shape_t sim_gemini = {headers, answer, error, NULL, 0};
