/* gemini: generateContent and batchEmbedContents.  The base URL ends in /v1beta.
 *
 * What differs from OpenAI: the model is in the path; the assistant is called model; a tool's
 * result names the function, not the call; a call's id is optional, so ids are made up and not sent
 * back; a thought signature belongs to its call and must come back with it (it is kept in
 * tool_calls[].function.thought_signature); a blocked prompt is a 200 without candidates. */
#include "providers/adapters.h"
#include "providers/answer.h"
#include "providers/chat.h"
#include "providers/common.h"
#include "providers/failure.h"
#include "providers/stream.h"

/* How far back a tool's result looks for its call: bounds the work for a hostile conversation. */
#define CALLS_BACK_MAX 256

/* Token budgets of the efforts for models before Gemini 3, which know no levels: Google's own
 * figures for its OpenAI-compatible route. */
#define BUDGET_LOW 1024
#define BUDGET_MEDIUM 8192
#define BUDGET_HIGH 24576

/* ---- path ---- */

/* "models/x" and "tunedModels/x" are how Google itself writes names. */
static void put_resource(pst_buf_t *b, pst_view_t model)
{
    const char *collection = pst_text_starts(model, "tunedModels/") ? "tunedModels/" : "models/";
    size_t n = strlen(collection);
    if (pst_text_starts(model, collection))
        model = pst_view(model.p + n, model.n - n);
    pst_buf_puts(b, collection);
    pst_put_segment(b, model);
}

static pst_err_t set_path(pst_http_req_t *ret, pst_view_t model, const char *verb, pst_arena_t *a)
{
    PST_SCOPED(pst_buf_release) pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_buf_putc(&b, '/');
    put_resource(&b, model);
    pst_buf_puts(&b, verb);
    return pst_seal(&b, a, &ret->path);
}

/* ---- request: chat ---- */

/* The type that Google wants said of a link, by the suffix that stands in it. */
static pst_view_t mime_of_link(pst_view_t url)
{
    static const struct {
        const char *end, *mime;
    } types[] = {
        {".png", "image/png"},   {".webp", "image/webp"}, {".gif", "image/gif"},
        {".heic", "image/heic"}, {".heif", "image/heif"}, {".pdf", "application/pdf"},
    };
    for (size_t i = 0; i < PST_COUNT(types); i++) {
        if (pst_text_has(url, types[i].end, NULL))
            return pst_view_str(types[i].mime);
    }
    return PST_VIEW_LIT("image/jpeg");
}

static void put_part(pst_chat_t *c, uint32_t token, const pst_part_t *part)
{
    (void)token;
    pst_buf_t *b = &c->b;
    pst_json_put_comma(b);
    if (part->kind == PST_PART_TEXT) {
        pst_buf_putc(b, '{');
        pst_put_raw(b, "text", c->j, part->text);
        pst_buf_putc(b, '}');
        return;
    }
    bool link = part->kind == PST_PART_LINK;
    pst_buf_puts(b, link ? "{\"fileData\":{" : "{\"inlineData\":{");
    pst_put_text(b, "mimeType", link ? mime_of_link(part->url) : part->mime);
    pst_put_text(b, link ? "fileUri" : "data", link ? part->url : part->data);
    pst_buf_puts(b, "}}");
}

static void put_call(pst_chat_t *c, uint32_t call, uint32_t function, pst_view_t arguments)
{
    (void)call;
    pst_json_put_comma(&c->b);
    pst_buf_puts(&c->b, "{\"functionCall\":{");
    pst_put_raw(&c->b, "name", c->j, pst_json_get(c->j, function, "name"));
    pst_json_put_key(&c->b, "args");
    pst_buf_putv(&c->b, arguments);
    pst_buf_putc(&c->b, '}');
    pst_put_raw(&c->b, "thoughtSignature", c->j, pst_member(c->j, function, "thought_signature"));
    pst_buf_putc(&c->b, '}');
}

/* The name of the function whose call in `message` has this id (a raw string), NONE if it is not
 * there. */
static uint32_t name_in(const pst_json_t *j, uint32_t message, pst_view_t id, unsigned *left)
{
    uint32_t calls = pst_json_get(j, message, "tool_calls");
    for (uint32_t t = pst_json_first(j, calls); t != PST_JSON_NONE && *left > 1;
         t = pst_json_after(j, calls, t), --*left) {
        if (pst_view_eq(pst_json_raw(j, pst_json_get(j, t, "id")), id))
            return pst_json_path(j, t, "function", "name", NULL);
    }
    return PST_JSON_NONE;
}

/* A result follows the assistant's turn that asked for it, whose first message with calls is
 * `asked`. */
static uint32_t function_of(const pst_chat_t *c, uint32_t tool_message, uint32_t asked)
{
    unsigned left = CALLS_BACK_MAX;
    pst_view_t id = pst_json_raw(c->j, pst_json_get(c->j, tool_message, "tool_call_id"));
    for (uint32_t m = asked; m < tool_message && left && id.n; m = pst_chat_after(c, m), left--) {
        uint32_t name = name_in(c->j, m, id, &left);
        if (name != PST_JSON_NONE)
            return name;
    }
    return pst_member(c->j, tool_message, "name");
}

static void put_text_of(pst_chat_t *c, uint32_t token, const pst_part_t *part)
{
    (void)token;
    if (part->kind == PST_PART_TEXT)
        pst_buf_putv(&c->b, pst_inside(c->j, part->text));
    else
        pst_chat_refuse(c, "content: a tool's result can only be text for this provider");
}

/* An object goes as it is; anything else is wrapped, as Google's own clients do. */
static void put_response(pst_chat_t *c, uint32_t content)
{
    pst_view_t text = pst_text_trim(pst_json_str(c->j, content, c->a));
    PST_SCOPED(pst_json_release) pst_json_t r;
    pst_json_init(&r);
    if (text.n && text.p[0] == '{' && pst_json_parse(&r, text, NULL) == PST_OK) {
        pst_buf_putv(&c->b, text);
        return;
    }
    pst_buf_puts(&c->b, "{\"result\":\"");
    pst_chat_each_part(c, content, put_text_of);
    pst_buf_puts(&c->b, "\"}");
}

static void put_result(pst_chat_t *c, uint32_t message, uint32_t asked)
{
    uint32_t name = function_of(c, message, asked);
    if (name == PST_JSON_NONE) {
        pst_chat_refuse(c, "messages: a tool's tool_call_id is in no tool_calls before it");
        return;
    }
    pst_json_put_comma(&c->b);
    pst_buf_puts(&c->b, "{\"functionResponse\":{");
    pst_put_raw(&c->b, "name", c->j, name);
    pst_json_put_key(&c->b, "response");
    put_response(c, pst_json_get(c->j, message, "content"));
    pst_buf_puts(&c->b, "}}");
}

static bool has_calls(const pst_chat_t *c, uint32_t m)
{
    return pst_json_first(c->j, pst_json_get(c->j, m, "tool_calls")) != PST_JSON_NONE;
}

/* *asked: the first message with calls of the model's last turn that has any. */
static void put_turn(pst_chat_t *c, uint32_t m, uint32_t end, uint32_t *asked)
{
    bool model = pst_chat_role(c, m) == PST_ROLE_ASSISTANT;
    pst_turn_t turn = pst_chat_open_turn(c, model, model ? "{\"role\":\"model\",\"parts\":["
                                                         : "{\"role\":\"user\",\"parts\":[");
    bool called = false;
    for (; m != end; m = pst_chat_after(c, m)) {
        if (pst_chat_role(c, m) == PST_ROLE_TOOL) {
            put_result(c, m, *asked);
            continue;
        }
        pst_chat_each_part(c, pst_json_get(c->j, m, "content"), put_part);
        if (model && has_calls(c, m)) {
            pst_chat_each_call(c, m, put_call);
            *asked = called ? *asked : m;
            called = true;
        }
    }
    pst_chat_close_turn(c, turn);
}

static void put_contents(pst_chat_t *c)
{
    uint32_t asked = PST_JSON_NONE;
    pst_json_put_key(&c->b, "contents");
    pst_buf_putc(&c->b, '[');
    for (uint32_t m = c->opening, end; m != PST_JSON_NONE; m = end) {
        end = pst_chat_turn_end(c, m);
        put_turn(c, m, end, &asked);
    }
    pst_buf_putc(&c->b, ']');
}

static void put_instruction(pst_chat_t *c)
{
    size_t before = c->b.n;
    pst_json_put_key(&c->b, "systemInstruction");
    pst_buf_puts(&c->b, "{\"parts\":[");
    size_t empty = c->b.n;
    for (uint32_t m = pst_json_first(c->j, c->messages); m != c->opening; m = pst_chat_after(c, m))
        pst_chat_each_part(c, pst_json_get(c->j, m, "content"), put_part);
    if (c->b.n == empty)
        c->b.n = before;
    else
        pst_buf_puts(&c->b, "]}");
}

static void put_declaration(pst_chat_t *c, uint32_t tool, uint32_t function)
{
    (void)tool;
    pst_json_put_comma(&c->b);
    pst_buf_putc(&c->b, '{');
    pst_put_raw(&c->b, "name", c->j, pst_json_get(c->j, function, "name"));
    pst_put_raw(&c->b, "description", c->j, pst_member(c->j, function, "description"));
    pst_put_raw(&c->b, "parametersJsonSchema", c->j, pst_member(c->j, function, "parameters"));
    pst_buf_putc(&c->b, '}');
}

static void put_tool_choice(pst_chat_t *c)
{
    static const char *const modes[] = {
        [PST_CHOICE_AUTO] = "AUTO",
        [PST_CHOICE_NONE] = "NONE",
        [PST_CHOICE_REQUIRED] = "ANY",
        [PST_CHOICE_NAMED] = "ANY",
    };
    uint32_t name = PST_JSON_NONE;
    pst_choice_kind_t kind = pst_chat_choice(c, &name);
    if (kind == PST_CHOICE_UNSAID)
        return;
    pst_buf_puts(&c->b, ",\"toolConfig\":{\"functionCallingConfig\":{");
    pst_put_text(&c->b, "mode", pst_view_str(modes[kind]));
    if (kind == PST_CHOICE_NAMED) {
        pst_buf_puts(&c->b, ",\"allowedFunctionNames\":[");
        pst_buf_putv(&c->b, pst_json_raw(c->j, name));
        pst_buf_putc(&c->b, ']');
    }
    pst_buf_puts(&c->b, "}}");
}

static void put_tools(pst_chat_t *c)
{
    if (!pst_chat_has_tools(c))
        return;
    pst_buf_puts(&c->b, ",\"tools\":[{\"functionDeclarations\":[");
    pst_chat_each_tool(c, put_declaration);
    pst_buf_puts(&c->b, "]}]");
    put_tool_choice(c);
}

typedef struct effort {
    const char *name, *level;
    uint32_t budget;
} effort_t;

static const effort_t *effort_of(const pst_chat_t *c)
{
    static const effort_t efforts[] = {
        {"none", "MINIMAL", 0},
        {"minimal", "MINIMAL", BUDGET_LOW},
        {"low", "LOW", BUDGET_LOW},
        {"medium", "MEDIUM", BUDGET_MEDIUM},
        {"high", "HIGH", BUDGET_HIGH},
        {"xhigh", "HIGH", BUDGET_HIGH},
        {"max", "HIGH", BUDGET_HIGH},
    };
    uint32_t effort = pst_chat_param(c, "reasoning_effort");
    for (size_t i = 0; i < PST_COUNT(efforts); i++) {
        if (pst_is_word(c->j, effort, efforts[i].name))
            return &efforts[i];
    }
    return NULL;
}

static bool knows_levels(pst_view_t model)
{
    return !pst_text_has(model, "gemini-1", NULL) && !pst_text_has(model, "gemini-2", NULL);
}

static void put_thinking(pst_chat_t *c)
{
    const effort_t *e = effort_of(c);
    if (!e)
        return;
    pst_json_put_key(&c->b, "thinkingConfig");
    pst_buf_putc(&c->b, '{');
    if (knows_levels(c->task->endpoint.model))
        pst_put_text(&c->b, "thinkingLevel", pst_view_str(e->level));
    else
        pst_put_count(&c->b, "thinkingBudget", e->budget);
    pst_buf_putc(&c->b, '}');
}

static void put_format(pst_chat_t *c)
{
    uint32_t type = pst_json_get(c->j, pst_chat_param(c, "response_format"), "type");
    if (!pst_is_word(c->j, type, "json_object") && !pst_is_word(c->j, type, "json_schema"))
        return;
    pst_put_text(&c->b, "responseMimeType", PST_VIEW_LIT("application/json"));
    pst_put_raw(&c->b, "responseJsonSchema", c->j, pst_chat_schema(c));
}

static void put_logprobs(pst_chat_t *c)
{
    if (!pst_is_true(c->j, 0, "logprobs"))
        return;
    pst_json_put_key(&c->b, "responseLogprobs");
    pst_buf_puts(&c->b, "true");
    pst_put_raw(&c->b, "logprobs", c->j, pst_chat_param(c, "top_logprobs"));
}

static void put_config(pst_chat_t *c)
{
    static const struct {
        const char *ours, *theirs;
    } same[] = {
        {"temperature", "temperature"},
        {"top_p", "topP"},
        {"top_k", "topK"},
        {"n", "candidateCount"},
        {"presence_penalty", "presencePenalty"},
        {"frequency_penalty", "frequencyPenalty"},
        {"seed", "seed"},
    };
    pst_json_put_key(&c->b, "generationConfig");
    pst_buf_putc(&c->b, '{');
    for (size_t i = 0; i < PST_COUNT(same); i++)
        pst_put_raw(&c->b, same[i].theirs, c->j, pst_chat_param(c, same[i].ours));
    pst_put_raw(&c->b, "maxOutputTokens", c->j, pst_chat_max_tokens(c));
    pst_chat_put_stop(c, "stopSequences");
    put_format(c);
    put_thinking(c);
    put_logprobs(c);
    pst_buf_putc(&c->b, '}');
}

static void put_chat(pst_chat_t *c)
{
    pst_buf_putc(&c->b, '{');
    put_instruction(c);
    put_contents(c);
    put_tools(c);
    put_config(c);
    pst_put_raw(&c->b, "safetySettings", c->j, pst_chat_param(c, "safety_settings"));
    pst_buf_putc(&c->b, '}');
}

static pst_err_t build_chat(const pst_task_t *task, pst_arena_t *a, pst_http_req_t *ret,
                            pst_view_t *ret_why)
{
    pst_chat_t c;
    pst_chat_begin(&c, task, a);
    if (!c.why)
        put_chat(&c);
    pst_err_t e = pst_chat_end(&c, &ret->body, ret_why);
    const char *verb = task->stream ? ":streamGenerateContent?alt=sse" : ":generateContent";
    return e != PST_OK ? e : set_path(ret, task->endpoint.model, verb, a);
}

/* ---- request: embeddings ---- */

static void put_embed_request(pst_buf_t *b, const pst_task_t *task, uint32_t text)
{
    pst_json_put_comma(b);
    pst_buf_puts(b, "{\"model\":\"");
    put_resource(b, task->endpoint.model);
    pst_buf_puts(b, "\",\"content\":{\"parts\":[{\"text\":");
    pst_buf_putv(b, pst_json_raw(task->body, text));
    pst_buf_puts(b, "}]}");
    pst_put_raw(b, "outputDimensionality", task->body, pst_member(task->body, 0, "dimensions"));
    pst_buf_putc(b, '}');
}

/* false if the input is not text: lists of tokens mean nothing to another model. */
static bool put_embed_requests(pst_buf_t *b, const pst_task_t *task)
{
    const pst_json_t *j = task->body;
    uint32_t input = pst_json_get(j, 0, "input");
    if (pst_json_is(j, input, PST_JSON_STRING)) {
        put_embed_request(b, task, input);
        return true;
    }
    if (!pst_json_is(j, input, PST_JSON_ARRAY) || j->tok[input].count == 0)
        return false;
    for (uint32_t t = pst_json_first(j, input); t != PST_JSON_NONE;
         t = pst_json_after(j, input, t)) {
        if (!pst_json_is(j, t, PST_JSON_STRING))
            return false;
        put_embed_request(b, task, t);
    }
    return true;
}

static pst_err_t build_embeddings(const pst_task_t *task, pst_arena_t *a, pst_http_req_t *ret,
                                  pst_view_t *ret_why)
{
    PST_SCOPED(pst_buf_release) pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_buf_puts(&b, "{\"requests\":[");
    if (!put_embed_requests(&b, task)) {
        *ret_why = PST_VIEW_LIT("input: must be a string or strings for this provider");
        return PST_E_INVALID;
    }
    pst_buf_puts(&b, "]}");
    pst_err_t e = pst_seal(&b, a, &ret->body);
    return e != PST_OK ? e : set_path(ret, task->endpoint.model, ":batchEmbedContents", a);
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
    const char *theirs, *ours; /* ours NULL: the model's fault, which may not happen again */
} finish_t;

static const finish_t *finish_of(const pst_json_t *j, uint32_t reason)
{
    static const finish_t finishes[] = {
        {"STOP", "stop"},
        {"MAX_TOKENS", "length"},
        {"SAFETY", "content_filter"},
        {"RECITATION", "content_filter"},
        {"BLOCKLIST", "content_filter"},
        {"PROHIBITED_CONTENT", "content_filter"},
        {"SPII", "content_filter"},
        {"LANGUAGE", "content_filter"},
        {"MALFORMED_FUNCTION_CALL", NULL},
        {"MALFORMED_RESPONSE", NULL},
        {"UNEXPECTED_TOOL_CALL", NULL},
        {"TOO_MANY_TOOL_CALLS", NULL},
    };
    /* IMAGE_SAFETY, IMAGE_PROHIBITED_CONTENT, … ; the rest: OTHER, CONTINUATION, what is not
     * said. */
    static const finish_t image = {"IMAGE_", "content_filter"}, other = {"OTHER", "stop"};
    for (size_t i = 0; i < PST_COUNT(finishes); i++) {
        if (pst_is_word(j, reason, finishes[i].theirs))
            return &finishes[i];
    }
    return pst_text_starts(pst_inside(j, reason), image.theirs) ? &image : &other;
}

typedef enum part_is { IS_TEXT, IS_THOUGHT, IS_CALL, IS_DATA, IS_OTHER } part_is_t;

static part_is_t kind_of(const pst_json_t *j, uint32_t part)
{
    if (pst_json_is(j, pst_json_get(j, part, "functionCall"), PST_JSON_OBJECT))
        return IS_CALL;
    if (pst_json_is(j, pst_json_get(j, part, "text"), PST_JSON_STRING))
        return pst_is_true(j, part, "thought") ? IS_THOUGHT : IS_TEXT;
    return pst_json_is(j, pst_json_get(j, part, "inlineData"), PST_JSON_OBJECT) ? IS_DATA
                                                                                : IS_OTHER;
}

/* The next part of a kind after t (NONE: the first). */
static uint32_t next_part(const pst_json_t *j, uint32_t parts, uint32_t t, part_is_t kind)
{
    t = t == PST_JSON_NONE ? pst_json_first(j, parts) : pst_json_after(j, parts, t);
    while (t != PST_JSON_NONE && kind_of(j, t) != kind)
        t = pst_json_after(j, parts, t);
    return t;
}

static void put_joined(pst_buf_t *b, const pst_json_t *j, uint32_t parts, part_is_t kind)
{
    pst_buf_putc(b, '"');
    for (uint32_t t = next_part(j, parts, PST_JSON_NONE, kind); t != PST_JSON_NONE;
         t = next_part(j, parts, t, kind))
        pst_buf_putv(b, pst_inside(j, pst_json_get(j, t, "text")));
    pst_buf_putc(b, '"');
}

static void put_tool_call(pst_buf_t *b, const pst_task_t *task, const pst_json_t *j, uint32_t part)
{
    uint32_t call = pst_json_get(j, part, "functionCall");
    uint32_t args = pst_member(j, call, "args");
    pst_json_put_comma(b);
    pst_put_call_id(b, task, j, pst_json_get(j, call, "id"), part);
    pst_buf_puts(b, ",\"type\":\"function\",\"function\":{");
    pst_put_raw(b, "name", j, pst_json_get(j, call, "name"));
    pst_put_text(b, "arguments",
                 args == PST_JSON_NONE ? PST_VIEW_LIT("{}") : pst_json_raw(j, args));
    pst_put_raw(b, "thought_signature", j, pst_member(j, part, "thoughtSignature"));
    pst_buf_puts(b, "}}");
}

/* Pictures that the model made, in the place where OpenRouter puts them. */
static void put_images(pst_buf_t *b, const pst_json_t *j, uint32_t parts)
{
    uint32_t t = next_part(j, parts, PST_JSON_NONE, IS_DATA);
    if (t == PST_JSON_NONE)
        return;
    pst_json_put_key(b, "images");
    pst_buf_putc(b, '[');
    for (; t != PST_JSON_NONE; t = next_part(j, parts, t, IS_DATA)) {
        uint32_t data = pst_json_get(j, t, "inlineData");
        pst_json_put_comma(b);
        pst_buf_puts(b, "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:");
        pst_buf_putv(b, pst_inside(j, pst_json_get(j, data, "mimeType")));
        pst_buf_puts(b, ";base64,");
        pst_buf_putv(b, pst_inside(j, pst_json_get(j, data, "data")));
        pst_buf_puts(b, "\"}}");
    }
    pst_buf_putc(b, ']');
}

static void put_message(pst_buf_t *b, const pst_task_t *task, const pst_json_t *j, uint32_t parts)
{
    uint32_t call = next_part(j, parts, PST_JSON_NONE, IS_CALL);
    pst_buf_puts(b, "{\"role\":\"assistant\",\"content\":");
    if (call != PST_JSON_NONE && next_part(j, parts, PST_JSON_NONE, IS_TEXT) == PST_JSON_NONE)
        pst_buf_puts(b, "null");
    else
        put_joined(b, j, parts, IS_TEXT);
    pst_buf_puts(b, ",\"refusal\":null");
    if (next_part(j, parts, PST_JSON_NONE, IS_THOUGHT) != PST_JSON_NONE) {
        pst_json_put_key(b, "reasoning_content");
        put_joined(b, j, parts, IS_THOUGHT);
    }
    put_images(b, j, parts);
    if (call != PST_JSON_NONE) {
        pst_buf_puts(b, ",\"tool_calls\":[");
        for (; call != PST_JSON_NONE; call = next_part(j, parts, call, IS_CALL))
            put_tool_call(b, task, j, call);
        pst_buf_putc(b, ']');
    }
    pst_buf_putc(b, '}');
}

static void put_token(pst_buf_t *b, const pst_json_t *j, uint32_t candidate)
{
    pst_json_put_comma(b);
    pst_buf_putc(b, '{');
    pst_put_raw(b, "token", j, pst_json_get(j, candidate, "token"));
    pst_put_raw(b, "logprob", j, pst_json_get(j, candidate, "logProbability"));
    pst_json_put_key(b, "bytes");
    pst_buf_puts(b, "null");
}

/* chosenCandidates and topCandidates are parallel: an entry for each token of the answer. */
static void put_token_logprobs(pst_buf_t *b, const pst_json_t *j, uint32_t result)
{
    uint32_t chosen = pst_json_get(j, result, "chosenCandidates");
    uint32_t top = pst_json_get(j, result, "topCandidates"), k = pst_json_first(j, top);
    for (uint32_t t = pst_json_first(j, chosen); t != PST_JSON_NONE;
         t = pst_json_after(j, chosen, t)) {
        uint32_t others = pst_json_get(j, k, "candidates");
        put_token(b, j, t);
        pst_buf_puts(b, ",\"top_logprobs\":[");
        for (uint32_t o = pst_json_first(j, others); o != PST_JSON_NONE;
             o = pst_json_after(j, others, o)) {
            put_token(b, j, o);
            pst_buf_putc(b, '}');
        }
        pst_buf_puts(b, "]}");
        k = k == PST_JSON_NONE ? k : pst_json_after(j, top, k);
    }
}

static void put_answer_logprobs(pst_buf_t *b, const pst_json_t *j, uint32_t candidate)
{
    uint32_t result = pst_member(j, candidate, "logprobsResult");
    pst_json_put_key(b, "logprobs");
    if (result == PST_JSON_NONE) {
        pst_buf_puts(b, "null");
        return;
    }
    pst_buf_puts(b, "{\"content\":[");
    put_token_logprobs(b, j, result);
    pst_buf_puts(b, "],\"refusal\":null}");
}

static void put_choice(pst_buf_t *b, const pst_task_t *task, const pst_json_t *j,
                       uint32_t candidate, uint32_t index)
{
    uint32_t parts = pst_json_path(j, candidate, "content", "parts", NULL);
    uint32_t reason = pst_member(j, candidate, "finishReason");
    const char *finish = finish_of(j, reason)->ours;
    if (strcmp(finish, "stop") == 0 && next_part(j, parts, PST_JSON_NONE, IS_CALL) != PST_JSON_NONE)
        finish = "tool_calls";
    pst_json_put_comma(b);
    pst_buf_puts(b, "{\"index\":");
    pst_put_digits(b, index);
    pst_buf_puts(b, ",\"message\":");
    put_message(b, task, j, parts);
    put_answer_logprobs(b, j, candidate);
    pst_put_text(b, "finish_reason", pst_view_str(finish));
    pst_put_raw(b, "native_finish_reason", j, reason);
    pst_buf_putc(b, '}');
}

static uint32_t block_reason(const pst_json_t *j)
{
    return pst_json_path(j, 0, "promptFeedback", "blockReason", NULL);
}

static void put_choices(pst_buf_t *b, const pst_task_t *task, const pst_json_t *j)
{
    uint32_t candidates = pst_json_get(j, 0, "candidates"), n = 0;
    for (uint32_t t = pst_json_first(j, candidates); t != PST_JSON_NONE;
         t = pst_json_after(j, candidates, t))
        put_choice(b, task, j, t, n++);
    if (n)
        return;
    pst_buf_puts(
        b, "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null},"
           "\"logprobs\":null,\"finish_reason\":\"content_filter\"");
    pst_put_raw(b, "native_finish_reason", j, block_reason(j));
    pst_buf_putc(b, '}');
}

/* Thinking is billed as output. */
static pst_usage_t usage_of(const pst_json_t *j)
{
    uint32_t m = pst_json_get(j, 0, "usageMetadata");
    pst_usage_t u = {
        .known = pst_json_is(j, m, PST_JSON_OBJECT),
        .cached = pst_count_of(j, pst_json_get(j, m, "cachedContentTokenCount")),
        .reasoning = pst_count_of(j, pst_json_get(j, m, "thoughtsTokenCount")),
    };
    u.input = pst_count_of(j, pst_json_get(j, m, "promptTokenCount")) +
              pst_count_of(j, pst_json_get(j, m, "toolUsePromptTokenCount"));
    u.output = pst_count_of(j, pst_json_get(j, m, "candidatesTokenCount")) + u.reasoning;
    u.cached = PST_MIN(u.cached, u.input);
    return u;
}

static void put_completion(pst_buf_t *b, const pst_task_t *task, const pst_json_t *j,
                           const pst_usage_t *u)
{
    pst_answer_begin(b, task, "chat.completion", "chatcmpl-", j, pst_json_get(j, 0, "responseId"),
                     pst_json_get(j, 0, "modelVersion"));
    pst_buf_puts(b, ",\"choices\":[");
    put_choices(b, task, j);
    pst_buf_putc(b, ']');
    pst_answer_end(b, u);
}

static bool has_nameless_call(const pst_json_t *j, uint32_t candidate)
{
    uint32_t parts = pst_json_path(j, candidate, "content", "parts", NULL);
    for (uint32_t t = next_part(j, parts, PST_JSON_NONE, IS_CALL); t != PST_JSON_NONE;
         t = next_part(j, parts, t, IS_CALL)) {
        if (!pst_has_text(j, pst_json_path(j, t, "functionCall", "name", NULL)))
            return true;
    }
    return false;
}

static const char *chat_fault(const pst_json_t *j)
{
    uint32_t candidates = pst_json_get(j, 0, "candidates");
    uint32_t t = pst_json_first(j, candidates);
    bool blank = true;
    if (t == PST_JSON_NONE)
        return pst_has_text(j, block_reason(j)) ? NULL : "the answer has no candidates";
    for (; t != PST_JSON_NONE; t = pst_json_after(j, candidates, t)) {
        uint32_t reason = pst_json_get(j, t, "finishReason");
        if (!finish_of(j, reason)->ours)
            return "the model broke off in a malformed answer or tool call";
        if (has_nameless_call(j, t))
            return "a tool call of the answer has no name";
        if (pst_has_text(j, reason) ||
            pst_json_first(j, pst_json_path(j, t, "content", "parts", NULL)) != PST_JSON_NONE)
            blank = false;
    }
    return blank ? "the answer is blank" : NULL;
}

/* ---- answer: chat, while it is made ---- */

/* Each event is an answer with what is new of its candidates; usage is of all so far.  Nothing but finish reasons tells
 * that it is whole. */

static void put_part_chunk(pst_stream_t *s, pst_buf_t *out, uint32_t index, const pst_json_t *j, uint32_t part)
{
    uint32_t call = pst_json_get(j, part, "functionCall"), args = pst_member(j, call, "args");
    uint32_t text = pst_json_get(j, part, "text");
    switch (kind_of(j, part)) {
    case IS_TEXT:
        pst_chunk_text(s, out, index, "content", pst_inside(j, text));
        break;
    case IS_THOUGHT:
        pst_chunk_text(s, out, index, "reasoning_content", pst_inside(j, text));
        break;
    case IS_CALL:
        pst_chunk_call(s, out, index, j, pst_json_get(j, call, "id"), pst_json_get(j, call, "name"),
                       pst_member(j, part, "thoughtSignature"));
        if (args != PST_JSON_NONE)
            pst_chunk_arguments_text(s, out, index, pst_json_raw(j, args));
        pst_chunk_call_end(s, out, index);
        break;
    case IS_DATA:
    case IS_OTHER:
        break;
    }
}

static void put_images_chunk(pst_stream_t *s, pst_buf_t *out, uint32_t index, const pst_json_t *j, uint32_t parts)
{
    if (next_part(j, parts, PST_JSON_NONE, IS_DATA) == PST_JSON_NONE)
        return;
    pst_chunk_open(s, out, index);
    put_images(out, j, parts);
    pst_chunk_close(s, out);
}

static void put_logprobs_chunk(pst_stream_t *s, pst_buf_t *out, uint32_t index, const pst_json_t *j, uint32_t candidate)
{
    if (pst_member(j, candidate, "logprobsResult") == PST_JSON_NONE)
        return;
    pst_chunk_open(s, out, index);
    pst_buf_putc(out, '}');
    put_answer_logprobs(out, j, candidate);
    pst_chunk_end(s, out);
}

/* NULL, or what is wrong with it. */
static const char *put_candidate(pst_stream_t *s, pst_buf_t *out, const pst_json_t *j, uint32_t candidate)
{
    uint64_t n = pst_count_of(j, pst_json_get(j, candidate, "index"));
    uint32_t index = (uint32_t)PST_MIN(n, PST_STREAM_CHOICES_MAX - 1u);
    uint32_t parts = pst_json_path(j, candidate, "content", "parts", NULL);
    uint32_t reason = pst_member(j, candidate, "finishReason");
    const char *finish = finish_of(j, reason)->ours;
    if (!finish)
        return "the model broke off in a malformed answer or tool call";
    if (has_nameless_call(j, candidate))
        return "a tool call of the answer has no name";
    for (uint32_t t = pst_json_first(j, parts); t != PST_JSON_NONE; t = pst_json_after(j, parts, t))
        put_part_chunk(s, out, index, j, t);
    put_images_chunk(s, out, index, j, parts);
    put_logprobs_chunk(s, out, index, j, candidate);
    if (!pst_has_text(j, reason))
        return NULL;
    if (s->calls[index] && strcmp(finish, "stop") == 0)
        finish = "tool_calls";
    pst_chunk_finish(s, out, index, pst_view_str(finish), j, reason);
    return NULL;
}

static pst_stream_state_t on_event(pst_stream_t *s, const pst_stream_event_t *e, pst_reading_t *ret)
{
    const pst_json_t *j = e->json;
    uint32_t candidates = pst_json_get(j, 0, "candidates"), blocked = block_reason(j);
    pst_usage_t u = usage_of(j);
    if (pst_json_is(j, 0, PST_JSON_ARRAY) || pst_member(j, 0, "error") != PST_JSON_NONE)
        return pst_stream_failed(e, 0, ret);
    if (u.known)
        s->usage = u;
    if (s->head.n == 0)
        pst_stream_name(s, j, pst_json_get(j, 0, "responseId"), pst_json_get(j, 0, "modelVersion"));
    for (uint32_t t = pst_json_first(j, candidates); t != PST_JSON_NONE; t = pst_json_after(j, candidates, t)) {
        const char *fault = put_candidate(s, e->out, j, t);
        if (fault)
            return pst_stream_bad(e, fault, ret);
    }
    if (pst_has_text(j, blocked) && !s->begun)
        pst_chunk_finish(s, e->out, 0, PST_VIEW_LIT("content_filter"), j, blocked);
    s->whole = s->finished && s->finished == s->begun;
    return PST_STREAM_MORE;
}

static const pst_streaming_t streaming = {.urls = 1u << PST_URL_CHAT, .event = on_event};

/* ---- answer: embeddings ---- */

static const char *embeddings_fault(const pst_json_t *j)
{
    uint32_t embeddings = pst_json_get(j, 0, "embeddings");
    for (uint32_t t = pst_json_first(j, embeddings); t != PST_JSON_NONE;
         t = pst_json_after(j, embeddings, t)) {
        if (!pst_json_is(j, pst_json_get(j, t, "values"), PST_JSON_ARRAY))
            return "an embedding of the answer has no values";
    }
    return pst_json_first(j, embeddings) == PST_JSON_NONE ? "the answer has no embeddings" : NULL;
}

static void put_embeddings(pst_buf_t *b, const pst_task_t *task, const pst_json_t *j,
                           const pst_usage_t *u)
{
    uint32_t embeddings = pst_json_get(j, 0, "embeddings"), n = 0;
    pst_buf_puts(b, "{\"object\":\"list\",\"data\":[");
    for (uint32_t t = pst_json_first(j, embeddings); t != PST_JSON_NONE;
         t = pst_json_after(j, embeddings, t)) {
        pst_json_put_comma(b);
        pst_buf_puts(b, "{\"object\":\"embedding\"");
        pst_put_count(b, "index", n++);
        pst_put_raw(b, "embedding", j, pst_json_get(j, t, "values"));
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

static void read_ok(const pst_task_t *task, const pst_json_t *j, const pst_http_answer_t *answer,
                    pst_arena_t *a, pst_reading_t *ret)
{
    bool embeddings = task->url == PST_URL_EMBEDDINGS;
    const char *fault = embeddings ? embeddings_fault(j) : chat_fault(j);
    pst_usage_t u = usage_of(j);
    pst_reading_set_usage(ret, &u);
    if (pst_answer_failed(j, pst_member(j, 0, "error") != PST_JSON_NONE, fault, answer, a, ret))
        return;
    PST_SCOPED(pst_buf_release) pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_buf_reserve(&b, answer->body.n + 512);
    if (embeddings)
        put_embeddings(&b, task, j, &u);
    else
        put_completion(&b, task, j, &u);
    pst_reading_done(ret, answer, &b, a);
}

static void read_answer(const pst_task_t *task, const pst_http_answer_t *answer, pst_arena_t *a,
                        pst_reading_t *ret)
{
    pst_answer_read(task, answer, a, ret, read_ok);
}

const pst_provider_t pst_provider_gemini = {
    .name = "gemini",
    .auth = PST_AUTH_GOOG_KEY,
    .urls = 1u << PST_URL_CHAT | 1u << PST_URL_EMBEDDINGS,
    .params = PST_PARAMS_ALL & ~(uint32_t)PST_PARAM_LOGIT_BIAS,
    .build = build,
    .read = read_answer,
    .streaming = &streaming,
};
