/* anthropic: the Messages API, version 2023-06-01 (2026-10-21 refuses temperature, top_p and top_k
 * even at their defaults).  The base URL ends in /v1.
 *
 * What differs from OpenAI: instructions stand apart from the turns; turns alternate, with tool
 * results first in the user's; max_tokens is mandatory; tool arguments are objects, not strings; a
 * schema goes into output_config.  logprobs, logit_bias, seed, penalties and json_object have no
 * counterpart and are left out; more than one choice cannot be asked for. */
#include "providers/adapters.h"
#include "providers/answer.h"
#include "providers/chat.h"
#include "providers/common.h"
#include "providers/failure.h"
#include "providers/stream.h"

#define MAX_TOKENS_DEFAULT 4096

/* ---- request ---- */

/* Prompt caching is asked for where OpenAI's shape has no place for it, so clients put it into
 * parts. */
static void put_cache_control(pst_chat_t *c, uint32_t t)
{
    pst_put_raw(&c->b, "cache_control", c->j, pst_member(c->j, t, "cache_control"));
}

static void put_source(pst_chat_t *c, const pst_part_t *part)
{
    pst_buf_t *b = &c->b;
    pst_buf_puts(b, ",\"source\":{");
    if (part->kind == PST_PART_LINK) {
        pst_buf_puts(b, "\"type\":\"url\"");
        pst_put_text(b, "url", part->url);
    } else {
        pst_buf_puts(b, "\"type\":\"base64\"");
        pst_put_text(b, "media_type", part->mime);
        pst_put_text(b, "data", part->data);
    }
    pst_buf_putc(b, '}');
}

static void put_part(pst_chat_t *c, uint32_t token, const pst_part_t *part)
{
    pst_json_put_comma(&c->b);
    if (part->kind == PST_PART_TEXT) {
        pst_buf_puts(&c->b, "{\"type\":\"text\"");
        pst_put_raw(&c->b, "text", c->j, part->text);
    } else {
        bool image = part->kind == PST_PART_LINK || pst_text_starts(part->mime, "image/");
        if (!image && !pst_view_eqs(part->mime, "application/pdf"))
            pst_chat_refuse(c, "content: only text, images and PDF can be sent to this provider");
        pst_buf_puts(&c->b, image ? "{\"type\":\"image\"" : "{\"type\":\"document\"");
        put_source(c, part);
    }
    put_cache_control(c, token);
    pst_buf_putc(&c->b, '}');
}

static void put_tool_use(pst_chat_t *c, uint32_t call, uint32_t function, pst_view_t arguments)
{
    pst_json_put_comma(&c->b);
    pst_buf_puts(&c->b, "{\"type\":\"tool_use\"");
    pst_chat_put_call_id(c, "id", pst_json_get(c->j, call, "id"));
    pst_put_raw(&c->b, "name", c->j, pst_json_get(c->j, function, "name"));
    pst_json_put_key(&c->b, "input");
    pst_buf_putv(&c->b, arguments);
    pst_buf_putc(&c->b, '}');
}

static void put_tool_result(pst_chat_t *c, uint32_t message)
{
    uint32_t content = pst_json_get(c->j, message, "content");
    pst_json_put_comma(&c->b);
    pst_buf_puts(&c->b, "{\"type\":\"tool_result\"");
    pst_chat_put_call_id(c, "tool_use_id", pst_json_get(c->j, message, "tool_call_id"));
    if (pst_has_text(c->j, content)) {
        pst_put_raw(&c->b, "content", c->j, content);
    } else if (pst_json_is(c->j, content, PST_JSON_ARRAY) && c->j->tok[content].count) {
        pst_buf_puts(&c->b, ",\"content\":[");
        pst_chat_each_part(c, content, put_part);
        pst_buf_putc(&c->b, ']');
    }
    pst_buf_putc(&c->b, '}');
}

static const pst_chat_blocks_t blocks = {put_part, put_tool_use, put_tool_result};

static void put_system(pst_chat_t *c)
{
    size_t before = c->b.n;
    pst_json_put_key(&c->b, "system");
    pst_buf_putc(&c->b, '[');
    size_t empty = c->b.n;
    for (uint32_t m = pst_json_first(c->j, c->messages); m != c->opening; m = pst_chat_after(c, m))
        pst_chat_each_part(c, pst_json_get(c->j, m, "content"), put_part);
    if (c->b.n == empty)
        c->b.n = before;
    else
        pst_buf_putc(&c->b, ']');
}

static void put_tool(pst_chat_t *c, uint32_t tool, uint32_t function)
{
    uint32_t schema = pst_member(c->j, function, "parameters");
    pst_json_put_comma(&c->b);
    pst_buf_putc(&c->b, '{');
    pst_put_raw(&c->b, "name", c->j, pst_json_get(c->j, function, "name"));
    pst_put_raw(&c->b, "description", c->j, pst_member(c->j, function, "description"));
    if (schema == PST_JSON_NONE)
        pst_buf_puts(&c->b, ",\"input_schema\":{\"type\":\"object\",\"properties\":{}}");
    pst_put_raw(&c->b, "input_schema", c->j, schema);
    pst_put_raw(&c->b, "strict", c->j, pst_member(c->j, function, "strict"));
    put_cache_control(c, tool);
    pst_buf_putc(&c->b, '}');
}

static void put_tool_choice(pst_chat_t *c)
{
    static const char *const types[] = {
        [PST_CHOICE_UNSAID] = "auto",   [PST_CHOICE_AUTO] = "auto",  [PST_CHOICE_NONE] = "none",
        [PST_CHOICE_REQUIRED] = "any",  [PST_CHOICE_NAMED] = "tool",
    };
    uint32_t name = PST_JSON_NONE;
    pst_choice_kind_t kind = pst_chat_choice(c, &name);
    bool one = pst_is_false(c->j, 0, "parallel_tool_calls") && kind != PST_CHOICE_NONE;
    if (kind == PST_CHOICE_UNSAID && !one)
        return;
    pst_buf_puts(&c->b, ",\"tool_choice\":{");
    pst_put_text(&c->b, "type", pst_view_str(types[kind]));
    if (kind == PST_CHOICE_NAMED)
        pst_put_raw(&c->b, "name", c->j, name);
    if (one)
        pst_buf_puts(&c->b, ",\"disable_parallel_tool_use\":true");
    pst_buf_putc(&c->b, '}');
}

/* A choice without tools would be refused. */
static void put_tools(pst_chat_t *c)
{
    if (!pst_chat_has_tools(c))
        return;
    pst_buf_puts(&c->b, ",\"tools\":[");
    pst_chat_each_tool(c, put_tool);
    pst_buf_putc(&c->b, ']');
    put_tool_choice(c);
}

/* 0 to 1, where OpenAI has 0 to 2. */
static void put_temperature(pst_chat_t *c)
{
    uint32_t t = pst_chat_param(c, "temperature");
    double v;
    if (pst_json_num(c->j, t, &v) && v > 1)
        pst_buf_puts(&c->b, ",\"temperature\":1");
    else
        pst_put_raw(&c->b, "temperature", c->j, t);
}

static void put_sampling(pst_chat_t *c)
{
    if (c->task->endpoint.flags & PST_EP_NO_SAMPLING)
        return;
    put_temperature(c);
    pst_put_raw(&c->b, "top_p", c->j, pst_chat_param(c, "top_p"));
    pst_put_raw(&c->b, "top_k", c->j, pst_chat_param(c, "top_k"));
}

static void put_effort(pst_chat_t *c, uint32_t effort)
{
    if (pst_is_word(c->j, effort, "minimal"))
        pst_put_text(&c->b, "effort", PST_VIEW_LIT("low"));
    else
        pst_put_raw(&c->b, "effort", c->j, effort);
}

/* reasoning_effort and response_format; `thinking` goes through for those who know what they

 * want. */
static void put_output_config(pst_chat_t *c)
{
    uint32_t effort = pst_chat_param(c, "reasoning_effort"),
             thinking = pst_chat_param(c, "thinking");
    uint32_t schema = pst_chat_schema(c);
    pst_put_raw(&c->b, "thinking", c->j, thinking);
    if (pst_is_word(c->j, effort, "none")) {
        if (thinking == PST_JSON_NONE)
            pst_buf_puts(&c->b, ",\"thinking\":{\"type\":\"disabled\"}");
        effort = PST_JSON_NONE;
    }
    if (effort == PST_JSON_NONE && schema == PST_JSON_NONE)
        return;
    pst_buf_puts(&c->b, ",\"output_config\":{");
    put_effort(c, effort);
    if (schema != PST_JSON_NONE) {
        pst_json_put_key(&c->b, "format");
        pst_buf_puts(&c->b, "{\"type\":\"json_schema\"");
        pst_put_raw(&c->b, "schema", c->j, schema);
        pst_buf_putc(&c->b, '}');
    }
    pst_buf_putc(&c->b, '}');
}

static void put_max_tokens(pst_chat_t *c)
{
    uint32_t max = pst_chat_max_tokens(c), known = c->task->endpoint.max_output;
    if (max != PST_JSON_NONE)
        pst_put_raw(&c->b, "max_tokens", c->j, max);
    else
        pst_put_count(&c->b, "max_tokens", known ? known : MAX_TOKENS_DEFAULT);
}

static void put_user(pst_chat_t *c)
{
    uint32_t user = pst_chat_param(c, "user");
    if (user == PST_JSON_NONE)
        return;
    pst_buf_puts(&c->b, ",\"metadata\":{");
    pst_put_raw(&c->b, "user_id", c->j, user);
    pst_buf_putc(&c->b, '}');
}

static void put_request(pst_chat_t *c)
{
    pst_buf_putc(&c->b, '{');
    pst_put_text(&c->b, "model", c->task->endpoint.model);
    put_max_tokens(c);
    put_system(c);
    pst_chat_put_turns(c, &blocks);
    put_tools(c);
    put_sampling(c);
    pst_chat_put_stop(c, "stop_sequences");
    put_output_config(c);
    put_user(c);
    if (c->task->stream)
        pst_buf_puts(&c->b, ",\"stream\":true");
    pst_buf_putc(&c->b, '}');
}

static pst_err_t build(const pst_task_t *task, pst_arena_t *a, pst_http_req_t *ret,
                       pst_view_t *ret_why)
{
    pst_chat_t c;
    pst_chat_begin(&c, task, a);
    pst_chat_one_choice(&c);
    if (!c.why)
        put_request(&c);
    memset(ret, 0, sizeof *ret);
    ret->path = PST_VIEW_LIT("/messages");
    ret->header[0].name = PST_VIEW_LIT("anthropic-version");
    ret->header[0].value = PST_VIEW_LIT("2023-06-01");
    ret->headers = 1;
    return pst_chat_end(&c, &ret->body, ret_why);
}

/* ---- answer ---- */

static const char *finish_of(const pst_json_t *j, uint32_t stop_reason)
{
    static const struct {
        const char *theirs, *ours;
    } reasons[] = {
        {"end_turn", "stop"},
        {"stop_sequence", "stop"},
        {"pause_turn", "stop"},
        {"max_tokens", "length"},
        {"model_context_window_exceeded", "length"},
        {"tool_use", "tool_calls"},
        {"refusal", "content_filter"},
    };
    for (size_t i = 0; i < PST_COUNT(reasons); i++) {
        if (pst_is_word(j, stop_reason, reasons[i].theirs))
            return reasons[i].ours;
    }
    return "stop";
}

static uint32_t next_block(const pst_json_t *j, uint32_t content, uint32_t t, const char *type)
{
    t = t == PST_JSON_NONE ? pst_json_first(j, content) : pst_json_after(j, content, t);
    while (t != PST_JSON_NONE && !pst_is_word(j, pst_json_get(j, t, "type"), type))
        t = pst_json_after(j, content, t);
    return t;
}

/* The member `key` of all blocks of a type as one string; false, and nothing written, if there is
 * none. */
static bool put_joined(pst_buf_t *b, const pst_json_t *j, uint32_t content, const char *type,
                       const char *key)
{
    uint32_t t = next_block(j, content, PST_JSON_NONE, type);
    if (t == PST_JSON_NONE)
        return false;
    pst_buf_putc(b, '"');
    for (; t != PST_JSON_NONE; t = next_block(j, content, t, type))
        pst_buf_putv(b, pst_inside(j, pst_json_get(j, t, key)));
    pst_buf_putc(b, '"');
    return true;
}

static void put_tool_call(pst_buf_t *b, const pst_task_t *task, const pst_json_t *j, uint32_t t)
{
    uint32_t input = pst_json_get(j, t, "input");
    pst_json_put_comma(b);
    pst_put_call_id(b, task, j, pst_json_get(j, t, "id"), t);
    pst_buf_puts(b, ",\"type\":\"function\",\"function\":{");
    pst_put_raw(b, "name", j, pst_json_get(j, t, "name"));
    pst_put_text(b, "arguments",
                 input == PST_JSON_NONE ? PST_VIEW_LIT("{}") : pst_json_raw(j, input));
    pst_buf_puts(b, "}}");
}

static void put_message(pst_buf_t *b, const pst_task_t *task, const pst_json_t *j, uint32_t content)
{
    uint32_t call = next_block(j, content, PST_JSON_NONE, "tool_use");
    pst_buf_puts(b, "{\"role\":\"assistant\",\"content\":");
    if (!put_joined(b, j, content, "text", "text"))
        pst_buf_puts(b, call == PST_JSON_NONE ? "\"\"" : "null");
    pst_buf_puts(b, ",\"refusal\":null");
    if (next_block(j, content, PST_JSON_NONE, "thinking") != PST_JSON_NONE) {
        pst_json_put_key(b, "reasoning_content");
        put_joined(b, j, content, "thinking", "thinking");
    }
    if (call != PST_JSON_NONE) {
        pst_buf_puts(b, ",\"tool_calls\":[");
        for (; call != PST_JSON_NONE; call = next_block(j, content, call, "tool_use"))
            put_tool_call(b, task, j, call);
        pst_buf_putc(b, ']');
    }
    pst_buf_putc(b, '}');
}

/* Cached tokens are not part of input_tokens here, as they are for OpenAI. */
static pst_usage_t usage_in(const pst_json_t *j, uint32_t usage)
{
    pst_usage_t u = {
        .known = pst_json_is(j, pst_json_get(j, usage, "input_tokens"), PST_JSON_NUMBER),
        .cached = pst_count_of(j, pst_json_get(j, usage, "cache_read_input_tokens")),
        .cache_write = pst_count_of(j, pst_json_get(j, usage, "cache_creation_input_tokens")),
        .output = pst_count_of(j, pst_json_get(j, usage, "output_tokens")),
        .reasoning = pst_count_of(
            j, pst_json_path(j, usage, "output_tokens_details", "thinking_tokens", NULL)),
    };
    u.input = pst_count_of(j, pst_json_get(j, usage, "input_tokens")) + u.cached + u.cache_write;
    return u;
}

static void put_completion(pst_buf_t *b, const pst_task_t *task, const pst_json_t *j,
                           const pst_usage_t *u)
{
    uint32_t stop_reason = pst_member(j, 0, "stop_reason");
    pst_answer_begin(b, task, "chat.completion", "chatcmpl-", j, pst_json_get(j, 0, "id"),
                     pst_json_get(j, 0, "model"));
    pst_buf_puts(b, ",\"choices\":[{\"index\":0,\"message\":");
    put_message(b, task, j, pst_json_get(j, 0, "content"));
    pst_buf_puts(b, ",\"logprobs\":null");
    pst_put_text(b, "finish_reason", pst_view_str(finish_of(j, stop_reason)));
    pst_put_raw(b, "native_finish_reason", j, stop_reason);
    pst_buf_puts(b, "}]");
    pst_answer_end(b, u);
}

static const char *fault_of(const pst_json_t *j)
{
    uint32_t content = pst_json_get(j, 0, "content");
    if (!pst_json_is(j, content, PST_JSON_ARRAY))
        return "the answer has no content";
    if (j->tok[content].count == 0 && !pst_has_text(j, pst_json_get(j, 0, "stop_reason")))
        return "the answer is blank";
    for (uint32_t t = next_block(j, content, PST_JSON_NONE, "tool_use"); t != PST_JSON_NONE;
         t = next_block(j, content, t, "tool_use")) {
        if (!pst_has_text(j, pst_json_get(j, t, "name")))
            return "a tool call of the answer has no name";
    }
    return NULL;
}

static void read_ok(const pst_task_t *task, const pst_json_t *j, const pst_http_answer_t *answer,
                    pst_arena_t *a, pst_reading_t *ret)
{
    const char *fault = fault_of(j);
    pst_usage_t u = usage_in(j, pst_json_get(j, 0, "usage"));
    pst_reading_set_usage(ret, &u);
    if (pst_answer_failed(j, pst_member(j, 0, "error") != PST_JSON_NONE, fault, answer, a, ret))
        return;
    PST_SCOPED(pst_buf_release) pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_buf_reserve(&b, answer->body.n + 512);
    put_completion(&b, task, j, &u);
    pst_reading_done(ret, answer, &b, a);
}

static void read_answer(const pst_task_t *task, const pst_http_answer_t *answer, pst_arena_t *a,
                        pst_reading_t *ret)
{
    pst_answer_read(task, answer, a, ret, read_ok);
}

/* ---- answer, while it is made ---- */

/* As the SDKs take it: a message starts, its blocks come one behind the other, each with deltas between its start and its
 * stop, then message_delta says why it stopped and what was used, and message_stop ends it.  Pings, and events that a
 * later version may add, mean nothing. */
typedef enum event {
    MESSAGE_START,
    BLOCK_START,
    BLOCK_DELTA,
    BLOCK_STOP,
    MESSAGE_DELTA,
    MESSAGE_STOP,
    ERROR_EVENT,
    OTHER_EVENT,
} event_t;

static event_t event_of(const pst_json_t *j)
{
    static const char *const types[] = {
        [MESSAGE_START] = "message_start",    [BLOCK_START] = "content_block_start",
        [BLOCK_DELTA] = "content_block_delta", [BLOCK_STOP] = "content_block_stop",
        [MESSAGE_DELTA] = "message_delta",    [MESSAGE_STOP] = "message_stop",
        [ERROR_EVENT] = "error",
    };
    uint32_t type = pst_json_get(j, 0, "type");
    unsigned i = 0;
    while (i < PST_COUNT(types) && !pst_is_word(j, type, types[i]))
        i++;
    return (event_t)i;
}

/* Counts are of all so far; those that an event leaves out, or says 0 of behind the first, stand. */
static void add_usage(pst_stream_t *s, const pst_json_t *j, uint32_t owner)
{
    pst_usage_t u = usage_in(j, pst_json_get(j, owner, "usage"));
    bool first = !s->usage.known;
    if (u.known && (first || u.input)) {
        s->usage.known = true;
        s->usage.input = u.input;
        s->usage.cached = u.cached;
        s->usage.cache_write = u.cache_write;
    }
    s->usage.output = PST_MAX(s->usage.output, u.output);
    s->usage.reasoning = PST_MAX(s->usage.reasoning, u.reasoning);
}

static pst_stream_state_t on_block(pst_stream_t *s, const pst_stream_event_t *e, pst_reading_t *ret)
{
    const pst_json_t *j = e->json;
    uint32_t block = pst_json_get(j, 0, "content_block"), type = pst_json_get(j, block, "type");
    uint32_t input = pst_json_get(j, block, "input"), name = pst_json_get(j, block, "name");
    pst_chunk_text(s, e->out, 0, "reasoning_content", pst_inside(j, pst_json_get(j, block, "thinking")));
    pst_chunk_text(s, e->out, 0, "content", pst_inside(j, pst_json_get(j, block, "text")));
    if (!pst_is_word(j, type, "tool_use"))
        return PST_STREAM_MORE;
    if (!pst_has_text(j, name))
        return pst_stream_bad(e, "a tool call of the answer has no name", ret);
    pst_chunk_call(s, e->out, 0, j, pst_json_get(j, block, "id"), name, PST_JSON_NONE);
    if (pst_json_first(j, input) != PST_JSON_NONE) /* empty where deltas follow */
        pst_chunk_arguments_text(s, e->out, 0, pst_json_raw(j, input));
    return PST_STREAM_MORE;
}

static void on_delta(pst_stream_t *s, const pst_stream_event_t *e)
{
    const pst_json_t *j = e->json;
    uint32_t delta = pst_json_get(j, 0, "delta");
    pst_chunk_text(s, e->out, 0, "reasoning_content", pst_inside(j, pst_json_get(j, delta, "thinking")));
    pst_chunk_text(s, e->out, 0, "content", pst_inside(j, pst_json_get(j, delta, "text")));
    if (s->in_call)
        pst_chunk_arguments(s, e->out, 0, pst_inside(j, pst_json_get(j, delta, "partial_json")));
}

static void on_message_delta(pst_stream_t *s, const pst_stream_event_t *e)
{
    const pst_json_t *j = e->json;
    uint32_t reason = pst_member(j, pst_json_get(j, 0, "delta"), "stop_reason");
    add_usage(s, j, 0);
    if (reason == PST_JSON_NONE)
        return;
    pst_chunk_finish(s, e->out, 0, pst_view_str(finish_of(j, reason)), j, reason);
}

static pst_stream_state_t on_event(pst_stream_t *s, const pst_stream_event_t *e, pst_reading_t *ret)
{
    const pst_json_t *j = e->json;
    uint32_t message = pst_json_get(j, 0, "message");
    switch (event_of(j)) {
    case MESSAGE_START:
        pst_stream_name(s, j, pst_json_get(j, message, "id"), pst_json_get(j, message, "model"));
        add_usage(s, j, message);
        break;
    case BLOCK_START:
        return on_block(s, e, ret);
    case BLOCK_DELTA:
        on_delta(s, e);
        break;
    case BLOCK_STOP:
        pst_chunk_call_end(s, e->out, 0);
        break;
    case MESSAGE_DELTA:
        on_message_delta(s, e);
        break;
    case MESSAGE_STOP:
        return s->finished ? PST_STREAM_OVER : pst_stream_bad(e, "the answer does not say why it stopped", ret);
    case ERROR_EVENT:
        return pst_stream_failed(e, 0, ret);
    case OTHER_EVENT:
        break;
    }
    return PST_STREAM_MORE;
}

static const pst_streaming_t streaming = {.urls = 1u << PST_URL_CHAT, .event = on_event};

const pst_provider_t pst_provider_anthropic = {
    .name = "anthropic",
    .auth = PST_AUTH_X_API_KEY,
    .urls = 1u << PST_URL_CHAT,
    .params = PST_PARAM_TOOLS | PST_PARAM_RESPONSE_FORMAT | PST_PARAM_IMAGES | PST_PARAM_REASONING,
    .build = build,
    .read = read_answer,
    .streaming = &streaming,
};
