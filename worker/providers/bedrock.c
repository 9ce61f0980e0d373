/* bedrock: Converse of AWS's Bedrock Runtime.  The base URL is https://bedrock-runtime.REGION.amazonaws.com.
 *
 * What differs from OpenAI: the model is in the path, an ARN as a whole; instructions stand apart from the turns, which
 * alternate, with tool results first in the user's; pictures and documents are bytes, never links; a choice of no tool
 * cannot be said; a schema is the text of one; blank texts are refused; the answer names neither itself nor its model.
 * What Converse has no word for goes to the model as it knows it, in additionalModelRequestFields, where its id tells
 * whose it is.  logprobs, logit_bias, seed, penalties and json_object have no counterpart and are left out; more than
 * one choice cannot be asked for.  Without maxTokens the account's quota is charged with the most that the model can
 * say until it has answered: what is known of a model's length is not sent, for it would be no less. */
#include "providers/adapters.h"
#include "providers/answer.h"
#include "providers/chat.h"
#include "providers/common.h"
#include "providers/failure.h"
#include "providers/stream.h"

/* ---- request: content ---- */

typedef struct format {
    const char *mime, *name;
    bool image;
} format_t;

static const format_t *format_of(pst_view_t mime)
{
    static const format_t formats[] = {
        {"image/png", "png", true},
        {"image/jpeg", "jpeg", true},
        {"image/jpg", "jpeg", true},
        {"image/gif", "gif", true},
        {"image/webp", "webp", true},
        {"application/pdf", "pdf", false},
        {"text/plain", "txt", false},
        {"text/markdown", "md", false},
        {"text/html", "html", false},
        {"text/csv", "csv", false},
        {"application/msword", "doc", false},
        {"application/vnd.openxmlformats-officedocument.wordprocessingml.document", "docx", false},
        {"application/vnd.ms-excel", "xls", false},
        {"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx", false},
    };
    for (size_t i = 0; i < PST_COUNT(formats); i++) {
        if (pst_view_eqs(mime, formats[i].mime))
            return &formats[i];
    }
    return NULL;
}

/* White space alone, its escapes as they stand. */
static bool is_blank(pst_view_t text)
{
    for (size_t i = 0; i < text.n; i++) {
        char next = text.p[i] == '\\' && i + 1 < text.n ? text.p[i + 1] : '\0';
        if (next == 'n' || next == 't' || next == 'r')
            i++;
        else if (text.p[i] != ' ')
            return false;
    }
    return true;
}

/* A document has a name, which no other one of the request may have, and which the model reads: a neutral one. */
static void put_data(pst_chat_t *c, uint32_t token, const pst_part_t *part)
{
    const format_t *f = format_of(part->mime);
    pst_buf_t *b = &c->b;
    if (!f) {
        pst_chat_refuse(c, "content: only text, PNG, JPEG, GIF, WebP, PDF, Word, Excel, HTML, CSV and Markdown can be "
                           "sent to this provider");
        return;
    }
    pst_json_put_comma(b);
    pst_buf_puts(b, f->image ? "{\"image\":{" : "{\"document\":{");
    pst_put_text(b, "format", pst_view_str(f->name));
    if (!f->image) {
        pst_buf_puts(b, ",\"name\":\"document ");
        pst_put_digits(b, token);
        pst_buf_putc(b, '"');
    }
    pst_buf_puts(b, ",\"source\":{");
    pst_put_text(b, "bytes", part->data);
    pst_buf_puts(b, "}}}");
}

static void put_text(pst_chat_t *c, uint32_t text)
{
    if (is_blank(pst_inside(c->j, text)))
        return;
    pst_json_put_comma(&c->b);
    pst_buf_putc(&c->b, '{');
    pst_put_raw(&c->b, "text", c->j, text);
    pst_buf_putc(&c->b, '}');
}

static void put_part(pst_chat_t *c, uint32_t token, const pst_part_t *part)
{
    if (part->kind == PST_PART_TEXT)
        put_text(c, part->text);
    else if (part->kind == PST_PART_DATA)
        put_data(c, token, part);
    else
        pst_chat_refuse(c, "image_url: this provider fetches nothing: send the image as data:TYPE;base64,…");
}

/* What Anthropic marks on a part is a block of its own here, behind it. */
static void put_cache_point(pst_chat_t *c, uint32_t t)
{
    uint32_t mark = pst_member(c->j, t, "cache_control");
    if (mark == PST_JSON_NONE)
        return;
    pst_json_put_comma(&c->b);
    pst_buf_puts(&c->b, "{\"cachePoint\":{\"type\":\"default\"");
    pst_put_raw(&c->b, "ttl", c->j, pst_member(c->j, mark, "ttl"));
    pst_buf_puts(&c->b, "}}");
}

static void put_block(pst_chat_t *c, uint32_t token, const pst_part_t *part)
{
    put_part(c, token, part);
    put_cache_point(c, token);
}

static void put_instruction(pst_chat_t *c, uint32_t token, const pst_part_t *part)
{
    if (part->kind == PST_PART_TEXT)
        put_block(c, token, part);
    else
        pst_chat_refuse(c, "content: instructions can only be text for this provider");
}

/* ---- request: turns ---- */

static void put_tool_use(pst_chat_t *c, uint32_t call, uint32_t function, pst_view_t arguments)
{
    pst_json_put_comma(&c->b);
    pst_buf_puts(&c->b, "{\"toolUse\":{");
    pst_chat_put_call_id(c, "toolUseId", pst_json_get(c->j, call, "id"));
    pst_put_raw(&c->b, "name", c->j, pst_json_get(c->j, function, "name"));
    pst_json_put_key(&c->b, "input");
    pst_buf_putv(&c->b, arguments);
    pst_buf_puts(&c->b, "}}");
}

/* A cache point has no place within a result: that of the last part which asks for one comes behind it. */
static void put_tool_result(pst_chat_t *c, uint32_t message)
{
    uint32_t content = pst_json_get(c->j, message, "content"), marked = PST_JSON_NONE;
    pst_json_put_comma(&c->b);
    pst_buf_puts(&c->b, "{\"toolResult\":{");
    pst_chat_put_call_id(c, "toolUseId", pst_json_get(c->j, message, "tool_call_id"));
    pst_buf_puts(&c->b, ",\"content\":[");
    pst_chat_each_part(c, content, put_part);
    pst_buf_puts(&c->b, "]}}");
    if (!pst_json_is(c->j, content, PST_JSON_ARRAY))
        return;
    for (uint32_t t = pst_json_first(c->j, content); t != PST_JSON_NONE; t = pst_json_after(c->j, content, t)) {
        if (pst_member(c->j, t, "cache_control") != PST_JSON_NONE)
            marked = t;
    }
    put_cache_point(c, marked);
}

static const pst_chat_blocks_t blocks = {put_block, put_tool_use, put_tool_result};

/* A member that is an array or an object is begun, and ended or, with nothing in it, taken back. */
typedef struct opened {
    size_t before, empty;
} opened_t;

static opened_t open_member(pst_buf_t *b, const char *key, char bracket)
{
    opened_t o = {.before = b->n};
    pst_json_put_key(b, key);
    pst_buf_putc(b, bracket);
    o.empty = b->n;
    return o;
}

static void close_member(pst_buf_t *b, opened_t o, char bracket)
{
    if (b->n == o.empty)
        b->n = o.before;
    else
        pst_buf_putc(b, bracket);
}

static void put_system(pst_chat_t *c)
{
    opened_t o = open_member(&c->b, "system", '[');
    for (uint32_t m = pst_json_first(c->j, c->messages); m != c->opening; m = pst_chat_after(c, m))
        pst_chat_each_part(c, pst_json_get(c->j, m, "content"), put_instruction);
    close_member(&c->b, o, ']');
}

/* ---- request: tools ---- */

static void put_tool(pst_chat_t *c, uint32_t tool, uint32_t function)
{
    uint32_t schema = pst_member(c->j, function, "parameters"),
             description = pst_member(c->j, function, "description");
    pst_json_put_comma(&c->b);
    pst_buf_puts(&c->b, "{\"toolSpec\":{");
    pst_put_raw(&c->b, "name", c->j, pst_json_get(c->j, function, "name"));
    if (pst_has_text(c->j, description))
        pst_put_raw(&c->b, "description", c->j, description);
    pst_buf_puts(&c->b, ",\"inputSchema\":{");
    if (schema == PST_JSON_NONE)
        pst_buf_puts(&c->b, "\"json\":{\"type\":\"object\",\"properties\":{}}");
    pst_put_raw(&c->b, "json", c->j, schema);
    pst_buf_putc(&c->b, '}');
    pst_put_raw(&c->b, "strict", c->j, pst_member(c->j, function, "strict"));
    pst_buf_puts(&c->b, "}}");
    put_cache_point(c, tool);
}

static bool tells_of_tools(const pst_chat_t *c)
{
    for (uint32_t m = c->opening; m != PST_JSON_NONE; m = pst_chat_after(c, m)) {
        if (pst_chat_role(c, m) == PST_ROLE_TOOL ||
            pst_json_first(c->j, pst_json_get(c->j, m, "tool_calls")) != PST_JSON_NONE)
            return true;
    }
    return false;
}

static void put_tool_choice(pst_chat_t *c, pst_choice_kind_t kind, uint32_t name)
{
    if (kind == PST_CHOICE_AUTO)
        pst_buf_puts(&c->b, ",\"toolChoice\":{\"auto\":{}}");
    if (kind == PST_CHOICE_REQUIRED)
        pst_buf_puts(&c->b, ",\"toolChoice\":{\"any\":{}}");
    if (kind == PST_CHOICE_NAMED) {
        pst_buf_puts(&c->b, ",\"toolChoice\":{\"tool\":{");
        pst_put_raw(&c->b, "name", c->j, name);
        pst_buf_puts(&c->b, "}}");
    }
}

/* No tool may be used where none is known; but a conversation in which some were used is refused without them. */
static void put_tools(pst_chat_t *c)
{
    uint32_t name = PST_JSON_NONE;
    if (!pst_chat_has_tools(c))
        return;
    pst_choice_kind_t kind = pst_chat_choice(c, &name);
    if (kind == PST_CHOICE_NONE && !tells_of_tools(c))
        return;
    pst_buf_puts(&c->b, ",\"toolConfig\":{\"tools\":[");
    pst_chat_each_tool(c, put_tool);
    pst_buf_putc(&c->b, ']');
    put_tool_choice(c, kind, name);
    pst_buf_putc(&c->b, '}');
}

/* ---- request: parameters ---- */

/* 0 to 1, where OpenAI has 0 to 2. */
static void put_temperature(pst_chat_t *c)
{
    uint32_t t = pst_chat_param(c, "temperature");
    double v;
    if (pst_json_num(c->j, t, &v) && v > 1)
        pst_put_count(&c->b, "temperature", 1);
    else
        pst_put_raw(&c->b, "temperature", c->j, t);
}

static void put_inference(pst_chat_t *c)
{
    opened_t o = open_member(&c->b, "inferenceConfig", '{');
    pst_put_raw(&c->b, "maxTokens", c->j, pst_chat_max_tokens(c));
    if (!(c->task->endpoint.flags & PST_EP_NO_SAMPLING)) {
        put_temperature(c);
        pst_put_raw(&c->b, "topP", c->j, pst_chat_param(c, "top_p"));
    }
    pst_chat_put_stop(c, "stopSequences");
    close_member(&c->b, o, '}');
}

/* The schema is a text here. */
static void put_format(pst_chat_t *c)
{
    uint32_t schema = pst_chat_schema(c);
    if (schema == PST_JSON_NONE)
        return;
    uint32_t format = pst_json_get(c->j, pst_chat_param(c, "response_format"), "json_schema");
    pst_buf_puts(&c->b, ",\"outputConfig\":{\"textFormat\":{\"type\":\"json_schema\",\"structure\":{\"jsonSchema\":{");
    pst_put_text(&c->b, "schema", pst_json_raw(c->j, schema));
    pst_put_raw(&c->b, "name", c->j, pst_member(c->j, format, "name"));
    pst_put_raw(&c->b, "description", c->j, pst_member(c->j, format, "description"));
    pst_buf_puts(&c->b, "}}}}");
}

static void put_claude_fields(pst_chat_t *c, uint32_t effort, bool thinks)
{
    bool none = pst_is_word(c->j, effort, "none");
    if (!(c->task->endpoint.flags & PST_EP_NO_SAMPLING))
        pst_put_raw(&c->b, "top_k", c->j, pst_chat_param(c, "top_k"));
    if (none && !thinks) {
        pst_json_put_key(&c->b, "thinking");
        pst_buf_puts(&c->b, "{\"type\":\"disabled\"}");
    }
    if (none || effort == PST_JSON_NONE)
        return;
    pst_json_put_key(&c->b, "output_config");
    pst_buf_putc(&c->b, '{');
    if (pst_is_word(c->j, effort, "minimal"))
        pst_put_text(&c->b, "effort", PST_VIEW_LIT("low"));
    else
        pst_put_raw(&c->b, "effort", c->j, effort);
    pst_buf_putc(&c->b, '}');
}

/* `thinking` goes through for those who know what they want; the rest is only said to models that are known to take
 * it, which the id of a profile of one's own does not tell. */
static void put_model_fields(pst_chat_t *c)
{
    uint32_t effort = pst_chat_param(c, "reasoning_effort"), thinking = pst_chat_param(c, "thinking");
    pst_view_t model = c->task->endpoint.model;
    opened_t o = open_member(&c->b, "additionalModelRequestFields", '{');
    pst_put_raw(&c->b, "thinking", c->j, thinking);
    if (pst_text_has(model, "anthropic.", NULL))
        put_claude_fields(c, effort, thinking != PST_JSON_NONE);
    else if (pst_text_has(model, "openai.gpt-oss", NULL))
        pst_put_raw(&c->b, "reasoning_effort", c->j, effort);
    close_member(&c->b, o, '}');
}

static void put_request(pst_chat_t *c)
{
    pst_buf_putc(&c->b, '{');
    put_system(c);
    pst_chat_put_turns(c, &blocks);
    put_tools(c);
    put_inference(c);
    put_format(c);
    put_model_fields(c);
    pst_buf_putc(&c->b, '}');
}

static pst_err_t set_path(pst_http_req_t *ret, pst_view_t model, const char *verb, pst_arena_t *a)
{
    PST_SCOPED(pst_buf_release) pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_buf_puts(&b, "/model/");
    pst_put_segment(&b, model);
    pst_buf_puts(&b, verb);
    return pst_seal(&b, a, &ret->path);
}

static pst_err_t build(const pst_task_t *task, pst_arena_t *a, pst_http_req_t *ret, pst_view_t *ret_why)
{
    pst_chat_t c;
    memset(ret, 0, sizeof *ret);
    pst_chat_begin(&c, task, a);
    if (pst_view_eqs(task->endpoint.model, ".") || pst_view_eqs(task->endpoint.model, ".."))
        pst_chat_refuse(&c, "model: this is no name of a model"); /* but of another place in the path */
    pst_chat_one_choice(&c);
    if (!c.why)
        put_request(&c);
    pst_err_t e = pst_chat_end(&c, &ret->body, ret_why);
    return e != PST_OK ? e : set_path(ret, task->endpoint.model, task->stream ? "/converse-stream" : "/converse", a);
}

/* ---- answer ---- */

typedef struct finish {
    const char *theirs, *ours; /* ours NULL: the model's fault, which may not happen again */
} finish_t;

static const finish_t *finish_of(const pst_json_t *j)
{
    static const finish_t finishes[] = {
        {"end_turn", "stop"},
        {"stop_sequence", "stop"},
        {"max_tokens", "length"},
        {"model_context_window_exceeded", "length"},
        {"tool_use", "tool_calls"},
        {"content_filtered", "content_filter"},
        {"guardrail_intervened", "content_filter"},
        {"malformed_model_output", NULL},
        {"malformed_tool_use", NULL},
    };
    static const finish_t other = {"", "stop"};
    uint32_t reason = pst_json_get(j, 0, "stopReason");
    for (size_t i = 0; i < PST_COUNT(finishes); i++) {
        if (pst_is_word(j, reason, finishes[i].theirs))
            return &finishes[i];
    }
    return &other;
}

static uint32_t content_of(const pst_json_t *j)
{
    return pst_json_path(j, 0, "output", "message", "content", NULL);
}

/* What of a kind a block has, NONE if it is of another. */
typedef uint32_t inside_t(const pst_json_t *j, uint32_t block);

static uint32_t text_in(const pst_json_t *j, uint32_t block)
{
    return pst_member(j, block, "text");
}

/* What was thought may also be there encrypted, for the model alone. */
static uint32_t thought_in(const pst_json_t *j, uint32_t block)
{
    return pst_if_any(j, pst_json_path(j, block, "reasoningContent", "reasoningText", "text", NULL));
}

static uint32_t call_in(const pst_json_t *j, uint32_t block)
{
    return pst_member(j, block, "toolUse");
}

/* The next block with something of a kind after t (NONE: the first). */
static uint32_t next_with(const pst_json_t *j, inside_t *inside, uint32_t t)
{
    uint32_t content = content_of(j);
    t = t == PST_JSON_NONE ? pst_json_first(j, content) : pst_json_after(j, content, t);
    while (t != PST_JSON_NONE && inside(j, t) == PST_JSON_NONE)
        t = pst_json_after(j, content, t);
    return t;
}

static bool has_any(const pst_json_t *j, inside_t *inside)
{
    return next_with(j, inside, PST_JSON_NONE) != PST_JSON_NONE;
}

static void put_joined(pst_buf_t *b, const pst_json_t *j, inside_t *inside)
{
    pst_buf_putc(b, '"');
    for (uint32_t t = next_with(j, inside, PST_JSON_NONE); t != PST_JSON_NONE; t = next_with(j, inside, t))
        pst_buf_putv(b, pst_inside(j, inside(j, t)));
    pst_buf_putc(b, '"');
}

static void put_tool_call(pst_buf_t *b, const pst_task_t *task, const pst_json_t *j, uint32_t call)
{
    uint32_t input = pst_member(j, call, "input");
    pst_json_put_comma(b);
    pst_put_call_id(b, task, j, pst_json_get(j, call, "toolUseId"), call);
    pst_buf_puts(b, ",\"type\":\"function\",\"function\":{");
    pst_put_raw(b, "name", j, pst_json_get(j, call, "name"));
    pst_put_text(b, "arguments", input == PST_JSON_NONE ? PST_VIEW_LIT("{}") : pst_json_raw(j, input));
    pst_buf_puts(b, "}}");
}

static void put_message(pst_buf_t *b, const pst_task_t *task, const pst_json_t *j)
{
    bool calls = has_any(j, call_in);
    pst_buf_puts(b, "{\"role\":\"assistant\",\"content\":");
    if (calls && !has_any(j, text_in))
        pst_buf_puts(b, "null");
    else
        put_joined(b, j, text_in);
    pst_buf_puts(b, ",\"refusal\":null");
    if (has_any(j, thought_in)) {
        pst_json_put_key(b, "reasoning_content");
        put_joined(b, j, thought_in);
    }
    if (calls) {
        pst_buf_puts(b, ",\"tool_calls\":[");
        for (uint32_t t = next_with(j, call_in, PST_JSON_NONE); t != PST_JSON_NONE; t = next_with(j, call_in, t))
            put_tool_call(b, task, j, call_in(j, t));
        pst_buf_putc(b, ']');
    }
    pst_buf_putc(b, '}');
}

/* Cached tokens are not part of inputTokens here, as they are for OpenAI. */
static pst_usage_t usage_of(const pst_json_t *j)
{
    uint32_t usage = pst_json_get(j, 0, "usage");
    pst_usage_t u = {
        .known = pst_json_is(j, pst_json_get(j, usage, "inputTokens"), PST_JSON_NUMBER),
        .cached = pst_count_of(j, pst_json_get(j, usage, "cacheReadInputTokens")),
        .cache_write = pst_count_of(j, pst_json_get(j, usage, "cacheWriteInputTokens")),
        .output = pst_count_of(j, pst_json_get(j, usage, "outputTokens")),
    };
    u.input = pst_count_of(j, pst_json_get(j, usage, "inputTokens")) + u.cached + u.cache_write;
    u.cached = PST_MIN(u.cached, u.input); /* absurd counts wrap around */
    return u;
}

/* Some models end their turn with calls in it. */
static void put_completion(pst_buf_t *b, const pst_task_t *task, const pst_json_t *j, const pst_usage_t *u)
{
    const char *finish = finish_of(j)->ours;
    if (strcmp(finish, "stop") == 0 && has_any(j, call_in))
        finish = "tool_calls";
    pst_answer_begin(b, task, "chat.completion", "chatcmpl-", j, PST_JSON_NONE, PST_JSON_NONE);
    pst_buf_puts(b, ",\"choices\":[{\"index\":0,\"message\":");
    put_message(b, task, j);
    pst_buf_puts(b, ",\"logprobs\":null");
    pst_put_text(b, "finish_reason", pst_view_str(finish));
    pst_put_raw(b, "native_finish_reason", j, pst_member(j, 0, "stopReason"));
    pst_buf_puts(b, "}]");
    pst_answer_end(b, u);
}

static const char *fault_of(const pst_json_t *j)
{
    uint32_t content = content_of(j);
    if (!pst_json_is(j, content, PST_JSON_ARRAY))
        return "the answer has no content";
    if (!finish_of(j)->ours)
        return "the model broke off in a malformed answer or tool call";
    if (j->tok[content].count == 0 && !pst_has_text(j, pst_json_get(j, 0, "stopReason")))
        return "the answer is blank";
    for (uint32_t t = next_with(j, call_in, PST_JSON_NONE); t != PST_JSON_NONE; t = next_with(j, call_in, t)) {
        if (!pst_has_text(j, pst_json_get(j, call_in(j, t), "name")))
            return "a tool call of the answer has no name";
    }
    return NULL;
}

static void read_ok(const pst_task_t *task, const pst_json_t *j, const pst_http_answer_t *answer, pst_arena_t *a,
                    pst_reading_t *ret)
{
    const char *fault = fault_of(j);
    pst_usage_t u = usage_of(j);
    pst_reading_set_usage(ret, &u);
    if (fault) {
        pst_failure_bad_answer(answer, fault, a, ret);
        return;
    }
    PST_SCOPED(pst_buf_release) pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_buf_reserve(&b, answer->body.n + 512);
    put_completion(&b, task, j, &u);
    pst_reading_done(ret, answer, &b, a);
}

static void read_answer(const pst_task_t *task, const pst_http_answer_t *answer, pst_arena_t *a, pst_reading_t *ret)
{
    pst_answer_read(task, answer, a, ret, read_ok);
}

/* ---- answer, while it is made: ConverseStream ---- */

/* Frames, by name: messageStart, of each block contentBlockStart (of a call), -Delta and -Stop, messageStop with the
 * reason, and metadata with what was used.  Exceptions come as frames too, and are named with a small letter where an
 * answer's header has a capital one. */

typedef struct exception {
    const char *theirs, *ours;
    int status;
} exception_t;

static const exception_t *exception_of(pst_view_t name)
{
    static const exception_t exceptions[] = {
        {"throttlingException", "ThrottlingException", 429},
        {"validationException", "ValidationException", 400},
        {"modelStreamErrorException", "ModelStreamErrorException", 424},
        {"modelTimeoutException", "ModelTimeoutException", 408},
        {"serviceUnavailableException", "ServiceUnavailableException", 503},
    };
    static const exception_t other = {"internalServerException", "InternalServerException", 500};
    for (size_t i = 0; i < PST_COUNT(exceptions); i++) {
        if (pst_view_eqs(name, exceptions[i].theirs))
            return &exceptions[i];
    }
    return &other;
}

static pst_stream_state_t on_exception(const pst_stream_event_t *e, pst_reading_t *ret)
{
    const exception_t *x = exception_of(e->name);
    pst_failure_t f;
    pst_failure_find(e->json, 0, x->status, e->arena, &f);
    f.code = pst_view_str(x->ours);
    pst_failure_report(&f, e->head, e->arena, ret);
    return PST_STREAM_FAILED;
}

static pst_stream_state_t on_block(pst_stream_t *s, const pst_stream_event_t *e, pst_reading_t *ret)
{
    const pst_json_t *j = e->json;
    uint32_t call = pst_json_path(j, 0, "start", "toolUse", NULL), name = pst_json_get(j, call, "name");
    if (call == PST_JSON_NONE)
        return PST_STREAM_MORE;
    if (!pst_has_text(j, name))
        return pst_stream_bad(e, "a tool call of the answer has no name", ret);
    pst_chunk_call(s, e->out, 0, j, pst_json_get(j, call, "toolUseId"), name, PST_JSON_NONE);
    return PST_STREAM_MORE;
}

static void on_delta(pst_stream_t *s, const pst_stream_event_t *e)
{
    const pst_json_t *j = e->json;
    uint32_t delta = pst_json_get(j, 0, "delta");
    uint32_t thought = pst_json_path(j, delta, "reasoningContent", "text", NULL);
    pst_chunk_text(s, e->out, 0, "reasoning_content", pst_inside(j, thought));
    pst_chunk_text(s, e->out, 0, "content", pst_inside(j, pst_json_get(j, delta, "text")));
    pst_chunk_arguments(s, e->out, 0, pst_inside(j, pst_json_path(j, delta, "toolUse", "input", NULL)));
}

static pst_stream_state_t on_stop(pst_stream_t *s, const pst_stream_event_t *e, pst_reading_t *ret)
{
    const char *finish = finish_of(e->json)->ours;
    if (!finish)
        return pst_stream_bad(e, "the model broke off in a malformed answer or tool call", ret);
    if (s->calls[0] && strcmp(finish, "stop") == 0)
        finish = "tool_calls";
    pst_chunk_finish(s, e->out, 0, pst_view_str(finish), e->json, pst_member(e->json, 0, "stopReason"));
    s->whole = true;
    return PST_STREAM_MORE;
}

static pst_stream_state_t on_event(pst_stream_t *s, const pst_stream_event_t *e, pst_reading_t *ret)
{
    if (e->failure)
        return on_exception(e, ret);
    if (pst_view_eqs(e->name, "contentBlockStart"))
        return on_block(s, e, ret);
    if (pst_view_eqs(e->name, "messageStop"))
        return on_stop(s, e, ret);
    if (pst_view_eqs(e->name, "contentBlockDelta"))
        on_delta(s, e);
    else if (pst_view_eqs(e->name, "contentBlockStop"))
        pst_chunk_call_end(s, e->out, 0);
    else if (pst_view_eqs(e->name, "metadata"))
        s->usage = usage_of(e->json);
    return s->whole && pst_view_eqs(e->name, "metadata") ? PST_STREAM_OVER : PST_STREAM_MORE;
}

static const pst_streaming_t streaming = {.urls = 1u << PST_URL_CHAT, .frames = true, .event = on_event};

const pst_provider_t pst_provider_bedrock = {
    .name = "bedrock",
    .auth = PST_AUTH_AWS,
    .urls = 1u << PST_URL_CHAT,
    .params = PST_PARAM_TOOLS | PST_PARAM_RESPONSE_FORMAT | PST_PARAM_IMAGES | PST_PARAM_REASONING,
    .build = build,
    .read = read_answer,
    .streaming = &streaming,
};
