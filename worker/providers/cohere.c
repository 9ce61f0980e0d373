/* cohere: chat and embed, version 2.  The base URL ends in /v2.
 *
 * What differs from OpenAI: only a user's message may have pictures; top_p and top_k are p and k; a
 * choice of one tool is said by sending that tool alone; a schema stands in a json_object; a model
 * that calls tools says its plan beside them (it is kept in the message's tool_plan, and goes back
 * from there); the tokens that are billed are not those that the model read.
 * logit_bias, top_logprobs and parallel_tool_calls have no counterpart and are left out; more than
 * one choice cannot be asked for.  Citations are left out of the answer: OpenAI's are of pages with
 * a URL, Cohere's of documents and tools. */
#include "providers/adapters.h"
#include "providers/answer.h"
#include "providers/chat.h"
#include "providers/common.h"
#include "providers/failure.h"
#include "providers/stream.h"

#define TEXTS_MAX 96 /* that one call embeds */
#define INVALID_TOKEN 498

/* Token budgets of the efforts below high, from which thinking has none. */
#define BUDGET_LOW 1024
#define BUDGET_MEDIUM 8192

/* ---- request: messages ---- */

/* An object or array that was begun at `before` and empty at `empty`: what has nothing in it is
 * taken back. */
static void end_or_undo(pst_chat_t *c, size_t before, size_t empty, const char *end)
{
    if (c->b.n == empty)
        c->b.n = before;
    else
        pst_buf_puts(&c->b, end);
}

static void put_text_part(pst_chat_t *c, uint32_t token, const pst_part_t *part)
{
    (void)token;
    if (part->kind != PST_PART_TEXT)
        pst_chat_refuse(c, "content: only a user's message can have more than text for this "
                           "provider");
    pst_json_put_comma(&c->b);
    pst_buf_puts(&c->b, "{\"type\":\"text\"");
    pst_put_raw(&c->b, "text", c->j, part->text);
    pst_buf_putc(&c->b, '}');
}

/* The URL of a picture, or its data as a URI: both go as they are. */
static uint32_t uri_of(const pst_json_t *j, uint32_t token)
{
    uint32_t image = pst_json_get(j, token, "image_url");
    if (image == PST_JSON_NONE)
        return pst_json_path(j, token, "file", "file_data", NULL);
    return pst_json_is(j, image, PST_JSON_STRING) ? image : pst_json_get(j, image, "url");
}

static void put_user_part(pst_chat_t *c, uint32_t token, const pst_part_t *part)
{
    if (part->kind == PST_PART_TEXT) {
        put_text_part(c, token, part);
        return;
    }
    if (part->kind == PST_PART_DATA && !pst_text_starts(part->mime, "image/"))
        pst_chat_refuse(c, "content: only text and images can be sent to this provider");
    pst_json_put_comma(&c->b);
    pst_buf_puts(&c->b, "{\"type\":\"image_url\",\"image_url\":{");
    pst_put_raw(&c->b, "url", c->j, uri_of(c->j, token));
    pst_put_raw(&c->b, "detail", c->j, pst_json_path(c->j, token, "image_url", "detail", NULL));
    pst_buf_puts(&c->b, "}}");
}

/* What the messages from m up to `end` say as one message's content: of tools, or of all others. */
static void put_content(pst_chat_t *c, uint32_t m, uint32_t end, bool tools,
                        void (*put)(pst_chat_t *c, uint32_t token, const pst_part_t *part))
{
    size_t before = c->b.n;
    pst_json_put_key(&c->b, "content");
    pst_buf_putc(&c->b, '[');
    size_t empty = c->b.n;
    for (; m != end; m = pst_chat_after(c, m)) {
        if ((pst_chat_role(c, m) == PST_ROLE_TOOL) == tools)
            pst_chat_each_part(c, pst_json_get(c->j, m, "content"), put);
    }
    end_or_undo(c, before, empty, "]");
}

static void put_call(pst_chat_t *c, uint32_t call, uint32_t function, pst_view_t arguments)
{
    pst_json_put_comma(&c->b);
    pst_buf_puts(&c->b, "{\"type\":\"function\"");
    pst_put_raw(&c->b, "id", c->j, pst_member(c->j, call, "id"));
    pst_buf_puts(&c->b, ",\"function\":{");
    pst_put_raw(&c->b, "name", c->j, pst_json_get(c->j, function, "name"));
    pst_put_text(&c->b, "arguments", arguments);
    pst_buf_puts(&c->b, "}}");
}

static void put_calls(pst_chat_t *c, uint32_t m, uint32_t end)
{
    uint32_t plan = PST_JSON_NONE;
    size_t before = c->b.n;
    pst_json_put_key(&c->b, "tool_calls");
    pst_buf_putc(&c->b, '[');
    size_t empty = c->b.n;
    for (; m != end; m = pst_chat_after(c, m)) {
        pst_chat_each_call(c, m, put_call);
        if (plan == PST_JSON_NONE)
            plan = pst_member(c->j, m, "tool_plan");
    }
    bool any = c->b.n != empty;
    end_or_undo(c, before, empty, "]");
    if (any)
        pst_put_raw(&c->b, "tool_plan", c->j, plan);
}

/* A turn's text must not be empty, while a tool may have had nothing to say: an object with nothing
 * in it says so. */
static void put_result(pst_chat_t *c, uint32_t m)
{
    uint32_t content = pst_json_get(c->j, m, "content");
    pst_json_put_comma(&c->b);
    pst_buf_puts(&c->b, "{\"role\":\"tool\"");
    pst_put_raw(&c->b, "tool_call_id", c->j, pst_member(c->j, m, "tool_call_id"));
    size_t before = c->b.n;
    if (pst_has_text(c->j, content))
        pst_put_raw(&c->b, "content", c->j, content);
    else
        put_content(c, m, pst_chat_after(c, m), true, put_text_part);
    if (c->b.n == before)
        pst_put_text(&c->b, "content", PST_VIEW_LIT("{}"));
    pst_buf_putc(&c->b, '}');
}

/* What the messages from m up to `end` say, as one; nothing if they say nothing. */
static void put_message(pst_chat_t *c, pst_chat_role_t role, uint32_t m, uint32_t end)
{
    static const char *const names[] = {
        [PST_ROLE_SYSTEM] = "system",
        [PST_ROLE_USER] = "user",
        [PST_ROLE_ASSISTANT] = "assistant",
    };
    size_t before = c->b.n;
    pst_json_put_comma(&c->b);
    pst_buf_putc(&c->b, '{');
    pst_put_text(&c->b, "role", pst_view_str(names[role]));
    size_t empty = c->b.n;
    put_content(c, m, end, false, role == PST_ROLE_USER ? put_user_part : put_text_part);
    if (role == PST_ROLE_ASSISTANT)
        put_calls(c, m, end);
    end_or_undo(c, before, empty, "}");
}

/* Results come first: they follow the calls. */
static void put_turn(pst_chat_t *c, uint32_t m, uint32_t end)
{
    bool assistant = pst_chat_role(c, m) == PST_ROLE_ASSISTANT;
    for (uint32_t i = m; i != end; i = pst_chat_after(c, i)) {
        if (pst_chat_role(c, i) == PST_ROLE_TOOL)
            put_result(c, i);
    }
    put_message(c, assistant ? PST_ROLE_ASSISTANT : PST_ROLE_USER, m, end);
}

/* Instructions may only come first: those in between are said by the user. */
static void put_messages(pst_chat_t *c)
{
    pst_json_put_key(&c->b, "messages");
    pst_buf_putc(&c->b, '[');
    put_message(c, PST_ROLE_SYSTEM, pst_json_first(c->j, c->messages), c->opening);
    for (uint32_t m = c->opening, end; m != PST_JSON_NONE; m = end) {
        end = pst_chat_turn_end(c, m);
        put_turn(c, m, end);
    }
    pst_buf_putc(&c->b, ']');
}

/* ---- request: tools ---- */

/* All but the one that the choice names are left out. */
static bool is_chosen(pst_chat_t *c, uint32_t function)
{
    uint32_t name = PST_JSON_NONE;
    return pst_chat_choice(c, &name) != PST_CHOICE_NAMED ||
           pst_view_eq(pst_json_raw(c->j, name),
                       pst_json_raw(c->j, pst_json_get(c->j, function, "name")));
}

static void put_tool(pst_chat_t *c, uint32_t tool, uint32_t function)
{
    (void)tool;
    uint32_t schema = pst_member(c->j, function, "parameters");
    if (!is_chosen(c, function))
        return;
    pst_json_put_comma(&c->b);
    pst_buf_puts(&c->b, "{\"type\":\"function\",\"function\":{");
    pst_put_raw(&c->b, "name", c->j, pst_json_get(c->j, function, "name"));
    pst_put_raw(&c->b, "description", c->j, pst_member(c->j, function, "description"));
    if (schema == PST_JSON_NONE)
        pst_buf_puts(&c->b, ",\"parameters\":{\"type\":\"object\",\"properties\":{}}");
    pst_put_raw(&c->b, "parameters", c->j, schema);
    pst_buf_puts(&c->b, "}}");
}

/* Cohere is strict with all tools or with none: a schema that was not written for it would be
 * refused. */
static bool all_strict(const pst_chat_t *c)
{
    uint32_t tools = pst_chat_param(c, "tools");
    uint32_t t = pst_json_first(c->j, tools);
    while (t != PST_JSON_NONE && pst_is_true(c->j, pst_json_get(c->j, t, "function"), "strict"))
        t = pst_json_after(c->j, tools, t);
    return t == PST_JSON_NONE;
}

static void put_tool_choice(pst_chat_t *c)
{
    uint32_t name = PST_JSON_NONE;
    pst_choice_kind_t kind = pst_chat_choice(c, &name);
    if (kind == PST_CHOICE_REQUIRED || kind == PST_CHOICE_NAMED)
        pst_put_text(&c->b, "tool_choice", PST_VIEW_LIT("REQUIRED"));
    else if (kind == PST_CHOICE_NONE)
        pst_put_text(&c->b, "tool_choice", PST_VIEW_LIT("NONE"));
}

static void put_tools(pst_chat_t *c)
{
    if (!pst_chat_has_tools(c))
        return;
    pst_json_put_key(&c->b, "tools");
    pst_buf_putc(&c->b, '[');
    size_t empty = c->b.n;
    pst_chat_each_tool(c, put_tool);
    if (c->b.n == empty)
        pst_chat_refuse(c, "tool_choice: names a function that is not in tools");
    pst_buf_putc(&c->b, ']');
    if (all_strict(c))
        pst_buf_puts(&c->b, ",\"strict_tools\":true");
    put_tool_choice(c);
}

/* ---- request: parameters ---- */

/* OpenAI's ranges are wider.  Where the least of a range is also what holds if nothing is said, it
 * is not sent: some models refuse the two penalties together. */
static void put_in_range(pst_chat_t *c, const char *theirs, const char *ours, double least,
                         double most)
{
    uint32_t t = pst_chat_param(c, ours);
    double v;
    bool number = pst_json_num(c->j, t, &v);
    if (number && v <= 0 && least <= 0)
        return;
    if (number && (v < least || v > most)) {
        pst_json_put_key(&c->b, theirs);
        pst_json_put_num(&c->b, v < least ? least : most);
    } else {
        pst_put_raw(&c->b, theirs, c->j, t);
    }
}

static void put_sampling(pst_chat_t *c)
{
    pst_put_raw(&c->b, "temperature", c->j, pst_chat_param(c, "temperature"));
    put_in_range(c, "p", "top_p", 0.01, 0.99);
    put_in_range(c, "k", "top_k", 0, 500);
    put_in_range(c, "frequency_penalty", "frequency_penalty", 0, 1);
    put_in_range(c, "presence_penalty", "presence_penalty", 0, 1);
    pst_put_raw(&c->b, "seed", c->j, pst_chat_param(c, "seed"));
}

static void put_format(pst_chat_t *c)
{
    uint32_t type = pst_json_get(c->j, pst_chat_param(c, "response_format"), "type");
    if (!pst_is_word(c->j, type, "json_object") && !pst_is_word(c->j, type, "json_schema"))
        return;
    pst_json_put_key(&c->b, "response_format");
    pst_buf_puts(&c->b, "{\"type\":\"json_object\"");
    pst_put_raw(&c->b, "json_schema", c->j, pst_chat_schema(c));
    pst_buf_putc(&c->b, '}');
}

/* `thinking` goes through for those who know what they want. */
static void put_thinking(pst_chat_t *c)
{
    static const struct {
        const char *effort;
        const char *type;
        uint32_t budget; /* 0: none */
    } efforts[] = {
        {"none", "disabled", 0},
        {"minimal", "enabled", BUDGET_LOW},
        {"low", "enabled", BUDGET_LOW},
        {"medium", "enabled", BUDGET_MEDIUM},
        {"high", "enabled", 0},
        {"xhigh", "enabled", 0},
        {"max", "enabled", 0},
    };
    uint32_t effort = pst_chat_param(c, "reasoning_effort");
    uint32_t thinking = pst_chat_param(c, "thinking");
    pst_put_raw(&c->b, "thinking", c->j, thinking);
    for (size_t i = 0; i < PST_COUNT(efforts) && thinking == PST_JSON_NONE; i++) {
        if (!pst_is_word(c->j, effort, efforts[i].effort))
            continue;
        pst_json_put_key(&c->b, "thinking");
        pst_buf_putc(&c->b, '{');
        pst_put_text(&c->b, "type", pst_view_str(efforts[i].type));
        if (efforts[i].budget)
            pst_put_count(&c->b, "token_budget", efforts[i].budget);
        pst_buf_putc(&c->b, '}');
    }
}

/* What only Cohere knows goes as it stands. */
static void put_own(pst_chat_t *c)
{
    static const char *const own[] = {"documents", "citation_options", "safety_mode", "priority"};
    for (size_t i = 0; i < PST_COUNT(own); i++)
        pst_put_raw(&c->b, own[i], c->j, pst_chat_param(c, own[i]));
}

static void put_request(pst_chat_t *c)
{
    pst_buf_putc(&c->b, '{');
    pst_put_text(&c->b, "model", c->task->endpoint.model);
    put_messages(c);
    put_tools(c);
    pst_put_raw(&c->b, "max_tokens", c->j, pst_chat_max_tokens(c));
    pst_chat_put_stop(c, "stop_sequences");
    put_sampling(c);
    put_format(c);
    put_thinking(c);
    if (pst_is_true(c->j, 0, "logprobs"))
        pst_buf_puts(&c->b, ",\"logprobs\":true");
    if (c->task->stream)
        pst_buf_puts(&c->b, ",\"stream\":true");
    put_own(c);
    pst_buf_putc(&c->b, '}');
}

static pst_err_t build_chat(const pst_task_t *task, pst_arena_t *a, pst_http_req_t *ret,
                            pst_view_t *ret_why)
{
    pst_chat_t c;
    pst_chat_begin(&c, task, a);
    pst_chat_one_choice(&c);
    if (!c.why)
        put_request(&c);
    ret->path = PST_VIEW_LIT("/chat");
    return pst_chat_end(&c, &ret->body, ret_why);
}

/* ---- request: embeddings ---- */

/* Why the input cannot be said, or NULL: lists of tokens mean nothing to another model. */
static const char *input_fault(const pst_json_t *j, uint32_t input)
{
    if (pst_json_is(j, input, PST_JSON_STRING))
        return NULL;
    if (!pst_json_is(j, input, PST_JSON_ARRAY) || j->tok[input].count == 0)
        return "input: must be a string or strings for this provider";
    if (j->tok[input].count > TEXTS_MAX)
        return "input: this provider takes no more than 96 texts a request: submit more requests";
    for (uint32_t t = pst_json_first(j, input); t != PST_JSON_NONE;
         t = pst_json_after(j, input, t)) {
        if (!pst_json_is(j, t, PST_JSON_STRING))
            return "input: must be a string or strings for this provider";
    }
    return NULL;
}

static void put_texts(pst_buf_t *b, const pst_json_t *j, uint32_t input)
{
    bool one = pst_json_is(j, input, PST_JSON_STRING);
    pst_json_put_key(b, "texts");
    pst_buf_puts(b, one ? "[" : "");
    pst_buf_putv(b, pst_json_raw(j, input));
    pst_buf_puts(b, one ? "]" : "");
}

/* What the texts are for is never said to OpenAI, and must be here: to be found, unless the body
 * says input_type.  A text that is too long is cut unless that is refused, as OpenAI refuses it. */
static void put_embed(pst_buf_t *b, const pst_task_t *task)
{
    const pst_json_t *j = task->body;
    uint32_t type = pst_member(j, 0, "input_type"), cut = pst_member(j, 0, "truncate");
    bool base64 = pst_is_word(j, pst_json_get(j, 0, "encoding_format"), "base64");
    pst_buf_putc(b, '{');
    pst_put_text(b, "model", task->endpoint.model);
    put_texts(b, j, pst_json_get(j, 0, "input"));
    if (type == PST_JSON_NONE)
        pst_put_text(b, "input_type", PST_VIEW_LIT("search_document"));
    pst_put_raw(b, "input_type", j, type);
    if (cut == PST_JSON_NONE)
        pst_put_text(b, "truncate", PST_VIEW_LIT("NONE"));
    pst_put_raw(b, "truncate", j, cut);
    pst_buf_puts(b, base64 ? ",\"embedding_types\":[\"base64\"]"
                           : ",\"embedding_types\":[\"float\"]");
    pst_put_raw(b, "output_dimension", j, pst_member(j, 0, "dimensions"));
    pst_buf_putc(b, '}');
}

static pst_err_t build_embeddings(const pst_task_t *task, pst_arena_t *a, pst_http_req_t *ret,
                                  pst_view_t *ret_why)
{
    const char *why = input_fault(task->body, pst_json_get(task->body, 0, "input"));
    if (why) {
        *ret_why = pst_view_str(why);
        return PST_E_INVALID;
    }
    PST_SCOPED(pst_buf_release) pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_buf_reserve(&b, task->body->text.n + 256);
    put_embed(&b, task);
    ret->path = PST_VIEW_LIT("/embed");
    return pst_seal(&b, a, &ret->body);
}

static pst_err_t build(const pst_task_t *task, pst_arena_t *a, pst_http_req_t *ret,
                       pst_view_t *ret_why)
{
    memset(ret, 0, sizeof *ret);
    return task->url == PST_URL_EMBEDDINGS ? build_embeddings(task, a, ret, ret_why)
                                           : build_chat(task, a, ret, ret_why);
}

/* ---- answer: chat ---- */

typedef struct finish {
    const char *theirs, *ours; /* ours NULL: broken off, which may not happen again */
} finish_t;

static const finish_t *finish_of(const pst_json_t *j, uint32_t reason)
{
    static const finish_t finishes[] = {
        {"COMPLETE", "stop"},
        {"STOP_SEQUENCE", "stop"},
        {"MAX_TOKENS", "length"},
        {"TOOL_CALL", "tool_calls"},
        {"ERROR", NULL},
        {"TIMEOUT", NULL},
    };
    static const finish_t other = {"", "stop"};
    for (size_t i = 0; i < PST_COUNT(finishes); i++) {
        if (pst_is_word(j, reason, finishes[i].theirs))
            return &finishes[i];
    }
    return &other;
}

static uint32_t next_item(const pst_json_t *j, uint32_t content, uint32_t t, const char *type)
{
    t = t == PST_JSON_NONE ? pst_json_first(j, content) : pst_json_after(j, content, t);
    while (t != PST_JSON_NONE && !pst_is_word(j, pst_json_get(j, t, "type"), type))
        t = pst_json_after(j, content, t);
    return t;
}

/* The text of all items of a type, which is also the name of the member that has it, as one string;
 * false, and nothing written, if there is none. */
static bool put_joined(pst_buf_t *b, const pst_json_t *j, uint32_t content, const char *type)
{
    uint32_t t = next_item(j, content, PST_JSON_NONE, type);
    if (t == PST_JSON_NONE)
        return false;
    pst_buf_putc(b, '"');
    for (; t != PST_JSON_NONE; t = next_item(j, content, t, type))
        pst_buf_putv(b, pst_inside(j, pst_json_get(j, t, type)));
    pst_buf_putc(b, '"');
    return true;
}

static void put_tool_call(pst_buf_t *b, const pst_task_t *task, const pst_json_t *j, uint32_t call)
{
    uint32_t function = pst_json_get(j, call, "function");
    uint32_t arguments = pst_member(j, function, "arguments");
    pst_json_put_comma(b);
    pst_put_call_id(b, task, j, pst_json_get(j, call, "id"), call);
    pst_buf_puts(b, ",\"type\":\"function\",\"function\":{");
    pst_put_raw(b, "name", j, pst_json_get(j, function, "name"));
    if (pst_has_text(j, arguments))
        pst_put_raw(b, "arguments", j, arguments);
    else
        pst_put_text(b, "arguments",
                     pst_json_is(j, arguments, PST_JSON_OBJECT) ? pst_json_raw(j, arguments)
                                                                : PST_VIEW_LIT("{}"));
    pst_buf_puts(b, "}}");
}

static void put_tool_calls(pst_buf_t *b, const pst_task_t *task, const pst_json_t *j,
                           uint32_t message)
{
    uint32_t calls = pst_json_get(j, message, "tool_calls");
    pst_put_raw(b, "tool_plan", j, pst_member(j, message, "tool_plan"));
    pst_buf_puts(b, ",\"tool_calls\":[");
    for (uint32_t t = pst_json_first(j, calls); t != PST_JSON_NONE; t = pst_json_after(j, calls, t))
        put_tool_call(b, task, j, t);
    pst_buf_putc(b, ']');
}

static bool has_calls(const pst_json_t *j, uint32_t message)
{
    uint32_t calls = pst_json_get(j, message, "tool_calls");
    return pst_json_is(j, calls, PST_JSON_ARRAY) && j->tok[calls].count > 0;
}

static void put_answer_message(pst_buf_t *b, const pst_task_t *task, const pst_json_t *j,
                               uint32_t message)
{
    uint32_t content = pst_json_get(j, message, "content");
    bool calls = has_calls(j, message);
    pst_buf_puts(b, "{\"role\":\"assistant\",\"content\":");
    if (!put_joined(b, j, content, "text"))
        pst_buf_puts(b, calls ? "null" : "\"\"");
    pst_buf_puts(b, ",\"refusal\":null");
    if (next_item(j, content, PST_JSON_NONE, "thinking") != PST_JSON_NONE) {
        pst_json_put_key(b, "reasoning_content");
        put_joined(b, j, content, "thinking");
    }
    if (calls)
        put_tool_calls(b, task, j, message);
    pst_buf_putc(b, '}');
}

/* A text's logarithms are those of its tokens, mostly one: their sum is the text's own. */
static void put_logprob(pst_buf_t *b, const pst_json_t *j, uint32_t list)
{
    uint32_t t = pst_json_first(j, list);
    double sum = 0, v;
    if (t != PST_JSON_NONE && j->tok[list].count == 1) {
        pst_put_raw(b, "logprob", j, t);
        return;
    }
    for (; t != PST_JSON_NONE; t = pst_json_after(j, list, t))
        sum += pst_json_num(j, t, &v) ? v : 0;
    pst_json_put_key(b, "logprob");
    pst_json_put_num(b, sum);
}

static void put_token(pst_buf_t *b, const pst_json_t *j, uint32_t item)
{
    pst_json_put_comma(b);
    pst_buf_putc(b, '{');
    pst_put_raw(b, "token", j, pst_json_get(j, item, "text"));
    put_logprob(b, j, pst_json_get(j, item, "logprobs"));
    pst_buf_puts(b, ",\"bytes\":null,\"top_logprobs\":[]}");
}

static void put_logprobs(pst_buf_t *b, const pst_json_t *j)
{
    uint32_t list = pst_member(j, 0, "logprobs");
    pst_json_put_key(b, "logprobs");
    if (list == PST_JSON_NONE) {
        pst_buf_puts(b, "null");
        return;
    }
    pst_buf_puts(b, "{\"content\":[");
    for (uint32_t t = pst_json_first(j, list); t != PST_JSON_NONE; t = pst_json_after(j, list, t))
        put_token(b, j, t);
    pst_buf_puts(b, "],\"refusal\":null}");
}

/* The tokens that are billed, as receipts and limits of cost are made of them: `tokens` beside them
 * are all that the model read, with instructions of Cohere's own, for which nobody pays: they only
 * count where no tokens are billed. */
static pst_usage_t usage_in(const pst_json_t *j, uint32_t usage)
{
    uint32_t units = pst_json_get(j, usage, "billed_units");
    if (!pst_json_is(j, pst_json_get(j, units, "input_tokens"), PST_JSON_NUMBER))
        units = pst_json_get(j, usage, "tokens");
    pst_usage_t u = {
        .known = pst_json_is(j, pst_json_get(j, units, "input_tokens"), PST_JSON_NUMBER),
        .input = pst_count_of(j, pst_json_get(j, units, "input_tokens")),
        .cached = pst_count_of(j, pst_json_get(j, usage, "cached_tokens")),
        .output = pst_count_of(j, pst_json_get(j, units, "output_tokens")),
    };
    u.cached = PST_MIN(u.cached, u.input);
    return u;
}

static void put_completion(pst_buf_t *b, const pst_task_t *task, const pst_json_t *j,
                           const pst_usage_t *u)
{
    uint32_t message = pst_json_get(j, 0, "message"), reason = pst_member(j, 0, "finish_reason");
    const char *finish = finish_of(j, reason)->ours;
    if (strcmp(finish, "stop") == 0 && has_calls(j, message))
        finish = "tool_calls";
    pst_answer_begin(b, task, "chat.completion", "chatcmpl-", j, pst_json_get(j, 0, "id"),
                     PST_JSON_NONE);
    pst_buf_puts(b, ",\"choices\":[{\"index\":0,\"message\":");
    put_answer_message(b, task, j, message);
    put_logprobs(b, j);
    pst_put_text(b, "finish_reason", pst_view_str(finish));
    pst_put_raw(b, "native_finish_reason", j, reason);
    pst_buf_puts(b, "}]");
    pst_answer_end(b, u);
}

static bool has_nameless_call(const pst_json_t *j, uint32_t message)
{
    uint32_t calls = pst_json_get(j, message, "tool_calls");
    uint32_t t = has_calls(j, message) ? pst_json_first(j, calls) : PST_JSON_NONE;
    while (t != PST_JSON_NONE && pst_has_text(j, pst_json_path(j, t, "function", "name", NULL)))
        t = pst_json_after(j, calls, t);
    return t != PST_JSON_NONE;
}

static const char *chat_fault(const pst_json_t *j)
{
    uint32_t message = pst_json_get(j, 0, "message"), reason = pst_json_get(j, 0, "finish_reason");
    if (!pst_json_is(j, message, PST_JSON_OBJECT))
        return "the answer has no message";
    if (!finish_of(j, reason)->ours)
        return "the provider broke off with an error or out of time";
    if (has_nameless_call(j, message))
        return "a tool call of the answer has no name";
    bool said = has_calls(j, message) || pst_has_text(j, reason) ||
                pst_json_first(j, pst_json_get(j, message, "content")) != PST_JSON_NONE;
    return said ? NULL : "the answer is blank";
}

/* ---- answer: chat, while it is made ---- */

/* Events, by their type: message-start, then of each item content-start, -delta, -end, tool-plan-delta, and of each call
 * tool-call-start, -delta, -end, and message-end with the reason and what was used.  Citations are left out, as they are
 * of a whole answer. */

static void put_logprobs_chunk(pst_stream_t *s, pst_buf_t *out, const pst_json_t *j)
{
    uint32_t item = pst_member(j, 0, "logprobs");
    if (item == PST_JSON_NONE)
        return;
    pst_chunk_open(s, out, 0);
    pst_buf_puts(out, "},\"logprobs\":{\"content\":[");
    put_token(out, j, item);
    pst_buf_puts(out, "],\"refusal\":null}");
    pst_chunk_end(s, out);
}

static void on_content(pst_stream_t *s, const pst_stream_event_t *e, uint32_t message)
{
    const pst_json_t *j = e->json;
    uint32_t content = pst_json_get(j, message, "content");
    pst_chunk_text(s, e->out, 0, "reasoning_content", pst_inside(j, pst_json_get(j, content, "thinking")));
    pst_chunk_text(s, e->out, 0, "content", pst_inside(j, pst_json_get(j, content, "text")));
    put_logprobs_chunk(s, e->out, j);
}

static pst_stream_state_t on_call(pst_stream_t *s, const pst_stream_event_t *e, uint32_t message, bool starts,
                                  pst_reading_t *ret)
{
    const pst_json_t *j = e->json;
    uint32_t call = pst_json_get(j, message, "tool_calls"), function = pst_json_get(j, call, "function");
    uint32_t name = pst_json_get(j, function, "name");
    if (starts && !pst_has_text(j, name))
        return pst_stream_bad(e, "a tool call of the answer has no name", ret);
    if (starts)
        pst_chunk_call(s, e->out, 0, j, pst_json_get(j, call, "id"), name, PST_JSON_NONE);
    pst_chunk_arguments(s, e->out, 0, pst_inside(j, pst_json_get(j, function, "arguments")));
    return PST_STREAM_MORE;
}

static pst_stream_state_t on_message_end(pst_stream_t *s, const pst_stream_event_t *e, uint32_t delta, pst_reading_t *ret)
{
    const pst_json_t *j = e->json;
    uint32_t reason = pst_member(j, delta, "finish_reason");
    const char *finish = finish_of(j, reason)->ours;
    s->usage = usage_in(j, pst_json_get(j, delta, "usage"));
    if (!finish)
        return pst_stream_bad(e, "the provider broke off with an error or out of time", ret);
    if (s->calls[0] && strcmp(finish, "stop") == 0)
        finish = "tool_calls";
    pst_chunk_finish(s, e->out, 0, pst_view_str(finish), j, reason);
    return PST_STREAM_OVER;
}

static pst_stream_state_t on_event(pst_stream_t *s, const pst_stream_event_t *e, pst_reading_t *ret)
{
    const pst_json_t *j = e->json;
    uint32_t type = pst_json_get(j, 0, "type"), delta = pst_json_get(j, 0, "delta");
    uint32_t message = pst_json_get(j, delta, "message");
    if (!pst_has_text(j, type)) /* an error has none */
        return pst_stream_failed(e, 0, ret);
    if (pst_is_word(j, type, "message-start"))
        pst_stream_name(s, j, pst_json_get(j, 0, "id"), PST_JSON_NONE);
    else if (pst_is_word(j, type, "content-start") || pst_is_word(j, type, "content-delta"))
        on_content(s, e, message);
    else if (pst_is_word(j, type, "tool-plan-delta"))
        pst_chunk_text(s, e->out, 0, "tool_plan", pst_inside(j, pst_json_get(j, message, "tool_plan")));
    else if (pst_is_word(j, type, "tool-call-start") || pst_is_word(j, type, "tool-call-delta"))
        return on_call(s, e, message, pst_is_word(j, type, "tool-call-start"), ret);
    else if (pst_is_word(j, type, "tool-call-end"))
        pst_chunk_call_end(s, e->out, 0);
    else if (pst_is_word(j, type, "message-end"))
        return on_message_end(s, e, delta, ret);
    return PST_STREAM_MORE;
}

static const pst_streaming_t streaming = {.urls = 1u << PST_URL_CHAT, .event = on_event};

/* ---- answer: embeddings ---- */

/* The list that was asked for: of lists of numbers, or of texts in base64 of the same floats as
 * OpenAI's. */
static uint32_t embeddings_of(const pst_json_t *j)
{
    uint32_t types = pst_json_get(j, 0, "embeddings"), floats = pst_member(j, types, "float");
    return floats != PST_JSON_NONE ? floats : pst_member(j, types, "base64");
}

static const char *embeddings_fault(const pst_json_t *j)
{
    uint32_t list = embeddings_of(j);
    if (!pst_json_is(j, list, PST_JSON_ARRAY) || j->tok[list].count == 0)
        return "the answer has no embeddings";
    for (uint32_t t = pst_json_first(j, list); t != PST_JSON_NONE; t = pst_json_after(j, list, t)) {
        if (!pst_json_is(j, t, PST_JSON_ARRAY) && !pst_has_text(j, t))
            return "an embedding of the answer has no values";
    }
    return NULL;
}

static void put_embeddings(pst_buf_t *b, const pst_task_t *task, const pst_json_t *j,
                           const pst_usage_t *u)
{
    uint32_t list = embeddings_of(j), n = 0;
    pst_buf_puts(b, "{\"object\":\"list\",\"data\":[");
    for (uint32_t t = pst_json_first(j, list); t != PST_JSON_NONE; t = pst_json_after(j, list, t)) {
        pst_json_put_comma(b);
        pst_buf_puts(b, "{\"object\":\"embedding\"");
        pst_put_count(b, "index", n++);
        pst_put_raw(b, "embedding", j, t);
        pst_buf_putc(b, '}');
    }
    pst_buf_putc(b, ']');
    pst_put_text(b, "model", task->endpoint.model);
    pst_buf_puts(b, ",\"usage\":{");
    pst_put_count(b, "prompt_tokens", u->input);
    pst_put_count(b, "total_tokens", u->input);
    pst_buf_puts(b, "}}");
}

/* ---- answer ---- */

/* {"message":"…"}: an answer's message is an object. */
static bool is_error(const pst_json_t *j)
{
    return pst_member(j, 0, "error") != PST_JSON_NONE ||
           pst_json_is(j, pst_json_get(j, 0, "message"), PST_JSON_STRING);
}

static void read_ok(const pst_task_t *task, const pst_json_t *j, const pst_http_answer_t *answer,
                    pst_arena_t *a, pst_reading_t *ret)
{
    bool embeddings = task->url == PST_URL_EMBEDDINGS;
    const char *fault = embeddings ? embeddings_fault(j) : chat_fault(j);
    pst_usage_t u = usage_in(j, pst_json_get(j, 0, embeddings ? "meta" : "usage"));
    pst_reading_set_usage(ret, &u);
    if (pst_answer_failed(j, is_error(j), fault, answer, a, ret))
        return;
    PST_SCOPED(pst_buf_release) pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_buf_reserve(&b, answer->body.n + 512);
    if (embeddings)
        put_embeddings(&b, task, j, &u);
    else
        put_completion(&b, task, j, &u);
    pst_reading_done(ret, answer, &b, a);
    if (ret->verdict == PST_VERDICT_DONE && ret->request_id.n == 0)
        ret->request_id = pst_json_str(j, pst_json_get(j, 0, "id"), a);
}

/* 498 is Groq's word for no capacity to others; here the key is not valid. */
static void read_answer(const pst_task_t *task, const pst_http_answer_t *answer, pst_arena_t *a,
                        pst_reading_t *ret)
{
    pst_answer_read(task, answer, a, ret, read_ok);
    if (ret->status != INVALID_TOKEN)
        return;
    ret->verdict = PST_VERDICT_PARK;
    ret->cause = PST_CAUSE_AUTHENTICATION;
    ret->whole_provider = true;
}

const pst_provider_t pst_provider_cohere = {
    .name = "cohere",
    .auth = PST_AUTH_BEARER,
    .urls = 1u << PST_URL_CHAT | 1u << PST_URL_EMBEDDINGS,
    .params = PST_PARAMS_ALL & ~(uint32_t)(PST_PARAM_LOGIT_BIAS | PST_PARAM_N),
    .build = build,
    .read = read_answer,
    .streaming = &streaming,
};
