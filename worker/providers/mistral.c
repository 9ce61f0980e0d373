/* mistral: chat completions and embeddings of api.mistral.ai.  The base URL ends in /v1.
 *
 * Requests are OpenAI's but for the names of a few members; what Mistral lacks is left out, because it refuses bodies
 * with members that it does not know.  Its own (safe_prompt, prompt_mode, guardrails, random_seed …) go through, as
 * all does that has the same name there.  The ids of tool calls must be nine letters and digits: any other id, of a
 * conversation that was led elsewhere, becomes nine made of it, the same ones wherever it stands.  A conversation must
 * not end with the assistant unless that is said to be the beginning of the answer.
 *
 * Answers are said again: their content may come in chunks, thinking among them, and arguments as an object. */
#include "providers/adapters.h"
#include "providers/answer.h"
#include "providers/common.h"
#include "providers/failure.h"
#include "providers/openai.h"

#define CALL_ID_LETTERS 9

/* ---- request ---- */

/* The job's messages up to `at` are on their way. */
typedef struct edit {
    pst_copy_t *c;
    uint32_t at;
} edit_t;

static void replace(edit_t *e, uint32_t from, uint32_t to, pst_view_t text)
{
    pst_copy_range(e->c, e->at, from);
    pst_buf_putv(e->c->out, text);
    e->at = to;
}

/* Leaves a member out, with a comma beside it: that before it if a member before it stays. */
static void drop(edit_t *e, uint32_t object, uint32_t key, uint32_t end_before, bool first)
{
    const pst_json_t *j = e->c->j;
    uint32_t after = pst_json_after(j, object, key);
    if (!first)
        replace(e, end_before, j->tok[key + 1].end, pst_view(NULL, 0));
    else
        replace(e, j->tok[key].start, after == PST_JSON_NONE ? j->tok[key + 1].end : j->tok[after].start,
                pst_view(NULL, 0));
}

static bool is_call_id(pst_view_t id)
{
    for (size_t i = 0; i < id.n; i++) {
        char x = id.p[i];
        if (!((x >= 'a' && x <= 'z') || (x >= 'A' && x <= 'Z') || (x >= '0' && x <= '9')))
            return false;
    }
    return id.n == CALL_ID_LETTERS;
}

/* Two ids of one conversation that become the same are as unlikely as 2^-53. */
static void replace_call_id(edit_t *e, uint32_t t)
{
    static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    const pst_json_t *j = e->c->j;
    pst_view_t id = pst_json_str(j, t, e->c->a);
    char made[CALL_ID_LETTERS + 2];
    if (!pst_json_is(j, t, PST_JSON_STRING) || is_call_id(id))
        return;
    uint64_t hash = pst_text_hash(id);
    made[0] = made[CALL_ID_LETTERS + 1] = '"';
    for (size_t i = 1; i <= CALL_ID_LETTERS; i++, hash /= 62)
        made[i] = letters[hash % 62];
    replace(e, j->tok[t].start, j->tok[t].end, pst_view(made, sizeof made));
}

static void edit_calls(edit_t *e, uint32_t calls)
{
    const pst_json_t *j = e->c->j;
    for (uint32_t t = pst_json_first(j, calls); t != PST_JSON_NONE; t = pst_json_after(j, calls, t))
        replace_call_id(e, pst_json_get(j, t, "id"));
}

/* Members of answers that come back with the conversation, and the speaker's name, which only tools have there. */
static bool is_foreign(const pst_json_t *j, uint32_t message, pst_view_t key)
{
    static const char *const keys[] = {
        "refusal", "annotations", "audio", "function_call", "reasoning_content", "reasoning",
    };
    for (size_t i = 0; i < PST_COUNT(keys); i++) {
        if (pst_view_eqs(key, keys[i]))
            return true;
    }
    return pst_view_eqs(key, "name") && !pst_is_word(j, pst_json_get(j, message, "role"), "tool");
}

static void edit_value(edit_t *e, pst_view_t key, uint32_t value)
{
    const pst_json_t *j = e->c->j;
    if (pst_view_eqs(key, "role") && pst_is_word(j, value, "developer"))
        replace(e, j->tok[value].start, j->tok[value].end, PST_VIEW_LIT("\"system\""));
    else if (pst_view_eqs(key, "tool_call_id"))
        replace_call_id(e, value);
    else if (pst_view_eqs(key, "tool_calls") && pst_json_is(j, value, PST_JSON_ARRAY))
        edit_calls(e, value);
}

static void edit_message(edit_t *e, uint32_t message)
{
    const pst_json_t *j = e->c->j;
    uint32_t end_before = j->tok[message].start + 1;
    bool first = true;
    for (uint32_t k = pst_json_first(j, message); k != PST_JSON_NONE; k = pst_json_after(j, message, k)) {
        pst_view_t key = pst_json_str(j, k, e->c->a);
        if (is_foreign(j, message, key)) {
            drop(e, message, k, end_before, first);
        } else {
            edit_value(e, key, k + 1);
            first = false;
        }
        end_before = j->tok[k + 1].end;
    }
}

static void edit_end(edit_t *e, uint32_t message)
{
    const pst_json_t *j = e->c->j;
    uint32_t brace = j->tok[message].end - 1;
    if (pst_is_word(j, pst_json_get(j, message, "role"), "assistant") &&
        pst_json_get(j, message, "prefix") == PST_JSON_NONE &&
        pst_member(j, message, "tool_calls") == PST_JSON_NONE)
        replace(e, brace, brace, PST_VIEW_LIT(",\"prefix\":true"));
}

static void put_messages(pst_copy_t *c, uint32_t messages)
{
    const pst_json_t *j = c->j;
    edit_t e = {c, j->tok[messages].start};
    uint32_t last = PST_JSON_NONE;
    if (pst_json_is(j, messages, PST_JSON_ARRAY)) {
        for (uint32_t m = pst_json_first(j, messages); m != PST_JSON_NONE; m = pst_json_after(j, messages, m)) {
            last = pst_json_is(j, m, PST_JSON_OBJECT) ? m : PST_JSON_NONE;
            if (last != PST_JSON_NONE)
                edit_message(&e, m);
        }
    }
    if (last != PST_JSON_NONE)
        edit_end(&e, last);
    pst_copy_range(c, e.at, j->tok[messages].end);
}

static const pst_openai_word_t words[] = {
    {"seed", "random_seed"},
    {"dimensions", "output_dimension"},
    {"logprobs", NULL},
    {"top_logprobs", NULL},
    {"logit_bias", NULL},
    {"user", NULL},
    {"store", NULL},
    {"safety_identifier", NULL},
    {"verbosity", NULL},
    {"modalities", NULL},
    {"audio", NULL},
    {"moderation", NULL},
    {"reasoning", NULL},
    {"prompt_cache_options", NULL},
    {"prompt_cache_retention", NULL},
    {"web_search_options", NULL},
};

static const pst_openai_dialect_t dialect = {
    .flags = PST_EP_MAX_TOKENS,
    .heeded = PST_EP_NO_STORE,
    .word = words,
    .words = PST_COUNT(words),
    .put_messages = put_messages,
    .no_stream_options = true,
};

static pst_err_t build(const pst_task_t *task, pst_arena_t *a, pst_http_req_t *ret,
                       pst_view_t *ret_why)
{
    if (pst_member(task->body, 0, "functions") != PST_JSON_NONE) {
        *ret_why = PST_VIEW_LIT("functions: cannot be sent to this provider: use tools");
        return PST_E_INVALID;
    }
    return pst_openai_build(&dialect, task, a, ret, ret_why);
}

/* ---- answer ---- */

/* The texts of all chunks of one type, joined; inside a thinking chunk there are text chunks again. */
static void put_chunks(pst_buf_t *b, const pst_json_t *j, uint32_t chunks, const char *type)
{
    for (uint32_t t = pst_json_first(j, chunks); t != PST_JSON_NONE; t = pst_json_after(j, chunks, t)) {
        if (!pst_is_word(j, pst_json_get(j, t, "type"), type))
            continue;
        uint32_t inner = pst_json_get(j, t, type);
        if (pst_json_is(j, inner, PST_JSON_ARRAY))
            put_chunks(b, j, inner, "text");
        else
            pst_buf_putv(b, pst_inside(j, inner));
    }
}

static bool has_chunk(const pst_json_t *j, uint32_t content, const char *type)
{
    if (!pst_json_is(j, content, PST_JSON_ARRAY))
        return false;
    for (uint32_t t = pst_json_first(j, content); t != PST_JSON_NONE; t = pst_json_after(j, content, t)) {
        if (pst_is_word(j, pst_json_get(j, t, "type"), type))
            return true;
    }
    return false;
}

static void put_content(pst_buf_t *b, const pst_json_t *j, uint32_t content)
{
    if (pst_json_is(j, content, PST_JSON_STRING)) {
        pst_buf_putv(b, pst_json_raw(j, content));
    } else if (has_chunk(j, content, "text")) {
        pst_buf_putc(b, '"');
        put_chunks(b, j, content, "text");
        pst_buf_putc(b, '"');
    } else {
        pst_buf_puts(b, "null");
    }
}

static void put_call(pst_buf_t *b, const pst_task_t *task, const pst_json_t *j, uint32_t call)
{
    uint32_t function = pst_json_get(j, call, "function"), arguments = pst_member(j, function, "arguments");
    pst_json_put_comma(b);
    pst_put_call_id(b, task, j, pst_json_get(j, call, "id"), call);
    pst_buf_puts(b, ",\"type\":\"function\",\"function\":{");
    pst_put_raw(b, "name", j, pst_json_get(j, function, "name"));
    if (pst_json_is(j, arguments, PST_JSON_STRING))
        pst_put_raw(b, "arguments", j, arguments);
    else
        pst_put_text(b, "arguments", arguments == PST_JSON_NONE ? PST_VIEW_LIT("{}") : pst_json_raw(j, arguments));
    pst_buf_puts(b, "}}");
}

static void put_message(pst_buf_t *b, const pst_task_t *task, const pst_json_t *j, uint32_t message)
{
    uint32_t content = pst_json_get(j, message, "content"), calls = pst_json_get(j, message, "tool_calls");
    pst_buf_puts(b, "{\"role\":\"assistant\",\"content\":");
    put_content(b, j, content);
    pst_buf_puts(b, ",\"refusal\":null");
    if (has_chunk(j, content, "thinking")) {
        pst_buf_puts(b, ",\"reasoning_content\":\"");
        put_chunks(b, j, content, "thinking");
        pst_buf_putc(b, '"');
    }
    if (pst_json_is(j, calls, PST_JSON_ARRAY) && j->tok[calls].count) {
        pst_buf_puts(b, ",\"tool_calls\":[");
        for (uint32_t t = pst_json_first(j, calls); t != PST_JSON_NONE; t = pst_json_after(j, calls, t))
            put_call(b, task, j, t);
        pst_buf_putc(b, ']');
    }
    pst_buf_putc(b, '}');
}

static void put_choice(pst_buf_t *b, const pst_task_t *task, const pst_json_t *j, uint32_t choice, uint32_t index)
{
    uint32_t reason = pst_member(j, choice, "finish_reason");
    pst_json_put_comma(b);
    pst_buf_puts(b, "{\"index\":");
    pst_put_digits(b, index);
    pst_buf_puts(b, ",\"message\":");
    put_message(b, task, j, pst_json_get(j, choice, "message"));
    pst_buf_puts(b, ",\"logprobs\":null,\"finish_reason\":");
    if (pst_is_word(j, reason, "model_length"))
        pst_buf_puts(b, "\"length\"");
    else
        pst_buf_putv(b, reason == PST_JSON_NONE ? PST_VIEW_LIT("null") : pst_json_raw(j, reason));
    pst_put_raw(b, "native_finish_reason", j, reason);
    pst_buf_putc(b, '}');
}

static void put_completion(pst_buf_t *b, const pst_task_t *task, const pst_json_t *j, const pst_usage_t *u)
{
    uint32_t choices = pst_json_get(j, 0, "choices"), n = 0;
    pst_answer_begin(b, task, "chat.completion", "chatcmpl-", j, pst_json_get(j, 0, "id"),
                     pst_json_get(j, 0, "model"));
    pst_buf_puts(b, ",\"choices\":[");
    for (uint32_t t = pst_json_first(j, choices); t != PST_JSON_NONE; t = pst_json_after(j, choices, t))
        put_choice(b, task, j, t, n++);
    pst_buf_putc(b, ']');
    pst_answer_end(b, u);
}

static bool has_nameless_call(const pst_json_t *j)
{
    uint32_t choices = pst_json_get(j, 0, "choices");
    for (uint32_t t = pst_json_first(j, choices); t != PST_JSON_NONE; t = pst_json_after(j, choices, t)) {
        uint32_t calls = pst_if_any(j, pst_json_path(j, t, "message", "tool_calls", NULL));
        for (uint32_t k = pst_json_first(j, calls); k != PST_JSON_NONE; k = pst_json_after(j, calls, k)) {
            if (!pst_has_text(j, pst_json_path(j, k, "function", "name", NULL)))
                return true;
        }
    }
    return false;
}

static void read_ok(const pst_task_t *task, const pst_json_t *j, const pst_http_answer_t *answer,
                    pst_arena_t *a, pst_reading_t *ret)
{
    pst_openai_read_ok(task, j, answer, a, ret);
    if (ret->verdict != PST_VERDICT_DONE || task->url != PST_URL_CHAT)
        return;
    if (has_nameless_call(j)) {
        pst_failure_bad_answer(answer, "a tool call of the answer has no name", a, ret);
        return;
    }
    PST_SCOPED(pst_buf_release) pst_buf_t b;
    pst_usage_t u = {.input = ret->input_tokens, .cached = ret->cached_tokens, .output = ret->output_tokens};
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

/* Whether a choice of a chunk is as OpenAI would say it. */
static bool is_plain(const pst_json_t *j, uint32_t choice)
{
    uint32_t delta = pst_json_get(j, choice, "delta"), calls = pst_member(j, delta, "tool_calls");
    bool plain = !pst_json_is(j, pst_json_get(j, delta, "content"), PST_JSON_ARRAY) &&
                 !pst_is_word(j, pst_json_get(j, choice, "finish_reason"), "model_length");
    for (uint32_t t = pst_json_first(j, calls); t != PST_JSON_NONE && plain; t = pst_json_after(j, calls, t))
        plain = pst_json_is(j, pst_json_path(j, t, "function", "arguments", NULL), PST_JSON_STRING);
    return plain;
}

/* A call comes whole. */
static void put_delta_call(pst_stream_t *s, pst_buf_t *out, uint32_t index, const pst_json_t *j, uint32_t call)
{
    uint32_t function = pst_json_get(j, call, "function"), arguments = pst_member(j, function, "arguments");
    pst_chunk_call(s, out, index, j, pst_json_get(j, call, "id"), pst_json_get(j, function, "name"), PST_JSON_NONE);
    if (pst_json_is(j, arguments, PST_JSON_STRING))
        pst_chunk_arguments(s, out, index, pst_inside(j, arguments));
    else if (arguments != PST_JSON_NONE)
        pst_chunk_arguments_text(s, out, index, pst_json_raw(j, arguments));
    pst_chunk_call_end(s, out, index);
}

static void put_delta_chunks(pst_stream_t *s, pst_buf_t *out, uint32_t index, const pst_json_t *j, uint32_t content,
                             const char *type, const char *key)
{
    PST_SCOPED(pst_buf_release) pst_buf_t b;
    pst_buf_init(&b, 0);
    put_chunks(&b, j, content, type);
    pst_chunk_text(s, out, index, key, pst_buf_view(&b));
    out->failed = out->failed || b.failed;
}

static uint32_t index_of(const pst_json_t *j, uint32_t choice)
{
    return (uint32_t)PST_MIN(pst_count_of(j, pst_json_get(j, choice, "index")), PST_STREAM_CHOICES_MAX - 1u);
}

static void put_delta(pst_stream_t *s, pst_buf_t *out, const pst_json_t *j, uint32_t choice)
{
    uint32_t index = index_of(j, choice);
    uint32_t delta = pst_json_get(j, choice, "delta"), content = pst_json_get(j, delta, "content");
    uint32_t calls = pst_member(j, delta, "tool_calls"), reason = pst_member(j, choice, "finish_reason");
    if (pst_json_is(j, content, PST_JSON_ARRAY)) {
        put_delta_chunks(s, out, index, j, content, "thinking", "reasoning_content");
        put_delta_chunks(s, out, index, j, content, "text", "content");
    } else {
        pst_chunk_text(s, out, index, "content", pst_inside(j, content));
    }
    for (uint32_t t = pst_json_first(j, calls); t != PST_JSON_NONE; t = pst_json_after(j, calls, t))
        put_delta_call(s, out, index, j, t);
    if (pst_is_word(j, reason, "model_length"))
        pst_chunk_finish(s, out, index, PST_VIEW_LIT("length"), j, reason);
    else if (pst_has_text(j, reason))
        pst_chunk_finish(s, out, index, pst_inside(j, reason), j, reason);
}

/* What OpenAI would say otherwise is said again. */
static void put_chunk(pst_stream_t *s, const pst_stream_event_t *e)
{
    const pst_json_t *j = e->json;
    uint32_t choices = pst_json_get(j, 0, "choices"), t = pst_json_first(j, choices);
    while (t != PST_JSON_NONE && is_plain(j, t))
        t = pst_json_after(j, choices, t);
    if (t == PST_JSON_NONE) {
        for (t = pst_json_first(j, choices); t != PST_JSON_NONE; t = pst_json_after(j, choices, t))
            s->begun |= UINT64_C(1) << index_of(j, t);
        pst_openai_put_chunk(s, e);
        return;
    }
    pst_stream_name(s, j, pst_json_get(j, 0, "id"), pst_json_get(j, 0, "model"));
    for (t = pst_json_first(j, choices); t != PST_JSON_NONE; t = pst_json_after(j, choices, t))
        put_delta(s, e->out, j, t);
}

static pst_stream_state_t on_event(pst_stream_t *s, const pst_stream_event_t *e, pst_reading_t *ret)
{
    return pst_openai_event(s, e, put_chunk, ret);
}

static const pst_streaming_t streaming = {.urls = 1u << PST_URL_CHAT, .done = true, .event = on_event};

const pst_provider_t pst_provider_mistral = {
    .name = "mistral",
    .auth = PST_AUTH_BEARER,
    .urls = 1u << PST_URL_CHAT | 1u << PST_URL_EMBEDDINGS,
    .params = PST_PARAMS_ALL & ~(uint32_t)(PST_PARAM_LOGPROBS | PST_PARAM_LOGIT_BIAS),
    .build = build,
    .read = read_answer,
    .streaming = &streaming,
};
