#include "shape.h"

/* Bedrock tells nothing of limits, and never when to come again. */
static void headers(const sim_call_t *c, pst_buf_t *b)
{
    pst_buf_printf(b, "x-amzn-requestid: %032llx\r\n", (unsigned long long)c->id);
}

static void put_block(const sim_call_t *c, pst_buf_t *b)
{
    if (c->tool) {
        pst_buf_printf(b,
                       "{\"toolUse\":{\"toolUseId\":\"tooluse_%022llx\",\"name\":\"" SIM_TOOL_NAME
                       "\",\"input\":" SIM_TOOL_ARGS "}}",
                       (unsigned long long)c->id);
        return;
    }
    pst_buf_puts(b, "{\"text\":");
    sim_put_echo(c, b);
    pst_buf_putc(b, '}');
}

static void begin(pst_buf_t *b)
{
    pst_buf_puts(b, "{\"metrics\":{\"latencyMs\":1},\"output\":{\"message\":{\"content\":[");
}

static void end(const sim_call_t *c, const char *reason, uint64_t output_tokens, pst_buf_t *b)
{
    unsigned long long in = c->input_tokens, out = output_tokens;
    pst_buf_printf(b,
                   "],\"role\":\"assistant\"}},\"stopReason\":\"%s\",\"usage\":{"
                   "\"inputTokens\":%llu,\"outputTokens\":%llu,\"totalTokens\":%llu,"
                   "\"cacheReadInputTokens\":0,\"cacheWriteInputTokens\":0}}",
                   reason, in, out, in + out);
}

static void answer(const sim_call_t *c, pst_buf_t *b)
{
    static const char *const reasons[] = {"end_turn", "max_tokens", "content_filtered"};
    begin(b);
    if (!c->empty)
        put_block(c, b);
    end(c, c->tool ? "tool_use" : reasons[c->finish], c->output_tokens, b);
}

/* A guardrail answers in the model's place. */
static int answer_blocked(const sim_call_t *c, pst_buf_t *b)
{
    begin(b);
    pst_buf_puts(b, "{\"text\":\"This cannot be answered.\"}");
    end(c, "guardrail_intervened", 0, b);
    return 200;
}

#define INVALID "ValidationException"

static const struct {
    int status;
    const char *type, *message;
} rows[] = {
    [SIM_BAD_REQUEST] = {400, INVALID, "The request was refused as invalid."},
    [SIM_NOT_JSON] = {400, "SerializationException", "The body is not JSON."},
    [SIM_NO_MODEL] = {400, INVALID, "The provided model identifier is invalid."},
    [SIM_NO_CONTENT] = {400, INVALID, "A conversation must have messages."},
    [SIM_NO_MAX_TOKENS] = {400, INVALID, "maxTokens is required."},
    [SIM_NO_VERSION] = {400, INVALID, "No version was named."},
    [SIM_STREAM] = {400, INVALID, "Streaming is not simulated."},
    [SIM_NO_KEY] = {403, "MissingAuthenticationTokenException", "Missing Authentication Token"},
    [SIM_BAD_KEY] = {403, "UnrecognizedClientException",
                     "The security token included in the request is invalid."},
    [SIM_CREDIT] = {403, "AccessDeniedException",
                    "Model access is denied: the account has no valid payment instrument."},
    [SIM_UNKNOWN_MODEL] = {404, "ResourceNotFoundException", "The model {model} is not found."},
    [SIM_UNKNOWN_URL] = {404, "UnknownOperationException", "There is no such operation."},
    [SIM_WRONG_METHOD] = {405, "UnknownOperationException", "This method is not allowed here."},
    [SIM_CONTEXT] = {400, INVALID,
                     "Input is too long for requested model: {input} tokens of at most 8192."},
    [SIM_QUOTA] = {400, "ServiceQuotaExceededException",
                   "Your request exceeds the service quota for your account."},
    [SIM_RATE] = {429, "ThrottlingException", "Too many {unit}, please wait before trying again."},
    [SIM_CROWD] = {429, "ThrottlingException", "Too many requests at once."},
    [SIM_OVERLOAD] = {503, "ServiceUnavailableException",
                      "Bedrock is unable to process your request."},
    [SIM_SERVER] = {500, "InternalServerException", "The system met an unexpected error."},
};

static int error(const sim_call_t *c, const sim_error_t *e, pst_buf_t *head, pst_buf_t *b)
{
    if (e->trouble == SIM_POLICY)
        return answer_blocked(c, b);
    pst_buf_printf(head,
                   "x-amzn-errortype: %s:http://internal.amazon.com/coral/"
                   "com.amazon.bedrock/\r\n",
                   rows[e->trouble].type);
    pst_buf_puts(b, "{\"message\":");
    sim_put_message(c, e, rows[e->trouble].message, b);
    pst_buf_putc(b, '}');
    return e->trouble == SIM_SERVER ? e->status : rows[e->trouble].status;
}

const sim_shape_t sim_bedrock = {headers, answer, error, NULL, 0};
