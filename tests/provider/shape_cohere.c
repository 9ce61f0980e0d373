#include "shape.h"

/* An answer's id is in its body, and nothing is told of limits. */
static void headers(const sim_call_t *c, pst_buf_t *b)
{
    (void)c;
    (void)b;
}

static void put_message_of(const sim_call_t *c, pst_buf_t *b)
{
    if (c->tool) {
        pst_buf_printf(b,
                       "\"tool_plan\":\"I will look.\",\"tool_calls\":[{\"id\":\"" SIM_TOOL_NAME
                       "_%024llx\",\"type\":\"function\",\"function\":{\"name\":\"" SIM_TOOL_NAME
                       "\",\"arguments\":",
                       (unsigned long long)c->id);
        sim_js_put(b, PST_VIEW_LIT(SIM_TOOL_ARGS));
        pst_buf_puts(b, "}}]");
        return;
    }
    pst_buf_puts(b, "\"content\":[");
    if (!c->empty) {
        pst_buf_puts(b, "{\"type\":\"text\",\"text\":");
        sim_put_echo(c, b);
        pst_buf_putc(b, '}');
    }
    pst_buf_putc(b, ']');
}

/* It has no word for a refusal: ERROR is the nearest. */
static void answer(const sim_call_t *c, pst_buf_t *b)
{
    static const char *const reasons[] = {"COMPLETE", "MAX_TOKENS", "ERROR"};
    unsigned long long in = c->input_tokens, out = c->output_tokens;
    pst_buf_printf(b, "{\"id\":\"%032llx\",\"message\":{\"role\":\"assistant\",",
                   (unsigned long long)c->id);
    put_message_of(c, b);
    pst_buf_printf(b,
                   "},\"finish_reason\":\"%s\",\"usage\":{\"billed_units\":{\"input_tokens\":%llu,"
                   "\"output_tokens\":%llu},\"tokens\":{\"input_tokens\":%llu,"
                   "\"output_tokens\":%llu},\"cached_tokens\":0}}",
                   c->tool ? "TOOL_CALL" : reasons[c->finish], in, out, in, out);
}

static const struct {
    int status;
    const char *message;
} rows[] = {
    [SIM_BAD_REQUEST] = {400, "invalid request: it was refused"},
    [SIM_NOT_JSON] = {400, "invalid json syntax"},
    [SIM_NO_MODEL] = {400, "invalid request: model is required"},
    [SIM_NO_CONTENT] = {400, "invalid request: messages must not be empty"},
    [SIM_NO_MAX_TOKENS] = {400, "invalid request: max_tokens is required"},
    [SIM_NO_VERSION] = {400, "invalid request: no version was named"},
    [SIM_STREAM] = {400, "invalid request: streaming is not simulated"},
    [SIM_NO_KEY] = {401, "no api key supplied"},
    [SIM_BAD_KEY] = {401, "invalid api token"},
    [SIM_CREDIT] = {402, "please add or update your payment method to continue"},
    [SIM_UNKNOWN_MODEL] = {404, "model '{model}' not found"},
    [SIM_UNKNOWN_URL] = {404, "not found"},
    [SIM_WRONG_METHOD] = {405, "method not allowed"},
    [SIM_CONTEXT] = {400, "too many tokens: total number of tokens in the prompt cannot exceed "
                          "8192 - received {input}."},
    [SIM_POLICY] = {400, "invalid request: the prompt was blocked by the safety mode"},
    [SIM_QUOTA] = {429, "You are using a Trial key, which is limited to 1000 API calls / month."},
    [SIM_RATE] = {429, "You are past the limit of {limit} {unit} / minute: please wait and try "
                       "again later"},
    [SIM_CROWD] = {429, "too many requests at once: please try again later"},
    [SIM_OVERLOAD] = {503, "the service is overloaded: please try again later"},
    [SIM_SERVER] = {500, "internal server error"},
};

static int error(const sim_call_t *c, const sim_error_t *e, pst_buf_t *head, pst_buf_t *b)
{
    pst_buf_printf(b, "{\"id\":\"%032llx\",\"message\":", (unsigned long long)c->id);
    sim_put_message(c, e, rows[e->trouble].message, b);
    pst_buf_putc(b, '}');
    sim_put_retry_after(e->wait, head);
    return e->trouble == SIM_SERVER ? e->status : rows[e->trouble].status;
}

const sim_shape_t sim_cohere = {headers, answer, error, NULL, 0};
