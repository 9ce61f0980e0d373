#include "providers/responses.h"

#include "providers/answer.h"
#include "providers/common.h"
#include "providers/failure.h"

/* ---- what is asked --------------------------------------------------------------------------- */

typedef struct ask {
    const pst_json_t *j;
    pst_buf_t b;
    const char *why; /* the first thing that a chat cannot say */
    bool calls_open; /* the message that is being written has the calls of the items before */
} ask_t;

static void refuse(ask_t *q, const char *why)
{
    if (!q->why)
        q->why = why;
}

/* Where it stands is what tells an item without a type from one with. */
static bool is_type(const ask_t *q, uint32_t t, const char *type)
{
    return pst_is_word(q->j, pst_json_get(q->j, t, "type"), type);
}

static void open_message(ask_t *q, const char *role)
{
    pst_json_put_comma(&q->b);
    pst_buf_puts(&q->b, "{\"role\":\"");
    pst_buf_puts(&q->b, role);
    pst_buf_putc(&q->b, '"');
}

static void close_calls(ask_t *q)
{
    if (q->calls_open)
        pst_buf_puts(&q->b, "]}");
    q->calls_open = false;
}

static void put_image(ask_t *q, uint32_t part)
{
    uint32_t url = pst_member(q->j, part, "image_url");
    if (!pst_has_text(q->j, url)) {
        refuse(q, "input: this provider keeps no files: give an image by its image_url");
        return;
    }
    pst_buf_puts(&q->b, "{\"type\":\"image_url\",\"image_url\":{");
    pst_put_raw(&q->b, "url", q->j, url);
    pst_put_raw(&q->b, "detail", q->j, pst_member(q->j, part, "detail"));
    pst_buf_puts(&q->b, "}}");
}

static void put_file(ask_t *q, uint32_t part)
{
    uint32_t data = pst_member(q->j, part, "file_data");
    if (!pst_has_text(q->j, data)) {
        refuse(q, "input: this provider keeps no files: give one as its file_data");
        return;
    }
    pst_buf_puts(&q->b, "{\"type\":\"file\",\"file\":{");
    pst_put_raw(&q->b, "filename", q->j, pst_member(q->j, part, "filename"));
    pst_put_raw(&q->b, "file_data", q->j, data);
    pst_buf_puts(&q->b, "}}");
}

static void put_text_part(ask_t *q, uint32_t part, const char *key)
{
    pst_buf_puts(&q->b, "{\"type\":\"text\"");
    pst_put_raw(&q->b, "text", q->j, pst_json_get(q->j, part, key));
    pst_put_raw(&q->b, "cache_control", q->j, pst_member(q->j, part, "cache_control"));
    pst_buf_putc(&q->b, '}');
}

static void put_part(ask_t *q, uint32_t part)
{
    pst_json_put_comma(&q->b);
    if (is_type(q, part, "input_text") || is_type(q, part, "output_text")) {
        put_text_part(q, part, "text");
    } else if (is_type(q, part, "refusal")) {
        put_text_part(q, part, "refusal");
    } else if (is_type(q, part, "input_image")) {
        put_image(q, part);
    } else if (is_type(q, part, "input_file")) {
        put_file(q, part);
    } else if (is_type(q, part, "input_audio")) {
        pst_buf_puts(&q->b, "{\"type\":\"input_audio\"");
        pst_put_raw(&q->b, "input_audio", q->j, pst_member(q->j, part, "input_audio"));
        pst_buf_putc(&q->b, '}');
    } else {
        refuse(q, "input: a part of a message is of a type that cannot be sent to this provider");
    }
}

static void put_content(ask_t *q, uint32_t content)
{
    pst_buf_puts(&q->b, ",\"content\":");
    if (pst_json_is(q->j, content, PST_JSON_STRING)) {
        pst_buf_putv(&q->b, pst_json_raw(q->j, content));
    } else if (pst_json_is(q->j, content, PST_JSON_ARRAY)) {
        pst_buf_putc(&q->b, '[');
        for (uint32_t t = pst_json_first(q->j, content); t != PST_JSON_NONE; t = pst_json_after(q->j, content, t))
            put_part(q, t);
        pst_buf_putc(&q->b, ']');
    } else {
        refuse(q, "input: the content of a message must be a string or an array of parts");
    }
}

static void put_message(ask_t *q, uint32_t item)
{
    static const char *const roles[] = {"user", "assistant", "system", "developer"};
    uint32_t role = pst_json_get(q->j, item, "role");
    for (size_t i = 0; i < PST_COUNT(roles); i++) {
        if (!pst_is_word(q->j, role, roles[i]))
            continue;
        open_message(q, roles[i]);
        put_content(q, pst_json_get(q->j, item, "content"));
        pst_buf_putc(&q->b, '}');
        return;
    }
    refuse(q, "input: a message must have role user, assistant, system or developer");
}

/* Calls that stand one behind the other were made together: they are one message's. */
static void put_call(ask_t *q, uint32_t item)
{
    if (!q->calls_open) {
        open_message(q, "assistant");
        pst_buf_puts(&q->b, ",\"content\":null,\"tool_calls\":[");
        q->calls_open = true;
    }
    pst_json_put_comma(&q->b);
    pst_buf_puts(&q->b, "{\"type\":\"function\"");
    pst_put_raw(&q->b, "id", q->j, pst_member(q->j, item, "call_id"));
    pst_buf_puts(&q->b, ",\"function\":{");
    pst_put_raw(&q->b, "name", q->j, pst_member(q->j, item, "name"));
    pst_put_raw(&q->b, "arguments", q->j, pst_member(q->j, item, "arguments"));
    pst_buf_puts(&q->b, "}}");
}

static void put_call_output(ask_t *q, uint32_t item)
{
    open_message(q, "tool");
    pst_put_raw(&q->b, "tool_call_id", q->j, pst_member(q->j, item, "call_id"));
    put_content(q, pst_json_get(q->j, item, "output"));
    pst_buf_putc(&q->b, '}');
}

/* What a model thought before is its provider's: others can do nothing with it. */
static void put_item(ask_t *q, uint32_t item)
{
    if (is_type(q, item, "reasoning"))
        return;
    if (is_type(q, item, "function_call")) {
        put_call(q, item);
        return;
    }
    close_calls(q);
    if (is_type(q, item, "function_call_output"))
        put_call_output(q, item);
    else if (is_type(q, item, "message") || pst_member(q->j, item, "type") == PST_JSON_NONE)
        put_message(q, item);
    else
        refuse(q, "input: this provider knows messages, function calls and their outputs only");
}

static void put_messages(ask_t *q)
{
    const pst_json_t *j = q->j;
    uint32_t instructions = pst_member(j, 0, "instructions"), input = pst_member(j, 0, "input");
    pst_buf_puts(&q->b, "\"messages\":[");
    if (pst_has_text(j, instructions)) {
        open_message(q, "system");
        put_content(q, instructions);
        pst_buf_putc(&q->b, '}');
    }
    if (pst_json_is(j, input, PST_JSON_STRING)) {
        open_message(q, "user");
        put_content(q, input);
        pst_buf_putc(&q->b, '}');
    } else if (pst_json_is(j, input, PST_JSON_ARRAY)) {
        for (uint32_t t = pst_json_first(j, input); t != PST_JSON_NONE; t = pst_json_after(j, input, t))
            put_item(q, t);
        close_calls(q);
    } else {
        refuse(q, "input: must be a string or an array of items");
    }
    pst_buf_putc(&q->b, ']');
}

static void put_function(ask_t *q, uint32_t tool)
{
    static const char *const members[] = {"name", "description", "parameters", "strict"};
    pst_json_put_comma(&q->b);
    pst_buf_puts(&q->b, "{\"type\":\"function\",\"function\":{");
    for (size_t i = 0; i < PST_COUNT(members); i++)
        pst_put_raw(&q->b, members[i], q->j, pst_member(q->j, tool, members[i]));
    pst_buf_putc(&q->b, '}');
    pst_put_raw(&q->b, "cache_control", q->j, pst_member(q->j, tool, "cache_control"));
    pst_buf_putc(&q->b, '}');
}

static bool has_tools(const ask_t *q)
{
    return pst_json_first(q->j, pst_member(q->j, 0, "tools")) != PST_JSON_NONE;
}

static void put_tools(ask_t *q)
{
    const pst_json_t *j = q->j;
    uint32_t tools = pst_member(j, 0, "tools");
    pst_buf_puts(&q->b, ",\"tools\":[");
    for (uint32_t t = pst_json_first(j, tools); t != PST_JSON_NONE; t = pst_json_after(j, tools, t)) {
        if (!is_type(q, t, "function"))
            refuse(q, "tools: this provider runs none of its own: only functions can be given to it");
        put_function(q, t);
    }
    pst_buf_putc(&q->b, ']');
}

static void put_tool_choice(ask_t *q, uint32_t choice)
{
    if (!pst_json_is(q->j, choice, PST_JSON_OBJECT)) {
        pst_put_raw(&q->b, "tool_choice", q->j, choice);
        return;
    }
    pst_buf_puts(&q->b, ",\"tool_choice\":{\"type\":\"function\",\"function\":{");
    pst_put_raw(&q->b, "name", q->j, pst_member(q->j, choice, "name"));
    pst_buf_puts(&q->b, "}}");
}

/* How tools are to be called is not said where there are none: a chat is refused for it, a response is not. */
static void put_calling(ask_t *q)
{
    uint32_t choice = pst_member(q->j, 0, "tool_choice");
    if (pst_json_is(q->j, choice, PST_JSON_OBJECT) && !is_type(q, choice, "function"))
        refuse(q, "tool_choice: must be auto, none, required or a function");
    if (!has_tools(q))
        return;
    put_tools(q);
    put_tool_choice(q, choice);
    pst_put_raw(&q->b, "parallel_tool_calls", q->j, pst_member(q->j, 0, "parallel_tool_calls"));
}

static void put_format(ask_t *q, uint32_t format)
{
    static const char *const members[] = {"name", "description", "schema", "strict"};
    if (is_type(q, format, "json_object")) {
        pst_buf_puts(&q->b, ",\"response_format\":{\"type\":\"json_object\"}");
    } else if (is_type(q, format, "json_schema")) {
        pst_buf_puts(&q->b, ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{");
        for (size_t i = 0; i < PST_COUNT(members); i++)
            pst_put_raw(&q->b, members[i], q->j, pst_member(q->j, format, members[i]));
        pst_buf_puts(&q->b, "}}");
    }
}

/* What a chat has under the same name, and what it has under another. */
static void put_parameters(ask_t *q)
{
    static const char *const same[] = {
        "temperature", "top_p", "top_k", "seed", "stop", "presence_penalty", "frequency_penalty", "logit_bias",
        "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
        "thinking",
    };
    const pst_json_t *j = q->j;
    for (size_t i = 0; i < PST_COUNT(same); i++)
        pst_put_raw(&q->b, same[i], j, pst_member(j, 0, same[i]));
    pst_put_raw(&q->b, "max_completion_tokens", j, pst_member(j, 0, "max_output_tokens"));
    pst_put_raw(&q->b, "reasoning_effort", j, pst_member(j, pst_json_get(j, 0, "reasoning"), "effort"));
    uint32_t logprobs = pst_member(j, 0, "top_logprobs"), text = pst_json_get(j, 0, "text");
    if (logprobs != PST_JSON_NONE)
        pst_buf_puts(&q->b, ",\"logprobs\":true");
    pst_put_raw(&q->b, "top_logprobs", j, logprobs);
    put_format(q, pst_json_get(j, text, "format"));
    pst_put_raw(&q->b, "verbosity", j, pst_member(j, text, "verbosity"));
}

static void refuse_state(ask_t *q, bool live)
{
    static const char *const kept[] = {"previous_response_id", "conversation", "prompt"};
    for (size_t i = 0; i < PST_COUNT(kept); i++)
        if (pst_member(q->j, 0, kept[i]) != PST_JSON_NONE)
            refuse(q, "previous_response_id, conversation, prompt: this provider keeps none: put all of it into input");
    if (pst_is_true(q->j, 0, "background"))
        refuse(q, "background: the answer would not be the response: leave it out");
    if (pst_is_true(q->j, 0, "stream") && !live)
        refuse(q, "stream: a batch has no one to stream to: leave it out");
}

pst_err_t pst_responses_ask(const pst_task_t *task, pst_arena_t *a, pst_view_t *ret_body, pst_view_t *ret_why)
{
    ask_t q = {.j = task->body};
    pst_buf_init(&q.b, 0);
    refuse_state(&q, task->live);
    pst_buf_putc(&q.b, '{');
    put_messages(&q);
    put_calling(&q);
    put_parameters(&q);
    pst_buf_putc(&q.b, '}');
    pst_err_t e = PST_E_INVALID;
    if (q.why)
        *ret_why = pst_view_str(q.why);
    else
        e = pst_seal(&q.b, a, ret_body);
    pst_buf_release(&q.b);
    return e;
}

/* ---- what is answered ------------------------------------------------------------------------ */

typedef struct reply {
    const pst_task_t *task;
    const pst_json_t *j;
    pst_buf_t b;
    uint32_t made; /* ids */
} reply_t;

static void open_item(reply_t *r, const char *type, const char *id_prefix)
{
    pst_json_put_comma(&r->b);
    pst_buf_puts(&r->b, "{\"type\":\"");
    pst_buf_puts(&r->b, type);
    pst_buf_puts(&r->b, "\",\"id\":");
    pst_put_made_id(&r->b, id_prefix, r->task->random, ++r->made);
}

static void put_thought(reply_t *r, uint32_t message)
{
    uint32_t text = pst_member(r->j, message, "reasoning_content");
    if (text == PST_JSON_NONE)
        text = pst_member(r->j, message, "reasoning");
    if (!pst_has_text(r->j, text))
        return;
    open_item(r, "reasoning", "rs_");
    pst_buf_puts(&r->b, ",\"summary\":[],\"content\":[{\"type\":\"reasoning_text\"");
    pst_put_raw(&r->b, "text", r->j, text);
    pst_buf_puts(&r->b, "}]}");
}

static void put_said(reply_t *r, uint32_t text, uint32_t message, uint32_t choice)
{
    uint32_t annotations = pst_member(r->j, message, "annotations");
    pst_json_put_comma(&r->b);
    pst_buf_puts(&r->b, "{\"type\":\"output_text\"");
    pst_put_raw(&r->b, "text", r->j, text);
    if (annotations == PST_JSON_NONE)
        pst_buf_puts(&r->b, ",\"annotations\":[]");
    pst_put_raw(&r->b, "annotations", r->j, annotations);
    pst_put_raw(&r->b, "logprobs", r->j, pst_member(r->j, pst_member(r->j, choice, "logprobs"), "content"));
    pst_buf_putc(&r->b, '}');
}

/* Some hosts answer with parts where OpenAI has a string. */
static void put_contents(reply_t *r, uint32_t message, uint32_t choice)
{
    const pst_json_t *j = r->j;
    uint32_t content = pst_member(j, message, "content"), refusal = pst_member(j, message, "refusal");
    if (pst_json_is(j, content, PST_JSON_STRING))
        put_said(r, content, message, choice);
    for (uint32_t t = pst_json_first(j, content); t != PST_JSON_NONE; t = pst_json_after(j, content, t))
        if (pst_has_text(j, pst_json_get(j, t, "text")))
            put_said(r, pst_json_get(j, t, "text"), message, choice);
    if (pst_has_text(j, refusal)) {
        pst_json_put_comma(&r->b);
        pst_buf_puts(&r->b, "{\"type\":\"refusal\"");
        pst_put_raw(&r->b, "refusal", j, refusal);
        pst_buf_putc(&r->b, '}');
    }
}

/* A message in which nothing is said is none, where there are calls. */
static void put_output_message(reply_t *r, uint32_t message, uint32_t choice, bool whole)
{
    bool calls = pst_member(r->j, message, "tool_calls") != PST_JSON_NONE;
    size_t before = r->b.n;
    uint32_t made = r->made;
    open_item(r, "message", "msg_");
    pst_put_text(&r->b, "status", pst_view_str(whole ? "completed" : "incomplete"));
    pst_buf_puts(&r->b, ",\"role\":\"assistant\",\"content\":[");
    size_t empty = r->b.n;
    put_contents(r, message, choice);
    if (calls && r->b.n == empty) {
        r->b.n = before;
        r->made = made;
    } else {
        pst_buf_puts(&r->b, "]}");
    }
}

static void put_calls(reply_t *r, uint32_t message)
{
    const pst_json_t *j = r->j;
    uint32_t calls = pst_member(j, message, "tool_calls");
    for (uint32_t t = pst_json_first(j, calls); t != PST_JSON_NONE; t = pst_json_after(j, calls, t)) {
        uint32_t function = pst_json_get(j, t, "function");
        open_item(r, "function_call", "fc_");
        pst_put_raw(&r->b, "call_id", j, pst_member(j, t, "id"));
        pst_put_raw(&r->b, "name", j, pst_member(j, function, "name"));
        pst_put_raw(&r->b, "arguments", j, pst_member(j, function, "arguments"));
        pst_buf_puts(&r->b, ",\"status\":\"completed\"}");
    }
}

/* NULL: the answer is whole. */
static const char *why_incomplete(const pst_json_t *j, uint32_t choice)
{
    uint32_t finish = pst_json_get(j, choice, "finish_reason");
    if (pst_is_word(j, finish, "length"))
        return "max_output_tokens";
    return pst_is_word(j, finish, "content_filter") ? "content_filter" : NULL;
}

static void put_usage(reply_t *r)
{
    const pst_json_t *j = r->j;
    uint32_t usage = pst_member(j, 0, "usage");
    if (!pst_json_is(j, usage, PST_JSON_OBJECT))
        return;
    uint64_t input = pst_count_of(j, pst_json_get(j, usage, "prompt_tokens")),
             output = pst_count_of(j, pst_json_get(j, usage, "completion_tokens"));
    pst_buf_puts(&r->b, ",\"usage\":{");
    pst_put_count(&r->b, "input_tokens", input);
    pst_buf_puts(&r->b, ",\"input_tokens_details\":{");
    pst_put_count(&r->b, "cache_write_tokens",
                  pst_count_of(j, pst_json_path(j, usage, "prompt_tokens_details", "cache_write_tokens", NULL)));
    pst_put_count(&r->b, "cached_tokens", pst_count_of(j, pst_json_path(j, usage, "prompt_tokens_details", "cached_tokens", NULL)));
    pst_buf_putc(&r->b, '}');
    pst_put_count(&r->b, "output_tokens", output);
    pst_buf_puts(&r->b, ",\"output_tokens_details\":{");
    pst_put_count(&r->b, "reasoning_tokens",
                  pst_count_of(j, pst_json_path(j, usage, "completion_tokens_details", "reasoning_tokens", NULL)));
    pst_buf_putc(&r->b, '}');
    pst_put_count(&r->b, "total_tokens", input + output);
    pst_buf_putc(&r->b, '}');
}

/* A response repeats what was asked, which is gone by now: what clients need to be there, as if nothing had been said. */
void pst_responses_put_asked(pst_buf_t *b)
{
    pst_buf_puts(b, ",\"instructions\":null,\"metadata\":null,\"parallel_tool_calls\":true,\"temperature\":null,"
                    "\"tool_choice\":\"auto\",\"tools\":[],\"top_p\":null");
}

static void put_head(reply_t *r, const char *incomplete)
{
    pst_buf_puts(&r->b, "{\"id\":");
    pst_put_made_id(&r->b, "resp_", r->task->random, 0);
    pst_buf_puts(&r->b, ",\"object\":\"response\"");
    pst_put_count(&r->b, "created_at", r->task->wall_s);
    pst_put_text(&r->b, "status", pst_view_str(incomplete ? "incomplete" : "completed"));
    pst_buf_puts(&r->b, ",\"error\":null,\"incomplete_details\":");
    if (incomplete) {
        pst_buf_putc(&r->b, '{');
        pst_put_text(&r->b, "reason", pst_view_str(incomplete));
        pst_buf_putc(&r->b, '}');
    } else {
        pst_buf_puts(&r->b, "null");
    }
    pst_responses_put_asked(&r->b);
}

static void put_response(reply_t *r)
{
    const pst_json_t *j = r->j;
    uint32_t choice = pst_json_first(j, pst_json_get(j, 0, "choices"));
    uint32_t message = pst_json_get(j, choice, "message");
    const char *incomplete = why_incomplete(j, choice);
    put_head(r, incomplete);
    pst_put_raw(&r->b, "model", j, pst_member(j, 0, "model"));
    pst_buf_puts(&r->b, ",\"output\":[");
    put_thought(r, message);
    put_output_message(r, message, choice, !incomplete);
    put_calls(r, message);
    pst_buf_putc(&r->b, ']');
    pst_put_raw(&r->b, "native_finish_reason", j, pst_member(j, choice, "native_finish_reason"));
    pst_put_raw(&r->b, "service_tier", j, pst_member(j, 0, "service_tier"));
    put_usage(r);
    pst_buf_putc(&r->b, '}');
}

void pst_responses_answer(const pst_task_t *task, const pst_http_answer_t *answer, pst_arena_t *a, pst_reading_t *ret)
{
    reply_t r = {.task = task, .j = task->tape};
    pst_buf_init(&r.b, 0);
    if (pst_json_parse(task->tape, ret->body, NULL) == PST_OK) /* else no memory: an adapter's answer is JSON */
        put_response(&r);
    else
        r.b.failed = true;
    /* Its parts lie one level deeper than they came. */
    if (!r.b.failed && pst_json_parse(task->tape, pst_buf_view(&r.b), NULL) == PST_E_INVALID)
        pst_failure_bad_answer(answer, "the answer is nested too deeply", a, ret);
    else
        pst_reading_done(ret, answer, &r.b, a);
    pst_buf_release(&r.b);
}
